#include "med3d/core/json.h"

#include <fmt/format.h>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/limits.h"

namespace med3d {

Json parse_json(std::string_view text, std::string_view source_name) {
  // The parser recurses only in its callback-free form's destructor, so depth is checked up front.
  std::uint64_t depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > limits().json_depth) {
        throw Error(ErrorKind::kFormat,
                    fmt::format("{}: nested deeper than {} levels at byte {}", source_name,
                                limits().json_depth, i));
      }
    } else if ((c == ']' || c == '}') && depth > 0) {
      --depth;
    }
  }
  try {
    return Json::parse(text);
  } catch (const Json::parse_error& error) {
    throw Error(ErrorKind::kFormat,
                fmt::format("{}: not valid JSON at byte {}", source_name, error.byte));
  }
}

Json read_json(const std::filesystem::path& path) {
  return parse_json(read_file(path, limits().json_header_bytes), path.string());
}

std::string dump_json(const Json& document) {
  return document.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

void write_json(const std::filesystem::path& path, const Json& document) {
  write_file_atomic(path, dump_json(document));
}

}  // namespace med3d
