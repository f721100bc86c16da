#include "med3d/pipeline/volumes/volume_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "med3d/core/error.h"
#include "med3d/core/text.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxFiles = 4'000'000;
constexpr int kMaxDepth = 64;

// std::filesystem's iterator would ask for each file's size and time by its whole path.
class Walker {
 public:
  explicit Walker(VolumeFiles& out) : out_(out) {}

  void walk(int parent, const char* name, const std::string& below, int depth) {
    const int fd = ::openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR* const folder = fd >= 0 ? ::fdopendir(fd) : nullptr;
    if (folder == nullptr) {
      const int reason = errno;
      if (fd >= 0) ::close(fd);
      problem(below, fmt::format("folder cannot be read: {}", std::strerror(reason)));
      return;
    }
    std::vector<std::string> folders;
    try {
      while (const dirent* entry = ::readdir(folder)) {
        const std::string entry_name = entry->d_name;
        if (entry_name.starts_with('.')) continue;
        add(fd, entry_name, below, folders);
      }
      // Opened one after the other, so that a folder of many folders needs few descriptors.
      std::ranges::sort(folders);
      for (const std::string& next : folders) {
        if (depth >= kMaxDepth) {
          problem(below + next, fmt::format("folder deeper than {} levels", kMaxDepth));
        } else {
          walk(fd, next.c_str(), below + next + "/", depth + 1);
        }
      }
    } catch (...) {
      ::closedir(folder);
      throw;
    }
    ::closedir(folder);
  }

 private:
  void problem(const std::string& path, std::string what) {
    out_.problems.emplace_back(path, std::move(what));
  }

  void add(int fd,
           const std::string& name,
           const std::string& below,
           std::vector<std::string>& folders) {
    struct stat info {};
    if (::fstatat(fd, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
      // Gone since it was listed, or refused.
      if (errno != ENOENT) problem(below + name, std::strerror(errno));
    } else if (S_ISDIR(info.st_mode)) {
      folders.push_back(name);
    } else if (S_ISLNK(info.st_mode)) {
      ++out_.links;
    } else if (S_ISREG(info.st_mode)) {
      if (out_.files.size() >= kMaxFiles) {
        throw Error(ErrorKind::kData, fmt::format("more than {} files in the folder", kMaxFiles));
      }
      out_.files.push_back({below + name,
                            info.st_size,
                            info.st_mtim.tv_sec * 1'000'000'000LL + info.st_mtim.tv_nsec});
    } else if (named_as_dicom(name) || named_as_nifti(name)) {
      problem(below + name, "a pipe or device, expected a regular file");
    }
  }

  VolumeFiles& out_;
};

}  // namespace

bool named_as_dicom(std::string_view path) {
  const std::string name = to_lower(path.substr(path.rfind('/') + 1));
  return name.ends_with(".dcm") || name.ends_with(".dicom") || name.ends_with(".ima");
}

bool named_as_nifti(std::string_view path) {
  const std::string name = to_lower(path.substr(path.rfind('/') + 1));
  return name.ends_with(".nii") || name.ends_with(".nii.gz");
}

VolumeFiles find_volume_files(const fs::path& folder) {
  std::error_code failed;
  if (!fs::is_directory(folder, failed)) {
    throw Error(ErrorKind::kNotFound, folder.string() + ": not a folder");
  }
  VolumeFiles out;
  // The folder that was asked for may itself be reached by a link.
  const fs::path real = fs::canonical(folder, failed);
  Walker(out).walk(AT_FDCWD, failed ? folder.c_str() : real.c_str(), "", 0);
  if (!out.problems.empty() && out.problems.front().first.empty()) {
    throw Error(ErrorKind::kIo, folder.string() + ": " + out.problems.front().second);
  }
  std::ranges::sort(out.files, {}, &VolumeFile::path);
  std::ranges::sort(out.problems);
  return out;
}

}  // namespace med3d::pipeline
