#include "med3d/nn/internal/adam.h"

#include <cmath>

namespace med3d::nn {
namespace {

// Compiled once more for AVX2 and chosen at run time: the step is bound by square roots and
// divisions, of which AVX2 does twice as many at a time. No fused multiply-add (the build turns
// contraction off for this file), so both give the same bits.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__)
__attribute__((target_clones("default", "avx2")))
#endif
void update(float* __restrict p,
            const float* __restrict gradient,
            float* __restrict m,
            float* __restrict v,
            std::size_t n,
            float step,
            float inverse_root,
            float weight_decay) {
  constexpr float kBeta1 = static_cast<float>(kAdamBeta1);
  constexpr float kBeta2 = static_cast<float>(kAdamBeta2);
  constexpr float kRest1 = static_cast<float>(1.0 - kAdamBeta1);
  constexpr float kRest2 = static_cast<float>(1.0 - kAdamBeta2);
  constexpr float kEpsilon = static_cast<float>(kAdamEpsilon);
  for (std::size_t i = 0; i < n; ++i) {
    const float g = gradient[i] + weight_decay * p[i];
    m[i] = kBeta1 * m[i] + kRest1 * g;
    v[i] = kBeta2 * v[i] + kRest2 * (g * g);
    p[i] -= step * (m[i] / (std::sqrt(v[i]) * inverse_root + kEpsilon));
  }
}

}  // namespace

void adam_step(float* parameters,
               const float* gradient,
               float* m,
               float* v,
               std::size_t n,
               std::int64_t t,
               double learning_rate,
               double weight_decay) {
  const double correction1 = 1.0 - std::pow(kAdamBeta1, static_cast<double>(t));
  const double correction2 = 1.0 - std::pow(kAdamBeta2, static_cast<double>(t));
  update(parameters,
         gradient,
         m,
         v,
         n,
         static_cast<float>(learning_rate / correction1),
         static_cast<float>(1.0 / std::sqrt(correction2)),
         static_cast<float>(weight_decay));
}

}  // namespace med3d::nn
