// Who had the event by a fixed horizon, who was free of it, and of whom it is not known.
//
//   event by t              event set and time <= t               label 1, weight 1 / G(time-)
//   free at t               time > t, or censored exactly at t    label 0, weight 1 / G(t-)
//   censored before t       not known                             label 0, weight 0
//
// G is the censoring curve of censoring.h. Counting the unknown as free biases every rate down;
// leaving them out (kExclude) biases it up, since events are seen sooner than freedom from them.
// Whoever is watched up to exactly t is known to be free at t: a cohort closed at 60 months keeps
// its 60-month survivors (riskRegression and scikit-survival would drop them, and with no censoring
// at exactly t both agree with us).
//
// Source: Graf et al., Stat Med 18(17-18):2529-2545, 1999.
// Checked against: by hand; the IPCW event rate equals 1 - Kaplan-Meier.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "med3d/stats/survival/censoring.h"
#include "med3d/stats/survival/times.h"

namespace med3d::stats::survival {

enum class UnknownOutcome {
  kIpcw,     // weight 0, the others weigh 1 / G
  kExclude,  // weight 0, the others weigh 1
};

struct HorizonOptions {
  UnknownOutcome unknown = UnknownOutcome::kIpcw;
  const CensoringCurve* censoring = nullptr;  // null = of the same patients
};

struct HorizonLabels {
  double horizon_months = 0.0;
  std::vector<std::uint8_t> label;  // (n,) 1 = event by the horizon
  std::vector<double> weight;       // (n,) 0 = not known
  std::int64_t n_event = 0;
  std::int64_t n_free = 0;
  std::int64_t n_unknown = 0;
  std::string warning;  // the horizon is beyond the follow-up, or events could not be weighed

  bool known(std::size_t i) const { return weight[i] > 0.0; }
};

// Cost O(n log n). Throws Error(kUsage) unless horizon_months is finite and above 0.
HorizonLabels horizon_labels(const SurvivalTimes& times,
                             double horizon_months,
                             const HorizonOptions& options = {});

}  // namespace med3d::stats::survival
