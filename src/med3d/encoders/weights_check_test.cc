#include "med3d/encoders/weights_check.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "med3d/core/hash.h"
#include "med3d/encoders/test_support_internal.h"
#include "med3d/io/formats/safetensors.h"
#include "med3d/io/formats/torch_file.h"

namespace med3d {
namespace {

using encoder_test::expect_error;

template <class T>
Array array_of(DType dtype, std::vector<std::uint64_t> shape, const std::vector<T>& values) {
  Array array;
  array.dtype = dtype;
  array.shape = std::move(shape);
  array.bytes.resize(values.size() * sizeof(T));
  std::memcpy(array.bytes.data(), values.data(), array.bytes.size());
  return array;
}

Weights weights_of(const std::vector<NamedArray>& arrays) {
  Weights weights;
  weights.source = "w.pth";
  for (const auto& array : arrays) weights.tensors.emplace(array.name, array.array);
  return weights;
}

// A small encoder: what is checked here is not how a net computes.
std::vector<TensorShape> small_tensors() { return {{"conv.weight", {2, 3}}, {"conv.bias", {2}}}; }
EncoderSpec small_encoder() {
  EncoderSpec spec{};
  spec.name = "small";
  spec.tensors = small_tensors;
  return spec;
}

const Array kWeight = array_of<float>(DType::kF32, {2, 3}, {1, 2, 3, 4, 5, 6});
const Array kBias = array_of<float>(DType::kF32, {2}, {7, 8});
const Array kSteps = array_of<std::int64_t>(DType::kI64, {}, {9});

TEST(InspectWeights, CountsTensorsElementsAndTypes) {
  const WeightsReport report = inspect_weights(
      weights_of({{"conv.weight", kWeight}, {"conv.bias", kBias}, {"steps", kSteps}}));
  EXPECT_EQ(report.tensors, 3U);
  EXPECT_EQ(report.parameters, 9U);  // 6 + 2 + 1
  EXPECT_EQ(report.dtypes, (std::map<std::string, std::uint64_t>{{"f32", 2}, {"i64", 1}}));
  EXPECT_EQ(report.not_finite, 0U);
}

TEST(InspectWeights, NamesFiveTensorsThatAreNotFinite) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const double infinity = std::numeric_limits<double>::infinity();
  std::vector<NamedArray> arrays = {
      {"a", array_of<float>(DType::kF32, {3}, {0, 1, nan})},
      {"b", array_of<double>(DType::kF64, {1}, {-infinity})},
      {"c", array_of<std::uint16_t>(DType::kF16, {2}, {0, 0x7c00})},
      {"d", array_of<std::uint16_t>(DType::kBF16, {2}, {0x7fc0, 0})},
      {"e", array_of<float>(DType::kF32, {1}, {nan})},
      {"f", array_of<float>(DType::kF32, {1}, {nan})},
      // Beyond f32, yet a number; and integers of any bits.
      {"large", array_of<double>(DType::kF64, {1}, {1e300})},
      {"n", array_of<std::int32_t>(DType::kI32, {1}, {0x7fc00000})},
  };
  const WeightsReport report = inspect_weights(weights_of(arrays));
  EXPECT_EQ(report.not_finite, 6U);
  EXPECT_EQ(report.problems,
            (std::vector<std::string>{"'a': nan at element 2",
                                      "'b': -inf at element 0",
                                      "'c': inf at element 1",
                                      "'d': nan at element 0",
                                      "'e': nan at element 0"}));
}

TEST(WeightsHead, TellsWeightsFromOtherFiles) {
  const std::vector<NamedArray> arrays = {{"conv.bias", kBias}};
  const std::string legacy = "\x80\x02\x8a\nl\xfc\x9c\x46\xf9 j\xa8P\x19.";
  for (const std::string& bytes : {safetensors_bytes(arrays), torch_bytes(arrays), legacy}) {
    EXPECT_NO_THROW(check_weights_head(bytes.substr(0, 64), "a"));
  }
  expect_error(ErrorKind::kData,
               "https://h/w: begins with '<!DOCTYPE html>': no weights file (.pth, .bin, "
               ".safetensors), it looks like a web page",
               [] { check_weights_head("<!DOCTYPE html>", "https://h/w"); });
  expect_error(ErrorKind::kData, "no weights file", [] { check_weights_head("", "a"); });
  expect_error(ErrorKind::kData, "no weights file", [] {
    check_weights_head("version https://git-lfs", "a");
  });
}

TEST(EncoderTensors, TakesThoseOfTheEncoderAlone) {
  const auto tensors = encoder_tensors(
      weights_of({{"conv.bias", kBias}, {"conv.weight", kWeight}, {"head", kSteps}}),
      small_encoder());
  ASSERT_EQ(tensors.size(), 2U);
  EXPECT_EQ(tensors[0].name, "conv.weight");
  EXPECT_EQ(tensors[1].name, "conv.bias");
  EXPECT_EQ(tensors[0].array.bytes, kWeight.bytes);
}

TEST(EncoderTensors, NamesWhatIsMissingOrMisshapen) {
  expect_error(ErrorKind::kData,
               "w.pth: not the weights of small: conv.weight: (2,), expected (2, 3); conv.bias: "
               "missing",
               [] {
                 encoder_tensors(weights_of({{"conv.weight", kBias}}), small_encoder());
               });
  expect_error(ErrorKind::kData, "conv1.weight: missing; bn1.weight: missing; ", [] {
    encoder_tensors(weights_of({{"a", kBias}}), find_encoder("resnet50"));
  });
  expect_error(ErrorKind::kUsage, "'resnet50-untrained' takes no weights", [] {
    encoder_tensors(weights_of({{"a", kBias}}), find_encoder("resnet50-untrained"));
  });
}

TEST(EncoderTensors, AreStatedByEveryEncoderThatTakesWeights) {
  for (const EncoderSpec* spec : encoders()) {
    ASSERT_EQ(spec->tensors != nullptr, spec->trained) << spec->name;
    if (spec->tensors == nullptr) continue;
    std::map<std::string, std::vector<std::uint64_t>> shapes;
    for (const auto& tensor : spec->tensors()) {
      EXPECT_TRUE(shapes.emplace(tensor.name, tensor.shape).second) << tensor.name;
    }
    EXPECT_GT(shapes.size(), 100U) << spec->name;
  }
  // ResNet-50 up to layer3: (1 + 3 * (3 + 4 + 6) + 3) convolutions, each with four vectors.
  EXPECT_EQ(find_encoder("resnet50").tensors().size(), 43U * 5U);
}

TEST(WeightsFile, IsTheSameFromEveryContainer) {
  const encoder_test::TemporaryFolder folder;
  const std::vector<NamedArray> arrays = {{"z", kBias}, {"conv.weight", kWeight}, {"n", kSteps}};
  encoder_test::write(folder / "a.pt", torch_bytes(arrays));
  encoder_test::write(folder / "a.safetensors", safetensors_bytes(arrays));
  for (const char* name : {"out.safetensors", "out.pt", "OUT.PTH", "out.bin"}) {
    const std::string from_torch =
        weights_file_bytes(named_tensors(read_weights(folder / "a.pt")), name);
    const std::string from_safetensors =
        weights_file_bytes(named_tensors(read_weights(folder / "a.safetensors")), name);
    EXPECT_EQ(sha256_hex(from_torch), sha256_hex(from_safetensors)) << name;
    EXPECT_EQ(from_torch, weights_file_bytes(arrays, name)) << name;
    // And back again.
    encoder_test::write(folder / "back", from_torch);
    const Weights back = read_weights(folder / "back");
    EXPECT_EQ(back.tensors.at("conv.weight").bytes, kWeight.bytes);
    EXPECT_EQ(back.tensors.at("n").dtype, DType::kI64);
    EXPECT_EQ(back.container, std::string(name) == "out.safetensors" ? "safetensors" : "torch zip");
    EXPECT_EQ(back.bytes, from_torch.size());
  }
  EXPECT_EQ(
      parse_safetensors(weights_file_bytes(arrays, "w.safetensors"), "w").metadata.at("format"),
      "pt");
  expect_error(ErrorKind::kUsage, "w.onnx: expected a name that ends in", [&] {
    weights_file_bytes(arrays, "w.onnx");
  });
}

// Zeros with variances of one: a net that computes nothing, but is whole.
TEST(WeightsFile, OfAnEncoderLoadsIntoIt) {
  const EncoderSpec& spec = find_encoder("resnet50");
  Weights weights = weights_of({{"fc.bias", kBias}});
  for (const TensorShape& tensor : spec.tensors()) {
    Array array;
    array.shape = tensor.shape;
    array.bytes.resize(checked_array_bytes(tensor.shape, DType::kF32, "test"));
    if (tensor.name.ends_with("running_var")) {
      const float one = 1.0F;
      for (std::size_t i = 0; i < array.bytes.size(); i += 4) {
        std::memcpy(array.bytes.data() + i, &one, 4);
      }
    }
    weights.tensors.emplace(tensor.name, std::move(array));
  }
  const encoder_test::TemporaryFolder folder;
  auto tensors = encoder_tensors(std::move(weights), spec);
  encoder_test::write(folder / "w.safetensors", weights_file_bytes(tensors, "w.safetensors"));
  EXPECT_NO_THROW(check_encoder_loads(spec, folder / "w.safetensors"));
  tensors.pop_back();
  encoder_test::write(folder / "w.safetensors", weights_file_bytes(tensors, "w.safetensors"));
  expect_error(ErrorKind::kData, "layer3.5.bn3.running_var: missing", [&] {
    check_encoder_loads(spec, folder / "w.safetensors");
  });
  expect_error(ErrorKind::kUsage, "takes no weights", [&] {
    check_encoder_loads(find_encoder("resnet50-untrained"), folder / "w.safetensors");
  });
}

}  // namespace
}  // namespace med3d
