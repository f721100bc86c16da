// A trained model as a folder: model.json says everything, model.safetensors holds the numbers.
//
//   model.json         format, version, endpoint and positive class, schema of the table, width of
//                      each modality, preprocessing and network of every model, thresholds, seeds,
//                      settings of the models, hash of the cohort, SHA-256 of the arrays; no path
//   model.safetensors  all arrays; loading them runs no code
//   survival.json, survival.safetensors   the same of models of time to event (survival_bundle.h)
//   evidence.json      what is known of them from held-out patients (evidence.h)
//
// A bundle is read without the cohort it was trained on.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "med3d/core/json.h"
#include "med3d/pipeline/evidence.h"
#include "med3d/pipeline/models.h"
#include "med3d/pipeline/survival_bundle.h"

namespace med3d::pipeline {

struct Bundle {
  std::string endpoint;        // "vital_status_12"
  std::string positive_label;  // what the probabilities are of
  bool synthetic = false;      // trained on synthetic data
  std::vector<std::string> modalities;
  std::vector<std::string> columns;         // of the table
  std::vector<std::string> missing_values;  // texts that mean missing, beside the usual ones
  std::map<std::string, int> widths;        // numbers of a vector, by modality
  std::vector<ModelSpec> specs;
  FittedModels models;
  std::map<std::string, double> thresholds;
  std::optional<SurvivalBundle> survival;  // where the run had models of time to event
  Evidence evidence;                       // empty where the run was not finished
  std::string sha256;                      // names the model in every prediction (bundle_sha256)
};

// Writes the classifiers' two files, arrays first, so that a model.json always has its arrays.
void write_bundle(const std::filesystem::path& folder,
                  const Cohort& cohort,
                  const RunSettings& settings,
                  const std::vector<ModelSpec>& specs,
                  const FittedModels& models,
                  const std::map<std::string, double>& thresholds);

// The files may come from anywhere: nothing they say is taken on trust, and no more memory is asked
// for than a small multiple of their size.
// Throws Error(kNotFound) where there is no bundle, kFormat where the files break their format,
// contradict themselves or do not belong together, kUnsupported for a format of a later version.
Bundle read_bundle(const std::filesystem::path& folder);

}  // namespace med3d::pipeline
