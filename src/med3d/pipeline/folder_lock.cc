#include "med3d/pipeline/folder_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "med3d/core/error.h"

namespace med3d::pipeline {

FolderLock::FolderLock(const std::filesystem::path& folder) {
  const auto path = folder / ".lock";
  fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd_ < 0) {
    throw Error(ErrorKind::kIo,
                fmt::format("{}: cannot be written: {}", folder.string(), std::strerror(errno)));
  }
  if (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
    ::close(fd_);
    throw Error(ErrorKind::kIo,
                folder.string() + ": another med3d process is at work in this folder");
  }
}

FolderLock::~FolderLock() { ::close(fd_); }

}  // namespace med3d::pipeline
