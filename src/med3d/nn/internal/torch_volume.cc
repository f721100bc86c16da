#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "med3d/nn/internal/adam.h"
#include "med3d/nn/internal/torch_common.h"
#include "med3d/nn/internal/torch_guard.h"
#include "med3d/nn/internal/torch_module.h"

namespace med3d::nn {
namespace {

constexpr double kMomentum = 0.1;
constexpr double kEpsilon = 1e-5;
constexpr std::int64_t kEvaluationVolumes = 16;  // bounds the memory of a prediction

std::int64_t dim(std::size_t size) { return static_cast<std::int64_t>(size); }

// A convolution without bias, its batch norm, and what backward needs of the last batch.
struct Unit {
  at::Tensor weight, gamma, beta, mean, variance;
  at::Tensor weight_gradient, gamma_gradient, beta_gradient;
  std::int64_t stride = 1;
  std::int64_t padding = 0;
  std::int64_t dilation = 1;
  bool relu = true;

  at::Tensor input, convolved, batch_mean, batch_inverse_sd, output;

  at::Tensor convolve(const at::Tensor& x) const {
    const std::array<std::int64_t, 3> s = {stride, stride, stride};
    const std::array<std::int64_t, 3> p = {padding, padding, padding};
    const std::array<std::int64_t, 3> d = {dilation, dilation, dilation};
    return at::convolution(x, weight, {}, s, p, d, false, {0, 0, 0}, 1);
  }

  at::Tensor evaluate(const at::Tensor& x) const {
    at::Tensor y = std::get<0>(at::native_batch_norm(
        convolve(x), gamma, beta, mean, variance, false, kMomentum, kEpsilon));
    return relu ? y.relu_() : y;
  }

  at::Tensor forward(const at::Tensor& x) {
    input = x;
    convolved = convolve(x);
    std::tie(output, batch_mean, batch_inverse_sd) =
        at::native_batch_norm(convolved, gamma, beta, mean, variance, true, kMomentum, kEpsilon);
    if (relu) output.relu_();
    return output;
  }

  // g of the output; stores the gradients and returns that of the input (undefined where it is not
  // wanted).
  at::Tensor backward(at::Tensor g, bool input_wanted) {
    if (relu) g = at::threshold_backward(g, output, 0.0);
    const auto [below, gamma_g, beta_g] = at::native_batch_norm_backward(g.contiguous(),
                                                                         convolved,
                                                                         gamma,
                                                                         mean,
                                                                         variance,
                                                                         batch_mean,
                                                                         batch_inverse_sd,
                                                                         true,
                                                                         kEpsilon,
                                                                         {true, true, true});
    gamma_gradient.copy_(gamma_g);
    beta_gradient.copy_(beta_g);
    const std::array<std::int64_t, 3> s = {stride, stride, stride};
    const std::array<std::int64_t, 3> p = {padding, padding, padding};
    const std::array<std::int64_t, 3> d = {dilation, dilation, dilation};
    const auto [input_g, weight_g, bias_g] = at::convolution_backward(below,
                                                                      input,
                                                                      weight,
                                                                      c10::nullopt,
                                                                      s,
                                                                      p,
                                                                      d,
                                                                      false,
                                                                      {0, 0, 0},
                                                                      1,
                                                                      {input_wanted, true, false});
    weight_gradient.copy_(weight_g);
    return input_g;
  }

  void forget() { input = convolved = batch_mean = batch_inverse_sd = output = at::Tensor(); }
};

struct Block {
  std::vector<Unit> units;       // the last without ReLU: it comes after the sum
  std::vector<Unit> projection;  // one for shortcut B
  std::int64_t stride = 1;
  std::int64_t in = 0;
  std::int64_t out = 0;
  at::Tensor output;  // of the last batch
  std::vector<std::int64_t> input_shape;

  bool changes_shape() const { return stride != 1 || in != out; }

