// JSON for the files that machines read. Keys keep their order, numbers are the shortest that read
// back the same, NaN and infinities become null: the same document is the same bytes everywhere.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace med3d {

using Json = nlohmann::ordered_json;

// Throws Error(kFormat) with the byte offset; nesting is bounded by limits().json_depth.
Json parse_json(std::string_view text, std::string_view source_name);
Json read_json(const std::filesystem::path& path);

std::string dump_json(const Json& document);  // two-space indent, ends in a newline
void write_json(const std::filesystem::path& path, const Json& document);  // atomic

}  // namespace med3d
