#include <fmt/format.h>

#include "med3d/core/error.h"
#include "med3d/pipeline/models.h"

namespace med3d::pipeline {

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

}  // namespace med3d::pipeline
