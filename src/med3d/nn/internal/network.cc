#include "med3d/nn/internal/network.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <string>
#include <tuple>

#include "med3d/core/error.h"
#include "med3d/core/random.h"
#include "med3d/nn/internal/adam.h"
#include "med3d/nn/internal/torch_common.h"

namespace med3d::nn {
namespace {

constexpr double kBatchNormMomentum = 0.1;
constexpr double kBatchNormEpsilon = 1e-5;
constexpr std::size_t kEvaluationRows = 4096;  // bounds the memory of a prediction

std::int64_t dim(std::size_t size) { return static_cast<std::int64_t>(size); }

at::TensorOptions on(DeviceKind kind) {
  return at::TensorOptions()
      .dtype(at::kFloat)
      .device(kind == DeviceKind::kCuda ? c10::Device(at::kCUDA, 0) : c10::Device(at::kCPU));
}

// Where a named tensor lies in the flat buffer.
struct Slot {
  std::string name;
  std::vector<std::uint64_t> shape;
  std::size_t offset = 0;
  std::size_t count = 0;
};

// Views of one linear layer: (outputs, inputs), its transpose and its bias, with their gradients.
struct Linear {
  at::Tensor weight, transposed, bias;
  at::Tensor weight_gradient, bias_gradient;

  at::Tensor forward(const at::Tensor& x) const {
    return bias.defined() ? at::addmm(bias, x, transposed) : at::mm(x, transposed);
  }
  // Stores the gradients of weight and bias; x is what forward() was given.
  void store_gradient(const at::Tensor& g, const at::Tensor& x) {
    at::mm_out(weight_gradient, g.t(), x);
    if (bias.defined()) at::sum_out(bias_gradient, g, {0});
  }
  at::Tensor input_gradient(const at::Tensor& g) const { return at::mm(g, weight); }
};

struct Norm {
  at::Tensor weight, bias, weight_gradient, bias_gradient, running_mean, running_var;
};

// What backward() needs of one hidden layer.
struct Saved {
  at::Tensor input;             // of the linear layer
  at::Tensor linear;            // its output, the input of the batch norm
  at::Tensor mean, inverse_sd;  // of the batch
  at::Tensor output;            // after ReLU and dropout
};

}  // namespace

struct Network::Impl {
  NetworkSpec spec;
  DeviceKind device = DeviceKind::kCpu;
  at::TensorOptions options;

  std::vector<Slot> slots;       // of `flat`
  std::vector<Slot> stat_slots;  // of `stats`
  std::size_t count = 0;
  std::size_t stat_count = 0;
  at::Tensor flat, gradient, first_moment, second_moment;  // (count,)
  at::Tensor stats;                                        // (stat_count,) running mean and var
  std::int64_t steps = 0;

  Linear projection, head, attention_v, attention_u, attention_w;
  std::vector<Linear> linear;
  std::vector<Norm> norm;

  // The last batch.
  at::Tensor input;
  std::vector<Saved> saved;
  at::Tensor attention_tanh, attention_gate, attention_product;

  void add_slot(const std::string& name, std::vector<std::uint64_t> shape) {
    std::size_t size = 1;
    for (const std::uint64_t s : shape) size *= static_cast<std::size_t>(s);
    slots.push_back({name, std::move(shape), count, size});
    count += size;
  }
  void add_linear(const std::string& name, std::size_t in, std::size_t out, bool bias = true) {
    add_slot(name + ".weight", {out, in});
    if (bias) add_slot(name + ".bias", {out});
  }
  void add_stat(const std::string& name, std::size_t size) {
    stat_slots.push_back({name, {size}, stat_count, size});
    stat_count += size;
  }

  const Slot* find(const std::vector<Slot>& among, const std::string& name) const {
    for (const Slot& slot : among) {
      if (slot.name == name) return &slot;
    }
    return nullptr;
  }
  static at::Tensor view(const at::Tensor& buffer, const Slot& slot) {
    std::vector<std::int64_t> shape;
    for (const std::uint64_t s : slot.shape) shape.push_back(static_cast<std::int64_t>(s));
    return buffer.narrow(0, dim(slot.offset), dim(slot.count)).view(shape);
  }
  Linear bind_linear(const std::string& name) const {
    Linear layer;
    const Slot* weight = find(slots, name + ".weight");
    layer.weight = view(flat, *weight);
    layer.transposed = layer.weight.t();
    layer.weight_gradient = view(gradient, *weight);
    if (const Slot* bias = find(slots, name + ".bias")) {
      layer.bias = view(flat, *bias);
      layer.bias_gradient = view(gradient, *bias);
    }
    return layer;
  }

