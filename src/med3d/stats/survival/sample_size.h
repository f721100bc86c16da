// How many patients and events a survival model with so many parameters needs (Riley's criteria).
//
//   1. shrinkage:  n = p / ((S - 1) log(1 - R2 / S)),  S = 0.9: over-fitting of at most 10 %
//   2. optimism:   the same with S = R2 / (R2 + 0.05 max R2): apparent and true Nagelkerke R2
//   differ
//                  by at most 0.05
//   3. risk:       95 % limits of the overall risk at the horizon, 1 - exp(-(rate -+ 1.96 sqrt(rate
//   /
//                  (n follow-up))) t), no further than 0.05 from it
//
//   max R2 = 1 - exp(2 (e log e - e)),   e = rate * mean follow-up, events per patient
//
// R2 is Cox and Snell's, of the model as it will be after correction for optimism: from a published
// model, or R2 = 1 - exp(-likelihood ratio / n).
//
// Source: Riley et al., Stat Med 38(7):1276-1296, 2019. doi:10.1002/sim.7992
// Checked against: the worked example of that paper and of R pmsampsize (R2 0.051, 30 parameters,
// 0.065 events per year, horizon 2 years, follow-up 2.07 years: 5143 patients, 692 events;
// criterion 2: 1039).
#pragma once

#include <cstdint>
#include <string>

namespace med3d::stats::survival {

struct SampleSizeOptions {
  int parameters = 1;           // candidate coefficients, before any selection; >= 1
  double r_squared = 0.0;       // Cox-Snell, in (0, max R2)
  double event_rate = 0.0;      // events per unit of time; > 0
  double mean_follow_up = 0.0;  // same unit of time; > 0
  double horizon = 0.0;         // same unit of time; > 0
  double shrinkage = 0.9;       // in (0, 1)
  double margin = 0.05;         // of criteria 2 and 3; in (0, 1)

  void validate() const;  // throws Error(kUsage)
};

struct SampleSize {
  std::int64_t n_shrinkage = 0;
  std::int64_t n_optimism = 0;
  std::int64_t n_risk = 0;
  std::int64_t n = 0;       // the largest of the three
  std::int64_t events = 0;  // expected among them, rounded up
  double events_per_parameter = 0.0;
  double max_r_squared = 0.0;
};

// Throws Error(kUsage) for bad options.
SampleSize sample_size(const SampleSizeOptions& options);

// The other way round: how many parameters n patients support at a shrinkage (criterion 1), rounded
// down; 0 means none. Throws Error(kUsage) unless n >= 0, 0 < r_squared < shrinkage < 1.
std::int64_t max_parameters(std::int64_t n, double r_squared, double shrinkage = 0.9);

}  // namespace med3d::stats::survival
