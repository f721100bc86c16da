// Losses on plain arrays, with their gradients.
//
// Weighted cross-entropy, two logits, classes c in {0, 1}, smoothing s, q = log softmax(z):
//
//   L = ( sum_i  -(1 - s) w[y_i] q[i, y_i]  -  (s / 2) sum_c w[c] q[i, c] ) / sum_i w[y_i]
//
// as torch.nn.CrossEntropyLoss(weight=w, label_smoothing=s) has it: the smoothed part, too, is
// divided by the weights of the labels. Binary cross-entropy, one logit, t = y (1 - s) + s / 2:
//
//   L = mean_i  pos_weight t_i softplus(-z_i) + (1 - t_i) softplus(z_i)
//
// Checked against: hand values (loss_test.cc), torch 1.13 (tests/reference/losses.py).
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "med3d/nn/training.h"

namespace med3d::nn {

struct LossSpec {
  TrainingOptions::Loss kind = TrainingOptions::Loss::kWeightedCrossEntropy;
  std::array<double, 2> weight = {1.0, 1.0};
  double pos_weight = 1.0;
  double smoothing = 0.0;

  std::size_t columns() const {
    return kind == TrainingOptions::Loss::kWeightedCrossEntropy ? 2 : 1;
  }
};

// Class weights from the training labels. Throws Error(kData) if one class is missing or a label
// is neither 0 nor 1.
LossSpec make_loss(const TrainingOptions& options, std::span<const std::uint8_t> y);

// logits (n, columns()); gradient of the same size, or empty where it is not wanted.
double loss_and_gradient(const LossSpec& spec,
                         std::span<const float> logits,
                         std::span<const std::uint8_t> y,
                         std::span<float> gradient);

// P(positive) of one row of logits.
double probability(const LossSpec& spec, const float* logits);
double sigmoid(double z);
double softplus(double z);  // log(1 + e^z), stable

}  // namespace med3d::nn
