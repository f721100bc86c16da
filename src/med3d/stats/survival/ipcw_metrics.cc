#include "med3d/stats/survival/ipcw_metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "med3d/core/error.h"
#include "med3d/stats/survival/horizon_labels.h"
#include "med3d/stats/survival/kaplan_meier.h"

namespace med3d::stats::survival {
namespace {

void require_horizons(std::span<const double> horizons) {
  for (std::size_t k = 0; k < horizons.size(); ++k) {
    if (!std::isfinite(horizons[k]) || !(horizons[k] > 0.0) ||
        (k > 0 && horizons[k] <= horizons[k - 1])) {
      throw Error(
          ErrorKind::kUsage,
          fmt::format("horizon {}: {} months, expected rising times above 0", k, horizons[k]));
    }
  }
}

// What estimating G adds to the influence of each patient. With q_j what patient j contributes
// (proportional to 1 / G at s_j, just before j's event or the horizon):
//
//   adjustment_i = (1/n) sum_j q_j M_i(s_j),   M_i(s) = integral up to s of dM_i / Y
//
// M_i the martingale of i's censoring, Y the share at risk. Its compensator counts c / n at risk:
// what riskRegression does, and its standard errors are met only so.
class CensoringInfluence {
 public:
  explicit CensoringInfluence(const SurvivalTimes& times)
      : times_(times), order_(times.order()), at_risk_(times.size()) {
    const double n = static_cast<double>(times.size());
    double area = 0.0;
    for (std::size_t begin = 0; begin < order_.size();) {
      const double time = times.time(order_[begin]);
      const double share = static_cast<double>(order_.size() - begin) / n;
      std::size_t end = begin;
      double lost = 0.0;
      for (; end < order_.size() && times.time(order_[end]) == time; ++end) {
        lost += times.has_event(order_[end]) ? 0.0 : 1.0;
        at_risk_[order_[end]] = share;
      }
      group_.push_back({begin, end, time, area, 0.0});
      area += lost / n / (share * share);
      group_.back().area = area;
      begin = end;
    }
  }

  // q (n,); an event by the horizon is weighed just before its time, the rest just before the
  // horizon
  std::vector<double> adjustment(std::span<const double> q, const HorizonLabels& labels) const {
    const double n = static_cast<double>(times_.size());
    double events_later = 0.0;  // sum of q over events of later groups
    double free = 0.0;
    double area_at_horizon = 0.0;
    for (std::size_t i = 0; i < q.size(); ++i) (labels.label[i] != 0 ? events_later : free) += q[i];
    for (const Group& g : group_) {
      if (g.time < labels.horizon_months) area_at_horizon = g.area;
    }
    double events_area = 0.0;  // sum of q * area just before, over events up to this group
    std::vector<double> out(q.size());
    for (const Group& g : group_) {
      for (std::size_t k = g.begin; k < g.end; ++k) {
        const std::size_t i = order_[k];
        if (labels.label[i] == 0) continue;
        events_later -= q[i];
        events_area += q[i] * g.area_before;
      }
      const bool before = g.time < labels.horizon_months;
      const double drift =
          events_area + g.area * events_later + free * std::min(g.area, area_at_horizon);
      for (std::size_t k = g.begin; k < g.end; ++k) {
        const std::size_t i = order_[k];
        const double jump =
            !times_.has_event(i) && before ? (events_later + free) / at_risk_[i] : 0.0;
        out[i] = (jump - drift) / n;
      }
    }
    return out;
  }

 private:
  struct Group {
    std::size_t begin;
    std::size_t end;
    double time;
    double area_before;  // integral of d Lambda_C / Y, without and with this time
    double area;
  };
  const SurvivalTimes& times_;
  std::vector<std::size_t> order_;
  std::vector<double> at_risk_;
  std::vector<Group> group_;
};

struct Scorer {
  const SurvivalTimes& times;
  bool adjust;
  CensoringInfluence influence;
  double z;

  Scorer(const SurvivalTimes& t, const IpcwOptions& options)
      : times(t),
        adjust(options.censoring == nullptr),
        influence(t),
        z(normal_quantile_two_sided(options.confidence)) {}

