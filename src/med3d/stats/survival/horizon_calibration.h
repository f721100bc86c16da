// Is a predicted risk at a horizon true as a probability, although some patients were lost before?
//
//   observed O = 1 - Kaplan-Meier(t), expected E = mean risk
//   O/E                 ideal 1; above 1: risks too low on average (calibration in the large)
//   slope               coefficient of x = log(-log(1 - risk)) in a Cox model; ideal 1, below 1:
//   risks
//                       too extreme (over-fitting). Does not look at the level
//   smooth curve c(r)   1 - exp(-H0(t) exp(f(x))), Cox model with f a restricted cubic spline in x
//   ICI, E50, E90, Emax mean, median, 90th percentile and largest of |risk - c(risk)|
//
// times            (n,) follow-up
// risk             (n,) probability of the event by the horizon, in [0, 1]
// horizon_months   above 0. Beyond the last follow-up nothing at the horizon is estimable (a
// reason,
//                  no exception); the slope still is
//
// Risks nearer to 0 or 1 than 1e-9 are moved there before the logarithms, and counted. With fewer
// than 3 distinct knots the curve is linear in x, with a warning. O/E: interval on the log scale
// from Greenwood's error of the observed share, expected taken as known. Cost O(n log n) times a
// few Newton steps. Throws Error(kData) for bad risks, Error(kUsage) for bad options.
//
// Source: Royston and Altman, BMC Med Res Methodol 13:33, 2013 (slope); Austin, Harrell, van
// Klaveren, Stat Med 39(21):2714-2742, 2020 (smooth curve, ICI, E50, E90). doi:10.1002/sim.8570
// Checked against: by hand; simulated data that is calibrated, too extreme, too low by a known
// amount.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "med3d/stats/estimate.h"
#include "med3d/stats/survival/times.h"

namespace med3d::stats::survival {

struct HorizonCalibrationOptions {
  int knots = 3;    // of the spline, 3 to 5, at Harrell's percentiles; 3 suits some 100 events
  int groups = 10;  // of the table, equal numbers up to ties; 0 = no table
  double confidence = 0.95;

  void validate() const;  // throws Error(kUsage)
};

struct CalibrationGroup {
  std::int64_t n = 0;
  double mean_risk = 0.0;
  Estimate observed;  // 1 - Kaplan-Meier of the group, log-log interval
};

struct HorizonCalibration {
  double horizon_months = 0.0;
  Estimate observed;
  double expected = 0.0;
  Estimate observed_over_expected;
  Estimate slope;
  std::vector<double> curve;  // (n,) c(risk) of each patient; empty where not estimable
  Estimate ici;               // no intervals: bootstrap them
  Estimate e50;
  Estimate e90;
  Estimate e_max;
  std::vector<CalibrationGroup> group;  // by rising risk
  std::int64_t clipped = 0;
  std::vector<std::string> warnings;
};

HorizonCalibration horizon_calibration(const SurvivalTimes& times,
                                       std::span<const double> risk,
                                       double horizon_months,
                                       const HorizonCalibrationOptions& options = {});

}  // namespace med3d::stats::survival
