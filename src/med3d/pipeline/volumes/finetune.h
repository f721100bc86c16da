// Training a three-dimensional net on labelled scans, in a folder that a killed run goes on from.
//
//   model.json, model.safetensors   the net of the best epoch (volume_model.h)
//   history.csv                     loss, AUROC in validation and learning rate of each epoch
//   predictions.csv                 one row a volume of validation and test
//   metrics.json                    figures of both by patient, with intervals; written last
//   training.safetensors            while it trains: all that the next epoch needs
//
// The epoch, and the threshold, are chosen on validation alone. Test volumes are predicted once, by
// the net that was kept.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "med3d/core/json.h"
#include "med3d/core/progress.h"
#include "med3d/nn/volume_classifier.h"
#include "med3d/pipeline/volumes/volume_dataset.h"
#include "med3d/stats/metric_set.h"

namespace med3d::pipeline {

struct FinetuneJob {
  std::filesystem::path data;     // as read_volume_dataset
  std::filesystem::path output;   // the run folder
  std::filesystem::path weights;  // of an encoder to start from; empty: seeded
  nn::VolumeNetDesign design;
  VolumePreparation preparation;
  nn::VolumeTrainingOptions options;
  bool overwrite = false;  // replace what another run left
};

struct FinetuneSummary {
  std::size_t training = 0;  // volumes
  std::size_t epochs = 0;
  int best_epoch = 0;       // 1-based
  bool taken_over = false;  // was finished before
  Json metrics;             // metrics.json

  Json to_json() const;
  std::string text() const;
};

// The same inputs, options and number of threads end with the same bytes, whatever was killed when.
//
// Throws as read_volume_dataset and VolumeClassifier::fit; Error(kUsage) for a folder that holds
// another run, or other files, unless `overwrite`.
FinetuneSummary finetune_volumes(const FinetuneJob& job, Progress& progress);

// The threshold of the highest balanced accuracy in validation; the highest of equals. Thresholds
// tried are the probabilities themselves (positive when probability >= threshold).
double threshold_of_validation(const std::vector<std::uint8_t>& label,
                               const std::vector<double>& probability);

}  // namespace med3d::pipeline