  static at::Tensor every(const at::Tensor& x, std::int64_t stride) {
    return x.slice(2, 0, x.size(2), stride)
        .slice(3, 0, x.size(3), stride)
        .slice(4, 0, x.size(4), stride);
  }

  // Shortcut A: every stride-th voxel, and zeros for the new channels.
  at::Tensor subsampled(const at::Tensor& x) const {
    const at::Tensor kept = every(x, stride);
    if (in == out) return kept;
    const at::Tensor zeros =
        at::zeros({x.size(0), out - in, kept.size(2), kept.size(3), kept.size(4)}, x.options());
    return at::cat({kept, zeros}, 1);
  }

  at::Tensor evaluate(const at::Tensor& x) const {
    at::Tensor y = x;
    for (const Unit& unit : units) y = unit.evaluate(y);
    if (!changes_shape()) return y.add_(x).relu_();
    return y.add_(projection.empty() ? subsampled(x) : projection.front().evaluate(x)).relu_();
  }

  at::Tensor forward(const at::Tensor& x) {
    input_shape.assign(x.sizes().begin(), x.sizes().end());
    at::Tensor y = x;
    for (Unit& unit : units) y = unit.forward(y);
    at::Tensor shortcut = x;
    if (changes_shape()) {
      shortcut = projection.empty() ? subsampled(x) : projection.front().forward(x);
    }
    output = y.add(shortcut).relu_();
    return output;
  }

  at::Tensor backward(const at::Tensor& upstream) {
    const at::Tensor sum = at::threshold_backward(upstream, output, 0.0);
    at::Tensor g = sum;
    for (std::size_t u = units.size(); u-- > 0;) g = units[u].backward(g, true);
    if (!changes_shape()) return g.add_(sum);
    if (!projection.empty()) return g.add_(projection.front().backward(sum, true));
    every(g.narrow(1, 0, std::min(in, out)), stride).add_(sum.narrow(1, 0, std::min(in, out)));
    return g;
  }

  void forget() {
    for (Unit& unit : units) unit.forget();
    for (Unit& unit : projection) unit.forget();
    output = at::Tensor();
  }
};

class Threads {
 public:
  explicit Threads(std::int32_t count) {
    module_use_one_thread();
    at::set_num_threads(count);
  }
  ~Threads() { at::set_num_threads(1); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;
};

void copy_out(const at::Tensor& tensor, float* out) {
  const at::Tensor plain = tensor.contiguous();
  std::memcpy(
      out, plain.data_ptr<float>(), static_cast<std::size_t>(plain.numel()) * sizeof(float));
}

}  // namespace

struct TorchVolumeNet {
  std::size_t count = 0;
  std::size_t stat_count = 0;
  std::size_t encoder_count = 0;
  std::int64_t embedding = 0;
  at::Tensor flat, gradient, first_moment, second_moment;  // (count,)
  at::Tensor stats;                                        // (stat_count,)
  std::int64_t steps = 0;

  Unit stem;
  std::vector<Block> blocks;
  at::Tensor head_weight, head_bias, head_weight_gradient, head_bias_gradient;

  // The last batch.
  at::Tensor stem_output, pool_indices, last_map, pooled, mask;

