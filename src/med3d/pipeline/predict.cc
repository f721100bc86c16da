#include "med3d/pipeline/predict.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "med3d/core/error.h"
#include "med3d/core/text.h"
#include "med3d/io/formats/csv.h"
#include "med3d/pipeline/bundle.h"
#include "med3d/pipeline/evaluation.h"

namespace med3d::pipeline {
namespace {

CohortSettings input_settings(const PredictRequest& request, const Bundle& bundle) {
  CohortSettings settings;
  settings.clinical.enabled = request.clinical.has_value();
  if (request.clinical) settings.clinical.table = *request.clinical;
  settings.clinical.columns = bundle.columns;
  settings.clinical.missing = bundle.missing_values;
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

}  // namespace

PredictResult predict(const PredictRequest& request, Progress& progress) {
  if (!request.clinical && !request.ct && !request.mri && !request.wsi) {
    throw Error(ErrorKind::kUsage,
                "nothing to predict from: name at least one of clinical, ct, mri, wsi");
  }
  const Bundle bundle = read_bundle(request.model);
  const auto& trained = bundle.modalities;
  const auto require_trained = [&](const char* name, bool given) {
    if (given && std::find(trained.begin(), trained.end(), name) == trained.end()) {
      throw Error(
          ErrorKind::kUsage,
          fmt::format(
              "the model was trained without '{}'; it knows {}", name, join(trained, ", ")));
    }
  };
  require_trained("clinical", request.clinical.has_value());
  require_trained("ct", request.ct.has_value());
  require_trained("mri", request.mri.has_value());
  require_trained("wsi", request.wsi.has_value());

  std::vector<std::string> ids;
  std::vector<const ModelSpec*> asked;
  for (const auto& spec : bundle.specs) {
    ids.push_back(spec.id);
    const bool wanted = request.models.empty()
                            ? spec.family == "arm" || spec.family == "fusion"
                            : std::find(request.models.begin(), request.models.end(), spec.id) !=
                                  request.models.end();
    if (wanted) asked.push_back(&spec);
  }
  for (const auto& wanted : request.models) {
    if (std::find(ids.begin(), ids.end(), wanted) == ids.end()) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("the bundle has no model '{}'{}; it has {}",
                              wanted,
                              did_you_mean(wanted, ids),
                              join(ids, ", ")));
    }
  }

  const Cohort patients =
      load_new_patients(input_settings(request, bundle), progress, request.threads);
  PredictResult result;
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

  Rows rows(patients.size());
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = i;
  std::vector<std::vector<double>> probability;
  for (const auto* spec : asked) {
    const auto& model = *bundle.models.at(spec->id);
    try {
      probability.push_back(model.predict(patients, rows));
    } catch (const Error&) {
      rethrow_with_context(fmt::format("model '{}', patients in ascending order of id", spec->id));
    }
    for (auto& warning : model.input_warnings(patients, rows)) {
      if (std::find(result.warnings.begin(), result.warnings.end(), warning) ==
          result.warnings.end()) {
        result.warnings.push_back(std::move(warning));
      }
    }
  }
  for (const std::size_t row : rows) {
    const auto there = available_modalities(patients, row);
    for (std::size_t k = 0; k < asked.size(); ++k) {
      Prediction prediction;
      prediction.case_id = patients.case_ids[row];
      prediction.model = asked[k]->id;
      prediction.probability = probability[k][row];
      prediction.threshold = bundle.thresholds.at(asked[k]->id);
      prediction.positive = prediction.probability >= prediction.threshold;
      for (const auto& name : asked[k]->modalities) {
        if (std::find(there.begin(), there.end(), name) != there.end()) {
          prediction.modalities_used.push_back(name);
        }
      }
      result.rows.push_back(std::move(prediction));
    }
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
                 "model_sha256"});
  for (const auto& row : rows) {
    const bool known = !std::isnan(row.probability);
    csv.text(row.case_id).text(row.model).text(endpoint).text(positive_label);
    if (known) {
      csv.number(row.probability).number(row.threshold).number(row.positive ? 1 : 0);
    } else {
      csv.missing().number(row.threshold).missing();
    }
    csv.text(join(row.modalities_used, "+")).text(model_sha256).end_row();
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
               {"predictions", Json::array()}};
  for (const auto& row : rows) {
    const bool known = !std::isnan(row.probability);
    json["predictions"].push_back(
        {{"case_id", row.case_id},
         {"model", row.model},
         {"probability", known ? Json(row.probability) : Json(nullptr)},
         {"threshold", row.threshold},
         {"predicted_positive", known ? Json(row.positive) : Json(nullptr)},
         {"modalities_used", row.modalities_used}});
  }
  return json;
}

}  // namespace med3d::pipeline
