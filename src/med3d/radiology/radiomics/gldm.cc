#include "med3d/radiology/radiomics/gldm.h"

#include <cstdlib>

namespace med3d::radiomics {

LevelSizes gldm_counts(const Region& region, const Options& options) {
  std::vector<std::int64_t> offsets;
  for (const auto& step : directions(region, options.distances, options.force_2d)) {
    offsets.push_back(region.step(step));
    offsets.push_back(-region.step(step));
  }
  // A table, not the map: it is written once for each voxel.
  const std::size_t width = offsets.size() + 1;
  std::vector<std::uint64_t> counts(static_cast<std::size_t>(region.highest_level() + 1) * width);
  for (const std::uint32_t place : region.voxels) {
    const std::int32_t level = region.level[place];
    std::size_t dependent = 0;
    for (const std::int64_t offset : offsets) {
      const std::int32_t other = region.level[static_cast<std::size_t>(place + offset)];
      if (other != 0 && std::abs(other - level) <= options.gldm_alpha) ++dependent;
    }
    ++counts[static_cast<std::size_t>(level) * width + dependent];
  }
  LevelSizes out;
  for (const std::int32_t level : region.present) {
    for (std::size_t dependent = 0; dependent < width; ++dependent) {
      const std::uint64_t count = counts[static_cast<std::size_t>(level) * width + dependent];
      if (count > 0) {
        out[{level, static_cast<std::int64_t>(dependent) + 1}] = static_cast<double>(count);
      }
    }
  }
  return out;
}

std::vector<double> gldm_features(const Region& region, const Options& options) {
  const LevelSizeValues v = level_size_values(gldm_counts(region, options));
  return {v.entropy,
          v.size_nonuniformity,
          v.size_nonuniformity / v.pieces,
          v.size_variance,
          v.level_nonuniformity,
          v.level_variance,
          v.high_level,
          v.large,
          v.large_high,
          v.large_low,
          v.low_level,
          v.small,
          v.small_high,
          v.small_low};
}

}  // namespace med3d::radiomics
