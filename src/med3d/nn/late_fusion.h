// Late fusion: one probability from those of the modalities that a patient has.
//
//   p_i = sum_k m_ik w_k p_ik / sum_k m_ik w_k
//
// m is the availability mask. The weights are given by a rule, or learned. Only their ratios
// matter. A patient all of whose present modalities weigh nothing gets their plain mean.
//
// Source: the paper, 3.5 and 5.4.2; masks as in the public reimplementation for MMIST-ccRCC.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "med3d/core/matrix.h"

namespace med3d::nn {

// probability (n, K) in [0, 1], read only where present (n, K) is 1; weights (K,) finite, >= 0.
// Returns (n,). Throws Error(kData) if sizes differ, a weight or a present probability is out of
// range, or a row has no present modality.
std::vector<double> weighted_sum(const Matrix<double>& probability,
                                 const Matrix<std::uint8_t>& present,
                                 std::span<const double> weights);

enum class WeightRule {
  kBalancedAccuracy,  // w = balanced accuracy (the paper): a coin still weighs 0.5
  kAboveChance,       // w = max(balanced accuracy - 0.5, 0): a coin weighs nothing
};

// balanced_accuracy (K,) in [0, 1], of each modality's model on validation data, never on the test
// set. Throws Error(kData) if one is out of range or NaN (not estimable).
std::vector<double> rule_weights(std::span<const double> balanced_accuracy, WeightRule rule);

struct LearnedWeightsOptions {
  // Full-batch Adam steps with a rate that falls linearly to 0: enough for theta to travel 12, from
  // equal weights to a ratio of 400,000, should the data ask for it.
  int steps = 500;
  double learning_rate = 0.05;
  // Penalty l2 * sum theta_k^2: only ratios of weights matter, so the common level must be held,
  // and with a few dozen patients the weights should stay near equal.
  double l2 = 1e-3;
  // Each class has half of the loss (n / (2 n_c)).
  bool class_weights = true;

  // Throws Error(kUsage).
  void validate() const;
};

// Weights w_k = sigmoid(theta_k) in (0, 1) that minimise the log loss of p, from theta = 0 (equal
// weights). Deterministic; probabilities are clipped to [1e-7, 1 - 1e-7] in the loss.
//
// probability  (n, K) out-of-fold probabilities: predictions of models that did not see the patient
// present      (n, K) 1 = available
// y            (n,) in {0, 1}, both present
//
// A modality that no patient has keeps 0.5. Cost O(steps n K).
// Throws Error(kUsage | kData).
std::vector<double> learn_weights(const Matrix<double>& probability,
                                  const Matrix<std::uint8_t>& present,
                                  std::span<const std::uint8_t> y,
                                  const LearnedWeightsOptions& options = {});

// The objective of learn_weights and its gradient in theta (K,), for the test against differences.
double learned_weights_objective(const Matrix<double>& probability,
                                 const Matrix<std::uint8_t>& present,
                                 std::span<const std::uint8_t> y,
                                 const LearnedWeightsOptions& options,
                                 std::span<const double> theta,
                                 std::span<double> gradient);

}  // namespace med3d::nn
