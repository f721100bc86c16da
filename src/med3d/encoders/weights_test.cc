#include "med3d/encoders/weights.h"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "med3d/core/hash.h"
#include "med3d/core/matrix.h"
#include "med3d/encoders/test_support_internal.h"
#include "med3d/io/formats/safetensors.h"
#include "med3d/io/formats/torch_file.h"

namespace med3d {
namespace {

using encoder_test::expect_error;

NamedArray named(const std::string& name, std::size_t rows, std::size_t cols, float value = 1.0F) {
  Matrix<float> matrix(rows, cols);
  for (std::size_t i = 0; i < matrix.size(); ++i) matrix.data()[i] = value;
  return {name, from_matrix(matrix)};
}

Weights of(const std::vector<NamedArray>& arrays) {
  Weights weights;
  weights.source = "w.pth";
  for (const auto& array : arrays) weights.tensors.emplace(array.name, array.array);
  return weights;
}

TEST(ReadWeights, ReadsBothKindsWhateverTheirName) {
  const encoder_test::TemporaryFolder folder;
  const std::vector<NamedArray> arrays = {named("module.a.weight", 2, 3, 0.5F),
                                          named("b", 1, 1, 7.0F)};
  const std::vector<std::pair<std::string, std::string>> files = {
      {"tensors.bin", safetensors_bytes(arrays)}, {"torch.safetensors", torch_bytes(arrays)}};
  for (const auto& [name, bytes] : files) {
    encoder_test::write(folder / name, bytes);
    const Weights weights = read_weights(folder / name);
    ASSERT_EQ(weights.tensors.size(), 2U) << name;
    EXPECT_EQ(as_f32(weights.tensors.at("a.weight")), std::vector<float>(6, 0.5F));
    EXPECT_EQ(as_f32(weights.tensors.at("b")), std::vector<float>(1, 7.0F));
    EXPECT_EQ(weights.sha256, sha256_hex(bytes));
    EXPECT_EQ(weights.source, (folder / name).string());
  }
}

TEST(OpenWeights, ReadsATensorWhenItIsTaken) {
  const encoder_test::TemporaryFolder folder;
  const std::vector<NamedArray> arrays = {named("a", 2, 3, 0.5F), named("b", 1, 4, 7.0F)};
  const std::string torch = torch_bytes(arrays);
  for (const std::string& bytes : {safetensors_bytes(arrays), torch}) {
    encoder_test::write(folder / "w", bytes);
    const StoredWeights weights = open_weights(folder / "w");
    EXPECT_EQ(weights.sha256, sha256_hex(bytes));
    EXPECT_EQ(weights.bytes, bytes.size());
    EXPECT_EQ(weights.tensors.at("a").shape, (std::vector<std::uint64_t>{2, 3}));
    for (int again = 0; again < 2; ++again) {
      EXPECT_EQ(as_f32(weights.tensors.at("b").array()), std::vector<float>(4, 7.0F));
    }
  }
  // One bit of the data of "b" turned: the file opens, "a" can be taken, "b" cannot.
  std::string damaged = torch;
  const float seven = 7.0F;
  const auto at = damaged.find(std::string(reinterpret_cast<const char*>(&seven), sizeof(seven)));
  ASSERT_NE(at, std::string::npos);
  damaged[at] = static_cast<char>(damaged[at] ^ 1);
  encoder_test::write(folder / "w", damaged);
  const StoredWeights weights = open_weights(folder / "w");
  EXPECT_EQ(as_f32(weights.tensors.at("a").array()), std::vector<float>(6, 0.5F));
  expect_error(ErrorKind::kFormat, "checksum", [&] { weights.tensors.at("b").array(); });
  expect_error(ErrorKind::kFormat, "checksum", [&] { read_weights(folder / "w"); });
}

TEST(OpenWeights, RefusesAFileThatChangedWhileItWasTaken) {
  const encoder_test::TemporaryFolder folder;
  encoder_test::write(folder / "w", torch_bytes(std::vector<NamedArray>{named("a", 1, 1)}));
  WeightsTaker take(open_weights(folder / "w"), "e");
  EXPECT_EQ(take.tensor("a", {1, 1}).size(), 1U);
  std::filesystem::last_write_time(
      folder / "w", std::filesystem::file_time_type::clock::now() + std::chrono::hours(1));
  expect_error(ErrorKind::kData, "was changed or moved", [&] { take.finish(); });
}

TEST(ReadWeights, RefusesWhatIsNoWeightsFile) {
  const encoder_test::TemporaryFolder folder;
  expect_error(ErrorKind::kUsage, "no weights given", [] { read_weights(""); });
  expect_error(ErrorKind::kNotFound, "missing.pth", [&] { read_weights(folder / "missing.pth"); });
  encoder_test::write(folder / "page.pth", "<html>404 Not Found</html>");
  EXPECT_THROW(read_weights(folder / "page.pth"), Error);
  encoder_test::write(folder / "empty.pth", "");
  EXPECT_THROW(read_weights(folder / "empty.pth"), Error);
  encoder_test::write(
      folder / "twice.bin",
      safetensors_bytes(std::vector<NamedArray>{named("a", 1, 1), named("module.a", 1, 1)}));
  expect_error(
      ErrorKind::kData, "two tensors are named 'a'", [&] { read_weights(folder / "twice.bin"); });
}

TEST(WeightsTaker, TakesWhatFits) {
  WeightsTaker take(of({named("a", 2, 3, 0.5F), named("head.w", 1, 1), named("n.count", 1, 1)}),
                    "e");
  EXPECT_TRUE(take.has("a"));
  EXPECT_FALSE(take.has("b"));
  EXPECT_EQ(take.tensor("a", {2, 3}), std::vector<float>(6, 0.5F));
  take.ignore_prefix("head.");
  take.ignore_suffix(".count");
  EXPECT_NO_THROW(take.finish());
}

TEST(WeightsTaker, NamesWhatIsMissingMisshapenNotFiniteAndUnknown) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  WeightsTaker take(of({named("a", 2, 3), named("b", 2, 2, nan), named("extra", 4, 5)}), "e");
  EXPECT_TRUE(take.tensor("a", {3, 2}).empty());
  EXPECT_TRUE(take.tensor("b", {2, 2}).empty());
  EXPECT_TRUE(take.tensor("c", {1}).empty());
  expect_error(ErrorKind::kData,
               "w.pth: not the weights of e: a: (2, 3), expected (3, 2); b: nan at element 0; "
               "c: missing; 'extra': unknown, (4, 5)",
               [&] { take.finish(); });
}

TEST(WeightsTaker, NamesNoMoreThanFive) {
  WeightsTaker take(of({}), "e");
  for (const char* name : {"a", "b", "c", "d", "e", "f", "g"}) take.tensor(name, {1});
  expect_error(ErrorKind::kData, "e: missing; and 2 more", [&] { take.finish(); });
}

}  // namespace
}  // namespace med3d
