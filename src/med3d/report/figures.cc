#include "med3d/report/figures.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "med3d/core/text.h"
#include "med3d/report/markup.h"

namespace med3d::report {
namespace {

// Half a unit of the drawing: less than the stroke is wide.
constexpr double kSimplifyTolerance = 0.35;

double value_or_zero(const Count& count) { return count ? static_cast<double>(*count) : 0.0; }

Figure make(const std::string& title,
            const std::string& description,
            Svg svg,
            DataTable data,
            const std::string& caption = "") {
  return {"", title, description, caption, std::move(svg), std::move(data)};
}

// A swatch with its name; returns where the next one may start.
double legend_item(
    Svg& svg, double x, double y, std::string_view css_class, std::string_view name) {
  svg.rect(x, y - 9, 12, 10, css_class);
  svg.text(x + 18, y, name, "small");
  return x + 18 + 6.2 * static_cast<double>(name.size()) + 22;
}

std::vector<Point> mapped(const Frame& frame,
                          const std::vector<double>& x,
                          const std::vector<double>& y) {
  std::vector<Point> points;
  points.reserve(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) points.emplace_back(frame.x(x[i]), frame.y(y[i]));
  return points;
}

// The band between low and high: up along low, back along high. Points without both are left out.
void draw_band(Svg& svg, const Frame& frame, const Curve& curve) {
  if (curve.low.empty()) return;
  std::vector<Point> low;
  std::vector<Point> high;
  for (std::size_t i = 0; i < curve.x.size(); ++i) {
    if (!std::isfinite(curve.x[i] + curve.low[i] + curve.high[i])) continue;
    low.emplace_back(frame.x(curve.x[i]), frame.y(curve.low[i]));
    high.emplace_back(frame.x(curve.x[i]), frame.y(curve.high[i]));
  }
  low = simplify(low, kSimplifyTolerance);
  high = simplify(high, kSimplifyTolerance);
  low.insert(low.end(), high.rbegin(), high.rend());
  svg.path(low, "band", true);
}

DataTable curve_table(const Curve& curve, const std::string& x, const std::string& y) {
  DataTable table;
  table.columns = {x, y};
  if (!curve.low.empty()) {
    table.columns.push_back("low");
    table.columns.push_back("high");
  }
  if (!curve.n.empty()) table.columns.push_back("n");
  for (std::size_t i = 0; i < curve.x.size(); ++i) {
    std::vector<Cell> row = {curve.x[i], curve.y[i]};
    if (!curve.low.empty()) {
      row.emplace_back(curve.low[i]);
      row.emplace_back(curve.high[i]);
    }
    if (!curve.n.empty()) row.emplace_back(curve.n[i]);
    table.rows.push_back(std::move(row));
  }
  return table;
}

const std::vector<double>& unit_ticks() {
  static const std::vector<double> ticks = {0.0, 0.25, 0.5, 0.75, 1.0};
  return ticks;
}

Frame unit_frame() { return {52, 14, 236, 236, 0.0, 1.0, 0.0, 1.0}; }
Svg unit_svg() { return Svg(304, 292); }

std::string model_and_set(const Model& model, const ModelSet& set) {
  return fmt::format("{}, {}", model.label, set.name == "test" ? "test set" : set.name);
}

// A diamond reads as "test" beside the round cross-validation marks, without colour.
void diamond(
    Svg& svg, double x, double y, double r, std::string_view css_class, std::string_view tip) {
  svg.path({{x, y - r}, {x + r, y}, {x, y + r}, {x - r, y}}, css_class, true, tip);
}

void whisker(
    Svg& svg, const Frame& frame, const Estimate& estimate, double y, std::string_view css_class) {
  if (!estimate.low || !estimate.high) return;
  const double low = frame.x(std::max(*estimate.low, frame.x0));
  const double high = frame.x(std::min(*estimate.high, frame.x1));
  svg.line(low, y, high, y, css_class);
}

std::string value_with_interval(const Estimate& estimate) {
  const std::string range = interval(estimate.low, estimate.high, 2);
  const std::string value = fixed(estimate.value, 2);
  return range.empty() ? value : fmt::format("{} ({})", value, range);
}

}  // namespace

std::string family_name(const std::string& family) {
  if (family == "arm") return "single arm";
  if (family == "paper-baseline") return "paper baseline";
  if (family == "baseline") return "classical baseline";
  return family;
}

std::optional<Figure> auroc_forest(const Document& document) {
  struct Row {
    const Model* model;
    const Estimate* estimates[2];
  };
  std::vector<Row> rows;
  double lowest = 0.5;
  for (const std::string family : {"arm", "paper-baseline", "fusion", "baseline", "reference"}) {
    for (const Model& model : document.models) {
      if (model.family != family) continue;
      Row row{&model, {nullptr, nullptr}};
      for (int i = 0; i < 2; ++i) {
        const ModelSet* set = model.find_set(i == 0 ? "cross-validation" : "test");
        if (set == nullptr) continue;
        const auto found = set->metrics.find("auroc");
        if (found == set->metrics.end() || !found->second.value) continue;
        row.estimates[i] = &found->second;
        lowest = std::min(lowest, found->second.low.value_or(*found->second.value));
      }
      if (row.estimates[0] != nullptr || row.estimates[1] != nullptr) rows.push_back(row);
    }
  }
  if (rows.empty()) return std::nullopt;

  const double x0 = std::max(0.0, std::floor(lowest * 10.0 - 1e-9) / 10.0);
  constexpr double kRow = 38.0;
  constexpr double kHead = 30.0;
  double height = 34.0;
  std::string family;
  for (const Row& row : rows) {
    if (row.model->family != family) height += kHead;
    family = row.model->family;
    height += kRow;
  }
  Svg svg(780, height + 46);
  const Frame frame{250, 34, 330, height - 34, x0, 1.0, 0.0, 1.0};
  DataTable data{{"model", "family", "set", "n", "positives", "auroc", "low", "high"}, {}};

  for (const double tick : nice_ticks(x0, 1.0, 6)) {
    svg.line(frame.x(tick), frame.top, frame.x(tick), frame.bottom(), "grid");
    svg.text(frame.x(tick), frame.bottom() + 15, tick_label(tick), "tick mid");
  }
  if (x0 <= 0.5) svg.line(frame.x(0.5), frame.top, frame.x(0.5), frame.bottom(), "ref");
  svg.text(frame.left + frame.width / 2,
           frame.bottom() + 34,
           "AUROC with 95\u00A0% interval",
           "name mid");
  svg.circle(frame.left + 4, 16, 4.5, "mark-a");
  svg.text(frame.left + 15, 20, "cross-validation", "small");
  diamond(svg, frame.left + 134, 16, 5.5, "mark-b", "");
  svg.text(frame.left + 146, 20, "test", "small");
  if (x0 <= 0.5) {
    svg.line(frame.left + 190, 16, frame.left + 206, 16, "ref");
    svg.text(frame.left + 212, 20, "no discrimination", "small");
  }

  double y = frame.top;
  family.clear();
  for (const Row& row : rows) {
    if (row.model->family != family) {
      family = row.model->family;
      y += kHead;
      svg.text(0, y - 9, family_name(family), "group");
      svg.line(0, y - 2, 780, y - 2, "rule");
    }
    svg.text(0, y + kRow / 2 + 4, shorten(row.model->label, 36), "label", row.model->label);
    for (int i = 0; i < 2; ++i) {
      const Estimate* estimate = row.estimates[i];
      const ModelSet* set = row.model->find_set(i == 0 ? "cross-validation" : "test");
      if (estimate == nullptr || set == nullptr) continue;
      const double at = y + (i == 0 ? 12.0 : 27.0);
      const std::string shown = value_with_interval(*estimate);
      const std::string tip = fmt::format("{}: AUROC {}, n = {}, {} positives",
                                          model_and_set(*row.model, *set),
                                          shown,
                                          count(set->n),
                                          count(set->positives));
      whisker(svg, frame, *estimate, at, i == 0 ? "whisker-a" : "whisker-b");
      if (i == 0) {
        svg.circle(frame.x(*estimate->value), at, 4.5, "mark-a", tip);
      } else {
        diamond(svg, frame.x(*estimate->value), at, 5.5, "mark-b", tip);
      }
      svg.text(594, at + 4, shown, "small num");
      svg.text(780, at + 4, fmt::format("n {}", count(set->n)), "small quiet end");
      data.rows.push_back({row.model->label,
                           family,
                           set->name,
                           set->n,
                           set->positives,
                           estimate->value,
                           estimate->low,
                           estimate->high});
    }
    y += kRow;
  }
  return make(
      "Discrimination of every model",
      "Forest plot: one row for each model, the point its AUROC, the line its 95 % interval; "
      "circles are cross-validation, diamonds the test set.",
      std::move(svg),
      std::move(data));
}

std::optional<Figure> comparison_forest(const Document& document, const std::string& set) {
  std::vector<const Comparison*> rows;
  double reach = 0.05;
  for (const Comparison& comparison : document.comparisons) {
    if (comparison.set != set || !comparison.difference.value) continue;
    rows.push_back(&comparison);
    for (const Number& bound :
         {comparison.difference.value, comparison.difference.low, comparison.difference.high}) {
      if (bound) reach = std::max(reach, std::abs(*bound));
    }
  }
  if (rows.empty()) return std::nullopt;
  reach = std::ceil(reach * 20.0 - 1e-9) / 20.0;
  constexpr double kRow = 26.0;
  const double height = kRow * static_cast<double>(rows.size());
  Svg svg(780, height + 72);
  const Frame frame{368, 22, 232, height, -reach, reach, 0.0, 1.0};
  DataTable data{
      {"set", "a", "b", "metric", "test", "difference", "low", "high", "p", "p_adjusted"}, {}};
  for (const double tick : nice_ticks(-reach, reach, 5)) {
    svg.line(frame.x(tick), frame.top, frame.x(tick), frame.bottom(), "grid");
    svg.text(frame.x(tick), frame.bottom() + 15, tick_label(tick), "tick mid");
  }
  svg.line(frame.x(0), frame.top, frame.x(0), frame.bottom(), "ref");
  svg.text(frame.x(0) - 10, 14, "\u2190 second is higher", "small quiet end");
  svg.text(frame.x(0) + 10, 14, "first is higher \u2192", "small quiet");
  svg.text(frame.left + frame.width / 2,
           frame.bottom() + 34,
           "difference (first minus second) with 95\u00A0% interval",
           "name mid");
  double y = frame.top;
  for (const Comparison* comparison : rows) {
    const std::string a = document.label_of(comparison->a);
    const std::string b = document.label_of(comparison->b);
    const std::string pair = fmt::format("{} \u2013 {}", a, b);
    const std::string shown = value_with_interval(comparison->difference);
    const double at = y + kRow / 2;
    svg.text(0, at + 4, shorten(a, 28) + " \u2013 " + shorten(b, 28), "small", pair);
    whisker(svg, frame, comparison->difference, at, "whisker-a");
    const bool clear = comparison->difference.low && comparison->difference.high &&
                       (*comparison->difference.low > 0.0 || *comparison->difference.high < 0.0);
    svg.circle(
        frame.x(*comparison->difference.value),
        at,
        4.5,
        clear ? "mark-a" : "mark-a open",
        fmt::format("{}, {}: {}, p {}", pair, comparison->metric, shown, p_value(comparison->p)));
    svg.text(614, at + 4, shown, "small num");
    data.rows.push_back({set,
                         a,
                         b,
                         comparison->metric,
                         comparison->test,
                         comparison->difference.value,
                         comparison->difference.low,
                         comparison->difference.high,
                         comparison->p,
                         comparison->p_adjusted});
    y += kRow;
  }
  return make(fmt::format("Differences between models, {}", set == "test" ? "test set" : set),
              "Forest plot of differences: one row for each pair, filled points where the interval "
              "leaves zero out.",
              std::move(svg),
              std::move(data),
              "Filled: the interval leaves zero out. Open: compatible with no difference.");
}

Figure cohort_flow(const Cohort& cohort) {
  constexpr double kBox = 300.0;
  constexpr double kSide = 380.0;
  struct Placed {
    std::vector<std::string> label, side;
    double top, box_height, side_top, side_height;
  };
  std::vector<Placed> placed;
  double y = 2.0;
  DataTable data{{"step", "n", "excluded", "reason"}, {}};
  for (std::size_t i = 0; i < cohort.flow.size(); ++i) {
    const FlowStep& step = cohort.flow[i];
    Placed place{wrap(step.label, 40, 3), {}, 0, 0, 0, 0};
    data.rows.push_back({step.label, step.n, "", ""});
    for (const Exclusion& exclusion : step.excluded) {
      const auto lines = wrap(fmt::format("{}  {}", count(exclusion.n), exclusion.reason), 52, 2);
      place.side.insert(place.side.end(), lines.begin(), lines.end());
      data.rows.push_back({step.label, Cell(""), exclusion.n, exclusion.reason});
    }
    if (i > 0) y += 26.0;
    if (!place.side.empty()) {
      place.side_height = 16.0 * static_cast<double>(place.side.size()) + 18.0;
      place.side_top = y;
      y += place.side_height + 26.0;
    }
    place.box_height = 16.0 * static_cast<double>(place.label.size()) + 38.0;
    place.top = y;
    y += place.box_height;
    placed.push_back(std::move(place));
  }
  Svg svg(780, y + 4);
  const double middle = kBox / 2;
  for (std::size_t i = 0; i < placed.size(); ++i) {
    const Placed& place = placed[i];
    const double above = i > 0 ? placed[i - 1].top + placed[i - 1].box_height : place.side_top;
    if (i > 0 || !place.side.empty()) {
      svg.line(middle, above, middle, place.top - 7, "flow");
      svg.path({{middle - 4, place.top - 8}, {middle + 4, place.top - 8}, {middle, place.top - 1}},
               "flow-head",
               true);
    }
    if (!place.side.empty()) {
      const double at = place.side_top + place.side_height / 2;
      svg.line(middle, at, kSide - 9, at, "flow");
      svg.path({{kSide - 10, at - 4}, {kSide - 10, at + 4}, {kSide - 2, at}}, "flow-head", true);
      svg.rect(kSide, place.side_top, 398, place.side_height, "box side", "", 6);
      for (std::size_t k = 0; k < place.side.size(); ++k) {
        svg.text(kSide + 16,
                 place.side_top + 21 + 16.0 * static_cast<double>(k),
                 place.side[k],
                 "small");
      }
    }
    svg.rect(1, place.top, kBox, place.box_height, "box", "", 6);
    for (std::size_t k = 0; k < place.label.size(); ++k) {
      svg.text(middle, place.top + 22 + 16.0 * static_cast<double>(k), place.label[k], "label mid");
    }
    svg.text(middle,
             place.top + place.box_height - 13,
             fmt::format("n = {}", count(cohort.flow[i].n)),
             "strong mid");
  }
  return make(
      "Who is in the cohort",
      "Flow diagram from the first source to the patients analysed; boxes at the side say who "
      "was left out and why.",
      std::move(svg),
      std::move(data));
}

Figure availability_patterns(const Cohort& cohort, const Endpoint& endpoint) {
  std::vector<std::string> modalities;
  for (const Modality& modality : cohort.modalities) modalities.push_back(modality.name);
  for (const Pattern& pattern : cohort.availability) {
    for (const std::string& name : pattern.modalities) {
      if (std::find(modalities.begin(), modalities.end(), name) == modalities.end()) {
        modalities.push_back(name);
      }
    }
  }
  std::vector<const Pattern*> patterns;
  double most = 1.0;
  for (const Pattern& pattern : cohort.availability) {
    patterns.push_back(&pattern);
    most = std::max(most, value_or_zero(pattern.n));
  }
  std::stable_sort(patterns.begin(), patterns.end(), [](const Pattern* a, const Pattern* b) {
    return value_or_zero(a->n) > value_or_zero(b->n);
  });

  constexpr double kRow = 28.0;
  const double column =
      std::min(74.0, 330.0 / std::max(1.0, static_cast<double>(modalities.size())));
  const double matrix = column * static_cast<double>(modalities.size());
  const double top = 56.0;
  Svg svg(780, top + kRow * static_cast<double>(patterns.size()) + 6);
  const double bars = matrix + 24.0;
  const double bar_width = 780.0 - bars - 130.0;
  DataTable data{{"pattern", "n", "positives", "negatives"}, {}};
  const auto name_width = static_cast<std::size_t>(std::max(3.0, column / 6.4));
  for (std::size_t j = 0; j < modalities.size(); ++j) {
    svg.text(column * (static_cast<double>(j) + 0.5),
             top - 12,
             shorten(modalities[j], name_width),
             "small mid",
             modalities[j]);
  }
  double at = legend_item(svg, bars, 16, "class-0", shorten(endpoint.negative_label, 30));
  legend_item(svg, at, 16, "class-1", shorten(endpoint.positive_label, 30));
  svg.text(bars, top - 12, "patients", "small quiet");
  for (std::size_t i = 0; i < patterns.size(); ++i) {
    const Pattern& pattern = *patterns[i];
    const double y = top + kRow * static_cast<double>(i);
    const double middle = y + kRow / 2;
    if (i % 2 == 0) svg.rect(0, y, 780, kRow, "stripe");
    double first = -1.0;
    double last = -1.0;
    for (std::size_t j = 0; j < modalities.size(); ++j) {
      const auto& has = pattern.modalities;
      const double x = column * (static_cast<double>(j) + 0.5);
      if (std::find(has.begin(), has.end(), modalities[j]) == has.end()) continue;
      if (first < 0.0) first = x;
      last = x;
    }
    if (last > first) svg.line(first, middle, last, middle, "link");
    for (std::size_t j = 0; j < modalities.size(); ++j) {
      const auto& has = pattern.modalities;
      const bool present = std::find(has.begin(), has.end(), modalities[j]) != has.end();
      svg.circle(
          column * (static_cast<double>(j) + 0.5), middle, 5.5, present ? "dot" : "dot none");
    }
    const std::string name = pattern.modalities.empty() ? "none" : join(pattern.modalities, " + ");
    const std::string tip = fmt::format("{}: n = {}; {} {}, {} {}",
                                        name,
                                        count(pattern.n),
                                        count(pattern.negatives),
                                        endpoint.negative_label,
                                        count(pattern.positives),
                                        endpoint.positive_label);
    const double scale = bar_width / most;
    double end = bars + value_or_zero(pattern.n) * scale;
    if (pattern.positives && pattern.negatives) {
      const double cut = value_or_zero(pattern.negatives) * scale;
      const double rest = value_or_zero(pattern.positives) * scale;
      svg.rect(bars, y + 6, cut, kRow - 12, "class-0", tip);
      svg.rect(bars + cut, y + 6, rest, kRow - 12, "class-1", tip);
      end = std::max(end, bars + cut + rest);
    } else {
      svg.rect(bars, y + 6, end - bars, kRow - 12, "bar", tip);
    }
    svg.text(
        end + 8,
        middle + 4,
        fmt::format(
            "{} ({} : {})", count(pattern.n), count(pattern.negatives), count(pattern.positives)),
        "small num");
    data.rows.push_back({name, pattern.n, pattern.positives, pattern.negatives});
  }
  return make(
      "Which data each patient has",
      "One row for each combination of modalities: filled dots are present, open ones "
      "missing; the bar counts patients by class.",
      std::move(svg),
      std::move(data),
      fmt::format("In brackets {} : {}.", endpoint.negative_label, endpoint.positive_label));
}

Figure missingness(const Cohort& cohort, const Endpoint& endpoint) {
  std::vector<const Missing*> rows;
  DataTable data{{"column", "share_missing", "share_positive_where_missing"}, {}};
  for (const Missing& missing : cohort.missing) {
    rows.push_back(&missing);
    data.rows.push_back({missing.column, missing.share, missing.missing_positive_share});
  }
  std::stable_sort(rows.begin(), rows.end(), [](const Missing* a, const Missing* b) {
    return a->share.value_or(-1.0) > b->share.value_or(-1.0);
  });
  constexpr std::size_t kMost = 30;
  const std::size_t left_out = rows.size() > kMost ? rows.size() - kMost : 0;
  rows.resize(std::min(rows.size(), kMost));
  constexpr double kRow = 24.0;
  const double height = kRow * static_cast<double>(rows.size());
  Svg svg(780, height + 48);
  const Frame frame{230, 4, 330, height, 0.0, 1.0, 0.0, 1.0};
  for (const double tick : unit_ticks()) {
    svg.line(frame.x(tick), frame.top, frame.x(tick), frame.bottom(), "grid");
    svg.text(frame.x(tick),
             frame.bottom() + 15,
             percent(tick).substr(0, percent(tick).find('.')) + "\u00A0%",
             "tick mid");
  }
  svg.text(
      frame.left + frame.width / 2, frame.bottom() + 34, "patients without a value", "name mid");
  const Count n = cohort.n;
  const Number overall =
      n && *n > 0 && cohort.positives
          ? Number(static_cast<double>(*cohort.positives) / static_cast<double>(*n))
          : std::nullopt;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const Missing& missing = *rows[i];
    const double y = frame.top + kRow * static_cast<double>(i);
    svg.text(frame.left - 10,
             y + kRow / 2 + 4,
             shorten(missing.column, 34),
             "small end",
             missing.column);
    svg.rect(frame.left,
             y + 5,
             frame.width * missing.share.value_or(0.0),
             kRow - 10,
             "bar",
             fmt::format("{}: {} missing", missing.column, percent(missing.share)));
    svg.text(frame.right() + 12, y + kRow / 2 + 4, percent(missing.share), "small num");
    if (missing.missing_positive_share) {
      svg.text(frame.right() + 72,
               y + kRow / 2 + 4,
               fmt::format("{} {}",
                           percent(missing.missing_positive_share),
                           shorten(endpoint.positive_label, 20)),
               "small quiet");
    }
  }
  std::string caption;
  if (overall) {
    caption = fmt::format(
        "At the right, the share \u201C{}\u201D among patients without the value; "
        "in the whole cohort it is {}. A clear gap between the two would "
        "mean that missingness itself tells something about the outcome.",
        endpoint.positive_label,
        percent(overall));
  }
  if (left_out > 0) {
    caption += fmt::format(" {} more columns are in the data below.", left_out);
  }
  return make("Missing values",
              "Bars: the share of patients without a value, one row for each column.",
              std::move(svg),
              std::move(data),
              caption);
}

