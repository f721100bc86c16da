#include "med3d/nn/parameters.h"

#include <algorithm>
#include <cmath>

#include "med3d/core/error.h"

namespace med3d::nn {
namespace {

std::string shape_text(const std::vector<std::uint64_t>& shape) {
  std::string text = "(";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  }
  return text + ")";
}

}  // namespace

const Parameter& find_parameter(const Parameters& parameters, const std::string& name) {
  for (const Parameter& parameter : parameters) {
    if (parameter.name == name) return parameter;
  }
  throw Error(ErrorKind::kFormat,
              "parameter '" + name + "' is missing from the " + std::to_string(parameters.size()) +
                  " given");
}

void check_parameter(const Parameter& parameter, const std::vector<std::uint64_t>& shape) {
  if (parameter.shape != shape) {
    throw Error(ErrorKind::kFormat,
                "parameter '" + parameter.name + "' has shape " + shape_text(parameter.shape) +
                    ", expected " + shape_text(shape));
  }
  std::uint64_t count = 1;
  for (const std::uint64_t size : shape) count *= size;
  if (parameter.values.size() != count) {
    throw Error(ErrorKind::kFormat,
                "parameter '" + parameter.name + "' holds " +
                    std::to_string(parameter.values.size()) + " values, expected " +
                    std::to_string(count) + " for shape " + shape_text(shape));
  }
  for (std::size_t i = 0; i < parameter.values.size(); ++i) {
    if (!std::isfinite(parameter.values[i])) {
      throw Error(
          ErrorKind::kData,
          "parameter '" + parameter.name + "', value " + std::to_string(i) + " is not finite");
    }
  }
}

void refuse_unknown_parameters(const Parameters& parameters, const Parameters& expected) {
  for (const Parameter& parameter : parameters) {
    if (parameter.name.ends_with(".num_batches_tracked")) continue;
    const bool known = std::any_of(expected.begin(), expected.end(), [&](const Parameter& other) {
      return other.name == parameter.name;
    });
    if (!known) {
      throw Error(ErrorKind::kFormat,
                  "parameter '" + parameter.name + "' has no place in this network");
    }
  }
}

}  // namespace med3d::nn
