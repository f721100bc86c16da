#include "med3d/io/array.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "med3d/core/limits.h"
#include "med3d/io/test_support.inc"

namespace med3d {
namespace {

using testing_io::expect_error;

template <class T>
Array array_of(std::vector<std::uint64_t> shape, DType dtype, const std::vector<T>& values) {
  Array array{std::move(shape), dtype, std::string(values.size() * sizeof(T), '\0')};
  std::memcpy(array.bytes.data(), values.data(), array.bytes.size());
  return array;
}

TEST(Array, SqueezesTheShapesOfScansAndSlidesToRowsOfFeatures) {
  const std::vector<float> values = {1, 2, 3, 4, 5, 6};
  const auto expect_shape =
      [&](std::vector<std::uint64_t> shape, std::size_t rows, std::size_t cols) {
        const auto matrix = to_matrix(array_of(std::move(shape), DType::kF32, values));
        EXPECT_EQ(matrix.rows(), rows);
        EXPECT_EQ(matrix.cols(), cols);
        EXPECT_EQ(matrix.data()[5], 6.0F);
      };
  expect_shape({1, 1, 6, 1}, 1, 6);
  expect_shape({6}, 1, 6);
  expect_shape({2, 3}, 2, 3);
  expect_shape({6, 1}, 6, 1);  // two axes are rows and features as they stand
  expect_shape({1, 2, 3}, 2, 3);
  const auto one = to_matrix(array_of<float>({1, 1, 1}, DType::kF32, {4}));
  EXPECT_EQ(one.rows(), 1U);
  EXPECT_EQ(one.cols(), 1U);
}

TEST(Array, RefusesShapesThatAreNoTableAndNamesThem) {
  const std::vector<float> values(8);
  expect_error(ErrorKind::kFormat, "scan.npy: shape (2, 2, 2)", [&] {
    to_matrix(array_of({2, 2, 2}, DType::kF32, values), "scan.npy");
  });
  expect_error(
      ErrorKind::kFormat, "shape ()", [&] { to_matrix(array_of<float>({}, DType::kF32, {1})); });
}

TEST(Array, RefusesBytesThatDoNotFillTheShape) {
  const Array array{{3}, DType::kF32, std::string(11, '\0')};
  expect_error(ErrorKind::kFormat, "11 bytes of data, expected 12 for shape (3,) of f32", [&] {
    as_f32(array);
  });
}

TEST(Array, RefusesSizesThatWrapOrExceedTheLimits) {
  const std::uint64_t half = 1ULL << 63U;
  expect_error(ErrorKind::kFormat, "does not fit in 64 bits", [&] {
    checked_array_bytes(std::vector<std::uint64_t>{half, 2}, DType::kU8, "x");
  });
  expect_error(ErrorKind::kFormat, "does not fit in 64 bits", [&] {
    checked_array_bytes(std::vector<std::uint64_t>{0, half, 2}, DType::kU8, "x");
  });
  expect_error(ErrorKind::kFormat, "more than the limit", [&] {
    checked_array_bytes(std::vector<std::uint64_t>{1ULL << 31U, 2}, DType::kF32, "x");
  });
  expect_error(ErrorKind::kFormat, "17 axes", [&] {
    checked_array_bytes(std::vector<std::uint64_t>(17, 1), DType::kF32, "x");
  });
  EXPECT_EQ(checked_array_bytes(std::vector<std::uint64_t>{0, 4}, DType::kF64, "x"), 0U);
  EXPECT_EQ(checked_array_bytes(std::vector<std::uint64_t>{}, DType::kF64, "x"), 8U);
}

TEST(Array, ConvertsEveryElementType) {
  const auto check = [](const Array& array, const std::vector<double>& expected) {
    EXPECT_EQ(as_f64(array), expected) << to_string(array.dtype);
  };
  check(array_of<std::int8_t>({2}, DType::kI8, {-128, 127}), {-128, 127});
  check(array_of<std::uint8_t>({2}, DType::kU8, {0, 255}), {0, 255});
  check(array_of<std::int16_t>({2}, DType::kI16, {-32768, 5}), {-32768, 5});
  check(array_of<std::uint16_t>({1}, DType::kU16, {65535}), {65535});
  check(array_of<std::int32_t>({1}, DType::kI32, {-2147483647}), {-2147483647});
  check(array_of<std::uint32_t>({1}, DType::kU32, {4294967295U}), {4294967295.0});
  check(array_of<std::int64_t>({1}, DType::kI64, {-5}), {-5});
  check(array_of<std::uint64_t>({1}, DType::kU64, {1ULL << 63U}), {0x1p63});
  check(array_of<std::uint8_t>({3}, DType::kBool, {0, 1, 2}), {0, 1, 1});
  check(array_of<double>({1}, DType::kF64, {0.1}), {0.1});
  check(array_of<float>({1}, DType::kF32, {0.5F}), {0.5});
  check(array_of<std::uint16_t>({2}, DType::kBF16, {0x3F80, 0xC040}), {1, -3});
}

// 1.0 = 0x3C00; 65504 = (2 - 2^-10) * 2^15 = 0x7BFF; smallest normal 2^-14 = 0x0400; smallest
// subnormal 2^-24 = 0x0001; largest subnormal 1023 * 2^-24 = 0x03FF; -2 = 0xC000; 1/3 ~ 0x3555 =
// (1 + 341/1024) / 4 = 0.333251953125.
TEST(Array, DecodesHalfPrecisionExactly) {
  EXPECT_EQ(f16_to_f32(0x3C00), 1.0F);
  EXPECT_EQ(f16_to_f32(0x7BFF), 65504.0F);
  EXPECT_EQ(f16_to_f32(0x0400), 0x1p-14F);
  EXPECT_EQ(f16_to_f32(0x0001), 0x1p-24F);
  EXPECT_EQ(f16_to_f32(0x03FF), 1023.0F * 0x1p-24F);
  EXPECT_EQ(f16_to_f32(0xC000), -2.0F);
  EXPECT_EQ(f16_to_f32(0x3555), 0.333251953125F);
  EXPECT_TRUE(std::signbit(f16_to_f32(0x8000)));
  EXPECT_EQ(f16_to_f32(0x8000), 0.0F);
  EXPECT_EQ(f16_to_f32(0xFC00), -std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(f16_to_f32(0x7E00)));
}

TEST(Array, IntegersAreNeverMadeFromFractionsOrWrapped) {
  EXPECT_EQ(as_i64(array_of<std::uint8_t>({2}, DType::kU8, {0, 200})),
            (std::vector<std::int64_t>{0, 200}));
  expect_error(ErrorKind::kFormat, "type f32, expected integers", [] {
    as_i64(array_of<float>({1}, DType::kF32, {1}));
  });
  expect_error(ErrorKind::kFormat, "element 1 is 9223372036854775808", [] {
    as_i64(array_of<std::uint64_t>({2}, DType::kU64, {1, 1ULL << 63U}));
  });
}

TEST(Array, AMatrixComesBackFromItsArray) {
  Matrix<float> matrix(2, 3);
  for (std::size_t i = 0; i < 6; ++i) matrix.data()[i] = static_cast<float>(i) * 0.25F;
  EXPECT_EQ(to_matrix(from_matrix(matrix)), matrix);
  EXPECT_EQ(to_matrix(from_matrix(Matrix<float>(0, 4))).cols(), 4U);
}

}  // namespace
}  // namespace med3d
