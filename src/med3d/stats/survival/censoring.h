// The distribution of censoring, and the weights by inverse probability of censoring (IPCW) that
// make up for patients lost before their outcome was known.
//
//   G(t) = P(C > t) = product over censoring times s <= t of (1 - c_s / (n_s - d_s))
//
// n_s patients at risk just before s, d_s events and c_s censorings at s. At equal times events
// leave the risk set before censorings: whoever had the event at s was not there to be lost at s.
// (Kaplan-Meier with the marks exchanged would do it the other way round.)
//
// A patient whose outcome by time t is known carries 1 / G: of the time just before the event if
// there was one, of t if still watched at t.
//
// Source: Robins and Rotnitzky 1992; Graf et al., Stat Med 18(17-18):2529-2545, 1999.
// Checked against: R riskRegression (IPCW scores), R survival concordance (Uno's weights), by hand.
#pragma once

#include <vector>

#include "med3d/stats/survival/times.h"

namespace med3d::stats::survival {

class CensoringCurve {
 public:
  CensoringCurve() = default;
  // Cost O(n log n).
  explicit CensoringCurve(const SurvivalTimes& times);

  double at(double time_months) const;      // G(t); 1 before the first censoring
  double before(double time_months) const;  // G(t-)

  // Last time of the set: beyond it nothing is known of censoring, and at() keeps its last value.
  double longest() const { return longest_; }

  // Can a weight 1 / G(t-) be had: t <= longest() and G(t-) > 0.
  bool supports(double time_months) const;

 private:
  std::vector<double> time_;  // distinct times with a censoring
  std::vector<double> value_;
  double longest_ = 0.0;
};

}  // namespace med3d::stats::survival
