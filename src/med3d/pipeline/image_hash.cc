#include "med3d/pipeline/image_hash.h"

#include <array>
#include <cmath>
#include <span>

#include "med3d/core/hash.h"
#include "med3d/wsi/overview.h"

namespace med3d::pipeline {
namespace {

constexpr double kLeastCorrelation = 0.99;
constexpr double kLeastDeviation = 2.0;  // grey levels
constexpr std::int64_t kMostSide = 2'048;

void update_sizes(Sha256& sha, std::span<const std::int64_t> sizes) {
  for (const std::int64_t size : sizes) sha.update(std::to_string(size) + " ");
}

}  // namespace

bool ImageHash::similar(const ImageHash& other) const {
  const auto& a = look.grey;
  const auto& b = other.look.grey;
  if (a.empty() || a.size() != b.size()) return false;
  // Whole numbers, exact: 576 products of at most 255^2 fit by far.
  std::int64_t sum_a = 0, sum_b = 0, aa = 0, bb = 0, ab = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const std::int64_t x = a[i];
    const std::int64_t y = b[i];
    sum_a += x;
    sum_b += y;
    aa += x * x;
    bb += y * y;
    ab += x * y;
  }
  const auto n = static_cast<std::int64_t>(a.size());
  const auto var_a = static_cast<double>(n * aa - sum_a * sum_a);
  const auto var_b = static_cast<double>(n * bb - sum_b * sum_b);
  const auto covariance = static_cast<double>(n * ab - sum_a * sum_b);
  const double least = kLeastDeviation * static_cast<double>(n);
  if (var_a < least * least || var_b < least * least) return false;
  return covariance >= kLeastCorrelation * std::sqrt(var_a) * std::sqrt(var_b);
}

Look look_of(const RgbImage& image) {
  Look look;
  if (image.width < 1 || image.height < 1) return look;
  const RgbImage small = averaged(image, Look::kSide, Look::kSide);
  look.grey.resize(static_cast<std::size_t>(Look::kSide * Look::kSide));
  for (std::size_t i = 0; i < look.grey.size(); ++i) {
    const std::uint8_t* const p = small.pixels.data() + 3 * i;
    look.grey[i] = static_cast<std::uint8_t>((299 * p[0] + 587 * p[1] + 114 * p[2] + 500) / 1000);
  }
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
