#include "med3d/nn/graph_module.h"

#include <algorithm>
#include <string>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/core/limits.h"
#include "med3d/nn/internal/torch_loader.h"

namespace med3d::nn {

struct GraphModule::Impl {
  TorchGraph* graph = nullptr;
  Device device;
  bool pixels = false;

  Impl() = default;
  ~Impl() {
    if (graph != nullptr) torch().graph_destroy(graph);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void submit(const void* data,
              std::size_t size,
              std::span<const std::int64_t> shape,
              bool of_pixels,
              bool with_averaged) {
    std::uint64_t expected = 1;
    std::vector<std::uint64_t> sides;
    for (const std::int64_t side : shape) {
      if (side < 1) {
        throw Error(ErrorKind::kUsage,
                    "a batch with a side of " + std::to_string(side) + ", expected at least 1");
      }
      sides.push_back(static_cast<std::uint64_t>(side));
      expected = checked_multiply(expected, sides.back(), "batch");
    }
    if (expected != size || sides.size() < 4 || sides.size() > 5) {
      throw Error(ErrorKind::kUsage,
                  std::to_string(size) + " values for a batch of " + std::to_string(expected) +
                      " in " + std::to_string(sides.size()) + " axes");
    }
    if (of_pixels != pixels) {
      throw Error(
          ErrorKind::kUsage,
          std::string("a net on ") + (pixels ? "8-bit pixels" : "floats") + " was given the other");
    }
    torch_call(torch().graph_submit,
               graph,
               data,
               static_cast<const std::uint64_t*>(sides.data()),
               static_cast<std::uint64_t>(sides.size()),
               with_averaged);
  }
};

GraphModule::GraphModule(const NetGraph& graph, const GraphOptions& options)
    : impl_(std::make_unique<Impl>()) {
  if (options.threads < 1) {
    throw Error(ErrorKind::kUsage,
                "threads is " + std::to_string(options.threads) + ", expected 1 or more");
  }
  graph.validate();
  impl_->device = resolve_device(options.device);
  impl_->pixels = options.pixels.has_value();

  static_assert(sizeof(std::size_t) == sizeof(std::uint64_t));
  const auto numbers = [](const std::vector<std::size_t>& values) {
    return reinterpret_cast<const std::uint64_t*>(values.data());
  };
  std::vector<TorchGraphTensor> tensors;
  for (const NetTensor& tensor : graph.tensors) {
    tensors.push_back({tensor.shape.data(), tensor.shape.size(), tensor.values.data()});
  }
  std::vector<TorchGraphNode> nodes;
  for (const NetNode& node : graph.nodes) {
    nodes.push_back({static_cast<std::int32_t>(node.op),
                     node.epsilon,
                     numbers(node.inputs),
                     node.inputs.size(),
                     numbers(node.tensors),
                     node.tensors.size(),
                     node.sizes.data(),
                     node.sizes.size()});
  }
  TorchGraphSpec spec;
  spec.tensors = tensors.data();
  spec.tensor_count = tensors.size();
  spec.nodes = nodes.data();
  spec.node_count = nodes.size();
  spec.output = graph.output;
  spec.averaged = graph.averaged;
  spec.cuda = impl_->device.kind == DeviceKind::kCuda;
  spec.bf16 = options.bf16;
  spec.fold_norms = options.fold_norms || options.bf16 || spec.cuda;
  spec.threads = options.threads;
  if (options.pixels) {
    spec.mean = options.pixels->mean.data();
    spec.stddev = options.pixels->stddev.data();
  }
  torch_call(torch().graph_create, static_cast<const TorchGraphSpec*>(&spec), &impl_->graph);
}

const Device& GraphModule::device() const { return impl_->device; }

void GraphModule::submit(std::span<const std::uint8_t> rgb,
                         std::int64_t height,
                         std::int64_t width) {
  const std::uint64_t tile = checked_multiply(
      checked_multiply(static_cast<std::uint64_t>(std::max<std::int64_t>(height, 1)),
                       static_cast<std::uint64_t>(std::max<std::int64_t>(width, 1)),
                       "tile"),
      3,
      "tile");
  const std::int64_t shape[4] = {
      static_cast<std::int64_t>(rgb.size() / tile), height, width, std::int64_t{3}};
  impl_->submit(rgb.data(), rgb.size(), shape, true, false);
}

void GraphModule::submit(std::span<const float> samples,
                         std::span<const std::int64_t> shape,
                         bool with_averaged) {
  impl_->submit(samples.data(), samples.size(), shape, false, with_averaged);
}

GraphOutput GraphModule::collect() {
  struct Output {
    TorchGraphOutput across = {};
    ~Output() { torch().graph_free_output(&across); }
  } output;
  torch_call(torch().graph_collect, impl_->graph, &output.across);
  const TorchGraphOutput& from = output.across;
  GraphOutput result;
  result.values = Matrix<float>(from.rows, from.columns);
  std::copy_n(from.values, result.values.size(), result.values.data());
  if (from.averaged != nullptr) {
    std::size_t size = 1;
    for (std::uint64_t a = 0; a < from.averaged_axes; ++a) {
      result.averaged_shape.push_back(static_cast<std::int64_t>(from.averaged_shape[a]));
      size *= from.averaged_shape[a];
    }
    result.averaged.assign(from.averaged, from.averaged + size);
  }
  result.operations = from.operations;
  result.waited_s = from.waited_s;
  return result;
}

GraphModule::~GraphModule() = default;
GraphModule::GraphModule(GraphModule&&) noexcept = default;
GraphModule& GraphModule::operator=(GraphModule&&) noexcept = default;

}  // namespace med3d::nn
