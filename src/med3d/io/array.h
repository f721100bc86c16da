// An array as a file stored it: shape, element type and raw bytes, and its conversions to numbers.
//
// Every reader of arrays (npy, npz, safetensors, torch, HDF5) ends here, so that the rules of what
// is a feature matrix, what may be rounded and what is refused are written once.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "med3d/core/matrix.h"

namespace med3d {

enum class DType { kF16, kBF16, kF32, kF64, kI8, kU8, kI16, kU16, kI32, kU32, kI64, kU64, kBool };

std::string_view to_string(DType dtype);  // "f16", "bf16", "f32", ... "u64", "bool"
std::size_t dtype_bytes(DType dtype);     // 1, 2, 4 or 8

struct Array {
  std::vector<std::uint64_t> shape;  // slowest axis first; {} is a single number
  DType dtype = DType::kF32;
  std::string bytes;  // row-major, little-endian, product(shape) * dtype_bytes(dtype) long
};

struct NamedArray {
  std::string name;
  Array array;
};

// "(1, 512)", "(1024,)", "()": as numpy prints a shape.
std::string shape_text(std::span<const std::uint64_t> shape);

// How many bytes an array of this shape holds, checked before any memory is asked for.
// `what` names the file and array in messages.
// Throws Error(kFormat) beyond limits().tensor_dimensions axes, limits().array_bytes, or 64 bits.
std::uint64_t checked_array_bytes(std::span<const std::uint64_t> shape,
                                  DType dtype,
                                  std::string_view what);

// All elements in stored order. as_f32 and as_f64 round to the nearest (an f64 beyond the range of
// f32 becomes infinite); as_i64 takes integers and bool only.
// Throws Error(kFormat) if bytes and shape disagree, as_i64 also for floating types and for a u64
// that does not fit.
std::vector<float> as_f32(const Array& array, std::string_view what = "array");
std::vector<double> as_f64(const Array& array, std::string_view what = "array");
std::vector<std::int64_t> as_i64(const Array& array, std::string_view what = "array");

// The array as rows of features: (N, D) -> N x D; (1024,) -> 1 x 1024; with more than two axes
// those of length one are dropped first: (1, 1, 512, 1) -> 1 x 512. Throws Error(kFormat) naming
// the shape for a single number () and for what keeps three or more axes, and as as_f32 does.
Matrix<float> to_matrix(const Array& array, std::string_view what = "array");
// Those rows and columns.
std::pair<std::size_t, std::size_t> matrix_shape(std::span<const std::uint64_t> shape,
                                                 std::string_view what = "array");

// The feature matrix of a container of several arrays (npz, safetensors): its only array, or the
// one named "features". Throws Error(kFormat) naming the arrays if neither is there, and as
// to_matrix.
Matrix<float> features_among(std::span<const NamedArray> arrays, std::string_view source);
// Which of the names that is.
std::size_t features_among(std::span<const std::string> names, std::string_view source);

// An f32 array of shape (rows, cols).
Array from_matrix(const Matrix<float>& matrix);

// IEEE 754 half precision (1 sign, 5 exponent, 10 fraction bits) and bfloat16 (the upper half of an
// f32), both exact: subnormals, infinities and NaN included.
float f16_to_f32(std::uint16_t bits);
float bf16_to_f32(std::uint16_t bits);

}  // namespace med3d