Figure class_balance(const std::vector<Balance>& balances, const Endpoint& endpoint) {
  double most = 1.0;
  for (const Balance& balance : balances) {
    for (const Count& n :
         {balance.before[0], balance.before[1], balance.after[0], balance.after[1]}) {
      most = std::max(most, value_or_zero(n));
    }
  }
  constexpr double kGroup = 118.0;
  Svg svg(780, 34 + kGroup * static_cast<double>(balances.size()));
  const double next = legend_item(svg, 200, 16, "class-0", shorten(endpoint.negative_label, 36));
  legend_item(svg, next, 16, "class-1", shorten(endpoint.positive_label, 36));
  DataTable data{{"method", "moment", "negatives", "positives"}, {}};
  const double scale = 500.0 / most;
  for (std::size_t i = 0; i < balances.size(); ++i) {
    const Balance& balance = balances[i];
    const double y = 34 + kGroup * static_cast<double>(i);
    svg.line(0, y, 780, y, "rule");
    svg.text(0, y + 24, shorten(balance.method, 18), "label", balance.method);
    for (int moment = 0; moment < 2; ++moment) {
      const Count* counts = moment == 0 ? balance.before : balance.after;
      const std::string name = moment == 0 ? "before" : "after";
      const double row = y + 10 + 50.0 * moment;
      svg.text(190, row + 24, name, "small quiet end");
      for (int label = 0; label < 2; ++label) {
        const double at = row + 20.0 * label;
        const double width = value_or_zero(counts[label]) * scale;
        svg.rect(200,
                 at,
                 width,
                 17,
                 label == 0 ? "class-0" : "class-1",
                 fmt::format("{}, {}: {} {}",
                             balance.method,
                             name,
                             count(counts[label]),
                             label == 0 ? endpoint.negative_label : endpoint.positive_label));
        svg.text(200 + width + 8, at + 13, count(counts[label]), "small num");
      }
      data.rows.push_back({balance.method, name, counts[0], counts[1]});
    }
  }
  return make("Class distribution before and after balancing",
              "Paired bars of the two classes for each balancing method, before and after.",
              std::move(svg),
              std::move(data),
              "Counts of the patients handed to the method, and of what it "
              "gave back.");
}

