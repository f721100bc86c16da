#include "med3d/kernels/conv_net.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <numeric>
#include <optional>
#include <unordered_map>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/core/parallel.h"
#include "med3d/kernels/internal/onednn.h"

namespace med3d {

namespace {

using onednn::Dims;
using onednn::Format;
using onednn::Type;

[[noreturn]] void refuse(const std::string& message) { throw Error(ErrorKind::kUsage, message); }

std::int64_t product(std::span<const std::int64_t> factors) {
  return std::accumulate(factors.begin(), factors.end(), std::int64_t{1}, std::multiplies<>());
}

Format channels_first(std::size_t axes) { return axes == 2 ? Format::nchw : Format::ncdhw; }
Format channels_last(std::size_t axes) { return axes == 2 ? Format::nhwc : Format::ndhwc; }

constexpr std::uint16_t kBf16One = 0x3f80;

std::uint16_t bf16_bits(float value) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof(bits));
  return static_cast<std::uint16_t>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16);  // to even
}

// Rounds the weights of each output channel to bf16 so that their sum stays: what a weight loses is
// given to the next. Inputs behind a ReLU have a mean, and errors that all rounded weights make on
// it would add up over the channels; on ResNet-50 this halves the angle^2 to the embedding in f32.
void round_keeping_sums(std::vector<float>& weight, std::int64_t out_channels) {
  const std::size_t row = weight.size() / static_cast<std::size_t>(out_channels);
  for (std::size_t start = 0; start < weight.size(); start += row) {
    double carry = 0.0;
    for (std::size_t i = start; i < start + row; ++i) {
      const double wanted = static_cast<double>(weight[i]) + carry;
      const std::uint32_t bits = std::uint32_t{bf16_bits(static_cast<float>(wanted))} << 16;
      std::memcpy(&weight[i], &bits, sizeof(bits));
      carry = wanted - static_cast<double>(weight[i]);
    }
  }
}

struct Quantised {
  std::vector<std::int8_t> weight;
  std::vector<float> scales;  // for each output channel: weight = scale * int8
};

// As round_keeping_sums, to whole steps of a 127th of the channel's largest weight.
Quantised quantise(const std::vector<float>& weight, std::int64_t out_channels) {
  Quantised result;
  result.weight.resize(weight.size());
  const std::size_t row = weight.size() / static_cast<std::size_t>(out_channels);
  for (std::size_t start = 0; start < weight.size(); start += row) {
    float largest = 0.0F;
    for (std::size_t i = start; i < start + row; ++i) {
      largest = std::max(largest, std::abs(weight[i]));
    }
    const float scale = largest > 0.0F ? largest / 127.0F : 1.0F;
    double carry = 0.0;
    for (std::size_t i = start; i < start + row; ++i) {
      const double wanted = static_cast<double>(weight[i]) / static_cast<double>(scale) + carry;
      const double rounded = std::clamp(std::nearbyint(wanted), -127.0, 127.0);
      result.weight[i] = static_cast<std::int8_t>(rounded);
      carry = std::clamp(wanted - rounded, -0.5, 0.5);
    }
    result.scales.push_back(scale);
  }
  return result;
}

// (positions, channels) -> the mean of each channel. Sums of 64 in f32, of those in double: a
// volume has more positions than f32 could count up in one sum.
void mean_over_positions(const float* values,
                         std::size_t positions,
                         std::size_t channels,
                         float* means) {
  constexpr std::size_t kBlock = 64;
  std::vector<double> total(channels, 0.0);
  std::vector<float> part(channels);
  for (std::size_t first = 0; first < positions; first += kBlock) {
    std::fill(part.begin(), part.end(), 0.0F);
    for (std::size_t i = first; i < std::min(positions, first + kBlock); ++i) {
      const float* row = values + i * channels;
      for (std::size_t c = 0; c < channels; ++c) part[c] += row[c];
    }
    for (std::size_t c = 0; c < channels; ++c) total[c] += static_cast<double>(part[c]);
  }
  for (std::size_t c = 0; c < channels; ++c) {
    means[c] = static_cast<float>(total[c] / static_cast<double>(positions));
  }
}

// A layer as it was asked for.
struct Layer {
  enum class Kind { kInput, kConvolution, kMaxPool, kMeanPool, kGlobalMean };
  Kind kind = Kind::kInput;
  ConvNet::Node from = 0;
  std::int64_t channels = 0;
  std::vector<std::int64_t> extent;
  Window window;
  Convolution convolution;  // weights are handed on at build()
  bool has_residual = false;
  ConvNet::Node residual = 0;
  double operations = 0.0;  // for each position of the result
};

// Weights in the layout and type that a kernel asked for.
struct Placed {
  dnnl::memory weights;
  dnnl::memory bias;
  std::vector<float> scales;  // of int8 weights, for each output channel
};

// An activation: its description, and the storage it lies in (in place of a residual: the same).
struct Value {
  dnnl::memory::desc description;
  std::size_t storage = 0;
  float scale = 0.0F;  // of one step in int8; 0 in floating point
};

// A stretch of the arena that is in use from one step to another.
struct Storage {
  std::size_t bytes = 0;
  std::size_t first = 0;
  std::size_t last = 0;
  std::size_t offset = 0;
};

struct Step {
  dnnl::primitive primitive;
  std::vector<std::pair<int, std::size_t>> values;      // argument, value
  std::vector<std::pair<int, dnnl::memory>> constants;  // argument, weights
  std::size_t scratchpad = 0;
};

// What one sample needs while it is computed.
struct Lane {
  onednn::Buffer memory;
  dnnl::stream stream;
  std::byte* input = nullptr;
  std::vector<std::unordered_map<int, dnnl::memory>> arguments;  // of each step
  std::vector<float> mean;
};

constexpr std::size_t kAlignment = 64;

