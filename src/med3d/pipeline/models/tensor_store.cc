#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "med3d/core/error.h"
#include "med3d/io/formats/safetensors.h"
#include "med3d/pipeline/models.h"

namespace med3d::pipeline {
namespace {

template <class Number>
NamedArray named_array(std::string name,
                       std::vector<std::uint64_t> shape,
                       DType dtype,
                       const Number* values,
                       std::size_t n) {
  NamedArray out;
  out.name = std::move(name);
  out.array.shape = std::move(shape);
  out.array.dtype = dtype;
  out.array.bytes.resize(n * sizeof(Number));
  if (n > 0) std::memcpy(out.array.bytes.data(), values, out.array.bytes.size());
  return out;
}

template <class Numbers>
void require_finite(const Numbers& values, const std::string& name) {
  const bool finite =
      std::all_of(values.begin(), values.end(), [](auto value) { return std::isfinite(value); });
  if (!finite) {
    throw Error(ErrorKind::kData, fmt::format("array '{}' holds NaN or Inf", name));
  }
}

}  // namespace

void TensorStore::put(const std::string& name, const nn::Parameters& parameters) {
  arrays[name] = parameters;
}

nn::Parameters TensorStore::get(const std::string& name) const {
  const auto found = arrays.find(name);
  if (found == arrays.end()) {
    throw Error(ErrorKind::kFormat, fmt::format("the model bundle has no arrays named '{}'", name));
  }
  return found->second;
}

void TensorStore::put_bytes(const std::string& name, const std::string& bytes) {
  nn::Parameter parameter;
  parameter.name = "bytes";
  parameter.shape = {bytes.size()};
  for (const char c : bytes) {
    parameter.values.push_back(static_cast<float>(static_cast<unsigned char>(c)));
  }
  arrays[name] = {parameter};
}

std::string TensorStore::get_bytes(const std::string& name) const {
  std::string bytes;
  const auto parameters = get(name);
  if (parameters.size() != 1) {
    throw Error(ErrorKind::kFormat, fmt::format("the model bundle's '{}' is not bytes", name));
  }
  for (const float value : parameters.front().values) {
    if (!(value >= 0.0F && value <= 255.0F)) {
      throw Error(ErrorKind::kFormat, fmt::format("the model bundle's '{}' is not bytes", name));
    }
    bytes += static_cast<char>(static_cast<unsigned char>(value));
  }
  return bytes;
}

const Matrix<double>& TensorStore::matrix(const std::string& name,
                                          std::size_t rows,
                                          std::size_t cols) const {
  const auto found = matrices.find(name);
  if (found == matrices.end()) {
    throw Error(ErrorKind::kFormat, fmt::format("the model bundle has no matrix '{}'", name));
  }
  const auto& matrix = found->second;
  if (matrix.rows() != rows || matrix.cols() != cols) {
    throw Error(ErrorKind::kFormat,
                fmt::format("the model bundle's '{}' is {} x {}, expected {} x {}",
                            name,
                            matrix.rows(),
                            matrix.cols(),
                            rows,
                            cols));
  }
  return matrix;
}

std::string TensorStore::safetensors() const {
  std::vector<NamedArray> out;
  for (const auto& [name, parameters] : arrays) {
    for (const auto& parameter : parameters) {
      out.push_back(named_array(name + "/" + parameter.name,
                                parameter.shape,
                                DType::kF32,
                                parameter.values.data(),
                                parameter.values.size()));
    }
  }
  for (const auto& [name, matrix] : matrices) {
    out.push_back(named_array(
        name, {matrix.rows(), matrix.cols()}, DType::kF64, matrix.data(), matrix.size()));
  }
  return safetensors_bytes(out, {{"format", "med3d"}});
}

TensorStore TensorStore::from_safetensors(std::string_view bytes, const std::string& file) {
  TensorStore store;
  for (const auto& [name, array] : parse_safetensors(bytes, file).tensors) {
    if (array.dtype == DType::kF64 && array.shape.size() == 2) {
      const auto values = as_f64(array, name);
      require_finite(values, name);
      Matrix<double> matrix(array.shape[0], array.shape[1]);
      std::copy(values.begin(), values.end(), matrix.data());
      store.matrices[name] = std::move(matrix);
      continue;
    }
    const auto slash = name.rfind('/');
    if (slash == std::string::npos) {
      throw Error(ErrorKind::kFormat,
                  fmt::format("array '{}' has no '/', expected model/name", name));
    }
    nn::Parameter parameter;
    parameter.name = name.substr(slash + 1);
    parameter.shape = array.shape;
    parameter.values = as_f32(array, name);
    require_finite(parameter.values, name);
    store.arrays[name.substr(0, slash)].push_back(std::move(parameter));
  }
  return store;
}

}  // namespace med3d::pipeline
