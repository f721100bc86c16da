#include "med3d/radiology/radiomics/glrlm.h"

#include "med3d/core/parallel.h"

namespace med3d::radiomics {
namespace {

// Whether some line in this direction holds two voxels of the region, next to each other or not.
bool line_of_two(const Region& region, const std::array<int, 3>& step) {
  const std::int64_t offset = region.step(step);
  for (const std::uint32_t place : region.voxels) {
    if (region.level[static_cast<std::size_t>(place + offset)] != 0) return true;
  }
  for (const std::uint32_t place : region.voxels) {
    std::int64_t rest = place;
    std::array<std::int64_t, 3> at{};
    for (std::size_t axis = 0; axis < 3; ++axis) {
      at[axis] = rest % region.padded[axis] - region.margin;
      rest /= region.padded[axis];
    }
    for (std::int64_t next = place + offset;; next += offset) {
      bool inside = true;
      for (std::size_t axis = 0; axis < 3; ++axis) {
        at[axis] += step[axis];
        inside = inside && at[axis] >= 0 && at[axis] < region.size[axis];
      }
      if (!inside) break;
      if (region.level[static_cast<std::size_t>(next)] != 0) return true;
    }
  }
  return false;
}

std::vector<double> values_of(const LevelSizes& runs) {
  const LevelSizeValues v = level_size_values(runs);
  return {v.level_nonuniformity,
          v.level_nonuniformity / v.pieces,
          v.level_variance,
          v.high_level,
          v.large,
          v.large_high,
          v.large_low,
          v.low_level,
          v.entropy,
          v.size_nonuniformity,
          v.size_nonuniformity / v.pieces,
          v.percentage,
          v.size_variance,
          v.small,
          v.small_high,
          v.small_low};
}

}  // namespace

LevelSizes glrlm_counts(const Region& region, const std::array<int, 3>& step) {
  LevelSizes runs;
  if (!line_of_two(region, step)) return runs;
  const std::int64_t offset = region.step(step);
  for (const std::uint32_t place : region.voxels) {
    const std::int32_t level = region.level[place];
    if (region.level[static_cast<std::size_t>(place - offset)] == level) continue;  // not its start
    std::int64_t length = 1;
    for (std::int64_t next = place + offset; region.level[static_cast<std::size_t>(next)] == level;
         next += offset) {
      ++length;
    }
    runs[{level, length}] += 1.0;
  }
  return runs;
}

std::vector<double> glrlm_features(const Region& region, const Options& options) {
  const auto steps = directions(region, {1}, options.force_2d);
  std::vector<LevelSizes> runs(steps.size());
  parallel_for(steps.size(), options.threads, [&](std::size_t i) {
    runs[i] = glrlm_counts(region, steps[i]);
  });
  if (options.weighting == Weighting::kNone) {
    std::vector<std::vector<double>> rows;
    for (const LevelSizes& direction : runs) rows.push_back(values_of(direction));
    return mean_of_rows(rows, kGlrlmNames.size());
  }
  LevelSizes sum;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const double weight = step_length(steps[i], region.spacing_mm, options.weighting);
    for (const auto& [key, count] : runs[i]) sum[key] += weight * count;
  }
  return values_of(sum);
}

}  // namespace med3d::radiomics
