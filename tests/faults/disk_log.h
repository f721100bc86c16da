// What a run did to its disk, as the fault shim wrote it down, and the states in which a power cut
// could have left that disk.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "med3d/core/random.h"

namespace med3d::faults {

struct DiskStep {
  // 'O' file made, 'W' written, 'T' truncated or grown to a size, 'A' grown to at least a size,
  // 'F' file or folder synced, 'R' renamed, 'U' unlinked, 'M' folder made, 'K' a mark
  char what = 0;
  std::string path;   // relative to the folder
  std::string other;  // of 'R': the new name
  std::uint64_t number = 0;
  std::string bytes;  // of 'W', and the text of 'K'
};

// Throws Error(kFormat) for a record that is cut short. Steps on other files than those under
// `folder`, and on `-shm` files, which hold nothing across a restart, are left out.
std::vector<DiskStep> read_disk_log(const std::filesystem::path& file,
                                    const std::filesystem::path& folder);

enum class Loss {
  kNothing,   // the cut found everything on the disk
  kUnsynced,  // everything that no fsync had been called for is gone
  kSome,      // each unsynced name and each unsynced 512 bytes may be there or not, as drawn
};

// Makes, in the empty folder `target`, what the disk holds after the first `steps` steps and a
// power cut. A name (making, renaming, removing a file) is durable once its folder is synced, bytes
// and sizes once their file is; nothing else is.
void power_cut(const std::vector<DiskStep>& log,
               std::size_t steps,
               Loss loss,
               NumpyRandom& random,
               const std::filesystem::path& target);

}  // namespace med3d::faults