std::size_t aligned(std::size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

// Places each storage at the lowest offset that is free while it lives, larger ones first. Returns
// the bytes of the whole.
std::size_t place(std::vector<Storage>& storages) {
  std::vector<std::size_t> order(storages.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return storages[a].bytes > storages[b].bytes;
  });
  std::size_t total = 0;
  std::vector<std::size_t> placed;  // by offset
  for (const std::size_t index : order) {
    Storage& mine = storages[index];
    std::size_t offset = 0;
    for (const std::size_t other_index : placed) {
      const Storage& other = storages[other_index];
      if (other.last < mine.first || mine.last < other.first) continue;
      if (offset + mine.bytes <= other.offset) break;
      offset = std::max(offset, other.offset + other.bytes);
    }
    mine.offset = offset;
    total = std::max(total, offset + mine.bytes);
    placed.insert(std::upper_bound(placed.begin(),
                                   placed.end(),
                                   offset,
                                   [&](std::size_t value, std::size_t placed_index) {
                                     return value < storages[placed_index].offset;
                                   }),
                  index);
  }
  return total;
}

}  // namespace

void ConvNetOptions::validate() const {
  if (lanes < 1 || threads < 1 || (lanes > 1 && threads > 1)) {
    refuse(
        fmt::format("conv net: {} lanes of {} threads, expected at least 1 of each, and 1 of one",
                    lanes,
                    threads));
  }
}

Window Window::same(std::size_t axes,
                    std::int64_t kernel,
                    std::int64_t stride,
                    std::int64_t padding,
                    std::int64_t dilation) {
  using Numbers = std::vector<std::int64_t>;
  return {Numbers(axes, kernel),
          Numbers(axes, stride),
          Numbers(axes, padding),
          Numbers(axes, dilation)};
}

void fold(const BatchNorm& norm, Convolution& layer) {
  const auto channels = static_cast<std::size_t>(layer.out_channels);
  for (const auto* values : {&norm.gamma, &norm.beta, &norm.mean, &norm.variance}) {
    if (values->size() != channels) {
      refuse(fmt::format("{}: batch norm of {} channels after a convolution of {}",
                         layer.name,
                         values->size(),
                         channels));
    }
  }
  if (channels == 0 || layer.weight.size() % channels != 0 ||
      (!layer.bias.empty() && layer.bias.size() != channels)) {
    refuse(fmt::format("{}: {} weights and {} biases for {} channels",
                       layer.name,
                       layer.weight.size(),
                       layer.bias.size(),
                       channels));
  }
  if (layer.bias.empty()) layer.bias.assign(channels, 0.0F);
  const std::size_t row = layer.weight.size() / channels;
  for (std::size_t c = 0; c < channels; ++c) {
    if (!(norm.variance[c] >= 0.0F)) {
      throw Error(ErrorKind::kData,
                  fmt::format("{}: batch norm with variance {} in channel {}, expected at least 0",
                              layer.name,
                              norm.variance[c],
                              c));
    }
    const double scale = static_cast<double>(norm.gamma[c]) /
                         std::sqrt(static_cast<double>(norm.variance[c]) + norm.epsilon);
    for (std::size_t i = c * row; i < (c + 1) * row; ++i) {
      layer.weight[i] = static_cast<float>(static_cast<double>(layer.weight[i]) * scale);
    }
    layer.bias[c] = static_cast<float>(
        (static_cast<double>(layer.bias[c]) - static_cast<double>(norm.mean[c])) * scale +
        static_cast<double>(norm.beta[c]));
  }
}

struct ConvNet::Impl {
  ConvNetOptions options;
  std::size_t axes = 0;
  std::vector<Layer> layers;
  double operations = 0.0;

  bool built = false;
  std::optional<Node> last_node;       // from build() on
  std::vector<float> largest;          // of each node, in int8
  std::vector<std::size_t> node_step;  // the step after which a node is there, and its value
  std::vector<std::size_t> node_value;
  std::vector<Placed> placed;  // of each layer; they outlive a change of size
  std::vector<Value> values;
  std::vector<Storage> storages;
  std::vector<Step> steps;
  std::vector<Lane> lanes;
  std::size_t input_value = 0;
  std::size_t output_value = 0;  // plain f32: channels first, or channels last before a global mean
  bool mean_at_end = false;
  std::vector<std::int64_t> shape;     // of the output
  std::vector<std::int64_t> averaged;  // shape before a global mean
  std::size_t weight_bytes = 0;
  std::size_t lane_bytes = 0;

  // Of an 8-bit input.
  bool rgb8 = false;
  std::array<float, 3> mean{};
  std::array<float, 3> stddev{};
  std::array<std::array<float, 256>, 3> table_f32{};  // the input for each 8-bit value and channel
  std::array<std::array<std::uint16_t, 256>, 3> table_bf16{};  // the same as bits of bf16

  // Pixels less a whole number, and a channel of ones (see for_rgb8).
  bool whole_pixels() const { return rgb8 && options.arithmetic == Arithmetic::kBf16; }
  static double whole(float channel_mean) {
    return std::round(255.0 * static_cast<double>(channel_mean));
  }
  std::int64_t input_channels() const { return whole_pixels() ? 4 : layers[0].channels; }

  // The weights that do to whole pixels what `weight` does to normalised ones:
  //   (p / 255 - m) / s = (p - k) / (255 s) + (k - 255 m) / (255 s) 1
  std::vector<float> for_whole_pixels(const std::vector<float>& weight,
                                      std::int64_t out_channels) const {
    const std::size_t out = static_cast<std::size_t>(out_channels);
    const std::size_t taps = weight.size() / (3 * out);
    std::vector<float> result(4 * out * taps);
    for (std::size_t o = 0; o < out; ++o) {
      for (std::size_t t = 0; t < taps; ++t) {
        double of_ones = 0.0;
        for (std::size_t c = 0; c < 3; ++c) {
          const double scaled = static_cast<double>(weight[(o * 3 + c) * taps + t]) /
                                (255.0 * static_cast<double>(stddev[c]));
          result[(o * 4 + c) * taps + t] = static_cast<float>(scaled);
          of_ones += scaled * (whole(mean[c]) - 255.0 * static_cast<double>(mean[c]));
        }
        result[(o * 4 + 3) * taps + t] = static_cast<float>(of_ones);
      }
    }
    return result;
  }

  bool int8() const { return options.arithmetic == Arithmetic::kInt8; }
  // Of what is not in int8.
  Type type() const { return int8() ? Type::f32 : onednn::type_of(options.arithmetic); }

