#include "med3d/core/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <vector>

#include "med3d/core/error.h"
#include "med3d/core/random.h"
#include "med3d/core/sync.h"
#include "med3d/core/text.h"

namespace med3d {
namespace fs = std::filesystem;
namespace {

[[noreturn]] void fail(const fs::path& path, std::string_view what, int error) {
  const ErrorKind kind = error == ENOENT ? ErrorKind::kNotFound : ErrorKind::kIo;
  throw Error(kind, fmt::format("{}: {}: {}", path.string(), what, std::strerror(error)));
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

fs::path temporary_path(const fs::path& path) {
  static std::atomic<std::uint64_t> counter{0};
  const auto now =
      static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
  const auto tag = derive_seed(now, path.string(), {counter++});
  return path.parent_path() /
         fmt::format(".{}.tmp-{}-{:08x}", path.filename().string(), ::getpid(), tag & 0xFFFFFFFFU);
}

void sync_path(const fs::path& path, int flags) {
  const Descriptor fd(::open(path.c_str(), flags | O_CLOEXEC));
  if (fd.get() < 0) fail(path, "cannot be opened to sync it", errno);
  // Some file systems cannot sync a folder and say EINVAL: nothing more can be done there.
  if (::fsync(fd.get()) != 0 && errno != EINVAL) fail(path, "fsync failed", errno);
}

fs::path folder_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

}  // namespace

std::string read_file(const fs::path& path, std::uint64_t max_bytes) {
  const Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (fd.get() < 0) fail(path, "cannot be opened for reading", errno);
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) fail(path, "cannot be examined", errno);
  if (!S_ISREG(info.st_mode)) {
    throw Error(ErrorKind::kFormat,
                fmt::format("{}: is a {}, expected a regular file",
                            path.string(),
                            S_ISDIR(info.st_mode) ? "folder" : "pipe or device"));
  }
  const auto size = static_cast<std::uint64_t>(info.st_size);
  if (size > max_bytes) {
    throw Error(
        ErrorKind::kFormat,
        fmt::format("{}: {} bytes, more than the limit of {}", path.string(), size, max_bytes));
  }
  std::string bytes(size, '\0');
  std::size_t done = 0;
  while (done < bytes.size()) {
    const auto n = ::read(fd.get(), bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(path, "read error", errno);
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  }
  bytes.resize(done);
  return bytes;
}

void sync_file(const fs::path& path) {
  sync_path(path, O_RDONLY | O_NONBLOCK);
  sync_path(folder_of(path), O_RDONLY | O_DIRECTORY);
}

void make_folder(const fs::path& folder) {
  std::error_code error;
  if (fs::is_directory(folder, error)) return;
  // From the outermost that is missing inwards: each name is durable before anything goes below it.
  std::vector<fs::path> missing;
  for (fs::path at = folder; !at.empty() && !fs::is_directory(at, error); at = at.parent_path()) {
    missing.push_back(at);
  }
  fs::create_directories(folder, error);
  if (error || !fs::is_directory(folder)) {
    throw Error(ErrorKind::kIo,
                fmt::format("{}: the folder cannot be made: {}",
                            folder.string(),
                            error ? error.message() : "a file of that name is in the way"));
  }
  for (auto at = missing.rbegin(); at != missing.rend(); ++at) {
    sync_path(folder_of(*at), O_RDONLY | O_DIRECTORY);
  }
}

void write_file_atomic(const fs::path& path, const std::function<void(const fs::path&)>& write) {
  make_folder(folder_of(path));
  const fs::path temporary = temporary_path(path);
  try {
    write(temporary);
    sync_path(temporary, O_RDONLY);
    if (::rename(temporary.c_str(), path.c_str()) != 0) fail(path, "cannot be replaced", errno);
    sync_path(folder_of(path), O_RDONLY | O_DIRECTORY);
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
}

void write_file_atomic(const fs::path& path, std::string_view bytes) {
  write_file_pieces(path,
                    [&](const std::function<void(std::string_view)>& write) { write(bytes); });
}

void write_file_pieces(
    const fs::path& path,
    const std::function<void(const std::function<void(std::string_view)>&)>& produce) {
  write_file_atomic(path, [&](const fs::path& temporary) {
    Descriptor fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
    if (fd.get() < 0) fail(path, "cannot be written", errno);
    produce([&](std::string_view rest) {
      while (!rest.empty()) {
        const auto n = ::write(fd.get(), rest.data(), rest.size());
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) fail(path, "cannot be written", errno);
        rest.remove_prefix(static_cast<std::size_t>(n));
      }
    });
    if (::close(fd.release()) != 0) fail(path, "cannot be written", errno);
  });
}

void remove_stale_temporaries(const fs::path& folder) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    const auto at = name.rfind(".tmp-");
    if (name.empty() || name[0] != '.' || at == std::string::npos) continue;
    const auto parts = split(std::string_view(name).substr(at + 5), '-');
    const auto pid = parts.size() == 2 ? parse_double(parts[0]) : std::nullopt;
    if (!pid || *pid <= 0) continue;
    const bool runs = ::kill(static_cast<pid_t>(*pid), 0) == 0 || errno == EPERM;
    if (!runs) fs::remove(entry.path(), error);
  }
}

}  // namespace med3d
