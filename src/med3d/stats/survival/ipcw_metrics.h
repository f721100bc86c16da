// How good predictions are at given horizons, although some patients were lost before: AUC(t),
// Brier(t) and what is summed from them.
//
// Weights w_i, events and free patients at t as in horizon_labels.h, from the censoring of the same
// patients or of the training patients:
//
//   AUC(t)     = sum over events i, free j of w_i w_j [risk_i > risk_j] (ties half)
//                / (sum over events w_i * sum over free w_j)               cumulative / dynamic
//   Brier(t)   = (1/n) sum w_i (event_i(t) - risk_i(t))^2
//   null model = the same with risk = 1 - Kaplan-Meier(t) for everybody
//   scaled     = 1 - Brier / null model      index of prediction accuracy: 0 no use, 1 perfect
//   integrated = trapezoid area over the horizons / (last - first); one horizon: its value
//   mean AUC   = sum AUC(t_k) (S(t_{k-1}) - S(t_k)) / (1 - S(t_last)), S(t_0) = 1, Kaplan-Meier
//
// Standard errors by the influence function, including what estimating the censoring adds (not if
// another set's censoring is given: then it is taken as known). Intervals are normal, cut to [0,
// 1].
//
// times            (n,) follow-up
// horizons_months  (k,) strictly rising, above 0
//
// A horizon beyond the follow-up (or beyond that of the censoring) is not estimable, with a
// warning, and left out of the integral; so is AUC where nobody had the event or nobody is free. No
// exception. Cost O(k n log n). Throws Error(kData) if sizes differ or a value is not finite (a
// risk of Brier: in [0, 1]), Error(kUsage) for bad horizons or options.
//
// Source: Uno et al., JASA 102(478):527-537, 2007; Hung and Chiang 2010; Blanche et al., Stat Med
// 32(30):5381-5397, 2013; Gerds and Schumacher, Biom J 48(6):1029-1040, 2006; Kattan and Gerds,
// Diagn Progn Res 2:7, 2018 (scaled). Integration as scikit-survival. Checked against: R
// riskRegression Score (AUC, Brier, null model: values, standard errors, limits) on lung, colon and
// rotterdam, tolerance 1e-8; auroc() without censoring; by hand.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "med3d/core/matrix.h"
#include "med3d/stats/estimate.h"
#include "med3d/stats/survival/censoring.h"
#include "med3d/stats/survival/times.h"

namespace med3d::stats::survival {

struct IpcwOptions {
  const CensoringCurve* censoring = nullptr;  // null = of the same patients
  double confidence = 0.95;
};

struct HorizonValue {
  double horizon_months = 0.0;
  Estimate value;
  double std_error = std::numeric_limits<double>::quiet_NaN();
  std::int64_t n_event = 0;  // by the horizon
  std::int64_t n_free = 0;
  std::int64_t n_unknown = 0;  // censored before
};

struct TimeDependentAuc {
  std::vector<HorizonValue> at;  // one per horizon
  Estimate mean;                 // over the horizons that are estimable; no interval
  std::vector<std::string> warnings;
};

// risk_score   (n,) unitless, higher = earlier event
TimeDependentAuc time_dependent_auc(const SurvivalTimes& times,
                                    std::span<const double> risk_score,
                                    std::span<const double> horizons_months,
                                    const IpcwOptions& options = {});

struct BrierScores {
  std::vector<HorizonValue> at;
  std::vector<HorizonValue> null_model;
  std::vector<Estimate> scaled;  // no interval
  Estimate integrated;           // over the horizons that are estimable; no interval
  Estimate integrated_null_model;
  Estimate integrated_scaled;
  std::vector<std::string> warnings;
};

// risk   (n, k) probability of the event by each horizon, in [0, 1]
BrierScores brier_scores(const SurvivalTimes& times,
                         const Matrix<double>& risk,
                         std::span<const double> horizons_months,
                         const IpcwOptions& options = {});

// Horizons that the set supports: n_horizons quantiles of the event times, evenly from the 10th to
// the 90th per cent, repeats dropped. Empty without events.
std::vector<double> horizon_grid(const SurvivalTimes& times, int n_horizons = 20);

}  // namespace med3d::stats::survival