  const Layer& at(Node node, std::string_view what) const {
    if (last_node) refuse(fmt::format("{}: the net is already built", what));
    if (node >= layers.size()) refuse(fmt::format("{}: there is no node {}", what, node));
    if (layers[node].kind == Layer::Kind::kGlobalMean) {
      refuse(fmt::format("{}: a global mean is the last layer", what));
    }
    return layers[node];
  }

  // What a window makes of an extent.
  std::vector<std::int64_t> through(const Window& window,
                                    const std::vector<std::int64_t>& extent,
                                    std::string_view what) const {
    if (window.kernel.size() != axes || window.stride.size() != axes ||
        window.padding.size() != axes || window.dilation.size() != axes) {
      refuse(fmt::format("{}: a window that has not {} axes", what, axes));
    }
    std::vector<std::int64_t> result;
    for (std::size_t a = 0; a < axes; ++a) {
      const bool positive = window.kernel[a] >= 1 && window.stride[a] >= 1 &&
                            window.padding[a] >= 0 && window.dilation[a] >= 1;
      const std::int64_t reach =
          positive ? window.dilation[a] * (window.kernel[a] - 1) + 1 : std::int64_t{0};
      if (!positive || extent[a] + 2 * window.padding[a] < reach) {
        refuse(fmt::format("{}: kernel {}, stride {}, padding {}, dilation {} on an extent of {}",
                           what,
                           window.kernel[a],
                           window.stride[a],
                           window.padding[a],
                           window.dilation[a],
                           extent[a]));
      }
      result.push_back((extent[a] + 2 * window.padding[a] - reach) / window.stride[a] + 1);
    }
    return result;
  }

  Node add(Layer layer) {
    layers.push_back(std::move(layer));
    return layers.size() - 1;
  }

  Node add_pool(Layer::Kind kind, Node from, const Window& window, std::string_view what) {
    const Layer& before = at(from, what);
    Layer layer;
    layer.kind = kind;
    layer.from = from;
    layer.channels = before.channels;
    layer.extent = through(window, before.extent, what);
    for (std::size_t a = 0; a < axes; ++a) {
      // A window that sees nothing but padding has no maximum and no mean.
      if (window.padding[a] >= window.kernel[a] || window.dilation[a] != 1) {
        refuse(
            fmt::format("{}: padding {} and dilation {} of a kernel of {}, expected less padding "
                        "than kernel, and dilation 1",
                        what,
                        window.padding[a],
                        window.dilation[a],
                        window.kernel[a]));
      }
    }
    layer.window = window;
    return add(std::move(layer));
  }

  static Dims dims(std::int64_t channels, const std::vector<std::int64_t>& extent) {
    Dims result = {1, channels};
    result.insert(result.end(), extent.begin(), extent.end());
    return result;
  }

  std::size_t new_value(const dnnl::memory::desc& description, float scale = 0.0F) {
    storages.push_back({aligned(description.get_size()), steps.size(), steps.size(), 0});
    values.push_back({description, storages.size() - 1, scale});
    return values.size() - 1;
  }

  void touch(std::size_t value) { storages[values[value].storage].last = steps.size(); }

  // `value` in that layout: itself, or a new value and a step that makes it. With a scale, or from
  // a value that has one: in whole steps of it.
  std::size_t in_layout(std::size_t value,
                        const dnnl::memory::desc& description,
                        float scale = 0.0F) {
    if (values[value].description == description) return value;
    dnnl::primitive_attr attributes = onednn::attributes();
    const float from = values[value].scale > 0.0F ? values[value].scale : 1.0F;
    if (scale > 0.0F || values[value].scale > 0.0F) {
      attributes.set_output_scales(0, {from / (scale > 0.0F ? scale : 1.0F)});
    }
    const dnnl::reorder::primitive_desc pd(
        onednn::engine(), values[value].description, onednn::engine(), description, attributes);
    const std::size_t result = new_value(description, scale);
    Step step;
    step.primitive = dnnl::reorder(pd);
    step.values = {{DNNL_ARG_FROM, value}, {DNNL_ARG_TO, result}};
    step.scratchpad = pd.scratchpad_desc().get_size();
    touch(value);
    steps.push_back(std::move(step));
    return result;
  }

  // oneDNN's choice on AVX-512 for volumes, channels last, spends time on the padding of a dilated
  // window; the kernel for blocks of 16 channels leaves it out (on a 512-channel layer of
  // 7 x 56 x 56 with dilation 4: 1.3 times as fast in f32, 1.15 in bf16; equal with dilation 2).
  // With AMX in bf16 the choice is left to oneDNN.
  bool wants_blocks(const Layer& layer) const {
    const bool dilated = std::any_of(
        layer.window.dilation.begin(), layer.window.dilation.end(), [](auto d) { return d > 1; });
    const bool whole_blocks = layer.channels % 16 == 0 && layers[layer.from].channels % 16 == 0;
    return axes == 3 && dilated && whole_blocks && onednn::has_isa(dnnl::cpu_isa::avx512_core) &&
           !(type() == Type::bf16 && onednn::has_isa(dnnl::cpu_isa::avx512_core_amx));
  }

  Format plain_weights() const { return axes == 2 ? Format::oihw : Format::oidhw; }

  // Brings a layer's weights into the kernel's layout: from those it was given, which are then
  // dropped, or from the layout of a kernel for another size, mostly the same.
  //
  // source_scale   of an int8 layer, else 0
  void place_weights(Node node,
                     const dnnl::memory::desc& plain,
                     const dnnl::memory::desc& wanted,
                     float source_scale) {
    Convolution& given = layers[node].convolution;
    Placed& mine = placed[node];
    if (mine.weights) {
      if (mine.weights.get_desc() != wanted) mine.weights = onednn::reordered(mine.weights, wanted);
    } else {
      if (layers[node].from == kInput && whole_pixels()) {
        given.weight = for_whole_pixels(given.weight, layers[node].channels);
      }
      if (type() == Type::bf16) round_keeping_sums(given.weight, layers[node].channels);
      if (source_scale > 0.0F) {
        const Quantised rounded = quantise(given.weight, layers[node].channels);
        mine.weights = onednn::reordered(onednn::view(plain, rounded.weight.data()), wanted);
        mine.scales = rounded.scales;
        for (std::size_t c = 0; c < given.bias.size(); ++c) {
          given.bias[c] /= source_scale * mine.scales[c];  // added to the sum in 32 bits
        }
      } else {
        mine.weights = onednn::reordered(onednn::view(plain, given.weight.data()), wanted);
      }
      const auto bias = onednn::desc({layers[node].channels}, Type::f32, Format::x);
      mine.bias = onednn::reordered(onednn::view(bias, given.bias.data()), bias);
      given.weight = std::vector<float>();  // {} would keep the memory
      given.bias = std::vector<float>();
    }
    weight_bytes += wanted.get_size() + mine.bias.get_desc().get_size();
  }

