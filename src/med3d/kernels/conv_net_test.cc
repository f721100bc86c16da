#include "med3d/kernels/conv_net.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "med3d/core/error.h"
#include "med3d/core/random.h"

namespace med3d {
namespace {

using Numbers = std::vector<std::int64_t>;

std::vector<float> normals(std::size_t n, std::uint32_t seed) {
  NumpyRandom random(seed);
  std::vector<float> values(n);
  for (float& value : values) value = static_cast<float>(random.normal());
  return values;
}

std::int64_t product(const Numbers& factors) {
  std::int64_t result = 1;
  for (const auto f : factors) result *= f;
  return result;
}

// A sample of (channels, extent), channels first, in double. Two axes are three of depth 1.
struct Sample {
  std::int64_t channels = 0;
  Numbers extent;
  std::vector<double> values;

  std::array<std::int64_t, 3> size() const {
    return {extent.size() == 3 ? extent[0] : 1, extent[extent.size() - 2], extent.back()};
  }
};

Sample sample_of(std::int64_t channels, const Numbers& extent, const std::vector<float>& values) {
  return {channels, extent, {values.begin(), values.end()}};
}

// (kernel, stride, padding, dilation) of each of three axes.
std::array<std::array<std::int64_t, 4>, 3> three_axes(const Window& window) {
  std::array<std::array<std::int64_t, 4>, 3> result{};
  result[0] = {1, 1, 0, 1};
  const std::size_t first = 3 - window.kernel.size();
  for (std::size_t a = first; a < 3; ++a) {
    const std::size_t i = a - first;
    result[a] = {window.kernel[i], window.stride[i], window.padding[i], window.dilation[i]};
  }
  return result;
}

// For each output position and each tap of its window inside the image: visit(output index within
// a channel, input index within a channel, tap index).
void each_tap(const Sample& in,
              const Window& window,
              Numbers& out_extent,
              const std::function<void(std::size_t, std::size_t, std::size_t)>& visit) {
  const auto axes = three_axes(window);
  const auto size = in.size();
  std::array<std::int64_t, 3> out{};
  for (std::size_t a = 0; a < 3; ++a) {
    const auto [k, s, p, d] = axes[a];
    out[a] = (size[a] + 2 * p - d * (k - 1) - 1) / s + 1;
  }
  out_extent.assign(out.end() - static_cast<std::ptrdiff_t>(in.extent.size()), out.end());
  for (std::int64_t z = 0; z < out[0]; ++z) {
    for (std::int64_t y = 0; y < out[1]; ++y) {
      for (std::int64_t x = 0; x < out[2]; ++x) {
        for (std::int64_t i = 0; i < axes[0][0]; ++i) {
          for (std::int64_t j = 0; j < axes[1][0]; ++j) {
            for (std::int64_t k = 0; k < axes[2][0]; ++k) {
              const std::int64_t sz = z * axes[0][1] - axes[0][2] + i * axes[0][3];
              const std::int64_t sy = y * axes[1][1] - axes[1][2] + j * axes[1][3];
              const std::int64_t sx = x * axes[2][1] - axes[2][2] + k * axes[2][3];
              if (sz < 0 || sz >= size[0] || sy < 0 || sy >= size[1] || sx < 0 || sx >= size[2])
                continue;
              visit(static_cast<std::size_t>((z * out[1] + y) * out[2] + x),
                    static_cast<std::size_t>((sz * size[1] + sy) * size[2] + sx),
                    static_cast<std::size_t>((i * axes[1][0] + j) * axes[2][0] + k));
            }
          }
        }
      }
    }
  }
}

Sample naive_convolution(const Sample& in,
                         const Convolution& layer,
                         const Sample* residual = nullptr) {
  Sample out{layer.out_channels, in.extent, {}};
  const auto taps = static_cast<std::size_t>(product(layer.window.kernel));
  each_tap(in, layer.window, out.extent, [](auto, auto, auto) {});
  const auto positions = static_cast<std::size_t>(product(out.extent));
  const auto in_positions = static_cast<std::size_t>(product(in.extent));
  const auto in_channels = static_cast<std::size_t>(in.channels);
  const auto out_channels = static_cast<std::size_t>(out.channels);
  out.values.resize(positions * out_channels);
  for (std::size_t o = 0; o < out_channels; ++o) {
    std::fill_n(out.values.begin() + static_cast<std::ptrdiff_t>(o * positions),
                positions,
                static_cast<double>(layer.bias[o]));
  }
  each_tap(in, layer.window, out.extent, [&](std::size_t to, std::size_t from, std::size_t tap) {
    for (std::size_t o = 0; o < out_channels; ++o) {
      for (std::size_t c = 0; c < in_channels; ++c) {
        out.values[o * positions + to] +=
            in.values[c * in_positions + from] *
            static_cast<double>(layer.weight[(o * in_channels + c) * taps + tap]);
      }
    }
  });
  for (std::size_t i = 0; i < out.values.size(); ++i) {
    if (residual != nullptr) out.values[i] += residual->values[i];
    if (layer.relu) out.values[i] = std::max(0.0, out.values[i]);
  }
  return out;
}

Sample naive_pool(const Sample& in, const Window& window, bool maximum) {
  Sample out{in.channels, in.extent, {}};
  each_tap(in, window, out.extent, [](auto, auto, auto) {});
  const auto positions = static_cast<std::size_t>(product(out.extent));
  const auto in_positions = static_cast<std::size_t>(product(in.extent));
  for (std::size_t c = 0; c < static_cast<std::size_t>(in.channels); ++c) {
    std::vector<double> best(positions, -std::numeric_limits<double>::infinity());
    std::vector<double> sum(positions, 0.0);
    std::vector<double> count(positions, 0.0);
    each_tap(in, window, out.extent, [&](std::size_t to, std::size_t from, std::size_t) {
      const double value = in.values[c * in_positions + from];
      best[to] = std::max(best[to], value);
      sum[to] += value;
      count[to] += 1.0;
    });
    for (std::size_t i = 0; i < positions; ++i) {
      out.values.push_back(maximum ? best[i] : sum[i] / count[i]);
    }
  }
  return out;
}

Convolution random_convolution(const std::string& name,
                               std::int64_t in_channels,
                               std::int64_t out_channels,
                               const Window& window,
                               bool relu,
                               std::uint32_t seed) {
  Convolution layer;
  layer.name = name;
  layer.out_channels = out_channels;
  layer.window = window;
  layer.weight =
      normals(static_cast<std::size_t>(out_channels * in_channels * product(window.kernel)), seed);
  layer.bias = normals(static_cast<std::size_t>(out_channels), seed + 1);
  layer.relu = relu;
  return layer;
}

// max |found - expected| / max |expected|
double relative_error(const std::vector<float>& found, const std::vector<double>& expected) {
  EXPECT_EQ(found.size(), expected.size());
  double difference = 0.0;
  double largest = 0.0;
  for (std::size_t i = 0; i < std::min(found.size(), expected.size()); ++i) {
    difference = std::max(difference, std::abs(static_cast<double>(found[i]) - expected[i]));
    largest = std::max(largest, std::abs(expected[i]));
  }
  return difference / largest;
}

std::vector<float> outputs(ConvNet& net, const std::vector<float>& samples, std::size_t count = 1) {
  std::vector<float> result(net.output_size() * count);
  net.run(samples, result);
  return result;
}

void expect_error(ErrorKind kind, const std::string& part, const std::function<void()>& work) {
  try {
    work();
    ADD_FAILURE() << "no error, expected one saying '" << part << "'";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

struct ConvolutionCase {
  const char* name;
  std::int64_t in_channels, out_channels;
  Numbers extent;
  Window window;
};

TEST(ConvNet, ConvolutionsEqualTheSumWrittenOut) {
  const std::vector<ConvolutionCase> cases = {
      {"1x1", 5, 7, {6, 9}, Window::same(2, 1)},
      {"1x1 stride 2", 16, 48, {7, 7}, Window::same(2, 1, 2)},
      {"3x3", 16, 16, {5, 8}, Window::same(2, 3, 1, 1)},
      {"3x3 stride 2", 19, 33, {9, 6}, Window::same(2, 3, 2, 1)},
      {"3x3 dilation 2", 8, 16, {11, 7}, Window::same(2, 3, 1, 2, 2)},
      {"7x7 stride 2, three channels", 3, 64, {23, 30}, Window::same(2, 7, 2, 3)},
      {"3x1, a number for each axis", 4, 6, {8, 5}, {{3, 1}, {2, 1}, {1, 0}, {1, 1}}},
      {"3-D 7x7x7 stride 2, one channel", 1, 16, {9, 12, 11}, Window::same(3, 7, 2, 3)},
      {"3-D 3x3x3 dilation 2", 16, 16, {5, 9, 8}, Window::same(3, 3, 1, 2, 2)},
      {"3-D 3x3x3 dilation 4", 8, 32, {7, 9, 9}, Window::same(3, 3, 1, 4, 4)},
      {"3-D 1x1x1 stride 2", 12, 20, {5, 6, 7}, Window::same(3, 1, 2)},
  };
  std::uint32_t seed = 10;
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    for (const bool relu : {false, true}) {
      const auto layer =
          random_convolution(c.name, c.in_channels, c.out_channels, c.window, relu, seed += 2);
      const auto input =
          normals(static_cast<std::size_t>(c.in_channels * product(c.extent)), seed += 2);
      const Sample expected = naive_convolution(sample_of(c.in_channels, c.extent, input), layer);
      for (const int threads : {1, 2}) {
        ConvNet net(c.in_channels, c.extent, {Arithmetic::kF32, 1, threads});
        net.build(net.convolution(ConvNet::kInput, layer));
        Numbers shape = {c.out_channels};
        shape.insert(shape.end(), expected.extent.begin(), expected.extent.end());
        EXPECT_EQ(net.output_shape(), shape);
        EXPECT_LT(relative_error(outputs(net, input), expected.values), 2e-6);
      }
      if (native_bf16()) {
        ConvNet net(c.in_channels, c.extent, {Arithmetic::kBf16, 1, 1});
        net.build(net.convolution(ConvNet::kInput, layer));
        // Inputs, weights and the result are rounded to 8 bits.
        EXPECT_LT(relative_error(outputs(net, input), expected.values), 2e-2);
      }
    }
  }
}

// A small residual net: stem, pooling, a block with a projected shortcut, one with the identity.
struct SmallNet {
  Convolution stem = random_convolution("stem", 3, 16, Window::same(2, 3, 2, 1), true, 100);
  Convolution shortcut = random_convolution("shortcut", 16, 32, Window::same(2, 1, 2), false, 102);
  Convolution a = random_convolution("a", 16, 32, Window::same(2, 3, 2, 1), true, 104);
  Convolution b = random_convolution("b", 32, 32, Window::same(2, 3, 1, 1), true, 106);
  Window pool = Window::same(2, 3, 2, 1);
  static constexpr std::int64_t kSide = 21;

  ConvNet build(const ConvNetOptions& options) const {
    ConvNet net(3, {kSide, kSide}, options);
    const auto x = net.max_pool(net.convolution(ConvNet::kInput, stem), pool);
    const auto s = net.convolution(x, shortcut);
    const auto y = net.convolution_add(net.convolution(x, a), b, s);
    net.build(net.global_mean(net.convolution_add(y, b, y)));
    return net;
  }

  std::vector<double> expected(const std::vector<float>& input) const {
    const Sample x =
        naive_pool(naive_convolution(sample_of(3, {kSide, kSide}, input), stem), pool, true);
    const Sample s = naive_convolution(x, shortcut);
    const Sample y = naive_convolution(naive_convolution(x, a), b, &s);
    const Sample z = naive_convolution(y, b, &y);
    std::vector<double> means;
    const auto positions = static_cast<std::size_t>(product(z.extent));
    for (std::size_t c = 0; c < 32; ++c) {
      double sum = 0.0;
      for (std::size_t i = 0; i < positions; ++i) sum += z.values[c * positions + i];
      means.push_back(sum / static_cast<double>(positions));
    }
    return means;
  }
};

// The last sum reads the node it adds to as well, so it must not overwrite it too early; two
// kernels of one place in memory would show here too.
TEST(ConvNet, AResidualNetEqualsItsLayersWrittenOut) {
  const SmallNet small;
  const auto input = normals(3 * SmallNet::kSide * SmallNet::kSide, 7);
  ConvNet net = small.build({Arithmetic::kF32, 1, 1});
  EXPECT_LT(relative_error(outputs(net, input), small.expected(input)), 3e-6);
  if (native_bf16()) {
    ConvNet half = small.build({Arithmetic::kBf16, 1, 1});
    EXPECT_LT(relative_error(outputs(half, input), small.expected(input)), 2e-2);
  }
}

TEST(ConvNet, ASampleGivesTheSameBitsInAnyCompanyAndAnyNumberOfLanes) {
  const SmallNet small;
  constexpr std::size_t kCount = 9;
  const std::size_t size = 3 * SmallNet::kSide * SmallNet::kSide;
  const auto input = normals(kCount * size, 8);
  ConvNet net = small.build({Arithmetic::kF32, 1, 1});
  const auto together = outputs(net, input, kCount);
  for (std::size_t i = 0; i < kCount; ++i) {
    const std::vector<float> alone_input(
        input.begin() + static_cast<std::ptrdiff_t>(i * size),
        input.begin() + static_cast<std::ptrdiff_t>((i + 1) * size));
    const auto alone = outputs(net, alone_input);
    EXPECT_TRUE(std::equal(alone.begin(),
                           alone.end(),
                           together.begin() + static_cast<std::ptrdiff_t>(i * alone.size())));
  }
  for (const int lanes : {2, 3}) {
    ConvNet other = small.build({Arithmetic::kF32, lanes, 1});
    EXPECT_EQ(outputs(other, input, kCount), together) << lanes << " lanes";
  }
  ConvNet split = small.build({Arithmetic::kF32, 1, 2});
  const auto threaded = outputs(split, input, kCount);
  EXPECT_LT(relative_error(threaded, {together.begin(), together.end()}), 2e-6);
}

// 1 channel of 2 x 4:  1 2 3 4     windows of 2 x 2, stride 2:  max 6 8, mean 3.5 5.5
//                      5 6 7 8
TEST(ConvNet, PoolsByHand) {
  const std::vector<float> input = {1, 2, 3, 4, 5, 6, 7, 8};
  ConvNet largest(1, {2, 4}, {});
  largest.build(largest.max_pool(ConvNet::kInput, Window::same(2, 2, 2)));
  EXPECT_EQ(outputs(largest, input), (std::vector<float>{6.0F, 8.0F}));
  ConvNet mean(1, {2, 4}, {});
  mean.build(mean.mean_pool(ConvNet::kInput, Window::same(2, 2, 2)));
  EXPECT_EQ(outputs(mean, input), (std::vector<float>{3.5F, 5.5F}));
  ConvNet whole(1, {2, 4}, {});
  whole.build(whole.global_mean(ConvNet::kInput));
  EXPECT_EQ(outputs(whole, input), (std::vector<float>{4.5F}));
  // Padding takes no part: the corner window of a 3 x 3 kernel sees 1, 2, 5, 6.
  ConvNet padded(1, {2, 4}, {});
  padded.build(padded.mean_pool(ConvNet::kInput, Window::same(2, 3, 2, 1)));
  EXPECT_EQ(outputs(padded, input), (std::vector<float>{3.5F, 5.0F}));
}

TEST(ConvNet, PoolsOddShapesAsWrittenOut) {
  for (const Numbers& extent : {Numbers{7, 10}, Numbers{5, 6, 9}}) {
    const auto input = normals(static_cast<std::size_t>(17 * product(extent)), 30);
    const Window window = Window::same(extent.size(), 3, 2, 1);
    for (const bool maximum : {true, false}) {
      ConvNet net(17, extent, {});
      net.build(maximum ? net.max_pool(ConvNet::kInput, window)
                        : net.mean_pool(ConvNet::kInput, window));
      EXPECT_LT(relative_error(outputs(net, input),
                               naive_pool(sample_of(17, extent, input), window, maximum).values),
                1e-6);
    }
  }
}

// 8-bit pixels: (p / 255 - mean) / stddev, and what lies outside is zero after that, not black.
// One pixel of (255, 0, 51), mean 0.5, 0.25, 0.2, stddev 0.5, 0.25, 0.1 -> (1, -1, 0).
TEST(ConvNet, NormalisesPixelsBeforePadding) {
  Convolution sum;
  sum.name = "sum";
  sum.out_channels = 1;
  sum.window = Window::same(2, 3, 1, 1);
  sum.weight.assign(27, 1.0F);
  std::fill(sum.weight.begin() + 9, sum.weight.begin() + 18, 10.0F);
  std::fill(sum.weight.begin() + 18, sum.weight.end(), 100.0F);
  sum.bias = {0.0F};
  ConvNet net =
      ConvNet::for_rgb8({1, 1}, {0.5F, 0.25F, 0.2F}, {0.5F, 0.25F, 0.1F}, {Arithmetic::kF32, 1, 1});
  net.build(net.convolution(ConvNet::kInput, sum));
  std::vector<float> result(1);
  net.run_rgb8(std::vector<std::uint8_t>{255, 0, 51}, result);
  EXPECT_NEAR(result[0], 1.0 - 10.0 + 0.0, 1e-5);
}

// In bf16 the first convolution sees whole numbers and a channel of ones. Weights that bf16 holds
// exactly but for the division leave 2^-9 relative of each product; a normalisation that is wrong
// by the rest of the mean, or at the border, would be off by 1e-2 of a pixel or more.
TEST(ConvNet, Bf16PixelsLoseNothingBeforeTheFirstLayer) {
  if (!native_bf16()) GTEST_SKIP() << "this processor has no bf16 of its own";
  constexpr std::array<float, 3> kMean = {0.485F, 0.456F, 0.406F};
  constexpr std::array<float, 3> kStddev = {0.229F, 0.224F, 0.225F};
  const Convolution layer = random_convolution("first", 3, 16, Window::same(2, 7, 2, 3), false, 60);
  std::vector<std::uint8_t> pixels(13 * 10 * 3);
  for (std::size_t i = 0; i < pixels.size(); ++i) {
    pixels[i] = static_cast<std::uint8_t>(i * 71 % 256);
  }
  std::vector<std::vector<float>> results;
  for (const auto arithmetic : {Arithmetic::kF32, Arithmetic::kBf16}) {
    ConvNet net = ConvNet::for_rgb8({13, 10}, kMean, kStddev, {arithmetic, 1, 1});
    net.build(net.convolution(ConvNet::kInput, layer));
    results.emplace_back(net.output_size());
    net.run_rgb8(pixels, results.back());
  }
  EXPECT_LT(relative_error(results[1], {results[0].begin(), results[0].end()}), 5e-3);

  ConvNet net = ConvNet::for_rgb8({13, 10}, kMean, kStddev, {Arithmetic::kBf16, 1, 1});
  const auto pooled = net.max_pool(ConvNet::kInput, Window::same(2, 2, 2));
  expect_error(
      ErrorKind::kUsage, "only convolutions may read the pixels", [&] { net.build(pooled); });
}

// 64 weights of 1.003 on ones, less 64: 0.192. Each alone would become 1 in bf16 and leave nothing;
// with their sum kept, what is lost is half the spacing 2^-7 of one weight.
TEST(ConvNet, Bf16WeightsKeepTheirSum) {
  if (!native_bf16()) GTEST_SKIP() << "this processor has no bf16 of its own";
  Convolution layer;
  layer.name = "sum";
  layer.out_channels = 16;
  layer.window = Window::same(2, 1);
  layer.weight.assign(16 * 64, 1.003F);
  layer.bias.assign(16, -64.0F);
  ConvNet net(64, {2, 2}, {Arithmetic::kBf16, 1, 1});
  net.build(net.global_mean(net.convolution(ConvNet::kInput, layer)));
  for (const float value : outputs(net, std::vector<float>(64 * 4, 1.0F))) {
    EXPECT_NEAR(value, 0.192F, 0.005F);
  }
}

// A pixel p is p itself with mean 0 and standard deviation 1/255. The stem keeps the red one, in
// f32: x. Then a = x / 2 and b = relu(a - x / 4) in int8, from a calibration on x = 255: steps of
// 255/255 = 1 for x, 127.5/255 = 1/2 for a, 63.75/255 = 1/4 for b. With x = 200: a = 100, b = 50,
// each a whole number of its steps, though the sum is of steps of 1/2 and 1/4.
TEST(ConvNet, AddsInInt8ByHand) {
  if (!native_int8()) GTEST_SKIP() << "this processor has no int8 of its own";
  const auto layer = [](const char* name, std::vector<float> weight) {
    return Convolution{name, 1, Window::same(2, 1), std::move(weight), {0.0F}, true};
  };
  const auto made = [&](Arithmetic arithmetic, std::span<const float> largest) {
    constexpr float kStep = 1.0F / 255.0F;
    ConvNet net =
        ConvNet::for_rgb8({1, 2}, {0.0F, 0.0F, 0.0F}, {kStep, kStep, kStep}, {arithmetic, 1, 1});
    const auto x = net.convolution(ConvNet::kInput, layer("stem", {1.0F, 0.0F, 0.0F}));
    const auto a = net.convolution(x, layer("half", {0.5F}));
    net.build(net.convolution_add(x, layer("quarter", {-0.25F}), a), largest);
    return net;
  };
  ConvNet exact = made(Arithmetic::kF32, {});
  const auto largest = exact.largest_values(std::vector<std::uint8_t>{255, 9, 9, 1, 9, 9});
  ASSERT_EQ(largest.size(), 4U);
  EXPECT_NEAR(largest[0], 255.0F, 1e-3F);
  EXPECT_NEAR(largest[1], 255.0F, 1e-3F);
  EXPECT_NEAR(largest[2], 127.5F, 1e-3F);
  EXPECT_NEAR(largest[3], 63.75F, 1e-3F);
  const std::vector<std::uint8_t> pixels = {200, 50, 60, 4, 70, 80};
  std::vector<float> result(2);
  ConvNet net = made(Arithmetic::kInt8, largest);
  net.run_rgb8(pixels, result);
  EXPECT_NEAR(result[0], 50.0F, 1e-4F);
  EXPECT_NEAR(result[1], 1.0F, 1e-4F);
  // What lies above the calibration is cut off.
  std::vector<float> half = largest;
  half[3] /= 2.0F;
  ConvNet cut = made(Arithmetic::kInt8, half);
  cut.run_rgb8(pixels, result);
  EXPECT_NEAR(result[0], 31.875F, 1e-4F);
  EXPECT_NEAR(result[1], 1.0F, 1e-4F);

  expect_error(ErrorKind::kUsage, "largest values of 0 nodes for an int8 net of 4", [&] {
    made(Arithmetic::kInt8, {});
  });
  expect_error(ErrorKind::kUsage, "only an f32 net", [&] { net.largest_values(pixels); });
  ConvNet volume(1, {2, 2, 2}, {Arithmetic::kInt8, 1, 1});
  expect_error(ErrorKind::kUnsupported, "two axes", [&] {
    volume.build(volume.global_mean(ConvNet::kInput), std::vector<float>(2, 1.0F));
  });
}

TEST(ConvNet, RefusesInputOfAnotherKind) {
  ConvNet plain(3, {2, 2}, {});
  plain.build(plain.global_mean(ConvNet::kInput));
  std::vector<float> result(3);
  expect_error(ErrorKind::kUsage, "not made by for_rgb8()", [&] {
    plain.run_rgb8(std::vector<std::uint8_t>(12), result);
  });
  expect_error(ErrorKind::kUsage, "standard deviation 0", [] {
    ConvNet::for_rgb8({2, 2}, {0.5F, 0.5F, 0.5F}, {1.0F, 1.0F, 0.0F}, {});
  });
  expect_error(ErrorKind::kUsage, "two axes", [] {
    ConvNet::for_rgb8({2, 2, 2}, {0.5F, 0.5F, 0.5F}, {1.0F, 1.0F, 1.0F}, {});
  });
}

// gamma 3, variance 4 - 1e-5 + 1e-5: scale 1.5; weight 2 -> 3; bias (1 - 5) 1.5 + 0.25 = -5.75
TEST(BatchNorm, FoldsByHand) {
  Convolution layer;
  layer.name = "layer";
  layer.out_channels = 1;
  layer.window = Window::same(2, 1);
  layer.weight = {2.0F};
  layer.bias = {1.0F};
  const BatchNorm norm{{3.0F}, {0.25F}, {5.0F}, {4.0F}, 0.0};
  fold(norm, layer);
  EXPECT_EQ(layer.weight[0], 3.0F);
  EXPECT_EQ(layer.bias[0], -5.75F);
}

TEST(BatchNorm, RefusesWhatCannotBeFolded) {
  Convolution layer = random_convolution("layer1", 2, 2, Window::same(2, 1), false, 1);
  const std::vector<float> one = {1.0F, 1.0F};
  expect_error(ErrorKind::kData, "layer1: batch norm with variance -1 in channel 1", [&] {
    fold({one, one, one, {1.0F, -1.0F}}, layer);
  });
  expect_error(ErrorKind::kUsage, "layer1: batch norm of 1 channels after a convolution of 2", [&] {
    fold({one, one, one, {1.0F}}, layer);
  });
}

TEST(ConvNet, RefusesLayersThatDoNotFit) {
  expect_error(ErrorKind::kUsage, "2 lanes of 2 threads", [] {
    ConvNet(3, {4, 4}, {Arithmetic::kF32, 2, 2});
  });
  expect_error(ErrorKind::kUsage, "two or three axes", [] { ConvNet(3, {4}, {}); });
  ConvNet net(3, {4, 4}, {});
  Convolution layer = random_convolution("c", 3, 8, Window::same(2, 3, 1, 1), false, 1);
  Convolution short_of_one = layer;
  short_of_one.weight.pop_back();
  expect_error(ErrorKind::kUsage, "c: 215 weights and 8 biases, expected 216 and 8", [&] {
    net.convolution(ConvNet::kInput, short_of_one);
  });
  Convolution too_large = random_convolution("big", 3, 8, Window::same(2, 7), false, 1);
  expect_error(ErrorKind::kUsage,
               "big: kernel 7, stride 1, padding 0, dilation 1 on an extent of 4",
               [&] { net.convolution(ConvNet::kInput, too_large); });
  expect_error(ErrorKind::kUsage, "c: (3, 4, 4) cannot be added to (8, 4, 4)", [&] {
    net.convolution_add(ConvNet::kInput, layer, ConvNet::kInput);
  });
  expect_error(ErrorKind::kUsage, "less padding than kernel", [&] {
    net.max_pool(ConvNet::kInput, Window::same(2, 1, 1, 1));
  });
  expect_error(ErrorKind::kUsage, "there is no node 99", [&] { net.build(99); });
  const auto node = net.convolution(ConvNet::kInput, layer);
  std::vector<float> result(8 * 16);
  expect_error(ErrorKind::kUsage, "before build()", [&] { net.run(normals(48, 1), result); });
  net.build(node);
  expect_error(ErrorKind::kUsage, "multiple of 48", [&] { net.run(normals(47, 1), result); });
  expect_error(ErrorKind::kUsage, "room for 128 values", [&] { net.run(normals(96, 1), result); });
  expect_error(ErrorKind::kUsage, "a second time", [&] { net.build(node); });
}

// Weights in a kernel's layout go on to the kernels of another size.
TEST(ConvNet, ResizedItIsTheNetOfThatSize) {
  for (const auto arithmetic : {Arithmetic::kF32, Arithmetic::kBf16}) {
    if (arithmetic == Arithmetic::kBf16 && !native_bf16()) continue;
    const auto made = [&](const Numbers& extent) {
      ConvNet net(1, extent, {arithmetic, 1, 1});
      auto x = net.convolution(ConvNet::kInput,
                               random_convolution("a", 1, 16, Window::same(3, 7, 2, 3), true, 1));
      const auto shortcut =
          net.convolution(x, random_convolution("s", 16, 32, Window::same(3, 1, 2), false, 2));
      x = net.convolution_add(
          x, random_convolution("b", 16, 32, Window::same(3, 3, 2, 1), true, 3), shortcut);
      x = net.convolution(x, random_convolution("c", 32, 20, Window::same(3, 3, 1, 4, 4), true, 4));
      net.build(net.global_mean(x));
      return net;
    };
    ConvNet net = made({9, 11, 10});
    const std::size_t bytes = net.bytes();
    for (const Numbers& extent : {Numbers{3, 40, 21}, Numbers{1, 1, 1}, Numbers{9, 11, 10}}) {
      net.resize(extent);
      ConvNet fresh = made(extent);
      const auto input = normals(static_cast<std::size_t>(product(extent)), 5);
      std::vector<float> map(static_cast<std::size_t>(product(net.averaged_shape())));
      std::vector<float> means(20);
      net.run(input, means, map);
      EXPECT_EQ(outputs(fresh, input), means);
      EXPECT_EQ(net.operations(), fresh.operations());
      EXPECT_EQ(net.bytes(), fresh.bytes());
      const std::size_t positions = map.size() / 20;
      for (std::size_t c = 0; c < 20; ++c) {
        double sum = 0.0;
        for (std::size_t p = 0; p < positions; ++p) {
          sum += static_cast<double>(map[c * positions + p]);
        }
        EXPECT_NEAR(sum / static_cast<double>(positions), means[c], 1e-4) << c;
      }
    }
    EXPECT_EQ(net.bytes(), bytes);
  }
}

TEST(ConvNet, RefusesSizesThatDoNotFitAndStaysAsItWas) {
  ConvNet net(2, {6, 6}, {});
  expect_error(ErrorKind::kUsage, "before build()", [&] { net.resize({7, 7}); });
  net.build(net.convolution(ConvNet::kInput,
                            random_convolution("c", 2, 3, Window::same(2, 5), false, 1)));
  const auto input = normals(2 * 36, 2);
  const auto before = outputs(net, input);
  expect_error(ErrorKind::kUsage, "(7, 7, 7), expected 2 axes", [&] { net.resize({7, 7, 7}); });
  expect_error(ErrorKind::kUsage, "(0, 7), expected", [&] { net.resize({0, 7}); });
  expect_error(ErrorKind::kUsage, "c: kernel 5", [&] { net.resize({4, 7}); });
  EXPECT_EQ(outputs(net, input), before);
  EXPECT_TRUE(net.averaged_shape().empty());
  std::vector<float> result(12);
  std::vector<float> map(12);
  expect_error(ErrorKind::kUsage, "room for 12 averaged values, expected 0", [&] {
    net.run(input, result, map);
  });
}

// 8 output channels of 4 x 4 from 3 channels of 3 x 3: 2 * 8 * 27 * 16 operations.
TEST(ConvNet, TellsItsOperationsAndBytes) {
  ConvNet net(3, {4, 4}, {Arithmetic::kF32, 2, 1});
  net.build(net.convolution(ConvNet::kInput,
                            random_convolution("c", 3, 8, Window::same(2, 3, 1, 1), false, 1)));
  EXPECT_EQ(net.operations(), 6912.0);
  EXPECT_GE(net.bytes(), 216 * sizeof(float) + 2 * (48 + 128) * sizeof(float));
  EXPECT_LT(net.bytes(), 1U << 20);
}

}  // namespace
}  // namespace med3d
