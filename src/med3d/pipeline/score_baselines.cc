#include "med3d/pipeline/score_baselines.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <numeric>

#include "med3d/core/text.h"
#include "med3d/io/formats/csv.h"
#include "med3d/pipeline/evaluation.h"
#include "med3d/stats/delong.h"
#include "med3d/stats/survival/concordance.h"

namespace med3d::pipeline {
namespace {

// Model against baseline on some patients.
struct Judgement {
  stats::Estimate model;
  stats::Estimate baseline;
  stats::Estimate difference;
  double p = std::numeric_limits<double>::quiet_NaN();
};
// The patients at these positions, the model's risk and the baseline's for them.
using Judge = std::function<Judgement(const std::vector<std::size_t>& positions,
                                      const std::vector<double>& model,
                                      const std::vector<double>& baseline)>;

Judge judge_c_index(const stats::survival::SurvivalTimes& times, double confidence) {
  return [&times, confidence](const auto& positions, const auto& model, const auto& baseline) {
    const auto d =
        stats::survival::c_index_difference(times.take(positions), model, baseline, confidence);
    return Judgement{d.first, d.second, d.difference, d.p};
  };
}

Judge judge_auroc(std::span<const std::uint8_t> label, double confidence) {
  return [label, confidence](const auto& positions, const auto& model, const auto& baseline) {
    std::vector<std::uint8_t> taken;
    for (const std::size_t i : positions) taken.push_back(label[i]);
    const auto d = stats::auroc_difference(taken, model, baseline, confidence);
    return Judgement{d.first, d.second, d.difference, d.p};
  };
}

Json entry_of(const std::string& id,
              const std::string& label,
              const std::string& mark,
              const char* metric,
              std::size_t n,
              std::size_t events,
              const Judgement& midpoint) {
  return {{"id", id},
          {"label", label},
          {"mark", mark},
          {"metric", metric},
          {"n", n},
          {"events", events},
          {"model", to_json(midpoint.model)},
          {"midpoint", to_json(midpoint.baseline)},
          {"difference", to_json(midpoint.difference)},
          {"p", std::isfinite(midpoint.p) ? Json(midpoint.p) : Json(nullptr)}};
}

// What a baseline that is no range adds to its row.
Json with_one_value(Json entry) {
  entry["exact"] = entry["n"];
  entry["may_not_apply"] = 0;
  entry["lowest"] = entry["midpoint"];
  entry["highest"] = entry["midpoint"];
  return entry;
}

Json beside_scores(const std::vector<std::vector<tabular::ScoreBounds>>& bounds,
                   const std::vector<std::size_t>& rows,
                   std::span<const double> risk,
                   const char* metric,
                   const std::function<bool(std::size_t)>& is_event,
                   const Judge& judge) {
  Json out = Json::array();
  const auto& scores = tabular::clinical_scores();
  for (std::size_t s = 0; s < bounds.size(); ++s) {
    std::vector<std::size_t> positions;
    std::vector<double> model, lowest, midpoint, highest;
    std::size_t exact = 0;
    std::size_t may_not_apply = 0;
    std::size_t events = 0;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const auto& bound = bounds[s][rows[i]];
      if (!bound.applies) continue;
      positions.push_back(i);
      model.push_back(risk[i]);
      lowest.push_back(bound.lowest);
      midpoint.push_back(bound.midpoint());
      highest.push_back(bound.highest);
      exact += bound.exact() ? 1 : 0;
      may_not_apply += bound.may_not_apply ? 1 : 0;
      events += is_event(i) ? 1 : 0;
    }
    if (positions.empty()) continue;
    Json entry = entry_of(scores[s].id,
                          scores[s].label,
                          scores[s].mark(),
                          metric,
                          positions.size(),
                          events,
                          judge(positions, model, midpoint));
    entry["exact"] = exact;
    entry["may_not_apply"] = may_not_apply;
    entry["lowest"] = to_json(judge(positions, model, lowest).baseline);
    entry["highest"] = to_json(judge(positions, model, highest).baseline);
    out.push_back(std::move(entry));
  }
  return out;
}

Json beside_one(const std::string& id,
                const std::string& label,
                const char* metric,
                std::span<const double> model_risk,
                std::span<const double> baseline_risk,
                const std::function<bool(std::size_t)>& is_event,
                const Judge& judge) {
  std::vector<std::size_t> positions;
  std::vector<double> model;
  std::vector<double> baseline;
  std::size_t events = 0;
  for (std::size_t i = 0; i < model_risk.size(); ++i) {
    if (std::isnan(model_risk[i]) || std::isnan(baseline_risk[i])) continue;
    positions.push_back(i);
    model.push_back(model_risk[i]);
    baseline.push_back(baseline_risk[i]);
    events += is_event(i) ? 1 : 0;
  }
  return with_one_value(
      entry_of(id, label, "", metric, positions.size(), events, judge(positions, model, baseline)));
}

}  // namespace

