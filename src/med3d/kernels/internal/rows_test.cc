#include "med3d/kernels/internal/rows.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

namespace med3d::rows {
namespace {

// Lengths around the widths of vectors: 1, a few, one less and one more than 16 lanes, a real row.
constexpr std::int64_t kLengths[] = {1, 2, 7, 15, 16, 17, 33, 197, 1024};

std::vector<float> waves(std::int64_t n, double step, float size) {
  std::vector<float> x;
  for (std::int64_t i = 0; i < n; ++i) {
    x.push_back(size * static_cast<float>(std::sin(step * static_cast<double>(i + 1))));
  }
  return x;
}

float from_bf16(Bf16 bits) { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16U); }

TEST(RowsSoftmax, MatchesF64AtEveryLength) {
  for (const std::int64_t n : kLengths) {
    std::vector<float> x = waves(n, 1.7, 40.0F);
    double largest = x[0];
    for (const float value : x) largest = std::max(largest, static_cast<double>(value));
    double sum = 0.0;
    for (const float value : x) sum += std::exp(0.25 * (value - largest));
    std::vector<double> expected;
    for (const float value : x) expected.push_back(std::exp(0.25 * (value - largest)) / sum);
    std::vector<float> in_place = x;
    std::vector<Bf16> narrow(x.size());
    softmax(x.data(), 0.25F, n, narrow.data());
    softmax(in_place.data(), 0.25F, n, in_place.data());
    for (std::size_t i = 0; i < expected.size(); ++i) {
      EXPECT_NEAR(in_place[i], expected[i], 2e-6 * expected[i]) << n << " numbers, " << i;
      EXPECT_NEAR(from_bf16(narrow[i]), expected[i], expected[i] / 256.0) << n << ", " << i;
    }
  }
}

TEST(RowsSoftmax, KeepsSharesOfNumbersFarBelowTheLargest) {
  float x[] = {1000.0F, 1000.0F, -1e30F, 0.0F};
  softmax(x, 1.0F, 4, x);
  EXPECT_FLOAT_EQ(x[0], 0.5F);
  EXPECT_FLOAT_EQ(x[1], 0.5F);
  EXPECT_LT(x[2], 1e-37F);
  EXPECT_LT(x[3], 1e-37F);
}

TEST(RowsSoftmax, PassesNaNOn) {
  std::vector<float> x = waves(20, 1.0, 1.0F);
  x[3] = std::numeric_limits<float>::quiet_NaN();
  std::vector<Bf16> narrow(x.size());
  softmax(x.data(), 1.0F, 20, narrow.data());
  for (const Bf16 value : narrow) EXPECT_TRUE(std::isnan(from_bf16(value)));
}

// mean (1 + 2 + 3 + 6) / 4 = 3, variance (4 + 1 + 0 + 9) / 4 = 3.5; with epsilon 0.5 the root is 2.
TEST(RowsLayerNorm, MatchesHandComputedValues) {
  const float x[] = {1.0F, 2.0F, 3.0F, 6.0F};
  const float gamma[] = {1.0F, 1.0F, 2.0F, 2.0F};
  const float beta[] = {0.0F, 10.0F, 0.0F, 1.0F};
  float y[4];
  layer_norm(x, gamma, beta, 0.5F, 4, y);
  EXPECT_FLOAT_EQ(y[0], -1.0F);
  EXPECT_FLOAT_EQ(y[1], 9.5F);
  EXPECT_FLOAT_EQ(y[2], 0.0F);
  EXPECT_FLOAT_EQ(y[3], 4.0F);
}

// A mean far from zero: the difference from the mean is squared, not the mean of squares reduced.
TEST(RowsLayerNorm, MatchesF64AtEveryLength) {
  for (const std::int64_t n : kLengths) {
    std::vector<float> x = waves(n, 0.9, 2.0F);
    for (float& value : x) value += 100.0F;
    const std::vector<float> gamma = waves(n, 0.3, 1.5F);
    const std::vector<float> beta = waves(n, 2.1, 0.5F);
    double mean = 0.0;
    for (const float value : x) mean += value / static_cast<double>(n);
    double variance = 0.0;
    for (const float value : x)
      variance += (value - mean) * (value - mean) / static_cast<double>(n);
    std::vector<Bf16> narrow(x.size());
    layer_norm(x.data(), gamma.data(), beta.data(), 1e-3F, n, narrow.data());
    std::vector<float> y = x;
    layer_norm(y.data(), gamma.data(), beta.data(), 1e-3F, n, y.data());
    for (std::size_t i = 0; i < y.size(); ++i) {
      const double expected =
          (x[i] - mean) / std::sqrt(variance + static_cast<double>(1e-3F)) * gamma[i] + beta[i];
      EXPECT_NEAR(y[i], expected, 5e-5) << n << " numbers, " << i;
      EXPECT_NEAR(from_bf16(narrow[i]), expected, 5e-5 + std::abs(expected) / 256.0) << n;
    }
  }
}

// 1 + 2^-8 lies halfway between 1 (even) and 1 + 2^-7; 1 + 3 * 2^-8 between 1 + 2^-7 (odd) and
// 1 + 2^-6 (even).
TEST(RowsConvert, RoundsToTheNearestTiesToEven) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  const float x[] = {1.0F,
                     1.00390625F,
                     1.01171875F,
                     1.0039064F,
                     -1.00390625F,
                     3.39e38F,
                     3.4028235e38F,
                     -infinity,
                     nan,
                     -nan,
                     0.0F};
  const float expected[] = {
      1.0F, 1.0F, 1.015625F, 1.0078125F, -1.0F, 3.3895314e38F, infinity, -infinity, nan, nan, 0.0F};
  Bf16 narrow[11];
  float back[11];
  convert(x, 11, narrow);
  convert(narrow, 11, back);
  for (int i = 0; i < 11; ++i) {
    if (std::isnan(expected[i])) {
      EXPECT_TRUE(std::isnan(back[i])) << i;
    } else {
      EXPECT_EQ(back[i], expected[i]) << i;
    }
  }
}

TEST(RowsDot, SumsAndAddsAtEveryLength) {
  for (const std::int64_t n : kLengths) {
    const std::vector<float> a = waves(n, 0.7, 1.0F);
    const std::vector<float> b = waves(n, 1.3, 1.0F);
    std::vector<Bf16> narrow(b.size());
    convert(b.data(), n, narrow.data());
    double expected = 0.0;
    double rounded = 0.0;
    for (std::size_t i = 0; i < a.size(); ++i) {
      expected += static_cast<double>(a[i]) * b[i];
      rounded += static_cast<double>(a[i]) * from_bf16(narrow[i]);
    }
    EXPECT_NEAR(dot(a.data(), b.data(), n), expected, 1e-5);
    EXPECT_NEAR(dot(a.data(), narrow.data(), n), rounded, 1e-5);
    std::vector<float> sum = a;
    add_scaled(2.0F, b.data(), n, sum.data());
    add_scaled(-1.0F, narrow.data(), n, sum.data());
    for (std::size_t i = 0; i < a.size(); ++i) {
      EXPECT_NEAR(sum[i], a[i] + 2.0F * b[i] - from_bf16(narrow[i]), 1e-6F);
    }
  }
}

}  // namespace
}  // namespace med3d::rows
