#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "med3d/nn/internal/adam.h"
#include "med3d/nn/internal/random_stream.h"
#include "med3d/nn/internal/torch_common.h"
#include "med3d/nn/internal/torch_guard.h"
#include "med3d/nn/internal/torch_module.h"

namespace med3d::nn {
namespace {

constexpr double kBatchNormMomentum = 0.1;
constexpr double kBatchNormEpsilon = 1e-5;
constexpr std::size_t kEvaluationRows = 4096;  // bounds the memory of a prediction

std::int64_t dim(std::size_t size) { return static_cast<std::int64_t>(size); }

at::TensorOptions on(bool cuda) {
  return at::TensorOptions()
      .dtype(at::kFloat)
      .device(cuda ? c10::Device(at::kCUDA, 0) : c10::Device(at::kCPU));
}

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

// What backward needs of one hidden layer.
struct Saved {
  at::Tensor input;             // of the linear layer
  at::Tensor linear;            // its output, the input of the batch norm
  at::Tensor mean, inverse_sd;  // of the batch
  at::Tensor output;            // after ReLU and dropout
};

at::Tensor view(const at::Tensor& buffer, const TorchSlot& slot) {
  std::vector<std::int64_t> shape = {dim(slot.shape[0])};
  if (slot.shape[1] > 0) shape.push_back(dim(slot.shape[1]));
  return buffer.narrow(0, dim(slot.offset), dim(slot.count)).view(shape);
}

void download(const at::Tensor& tensor, float* out) {
  const at::Tensor host = tensor.contiguous().cpu();
  std::memcpy(out, host.data_ptr<float>(), static_cast<std::size_t>(host.numel()) * sizeof(float));
}

}  // namespace

struct TorchNet {
  bool cuda = false;
  at::TensorOptions options;
  std::size_t inputs = 0;
  std::size_t outputs = 0;
  bool has_projection = false;
  bool batch_norm = false;
  bool attention = false;
  std::vector<std::int64_t> hidden;
  std::vector<double> dropout;

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

  explicit TorchNet(const TorchNetSpec& spec)
      : cuda(spec.cuda),
        options(on(spec.cuda)),
        inputs(spec.inputs),
        outputs(spec.outputs),
        has_projection(spec.projection > 0),
        batch_norm(spec.batch_norm),
        attention(spec.attention > 0),
        hidden(spec.hidden, spec.hidden + spec.layers),
        dropout(spec.dropout, spec.dropout + spec.layers) {
    for (std::size_t i = 0; i < spec.slot_count; ++i) count += spec.slots[i].count;
    for (std::size_t i = 0; i < spec.stat_slot_count; ++i) stat_count += spec.stat_slots[i].count;
    flat = at::zeros({dim(count)}, options);
    stats = at::zeros({dim(stat_count)}, options);
    gradient = at::zeros({dim(count)}, options);
    first_moment = at::zeros({dim(count)}, options);
    second_moment = at::zeros({dim(count)}, options);

    if (has_projection) projection = bind_linear(spec, "projection");
    for (std::size_t l = 0; l < hidden.size(); ++l) {
      const std::string number = std::to_string(l + 1);
      linear.push_back(bind_linear(spec, "fc" + number));
      if (!batch_norm) continue;
      const TorchSlot* weight = find(spec.slots, spec.slot_count, "bn" + number + ".weight");
      const TorchSlot* bias = find(spec.slots, spec.slot_count, "bn" + number + ".bias");
      const auto stat = [&](const char* name) {
        return view(stats, *find(spec.stat_slots, spec.stat_slot_count, "bn" + number + name));
      };
      norm.push_back({view(flat, *weight),
                      view(flat, *bias),
                      view(gradient, *weight),
                      view(gradient, *bias),
                      stat(".running_mean"),
                      stat(".running_var")});
    }
    head = bind_linear(spec, "out");
    if (attention) {
      attention_v = bind_linear(spec, "attention_V");
      attention_u = bind_linear(spec, "attention_U");
      attention_w = bind_linear(spec, "attention_w");
    }
  }

  std::size_t columns() const { return outputs + (attention ? 1 : 0); }

  static const TorchSlot* find(const TorchSlot* slots, std::size_t n, std::string_view name) {
    const TorchSlot* found =
        std::find_if(slots, slots + n, [&](const TorchSlot& slot) { return slot.name == name; });
    if (found == slots + n) {
      throw TorchRefusal(ErrorKind::kUsage, "a network without a tensor " + std::string(name));
    }
    return found;
  }

