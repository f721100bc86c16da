#include "med3d/nn/internal/volume_network.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/core/random.h"
#include "med3d/nn/internal/parameter_layout.h"
#include "med3d/nn/internal/random_stream.h"
#include "med3d/nn/internal/torch_loader.h"

namespace med3d::nn {
namespace {

// The encoder's parameters come first, then the head's.
struct Layout : ParameterLayout {
  std::size_t encoder_count = 0;

  explicit Layout(const VolumeNetDesign& design) {
    const auto width = static_cast<std::uint64_t>(design.width);
    add_unit("conv1", "bn1", width, 1, 7);
    std::uint64_t in = width;
    for (std::size_t g = 0; g < design.blocks.size(); ++g) {
      const std::uint64_t inner = width << g;
      const std::uint64_t out = design.bottleneck ? 4 * inner : inner;
      const bool strided = g > 0 && !(design.dilated && g >= 2);
      for (int b = 0; b < design.blocks[g]; ++b) {
        const std::string name = "layer" + std::to_string(g + 1) + "." + std::to_string(b) + ".";
        if (design.bottleneck) {
          add_unit(name + "conv1", name + "bn1", inner, in, 1);
          add_unit(name + "conv2", name + "bn2", inner, inner, 3);
          add_unit(name + "conv3", name + "bn3", out, inner, 1);
        } else {
          add_unit(name + "conv1", name + "bn1", inner, in, 3);
          add_unit(name + "conv2", name + "bn2", out, inner, 3);
        }
        if (design.projection && ((b == 0 && strided) || in != out)) {
          add_unit(name + "downsample.0", name + "downsample.1", out, in, 1);
        }
        in = out;
      }
    }
    encoder_count = count;
    add("fc.weight", {1, in});
    add("fc.bias", {1});
  }

 private:
  void add_unit(const std::string& convolution,
                const std::string& norm,
                std::uint64_t out,
                std::uint64_t in,
                std::uint64_t kernel) {
    add(convolution + ".weight", {out, in, kernel, kernel, kernel});
    add(norm + ".weight", {out});
    add(norm + ".bias", {out});
    add_stat(norm + ".running_mean", out);
    add_stat(norm + ".running_var", out);
  }
};

std::vector<TorchSlot> across_the_border(const std::vector<ParameterSlot>& slots) {
  std::vector<TorchSlot> result;
  for (const ParameterSlot& slot : slots) {
    result.push_back({slot.name.c_str(), {slot.count, 0}, slot.offset, slot.count});
  }
  return result;
}

}  // namespace

struct VolumeNetwork::Impl {
  VolumeNetDesign design;
  Layout layout;
  TorchVolumeNet* net = nullptr;
  std::size_t batch = 0;

