#include "med3d/nn/graph_module.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "med3d/core/error.h"

namespace med3d::nn {
namespace {

void expect_error(ErrorKind kind, const std::string& part, const std::function<void()>& work) {
  try {
    work();
    ADD_FAILURE() << "no error, expected one saying '" << part << "'";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

// Two channels of a 1 x 1 convolution (1, -1) with bias (0, 1), a norm of mean (1, 0), variance
// (4, 1), gamma (2, 1), beta (0, 3) and no epsilon, then the mean over positions.
NetGraph normed() {
  NetGraph graph;
  const auto weight = graph.tensor("w", {2, 1, 1, 1}, {1.0F, -1.0F});
  const auto bias = graph.tensor("b", {2}, {0.0F, 1.0F});
  const auto gamma = graph.tensor("gamma", {2}, {2.0F, 1.0F});
  const auto beta = graph.tensor("beta", {2}, {0.0F, 3.0F});
  const auto mean = graph.tensor("mean", {2}, {1.0F, 0.0F});
  const auto variance = graph.tensor("variance", {2}, {4.0F, 1.0F});
  auto x = graph.add(NetOp::kConvolution, {NetGraph::kInput}, {weight, bias}, {1, 0, 1});
  x = graph.add(NetOp::kBatchNorm, {x}, {gamma, beta, mean, variance}, {}, 0.0);
  graph.averaged = graph.add(NetOp::kRelu, {x});
  graph.output = graph.add(NetOp::kGlobalMean, {graph.averaged});
  return graph;
}

// Input (5, 3): channel 0 is (x - 1) / 2 * 2 = (4, 2), mean 3; channel 1 is 1 - x + 3 = (-1, 1),
// after ReLU (0, 1), mean 0.5. Two multiplications and additions for each of 2 x 2 outputs: 8.
TEST(GraphModule, ComputesAConvolutionAndItsNorm) {
  for (const bool fold : {false, true}) {
    GraphOptions options;
    options.fold_norms = fold;
    GraphModule module(normed(), options);
    const std::array<float, 2> input = {5.0F, 3.0F};
    module.submit(input, std::array<std::int64_t, 4>{1, 1, 1, 2}, true);
    const GraphOutput output = module.collect();
    ASSERT_EQ(output.values.rows(), 1U);
    ASSERT_EQ(output.values.cols(), 2U);
    EXPECT_FLOAT_EQ(output.values(0, 0), 3.0F) << fold;
    EXPECT_FLOAT_EQ(output.values(0, 1), 0.5F) << fold;
    EXPECT_EQ(output.averaged_shape, (std::vector<std::int64_t>{1, 2, 1, 2}));
    EXPECT_EQ(output.averaged, (std::vector<float>{4.0F, 2.0F, 0.0F, 1.0F})) << fold;
    EXPECT_EQ(output.operations, 8.0);
    EXPECT_EQ(output.waited_s, 0.0);
  }
}

// (p / 255 - mean) / stddev: red 255 is (1 - 0.5) / 0.5 = 1, green 0 is (0 - 0) / 2 = 0, blue 51
// is (0.2 - 0) / 0.1 = 2. The net adds them up: 3.
TEST(GraphModule, NormalisesPixels) {
  NetGraph graph;
  const auto weight = graph.tensor("w", {1, 3, 1, 1}, {1.0F, 1.0F, 1.0F});
  const auto x = graph.add(NetOp::kConvolution, {NetGraph::kInput}, {weight}, {1, 0, 1});
  graph.output = graph.add(NetOp::kGlobalMean, {x});
  GraphOptions options;
  options.pixels = PixelNormalisation{{0.5F, 0.0F, 0.0F}, {0.5F, 2.0F, 0.1F}};
  GraphModule module(graph, options);
  const std::array<std::uint8_t, 3> pixel = {255, 0, 51};
  module.submit(pixel, 1, 1);
  EXPECT_NEAR(module.collect().values(0, 0), 3.0F, 1e-6F);
}

// Channels (1, 2) at positions 0 to 2: every second one is kept, and a third channel is zero.
TEST(GraphModule, SubsamplesAndFillsNewChannelsWithZeros) {
  NetGraph graph;
  graph.averaged = graph.add(NetOp::kSubsample, {NetGraph::kInput}, {}, {2, 3});
  graph.output = graph.add(NetOp::kGlobalMean, {graph.averaged});
  GraphModule module(graph, {});
  const std::array<float, 6> input = {1.0F, 8.0F, 3.0F, 4.0F, 8.0F, 6.0F};
  module.submit(input, std::array<std::int64_t, 5>{1, 2, 1, 1, 3}, true);
  const GraphOutput output = module.collect();
  EXPECT_EQ(output.averaged, (std::vector<float>{1.0F, 3.0F, 4.0F, 6.0F, 0.0F, 0.0F}));
  EXPECT_FLOAT_EQ(output.values(0, 1), 5.0F);
}

// One head of width 1: q = 1 of every token, keys (0, ln 3), values (4, 8). Shares 1/4 and 3/4:
// 4 / 4 + 8 * 3 / 4 = 7.
TEST(GraphModule, AttendsByTheSoftmaxOfProducts) {
  NetGraph graph;
  const auto tokens = graph.add(NetOp::kTokens, {NetGraph::kInput});
  const auto k = graph.add(NetOp::kPart, {tokens}, {}, {0, 1});
  const auto v = graph.add(NetOp::kPart, {tokens}, {}, {1, 1});
  const auto q = graph.add(NetOp::kConstant, {}, {graph.tensor("q", {1, 1, 1}, {1.0F})});
  const auto x = graph.add(NetOp::kAttention, {q, k, v}, {}, {1});
  graph.output = graph.add(NetOp::kFirstToken, {x});
  GraphModule module(graph, {});
  const std::array<float, 4> input = {0.0F, std::log(3.0F), 4.0F, 8.0F};
  module.submit(input, std::array<std::int64_t, 4>{1, 2, 1, 2});
  EXPECT_NEAR(module.collect().values(0, 0), 7.0F, 1e-5F);
}

TEST(GraphModule, GivesBatchesInTheirOrder) {
  GraphModule module(normed(), {});
  std::array<float, 1> input = {5.0F};
  const std::array<std::int64_t, 4> shape = {1, 1, 1, 1};
  module.submit(input, shape);
  input[0] = 3.0F;  // the first one has been taken
  module.submit(input, shape);
  expect_error(ErrorKind::kUsage, "2 batches are in flight", [&] { module.submit(input, shape); });
  EXPECT_FLOAT_EQ(module.collect().values(0, 0), 4.0F);
  EXPECT_FLOAT_EQ(module.collect().values(0, 0), 2.0F);
  expect_error(ErrorKind::kUsage, "no batch is in flight", [&] { module.collect(); });
}

TEST(GraphModule, NamesWhatDoesNotFit) {
  GraphModule module(normed(), {});
  const std::vector<float> input(8, 1.0F);
  expect_error(ErrorKind::kUsage, "8 values for a batch of 9 in 4 axes", [&] {
    module.submit(input, std::array<std::int64_t, 4>{1, 1, 3, 3});
  });
  expect_error(ErrorKind::kUsage, "a batch with a side of 0", [&] {
    module.submit(input, std::array<std::int64_t, 4>{0, 1, 3, 3});
  });
  expect_error(ErrorKind::kUsage, "a net on floats was given the other", [&] {
    module.submit(std::vector<std::uint8_t>(3), 1, 1);
  });
  expect_error(ErrorKind::kIo, "LibTorch: ", [&] {  // two channels, the net takes one
    module.submit(input, std::array<std::int64_t, 4>{1, 2, 2, 2});
  });
  GraphOptions options;
  options.threads = 0;
  expect_error(ErrorKind::kUsage, "threads is 0", [&] { GraphModule(normed(), options); });
}

TEST(GraphModule, TellsALibTorchWithoutCudaFromAMachineWithoutADevice) {
  if (cuda_available()) GTEST_SKIP() << "a CUDA device is here";
  GraphOptions options;
  options.device = DeviceKind::kCuda;
  expect_error(ErrorKind::kUnsupported, "LibTorch " + torch_version(), [&] {
    GraphModule(normed(), options);
  });
  EXPECT_EQ(resolve_device(DeviceKind::kAuto).name, "cpu");
}

}  // namespace
}  // namespace med3d::nn
