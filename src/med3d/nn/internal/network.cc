#include "med3d/nn/internal/network.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/core/random.h"
#include "med3d/nn/internal/parameter_layout.h"
#include "med3d/nn/internal/torch_loader.h"

namespace med3d::nn {
namespace {

struct Layout : ParameterLayout {
  explicit Layout(const NetworkSpec& spec) {
    std::size_t width = spec.inputs;
    if (spec.projection > 0) {
      add("projection.weight", {spec.projection, width});
      width = spec.projection;
    }
    for (std::size_t l = 0; l < spec.hidden.size(); ++l) {
      const std::string number = std::to_string(l + 1);
      const auto out = static_cast<std::size_t>(spec.hidden[l]);
      add_linear("fc" + number, width, out);
      if (spec.batch_norm) {
        add("bn" + number + ".weight", {out});
        add("bn" + number + ".bias", {out});
        add_stat("bn" + number + ".running_mean", out);
        add_stat("bn" + number + ".running_var", out);
      }
      width = out;
    }
    add_linear("out", width, spec.outputs);
    if (spec.attention > 0) {
      add_linear("attention_V", width, spec.attention);
      add_linear("attention_U", width, spec.attention);
      add_linear("attention_w", spec.attention, 1);
    }
  }

 private:
  void add_linear(const std::string& name, std::size_t in, std::size_t out) {
    add(name + ".weight", {out, in});
    add(name + ".bias", {out});
  }
};

std::vector<TorchSlot> across_the_border(const std::vector<ParameterSlot>& slots) {
  std::vector<TorchSlot> result;
  for (const ParameterSlot& slot : slots) {
    result.push_back({slot.name.c_str(),
                      {slot.shape[0], slot.shape.size() > 1 ? slot.shape[1] : 0},
                      slot.offset,
                      slot.count});
  }
  return result;
}

}  // namespace

struct Network::Impl {
  NetworkSpec spec;
  Layout layout;
  TorchNet* net = nullptr;
  std::size_t rows = 0;      // of the last batch
  std::vector<float> masks;  // of the last batch

