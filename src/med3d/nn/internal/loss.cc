#include "med3d/nn/internal/loss.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "med3d/core/error.h"

namespace med3d::nn {

double sigmoid(double z) {
  // The exponent is never positive, so nothing overflows.
  const double e = std::exp(-std::abs(z));
  return z >= 0.0 ? 1.0 / (1.0 + e) : e / (1.0 + e);
}

double softplus(double z) { return std::max(z, 0.0) + std::log1p(std::exp(-std::abs(z))); }

LossSpec make_loss(const TrainingOptions& options, std::span<const std::uint8_t> y) {
  std::array<double, 2> count = {0.0, 0.0};
  for (std::size_t i = 0; i < y.size(); ++i) {
    if (y[i] > 1) {
      throw Error(ErrorKind::kData,
                  "training label of row " + std::to_string(i) + " is " + std::to_string(y[i]) +
                      ", expected 0 or 1");
    }
    count[y[i]] += 1.0;
  }
  if (count[0] == 0.0 || count[1] == 0.0) {
    throw Error(ErrorKind::kData,
                "the " + std::to_string(y.size()) + " training labels are all " +
                    (count[0] == 0.0 ? "1" : "0") + ", expected both classes");
  }
  LossSpec spec;
  spec.kind = options.loss;
  spec.smoothing = options.label_smoothing;
  if (options.class_weights) {
    const double n = count[0] + count[1];
    spec.weight = {n / (2.0 * count[0]), n / (2.0 * count[1])};
    spec.pos_weight = count[0] / count[1];
  }
  return spec;
}

double loss_and_gradient(const LossSpec& spec,
                         std::span<const float> logits,
                         std::span<const std::uint8_t> y,
                         std::span<float> gradient) {
  const std::size_t n = y.size();
  double loss = 0.0;
  if (spec.kind == TrainingOptions::Loss::kBce) {
    for (std::size_t i = 0; i < n; ++i) {
      const double z = logits[i];
      const double t = y[i] * (1.0 - spec.smoothing) + spec.smoothing / 2.0;
      loss += spec.pos_weight * t * softplus(-z) + (1.0 - t) * softplus(z);
      if (!gradient.empty()) {
        const double p = sigmoid(z);
        gradient[i] = static_cast<float>(((1.0 - t) * p - spec.pos_weight * t * (1.0 - p)) /
                                         static_cast<double>(n));
      }
    }
    return loss / static_cast<double>(n);
  }

  double total = 0.0;
  for (std::size_t i = 0; i < n; ++i) total += spec.weight[y[i]];
  for (std::size_t i = 0; i < n; ++i) {
    const double difference = static_cast<double>(logits[2 * i + 1]) - logits[2 * i];
    const std::array<double, 2> log_p = {-softplus(difference), -softplus(-difference)};
    // Weight that each class's log probability carries in this row.
    std::array<double, 2> share = {spec.smoothing / 2.0 * spec.weight[0],
                                   spec.smoothing / 2.0 * spec.weight[1]};
    share[y[i]] += (1.0 - spec.smoothing) * spec.weight[y[i]];
    loss -= share[0] * log_p[0] + share[1] * log_p[1];
    if (!gradient.empty()) {
      const double p1 = sigmoid(difference);
      const double slope = ((share[0] + share[1]) * p1 - share[1]) / total;
      gradient[2 * i + 1] = static_cast<float>(slope);
      gradient[2 * i] = static_cast<float>(-slope);
    }
  }
  return loss / total;
}

double probability(const LossSpec& spec, const float* logits) {
  return spec.kind == TrainingOptions::Loss::kBce
             ? sigmoid(logits[0])
             : sigmoid(static_cast<double>(logits[1]) - static_cast<double>(logits[0]));
}

}  // namespace med3d::nn
