// Sampling error of the AUROC, and whether two AUROCs of the same patients differ (DeLong).
//
// With V10[i] the share of negatives that positive i beats (ties half), V01[j] the share of
// positives that beat negative j:
//
//   var(AUROC) = S10 / n1 + S01 / n0,   S10, S01 sample (co)variances of V10, V01
//   z = (A - B) / sqrt(var A + var B - 2 cov(A, B)),   p two-sided normal
//
// label    (n,) 1 = positive class, 0 = negative; both needed, and two of each for a variance
// score    (n,) finite, higher = more likely positive
//
// Two intervals come of this variance, L(x) = log(x / (1 - x)):
//
//   logit   L^-1(L(AUROC) -+ z se / (AUROC (1 - AUROC)))    the one to print
//   wald    AUROC -+ z se, cut to [0, 1]                    as pROC prints it, to compare with it
//
// wald is too short in small cohorts and on the wrong side: of 10 + 10 patients whose scores mean
// nothing, 7 in 100 get one without 0.5, 10 + 10 at 0.9 hold the truth 86 times in 100. logit holds
// it 95 to 97 times there, and 97 to 99 times with 5 + 5; where positives scatter twice as much and
// are few (10 + 30) 91 to 95 (docs/validation.md has the table of all methods tried).
//
// Conventions: a variance of 0 (all positives above all negatives, or all scores equal) does not
// mean certainty: then there is a value but no interval, where pROC prints [1, 1]. Higher scores
// always mean positive; pROC turns the direction when that looks better, which we never do.
//
// Cost O(n log n) through midranks.
// Throws Error(kData) if sizes differ, a label is not 0 or 1, or a score is not finite;
// Error(kUsage) if confidence is not in (0, 1).
//
// Source: DeLong, DeLong, Clarke-Pearson, Biometrics 44(3):837-845, 1988; Sun and Xu, IEEE Signal
// Process Lett 21(11):1389-1393, 2014 (midranks). doi:10.1109/LSP.2014.2337313
// Logit: Pepe, The Statistical Evaluation of Medical Tests, Oxford, 2003, section 5.2.
// Checked against: R pROC on its aSAH data (wald), tolerance 1e-10; by hand (both); the share of
// intervals that hold the truth (bench/python/auroc_coverage.py).
#pragma once

#include <cstdint>
#include <limits>
#include <span>

#include "med3d/stats/estimate.h"

namespace med3d::stats {

struct AurocDelong {
  Estimate auroc;                                              // interval: logit
  Estimate wald;                                               // the same value; interval: wald
  double variance = std::numeric_limits<double>::quiet_NaN();  // NaN below two of either class
};

AurocDelong auroc_delong(std::span<const std::uint8_t> label,
                         std::span<const double> score,
                         double confidence = 0.95);

struct AurocDifference {
  Estimate first;  // as AurocDelong::auroc
  Estimate second;
  Estimate difference;  // first - second, not cut
  double variance = std::numeric_limits<double>::quiet_NaN();
  double z = std::numeric_limits<double>::quiet_NaN();  // NaN when the variance is 0 or unknown
  double p = std::numeric_limits<double>::quiet_NaN();
};

// Both scores for the same patients in the same order.
AurocDifference auroc_difference(std::span<const std::uint8_t> label,
                                 std::span<const double> first,
                                 std::span<const double> second,
                                 double confidence = 0.95);

}  // namespace med3d::stats
