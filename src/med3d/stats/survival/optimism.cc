#include "med3d/stats/survival/optimism.h"

#include <fmt/format.h>

#include "med3d/core/error.h"
#include "med3d/core/random.h"
#include "med3d/stats/intervals.h"

namespace med3d::stats::survival {

void OptimismOptions::validate(std::size_t n) const {
  if (repeats < 1) {
    throw Error(ErrorKind::kUsage,
                fmt::format("{} bootstrap repeats, expected at least 1", repeats));
  }
  if (n == 0) throw Error(ErrorKind::kData, "bootstrap of 0 patients, expected at least 1");
}

std::vector<std::size_t> optimism_sample(std::size_t n, std::uint64_t seed, std::size_t repeat) {
  const std::uint64_t own = derive_seed(seed, "optimism", {repeat});
  NumpyRandom random(static_cast<std::uint32_t>(own ^ (own >> 32)));
  std::vector<std::size_t> out(n);
  for (auto& row : out) row = static_cast<std::size_t>(random.randint(n));
  return out;
}

std::vector<Optimism> summarise_optimism(std::span<const double> apparent,
                                         const Matrix<double>& optimism) {
  std::vector<Optimism> out(apparent.size());
  for (std::size_t s = 0; s < apparent.size(); ++s) {
    double sum = 0.0;
    std::int64_t defined = 0;
    for (std::size_t r = 0; r < optimism.rows(); ++r) {
      if (std::isnan(optimism(r, s))) continue;
      sum += optimism(r, s);
      ++defined;
    }
    const auto repeats = static_cast<std::int64_t>(optimism.rows());
    out[s].undefined = repeats - defined;
    const bool enough =
        static_cast<double>(out[s].undefined) <= kMaxUndefinedShare * static_cast<double>(repeats);
    if (std::isnan(apparent[s])) {
      out[s].apparent = out[s].optimism = out[s].corrected =
          Estimate::none("the set does not support it");
      continue;
    }
    out[s].apparent = Estimate::of(apparent[s]);
    if (!enough || defined == 0) {
      out[s].optimism = out[s].corrected = Estimate::none(
          fmt::format("undefined in {} of {} bootstrap samples", out[s].undefined, repeats));
      continue;
    }
    const double mean = sum / static_cast<double>(defined);
    out[s].optimism = Estimate::of(mean);
    out[s].corrected = Estimate::of(apparent[s] - mean);
  }
  return out;
}

}  // namespace med3d::stats::survival
