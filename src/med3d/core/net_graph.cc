#include "med3d/core/net_graph.h"

#include <fmt/format.h>

#include <array>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/core/limits.h"

namespace med3d {
namespace {

struct Takes {
  std::size_t inputs, least_tensors, most_tensors, sizes;
};

constexpr std::array<Takes, 19> kTakes = {{
    {0, 0, 0, 0},  // kInput
    {1, 1, 2, 3},  // kConvolution
    {1, 4, 4, 0},  // kBatchNorm
    {1, 0, 0, 0},  // kRelu
    {2, 0, 0, 0},  // kAdd
    {1, 0, 0, 3},  // kMaxPool
    {1, 0, 0, 2},  // kSubsample
    {1, 0, 0, 0},  // kGlobalMean
    {1, 0, 0, 0},  // kTokens
    {1, 1, 1, 0},  // kPrepend
    {1, 1, 1, 0},  // kAddTensor
    {1, 1, 1, 0},  // kScale
    {1, 2, 2, 0},  // kLayerNorm
    {1, 2, 2, 0},  // kLinear
    {1, 0, 0, 0},  // kGelu
    {1, 0, 0, 2},  // kPart
    {3, 0, 0, 1},  // kAttention
    {1, 0, 0, 0},  // kFirstToken
    {0, 1, 1, 0},  // kConstant
}};

}  // namespace

std::size_t NetGraph::tensor(std::string name,
                             std::vector<std::int64_t> shape,
                             std::vector<float> values) {
  tensors.push_back({std::move(name), std::move(shape), std::move(values)});
  return tensors.size() - 1;
}

std::size_t NetGraph::add(NetOp op,
                          std::vector<std::size_t> inputs,
                          std::vector<std::size_t> node_tensors,
                          std::vector<std::int64_t> sizes,
                          double epsilon) {
  nodes.push_back({op, std::move(inputs), std::move(node_tensors), std::move(sizes), epsilon});
  return nodes.size() - 1;
}

void NetGraph::validate() const {
  for (const NetTensor& tensor : tensors) {
    std::uint64_t count = 1;
    for (const std::int64_t side : tensor.shape) {
      if (side < 1) {
        throw Error(ErrorKind::kUsage,
                    fmt::format("net: tensor {} has a side of {}", tensor.name, side));
      }
      count = checked_multiply(count, static_cast<std::uint64_t>(side), tensor.name);
    }
    if (count != tensor.values.size()) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("net: tensor {} holds {} values, expected {}",
                              tensor.name,
                              tensor.values.size(),
                              count));
    }
  }
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const NetNode& node = nodes[i];
    const auto op = static_cast<std::size_t>(node.op);
    if (op >= kTakes.size() || (i == 0) != (node.op == NetOp::kInput)) {
      throw Error(ErrorKind::kUsage, fmt::format("net: node {} is of operation {}", i, op));
    }
    const Takes& takes = kTakes[op];
    if (node.inputs.size() != takes.inputs || node.tensors.size() < takes.least_tensors ||
        node.tensors.size() > takes.most_tensors || node.sizes.size() != takes.sizes) {
      throw Error(
          ErrorKind::kUsage,
          fmt::format("net: node {} of operation {} has {} inputs, {} tensors and {} sizes, "
                      "expected {}, {} to {} and {}",
                      i,
                      op,
                      node.inputs.size(),
                      node.tensors.size(),
                      node.sizes.size(),
                      takes.inputs,
                      takes.least_tensors,
                      takes.most_tensors,
                      takes.sizes));
    }
    for (const std::size_t from : node.inputs) {
      if (from >= i) {
        throw Error(
            ErrorKind::kUsage,
            fmt::format("net: node {} reads node {}, which does not stand before it", i, from));
      }
    }
    for (const std::size_t at : node.tensors) {
      if (at >= tensors.size()) {
        throw Error(ErrorKind::kUsage,
                    fmt::format("net: node {} reads tensor {} of {}", i, at, tensors.size()));
      }
    }
  }
  if (output >= nodes.size() || output == kInput || averaged >= nodes.size()) {
    throw Error(
        ErrorKind::kUsage,
        fmt::format("net: output {} and averaged {} of {} nodes", output, averaged, nodes.size()));
  }
}

}  // namespace med3d