  // needed[node]: how many layers that are still to come read the node.
  std::size_t build_convolution(Node node,
                                const std::vector<std::size_t>& value_of,
                                const std::vector<std::size_t>& needed) {
    const Layer& layer = layers[node];
    const Layer& before = layers[layer.from];
    const bool on_whole_pixels = layer.from == kInput && whole_pixels();
    const std::int64_t source_channels = on_whole_pixels ? input_channels() : before.channels;
    const Dims source_dims = dims(source_channels, before.extent);
    const Dims result_dims = dims(layer.channels, layer.extent);
    Dims weight_dims = {layer.channels, source_channels};
    weight_dims.insert(weight_dims.end(), layer.window.kernel.begin(), layer.window.kernel.end());
    Dims dilation = layer.window.dilation;
    for (auto& d : dilation) --d;  // oneDNN counts the voxels left out

    dnnl::post_ops after;
    if (layer.has_residual) after.append_sum(1.0F);
    if (layer.convolution.relu) {
      after.append_eltwise(1.0F, dnnl::algorithm::eltwise_relu, 0.0F, 0.0F);
    }
    dnnl::primitive_attr attributes = onednn::attributes();
    attributes.set_post_ops(after);

    // The sum goes to the place of the residual: the result takes its layout.
    const Format layout = wants_blocks(layer) ? Format::nCdhw16c : Format::any;
    std::size_t residual = 0;
    bool may_overwrite = false;
    auto result_desc = onednn::desc(result_dims, type(), layout);
    if (layer.has_residual) {
      const std::size_t given = value_of[layer.residual];
      residual = layout == Format::any ? given : in_layout(given, result_desc);
      may_overwrite = residual != given || needed[layer.residual] == 0;
      result_desc = values[residual].description;
    }
    const dnnl::convolution_forward::desc what(dnnl::prop_kind::forward_inference,
                                               dnnl::algorithm::convolution_direct,
                                               onednn::desc(source_dims, type(), layout),
                                               onednn::desc(weight_dims, type(), Format::any),
                                               onednn::desc({layer.channels}, Type::f32, Format::x),
                                               result_desc,
                                               layer.window.stride,
                                               dilation,
                                               layer.window.padding,
                                               layer.window.padding);
    const dnnl::convolution_forward::primitive_desc pd(what, attributes, onednn::engine());

    const std::size_t source = in_layout(value_of[layer.from], pd.src_desc());
    std::size_t result = 0;
    if (!layer.has_residual) {
      result = new_value(pd.dst_desc());
    } else if (may_overwrite && values[residual].storage != values[source].storage) {
      values.push_back({pd.dst_desc(), values[residual].storage});
      result = values.size() - 1;
    } else {  // the residual is read again, or by this layer: the sum gets a copy of its own
      const dnnl::reorder::primitive_desc copy(onednn::engine(),
                                               values[residual].description,
                                               onednn::engine(),
                                               pd.dst_desc(),
                                               onednn::attributes());
      result = new_value(pd.dst_desc());
      Step step;
      step.primitive = dnnl::reorder(copy);
      step.values = {{DNNL_ARG_FROM, residual}, {DNNL_ARG_TO, result}};
      step.scratchpad = copy.scratchpad_desc().get_size();
      touch(residual);
      steps.push_back(std::move(step));
    }

    place_weights(
        node, onednn::desc(weight_dims, Type::f32, plain_weights()), pd.weights_desc(), 0.0F);

    return convolve(node, pd, source, result);
  }

  // The step of a convolution whose weights are placed; `result` has its value.
  std::size_t convolve(Node node,
                       const dnnl::convolution_forward::primitive_desc& pd,
                       std::size_t source,
                       std::size_t result) {
    Step step;
    step.primitive = dnnl::convolution_forward(pd);
    step.values = {{DNNL_ARG_SRC, source}, {DNNL_ARG_DST, result}};
    step.constants = {{DNNL_ARG_WEIGHTS, placed[node].weights}, {DNNL_ARG_BIAS, placed[node].bias}};
    step.scratchpad = pd.scratchpad_desc().get_size();
    touch(source);
    touch(result);
    steps.push_back(std::move(step));
    return result;
  }

  // Largest value of a node in whole steps, above zero.
  float step_of(Node node, bool is_signed) const {
    const float steps_up = is_signed ? 127.0F : 255.0F;
    return std::max(largest[node], 1e-30F) / steps_up;
  }

