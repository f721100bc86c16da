#include "med3d/kernels/internal/rows.h"

#include <algorithm>
#include <bit>
#include <cmath>

// Loops are written for the vectoriser ("omp simd" lets it split sums); the clones give it vectors.
// Sanitizers instrument the code that picks a clone before they are ready, so they get one.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define MED3D_VECTOR_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define MED3D_VECTOR_CLONES
#endif

namespace med3d::rows {

namespace {

inline float value_of(float x) { return x; }
inline float value_of(Bf16 x) { return std::bit_cast<float>(static_cast<std::uint32_t>(x) << 16U); }

// A quiet NaN, the only kind arithmetic makes, stays one: the addition cannot carry out of it.
inline void store(float value, Bf16& out) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  out = static_cast<Bf16>((bits + 0x7fffU + ((bits >> 16U) & 1U)) >> 16U);
}
inline void store(float value, float& out) { out = value; }

// exp(x) for x <= 0 without a branch: x = k ln 2 + r with |r| <= ln 2 / 2, Taylor's polynomial of
// degree 7 in r (remainder below 6e-9), and k added to the exponent's bits.
inline float exp_of_negative(float x) {
  constexpr float kShift = 12582912.0F;  // 1.5 * 2^23: adding it rounds to a whole number
  const float clamped = x < -87.0F ? -87.0F : x;
  const float shifted = clamped * 1.44269504F + kShift;
  const std::int32_t k = std::bit_cast<std::int32_t>(shifted) - std::bit_cast<std::int32_t>(kShift);
  const float whole = shifted - kShift;
  // ln 2 in two parts; the first has few enough bits that whole * it is exact.
  const float r = (clamped - whole * 0.693359375F) + whole * 2.12194440e-4F;
  float sum = 1.0F / 5040.0F;
  sum = sum * r + 1.0F / 720.0F;
  sum = sum * r + 1.0F / 120.0F;
  sum = sum * r + 1.0F / 24.0F;
  sum = sum * r + 1.0F / 6.0F;
  sum = sum * r + 0.5F;
  sum = sum * r + 1.0F;
  sum = sum * r + 1.0F;
  return std::bit_cast<float>(std::bit_cast<std::int32_t>(sum) + k * (1 << 23));
}

template <class Out>
[[gnu::always_inline]] inline void layer_norm_row(const float* x,
                                                  const float* __restrict gamma,
                                                  const float* __restrict beta,
                                                  float epsilon,
                                                  std::int64_t n,
                                                  Out* out) {
  float sum = 0.0F;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < n; ++i) sum += x[i];
  const float mean = sum / static_cast<float>(n);
  float squares = 0.0F;
#pragma omp simd reduction(+ : squares)
  for (std::int64_t i = 0; i < n; ++i) squares += (x[i] - mean) * (x[i] - mean);
  const float inverse = 1.0F / std::sqrt(squares / static_cast<float>(n) + epsilon);
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) store((x[i] - mean) * inverse * gamma[i] + beta[i], out[i]);
}

template <class Out>
[[gnu::always_inline]] inline void softmax_row(float* x, float scale, std::int64_t n, Out* out) {
  float largest = x[0];
#pragma omp simd reduction(max : largest)
  for (std::int64_t i = 0; i < n; ++i) largest = x[i] > largest ? x[i] : largest;
  float sum = 0.0F;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < n; ++i) {
    x[i] = exp_of_negative(scale * (x[i] - largest));
    sum += x[i];
  }
  const float inverse = 1.0F / sum;
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) store(x[i] * inverse, out[i]);
}

template <class B>
[[gnu::always_inline]] inline float dot_row(const float* a, const B* b, std::int64_t n) {
  float sum = 0.0F;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < n; ++i) sum += a[i] * value_of(b[i]);
  return sum;
}

template <class X>
[[gnu::always_inline]] inline void add_row(float factor, const X* x, std::int64_t n, float* out) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) out[i] += factor * value_of(x[i]);
}

}  // namespace

MED3D_VECTOR_CLONES void layer_norm(const float* x,
                                    const float* gamma,
                                    const float* beta,
                                    float epsilon,
                                    std::int64_t n,
                                    float* out) {
  layer_norm_row(x, gamma, beta, epsilon, n, out);
}

MED3D_VECTOR_CLONES void layer_norm(const float* x,
                                    const float* gamma,
                                    const float* beta,
                                    float epsilon,
                                    std::int64_t n,
                                    Bf16* out) {
  layer_norm_row(x, gamma, beta, epsilon, n, out);
}

MED3D_VECTOR_CLONES void softmax(float* x, float scale, std::int64_t n, float* out) {
  softmax_row(x, scale, n, out);
}

MED3D_VECTOR_CLONES void softmax(float* x, float scale, std::int64_t n, Bf16* out) {
  softmax_row(x, scale, n, out);
}

MED3D_VECTOR_CLONES float dot(const float* a, const float* b, std::int64_t n) {
  return dot_row(a, b, n);
}

MED3D_VECTOR_CLONES float dot(const float* a, const Bf16* b, std::int64_t n) {
  return dot_row(a, b, n);
}

MED3D_VECTOR_CLONES void add_scaled(float factor, const float* x, std::int64_t n, float* out) {
  add_row(factor, x, n, out);
}

MED3D_VECTOR_CLONES void add_scaled(float factor, const Bf16* x, std::int64_t n, float* out) {
  add_row(factor, x, n, out);
}

MED3D_VECTOR_CLONES void convert(const float* x, std::int64_t n, Bf16* out) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) store(x[i], out[i]);
}

MED3D_VECTOR_CLONES void convert(const Bf16* x, std::int64_t n, float* out) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) out[i] = value_of(x[i]);
}

}  // namespace med3d::rows
