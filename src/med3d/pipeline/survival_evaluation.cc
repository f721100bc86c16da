#include "med3d/pipeline/survival_evaluation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "med3d/core/random.h"
#include "med3d/core/text.h"
#include "med3d/io/formats/csv.h"
#include "med3d/pipeline/evaluation.h"
#include "med3d/stats/intervals.h"
#include "med3d/stats/survival/competing_risks.h"
#include "med3d/stats/survival/concordance.h"
#include "med3d/stats/survival/cox.h"
#include "med3d/stats/survival/decision_curve.h"
#include "med3d/stats/survival/horizon_calibration.h"
#include "med3d/stats/survival/horizon_labels.h"
#include "med3d/stats/survival/ipcw_metrics.h"
#include "med3d/stats/survival/kaplan_meier.h"
#include "med3d/stats/survival/sample_size.h"

namespace med3d::pipeline {
namespace {

namespace ss = stats::survival;

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
constexpr const char* kStageGradeModel = "stage_grade_cox";
constexpr int kGroups = 3;
const char* const kGroupNames[kGroups] = {"low", "intermediate", "high"};
constexpr int kCalibrationGroups = 5;
constexpr std::size_t kMaxSubgroups = 8;
constexpr std::size_t kCurvePoints = 60;

std::size_t index_of(const std::vector<double>& times, double time) {
  return static_cast<std::size_t>(std::find(times.begin(), times.end(), time) - times.begin());
}

Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

// The patients of a set for whom a model said something.
struct Judged {
  Rows rows;                    // of the cohort
  std::vector<std::size_t> at;  // positions in the set
  ss::SurvivalTimes times;
  Matrix<double> risk;  // (n, risk_times)
  std::vector<double> main;
};
Judged judged(const SurvivalContext& context,
              const SurvivalSet& set,
              const SurvivalPredictions& model,
              const std::function<bool(std::size_t)>& keep = {}) {
  Judged out;
  for (std::size_t i = 0; i < set.rows.size(); ++i) {
    if (!model.has(i) || (keep && !keep(set.rows[i]))) continue;
    out.rows.push_back(set.rows[i]);
    out.at.push_back(i);
  }
  out.times = times_of(context.cohort, out.rows);
  out.risk = model.risk.take_rows(out.at);
  // Folds differ by a patient or two in their events; a constant must not seem to rank by it.
  const auto reference = set.models.find(kNoCovariates);
  if (reference != set.models.end() && &reference->second == &model) {
    for (std::size_t h = 0; h < out.risk.cols(); ++h) {
      double sum = 0.0;
      for (std::size_t i = 0; i < out.rows.size(); ++i) sum += out.risk(i, h);
      for (std::size_t i = 0; i < out.rows.size(); ++i) {
        out.risk(i, h) = sum / static_cast<double>(out.rows.size());
      }
    }
  }
  const auto main = index_of(risk_times(context.settings), main_horizon(context.settings));
  for (std::size_t i = 0; i < out.rows.size(); ++i) out.main.push_back(out.risk(i, main));
  return out;
}

std::vector<double> column_of(const Matrix<double>& matrix, std::size_t column) {
  std::vector<double> out(matrix.rows());
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = matrix(i, column);
  return out;
}

stats::BootstrapOptions bootstrap_options(const SurvivalContext& context, const std::string& what) {
  stats::BootstrapOptions options;
  options.repeats = context.settings.survival.bootstrap;
  options.seed = derive_seed(static_cast<std::uint64_t>(context.settings.run.seed), what);
  options.threads = context.threads;
  options.confidence = context.settings.validation.confidence;
  options.interval = interval_kind(context.settings);
  return options;
}

// The value with a bootstrap interval, where the set has the value at all.
stats::Estimate with_interval(const stats::Estimate& value, const stats::Estimate& bootstrapped) {
  stats::Estimate out = value;
  out.low = out.high = kNone;
  if (value.ok() && bootstrapped.ok()) {
    out.low = bootstrapped.low;
    out.high = bootstrapped.high;
  }
  return out;
}

double value_or_none(const stats::Estimate& estimate) {
  return estimate.ok() ? estimate.value : kNone;
}

// At one horizon, by the rule of [survival] unknown_at_horizon.
struct AtHorizon {
  ss::HorizonValue auc;
  ss::HorizonValue brier;
  stats::Estimate scaled;
};
AtHorizon at_horizon(const SurvivalContext& context,
                     const Judged& data,
                     double horizon,
                     const std::vector<double>& risk) {
  ss::IpcwOptions options;
  options.confidence = context.settings.validation.confidence;
  const std::vector<double> horizons = {horizon};
  ss::SurvivalTimes times = data.times;
  std::vector<double> used = risk;
  const auto labels = ss::horizon_labels(data.times, horizon);
  if (context.settings.survival.unknown_at_horizon == "exclude") {
    // Without those who were lost before, nobody is weighed: the plain AUROC and Brier score.
    std::vector<std::size_t> known;
    for (std::size_t i = 0; i < data.rows.size(); ++i) {
      if (data.times.time(i) >= horizon || data.times.has_event(i)) known.push_back(i);
    }
    times = data.times.take(known);
    used.clear();
    for (const std::size_t i : known) used.push_back(risk[i]);
  }
  AtHorizon out;
  out.auc = ss::time_dependent_auc(times, used, horizons, options).at.front();
  Matrix<double> column(used.size(), 1);
  std::copy(used.begin(), used.end(), column.data());
  const auto brier = ss::brier_scores(times, column, horizons, options);
  out.brier = brier.at.front();
  out.scaled = brier.scaled.front();
  out.auc.n_event = labels.n_event;
  out.auc.n_free = labels.n_free;
  out.auc.n_unknown = labels.n_unknown;
  return out;
}

Json curve_json(const ss::KaplanMeier& curve) {
  Json json = {{"time_months", Json::array()},
               {"survival", Json::array()},
               {"low", Json::array()},
               {"high", Json::array()},
               {"cumulative_hazard", Json::array()},
               {"n_censor", Json::array()}};
  for (const auto& row : curve.row) {
    json["time_months"].push_back(row.time_months);
    json["survival"].push_back(row.survival);
    json["cumulative_hazard"].push_back(number(row.cumulative_hazard));
    json["low"].push_back(number(row.low));
    json["high"].push_back(number(row.high));
    json["n_censor"].push_back(row.n_censor);
  }
  return json;
}

// Mean months without the event up to the last horizon, and why that was shortened if it was.
Json restricted_mean_json(const SurvivalContext& context, const ss::KaplanMeier& curve) {
  if (curve.row.empty()) return {{"not_estimable", "nobody was followed"}};
  const auto restricted = curve.restricted_mean(survival_horizons(context.settings).back());
  Json out = to_json(restricted.mean);
  out["up_to_months"] = number(restricted.tau_months);
  if (!restricted.warning.empty()) out["warning"] = restricted.warning;
  return out;
}

// The smoothed calibration curve at no more points than a figure can show.
Json calibration_curve_json(const std::vector<double>& risk, const std::vector<double>& curve) {
  Json out = {{"risk", Json::array()}, {"observed", Json::array()}};
  if (curve.empty()) return out;
  std::vector<std::pair<double, double>> points;
  for (std::size_t i = 0; i < risk.size(); ++i) points.emplace_back(risk[i], curve[i]);
  std::sort(points.begin(), points.end());
  points.erase(std::unique(points.begin(), points.end()), points.end());
  const std::size_t shown = std::min<std::size_t>(points.size(), kCurvePoints);
  for (std::size_t k = 0; k < shown; ++k) {
    const std::size_t at = shown < 2 ? 0 : k * (points.size() - 1) / (shown - 1);
    out["risk"].push_back(points[at].first);
    out["observed"].push_back(number(points[at].second));
  }
  return out;
}

std::vector<std::uint8_t> causes_of(const Cohort& cohort, const Rows& rows) {
  std::vector<std::uint8_t> cause;
  for (const std::size_t row : rows) {
    const bool competing = !cohort.competing.empty() && cohort.competing[row] != 0;
    cause.push_back(cohort.event[row] == 1 ? 1 : competing ? 2 : 0);
  }
  return cause;
}

// Share with the event by each horizon: Aalen-Johansen where another event competes, and what one
// minus Kaplan-Meier would say.
Json incidence_json(const SurvivalContext& context, const Rows& rows) {
  const auto times = times_of(context.cohort, rows);
  const double confidence = context.settings.validation.confidence;
  ss::CurveOptions curve_options;
  curve_options.confidence = confidence;
  const auto curve = ss::kaplan_meier(times, curve_options);
  const ss::CompetingTimes competing(times.time_months(), causes_of(context.cohort, rows));
  const auto event = ss::cumulative_incidence(competing, 1, confidence);
  const bool has_competing = !context.cohort.competing.empty();
  Json out = Json::array();
  for (const double horizon : survival_horizons(context.settings)) {
    auto survival = curve.at(horizon);
    stats::Estimate one_minus = survival;
    if (survival.ok()) {
      one_minus =
          stats::Estimate::of(1.0 - survival.value, 1.0 - survival.high, 1.0 - survival.low);
    }
    Json entry = {{"horizon_months", horizon},
                  {"n_at_risk", curve.n_at_risk(horizon)},
                  {"one_minus_kaplan_meier", to_json(one_minus)},
                  {"aalen_johansen", to_json(event.at(horizon))}};
    if (has_competing) {
      entry["competing"] = to_json(ss::cumulative_incidence(competing, 2, confidence).at(horizon));
    }
    out.push_back(entry);
  }
  return out;
}

Json groups_json(const SurvivalContext& context,
                 const SurvivalPredictions& model,
                 const Judged& data) {
  const auto main = index_of(risk_times(context.settings), main_horizon(context.settings));
  Rows member[kGroups];
  std::vector<std::int64_t> group;
  std::vector<std::size_t> known;
  for (std::size_t i = 0; i < data.rows.size(); ++i) {
    const int g = model.group(data.at[i], main);
    if (g < 0) continue;
    member[g].push_back(data.rows[i]);
    group.push_back(g);
    known.push_back(i);
  }
  Json out = {{"cut_points", "thirds of the out-of-fold risk of the training patients"},
              {"groups", Json::array()}};
  ss::CurveOptions options;
  options.confidence = context.settings.validation.confidence;
  for (int g = 0; g < kGroups; ++g) {
    const auto times = times_of(context.cohort, member[g]);
    const auto curve = ss::kaplan_meier(times, options);
    Json entry = {{"name", kGroupNames[g]},
                  {"n", times.size()},
                  {"events", times.n_events()},
                  {"median_months", to_json(curve.median())},
                  {"restricted_mean_months", restricted_mean_json(context, curve)},
                  {"curve", curve_json(curve)},
                  {"at_risk", Json::array()}};
    for (const double horizon : survival_horizons(context.settings)) {
      entry["at_risk"].push_back({horizon, curve.n_at_risk(horizon)});
    }
    if (!member[g].empty()) entry["incidence"] = incidence_json(context, member[g]);
    out["groups"].push_back(entry);
  }
  const auto test = ss::log_rank(data.times.take(known), group);
  out["log_rank"] = {{"chi_squared", number(test.chi_squared)},
                     {"df", test.df},
                     {"p", number(test.p)},
                     {"not_estimable", test.not_estimable}};
  return out;
}

// Everybody alike (which "always positive" is where patients are ranked), stage + grade and the
// clinical scores on the very patients the model was judged on.
Json baselines_json(const SurvivalContext& context,
                    const SurvivalSpec& spec,
                    const SurvivalSet& set,
                    const Judged& data) {
  const double confidence = context.settings.validation.confidence;
  Json out = Json::array();
  out.push_back(beside_baseline("always_positive",
                                "Everybody alike",
                                data.times,
                                data.main,
                                std::vector<double>(data.main.size(), 0.0),
                                confidence));
  const auto found = set.models.find(kStageGradeModel);
  if (found != set.models.end() && spec.id != kStageGradeModel) {
    const auto main = index_of(risk_times(context.settings), main_horizon(context.settings));
    std::vector<double> risk;
    for (const std::size_t i : data.at) {
      risk.push_back(found->second.has(i) ? found->second.risk(i, main) : kNone);
    }
    out.push_back(beside_baseline(
        kStageGradeModel, "Stage and grade, ridge Cox", data.times, data.main, risk, confidence));
  }
  if (context.scores != nullptr && !context.scores->empty()) {
    for (auto& entry : context.scores->beside(data.rows, data.times, data.main, confidence)) {
      out.push_back(std::move(entry));
    }
  }
  return out;
}

Json set_json(const SurvivalContext& context,
              const SurvivalSpec& spec,
              const SurvivalSet& set,
              const SurvivalPredictions& model) {
  const Judged data = judged(context, set, model);
  const auto times = risk_times(context.settings);
  const auto horizons = survival_horizons(context.settings);
  const double main = main_horizon(context.settings);
  const double confidence = context.settings.validation.confidence;
  Json json = {{"name", set.name},
               {"n", data.rows.size()},
               {"events", data.times.n_events()},
               {"without_prediction", set.rows.size() - data.rows.size()},
               {"pieces_fitted", model.fitted},
               {"pieces", model.pieces},
               {"warnings", Json::array()}};
  Json metrics = Json::object();

  // What is integrated: the times that the follow-up of this set supports.
  std::vector<double> grid;
  std::vector<std::size_t> grid_column;
  for (std::size_t k = 0; k < times.size(); ++k) {
    if (times[k] > data.times.longest()) continue;
    grid.push_back(times[k]);
    grid_column.push_back(k);
  }
  Matrix<double> grid_risk(data.rows.size(), grid.size());
  for (std::size_t i = 0; i < data.rows.size(); ++i) {
    for (std::size_t k = 0; k < grid.size(); ++k) grid_risk(i, k) = data.risk(i, grid_column[k]);
  }
  ss::UnoOptions uno;
  uno.tau_months = horizons.back();
  uno.confidence = confidence;
  ss::HorizonCalibrationOptions calibration_options;
  calibration_options.groups = kCalibrationGroups;
  calibration_options.confidence = confidence;

  const auto harrell = ss::harrell_c_index(data.times, data.main, confidence).c_index;
  const auto uno_c = ss::uno_c_index(data.times, data.main, uno);
  stats::Estimate integrated = stats::Estimate::none("no follow-up up to the first horizon");
  stats::Estimate integrated_scaled = integrated;
  if (!grid.empty()) {
    const auto brier = ss::brier_scores(data.times, grid_risk, grid);
    integrated = brier.integrated;
    integrated_scaled = brier.integrated_scaled;
  }
  const auto calibration =
      ss::horizon_calibration(data.times, data.main, main, calibration_options);
  for (const auto& warning : uno_c.warnings) json["warnings"].push_back(warning);
  for (const auto& warning : calibration.warnings) json["warnings"].push_back(warning);

  // Everything without a formula for its interval in one bootstrap.
  stats::BootstrapResult boot;
  if (context.settings.survival.bootstrap > 0 && data.times.n_events() > 0) {
    auto silent = calibration_options;
    silent.groups = 0;
    boot = stats::bootstrap(
        data.rows.size(),
        5,
        [&](std::span<const std::size_t> rows, std::span<double> value) {
          std::fill(value.begin(), value.end(), kNone);
          const auto sample = data.times.take(rows);
          if (sample.n_events() == 0) return;
          std::vector<double> risk;
          for (const std::size_t row : rows) risk.push_back(data.main[row]);
          value[0] = value_or_none(ss::harrell_c_index(sample, risk).c_index);
          value[1] = value_or_none(ss::uno_c_index(sample, risk, uno).c_index);
          if (!grid.empty()) {
            const std::vector<std::size_t> index(rows.begin(), rows.end());
            const auto brier = ss::brier_scores(sample, grid_risk.take_rows(index), grid);
            value[2] = value_or_none(brier.integrated);
            value[3] = value_or_none(brier.integrated_scaled);
          }
          value[4] = value_or_none(ss::horizon_calibration(sample, risk, main, silent).ici);
        },
        bootstrap_options(context, "survival/" + set.name + "/" + spec.id));
  } else {
    boot.estimate.resize(5, stats::Estimate::none("no bootstrap"));
  }
  metrics["c_index"] = to_json(with_interval(harrell, boot.estimate[0]));
  metrics["c_index_uno"] = to_json(with_interval(uno_c.c_index, boot.estimate[1]));
  metrics["integrated_brier"] = to_json(with_interval(integrated, boot.estimate[2]));
  metrics["integrated_brier_scaled"] = to_json(with_interval(integrated_scaled, boot.estimate[3]));
  json["horizons"] = Json::array();
  for (const double horizon : horizons) {
    const auto risk = column_of(data.risk, index_of(times, horizon));
    const auto one = at_horizon(context, data, horizon, risk);
    const std::string months = format_double(horizon);
    metrics["auc_" + months] = to_json(one.auc.value);
    metrics["brier_" + months] = to_json(one.brier.value);
    metrics["brier_scaled_" + months] = to_json(one.scaled);
    json["horizons"].push_back({{"horizon_months", horizon},
                                {"events", one.auc.n_event},
                                {"free", one.auc.n_free},
                                {"unknown", one.auc.n_unknown}});
  }
  metrics["observed_over_expected"] = to_json(calibration.observed_over_expected);
  metrics["calibration_slope"] = to_json(calibration.slope);
  metrics["ici"] = to_json(with_interval(calibration.ici, boot.estimate[4]));
  json["metrics"] = metrics;
  if (model.repeat_c.size() > 1) {
    double sum = 0.0;
    double squares = 0.0;
    const auto n = static_cast<double>(model.repeat_c.size());
    for (const double c : model.repeat_c) sum += c;
    for (const double c : model.repeat_c) squares += (c - sum / n) * (c - sum / n);
    json["c_index_over_repeats"] = {{"mean", sum / n}, {"sd", std::sqrt(squares / (n - 1.0))}};
  }

  Json table = Json::array();
  for (const auto& group : calibration.group) {
    table.push_back(
        {{"n", group.n}, {"mean_risk", group.mean_risk}, {"observed", to_json(group.observed)}});
  }
  json["calibration"] = {{"horizon_months", main},
                         {"observed", to_json(calibration.observed)},
                         {"expected", number(calibration.expected)},
                         {"e50", to_json(calibration.e50)},
                         {"e90", to_json(calibration.e90)},
                         {"e_max", to_json(calibration.e_max)},
                         {"curve", calibration_curve_json(data.main, calibration.curve)},
                         {"groups", table}};
  if (spec.family == "reference") return json;

  json["baselines"] = baselines_json(context, spec, set, data);
  json["risk_groups"] = groups_json(context, model, data);
  std::vector<double> thresholds;
  for (int step = 1; step <= 12; ++step) thresholds.push_back(0.05 * step);
  json["decision_curve"] = Json::array();
  for (const auto& point : ss::decision_curve(data.times, data.main, main, thresholds)) {
    json["decision_curve"].push_back({{"threshold", point.threshold},
                                      {"n_positive", point.n_positive},
                                      {"net_benefit", to_json(point.model)},
                                      {"treat_all", to_json(point.treat_all)}});
  }
  // Does the effect of the predicted log cumulative hazard change with time?
  Matrix<double> x(data.rows.size(), 1);
  for (std::size_t i = 0; i < data.rows.size(); ++i) x(i, 0) = log_cumulative_hazard(data.main[i]);
  const auto fit = ss::cox_fit(data.times, x);
  json["proportional_hazards"] = {{"p", nullptr}, {"chi_squared", nullptr}};
  if (fit.not_estimable.empty() && !fit.term.empty() && fit.term[0].coefficient.ok()) {
    const auto test = ss::cox_zph(data.times, x, fit);
    json["proportional_hazards"] = {{"p", number(test.global.p)},
                                    {"chi_squared", number(test.global.chi_squared)}};
    if (test.global.p < 0.05) {
      json["warnings"].push_back(
          "the effect of the predicted risk changes with time (p < 0.05): hazards are not "
          "proportional, and one hazard ratio would not describe it");
    }
  }
  return json;
}

// Difference of Harrell's C on the patients for whom both said something.
void compare(const SurvivalContext& context,
             const SurvivalSet& set,
             const std::string& a,
             const std::string& b,
             Json& out) {
  const auto& first = set.models.at(a);
  const auto& second = set.models.at(b);
  const auto main = index_of(risk_times(context.settings), main_horizon(context.settings));
  Rows rows;
  std::vector<double> p;
  std::vector<double> q;
  for (std::size_t i = 0; i < set.rows.size(); ++i) {
    if (!first.has(i) || !second.has(i)) continue;
    rows.push_back(set.rows[i]);
    p.push_back(first.risk(i, main));
    q.push_back(second.risk(i, main));
  }
  const auto times = times_of(context.cohort, rows);
  Json entry = {{"set", set.name},
                {"a", a},
                {"b", b},
                {"test", "paired bootstrap"},
                {"metric", "c_index"},
                {"n", rows.size()},
                {"events", times.n_events()},
                {"p", nullptr},
                {"p_adjusted", nullptr}};
  if (times.n_events() == 0 || context.settings.survival.bootstrap == 0) {
    entry["difference"] = {{"not_estimable", "no events, or no bootstrap"}};
  } else {
    const auto result = ss::c_index_difference_bootstrap(
        times, p, q, bootstrap_options(context, "survival/" + set.name + "/" + a + "/" + b));
    entry["difference"] = to_json(result.difference);
    entry["p"] = number(result.p);
  }
  out.push_back(entry);
}

void adjust(Json& comparisons) {
  std::map<std::string, std::vector<std::size_t>> families;
  for (std::size_t i = 0; i < comparisons.size(); ++i) {
    if (!comparisons[i].at("p").is_null()) families[comparisons[i].at("set")].push_back(i);
  }
  for (const auto& [set, members] : families) {
    std::vector<double> p;
    for (const std::size_t i : members) p.push_back(comparisons[i].at("p").get<double>());
    const auto adjusted = stats::holm(p);
    for (std::size_t k = 0; k < members.size(); ++k) {
      comparisons[members[k]]["p_adjusted"] = adjusted[k];
    }
  }
}

// What a patient is, by the name of a subgroup: a value of the table, or the side of its median.
std::vector<std::string> subgroup_of(const Cohort& cohort, const std::string& name) {
  if (name == "source") return cohort.source;
  std::vector<std::string> out(cohort.size());
  for (const auto& column : cohort.columns) {
    if (column.name != name) continue;
    std::set<std::string> values;
    std::vector<double> numbers;
    for (const auto& cell : column.cells) {
      if (cohort.is_missing(cell)) continue;
      values.insert(cell);
      if (const auto value = parse_double(cell)) numbers.push_back(*value);
    }
    const bool cut = values.size() > kMaxSubgroups && !numbers.empty();
    std::sort(numbers.begin(), numbers.end());
    const double median = cut ? stats::sorted_quantile(numbers, 0.5) : 0.0;
    for (std::size_t row = 0; row < cohort.size(); ++row) {
      const auto& cell = column.cells[row];
      if (cohort.is_missing(cell)) continue;
      if (!cut) {
        out[row] = cell;
      } else if (const auto value = parse_double(cell)) {
        out[row] = (*value <= median ? "<= " : "> ") + format_double(median);
      }
    }
    return out;
  }
  return {};
}

Json subgroups_json(const SurvivalContext& context, const SurvivalSet& set, Json& warnings) {
  Json out = Json::array();
  for (const auto& name : context.settings.survival.subgroups) {
    const auto value_of = subgroup_of(context.cohort, name);
    if (value_of.empty()) {
      warnings.push_back("subgroup '" + name + "' is no column of the table and left out");
      continue;
    }
    std::set<std::string> values;
    for (const std::size_t row : set.rows) {
      if (!value_of[row].empty()) values.insert(value_of[row]);
    }
    if (values.size() > kMaxSubgroups) {
      warnings.push_back(
          fmt::format("subgroup '{}' has {} values and is left out, expected at most {}",
                      name,
                      values.size(),
                      kMaxSubgroups));
      continue;
    }
    for (const auto& value : values) {
      for (const auto& spec : context.specs) {
        const auto found = set.models.find(spec.id);
        if (found == set.models.end() || spec.family == "reference") continue;
        const Judged data = judged(
            context, set, found->second, [&](std::size_t row) { return value_of[row] == value; });
        if (data.rows.empty()) continue;
        const auto c =
            ss::harrell_c_index(data.times, data.main, context.settings.validation.confidence);
        const auto calibration =
            ss::horizon_calibration(data.times, data.main, main_horizon(context.settings), {});
        out.push_back({{"set", set.name},
                       {"subgroup", name},
                       {"value", value},
                       {"model", spec.id},
                       {"n", data.rows.size()},
                       {"events", data.times.n_events()},
                       {"c_index", to_json(c.c_index)},
                       {"observed_over_expected", to_json(calibration.observed_over_expected)}});
      }
    }
  }
  return out;
}

// Riley's criteria for the events at hand, with the R2 that the arm reached out of fold.
Json sample_size_json(const SurvivalContext& context, const SurvivalSet& set) {
  Json out = Json::array();
  for (const auto& spec : context.specs) {
    const auto found = set.models.find(spec.id);
    if (found == set.models.end() || spec.head != "cox") continue;
    const auto& described = found->second.description;
    if (!described.contains("log_hazard_ratio_per_sd")) continue;
    const Judged data = judged(context, set, found->second);
    Matrix<double> x(data.rows.size(), 1);
    for (std::size_t i = 0; i < data.rows.size(); ++i) {
      x(i, 0) = log_cumulative_hazard(data.main[i]);
    }
    const auto fit = ss::cox_fit(data.times, x);
    double months = 0.0;
    for (const double t : data.times.time_months()) months += t;
    const auto n = static_cast<double>(data.rows.size());
    const auto parameters = static_cast<int>(described.at("log_hazard_ratio_per_sd").size());
    Json entry = {{"model", spec.id},
                  {"n", data.rows.size()},
                  {"events", data.times.n_events()},
                  {"parameters", parameters}};
    const double ratio = fit.likelihood_ratio.chi_squared;
    const double r_squared = 1.0 - std::exp(-ratio / n);
    ss::SampleSizeOptions options;
    options.parameters = std::max(1, parameters);
    options.r_squared = r_squared;
    options.event_rate = static_cast<double>(data.times.n_events()) / months;
    options.mean_follow_up = months / n;
    options.horizon = main_horizon(context.settings);
    const bool usable = std::isfinite(r_squared) && r_squared > 0.0 && r_squared < 0.9 &&
                        data.times.n_events() > 0 && fit.beta[0] > 0.0;
    if (!usable) {
      entry["not_estimable"] = "the out-of-fold risk explains nothing";
    } else {
      const auto size = ss::sample_size(options);
      entry["r_squared"] = r_squared;
      entry["patients_needed"] = size.n;
      entry["events_needed"] = size.events;
      entry["patients_for_shrinkage"] = size.n_shrinkage;
      entry["patients_for_optimism"] = size.n_optimism;
      entry["patients_for_risk"] = size.n_risk;
      entry["parameters_supported"] =
          ss::max_parameters(static_cast<std::int64_t>(data.rows.size()), r_squared);
    }
    out.push_back(entry);
  }
  return out;
}

}  // namespace

bool SurvivalPredictions::has(std::size_t i) const {
  return risk.cols() > 0 && !std::isnan(risk(i, 0));
}

int SurvivalPredictions::group(std::size_t i, std::size_t horizon) const {
  if (!has(i) || std::isnan(cuts(i, 0))) return -1;
  const double value = risk(i, horizon);
  return value <= cuts(i, 0) ? 0 : value <= cuts(i, 1) ? 1 : 2;
}

std::vector<SurvivalSet> aggregate_survival(const Cohort& cohort,
                                            const RunSettings& settings,
                                            const std::vector<SurvivalPiece>& pieces,
                                            const std::vector<SurvivalFold>& folds) {
  const std::size_t width = risk_times(settings).size();
  const auto main = index_of(risk_times(settings), main_horizon(settings));
  std::vector<SurvivalSet> sets;
  std::vector<std::vector<std::size_t>> members;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    if (folds[i].held_out.empty()) continue;
    std::size_t at = 0;
    while (at < sets.size() && sets[at].name != pieces[i].set) ++at;
    if (at == sets.size()) {
      sets.emplace_back();
      sets.back().name = pieces[i].set;
      sets.back().share = pieces[i].share;
      members.emplace_back();
    }
    members[at].push_back(i);
  }
  for (std::size_t s = 0; s < sets.size(); ++s) {
    auto& set = sets[s];
    for (const std::size_t i : members[s]) {
      set.rows.insert(set.rows.end(), folds[i].held_out.begin(), folds[i].held_out.end());
      const auto share = 1.0 / static_cast<double>(members[s].size());
      set.n_training += share * static_cast<double>(folds[i].n_training);
      set.events_training += share * static_cast<double>(folds[i].events_training);
    }
    std::sort(set.rows.begin(), set.rows.end());
    set.rows.erase(std::unique(set.rows.begin(), set.rows.end()), set.rows.end());
    std::map<std::size_t, std::size_t> position;
    for (std::size_t i = 0; i < set.rows.size(); ++i) position[set.rows[i]] = i;

    struct Repeat {
      Rows rows;
      std::vector<double> risk;
    };
    std::map<std::string, std::map<int, Repeat>> repeats;
    std::map<std::string, std::vector<int>> counts;
    for (const std::size_t i : members[s]) {
      for (const auto& [id, outcome] : folds[i].models) {
        auto& out = set.models[id];
        auto& count = counts[id];
        if (out.risk.rows() == 0) {
          out.risk = Matrix<double>(set.rows.size(), width);
          out.cuts = Matrix<double>(set.rows.size(), 2);
          count.assign(set.rows.size(), 0);
        }
        ++out.pieces;
        if (outcome.not_fitted.empty()) {
          ++out.fitted;
          out.description = outcome.description;
        } else if (out.not_fitted.empty()) {
          out.not_fitted = outcome.not_fitted;
        }
        auto& repeat = repeats[id][pieces[i].repeat];
        for (std::size_t r = 0; r < folds[i].held_out.size(); ++r) {
          if (outcome.risk.cols() != width || std::isnan(outcome.risk(r, 0))) continue;
          const std::size_t at = position.at(folds[i].held_out[r]);
          for (std::size_t h = 0; h < width; ++h) out.risk(at, h) += outcome.risk(r, h);
          for (std::size_t c = 0; c < 2; ++c) {
            out.cuts(at, c) += outcome.cuts.size() == 2 ? outcome.cuts[c] : kNone;
          }
          ++count[at];
          repeat.rows.push_back(folds[i].held_out[r]);
          repeat.risk.push_back(outcome.risk(r, main));
        }
      }
    }
    for (auto& [id, out] : set.models) {
      const auto& count = counts.at(id);
      for (std::size_t i = 0; i < set.rows.size(); ++i) {
        const double divisor = count[i] > 0 ? count[i] : kNone;
        for (double& value : out.risk.row(i)) value /= divisor;
        for (double& value : out.cuts.row(i)) value /= divisor;
      }
      for (const auto& [number_of_repeat, repeat] : repeats[id]) {
        if (repeat.rows.empty()) continue;
        const auto c = ss::harrell_c_index(times_of(cohort, repeat.rows), repeat.risk).c_index;
        if (c.ok()) out.repeat_c.push_back(c.value);
      }
      if (out.fitted > 0) out.not_fitted.clear();
    }
  }
  return sets;
}

