// Cumulative incidence when another event can come first: recurrence, with death before it.
//
//   I_k(t) = sum over times s <= t of S(s-) d_k(s) / n(s)                      (Aalen-Johansen)
//
// S the Kaplan-Meier curve of any event. 1 - Kaplan-Meier of cause k alone, with the other causes
// taken as censoring, overstates I_k: it asks what would happen if nobody died.
//
//   var I_k(t) = sum over s <= t of  (I_k(t) - I_k(s))^2 d / (n (n - d))
//                                  + S(s-)^2 d_k (n - d_k) / n^3
//                                  - 2 (I_k(t) - I_k(s)) S(s-) d_k / n^2
//
// d events of all causes at s. With one cause this is Greenwood's; without censoring I_k (1 - I_k)
// / n. Interval on the log(-log) scale: I^exp(-+ z se / (I log I)).
//
// Source: Aalen and Johansen, Scand J Stat 5(3):141-150, 1978; Marubini and Valsecchi, Analysing
// Survival Data from Clinical Trials and Observational Studies, 1995 (variance by the delta
// method). Checked against: the two identities above, sum of incidences + S = 1, by hand.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "med3d/stats/estimate.h"
#include "med3d/stats/survival/horizon_labels.h"
#include "med3d/stats/survival/times.h"

namespace med3d::stats::survival {

// Follow-up with the kind of event that ended it.
class CompetingTimes {
 public:
  CompetingTimes() = default;

  // time_months   (n,) finite, >= 0
  // cause         (n,) 0 = censored, 1, 2, ... = what came first
  //
  // Throws Error(kData) naming the row of the first value that is wrong, or both sizes.
  CompetingTimes(std::vector<double> time_months, std::vector<std::uint8_t> cause);

  std::size_t size() const { return any_.size(); }
  const std::vector<std::uint8_t>& cause() const { return cause_; }
  std::uint8_t n_causes() const { return n_causes_; }  // the largest number that occurs

  const SurvivalTimes& any_event() const { return any_; }
  // Other causes as censorings: for cause-specific hazards (Cox), not for incidence.
  SurvivalTimes cause_specific(std::uint8_t cause) const;

 private:
  SurvivalTimes any_;
  std::vector<std::uint8_t> cause_;
  std::uint8_t n_causes_ = 0;
};

struct IncidenceRow {
  double time_months = 0.0;
  std::int64_t n_risk = 0;
  std::int64_t n_event = 0;  // of this cause
  std::int64_t n_other = 0;  // of the other causes
  std::int64_t n_censor = 0;
  double incidence = 0.0;
  double std_error = 0.0;
  double low = std::numeric_limits<double>::quiet_NaN();  // NaN where the incidence is 0 or 1
  double high = std::numeric_limits<double>::quiet_NaN();
};

struct CumulativeIncidence {
  std::uint8_t cause = 1;
  std::vector<IncidenceRow> row;  // one per distinct time, rising
  double final_survival = 1.0;    // of any event, at the last time

  // Incidence by a time; beyond the last follow-up not estimable, unless nobody is left. No
  // interval where the standard error is 0.
  Estimate at(double time_months) const;
};

// Cost O(n log n). Throws Error(kUsage) if cause is 0 or confidence not in (0, 1). An empty set
// gives a curve without rows, of which nothing is estimable.
CumulativeIncidence cumulative_incidence(const CompetingTimes& times,
                                         std::uint8_t cause,
                                         double confidence = 0.95);

// As in horizon_labels.h. A patient whose competing event came by the horizon is known to be free
// of `cause` for good: label 0 with weight 1 / G(time-), where G counts both kinds of event.
HorizonLabels horizon_labels(const CompetingTimes& times,
                             std::uint8_t cause,
                             double horizon_months,
                             const HorizonOptions& options = {});

}  // namespace med3d::stats::survival
