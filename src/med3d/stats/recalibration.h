// How often the event came among patients of whom a model said p: a logistic recalibration on
// held-out predictions, with the interval of that rate.
//
//   logit P(y = 1) = a + b x,   x = logit(p),   interval of P: a + b x -+ z sqrt(var(a + b x))
//   var(a + b x) = V_aa + 2 x V_ab + x^2 V_bb
//
// V is the sandwich A^-1 B A^-1 m / (m - 2): A the information of the fit, B the sum over the m
// patients of the outer product of each one's score. It holds where the line is only nearly right
// and where a patient has several predictions (repeated cross-validation), which count together as
// one patient. p is moved to [1e-6, 1 - 1e-6] first.
//
// The interval is that of the share of patients with such a prediction who had the event. It says
// how well this share is known, not how certain the fate of one patient is.
//
// Not estimable with fewer than 10 patients with or without the event (a line through fewer is a
// guess), and where a threshold on p parts the classes (the slope is infinite). Where all p are the
// same the slope is 0 and the rate that of all.
//
// Source: Cox, Biometrika 45(3/4):562-565, 1958; Liang and Zeger, Biometrika 73(1):13-22, 1986.
// Checked against: two groups, whose rate and variance have a closed form; numpy and scipy, written
// out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "med3d/stats/estimate.h"

namespace med3d::stats {

struct RecalibratedRate {
  double intercept = 0.0;
  double slope = 0.0;
  double var_intercept = 0.0;
  double covariance = 0.0;
  double var_slope = 0.0;
  std::size_t n = 0;          // patients
  std::size_t events = 0;     // of them
  std::string not_estimable;  // the reason, or empty

  // The rate where a model says `probability`; NaN in, "not estimable" out.
  Estimate at(double probability, double confidence = 0.95) const;
};

// label         (n,) 0 or 1, the same in all rows of a patient
// probability   (n,) held-out predictions, in [0, 1]
// patient       (n,) any numbers: rows of one number are one patient
//
// Cost O(n log n). Throws Error(kData) if sizes differ or a value is out of range.
RecalibratedRate fit_recalibrated_rate(std::span<const std::uint8_t> label,
                                       std::span<const double> probability,
                                       std::span<const std::size_t> patient);

}  // namespace med3d::stats
