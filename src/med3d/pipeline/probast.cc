#include "med3d/pipeline/probast.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <vector>

#include "med3d/core/text.h"

namespace med3d::pipeline {
namespace {

constexpr const char* kYes = "yes";
constexpr const char* kProbablyYes = "probably yes";
constexpr const char* kProbablyNo = "probably no";
constexpr const char* kNo = "no";

// An answer, or "" for the author; in both cases what the run knows.
struct Reply {
  std::string answer;
  std::string value;
};

std::string plural(std::size_t n, const std::string& word) {
  return fmt::format("{} {}{}", n, word, n == 1 ? "" : "s");
}

Reply sources(const Cohort& cohort) {
  std::map<std::string, std::size_t> n;
  for (const auto& source : cohort.source) ++n[source];
  std::vector<std::string> parts;
  for (const auto& [source, patients] : n) {
    parts.push_back(fmt::format("{}: {}", source.empty() ? "unknown" : source, patients));
  }
  const std::string by = "Patients by source, as their identifiers tell: " + join(parts, ", ");
  if (cohort.synthetic) return {kNo, "The patients are generated, not observed. " + by + "."};
  return {"", by + "."};
}

std::size_t excluded(const Cohort& cohort, std::string* reasons = nullptr) {
  std::size_t total = 0;
  std::vector<std::string> parts;
  for (const auto& step : cohort.flow) {
    for (const auto& [reason, n] : step.excluded) {
      if (n == 0) continue;
      total += n;
      parts.push_back(fmt::format("{} ({})", n, reason));
    }
  }
  if (reasons != nullptr) *reasons = join(parts, "; ");
  return total;
}

Reply eligibility(const Cohort& cohort) {
  std::string reasons;
  const std::size_t n = excluded(cohort, &reasons);
  if (n == 0) return {"", "No patient of the table was left out by the program."};
  return {"", fmt::format("{} left out by the program: {}.", plural(n, "patient"), reasons)};
}

Reply outcome_not_predictor(const Cohort& cohort) {
  std::vector<std::string> names;
  const auto& endpoint = cohort.endpoint;
  for (const auto* column : {&endpoint.column,
                             &endpoint.time_column,
                             &endpoint.event_column,
                             &endpoint.competing_column}) {
    if (!column->empty()) names.push_back(*column);
  }
  return {kProbablyYes,
          fmt::format("The columns of the outcome ({}) are never covariates; other columns that "
                      "were left out and why stand in cohort.json. That no other column carries "
                      "the outcome under another name is the author's to check.",
                      join(names, ", "))};
}

Reply outcome_alike(const Cohort& cohort) {
  const auto& endpoint = cohort.endpoint;
  const std::string rule = endpoint.column.empty()
                               ? fmt::format("one rule for all patients, from '{}' and '{}'",
                                             endpoint.time_column,
                                             endpoint.event_column)
                               : fmt::format("one column for all patients, '{}'", endpoint.column);
  return {"", fmt::format("Read by {}; how the sources determined it is not known here.", rule)};
}

Reply interval(const Cohort& cohort) {
  if (cohort.endpoint.horizon_months <= 0) return {"", "No horizon is named."};
  return {"", fmt::format("Horizon {} months.", format_double(cohort.endpoint.horizon_months))};
}

// Events for each number that a model may weigh; the embeddings count in full, although the models
// reduce them: what was tried on the outcome is what can over-fit.
Reply sample_size(const Json& report, const Cohort& cohort) {
  std::size_t events[2] = {0, 0};
  std::size_t tested[2] = {0, 0};
  for (std::size_t row = 0; row < cohort.size(); ++row) {
    ++(cohort.split[row] == "test" ? tested : events)[cohort.label[row]];
  }
  const std::size_t fewer = std::min(events[0], events[1]);
  std::size_t width = 0;
  for (const auto& modality : cohort.modalities) width += modality.width;
  const std::size_t inputs = cohort.columns.size() + width;
  const double each = inputs == 0 ? 0.0 : static_cast<double>(fewer) / static_cast<double>(inputs);
  std::string value =
      fmt::format("{} in the smaller class of the training patients for {}{}: {:.2g} each.",
                  plural(fewer, "patient"),
                  plural(cohort.columns.size(), "column"),
                  width > 0 ? fmt::format(" and {} numbers of embeddings", width) : "",
                  each);
  if (!cohort.columns.empty() && width > 0) {
    value += fmt::format(" For the table alone: {:.2g}.",
                         static_cast<double>(fewer) / static_cast<double>(cohort.columns.size()));
  }
  const std::size_t test_fewer = std::min(tested[0], tested[1]);
  const bool has_test = tested[0] + tested[1] > 0;
  if (has_test) {
    value += fmt::format(" Held-out test: {} in the smaller class; 100 are asked for.", test_fewer);
  }
  if (report.contains("survival")) {
    for (const auto& row : report.at("survival").value("sample_size", Json::array())) {
      if (!row.contains("patients_needed")) continue;
      value += fmt::format(" Riley's criteria for {}: {} patients; there are {}.",
                           row.at("model").get<std::string>(),
                           row.at("patients_needed").dump(),
                           row.at("n").dump());
    }
  }
  const bool small_test = has_test && test_fewer < 100;
  const char* answer = each >= 20.0   ? (small_test ? kProbablyNo : kYes)
                       : each >= 10.0 ? (small_test ? kProbablyNo : kProbablyYes)
                                      : kNo;
  return {answer, value};
}

Reply all_included(const Cohort& cohort) {
  std::string reasons;
  const std::size_t n = excluded(cohort, &reasons);
  if (n == 0) return {kYes, fmt::format("All {} of the table.", plural(cohort.size(), "patient"))};
  return {"",
          fmt::format("{} left out: {}. Whether they were enrolled for this question the author "
                      "knows.",
                      plural(n, "patient"),
                      reasons)};
}

Reply missing_data(const Json& report) {
  const std::size_t columns = report.at("cohort").at("missing").size();
  if (columns == 0) return {kYes, "No covariate has a missing value."};
  return {kProbablyNo,
          fmt::format("{} with missing values: median or most frequent value and a missing "
                      "indicator, learnt on training folds only; no patient is left out for it. "
                      "Not multiple imputation, which PROBAST prefers.",
                      plural(columns, "column"))};
}

Reply complexities(const Json& report, const Cohort& cohort, const RunSettings& settings) {
  const auto& endpoint = cohort.endpoint;
  if (report.contains("survival")) {
    const Json& survival = report.at("survival");
    const std::string competing = survival.at("follow_up").at("competing").dump();
    const std::string also = competing == "0"
                                 ? "No competing event is named."
                                 : fmt::format(
                                       "{} competing events: cause-specific hazards, incidence by "
                                       "Aalen and Johansen.",
                                       competing);
    if (settings.survival.unknown_at_horizon == "exclude") {
      return {kProbablyNo,
              "Cox models and C-indices use every follow-up, but patients censored before a "
              "horizon are left out of its AUC and Brier score. " +
                  also};
    }
    return {
        kProbablyYes,
        "Time to event: censoring by partial likelihood and inverse probability of censoring. " +
            also + " The classifiers at the fixed horizon leave out whom it loses."};
  }
  if (endpoint.column.empty() && !endpoint.time_column.empty()) {
    return {kProbablyNo,
            "Patients censored before the horizon are left out; [survival] enabled = true would "
            "use their follow-up."};
  }
  return {"",
          "The outcome is a column of two classes: whether patients were lost before its horizon "
          "cannot be seen from it."};
}

Reply overfitting(const RunSettings& settings, const Json& report) {
  const auto& v = settings.validation;
  std::string value = fmt::format(
      "{} repeats of {}-fold cross-validation by patient; imputation, scaling, selection, "
      "thresholds and fusion weights are learnt anew on each training side ({} inner folds).",
      v.repeats,
      v.folds,
      v.inner_folds);
  if (!v.select.empty()) value += " Settings are chosen inside each training side.";
  if (report.contains("survival")) {
    if (!report.at("survival").value("optimism", Json::array()).empty()) {
      value += " Cox models of the table also by optimism-corrected bootstrap.";
    }
    value += fmt::format(" Designs of time to event: {}.", join(settings.survival.designs, ", "));
  }
  value += " Settings that were tried in earlier runs are not seen here.";
  return {kProbablyYes, value};
}

}  // namespace

Json risk_of_bias(const Json& questions) {
  bool against = false;
  bool unknown = false;
  for (const auto& question : questions) {
    if (question.at("status") != "answered") return nullptr;
    const auto answer = question.at("answer").get<std::string>();
    against = against || answer == kNo || answer == kProbablyNo;
    unknown = unknown || answer == "no information";
  }
  return against ? "high" : unknown ? "unclear" : "low";
}

Json probast_json(const Json& report, const Cohort& cohort, const RunSettings& settings) {
  struct Question {
    const char* number;
    const char* text;
    Reply reply;
  };
  struct Domain {
    const char* name;
    std::vector<Question> questions;
  };
  const Reply open;
  const std::vector<Domain> domains = {
      {"Participants",
       {{"1.1",
         "Do the data come from a design fit for the question (a cohort, a trial)?",
         sources(cohort)},
        {"1.2", "Were patients taken in and left out for good reasons?", eligibility(cohort)}}},
      {"Predictors",
       {{"2.1", "Were predictors defined and measured in the same way for everybody?", open},
        {"2.2", "Were they measured by people who did not know the outcome?", open},
        {"2.3", "Are all of them there at the moment the model is meant for?", open}}},
      {"Outcome",
       {{"3.1", "Was the outcome determined in a fitting way?", open},
        {"3.2",
         "Is its definition a standard one or one fixed beforehand?",
         {"",
          cohort.endpoint.name +
              (cohort.endpoint.description.empty() ? "" : ": " + cohort.endpoint.description) +
              "."}},
        {"3.3", "Are predictors kept out of its definition?", outcome_not_predictor(cohort)},
        {"3.4",
         "Was it defined and determined in the same way for everybody?",
         outcome_alike(cohort)},
        {"3.5", "Was it determined without knowledge of the predictors?", open},
        {"3.6", "Is the time between predictors and outcome fitting?", interval(cohort)}}},
      {"Analysis",
       {{"4.1", "Are there enough patients with the outcome?", sample_size(report, cohort)},
        {"4.2",
         "Were continuous and categorical predictors handled well?",
         {kProbablyYes,
          "Numbers stay numbers, none is cut into classes; categories become indicators. Linear "
          "models take the effect of a number as linear."}},
        {"4.3", "Are all enrolled patients in the analysis?", all_included(cohort)},
        {"4.4", "Were missing values handled well?", missing_data(report)},
        {"4.5",
         "Was selection of predictors by univariable tests avoided?",
         {kYes, "No column is selected by its own relation to the outcome."}},
        {"4.6",
         "Were censoring, competing risks and sampling taken into account?",
         complexities(report, cohort, settings)},
        {"4.7",
         "Were the relevant measures of performance given?",
         {kYes,
          "Discrimination, calibration (intercept or observed over expected, slope, curve), Brier "
          "score and decisions at a threshold, each with n, events and interval."}},
        {"4.8",
         "Were over-fitting, under-fitting and optimism accounted for?",
         overfitting(settings, report)},
        {"4.9",
         "Is the model that is given the one that was fitted?",
         {kYes,
          "model/ holds the weights of the fit on all training patients, with all predictors."}}}},
  };
  Json out = {{"source", "PROBAST, Wolff et al. 2019"}, {"domains", Json::array()}};
  Json all = Json::array();
  for (const auto& domain : domains) {
    Json questions = Json::array();
    for (const auto& question : domain.questions) {
      const bool answered = !question.reply.answer.empty();
      questions.push_back({{"question", question.number},
                           {"text", question.text},
                           {"status", answered ? "answered" : "author"},
                           {"answer", question.reply.answer},
                           {"value", question.reply.value}});
      all.push_back(questions.back());
    }
    const auto left = std::count_if(questions.begin(), questions.end(), [](const Json& question) {
      return question.at("status") != "answered";
    });
    out["domains"].push_back({{"domain", domain.name},
                              {"open", left},
                              {"judgement", risk_of_bias(questions)},
                              {"questions", questions}});
  }
  out["judgement"] = risk_of_bias(all);
  return out;
}

}  // namespace med3d::pipeline
