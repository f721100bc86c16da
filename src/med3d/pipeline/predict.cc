#include "med3d/pipeline/predict.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <map>
#include <set>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/core/text.h"
#include "med3d/io/formats/csv.h"
#include "med3d/pipeline/bundle.h"
#include "med3d/pipeline/evaluation.h"

namespace med3d::pipeline {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
constexpr const char* kGroups[] = {"low", "intermediate", "high"};
constexpr const char* kNoEvidence = "the bundle holds no held-out predictions of this model";
constexpr const char* kNoGroup = "no risk group";
constexpr const char* kObservedIs =
    "share of held-out training patients with such a prediction, with its 95 % interval: how well "
    "this share is known, not how certain the fate of one patient is";

Rows all_rows(const Cohort& patients) {
  Rows rows(patients.size());
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = i;
  return rows;
}

bool contains(const std::vector<std::string>& list, const std::string& text) {
  return std::find(list.begin(), list.end(), text) != list.end();
}

void add_new(std::vector<std::string>& list, const std::vector<std::string>& more) {
  for (const auto& one : more) {
    if (!contains(list, one)) list.push_back(one);
  }
}

CohortSettings input_settings(const PredictRequest& request, const Bundle& bundle) {
  CohortSettings settings;
  settings.clinical.enabled = request.clinical.has_value();
  if (request.clinical) settings.clinical.table = *request.clinical;
  settings.clinical.columns = bundle.columns;
  settings.clinical.missing = bundle.missing_values;
  if (bundle.survival) {
    // Patients without a known class have follow-up too: their table may show more columns.
    add_new(settings.clinical.columns, bundle.survival->columns);
    add_new(settings.clinical.missing, bundle.survival->missing_values);
  }
  const auto modality = [&](ModalitySettings& m, const std::optional<std::filesystem::path>& path) {
    m.enabled = path.has_value();
    if (!path) return;
    m.features = {*path};
    m.case_from = request.case_from;
    // A prediction is for what is given: the training cohort's slide filter was the user's choice.
    m.slide_kinds = {"DX", "TS", "BS", "MS", "unknown"};
    m.sample_kinds = {"tumour", "normal", "unknown"};
    if (const auto found = bundle.widths.find(m.section); found != bundle.widths.end()) {
      m.width = found->second;
    }
  };
  modality(settings.ct, request.ct);
  modality(settings.mri, request.mri);
  modality(settings.wsi, request.wsi);
  return settings;
}

// The models that are asked, of both kinds.
struct Asked {
  std::vector<const ModelSpec*> classifiers;
  std::vector<const SavedSurvival*> survival;
};

Asked choose_models(const Bundle& bundle, const std::vector<std::string>& wanted) {
  Asked asked;
  std::vector<std::string> ids;
  const auto is_wanted = [&](const std::string& id, const std::string& family) {
    return wanted.empty() ? family == "arm" || family == "fusion" : contains(wanted, id);
  };
  for (const auto& spec : bundle.specs) {
    add_new(ids, {spec.id});
    if (is_wanted(spec.id, spec.family)) asked.classifiers.push_back(&spec);
  }
  if (bundle.survival) {
    for (const auto& saved : bundle.survival->saved) {
      add_new(ids, {saved.id});
      if (is_wanted(saved.id, saved.family)) asked.survival.push_back(&saved);
    }
  }
  for (const auto& id : wanted) {
    if (contains(ids, id)) continue;
    throw Error(ErrorKind::kUsage,
                fmt::format("the bundle has no model '{}'{}; it has {}",
                            id,
                            did_you_mean(id, ids),
                            join(ids, ", ")));
  }
  return asked;
}

std::vector<std::string> trained_modalities(const Bundle& bundle) {
  std::vector<std::string> trained = bundle.modalities;
  if (bundle.survival) add_new(trained, bundle.survival->modalities);
  return trained;
}

void require_trained(const Bundle& bundle, const PredictRequest& request) {
  const auto trained = trained_modalities(bundle);
  const std::pair<const char*, bool> given[] = {{"clinical", request.clinical.has_value()},
                                                {"ct", request.ct.has_value()},
                                                {"mri", request.mri.has_value()},
                                                {"wsi", request.wsi.has_value()}};
  for (const auto& [name, is_given] : given) {
    if (!is_given || contains(trained, name)) continue;
    throw Error(
        ErrorKind::kUsage,
        fmt::format("the model was trained without '{}'; it knows {}", name, join(trained, ", ")));
  }
}

// Vectors of another encoder are of another language, whatever their width.
void require_same_encoder(const Bundle& bundle, const Cohort& patients) {
  for (const auto& modality : patients.modalities) {
    const auto known = bundle.evidence.makers.find(modality.name);
    if (known == bundle.evidence.makers.end()) continue;
    for (const auto& maker : modality.makers) {
      if (std::find(known->second.begin(), known->second.end(), maker) != known->second.end()) {
        continue;
      }
      std::vector<std::string> expected;
      for (const auto& one : known->second) expected.push_back(one.text());
      throw Error(ErrorKind::kData,
                  fmt::format("{}: features of encoder {}, the model was trained on those of {}",
                              modality.name,
                              maker.text(),
                              join(expected, ", ")));
    }
  }
}

// What the encoders of the asked models do not know of these rows: categories, mostly.
std::vector<std::string> input_warnings(const Bundle& bundle,
                                        const Asked& asked,
                                        const Cohort& patients,
                                        const Rows& rows) {
  std::vector<std::string> texts;
  const auto ask = [&](const auto& model, const std::string& id) {
    try {
      add_new(texts, model.input_warnings(patients, rows));
    } catch (const Error&) {
      rethrow_with_context(fmt::format("model '{}', patients in ascending order of id", id));
    }
  };
  for (const auto* spec : asked.classifiers) ask(*bundle.models.at(spec->id), spec->id);
  for (const auto* saved : asked.survival) ask(*bundle.survival->models.at(saved->id), saved->id);
  return texts;
}

// What of each patient's inputs no training patient had.
std::vector<PatientInput> unlike_training(const Bundle& bundle,
                                          const Asked& asked,
                                          const Cohort& patients) {
  const bool any = !input_warnings(bundle, asked, patients, all_rows(patients)).empty();
  std::vector<PatientInput> found;
  for (std::size_t row = 0; row < patients.size(); ++row) {
    for (auto& one : bundle.evidence.ranges.check(patients, row)) {
      found.push_back({patients.case_ids[row],
                       std::move(one.modality),
                       std::move(one.input),
                       std::move(one.text)});
    }
    if (!any) continue;
    for (auto& text : input_warnings(bundle, asked, patients, {row})) {
      // A missing cell, of which the encoder warns too, is no value that nobody had.
      if (text.find("not seen in training") == std::string::npos) continue;
      found.push_back({patients.case_ids[row], "clinical", "clinical", std::move(text)});
    }
  }
  return found;
}

// Patients with a value beyond the ranges; unknown categories have warnings of their own.
std::size_t count_beyond(const std::vector<PatientInput>& found) {
  std::set<std::string> patients;
  for (const auto& one : found) {
    if (one.input != "clinical") patients.insert(one.case_id);
  }
  return patients.size();
}

// By patient, the names of those inputs that some modalities hold.
class UnlikeTraining {
 public:
  explicit UnlikeTraining(const std::vector<PatientInput>& found) {
    for (const auto& one : found) of_patient_[one.case_id].push_back(&one);
  }
  std::vector<std::string> inputs(const std::string& case_id,
                                  const std::vector<std::string>& modalities) const {
    std::vector<std::string> inputs;
    const auto patient = of_patient_.find(case_id);
    if (patient == of_patient_.end()) return inputs;
    for (const auto* one : patient->second) {
      if (contains(modalities, one->modality)) add_new(inputs, {one->input});
    }
    return inputs;
  }

