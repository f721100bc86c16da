#include "med3d/core/file_bytes.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/core/hash.h"

namespace med3d {
namespace fs = std::filesystem;
namespace {

[[noreturn]] void fail(const fs::path& path, std::string_view what, int error) {
  throw Error(error == ENOENT ? ErrorKind::kNotFound : ErrorKind::kIo,
              fmt::format("{}: {}: {}", path.string(), what, std::strerror(error)));
}

}  // namespace

struct FileBytes::Mapping {
  fs::path path;
  void* start = nullptr;
  std::size_t size = 0;
  struct stat status {};

  Mapping() = default;
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() {
    if (start != nullptr) ::munmap(start, size);
  }
};

FileBytes FileBytes::map(const fs::path& path, std::uint64_t max_bytes) {
  // Not blocked by a pipe, which is refused below.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) fail(path, "cannot be opened for reading", errno);
  const std::shared_ptr<const void> closer(nullptr, [fd](const void*) { ::close(fd); });
  auto mapping = std::make_shared<Mapping>();
  mapping->path = path;
  if (::fstat(fd, &mapping->status) != 0) fail(path, "cannot be examined", errno);
  if (!S_ISREG(mapping->status.st_mode)) {
    throw Error(ErrorKind::kFormat,
                fmt::format("{}: is a {}, expected a regular file",
                            path.string(),
                            S_ISDIR(mapping->status.st_mode) ? "folder" : "pipe or device"));
  }
  const auto size = static_cast<std::uint64_t>(mapping->status.st_size);
  if (size > max_bytes) {
    throw Error(
        ErrorKind::kFormat,
        fmt::format("{}: {} bytes, more than the limit of {}", path.string(), size, max_bytes));
  }
  if (size == 0) return hold("");  // nothing can be mapped
  void* start = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (start == MAP_FAILED) fail(path, "cannot be mapped", errno);
  mapping->start = start;
  mapping->size = size;
  FileBytes out;
  out.view_ = {static_cast<const char*>(start), size};
  out.mapping_ = std::move(mapping);
  return out;
}

FileBytes FileBytes::hold(std::string bytes) {
  FileBytes out;
  out.held_ = std::make_shared<const std::string>(std::move(bytes));
  out.view_ = *out.held_;
  return out;
}

void FileBytes::forget(std::string_view part) const {
  if (mapping_ == nullptr || part.empty()) return;
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const auto offset = static_cast<std::size_t>(part.data() - view_.data());
  const std::size_t begin = (offset + page - 1) / page * page;
  // The last page of the file has no neighbour behind it.
  const std::size_t end = offset + part.size() == view_.size()
                              ? offset + part.size()
                              : (offset + part.size()) / page * page;
  // A hint: where it fails, memory stays taken.
  if (begin < end) {
    ::madvise(static_cast<char*>(mapping_->start) + begin, end - begin, MADV_DONTNEED);
  }
}

void FileBytes::require_unchanged() const {
  if (mapping_ == nullptr) return;
  struct stat now {};
  const struct stat& before = mapping_->status;
  if (::stat(mapping_->path.c_str(), &now) == 0 && now.st_size == before.st_size &&
      now.st_mtim.tv_sec == before.st_mtim.tv_sec &&
      now.st_mtim.tv_nsec == before.st_mtim.tv_nsec) {
    return;
  }
  throw Error(ErrorKind::kData,
              mapping_->path.string() + ": was changed or moved while it was read");
}

std::string sha256_hex(const FileBytes& file) {
  constexpr std::size_t kPiece = 4U << 20U;
  Sha256 sum;
  for (std::string_view rest = file.view(); !rest.empty();) {
    const std::string_view piece = rest.substr(0, kPiece);
    sum.update(piece);
    file.forget(piece);
    rest.remove_prefix(piece.size());
  }
  return sum.hex();
}

}  // namespace med3d
