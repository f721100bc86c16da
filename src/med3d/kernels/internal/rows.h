// Arithmetic along one row, for the widest vectors the processor has.
//
// Each function is compiled for AVX-512, AVX2 and plain x86-64, and the loader picks one. Sums run
// in f32 in an order that depends on n and the processor alone, so a row's bits do not depend on
// what is computed beside it.
#pragma once

#include <cstdint>

namespace med3d::rows {

// bf16 as stored: the upper half of an f32.
using Bf16 = std::uint16_t;

// out[i] = (x[i] - mean) / sqrt(variance + epsilon) * gamma[i] + beta[i], with the mean of squared
// differences as variance. x, gamma, beta, out: (n,); out may be x.
void layer_norm(const float* x,
                const float* gamma,
                const float* beta,
                float epsilon,
                std::int64_t n,
                float* out);
void layer_norm(const float* x,
                const float* gamma,
                const float* beta,
                float epsilon,
                std::int64_t n,
                Bf16* out);

// out[i] = exp(scale * (x[i] - max)) / sum. x (n,) is overwritten; out may be x. scale > 0.
// The exponential is within 2 units in the last place; below exp(-87) it is that value.
void softmax(float* x, float scale, std::int64_t n, float* out);
void softmax(float* x, float scale, std::int64_t n, Bf16* out);

// Sum of a[i] * b[i].
float dot(const float* a, const float* b, std::int64_t n);
float dot(const float* a, const Bf16* b, std::int64_t n);

// out[i] += factor * x[i].
void add_scaled(float factor, const float* x, std::int64_t n, float* out);
void add_scaled(float factor, const Bf16* x, std::int64_t n, float* out);

// Rounds to the nearest, ties to even; and back, exactly.
void convert(const float* x, std::int64_t n, Bf16* out);
void convert(const Bf16* x, std::int64_t n, float* out);

}  // namespace med3d::rows
