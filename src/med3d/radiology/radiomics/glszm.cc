#include "med3d/radiology/radiomics/glszm.h"

#include <cstdint>

namespace med3d::radiomics {

LevelSizes glszm_counts(const Region& region, bool force_2d) {
  std::vector<std::int64_t> offsets;
  for (const auto& step : directions(region, {1}, force_2d)) {
    offsets.push_back(region.step(step));
    offsets.push_back(-region.step(step));
  }
  LevelSizes zones;
  std::vector<std::uint8_t> seen(region.level.size(), 0);
  std::vector<std::uint32_t> open;
  for (const std::uint32_t first : region.voxels) {
    if (seen[first] != 0) continue;
    const std::int32_t level = region.level[first];
    std::int64_t size = 0;
    seen[first] = 1;
    open.push_back(first);
    while (!open.empty()) {
      const std::uint32_t place = open.back();
      open.pop_back();
      ++size;
      for (const std::int64_t offset : offsets) {
        const auto other = static_cast<std::size_t>(place + offset);
        if (region.level[other] != level || seen[other] != 0) continue;
        seen[other] = 1;
        open.push_back(static_cast<std::uint32_t>(other));
      }
    }
    zones[{level, size}] += 1.0;
  }
  return zones;
}

std::vector<double> glszm_features(const Region& region, const Options& options) {
  const LevelSizeValues v = level_size_values(glszm_counts(region, options.force_2d));
  return {v.level_nonuniformity,
          v.level_nonuniformity / v.pieces,
          v.level_variance,
          v.high_level,
          v.large,
          v.large_high,
          v.large_low,
          v.low_level,
          v.size_nonuniformity,
          v.size_nonuniformity / v.pieces,
          v.small,
          v.small_high,
          v.small_low,
          v.entropy,
          v.percentage,
          v.size_variance};
}

}  // namespace med3d::radiomics
