#include "med3d/stats/survival/kaplan_meier.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/math/distributions/chi_squared.hpp>
#include <cmath>
#include <map>

#include "med3d/core/error.h"
#include "med3d/stats/survival/internal/cholesky.h"

namespace med3d::stats::survival {
namespace {

const double kNaN = std::numeric_limits<double>::quiet_NaN();

void require_groups(const SurvivalTimes& times, std::span<const std::int64_t> group) {
  if (group.size() != times.size()) {
    throw Error(
        ErrorKind::kData,
        fmt::format(
            "{} group numbers for {} patients, expected one each", group.size(), times.size()));
  }
}

void set_limits(KaplanMeierRow& row, double log_std_error, IntervalScale scale, double z) {
  const double s = row.survival;
  row.low = row.high = kNaN;
  if (s <= 0.0) {
    row.std_error = kNaN;
    return;
  }
  row.std_error = s * log_std_error;
  switch (scale) {
    case IntervalScale::kPlain:
      row.low = std::max(0.0, s - z * row.std_error);
      row.high = std::min(1.0, s + z * row.std_error);
      return;
    case IntervalScale::kLog:
      row.low = s * std::exp(-z * log_std_error);
      row.high = std::min(1.0, s * std::exp(z * log_std_error));
      return;
    case IntervalScale::kLogLog: {
      if (s >= 1.0) return;
      const double half = z * log_std_error / std::log(s);  // below 0
      row.low = std::exp(-std::exp(std::log(-std::log(s)) - half));
      row.high = std::exp(-std::exp(std::log(-std::log(s)) + half));
      return;
    }
  }
}

// Time at which a falling curve has lost a share p; NaN where it never does. Rows whose value is
// unknown are skipped. R allows for rounding in the products with the same tolerance.
template <class Value>
double time_of_share(const std::vector<KaplanMeierRow>& rows, double p, const Value& value) {
  const double tolerance = 1.4901161193847656e-08;  // sqrt of the spacing of doubles at 1
  double first = kNaN;
  double previous = kNaN;
  double last = kNaN;
  for (const auto& row : rows) {
    const double lost = 1.0 - value(row);
    if (std::isnan(lost)) continue;
    last = lost;
    if (lost == previous) continue;  // a flat stretch counts from its start
    previous = lost;
    if (std::isnan(first) && lost >= p - tolerance) first = row.time_months;
    if (lost > p + tolerance) return (first + row.time_months) / 2.0;
  }
  // The curve ends exactly at p: its flat stretch lasts to the end of follow-up.
  if (std::abs(last - p) <= tolerance) return (first + rows.back().time_months) / 2.0;
  return kNaN;
}

}  // namespace

void CurveOptions::validate() const { require_confidence(confidence); }

KaplanMeier kaplan_meier(const SurvivalTimes& times, const CurveOptions& options) {
  options.validate();
  const double z = normal_quantile_two_sided(options.confidence);
  KaplanMeier out;
  out.options = options;
  out.n = static_cast<std::int64_t>(times.size());
  out.n_events = times.n_events();
  const std::vector<std::size_t> order = times.order();
  double survival = 1.0;
  double greenwood = 0.0;
  double hazard = 0.0;
  double hazard_variance = 0.0;
  for (std::size_t i = 0; i < order.size();) {
    KaplanMeierRow row;
    row.time_months = times.time(order[i]);
    row.n_risk = static_cast<std::int64_t>(order.size() - i);
    for (; i < order.size() && times.time(order[i]) == row.time_months; ++i) {
      ++(times.has_event(order[i]) ? row.n_event : row.n_censor);
    }
    if (row.n_event > 0) {
      const double n = static_cast<double>(row.n_risk);
      const double d = static_cast<double>(row.n_event);
      survival = row.n_event == row.n_risk ? 0.0 : survival * ((n - d) / n);
      if (row.n_event < row.n_risk) greenwood += d / (n * (n - d));
      hazard += d / n;
      hazard_variance += d / (n * n);
    }
    row.survival = survival;
    row.cumulative_hazard = hazard;
    row.hazard_std_error = std::sqrt(hazard_variance);
    set_limits(row, std::sqrt(greenwood), options.scale, z);
    out.row.push_back(row);
  }
  return out;
}

Estimate KaplanMeier::at(double time_months) const {
  if (!std::isfinite(time_months) || time_months < 0.0) {
    throw Error(
        ErrorKind::kUsage,
        fmt::format("survival at {} months, expected a finite time of at least 0", time_months));
  }
  if (row.empty()) return Estimate::none("no patients");
  const auto after =
      std::upper_bound(row.begin(), row.end(), time_months, [](double t, const auto& r) {
        return t < r.time_months;
      });
  if (after == row.begin()) return Estimate::of(1.0);
  const KaplanMeierRow& now = *(after - 1);
  if (after == row.end() && time_months > now.time_months && now.survival > 0.0) {
    return Estimate::none(fmt::format(
        "{} months is beyond the last follow-up of {} months", time_months, now.time_months));
  }
  if (!(now.std_error > 0.0)) return Estimate::of(now.survival);
  return Estimate::of(now.survival, now.low, now.high);
}

std::int64_t KaplanMeier::n_at_risk(double time_months) const {
  const auto at_or_after =
      std::lower_bound(row.begin(), row.end(), time_months, [](const auto& r, double t) {
        return r.time_months < t;
      });
  return at_or_after == row.end() ? 0 : at_or_after->n_risk;
}

Estimate KaplanMeier::quantile(double p) const {
  if (!(p > 0.0 && p < 1.0)) {
    throw Error(ErrorKind::kUsage,
                fmt::format("quantile {}, expected a number above 0 and below 1", p));
  }
  if (row.empty()) return Estimate::none("no patients");
  const double time = time_of_share(row, p, [](const auto& r) { return r.survival; });
  if (std::isnan(time)) {
    return Estimate::none(fmt::format(
        "survival falls to {:.3g} only, {:.3g} was asked for", row.back().survival, 1.0 - p));
  }
  return Estimate::of(time,
                      time_of_share(row, p, [](const auto& r) { return r.low; }),
                      time_of_share(row, p, [](const auto& r) { return r.high; }));
}

RestrictedMean KaplanMeier::restricted_mean(double tau_months) const {
  if (!(tau_months > 0.0) || !std::isfinite(tau_months)) {
    throw Error(
        ErrorKind::kUsage,
        fmt::format("restricted mean to {} months, expected a finite time above 0", tau_months));
  }
  RestrictedMean out;
  out.tau_months = tau_months;
  if (row.empty()) {
    out.mean = Estimate::none("no patients");
    return out;
  }
  const double last = row.back().time_months;
  if (tau_months > last && row.back().survival > 0.0) {
    if (last <= 0.0) {
      out.mean = Estimate::none("no follow-up after time 0");
      return out;
    }
    out.warning = fmt::format(
        "restricted mean to {} months cut to the last follow-up of {} months", tau_months, last);
    out.tau_months = last;
  }
  const double tau = out.tau_months;
  // Backwards, the area from each event time to tau is what has been summed so far.
  double area = 0.0;
  double variance = 0.0;
  double end = tau;
  for (std::size_t i = row.size(); i-- > 0;) {
    const KaplanMeierRow& r = row[i];
    if (r.time_months > tau) continue;
    area += r.survival * (end - r.time_months);
    end = r.time_months;
    if (r.n_event > 0 && r.n_event < r.n_risk) {
      const double at_risk = static_cast<double>(r.n_risk);
      const double d = static_cast<double>(r.n_event);
      variance += area * area * d / (at_risk * (at_risk - d));
    }
  }
  area += end;
  out.std_error = std::sqrt(variance);
  out.mean = Estimate::of(area);
  if (variance > 0.0) {
    const double half = normal_quantile_two_sided(options.confidence) * out.std_error;
    out.mean = Estimate::of(area, std::max(0.0, area - half), std::min(tau, area + half));
  }
  return out;
}

std::vector<Stratum> kaplan_meier_by(const SurvivalTimes& times,
                                     std::span<const std::int64_t> group,
                                     const CurveOptions& options) {
  require_groups(times, group);
  std::map<std::int64_t, std::vector<std::size_t>> members;
  for (std::size_t i = 0; i < group.size(); ++i) members[group[i]].push_back(i);
  std::vector<Stratum> out;
  for (const auto& [number, rows] : members) {
    out.push_back({number, kaplan_meier(times.take(rows), options)});
  }
  return out;
}

LogRank log_rank(const SurvivalTimes& times, std::span<const std::int64_t> group, double rho) {
  require_groups(times, group);
  if (!std::isfinite(rho)) {
    throw Error(ErrorKind::kUsage, fmt::format("rho {}, expected a finite number", rho));
  }
  LogRank out;
  std::map<std::int64_t, std::size_t> index;
  for (const std::int64_t g : group) index.emplace(g, 0);
  for (auto& [number, position] : index) {
    position = out.group.size();
    out.group.push_back({number, 0, 0.0, 0.0});
  }
  const std::size_t k = out.group.size();
  std::vector<std::size_t> member(group.size());
  std::vector<double> at_risk(k, 0.0);
  for (std::size_t i = 0; i < group.size(); ++i) {
    member[i] = index.at(group[i]);
    ++out.group[member[i]].n;
    at_risk[member[i]] += 1.0;
  }

  const std::vector<std::size_t> order = times.order();
  Matrix<double> variance(k, k);
  std::vector<double> deaths(k);
  std::vector<double> leaving(k);
  double survival = 1.0;  // pooled, just before the time looked at
  for (std::size_t i = 0; i < order.size();) {
    const double time = times.time(order[i]);
    const double n = static_cast<double>(order.size() - i);
    std::fill(deaths.begin(), deaths.end(), 0.0);
    std::fill(leaving.begin(), leaving.end(), 0.0);
    double d = 0.0;
    for (; i < order.size() && times.time(order[i]) == time; ++i) {
      leaving[member[order[i]]] += 1.0;
      if (!times.has_event(order[i])) continue;
      deaths[member[order[i]]] += 1.0;
      d += 1.0;
    }
    if (d > 0.0) {
      const double weight = std::pow(survival, rho);
      for (std::size_t g = 0; g < k; ++g) {
        out.group[g].observed += weight * deaths[g];
        out.group[g].expected += weight * d * at_risk[g] / n;
        if (n < 2.0) continue;
        const double common = weight * weight * d * (n - d) / (n - 1.0) * at_risk[g] / n;
        variance(g, g) += common;
        for (std::size_t h = 0; h < k; ++h) variance(g, h) -= common * at_risk[h] / n;
      }
      survival *= (n - d) / n;
    }
    for (std::size_t g = 0; g < k; ++g) at_risk[g] -= leaving[g];
  }

  if (k < 2) {
    out.not_estimable = fmt::format("{} group(s), at least 2 are needed", k);
    return out;
  }
  if (times.n_events() == 0) {
    out.not_estimable = "no events";
    return out;
  }
  std::vector<std::size_t> used;
  for (std::size_t g = 0; g < k; ++g) {
    if (out.group[g].expected > 0.0) used.push_back(g);
  }
  if (used.size() < 2) {
    out.not_estimable = "events are expected in fewer than 2 groups";
    return out;
  }
  const std::size_t free = used.size() - 1;  // observed - expected sums to 0: one group is given
  Matrix<double> reduced(free, free);
  std::vector<double> excess(free);
  for (std::size_t a = 0; a < free; ++a) {
    const auto& g = out.group[used[a + 1]];
    excess[a] = g.observed - g.expected;
    for (std::size_t b = 0; b < free; ++b) reduced(a, b) = variance(used[a + 1], used[b + 1]);
  }
  const Cholesky solver(reduced);
  if (solver.rank() == 0) {
    out.not_estimable = "the groups are never at risk together";
    return out;
  }
  const std::vector<double> solved = solver.solve(excess);
  out.chi_squared = 0.0;
  for (std::size_t a = 0; a < free; ++a) out.chi_squared += excess[a] * solved[a];
  out.chi_squared = std::max(0.0, out.chi_squared);
  out.df = static_cast<int>(solver.rank());
  out.p = boost::math::cdf(boost::math::complement(
      boost::math::chi_squared(static_cast<double>(out.df)), out.chi_squared));
  return out;
}

}  // namespace med3d::stats::survival