 private:
  std::map<std::string, std::vector<const PatientInput*>> of_patient_;
};

std::vector<std::string> both(const std::vector<std::string>& a,
                              const std::vector<std::string>& b) {
  std::vector<std::string> out;
  std::copy_if(a.begin(), a.end(), std::back_inserter(out), [&](const std::string& one) {
    return contains(b, one);
  });
  return out;
}

void predict_classes(const Bundle& bundle,
                     const Asked& asked,
                     const Cohort& patients,
                     PredictResult& result) {
  const Rows rows = all_rows(patients);
  const UnlikeTraining unlike(result.out_of_range);
  std::vector<std::vector<double>> probability;
  for (const auto* spec : asked.classifiers) {
    try {
      probability.push_back(bundle.models.at(spec->id)->predict(patients, rows));
    } catch (const Error&) {
      rethrow_with_context(fmt::format("model '{}', patients in ascending order of id", spec->id));
    }
  }
  for (const std::size_t row : rows) {
    const auto there = available_modalities(patients, row);
    for (std::size_t k = 0; k < asked.classifiers.size(); ++k) {
      const auto& spec = *asked.classifiers[k];
      Prediction prediction;
      prediction.case_id = patients.case_ids[row];
      prediction.model = spec.id;
      prediction.probability = probability[k][row];
      const auto rate = bundle.evidence.rates.find(spec.id);
      prediction.observed = rate != bundle.evidence.rates.end()
                                ? rate->second.at(prediction.probability)
                                : stats::Estimate::none(kNoEvidence);
      prediction.threshold = bundle.thresholds.at(spec.id);
      prediction.positive = prediction.probability >= prediction.threshold;
      prediction.modalities_used = both(spec.modalities, there);
      prediction.out_of_range = unlike.inputs(prediction.case_id, prediction.modalities_used);
      result.rows.push_back(std::move(prediction));
    }
  }
}

void predict_survival(const SurvivalBundle& bundle,
                      const Asked& asked,
                      const Cohort& patients,
                      PredictResult& result) {
  const Rows rows = all_rows(patients);
  const UnlikeTraining unlike(result.out_of_range);
  const std::vector<double> main = {bundle.main_horizon_months};
  const auto& horizons = bundle.horizons_months;
  std::vector<Matrix<double>> risk;
  std::vector<Matrix<double>> at_main;
  for (const auto* saved : asked.survival) {
    const auto& model = *bundle.models.at(saved->id);
    try {
      risk.push_back(model.risk(patients, rows, horizons));
      at_main.push_back(model.risk(patients, rows, main));
    } catch (const Error&) {
      rethrow_with_context(fmt::format("model '{}', patients in ascending order of id", saved->id));
    }
  }
  for (const std::size_t row : rows) {
    const auto there = available_modalities(patients, row);
    for (std::size_t k = 0; k < asked.survival.size(); ++k) {
      const auto& saved = *asked.survival[k];
      const double main_risk = at_main[k](row, 0);
      SurvivalPrediction prediction;
      prediction.case_id = patients.case_ids[row];
      prediction.model = saved.id;
      prediction.risk_score = log_cumulative_hazard(main_risk);
      prediction.percentile = saved.percentile(main_risk);
      const int group = saved.group(main_risk);
      if (group >= 0) prediction.risk_group = kGroups[group];
      for (std::size_t h = 0; h < horizons.size(); ++h) {
        prediction.horizons.push_back(
            {horizons[h],
             1.0 - risk[k](row, h),
             group >= 0 ? saved.groups[static_cast<std::size_t>(group)].survival[h]
                        : stats::Estimate::none(kNoGroup)});
      }
      prediction.modalities_used = both(saved.modalities, there);
      prediction.out_of_range = unlike.inputs(prediction.case_id, prediction.modalities_used);
      result.survival.push_back(std::move(prediction));
    }
  }
}

// One bad file among others is told; none that is good, and nothing else, is the end.
void require_something(const PredictRequest& vectors, const std::vector<RawOutcome>& items) {
  if (vectors.clinical || vectors.ct || vectors.mri || vectors.wsi) return;
  std::string why;
  std::size_t shown = 0;
  for (const auto& item : items) {
    if (++shown > 3) break;
    why += fmt::format("; {} {}: {}", item.kind, item.item, item.reason);
  }
  throw Error(ErrorKind::kData,
              fmt::format("none of {} slides and scans can be used{}", items.size(), why));
}

void tell_failures(PredictResult& result) {
  for (const auto& item : result.items) {
    for (const auto& warning : item.warnings) {
      result.warnings.push_back(fmt::format("{} {}: {}", item.kind, item.item, warning));
    }
    if (item.status != "failed") continue;
    ++result.failed_items;
    result.warnings.push_back(fmt::format("{} {}: {}", item.kind, item.item, item.reason));
  }
}

Json number_or_null(double value) { return std::isnan(value) ? Json(nullptr) : Json(value); }

CsvWriter& number_or_missing(CsvWriter& csv, double value) {
  return std::isnan(value) ? csv.missing() : csv.number(value);
}

// observed, low and high; or three blanks and the reason.
void write_observed(CsvWriter& csv, const stats::Estimate& observed) {
  const bool ok = observed.ok();
  for (const double value : {observed.value, observed.low, observed.high}) {
    number_or_missing(csv, ok ? value : kNone);
  }
  csv.text(ok ? "" : observed.not_estimable);
}

}  // namespace

