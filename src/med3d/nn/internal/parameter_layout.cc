#include "med3d/nn/internal/parameter_layout.h"

#include <algorithm>
#include <utility>

namespace med3d::nn {
namespace {

Parameter cut_out(const ParameterSlot& slot, std::span<const float> values, std::size_t base) {
  const auto part = values.subspan(base + slot.offset, slot.count);
  return {slot.name, slot.shape, {part.begin(), part.end()}};
}

}  // namespace

void ParameterLayout::add(const std::string& name, std::vector<std::uint64_t> shape) {
  std::size_t size = 1;
  for (const std::uint64_t side : shape) size *= static_cast<std::size_t>(side);
  slots.push_back({name, std::move(shape), count, size});
  count += size;
}

void ParameterLayout::add_stat(const std::string& name, std::uint64_t width) {
  stat_slots.push_back({name, {width}, stat_count, static_cast<std::size_t>(width)});
  stat_count += static_cast<std::size_t>(width);
}

Parameters ParameterLayout::all(std::span<const float> values) const {
  Parameters result = trained(values);
  for (const ParameterSlot& slot : stat_slots) result.push_back(cut_out(slot, values, count));
  return result;
}

Parameters ParameterLayout::trained(std::span<const float> values) const {
  Parameters result;
  for (const ParameterSlot& slot : slots) result.push_back(cut_out(slot, values, 0));
  return result;
}

void ParameterLayout::put(const ParameterSlot& slot,
                          std::size_t base,
                          const Parameters& parameters,
                          std::span<float> values) {
  const Parameter& parameter = find_parameter(parameters, slot.name);
  check_parameter(parameter, slot.shape);
  std::ranges::copy(parameter.values, values.subspan(base + slot.offset).begin());
}

}  // namespace med3d::nn