Figure learning_curve(const LearningCurve& curve) {
  double low = 0.0;
  double high = 0.0;
  std::size_t epochs = 1;
  bool any = false;
  for (const Series& series : curve.series) {
    epochs = std::max(epochs, series.values.size());
    for (const double value : series.values) {
      if (!std::isfinite(value)) continue;
      high = any ? std::max(high, value) : std::max(0.0, value);
      low = any ? std::min(low, value) : std::min(0.0, value);
      any = true;
    }
  }
  if (!(high > low)) high = low + 1.0;
  high += (high - low) * 0.04;
  const double legend_rows = std::ceil(static_cast<double>(curve.series.size()) / 2.0);
  Svg svg(372, 222 + 18 * legend_rows);
  const Frame frame{48,
                    12 + 18 * legend_rows,
                    310,
                    164,
                    0.0,
                    std::max(1.0, static_cast<double>(epochs - 1)),
                    low,
                    high};
  draw_axes(svg, frame, "epoch", "", nice_ticks(frame.x0, frame.x1, 6), nice_ticks(low, high, 5));
  DataTable data{{"epoch"}, {}};
  for (std::size_t i = 0; i < epochs; ++i) data.rows.push_back({static_cast<double>(i)});
  if (curve.best_epoch) {
    const auto best = static_cast<double>(*curve.best_epoch);
    if (best <= frame.x1) {
      svg.line(frame.x(best), frame.top, frame.x(best), frame.bottom(), "ref");
      const bool near_end = best > 0.7 * frame.x1;
      svg.text(frame.x(best) + (near_end ? -6 : 6),
               frame.bottom() - 8,
               fmt::format("kept: epoch {}", *curve.best_epoch),
               near_end ? "small quiet end" : "small quiet");
    }
  }
  svg.begin_plot(frame.left,
                 frame.top,
                 frame.width,
                 frame.height,
                 frame.x0,
                 frame.x1,
                 frame.y0,
                 frame.y1,
                 "epoch",
                 "value");
  for (std::size_t s = 0; s < curve.series.size(); ++s) {
    const Series& series = curve.series[s];
    std::vector<Point> points;
    data.columns.push_back(series.name);
    for (std::size_t i = 0; i < epochs; ++i) {
      const double value = i < series.values.size() ? series.values[i] : std::nan("");
      data.rows[i].emplace_back(value);
      points.emplace_back(frame.x(static_cast<double>(i)), frame.y(value));
    }
    svg.path(simplify(points, kSimplifyTolerance), fmt::format("curve s{}", s % 4), false);
  }
  svg.end_plot();
  for (std::size_t s = 0; s < curve.series.size(); ++s) {
    const double x = frame.left + 156.0 * static_cast<double>(s % 2);
    const double y = 14 + 18.0 * static_cast<double>(s / 2);
    svg.line(x, y - 4, x + 22, y - 4, fmt::format("curve s{}", s % 4));
    svg.text(x + 28, y, shorten(curve.series[s].name, 20), "small", curve.series[s].name);
  }
  return make(curve.title,
              "Lines: each series over the training epochs; the dashed upright line "
              "marks the epoch whose weights were kept.",
              std::move(svg),
              std::move(data));
}

