#include "med3d/mil/internal/passes.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "med3d/kernels/matmul.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__)
#define MED3D_CLONES __attribute__((target_clones("default", "avx2", "avx512f")))
#else
#define MED3D_CLONES
#endif
#define MED3D_INLINE inline __attribute__((always_inline))

namespace med3d::mil::internal {
namespace {

MED3D_INLINE float widen(float value) { return value; }
MED3D_INLINE float widen(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16U);
}
MED3D_INLINE void narrow(float value, float& out) { out = value; }
// Values here are finite: NaN need not survive.
MED3D_INLINE void narrow(float value, std::uint16_t& out) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  out = static_cast<std::uint16_t>((bits + 0x7fffU + ((bits >> 16U) & 1U)) >> 16U);
}

// Wellons' "lowbias32": every bit of the input moves every bit of the output.
MED3D_INLINE std::uint32_t hash(std::uint32_t key, std::uint32_t index) {
  std::uint32_t x = index * 0x9e3779b1U + key;
  x ^= x >> 16U;
  x *= 0x7feb352dU;
  x ^= x >> 15U;
  x *= 0x846ca68bU;
  x ^= x >> 16U;
  return x;
}

// e^x for x <= 0, relative error below 2e-7; 0 below -87. Cephes' polynomial on [-ln 2 / 2, ln 2 /
// 2].
MED3D_INLINE float exp_of_negative(float x) {
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23: adding it rounds to a whole number
  const float bounded = x < -87.0F ? -87.0F : x;
  // NaN has no whole number: it takes that of -87, and stays NaN through r.
  const float whole = x > -87.0F ? x : -87.0F;
  const float n = (whole * 1.44269504F + kRound) - kRound;
  const float r = (bounded - n * 0.693359375F) + n * 2.12194440e-4F;
  float poly = 1.9875691500e-4F;
  poly = poly * r + 1.3981999507e-3F;
  poly = poly * r + 8.3334519073e-3F;
  poly = poly * r + 4.1665795894e-2F;
  poly = poly * r + 1.6666665459e-1F;
  poly = poly * r + 5.0000001201e-1F;
  poly = poly * (r * r) + r + 1.0F;
  const std::int32_t exponent = (static_cast<std::int32_t>(n) + 127) * (1 << 23);
  return poly * std::bit_cast<float>(exponent);
}

MED3D_INLINE float sigmoid(float x) {
  const float e = exp_of_negative(-std::abs(x));
  return (x >= 0.0F ? 1.0F : e) / (1.0F + e);
}

// Cephes' tanhf: a polynomial near 0, where 1 - e^{-2x} would lose its digits.
MED3D_INLINE float tanh_of(float x) {
  const float size = std::abs(x);
  const float e = exp_of_negative(-2.0F * size);
  const float far = (1.0F - e) / (1.0F + e);
  const float z = x * x;
  float poly = -5.70498872745e-3F;
  poly = poly * z + 2.06390887954e-2F;
  poly = poly * z - 5.37397155531e-2F;
  poly = poly * z + 1.33314422036e-1F;
  poly = poly * z - 3.33332819422e-1F;
  const float near = poly * z * x + x;
  const float signed_far = x < 0.0F ? -far : far;
  return size < 0.625F ? near : signed_far;
}

constexpr float kDropped = 2.0F;

template <class T>
MED3D_INLINE void drop_hidden_of(
    const float* z, T* h, std::size_t n, std::size_t first, Dropout d) {
  if (d.threshold == 0) {
    for (std::size_t i = 0; i < n; ++i) narrow(z[i], h[i]);
    return;
  }
  const auto start = static_cast<std::uint32_t>(first);
#pragma GCC ivdep
  for (std::size_t i = 0; i < n; ++i) {
    const bool keep = (hash(d.key, start + static_cast<std::uint32_t>(i)) & 0xffffU) >= d.threshold;
    narrow(keep ? z[i] * d.scale : 0.0F, h[i]);
  }
}

// Sums in 16 lanes, added pairwise at the end.
template <class T>
MED3D_INLINE float dot_of(const T* h, const float* v, std::size_t n) {
  float lane[16] = {};
  std::size_t i = 0;
  for (; i + 16 <= n; i += 16) {
    for (std::size_t l = 0; l < 16; ++l) lane[l] += widen(h[i + l]) * v[i + l];
  }
  for (std::size_t l = 0; i + l < n; ++l) lane[l] += widen(h[i + l]) * v[i + l];
  for (std::size_t step = 8; step > 0; step /= 2) {
    for (std::size_t l = 0; l < step; ++l) lane[l] += lane[l + step];
  }
  return lane[0];
}

