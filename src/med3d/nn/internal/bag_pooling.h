// Pooling of instance outputs into bag logits, with the way back.
//
// outputs (n, 1) instance logits, or (n, 2) logit and attention score for kAttention; the instances
// of bag b are rows ends[b - 1] to ends[b] - 1.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "med3d/nn/bag_classifier.h"

namespace med3d::nn {

std::size_t output_columns(Pool pool);

// The largest logit; the first of equals.
std::size_t arg_max(std::span<const float> outputs, std::size_t begin, std::size_t end);

// softmax of the attention scores of one bag.
std::vector<double> attention_of(std::span<const float> outputs,
                                 std::size_t begin,
                                 std::size_t end);

std::vector<float> pool_bags(Pool pool,
                             std::span<const float> outputs,
                             std::span<const std::size_t> ends);

// bag_gradient (n_bags,) of the loss in the bag logits; returns that in the outputs. kMax sends it
// to the largest instance alone.
std::vector<float> pool_bags_gradient(Pool pool,
                                      std::span<const float> outputs,
                                      std::span<const std::size_t> ends,
                                      std::span<const float> bag_gradient);

}  // namespace med3d::nn