Figure survival_curves(const SurvivalModel& model, const SurvivalModelSet& set) {
  double longest = 1.0;
  for (const SurvivalGroup& group : set.groups) {
    for (const double t : group.time_months) {
      if (std::isfinite(t)) longest = std::max(longest, t);
    }
  }
  const double legend = 18.0 * static_cast<double>(set.groups.size());
  bool at_risk = false;
  for (const SurvivalGroup& group : set.groups) at_risk = at_risk || !group.at_risk.empty();
  const double below = at_risk ? 16.0 * static_cast<double>(set.groups.size()) + 20.0 : 0.0;
  Svg svg(372, 222 + legend + below);
  const Frame frame{72, 12 + legend, 286, 164, 0.0, longest, 0.0, 1.0};
  draw_axes(svg,
            frame,
            "months",
            "without the event",
            nice_ticks(frame.x0, frame.x1, 6),
            nice_ticks(0.0, 1.0, 5));
  if (at_risk) {
    double y = frame.bottom() + 58;
    svg.text(0, y, "patients still watched", "small quiet");
    for (const SurvivalGroup& group : set.groups) {
      y += 16;
      svg.text(0, y, shorten(group.name, 9), "tick", group.name);
      svg.text(frame.x(0.0), y, count(group.n), "tick mid num");
      for (const auto& [month, n] : group.at_risk) {
        // The first column is everybody; a month near it would be printed over it.
        if (!month || frame.x(*month) < frame.x(0.0) + 22 || *month > longest) continue;
        svg.text(frame.x(*month), y, count(n), "tick mid num");
      }
    }
  }
  svg.begin_plot(frame.left,
                 frame.top,
                 frame.width,
                 frame.height,
                 frame.x0,
                 frame.x1,
                 frame.y0,
                 frame.y1,
                 "months",
                 "without the event");
  DataTable data{
      {"group", "time_months", "survival", "low", "high", "cumulative_hazard", "at_risk"}, {}};
  const double none = std::nan("");
  for (const SurvivalGroup& group : set.groups) {
    for (const auto& [month, n] : group.at_risk) {
      data.rows.push_back({group.name, month, none, none, none, none, n});
    }
  }
  // Bands first: the lines stay on top of all of them.
  for (std::size_t g = 0; g < set.groups.size(); ++g) {
    const SurvivalGroup& group = set.groups[g];
    if (group.low.empty() || group.high.empty()) continue;
    std::vector<Point> upper;
    std::vector<Point> lower;
    double low = 1.0;
    double high = 1.0;
    for (std::size_t i = 0; i < group.time_months.size(); ++i) {
      if (!std::isfinite(group.low[i]) || !std::isfinite(group.high[i])) continue;
      const double x = frame.x(group.time_months[i]);
      lower.emplace_back(x, frame.y(low));
      upper.emplace_back(x, frame.y(high));
      low = group.low[i];
      high = group.high[i];
      lower.emplace_back(x, frame.y(low));
      upper.emplace_back(x, frame.y(high));
    }
    upper.insert(upper.end(), lower.rbegin(), lower.rend());
    if (upper.size() > 4) svg.path(upper, fmt::format("band b{}", g % 4), true);
  }
  for (std::size_t g = 0; g < set.groups.size(); ++g) {
    const SurvivalGroup& group = set.groups[g];
    std::vector<Point> points = {{frame.x(0.0), frame.y(1.0)}};
    double before = 1.0;
    for (std::size_t i = 0; i < group.time_months.size(); ++i) {
      const double t = group.time_months[i];
      const double s = group.survival[i];
      data.rows.push_back({group.name,
                           t,
                           s,
                           group.low.empty() ? none : group.low[i],
                           group.high.empty() ? none : group.high[i],
                           group.cumulative_hazard.empty() ? none : group.cumulative_hazard[i],
                           none});
      if (!std::isfinite(t) || !std::isfinite(s)) continue;
      points.emplace_back(frame.x(t), frame.y(before));
      points.emplace_back(frame.x(t), frame.y(s));
      before = s;
    }
    svg.path(points, fmt::format("curve s{}", g % 4), false);
  }
  svg.end_plot();
  for (std::size_t g = 0; g < set.groups.size(); ++g) {
    const SurvivalGroup& group = set.groups[g];
    const double y = 14 + 18.0 * static_cast<double>(g);
    svg.line(frame.left, y - 4, frame.left + 22, y - 4, fmt::format("curve s{}", g % 4));
    svg.text(frame.left + 28,
             y,
             fmt::format("{} risk: {} patients, {} events",
                         group.name,
                         group.n.value_or(0),
                         group.events.value_or(0)),
             "small");
  }
  return make(fmt::format("{}: risk groups, {}", model.label, set.name),
              "Lines: share of patients without the event over time (Kaplan-Meier) with bands of "
              "its intervals, one for each risk group; cut-points are of training patients alone.",
              std::move(svg),
              std::move(data));
}

