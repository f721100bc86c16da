// What a model is worth to someone who acts at a given risk: net benefit over thresholds.
//
//   net benefit(p) = TP - FP p / (1 - p)
//   TP = P(risk >= p) (1 - S(t | risk >= p)),   FP = P(risk >= p) S(t | risk >= p)
//
// S by Kaplan-Meier among those with risk >= p, so patients lost before the horizon count with what
// is known of them. p / (1 - p): how many unnecessary treatments one found event is worth. Treating
// nobody has 0, treating everybody (1 - S(t)) - S(t) p / (1 - p).
//
// times            (n,) follow-up
// risk             (n,) probability of the event by the horizon, in [0, 1]
// threshold        (k,) in (0, 1)
//
// Nobody at or above a threshold: net benefit 0. Their follow-up ends before the horizon: not
// estimable. Cost O(k n log n).
// Throws Error(kData) for bad risks, Error(kUsage) for a bad threshold or horizon.
//
// Source: Vickers and Elkin, Med Decis Making 26(6):565-574, 2006; Vickers et al., BMC Med Inform
// Decis Mak 8:53, 2008 (censoring). doi:10.1186/1472-6947-8-53
// Checked against: by hand; the binary formula without censoring.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "med3d/stats/estimate.h"
#include "med3d/stats/survival/times.h"

namespace med3d::stats::survival {

struct NetBenefit {
  double threshold = 0.0;
  std::int64_t n_positive = 0;  // risk >= threshold
  Estimate model;               // no intervals: bootstrap them
  Estimate treat_all;           // treating nobody is 0
};

std::vector<NetBenefit> decision_curve(const SurvivalTimes& times,
                                       std::span<const double> risk,
                                       double horizon_months,
                                       std::span<const double> threshold);

}  // namespace med3d::stats::survival
