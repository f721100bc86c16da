// ROC and precision-recall curves, the areas under them, and bootstrap bands around them.
//
// label   (n,) 1 = positive class, 0 = negative
// score   (n,) any finite number, higher = more likely positive; probabilities are scores
//
// Tied scores make one point of a curve, so no order among tied patients can matter.
// Throws Error(kData) if sizes differ, a label is not 0 or 1, or a score is not finite.
//
// Source: scikit-learn 1.2 roc_curve, precision_recall_curve, average_precision_score,
// roc_auc_score; Fawcett, Pattern Recognit Lett 27(8):861-874, 2006 (vertical averaging).
// Checked against: scikit-learn 1.2.1 on 20 cases, tolerance 1e-12, and by hand.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "med3d/stats/estimate.h"

namespace med3d::stats {

// Points from (0, 0) to (1, 1), thresholds falling; the first threshold is max(score) + 1, which
// nobody reaches (scikit-learn 1.2; later versions write infinity).
struct RocCurve {
  std::vector<double> fpr;
  std::vector<double> tpr;
  std::vector<double> threshold;
  std::string not_estimable;  // one class: the axis of the absent class is NaN, as scikit-learn
};

// drop_intermediate leaves out points inside a straight run; the curve drawn is the same.
// Cost O(n log n).
RocCurve roc_curve(std::span<const std::uint8_t> label,
                   std::span<const double> score,
                   bool drop_intermediate = true);

// Points with thresholds rising, so recall falls from 1; a last point (precision 1, recall 0)
// without a threshold closes the curve: precision and recall are one longer than threshold.
// Without positives recall is 1 throughout (scikit-learn) and not_estimable says so.
struct PrCurve {
  std::vector<double> precision;
  std::vector<double> recall;
  std::vector<double> threshold;
  std::string not_estimable;
};

PrCurve precision_recall_curve(std::span<const std::uint8_t> label, std::span<const double> score);

// Area under the ROC curve: the share of (positive, negative) pairs in the right order, ties half.
//   AUROC = (sum of midranks of positives - n1 (n1 + 1) / 2) / (n1 n0)
// Counted in integers, so exact up to one division. Not estimable with one class. O(n log n).
Estimate auroc(std::span<const std::uint8_t> label, std::span<const double> score);

// Average precision: sum over points of (recall step) * precision, the area under the step curve.
// Its floor is the prevalence, not 0.5. Not estimable with one class (scikit-learn prints 0 or 1).
Estimate average_precision(std::span<const std::uint8_t> label, std::span<const double> score);

// Trapezoid area under the precision-recall points. Optimistic: a straight line between two points
// cannot be reached by any threshold. Offered to compare with published numbers; prefer the above.
Estimate pr_auc_trapezoid(std::span<const std::uint8_t> label, std::span<const double> score);

// The curve read at an abscissa.
// ROC: linear between points; where the curve rises vertically, its top.
// Precision at a recall: the precision of the highest threshold whose recall is at least that, and
// at recall 0 that of the first threshold which finds a positive (no interpolation, as in average
// precision).
double tpr_at(const RocCurve& curve, double fpr);
double precision_at(const PrCurve& curve, double recall);

struct BandOptions {
  int repeats = 1000;        // bootstrap samples; 1000 settles a 95 % limit to about two digits
  std::uint64_t seed = 0;    // same seed, same band, at any thread count
  int threads = 1;           // at least 1
  double confidence = 0.95;  // pointwise, not for the curve as a whole
  int grid_points = 101;     // abscissae 0, 0.01, ..., 1

  void validate() const;  // throws Error(kUsage) naming the field
};

// Vertically averaged bootstrap band. Patients are drawn with replacement; a draw without both
// classes is drawn again and counted.
struct CurveBand {
  std::vector<double> grid;   // fpr (ROC) or recall (PR)
  std::vector<double> value;  // the curve of the set itself
  std::vector<double> mean;   // mean of the resampled curves
  std::vector<double> low;    // pointwise percentile limits
  std::vector<double> high;
  std::int64_t redrawn = 0;
  std::string not_estimable;  // one class: all vectors but grid are empty
};

CurveBand roc_band(std::span<const std::uint8_t> label,
                   std::span<const double> score,
                   const BandOptions& options = {});
CurveBand pr_band(std::span<const std::uint8_t> label,
                  std::span<const double> score,
                  const BandOptions& options = {});

}  // namespace med3d::stats
