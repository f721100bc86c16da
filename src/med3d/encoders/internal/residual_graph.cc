#include "med3d/encoders/internal/residual_graph.h"

#include <utility>
#include <vector>

namespace med3d {

std::size_t add_layer(
    NetGraph& graph, std::size_t from, Convolution convolution, BatchNorm norm, bool relu) {
  const std::int64_t out = convolution.out_channels;
  std::int64_t of_input = out;
  for (const std::int64_t side : convolution.window.kernel) of_input *= side;
  std::vector<std::int64_t> shape = {
      out, static_cast<std::int64_t>(convolution.weight.size()) / of_input};
  shape.insert(shape.end(), convolution.window.kernel.begin(), convolution.window.kernel.end());
  std::vector<std::size_t> tensors = {
      graph.tensor(convolution.name + ".weight", std::move(shape), std::move(convolution.weight))};
  if (!convolution.bias.empty()) {
    tensors.push_back(graph.tensor(convolution.name + ".bias", {out}, std::move(convolution.bias)));
  }
  const Window& window = convolution.window;
  std::size_t x = graph.add(NetOp::kConvolution,
                            {from},
                            std::move(tensors),
                            {window.stride[0], window.padding[0], window.dilation[0]});
  if (!norm.gamma.empty()) {
    const auto add = [&](const char* part, std::vector<float>& values) {
      return graph.tensor(convolution.name + " norm." + part, {out}, std::move(values));
    };
    const std::size_t gamma = add("weight", norm.gamma);
    const std::size_t beta = add("bias", norm.beta);
    const std::size_t mean = add("running_mean", norm.mean);
    const std::size_t variance = add("running_var", norm.variance);
    x = graph.add(NetOp::kBatchNorm, {x}, {gamma, beta, mean, variance}, {}, norm.epsilon);
  }
  return relu ? graph.add(NetOp::kRelu, {x}) : x;
}

std::size_t add_max_pool(NetGraph& graph, std::size_t from, const Window& window) {
  return graph.add(
      NetOp::kMaxPool, {from}, {}, {window.kernel[0], window.stride[0], window.padding[0]});
}

std::size_t add_sum(NetGraph& graph, std::size_t a, std::size_t b) {
  return graph.add(NetOp::kRelu, {graph.add(NetOp::kAdd, {a, b})});
}

void finish_with_mean(NetGraph& graph, std::size_t from) {
  graph.averaged = from;
  graph.output = graph.add(NetOp::kGlobalMean, {from});
}

}  // namespace med3d