  // contribution (n,): influence of each patient with G known, plus `mean`; of mean `mean` itself.
  void finish(HorizonValue& out,
              double value,
              std::span<const double> contribution,
              double mean,
              const HorizonLabels& labels) const {
    const std::size_t n = contribution.size();
    std::vector<double> f(n, 0.0);
    if (adjust) f = influence.adjustment(contribution, labels);
    double total = 0.0;
    for (std::size_t i = 0; i < n; ++i) {
      f[i] += contribution[i] - mean;
      total += f[i];
    }
    double squares = 0.0;
    for (const double v : f) {
      const double d = v - total / static_cast<double>(n);
      squares += d * d;
    }
    out.value = Estimate::of(value);
    if (n < 2) return;
    out.std_error = std::sqrt(squares / static_cast<double>(n - 1) / static_cast<double>(n));
    if (out.std_error > 1e-12) {
      out.value = Estimate::of(value,
                               std::max(0.0, value - z * out.std_error),
                               std::min(1.0, value + z * out.std_error));
    }
  }
};

HorizonValue counts_of(const HorizonLabels& labels) {
  HorizonValue out;
  out.horizon_months = labels.horizon_months;
  out.n_event = labels.n_event;
  out.n_free = labels.n_free;
  out.n_unknown = labels.n_unknown;
  return out;
}

// Why nothing can be said at this horizon; empty if something can.
std::string unsupported(const SurvivalTimes& times,
                        const CensoringCurve& censoring,
                        double horizon) {
  if (times.size() == 0) return "no patients";
  const double last = std::min(times.longest(), censoring.longest());
  if (horizon > last) {
    return fmt::format("{} months is beyond the last follow-up of {} months", horizon, last);
  }
  if (!censoring.supports(horizon)) {
    return fmt::format("everybody is censored before {} months", horizon);
  }
  return {};
}

void note(std::vector<std::string>& warnings, const std::string& warning) {
  if (!warning.empty() && std::find(warnings.begin(), warnings.end(), warning) == warnings.end()) {
    warnings.push_back(warning);
  }
}

// psi (n,): for an event the share of free weight below it, for a free patient the share of event
// weight above; ties half.
std::vector<double> placements(std::span<const double> risk, const HorizonLabels& labels) {
  const std::size_t n = risk.size();
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(
      order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return risk[a] < risk[b]; });
  double all_events = 0.0;
  double all_free = 0.0;
  for (std::size_t i = 0; i < n; ++i) {
    (labels.label[i] != 0 ? all_events : all_free) += labels.weight[i];
  }
  std::vector<double> psi(n, 0.0);
  double events_below = 0.0;
  double free_below = 0.0;
  for (std::size_t begin = 0; begin < n;) {
    std::size_t end = begin;
    double events = 0.0;
    double free = 0.0;
    for (; end < n && risk[order[end]] == risk[order[begin]]; ++end) {
      (labels.label[order[end]] != 0 ? events : free) += labels.weight[order[end]];
    }
    for (std::size_t k = begin; k < end; ++k) {
      const std::size_t i = order[k];
      if (!labels.known(i)) continue;
      psi[i] = labels.label[i] != 0 ? (free_below + free / 2.0) / all_free
                                    : (all_events - events_below - events / 2.0) / all_events;
    }
    events_below += events;
    free_below += free;
    begin = end;
  }
  return psi;
}

Estimate integrate(std::span<const HorizonValue> at) {
  std::vector<std::pair<double, double>> point;
  for (const HorizonValue& v : at) {
    if (v.value.ok()) point.emplace_back(v.horizon_months, v.value.value);
  }
  if (point.empty()) return Estimate::none("not estimable at any horizon");
  if (point.size() == 1) return Estimate::of(point[0].second);
  double area = 0.0;
  for (std::size_t k = 1; k < point.size(); ++k) {
    area += (point[k].first - point[k - 1].first) * (point[k].second + point[k - 1].second) / 2.0;
  }
  return Estimate::of(area / (point.back().first - point.front().first));
}

Estimate scaled_of(const Estimate& model, const Estimate& null_model) {
  if (!model.ok()) return Estimate::none(model.not_estimable);
  if (!(null_model.value > 0.0)) return Estimate::none("the null model makes no error");
  return Estimate::of(1.0 - model.value / null_model.value);
}

}  // namespace

TimeDependentAuc time_dependent_auc(const SurvivalTimes& times,
                                    std::span<const double> risk_score,
                                    std::span<const double> horizons_months,
                                    const IpcwOptions& options) {
  require_finite(times, risk_score, "risk score");
  require_horizons(horizons_months);
  const Scorer scorer(times, options);
  const CensoringCurve own =
      options.censoring == nullptr ? CensoringCurve(times) : CensoringCurve();
  HorizonOptions labelling;
  labelling.censoring = options.censoring == nullptr ? &own : options.censoring;
  const KaplanMeier km = kaplan_meier(times);
  const double n = static_cast<double>(times.size());
  TimeDependentAuc out;
  double sum = 0.0;
  double survival = 1.0;
  for (const double horizon : horizons_months) {
    const HorizonLabels labels = horizon_labels(times, horizon, labelling);
    HorizonValue value = counts_of(labels);
    std::string reason = unsupported(times, *labelling.censoring, horizon);
    if (!reason.empty()) note(out.warnings, reason + ": left out");
    if (reason.empty() && labels.n_event == 0) reason = "nobody had the event by the horizon";
    if (reason.empty() && labels.n_free == 0) reason = "nobody is known to be free at the horizon";
    if (!reason.empty()) {
      value.value = Estimate::none(reason);
      out.at.push_back(value);
      continue;
    }
    note(out.warnings, labels.warning);
    const std::vector<double> psi = placements(risk_score, labels);
    double events = 0.0;
    double free = 0.0;
    double concordant = 0.0;
    for (std::size_t i = 0; i < times.size(); ++i) {
      (labels.label[i] != 0 ? events : free) += labels.weight[i];
      if (labels.label[i] != 0) concordant += labels.weight[i] * psi[i];
    }
    const double auc = concordant / events;
    std::vector<double> contribution(times.size());
    for (std::size_t i = 0; i < times.size(); ++i) {
      contribution[i] =
          labels.weight[i] * (psi[i] - auc) * n / (labels.label[i] != 0 ? events : free);
    }
    scorer.finish(value, auc, contribution, 0.0, labels);
    out.at.push_back(value);
    const double now = km.at(horizon).value;
    sum += auc * (survival - now);
    survival = now;
  }
  out.mean = survival < 1.0 ? Estimate::of(sum / (1.0 - survival))
                            : Estimate::none("not estimable at any horizon");
  return out;
}

