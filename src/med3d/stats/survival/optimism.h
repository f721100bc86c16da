// How much better a model looks on the patients it was fitted on than it is: Harrell's bootstrap.
//
//   optimism  = mean over samples r of [ score(model_r on sample r) - score(model_r on all) ]
//   corrected = apparent - optimism,   apparent = score(model of all on all)
//
// model_r is fitted on sample r from the very start: every choice the data made (selection of
// covariates, lambda, imputation) belongs into `fit`, or the optimism is too small.
//
// n           patients
// n_scores    how many values `score` writes
// fit         Model fit(std::span<const std::size_t> rows): rows may repeat
// score       void score(const Model&, std::span<const std::size_t> rows, std::span<double> value):
//             NaN where a sample cannot support it; such samples are left out and counted
//
// Both are called from several threads at once. The result does not depend on `threads`.
// Throws Error(kUsage) for bad options, Error(kData) for n = 0, and what fit and score throw.
//
// Source: Harrell, Lee, Mark, Stat Med 15(4):361-387, 1996; Efron, JASA 78(382):316-331, 1983.
// Checked against: by hand; the known optimism of the variance of a mean.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <span>
#include <vector>

#include "med3d/core/matrix.h"
#include "med3d/core/parallel.h"
#include "med3d/stats/estimate.h"

namespace med3d::stats::survival {

struct OptimismOptions {
  int repeats = 200;       // settles the mean; intervals would need more
  std::uint64_t seed = 0;  // sample r draws from derive_seed(seed, "optimism", {r})
  int threads = 1;         // no effect on the result

  void validate(std::size_t n) const;
};

// Rows of sample r: n draws with replacement.
std::vector<std::size_t> optimism_sample(std::size_t n, std::uint64_t seed, std::size_t repeat);

struct Optimism {
  Estimate apparent;
  Estimate optimism;
  Estimate corrected;          // no interval: the spread of the optimism is not that of the score
  std::int64_t undefined = 0;  // samples left out
};

// One result per score. Not estimable where the set cannot support the score, or more than a tenth
// of the samples (kMaxUndefinedShare in intervals.h) could not.
std::vector<Optimism> summarise_optimism(std::span<const double> apparent,
                                         const Matrix<double>& optimism);

template <class Fit, class Score>
std::vector<Optimism> optimism_bootstrap(std::size_t n,
                                         std::size_t n_scores,
                                         const Fit& fit,
                                         const Score& score,
                                         const OptimismOptions& options = {}) {
  options.validate(n);
  std::vector<std::size_t> all(n);
  std::iota(all.begin(), all.end(), std::size_t{0});
  const double nan = std::numeric_limits<double>::quiet_NaN();
  std::vector<double> apparent(n_scores, nan);
  {
    const auto model = fit(std::span<const std::size_t>(all));
    score(model, std::span<const std::size_t>(all), std::span<double>(apparent));
  }
  Matrix<double> optimism(static_cast<std::size_t>(options.repeats), n_scores, nan);
  parallel_for(optimism.rows(), options.threads, [&](std::size_t r) {
    const std::vector<std::size_t> rows = optimism_sample(n, options.seed, r);
    const auto model = fit(std::span<const std::size_t>(rows));
    std::vector<double> on_all(n_scores, nan);
    score(model, std::span<const std::size_t>(rows), optimism.row(r));
    score(model, std::span<const std::size_t>(all), std::span<double>(on_all));
    for (std::size_t s = 0; s < n_scores; ++s) optimism(r, s) -= on_all[s];
  });
  return summarise_optimism(apparent, optimism);
}

}  // namespace med3d::stats::survival
