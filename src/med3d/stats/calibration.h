// Are the predicted probabilities true as probabilities? Brier score, log loss, calibration
// intercept and slope, and the binned table behind a calibration plot.
//
// label         (n,) 1 = positive class, 0 = negative
// probability   (n,) predicted probability of the positive class, in [0, 1]
//
// All throw Error(kData) if sizes differ, a label is not 0 or 1, or a probability is not in [0, 1].
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "med3d/stats/estimate.h"

namespace med3d::stats {

// Brier score: mean (probability - label)^2; 0 is perfect, p(1 - p) is what the prevalence earns.
// Source: Brier, Mon Weather Rev 78(1):1-3, 1950. Checked against: scikit-learn 1.2.1.
Estimate brier(std::span<const std::uint8_t> label, std::span<const double> probability);

// Probabilities are moved this far off 0 and 1 before a logarithm: the spacing of doubles at 1, as
// scikit-learn 1.2 does for doubles (up to 1.1 it was 1e-15, which its documentation still shows).
inline constexpr double kProbabilityClip = std::numeric_limits<double>::epsilon();

// Log loss: - mean (label log p + (1 - label) log(1 - p)), natural logarithm. One confident error
// at p = 0 costs 36, by the clip above.
// Checked against: scikit-learn 1.2.1.
Estimate log_loss(std::span<const std::uint8_t> label,
                  std::span<const double> probability,
                  double clip = kProbabilityClip);

// Logistic recalibration.
//
//   intercept (calibration in the large):  logit P(y = 1) = a + logit(p)          ideal a = 0
//   slope:                                 logit P(y = 1) = c + b logit(p)        ideal b = 1
//
// a > 0: predictions too low on average. b < 1: predictions too extreme (over-fitting). Fitted by
// Newton's method with step halving; intervals are Wald's. Not estimable: one class; for the slope
// also a constant probability, or a threshold that separates the classes (the slope is infinite);
// a fit that does not converge in 100 steps.
// Probabilities of exactly 0 or 1 are clipped (kProbabilityClip) and counted: they have no logit
// and pull the slope towards 0.
//
// Source: Cox, Biometrika 45(3/4):562-565, 1958; Van Calster et al., J Clin Epidemiol 74:167-176,
// 2016. doi:10.1016/j.jclinepi.2015.12.005
// Checked against: two-group data whose fit has a closed form, and the score equations.
struct CalibrationFit {
  Estimate intercept;  // a, slope fixed at 1
  Estimate slope;      // b, with its own intercept
  double slope_model_intercept = std::numeric_limits<double>::quiet_NaN();  // c
  std::int64_t clipped = 0;  // probabilities that were exactly 0 or 1 (or nearer than the clip)
};

CalibrationFit calibration_fit(std::span<const std::uint8_t> label,
                               std::span<const double> probability,
                               double confidence = 0.95);

enum class BinStrategy {
  kUniform,   // bins of equal width
  kQuantile,  // bins of equal numbers of patients, up to ties
};

struct CalibrationBin {
  double lower = 0.0;  // bin edges; a value on an inner edge belongs to the bin below
  double upper = 0.0;
  std::int64_t n = 0;             // patients, at least 1
  double mean_probability = 0.0;  // predicted
  Estimate observed;              // share of positives, with its Wilson interval
};

// Bins with at least one patient, lowest first.
//
// Throws Error(kUsage) if n_bins < 1.
// Source and check: scikit-learn 1.2.1 calibration_curve, both strategies.
std::vector<CalibrationBin> calibration_table(std::span<const std::uint8_t> label,
                                              std::span<const double> probability,
                                              int n_bins = 10,
                                              BinStrategy strategy = BinStrategy::kUniform,
                                              double confidence = 0.95);

}  // namespace med3d::stats