  // The same in int8. Scales have to be known when the primitive is made, so weights come first,
  // from the one layout that all of these kernels take them in.
  std::size_t build_int8_convolution(Node node,
                                     const std::vector<std::size_t>& value_of,
                                     const std::vector<std::size_t>& needed) {
    const Layer& layer = layers[node];
    const Layer& before = layers[layer.from];
    const std::size_t source = value_of[layer.from];
    const Dims result_dims = dims(layer.channels, layer.extent);
    Dims weight_dims = {layer.channels, before.channels};
    weight_dims.insert(weight_dims.end(), layer.window.kernel.begin(), layer.window.kernel.end());
    Dims dilation = layer.window.dilation;
    for (auto& d : dilation) --d;
    const bool is_signed = !layer.convolution.relu;
    const float scale = step_of(node, is_signed);
    const auto result_desc =
        onednn::desc(result_dims, is_signed ? Type::s8 : Type::u8, channels_last(axes));

    const auto made = [&](const std::vector<float>& scales) {
      dnnl::post_ops after;
      if (layer.has_residual) {
        const Value& residual = values[value_of[layer.residual]];
        after.append_sum(residual.scale / scale, residual.description.data_type());
      }
      if (layer.convolution.relu) {
        after.append_eltwise(1.0F, dnnl::algorithm::eltwise_relu, 0.0F, 0.0F);
      }
      dnnl::primitive_attr attributes = onednn::attributes();
      attributes.set_post_ops(after);
      attributes.set_output_scales(1 << 1, scales);
      const dnnl::convolution_forward::desc what(
          dnnl::prop_kind::forward_inference,
          dnnl::algorithm::convolution_direct,
          values[source].description,
          onednn::desc(weight_dims, Type::s8, Format::any),
          onednn::desc({layer.channels}, Type::f32, Format::x),
          result_desc,
          layer.window.stride,
          dilation,
          layer.window.padding,
          layer.window.padding);
      return dnnl::convolution_forward::primitive_desc(what, attributes, onednn::engine());
    };
    std::vector<float> scales(static_cast<std::size_t>(layer.channels), 1.0F);
    place_weights(node,
                  onednn::desc(weight_dims, Type::s8, plain_weights()),
                  made(scales).weights_desc(),
                  values[source].scale);
    for (std::size_t c = 0; c < scales.size(); ++c) {
      scales[c] = values[source].scale * placed[node].scales[c] / scale;
    }
    const auto pd = made(scales);

    std::size_t result = 0;
    if (!layer.has_residual) {
      result = new_value(pd.dst_desc(), scale);
    } else {
      // The sum lies where the residual lay, in steps of its own: one byte a value both times.
      std::size_t residual = value_of[layer.residual];
      if (needed[layer.residual] > 0 || values[residual].storage == values[source].storage) {
        residual = copy_of(residual);
      }
      values.push_back({pd.dst_desc(), values[residual].storage, scale});
      result = values.size() - 1;
    }
    return convolve(node, pd, source, result);
  }

  std::size_t copy_of(std::size_t value) {
    const dnnl::reorder::primitive_desc pd(onednn::engine(),
                                           values[value].description,
                                           onednn::engine(),
                                           values[value].description,
                                           onednn::attributes());
    const std::size_t result = new_value(values[value].description, values[value].scale);
    Step step;
    step.primitive = dnnl::reorder(pd);
    step.values = {{DNNL_ARG_FROM, value}, {DNNL_ARG_TO, result}};
    step.scratchpad = pd.scratchpad_desc().get_size();
    touch(value);
    steps.push_back(std::move(step));
    return result;
  }

  std::size_t build_pool(const Layer& layer, std::size_t source) {
    const auto algorithm = layer.kind == Layer::Kind::kMaxPool
                               ? dnnl::algorithm::pooling_max
                               : dnnl::algorithm::pooling_avg_exclude_padding;
    // Where the last window would end behind the right-hand padding, that side has less of it.
    Dims right = layer.window.padding;
    for (std::size_t a = 0; a < axes; ++a) {
      right[a] = (layer.extent[a] - 1) * layer.window.stride[a] + layer.window.kernel[a] -
                 layers[layer.from].extent[a] - layer.window.padding[a];
    }
    const dnnl::pooling_forward::desc what(dnnl::prop_kind::forward_inference,
                                           algorithm,
                                           values[source].description,
                                           onednn::desc(dims(layer.channels, layer.extent),
                                                        values[source].description.data_type(),
                                                        Format::any),
                                           layer.window.stride,
                                           layer.window.kernel,
                                           layer.window.padding,
                                           right);
    const dnnl::pooling_forward::primitive_desc pd(what, onednn::attributes(), onednn::engine());
    const std::size_t result = new_value(pd.dst_desc(), values[source].scale);
    Step step;
    step.primitive = dnnl::pooling_forward(pd);
    step.values = {{DNNL_ARG_SRC, source}, {DNNL_ARG_DST, result}};
    step.scratchpad = pd.scratchpad_desc().get_size();
    touch(source);
    steps.push_back(std::move(step));
    return result;
  }

  [[noreturn]] static void refuse_whole_pixels(Node node) {
    refuse(fmt::format("layer {}: only convolutions may read the pixels of a bf16 net", node));
  }

  void build_steps(Node output) {
    // What nobody reads is not computed.
    std::vector<bool> wanted(layers.size(), false);
    std::vector<std::size_t> needed(layers.size(), 0);
    wanted[output] = true;
    needed[output] = 1;
    for (Node node = output; node > 0; --node) {
      const Layer& layer = layers[node];
      if (!wanted[node]) continue;
      wanted[layer.from] = true;
      ++needed[layer.from];
      if (layer.has_residual) {
        wanted[layer.residual] = true;
        ++needed[layer.residual];
      }
    }

    std::vector<std::size_t> value_of(layers.size(), 0);
    node_step.assign(layers.size(), 0);
    node_value.assign(layers.size(), 0);
    input_value = new_value(
        onednn::desc(dims(input_channels(), layers[0].extent), type(), channels_last(axes)));
    value_of[kInput] = input_value;
    for (Node node = 1; node <= output; ++node) {
      Layer& layer = layers[node];
      if (!wanted[node]) {
        layer.convolution = Convolution();
        continue;
      }
      const bool reads_as_is = (layer.from == kInput && layer.kind != Layer::Kind::kConvolution) ||
                               (layer.has_residual && layer.residual == kInput);
      if (whole_pixels() && reads_as_is) refuse_whole_pixels(node);
      if (int8() && layer.has_residual && layer.residual == kInput) {
        refuse(fmt::format("layer {}: an int8 net adds no input", node));
      }
      operations += layer.operations * static_cast<double>(product(layer.extent));
      --needed[layer.from];
      if (layer.has_residual) --needed[layer.residual];
      const std::string name = layer.kind == Layer::Kind::kConvolution
                                   ? layer.convolution.name
                                   : fmt::format("layer {}", node);
      onednn::guarded(name, [&] {
        switch (layer.kind) {
          case Layer::Kind::kConvolution:
            if (values[value_of[layer.from]].scale > 0.0F) {
              value_of[node] = build_int8_convolution(node, value_of, needed);
              break;
            }
            value_of[node] = build_convolution(node, value_of, needed);
            if (int8()) {  // the first layers: from here on in whole steps
              const bool is_signed = !layer.convolution.relu;
              value_of[node] = in_layout(value_of[node],
                                         onednn::desc(dims(layer.channels, layer.extent),
                                                      is_signed ? Type::s8 : Type::u8,
                                                      channels_last(axes)),
                                         step_of(node, is_signed));
            }
            break;
          case Layer::Kind::kMaxPool:
          case Layer::Kind::kMeanPool:
            value_of[node] = build_pool(layer, value_of[layer.from]);
            break;
          case Layer::Kind::kGlobalMean:
          case Layer::Kind::kInput:
            break;
        }
      });
      if (layer.kind == Layer::Kind::kGlobalMean) continue;
      node_step[node] = steps.size();
      node_value[node] = value_of[node];
    }

    if (whole_pixels() && output == kInput) refuse_whole_pixels(output);
    const Layer& last = layers[output];
    mean_at_end = last.kind == Layer::Kind::kGlobalMean;
    const Node source = mean_at_end ? last.from : output;
    shape = {last.channels};
    averaged.clear();
    if (mean_at_end) {
      averaged = {last.channels};
      averaged.insert(averaged.end(), layers[source].extent.begin(), layers[source].extent.end());
    }
    if (!mean_at_end) shape.insert(shape.end(), last.extent.begin(), last.extent.end());
    output_value =
        in_layout(value_of[source],
                  onednn::desc(dims(layers[source].channels, layers[source].extent),
                               Type::f32,
                               mean_at_end ? channels_last(axes) : channels_first(axes)));
    touch(output_value);
  }