Json evaluate_survival(const SurvivalContext& context) {
  const Cohort& cohort = context.cohort;
  const auto& endpoint = cohort.endpoint;
  Rows all(cohort.size());
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = i;
  const auto times = times_of(cohort, all);
  Json report;
  Json warnings = Json::array();
  report["endpoint"] = {{"name", endpoint.name},
                        {"description", endpoint.description},
                        {"time_column", endpoint.time_column},
                        {"event_column", endpoint.event_column},
                        {"competing_column", endpoint.competing_column},
                        {"is_recurrence", endpoint.is_recurrence},
                        {"unit", "months"},
                        {"horizons_months", survival_horizons(context.settings)},
                        {"main_horizon_months", main_horizon(context.settings)},
                        {"unknown_at_horizon", context.settings.survival.unknown_at_horizon}};
  const auto causes = causes_of(cohort, all);
  const auto curve = ss::kaplan_meier(times);
  report["follow_up"] = {
      {"n", times.size()},
      {"events", times.n_events()},
      {"competing", std::count(causes.begin(), causes.end(), 2)},
      {"median_follow_up_months", to_json(ss::kaplan_meier(times.reversed()).median())},
      {"median_event_free_months", to_json(curve.median())},
      {"restricted_mean_months", restricted_mean_json(context, curve)},
      {"longest_months", times.longest()},
      {"curve", curve_json(curve)}};
  report["incidence"] = incidence_json(context, all);
  report["horizon_counts"] = Json::array();
  for (const double horizon : survival_horizons(context.settings)) {
    const auto labels = ss::horizon_labels(times, horizon);
    report["horizon_counts"].push_back({{"horizon_months", horizon},
                                        {"events", labels.n_event},
                                        {"free", labels.n_free},
                                        {"unknown", labels.n_unknown}});
    if (!labels.warning.empty()) warnings.push_back(labels.warning);
  }

  report["models"] = Json::array();
  report["learning_curve"] = Json::array();
  for (const auto& spec : context.specs) {
    Json model = {{"id", spec.id},
                  {"label", spec.label},
                  {"family", spec.family},
                  {"head", spec.head},
                  {"arms", spec.arms},
                  {"reference", spec.reference},
                  {"sets", Json::array()}};
    for (const auto& set : context.sets) {
      const auto found = set.models.find(spec.id);
      if (found == set.models.end()) continue;
      const auto& predicted = found->second;
      const Judged data = judged(context, set, predicted);
      if (set.name.starts_with("learning curve")) {
        report["learning_curve"].push_back(
            {{"model", spec.id},
             {"share", set.share},
             {"n_training", set.n_training},
             {"events_training", set.events_training},
             {"n", data.rows.size()},
             {"events", data.times.n_events()},
             {"c_index",
              to_json(
                  ss::harrell_c_index(data.times, data.main, context.settings.validation.confidence)
                      .c_index)}});
        continue;
      }
      if (data.rows.empty()) {
        model["sets"].push_back(
            {{"name", set.name},
             {"n", 0},
             {"events", 0},
             {"not_fitted",
              predicted.not_fitted.empty() ? "no patient of the set has the modality"
                                           : predicted.not_fitted}});
        continue;
      }
      Json one = set_json(context, spec, set, predicted);
      one["n_training"] = set.n_training;
      one["events_training"] = set.events_training;
      one["fit"] = predicted.description;
      model["sets"].push_back(std::move(one));
    }
    report["models"].push_back(std::move(model));
  }

  // Ranked by the cross-validated C where there is one, else by the first set; never by the test.
  const auto ranking = std::find_if(context.sets.begin(), context.sets.end(), [](const auto& set) {
    return set.name == "cross-validation";
  });
  const SurvivalSet* ranked = ranking != context.sets.end() ? &*ranking : nullptr;
  for (const auto& set : context.sets) {
    if (ranked == nullptr && set.name != "test") ranked = &set;
  }
  const auto best_of = [&](const std::vector<std::string>& families) {
    std::string best;
    double best_value = -1.0;
    for (const auto& spec : context.specs) {
      if (ranked == nullptr ||
          std::find(families.begin(), families.end(), spec.family) == families.end()) {
        continue;
      }
      const auto found = ranked->models.find(spec.id);
      if (found == ranked->models.end()) continue;
      const Judged data = judged(context, *ranked, found->second);
      const auto c = ss::harrell_c_index(data.times, data.main).c_index;
      if (c.ok() && c.value > best_value) {
        best_value = c.value;
        best = spec.id;
      }
    }
    return best;
  };
  const std::string best_arm = best_of({"arm", "head"});
  report["best"] = {{"set", ranked == nullptr ? "" : ranked->name},
                    {"metric", "c_index"},
                    {"arm", best_arm},
                    {"fusion", best_of({"fusion"})},
                    {"baseline", best_of({"baseline"})}};
  report["comparisons"] = Json::array();
  report["subgroups"] = Json::array();
  for (const auto& set : context.sets) {
    if (set.name.starts_with("learning curve") || best_arm.empty()) continue;
    for (const auto& spec : context.specs) {
      if (spec.id == best_arm || spec.family == "reference") continue;
      if (set.models.contains(spec.id) && set.models.contains(best_arm)) {
        compare(context, set, spec.id, best_arm, report["comparisons"]);
      }
    }
  }
  adjust(report["comparisons"]);
  report["sample_size"] = Json::array();
  if (ranked != nullptr) {
    report["subgroups"] = subgroups_json(context, *ranked, warnings);
    report["sample_size"] = sample_size_json(context, *ranked);
  }
  report["warnings"] = warnings;
  return report;
}