Figure umap_scatter(const Projection& projection, const Endpoint& endpoint) {
  double x0 = 0, x1 = 0, y0 = 0, y1 = 0;
  bool any = false;
  DataTable data{{"x", "y", "label", "correct"}, {}};
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < projection.x.size(); ++i) {
    const double x = projection.x[i];
    const double y = projection.y[i];
    data.rows.push_back({x,
                         y,
                         static_cast<double>(projection.label[i]),
                         static_cast<double>(projection.correct[i])});
    wrong += projection.correct[i] == 0;
    if (!std::isfinite(x) || !std::isfinite(y)) continue;
    x0 = any ? std::min(x0, x) : x;
    x1 = any ? std::max(x1, x) : x;
    y0 = any ? std::min(y0, y) : y;
    y1 = any ? std::max(y1, y) : y;
    any = true;
  }
  if (!(x1 > x0)) x0 -= 1.0, x1 += 1.0;
  if (!(y1 > y0)) y0 -= 1.0, y1 += 1.0;
  const double pad_x = 0.05 * (x1 - x0);
  const double pad_y = 0.05 * (y1 - y0);
  Svg svg(372, 388);
  const Frame frame{8, 50, 356, 310, x0 - pad_x, x1 + pad_x, y0 - pad_y, y1 + pad_y};
  svg.rect(frame.left, frame.top, frame.width, frame.height, "panel", "", 4);
  svg.text(frame.left + frame.width / 2,
           frame.bottom() + 18,
           "UMAP, two dimensions (no units)",
           "name mid");
  const auto mark = [&](double x, double y, int label, int correct, std::string_view tip) {
    const std::string css = correct ? "pt ok" : "pt wrong";
    if (label == 0) {
      svg.circle(x, y, 3.6, css, tip);
    } else {
      svg.path({{x, y - 4.6}, {x + 4.3, y + 3.2}, {x - 4.3, y + 3.2}}, css, true, tip);
    }
  };
  // Errors last, so that none hides under the many that are right.
  for (const int correct : {1, 0}) {
    for (std::size_t i = 0; i < projection.x.size(); ++i) {
      if (projection.correct[i] != correct) continue;
      const double x = frame.x(projection.x[i]);
      const double y = frame.y(projection.y[i]);
      if (!std::isfinite(x) || !std::isfinite(y)) continue;
      mark(x, y, projection.label[i], correct, "");
    }
  }
  mark(16, 12, 0, 1, "");
  svg.text(26, 16, shorten(endpoint.negative_label, 24), "small");
  mark(16, 32, 1, 1, "");
  svg.text(26, 36, shorten(endpoint.positive_label, 24), "small");
  svg.rect(210, 6, 12, 12, "swatch ok");
  svg.text(228, 16, "predicted right", "small");
  svg.rect(210, 26, 12, 12, "swatch wrong");
  svg.text(228, 36, fmt::format("predicted wrong ({})", wrong), "small");
  return make(projection.title,
              "Scatter of patients in two dimensions: circles and triangles are the two classes, "
              "filled blue marks were predicted right, open vermilion ones wrong.",
              std::move(svg),
              std::move(data));
}