PredictResult predict(const PredictRequest& request, Progress& progress) {
  if (!request.clinical && !request.ct && !request.mri && !request.wsi && !request.raw.used()) {
    throw Error(ErrorKind::kUsage,
                "nothing to predict from: name at least one of clinical, ct, mri, wsi, slides, "
                "dicom");
  }
  if (request.wsi && !request.raw.slides.empty()) {
    throw Error(ErrorKind::kUsage, "'wsi' and 'slides' are the same modality: name one");
  }
  if (request.raw.dicom && (request.ct || request.mri)) {
    throw Error(ErrorKind::kUsage, "'dicom' holds what 'ct' and 'mri' are made of: name one");
  }
  const Bundle bundle = read_bundle(request.model);
  require_trained(bundle, request);
  const Asked asked = choose_models(bundle, request.models);
  PredictResult result;
  PredictRequest vectors = request;
  std::optional<WorkFolder> work;
  if (request.raw.used()) {
    work.emplace(request.raw.work);
    auto prepared =
        prepare_raw(request.raw, bundle.evidence, work->path(), request.threads, progress);
    result.items = std::move(prepared.outcomes);
    result.warnings = std::move(prepared.warnings);
    const auto known = trained_modalities(bundle);
    const auto take = [&](const char* name,
                          const std::optional<std::filesystem::path>& made,
                          std::optional<std::filesystem::path>& target) {
      if (!made) return;
      if (contains(known, name)) {
        target = made;
      } else {
        result.warnings.push_back(
            fmt::format("the model was trained without '{}': these files are not used", name));
      }
    };
    take("wsi", prepared.wsi, vectors.wsi);
    take("ct", prepared.ct, vectors.ct);
    take("mri", prepared.mri, vectors.mri);
    require_something(vectors, result.items);
    tell_failures(result);
  }
  const Cohort patients =
      load_new_patients(input_settings(vectors, bundle), progress, request.threads);
  require_same_encoder(bundle, patients);

  result.endpoint = bundle.endpoint;
  result.positive_label = bundle.positive_label;
  result.model_sha256 = bundle.sha256;
  result.synthetic = bundle.synthetic;
  for (const auto& finding : patients.findings) result.warnings.push_back(finding.text);
  for (const auto& outcome : patients.outcomes) {
    if (outcome.status == "failed") {
      ++result.failed_items;
      result.warnings.push_back(
          fmt::format("{}: {}: {}", outcome.kind, outcome.item, outcome.reason));
    }
  }
  if (result.synthetic) {
    result.warnings.emplace_back(
        "this model was trained on synthetic data: it says nothing of patients");
  }
  result.out_of_range = unlike_training(bundle, asked, patients);
  add_new(result.warnings, input_warnings(bundle, asked, patients, all_rows(patients)));
  if (const std::size_t n = count_beyond(result.out_of_range); n > 0) {
    result.warnings.push_back(
        fmt::format("{} {} an input beyond those of all training patients: see out_of_range",
                    n,
                    n == 1 ? "patient has" : "patients have"));
  }
  predict_classes(bundle, asked, patients, result);
  if (bundle.survival) {
    result.survival_endpoint = bundle.survival->endpoint;
    result.main_horizon_months = bundle.survival->main_horizon_months;
    predict_survival(*bundle.survival, asked, patients, result);
  }
  return result;
}

