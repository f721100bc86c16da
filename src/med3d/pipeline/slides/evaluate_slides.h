// CLAM's eval.py: what stored nets say of slides, and where they looked.
//
//   fold_i.csv                slide_id,Y,Y_hat,p_0,p_1,... of each fold
//   summary.csv               figures of each fold with intervals
//   attention/<slide>.h5      CLAM's blockmap: `attention_scores` (raw, before the softmax; of the
//                             predicted class), `coords`, and whose they are as attributes of it.
//                             Of several folds: attention/fold_i/<slide>.h5
//
// Heatmaps are drawn from these files alone: what is shown is what the stored net said.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "med3d/core/json.h"
#include "med3d/core/progress.h"
#include "med3d/mil/clam.h"
#include "med3d/pipeline/slides/slide_outcome.h"
#include "med3d/pipeline/slides/train_slides.h"

namespace med3d::pipeline {

struct EvaluateSlidesJob {
  std::filesystem::path model;     // a run folder (ours, CLAM's results), or one checkpoint
  std::filesystem::path features;  // as feature_files_by_slide
  std::filesystem::path dataset;
  std::filesystem::path splits;  // empty: those in the run folder
  std::filesystem::path output;
  // Of patches/<slide>.h5, which tell how large a tile is; empty: in `features`, if it is there.
  std::filesystem::path patches;
  std::vector<std::string> classes;  // empty: as the run says, else as the dataset does
  std::string split = "test";        // "train", "val", "test" or "all"
  int fold = -1;  // -1 = every checkpoint of the run; of one checkpoint: its split
  mil::ModelType model_type = mil::ModelType::kMean;  // kMax tells such a checkpoint from kMean's
  bool attention = true;
  int threads = 1;         // no effect on any result
  bool overwrite = false;  // write into a folder that is not empty
};

struct EvaluateSlidesSummary {
  bool survival = false;
  std::vector<SlideFold> folds;  // figures of what was asked for stand where those of test do
  // One for each slide that was asked for, in the order of the dataset; failed if it failed in any
  // fold. `step` is "features", "predict" or "attention".
  std::vector<SlideOutcome> outcomes;

  Json to_json() const;
};

// A slide whose features are missing, damaged or of another width is a failed outcome, the others
// go on. A slide without coordinates has no attention file and a warning that says so.
//
// Throws as read_slide_dataset, read_clam, read_clam_split; Error(kUsage) for a fold or split that
// is not there, a net of another number of classes than the dataset, and an output that is not
// empty unless `overwrite`; kIo.
EvaluateSlidesSummary evaluate_slides(const EvaluateSlidesJob& job, Progress& progress);

}  // namespace med3d::pipeline