Figure late_weights(const std::vector<Weight>& weights) {
  double most = 0.0;
  for (const Weight& weight : weights) most = std::max(most, std::abs(weight.weight.value_or(0.0)));
  if (!(most > 0.0)) most = 1.0;
  const auto group_of = [](const Weight& weight) {
    return weight.model.empty() ? weight.set : weight.set + ": " + weight.model;
  };
  std::vector<std::string> groups;
  for (const Weight& weight : weights) {
    const std::string group = group_of(weight);
    if (std::find(groups.begin(), groups.end(), group) == groups.end()) groups.push_back(group);
  }
  constexpr double kRow = 24.0;
  const double height =
      kRow * static_cast<double>(weights.size()) + 34.0 * static_cast<double>(groups.size());
  Svg svg(780, height + 4);
  DataTable data{{"set", "model", "modality", "weight"}, {}};
  double y = 0.0;
  for (const std::string& group : groups) {
    svg.text(0, y + 21, group, "group");
    svg.line(0, y + 28, 780, y + 28, "rule");
    y += 34.0;
    for (const Weight& weight : weights) {
      if (group_of(weight) != group) continue;
      data.rows.push_back({weight.set, weight.model, weight.modality, weight.weight});
      svg.text(190, y + 16, shorten(weight.modality, 28), "small end", weight.modality);
      const double width = std::max(0.0, weight.weight.value_or(0.0)) / most * 470.0;
      svg.rect(200,
               y + 5,
               width,
               kRow - 10,
               "bar",
               fmt::format("{}, {}: {}", group, weight.modality, fixed(weight.weight, 3)));
      svg.text(200 + width + 8, y + 16, fixed(weight.weight, 3), "small num");
      y += kRow;
    }
  }
  return make("Weights of late fusion",
              "Bars: the weight of each modality in the weighted sum.",
              std::move(svg),
              std::move(data));
}

