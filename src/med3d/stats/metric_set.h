// The fixed set of measures printed beside every model, each with an interval or a reason.
//
// One call, one row: ranking, decisions at one threshold, calibration. The threshold must come from
// validation data; this function cannot know, the caller must.
//
// label         (n,) 1 = positive class, 0 = negative
// probability   (n,) predicted probability of the positive class, in [0, 1]
// threshold     positive when probability >= threshold
//
// Keys, always all of them and in this order: auroc, auprc, prevalence, accuracy,
// balanced_accuracy, sensitivity, specificity, precision, npv, f1, precision_negative,
// recall_negative, f1_negative, mcc, brier, log_loss, calibration_intercept, calibration_slope.
//
// Intervals: DeLong on the logit scale for auroc, bootstrap over patients for all others (by
// options.interval). A resample without both classes is drawn again and counted (a set of one class
// is resampled plainly). A metric that is undefined in more than 10 % of the resamples has a value
// and no interval.
//
// Cost O(repeats * n log n). Same result at any number of threads.
// Throws Error(kData) for bad labels or probabilities, Error(kUsage) for bad options.
// Source: the headers named below. Checked against: scikit-learn 1.2.1 values, R pROC,
// identities.h.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "med3d/stats/calibration.h"
#include "med3d/stats/classification.h"
#include "med3d/stats/curves.h"
#include "med3d/stats/delong.h"
#include "med3d/stats/estimate.h"
#include "med3d/stats/identities.h"
#include "med3d/stats/intervals.h"

namespace med3d::stats {

struct EvaluateOptions {
  int bootstrap_repeats = 1000;  // 0 = no bootstrap intervals (inside tuning loops)
  std::uint64_t seed = 0;
  int threads = 1;
  double confidence = 0.95;
  IntervalKind interval = IntervalKind::kPercentile;

  void validate() const;  // throws Error(kUsage) naming the field
};

struct MetricSet {
  std::vector<NamedEstimate> metrics;
  Confusion confusion;
  double threshold = 0.5;
  std::int64_t n = 0;
  std::int64_t positives = 0;
  std::int64_t negatives = 0;
  std::int64_t redrawn = 0;  // bootstrap samples drawn again for want of a class

  // Throws Error(kNotFound) naming the key.
  const Estimate& at(const std::string& name) const;
};

// The keys, in order.
std::span<const char* const> metric_names();

// Only the metrics, values without bootstrap intervals when bootstrap_repeats is 0.
std::vector<NamedEstimate> evaluate(std::span<const std::uint8_t> label,
                                    std::span<const double> probability,
                                    double threshold,
                                    const EvaluateOptions& options = {});

// The metrics with the counts they rest on.
MetricSet evaluate_set(std::span<const std::uint8_t> label,
                       std::span<const double> probability,
                       double threshold,
                       const EvaluateOptions& options = {});

// The same where each patient was judged at a threshold of their own, as in cross-validation, where
// every fold has one: `predicted` (n,) in {0, 1} is what the threshold metrics rest on, `threshold`
// (their mean, say) is only carried along.
MetricSet evaluate_set(std::span<const std::uint8_t> label,
                       std::span<const double> probability,
                       std::span<const std::uint8_t> predicted,
                       double threshold,
                       const EvaluateOptions& options = {});

// The row of "always the majority class": everyone gets the same probability, the share of
// positives, and is called by it at threshold 0.5 (positive at exactly 0.5). Print it beside every
// model: an F1 below this row's says that the model does not know the disease better than a coin
// that always falls on one side.
//
// training_prevalence   share of positives where the model was trained; default: of this set, which
//                       no model could have known (its Brier and log loss are then the best any
//                       constant can reach)
MetricSet majority_class_row(std::span<const std::uint8_t> label,
                             const EvaluateOptions& options = {},
                             std::optional<double> training_prevalence = std::nullopt);

}  // namespace med3d::stats
