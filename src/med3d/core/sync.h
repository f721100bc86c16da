// Making what is written last through a power cut, for those who do not write by core/file.h.
#pragma once

#include <filesystem>

namespace med3d {

// Fsyncs a file that is there and the folder it lies in: when it returns, content and name survive
// a power cut. Throws Error(kNotFound | kIo) with the path and the system's reason.
void sync_file(const std::filesystem::path& path);

}  // namespace med3d