  explicit TorchVolumeNet(const TorchVolumeSpec& spec)
      : encoder_count(spec.encoder_count), embedding(dim(spec.embedding)) {
    for (std::size_t i = 0; i < spec.slot_count; ++i) count += spec.slots[i].count;
    for (std::size_t i = 0; i < spec.stat_slot_count; ++i) stat_count += spec.stat_slots[i].count;
    flat = at::zeros({dim(count)}, at::kFloat);
    gradient = at::zeros({dim(count)}, at::kFloat);
    first_moment = at::zeros({dim(count)}, at::kFloat);
    second_moment = at::zeros({dim(count)}, at::kFloat);
    stats = at::zeros({dim(stat_count)}, at::kFloat);

    const std::int64_t width = dim(spec.width);
    stem = unit(spec, "conv1", "bn1", width, 1, 7, 2, 1, true);
    std::int64_t in = width;
    for (std::size_t g = 0; g < 4; ++g) {
      const std::int64_t inner = width << g;
      const std::int64_t out = spec.bottleneck ? 4 * inner : inner;
      const std::int64_t dilation = spec.dilated && g >= 2 ? std::int64_t{1} << (g - 1) : 1;
      for (std::int32_t b = 0; b < spec.blocks[g]; ++b) {
        const std::string name = "layer" + std::to_string(g + 1) + "." + std::to_string(b) + ".";
        Block block;
        block.stride = b == 0 && g > 0 && dilation == 1 ? 2 : 1;
        block.in = in;
        block.out = out;
        const auto add = [&](std::int64_t from,
                             std::int64_t to,
                             std::int64_t kernel,
                             std::int64_t stride,
                             std::int64_t spread,
                             bool relu) {
          const std::string number = std::to_string(block.units.size() + 1);
          block.units.push_back(unit(spec,
                                     name + "conv" + number,
                                     name + "bn" + number,
                                     to,
                                     from,
                                     kernel,
                                     stride,
                                     spread,
                                     relu));
        };
        if (spec.bottleneck) {
          add(in, inner, 1, 1, 1, true);
          add(inner, inner, 3, block.stride, dilation, true);
          add(inner, out, 1, 1, 1, false);
        } else {
          add(in, inner, 3, block.stride, dilation, true);
          add(inner, out, 3, 1, dilation, false);
        }
        if (spec.projection && block.changes_shape()) {
          block.projection.push_back(unit(spec,
                                          name + "downsample.0",
                                          name + "downsample.1",
                                          out,
                                          in,
                                          1,
                                          block.stride,
                                          1,
                                          false));
        }
        in = out;
        blocks.push_back(std::move(block));
      }
    }
    const auto both = [&](const char* name, at::IntArrayRef shape) {
      const TorchSlot& slot = find(spec.slots, spec.slot_count, name);
      return std::pair(view(flat, slot, shape), view(gradient, slot, shape));
    };
    std::tie(head_weight, head_weight_gradient) = both("fc.weight", {1, embedding});
    std::tie(head_bias, head_bias_gradient) = both("fc.bias", {1});
  }

  static const TorchSlot& find(const TorchSlot* slots, std::size_t n, std::string_view name) {
    const TorchSlot* found =
        std::find_if(slots, slots + n, [&](const TorchSlot& slot) { return slot.name == name; });
    if (found == slots + n) {
      throw TorchRefusal(ErrorKind::kUsage, "a volume net without a tensor " + std::string(name));
    }
    return *found;
  }

  static at::Tensor view(const at::Tensor& buffer, const TorchSlot& slot, at::IntArrayRef shape) {
    return buffer.narrow(0, dim(slot.offset), dim(slot.count)).view(shape);
  }

  Unit unit(const TorchVolumeSpec& spec,
            const std::string& convolution,
            const std::string& norm,
            std::int64_t out,
            std::int64_t in,
            std::int64_t kernel,
            std::int64_t stride,
            std::int64_t dilation,
            bool relu) const {
    Unit made;
    const TorchSlot& weight = find(spec.slots, spec.slot_count, convolution + ".weight");
    const TorchSlot& gamma = find(spec.slots, spec.slot_count, norm + ".weight");
    const TorchSlot& beta = find(spec.slots, spec.slot_count, norm + ".bias");
    const std::array<std::int64_t, 5> shape = {out, in, kernel, kernel, kernel};
    made.weight = view(flat, weight, shape);
    made.weight_gradient = view(gradient, weight, shape);
    made.gamma = view(flat, gamma, {out});
    made.gamma_gradient = view(gradient, gamma, {out});
    made.beta = view(flat, beta, {out});
    made.beta_gradient = view(gradient, beta, {out});
    made.mean =
        view(stats, find(spec.stat_slots, spec.stat_slot_count, norm + ".running_mean"), {out});
    made.variance =
        view(stats, find(spec.stat_slots, spec.stat_slot_count, norm + ".running_var"), {out});
    made.stride = stride;
    made.padding = dilation * (kernel / 2);
    made.dilation = dilation;
    made.relu = relu;
    return made;
  }

