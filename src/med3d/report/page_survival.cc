#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "med3d/core/text.h"
#include "med3d/report/figures.h"
#include "med3d/report/markup.h"
#include "med3d/report/page_internal.h"
#include "med3d/report/survival_figures.h"

namespace med3d::report {
namespace {

// Sets that every model is shown for; the others (transfer, sites) stand in tables and forests.
bool is_main_set(const std::string& name) { return name == "cross-validation" || name == "test"; }

std::string p_cell(const Number& p) {
  return fmt::format(
      "<td class=\"n\" data-v=\"{}\">{}", p ? format_double(*p) : "", escape(p_value(p)));
}

std::string head_cells(const std::vector<std::string>& titles) {
  std::string out;
  for (const std::string& title : titles) {
    out += fmt::format("<th scope=\"col\" class=\"n\">{}", escape(title));
  }
  return out;
}

// "AUC, 24 months" of "auc_24".
std::string survival_metric_name(const std::string& key) {
  static const std::map<std::string, std::string> names = {
      {"c_index", "Harrell's C"},
      {"c_index_uno", "Uno's C"},
      {"integrated_brier", "Integrated Brier score"},
      {"integrated_brier_scaled", "Integrated Brier score, scaled"},
      {"observed_over_expected", "Observed / expected"},
      {"calibration_slope", "Calibration slope"},
      {"ici", "ICI (mean calibration error)"}};
  const auto found = names.find(key);
  if (found != names.end()) return found->second;
  for (const auto& [start, name] : {std::pair<std::string, std::string>{"auc_", "AUC"},
                                    {"brier_scaled_", "Scaled Brier score"},
                                    {"brier_", "Brier score"}}) {
    if (key.starts_with(start)) return fmt::format("{}, {} months", name, key.substr(start.size()));
  }
  return key;
}

}  // namespace

std::string Builder::survival_follow_up(const Survival& survival) {
  std::string out;
  if (survival.median_follow_up.value || survival.restricted_mean.value) {
    std::string rows;
    const auto add = [&](const std::string& name, const Estimate& estimate) {
      rows += fmt::format("<tr><th scope=\"row\">{}{}\n", name, estimate_cell(&estimate));
    };
    add("Median follow-up (reverse Kaplan-Meier)", survival.median_follow_up);
    add("Median time without the event", survival.median_event_free);
    add("Mean time without the event, up to the last horizon", survival.restricted_mean);
    Estimate longest;
    longest.value = survival.longest_months;
    add("Longest follow-up", longest);
    out += scroll("Follow-up",
                  "<table class=\"compact\"><caption>Follow-up</caption><thead><tr><th "
                  "scope=\"col\">Of all who were followed<th scope=\"col\" "
                  "class=\"n\">Months<tbody>" +
                      rows + "</table>");
  }
  if (survival.incidence.empty()) return out;
  const bool competing = survival.competing.value_or(0) > 0;
  std::string rows;
  for (const IncidenceRow& row : survival.incidence) {
    rows += fmt::format("<tr><th scope=\"row\">{} months{}{}{}{}\n",
                        row.horizon_months ? format_double(*row.horizon_months) : "",
                        number_cell(row.at_risk),
                        estimate_cell(&row.aalen_johansen),
                        estimate_cell(&row.one_minus_kaplan_meier),
                        competing ? estimate_cell(&row.competing) : "");
  }
  std::vector<std::string> titles = {
      "Still watched", "Event, Aalen-Johansen", "Event, 1 \u2212 Kaplan-Meier"};
  if (competing) titles.emplace_back("Another event first");
  return out + scroll("Share with the event",
                      fmt::format("<table class=\"compact\"><caption>Share with the "
                                  "event</caption><thead><tr><th scope=\"col\">By{}<tbody>{}"
                                  "</table>",
                                  head_cells(titles),
                                  rows));
}

std::string Builder::survival_table(const Survival& survival, const std::string& name) {
  const std::string months =
      survival.main_horizon_months ? format_double(*survival.main_horizon_months) : "";
  const std::vector<std::pair<std::string, std::string>> columns = {
      {"c_index", "C-index"},
      {"auc_" + months, "AUC, " + months + " months"},
      {"brier_" + months, "Brier, " + months + " months"},
      {"observed_over_expected", "Observed / expected"},
      {"calibration_slope", "Calibration slope"},
      {"ici", "ICI"}};
  std::string rows;
  bool beside = false;
  for (const std::string family : {"arm", "head", "fusion", "baseline", "reference"}) {
    for (const SurvivalModel& model : survival.models) {
      if (model.family != family) continue;
      for (const SurvivalModelSet& set : model.sets) {
        if (set.name != name) continue;
        rows += fmt::format("<tr{}><th scope=\"row\">{}<small>{}</small>{}{}",
                            family == "reference" ? " class=\"reference\"" : "",
                            escape(model.label),
                            family == "head" ? "single arm, another head" : family_name(family),
                            number_cell(set.n),
                            number_cell(set.events));
        for (const auto& [key, title] : columns) {
          rows += estimate_cell(find_metric(set.metrics, key));
        }
        beside = beside || !set.beside.empty();
        rows += difference_cell(set.find_beside("always_positive"));
        rows += difference_cell(set.find_beside("stage_grade_cox"));
        rows += '\n';
      }
    }
  }
  std::vector<std::string> titles = {"n", "Events"};
  for (const auto& [key, title] : columns) titles.push_back(title);
  titles.emplace_back("C above everybody alike");
  titles.emplace_back("C above stage and grade");
  std::string out =
      scroll("Time to event, " + name,
             fmt::format("<table class=\"sortable\"><caption>Time to event, {} <small>95\u00A0% "
                         "intervals below each figure</small></caption><thead><tr><th "
                         "scope=\"col\">Model{}<tbody>{}</table>",
                         escape(name),
                         head_cells(titles),
                         rows));
  if (beside && is_main_set(name)) {
    out +=
        "<p class=\"note\">The last two columns are differences on the same patients, with their "
        "intervals: to giving everybody one risk (C 0.5, what \u201Calways positive\u201D is where "
        "patients are ranked), and to a Cox model of stage and grade.</p>\n";
  }
  return out;
}

std::string Builder::survival_curves_of_best(const Survival& survival, const std::string& months) {
  std::string curves;
  for (const std::string& id : survival.best) {
    for (const SurvivalModel& model : survival.models) {
      if (model.id != id || model.sets.empty()) continue;
      for (const SurvivalModelSet& set : model.sets) {
        if (set.groups.empty() || !is_main_set(set.name)) continue;
        const std::string end = id + "-" + set.name;
        curves += figure(survival_curves(model, set), "survival-" + end, false);
        if (auto drawn = horizon_calibration_plot(model, set, months)) {
          curves += figure(std::move(*drawn), "survival-calibration-" + end, false);
        }
        if (auto drawn = decision_curve(model, set, months)) {
          curves += figure(std::move(*drawn), "decision-curve-" + end, false);
        }
      }
    }
  }
  return curves.empty() ? "" : "<div class=\"grid three\">" + curves + "</div>\n";
}

// The best models beside stage + grade and the clinical scores, each pair on the same patients.
std::string Builder::survival_beside(const Survival& survival) {
  std::vector<BesidePair> pairs;
  for (const std::string& id : survival.best) {
    for (const SurvivalModel& model : survival.models) {
      if (model.id != id) continue;
      for (const SurvivalModelSet& set : model.sets) {
        if (!is_main_set(set.name)) continue;
        for (const BesideRow& row : set.beside) pairs.push_back({model.label, set.name, &row});
      }
    }
  }
  return beside_table("C-index", pairs);
}

std::string Builder::survival_comparisons(const Survival& survival) {
  std::string rows;
  for (const Comparison& comparison : survival.comparisons) {
    rows += fmt::format("<tr><td>{}<td>{}<td>{}{}{}{}\n",
                        escape(comparison.set),
                        escape(survival.label_of(comparison.a)),
                        escape(survival.label_of(comparison.b)),
                        estimate_cell(&comparison.difference),
                        p_cell(comparison.p),
                        p_cell(comparison.p_adjusted));
  }
  if (rows.empty()) return "";
  return "<h3>Differences of the C-index</h3>\n<p>Each model against the best single arm on the "
         "same patients, by paired bootstrap; the adjusted p is Holm's within each set.</p>\n" +
         scroll("Differences of the C-index",
                "<table class=\"sortable\"><thead><tr><th scope=\"col\">Set<th "
                "scope=\"col\">First<th scope=\"col\">Second" +
                    head_cells({"Difference", "p", "Adjusted p"}) + "<tbody>" + rows + "</table>");
}

std::string Builder::survival_optimism(const Survival& survival) {
  std::string rows;
  for (const OptimismRow& row : survival.optimism) {
    rows += fmt::format("<tr><th scope=\"row\">{}<td>{}{}{}{}{}{}\n",
                        escape(row.label),
                        escape(survival_metric_name(row.metric)),
                        number_cell(row.n),
                        number_cell(row.events),
                        estimate_cell(&row.apparent),
                        estimate_cell(&row.optimism),
                        estimate_cell(&row.corrected));
  }
  if (rows.empty()) return "";
  return scroll(
      "Apparent performance and its optimism",
      fmt::format("<table class=\"compact\"><caption>Apparent performance and its optimism "
                  "<small>Cox models of the table on the training patients they were fitted on, "
                  "less what fitting added on {} bootstrap samples</small></caption><thead><tr><th "
                  "scope=\"col\">Model<th scope=\"col\">Measure{}<tbody>{}</table>",
                  count(survival.optimism.front().repeats),
                  head_cells({"n", "Events", "Apparent", "Optimism", "Corrected"}),
                  rows));
}

std::string Builder::survival_sample_size(const Survival& survival) {
  std::string rows;
  for (const SampleSizeRow& row : survival.sample_size) {
    rows += fmt::format("<tr><th scope=\"row\">{}{}{}{}",
                        escape(survival.label_of(row.model)),
                        number_cell(row.n),
                        number_cell(row.events),
                        number_cell(row.parameters));
    rows += row.reason.empty() ? number_cell(row.patients_needed) + number_cell(row.events_needed) +
                                     number_cell(row.parameters_supported)
                               : "<td class=\"n\" colspan=\"3\">" + not_estimable(row.reason);
    rows += '\n';
  }
  if (rows.empty()) return "";
  return scroll("Sample size",
                "<table class=\"compact\"><caption>Sample size <small>what Riley's criteria ask "
                "for, at the fit that was reached out of fold</small></caption><thead><tr><th "
                "scope=\"col\">Model" +
                    head_cells({"Patients",
                                "Events",
                                "Parameters",
                                "Patients asked for",
                                "Events asked for",
                                "Parameters supported"}) +
                    "<tbody>" + rows + "</table>");
}

// Every metric of a model, and whether its risks keep their meaning over time.
std::string Builder::survival_metrics(const SurvivalModel& model) {
  std::vector<const SurvivalModelSet*> sets;
  std::vector<std::string> keys;
  for (const SurvivalModelSet& set : model.sets) {
    if (!is_main_set(set.name) || set.metrics.empty()) continue;
    sets.push_back(&set);
    for (const auto& [key, estimate] : set.metrics) {
      if (std::find(keys.begin(), keys.end(), key) == keys.end()) keys.push_back(key);
    }
  }
  if (sets.empty()) return "";
  std::string head = "<th scope=\"col\">Metric";
  std::string counts;
  std::string log_rank = "<tr><th scope=\"row\">Risk groups differ, log-rank p";
  std::string proportional = "<tr><th scope=\"row\">Hazards not proportional, p";
  for (const SurvivalModelSet* set : sets) {
    head += fmt::format("<th scope=\"col\" class=\"n\">{} <small>n = {}, {} events</small>",
                        set_title(set->name),
                        count(set->n),
                        count(set->events));
    log_rank += p_cell(set->log_rank_p);
    proportional += p_cell(set->proportional_p);
  }
  std::string rows;
  for (const std::string& key : keys) {
    rows += fmt::format("<tr><th scope=\"row\">{}", escape(survival_metric_name(key)));
    for (const SurvivalModelSet* set : sets) rows += estimate_cell(find_metric(set->metrics, key));
    rows += '\n';
  }
  std::string warnings;
  for (const SurvivalModelSet* set : sets) {
    for (const std::string& warning : set->warnings) {
      warnings += fmt::format("<li class=\"warning\"><b>warning</b> {}: {}</li>\n",
                              set_title(set->name),
                              escape(warning));
    }
  }
  return fmt::format(
      "<details class=\"model fold\"><summary><b>{}</b><span>every metric</span></summary><div "
      "class=\"inside\">{}{}</div></details>\n",
      escape(model.label),
      scroll("Metrics of " + model.label,
             fmt::format("<table class=\"compact\"><thead><tr>{}<tbody>{}{}\n{}\n</table>",
                         head,
                         rows,
                         log_rank,
                         proportional)),
      warnings.empty() ? "" : "<ul class=\"findings\">" + warnings + "</ul>\n");
}

std::string Builder::survival_checks(const Survival& survival) {
  std::string body = survival_optimism(survival) + survival_sample_size(survival);
  if (auto curve = survival_learning_curve(survival)) {
    body += figure(std::move(*curve), "survival-learning-curve", false);
  }
  if (!survival.warnings.empty()) {
    body += "<ul class=\"findings\">";
    for (const std::string& warning : survival.warnings) {
      body += fmt::format("<li class=\"warning\"><b>warning</b> {}</li>\n", escape(warning));
    }
    body += "</ul>\n";
  }
  std::string metrics;
  for (const SurvivalModel& model : survival.models) metrics += survival_metrics(model);
  if (!metrics.empty()) {
    body += "<h3>Each model of time to event</h3>\n" + metrics +
            "<p class=\"note\">Net reclassification is left out on purpose: it rewards "
            "miscalibrated models.</p>\n";
  }
  return body;
}

std::string Builder::survival() {
  if (!document_.survival) return "";
  const Survival& survival = *document_.survival;
  const std::string months =
      survival.main_horizon_months ? format_double(*survival.main_horizon_months) : "";
  std::string out = fmt::format(
      "<p>Time to {}: {} patients were followed, {} had the event{}. Patients are ranked by their "
      "risk at {} months. Those censored before a horizon are {}.</p>\n",
      escape(survival.name),
      survival.n.value_or(0),
      survival.events.value_or(0),
      survival.competing.value_or(0) > 0
          ? fmt::format(", {} another event first, which ended their follow-up",
                        *survival.competing)
          : "",
      months,
      survival.unknown_at_horizon == "exclude" ? "left out of its AUC and Brier score"
                                               : "made up for by inverse probability of censoring");
  out += survival_follow_up(survival);
  std::vector<std::string> sets;
  for (const SurvivalModel& model : survival.models) {
    for (const SurvivalModelSet& set : model.sets) {
      if (std::find(sets.begin(), sets.end(), set.name) == sets.end()) sets.push_back(set.name);
    }
  }
  for (const std::string& name : sets) out += survival_table(survival, name);
  for (const std::string& name : sets) {
    if (auto forest = c_index_forest(survival, name)) {
      out += figure(std::move(*forest), "c-index-forest-" + name, true);
    }
  }
  out += survival_curves_of_best(survival, months);
  out += survival_beside(survival);
  if (!survival.best.empty()) {
    if (auto forest = subgroup_forest(survival, survival.best.front())) {
      out += figure(std::move(*forest), "survival-subgroups", true);
    }
  }
  return out + survival_comparisons(survival) + survival_checks(survival);
}

}  // namespace med3d::report
