#include "med3d/report/survival_figures.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "med3d/core/text.h"
#include "med3d/report/figures.h"
#include "med3d/report/markup.h"

namespace med3d::report {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

std::string shown_of(const Estimate& estimate) {
  const std::string range = interval(estimate.low, estimate.high, 2);
  const std::string value = fixed(estimate.value, 2);
  return range.empty() ? value : fmt::format("{} ({})", value, range);
}

// One line of a forest of C-indices.
struct ForestRow {
  std::string group;
  std::string label;
  std::string mark;  // said behind the label; empty: none
  Count n, events;
  Estimate estimate;
};

Figure forest(const std::string& title,
              const std::string& description,
              const std::vector<ForestRow>& rows,
              const std::string& caption) {
  double lowest = 0.5;
  for (const ForestRow& row : rows) {
    lowest = std::min(lowest, row.estimate.low.value_or(*row.estimate.value));
  }
  const double x0 = std::max(0.0, std::floor(lowest * 10.0 - 1e-9) / 10.0);
  constexpr double kRow = 24.0;
  constexpr double kHead = 30.0;
  double height = 0.0;
  std::string group;
  for (const ForestRow& row : rows) {
    if (row.group != group) height += kHead;
    group = row.group;
    height += kRow;
  }
  Svg svg(780, height + 58);
  const Frame frame{290, 12, 270, height, x0, 1.0, 0.0, 1.0};
  DataTable data{{"group", "row", "mark", "n", "events", "c_index", "low", "high"}, {}};
  for (const double tick : nice_ticks(x0, 1.0, 6)) {
    svg.line(frame.x(tick), frame.top, frame.x(tick), frame.bottom(), "grid");
    svg.text(frame.x(tick), frame.bottom() + 15, tick_label(tick), "tick mid");
  }
  svg.line(frame.x(0.5), frame.top, frame.x(0.5), frame.bottom(), "ref");
  svg.text(frame.left + frame.width / 2,
           frame.bottom() + 34,
           "C-index with 95\u00A0% interval; dashed: no discrimination",
           "name mid");
  double y = frame.top;
  group.clear();
  for (const ForestRow& row : rows) {
    if (row.group != group) {
      group = row.group;
      y += kHead;
      svg.text(0, y - 9, group, "group");
      svg.line(0, y - 2, 780, y - 2, "rule");
    }
    const double at = y + kRow / 2;
    const std::string shown = shown_of(row.estimate);
    const std::string tip = fmt::format(
        "{}: C {}, n = {}, {} events", row.label, shown, count(row.n), count(row.events));
    svg.text(0,
             at + 4,
             shorten(row.label, 42) + (row.mark.empty() ? "" : " *"),
             "label",
             row.mark.empty() ? row.label : row.label + ": " + row.mark);
    if (row.estimate.low && row.estimate.high) {
      svg.line(frame.x(std::max(*row.estimate.low, x0)),
               at,
               frame.x(*row.estimate.high),
               at,
               "whisker-a");
    }
    svg.circle(frame.x(*row.estimate.value), at, 4.5, "mark-a", tip);
    svg.text(574, at + 4, shown, "small num");
    svg.text(780,
             at + 4,
             fmt::format("n {}, {} events", count(row.n), count(row.events)),
             "small quiet end");
    data.rows.push_back({row.group,
                         row.label,
                         row.mark,
                         row.n,
                         row.events,
                         row.estimate.value,
                         row.estimate.low,
                         row.estimate.high});
    y += kRow;
  }
  return {"", title, description, caption, std::move(svg), std::move(data)};
}

const Estimate* c_index_of(const SurvivalModelSet& set) {
  const auto found = set.metrics.find("c_index");
  return found != set.metrics.end() && found->second.value ? &found->second : nullptr;
}

// "Observed over expected 1.05 (0.8–1.3), slope 0.97 (...), ICI 0.03 (...)".
std::string calibration_words(const SurvivalModelSet& set) {
  std::vector<std::string> parts;
  for (const auto& [key, name] :
       {std::pair<const char*, const char*>{"observed_over_expected", "observed over expected"},
        {"calibration_slope", "slope"},
        {"ici", "ICI"}}) {
    const auto found = set.metrics.find(key);
    if (found == set.metrics.end() || !found->second.value) continue;
    parts.push_back(fmt::format("{} {}", name, shown_of(found->second)));
  }
  return join(parts, ", ");
}

std::string set_name(const std::string& set) { return set == "test" ? "test set" : set; }

}  // namespace