Figure confusion_matrix(const Model& model, const ModelSet& set, const Endpoint& endpoint) {
  Svg svg(304, 292);
  const auto& cells = *set.confusion;  // tn, fp, fn, tp
  constexpr double kLeft = 64.0;
  constexpr double kTop = 52.0;
  constexpr double kSide = 114.0;
  const std::string names[2] = {endpoint.negative_label, endpoint.positive_label};
  DataTable data{{"actual", "predicted", "n", "share_of_actual"}, {}};
  svg.text(kLeft + kSide, 14, "predicted", "name mid");
  svg.vertical_text(12, kTop + kSide, "actual", "name mid");
  for (int actual = 0; actual < 2; ++actual) {
    svg.text(
        kLeft + kSide * (actual + 0.5), 38, shorten(names[actual], 17), "small mid", names[actual]);
    svg.vertical_text(42, kTop + kSide * (actual + 0.5), shorten(names[actual], 17), "small mid");
    const auto total = static_cast<double>(cells[2 * actual] + cells[2 * actual + 1]);
    for (int predicted = 0; predicted < 2; ++predicted) {
      const std::int64_t n = cells[2 * actual + predicted];
      const Number share = total > 0 ? Number(static_cast<double>(n) / total) : std::nullopt;
      const int depth = static_cast<int>(std::lround(share.value_or(0.0) * 4.0));
      const double x = kLeft + kSide * predicted;
      const double y = kTop + kSide * actual;
      svg.rect(x + 2,
               y + 2,
               kSide - 4,
               kSide - 4,
               fmt::format("{} d{}", actual == predicted ? "right" : "wrong", depth),
               fmt::format("actual {}, predicted {}: {} ({} of the row)",
                           names[actual],
                           names[predicted],
                           count(n),
                           percent(share)),
               5);
      svg.text(x + kSide / 2, y + kSide / 2 + 2, count(n), "big mid");
      svg.text(x + kSide / 2,
               y + kSide / 2 + 22,
               share ? percent(share) : std::string("no patients"),
               "small mid");
      svg.text(x + 12, y + 20, actual == predicted ? "\u2713" : "\u2717", "small quiet");
      data.rows.push_back({names[actual], names[predicted], Count(n), share});
    }
  }
  return make(fmt::format("Confusion matrix: {}", model_and_set(model, set)),
              fmt::format("{} true negatives, {} false positives, {} false negatives, {} true "
                          "positives; shares are of the actual class.",
                          cells[0],
                          cells[1],
                          cells[2],
                          cells[3]),
              std::move(svg),
              std::move(data),
              set.threshold ? fmt::format("At threshold {}.", fixed(set.threshold, 3)) : "");
}

