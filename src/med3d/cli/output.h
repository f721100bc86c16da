// Where a command's result goes: standard output, checked.
#pragma once

#include <string_view>

#include "med3d/core/json.h"

namespace med3d {

// Adds to standard output. A reader that went away (`| head`) is no error: the rest is dropped in
// silence. Throws Error(kIo) with the system's reason for everything else (a full disk).
void print(std::string_view text);

// The result of a command under --json: one document, printed once, at the end.
void print_json(const Json& document);

// What is buffered goes out now; same errors as print.
void flush_output();

}  // namespace med3d
