#include "med3d/cli/commands/weights_folder.h"

#include <cstdlib>

#include "med3d/io/download.h"

namespace med3d {
namespace fs = std::filesystem;

void declare_weights_folder(Schema& schema) {
  schema.path("dir",
              "folder of weights; without it $MED3D_WEIGHTS, $XDG_DATA_HOME/med3d/weights or "
              "~/.local/share/med3d/weights");
}

fs::path weights_folder(const Options& options) {
  if (options.given("dir")) return options.path("dir");
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return fs::path(value != nullptr ? value : "");
  };
  if (const fs::path named = variable("MED3D_WEIGHTS"); !named.empty()) return named;
  const fs::path data = variable("XDG_DATA_HOME");
  if (data.is_absolute()) return data / "med3d/weights";
  const fs::path home = variable("HOME");
  if (home.is_absolute()) return home / ".local/share/med3d/weights";
  throw CommandError(ErrorKind::kUsage,
                     "no folder of weights: neither XDG_DATA_HOME nor HOME is set",
                     "--dir names one");
}

WeightsFile weights_file(const fs::path& folder, const WeightsEntry& entry) {
  WeightsFile file{folder / entry.file, 0, "not here"};
  std::error_code error;
  if (fs::is_regular_file(file.path, error)) {
    file.bytes = fs::file_size(file.path, error);
    file.state = entry.bytes != 0 && file.bytes != entry.bytes ? "wrong size" : "here";
    return file;
  }
  file.bytes = partial_download_bytes(file.path);
  if (file.bytes > 0) file.state = "partly here";
  return file;
}

}  // namespace med3d
