#include <fmt/format.h>

#include "med3d/cli/command.h"
#include "med3d/cli/commands.h"
#include "med3d/cli/describe.h"
#include "med3d/cli/output.h"
#include "med3d/core/file.h"

namespace med3d {
namespace {

int run(const Options& options) {
  const auto folder = options.path("FOLDER");
  Json pages = Json::array();
  const auto write = [&](const std::string& name, const std::string& text) {
    write_file_atomic(folder / name, text);
    pages.push_back(name);
  };
  write("index.md", markdown_index());
  for (const Command* command : commands()) {
    write(file_stem_of(*command) + ".md", markdown_page(*command));
  }
  if (options.json()) {
    Json document;
    document["pages"] = std::move(pages);
    print_json(document);
  } else if (!options.quiet()) {
    print(fmt::format("{} pages written to {}\n", pages.size(), folder.string()));
  }
  return kExitDone;
}

}  // namespace

extern const Command docs_command;
const Command docs_command = {
    .name = "docs",
    .summary = "Write the reference pages, one for each command",
    .reference = "",
    .examples = {{"med3d docs docs/reference",
                  "Renew the committed pages after an option changed"}},
    .declare =
        [](Schema& schema) {
          schema.positional_path("FOLDER", "Where index.md and the pages go; made if missing")
              .required();
        },
    .run = run,
};

}  // namespace med3d