Figure roc_curve(const Model& model, const ModelSet& set) {
  Svg svg = unit_svg();
  const Frame frame = unit_frame();
  draw_axes(svg, frame, "1 \u2212 specificity", "sensitivity", unit_ticks(), unit_ticks());
  svg.line(frame.x(0), frame.y(0), frame.x(1), frame.y(1), "ref");
  svg.begin_plot(frame.left,
                 frame.top,
                 frame.width,
                 frame.height,
                 0,
                 1,
                 0,
                 1,
                 "1 \u2212 specificity",
                 "sensitivity");
  draw_band(svg, frame, *set.roc);
  svg.path(simplify(mapped(frame, set.roc->x, set.roc->y), kSimplifyTolerance), "curve s0");
  svg.end_plot();
  std::string caption;
  if (set.confusion) {
    const auto& c = *set.confusion;
    if (c[0] + c[1] > 0 && c[2] + c[3] > 0) {
      const double fpr = static_cast<double>(c[1]) / static_cast<double>(c[0] + c[1]);
      const double tpr = static_cast<double>(c[3]) / static_cast<double>(c[2] + c[3]);
      svg.circle(frame.x(fpr),
                 frame.y(tpr),
                 4.5,
                 "mark-b",
                 fmt::format("at the threshold: sensitivity {}, specificity {}",
                             fixed(tpr, 2),
                             fixed(1.0 - fpr, 2)));
      caption = "Ring: the threshold in use.";
    }
  }
  const auto auroc = set.metrics.find("auroc");
  if (auroc != set.metrics.end() && auroc->second.value) {
    svg.text(frame.right() - 8,
             frame.bottom() - 12,
             fmt::format("AUROC {}", value_with_interval(auroc->second)),
             "small num end");
  }
  return make(fmt::format("ROC: {}", model_and_set(model, set)),
              "Sensitivity against one minus specificity over all thresholds, with its band; the "
              "dashed diagonal is chance.",
              std::move(svg),
              curve_table(*set.roc, "fpr", "tpr"),
              caption);
}

Figure pr_curve(const Model& model, const ModelSet& set) {
  Svg svg = unit_svg();
  const Frame frame = unit_frame();
  draw_axes(svg, frame, "recall (sensitivity)", "precision", unit_ticks(), unit_ticks());
  std::string caption;
  if (set.n && *set.n > 0 && set.positives) {
    const double prevalence = static_cast<double>(*set.positives) / static_cast<double>(*set.n);
    svg.line(frame.left, frame.y(prevalence), frame.right(), frame.y(prevalence), "ref");
    caption = fmt::format("Dashed: prevalence {}, what guessing reaches.", fixed(prevalence, 2));
  }
  svg.begin_plot(
      frame.left, frame.top, frame.width, frame.height, 0, 1, 0, 1, "recall", "precision");
  draw_band(svg, frame, *set.pr);
  svg.path(simplify(mapped(frame, set.pr->x, set.pr->y), kSimplifyTolerance), "curve s0");
  svg.end_plot();
  const auto auprc = set.metrics.find("auprc");
  if (auprc != set.metrics.end() && auprc->second.value) {
    svg.text(frame.left + 8,
             frame.bottom() - 12,
             fmt::format("AUPRC {}", value_with_interval(auprc->second)),
             "small num");
  }
  return make(fmt::format("Precision and recall: {}", model_and_set(model, set)),
              "Precision against recall over all thresholds, with its band; the dashed line is the "
              "prevalence.",
              std::move(svg),
              curve_table(*set.pr, "recall", "precision"),
              caption);
}

Figure calibration_plot(const Model& model, const ModelSet& set, const Endpoint& endpoint) {
  Svg svg = unit_svg();
  const Frame frame = unit_frame();
  const Curve& curve = *set.calibration;
  draw_axes(svg, frame, "predicted probability", "observed share", unit_ticks(), unit_ticks());
  svg.line(frame.x(0), frame.y(0), frame.x(1), frame.y(1), "ref");
  double most = 0.0;
  for (const double n : curve.n) most = std::isfinite(n) ? std::max(most, n) : most;
  for (std::size_t i = 0; i < curve.x.size(); ++i) {
    if (i < curve.n.size() && std::isfinite(curve.n[i]) && most > 0.0) {
      const double bar = 26.0 * curve.n[i] / most;
      svg.rect(frame.x(curve.x[i]) - 4, frame.bottom() - bar, 8, bar, "ghost");
    }
  }
  svg.path(mapped(frame, curve.x, curve.y), "curve thin");
  for (std::size_t i = 0; i < curve.x.size(); ++i) {
    if (!std::isfinite(curve.x[i]) || !std::isfinite(curve.y[i])) continue;
    const double x = frame.x(curve.x[i]);
    if (!curve.low.empty() && std::isfinite(curve.low[i] + curve.high[i])) {
      svg.line(x, frame.y(curve.low[i]), x, frame.y(curve.high[i]), "whisker-a");
    }
    std::string tip =
        fmt::format("predicted {}, observed {}", fixed(curve.x[i], 2), fixed(curve.y[i], 2));
    if (i < curve.n.size()) tip += fmt::format(", n = {}", fixed(curve.n[i], 0));
    svg.circle(x, frame.y(curve.y[i]), 4, "mark-a", tip);
  }
  return make(fmt::format("Calibration: {}", model_and_set(model, set)),
              fmt::format("Observed share of \u201C{}\u201D against predicted probability; on the "
                          "dashed diagonal both agree.",
                          endpoint.positive_label),
              std::move(svg),
              curve_table(curve, "predicted", "observed"),
              curve.n.empty() ? "" : "Grey bars: patients in each group.");
}

}  // namespace med3d::report
