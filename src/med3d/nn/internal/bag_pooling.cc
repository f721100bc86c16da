#include "med3d/nn/internal/bag_pooling.h"

#include <algorithm>
#include <cmath>

#include "med3d/nn/internal/loss.h"

namespace med3d::nn {

std::size_t output_columns(Pool pool) { return pool == Pool::kAttention ? 2 : 1; }

std::size_t arg_max(std::span<const float> outputs, std::size_t begin, std::size_t end) {
  std::size_t best = begin;
  for (std::size_t i = begin + 1; i < end; ++i) {
    if (outputs[i] > outputs[best]) best = i;
  }
  return best;
}

std::vector<double> attention_of(std::span<const float> outputs,
                                 std::size_t begin,
                                 std::size_t end) {
  double largest = outputs[2 * begin + 1];
  for (std::size_t i = begin; i < end; ++i) {
    largest = std::max(largest, static_cast<double>(outputs[2 * i + 1]));
  }
  std::vector<double> weights;
  double sum = 0.0;
  for (std::size_t i = begin; i < end; ++i) {
    weights.push_back(std::exp(outputs[2 * i + 1] - largest));
    sum += weights.back();
  }
  for (double& weight : weights) weight /= sum;
  return weights;
}

std::vector<float> pool_bags(Pool pool,
                             std::span<const float> outputs,
                             std::span<const std::size_t> ends) {
  std::vector<float> logits;
  std::size_t begin = 0;
  for (const std::size_t end : ends) {
    double z = 0.0;
    switch (pool) {
      case Pool::kMax:
        z = outputs[arg_max(outputs, begin, end)];
        break;
      case Pool::kMean:
        for (std::size_t i = begin; i < end; ++i) z += outputs[i];
        z /= static_cast<double>(end - begin);
        break;
      case Pool::kNoisyOr: {
        // With L = -log prod(1 - p_i) = sum softplus(s_i), the bag's P is 1 - e^-L, whose logit is
        // log(e^L - 1): finite where 1 - P or P would round to 0.
        double sum = 0.0;
        for (std::size_t i = begin; i < end; ++i) sum += softplus(outputs[i]);
        z = sum + std::log(-std::expm1(-sum));
        break;
      }
      case Pool::kAttention: {
        const std::vector<double> a = attention_of(outputs, begin, end);
        for (std::size_t i = begin; i < end; ++i) z += a[i - begin] * outputs[2 * i];
        break;
      }
    }
    logits.push_back(static_cast<float>(z));
    begin = end;
  }
  return logits;
}

std::vector<float> pool_bags_gradient(Pool pool,
                                      std::span<const float> outputs,
                                      std::span<const std::size_t> ends,
                                      std::span<const float> bag_gradient) {
  std::vector<float> gradient(outputs.size(), 0.0F);
  std::size_t begin = 0;
  for (std::size_t b = 0; b < ends.size(); ++b) {
    const std::size_t end = ends[b];
    const double g = bag_gradient[b];
    switch (pool) {
      case Pool::kMax:
        gradient[arg_max(outputs, begin, end)] = bag_gradient[b];
        break;
      case Pool::kMean:
        for (std::size_t i = begin; i < end; ++i) {
          gradient[i] = static_cast<float>(g / static_cast<double>(end - begin));
        }
        break;
      case Pool::kNoisyOr: {
        double sum = 0.0;
        for (std::size_t i = begin; i < end; ++i) sum += softplus(outputs[i]);
        // dz/dL = e^L / (e^L - 1) = 1 / (1 - e^-L), dL/ds_i = sigmoid(s_i)
        const double slope = g / -std::expm1(-sum);
        for (std::size_t i = begin; i < end; ++i) {
          gradient[i] = static_cast<float>(slope * sigmoid(outputs[i]));
        }
        break;
      }
      case Pool::kAttention: {
        const std::vector<double> a = attention_of(outputs, begin, end);
        double z = 0.0;
        for (std::size_t i = begin; i < end; ++i) z += a[i - begin] * outputs[2 * i];
        for (std::size_t i = begin; i < end; ++i) {
          gradient[2 * i] = static_cast<float>(g * a[i - begin]);
          gradient[2 * i + 1] = static_cast<float>(g * a[i - begin] * (outputs[2 * i] - z));
        }
        break;
      }
    }
    begin = end;
  }
  return gradient;
}

}  // namespace med3d::nn
