#include "med3d/io/array.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

#include "med3d/core/error.h"
#include "med3d/core/limits.h"

namespace med3d {
namespace {

static_assert(std::endian::native == std::endian::little,
              "raw array bytes are little-endian and are copied without swapping");

template <class T>
T load(const char* at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  return value;
}

// Calls `use(number)` for every element, each as its own C++ type.
template <class Use>
void for_each_element(const Array& array, const Use& use) {
  const char* at = array.bytes.data();
  const char* const end = at + array.bytes.size();
  const auto walk = [&]<class T>(T /*tag*/, const auto& decode) {
    for (; at != end; at += sizeof(T)) use(decode(load<T>(at)));
  };
  const auto same = [](auto value) { return value; };
  switch (array.dtype) {
    case DType::kF16:
      return walk(std::uint16_t{}, f16_to_f32);
    case DType::kBF16:
      return walk(std::uint16_t{}, bf16_to_f32);
    case DType::kF32:
      return walk(float{}, same);
    case DType::kF64:
      return walk(double{}, same);
    case DType::kI8:
      return walk(std::int8_t{}, same);
    case DType::kU8:
      return walk(std::uint8_t{}, same);
    case DType::kI16:
      return walk(std::int16_t{}, same);
    case DType::kU16:
      return walk(std::uint16_t{}, same);
    case DType::kI32:
      return walk(std::int32_t{}, same);
    case DType::kU32:
      return walk(std::uint32_t{}, same);
    case DType::kI64:
      return walk(std::int64_t{}, same);
    case DType::kU64:
      return walk(std::uint64_t{}, same);
    case DType::kBool:
      return walk(std::uint8_t{},
                  [](std::uint8_t value) { return static_cast<std::uint8_t>(value != 0); });
  }
}

void check_bytes(const Array& array, std::string_view what) {
  const auto expected = checked_array_bytes(array.shape, array.dtype, what);
  if (array.bytes.size() != expected) {
    throw Error(ErrorKind::kFormat,
                fmt::format("{}: {} bytes of data, expected {} for shape {} of {}",
                            what,
                            array.bytes.size(),
                            expected,
                            shape_text(array.shape),
                            to_string(array.dtype)));
  }
}

template <class To>
std::vector<To> convert(const Array& array, std::string_view what) {
  check_bytes(array, what);
  std::vector<To> out;
  out.reserve(array.bytes.size() / dtype_bytes(array.dtype));
  for_each_element(array, [&](auto value) { out.push_back(static_cast<To>(value)); });
  return out;
}

}  // namespace

std::string_view to_string(DType dtype) {
  switch (dtype) {
    case DType::kF16:
      return "f16";
    case DType::kBF16:
      return "bf16";
    case DType::kF32:
      return "f32";
    case DType::kF64:
      return "f64";
    case DType::kI8:
      return "i8";
    case DType::kU8:
      return "u8";
    case DType::kI16:
      return "i16";
    case DType::kU16:
      return "u16";
    case DType::kI32:
      return "i32";
    case DType::kU32:
      return "u32";
    case DType::kI64:
      return "i64";
    case DType::kU64:
      return "u64";
    case DType::kBool:
      return "bool";
  }
  return "unknown";
}

std::size_t dtype_bytes(DType dtype) {
  switch (dtype) {
    case DType::kI8:
    case DType::kU8:
    case DType::kBool:
      return 1;
    case DType::kF16:
    case DType::kBF16:
    case DType::kI16:
    case DType::kU16:
      return 2;
    case DType::kF32:
    case DType::kI32:
    case DType::kU32:
      return 4;
    case DType::kF64:
    case DType::kI64:
    case DType::kU64:
      return 8;
  }
  return 0;
}

std::string shape_text(std::span<const std::uint64_t> shape) {
  if (shape.size() == 1) return fmt::format("({},)", shape[0]);
  return fmt::format("({})", fmt::join(shape.begin(), shape.end(), ", "));
}

std::uint64_t checked_array_bytes(std::span<const std::uint64_t> shape,
                                  DType dtype,
                                  std::string_view what) {
  if (shape.size() > limits().tensor_dimensions) {
    throw Error(ErrorKind::kFormat,
                fmt::format("{}: {} axes, more than the limit of {}",
                            what,
                            shape.size(),
                            limits().tensor_dimensions));
  }
  // An empty axis makes the product zero whatever the others say; they are multiplied all the same,
  // so that (0, 2^63, 4) is refused here and not where someone later divides by an axis.
  std::uint64_t bytes = dtype_bytes(dtype);
  bool empty = false;
  for (const auto axis : shape) {
    empty = empty || axis == 0;
    bytes = checked_multiply(bytes, axis == 0 ? 1 : axis, what);
  }
  if (bytes > limits().array_bytes) {
    throw Error(ErrorKind::kFormat,
                fmt::format("{}: an array {} of {} needs {} bytes, more than the limit of {}",
                            what,
                            shape_text(shape),
                            to_string(dtype),
                            bytes,
                            limits().array_bytes));
  }
  return empty ? 0 : bytes;
}

std::vector<float> as_f32(const Array& array, std::string_view what) {
  return convert<float>(array, what);
}

std::vector<double> as_f64(const Array& array, std::string_view what) {
  return convert<double>(array, what);
}

std::vector<std::int64_t> as_i64(const Array& array, std::string_view what) {
  if (array.dtype == DType::kF16 || array.dtype == DType::kBF16 || array.dtype == DType::kF32 ||
      array.dtype == DType::kF64) {
    throw Error(
        ErrorKind::kFormat,
        fmt::format("{}: numbers of type {}, expected integers", what, to_string(array.dtype)));
  }
  auto out = convert<std::int64_t>(array, what);
  if (array.dtype == DType::kU64) {
    for (std::size_t i = 0; i < out.size(); ++i) {
      if (out[i] < 0) {
        throw Error(ErrorKind::kFormat,
                    fmt::format("{}: element {} is {}, more than a signed 64-bit integer holds",
                                what,
                                i,
                                static_cast<std::uint64_t>(out[i])));
      }
    }
  }
  return out;
}

std::pair<std::size_t, std::size_t> matrix_shape(std::span<const std::uint64_t> shape,
                                                 std::string_view what) {
  std::vector<std::uint64_t> axes(shape.begin(), shape.end());
  if (axes.size() > 2) std::erase(axes, 1U);
  // All axes of a (1, 1, 1) array are dropped: it is one row of one feature.
  if (axes.empty() && !shape.empty()) axes.push_back(1);
  if (axes.empty() || axes.size() > 2) {
    throw Error(ErrorKind::kFormat,
                fmt::format("{}: shape {}, expected (features,), (rows, features) or one of those "
                            "with axes of length one",
                            what,
                            shape_text(shape)));
  }
  return {axes.size() == 2 ? axes[0] : 1, axes.back()};
}

Matrix<float> to_matrix(const Array& array, std::string_view what) {
  const auto [rows, cols] = matrix_shape(array.shape, what);
  const std::vector<float> values = as_f32(array, what);
  Matrix<float> out(rows, cols);
  std::copy(values.begin(), values.end(), out.data());
  return out;
}

std::size_t features_among(std::span<const std::string> names, std::string_view source) {
  if (names.size() == 1) return 0;
  const auto found = std::find(names.begin(), names.end(), "features");
  if (found != names.end()) return static_cast<std::size_t>(found - names.begin());
  std::string shown;
  for (const auto& name : names) {
    if (shown.size() < 200) shown += (shown.empty() ? "" : ", ") + name;
  }
  throw Error(
      ErrorKind::kFormat,
      fmt::format(
          "{}: {} arrays ({}), expected one or one named 'features'", source, names.size(), shown));
}

Matrix<float> features_among(std::span<const NamedArray> arrays, std::string_view source) {
  std::vector<std::string> names;
  for (const auto& named : arrays) names.push_back(named.name);
  const NamedArray& chosen = arrays[features_among(names, source)];
  return to_matrix(chosen.array, fmt::format("{}, array '{}'", source, chosen.name));
}

Array from_matrix(const Matrix<float>& matrix) {
  Array out;
  out.shape = {matrix.rows(), matrix.cols()};
  out.dtype = DType::kF32;
  out.bytes.resize(matrix.size() * sizeof(float));
  if (!matrix.empty()) std::memcpy(out.bytes.data(), matrix.data(), out.bytes.size());
  return out;
}

float f16_to_f32(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000U) << 16U;
  const std::uint32_t exponent = (bits >> 10U) & 0x1FU;
  const std::uint32_t fraction = bits & 0x3FFU;
  if (exponent == 0) {
    // Zero and subnormals: fraction * 2^-24, which an f32 holds exactly.
    const float magnitude = static_cast<float>(fraction) * 0x1p-24F;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude) | sign);
  }
  // Infinity and NaN keep an exponent of all ones; the rest is re-biased from 15 to 127.
  const std::uint32_t wide = exponent == 0x1FU ? 0xFFU : exponent + 112U;
  return std::bit_cast<float>(sign | (wide << 23U) | (fraction << 13U));
}

float bf16_to_f32(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16U);
}

}  // namespace med3d
