#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/add.h>
#include <ATen/ops/batch_norm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/convolution.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/max_pool2d.h>
#include <ATen/ops/max_pool3d.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/version.h>
#if TORCH_VERSION_MAJOR >= 2
#include <ATen/ops/scaled_dot_product_attention.h>
#endif

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstring>
#include <deque>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "med3d/core/net_graph.h"
#include "med3d/nn/internal/torch_guard.h"
#include "med3d/nn/internal/torch_module.h"

namespace med3d::nn {
namespace {

// One batch is computed while the next one is copied to the device.
constexpr std::size_t kInFlight = 2;

struct Node {
  NetOp op = NetOp::kInput;
  double epsilon = 0.0;
  std::vector<std::size_t> inputs;
  std::vector<at::Tensor> tensors;
  std::vector<std::int64_t> sizes;
  std::vector<bool> dies;  // each input: nobody reads it after this node
  bool folded = false;     // a batch norm that is part of the convolution before it
};

struct Threads {
  explicit Threads(std::int32_t count) {
    module_use_one_thread();
    at::set_num_threads(count);
  }
  ~Threads() { at::set_num_threads(1); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;
};

// What came out of one batch, on its way to the caller.
struct Result {
  at::Tensor values, averaged;
  double operations = 0.0;
};

// Pinned memory, and a stream of its own: what waits for one batch does not wait for the other.
struct Slot {
  std::optional<c10::Stream> stream;
  at::Tensor input;  // host
};

struct Pending {
  std::size_t slot = 0;
  Result result;  // on the host; complete once the slot's stream is
};

at::Tensor attention(const at::Tensor& q,
                     const at::Tensor& k,
                     const at::Tensor& v,
                     std::int64_t heads) {
  const auto split = [&](const at::Tensor& x) {
    return x.reshape({x.size(0), x.size(1), heads, x.size(2) / heads}).transpose(1, 2);
  };
  const std::int64_t n = k.size(0);
  const at::Tensor query = split(q.expand({n, q.size(1), q.size(2)}));
  const at::Tensor keys = split(k);
  const at::Tensor values = split(v);
  at::Tensor result;
#if TORCH_VERSION_MAJOR >= 2
  // Without the matrix of scores in memory; the plain formula stays the reference on the processor.
  if (q.is_cuda()) result = at::scaled_dot_product_attention(query, keys, values);
#endif
  if (!result.defined()) {
    const double scale = 1.0 / std::sqrt(static_cast<double>(q.size(2) / heads));
    const at::Tensor scores = at::matmul(query.mul(scale), keys.transpose(-2, -1));
    result = at::matmul(at::softmax(scores, -1), values);
  }
  return result.transpose(1, 2).reshape({n, q.size(1), q.size(2)});
}

at::Tensor subsample(at::Tensor x, std::int64_t stride, std::int64_t channels) {
  for (std::int64_t axis = 2; axis < x.dim(); ++axis) x = x.slice(axis, 0, x.size(axis), stride);
  if (x.size(1) == channels) return x;
  std::vector<std::int64_t> shape = x.sizes().vec();
  shape[1] = channels - x.size(1);
  return at::cat({x, at::zeros(shape, x.options())}, 1);
}

at::MemoryFormat channels_last(const at::Tensor& x) {
  return x.dim() == 4 ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::ChannelsLast3d;
}

double count(const at::Tensor& x) { return static_cast<double>(x.numel()); }

}  // namespace

struct TorchGraph {
  std::vector<Node> nodes;
  std::size_t output = 0;
  std::size_t averaged = 0;
  bool cuda = false;
  std::int32_t threads = 1;
  at::ScalarType type = at::kFloat;
  at::Tensor mean, stddev;  // of a net on pixels
  std::array<Slot, kInFlight> slots;
  std::size_t next_slot = 0;
  std::deque<Pending> pending;