  Impl(const NetworkSpec& wanted, bool cuda) : spec(wanted), layout(wanted) {
    const std::vector<TorchSlot> slots = across_the_border(layout.slots);
    const std::vector<TorchSlot> stat_slots = across_the_border(layout.stat_slots);
    const TorchNetSpec across = {
        .inputs = spec.inputs,
        .projection = spec.projection,
        .layers = spec.hidden.size(),
        .hidden = spec.hidden.data(),
        .dropout = spec.dropout.data(),
        .batch_norm = spec.batch_norm,
        .cuda = cuda,
        .outputs = spec.outputs,
        .attention = spec.attention,
        .slots = slots.data(),
        .slot_count = slots.size(),
        .stat_slots = stat_slots.data(),
        .stat_slot_count = stat_slots.size(),
    };
    torch_call(torch().net_create, &across, &net);
  }
  ~Impl() { torch().net_destroy(net); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
};

Network::Network(const NetworkSpec& spec, DeviceKind device, std::uint64_t seed)
    : impl_(std::make_unique<Impl>(spec, resolve_device(device).kind == DeviceKind::kCuda)) {
  const Layout& layout = impl_->layout;
  std::vector<float> values(layout.size());
  RandomStream random(derive_seed(seed, "initial weights"));
  double bound = 0.0;
  for (const ParameterSlot& slot : layout.slots) {
    const bool is_norm = slot.name.rfind("bn", 0) == 0;
    if (slot.shape.size() == 2) bound = 1.0 / std::sqrt(static_cast<double>(slot.shape[1]));
    for (std::size_t i = 0; i < slot.count; ++i) {
      // A bias follows its weight and shares its bound.
      values[slot.offset + i] = is_norm
                                    ? (slot.name.ends_with(".weight") ? 1.0F : 0.0F)
                                    : static_cast<float>((2.0 * random.uniform() - 1.0) * bound);
    }
  }
  for (const ParameterSlot& slot : layout.stat_slots) {
    std::fill_n(values.begin() + static_cast<std::ptrdiff_t>(layout.count + slot.offset),
                slot.count,
                slot.name.ends_with("running_var") ? 1.0F : 0.0F);
  }
  set_state(values);
}

Network::~Network() = default;
Network::Network(Network&&) noexcept = default;
Network& Network::operator=(Network&&) noexcept = default;

const NetworkSpec& Network::spec() const { return impl_->spec; }

void Network::forward(const float* rows,
                      std::size_t n,
                      RandomStream& dropout,
                      std::vector<float>& out) {
  Impl& impl = *impl_;
  const NetworkSpec& spec = impl.spec;
  std::size_t masked = 0;
  for (std::size_t l = 0; l < spec.hidden.size(); ++l) {
    if (spec.dropout[l] > 0.0) masked += n * static_cast<std::size_t>(spec.hidden[l]);
  }
  impl.masks.resize(masked);
  float* mask = impl.masks.data();
  for (std::size_t l = 0; l < spec.hidden.size(); ++l) {
    if (!(spec.dropout[l] > 0.0)) continue;
    const std::size_t size = n * static_cast<std::size_t>(spec.hidden[l]);
    dropout.dropout_mask(mask, size, spec.dropout[l]);
    mask += size;
  }
  out.resize(n * spec.columns());
  impl.rows = n;
  torch_call(torch().net_forward, impl.net, rows, n, impl.masks.data(), out.data());
}

void Network::backward(std::span<const float> gradient) {
  const std::size_t expected = impl_->rows * impl_->spec.columns();
  if (gradient.size() != expected) {
    throw Error(ErrorKind::kUsage,
                "a gradient of " + std::to_string(gradient.size()) + " values, expected " +
                    std::to_string(expected));
  }
  torch_call(torch().net_backward, impl_->net, gradient.data());
}

void Network::step(double learning_rate, double weight_decay) {
  torch_call(torch().net_step, impl_->net, learning_rate, weight_decay, false);
}

void Network::step_with_operators(double learning_rate, double weight_decay) {
  torch_call(torch().net_step, impl_->net, learning_rate, weight_decay, true);
}

std::vector<float> Network::evaluate(const float* rows, std::size_t n) const {
  std::vector<float> out(n * impl_->spec.columns());
  torch_call(torch().net_evaluate, impl_->net, rows, n, out.data());
  return out;
}

Matrix<float> Network::hidden(const float* rows, std::size_t n, std::size_t layer) const {
  const NetworkSpec& spec = impl_->spec;
  Matrix<float> out(
      n, layer == 0 ? spec.projection : static_cast<std::size_t>(spec.hidden[layer - 1]));
  torch_call(torch().net_hidden, impl_->net, rows, n, layer, out.data());
  return out;
}

Parameters Network::parameters() const { return impl_->layout.all(state()); }

Parameters Network::gradients() const {
  std::vector<float> values(impl_->layout.count);
  torch_call(torch().net_gradients, impl_->net, values.data());
  return impl_->layout.trained(values);
}

void Network::load(const Parameters& parameters) {
  const Layout& layout = impl_->layout;
  std::vector<float> values(layout.size());
  for (const ParameterSlot& slot : layout.slots) Layout::put(slot, 0, parameters, values);
  for (const ParameterSlot& slot : layout.stat_slots) {
    Layout::put(slot, layout.count, parameters, values);
  }
  set_state(values);
}

std::vector<float> Network::state() const {
  std::vector<float> values(impl_->layout.size());
  torch_call(torch().net_state, impl_->net, values.data());
  return values;
}

void Network::set_state(std::span<const float> state) {
  torch_call(torch().net_set_state, impl_->net, state.data());
}

}  // namespace med3d::nn