std::optional<Figure> c_index_forest(const Survival& survival, const std::string& set) {
  std::vector<ForestRow> rows;
  for (const std::string family : {"arm", "head", "fusion", "baseline", "reference"}) {
    for (const SurvivalModel& model : survival.models) {
      if (model.family != family) continue;
      for (const SurvivalModelSet& one : model.sets) {
        const Estimate* estimate = c_index_of(one);
        if (one.name != set || estimate == nullptr) continue;
        rows.push_back({family == "head" ? "single arm, other heads" : family_name(family),
                        model.label,
                        "",
                        one.n,
                        one.events,
                        *estimate});
      }
    }
  }
  if (rows.empty()) return std::nullopt;
  // Of the best model's row alone: the patients are the same for most models.
  bool marked = false;
  for (const SurvivalModel& model : survival.models) {
    if (survival.best.empty() || model.id != survival.best.front()) continue;
    for (const SurvivalModelSet& one : model.sets) {
      if (one.name != set) continue;
      for (const BesideRow& beside : one.beside) {
        // Stage and grade is a model of its own above.
        if (beside.mark.empty() || !beside.midpoint.value) continue;
        rows.push_back({"scores of the clinic, midpoint of their range",
                        beside.label,
                        beside.mark,
                        beside.n,
                        beside.events,
                        beside.midpoint});
        marked = true;
      }
    }
  }
  return forest(fmt::format("Discrimination over time, {}", set_name(set)),
                "Forest plot: one row for each model, the point its C-index, the line its 95 % "
                "interval.",
                rows,
                marked ? "* Point table not checked against its source." : "");
}

std::optional<Figure> horizon_calibration_plot(const SurvivalModel& model,
                                               const SurvivalModelSet& set,
                                               const std::string& months) {
  std::vector<CalibrationGroup> groups;
  double most = 0.1;
  for (const CalibrationGroup& group : set.calibration) {
    if (!group.mean_risk || !group.observed.value) continue;
    groups.push_back(group);
    most = std::max({most, *group.mean_risk, group.observed.high.value_or(*group.observed.value)});
  }
  if (groups.size() < 2) return std::nullopt;
  const double top = std::min(1.0, std::ceil(most * 5.0 - 1e-9) / 5.0);
  Svg svg(304, 292);
  const Frame frame{52, 14, 236, 236, 0.0, top, 0.0, top};
  const auto ticks = nice_ticks(0.0, top, 4);
  draw_axes(svg,
            frame,
            fmt::format("predicted risk at {} months", months),
            "share with the event",
            ticks,
            ticks);
  svg.line(frame.x(0), frame.y(0), frame.x(top), frame.y(top), "ref");
  DataTable data{{"shape", "n", "mean_risk", "observed", "low", "high"}, {}};
  std::vector<Point> line;
  for (const CalibrationGroup& group : groups) {
    const double x = frame.x(*group.mean_risk);
    if (group.observed.low && group.observed.high) {
      svg.line(x,
               frame.y(std::max(0.0, *group.observed.low)),
               x,
               frame.y(std::min(top, *group.observed.high)),
               "whisker-a");
    }
    line.emplace_back(x, frame.y(*group.observed.value));
    data.rows.push_back({"group",
                         group.n,
                         group.mean_risk,
                         group.observed.value,
                         group.observed.low,
                         group.observed.high});
  }
  // The smoothed curve where the run has one, else the groups are joined.
  std::vector<Point> smooth;
  for (std::size_t i = 0; i < set.calibration_x.size(); ++i) {
    const double x = set.calibration_x[i];
    const double y = set.calibration_y[i];
    data.rows.push_back({"smooth curve", kNone, x, y, kNone, kNone});
    const bool inside = std::isfinite(x) && std::isfinite(y) && x <= top && y <= top;
    smooth.emplace_back(inside ? frame.x(x) : kNone, inside ? frame.y(y) : kNone);
  }
  if (smooth.size() > 1) {
    svg.path(smooth, "curve s1");
  } else {
    svg.path(line, "curve thin");
  }
  for (std::size_t i = 0; i < groups.size(); ++i) {
    svg.circle(line[i].first,
               line[i].second,
               4.5,
               "mark-a",
               fmt::format("{} patients: predicted {}, observed {}",
                           count(groups[i].n),
                           fixed(groups[i].mean_risk, 2),
                           shown_of(groups[i].observed)));
  }
  return Figure{
      "",
      fmt::format("{}: calibration at {} months, {}", model.label, months, set_name(set.name)),
      "Points: groups of patients by predicted risk, against the share with the event by "
      "Kaplan-Meier with its 95 % interval; line: smoothed over all patients; straight dashes: "
      "perfect agreement.",
      calibration_words(set),
      std::move(svg),
      std::move(data)};
}

