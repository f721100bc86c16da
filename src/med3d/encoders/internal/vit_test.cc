#include "med3d/encoders/vit.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "med3d/core/error.h"
#include "med3d/kernels/cpu.h"

namespace med3d {

extern const EncoderSpec uni_encoder;
extern const EncoderSpec vit_l16_untrained_encoder;
extern const EncoderSpec conch_encoder;

namespace {

constexpr std::int64_t kTilePx = 32;
constexpr std::size_t kTile = kTilePx * kTilePx * 3;

// Widths of UNI's and CONCH's nets divided by 16; the second one's positions are of a larger tile.
VitOptions small() {
  VitOptions options;
  options.input_px = kTilePx;
  options.patch_px = 8;
  options.position_px = kTilePx;
  options.width = 64;
  options.depth = 3;
  options.heads = 4;
  options.mlp_width = 256;
  options.mean = {0.485F, 0.456F, 0.406F};
  options.stddev = {0.229F, 0.224F, 0.225F};
  return options;
}

VitOptions small_pooled() {
  VitOptions options = small();
  options.position_px = 64;
  options.width = 48;
  options.depth = 2;
  options.heads = 3;
  options.mlp_width = 192;
  options.layer_scale = false;
  options.pool_width = 32;
  options.pool_heads = 4;
  options.trunk = "visual.trunk.";
  options.pool = "visual.";
  options.ignored = {"text.", "logit_scale"};
  return options;
}

// The weights of tests/reference/vit_reference.py: sin(0.618 i^2 + phase of the name), scaled by
// what the tensor is.
Weights formula_weights(const VitOptions& options) {
  Weights weights = untrained_vit_weights(options, 0);
  weights.source = "formula";
  for (auto& [name, array] : weights.tensors) {
    int phase = 0;
    for (std::size_t i = 0; i < name.size(); ++i) {
      phase = (phase + static_cast<int>(i + 1) * static_cast<int>(name[i])) % 997;
    }
    double fan_in = 1.0;
    for (std::size_t axis = 1; axis < array.shape.size(); ++axis) {
      fan_in *= static_cast<double>(array.shape[axis]);
    }
    double middle = 0.0;
    double size = 1.5 / std::sqrt(fan_in);
    if (name.ends_with(".gamma")) {
      middle = 0.5;
      size = 0.3;
    } else if (array.shape.size() == 1) {
      const bool norm = name.ends_with(".weight");
      middle = norm ? 1.0 : 0.0;
      size = norm ? 0.3 : 0.2;
    } else if (name.ends_with("cls_token") || name.ends_with("pos_embed") ||
               name.ends_with("query")) {
      size = 0.5;
    }
    for (std::size_t i = 0; i < array.bytes.size() / sizeof(float); ++i) {
      const auto n = static_cast<double>(i);
      const auto value = static_cast<float>(middle + size * std::sin(0.618 * n * n + phase));
      std::memcpy(array.bytes.data() + i * sizeof(float), &value, sizeof(float));
    }
  }
  return weights;
}

std::vector<std::uint8_t> formula_tiles(std::int64_t n) {
  std::vector<std::uint8_t> rgb;
  for (std::int64_t tile = 0; tile < n; ++tile) {
    for (std::int64_t k = 0; k < static_cast<std::int64_t>(kTile); ++k) {
      rgb.push_back(static_cast<std::uint8_t>((k * k * 7 + k * 13 + tile * 101) % 256));
    }
  }
  return rgb;
}

EncoderOptions running(Precision precision, int threads = 1, std::int64_t batch = 4) {
  EncoderOptions run;
  run.precision = precision;
  run.threads = threads;
  run.batch = batch;
  return run;
}

std::vector<float> encoded(Encoder& encoder, const std::vector<std::uint8_t>& rgb) {
  const auto dim = static_cast<std::size_t>(encoder.embedding_dim());
  std::vector<float> result(rgb.size() / kTile * dim);
  encoder.encode(rgb, result);
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

// Of an embedding e: its first six numbers, its last, |e|, and the sum of i e_i from i = 1.
struct Expected {
  std::vector<double> first;
  double last, length, moment;
};

// Printed by tests/reference/vit_reference.py: PyTorch 1.13.1 in f64.
const Expected kSmall[] = {{{-1.2422075, 0.6634924, -2.6188763, 0.6433553, 1.2928979, 0.0533389},
                            -0.7315309,
                            8.3185993,
                            108.8386439},
                           {{-0.0575834, 0.3651807, -1.6941893, 1.5239391, -0.4566470, 0.0422179},
                            -1.1035469,
                            8.3982763,
                            64.8345248}};
const Expected kSmallPooled[] = {
    {{1.2576370, 0.1987281, -1.8514975, -0.2518838, -0.4511914, -0.4628261},
     0.8442038,
     5.9775751,
     75.6356063},
    {{1.2795363, 0.2055112, -3.7682052, -0.7489552, -1.2862894, -0.0139282},
     -1.3032975,
     6.2152752,
     32.0903553}};

void expect_equal(std::span<const float> embedding, const Expected& expected, double tolerance) {
  const std::size_t n = embedding.size();
  for (std::size_t i = 0; i < expected.first.size(); ++i) {
    EXPECT_NEAR(embedding[i], expected.first[i], tolerance) << i;
  }
  EXPECT_NEAR(embedding.back(), expected.last, tolerance);
  double squares = 0.0;
  double moment = 0.0;
  for (std::size_t i = 0; i < n; ++i) {
    squares += static_cast<double>(embedding[i]) * embedding[i];
    moment += static_cast<double>(i + 1) * embedding[i];
  }
  EXPECT_NEAR(std::sqrt(squares), expected.length, tolerance);
  // Errors of n numbers, each weighed by up to n, add up as their squares do.
  EXPECT_NEAR(moment, expected.moment, tolerance * std::pow(static_cast<double>(n), 1.5));
}

void expect_reference(const VitOptions& options,
                      const Expected (&expected)[2],
                      const EncoderOptions& run,
                      double tolerance) {
  const auto encoder = make_vit(options, formula_weights(options), "small", run);
  const std::vector<float> y = encoded(*encoder, formula_tiles(2));
  const auto dim = static_cast<std::size_t>(encoder->embedding_dim());
  for (std::size_t tile = 0; tile < 2; ++tile) {
    expect_equal(std::span(y).subspan(tile * dim, dim), expected[tile], tolerance);
  }
}

TEST(Vit, EqualsPyTorchInF32) {
  expect_reference(small(), kSmall, running(Precision::kF32), 2e-5);
  expect_reference(small(), kSmall, running(Precision::kF32, 2, 1000), 2e-5);
}

TEST(Vit, EqualsPyTorchWithAttentionalPoolingAndResampledPositions) {
  expect_reference(small_pooled(), kSmallPooled, running(Precision::kF32), 2e-5);
  expect_reference(small_pooled(), kSmallPooled, running(Precision::kF32, 2), 2e-5);
}

TEST(Vit, StaysNearPyTorchInBf16) {
  if (!native_bf16()) GTEST_SKIP() << "this processor does not compute bf16";
  expect_reference(small(), kSmall, running(Precision::kBf16, 2), 0.05);
  expect_reference(small_pooled(), kSmallPooled, running(Precision::kBf16, 2), 0.05);
}

TEST(Vit, TakesF32WhereBf16IsNotNative) {
  const auto encoder =
      make_vit(small(), formula_weights(small()), "small", running(Precision::kBf16));
  EXPECT_EQ(encoder->precision(), native_bf16() ? Precision::kBf16 : Precision::kF32);
  EXPECT_EQ(
      make_vit(small(), formula_weights(small()), "small", running(Precision::kAuto))->precision(),
      encoder->precision());
}

// Alone, at any place of a batch, and beside what an earlier batch left behind.
TEST(Vit, GivesATileTheSameBitsWhateverElseIsInTheBatch) {
  const std::vector<std::uint8_t> rgb = formula_tiles(3);
  for (const VitOptions& options : {small(), small_pooled()}) {
    for (const Precision precision : {Precision::kF32, Precision::kAuto}) {
      const auto encoder =
          make_vit(options, formula_weights(options), "small", running(precision, 2, 3));
      const auto dim = static_cast<std::size_t>(encoder->embedding_dim());
      const std::vector<float> together = encoded(*encoder, rgb);
      for (std::size_t tile = 0; tile < 3; ++tile) {
        const std::vector<float> expected(
            together.begin() + static_cast<std::ptrdiff_t>(tile * dim),
            together.begin() + static_cast<std::ptrdiff_t>((tile + 1) * dim));
        const std::vector<std::uint8_t> alone(
            rgb.begin() + static_cast<std::ptrdiff_t>(tile * kTile),
            rgb.begin() + static_cast<std::ptrdiff_t>((tile + 1) * kTile));
        EXPECT_EQ(encoded(*encoder, alone), expected) << tile;
      }
    }
  }
}

TEST(Vit, TakesMoreTilesThanItComputesAtOnce) {
  VitOptions options = small();
  options.input_px = 64;  // 65 tokens: twelve tiles at once
  options.position_px = 64;
  const auto encoder =
      make_vit(options, formula_weights(options), "small", running(Precision::kF32, 1, 30));
  std::vector<std::uint8_t> rgb = formula_tiles(30 * 4);  // 30 tiles of four times the area
  std::vector<float> all(30 * 64);
  encoder->encode(rgb, all);
  std::vector<float> one(64);
  for (const std::size_t tile : {0U, 11U, 12U, 29U}) {
    encoder->encode(std::span(rgb).subspan(tile * 4 * kTile, 4 * kTile), one);
    EXPECT_TRUE(std::equal(one.begin(), one.end(), all.begin() + static_cast<int>(tile) * 64))
        << tile;
  }
  encoder->encode({}, {});
}

TEST(Vit, NamesTensorsThatDoNotFit) {
  Weights weights = formula_weights(small());
  weights.tensors.erase("blocks.2.ls1.gamma");
  weights.tensors["head.weight"] = weights.tensors["norm.weight"];
  weights.tensors["pos_embed"].shape = {1, 64, 17};
  const std::string message =
      message_of([&] { make_vit(small(), std::move(weights), "uni", running(Precision::kF32)); });
  for (const char* part :
       {"blocks.2.ls1.gamma", "head.weight", "pos_embed", "(1, 17, 64)", "uni"}) {
    EXPECT_NE(message.find(part), std::string::npos) << part << " in: " << message;
  }
}

TEST(Vit, LeavesOutTheTextTowerButNoStrangeTensor) {
  Weights weights = formula_weights(small_pooled());
  weights.tensors["text.cls_emb"] = weights.tensors["visual.trunk.norm.weight"];
  weights.tensors["logit_scale"] = weights.tensors["visual.trunk.norm.weight"];
  EXPECT_NO_THROW(make_vit(small_pooled(), weights, "conch", running(Precision::kF32)));
  weights.tensors["visual.head.weight"] = weights.tensors["visual.trunk.norm.weight"];
  EXPECT_NE(message_of([&] {
              make_vit(small_pooled(), weights, "conch", running(Precision::kF32));
            }).find("visual.head.weight"),
            std::string::npos);
}

TEST(Vit, RefusesWhatItCannotDo) {
  const auto made = [](const VitOptions& options, const EncoderOptions& run) {
    return message_of([&] { make_vit(options, formula_weights(small()), "small", run); });
  };
  EXPECT_NE(made(small(), running(Precision::kInt8)).find("int8"), std::string::npos);
  EXPECT_NE(made(small(), running(Precision::kF32, 0)).find("size 0"), std::string::npos);
  VitOptions odd = small();
  odd.heads = 5;
  EXPECT_NE(made(odd, running(Precision::kF32)).find("width 64 in 5 heads"), std::string::npos);
  const auto encoder =
      make_vit(small(), formula_weights(small()), "small", running(Precision::kF32, 1, 2));
  std::vector<float> three(3 * 64);
  const std::vector<std::uint8_t> rgb = formula_tiles(3);
  EXPECT_NE(message_of([&] { encoder->encode(rgb, three); }).find("at most 2 tiles"),
            std::string::npos);
  EXPECT_NE(message_of([&] {
              encoder->encode(std::span(rgb).first(kTile - 1), std::span(three).first(64));
            }).find("3071 bytes"),
            std::string::npos);
}

// One block of width 4 on a tile of one patch of 2 x 2: two tokens, one head, an MLP of 3.
//   patch 12 x 4 = 48; the last block: keys and values 2 x 2 x 16, query and output 2 x 16, scores
//   and sums 2 x 2 x 4, MLP 2 x 12: 64 + 32 + 16 + 24 = 136; (48 + 136) x 2 = 368.
TEST(Vit, CountsItsOperations) {
  VitOptions options;
  options.input_px = options.patch_px = options.position_px = 2;
  options.width = 4;
  options.depth = 1;
  options.heads = 1;
  options.mlp_width = 3;
  options.stddev = {1.0F, 1.0F, 1.0F};
  const auto encoder =
      make_vit(options, untrained_vit_weights(options, 1), "tiny", running(Precision::kF32));
  EXPECT_EQ(encoder->operations(), 368.0);
  EXPECT_GT(encoder->bytes(), 4U * (48 + 12 * 4 + 16 + 24));
}

// A constant grid stays constant, and a larger one is not widened: with a = -1/2 a cell halfway
// between two takes (-1/16, 9/16, 9/16, -1/16) of its neighbours.
TEST(ResamplePositions, KeepsConstantsAndInterpolates) {
  for (const float value : resample_positions(std::vector<float>(49, 2.5F), 7, 4, 1)) {
    EXPECT_NEAR(value, 2.5F, 1e-6F);
  }
  const std::vector<float> same{1.0F, 2.0F, 3.0F, 4.0F};
  EXPECT_EQ(resample_positions(same, 2, 2, 1), same);
}

// The first row of interpolate(arange(28) ** 2, 14, mode="bicubic", antialias=True) in torch 1.13.
TEST(ResamplePositions, EqualsTorchAtHalfTheSize) {
  std::vector<float> grid;
  for (int y = 0; y < 28; ++y) {
    for (int x = 0; x < 28; ++x) grid.push_back(static_cast<float>(x * x));
  }
  const std::vector<float> half = resample_positions(grid, 28, 14, 1);
  const double expected[] = {0.41004,
                             6.1892,
                             20.25,
                             42.25,
                             72.25,
                             110.25,
                             156.25,
                             210.25,
                             272.25,
                             342.25,
                             420.25,
                             506.25,
                             602.38,
                             700.04};
  for (std::size_t i = 0; i < half.size(); ++i) {
    EXPECT_NEAR(half[i], expected[i % 14], 5e-3) << i;
  }
}

TEST(TransformerEncoders, StateTheirFacts) {
  for (const EncoderSpec* spec : {&uni_encoder, &vit_l16_untrained_encoder, &conch_encoder}) {
    EXPECT_EQ(spec->modality, "wsi");
    EXPECT_EQ(spec->input_px, 224);
    EXPECT_FALSE(spec->reference.empty());
    EXPECT_GT(*std::min_element(spec->stddev.begin(), spec->stddev.end()), 0.2F);
  }
  EXPECT_EQ(uni_encoder.embedding_dim, 1024);
  EXPECT_EQ(conch_encoder.embedding_dim, 512);
  EXPECT_FALSE(vit_l16_untrained_encoder.trained);
}

}  // namespace
}  // namespace med3d
