// Reading whole files within a bound, and writing files that are either old or new, never half.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

namespace med3d {

// The bytes of a regular file. Throws Error(kNotFound) if it is missing, kFormat if it is a folder,
// pipe or device (which are never opened, so a FIFO cannot block us) or larger than max_bytes,
// kIo if reading fails.
std::string read_file(const std::filesystem::path& path, std::uint64_t max_bytes);

// Writes to ".<name>.tmp-<pid>-<random>" in the same folder, fsyncs it, renames it over `path` and
// fsyncs the folder: a kill or a full disk at any moment leaves the old file or the new one.
// The folder is made if it is missing. Throws Error(kIo) with the path and the system's reason; the
// temporary file is removed then.
void write_file_atomic(const std::filesystem::path& path, std::string_view bytes);

// The same for a writer that needs a file name of its own (HDF5): `write` gets the temporary path.
void write_file_atomic(const std::filesystem::path& path,
                       const std::function<void(const std::filesystem::path&)>& write);

// The same in pieces, for what is larger than memory should hold: `produce` calls its argument with
// one piece after the other.
void write_file_pieces(
    const std::filesystem::path& path,
    const std::function<void(const std::function<void(std::string_view)>&)>& produce);

// Makes the folder and its parents. Throws Error(kIo) naming the folder and the reason.
void make_folder(const std::filesystem::path& folder);

// Removes temporary files that a killed writer left in `folder` (not in its sub-folders). Only
// files of processes that no longer run are touched.
void remove_stale_temporaries(const std::filesystem::path& folder);

}  // namespace med3d