std::optional<Figure> decision_curve(const SurvivalModel& model,
                                     const SurvivalModelSet& set,
                                     const std::string& months) {
  double lowest = -0.02;
  double highest = 0.05;
  double x1 = 0.0;
  bool any = false;
  for (const DecisionPoint& point : set.decision) {
    if (!point.threshold) continue;
    x1 = std::max(x1, *point.threshold);
    for (const Estimate* estimate : {&point.net_benefit, &point.treat_all}) {
      if (!estimate->value) continue;
      any = true;
      highest = std::max(highest, *estimate->value);
    }
    if (point.net_benefit.value) lowest = std::min(lowest, *point.net_benefit.value);
  }
  if (!any || x1 <= 0.0) return std::nullopt;
  // Treating all falls without bound: what lies below is cut off, as is usual.
  lowest = std::max(lowest, -0.5 * highest) - 0.02;
  highest *= 1.05;
  Svg svg(372, 276);
  const Frame frame{58, 48, 300, 180, 0.0, x1, lowest, highest};
  draw_axes(svg,
            frame,
            fmt::format("threshold: risk at {} months from which one would treat", months),
            "net benefit",
            nice_ticks(0.0, x1, 6),
            nice_ticks(lowest, highest, 5));
  DataTable data{{"threshold", "net_benefit", "treat_all", "treat_none"}, {}};
  std::vector<Point> ours;
  std::vector<Point> all;
  for (const DecisionPoint& point : set.decision) {
    if (!point.threshold) continue;
    const double x = frame.x(*point.threshold);
    const auto place = [&](const Estimate& estimate) {
      return estimate.value && *estimate.value >= lowest ? frame.y(*estimate.value) : kNone;
    };
    ours.emplace_back(x, place(point.net_benefit));
    all.emplace_back(x, place(point.treat_all));
    data.rows.push_back({point.threshold, point.net_benefit.value, point.treat_all.value, 0.0});
  }
  svg.line(frame.left, frame.y(0), frame.right(), frame.y(0), "ref");
  svg.path(all, "curve s1");
  svg.path(ours, "curve");
  svg.line(frame.left, 12, frame.left + 22, 12, "curve");
  svg.text(frame.left + 28, 16, "by the model", "small");
  svg.line(frame.left + 120, 12, frame.left + 142, 12, "curve s1");
  svg.text(frame.left + 148, 16, "treat all", "small");
  svg.line(frame.left + 214, 12, frame.left + 236, 12, "ref");
  svg.text(frame.left + 242, 16, "treat none", "small");
  return Figure{
      "",
      fmt::format("{}: decision curve, {}", model.label, set_name(set.name)),
      "Net benefit of treating those above a threshold of risk, beside treating everybody "
      "and nobody.",
      "",
      std::move(svg),
      std::move(data)};
}

