// One process at a time in a folder of results.
#pragma once

#include <filesystem>

namespace med3d::pipeline {

// Holds the folder's ".lock" until it is destroyed. The kernel lets go of the lock when the process
// ends, however it ends, so there is no stale lock to clear.
class FolderLock {
 public:
  // folder  must be there
  //
  // Throws Error(kIo) if the folder cannot be written or another process holds it.
  explicit FolderLock(const std::filesystem::path& folder);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int fd_ = -1;
};

}  // namespace med3d::pipeline
