#include "med3d/kernels/matmul.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "med3d/core/error.h"
#include "med3d/core/random.h"
#include "med3d/kernels/tasks.h"

namespace med3d {
namespace {

std::vector<float> drawn(std::size_t n, std::uint32_t seed) {
  NumpyRandom random(seed);
  std::vector<float> out(n);
  for (float& value : out) value = static_cast<float>(random.uniform() - 0.5);
  return out;
}

float widened(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16U);
}

// Every combination of transposes, accumulation, bias and ReLU, with rows further apart than they
// are long, against sums in double. Sums of 37 products of numbers up to 1/2: f32 is good to 1e-5;
// the bf16 operands are compared as rounded, so that only the sums differ.
TEST(Matmul, EqualsSumsInDouble) {
  constexpr std::size_t kM = 5, kN = 19, kK = 37;
  for (int options = 0; options < 64; ++options) {
    MatmulShape shape;
    shape.m = kM;
    shape.n = kN;
    shape.k = kK;
    shape.transpose_a = (options & 1) != 0;
    shape.transpose_b = (options & 2) != 0;
    shape.accumulate = (options & 4) != 0;
    shape.bias = (options & 8) != 0;
    shape.relu = (options & 16) != 0;
    const bool bf16 = (options & 32) != 0;
    if (bf16 && !native_bf16()) continue;
    shape.stride_a = (shape.transpose_a ? kM : kK) + 3;
    shape.stride_b = (shape.transpose_b ? kK : kN) + 1;
    shape.stride_c = kN + 2;
    std::vector<float> a = drawn((shape.transpose_a ? kK : kM) * shape.stride_a, 1);
    std::vector<float> b = drawn((shape.transpose_b ? kN : kK) * shape.stride_b, 2);
    const std::vector<float> before = drawn(kM * shape.stride_c, 3);
    const std::vector<float> bias = drawn(kN, 4);
    std::vector<float> c = before;
    const Matmul product(shape, bf16 ? Arithmetic::kBf16 : Arithmetic::kF32);
    if (bf16) {
      std::vector<std::uint16_t> short_a(a.size()), short_b(b.size());
      to_bf16(a, short_a.data());
      to_bf16(b, short_b.data());
      for (std::size_t i = 0; i < a.size(); ++i) a[i] = widened(short_a[i]);
      for (std::size_t i = 0; i < b.size(); ++i) b[i] = widened(short_b[i]);
      product.run(short_a.data(), short_b.data(), c.data(), bias.data());
    } else {
      product.run(a.data(), b.data(), c.data(), bias.data());
    }
    for (std::size_t i = 0; i < kM; ++i) {
      for (std::size_t j = 0; j < shape.stride_c; ++j) {
        const float old = before[i * shape.stride_c + j];
        double sum = old;
        if (j < kN) {
          sum = shape.accumulate ? old : 0.0;
          if (shape.bias) sum += bias[j];
          for (std::size_t l = 0; l < kK; ++l) {
            const float left =
                shape.transpose_a ? a[l * shape.stride_a + i] : a[i * shape.stride_a + l];
            const float right =
                shape.transpose_b ? b[j * shape.stride_b + l] : b[l * shape.stride_b + j];
            sum += static_cast<double>(left) * right;
          }
          if (shape.relu) sum = std::max(0.0, sum);
        }
        ASSERT_NEAR(c[i * shape.stride_c + j], sum, 1e-5)
            << "options " << options << " at " << i << ", " << j;
      }
    }
  }
}

TEST(Matmul, RefusesWhatItCannotMultiply) {
  MatmulShape shape;
  EXPECT_THROW(Matmul(shape, Arithmetic::kF32), Error);
  shape.m = shape.n = shape.k = 4;
  shape.stride_b = 3;
  EXPECT_THROW(Matmul(shape, Arithmetic::kF32), Error);
  shape.stride_b = 0;
  shape.bias = true;
  const Matmul product(shape, Arithmetic::kF32);
  std::vector<float> square(16);
  EXPECT_THROW(product.run(square.data(), square.data(), square.data()), Error);
  const std::vector<std::uint16_t> halves(16);
  EXPECT_THROW(product.run(halves.data(), halves.data(), square.data(), square.data()), Error);
}

// 1 + 2^-8 lies halfway between 1 and 1 + 2^-7: the even one is 1. 1 + 3 * 2^-8 goes up to 1 +
// 2^-6.
TEST(ToBf16, RoundsToTheNearestAndTiesToEven) {
  const std::vector<float> from = {1.0F,
                                   1.00390625F,
                                   1.01171875F,
                                   -3.0F,
                                   std::nanf(""),
                                   std::numeric_limits<float>::infinity(),
                                   0.0F};
  std::vector<std::uint16_t> to(from.size());
  to_bf16(from, to.data());
  EXPECT_EQ(widened(to[0]), 1.0F);
  EXPECT_EQ(widened(to[1]), 1.0F);
  EXPECT_EQ(widened(to[2]), 1.015625F);
  EXPECT_EQ(widened(to[3]), -3.0F);
  EXPECT_TRUE(std::isnan(widened(to[4])));
  EXPECT_TRUE(std::isinf(widened(to[5])));
  EXPECT_EQ(to[6], 0);
}

TEST(RunTasks, DoesEachPieceOnceAndRethrowsTheFirstFailure) {
  for (const int threads : {1, 2, 4}) {
    const ThreadScope scope(threads);
    std::vector<std::atomic<int>> count(100);
    run_tasks(count.size(), [&](std::size_t i) {
      ++count[i];
      EXPECT_EQ(kernel_threads(), 1);
    });
    for (const auto& c : count) EXPECT_EQ(c, 1);
    EXPECT_EQ(kernel_threads(), threads);
    try {
      run_tasks(8, [](std::size_t i) {
        if (i >= 3) throw Error(ErrorKind::kData, std::to_string(i));
      });
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      EXPECT_STREQ(error.what(), "3");
    }
  }
}

}  // namespace
}  // namespace med3d