template <class T>
MED3D_INLINE void gate_backward_of(const Gate& net,
                                   const float* t_s,
                                   std::size_t rows,
                                   const float* d_score,
                                   std::size_t stride,
                                   T* d_pre,
                                   float* weight_sum,
                                   float* bias_sum,
                                   float* scratch) {
  const std::size_t width = net.width;
  const std::size_t inputs = net.inputs();
  const float scale = net.dropout.scale;
  float* __restrict d_g = scratch;
  float* __restrict out = scratch + inputs;
  for (std::size_t row = 0; row < rows; ++row) {
    const float* t = t_s + row * inputs;
    const float* s = t + width;
    for (std::size_t d = 0; d < width; ++d) d_g[d] = d_score[row] * net.weight[d];
    for (std::size_t k = 1; k < net.heads; ++k) {
      const float slope = d_score[k * stride + row];
      for (std::size_t d = 0; d < width; ++d) d_g[d] += slope * net.weight[k * width + d];
    }
    if (net.gated) {
      for (std::size_t d = 0; d < width; ++d) {
        const float keep_t = t[d] <= 1.0F ? scale : 0.0F;
        const float keep_s = s[d] <= 1.0F ? scale : 0.0F;
        const float dropped_t = t[d] * keep_t;
        const float dropped_s = s[d] * keep_s;
        out[d] = d_g[d] * dropped_s * (keep_t * (1.0F - t[d] * t[d]));
        out[width + d] = d_g[d] * dropped_t * (dropped_s * (1.0F - s[d]));
        d_g[d] = dropped_t * dropped_s;  // from here on g itself
      }
    } else {
      for (std::size_t d = 0; d < width; ++d) {
        const float keep = t[d] <= 1.0F ? scale : 0.0F;
        out[d] = d_g[d] * (keep * (1.0F - t[d] * t[d]));
        d_g[d] = t[d] * keep;
      }
    }
    for (std::size_t k = 0; k < net.heads; ++k) {
      const float slope = d_score[k * stride + row];
      float* sum = weight_sum + k * width;
      for (std::size_t d = 0; d < width; ++d) sum[d] += slope * d_g[d];
    }
    T* to = d_pre + row * inputs;
    for (std::size_t d = 0; d < inputs; ++d) {
      bias_sum[d] += out[d];
      narrow(out[d], to[d]);
    }
  }
}

template <class T>
MED3D_INLINE void hidden_backward_of(
    const float* d, const T* h, std::size_t n, float scale, T* out, float* bias_sum) {
#pragma GCC ivdep
  for (std::size_t i = 0; i < n; ++i) {
    const float value = widen(h[i]) != 0.0F ? d[i] * scale : 0.0F;
    bias_sum[i] += value;
    narrow(value, out[i]);
  }
}

}  // namespace

Dropout make_dropout(double p, std::uint64_t seed) {
  Dropout out;
  if (p <= 0.0) return out;
  out.key = static_cast<std::uint32_t>(seed ^ (seed >> 32U));
  out.threshold = static_cast<std::uint32_t>(std::lround(p * 65536.0));
  out.scale = static_cast<float>(1.0 / (1.0 - p));
  return out;
}

MED3D_CLONES void drop_hidden(
    const float* z, float* h, std::size_t n, std::size_t first, Dropout dropout) {
  drop_hidden_of(z, h, n, first, dropout);
}
MED3D_CLONES void drop_hidden(
    const float* z, std::uint16_t* h, std::size_t n, std::size_t first, Dropout dropout) {
  drop_hidden_of(z, h, n, first, dropout);
}

MED3D_CLONES void gate(const Gate& net,
                       float* pre,
                       std::size_t rows,
                       std::size_t first,
                       float* score,
                       std::size_t stride,
                       float* __restrict g) {
  const std::size_t width = net.width;
  const std::size_t inputs = net.inputs();
  const float scale = net.dropout.scale;
  const std::uint32_t threshold = net.dropout.threshold;
  const std::uint32_t key = net.dropout.key;
  for (std::size_t row = 0; row < rows; ++row) {
    float* t = pre + row * inputs;
    float* s = t + width;
    const auto start = static_cast<std::uint32_t>((first + row) * width);
    // One hash for both: its low half is for t, its high half for s.
    if (net.gated) {
#pragma GCC ivdep
      for (std::size_t d = 0; d < width; ++d) {
        const std::uint32_t draw = hash(key, start + static_cast<std::uint32_t>(d));
        const float tanh = tanh_of(t[d] + net.bias[d]);
        const float sig = sigmoid(s[d] + net.bias[width + d]);
        const bool keep_t = (draw & 0xffffU) >= threshold;
        const bool keep_s = (draw >> 16U) >= threshold;
        t[d] = keep_t ? tanh : kDropped;
        s[d] = keep_s ? sig : kDropped;
        g[d] = (keep_t ? tanh * scale : 0.0F) * (keep_s ? sig * scale : 0.0F);
      }
    } else {
#pragma GCC ivdep
      for (std::size_t d = 0; d < width; ++d) {
        const std::uint32_t draw = hash(key, start + static_cast<std::uint32_t>(d));
        const float tanh = tanh_of(t[d] + net.bias[d]);
        const bool keep = (draw & 0xffffU) >= threshold;
        t[d] = keep ? tanh : kDropped;
        g[d] = keep ? tanh * scale : 0.0F;
      }
    }
    for (std::size_t k = 0; k < net.heads; ++k) {
      score[k * stride + row] = dot_of(g, net.weight + k * width, width);
    }
  }
}

