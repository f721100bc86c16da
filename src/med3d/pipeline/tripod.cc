#include "med3d/pipeline/tripod.h"

#include <fmt/format.h>

#include <algorithm>

#include "med3d/core/text.h"

namespace med3d::pipeline {
namespace {

// One arm's means against the imbalance of the classes: "weighted loss, weighted sampler".
std::string imbalance_of(const FitSettings& fit, const std::string& balance = "none") {
  std::vector<std::string> used;
  if (balance != "none") used.push_back(balance);
  // The clinical arm drops the weights where it oversamples.
  if (fit.class_weights && balance == "none") used.emplace_back("weighted loss");
  if (fit.sampler == "weighted") used.emplace_back("weighted sampler");
  return used.empty() ? "none" : join(used, ", ");
}

struct Item {
  const char* number;
  const char* section;
  const char* text;
  std::string value;  // empty: the author's
};

std::string number_text(const Json& estimate) {
  if (!estimate.contains("value")) return "not estimable";
  const auto two = [](const Json& x) {
    return x.is_null() ? std::string("?") : fmt::format("{:.3f}", x.get<double>());
  };
  return fmt::format("{} ({} to {})",
                     two(estimate.at("value")),
                     two(estimate.at("low")),
                     two(estimate.at("high")));
}

// "auroc 0.85 (0.80 to 0.90)" of each model in the first set.
std::string performance_text(const Json& report) {
  std::vector<std::string> parts;
  for (const auto& model : report.at("models")) {
    if (model.at("sets").empty() || model.at("family") == "reference") continue;
    const auto& set = model.at("sets").front();
    parts.push_back(fmt::format("{}: AUROC {}",
                                model.at("label").get<std::string>(),
                                number_text(set.at("metrics").at("auroc"))));
  }
  return join(parts, "; ");
}

// What the analysis of time to event adds to an item; empty where it adds nothing.
std::string survival_text(const Json& survival, const std::string& item) {
  const Json& endpoint = survival.at("endpoint");
  const Json& follow_up = survival.at("follow_up");
  const auto months = [](const Json& number) {
    return number.is_number() ? format_double(number.get<double>()) : std::string("?");
  };
  if (item == "5b") {
    return fmt::format(
        "median follow-up {} months (reverse Kaplan-Meier), longest {}; calendar "
        "dates are the author's to add.",
        number_text(follow_up.at("median_follow_up_months")),
        months(follow_up.at("longest_months")));
  }
  if (item == "8a") {
    std::vector<std::string> horizons;
    for (const auto& horizon : endpoint.at("horizons_months")) horizons.push_back(months(horizon));
    return fmt::format("{} ({}), horizons {} months; patients censored before a horizon: {}.",
                       endpoint.at("name").get<std::string>(),
                       endpoint.at("description").get<std::string>(),
                       join(horizons, ", "),
                       endpoint.at("unknown_at_horizon").get<std::string>());
  }
  if (item == "10") {
    std::vector<std::string> parts;
    for (const auto& row : survival.at("sample_size")) {
      if (!row.contains("patients_needed")) continue;
      parts.push_back(fmt::format("{}: {} patients and {} events for {} parameters",
                                  row.at("model").get<std::string>(),
                                  months(row.at("patients_needed")),
                                  months(row.at("events_needed")),
                                  row.at("parameters").dump()));
    }
    return parts.empty() ? "" : "Riley's criteria ask for " + join(parts, "; ") + ".";
  }
  if (item == "12e") {
    return "Harrell's and Uno's C, AUC and Brier score by inverse probability of censoring, "
           "calibration (observed over expected, slope, ICI), decision curves; clinical scores and "
           "stage + grade on the same patients.";
  }
  if (item == "20b" || item == "21") {
    return fmt::format("{} patients followed, {} events, {} competing events.",
                       follow_up.at("n").dump(),
                       follow_up.at("events").dump(),
                       follow_up.at("competing").dump());
  }
  if (item == "23a") {
    std::vector<std::string> parts;
    for (const auto& model : survival.at("models")) {
      if (model.at("family") == "reference") continue;
      for (const auto& set : model.at("sets")) {
        if (set.at("name") != survival.at("best").at("set") || !set.contains("metrics")) continue;
        parts.push_back(fmt::format("{}: C {}",
                                    model.at("label").get<std::string>(),
                                    number_text(set.at("metrics").at("c_index"))));
      }
    }
    return join(parts, "; ");
  }
  if (item == "23b" && !survival.at("subgroups").empty()) {
    return "subgroups with their n, events and C-index: see the table.";
  }
  return "";
}

std::string split_text(const Json& report) {
  std::vector<std::string> parts;
  for (const auto& split : report.at("cohort").at("splits")) {
    parts.push_back(fmt::format("{}: {} patients, {} positive, {} negative",
                                split.at("name").get<std::string>(),
                                split.at("n").dump(),
                                split.at("positives").dump(),
                                split.at("negatives").dump()));
  }
  return join(parts, "; ");
}

}  // namespace

std::string class_imbalance(const RunSettings& settings) {
  return fmt::format(
      "Clinical arm: {}; CT/MRI arm: {}; whole-slide arm: {}; early fusion: {}; all inside "
      "training "
      "folds only. {} See calibration intercept and slope.",
      imbalance_of(settings.clinical_arm.fit, settings.clinical_arm.balance),
      imbalance_of(settings.radiology_arm.fit),
      imbalance_of(settings.wsi_arm.fit),
      imbalance_of(settings.fusion.fit),
      settings.fusion.calibrate_arms == "platt" ? "Arms are recalibrated (Platt, out-of-fold) "
                                                  "where late fusion combines them, the models "
                                                  "themselves are not recalibrated."
                                                : "Not recalibrated afterwards.");
}

Json tripod_json(const Json& report, const Cohort& cohort, const RunSettings& settings) {
  const auto& v = settings.validation;
  const auto& endpoint = cohort.endpoint;
  std::vector<std::string> sources = cohort.source;
  std::sort(sources.begin(), sources.end());
  sources.erase(std::unique(sources.begin(), sources.end()), sources.end());
  std::vector<std::string> predictors;
  for (const auto& column : cohort.columns) predictors.push_back(column.name);
  std::vector<std::string> modalities;
  for (const auto& modality : cohort.modalities) {
    modalities.push_back(fmt::format(
        "{} ({} vectors of {} numbers)", modality.name, modality.items.rows(), modality.width));
  }
  std::size_t missing_columns = report.at("cohort").at("missing").size();
  const std::string outcome =
      fmt::format("{}: {}. Positive class: {}.{}",
                  endpoint.name,
                  endpoint.description,
                  endpoint.positive_label,
                  endpoint.horizon_months > 0
                      ? fmt::format(" Horizon {} months.", format_double(endpoint.horizon_months))
                      : "");
  const auto positives = report.at("cohort").at("positives").dump();
  const auto n = report.at("cohort").at("n").dump();

  const std::vector<Item> items = {
      {"1", "Title", "Identify the study as developing or evaluating a prediction model", ""},
      {"2", "Abstract", "Structured summary", ""},
      {"3a", "Background", "Healthcare context and rationale", ""},
      {"3b", "Background", "Target population and intended purpose of the model", ""},
      {"3c", "Background", "Known health inequalities", ""},
      {"4",
       "Objectives",
       "Objectives, development or validation or both",
       fmt::format("Development with internal validation: {}",
                   report.at("protocol").at("summary").get<std::string>())},
      {"5a",
       "Data",
       "Sources of data",
       fmt::format("{}; sources by identifier: {}", cohort.name, join(sources, ", "))},
      {"5b", "Data", "Dates of collected data, start and end of follow-up", ""},
      {"6a", "Participants", "Setting and number of centres", ""},
      {"6b", "Participants", "Eligibility criteria", ""},
      {"6c", "Participants", "Treatments received", ""},
      {"7",
       "Data preparation",
       "Pre-processing and quality checking",
       "See 'Findings' and 'Cohort flow': what was dropped and why; median or mode imputation, "
       "missing indicators, one-hot, min-max, fitted on training folds only"},
      {"8a", "Outcome", "Outcome and time horizon", outcome},
      {"8b", "Outcome", "Qualifications of outcome assessors", ""},
      {"8c", "Outcome", "Blinding of outcome assessment", ""},
      {"9a",
       "Predictors",
       "Choice of initial predictors",
       fmt::format("{} table columns: {}; {}",
                   predictors.size(),
                   join(predictors, ", "),
                   join(modalities, ", "))},
      {"9b", "Predictors", "Definition and measurement of predictors", ""},
      {"9c", "Predictors", "Qualifications of predictor assessors", ""},
      {"10",
       "Sample size",
       "How the study size was arrived at",
       fmt::format(
           "All available patients: {}, of whom {} positive. No sample size was calculated.",
           n,
           positives)},
      {"11",
       "Missing data",
       "How missing data were handled",
       fmt::format(
           "{} columns with missing values; indicators and imputation inside training folds; "
           "a missing modality is masked, never imputed with a value",
           missing_columns)},
      {"12a",
       "Analysis",
       "How data were used: development, evaluation, partition",
       split_text(report)},
      {"12b",
       "Analysis",
       "How predictors were handled",
       "Numeric and ordinal columns scaled to [0, 1]; nominal columns one-hot with the first level "
       "dropped; embeddings standardised; see settings.toml"},
      {"12c",
       "Analysis",
       "Model type, building steps, tuning, internal validation",
       fmt::format("{} models; {} outer folds, {} repeats, {} inner folds; candidates of nested "
                   "selection: {}",
                   report.at("models").size(),
                   v.folds,
                   v.repeats,
                   v.inner_folds,
                   v.select.empty() ? "none" : std::to_string(v.select.size()) + " settings")},
      {"12d", "Analysis", "Heterogeneity over clusters", ""},
      {"12e",
       "Analysis",
       "Measures of performance and comparison",
       "Discrimination, threshold metrics, Brier score, calibration intercept and slope, all with "
       "intervals; DeLong and McNemar with Holm's correction"},
      {"12f", "Analysis", "Model updating", "None"},
      {"12g",
       "Analysis",
       "How predictions were computed",
       "By the bundle in the folder 'model': med3d predict"},
      {"13", "Class imbalance", "Methods used and recalibration", class_imbalance(settings)},
      {"14", "Fairness", "Approaches to address fairness", ""},
      {"15",
       "Output",
       "Output of the model, thresholds",
       fmt::format("Probability of '{}'; threshold: {}",
                   endpoint.positive_label,
                   v.threshold == "half" ? "0.5" : "best out-of-fold balanced accuracy")},
      {"16",
       "Training versus evaluation",
       "Differences between development and evaluation data",
       "Same cohort: no external validation in this run"},
      {"17", "Ethics", "Ethical approval", ""},
      {"18a", "Open science", "Funding", ""},
      {"18b", "Open science", "Conflicts of interest", ""},
      {"18c", "Open science", "Protocol", ""},
      {"18d", "Open science", "Registration", ""},
      {"18e",
       "Open science",
       "Data sharing",
       cohort.licence.empty() ? "" : "Licence of the data: " + cohort.licence},
      {"18f", "Open science", "Code sharing", "med3d " + report.at("version").get<std::string>()},
      {"19", "Patient and public involvement", "Involvement in design, conduct, reporting", ""},
      {"20a", "Participants", "Flow of participants", "See 'Cohort flow'"},
      {"20b",
       "Participants",
       "Characteristics",
       fmt::format("{} patients, {} positive; availability of modalities and missing values are "
                   "tabulated",
                   n,
                   positives)},
      {"20c", "Participants", "Comparison of development and evaluation data", split_text(report)},
      {"21",
       "Model development",
       "Participants and outcome events in each analysis",
       "n, positives and negatives stand beside every row of every table"},
      {"22",
       "Model specification",
       "Full model, to allow predictions",
       "model/model.json and model/model.safetensors"},
      {"23a", "Performance", "Performance with confidence intervals", performance_text(report)},
      {"23b",
       "Performance",
       "Heterogeneity in performance",
       "By pattern of available modalities: see the tables"},
      {"24", "Model updating", "Results of updating", "None"},
      {"25", "Interpretation", "Overall interpretation", ""},
      {"26", "Limitations", "Limitations", ""},
      {"27a",
       "Usability",
       "Handling of poor or missing input",
       "A missing modality is masked; an unknown category is reported; a schema that does not "
       "match "
       "is refused"},
      {"27b", "Usability", "User interaction and expertise", ""},
      {"27c", "Usability", "Next steps", ""},
  };
  Json out = Json::array();
  for (const auto& item : items) {
    std::string value = item.value;
    if (report.contains("survival")) {
      const std::string more = survival_text(report.at("survival"), item.number);
      if (!more.empty()) value += (value.empty() ? "Time to event: " : " Time to event: ") + more;
    }
    out.push_back({{"item", item.number},
                   {"section", item.section},
                   {"text", item.text},
                   {"status", value.empty() ? "author" : "filled"},
                   {"value", value}});
  }
  return out;
}

}  // namespace med3d::pipeline