ScoreBaselines::ScoreBaselines(const Cohort& cohort)
    : cohort_(cohort), unread_(tabular::kScoreItems, 0) {
  std::vector<std::string> names;
  for (const auto& column : cohort.columns) names.push_back(column.name);
  const tabular::FactReader reader(names);
  if (!reader.enough()) return;
  for (const auto& [item, column] : reader.found()) {
    columns_[tabular::to_string(item)] = names[column];
  }
  const auto& scores = tabular::clinical_scores();
  bounds_.resize(scores.size());
  std::vector<std::string> cells(names.size());
  for (std::size_t row = 0; row < cohort.size(); ++row) {
    for (std::size_t c = 0; c < names.size(); ++c) {
      const auto& cell = cohort.columns[c].cells[row];
      cells[c] = cohort.is_missing(cell) ? "" : cell;
    }
    std::vector<tabular::ScoreItem> unread;
    const auto facts = reader.read(cells, &unread);
    for (const auto item : unread) ++unread_[static_cast<std::size_t>(item)];
    for (std::size_t s = 0; s < scores.size(); ++s) {
      bounds_[s].push_back(tabular::score_bounds(scores[s], facts));
    }
    if (bounds_.front().back().contradiction) ++contradictions_;
  }
}

Json ScoreBaselines::beside(const std::vector<std::size_t>& rows,
                            const stats::survival::SurvivalTimes& times,
                            std::span<const double> risk,
                            double confidence) const {
  return beside_scores(
      bounds_,
      rows,
      risk,
      "c_index",
      [&](std::size_t i) { return times.has_event(i); },
      judge_c_index(times, confidence));
}

Json ScoreBaselines::beside(const std::vector<std::size_t>& rows,
                            std::span<const std::uint8_t> label,
                            std::span<const double> risk,
                            double confidence) const {
  return beside_scores(
      bounds_,
      rows,
      risk,
      "auroc",
      [&](std::size_t i) { return label[i] == 1; },
      judge_auroc(label, confidence));
}

Json ScoreBaselines::summary() const {
  Json out = {{"columns", columns_},
              {"unread", Json::object()},
              {"stage_contradicts", contradictions_},
              {"scores", Json::array()}};
  for (std::size_t i = 0; i < unread_.size(); ++i) {
    if (unread_[i] == 0) continue;
    out["unread"][tabular::to_string(static_cast<tabular::ScoreItem>(i))] = unread_[i];
  }
  const auto& scores = tabular::clinical_scores();
  for (std::size_t s = 0; s < bounds_.size(); ++s) {
    std::size_t applies = 0;
    std::size_t exact = 0;
    std::size_t may_not_apply = 0;
    std::map<tabular::ScoreItem, std::size_t> open;
    double width = 0.0;
    for (const auto& bound : bounds_[s]) {
      if (!bound.applies) continue;
      ++applies;
      exact += bound.exact() ? 1 : 0;
      may_not_apply += bound.may_not_apply ? 1 : 0;
      width += bound.highest - bound.lowest;
      for (const auto item : bound.open) ++open[item];
    }
    Json open_items = Json::object();
    for (const auto& [item, n] : open) open_items[tabular::to_string(item)] = n;
    out["scores"].push_back(
        {{"id", scores[s].id},
         {"label", scores[s].label},
         {"predicts", scores[s].predicts},
         {"applies_to", scores[s].applies_to},
         {"source", scores[s].source},
         {"mark", scores[s].mark()},
         {"note", scores[s].note},
         {"n", applies},
         {"exact", exact},
         {"may_not_apply", may_not_apply},
         {"does_not_apply", bounds_[s].size() - applies},
         {"mean_width", applies > 0 ? Json(width / static_cast<double>(applies)) : Json(nullptr)},
         {"open_items", open_items}});
  }
  return out;
}