  at::Tensor upload(const float* values, std::size_t rows, std::size_t cols) const {
    // from_blob wants a mutable pointer; nothing writes to its result.
    at::Tensor host = at::from_blob(const_cast<float*>(values), {dim(rows), dim(cols)}, at::kFloat);
    return device == DeviceKind::kCuda ? host.to(options.device()) : host;
  }
  static void download(const at::Tensor& tensor, float* out) {
    const at::Tensor host = tensor.contiguous().cpu();
    std::memcpy(
        out, host.data_ptr<float>(), static_cast<std::size_t>(host.numel()) * sizeof(float));
  }

  at::Tensor infer_trunk(at::Tensor x, std::size_t layers) const {
    if (spec.projection > 0) x = projection.forward(x);
    for (std::size_t l = 0; l < layers; ++l) {
      x = linear[l].forward(x);
      if (spec.batch_norm) {
        const Norm& bn = norm[l];
        x = std::get<0>(at::native_batch_norm(x,
                                              bn.weight,
                                              bn.bias,
                                              bn.running_mean,
                                              bn.running_var,
                                              false,
                                              kBatchNormMomentum,
                                              kBatchNormEpsilon));
      }
      x.relu_();
    }
    return x;
  }

  void write_columns(const at::Tensor& logits, const at::Tensor& score, float* out) const {
    if (spec.attention == 0) {
      download(logits, out);
      return;
    }
    const auto n = static_cast<std::size_t>(logits.size(0));
    std::vector<float> a(n * spec.outputs);
    std::vector<float> b(n);
    download(logits, a.data());
    download(score, b.data());
    for (std::size_t i = 0; i < n; ++i) {
      std::copy_n(a.data() + i * spec.outputs, spec.outputs, out + i * spec.columns());
      out[i * spec.columns() + spec.outputs] = b[i];
    }
  }
};

Network::Network(const NetworkSpec& spec, DeviceKind device, std::uint64_t seed)
    : impl_(std::make_unique<Impl>()) {
  use_one_thread();
  const c10::InferenceMode guard;
  Impl& net = *impl_;
  net.spec = spec;
  net.device = resolve_device(device).kind;
  net.options = on(net.device);

  std::size_t width = spec.inputs;
  if (spec.projection > 0) {
    net.add_linear("projection", width, spec.projection, false);
    width = spec.projection;
  }
  for (std::size_t l = 0; l < spec.hidden.size(); ++l) {
    const std::string number = std::to_string(l + 1);
    const auto out = static_cast<std::size_t>(spec.hidden[l]);
    net.add_linear("fc" + number, width, out);
    if (spec.batch_norm) {
      net.add_slot("bn" + number + ".weight", {out});
      net.add_slot("bn" + number + ".bias", {out});
      net.add_stat("bn" + number + ".running_mean", out);
      net.add_stat("bn" + number + ".running_var", out);
    }
    width = out;
  }
  net.add_linear("out", width, spec.outputs);
  if (spec.attention > 0) {
    net.add_linear("attention_V", width, spec.attention);
    net.add_linear("attention_U", width, spec.attention);
    net.add_linear("attention_w", spec.attention, 1);
  }

  std::vector<float> values(net.count);
  RandomStream random(derive_seed(seed, "initial weights"));
  double bound = 0.0;
  for (const Slot& slot : net.slots) {
    const bool is_norm = slot.name.rfind("bn", 0) == 0;
    if (slot.shape.size() == 2) bound = 1.0 / std::sqrt(static_cast<double>(slot.shape[1]));
    for (std::size_t i = 0; i < slot.count; ++i) {
      // A bias follows its weight and shares its bound.
      values[slot.offset + i] = is_norm
                                    ? (slot.name.ends_with(".weight") ? 1.0F : 0.0F)
                                    : static_cast<float>((2.0 * random.uniform() - 1.0) * bound);
    }
  }
  std::vector<float> stats(net.stat_count);
  for (const Slot& slot : net.stat_slots) {
    std::fill_n(stats.begin() + static_cast<std::ptrdiff_t>(slot.offset),
                slot.count,
                slot.name.ends_with("running_var") ? 1.0F : 0.0F);
  }

  net.flat = at::empty({dim(net.count)}, net.options);
  net.stats = at::empty({dim(net.stat_count)}, net.options);
  net.gradient = at::zeros({dim(net.count)}, net.options);
  net.first_moment = at::zeros({dim(net.count)}, net.options);
  net.second_moment = at::zeros({dim(net.count)}, net.options);
  values.insert(values.end(), stats.begin(), stats.end());
  set_state(values);

  if (spec.projection > 0) net.projection = net.bind_linear("projection");
  for (std::size_t l = 0; l < spec.hidden.size(); ++l) {
    const std::string number = std::to_string(l + 1);
    net.linear.push_back(net.bind_linear("fc" + number));
    if (!spec.batch_norm) continue;
    const Slot* weight = net.find(net.slots, "bn" + number + ".weight");
    const Slot* bias = net.find(net.slots, "bn" + number + ".bias");
    net.norm.push_back(
        {Impl::view(net.flat, *weight),
         Impl::view(net.flat, *bias),
         Impl::view(net.gradient, *weight),
         Impl::view(net.gradient, *bias),
         Impl::view(net.stats, *net.find(net.stat_slots, "bn" + number + ".running_mean")),
         Impl::view(net.stats, *net.find(net.stat_slots, "bn" + number + ".running_var"))});
  }
  net.head = net.bind_linear("out");
  if (spec.attention > 0) {
    net.attention_v = net.bind_linear("attention_V");
    net.attention_u = net.bind_linear("attention_U");
    net.attention_w = net.bind_linear("attention_w");
  }
}

Network::~Network() = default;
Network::Network(Network&&) noexcept = default;
Network& Network::operator=(Network&&) noexcept = default;

const NetworkSpec& Network::spec() const { return impl_->spec; }

void Network::forward(const float* rows,
                      std::size_t n,
                      RandomStream& dropout,
                      std::vector<float>& out) {
  use_one_thread();
  const c10::InferenceMode guard;
  Impl& net = *impl_;
  const NetworkSpec& spec = net.spec;
  net.input = net.upload(rows, n, spec.inputs);
  at::Tensor x = spec.projection > 0 ? net.projection.forward(net.input) : net.input;
  net.saved.resize(spec.hidden.size());
  for (std::size_t l = 0; l < spec.hidden.size(); ++l) {
    Saved& saved = net.saved[l];
    saved.input = x;
    saved.linear = net.linear[l].forward(x);
    if (spec.batch_norm) {
      Norm& bn = net.norm[l];
      std::tie(x, saved.mean, saved.inverse_sd) = at::native_batch_norm(saved.linear,
                                                                        bn.weight,
                                                                        bn.bias,
                                                                        bn.running_mean,
                                                                        bn.running_var,
                                                                        true,
                                                                        kBatchNormMomentum,
                                                                        kBatchNormEpsilon);
    } else {
      x = saved.linear;
    }
    x.relu_();
    if (spec.dropout[l] > 0.0) {
      at::Tensor mask = at::empty({dim(n), spec.hidden[l]}, at::kFloat);
      dropout.dropout_mask(
          mask.data_ptr<float>(), static_cast<std::size_t>(mask.numel()), spec.dropout[l]);
      x.mul_(net.device == DeviceKind::kCuda ? mask.to(net.options.device()) : mask);
    }
    saved.output = x;
  }
  const at::Tensor logits = net.head.forward(x);
  at::Tensor score;
  if (spec.attention > 0) {
    net.attention_tanh = net.attention_v.forward(x).tanh_();
    net.attention_gate = net.attention_u.forward(x).sigmoid_();
    net.attention_product = net.attention_tanh.mul(net.attention_gate);
    score = net.attention_w.forward(net.attention_product);
  }
  out.resize(n * spec.columns());
  net.write_columns(logits, score, out.data());
}

void Network::backward(std::span<const float> gradient) {
  use_one_thread();
  const c10::InferenceMode guard;
  Impl& net = *impl_;
  const NetworkSpec& spec = net.spec;
  const auto n = static_cast<std::size_t>(net.input.size(0));
  if (gradient.size() != n * spec.columns()) {
    throw Error(ErrorKind::kUsage,
                "a gradient of " + std::to_string(gradient.size()) + " values, expected " +
                    std::to_string(n * spec.columns()));
  }
  const at::Tensor all = net.upload(gradient.data(), n, spec.columns());
  at::Tensor g = spec.attention > 0 ? all.narrow(1, 0, dim(spec.outputs)).contiguous() : all;
  const at::Tensor& last =
      spec.hidden.empty() ? (spec.projection > 0 ? net.projection.forward(net.input) : net.input)
                          : net.saved.back().output;
  net.head.store_gradient(g, last);
  const bool below = !spec.hidden.empty() || spec.projection > 0;
  if (below) g = net.head.input_gradient(g);
  if (spec.attention > 0) {
    const at::Tensor score = all.narrow(1, dim(spec.outputs), 1).contiguous();
    net.attention_w.store_gradient(score, net.attention_product);
    const at::Tensor product = net.attention_w.input_gradient(score);
    const at::Tensor v = at::tanh_backward(product.mul(net.attention_gate), net.attention_tanh);
    const at::Tensor u = at::sigmoid_backward(product.mul(net.attention_tanh), net.attention_gate);
    net.attention_v.store_gradient(v, last);
    net.attention_u.store_gradient(u, last);
    g.add_(net.attention_v.input_gradient(v)).add_(net.attention_u.input_gradient(u));
  }
  for (std::size_t l = spec.hidden.size(); l-- > 0;) {
    const Saved& saved = net.saved[l];
    // The output is positive exactly where ReLU was open and dropout kept the element, so one
    // comparison serves for both.
    g = at::threshold_backward(g, saved.output, 0.0);
    if (spec.dropout[l] > 0.0) g.mul_(RandomStream::dropout_scale(spec.dropout[l]));
    if (spec.batch_norm) {
      Norm& bn = net.norm[l];
      const auto [input, weight, bias] = at::native_batch_norm_backward(g,
                                                                        saved.linear,
                                                                        bn.weight,
                                                                        bn.running_mean,
                                                                        bn.running_var,
                                                                        saved.mean,
                                                                        saved.inverse_sd,
                                                                        true,
                                                                        kBatchNormEpsilon,
                                                                        {true, true, true});
      bn.weight_gradient.copy_(weight);
      bn.bias_gradient.copy_(bias);
      g = input;
    }
    net.linear[l].store_gradient(g, saved.input);
    if (l > 0 || spec.projection > 0) g = net.linear[l].input_gradient(g);
  }
  if (spec.projection > 0) net.projection.store_gradient(g, net.input);
}

void Network::step(double learning_rate, double weight_decay) {
  Impl& net = *impl_;
  if (net.device == DeviceKind::kCuda) {
    step_with_operators(learning_rate, weight_decay);
    return;
  }
  const c10::InferenceMode guard;
  ++net.steps;
  adam_step(net.flat.data_ptr<float>(),
            net.gradient.data_ptr<float>(),
            net.first_moment.data_ptr<float>(),
            net.second_moment.data_ptr<float>(),
            net.count,
            net.steps,
            learning_rate,
            weight_decay);
}

void Network::step_with_operators(double learning_rate, double weight_decay) {
  const c10::InferenceMode guard;
  Impl& net = *impl_;
  ++net.steps;
  const double t = static_cast<double>(net.steps);
  const at::Tensor g = net.gradient.add(net.flat, weight_decay);
  net.first_moment.mul_(kAdamBeta1).add_(g, 1.0 - kAdamBeta1);
  net.second_moment.mul_(kAdamBeta2).addcmul_(g, g, 1.0 - kAdamBeta2);
  const at::Tensor denominator = net.second_moment.sqrt()
                                     .mul_(1.0 / std::sqrt(1.0 - std::pow(kAdamBeta2, t)))
                                     .add_(kAdamEpsilon);
  net.flat.addcdiv_(
      net.first_moment, denominator, -learning_rate / (1.0 - std::pow(kAdamBeta1, t)));
}

std::vector<float> Network::evaluate(const float* rows, std::size_t n) const {
  use_one_thread();
  const c10::InferenceMode guard;
  const Impl& net = *impl_;
  const NetworkSpec& spec = net.spec;
  std::vector<float> out(n * spec.columns());
  for (std::size_t begin = 0; begin < n; begin += kEvaluationRows) {
    const std::size_t size = std::min(kEvaluationRows, n - begin);
    const at::Tensor x = net.infer_trunk(net.upload(rows + begin * spec.inputs, size, spec.inputs),
                                         spec.hidden.size());
    at::Tensor score;
    if (spec.attention > 0) {
      score = net.attention_w.forward(
          net.attention_v.forward(x).tanh_().mul_(net.attention_u.forward(x).sigmoid_()));
    }
    net.write_columns(net.head.forward(x), score, out.data() + begin * spec.columns());
  }
  return out;
}

Matrix<float> Network::hidden(const float* rows, std::size_t n, std::size_t layer) const {
  use_one_thread();
  const c10::InferenceMode guard;
  const Impl& net = *impl_;
  const NetworkSpec& spec = net.spec;
  const std::size_t width =
      layer == 0 ? spec.projection : static_cast<std::size_t>(spec.hidden[layer - 1]);
  Matrix<float> out(n, width);
  for (std::size_t begin = 0; begin < n; begin += kEvaluationRows) {
    const std::size_t size = std::min(kEvaluationRows, n - begin);
    const at::Tensor x =
        net.infer_trunk(net.upload(rows + begin * spec.inputs, size, spec.inputs), layer);
    Impl::download(x, out.data() + begin * width);
  }
  return out;
}

Parameters Network::parameters() const {
  const Impl& net = *impl_;
  const std::vector<float> values = state();
  Parameters result;
  const auto take = [&](const Slot& slot, std::size_t base) {
    const auto first = values.begin() + static_cast<std::ptrdiff_t>(base + slot.offset);
    result.push_back(
        {slot.name, slot.shape, {first, first + static_cast<std::ptrdiff_t>(slot.count)}});
  };
  for (const Slot& slot : net.slots) take(slot, 0);
  for (const Slot& slot : net.stat_slots) take(slot, net.count);
  return result;
}

Parameters Network::gradients() const {
  const Impl& net = *impl_;
  std::vector<float> values(net.count);
  const c10::InferenceMode guard;
  Impl::download(net.gradient, values.data());
  Parameters result;
  for (const Slot& slot : net.slots) {
    const auto first = values.begin() + static_cast<std::ptrdiff_t>(slot.offset);
    result.push_back(
        {slot.name, slot.shape, {first, first + static_cast<std::ptrdiff_t>(slot.count)}});
  }
  return result;
}

void Network::load(const Parameters& parameters) {
  Impl& net = *impl_;
  std::vector<float> values(net.count + net.stat_count);
  const auto put = [&](const Slot& slot, std::size_t base) {
    const Parameter& parameter = find_parameter(parameters, slot.name);
    check_parameter(parameter, slot.shape);
    std::copy(parameter.values.begin(),
              parameter.values.end(),
              values.begin() + static_cast<std::ptrdiff_t>(base + slot.offset));
  };
  for (const Slot& slot : net.slots) put(slot, 0);
  for (const Slot& slot : net.stat_slots) put(slot, net.count);
  set_state(values);
}

std::vector<float> Network::state() const {
  const c10::InferenceMode guard;
  const Impl& net = *impl_;
  std::vector<float> values(net.count + net.stat_count);
  Impl::download(net.flat, values.data());
  if (net.stat_count > 0) Impl::download(net.stats, values.data() + net.count);
  return values;
}

void Network::set_state(std::span<const float> state) {
  const c10::InferenceMode guard;
  Impl& net = *impl_;
  // In place: the layers hold views into both buffers.
  net.flat.copy_(at::from_blob(const_cast<float*>(state.data()), {dim(net.count)}, at::kFloat));
  if (net.stat_count > 0) {
    net.stats.copy_(at::from_blob(
        const_cast<float*>(state.data()) + net.count, {dim(net.stat_count)}, at::kFloat));
  }
}

}  // namespace med3d::nn
