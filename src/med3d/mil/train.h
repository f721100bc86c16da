// Training of CLAM and its relatives: one slide a step, as CLAM trains.
//
//   each epoch   every training slide once in a new order, or (weighted_sample) as many drawn with
//                replacement, each with weight N / n_class; then the loss of the validation slides
//   stop         early_stopping: when the validation loss has not been lower for `patience` epochs
//                and epoch > stop_epoch (epochs from 0); the net of the lowest loss is kept.
//                Without, the last net is.
//
// Everything random comes from (seed, epoch, step): the same bags and options give the same bytes
// at any number of threads, and a training that goes on from a TrainingState ends as one that was
// never interrupted. The next bag is read while a step runs; at most two are in memory.
//
// Source: mahmoodlab/CLAM utils/core_utils.py.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "med3d/mil/bags.h"
#include "med3d/mil/clam.h"

namespace med3d::mil {

struct EpochRecord {
  int epoch = 0;  // from 0
  // Means over the epoch's steps, in training mode and while the weights move.
  double training_loss = 0.0;  // of the bag
  double training_instance_loss = 0.0;
  double training_error = 0.0;   // share of wrong Y_hat
  double validation_loss = 0.0;  // of the bag; NaN without validation
  double validation_error = 0.0;
  bool best = false;  // lowest validation loss so far

  friend bool operator==(const EpochRecord&, const EpochRecord&) = default;
};

// All that a training needs to go on after `curve.size()` epochs.
struct TrainingState {
  std::vector<float> parameters;
  OptimiserState optimiser;
  std::vector<float> best_parameters;  // empty without early stopping
  double best_loss = 0.0;
  int epochs_without_gain = 0;
  std::uint64_t steps = 0;
  bool stopped = false;
  std::vector<EpochRecord> curve;
};

struct TrainingTask {
  const BagSource* bags = nullptr;
  std::vector<Target> targets;          // (bags->count())
  std::vector<std::size_t> training;    // rows of the above
  std::vector<std::size_t> validation;  // may be empty without early stopping
};

// Called after each epoch; false ends the training there (it can go on from the state later).
using AfterEpoch = std::function<bool(const TrainingState&)>;

struct TrainedClam {
  Clam net;
  TrainingState state;  // of the last epoch
};

// Trains from fresh weights, or goes on from `from`.
//
// Throws Error(kUsage) for rows beyond the bags, no training rows, early stopping without
// validation, a state of another net; kNumerical when a logit is not finite, naming the epoch; and
// what reading a bag throws, with its number.
TrainedClam train_clam(const ClamOptions& options,
                       const TrainingTask& task,
                       const AfterEpoch& after_epoch = {},
                       const TrainingState* from = nullptr);

// The slides that epoch `epoch` walks through, in order.
std::vector<std::size_t> epoch_order(const ClamOptions& options,
                                     const TrainingTask& task,
                                     int epoch);

struct BagPrediction {
  std::size_t row = 0;
  Target target;
  std::vector<float> logits;
  std::vector<double> probabilities;
  int predicted = 0;
  double risk = 0.0;
  double bag_loss = 0.0;
};

// What a net says of slides, in the order of `rows`.
std::vector<BagPrediction> predict_bags(Clam& net,
                                        const TrainingTask& task,
                                        std::span<const std::size_t> rows);

// The state as one file, and back. `options` and the slides are part of it: a state of another
// training is refused.
//
// Throws Error(kFormat) for a damaged file, Error(kData) for one of other options or slides.
std::string training_state_bytes(const TrainingState& state,
                                 const ClamOptions& options,
                                 const TrainingTask& task);
TrainingState parse_training_state(std::string_view bytes,
                                   const ClamOptions& options,
                                   const TrainingTask& task,
                                   const std::string& source);

// "epoch,training_loss,...": one line an epoch.
std::string curve_csv(std::span<const EpochRecord> curve);

}  // namespace med3d::mil