BrierScores brier_scores(const SurvivalTimes& times,
                         const Matrix<double>& risk,
                         std::span<const double> horizons_months,
                         const IpcwOptions& options) {
  require_horizons(horizons_months);
  if (risk.rows() != times.size() || (risk.cols() != horizons_months.size() && !risk.empty())) {
    throw Error(ErrorKind::kData,
                fmt::format("risks of {} patients at {} horizons, expected {} and {}",
                            risk.rows(),
                            risk.cols(),
                            times.size(),
                            horizons_months.size()));
  }
  for (std::size_t i = 0; i < risk.size(); ++i) {
    if (!(risk.data()[i] >= 0.0 && risk.data()[i] <= 1.0)) {
      throw Error(ErrorKind::kData,
                  fmt::format("row {}, horizon {}: risk {}, expected a number in [0, 1]",
                              i / risk.cols(),
                              i % risk.cols(),
                              risk.data()[i]));
    }
  }
  const Scorer scorer(times, options);
  const CensoringCurve own =
      options.censoring == nullptr ? CensoringCurve(times) : CensoringCurve();
  HorizonOptions labelling;
  labelling.censoring = options.censoring == nullptr ? &own : options.censoring;
  const KaplanMeier km = kaplan_meier(times);
  const double n = static_cast<double>(times.size());
  BrierScores out;
  for (std::size_t k = 0; k < horizons_months.size(); ++k) {
    const HorizonLabels labels = horizon_labels(times, horizons_months[k], labelling);
    HorizonValue value = counts_of(labels);
    HorizonValue null_value = value;
    const std::string reason = unsupported(times, *labelling.censoring, horizons_months[k]);
    if (!reason.empty()) {
      note(out.warnings, reason + ": left out");
      value.value = null_value.value = Estimate::none(reason);
    } else {
      note(out.warnings, labels.warning);
      const double share = 1.0 - km.at(horizons_months[k]).value;
      std::vector<double> loss(times.size());
      std::vector<double> null_loss(times.size());
      double sum = 0.0;
      double null_sum = 0.0;
      for (std::size_t i = 0; i < times.size(); ++i) {
        const double y = labels.label[i] != 0 ? 1.0 : 0.0;
        loss[i] = labels.weight[i] * (y - risk(i, k)) * (y - risk(i, k));
        null_loss[i] = labels.weight[i] * (y - share) * (y - share);
        sum += loss[i];
        null_sum += null_loss[i];
      }
      scorer.finish(value, sum / n, loss, sum / n, labels);
      scorer.finish(null_value, null_sum / n, null_loss, null_sum / n, labels);
    }
    out.at.push_back(value);
    out.null_model.push_back(null_value);
    out.scaled.push_back(scaled_of(value.value, null_value.value));
  }
  out.integrated = integrate(out.at);
  out.integrated_null_model = integrate(out.null_model);
  out.integrated_scaled = scaled_of(out.integrated, out.integrated_null_model);
  return out;
}

std::vector<double> horizon_grid(const SurvivalTimes& times, int n_horizons) {
  if (n_horizons < 1) {
    throw Error(ErrorKind::kUsage, fmt::format("{} horizons, expected at least 1", n_horizons));
  }
  std::vector<double> event_time;
  for (std::size_t i = 0; i < times.size(); ++i) {
    if (times.has_event(i) && times.time(i) > 0.0) event_time.push_back(times.time(i));
  }
  std::sort(event_time.begin(), event_time.end());
  std::vector<double> out;
  for (int k = 0; k < n_horizons && !event_time.empty(); ++k) {
    const double share = n_horizons == 1 ? 0.5 : 0.1 + 0.8 * k / (n_horizons - 1.0);
    const double horizon = sorted_quantile(event_time, share);
    if (out.empty() || horizon > out.back()) out.push_back(horizon);
  }
  return out;
}

}  // namespace med3d::stats::survival
