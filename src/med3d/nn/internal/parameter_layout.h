// Where the named tensors of a network lie in one array of numbers: all parameters in the order in
// which they are saved, then all running statistics.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "med3d/nn/parameters.h"

namespace med3d::nn {

struct ParameterSlot {
  std::string name;
  std::vector<std::uint64_t> shape;
  std::size_t offset = 0;
  std::size_t count = 0;
};

struct ParameterLayout {
  std::vector<ParameterSlot> slots;       // parameters
  std::vector<ParameterSlot> stat_slots;  // running statistics; offsets count from the first one
  std::size_t count = 0;
  std::size_t stat_count = 0;

  std::size_t size() const { return count + stat_count; }

  // The next parameter, and the next running statistic of `width` values.
  void add(const std::string& name, std::vector<std::uint64_t> shape);
  void add_stat(const std::string& name, std::uint64_t width);

  // The tensors of an array of size() values, and those of one of count values (gradients).
  Parameters all(std::span<const float> values) const;
  Parameters trained(std::span<const float> values) const;

  // Writes the tensor of that name into its place of an array of size() values; `base` is 0 for a
  // slot of `slots`, count for one of `stat_slots`.
  // Throws Error(kFormat | kData) if it is missing, of another shape or not finite.
  static void put(const ParameterSlot& slot,
                  std::size_t base,
                  const Parameters& parameters,
                  std::span<float> values);
};

}  // namespace med3d::nn
