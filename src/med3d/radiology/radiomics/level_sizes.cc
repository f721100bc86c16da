#include "med3d/radiology/radiomics/level_sizes.h"

#include <cmath>
#include <limits>

namespace med3d::radiomics {

LevelSizeValues level_size_values(const LevelSizes& sizes) {
  double total = 0.0;
  double voxels = 0.0;
  double level_sum = 0.0;
  std::map<std::int32_t, double> of_level;
  std::map<std::int64_t, double> of_size;
  for (const auto& [key, count] : sizes) {
    const auto [level, size] = key;
    total += count;
    voxels += count * static_cast<double>(size);
    level_sum += count * level;
    of_level[level] += count;
    of_size[size] += count;
  }
  if (total == 0.0) {
    constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
    return {
        kNaN, kNaN, kNaN, kNaN, kNaN, kNaN, kNaN, kNaN, kNaN, kNaN, kNaN, kNaN, kNaN, kNaN, 0.0};
  }
  LevelSizeValues out;
  out.pieces = total;
  out.percentage = total / voxels;
  const double mean_level = level_sum / total;
  const double mean_size = voxels / total;
  for (const auto& [key, count] : sizes) {
    const double p = count / total;
    if (p == 0.0) continue;
    const double level = key.first;
    const auto size = static_cast<double>(key.second);
    const double i2 = level * level;
    const double j2 = size * size;
    out.small += p / j2;
    out.large += p * j2;
    out.low_level += p / i2;
    out.high_level += p * i2;
    out.small_low += p / (i2 * j2);
    out.small_high += p * i2 / j2;
    out.large_low += p * j2 / i2;
    out.large_high += p * i2 * j2;
    out.level_variance += p * (level - mean_level) * (level - mean_level);
    out.size_variance += p * (size - mean_size) * (size - mean_size);
    out.entropy -= p * std::log2(p + std::numeric_limits<double>::epsilon());
  }
  for (const auto& [level, count] : of_level) out.level_nonuniformity += count * count / total;
  for (const auto& [size, count] : of_size) out.size_nonuniformity += count * count / total;
  return out;
}

}  // namespace med3d::radiomics
