#include "med3d/stats/survival/competing_risks.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "med3d/core/error.h"

namespace med3d::stats::survival {
namespace {

void require_cause(std::uint8_t cause) {
  if (cause == 0) {
    throw Error(ErrorKind::kUsage, "cause 0 means censored, expected 1 or more");
  }
}

}  // namespace

CompetingTimes::CompetingTimes(std::vector<double> time_months, std::vector<std::uint8_t> cause)
    : cause_(std::move(cause)) {
  std::vector<std::uint8_t> event;
  event.reserve(cause_.size());
  for (const std::uint8_t c : cause_) {
    event.push_back(c != 0 ? 1 : 0);
    n_causes_ = std::max(n_causes_, c);
  }
  any_ = SurvivalTimes(std::move(time_months), std::move(event));
}

SurvivalTimes CompetingTimes::cause_specific(std::uint8_t cause) const {
  require_cause(cause);
  std::vector<std::uint8_t> event;
  event.reserve(cause_.size());
  for (const std::uint8_t c : cause_) event.push_back(c == cause ? 1 : 0);
  return {any_.time_months(), event};
}

CumulativeIncidence cumulative_incidence(const CompetingTimes& times,
                                         std::uint8_t cause,
                                         double confidence) {
  require_cause(cause);
  const double z = normal_quantile_two_sided(confidence);
  const SurvivalTimes& any = times.any_event();
  const std::vector<std::size_t> order = any.order();
  CumulativeIncidence out;
  out.cause = cause;
  double survival = 1.0;
  double incidence = 0.0;
  // The variance multiplied out in powers of I(t): sums over s of a, a I(s), a I(s)^2 and so on,
  // which makes it one pass. They are of the size of 1 / n, so little is lost in the differences.
  double a0 = 0.0;
  double a1 = 0.0;
  double a2 = 0.0;
  double b = 0.0;
  double c0 = 0.0;
  double c1 = 0.0;
  for (std::size_t i = 0; i < order.size();) {
    IncidenceRow row;
    row.time_months = any.time(order[i]);
    row.n_risk = static_cast<std::int64_t>(order.size() - i);
    for (; i < order.size() && any.time(order[i]) == row.time_months; ++i) {
      const std::uint8_t what = times.cause()[order[i]];
      ++(what == 0 ? row.n_censor : what == cause ? row.n_event : row.n_other);
    }
    const double n = static_cast<double>(row.n_risk);
    const double dk = static_cast<double>(row.n_event);
    const double d = dk + static_cast<double>(row.n_other);
    if (d > 0.0) {
      incidence += survival * dk / n;
      // Once nobody is left, I(t) = I(s) for good and the first term is 0.
      if (d < n) {
        const double a = d / (n * (n - d));
        a0 += a;
        a1 += a * incidence;
        a2 += a * incidence * incidence;
      }
      b += survival * survival * dk * (n - dk) / (n * n * n);
      const double c = survival * dk / (n * n);
      c0 += c;
      c1 += c * incidence;
      survival = d < n ? survival * ((n - d) / n) : 0.0;
    }
    row.incidence = incidence;
    const double variance =
        (a0 * incidence - 2.0 * a1) * incidence + a2 + b - 2.0 * (c0 * incidence - c1);
    row.std_error = variance > 1e-18 ? std::sqrt(variance) : 0.0;
    if (incidence > 0.0 && incidence < 1.0 && row.std_error > 0.0) {
      const double log_incidence = std::log(incidence);  // below 0
      const double half = -z * row.std_error / (incidence * log_incidence);
      row.low = std::exp(log_incidence * std::exp(half));
      row.high = std::exp(log_incidence * std::exp(-half));
    }
    out.row.push_back(row);
  }
  out.final_survival = survival;
  return out;
}

Estimate CumulativeIncidence::at(double time_months) const {
  if (!std::isfinite(time_months) || time_months < 0.0) {
    throw Error(
        ErrorKind::kUsage,
        fmt::format("incidence at {} months, expected a finite time of at least 0", time_months));
  }
  if (row.empty()) return Estimate::none("no patients");
  const auto after =
      std::upper_bound(row.begin(), row.end(), time_months, [](double t, const auto& r) {
        return t < r.time_months;
      });
  if (after == row.begin()) return Estimate::of(0.0);
  const IncidenceRow& now = *(after - 1);
  if (after == row.end() && time_months > now.time_months && final_survival > 0.0) {
    return Estimate::none(fmt::format(
        "{} months is beyond the last follow-up of {} months", time_months, now.time_months));
  }
  return Estimate::of(now.incidence, now.low, now.high);
}

HorizonLabels horizon_labels(const CompetingTimes& times,
                             std::uint8_t cause,
                             double horizon_months,
                             const HorizonOptions& options) {
  require_cause(cause);
  HorizonLabels out = horizon_labels(times.any_event(), horizon_months, options);
  for (std::size_t i = 0; i < times.size(); ++i) {
    if (out.label[i] == 0 || times.cause()[i] == cause) continue;
    out.label[i] = 0;
    --out.n_event;
    ++out.n_free;
  }
  return out;
}

}  // namespace med3d::stats::survival
