#include "med3d/pipeline/engine.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/encoders/medicalnet.h"
#include "med3d/encoders/vit.h"
#include "med3d/io/formats/safetensors.h"
#include "med3d/kernels/cpu.h"

namespace med3d::pipeline {
namespace {

// Largest difference over the largest feature.
constexpr double kTolerance = 1e-4;

const ChosenEngine kTorch = {Engine::kTorch, "cpu"};

double difference(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  double most = 0.0;
  double largest = 0.0;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    most = std::max(most, std::abs(static_cast<double>(a[i]) - b[i]));
    largest = std::max(largest, std::abs(static_cast<double>(b[i])));
  }
  EXPECT_GT(largest, 0.0);
  return most / largest;
}

std::vector<std::uint8_t> pixels(std::int64_t tiles, std::int64_t side) {
  std::mt19937 engine(5);
  std::vector<std::uint8_t> rgb(static_cast<std::size_t>(tiles * side * side * 3));
  for (auto& value : rgb) value = static_cast<std::uint8_t>(engine());
  return rgb;
}

std::vector<float> encoded(Encoder& encoder, const std::vector<std::uint8_t>& rgb, std::size_t n) {
  std::vector<float> out(n * static_cast<std::size_t>(encoder.embedding_dim()));
  encoder.encode(rgb, out);
  return out;
}

float uniform(std::mt19937& engine, float low, float high) {
  return low + (high - low) * static_cast<float>(engine()) / 4294967296.0F;
}

// Norms and biases that a folding which forgets one of them would not survive.
void shake(Weights& weights) {
  std::mt19937 engine(7);
  for (auto& [name, array] : weights.tensors) {
    if (array.shape.size() != 1) continue;
    const bool positive = name.ends_with(".weight") || name.ends_with(".running_var");
    for (std::size_t i = 0; i < array.bytes.size(); i += sizeof(float)) {
      const float value = positive ? uniform(engine, 0.6F, 1.4F) : uniform(engine, -0.2F, 0.2F);
      std::memcpy(array.bytes.data() + i, &value, sizeof(float));
    }
  }
}

// ---- tiles

TEST(Engine, LibTorchAgreesWithOursOnResnet50) {
  // Of seeded weights in a file, so that loading is part of it.
  const EncoderSpec& spec = find_encoder("resnet50");
  std::vector<NamedArray> arrays;
  std::mt19937 engine(11);
  for (const TensorShape& tensor : spec.tensors()) {
    Array array;
    array.shape = tensor.shape;
    std::size_t count = 1;
    for (const auto side : tensor.shape) count *= side;
    const bool norm = tensor.shape.size() == 1;
    const bool positive =
        norm && (tensor.name.ends_with(".weight") || tensor.name.ends_with(".running_var"));
    const float reach =
        norm ? 0.2F
             : std::sqrt(6.0F * static_cast<float>(tensor.shape[0]) / static_cast<float>(count));
    array.bytes.resize(count * sizeof(float));
    for (std::size_t i = 0; i < count; ++i) {
      const float value = positive ? uniform(engine, 0.6F, 1.0F) : uniform(engine, -reach, reach);
      std::memcpy(array.bytes.data() + i * sizeof(float), &value, sizeof(float));
    }
    arrays.push_back({tensor.name, std::move(array)});
  }
  const auto path = std::filesystem::temp_directory_path() /
                    ("med3d-engine-" + std::to_string(::getpid()) + ".safetensors");
  write_file_atomic(path, safetensors_bytes(arrays));
  EncoderOptions options;
  options.batch = 2;
  const auto rgb = pixels(2, spec.input_px);
  const auto ours = encoded(*load_encoder_on({}, spec, path, options), rgb, 2);
  const auto torch = load_encoder_on(kTorch, spec, path, options);
  std::filesystem::remove(path);
  EXPECT_EQ(torch->embedding_dim(), spec.embedding_dim);
  EXPECT_EQ(torch->precision(), Precision::kF32);
  EXPECT_EQ(torch->in_flight(), 1);
  EXPECT_LE(difference(encoded(*torch, rgb, 2), ours), kTolerance);
}

VitOptions small_vit() {
  VitOptions options;
  options.input_px = 64;
  options.position_px = 64;
  options.width = 96;
  options.depth = 3;
  options.heads = 4;
  options.mlp_width = 192;
  options.mean = {0.5F, 0.4F, 0.3F};
  options.stddev = {0.2F, 0.3F, 0.25F};
  return options;
}

VitOptions small_conch() {
  VitOptions options = small_vit();
  options.position_px = 96;  // positions are resampled, as CLAM has it
  options.layer_scale = false;
  options.pool_width = 64;
  options.pool_heads = 4;
  options.trunk = "visual.trunk.";
  options.pool = "visual.";
  return options;
}

TEST(Engine, LibTorchAgreesWithOursOnUniAndConch) {
  for (const VitOptions& vit : {small_vit(), small_conch()}) {
    Weights weights = untrained_vit_weights(vit, 3);
    shake(weights);
    EncoderOptions options;
    options.batch = 3;
    const auto rgb = pixels(3, vit.input_px);
    const auto ours = encoded(*make_vit(vit, weights, "vit", options), rgb, 3);
    const auto torch = make_torch_encoder(kTorch,
                                          vit_graph(vit, weights, "vit"),
                                          TorchTiles{vit.input_px, vit.mean, vit.stddev},
                                          options);
    EXPECT_LE(difference(encoded(*torch, rgb, 3), ours), kTolerance) << vit.pool_width;
    // Convolution, 3 blocks, and the pooler: ours leaves out what the class token does not need.
    EXPECT_GE(torch->operations(), make_vit(vit, weights, "vit", options)->operations() * 0.99);
  }
}

TEST(Engine, EveryEncoderOfTheListsHasItsNetAsData) {
  for (const EncoderSpec* spec : encoders()) EXPECT_NE(spec->graph, nullptr) << spec->name;
  for (const auto* spec : volume_encoders()) EXPECT_NE(spec->graph, nullptr) << spec->name;
  // The full nets of those that need no file.
  EXPECT_NO_THROW(find_encoder("resnet50-untrained").graph({}, {}).validate());
  EXPECT_NO_THROW(find_volume_encoder("resnet18-3d-untrained").graph({}, {}).validate());
}

TEST(Engine, ATileGivesTheSameBitsInAnyBatch) {
  const EncoderSpec& spec = find_encoder("resnet50-untrained");
  EncoderOptions options;
  options.batch = 2;
  const auto torch = load_encoder_on(kTorch, spec, {}, options);
  const auto rgb = pixels(2, spec.input_px);
  const auto both = encoded(*torch, rgb, 2);
  const std::size_t half = rgb.size() / 2;
  const auto second =
      encoded(*torch, {rgb.begin() + static_cast<std::ptrdiff_t>(half), rgb.end()}, 1);
  EXPECT_TRUE(std::equal(second.begin(), second.end(), both.begin() + 1024));
}

// ---- volumes

TEST(Engine, LibTorchAgreesWithOursOnMedicalNetAndMonai) {
  const VolumeExtent extent = {9, 20, 17};
  std::mt19937 engine(13);
  std::vector<float> volume(static_cast<std::size_t>(extent[0] * extent[1] * extent[2]));
  for (float& value : volume) value = uniform(engine, -1.0F, 1.0F);
  for (const bool dilated : {true, false}) {
    for (const int depth : {10, 18, 34, 50}) {
      for (const Shortcut shortcut : {Shortcut::kA, Shortcut::kB}) {
        MedicalNetDesign design = medicalnet_design(depth, dilated);
        design.width = 8;
        design.shortcut = shortcut;
        Weights weights = untrained_medicalnet_weights(design, 17);
        shake(weights);
        const VolumeEncoderOptions options;
        const auto ours = make_medicalnet(design, weights, "ours", options);
        const auto torch = make_torch_encoder(
            kTorch, medicalnet_graph(design, weights, "torch", options), "torch", options);
        ASSERT_EQ(torch->embedding_dim(), ours->embedding_dim());
        std::vector<float> expected(static_cast<std::size_t>(ours->embedding_dim()));
        std::vector<float> found(expected.size());
        const FeatureMap own = ours->encode_with_map(volume, extent, expected);
        const FeatureMap map = torch->encode_with_map(volume, extent, found);
        const std::string what = std::to_string(depth) + (dilated ? " dilated" : " strided");
        EXPECT_LE(difference(found, expected), kTolerance) << what;
        EXPECT_EQ(map.shape, own.shape) << what;
        EXPECT_LE(difference(map.values, own.values), kTolerance) << what;
        std::vector<float> alone(found.size());
        torch->encode(volume, extent, alone);
        EXPECT_EQ(alone, found);
      }
    }
  }
}

// Both round each layer once, in places of their own: they differ from f32 by what bf16 holds.
TEST(Engine, LibTorchComputesVolumesInBf16WhereTheProcessorDoes) {
  const VolumeExtent extent = {9, 20, 17};
  std::mt19937 engine(19);
  std::vector<float> volume(static_cast<std::size_t>(extent[0] * extent[1] * extent[2]));
  for (float& value : volume) value = uniform(engine, -1.0F, 1.0F);
  MedicalNetDesign design = medicalnet_design(10, true);
  design.width = 8;
  Weights weights = untrained_medicalnet_weights(design, 17);
  shake(weights);
  VolumeEncoderOptions options;
  const auto exact = make_medicalnet(design, weights, "ours", options);
  options.precision = Precision::kBf16;
  const auto torch = make_torch_encoder(
      kTorch, medicalnet_graph(design, weights, "torch", options), "torch", options);
  EXPECT_EQ(torch->precision(), native_bf16() ? Precision::kBf16 : Precision::kF32);
  std::vector<float> expected(static_cast<std::size_t>(exact->embedding_dim()));
  std::vector<float> found(expected.size());
  exact->encode(volume, extent, expected);
  torch->encode(volume, extent, found);
  EXPECT_LE(difference(found, expected), 0.03);
}

// ---- choices

void expect_error(ErrorKind kind, const std::string& part, const std::function<void()>& work) {
  try {
    work();
    ADD_FAILURE() << "no error, expected one saying '" << part << "'";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST(Engine, IsChosenByEngineAndDevice) {
  using nn::DeviceKind;
  EXPECT_EQ(choose_engine(Engine::kAuto, DeviceKind::kCpu).name(), "native");
  EXPECT_EQ(choose_engine(Engine::kTorch, DeviceKind::kCpu).name(), "torch");
  EXPECT_EQ(choose_engine(Engine::kNative, DeviceKind::kAuto).device, "cpu");
  EXPECT_EQ(ChosenEngine().text(), "");
  EXPECT_EQ(kTorch.text(), "engine torch " + nn::torch_version() + " on cpu");
  expect_error(ErrorKind::kUsage, "engine 'native' computes on the processor", [] {
    choose_engine(Engine::kNative, DeviceKind::kCuda);
  });
  expect_error(ErrorKind::kUsage, "engine 'gpu', expected auto, native or torch", [] {
    parse_engine("gpu");
  });
  if (nn::cuda_available()) return;
  EXPECT_EQ(choose_engine(Engine::kAuto, DeviceKind::kAuto).name(), "native");
  expect_error(ErrorKind::kUnsupported, "device 'cuda' was asked for", [] {
    choose_engine(Engine::kAuto, DeviceKind::kCuda);
  });
}

TEST(Engine, RefusesInt8OnLibTorchBeforeAFileIsRead) {
  EncoderOptions options;
  options.precision = Precision::kInt8;
  expect_error(ErrorKind::kUnsupported, "int8 is not there on LibTorch", [&] {
    load_encoder_on(kTorch, find_encoder("resnet50"), "/nowhere", options);
  });
}

TEST(Engine, RefusesABatchThatIsNoTiles) {
  const VitOptions vit = small_vit();
  EncoderOptions options;
  options.batch = 1;
  const auto torch = make_torch_encoder(kTorch,
                                        vit_graph(vit, untrained_vit_weights(vit, 3), "vit"),
                                        TorchTiles{vit.input_px, vit.mean, vit.stddev},
                                        options);
  expect_error(ErrorKind::kUsage, "expected 1 to 1 tiles of 64 x 64 pixels", [&] {
    torch->submit(pixels(2, vit.input_px));
  });
  expect_error(ErrorKind::kUsage, "expected 1 to 1 tiles of 64 x 64 pixels", [&] {
    torch->submit(std::vector<std::uint8_t>(100));
  });
}

// ---- threads

// Ours: each tile on one thread, or rows of a product split over threads, each sum by one of them.
TEST(Engine, FeaturesAgreeAtAnyNumberOfThreadsAndAreTheSameBitsForOne) {
  const VitOptions vit = small_vit();
  Weights weights = untrained_vit_weights(vit, 3);
  shake(weights);
  const auto resnet = [&](int threads) {
    EncoderOptions options;
    options.threads = threads;
    options.batch = 3;
    const auto rgb = pixels(3, 224);
    const auto encoder = find_encoder("resnet50-untrained").load({}, options);
    const auto first = encoded(*encoder, rgb, 3);
    EXPECT_EQ(first, encoded(*encoder, rgb, 3)) << threads;
    return first;
  };
  const auto transformer = [&](int threads) {
    EncoderOptions options;
    options.threads = threads;
    options.batch = 3;
    const auto rgb = pixels(3, vit.input_px);
    const auto first = encoded(*make_vit(vit, weights, "vit", options), rgb, 3);
    EXPECT_EQ(first, encoded(*make_vit(vit, weights, "vit", options), rgb, 3)) << threads;
    return first;
  };
  const auto resnet_one = resnet(1);
  const auto transformer_one = transformer(1);
  for (const int threads : {2, 3}) {
    EXPECT_EQ(resnet(threads), resnet_one) << threads;  // a tile stays on its thread
    EXPECT_LE(difference(transformer(threads), transformer_one), 1e-6) << threads;
  }
}

}  // namespace
}  // namespace med3d::pipeline
