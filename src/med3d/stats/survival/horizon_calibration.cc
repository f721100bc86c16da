#include "med3d/stats/survival/horizon_calibration.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "med3d/core/error.h"
#include "med3d/stats/survival/cox.h"
#include "med3d/stats/survival/kaplan_meier.h"

namespace med3d::stats::survival {
namespace {

constexpr double kClip = 1e-9;

// Harrell, Regression Modeling Strategies, 2001, table 2.3.
std::vector<double> knot_shares(int knots) {
  if (knots == 3) return {0.1, 0.5, 0.9};
  if (knots == 4) return {0.05, 0.35, 0.65, 0.95};
  return {0.05, 0.275, 0.5, 0.725, 0.95};
}

// x and the restricted cubic terms: cubic between the knots, straight outside them.
Matrix<double> spline_basis(std::span<const double> x, const std::vector<double>& knot) {
  const std::size_t k = knot.size();
  Matrix<double> out(x.size(), k < 3 ? 1 : k - 1);
  const auto cube = [](double v) { return v > 0.0 ? v * v * v : 0.0; };
  for (std::size_t i = 0; i < x.size(); ++i) {
    out(i, 0) = x[i];
    for (std::size_t j = 0; j + 2 < k; ++j) {
      const double last = knot[k - 1];
      const double before = knot[k - 2];
      const double width = last - knot[0];
      out(i, j + 1) =
          (cube(x[i] - knot[j]) - cube(x[i] - before) * (last - knot[j]) / (last - before) +
           cube(x[i] - last) * (before - knot[j]) / (last - before)) /
          (width * width);
    }
  }
  return out;
}

}  // namespace

void HorizonCalibrationOptions::validate() const {
  if (knots < 3 || knots > 5) {
    throw Error(ErrorKind::kUsage, fmt::format("{} knots, expected 3, 4 or 5", knots));
  }
  if (groups < 0) {
    throw Error(ErrorKind::kUsage, fmt::format("{} groups, expected at least 0", groups));
  }
  require_confidence(confidence);
}

HorizonCalibration horizon_calibration(const SurvivalTimes& times,
                                       std::span<const double> risk,
                                       double horizon_months,
                                       const HorizonCalibrationOptions& options) {
  options.validate();
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
  HorizonCalibration out;
  out.horizon_months = horizon_months;
  const auto none = [&](const std::string& reason) {
    out.ici = out.e50 = out.e90 = out.e_max = Estimate::none(reason);
  };
  if (times.size() == 0) {
    out.observed = out.observed_over_expected = out.slope = Estimate::none("no patients");
    none("no patients");
    return out;
  }
  CurveOptions curve;
  curve.confidence = options.confidence;
  curve.scale = IntervalScale::kLogLog;
  const auto observed_share = [&](const SurvivalTimes& set) {
    const Estimate s = kaplan_meier(set, curve).at(horizon_months);
    if (!s.ok()) return Estimate::none(s.not_estimable);
    return Estimate::of(1.0 - s.value, 1.0 - s.high, 1.0 - s.low);
  };

  const double n = static_cast<double>(times.size());
  out.expected = std::accumulate(risk.begin(), risk.end(), 0.0) / n;
  out.observed = observed_share(times);
  if (!out.observed.ok()) {
    out.observed_over_expected = Estimate::none(out.observed.not_estimable);
    out.warnings.push_back(out.observed.not_estimable);
  } else if (!(out.expected > 0.0)) {
    out.observed_over_expected = Estimate::none("no risk above 0 was predicted");
  } else {
    const double ratio = out.observed.value / out.expected;
    out.observed_over_expected = Estimate::of(ratio);
    const KaplanMeier km = kaplan_meier(times, curve);
    const auto after =
        std::upper_bound(km.row.begin(), km.row.end(), horizon_months, [](double t, const auto& r) {
          return t < r.time_months;
        });
    const double error = after == km.row.begin() ? 0.0 : (after - 1)->std_error;
    if (error > 0.0) {
      const double factor =
          std::exp(normal_quantile_two_sided(options.confidence) * error / out.observed.value);
      out.observed_over_expected = Estimate::of(ratio, ratio / factor, ratio * factor);
    }
  }

  std::vector<double> x(risk.size());
  for (std::size_t i = 0; i < risk.size(); ++i) {
    const double r = std::clamp(risk[i], kClip, 1.0 - kClip);
    if (r != risk[i]) ++out.clipped;
    x[i] = std::log(-std::log1p(-r));
  }
  if (out.clipped > 0) {
    out.warnings.push_back(
        fmt::format("{} risk(s) of 0 or 1 were moved {} inside", out.clipped, kClip));
  }
  CoxOptions cox;
  cox.confidence = options.confidence;
  const CoxFit line = cox_fit(times, spline_basis(x, {}), cox);
  out.slope = line.term[0].coefficient;

  if (!out.observed.ok() || times.n_events() == 0) {
    none(out.observed.ok() ? "no events" : out.observed.not_estimable);
  } else {
    std::vector<double> sorted = x;
    std::sort(sorted.begin(), sorted.end());
    std::vector<double> knot;
    for (const double share : knot_shares(options.knots)) {
      const double k = sorted_quantile(sorted, share);
      if (knot.empty() || k > knot.back()) knot.push_back(k);
    }
    if (knot.size() < 3) {
      out.warnings.push_back("too few distinct risks for a spline: the curve is a line");
      knot.clear();
    }
    const Matrix<double> basis = spline_basis(x, knot);
    const CoxFit fit = cox_fit(times, basis, cox);
    for (const std::string& w : fit.warnings) out.warnings.push_back("smooth curve: " + w);
    // A horizon after the last patient has died is read at that death: the curve is flat there.
    out.curve = fit.risk_at(basis, horizon_months).probability;
    std::vector<double> off(risk.size());
    for (std::size_t i = 0; i < risk.size(); ++i) off[i] = std::abs(risk[i] - out.curve[i]);
    std::sort(off.begin(), off.end());
    out.ici = Estimate::of(std::accumulate(off.begin(), off.end(), 0.0) / n);
    out.e50 = Estimate::of(sorted_quantile(off, 0.5));
    out.e90 = Estimate::of(sorted_quantile(off, 0.9));
    out.e_max = Estimate::of(off.back());
  }

  if (options.groups > 0) {
    std::vector<std::size_t> order(risk.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      return risk[a] < risk[b];
    });
    const auto groups = static_cast<std::size_t>(options.groups);
    std::size_t begin = 0;
    for (std::size_t g = 1; g <= groups; ++g) {
      std::size_t end = order.size() * g / groups;
      // Equal risks are not torn apart.
      while (end > begin && end < order.size() && risk[order[end]] == risk[order[end - 1]]) ++end;
      if (end <= begin) continue;
      const std::span<const std::size_t> rows(order.data() + begin, end - begin);
      CalibrationGroup group;
      group.n = static_cast<std::int64_t>(rows.size());
      for (const std::size_t i : rows) {
        group.mean_risk += risk[i] / static_cast<double>(rows.size());
      }
      group.observed = observed_share(times.take(rows));
      out.group.push_back(group);
      begin = end;
    }
  }
  return out;
}

}  // namespace med3d::stats::survival
