// The loop that all models share: batches, scheduler, curve, early stopping, best epoch.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "med3d/core/matrix.h"
#include "med3d/nn/internal/loss.h"
#include "med3d/nn/internal/network.h"
#include "med3d/nn/internal/random_stream.h"
#include "med3d/nn/training.h"

namespace med3d::nn {

// What a model adds to the loop. An item is what has a label: a patient. It may take several rows
// of the network (the scans of a bag), whose outputs pool() turns into the item's logits.
class TrainingTask {
 public:
  virtual ~TrainingTask() = default;

  virtual std::span<const std::uint8_t> labels() const = 0;
  // Fills rows (any number, network inputs) for these items, augmentation included.
  virtual void make_batch(std::span<const std::size_t> items, std::vector<float>& rows) = 0;
  // Outputs of the batch's rows to logits of its items, and the gradient back. By default a row is
  // an item.
  virtual void pool(std::span<const float> outputs, std::vector<float>& logits);
  virtual void pool_gradient(std::span<const float> outputs,
                             std::span<const float> logit_gradient,
                             std::vector<float>& output_gradient);

  // Validation labels (empty = no validation) and their logits under the network as it is.
  virtual std::span<const std::uint8_t> validation_labels() const = 0;
  virtual std::vector<float> validation_logits(const Network& network) const = 0;
};

// Trains `network` in place and leaves it at the epoch that options.select names.
// Throws Error(kUsage) where an option needs a validation set and there is none, kData if
// validation labels cannot serve, kNumerical if the loss leaves the reals.
LearningCurve train(Network& network,
                    TrainingTask& task,
                    const LossSpec& loss,
                    const TrainingOptions& options);

// The items of one epoch in order, and the end of each batch within it.
std::vector<std::size_t> epoch_order(std::span<const std::uint8_t> y,
                                     TrainingOptions::Sampler sampler,
                                     RandomStream& random);
std::vector<std::size_t> batch_ends(std::size_t n, std::size_t batch_size);

// Standard deviation (of the population, n in the divisor) of each column.
std::vector<float> column_sd(const Matrix<float>& x);

// x (n, inputs) of a fit or a prediction: not empty, as wide as expected, all finite; `what` begins
// the message. Throws Error(kData).
void check_rows(const Matrix<float>& x, std::size_t inputs, const char* what);

}  // namespace med3d::nn