std::optional<Figure> subgroup_forest(const Survival& survival, const std::string& model) {
  std::vector<ForestRow> rows;
  std::string set;
  for (const SubgroupRow& row : survival.subgroups) {
    if (row.model != model || !row.c_index.value) continue;
    set = row.set;
    rows.push_back({row.subgroup, row.value, "", row.n, row.events, row.c_index});
  }
  if (rows.empty()) return std::nullopt;
  std::string label = model;
  for (const SurvivalModel& one : survival.models) {
    if (one.id == model) label = one.label;
  }
  return forest(fmt::format("{}: subgroups, {}", label, set_name(set)),
                "Forest plot: one row for each subgroup of patients, the point its C-index, the "
                "line its 95 % interval.",
                rows,
                "Values are as the table has them. Small subgroups have wide intervals; a "
                "difference between subgroups is not tested here.");
}

std::optional<Figure> survival_learning_curve(const Survival& survival) {
  std::vector<std::string> models;
  double most = 0.0;
  double lowest = 0.5;
  for (const LearningPoint& point : survival.learning_curve) {
    if (!point.c_index.value || !point.n_training) continue;
    most = std::max(most, *point.n_training);
    lowest = std::min(lowest, *point.c_index.value);
    if (std::find(survival.best.begin(), survival.best.end(), point.model) == survival.best.end() ||
        std::find(models.begin(), models.end(), point.model) != models.end()) {
      continue;
    }
    models.push_back(point.model);
  }
  if (models.empty()) return std::nullopt;
  const double y0 = std::max(0.0, std::floor(lowest * 10.0 - 1e-9) / 10.0);
  const double legend = 18.0 * static_cast<double>(models.size());
  Svg svg(372, 236 + legend);
  const Frame frame{58, 12 + legend, 300, 180, 0.0, most * 1.05, y0, 1.0};
  draw_axes(svg,
            frame,
            "training patients",
            "C-index on held-out patients",
            nice_ticks(0.0, frame.x1, 5),
            nice_ticks(y0, 1.0, 5));
  svg.line(frame.left, frame.y(0.5), frame.right(), frame.y(0.5), "ref");
  DataTable data{{"model", "share", "n_training", "events_training", "c_index", "low", "high"}, {}};
  for (const LearningPoint& point : survival.learning_curve) {
    data.rows.push_back({survival.label_of(point.model),
                         point.share,
                         point.n_training,
                         point.events_training,
                         point.c_index.value,
                         point.c_index.low,
                         point.c_index.high});
  }
  for (std::size_t m = 0; m < models.size(); ++m) {
    const std::string css = fmt::format("curve s{}", m % 4);
    std::vector<Point> line;
    for (const LearningPoint& point : survival.learning_curve) {
      if (point.model != models[m] || !point.c_index.value || !point.n_training) continue;
      line.emplace_back(frame.x(*point.n_training), frame.y(*point.c_index.value));
    }
    std::sort(line.begin(), line.end());
    svg.path(line, css);
    for (const Point& at : line) svg.circle(at.first, at.second, 3.5, "mark-a");
    const double y = 14 + 18.0 * static_cast<double>(m);
    svg.line(frame.left, y - 4, frame.left + 22, y - 4, css);
    svg.text(frame.left + 28, y, shorten(survival.label_of(models[m]), 44), "small");
  }
  return Figure{"",
                "C-index by the number of training patients",
                "Lines: Harrell's C of the best models on held-out patients, fitted on growing "
                "shares of each training side.",
                "All models are in the data. A line that still rises says that more patients would "
                "help.",
                std::move(svg),
                std::move(data)};
}

}  // namespace med3d::report