  explicit TorchGraph(const TorchGraphSpec& spec)
      : output(spec.output),
        averaged(spec.averaged),
        cuda(spec.cuda),
        threads(spec.threads),
        type(spec.bf16 ? at::kBFloat16 : at::kFloat) {
    const Threads several(threads);
    const c10::InferenceMode inference;
    std::vector<at::Tensor> tensors;
    for (std::uint64_t t = 0; t < spec.tensor_count; ++t) {
      const TorchGraphTensor& given = spec.tensors[t];
      const std::vector<std::int64_t> shape(given.shape, given.shape + given.axes);
      tensors.push_back(at::from_blob(const_cast<float*>(given.values), shape, at::kFloat).clone());
    }
    for (std::uint64_t i = 0; i < spec.node_count; ++i) {
      const TorchGraphNode& given = spec.nodes[i];
      Node node;
      node.op = static_cast<NetOp>(given.op);
      node.epsilon = given.epsilon;
      node.inputs.assign(given.inputs, given.inputs + given.input_count);
      node.sizes.assign(given.sizes, given.sizes + given.size_count);
      for (std::uint64_t t = 0; t < given.tensor_count; ++t) {
        node.tensors.push_back(tensors[given.tensors[t]]);
      }
      nodes.push_back(std::move(node));
    }
    find_deaths();
    if (spec.fold_norms) fold_norms();
    for (Node& node : nodes) {
      for (at::Tensor& tensor : node.tensors) tensor = placed(tensor, node.op);
    }
    if (spec.mean != nullptr) {
      const auto three = [&](const float* values) {
        const at::Tensor host =
            at::from_blob(const_cast<float*>(values), {1, 3, 1, 1}, at::kFloat).clone();
        return cuda ? host.to(c10::Device(at::kCUDA, 0), at::kFloat) : host;
      };
      mean = three(spec.mean);
      stddev = three(spec.stddev);
    }
    if (!cuda) return;
    // f32 is f32: by default cuDNN would round products to TF32's ten bits. And the same kernels
    // each time, for the same bits.
    at::globalContext().setAllowTF32CuDNN(false);
    at::globalContext().setBenchmarkCuDNN(false);
    at::globalContext().setDeterministicCuDNN(true);
    const c10::impl::VirtualGuardImpl device(c10::DeviceType::CUDA);
    device.getStream(c10::Device(at::kCUDA, 0)).synchronize();  // weights are there
    for (Slot& slot : slots) {
      slot.stream = device.getStreamFromGlobalPool(c10::Device(at::kCUDA, 0));
    }
  }

  at::Tensor placed(const at::Tensor& tensor, NetOp op) const {
    at::Tensor result = tensor;
    // Statistics of a norm stay in f32: LibTorch takes them beside inputs of half the bits.
    const at::ScalarType own = op == NetOp::kBatchNorm ? at::kFloat : type;
    if (cuda) {
      result = result.to(c10::Device(at::kCUDA, 0), own);
    } else {
      result = result.to(own);
    }
    if (cuda && op == NetOp::kConvolution && result.dim() >= 4) {
      result = result.contiguous(channels_last(result));
    }
    return result;
  }

  void find_deaths() {
    std::vector<std::size_t> last(nodes.size(), 0);
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      for (const std::size_t from : nodes[i].inputs) last[from] = i;
    }
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      Node& node = nodes[i];
      for (std::size_t k = 0; k < node.inputs.size(); ++k) {
        const std::size_t from = node.inputs[k];
        const bool once = std::count(node.inputs.begin(), node.inputs.end(), from) == 1;
        const bool kept = from == output || from == averaged || from == NetGraph::kInput;
        node.dies.push_back(once && !kept && last[from] == i);
      }
    }
  }

  // y = (conv + b - mean) gamma / sqrt(variance + epsilon) + beta, as another convolution; in
  // double, rounded once.
  void fold_norms() {
    std::vector<int> readers(nodes.size(), 0);
    for (const Node& node : nodes) {
      for (const std::size_t from : node.inputs) ++readers[from];
    }
    for (Node& norm : nodes) {
      if (norm.op != NetOp::kBatchNorm) continue;
      Node& layer = nodes[norm.inputs[0]];
      if (layer.op != NetOp::kConvolution || readers[norm.inputs[0]] != 1) continue;
      const auto exact = [&](std::size_t t) { return norm.tensors[t].to(at::kDouble); };
      const at::Tensor factor = exact(0).div((exact(3).add(norm.epsilon)).sqrt());
      at::Tensor bias = exact(2).neg();
      if (layer.tensors.size() == 2) bias = bias.add(layer.tensors[1].to(at::kDouble));
      bias = bias.mul(factor).add(exact(1));
      const at::Tensor weight = layer.tensors[0].to(at::kDouble);
      std::vector<std::int64_t> rows(static_cast<std::size_t>(weight.dim()), 1);
      rows[0] = weight.size(0);
      layer.tensors = {weight.mul(factor.reshape(rows)).to(at::kFloat), bias.to(at::kFloat)};
      norm.tensors.clear();
      norm.folded = true;
    }
  }

