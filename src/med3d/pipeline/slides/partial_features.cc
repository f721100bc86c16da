#include "med3d/pipeline/slides/partial_features.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/hash.h"
#include "med3d/core/limits.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kLengthBytes = 8;
constexpr std::size_t kHeadBytes = 16;  // first tile, tiles
constexpr std::size_t kHashBytes = 16;  // hexadecimal digits: 8 bytes of the hash
constexpr std::uint64_t kMostRecordBytes = 1ULL << 30;

[[noreturn]] void fail(const fs::path& path, std::string_view what) {
  throw Error(ErrorKind::kIo, fmt::format("{}: {}: {}", path.string(), what, std::strerror(errno)));
}

class File {
 public:
  File(const fs::path& path, int flags)
      : path_(path), fd_(::open(path.c_str(), flags | O_CLOEXEC, 0666)) {
    if (fd_ < 0) fail(path_, "cannot be opened");
  }
  ~File() { ::close(fd_); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  std::uint64_t size() const {
    struct stat status {};
    if (::fstat(fd_, &status) != 0) fail(path_, "cannot be looked at");
    return static_cast<std::uint64_t>(status.st_size);
  }
  // False where the file ends before.
  bool read(std::uint64_t offset, char* out, std::size_t size) const {
    while (size > 0) {
      const auto n = ::pread(fd_, out, size, static_cast<off_t>(offset));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) fail(path_, "cannot be read");
      if (n == 0) return false;
      out += n;
      offset += static_cast<std::uint64_t>(n);
      size -= static_cast<std::size_t>(n);
    }
    return true;
  }
  void write(std::uint64_t offset, std::string_view bytes) const {
    while (!bytes.empty()) {
      const auto n = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) fail(path_, "cannot be written");
      offset += static_cast<std::uint64_t>(n);
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
  }
  void cut(std::uint64_t size) const {
    if (::ftruncate(fd_, static_cast<off_t>(size)) != 0) fail(path_, "cannot be cut");
  }

 private:
  fs::path path_;
  int fd_;
};

void put(std::string& out, std::uint64_t value) {
  for (int i = 0; i < 8; ++i) out += static_cast<char>((value >> (8 * i)) & 0xFFU);
}
std::uint64_t number_at(const char* bytes) {
  std::uint64_t value = 0;
  for (int i = 7; i >= 0; --i) value = value << 8U | static_cast<unsigned char>(bytes[i]);
  return value;
}

std::string header_of(const std::string& key, std::uint64_t dim) {
  return fmt::format("med3d partial features 1\n{}\n{}\n", key, dim);
}

std::uint64_t kept_of(std::span<const std::uint8_t> dropped) {
  return static_cast<std::uint64_t>(std::count(dropped.begin(), dropped.end(), 0));
}

std::string record_of(const FeatureBatch& batch) {
  std::string record;
  const std::uint64_t size =
      kHeadBytes + batch.dropped.size() + batch.embeddings.size() * sizeof(float) + kHashBytes;
  record.reserve(kLengthBytes + size);
  put(record, size);
  put(record, batch.first);
  put(record, batch.dropped.size());
  record.append(reinterpret_cast<const char*>(batch.dropped.data()), batch.dropped.size());
  record.append(reinterpret_cast<const char*>(batch.embeddings.data()),
                batch.embeddings.size() * sizeof(float));
  record += sha256_hex(record).substr(0, kHashBytes);
  return record;
}

// The record at `offset`, or false where there is no whole one. Nothing in it is trusted before its
// hash was found right, and its length not beyond the file.
bool read_record(const File& file,
                 std::uint64_t offset,
                 std::uint64_t file_size,
                 std::uint64_t dim,
                 std::string& bytes,
                 FeatureBatch& batch) {
  char length[kLengthBytes];
  if (!file.read(offset, length, kLengthBytes)) return false;
  const std::uint64_t size = number_at(length);
  if (size < kHeadBytes + kHashBytes || size > kMostRecordBytes ||
      size > file_size - offset - kLengthBytes) {
    return false;
  }
  bytes.resize(kLengthBytes + size);
  if (!file.read(offset, bytes.data(), bytes.size())) return false;
  const std::string_view content(bytes.data(), bytes.size() - kHashBytes);
  if (sha256_hex(content).substr(0, kHashBytes) != bytes.substr(content.size())) return false;
  batch.first = number_at(bytes.data() + kLengthBytes);
  const std::uint64_t tiles = number_at(bytes.data() + kLengthBytes + 8);
  const std::uint64_t rest = size - kHeadBytes - kHashBytes;
  if (tiles > rest) return false;
  const char* at = bytes.data() + kLengthBytes + kHeadBytes;
  batch.dropped.assign(at, at + tiles);
  const std::uint64_t kept = kept_of(batch.dropped);
  if (rest - tiles != kept * dim * sizeof(float)) return false;
  batch.embeddings.resize(kept * dim);
  std::memcpy(batch.embeddings.data(), at + tiles, rest - tiles);
  return true;
}

}  // namespace

PartialFeatures::PartialFeatures(fs::path path, const std::string& key, std::uint64_t dim)
    : path_(std::move(path)), dim_(dim) {
  make_folder(path_.parent_path());
  const std::string header = header_of(key, dim);
  const File file(path_, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK);
  begin_ = end_ = header.size();
  const std::uint64_t size = file.size();
  std::string found(header.size(), '\0');
  if (size < header.size() || !file.read(0, found.data(), found.size()) || found != header) {
    file.cut(0);
    file.write(0, header);
    return;
  }
  std::string bytes;
  FeatureBatch batch;
  while (read_record(file, end_, size, dim_, bytes, batch) && batch.first == tiles_) {
    end_ += bytes.size();
    tiles_ += batch.dropped.size();
    rows_ += kept_of(batch.dropped);
  }
  file.cut(end_);
}

void PartialFeatures::append(const FeatureBatch& batch) {
  const std::uint64_t kept = kept_of(batch.dropped);
  if (batch.first != tiles_ || batch.embeddings.size() != kept * dim_) {
    throw Error(
        ErrorKind::kUsage,
        fmt::format("partial features: tiles from {} with {} numbers, expected tiles from {} "
                    "with {}",
                    batch.first,
                    batch.embeddings.size(),
                    tiles_,
                    kept * dim_));
  }
  const std::string record = record_of(batch);
  const File file(path_, O_WRONLY | O_NOFOLLOW);
  file.write(end_, record);
  end_ += record.size();
  tiles_ += batch.dropped.size();
  rows_ += kept;
}

void PartialFeatures::read(const std::function<void(const FeatureBatch&)>& each) const {
  const File file(path_, O_RDONLY | O_NOFOLLOW);
  std::string bytes;
  FeatureBatch batch;
  for (std::uint64_t offset = begin_; offset < end_; offset += bytes.size()) {
    if (!read_record(file, offset, end_, dim_, bytes, batch)) {
      throw Error(ErrorKind::kIo, path_.string() + ": changed while it was in use");
    }
    each(batch);
  }
}

void PartialFeatures::remove() {
  std::error_code error;
  fs::remove(path_, error);
  tiles_ = rows_ = 0;
}

}  // namespace med3d::pipeline