std::string PredictResult::csv() const {
  CsvWriter csv({"case_id",
                 "model",
                 "endpoint",
                 "positive_class",
                 "probability",
                 "threshold",
                 "predicted_positive",
                 "modalities_used",
                 "model_sha256",
                 "horizon_months",
                 "observed",
                 "observed_low",
                 "observed_high",
                 "not_estimable",
                 "risk_score",
                 "percentile",
                 "risk_group",
                 "out_of_range"});
  for (const auto& row : rows) {
    const bool known = !std::isnan(row.probability);
    csv.text(row.case_id).text(row.model).text(endpoint).text(positive_label);
    if (known) {
      csv.number(row.probability).number(row.threshold).number(row.positive ? 1 : 0);
    } else {
      csv.missing().number(row.threshold).missing();
    }
    csv.text(join(row.modalities_used, "+")).text(model_sha256).missing();
    write_observed(csv, row.observed);
    csv.missing().missing().text("").text(join(row.out_of_range, "+")).end_row();
  }
  for (const auto& row : survival) {
    for (const auto& at : row.horizons) {
      csv.text(row.case_id)
          .text(row.model)
          .text(survival_endpoint)
          .text(fmt::format("event-free at {} months", format_double(at.horizon_months)));
      number_or_missing(csv, at.survival).missing().missing();
      csv.text(join(row.modalities_used, "+")).text(model_sha256).number(at.horizon_months);
      write_observed(csv, at.observed);
      number_or_missing(csv, row.risk_score);
      number_or_missing(csv, row.percentile);
      csv.text(row.risk_group).text(join(row.out_of_range, "+")).end_row();
    }
  }
  return csv.str();
}