  static at::Tensor volumes(const float* voxels, std::int64_t n, const std::int64_t* extent) {
    // from_blob wants a mutable pointer; nothing writes to its result.
    return at::from_blob(
        const_cast<float*>(voxels), {n, 1, extent[0], extent[1], extent[2]}, at::kFloat);
  }

  void forward(const float* voxels,
               std::int64_t n,
               const std::int64_t* extent,
               const float* dropout,
               float* logits) {
    stem_output = stem.forward(volumes(voxels, n, extent));
    at::Tensor x;
    std::tie(x, pool_indices) =
        at::max_pool3d_with_indices(stem_output, {3, 3, 3}, {2, 2, 2}, {1, 1, 1}, {1, 1, 1}, false);
    for (Block& block : blocks) x = block.forward(x);
    last_map = x;
    pooled = x.flatten(2).mean(2);
    mask = at::Tensor();
    if (dropout != nullptr) {
      mask = at::from_blob(const_cast<float*>(dropout), {n, embedding}, at::kFloat).clone();
      pooled = pooled.mul(mask);
    }
    copy_out(at::addmm(head_bias, pooled, head_weight.t()), logits);
  }

  void backward(const float* upstream) {
    const std::int64_t n = last_map.size(0);
    const at::Tensor g_logit = at::from_blob(const_cast<float*>(upstream), {n, 1}, at::kFloat);
    at::mm_out(head_weight_gradient, g_logit.t(), pooled);
    at::sum_out(head_bias_gradient, g_logit, {0});
    at::Tensor g = at::mm(g_logit, head_weight);
    if (mask.defined()) g = g.mul(mask);
    const auto positions = static_cast<double>(last_map.numel() / (n * embedding));
    g = g.div(positions).view({n, embedding, 1, 1, 1}).expand(last_map.sizes()).contiguous();
    for (std::size_t b = blocks.size(); b-- > 0;) g = blocks[b].backward(g);
    g = at::max_pool3d_with_indices_backward(
        g, stem_output, {3, 3, 3}, {2, 2, 2}, {1, 1, 1}, {1, 1, 1}, false, pool_indices);
    stem.backward(g, false);
    forget();
  }

  // What the last batch left is as large as all activations: it does not stay for an evaluation.
  void forget() {
    stem.forget();
    for (Block& block : blocks) block.forget();
    stem_output = pool_indices = last_map = pooled = mask = at::Tensor();
  }

  void step(double rate, double encoder_factor, double weight_decay, bool decoupled) {
    ++steps;
    const auto part = [&](std::size_t begin, std::size_t size, double learning_rate) {
      float* p = flat.data_ptr<float>() + begin;
      if (decoupled) {
        const auto keep = static_cast<float>(1.0 - learning_rate * weight_decay);
        for (std::size_t i = 0; i < size; ++i) p[i] *= keep;
      }
      adam_step(p,
                gradient.data_ptr<float>() + begin,
                first_moment.data_ptr<float>() + begin,
                second_moment.data_ptr<float>() + begin,
                size,
                steps,
                learning_rate,
                decoupled ? 0.0 : weight_decay);
    };
    part(0, encoder_count, rate * encoder_factor);
    part(encoder_count, count - encoder_count, rate);
  }

