// Quantities of the 2x2 table: what a classifier at one threshold got right and wrong.
//
//   sensitivity = tp / (tp + fn)      precision = tp / (tp + fp)      F1 = 2 tp / (2 tp + fp + fn)
//   specificity = tn / (tn + fp)      npv       = tn / (tn + fn)
//   balanced accuracy = (sensitivity + specificity) / 2
//   MCC   = (tp tn - fp fn) / sqrt((tp+fp)(tp+fn)(tn+fp)(tn+fn)), 0 if one class is never predicted
//   kappa = (po - pe) / (1 - pe), po observed and pe chance agreement
//
// Conventions: a patient is predicted positive when probability >= threshold. "Of the negative
// class" means the same formula with the classes swapped, so precision_negative is the NPV and
// recall_negative is the specificity. Macro = plain mean of both classes, weighted = mean weighted
// by the number of patients of each class.
//
// What a set cannot support is Estimate::none with the reason:
//   - balanced accuracy, MCC, kappa, macro and weighted values: a class is absent from the labels.
//     (scikit-learn then prints the recall of the other class as balanced accuracy: a published
//     "P 1.000, R 0.667, BA 0.667" came about that way.)
//   - sensitivity: no positives. specificity: no negatives. precision: nobody predicted positive.
//     npv: nobody predicted negative. F1: neither present nor predicted.
//   ZeroDivision::kZero gives scikit-learn's 0 for the second group, and its macro and weighted
//   values also for one class; it exists to compare with other people's numbers. Balanced
//   accuracy, MCC and kappa of one class stay not estimable even then.
//
// Cost O(n) for the table, O(1) for each quantity.
// Throws Error(kData) if sizes differ, a label is not 0 or 1, a probability is not in [0, 1];
// Error(kUsage) if the threshold is NaN or a count is negative.
//
// Source: scikit-learn 1.2 sklearn.metrics, whose values these equal wherever both classes exist;
// Matthews, BBA 405(2):442-451, 1975; Cohen, Educ Psychol Meas 20(1):37-46, 1960.
// Checked against: scikit-learn 1.2.1 on 20 cases, tolerance 1e-9, and by hand.
#pragma once

#include <cstdint>
#include <span>

#include "med3d/stats/estimate.h"

namespace med3d::stats {

struct Confusion {
  std::int64_t tn = 0;
  std::int64_t fp = 0;
  std::int64_t fn = 0;
  std::int64_t tp = 0;

  std::int64_t n() const { return tn + fp + fn + tp; }
  std::int64_t positives() const { return tp + fn; }
  std::int64_t negatives() const { return tn + fp; }
  std::int64_t predicted_positives() const { return tp + fp; }
  std::int64_t predicted_negatives() const { return tn + fn; }
  // The same table seen from the other class.
  Confusion swapped() const { return {tp, fn, fp, tn}; }

  friend bool operator==(const Confusion&, const Confusion&) = default;
};

enum class ZeroDivision {
  kNotEstimable,  // 0/0 has no value
  kZero,          // 0/0 is 0, as scikit-learn returns beside a warning
};

Confusion confusion(std::span<const std::uint8_t> label,
                    std::span<const double> probability,
                    double threshold = 0.5);
// predicted   (n,) 0 or 1
Confusion confusion(std::span<const std::uint8_t> label, std::span<const std::uint8_t> predicted);

Estimate prevalence(const Confusion& c);  // positives / n
Estimate accuracy(const Confusion& c);
Estimate balanced_accuracy(const Confusion& c);
Estimate mcc(const Confusion& c);
Estimate cohen_kappa(const Confusion& c);

Estimate sensitivity(const Confusion& c, ZeroDivision zero = ZeroDivision::kNotEstimable);
Estimate specificity(const Confusion& c, ZeroDivision zero = ZeroDivision::kNotEstimable);
Estimate precision(const Confusion& c, ZeroDivision zero = ZeroDivision::kNotEstimable);
Estimate npv(const Confusion& c, ZeroDivision zero = ZeroDivision::kNotEstimable);
Estimate f1(const Confusion& c, ZeroDivision zero = ZeroDivision::kNotEstimable);
Estimate f1_negative(const Confusion& c, ZeroDivision zero = ZeroDivision::kNotEstimable);

Estimate macro_precision(const Confusion& c, ZeroDivision zero = ZeroDivision::kNotEstimable);
Estimate macro_recall(const Confusion& c, ZeroDivision zero = ZeroDivision::kNotEstimable);
Estimate macro_f1(const Confusion& c, ZeroDivision zero = ZeroDivision::kNotEstimable);
Estimate weighted_precision(const Confusion& c, ZeroDivision zero = ZeroDivision::kNotEstimable);
Estimate weighted_f1(const Confusion& c, ZeroDivision zero = ZeroDivision::kNotEstimable);

}  // namespace med3d::stats