  explicit Impl(const VolumeNetDesign& wanted) : design(wanted), layout(wanted) {
    const std::vector<TorchSlot> slots = across_the_border(layout.slots);
    const std::vector<TorchSlot> stat_slots = across_the_border(layout.stat_slots);
    TorchVolumeSpec spec;
    for (std::size_t g = 0; g < 4; ++g) spec.blocks[g] = design.blocks[g];
    spec.bottleneck = design.bottleneck;
    spec.projection = design.projection;
    spec.dilated = design.dilated;
    spec.width = static_cast<std::uint64_t>(design.width);
    spec.embedding = static_cast<std::uint64_t>(design.embedding_dim());
    spec.slots = slots.data();
    spec.slot_count = slots.size();
    spec.stat_slots = stat_slots.data();
    spec.stat_slot_count = stat_slots.size();
    spec.encoder_count = layout.encoder_count;
    torch_call(torch().volume_create, &spec, &net);
  }
  ~Impl() { torch().volume_destroy(net); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
};

VolumeNetwork::VolumeNetwork(const VolumeNetDesign& design, std::uint64_t seed)
    : impl_(std::make_unique<Impl>(design)) {
  const Layout& layout = impl_->layout;
  std::vector<float> values(layout.size(), 0.0F);
  for (const ParameterSlot& slot : layout.slots) {
    float* out = values.data() + slot.offset;
    const bool head = slot.name.starts_with("fc.");
    if (!head && slot.shape.size() == 1) {
      if (slot.name.ends_with(".weight")) std::fill_n(out, slot.count, 1.0F);
      continue;
    }
    const auto size = static_cast<double>(slot.count);
    const double bound = head ? 1.0 / std::sqrt(static_cast<double>(design.embedding_dim()))
                              : std::sqrt(6.0 * static_cast<double>(slot.shape[1]) / size);
    RandomStream random(derive_seed(seed, slot.name));
    for (std::size_t i = 0; i < slot.count; ++i) {
      out[i] = static_cast<float>((2.0 * random.uniform() - 1.0) * bound);
    }
  }
  for (const ParameterSlot& slot : layout.stat_slots) {
    if (!slot.name.ends_with(".running_var")) continue;
    std::fill_n(values.data() + layout.count + slot.offset, slot.count, 1.0F);
  }
  set_state(values);
}

VolumeNetwork::~VolumeNetwork() = default;
VolumeNetwork::VolumeNetwork(VolumeNetwork&&) noexcept = default;
VolumeNetwork& VolumeNetwork::operator=(VolumeNetwork&&) noexcept = default;

const VolumeNetDesign& VolumeNetwork::design() const { return impl_->design; }

namespace {

std::size_t volumes_in(std::span<const float> voxels, const VolumeShape& extent) {
  std::size_t size = 1;
  for (const std::int64_t side : extent) size *= static_cast<std::size_t>(side);
  if (size == 0 || voxels.empty() || voxels.size() % size != 0) {
    throw Error(ErrorKind::kUsage,
                "a batch of " + std::to_string(voxels.size()) + " voxels, expected a multiple of " +
                    std::to_string(size));
  }
  return voxels.size() / size;
}

}  // namespace

std::vector<float> VolumeNetwork::forward(std::span<const float> voxels,
                                          const VolumeShape& extent,
                                          std::span<const float> mask,
                                          int threads) {
  const std::size_t n = volumes_in(voxels, extent);
  std::vector<float> logits(n);
  torch_call(torch().volume_forward,
             impl_->net,
             voxels.data(),
             n,
             extent.data(),
             mask.empty() ? nullptr : mask.data(),
             threads,
             logits.data());
  impl_->batch = n;
  return logits;
}

void VolumeNetwork::backward(std::span<const float> gradient, int threads) {
  if (impl_->batch == 0 || gradient.size() != impl_->batch) {
    throw Error(ErrorKind::kUsage,
                "a gradient of " + std::to_string(gradient.size()) + " values, expected " +
                    std::to_string(impl_->batch));
  }
  torch_call(torch().volume_backward, impl_->net, gradient.data(), threads);
  impl_->batch = 0;  // its activations are gone
}

void VolumeNetwork::step(double learning_rate,
                         double encoder_factor,
                         double weight_decay,
                         bool decoupled) {
  torch_call(
      torch().volume_step, impl_->net, learning_rate, encoder_factor, weight_decay, decoupled);
}

VolumeNetwork::Outputs VolumeNetwork::evaluate(std::span<const float> voxels,
                                               const VolumeShape& extent,
                                               int threads) const {
  const std::size_t n = volumes_in(voxels, extent);
  Outputs out;
  out.logits.resize(n);
  out.embeddings.resize(n * static_cast<std::size_t>(impl_->design.embedding_dim()));
  torch_call(torch().volume_evaluate,
             impl_->net,
             voxels.data(),
             n,
             extent.data(),
             threads,
             out.logits.data(),
             out.embeddings.data());
  return out;
}

Parameters VolumeNetwork::parameters() const { return impl_->layout.all(state()); }

Parameters VolumeNetwork::gradients() const {
  std::vector<float> values(impl_->layout.count);
  torch_call(torch().volume_gradients, impl_->net, values.data());
  return impl_->layout.trained(values);
}

void VolumeNetwork::load(const Parameters& parameters) {
  const Layout& layout = impl_->layout;
  const bool has_head = std::any_of(parameters.begin(), parameters.end(), [](const Parameter& p) {
    return p.name == "fc.weight";
  });
  std::vector<float> values = state();
  Parameters expected;
  const auto put = [&](const ParameterSlot& slot, std::size_t base) {
    expected.push_back({slot.name, {}, {}});
    if (!has_head && slot.name.starts_with("fc.")) return;
    Layout::put(slot, base, parameters, values);
  };
  for (const ParameterSlot& slot : layout.slots) put(slot, 0);
  for (const ParameterSlot& slot : layout.stat_slots) put(slot, layout.count);
  for (const Parameter& parameter : parameters) {
    // The segmentation layers that MedicalNet's checkpoints were trained with.
    if (parameter.name.starts_with("conv_seg.")) expected.push_back({parameter.name, {}, {}});
  }
  refuse_unknown_parameters(parameters, expected);
  set_state(values);
}

std::vector<float> VolumeNetwork::state() const {
  std::vector<float> values(impl_->layout.size());
  torch_call(torch().volume_state, impl_->net, values.data());
  return values;
}

void VolumeNetwork::set_state(std::span<const float> state) {
  if (state.size() != impl_->layout.size()) {
    throw Error(ErrorKind::kFormat,
                "a network of " + std::to_string(state.size()) + " numbers, expected " +
                    std::to_string(impl_->layout.size()));
  }
  torch_call(torch().volume_set_state, impl_->net, state.data());
}

std::vector<float> VolumeNetwork::moments(std::int64_t& steps) const {
  std::vector<float> values(2 * impl_->layout.count);
  torch_call(torch().volume_moments, impl_->net, values.data(), &steps);
  return values;
}

void VolumeNetwork::set_moments(std::span<const float> moments, std::int64_t steps) {
  if (moments.size() != 2 * impl_->layout.count || steps < 0) {
    throw Error(ErrorKind::kFormat,
                "Adam's moments of " + std::to_string(moments.size()) + " numbers, expected " +
                    std::to_string(2 * impl_->layout.count));
  }
  torch_call(torch().volume_set_moments, impl_->net, moments.data(), steps);
}

}  // namespace med3d::nn
