// A finished piece of a run in a file of its own that vouches for its content.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "med3d/core/json.h"

namespace med3d::pipeline {

// Writes {"key", "sha256", ...content}, atomic; sha256 is that of the content as dump_json writes it.
void write_piece(const std::filesystem::path& path, const std::string& key, const Json& content);

// The content of a piece under this key. Nothing for a file that is missing, that is damaged (also by
// a digit that still reads as a number) or of another key: it is computed again.
std::optional<Json> read_piece(const std::filesystem::path& path, const std::string& key);

}  // namespace med3d::pipeline
