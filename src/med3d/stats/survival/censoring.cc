#include "med3d/stats/survival/censoring.h"

#include <algorithm>

namespace med3d::stats::survival {

CensoringCurve::CensoringCurve(const SurvivalTimes& times) : longest_(times.longest()) {
  const std::vector<std::size_t> order = times.order();
  double value = 1.0;
  for (std::size_t i = 0; i < order.size();) {
    const double time = times.time(order[i]);
    while (i < order.size() && times.time(order[i]) == time && times.has_event(order[i])) ++i;
    const std::size_t at_risk = order.size() - i;
    std::size_t lost = 0;
    for (; i < order.size() && times.time(order[i]) == time; ++i) ++lost;
    if (lost == 0) continue;
    value *= static_cast<double>(at_risk - lost) / static_cast<double>(at_risk);
    time_.push_back(time);
    value_.push_back(value);
  }
}

double CensoringCurve::at(double time_months) const {
  const auto after = std::upper_bound(time_.begin(), time_.end(), time_months);
  return after == time_.begin() ? 1.0 : value_[static_cast<std::size_t>(after - time_.begin()) - 1];
}

double CensoringCurve::before(double time_months) const {
  const auto from = std::lower_bound(time_.begin(), time_.end(), time_months);
  return from == time_.begin() ? 1.0 : value_[static_cast<std::size_t>(from - time_.begin()) - 1];
}

bool CensoringCurve::supports(double time_months) const {
  return time_months <= longest_ && before(time_months) > 0.0;
}

}  // namespace med3d::stats::survival