  void build_lanes() {
    const std::size_t arena = place(storages);
    std::size_t scratchpad = 0;
    for (const Step& step : steps) scratchpad = std::max(scratchpad, aligned(step.scratchpad));
    for (int l = 0; l < options.lanes; ++l) {
      Lane lane;
      lane.memory = onednn::Buffer(arena + scratchpad);
      lane.stream = dnnl::stream(onednn::engine());
      lane.input = lane.memory.data() + storages[values[input_value].storage].offset;
      for (const Step& step : steps) {
        std::unordered_map<int, dnnl::memory> arguments;
        for (const auto& [argument, value] : step.values) {
          const Value& v = values[value];
          arguments.emplace(
              argument,
              onednn::view(v.description, lane.memory.data() + storages[v.storage].offset));
        }
        for (const auto& [argument, memory] : step.constants) arguments.emplace(argument, memory);
        if (step.scratchpad > 0) {
          const auto bytes = static_cast<std::int64_t>(step.scratchpad);
          arguments.emplace(
              DNNL_ARG_SCRATCHPAD,
              onednn::view(onednn::desc({bytes}, Type::u8, Format::x), lane.memory.data() + arena));
        }
        lane.arguments.push_back(std::move(arguments));
      }
      lane_bytes += lane.memory.size();
      lanes.push_back(std::move(lane));
    }
  }

  // Kernels are chosen for the number of threads they will run on.
  void build() {
    const ThreadScope scope(options.threads);
    onednn::guarded("conv net", [&] {
      build_steps(*last_node);
      build_lanes();
    });
    built = true;
  }

  void resize(std::vector<std::int64_t> extent) {
    const Layer& input = layers[kInput];
    const bool fits = extent.size() == axes &&
                      std::all_of(extent.begin(), extent.end(), [](auto e) { return e >= 1; });
    if (!fits) {
      refuse(fmt::format(
          "conv net: an input of ({}), expected {} axes", fmt::join(extent, ", "), axes));
    }
    if (!last_node) refuse("conv net: resize() before build()");
    if (built && extent == input.extent) return;

    std::vector<std::vector<std::int64_t>> extents = {std::move(extent)};
    for (Node node = 1; node < layers.size(); ++node) {
      const Layer& layer = layers[node];
      if (layer.kind == Layer::Kind::kGlobalMean) {
        extents.emplace_back();
        continue;
      }
      const std::string name = layer.kind == Layer::Kind::kConvolution
                                   ? layer.convolution.name
                                   : fmt::format("layer {}", node);
      extents.push_back(through(layer.window, extents[layer.from], name));
      if (layer.has_residual && extents[layer.residual] != extents[node]) {
        refuse(fmt::format("{}: ({}) cannot be added to ({})",
                           name,
                           fmt::join(extents[layer.residual], ", "),
                           fmt::join(extents[node], ", ")));
      }
    }

    built = false;
    lanes.clear();
    steps.clear();
    values.clear();
    storages.clear();
    operations = 0.0;
    weight_bytes = 0;
    lane_bytes = 0;
    for (Node node = 0; node < layers.size(); ++node) {
      layers[node].extent = std::move(extents[node]);
    }
    build();
  }

  // Brings 8-bit pixels into the input of a net in f32.
  void load_f32(const std::uint8_t* from, std::size_t size, Lane& lane) const {
    void* input = lane.input;
    auto* to = static_cast<float*>(input);
    for (std::size_t p = 0; p < size; p += 3, to += 3) {
      to[0] = table_f32[0][from[p]];
      to[1] = table_f32[1][from[p + 1]];
      to[2] = table_f32[2][from[p + 2]];
    }
  }

  // Raises `found` to the largest magnitude of each node for the sample in the lane.
  void observe(Lane& lane, std::vector<float>& found) {
    const ThreadScope scope(options.threads);
    Node node = 0;
    for (std::size_t s = 0; s <= steps.size(); ++s) {
      // What has just been made, before a later step takes its place.
      for (node = 0; node < layers.size(); ++node) {
        if (node == kInput ? s != 0 : (node_step[node] != s || s == 0)) continue;
        const Value& value = values[node == kInput ? input_value : node_value[node]];
        const void* data = lane.memory.data() + storages[value.storage].offset;
        const std::size_t count = value.description.get_size() / sizeof(float);
        for (std::size_t i = 0; i < count; ++i) {
          found[node] = std::max(found[node], std::abs(static_cast<const float*>(data)[i]));
        }
      }
      if (s == steps.size()) break;
      steps[s].primitive.execute(lane.stream, lane.arguments[s]);
      lane.stream.wait();
    }
  }

