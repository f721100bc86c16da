#include "med3d/radiology/radiomics/ngtdm.h"

#include <cmath>

namespace med3d::radiomics {

std::vector<NgtdmRow> ngtdm_rows(const Region& region, const Options& options) {
  std::vector<std::int64_t> offsets;
  for (const auto& step : directions(region, options.distances, options.force_2d)) {
    offsets.push_back(region.step(step));
    offsets.push_back(-region.step(step));
  }
  std::vector<NgtdmRow> by_level(static_cast<std::size_t>(region.highest_level() + 1));
  for (const std::uint32_t place : region.voxels) {
    std::int64_t sum = 0;
    std::int64_t count = 0;
    for (const std::int64_t offset : offsets) {
      const std::int32_t other = region.level[static_cast<std::size_t>(place + offset)];
      sum += other;
      count += other != 0 ? 1 : 0;
    }
    const std::int32_t level = region.level[place];
    NgtdmRow& row = by_level[static_cast<std::size_t>(level)];
    row.voxels += 1.0;
    if (count > 0) {
      row.differences += std::abs(level - static_cast<double>(sum) / static_cast<double>(count));
    }
  }
  std::vector<NgtdmRow> rows;
  for (const std::int32_t level : region.present) {
    rows.push_back(by_level[static_cast<std::size_t>(level)]);
    rows.back().level = level;
  }
  return rows;
}

std::vector<double> ngtdm_features(const Region& region, const Options& options) {
  const std::vector<NgtdmRow> rows = ngtdm_rows(region, options);
  const auto n = static_cast<double>(region.voxels.size());
  const auto levels = static_cast<double>(rows.size());
  double weighted = 0.0;
  double differences = 0.0;
  for (const NgtdmRow& row : rows) {
    weighted += row.voxels / n * row.differences;
    differences += row.differences;
  }
  double spread = 0.0;
  double unlike = 0.0;
  double complexity = 0.0;
  double strength = 0.0;
  for (const NgtdmRow& a : rows) {
    for (const NgtdmRow& b : rows) {
      const double p = a.voxels / n;
      const double q = b.voxels / n;
      const double apart = a.level - b.level;
      spread += p * q * apart * apart;
      unlike += std::abs(a.level * p - b.level * q);
      complexity += std::abs(apart) * (p * a.differences + q * b.differences) / (p + q) / n;
      strength += (p + q) * apart * apart;
    }
  }
  const double pairs = levels * (levels - 1.0);
  return {unlike == 0.0 ? 0.0 : weighted / unlike,
          weighted == 0.0 ? 1e6 : 1.0 / weighted,
          complexity,
          pairs == 0.0 ? 0.0 : spread / pairs * (differences / n),
          differences == 0.0 ? 0.0 : strength / differences};
}

}  // namespace med3d::radiomics
