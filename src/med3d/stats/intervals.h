// Confidence intervals and comparisons that need no model of the data: Wilson, bootstrap, McNemar,
// paired differences, Holm.
//
// Everything here counts patients. A patient with several scans is one row: aggregate first, or
// the intervals are too narrow.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "med3d/core/matrix.h"
#include "med3d/stats/estimate.h"

namespace med3d::stats {

// Wilson score interval of a proportion; stays in [0, 1] and is honest at 0 of n and n of n.
//
//   (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)
//
// Not estimable for trials = 0. Throws Error(kUsage) unless 0 <= successes <= trials.
// Source: Wilson, JASA 22(158):209-212, 1927. doi:10.1080/01621459.1927.10502953
// Checked against: hand computation.
Estimate wilson(std::int64_t successes, std::int64_t trials, double confidence = 0.95);

enum class IntervalKind {
  kPercentile,  // quantiles of the resampled values
  kBca,         // bias-corrected and accelerated: n more evaluations, better for skewed statistics
};

// Computes one or more statistics of the patients in `rows` (indices into the set, repeats
// allowed). NaN = this sample cannot support it. Called from several threads at once.
using Statistic = std::function<void(std::span<const std::size_t> rows, std::span<double> value)>;

struct BootstrapOptions {
  int repeats = 1000;        // 1000 settles a 95 % limit to about two digits
  std::uint64_t seed = 0;    // repeat r draws from derive_seed(seed, "bootstrap", {r})
  int threads = 1;           // no effect on the result
  double confidence = 0.95;  //
  IntervalKind interval = IntervalKind::kPercentile;
  // One stratum number per patient: each stratum keeps its size in every sample. Empty = plain.
  std::vector<std::int64_t> strata;
  // A sample it refuses is drawn again, and counted. Empty = every sample is taken.
  std::function<bool(std::span<const std::size_t> rows)> accept;

  void validate(std::size_t n) const;  // throws Error(kUsage) naming the field
};

// A statistic that is NaN in more than this share of the samples gets no interval: what is left
// would be a selection of the fortunate ones.
inline constexpr double kMaxUndefinedShare = 0.1;

struct BootstrapResult {
  std::vector<Estimate> estimate;       // per statistic: value of the set itself, and interval
  Matrix<double> replicate;             // (repeats, statistics), NaN where undefined
  std::vector<std::int64_t> undefined;  // per statistic: samples in which it was NaN
  std::int64_t redrawn = 0;             // samples refused by accept
};

// Bootstrap of any set of statistics over patients.
//
// n                 patients
// n_statistics      how many values `statistic` writes
//
// Cost repeats (+ n for BCa) calls of `statistic`, and repeats * n_statistics doubles.
// Throws Error(kData) if n is 0 or a sample was refused 10000 times in a row.
// Source: Efron, JASA 82(397):171-185, 1987 (BCa). doi:10.1080/01621459.1987.10478410
// Checked against: hand-computed limits, the normal theory interval of a mean, thread invariance.
BootstrapResult bootstrap(std::size_t n,
                          std::size_t n_statistics,
                          const Statistic& statistic,
                          const BootstrapOptions& options = {});

// The same for one statistic, plain and percentile.
Estimate bootstrap(std::size_t n,
                   int repeats,
                   std::uint64_t seed,
                   const std::function<double(std::span<const std::size_t> rows)>& statistic);

// Difference of a metric between two models on the same patients, first minus second: every sample
// takes the same patients from both.
struct PairedDifference {
  Estimate difference;
  double p = std::numeric_limits<double>::quiet_NaN();  // two-sided, see below
  std::int64_t redrawn = 0;
  std::int64_t undefined = 0;
};

// p = min(1, 2 min(#{d <= 0} + 1, #{d >= 0} + 1) / (repeats + 1)): it never says 0.
PairedDifference paired_bootstrap(
    std::size_t n,
    const std::function<double(std::span<const std::size_t> rows)>& first,
    const std::function<double(std::span<const std::size_t> rows)>& second,
    const BootstrapOptions& options = {});

struct McNemar {
  std::int64_t only_first = 0;   // patients the first model got right and the second wrong
  std::int64_t only_second = 0;  // the reverse
  bool exact = false;            // binomial test below 25 discordant pairs, chi-squared from there
  double statistic = 0.0;        // (max(0, |b - c| - 1))^2 / (b + c); 0 when exact
  double p = 1.0;                // two-sided
};

// Do two classifiers err differently on the same patients? Only discordant pairs speak.
//
// Throws Error(kUsage) on a negative count, Error(kData) if sizes differ.
// Source: McNemar, Psychometrika 12(2):153-157, 1947; Edwards' continuity correction.
// Checked against: hand computation.
McNemar mcnemar(std::int64_t only_first, std::int64_t only_second);
// correct_first, correct_second   (n,) 1 = that model was right
McNemar mcnemar(std::span<const std::uint8_t> correct_first,
                std::span<const std::uint8_t> correct_second);

// Holm's step-down correction: p-values adjusted for having made this many tests, in input order.
//
//   adjusted_(i) = max over j <= i of min(1, (m - j + 1) p_(j)),  p_(1) <= ... <= p_(m)
//
// Throws Error(kData) if a p-value is not in [0, 1].
// Source: Holm, Scand J Stat 6(2):65-70, 1979.
// Checked against: hand computation.
std::vector<double> holm(std::span<const double> p_value);

// Benjamini and Hochberg's step-up correction: p-values adjusted so that, of those called
// significant at a level, at most that share is expected to be false. Weaker than holm(), which
// guards against any false one. In input order.
//
//   adjusted_(i) = min over j >= i of min(1, m p_(j) / j),  p_(1) <= ... <= p_(m)
//
// Throws Error(kData) if a p-value is not in [0, 1].
// Source: Benjamini and Hochberg, J R Stat Soc B 57(1):289-300, 1995.
// Checked against: hand computation, the example of that paper.
std::vector<double> benjamini_hochberg(std::span<const double> p_value);

}  // namespace med3d::stats