  // `map`: room for the values before a global mean, channels first; or null.
  void compute(Lane& lane, float* output, float* map) {
    for (std::size_t s = 0; s < steps.size(); ++s) {
      steps[s].primitive.execute(lane.stream, lane.arguments[s]);
    }
    lane.stream.wait();
    const Value& value = values[output_value];
    const auto* result = static_cast<const float*>(
        static_cast<const void*>(lane.memory.data() + storages[value.storage].offset));
    if (mean_at_end) {
      const auto channels = static_cast<std::size_t>(shape[0]);
      const std::size_t positions = value.description.get_size() / sizeof(float) / channels;
      mean_over_positions(result, positions, channels, output);
      if (map == nullptr) return;
      for (std::size_t c = 0; c < channels; ++c) {
        for (std::size_t p = 0; p < positions; ++p) *map++ = result[p * channels + c];
      }
    } else {
      std::copy_n(result, product(shape), output);
    }
  }

  // load(lane, sample) brings a sample into lane.input.
  void run(std::size_t count,
           std::span<float> output,
           std::span<float> map,
           const std::function<void(Lane&, std::size_t)>& load) {
    const auto size = static_cast<std::size_t>(product(shape));
    if (output.size() != count * size) {
      refuse(fmt::format("conv net: room for {} values, expected {} of each of {} samples",
                         output.size(),
                         size,
                         count));
    }
    const auto map_size = averaged.empty() ? 0 : static_cast<std::size_t>(product(averaged));
    if (!map.empty() && map.size() != count * map_size) {
      refuse(fmt::format("conv net: room for {} averaged values, expected {} of each of {} samples",
                         map.size(),
                         map_size,
                         count));
    }
    // Lanes take the next sample when they are done: a slower core does not hold up the others.
    std::atomic<std::size_t> next{0};
    const std::size_t workers = std::min(lanes.size(), count);
    parallel_for(workers, static_cast<int>(workers), [&](std::size_t l) {
      const ThreadScope scope(options.threads);
      onednn::guarded("conv net", [&] {
        for (std::size_t i = next.fetch_add(1); i < count; i = next.fetch_add(1)) {
          load(lanes[l], i);
          compute(lanes[l],
                  output.data() + i * size,
                  map.empty() ? nullptr : map.data() + i * map_size);
        }
      });
    });
  }

  std::size_t samples_in(std::size_t size, const char* what) const {
    if (!built) refuse(fmt::format("conv net: {} before build()", what));
    const auto one = static_cast<std::size_t>(layers[0].channels * product(layers[0].extent));
    if (size % one != 0) {
      refuse(fmt::format("conv net: {} values, expected a multiple of {}", size, one));
    }
    return size / one;
  }
};

ConvNet::ConvNet(std::int64_t channels,
                 std::vector<std::int64_t> extent,
                 const ConvNetOptions& options)
    : impl_(std::make_unique<Impl>()) {
  options.validate();
  const bool positive =
      channels >= 1 && std::all_of(extent.begin(), extent.end(), [](auto e) { return e >= 1; });
  if (!positive || (extent.size() != 2 && extent.size() != 3)) {
    refuse(
        fmt::format("conv net: an input of {} channels and extent ({}), expected two or three axes",
                    channels,
                    fmt::join(extent, ", ")));
  }
  impl_->options = options;
  impl_->axes = extent.size();
  Layer input;
  input.channels = channels;
  input.extent = std::move(extent);
  impl_->add(std::move(input));
}

ConvNet::~ConvNet() = default;
ConvNet::ConvNet(ConvNet&&) noexcept = default;
ConvNet& ConvNet::operator=(ConvNet&&) noexcept = default;

ConvNet::Node ConvNet::convolution(Node from, Convolution layer) {
  const Layer& before = impl_->at(from, layer.name);
  Layer added;
  added.kind = Layer::Kind::kConvolution;
  added.from = from;
  added.channels = layer.out_channels;
  added.extent = impl_->through(layer.window, before.extent, layer.name);
  added.window = layer.window;
  const std::int64_t weights = layer.out_channels * before.channels * product(layer.window.kernel);
  if (layer.out_channels < 1 || static_cast<std::int64_t>(layer.weight.size()) != weights ||
      static_cast<std::int64_t>(layer.bias.size()) != layer.out_channels) {
    refuse(fmt::format("{}: {} weights and {} biases, expected {} and {}",
                       layer.name,
                       layer.weight.size(),
                       layer.bias.size(),
                       weights,
                       layer.out_channels));
  }
  added.operations = 2.0 * static_cast<double>(weights);
  added.convolution = std::move(layer);
  return impl_->add(std::move(added));
}

ConvNet::Node ConvNet::convolution_add(Node from, Convolution layer, Node residual) {
  const Layer& other = impl_->at(residual, layer.name);
  const std::vector<std::int64_t> extent = other.extent;
  const std::int64_t channels = other.channels;
  const std::string name = layer.name;
  const Node node = convolution(from, std::move(layer));
  Layer& added = impl_->layers[node];
  if (added.extent != extent || added.channels != channels) {
    refuse(fmt::format("{}: ({}, {}) cannot be added to ({}, {})",
                       name,
                       channels,
                       fmt::join(extent, ", "),
                       added.channels,
                       fmt::join(added.extent, ", ")));
  }
  added.has_residual = true;
  added.residual = residual;
  return node;
}

ConvNet::Node ConvNet::max_pool(Node from, const Window& window) {
  return impl_->add_pool(Layer::Kind::kMaxPool, from, window, "max pooling");
}

ConvNet::Node ConvNet::mean_pool(Node from, const Window& window) {
  return impl_->add_pool(Layer::Kind::kMeanPool, from, window, "mean pooling");
}

ConvNet::Node ConvNet::global_mean(Node from) {
  const Layer& before = impl_->at(from, "global mean");
  Layer layer;
  layer.kind = Layer::Kind::kGlobalMean;
  layer.from = from;
  layer.channels = before.channels;
  return impl_->add(std::move(layer));
}

