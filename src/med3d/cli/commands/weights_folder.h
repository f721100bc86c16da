// Where weights lie unless the caller says otherwise, and what each file there is.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "med3d/cli/command.h"
#include "med3d/encoders/weights_catalogue.h"

namespace med3d {

// --dir
void declare_weights_folder(Schema& schema);

// --dir, else $MED3D_WEIGHTS, else $XDG_DATA_HOME/med3d/weights, else
// ~/.local/share/med3d/weights. Throws
// CommandError(kUsage) where neither variable is set; a relative XDG_DATA_HOME counts as none, as
// its specification says.
std::filesystem::path weights_folder(const Options& options);

struct WeightsFile {
  std::filesystem::path path;
  std::uint64_t bytes = 0;  // of the whole file, or of what a fetch has brought so far
  std::string_view state;   // "here", "partly here", "wrong size" or "not here"
};
WeightsFile weights_file(const std::filesystem::path& folder, const WeightsEntry& entry);

}  // namespace med3d