  at::Tensor compute(const Node& node, std::vector<at::Tensor>& in, double& operations) const {
    const auto same = [&](std::size_t k) {
      return std::vector<std::int64_t>(static_cast<std::size_t>(in[0].dim() - 2), node.sizes[k]);
    };
    switch (node.op) {
      case NetOp::kInput:
        break;
      case NetOp::kConvolution: {
        const at::Tensor& weight = node.tensors[0];
        const std::vector<std::int64_t> none(static_cast<std::size_t>(in[0].dim() - 2), 0);
        const at::Tensor y =
            at::convolution(in[0],
                            weight,
                            node.tensors.size() == 2 ? node.tensors[1] : at::Tensor(),
                            same(0),
                            same(1),
                            same(2),
                            false,
                            none,
                            1);
        operations += 2.0 * count(y) * count(weight) / static_cast<double>(weight.size(0));
        return y;
      }
      case NetOp::kBatchNorm:
        if (node.folded) return in[0];
        return at::batch_norm(in[0],
                              node.tensors[0],
                              node.tensors[1],
                              node.tensors[2],
                              node.tensors[3],
                              false,
                              0.0,
                              node.epsilon,
                              true);
      case NetOp::kRelu:
        return node.dies[0] ? in[0].relu_() : in[0].relu();
      case NetOp::kAdd:
        return node.dies[0] ? in[0].add_(in[1]) : in[0].add(in[1]);
      case NetOp::kMaxPool:
        if (in[0].dim() == 4) return at::max_pool2d(in[0], same(0), same(1), same(2));
        // LibTorch 1.13 has it on the processor in f32 only; a largest value is rounded nowhere.
        return at::max_pool3d(in[0].to(in[0].is_cpu() ? at::kFloat : in[0].scalar_type()),
                              same(0),
                              same(1),
                              same(2))
            .to(in[0].scalar_type());
      case NetOp::kSubsample:
        return subsample(in[0], node.sizes[0], node.sizes[1]);
      case NetOp::kGlobalMean:
        return in[0].to(at::kFloat).flatten(2).mean(2);
      case NetOp::kTokens:
        return in[0].flatten(2).transpose(1, 2);
      case NetOp::kPrepend: {
        const at::Tensor& first = node.tensors[0];
        return at::cat({first.expand({in[0].size(0), first.size(1), first.size(2)}), in[0]}, 1);
      }
      case NetOp::kAddTensor:
        return in[0].add(node.tensors[0]);
      case NetOp::kScale:
        return in[0].mul(node.tensors[0]);
      case NetOp::kLayerNorm:
        return at::layer_norm(
            in[0], {in[0].size(-1)}, node.tensors[0], node.tensors[1], node.epsilon);
      case NetOp::kLinear: {
        const at::Tensor y = at::linear(in[0], node.tensors[0], node.tensors[1]);
        operations += 2.0 * count(y) * static_cast<double>(node.tensors[0].size(1));
        return y;
      }
      case NetOp::kGelu:
        return at::gelu(in[0]);
      case NetOp::kPart:
        return in[0].narrow(-1, node.sizes[0], node.sizes[1]);
      case NetOp::kAttention: {
        const at::Tensor y = attention(in[0], in[1], in[2], node.sizes[0]);
        operations += 4.0 * count(y) * static_cast<double>(in[1].size(1));
        return y;
      }
      case NetOp::kFirstToken:
        return in[0].select(1, 0);
      case NetOp::kConstant:
        return node.tensors[0];
    }
    throw TorchRefusal(ErrorKind::kUsage,
                       "a net with operation " + std::to_string(static_cast<int>(node.op)));
  }

  Result run(at::Tensor input, bool with_averaged) const {
    if (mean.defined()) {
      // Pixels lie channels last already.
      input = input.permute({0, 3, 1, 2}).to(at::kFloat).div(255.0).sub(mean).div(stddev);
    }
    input = input.to(type);
    input = cuda ? input.contiguous(channels_last(input)) : input.contiguous();
    Result result;
    std::vector<at::Tensor> values(nodes.size());
    values[NetGraph::kInput] = input;
    for (std::size_t i = 1; i < nodes.size(); ++i) {
      const Node& node = nodes[i];
      std::vector<at::Tensor> in;
      for (std::size_t k = 0; k < node.inputs.size(); ++k) {
        at::Tensor& from = values[node.inputs[k]];
        in.push_back(node.dies[k] ? std::move(from) : from);
      }
      values[i] = compute(node, in, result.operations);
    }
    result.values = values[output].to(at::kFloat).contiguous();
    if (with_averaged && averaged != NetGraph::kInput) {
      result.averaged = values[averaged].to(at::kFloat).contiguous();
    }
    return result;
  }