void ConvNet::build(Node output, std::span<const float> largest) {
  if (impl_->last_node) refuse("conv net: built a second time");
  if (output >= impl_->layers.size()) {
    refuse(fmt::format("conv net: there is no node {}", output));
  }
  if (impl_->int8()) {
    if (!native_int8() || impl_->axes != 2) {
      throw Error(ErrorKind::kUnsupported,
                  "conv net: int8 needs a processor with VNNI, and two axes");
    }
    if (largest.size() != impl_->layers.size()) {
      refuse(fmt::format("conv net: largest values of {} nodes for an int8 net of {}",
                         largest.size(),
                         impl_->layers.size()));
    }
    impl_->largest.assign(largest.begin(), largest.end());
  }
  impl_->placed.resize(impl_->layers.size());
  impl_->last_node = output;
  impl_->build();
}

void ConvNet::resize(std::vector<std::int64_t> extent) { impl_->resize(std::move(extent)); }

std::size_t ConvNet::output_size() const { return static_cast<std::size_t>(product(impl_->shape)); }

std::vector<std::int64_t> ConvNet::output_shape() const { return impl_->shape; }

std::vector<std::int64_t> ConvNet::averaged_shape() const { return impl_->averaged; }

ConvNet ConvNet::for_rgb8(std::vector<std::int64_t> extent,
                          const std::array<float, 3>& mean,
                          const std::array<float, 3>& stddev,
                          const ConvNetOptions& options) {
  if (extent.size() != 2) refuse("conv net: 8-bit pixels have two axes");
  ConvNet net(3, std::move(extent), options);
  Impl& impl = *net.impl_;
  impl.rgb8 = true;
  impl.mean = mean;
  impl.stddev = stddev;
  for (std::size_t c = 0; c < 3; ++c) {
    if (!(stddev[c] > 0.0F) || !(mean[c] >= 0.0F && mean[c] <= 1.0F)) {
      refuse(
          fmt::format("conv net: pixels of mean {} and standard deviation {}, expected [0, 1] and "
                      "more than 0",
                      mean[c],
                      stddev[c]));
    }
    for (std::size_t v = 0; v < 256; ++v) {
      const auto value = static_cast<float>(v);
      impl.table_f32[c][v] = (value / 255.0F - mean[c]) / stddev[c];
      impl.table_bf16[c][v] = bf16_bits(value - static_cast<float>(Impl::whole(mean[c])));
    }
  }
  return net;
}

void ConvNet::run_rgb8(std::span<const std::uint8_t> pixels, std::span<float> output) {
  const std::size_t count = impl_->samples_in(pixels.size(), "run_rgb8()");
  if (!impl_->rgb8) refuse("conv net: 8-bit pixels for a net that was not made by for_rgb8()");
  const std::size_t size = count == 0 ? 0 : pixels.size() / count;
  impl_->run(count, output, {}, [&](Lane& lane, std::size_t i) {
    const std::uint8_t* from = pixels.data() + i * size;
    void* input = lane.input;
    if (impl_->whole_pixels()) {
      const auto& table = impl_->table_bf16;
      auto* to = static_cast<std::uint16_t*>(input);
      for (std::size_t p = 0; p < size; p += 3, to += 4) {
        to[0] = table[0][from[p]];
        to[1] = table[1][from[p + 1]];
        to[2] = table[2][from[p + 2]];
        to[3] = kBf16One;
      }
    } else {
      impl_->load_f32(from, size, lane);
    }
  });
}

std::vector<float> ConvNet::largest_values(std::span<const std::uint8_t> pixels) {
  const std::size_t count = impl_->samples_in(pixels.size(), "largest_values()");
  if (!impl_->rgb8 || impl_->options.arithmetic != Arithmetic::kF32) {
    refuse("conv net: only an f32 net of 8-bit pixels is there to calibrate by");
  }
  if (count == 0) refuse("conv net: no tile to calibrate by");
  const std::size_t size = pixels.size() / count;
  const std::size_t workers = std::min(impl_->lanes.size(), count);
  const std::vector<float> none(impl_->layers.size(), 0.0F);
  std::vector<std::vector<float>> found(workers, none);
  std::atomic<std::size_t> next{0};
  parallel_for(workers, static_cast<int>(workers), [&](std::size_t l) {
    onednn::guarded("conv net", [&] {
      for (std::size_t i = next.fetch_add(1); i < count; i = next.fetch_add(1)) {
        impl_->load_f32(pixels.data() + i * size, size, impl_->lanes[l]);
        impl_->observe(impl_->lanes[l], found[l]);
      }
    });
  });
  // A largest value does not depend on who saw which tile.
  std::vector<float> largest = none;
  for (const auto& part : found) {
    for (std::size_t node = 0; node < largest.size(); ++node) {
      largest[node] = std::max(largest[node], part[node]);
    }
  }
  return largest;
}

void ConvNet::run(std::span<const float> samples,
                  std::span<float> output,
                  std::span<float> averaged) {
  const std::size_t count = impl_->samples_in(samples.size(), "run()");
  if (impl_->whole_pixels()) refuse("conv net: a bf16 net of 8-bit pixels takes only those");
  const std::size_t size = count == 0 ? 0 : samples.size() / count;
  const Layer& input = impl_->layers[0];
  const auto plain = onednn::desc(
      Impl::dims(input.channels, input.extent), Type::f32, channels_first(impl_->axes));
  const auto inside = impl_->values[impl_->input_value].description;
  const dnnl::reorder load = onednn::guarded("conv net", [&] {
    return dnnl::reorder(
        dnnl::reorder::primitive_desc(onednn::engine(), plain, onednn::engine(), inside));
  });
  impl_->run(count, output, averaged, [&](Lane& lane, std::size_t i) {
    dnnl::memory from = onednn::view(plain, samples.data() + i * size);
    dnnl::memory to = onednn::view(inside, lane.input);
    load.execute(lane.stream, from, to);
    lane.stream.wait();
  });
}

double ConvNet::operations() const { return impl_->operations; }

std::size_t ConvNet::bytes() const { return impl_->weight_bytes + impl_->lane_bytes; }

}  // namespace med3d
