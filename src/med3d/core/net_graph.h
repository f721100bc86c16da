// A neural network as data: which operations on which named tensors, in what order.
//
// Encoders know their nets, and LibTorch is known to another module that they may not see: this is
// how a net gets from the one to the other. It is the net as its paper draws it, with nothing
// folded or reordered, so that whoever computes it is a reference for those who do. It is no format
// of a file.
//
//   NetGraph graph;
//   auto x = graph.add(NetOp::kConvolution, {NetGraph::kInput}, {graph.tensor("conv1.weight",
//   ...)},
//                      {2, 3, 1});
//   graph.output = graph.add(NetOp::kGlobalMean, {x});
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace med3d {

// Shapes: images (n, channels, extent...) with two or three axes, tokens (n, tokens, width). What
// is listed stands in NetNode::tensors and NetNode::sizes in that order.
enum class NetOp : std::int32_t {
  kInput = 0,        // what the net is given; node 0 alone
  kConvolution = 1,  // tensors weight and, or not, bias; sizes stride, padding, dilation
  kBatchNorm = 2,    // tensors gamma, beta, mean, variance; epsilon
  kRelu = 3,
  kAdd = 4,          // of two nodes
  kMaxPool = 5,      // sizes kernel, stride, padding
  kSubsample = 6,    // every stride-th position, zeros for new channels; sizes stride, channels
  kGlobalMean = 7,   // (n, channels) over all positions
  kTokens = 8,       // (n, channels, h, w) to (n, h * w, channels)
  kPrepend = 9,      // the tensor (1, k, width) before the tokens of each sample
  kAddTensor = 10,   // the tensor (1, tokens, width) to each sample
  kScale = 11,       // times the tensor (width,)
  kLayerNorm = 12,   // tensors gamma, beta; epsilon
  kLinear = 13,      // tensors weight (out, in), bias (out,)
  kGelu = 14,        // x Phi(x), by the error function
  kPart = 15,        // of the last axis; sizes first, count
  kAttention = 16,   // of three nodes q, k, v: softmax(q k' / sqrt(width / heads)) v; sizes heads
  kFirstToken = 17,  // (n, width)
  kConstant = 18,    // the tensor, of no node
};

struct NetTensor {
  std::string name;  // as in the weights file
  std::vector<std::int64_t> shape;
  std::vector<float> values;  // row-major
};

struct NetNode {
  NetOp op = NetOp::kInput;
  std::vector<std::size_t> inputs;   // nodes before this one
  std::vector<std::size_t> tensors;  // in NetGraph::tensors
  std::vector<std::int64_t> sizes;   // the same for each axis
  double epsilon = 0.0;
};

struct NetGraph {
  static constexpr std::size_t kInput = 0;

  std::vector<NetTensor> tensors;
  std::vector<NetNode> nodes = {NetNode{}};
  std::size_t output = kInput;
  // Of a net that ends in a mean over positions: what that is the mean of; else kInput.
  std::size_t averaged = kInput;

  // Each returns the place of what it added.
  std::size_t tensor(std::string name, std::vector<std::int64_t> shape, std::vector<float> values);
  std::size_t add(NetOp op,
                  std::vector<std::size_t> inputs,
                  std::vector<std::size_t> node_tensors = {},
                  std::vector<std::int64_t> sizes = {},
                  double epsilon = 0.0);

  // Throws Error(kUsage) naming the node or tensor where a node reads one that does not stand
  // before it, has another number of inputs, tensors or sizes than its operation takes, or a
  // tensor's values are not as many as its shape says.
  void validate() const;
};

}  // namespace med3d