Json PredictResult::to_json() const {
  Json json = {{"endpoint", endpoint},
               {"positive_class", positive_label},
               {"model_sha256", model_sha256},
               {"synthetic", synthetic},
               {"warnings", warnings},
               {"failed_items", failed_items},
               {"observed_is", kObservedIs},
               {"predictions", Json::array()}};
  for (const auto& row : rows) {
    const bool known = !std::isnan(row.probability);
    json["predictions"].push_back(
        {{"case_id", row.case_id},
         {"model", row.model},
         {"probability", known ? Json(row.probability) : Json(nullptr)},
         {"observed", pipeline::to_json(row.observed)},
         {"threshold", row.threshold},
         {"predicted_positive", known ? Json(row.positive) : Json(nullptr)},
         {"modalities_used", row.modalities_used},
         {"out_of_range", row.out_of_range}});
  }
  if (!survival_endpoint.empty()) {
    Json predictions = Json::array();
    for (const auto& row : survival) {
      Json at = Json::array();
      for (const auto& horizon : row.horizons) {
        at.push_back({{"horizon_months", horizon.horizon_months},
                      {"survival", number_or_null(horizon.survival)},
                      {"observed", pipeline::to_json(horizon.observed)}});
      }
      predictions.push_back(
          {{"case_id", row.case_id},
           {"model", row.model},
           {"risk_score", number_or_null(row.risk_score)},
           {"percentile", number_or_null(row.percentile)},
           {"risk_group", row.risk_group.empty() ? Json(nullptr) : Json(row.risk_group)},
           {"horizons", at},
           {"modalities_used", row.modalities_used},
           {"out_of_range", row.out_of_range}});
    }
    json["survival"] = {{"endpoint", survival_endpoint},
                        {"main_horizon_months", main_horizon_months},
                        {"predictions", predictions}};
  }
  if (!items.empty()) {
    json["items"] = Json::array();
    for (const auto& item : items) json["items"].push_back(item.to_json());
  }
  json["out_of_range"] = Json::array();
  for (const auto& one : out_of_range) {
    json["out_of_range"].push_back({{"case_id", one.case_id},
                                    {"modality", one.modality},
                                    {"input", one.input},
                                    {"text", one.text}});
  }
  return json;
}

}  // namespace med3d::pipeline
