// Hundreds of small files that count only together.
//
// Flushing each of them to the disk, as file.h does, would take most of the time. Write them with
// this, and then, atomically, the one file that makes the folder what it is.
#pragma once

#include <filesystem>
#include <string_view>

namespace med3d {

// Writes in place, without flushing. The folder must be there. Throws Error(kIo) with the path.
void write_small_file(const std::filesystem::path& path, std::string_view bytes);

}  // namespace med3d