  void evaluate(const float* voxels,
                std::int64_t n,
                const std::int64_t* extent,
                float* logits,
                float* embeddings) const {
    at::Tensor x = stem.evaluate(volumes(voxels, n, extent));
    x = std::get<0>(
        at::max_pool3d_with_indices(x, {3, 3, 3}, {2, 2, 2}, {1, 1, 1}, {1, 1, 1}, false));
    for (const Block& block : blocks) x = block.evaluate(x);
    x = x.flatten(2).mean(2);
    if (embeddings != nullptr) copy_out(x, embeddings);
    copy_out(at::addmm(head_bias, x, head_weight.t()), logits);
  }
};

namespace {

// The body of a call: that many threads, no autograd, nothing thrown.
template <class Work>
bool compute(std::int32_t threads, TorchFailure* failure, const Work& work) {
  return guarded(failure, [&] {
    const Threads several(threads);
    const c10::InferenceMode guard;
    work();
  });
}

}  // namespace

bool volume_create(const TorchVolumeSpec* spec, TorchVolumeNet** net, TorchFailure* failure) {
  return compute(1, failure, [&] { *net = new TorchVolumeNet(*spec); });
}

void volume_destroy(TorchVolumeNet* net) { delete net; }

bool volume_forward(TorchVolumeNet* net,
                    const float* voxels,
                    std::uint64_t n,
                    const std::int64_t* extent,
                    const float* mask,
                    std::int32_t threads,
                    float* logits,
                    TorchFailure* failure) {
  return compute(threads, failure, [&] { net->forward(voxels, dim(n), extent, mask, logits); });
}

bool volume_backward(TorchVolumeNet* net,
                     const float* gradient,
                     std::int32_t threads,
                     TorchFailure* failure) {
  return compute(threads, failure, [&] { net->backward(gradient); });
}

bool volume_step(TorchVolumeNet* net,
                 double learning_rate,
                 double encoder_factor,
                 double weight_decay,
                 bool decoupled,
                 TorchFailure* failure) {
  return compute(
      1, failure, [&] { net->step(learning_rate, encoder_factor, weight_decay, decoupled); });
}

bool volume_evaluate(const TorchVolumeNet* net,
                     const float* voxels,
                     std::uint64_t n,
                     const std::int64_t* extent,
                     std::int32_t threads,
                     float* logits,
                     float* embeddings,
                     TorchFailure* failure) {
  return compute(threads, failure, [&] {
    const std::int64_t size = extent[0] * extent[1] * extent[2];
    for (std::int64_t begin = 0; begin < dim(n); begin += kEvaluationVolumes) {
      net->evaluate(voxels + begin * size,
                    std::min(kEvaluationVolumes, dim(n) - begin),
                    extent,
                    logits + begin,
                    embeddings == nullptr ? nullptr : embeddings + begin * net->embedding);
    }
  });
}

bool volume_gradients(const TorchVolumeNet* net, float* out, TorchFailure* failure) {
  return compute(1, failure, [&] { copy_out(net->gradient, out); });
}

bool volume_state(const TorchVolumeNet* net, float* out, TorchFailure* failure) {
  return compute(1, failure, [&] {
    copy_out(net->flat, out);
    copy_out(net->stats, out + net->count);
  });
}

bool volume_set_state(TorchVolumeNet* net, const float* state, TorchFailure* failure) {
  return compute(1, failure, [&] {
    // In place: the layers hold views into both buffers.
    std::memcpy(net->flat.data_ptr<float>(), state, net->count * sizeof(float));
    std::memcpy(net->stats.data_ptr<float>(), state + net->count, net->stat_count * sizeof(float));
  });
}

bool volume_moments(const TorchVolumeNet* net,
                    float* out,
                    std::int64_t* steps,
                    TorchFailure* failure) {
  return compute(1, failure, [&] {
    copy_out(net->first_moment, out);
    copy_out(net->second_moment, out + net->count);
    *steps = net->steps;
  });
}

bool volume_set_moments(TorchVolumeNet* net,
                        const float* moments,
                        std::int64_t steps,
                        TorchFailure* failure) {
  return compute(1, failure, [&] {
    const std::size_t bytes = net->count * sizeof(float);
    std::memcpy(net->first_moment.data_ptr<float>(), moments, bytes);
    std::memcpy(net->second_moment.data_ptr<float>(), moments + net->count, bytes);
    net->steps = steps;
  });
}

}  // namespace med3d::nn