std::string ScoreBaselines::csv() const {
  if (empty()) return "";
  CsvWriter csv({"case_id",
                 "score",
                 "applies",
                 "lowest",
                 "highest",
                 "group_lowest",
                 "group_highest",
                 "open_items",
                 "mark"});
  const auto& scores = tabular::clinical_scores();
  for (std::size_t row = 0; row < cohort_.size(); ++row) {
    for (std::size_t s = 0; s < scores.size(); ++s) {
      const auto& bound = bounds_[s][row];
      csv.text(cohort_.case_ids[row])
          .text(scores[s].id)
          .text(!bound.applies        ? "no"
                : bound.may_not_apply ? "perhaps"
                                      : "yes");
      if (bound.applies) {
        csv.number(bound.lowest)
            .number(bound.highest)
            .text(scores[s].group_of(bound.lowest))
            .text(scores[s].group_of(bound.highest));
      } else {
        csv.missing().missing().missing().missing();
      }
      std::vector<std::string> open;
      for (const auto item : bound.open) open.push_back(tabular::to_string(item));
      csv.text(join(open, "+")).text(scores[s].mark()).end_row();
    }
  }
  return csv.str();
}

Json beside_always_positive(std::span<const std::uint8_t> positive,
                            std::span<const std::uint8_t> predicted,
                            const stats::BootstrapOptions& options) {
  struct Scores {
    double model, rule;
  };
  // F1 = TP / (TP + (FP + FN) / 2), of the model and of the rule for which FN is 0.
  const auto scores = [&](std::span<const std::size_t> rows) {
    double both = 0.0;
    double positives = 0.0;
    double called = 0.0;
    for (const std::size_t row : rows) {
      both += positive[row] == 1 && predicted[row] == 1 ? 1.0 : 0.0;
      positives += positive[row];
      called += predicted[row];
    }
    const auto n = static_cast<double>(rows.size());
    return Scores{2.0 * both / (positives + called), 2.0 * positives / (positives + n)};
  };
  std::vector<std::size_t> all(positive.size());
  std::iota(all.begin(), all.end(), std::size_t{0});
  const Scores whole = scores(all);
  const auto estimate_of = [](double value) {
    return std::isfinite(value) ? stats::Estimate::of(value)
                                : stats::Estimate::none("nobody is positive or called positive");
  };
  Judgement judgement{
      estimate_of(whole.model), estimate_of(whole.rule), estimate_of(whole.model - whole.rule)};
  if (options.repeats > 0 && std::isfinite(whole.model)) {
    const auto result = stats::bootstrap(
        positive.size(),
        2,
        [&](std::span<const std::size_t> rows, std::span<double> value) {
          const Scores sample = scores(rows);
          value[0] = sample.model;
          value[1] = sample.rule;
        },
        options);
    judgement.model = result.estimate[0];
    judgement.baseline = result.estimate[1];
    const auto difference = stats::paired_bootstrap(
        positive.size(),
        [&](std::span<const std::size_t> rows) { return scores(rows).model; },
        [&](std::span<const std::size_t> rows) { return scores(rows).rule; },
        options);
    judgement.difference = difference.difference;
    judgement.p = difference.p;
  }
  const auto positives =
      static_cast<std::size_t>(std::count(positive.begin(), positive.end(), std::uint8_t{1}));
  return with_one_value(entry_of(
      "always_positive", "Always positive", "", "f1", positive.size(), positives, judgement));
}

Json beside_baseline(const std::string& id,
                     const std::string& label,
                     const stats::survival::SurvivalTimes& times,
                     std::span<const double> model_risk,
                     std::span<const double> baseline_risk,
                     double confidence) {
  return beside_one(
      id,
      label,
      "c_index",
      model_risk,
      baseline_risk,
      [&](std::size_t i) { return times.has_event(i); },
      judge_c_index(times, confidence));
}

Json beside_baseline(const std::string& id,
                     const std::string& label,
                     std::span<const std::uint8_t> positive,
                     std::span<const double> model_risk,
                     std::span<const double> baseline_risk,
                     double confidence) {
  return beside_one(
      id,
      label,
      "auroc",
      model_risk,
      baseline_risk,
      [&](std::size_t i) { return positive[i] == 1; },
      judge_auroc(positive, confidence));
}

}  // namespace med3d::pipeline
