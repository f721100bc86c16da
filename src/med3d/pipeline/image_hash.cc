#include "med3d/pipeline/image_hash.h"

#include <bit>
#include <cmath>
#include <span>

#include "med3d/core/hash.h"
#include "med3d/wsi/overview.h"

namespace med3d::pipeline {
namespace {

constexpr int kMargin = 3;           // grey levels
constexpr int kLeastBits = 32;       // set in either look
constexpr double kMostOther = 0.15;  // of these
constexpr std::int64_t kMostSide = 2'048;

void update_sizes(Sha256& sha, std::span<const std::int64_t> sizes) {
  for (const std::int64_t size : sizes) sha.update(std::to_string(size) + " ");
}

// Rec. 601 luma of a small image.
std::vector<int> grey_of(const RgbImage& image, std::int64_t width, std::int64_t height) {
  const RgbImage small = averaged(image, width, height);
  std::vector<int> grey(static_cast<std::size_t>(width * height));
  for (std::size_t i = 0; i < grey.size(); ++i) {
    const std::uint8_t* const p = small.pixels.data() + 3 * i;
    grey[i] = (299 * p[0] + 587 * p[1] + 114 * p[2] + 500) / 1000;
  }
  return grey;
}

// Appends side * side bits, from `bit` on.
void add_grid(const RgbImage& image, int side, int bit, Look& look) {
  const auto grey = grey_of(image, side + 1, side);
  for (int y = 0; y < side; ++y) {
    for (int x = 0; x < side; ++x, ++bit) {
      const auto at = static_cast<std::size_t>(y * (side + 1) + x);
      if (grey[at + 1] - grey[at] >= kMargin) {
        look.bits[static_cast<std::size_t>(bit / 64)] |= std::uint64_t{1} << (bit % 64);
      }
    }
  }
}

}  // namespace

int Look::set() const {
  int n = 0;
  for (const std::uint64_t word : bits) n += std::popcount(word);
  return n;
}

bool ImageHash::similar(const ImageHash& other) const {
  int either = 0;
  int differ = 0;
  for (std::size_t i = 0; i < look.bits.size(); ++i) {
    either += std::popcount(look.bits[i] | other.look.bits[i]);
    differ += std::popcount(look.bits[i] ^ other.look.bits[i]);
  }
  return either >= kLeastBits && differ <= kMostOther * either;
}

Look look_of(const RgbImage& image) {
  Look look;
  if (image.width < 1 || image.height < 1) return look;
  add_grid(image, 16, 0, look);
  add_grid(image, 8, 256, look);
  return look;
}

ImageHash hash_slide(Slide& slide) {
  const int lowest = static_cast<int>(slide.info().levels.size()) - 1;
  const Overview overview = read_overview(slide, lowest, kMostSide, kMostSide);
  ImageHash hash;
  Sha256 sha;
  update_sizes(sha, std::array{overview.image.width, overview.image.height});
  sha.update(overview.image.pixels.data(), overview.image.pixels.size());
  hash.content = sha.hex();
  hash.look = look_of(overview.image);
  return hash;
}

ImageHash hash_volume(const Volume& volume) {
  ImageHash hash;
  Sha256 sha;
  update_sizes(sha, volume.size);
  sha.update(volume.voxels.data(), volume.voxels.size() * sizeof(float));
  hash.content = sha.hex();
  return hash;
}

}  // namespace med3d::pipeline
