// Predictions of a trained bundle for new patients with any subset of modalities.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "med3d/core/json.h"
#include "med3d/core/progress.h"

namespace med3d::pipeline {

struct PredictRequest {
  std::filesystem::path model;  // folder of a bundle
  std::optional<std::filesystem::path> clinical;
  std::optional<std::filesystem::path> ct, mri, wsi;
  std::string case_from = "name";   // "name", "mmist" or "folder": how an item tells its patient
  std::vector<std::string> models;  // ids; empty = all arms and fusions
  int threads = 1;
};

struct Prediction {
  std::string case_id;
  std::string model;
  double probability = 0.0;  // of the positive class; NaN = none of the model's modalities is there
  double threshold = 0.5;    // fixed on training data
  bool positive = false;
  std::vector<std::string> modalities_used;
};

struct PredictResult {
  std::string endpoint;        // "vital_status_12"
  std::string positive_label;  // what the probability is of
  std::string model_sha256;
  bool synthetic = false;        // the model was trained on synthetic data
  std::vector<Prediction> rows;  // by patient, then model
  std::vector<std::string> warnings;
  std::size_t failed_items = 0;

  std::string csv() const;
  Json to_json() const;
};

// Throws Error(kUsage) if no input is named or a model is unknown, kData where the table lacks a
// column the model needs, holds a cell it cannot read, or vectors have another width; else as
// read_bundle and load_new_patients.
PredictResult predict(const PredictRequest& request, Progress& progress);

}  // namespace med3d::pipeline
