#include "med3d/radiology/radiomics/first_order.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

namespace med3d::radiomics {
namespace {

// numpy.percentile with linear interpolation, in its order of operations.
double percentile(const std::vector<double>& sorted, double share) {
  const double at = share * static_cast<double>(sorted.size() - 1);
  const auto low = static_cast<std::size_t>(std::floor(at));
  const std::size_t high = std::min(low + 1, sorted.size() - 1);
  const double t = at - static_cast<double>(low);
  const double step = sorted[high] - sorted[low];
  return t >= 0.5 ? sorted[high] - step * (1.0 - t) : sorted[low] + step * t;
}

double mean_of(const std::vector<double>& values, std::size_t first, std::size_t last) {
  double sum = 0.0;
  for (std::size_t i = first; i < last; ++i) sum += values[i];
  return sum / static_cast<double>(last - first);
}

double mean_deviation(const std::vector<double>& values, std::size_t first, std::size_t last) {
  const double mean = mean_of(values, first, last);
  double sum = 0.0;
  for (std::size_t i = first; i < last; ++i) sum += std::abs(values[i] - mean);
  return sum / static_cast<double>(last - first);
}

}  // namespace

std::vector<double> first_order_features(const Region& region, const Options& options) {
  const std::vector<double>& values = region.values;
  const auto n = static_cast<double>(values.size());
  std::vector<double> sorted = values;
  std::sort(sorted.begin(), sorted.end());

  const double mean = mean_of(values, 0, values.size());
  double energy = 0.0;
  double m2 = 0.0;
  double m3 = 0.0;
  double m4 = 0.0;
  for (const double value : values) {
    const double shifted = value + options.voxel_array_shift;
    energy += shifted * shifted;
    const double off = value - mean;
    m2 += off * off;
    m3 += off * off * off;
    m4 += off * off * off * off;
  }
  m2 /= n;
  m3 /= n;
  m4 /= n;
  const bool flat = sorted.front() == sorted.back();

  std::map<std::int32_t, std::size_t> histogram;
  for (const std::uint32_t place : region.voxels) ++histogram[region.level[place]];
  double entropy = 0.0;
  double uniformity = 0.0;
  for (const auto& [level, count] : histogram) {
    const double p = static_cast<double>(count) / n;
    entropy -= p * std::log2(p + std::numeric_limits<double>::epsilon());
    uniformity += p * p;
  }

  const double p10 = percentile(sorted, 0.10);
  const double p90 = percentile(sorted, 0.90);
  const auto robust_first = static_cast<std::size_t>(
      std::lower_bound(sorted.begin(), sorted.end(), p10) - sorted.begin());
  const auto robust_last = static_cast<std::size_t>(
      std::upper_bound(sorted.begin(), sorted.end(), p90) - sorted.begin());
  // Two values have none between their percentiles; pyradiomics' mean of nothing is NaN.
  const double robust = robust_first < robust_last
                            ? mean_deviation(sorted, robust_first, robust_last)
                            : std::numeric_limits<double>::quiet_NaN();
  const double voxel_mm3 = region.spacing_mm[0] * region.spacing_mm[1] * region.spacing_mm[2];

  std::vector<double> out = {p10,
                             p90,
                             energy,
                             entropy,
                             percentile(sorted, 0.75) - percentile(sorted, 0.25),
                             flat ? 0.0 : m4 / (m2 * m2),
                             sorted.back(),
                             mean_deviation(values, 0, values.size()),
                             mean,
                             percentile(sorted, 0.50),
                             sorted.front(),
                             sorted.back() - sorted.front(),
                             robust,
                             std::sqrt(energy / n),
                             flat ? 0.0 : m3 / std::pow(m2, 1.5),
                             energy * voxel_mm3,
                             uniformity,
                             flat ? 0.0 : m2};
  if (options.standard_deviation) out.push_back(flat ? 0.0 : std::sqrt(m2));
  return out;
}

}  // namespace med3d::radiomics
