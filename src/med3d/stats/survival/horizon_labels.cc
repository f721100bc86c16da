#include "med3d/stats/survival/horizon_labels.h"

#include <fmt/format.h>

#include <cmath>

#include "med3d/core/error.h"

namespace med3d::stats::survival {

HorizonLabels horizon_labels(const SurvivalTimes& times,
                             double horizon_months,
                             const HorizonOptions& options) {
  if (!std::isfinite(horizon_months) || !(horizon_months > 0.0)) {
    throw Error(ErrorKind::kUsage,
                fmt::format("horizon {} months, expected a finite time above 0", horizon_months));
  }
  const CensoringCurve own =
      options.censoring == nullptr ? CensoringCurve(times) : CensoringCurve();
  const CensoringCurve& censoring = options.censoring == nullptr ? own : *options.censoring;
  const bool weighted = options.unknown == UnknownOutcome::kIpcw;
  HorizonLabels out;
  out.horizon_months = horizon_months;
  out.label.assign(times.size(), 0);
  out.weight.assign(times.size(), 0.0);
  std::int64_t without_weight = 0;
  for (std::size_t i = 0; i < times.size(); ++i) {
    const double time = times.time(i);
    const bool had_event = times.has_event(i) && time <= horizon_months;
    if (!had_event && time < horizon_months) {
      ++out.n_unknown;
      continue;
    }
    const double known_at = had_event ? time : horizon_months;
    if (weighted && !censoring.supports(known_at)) {
      ++without_weight;
      ++out.n_unknown;
      continue;
    }
    out.label[i] = had_event ? 1 : 0;
    out.weight[i] = weighted ? 1.0 / censoring.before(known_at) : 1.0;
    ++(had_event ? out.n_event : out.n_free);
  }
  if (times.size() > 0 && horizon_months > times.longest()) {
    out.warning = fmt::format(
        "horizon of {} months is beyond the last follow-up of {} months: "
        "nobody is known to be free of the event",
        horizon_months,
        times.longest());
  } else if (without_weight > 0) {
    out.warning = fmt::format(
        "{} patient(s) with an outcome after the follow-up of the set in "
        "which censoring was estimated ({} months) have no weight",
        without_weight,
        censoring.longest());
  }
  return out;
}

}  // namespace med3d::stats::survival
