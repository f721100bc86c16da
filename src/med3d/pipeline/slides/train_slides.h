// CLAM's main.py: a net for each split of a cross-validation, in a folder that a killed run goes on
// from.
//
//   run.json                 key, program, options, classes: what the run is
//   splits_i.csv             the split that was used
//   intervals_i.csv          survival: where time was cut, from the training side of that split
//   s_i_checkpoint.pt        the net, as CLAM loads it
//   curve_i.csv              loss of each epoch
//   fold_i.csv               what the net says of the test slides; fold_i_val.csv of the validation
//   summary.csv              figures of each fold with intervals; summary_partial_a_b.csv of some
//   folds/fold_i.json        a finished fold: what it was made of, and what its files must be
//   folds/training_i-<key>.safetensors   a fold at work: all that the next epoch needs
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "med3d/core/json.h"
#include "med3d/core/progress.h"
#include "med3d/mil/clam.h"
#include "med3d/mil/clam_files.h"
#include "med3d/mil/train.h"
#include "med3d/pipeline/slides/slide_dataset.h"

namespace med3d::pipeline {

struct TrainSlidesJob {
  std::filesystem::path features;    // as feature_files_by_slide
  std::filesystem::path dataset;     // as read_slide_dataset
  std::filesystem::path splits;      // folder of splits_i.csv
  std::filesystem::path output;      // the run folder
  std::vector<std::string> classes;  // names of the labels in order; empty: as the dataset says
  SurvivalColumns survival;
  // n_classes and embed_dim are taken from the data; survival makes bag_loss nll_surv and trains no
  // instance clusters, as there are no classes to cluster by.
  mil::ClamOptions options;
  std::size_t embed_dim = 0;  // that the features must have; 0 = any
  int k = 0;                  // splits 0 .. k - 1; 0 = as many as the folder holds
  int k_start = -1;           // the first one to train, -1 = 0
  int k_end = -1;             // the one after the last, -1 = k
  bool overwrite = false;     // replace what another run left
  bool dry_run = false;       // look at everything, train nothing
};

// What is known of one side (val, test) of a survival fold. There is no concordance index here.
struct SurvivalFigures {
  std::size_t slides = 0;
  std::size_t events = 0;  // slides of patients with an event
  double mean_loss = 0.0;  // negative log-likelihood a slide; NaN without slides
};

struct SlideFold {
  int fold = 0;
  std::size_t training = 0;  // slides
  int epochs = 0;
  bool taken_over = false;    // was finished before
  mil::FoldSummary figures;   // of a classification
  std::size_t positives = 0;  // test slides of class 1, of two classes
  SurvivalFigures val, test;
};

struct TrainSlidesSummary {
  bool survival = false;
  std::vector<std::string> classes;
  std::size_t slides = 0;  // in any of the splits
  std::size_t embed_dim = 0;
  std::string arithmetic;  // of training, in use: "f32", "bf16"
  std::vector<SlideFold> folds;
  std::filesystem::path summary_csv;

  Json to_json() const;
};

// Trains what is not finished yet. The same inputs and options end with the same bytes, whatever
// was killed when, at any number of threads. Features are known by slide id, file name and size.
//
// Only features of slides in a split are read. All of them must be there: a net of fewer slides
// than its split says would be another net.
//
// Throws Error(kUsage) for a folder that holds another run unless `overwrite`, k_start and k_end
// out of range, a feature width other than embed_dim; kNotFound for a split or features that are
// not there; kData for fewer than two intervals' events, patients on two sides; kNumerical as
// mil::train_clam, with the fold; kIo.
TrainSlidesSummary train_slides(const TrainSlidesJob& job, Progress& progress);

// fold_i.csv of survival: slide_id,time,censored,interval,risk,s_0,s_1,...; s_j is the probability
// of no event up to the end of interval j, risk minus their sum (higher = worse).
std::string survival_fold_csv(const SlideDataset& dataset,
                              std::span<const mil::BagPrediction> predictions);

// Test slides of class 1; 0 where there are not two classes.
std::size_t count_positives(std::span<const mil::BagPrediction> predictions);

SurvivalFigures survival_figures(std::span<const mil::BagPrediction> predictions);

// What an evaluation must know of a run beyond its checkpoints.
struct SlideRun {
  std::vector<std::string> classes;
  SurvivalColumns survival;
  mil::ClamOptions options;
};
// run.json of a folder; a folder without one (CLAM's own results) gives nothing but defaults.
// Throws Error(kFormat) for a damaged one.
SlideRun read_slide_run(const std::filesystem::path& folder);

// What ends a training, or (without validation) an evaluation: the table on paper, in summary.csv
// and in JSON. Where an interval reaches one half, or a figure does not exist, it says so.
std::string fold_text(std::span<const SlideFold> folds, bool survival, bool validation);
std::string slide_summary_csv(std::span<const SlideFold> folds, bool survival, bool validation);
Json folds_json(std::span<const SlideFold> folds, bool survival, bool validation);

}  // namespace med3d::pipeline
