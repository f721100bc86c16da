// Predictions of a trained bundle for new patients with any subset of modalities.
//
// Beside what a model says stands what was seen: how often the event came among patients with such
// a prediction who were held out when the model learnt (classifiers: stats/recalibration.h; time to
// event: Kaplan-Meier of their third of the risk), with its 95 % interval. The interval is of that
// share, not of one patient's fate. An input unlike those of all training patients is named.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "med3d/core/json.h"
#include "med3d/core/progress.h"
#include "med3d/pipeline/predict_raw.h"
#include "med3d/stats/estimate.h"

namespace med3d::pipeline {

struct PredictRequest {
  std::filesystem::path model;  // folder of a bundle
  std::optional<std::filesystem::path> clinical;
  std::optional<std::filesystem::path> ct, mri, wsi;
  RawInputs raw;                    // slides and scans as files, in place of wsi, ct and mri
  std::string case_from = "name";   // "name", "mmist" or "folder": how an item tells its patient
  std::vector<std::string> models;  // ids, of either kind; empty = all arms and fusions
  int threads = 1;
};

struct Prediction {
  std::string case_id;
  std::string model;
  double probability = 0.0;  // of the positive class; NaN = none of the model's modalities is there
  stats::Estimate observed;  // share of positives among patients with such a prediction
  double threshold = 0.5;    // fixed on training data
  bool positive = false;
  std::vector<std::string> modalities_used;
  std::vector<std::string> out_of_range;  // inputs of the model, see PatientInput
};

struct HorizonPrediction {
  double horizon_months = 0.0;
  double survival = 0.0;  // P(no event by the horizon), by the training patients' baseline hazard
  stats::Estimate observed;  // the same among training patients of the risk group
};

struct SurvivalPrediction {
  std::string case_id;
  std::string model;
  double risk_score = 0.0;  // log cumulative hazard at the main horizon, higher = earlier event;
                            // NaN = none of the model's modalities is there, and nothing below is
  double percentile = 0.0;  // of training patients by their held-out risk, 0 to 100
  std::string risk_group;   // "low", "intermediate", "high": thirds of these; or empty
  std::vector<HorizonPrediction> horizons;
  std::vector<std::string> modalities_used;
  std::vector<std::string> out_of_range;
};

// Something about a patient's input that no training patient had.
struct PatientInput {
  std::string case_id;
  std::string modality;
  std::string input;  // column or modality
  std::string text;
};

struct PredictResult {
  std::string endpoint;        // "vital_status_12"
  std::string positive_label;  // what the probability is of
  std::string model_sha256;
  bool synthetic = false;         // the model was trained on synthetic data
  std::vector<Prediction> rows;   // by patient, then model
  std::string survival_endpoint;  // "PFI"; empty where the bundle has no model of time to event
  double main_horizon_months = 0.0;
  std::vector<SurvivalPrediction> survival;  // by patient, then model
  std::vector<PatientInput> out_of_range;    // by patient
  std::vector<RawOutcome> items;             // slides and scans that were files
  std::vector<std::string> warnings;
  std::size_t failed_items = 0;

  // A row for each patient and classifier, then one for each patient, model of time to event and
  // horizon. docs/run_directory.md explains the columns.
  std::string csv() const;
  Json to_json() const;
};

// Throws Error(kUsage) if no input is named, one is named twice or a model is unknown, kData where
// the table lacks a column the model needs, holds a cell it cannot read, vectors have another width
// or are of another encoder than the model's (where records beside them tell), or no slide and no
// scan can be used and there is nothing else; else as read_bundle, prepare_raw and
// load_new_patients.
PredictResult predict(const PredictRequest& request, Progress& progress);

}  // namespace med3d::pipeline