  void submit(const void* data, const std::vector<std::int64_t>& shape, bool with_averaged) {
    if (pending.size() >= kInFlight) {
      throw TorchRefusal(ErrorKind::kUsage,
                         std::to_string(pending.size()) +
                             " batches are in flight, expected fewer "
                             "before another one");
    }
    const c10::InferenceMode inference;
    const at::ScalarType given = mean.defined() ? at::kByte : at::kFloat;
    if (!cuda) {
      const Threads several(threads);
      const at::Tensor input = at::from_blob(const_cast<void*>(data), shape, given);
      pending.push_back({0, run(input, with_averaged)});
      return;
    }
    Slot& slot = slots[next_slot];
    const c10::StreamGuard guard(*slot.stream);
    if (!slot.input.defined() || slot.input.sizes() != at::IntArrayRef(shape)) {
      slot.input = at::empty(shape, at::TensorOptions().dtype(given).pinned_memory(true));
    }
    // The batch that used this memory was collected before: its copy is done.
    std::memcpy(slot.input.data_ptr(), data, slot.input.nbytes());
    const Result there =
        run(slot.input.to(c10::Device(at::kCUDA, 0), given, /*non_blocking=*/true), with_averaged);
    const auto back = [](const at::Tensor& tensor) {
      if (!tensor.defined()) return tensor;
      const at::Tensor host =
          at::empty(tensor.sizes(), at::TensorOptions().dtype(at::kFloat).pinned_memory(true));
      host.copy_(tensor, /*non_blocking=*/true);
      return host;
    };
    pending.push_back({next_slot, {back(there.values), back(there.averaged), there.operations}});
    next_slot = (next_slot + 1) % kInFlight;
  }

  Result collect(double& waited_s) {
    if (pending.empty()) throw TorchRefusal(ErrorKind::kUsage, "no batch is in flight");
    Pending first = std::move(pending.front());
    pending.pop_front();
    waited_s = 0.0;
    if (cuda) {
      const auto begin = std::chrono::steady_clock::now();
      slots[first.slot].stream->synchronize();
      waited_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    }
    return std::move(first.result);
  }

  ~TorchGraph() {
    // Copies may still be writing into memory that goes away with this object.
    TorchFailure ignored;
    while (cuda && !pending.empty()) {
      guarded(&ignored, [&] {
        double waited = 0.0;
        collect(waited);
      });
    }
  }
  TorchGraph(const TorchGraph&) = delete;
  TorchGraph& operator=(const TorchGraph&) = delete;
};

bool graph_create(const TorchGraphSpec* spec, TorchGraph** graph, TorchFailure* failure) {
  return guarded(failure, [&] { *graph = new TorchGraph(*spec); });
}

void graph_destroy(TorchGraph* graph) { delete graph; }

bool graph_submit(TorchGraph* graph,
                  const void* input,
                  const std::uint64_t* shape,
                  std::uint64_t axes,
                  bool with_averaged,
                  TorchFailure* failure) {
  return guarded(failure, [&] {
    graph->submit(input, std::vector<std::int64_t>(shape, shape + axes), with_averaged);
  });
}

bool graph_collect(TorchGraph* graph, TorchGraphOutput* output, TorchFailure* failure) {
  return guarded(failure, [&] {
    auto owner = std::make_unique<Result>(graph->collect(output->waited_s));
    if (owner->values.dim() != 2) {
      throw TorchRefusal(
          ErrorKind::kUsage,
          "a net whose output has " + std::to_string(owner->values.dim()) + " axes, expected 2");
    }
    output->values = owner->values.data_ptr<float>();
    output->rows = static_cast<std::uint64_t>(owner->values.size(0));
    output->columns = static_cast<std::uint64_t>(owner->values.size(1));
    output->averaged = nullptr;
    output->averaged_axes = 0;
    if (owner->averaged.defined()) {
      output->averaged = owner->averaged.data_ptr<float>();
      output->averaged_axes = static_cast<std::uint64_t>(owner->averaged.dim());
      for (std::int64_t a = 0; a < owner->averaged.dim(); ++a) {
        output->averaged_shape[a] = static_cast<std::uint64_t>(owner->averaged.size(a));
      }
    }
    output->operations = owner->operations;
    output->owner = owner.release();
  });
}

void graph_free_output(TorchGraphOutput* output) {
  delete static_cast<Result*>(output->owner);
  *output = {};
}

}  // namespace med3d::nn
