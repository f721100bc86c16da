// Trained numbers with their PyTorch names and shapes: what a network saves and is made from.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace med3d::nn {

// One tensor in row-major order. A linear layer is `fc1.weight` (outputs, inputs) and `fc1.bias`
// (outputs,); a batch norm is `bn1.weight`, `bn1.bias`, `bn1.running_mean`, `bn1.running_var`, as
// in a PyTorch state_dict (less `num_batches_tracked`, a counter that inference does not read).
struct Parameter {
  std::string name;
  std::vector<std::uint64_t> shape;
  std::vector<float> values;

  friend bool operator==(const Parameter&, const Parameter&) = default;
};

using Parameters = std::vector<Parameter>;

// The tensor of that name. Throws Error(kFormat) if it is missing.
const Parameter& find_parameter(const Parameters& parameters, const std::string& name);

// Throws Error(kFormat | kData) unless the tensor has that shape, as many values, all finite.
void check_parameter(const Parameter& parameter, const std::vector<std::uint64_t>& shape);

// Throws Error(kFormat) for a tensor that `expected` does not name; PyTorch's counters
// `*.num_batches_tracked` are passed over.
void refuse_unknown_parameters(const Parameters& parameters, const Parameters& expected);

}  // namespace med3d::nn
