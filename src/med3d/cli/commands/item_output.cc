#include "med3d/cli/commands/item_output.h"

#include <fmt/format.h>

namespace med3d {

int tell_plan(const Options& options,
              std::string_view command,
              std::string_view key,
              Json list,
              const std::string& text) {
  const std::string output = options.path("output").string();
  const std::size_t count = list.size();
  if (options.json()) {
    print_json({{"command", command}, {"output", output}, {std::string(key), std::move(list)}});
  } else {
    print(fmt::format("{}: {} {} into {}\n", command, count, key, output) + text);
  }
  return kExitDone;
}

void tell_files(const Options& options,
                const std::string& notice,
                const std::filesystem::path& folder,
                std::span<const std::string> files) {
  if (!notice.empty()) print(notice + "\n");
  if (options.quiet()) return;
  for (const auto& file : files) print((folder / file).string() + "\n");
}

}  // namespace med3d
