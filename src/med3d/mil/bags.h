// Bags: the patch features of one slide, and where they come from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <vector>

#include "med3d/core/matrix.h"

namespace med3d::mil {

// Row-major features (rows, cols) that someone else keeps.
struct BagView {
  const float* data = nullptr;
  std::size_t rows = 0;  // patches, at least 1
  std::size_t cols = 0;  // embed_dim
};

// A bag that keeps its memory as long as it lives: a table, a mapping of a file.
struct Bag {
  BagView view;
  std::shared_ptr<const void> owner;
};

// Many bags, of which few are in memory at a time. read() may be called from two threads at once:
// training reads the next bag while it works on one.
class BagSource {
 public:
  virtual ~BagSource() = default;
  virtual std::size_t count() const = 0;
  // i < count(). Throws what reading throws; Error(kUsage) beyond the last.
  virtual Bag read(std::size_t i) const = 0;
};

// Bags in memory.
class MemoryBags : public BagSource {
 public:
  // Throws Error(kData) for a bag without patches or of another width than the first.
  explicit MemoryBags(std::vector<Matrix<float>> bags);
  std::size_t count() const override { return bags_.size(); }
  Bag read(std::size_t i) const override;

 private:
  std::vector<std::shared_ptr<const Matrix<float>>> bags_;
};

// Feature files of any format that io reads (.pt, .h5, .npy, .npz, .safetensors), one a slide.
//
// The first read of a file checks it as read_features does: damage and values that are not finite
// are found then. Where its f32 rows lie in the file as they lie in memory (a stored .pt or
// .safetensors: stored_features; .npy and others: found by their bytes), later reads map the file
// at that place: nothing is copied, and the pages belong to the system's cache. Other files are
// read anew each time. Memory: the bags that are in use, and a few words a file.
//
// Files must stay as they are during a training; one whose size or time changed is read anew, one
// that is cut short while it is mapped ends the process (SIGBUS), as with every mapping.
class FileBags : public BagSource {
 public:
  explicit FileBags(std::vector<std::filesystem::path> files);
  std::size_t count() const override { return files_.size(); }
  Bag read(std::size_t i) const override;
  // Whether read(i) will map: known after the first read.
  bool mapped(std::size_t i) const;

 private:
  struct Place {
    bool known = false;
    std::uint64_t file_bytes = 0;
    std::int64_t modified_ns = 0;
    std::uint64_t offset = 0;  // of the rows in the file; only when rows > 0
    std::size_t rows = 0;      // 0 = cannot be mapped
    std::size_t cols = 0;
  };

  std::vector<std::filesystem::path> files_;
  mutable std::mutex mutex_;
  mutable std::vector<Place> places_;
};

// A draw of `rows` patches without replacement, in the order of the bag; the bag itself if it has
// no more. The same seed draws the same patches.
Bag subsample(const Bag& bag, std::size_t rows, std::uint64_t seed);

}  // namespace med3d::mil
