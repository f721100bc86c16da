#include "med3d/stats/survival/decision_curve.h"

#include <fmt/format.h>

#include <cmath>

#include "med3d/core/error.h"
#include "med3d/stats/survival/kaplan_meier.h"

namespace med3d::stats::survival {

std::vector<NetBenefit> decision_curve(const SurvivalTimes& times,
                                       std::span<const double> risk,
                                       double horizon_months,
                                       std::span<const double> threshold) {
  require_finite(times, risk, "risk");
  for (std::size_t i = 0; i < risk.size(); ++i) {
    if (risk[i] < 0.0 || risk[i] > 1.0) {
      throw Error(ErrorKind::kData,
                  fmt::format("row {}: risk {}, expected a number in [0, 1]", i, risk[i]));
    }
  }
  if (!std::isfinite(horizon_months) || !(horizon_months > 0.0)) {
    throw Error(ErrorKind::kUsage,
                fmt::format("horizon {} months, expected a finite time above 0", horizon_months));
  }
  const Estimate everybody = kaplan_meier(times).at(horizon_months);
  std::vector<NetBenefit> out;
  for (const double p : threshold) {
    if (!(p > 0.0 && p < 1.0)) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("threshold {}, expected a number above 0 and below 1", p));
    }
    const double odds = p / (1.0 - p);
    NetBenefit point;
    point.threshold = p;
    std::vector<std::size_t> positive;
    for (std::size_t i = 0; i < risk.size(); ++i) {
      if (risk[i] >= p) positive.push_back(i);
    }
    point.n_positive = static_cast<std::int64_t>(positive.size());
    point.treat_all = everybody.ok()
                          ? Estimate::of((1.0 - everybody.value) - everybody.value * odds)
                          : Estimate::none(everybody.not_estimable);
    if (times.size() == 0) {
      point.model = Estimate::none("no patients");
    } else if (positive.empty()) {
      point.model = Estimate::of(0.0);
    } else {
      const Estimate s = kaplan_meier(times.take(positive)).at(horizon_months);
      const double share = static_cast<double>(positive.size()) / static_cast<double>(risk.size());
      point.model = s.ok()
                        ? Estimate::of(share * ((1.0 - s.value) - s.value * odds))
                        : Estimate::none("patients at or above the threshold: " + s.not_estimable);
    }
    out.push_back(point);
  }
  return out;
}

}  // namespace med3d::stats::survival