std::string survival_predictions_csv(const SurvivalContext& context) {
  const Cohort& cohort = context.cohort;
  const auto times = risk_times(context.settings);
  const auto horizons = survival_horizons(context.settings);
  const auto main = index_of(times, main_horizon(context.settings));
  std::vector<std::string> columns = {
      "case_id", "set", "model", "endpoint", "time_months", "outcome"};
  for (const double horizon : horizons) columns.push_back("risk_" + format_double(horizon));
  for (const char* name : {"cut_low", "cut_high", "group", "modalities_available"}) {
    columns.emplace_back(name);
  }
  CsvWriter csv(columns);
  const auto number_or_missing = [&](double value) {
    if (std::isnan(value)) {
      csv.missing();
    } else {
      csv.number(value);
    }
  };
  for (const auto& set : context.sets) {
    if (set.name.starts_with("learning curve")) continue;
    const auto causes = causes_of(cohort, set.rows);
    for (const auto& spec : context.specs) {
      const auto found = set.models.find(spec.id);
      if (found == set.models.end()) continue;
      const auto& model = found->second;
      for (std::size_t i = 0; i < set.rows.size(); ++i) {
        const std::size_t row = set.rows[i];
        csv.text(cohort.case_ids[row])
            .text(set.name)
            .text(spec.id)
            .text(cohort.endpoint.name)
            .number(cohort.time_months[row])
            .text(causes[i] == 1   ? "event"
                  : causes[i] == 2 ? "competing"
                                   : "censored");
        for (const double horizon : horizons) {
          number_or_missing(model.has(i) ? model.risk(i, index_of(times, horizon)) : kNone);
        }
        number_or_missing(model.has(i) ? model.cuts(i, 0) : kNone);
        number_or_missing(model.has(i) ? model.cuts(i, 1) : kNone);
        const int group = model.group(i, main);
        if (group < 0) {
          csv.missing();
        } else {
          csv.text(kGroupNames[group]);
        }
        csv.text(join(available_modalities(cohort, row), "+")).end_row();
      }
    }
  }
  return csv.str();
}

}  // namespace med3d::pipeline
