// One step of Adam over flat arrays, in one pass.
//
//   g <- g + weight_decay * p
//   m <- beta1 * m + (1 - beta1) * g          v <- beta2 * v + (1 - beta2) * g^2
//   p <- p - learning_rate / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps)
//
// with beta1 = 0.9, beta2 = 0.999, eps = 1e-8. Weight decay is added to the gradient, as
// torch.optim.Adam does (not AdamW), for every parameter, biases and batch norm included.
//
// parameters, m, v (n,) updated; gradient (n,) read; t the number of this step, from 1.
//
// Source: Kingma and Ba, ICLR 2015, arXiv:1412.6980.
// Checked against: torch.optim.Adam 1.13 (tests/reference/mlp_steps.py).
#pragma once

#include <cstddef>
#include <cstdint>

namespace med3d::nn {

inline constexpr double kAdamBeta1 = 0.9;
inline constexpr double kAdamBeta2 = 0.999;
inline constexpr double kAdamEpsilon = 1e-8;

void adam_step(float* parameters,
               const float* gradient,
               float* m,
               float* v,
               std::size_t n,
               std::int64_t t,
               double learning_rate,
               double weight_decay);

}  // namespace med3d::nn
