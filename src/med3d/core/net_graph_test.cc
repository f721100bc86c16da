#include "med3d/core/net_graph.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "med3d/core/error.h"

namespace med3d {
namespace {

// One convolution of a 1 x 1 kernel, its ReLU and the mean.
NetGraph small() {
  NetGraph graph;
  const auto weight = graph.tensor("conv.weight", {2, 1, 1, 1}, {1.0F, -1.0F});
  const auto x = graph.add(NetOp::kConvolution, {NetGraph::kInput}, {weight}, {1, 0, 1});
  graph.averaged = graph.add(NetOp::kRelu, {x});
  graph.output = graph.add(NetOp::kGlobalMean, {graph.averaged});
  return graph;
}

void expect_refused(const std::string& message, const std::function<void(NetGraph&)>& spoil) {
  NetGraph graph = small();
  spoil(graph);
  try {
    graph.validate();
    ADD_FAILURE() << "accepted, expected: " << message;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUsage);
    EXPECT_EQ(error.what(), message);
  }
}

TEST(NetGraph, TakesANetInItsOrder) { EXPECT_NO_THROW(small().validate()); }

TEST(NetGraph, RefusesWhatNoEngineCouldCompute) {
  expect_refused("net: tensor conv.weight holds 2 values, expected 6", [](NetGraph& graph) {
    graph.tensors[0].shape = {2, 3, 1, 1};
  });
  expect_refused("net: tensor conv.weight has a side of 0",
                 [](NetGraph& graph) { graph.tensors[0].shape[1] = 0; });
  expect_refused("net: node 2 reads node 2, which does not stand before it",
                 [](NetGraph& graph) { graph.nodes[2].inputs[0] = 2; });
  expect_refused("net: node 1 reads tensor 1 of 1",
                 [](NetGraph& graph) { graph.nodes[1].tensors[0] = 1; });
  expect_refused(
      "net: node 1 of operation 1 has 1 inputs, 1 tensors and 2 sizes, expected 1, 1 to 2 and 3",
      [](NetGraph& graph) { graph.nodes[1].sizes.pop_back(); });
  expect_refused("net: node 2 is of operation 99",
                 [](NetGraph& graph) { graph.nodes[2].op = static_cast<NetOp>(99); });
  expect_refused("net: node 2 is of operation 0",
                 [](NetGraph& graph) { graph.nodes[2].op = NetOp::kInput; });
  expect_refused("net: output 9 and averaged 2 of 4 nodes",
                 [](NetGraph& graph) { graph.output = 9; });
}

}  // namespace
}  // namespace med3d