  // Every linear layer but the projection has a bias, which follows its weight.
  Linear bind_linear(const TorchNetSpec& spec, const std::string& name) const {
    Linear layer;
    const TorchSlot* weight = find(spec.slots, spec.slot_count, name + ".weight");
    layer.weight = view(flat, *weight);
    layer.transposed = layer.weight.t();
    layer.weight_gradient = view(gradient, *weight);
    if (name == "projection") return layer;
    const TorchSlot* bias = find(spec.slots, spec.slot_count, name + ".bias");
    layer.bias = view(flat, *bias);
    layer.bias_gradient = view(gradient, *bias);
    return layer;
  }

  at::Tensor upload(const float* values, std::size_t rows, std::size_t cols) const {
    // from_blob wants a mutable pointer; nothing writes to its result.
    at::Tensor host = at::from_blob(const_cast<float*>(values), {dim(rows), dim(cols)}, at::kFloat);
    return cuda ? host.to(options.device()) : host;
  }

  at::Tensor infer_trunk(at::Tensor x, std::size_t layers) const {
    if (has_projection) x = projection.forward(x);
    for (std::size_t l = 0; l < layers; ++l) {
      x = linear[l].forward(x);
      if (batch_norm) {
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
    if (!attention) {
      download(logits, out);
      return;
    }
    const auto n = static_cast<std::size_t>(logits.size(0));
    std::vector<float> a(n * outputs);
    std::vector<float> b(n);
    download(logits, a.data());
    download(score, b.data());
    for (std::size_t i = 0; i < n; ++i) {
      std::copy_n(a.data() + i * outputs, outputs, out + i * columns());
      out[i * columns() + outputs] = b[i];
    }
  }

  void forward(const float* rows, std::size_t n, const float* masks, float* out) {
    input = upload(rows, n, inputs);
    at::Tensor x = has_projection ? projection.forward(input) : input;
    saved.resize(hidden.size());
    for (std::size_t l = 0; l < hidden.size(); ++l) {
      Saved& layer = saved[l];
      layer.input = x;
      layer.linear = linear[l].forward(x);
      if (batch_norm) {
        Norm& bn = norm[l];
        std::tie(x, layer.mean, layer.inverse_sd) = at::native_batch_norm(layer.linear,
                                                                          bn.weight,
                                                                          bn.bias,
                                                                          bn.running_mean,
                                                                          bn.running_var,
                                                                          true,
                                                                          kBatchNormMomentum,
                                                                          kBatchNormEpsilon);
      } else {
        x = layer.linear;
      }
      x.relu_();
      if (dropout[l] > 0.0) {
        x.mul_(upload(masks, n, static_cast<std::size_t>(hidden[l])));
        masks += n * static_cast<std::size_t>(hidden[l]);
      }
      layer.output = x;
    }
    const at::Tensor logits = head.forward(x);
    at::Tensor score;
    if (attention) {
      attention_tanh = attention_v.forward(x).tanh_();
      attention_gate = attention_u.forward(x).sigmoid_();
      attention_product = attention_tanh.mul(attention_gate);
      score = attention_w.forward(attention_product);
    }
    write_columns(logits, score, out);
  }

  void backward(const float* upstream) {
    const auto n = static_cast<std::size_t>(input.size(0));
    const at::Tensor all = upload(upstream, n, columns());
    at::Tensor g = attention ? all.narrow(1, 0, dim(outputs)).contiguous() : all;
    const at::Tensor last = !hidden.empty()  ? saved.back().output
                            : has_projection ? projection.forward(input)
                                             : input;
    head.store_gradient(g, last);
    if (!hidden.empty() || has_projection) g = head.input_gradient(g);
    if (attention) {
      const at::Tensor score = all.narrow(1, dim(outputs), 1).contiguous();
      attention_w.store_gradient(score, attention_product);
      const at::Tensor product = attention_w.input_gradient(score);
      const at::Tensor v = at::tanh_backward(product.mul(attention_gate), attention_tanh);
      const at::Tensor u = at::sigmoid_backward(product.mul(attention_tanh), attention_gate);
      attention_v.store_gradient(v, last);
      attention_u.store_gradient(u, last);
      g.add_(attention_v.input_gradient(v)).add_(attention_u.input_gradient(u));
    }
    for (std::size_t l = hidden.size(); l-- > 0;) {
      const Saved& layer = saved[l];
      // The output is positive exactly where ReLU was open and dropout kept the element, so one
      // comparison serves for both.
      g = at::threshold_backward(g, layer.output, 0.0);
      if (dropout[l] > 0.0) g.mul_(RandomStream::dropout_scale(dropout[l]));
      if (batch_norm) {
        Norm& bn = norm[l];
        const auto [x, weight, bias] = at::native_batch_norm_backward(g,
                                                                      layer.linear,
                                                                      bn.weight,
                                                                      bn.running_mean,
                                                                      bn.running_var,
                                                                      layer.mean,
                                                                      layer.inverse_sd,
                                                                      true,
                                                                      kBatchNormEpsilon,
                                                                      {true, true, true});
        bn.weight_gradient.copy_(weight);
        bn.bias_gradient.copy_(bias);
        g = x;
      }
      linear[l].store_gradient(g, layer.input);
      if (l > 0 || has_projection) g = linear[l].input_gradient(g);
    }
    if (has_projection) projection.store_gradient(g, input);
  }

  void step(double learning_rate, double weight_decay, bool with_operators) {
    ++steps;
    if (!cuda && !with_operators) {
      adam_step(flat.data_ptr<float>(),
                gradient.data_ptr<float>(),
                first_moment.data_ptr<float>(),
                second_moment.data_ptr<float>(),
                count,
                steps,
                learning_rate,
                weight_decay);
      return;
    }
    const double t = static_cast<double>(steps);
    const at::Tensor g = gradient.add(flat, weight_decay);
    first_moment.mul_(kAdamBeta1).add_(g, 1.0 - kAdamBeta1);
    second_moment.mul_(kAdamBeta2).addcmul_(g, g, 1.0 - kAdamBeta2);
    const at::Tensor denominator = second_moment.sqrt()
                                       .mul_(1.0 / std::sqrt(1.0 - std::pow(kAdamBeta2, t)))
                                       .add_(kAdamEpsilon);
    flat.addcdiv_(first_moment, denominator, -learning_rate / (1.0 - std::pow(kAdamBeta1, t)));
  }
};

namespace {

// The body of a call: one thread, no autograd, nothing thrown.
template <class Work>
bool compute(TorchFailure* failure, const Work& work) {
  return guarded(failure, [&] {
    module_use_one_thread();
    const c10::InferenceMode guard;
    work();
  });
}

}  // namespace

bool net_create(const TorchNetSpec* spec, TorchNet** net, TorchFailure* failure) {
  return compute(failure, [&] { *net = new TorchNet(*spec); });
}

void net_destroy(TorchNet* net) { delete net; }

bool net_forward(TorchNet* net,
                 const float* rows,
                 std::uint64_t n,
                 const float* masks,
                 float* out,
                 TorchFailure* failure) {
  return compute(failure, [&] { net->forward(rows, n, masks, out); });
}

bool net_backward(TorchNet* net, const float* gradient, TorchFailure* failure) {
  return compute(failure, [&] { net->backward(gradient); });
}

bool net_step(TorchNet* net,
              double learning_rate,
              double weight_decay,
              bool with_operators,
              TorchFailure* failure) {
  return compute(failure, [&] { net->step(learning_rate, weight_decay, with_operators); });
}

bool net_evaluate(
    const TorchNet* net, const float* rows, std::uint64_t n, float* out, TorchFailure* failure) {
  return compute(failure, [&] {
    for (std::size_t begin = 0; begin < n; begin += kEvaluationRows) {
      const std::size_t size = std::min<std::size_t>(kEvaluationRows, n - begin);
      const at::Tensor x = net->infer_trunk(
          net->upload(rows + begin * net->inputs, size, net->inputs), net->hidden.size());
      at::Tensor score;
      if (net->attention) {
        score = net->attention_w.forward(
            net->attention_v.forward(x).tanh_().mul_(net->attention_u.forward(x).sigmoid_()));
      }
      net->write_columns(net->head.forward(x), score, out + begin * net->columns());
    }
  });
}

bool net_hidden(const TorchNet* net,
                const float* rows,
                std::uint64_t n,
                std::uint64_t layer,
                float* out,
                TorchFailure* failure) {
  return compute(failure, [&] {
    for (std::size_t begin = 0; begin < n; begin += kEvaluationRows) {
      const std::size_t size = std::min<std::size_t>(kEvaluationRows, n - begin);
      const at::Tensor x =
          net->infer_trunk(net->upload(rows + begin * net->inputs, size, net->inputs), layer);
      download(x, out);
      out += x.numel();
    }
  });
}

bool net_gradients(const TorchNet* net, float* out, TorchFailure* failure) {
  return compute(failure, [&] { download(net->gradient, out); });
}

bool net_state(const TorchNet* net, float* out, TorchFailure* failure) {
  return compute(failure, [&] {
    download(net->flat, out);
    if (net->stat_count > 0) download(net->stats, out + net->count);
  });
}

bool net_set_state(TorchNet* net, const float* state, TorchFailure* failure) {
  return compute(failure, [&] {
    // In place: the layers hold views into both buffers.
    auto* values = const_cast<float*>(state);  // as in upload
    net->flat.copy_(at::from_blob(values, {dim(net->count)}, at::kFloat));
    if (net->stat_count > 0) {
      net->stats.copy_(at::from_blob(values + net->count, {dim(net->stat_count)}, at::kFloat));
    }
  });
}

}  // namespace med3d::nn
