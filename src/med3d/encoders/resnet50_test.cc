#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <iostream>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "med3d/core/error.h"
#include "med3d/encoders/encoder.h"
#include "med3d/encoders/resnet50_internal.h"
#include "med3d/encoders/test_support_internal.h"
#include "med3d/encoders/weights.h"
#include "med3d/io/formats/npy.h"
#include "med3d/io/formats/safetensors.h"
#include "med3d/io/formats/torch_file.h"
#include "med3d/kernels/cpu.h"

namespace med3d {
namespace {

using encoder_test::expect_error;
using encoder_test::reference;

constexpr std::size_t kTile = 224 * 224 * 3;
constexpr std::size_t kDim = 1024;

std::vector<std::uint8_t> pixels_of(const std::filesystem::path& npy) {
  const Array array = read_npy(npy);
  return {array.bytes.begin(), array.bytes.end()};
}

// max |found - expected| / max |expected|
double relative_error(std::span<const float> found, std::span<const float> expected) {
  EXPECT_EQ(found.size(), expected.size());
  double difference = 0.0;
  double largest = 0.0;
  for (std::size_t i = 0; i < std::min(found.size(), expected.size()); ++i) {
    difference = std::max(
        difference, std::abs(static_cast<double>(found[i]) - static_cast<double>(expected[i])));
    largest = std::max(largest, std::abs(static_cast<double>(expected[i])));
  }
  return difference / largest;
}

// The smallest cosine of two rows of 1024.
double smallest_cosine(std::span<const float> a, std::span<const float> b) {
  double smallest = 1.0;
  for (std::size_t start = 0; start < a.size(); start += kDim) {
    double ab = 0.0;
    double aa = 0.0;
    double bb = 0.0;
    for (std::size_t i = start; i < start + kDim; ++i) {
      ab += static_cast<double>(a[i]) * static_cast<double>(b[i]);
      aa += static_cast<double>(a[i]) * static_cast<double>(a[i]);
      bb += static_cast<double>(b[i]) * static_cast<double>(b[i]);
    }
    smallest = std::min(smallest, ab / std::sqrt(aa * bb));
  }
  return smallest;
}

std::vector<float> encoded(Encoder& encoder, std::span<const std::uint8_t> tiles) {
  std::vector<float> embeddings(tiles.size() / kTile * kDim);
  encoder.encode(tiles, embeddings);
  return embeddings;
}

std::unique_ptr<Encoder> load(const std::filesystem::path& weights,
                              Precision precision,
                              int threads) {
  EncoderOptions options;
  options.precision = precision;
  options.threads = threads;
  return find_encoder("resnet50").load(weights, options);
}

// torchvision 0.14's ResNet-50 in f32 and f64, its weights in the zip container and in safetensors.
TEST(Resnet50, EqualsTorchOnTissue) {
  const auto packed = reference("weights/resnet50_trunc.pth.gz");
  const auto folder = reference("resnet");
  MED3D_NEEDS_REFERENCE(packed);
  MED3D_NEEDS_REFERENCE(folder);
  const encoder_test::TemporaryFolder temporary;
  encoder_test::write(temporary / "w.pth", encoder_test::gunzip(packed));
  const auto tiles = pixels_of(folder / "resized_u8.npy");
  const auto expected = as_f32(read_npy(folder / "features.npy"));

  const auto encoder = load(temporary / "w.pth", Precision::kF32, 2);
  const auto found = encoded(*encoder, tiles);
  const double error = relative_error(found, expected);
  const double error_f64 = relative_error(found, as_f32(read_npy(folder / "features_f64.npy")));
  std::cout << "f32: relative error " << error << " to torch in f32, " << error_f64
            << " in f64; smallest cosine 1 - " << 1.0 - smallest_cosine(found, expected) << '\n';
  EXPECT_LT(error, 1e-5);  // asked for: 1e-4
  EXPECT_LT(error_f64, 1e-5);

  // The same tile, the same bits: alone, last of three, on one thread.
  const auto single = load(temporary / "w.pth", Precision::kF32, 1);
  for (const std::size_t i : {0U, 5U, 15U}) {
    const auto alone = encoded(*single, std::span(tiles).subspan(i * kTile, kTile));
    EXPECT_TRUE(std::equal(
        alone.begin(), alone.end(), found.begin() + static_cast<std::ptrdiff_t>(i * kDim)))
        << "tile " << i;
  }
  EXPECT_LT(encoder->bytes(), 400'000'000U);

  // Downloads of timm come as safetensors: the same numbers.
  const auto safetensors = reference("weights/resnet50_trunc.safetensors.gz");
  MED3D_NEEDS_REFERENCE(safetensors);
  encoder_test::write(temporary / "w.bin", encoder_test::gunzip(safetensors));
  const auto same = load(temporary / "w.bin", Precision::kF32, 1);
  const auto first = encoded(*same, std::span(tiles).first(kTile));
  EXPECT_TRUE(std::equal(first.begin(), first.end(), found.begin()));
}

TEST(Resnet50, Bf16StaysNearTorch) {
  if (!native_bf16()) GTEST_SKIP() << "this processor has no bf16 of its own";
  const auto packed = reference("weights/resnet50_trunc.pth.gz");
  const auto folder = reference("resnet");
  MED3D_NEEDS_REFERENCE(packed);
  MED3D_NEEDS_REFERENCE(folder);
  const encoder_test::TemporaryFolder temporary;
  encoder_test::write(temporary / "w.pth", encoder_test::gunzip(packed));
  const auto expected = as_f32(read_npy(folder / "features.npy"));
  const auto encoder = load(temporary / "w.pth", Precision::kAuto, 2);
  EXPECT_EQ(encoder->precision(), Precision::kBf16);
  const auto tiles = pixels_of(folder / "resized_u8.npy");
  const auto found = encoded(*encoder, tiles);
  const double cosine = smallest_cosine(found, expected);
  const double error = relative_error(found, expected);
  std::cout << "bf16: smallest cosine " << cosine << ", relative error " << error << '\n';
  EXPECT_GT(cosine, 0.9997);
  EXPECT_LT(error, 3e-2);
  const auto alone = encoded(*load(temporary / "w.pth", Precision::kBf16, 1),
                             std::span(tiles).subspan(7 * kTile, kTile));
  EXPECT_TRUE(std::equal(alone.begin(), alone.end(), found.begin() + 7 * kDim));
}

TEST(Resnet50, Int8StaysNearTorchOnceCalibrated) {
  if (!native_int8()) GTEST_SKIP() << "this processor has no int8 of its own";
  const auto packed = reference("weights/resnet50_trunc.pth.gz");
  const auto folder = reference("resnet");
  MED3D_NEEDS_REFERENCE(packed);
  MED3D_NEEDS_REFERENCE(folder);
  const encoder_test::TemporaryFolder temporary;
  encoder_test::write(temporary / "w.pth", encoder_test::gunzip(packed));
  const auto expected = as_f32(read_npy(folder / "features.npy"));
  const auto tiles = pixels_of(folder / "resized_u8.npy");
  const auto encoder = load(temporary / "w.pth", Precision::kInt8, 2);
  EXPECT_EQ(encoder->precision(), Precision::kInt8);
  std::vector<float> none(kDim);
  expect_error(ErrorKind::kUsage, "calibrate() first", [&] {
    encoder->encode(std::span(tiles).first(kTile), none);
  });
  expect_error(ErrorKind::kUsage, "no tile", [&] { encoder->calibrate({}); });
  // Half of the tiles to calibrate by: the figures are those of the others.
  const std::size_t half = tiles.size() / 2;
  encoder->calibrate(std::span(tiles).first(half));
  const auto found = encoded(*encoder, std::span(tiles).subspan(half));
  const std::span<const float> others = std::span(expected).subspan(8 * kDim);
  const double cosine = smallest_cosine(found, others);
  const double error = relative_error(found, others);
  std::cout << "int8: smallest cosine " << cosine << ", relative error " << error << '\n';
  EXPECT_GT(cosine, 0.99);
  EXPECT_LT(error, 0.2);
  // The same calibration, the same bits, on any number of threads.
  const auto again = load(temporary / "w.pth", Precision::kInt8, 1);
  again->calibrate(std::span(tiles).first(half));
  const auto alone = encoded(*again, std::span(tiles).subspan(half + 3 * kTile, kTile));
  EXPECT_TRUE(std::equal(alone.begin(), alone.end(), found.begin() + 3 * kDim));
  EXPECT_LT(encoder->bytes(), 20'000'000U);
  // So does what it found, without the tiles.
  std::vector<float> scales = encoder->scales();
  const auto repeated = load(temporary / "w.pth", Precision::kInt8, 1);
  EXPECT_TRUE(repeated->scales().empty());
  expect_error(ErrorKind::kData, "1 int8 scales, expected 46", [&] {
    repeated->set_scales(std::span(scales).first(1));
  });
  auto broken = scales;
  broken[5] = -1.0F;
  expect_error(ErrorKind::kData, "an int8 scale of -1", [&] { repeated->set_scales(broken); });
  repeated->set_scales(scales);
  EXPECT_EQ(repeated->scales(), scales);
  EXPECT_EQ(encoded(*repeated, std::span(tiles).subspan(half + 3 * kTile, kTile)), alone);
}

// Where a difference starts would show here.
TEST(Resnet50, EachStageEqualsTorch) {
  const auto packed = reference("weights/resnet50_trunc.pth.gz");
  const auto folder = reference("resnet");
  MED3D_NEEDS_REFERENCE(packed);
  MED3D_NEEDS_REFERENCE(folder);
  const encoder_test::TemporaryFolder temporary;
  encoder_test::write(temporary / "w.pth", encoder_test::gunzip(packed));
  const auto tiles = pixels_of(folder / "resized_u8.npy");
  const std::vector<std::pair<Resnet50End, std::string>> stages = {
      {Resnet50End::kStem, "act_conv1_first.npy"},
      {Resnet50End::kLayer1, "act_layer1_first.npy"},
      {Resnet50End::kLayer2, "act_layer2_first.npy"},
      {Resnet50End::kLayer3, "act_layer3_first.npy"},
  };
  for (const auto& [end, file] : stages) {
    ConvNet net = resnet50_net(temporary / "w.pth", {}, end, 224);
    std::vector<float> found(net.output_size());
    net.run_rgb8(std::span(tiles).first(kTile), found);
    // Single positions, not means of 196: torch's own f32 is off its f64 by 5e-6 here.
    EXPECT_LT(relative_error(found, as_f32(read_npy(folder / file))), 1e-4) << file;
    if (end != Resnet50End::kStem) continue;
    // Already normalised input takes the other way in.
    const auto tensor = as_f32(read_npy(folder / "tensor_first.npy"));
    std::vector<float> again(net.output_size());
    net.run(tensor, again);
    EXPECT_EQ(again, found);
  }
  // 256 pixels: a net for tiles that are not resized.
  ConvNet net = resnet50_net(temporary / "w.pth", {}, Resnet50End::kEmbedding, 256);
  const auto large = pixels_of(folder / "patches_u8.npy");
  std::vector<float> found(4 * kDim);
  net.run_rgb8(std::span(large).first(4 * 256 * 256 * 3), found);
  EXPECT_LT(relative_error(found, as_f32(read_npy(folder / "features_256.npy"))), 1e-5);
}

TEST(Resnet50, AnUntrainedOneIsMadeOfItsSeed) {
  const EncoderSpec& spec = find_encoder("resnet50-untrained");
  EXPECT_FALSE(spec.trained);
  std::vector<std::uint8_t> tile(kTile);
  for (std::size_t i = 0; i < kTile; ++i) tile[i] = static_cast<std::uint8_t>(i * 37 % 251);
  EncoderOptions options;
  options.seed = 3;
  const auto once = encoded(*spec.load({}, options), tile);
  const auto again = encoded(*spec.load("ignored.pth", options), tile);
  EXPECT_EQ(once, again);
  EXPECT_TRUE(std::all_of(once.begin(), once.end(), [](float v) { return std::isfinite(v); }));
  options.seed = 4;
  EXPECT_NE(encoded(*spec.load({}, options), tile), once);
}

// The weights of a net that is small only in number: one wrong tensor at a time, told by its name.
TEST(Resnet50, RefusesWeightsThatAreNotItsOwn) {
  const auto packed = reference("weights/resnet50_trunc.pth.gz");
  MED3D_NEEDS_REFERENCE(packed);
  const encoder_test::TemporaryFolder temporary;
  const auto good = parse_state_dict(encoder_test::gunzip(packed), "reference");
  const auto refused = [&](const std::string& part, const std::vector<NamedArray>& tensors) {
    encoder_test::write(temporary / "w.safetensors", safetensors_bytes(tensors));
    expect_error(
        ErrorKind::kData, part, [&] { load(temporary / "w.safetensors", Precision::kF32, 1); });
  };
  const auto find = [](std::vector<NamedArray>& tensors, const std::string& name) {
    return std::find_if(
        tensors.begin(), tensors.end(), [&](const auto& t) { return t.name == name; });
  };

  auto tensors = good;
  tensors.erase(find(tensors, "layer3.5.conv2.weight"));
  refused("layer3.5.conv2.weight: missing", tensors);

  tensors = good;
  tensors.push_back({"layer5.weight", find(tensors, "bn1.weight")->array});
  refused("'layer5.weight': unknown, (64,)", tensors);

  tensors = good;
  find(tensors, "bn1.bias")->array = find(tensors, "layer3.0.bn3.bias")->array;
  refused("bn1.bias: (1024,), expected (64,)", tensors);

  tensors = good;
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::memcpy(find(tensors, "layer2.0.conv1.weight")->array.bytes.data() + 12, &nan, sizeof(nan));
  refused("layer2.0.conv1.weight: nan at element 3", tensors);

  tensors = good;
  const float negative = -0.5F;
  std::memcpy(find(tensors, "bn1.running_var")->array.bytes.data(), &negative, sizeof(negative));
  refused("conv1: batch norm with variance -0.5 in channel 0", tensors);

  // What the cut net does not use may be there.
  tensors = good;
  tensors.push_back({"layer4.0.conv1.weight", find(tensors, "bn1.weight")->array});
  tensors.push_back({"fc.weight", find(tensors, "bn1.weight")->array});
  encoder_test::write(temporary / "w.safetensors", safetensors_bytes(tensors));
  EXPECT_NO_THROW(load(temporary / "w.safetensors", Precision::kF32, 1));
}

TEST(Resnet50, RefusesOptionsAndTilesThatMakeNoSense) {
  expect_error(ErrorKind::kUsage, "no weights given", [] { load({}, Precision::kF32, 1); });
  expect_error(ErrorKind::kUsage, "0 threads", [] { load({}, Precision::kF32, 0); });
  EncoderOptions options;
  options.batch = 2;
  const auto encoder = find_encoder("resnet50-untrained").load({}, options);
  std::vector<float> embeddings(3 * kDim);
  expect_error(ErrorKind::kUsage, "expected up to 2 tiles of 224 x 224", [&] {
    encoder->encode(std::vector<std::uint8_t>(3 * kTile), embeddings);
  });
  expect_error(ErrorKind::kUsage, "expected up to 2 tiles of 224 x 224", [&] {
    encoder->encode(std::vector<std::uint8_t>(kTile - 1), embeddings);
  });
  expect_error(ErrorKind::kUsage, "room for 3072 values", [&] {
    encoder->encode(std::vector<std::uint8_t>(kTile), embeddings);
  });
}

}  // namespace
}  // namespace med3d
