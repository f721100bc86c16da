#include "med3d/nn/late_fusion.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "med3d/core/error.h"
#include "med3d/core/text.h"
#include "med3d/nn/internal/adam.h"
#include "med3d/nn/internal/loss.h"

namespace med3d::nn {
namespace {

constexpr double kClip = 1e-7;

void check_table(const Matrix<double>& probability, const Matrix<std::uint8_t>& present) {
  if (probability.rows() == 0 || probability.cols() == 0) {
    throw Error(ErrorKind::kData, "late fusion: no probabilities");
  }
  if (probability.rows() != present.rows() || probability.cols() != present.cols()) {
    throw Error(ErrorKind::kData,
                "late fusion: probabilities are " + std::to_string(probability.rows()) + " x " +
                    std::to_string(probability.cols()) + " but the mask is " +
                    std::to_string(present.rows()) + " x " + std::to_string(present.cols()));
  }
  for (std::size_t i = 0; i < probability.rows(); ++i) {
    bool any = false;
    for (std::size_t k = 0; k < probability.cols(); ++k) {
      if (present(i, k) == 0) continue;
      any = true;
      const double p = probability(i, k);
      if (!(p >= 0.0 && p <= 1.0)) {
        throw Error(ErrorKind::kData,
                    "late fusion: row " + std::to_string(i) + ", modality " + std::to_string(k) +
                        ": probability " + format_double(p) + ", expected a number in [0, 1]");
      }
    }
    if (!any) {
      throw Error(ErrorKind::kData,
                  "late fusion: row " + std::to_string(i) + " has no modality present");
    }
  }
}

struct Sums {
  double weight = 0.0;
  double weighted = 0.0;
};

Sums sums(const Matrix<double>& probability,
          const Matrix<std::uint8_t>& present,
          std::size_t row,
          std::span<const double> weights) {
  Sums result;
  for (std::size_t k = 0; k < probability.cols(); ++k) {
    if (present(row, k) == 0) continue;
    result.weight += weights[k];
    result.weighted += weights[k] * probability(row, k);
  }
  return result;
}

}  // namespace

std::vector<double> weighted_sum(const Matrix<double>& probability,
                                 const Matrix<std::uint8_t>& present,
                                 std::span<const double> weights) {
  check_table(probability, present);
  if (weights.size() != probability.cols()) {
    throw Error(ErrorKind::kData,
                "late fusion: " + std::to_string(weights.size()) + " weights for " +
                    std::to_string(probability.cols()) + " modalities");
  }
  for (std::size_t k = 0; k < weights.size(); ++k) {
    if (!(weights[k] >= 0.0 && std::isfinite(weights[k]))) {
      throw Error(ErrorKind::kData,
                  "late fusion: weight of modality " + std::to_string(k) + " is " +
                      format_double(weights[k]) + ", expected a finite number >= 0");
    }
  }
  const std::vector<double> equal(weights.size(), 1.0);
  std::vector<double> fused(probability.rows());
  for (std::size_t i = 0; i < fused.size(); ++i) {
    Sums s = sums(probability, present, i, weights);
    if (!(s.weight > 0.0)) s = sums(probability, present, i, equal);
    fused[i] = std::clamp(s.weighted / s.weight, 0.0, 1.0);
  }
  return fused;
}

std::vector<double> rule_weights(std::span<const double> balanced_accuracy, WeightRule rule) {
  std::vector<double> weights;
  for (std::size_t k = 0; k < balanced_accuracy.size(); ++k) {
    const double accuracy = balanced_accuracy[k];
    if (!(accuracy >= 0.0 && accuracy <= 1.0)) {
      throw Error(ErrorKind::kData,
                  "late fusion: balanced accuracy of modality " + std::to_string(k) + " is " +
                      format_double(accuracy) + ", expected a number in [0, 1]");
    }
    weights.push_back(rule == WeightRule::kAboveChance ? std::max(accuracy - 0.5, 0.0) : accuracy);
  }
  return weights;
}

void LearnedWeightsOptions::validate() const {
  const auto check = [](const char* field, double value, bool allowed, const char* expected) {
    if (allowed) return;
    throw Error(ErrorKind::kUsage,
                std::string("learned weights option ") + field + " is " + format_double(value) +
                    ", expected " + expected);
  };
  check("steps", steps, steps >= 1, "at least 1");
  check("learning_rate",
        learning_rate,
        learning_rate > 0.0 && learning_rate <= 10.0,
        "a number in (0, 10]");
  check("l2", l2, l2 >= 0.0 && std::isfinite(l2), "a finite number >= 0");
}

double learned_weights_objective(const Matrix<double>& probability,
                                 const Matrix<std::uint8_t>& present,
                                 std::span<const std::uint8_t> y,
                                 const LearnedWeightsOptions& options,
                                 std::span<const double> theta,
                                 std::span<double> gradient) {
  const std::size_t modalities = theta.size();
  std::vector<double> weights(modalities);
  for (std::size_t k = 0; k < modalities; ++k) weights[k] = sigmoid(theta[k]);
  std::array<double, 2> count = {0.0, 0.0};
  for (const std::uint8_t label : y) count[label] += 1.0;
  const double n = count[0] + count[1];

  double loss = 0.0;
  std::fill(gradient.begin(), gradient.end(), 0.0);
  for (std::size_t i = 0; i < y.size(); ++i) {
    const double share = options.class_weights ? 1.0 / (2.0 * count[y[i]]) : 1.0 / n;
    const Sums s = sums(probability, present, i, weights);
    const double raw = s.weighted / s.weight;
    const double p = std::clamp(raw, kClip, 1.0 - kClip);
    loss -= share * std::log(y[i] == 1 ? p : 1.0 - p);
    if (raw != p) continue;  // clipped: the loss is flat there
    const double slope = share * (y[i] == 1 ? -1.0 / p : 1.0 / (1.0 - p));
    for (std::size_t k = 0; k < modalities; ++k) {
      if (present(i, k) == 0) continue;
      // dp / dw_k = (p_k - p) / sum(m w),  dw / dtheta = w (1 - w)
      gradient[k] += slope * (probability(i, k) - p) / s.weight * weights[k] * (1.0 - weights[k]);
    }
  }
  for (std::size_t k = 0; k < modalities; ++k) {
    loss += options.l2 * theta[k] * theta[k];
    gradient[k] += 2.0 * options.l2 * theta[k];
  }
  return loss;
}

std::vector<double> learn_weights(const Matrix<double>& probability,
                                  const Matrix<std::uint8_t>& present,
                                  std::span<const std::uint8_t> y,
                                  const LearnedWeightsOptions& options) {
  options.validate();
  check_table(probability, present);
  if (y.size() != probability.rows()) {
    throw Error(ErrorKind::kData,
                "late fusion: " + std::to_string(probability.rows()) + " rows but " +
                    std::to_string(y.size()) + " labels");
  }
  make_loss({}, y);  // refuses labels that are not 0 or 1, and a single class

  const std::size_t modalities = probability.cols();
  std::vector<double> theta(modalities, 0.0);
  std::vector<double> gradient(modalities);
  std::vector<double> m(modalities, 0.0);
  std::vector<double> v(modalities, 0.0);
  for (int t = 1; t <= options.steps; ++t) {
    learned_weights_objective(probability, present, y, options, theta, gradient);
    // Falls to 0 over the run: at a constant rate Adam circles the minimum instead of settling.
    const double rate = options.learning_rate * (1.0 - (t - 1.0) / options.steps);
    for (std::size_t k = 0; k < modalities; ++k) {
      m[k] = kAdamBeta1 * m[k] + (1.0 - kAdamBeta1) * gradient[k];
      v[k] = kAdamBeta2 * v[k] + (1.0 - kAdamBeta2) * gradient[k] * gradient[k];
      const double mean = m[k] / (1.0 - std::pow(kAdamBeta1, t));
      const double root = std::sqrt(v[k] / (1.0 - std::pow(kAdamBeta2, t)));
      theta[k] -= rate * mean / (root + kAdamEpsilon);
    }
  }
  std::vector<double> weights(modalities);
  for (std::size_t k = 0; k < modalities; ++k) weights[k] = sigmoid(theta[k]);
  return weights;
}

}  // namespace med3d::nn
