// Whether files are whole: check_files FILE..., or - for a JSON document on standard input.
//
// JSON must parse and end in a newline; a table must have rows of one width and end in a newline;
// HTML and SVG must end in their closing tag; npz, safetensors and anything else must not be empty.
// Prints each file that is not whole with the reason, returns 1 if there was one.
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/json.h"
#include "med3d/core/text.h"
#include "med3d/io/formats/csv.h"

namespace med3d {
namespace {

bool ends_with_line(const std::string& text, const std::string& end) {
  return text.size() > end.size() && text.ends_with(end + "\n");
}

std::string fault_of(const std::string& name) {
  const bool piped = name == "-";
  const std::string text = piped ? std::string(std::istreambuf_iterator<char>(std::cin), {})
                                 : read_file(name, 1U << 30U);
  const std::string extension =
      piped ? ".json" : to_lower(std::filesystem::path(name).extension().string());
  if (text.empty()) return "empty";
  if (extension == ".json") {
    parse_json(text, name);
    return text.back() == '\n' ? "" : "the last line has no end";
  }
  if (extension == ".csv") {
    parse_table(text, name);
    return text.back() == '\n' ? "" : "the last line has no end";
  }
  if (extension == ".html") return ends_with_line(text, "</html>") ? "" : "no </html> at its end";
  if (extension == ".svg") return ends_with_line(text, "</svg>") ? "" : "no </svg> at its end";
  return "";
}

}  // namespace
}  // namespace med3d

int main(int argc, char** argv) {
  int code = argc > 1 ? 0 : 1;
  for (int i = 1; i < argc; ++i) {
    std::string fault;
    try {
      fault = med3d::fault_of(argv[i]);
    } catch (const std::exception& error) {
      fault = med3d::describe(error);
    }
    if (fault.empty()) continue;
    std::cout << argv[i] << ": " << fault << "\n";
    code = 1;
  }
  return code;
}
