// The loops of the nets that are no matrix products: each runs once over a block of patches while
// it lies in the cache. Compiled for several instruction sets that all give the same bits: sums run
// in a fixed order, products are not fused into them.
//
// Activations h are stored as T = float, or bf16 bits (std::uint16_t).
#pragma once

#include <cstddef>
#include <cstdint>

namespace med3d::mil::internal {

// Which activations are set to zero: element i is dropped where hash(key, i) mod 2^16 < threshold;
// the others are multiplied by scale = 1 / (1 - p). The pattern depends on the key alone, not on
// the order in which blocks are done.
struct Dropout {
  std::uint32_t key = 0;
  std::uint32_t threshold = 0;  // 0 = none is dropped
  float scale = 1.0F;
};
Dropout make_dropout(double p, std::uint64_t seed);

// h = dropout(z); z (rows, width) after its ReLU; first = index of the block's first element.
void drop_hidden(const float* z, float* h, std::size_t n, std::size_t first, Dropout dropout);
void drop_hidden(
    const float* z, std::uint16_t* h, std::size_t n, std::size_t first, Dropout dropout);

// The attention branch between its two linear layers.
struct Gate {
  std::size_t width = 0;  // D
  std::size_t heads = 0;  // K
  bool gated = true;
  const float* bias = nullptr;    // (2D) of a and b, (D) when not gated
  const float* weight = nullptr;  // (K, D)
  Dropout dropout;

  std::size_t inputs() const { return gated ? 2 * width : width; }
};

// t = tanh(a + bias), s = sigmoid(b + bias), g = dropout(t) dropout(s) (or dropout(t)),
// score[k stride + row] = sum_d weight[k, d] g_d. pre (rows, inputs) is overwritten by t and s; a
// dropped one is stored as 2, which neither can be. g (width) is scratch.
void gate(const Gate& net,
          float* pre,
          std::size_t rows,
          std::size_t first,
          float* score,
          std::size_t stride,
          float* g);

// From d loss / d score: what flows into the branch's first layer, (rows, inputs), and its sums.
// weight_sum (K, D) and bias_sum (inputs) are added to. t and s as gate() left them; d_pre may be
// the same memory for float. scratch (2 inputs).
void gate_backward(const Gate& net,
                   const float* t_s,
                   std::size_t rows,
                   const float* d_score,
                   std::size_t stride,
                   float* d_pre,
                   float* weight_sum,
                   float* bias_sum,
                   float* scratch);
void gate_backward(const Gate& net,
                   const float* t_s,
                   std::size_t rows,
                   const float* d_score,
                   std::size_t stride,
                   std::uint16_t* d_pre,
                   float* weight_sum,
                   float* bias_sum,
                   float* scratch);

// sum += weight * h and the dot product of a row.
void add_scaled(float weight, const float* h, float* sum, std::size_t n);
void add_scaled(float weight, const std::uint16_t* h, float* sum, std::size_t n);
float dot(const float* h, const float* v, std::size_t n);
float dot(const std::uint16_t* h, const float* v, std::size_t n);

// One row of h: d (n) is d loss / d h; where h is zero nothing flows back, elsewhere d * scale.
// bias_sum (n) is added to.
void hidden_backward(
    const float* d, const float* h, std::size_t n, float scale, float* out, float* bias_sum);
void hidden_backward(const float* d,
                     const std::uint16_t* h,
                     std::size_t n,
                     float scale,
                     std::uint16_t* out,
                     float* bias_sum);

// One step of an optimiser over flat arrays. `copy` (n), where given, gets the parameters as bf16.
//
// Adam as torch.optim.Adam: g + decay p; beta 0.9, 0.999; eps 1e-8; t from 1.
void adam(float* p,
          const float* gradient,
          float* m,
          float* v,
          std::uint16_t* copy,
          std::size_t n,
          std::int64_t t,
          double rate,
          double decay);
// Momentum 0.9 as torch.optim.SGD: m = g at the first step, then 0.9 m + g; p -= rate m.
void sgd(float* p,
         const float* gradient,
         float* m,
         std::uint16_t* copy,
         std::size_t n,
         std::int64_t t,
         double rate,
         double decay);

}  // namespace med3d::mil::internal