MED3D_CLONES void gate_backward(const Gate& net,
                                const float* t_s,
                                std::size_t rows,
                                const float* d_score,
                                std::size_t stride,
                                float* d_pre,
                                float* weight_sum,
                                float* bias_sum,
                                float* scratch) {
  gate_backward_of(net, t_s, rows, d_score, stride, d_pre, weight_sum, bias_sum, scratch);
}
MED3D_CLONES void gate_backward(const Gate& net,
                                const float* t_s,
                                std::size_t rows,
                                const float* d_score,
                                std::size_t stride,
                                std::uint16_t* d_pre,
                                float* weight_sum,
                                float* bias_sum,
                                float* scratch) {
  gate_backward_of(net, t_s, rows, d_score, stride, d_pre, weight_sum, bias_sum, scratch);
}

MED3D_CLONES void add_scaled(float weight, const float* h, float* sum, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) sum[i] += weight * h[i];
}
MED3D_CLONES void add_scaled(float weight, const std::uint16_t* h, float* sum, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) sum[i] += weight * widen(h[i]);
}

MED3D_CLONES float dot(const float* h, const float* v, std::size_t n) { return dot_of(h, v, n); }
MED3D_CLONES float dot(const std::uint16_t* h, const float* v, std::size_t n) {
  return dot_of(h, v, n);
}

MED3D_CLONES void hidden_backward(
    const float* d, const float* h, std::size_t n, float scale, float* out, float* bias_sum) {
  hidden_backward_of(d, h, n, scale, out, bias_sum);
}
MED3D_CLONES void hidden_backward(const float* d,
                                  const std::uint16_t* h,
                                  std::size_t n,
                                  float scale,
                                  std::uint16_t* out,
                                  float* bias_sum) {
  hidden_backward_of(d, h, n, scale, out, bias_sum);
}

namespace {

struct AdamStep {
  float step, inverse_root, decay;
};

MED3D_INLINE float adam_element(float p, float gradient, float& m, float& v, const AdamStep& s) {
  constexpr auto kRest1 = static_cast<float>(1.0 - 0.9);
  constexpr auto kRest2 = static_cast<float>(1.0 - 0.999);
  const float g = gradient + s.decay * p;
  m = 0.9F * m + kRest1 * g;
  v = 0.999F * v + kRest2 * (g * g);
  return p - s.step * (m / (std::sqrt(v) * s.inverse_root + 1e-8F));
}

}  // namespace

MED3D_CLONES void adam(float* __restrict p,
                       const float* __restrict gradient,
                       float* __restrict m,
                       float* __restrict v,
                       std::uint16_t* __restrict copy,
                       std::size_t n,
                       std::int64_t t,
                       double rate,
                       double decay) {
  const AdamStep s{
      static_cast<float>(rate / (1.0 - std::pow(0.9, static_cast<double>(t)))),
      static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(0.999, static_cast<double>(t)))),
      static_cast<float>(decay)};
  if (copy == nullptr) {
    for (std::size_t i = 0; i < n; ++i) p[i] = adam_element(p[i], gradient[i], m[i], v[i], s);
  } else {
    for (std::size_t i = 0; i < n; ++i) {
      p[i] = adam_element(p[i], gradient[i], m[i], v[i], s);
      narrow(p[i], copy[i]);
    }
  }
}

MED3D_CLONES void sgd(float* __restrict p,
                      const float* __restrict gradient,
                      float* __restrict m,
                      std::uint16_t* __restrict copy,
                      std::size_t n,
                      std::int64_t t,
                      double rate,
                      double decay) {
  const auto step = static_cast<float>(rate);
  const auto weight_decay = static_cast<float>(decay);
  const float keep = t == 1 ? 0.0F : 0.9F;
  for (std::size_t i = 0; i < n; ++i) {
    m[i] = keep * m[i] + (gradient[i] + weight_decay * p[i]);
    p[i] -= step * m[i];
  }
  if (copy != nullptr) to_bf16({p, n}, copy);
}

}  // namespace med3d::mil::internal
