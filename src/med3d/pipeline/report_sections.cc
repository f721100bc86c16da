#include "med3d/pipeline/report_sections.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "med3d/core/text.h"
#include "med3d/pipeline/cohort_check.h"

namespace med3d::pipeline {

Json banner_section(const Cohort& cohort,
                    const RunSettings& settings,
                    std::span<const Leak> leaks,
                    const std::string& allow_leak) {
  Json out = Json::array();
  if (cohort.synthetic) {
    out.push_back({{"level", "danger"},
                   {"text",
                    "Synthetic data: this cohort was generated to try the program. No figure "
                    "here says anything about patients."}});
  }
  for (const Leak& leak : leaks) {
    out.push_back(
        {{"level", "danger"},
         {"text",
          fmt::format("Leak, allowed on request: {}. Figures on the test patients are too "
                      "good. Reason given: {}",
                      leak.text,
                      allow_leak)}});
  }
  if (settings.validation.protocol == "paper-leak") {
    out.push_back({{"level", "danger"},
                   {"text",
                    "Protocol paper-leak: the section 'Oversampling before the split' repeats "
                    "a known error on purpose. All other figures are the honest ones."}});
  }
  if (cohort.endpoint.is_vital_status || !cohort.endpoint.is_recurrence) {
    out.push_back({{"level", "info"},
                   {"text",
                    fmt::format("The endpoint is {} ({}). It is not recurrence.",
                                cohort.endpoint.name,
                                cohort.endpoint.description)}});
  }
  out.push_back(
      {{"level", "warning"},
       {"text", "Research software, not a medical device: not for decisions on patients."}});
  return out;
}

Json endpoint_section(const Endpoint& endpoint) {
  return {{"name", endpoint.name},
          {"description", endpoint.description},
          {"positive_label", endpoint.positive_label},
          {"negative_label", endpoint.negative_label},
          {"horizon_months",
           endpoint.horizon_months > 0 ? Json(endpoint.horizon_months) : Json(nullptr)},
          {"is_recurrence", endpoint.is_recurrence}};
}

Json protocol_section(const Cohort& cohort, const RunSettings& settings) {
  const auto& v = settings.validation;
  const bool has_test =
      std::find(cohort.split.begin(), cohort.split.end(), "test") != cohort.split.end();
  Json facts = Json::array();
  const auto fact = [&](const std::string& key, const std::string& value) {
    facts.push_back({key, value});
  };
  fact("Unit", "patient; one split for every model");
  fact("Cross-validation",
       fmt::format("{} times {} stratified folds inside the training patients{}",
                   v.repeats,
                   v.folds,
                   v.stratify_by_source ? ", balanced by source" : ""));
  fact("Inside each training side",
       fmt::format("{} inner folds for thresholds, late-fusion weights and selection",
                   v.inner_folds));
  fact("Fitted on training folds only",
       "imputation, scaling, oversampling, selection, thresholds, fusion weights, networks");
  fact("Held-out test patients", has_test ? "yes, used once, after everything was chosen" : "none");
  fact("Threshold", v.threshold == "half" ? "0.5" : "best out-of-fold balanced accuracy");
  fact("Ranking metric, declared before the run", v.rank_metric);
  fact("Intervals",
       fmt::format("{} %: DeLong on the logit scale for AUROC, {} patient-level bootstrap samples "
                   "for the rest",
                   format_double(100 * v.confidence),
                   v.bootstrap));
  for (const auto& [key, values] : v.select) fact("Candidates of " + key, join(values, ", "));
  return {{"summary",
           fmt::format("{} repeats of {}-fold cross-validation by patient{}",
                       v.repeats,
                       v.folds,
                       has_test ? ", then one look at the held-out test patients" : "")},
          {"facts", facts}};
}

Json cohort_section(const Cohort& cohort) {
  const auto positives =
      static_cast<std::size_t>(std::count(cohort.label.begin(), cohort.label.end(), 1));
  Json out = {{"name", cohort.name},
              {"n", cohort.size()},
              {"positives", positives},
              {"negatives", cohort.size() - positives}};
  out["flow"] = Json::array();
  for (const auto& step : cohort.flow) {
    Json excluded = Json::array();
    for (const auto& [reason, n] : step.excluded)
      excluded.push_back({{"reason", reason}, {"n", n}});
    out["flow"].push_back({{"label", step.label}, {"n", step.n}, {"excluded", excluded}});
  }
  out["modalities"] = Json::array();
  if (!cohort.columns.empty()) {
    const auto n = std::count(cohort.has_clinical.begin(), cohort.has_clinical.end(), true);
    out["modalities"].push_back(
        {{"name", "clinical"}, {"patients", n}, {"items", n}, {"width", cohort.columns.size()}});
  }
  for (const auto& modality : cohort.modalities) {
    std::size_t patients = 0;
    for (std::size_t row = 0; row < cohort.size(); ++row) patients += modality.has(row) ? 1 : 0;
    out["modalities"].push_back({{"name", modality.name},
                                 {"patients", patients},
                                 {"items", modality.items.rows()},
                                 {"width", modality.width}});
  }
  out["availability"] = Json::array();
  for (const auto& pattern : availability_patterns(cohort)) {
    out["availability"].push_back({{"pattern", pattern.modalities},
                                   {"n", pattern.patients},
                                   {"positives", pattern.positives},
                                   {"negatives", pattern.patients - pattern.positives}});
  }
  // Patients without a split take part in cross-validation, as the training patients do.
  std::map<std::string, std::pair<std::size_t, std::size_t>> splits;
  for (std::size_t row = 0; row < cohort.size(); ++row) {
    auto& [n, events] = splits[cohort.split[row] == "test" ? "test" : "train"];
    ++n;
    events += cohort.label[row];
  }
  out["splits"] = Json::array();
  for (const char* name : {"train", "test"}) {
    const auto found = splits.find(name);
    if (found == splits.end()) continue;
    const auto [n, events] = found->second;
    out["splits"].push_back(
        {{"name", name}, {"n", n}, {"positives", events}, {"negatives", n - events}});
  }
  out["missing"] = Json::array();
  for (const auto& facts : column_facts(cohort)) {
    if (facts.missing == 0) continue;
    const auto missing = static_cast<double>(facts.missing);
    out["missing"].push_back(
        {{"column", facts.name},
         {"share", missing / static_cast<double>(cohort.size())},
         {"missing_positive_share", static_cast<double>(facts.missing_positives) / missing}});
  }
  out["findings"] = Json::array();
  for (const auto& finding : check_cohort(cohort)) {
    out["findings"].push_back({{"level", finding.level}, {"text", finding.text}});
  }
  return out;
}

}  // namespace med3d::pipeline
