#include "med3d/kernels/transformer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "med3d/core/error.h"

namespace med3d {
namespace {

// Numbers between -1 and 1 that repeat nowhere.
std::vector<float> waves(std::int64_t n, double step) {
  std::vector<float> x;
  for (std::int64_t i = 0; i < n; ++i) {
    x.push_back(static_cast<float>(std::sin(step * static_cast<double>(i + 1))));
  }
  return x;
}

// Rows that hold `values`, rounded where bf16.
Rows rows_of(std::int64_t rows,
             std::int64_t cols,
             Arithmetic arithmetic,
             const std::vector<float>& values) {
  Rows wide(rows, cols, Arithmetic::kF32);
  std::copy(values.begin(), values.end(), wide.f32().begin());
  Rows result(rows, cols, arithmetic);
  convert(wide.view(), result.view());
  return result;
}

std::vector<float> values_of(const RowsView& view) {
  Rows wide(view.rows, view.cols, Arithmetic::kF32);
  convert(view, wide.view());
  return {wide.f32().begin(), wide.f32().end()};
}

std::vector<float> rounded(std::int64_t n,
                           Arithmetic arithmetic,
                           const std::vector<float>& values) {
  return values_of(rows_of(1, n, arithmetic, values).view());
}

double gelu(double x) { return 0.5 * x * (1.0 + std::erf(x / std::sqrt(2.0))); }

std::vector<Arithmetic> arithmetics() {
  std::vector<Arithmetic> result{Arithmetic::kF32};
  if (native_bf16()) result.push_back(Arithmetic::kBf16);
  return result;
}

std::string message_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

class LinearOn : public testing::TestWithParam<int> {};

// Odd sizes, every epilogue, against a loop in f64 on the rounded inputs.
TEST_P(LinearOn, MatchesALoopInF64) {
  const ThreadScope scope(GetParam());
  const std::int64_t n = 19;
  const std::int64_t inputs = 37;
  const std::int64_t outputs = 29;
  for (const Arithmetic arithmetic : arithmetics()) {
    const std::vector<float> x = rounded(n * inputs, arithmetic, waves(n * inputs, 0.37));
    const std::vector<float> weight =
        rounded(outputs * inputs, arithmetic, waves(outputs * inputs, 1.9));
    const std::vector<float> bias = waves(outputs, 0.71);
    const std::vector<float> before = waves(n * outputs, 0.11);
    const Rows input = rows_of(n, inputs, arithmetic, x);
    for (const auto epilogue :
         {Linear::Epilogue::kNone, Linear::Epilogue::kGelu, Linear::Epilogue::kAdd}) {
      const bool adds = epilogue == Linear::Epilogue::kAdd;
      const Arithmetic result = adds ? Arithmetic::kF32 : arithmetic;
      const Linear layer({n, inputs, outputs, arithmetic, result, epilogue}, weight, bias);
      const Rows output = rows_of(n, outputs, result, before);
      layer.run(input.view(), output.view());
      const std::vector<float> y = values_of(output.view());
      for (std::int64_t row = 0; row < n; ++row) {
        for (std::int64_t col = 0; col < outputs; ++col) {
          const auto at = static_cast<std::size_t>(row * outputs + col);
          double expected = bias[static_cast<std::size_t>(col)];
          for (std::int64_t i = 0; i < inputs; ++i) {
            expected += static_cast<double>(x[static_cast<std::size_t>(row * inputs + i)]) *
                        weight[static_cast<std::size_t>(col * inputs + i)];
          }
          if (epilogue == Linear::Epilogue::kGelu) expected = gelu(expected);
          if (adds) expected += before[at];
          const double rounding = result == Arithmetic::kBf16 ? std::abs(expected) / 256.0 : 0.0;
          ASSERT_NEAR(y[at], expected, 2e-5 + rounding) << row << ", " << col;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Threads, LinearOn, testing::Values(1, 2));

// GELU over the range where erf changes, and far outside of it: identity weights hand x through.
TEST(Linear, ComputesGeluWithErf) {
  const std::int64_t n = 241;
  std::vector<float> x;
  for (std::int64_t i = 0; i < n; ++i) x.push_back(static_cast<float>(i - 120) / 10.0F);
  const std::vector<float> one{1.0F};
  const Linear layer(
      {n, 1, 1, Arithmetic::kF32, Arithmetic::kF32, Linear::Epilogue::kGelu}, one, {});
  const Rows input = rows_of(n, 1, Arithmetic::kF32, x);
  const Rows output(n, 1, Arithmetic::kF32);
  layer.run(input.view(), output.view());
  for (std::size_t i = 0; i < x.size(); ++i) {
    EXPECT_NEAR(output.f32()[i], gelu(x[i]), 5e-7 * std::max(1.0F, std::abs(x[i]))) << x[i];
  }
}

TEST(Linear, RefusesWhatDoesNotFit) {
  const std::vector<float> six(6, 1.0F);
  const std::vector<float> two(2, 1.0F);
  EXPECT_NE(message_of([&] {
              Linear({4, 3, 3}, six, {});
            }).find("3 x 3: 6 weights"),
            std::string::npos);
  EXPECT_NE(message_of([&] { Linear({4, 2, 3}, six, two); }).find("2 biases"), std::string::npos);
  EXPECT_NE(message_of([&] { Linear({0, 2, 3}, six, {}); }).find("size of 0"), std::string::npos);
  Linear::Options narrow_sum{4, 2, 3};
  narrow_sum.result = Arithmetic::kBf16;
  narrow_sum.epilogue = Linear::Epilogue::kAdd;
  EXPECT_NE(message_of([&] { Linear(narrow_sum, six, {}); }).find("kept in f32"),
            std::string::npos);
  const Linear layer({4, 2, 3}, six, {});
  const Rows x(4, 2, Arithmetic::kF32);
  const Rows y(5, 3, Arithmetic::kF32);
  EXPECT_EQ(message_of([&] { layer.run(x.view(), y.view()); }),
            "result of a linear layer: (5, 3) f32, expected (4, 3) f32");
}

class AttentionOf : public testing::TestWithParam<SelfAttention::Options> {};

// One token, an odd head, odd tokens, and more tokens than are taken at once (the last slice
// reaches back into the one before).
TEST_P(AttentionOf, MatchesALoopInF64) {
  const ThreadScope scope(2);
  for (const Arithmetic arithmetic : arithmetics()) {
    SelfAttention::Options options = GetParam();
    options.arithmetic = arithmetic;
    const auto [images, tokens, heads, dim, unused] = options;
    const std::int64_t width = heads * dim;
    std::vector<float> qkv = waves(images * tokens * 3 * width, 0.77);
    for (float& value : qkv) value *= 2.0F;
    qkv = rounded(images * tokens * 3 * width, arithmetic, qkv);
    const Rows input = rows_of(images * tokens, 3 * width, arithmetic, qkv);
    const Rows output(images * tokens, width, arithmetic);
    SelfAttention attention(options);
    attention.run(input.view(), output.view());
    const std::vector<float> y = values_of(output.view());
    const auto at = [&, w = width, t = tokens](
                        std::int64_t image, std::int64_t token, std::int64_t col) {
      return static_cast<double>(qkv[static_cast<std::size_t>((image * t + token) * 3 * w + col)]);
    };
    for (std::int64_t image = 0; image < images; ++image) {
      for (std::int64_t head = 0; head < heads; ++head) {
        for (std::int64_t query = 0; query < tokens; query += 1 + tokens / 40) {
          std::vector<double> shares;
          double sum = 0.0;
          for (std::int64_t key = 0; key < tokens; ++key) {
            double score = 0.0;
            for (std::int64_t i = 0; i < dim; ++i) {
              score += at(image, query, head * dim + i) * at(image, key, width + head * dim + i);
            }
            shares.push_back(std::exp(score / std::sqrt(static_cast<double>(dim))));
            sum += shares.back();
          }
          for (std::int64_t i = 0; i < dim; ++i) {
            double expected = 0.0;
            for (std::int64_t key = 0; key < tokens; ++key) {
              expected += shares[static_cast<std::size_t>(key)] / sum *
                          at(image, key, 2 * width + head * dim + i);
            }
            const double tolerance = arithmetic == Arithmetic::kBf16 ? 1e-2 : 2e-5;
            ASSERT_NEAR(
                y[static_cast<std::size_t>((image * tokens + query) * width + head * dim + i)],
                expected,
                tolerance)
                << "image " << image << ", head " << head << ", query " << query;
          }
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes,
                         AttentionOf,
                         testing::Values(SelfAttention::Options{1, 1, 1, 8},
                                         SelfAttention::Options{3, 17, 3, 5},
                                         SelfAttention::Options{2, 50, 2, 16},
                                         SelfAttention::Options{1, 523, 1, 12}));

TEST(SelfAttention, RefusesMoreThreadsThanItWasBuiltFor) {
  const ThreadScope one(1);
  SelfAttention attention({1, 3, 1, 4});
  const Rows qkv(3, 12, Arithmetic::kF32);
  const Rows attended(3, 4, Arithmetic::kF32);
  const ThreadScope two(2);
  EXPECT_EQ(message_of([&] { attention.run(qkv.view(), attended.view()); }),
            "attention built for 1 threads, run on 2");
}

// The query of every image picks out what self-attention computes for that token.
TEST(QueryAttention, EqualsTheSameRowOfSelfAttention) {
  const ThreadScope scope(2);
  const std::int64_t images = 3;
  const std::int64_t tokens = 21;
  const std::int64_t heads = 3;
  const std::int64_t width = heads * 7;
  for (const Arithmetic arithmetic : arithmetics()) {
    const std::vector<float> qkv =
        rounded(images * tokens * 3 * width, arithmetic, waves(images * tokens * 3 * width, 0.61));
    const Rows input = rows_of(images * tokens, 3 * width, arithmetic, qkv);
    const Rows all(images * tokens, width, arithmetic);
    SelfAttention({images, tokens, heads, 7, arithmetic}).run(input.view(), all.view());

    std::vector<float> queries;
    std::vector<float> keys_and_values;
    for (std::int64_t row = 0; row < images * tokens; ++row) {
      const auto first = qkv.begin() + row * 3 * width;
      if (row % tokens == 4) queries.insert(queries.end(), first, first + width);
      keys_and_values.insert(keys_and_values.end(), first + width, first + 3 * width);
    }
    const Rows query = rows_of(images, width, Arithmetic::kF32, queries);
    const Rows kv = rows_of(images * tokens, 2 * width, arithmetic, keys_and_values);
    const Rows attended(images, width, arithmetic);
    query_attention(query.view(), kv.view(), heads, attended.view());
    const Rows shared(images, width, Arithmetic::kF32);
    query_attention(query.view().part(1, 1), kv.view(), heads, shared.view());
    const double tolerance = arithmetic == Arithmetic::kBf16 ? 1e-2 : 2e-6;
    for (std::int64_t image = 0; image < images; ++image) {
      const std::vector<float> expected = values_of(all.view().part(image * tokens + 4, 1));
      const std::vector<float> own = values_of(attended.view().part(image, 1));
      const std::vector<float> by_second = values_of(shared.view().part(image, 1));
      for (std::size_t i = 0; i < expected.size(); ++i) {
        EXPECT_NEAR(own[i], expected[i], tolerance);
        if (image == 1) {
          EXPECT_NEAR(by_second[i], expected[i], tolerance);
        }
        // One query for all still looks at each image's own tokens.
        if (image == 2 && i == 0) {
          EXPECT_NE(by_second[i], own[i]);
        }
      }
    }
  }
}

TEST(QueryAttention, RefusesShapesThatDisagree) {
  const Rows query(2, 6, Arithmetic::kF32);
  const Rows kv(10, 12, Arithmetic::kF32);
  const Rows attended(2, 6, Arithmetic::kF32);
  EXPECT_EQ(message_of([&] { query_attention(query.view(), kv.view(), 4, attended.view()); }),
            "queries: (2, 6) f32, expected (2, 4) f32");
  EXPECT_EQ(
      message_of([&] { query_attention(query.view(), kv.view().part(0, 9), 3, attended.view()); }),
      "keys and values: (9, 12) f32, expected (8, 12) f32");
}

TEST(LayerNorm, NormalisesEveryRowOnItsOwn) {
  const ThreadScope scope(2);
  const std::vector<float> ones(5, 1.0F);
  const std::vector<float> zeros(5, 0.0F);
  const Rows x = rows_of(3, 5, Arithmetic::kF32, waves(15, 0.9));
  const Rows y(3, 5, Arithmetic::kF32);
  layer_norm(x.view(), ones, zeros, 0.0F, y.view());
  for (std::size_t row = 0; row < 3; ++row) {
    double mean = 0.0;
    double squares = 0.0;
    for (std::size_t i = 0; i < 5; ++i) {
      mean += y.f32()[row * 5 + i];
      squares += y.f32()[row * 5 + i] * y.f32()[row * 5 + i];
    }
    EXPECT_NEAR(mean, 0.0, 1e-5);
    EXPECT_NEAR(squares, 5.0, 1e-5);
  }
  EXPECT_EQ(message_of([&] { layer_norm(x.view(), ones, {}, 0.0F, y.view()); }),
            "layer norm of 5 numbers: 5 scales, 0 shifts");
}

TEST(Rows, RefuseToBeReadBeyondTheirEnd) {
  const Rows rows(4, 6, Arithmetic::kF32);
  EXPECT_EQ(rows.reshaped(3, 8).rows, 3);
  EXPECT_EQ(message_of([&] { rows.reshaped(4, 7); }), "(4, 7) in the memory of (4, 6)");
  EXPECT_EQ(message_of([&] { rows.view().part(3, 2); }), "rows 3 to 5 of 4");
}

}  // namespace
}  // namespace med3d
