#include "med3d/mil/bags.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/core/random.h"
#include "med3d/io/features.h"

namespace med3d::mil {
namespace {

class Descriptor {
 public:
  // Not blocked by a pipe; what is no regular file is refused by read_features before.
  explicit Descriptor(const std::filesystem::path& path)
      : number_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {}
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  bool stat(struct stat& out) const {
    return number_ >= 0 && ::fstat(number_, &out) == 0 && S_ISREG(out.st_mode);
  }
  int number() const { return number_; }

 private:
  int number_;
};

std::int64_t modified_ns(const struct stat& status) {
  return status.st_mtim.tv_sec * 1'000'000'000 + status.st_mtim.tv_nsec;
}

// A mapping of [offset, offset + bytes) of a file; unmapped with the last owner.
std::shared_ptr<const char> map(const Descriptor& file, std::uint64_t offset, std::uint64_t bytes) {
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  const std::uint64_t start = offset / page * page;
  const std::size_t length = static_cast<std::size_t>(offset - start + bytes);
  void* found = ::mmap(nullptr,
                       length,
                       PROT_READ,
                       MAP_SHARED | MAP_POPULATE,
                       file.number(),
                       static_cast<off_t>(start));
  if (found == MAP_FAILED) return nullptr;
  const std::shared_ptr<void> whole(found, [length](void* p) { ::munmap(p, length); });
  return {whole, static_cast<const char*>(found) + (offset - start)};
}

}  // namespace

MemoryBags::MemoryBags(std::vector<Matrix<float>> bags) {
  const std::size_t width = bags.empty() ? 0 : bags.front().cols();
  for (Matrix<float>& bag : bags) {
    if (bag.rows() == 0 || bag.cols() == 0 || bag.cols() != width) {
      throw Error(ErrorKind::kData,
                  fmt::format("bag {} is {} x {}, expected patches of {} features",
                              bags_.size(),
                              bag.rows(),
                              bag.cols(),
                              width));
    }
    bags_.push_back(std::make_shared<const Matrix<float>>(std::move(bag)));
  }
}

Bag MemoryBags::read(std::size_t i) const {
  if (i >= bags_.size()) {
    throw Error(ErrorKind::kUsage, fmt::format("bag {} of {}", i, bags_.size()));
  }
  const Matrix<float>& bag = *bags_[i];
  return {{bag.data(), bag.rows(), bag.cols()}, bags_[i]};
}

FileBags::FileBags(std::vector<std::filesystem::path> files)
    : files_(std::move(files)), places_(files_.size()) {}

bool FileBags::mapped(std::size_t i) const {
  const std::lock_guard lock(mutex_);
  return places_.at(i).rows > 0;
}

Bag FileBags::read(std::size_t i) const {
  if (i >= files_.size()) {
    throw Error(ErrorKind::kUsage, fmt::format("bag {} of {}", i, files_.size()));
  }
  Place place;
  {
    const std::lock_guard lock(mutex_);
    place = places_[i];
  }
  struct stat status {};
  if (place.known && place.rows > 0) {
    const Descriptor file(files_[i]);
    if (file.stat(status) && static_cast<std::uint64_t>(status.st_size) == place.file_bytes &&
        modified_ns(status) == place.modified_ns) {
      const std::uint64_t bytes = place.rows * place.cols * sizeof(float);
      if (const auto data = map(file, place.offset, bytes)) {
        return {{reinterpret_cast<const float*>(data.get()), place.rows, place.cols}, data};
      }
    }
  }
  // The status before and after: a file that changed in between is not remembered.
  struct stat before {};
  const bool seen = ::stat(files_[i].c_str(), &before) == 0;
  if (const auto found = stored_features(files_[i])) {
    place = Place{};
    const Descriptor file(files_[i]);
    if (seen && file.stat(status) && status.st_size == before.st_size &&
        modified_ns(status) == modified_ns(before)) {
      place = {true,
               static_cast<std::uint64_t>(status.st_size),
               modified_ns(status),
               found->offset,
               found->rows,
               found->cols};
    }
    const std::lock_guard lock(mutex_);
    places_[i] = place;
    return {{found->data(), found->rows, found->cols},
            std::make_shared<const FileBytes>(found->file)};
  }
  auto matrix = std::make_shared<const Matrix<float>>(read_features(files_[i]));
  place = Place{};
  const Descriptor file(files_[i]);
  const std::uint64_t bytes = matrix->size() * sizeof(float);
  if (seen && file.stat(status) && status.st_size == before.st_size &&
      modified_ns(status) == modified_ns(before) &&
      static_cast<std::uint64_t>(status.st_size) >= bytes) {
    place.known = true;
    place.file_bytes = static_cast<std::uint64_t>(status.st_size);
    place.modified_ns = modified_ns(status);
    // Found by its content: what the container looks like does not matter, only that these very
    // bytes stand in it, aligned. Every stored format puts them near one end: the first piece of
    // them is looked for, then all are compared; a file in which that piece stands all over is read
    // anew each time.
    if (const auto whole = map(file, 0, place.file_bytes)) {
      const char* begin = whole.get();
      const char* end = begin + place.file_bytes;
      const char* wanted = reinterpret_cast<const char*>(matrix->data());
      const std::size_t head = std::min<std::size_t>(bytes, 64);
      int tries = 16;
      for (const char* at = begin; at < end && tries > 0; --tries) {
        at = static_cast<const char*>(
            ::memmem(at, static_cast<std::size_t>(end - at), wanted, head));
        if (at == nullptr || static_cast<std::uint64_t>(end - at) < bytes) break;
        if (static_cast<std::uint64_t>(at - begin) % alignof(float) == 0 &&
            std::memcmp(at, wanted, bytes) == 0) {
          place.offset = static_cast<std::uint64_t>(at - begin);
          place.rows = matrix->rows();
          place.cols = matrix->cols();
          break;
        }
        ++at;
      }
    }
  }
  {
    const std::lock_guard lock(mutex_);
    places_[i] = place;
  }
  return {{matrix->data(), matrix->rows(), matrix->cols()}, matrix};
}

Bag subsample(const Bag& bag, std::size_t rows, std::uint64_t seed) {
  if (rows == 0 || rows >= bag.view.rows) return bag;
  NumpyRandom random(static_cast<std::uint32_t>(seed ^ (seed >> 32U)));
  // The first `rows` of a Fisher-Yates shuffle, then sorted: memory is read in one direction.
  std::vector<std::size_t> index(bag.view.rows);
  std::iota(index.begin(), index.end(), std::size_t{0});
  for (std::size_t i = 0; i < rows; ++i) {
    const auto j = i + static_cast<std::size_t>(random.randint(index.size() - i));
    std::swap(index[i], index[j]);
  }
  std::sort(index.begin(), index.begin() + static_cast<std::ptrdiff_t>(rows));
  auto out = std::make_shared<Matrix<float>>(rows, bag.view.cols);
  for (std::size_t i = 0; i < rows; ++i) {
    const float* row = bag.view.data + index[i] * bag.view.cols;
    std::copy(row, row + bag.view.cols, out->row(i).begin());
  }
  return {{out->data(), rows, bag.view.cols}, out};
}

}  // namespace med3d::mil
