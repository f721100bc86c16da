#include "med3d/nn/internal/network.h"

#include <ATen/ops/batch_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/relu.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>
#include <string>

#include "med3d/core/error.h"
#include "med3d/nn/internal/loss.h"
#include "med3d/nn/internal/torch_common.h"

namespace med3d::nn {
namespace {

std::vector<float> sines(std::size_t n, double phase, double scale = 1.0, double shift = 0.0) {
  std::vector<float> values(n);
  for (std::size_t i = 0; i < n; ++i) {
    values[i] = static_cast<float>(
        static_cast<float>(std::sin(0.7 * static_cast<double>(i) + phase)) * scale + shift);
  }
  return values;
}

NetworkSpec small_spec() {
  NetworkSpec spec;
  spec.inputs = 5;
  spec.hidden = {7, 4};
  spec.dropout = {0.0, 0.0};
  spec.batch_norm = true;
  spec.outputs = 2;
  return spec;
}

// x = (1, -2); fc1 = [[1, 0], [1, 1], [0, -1]], bias (0.5, 0, -1): (1.5, -1, 1) -> ReLU (1.5, 0,
// 1); out = [[2, 5, -1]], bias 0.25: 3 - 1 + 0.25 = 2.25.
TEST(Network, ForwardIsTheHandComputation) {
  NetworkSpec spec;
  spec.inputs = 2;
  spec.hidden = {3};
  spec.dropout = {0.5};
  spec.batch_norm = false;
  spec.outputs = 1;
  Network network(spec, DeviceKind::kCpu, 1);
  network.load({{"fc1.weight", {3, 2}, {1, 0, 1, 1, 0, -1}},
                {"fc1.bias", {3}, {0.5F, 0, -1}},
                {"out.weight", {1, 3}, {2, 5, -1}},
                {"out.bias", {1}, {0.25F}}});
  const std::vector<float> x = {1, -2};
  EXPECT_FLOAT_EQ(network.evaluate(x.data(), 1)[0], 2.25F);
  const Matrix<float> hidden = network.hidden(x.data(), 1, 1);
  EXPECT_FLOAT_EQ(hidden(0, 0), 1.5F);
  EXPECT_FLOAT_EQ(hidden(0, 1), 0.0F);
  EXPECT_FLOAT_EQ(hidden(0, 2), 1.0F);
}

// Same layers, by hand with batch norm in inference: running mean 1, var 3 (+ 1e-5), weight 2,
// bias 1: (4 - 1) / sqrt(3.00001) * 2 + 1 = 4.46410; out weight 1, bias 0.
TEST(Network, InferenceUsesTheRunningStatistics) {
  NetworkSpec spec;
  spec.inputs = 1;
  spec.hidden = {1};
  spec.dropout = {0.0};
  spec.outputs = 1;
  Network network(spec, DeviceKind::kCpu, 1);
  network.load({{"fc1.weight", {1, 1}, {1}},
                {"fc1.bias", {1}, {0}},
                {"bn1.weight", {1}, {2}},
                {"bn1.bias", {1}, {1}},
                {"out.weight", {1, 1}, {1}},
                {"out.bias", {1}, {0}},
                {"bn1.running_mean", {1}, {1}},
                {"bn1.running_var", {1}, {3}}});
  const float x = 4.0F;
  EXPECT_NEAR(network.evaluate(&x, 1)[0], 6.0 / std::sqrt(3.00001) + 1.0, 1e-5);
}

// tests/reference/mlp_steps.py, PyTorch 1.13.
TEST(Network, FollowsPyTorchOverFiveAdamSteps) {
  for (const bool operators : {false, true}) {
    NetworkSpec spec;
    spec.inputs = 3;
    spec.hidden = {5, 4};
    spec.dropout = {0.0, 0.0};
    spec.outputs = 2;
    Network network(spec, DeviceKind::kCpu, 1);
    network.load({{"fc1.weight", {5, 3}, sines(15, 0, 0.5)},
                  {"fc1.bias", {5}, sines(5, 1, 0.5)},
                  {"bn1.weight", {5}, sines(5, 2, 0.5, 1.0)},
                  {"bn1.bias", {5}, sines(5, 3, 0.5)},
                  {"fc2.weight", {4, 5}, sines(20, 4, 0.5)},
                  {"fc2.bias", {4}, sines(4, 5, 0.5)},
                  {"bn2.weight", {4}, sines(4, 6, 0.5, 1.0)},
                  {"bn2.bias", {4}, sines(4, 7, 0.5)},
                  {"out.weight", {2, 4}, sines(8, 8, 0.5)},
                  {"out.bias", {2}, sines(2, 9, 0.5)},
                  {"bn1.running_mean", {5}, std::vector<float>(5, 0.0F)},
                  {"bn1.running_var", {5}, std::vector<float>(5, 1.0F)},
                  {"bn2.running_mean", {4}, std::vector<float>(4, 0.0F)},
                  {"bn2.running_var", {4}, std::vector<float>(4, 1.0F)}});
    const std::vector<float> x = sines(18, 0.3, 2.0);
    const std::vector<std::uint8_t> y = {0, 1, 1, 0, 1, 1};
    const LossSpec loss = make_loss({}, y);
    RandomStream dropout(1);
    std::vector<float> logits;
    std::vector<float> gradient(12);
    for (const double expected : {1.0290375, 0.9800415, 0.9333451, 0.8881114, 0.8442912}) {
      network.forward(x.data(), 6, dropout, logits);
      EXPECT_NEAR(loss_and_gradient(loss, logits, y, gradient), expected, 2e-6);
      network.backward(gradient);
      if (operators) {
        network.step_with_operators(0.01, 0.01);
      } else {
        network.step(0.01, 0.01);
      }
    }
    const std::vector<float> expected = {0.395819F,
                                         -0.809288F,
                                         0.223206F,
                                         -0.317535F,
                                         0.286659F,
                                         -0.360235F,
                                         0.399185F,
                                         -0.816474F,
                                         0.221095F,
                                         -0.315244F,
                                         0.285152F,
                                         -0.358402F};
    const std::vector<float> after = network.evaluate(x.data(), 6);
    for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(after[i], expected[i], 1e-5);
    const Parameters parameters = network.parameters();
    const auto& fc1 = find_parameter(parameters, "fc1.weight").values;
    EXPECT_NEAR(fc1[0], -0.018200F, 2e-6);
    EXPECT_NEAR(fc1[1], 0.279666F, 2e-6);
    EXPECT_NEAR(fc1[2], 0.443845F, 2e-6);
    const auto& mean = find_parameter(parameters, "bn2.running_mean").values;
    const auto& var = find_parameter(parameters, "bn2.running_var").values;
    for (std::size_t j = 0; j < 4; ++j) {
      EXPECT_NEAR(
          mean[j], (std::vector<float>{-0.393403F, 0.105612F, -0.154967F, 0.256950F}[j]), 2e-6);
      EXPECT_NEAR(
          var[j], (std::vector<float>{0.621248F, 0.666923F, 0.673813F, 0.673694F}[j]), 2e-6);
    }
  }
}

// Our backward against LibTorch's autograd on the same layers, weights, dropout masks and upstream
// gradient, for each combination of parts.
void compare_with_autograd(const NetworkSpec& spec, const std::string& label) {
  SCOPED_TRACE(label);
  constexpr std::size_t kRows = 9;
  Network network(spec, DeviceKind::kCpu, 3);
  const std::vector<float> x = sines(kRows * spec.inputs, 0.2, 1.5);
  const std::vector<float> upstream = sines(kRows * spec.columns(), 1.7);
  const Parameters before = network.parameters();
  RandomStream dropout(11);
  std::vector<float> out;
  network.forward(x.data(), kRows, dropout, out);
  network.backward(upstream);

  std::map<std::string, at::Tensor> tensor;
  for (const Parameter& p : before) {
    std::vector<std::int64_t> shape(p.shape.begin(), p.shape.end());
    tensor[p.name] = at::from_blob(const_cast<float*>(p.values.data()), shape, at::kFloat).clone();
    if (p.name.find("running") == std::string::npos) tensor[p.name].requires_grad_(true);
  }
  RandomStream same_dropout(11);
  at::Tensor h = at::from_blob(
      const_cast<float*>(x.data()), {kRows, static_cast<std::int64_t>(spec.inputs)}, at::kFloat);
  if (spec.projection > 0) h = at::linear(h, tensor["projection.weight"]);
  for (std::size_t l = 0; l < spec.hidden.size(); ++l) {
    const std::string n = std::to_string(l + 1);
    h = at::linear(h, tensor["fc" + n + ".weight"], tensor["fc" + n + ".bias"]);
    if (spec.batch_norm) {
      h = at::batch_norm(h,
                         tensor["bn" + n + ".weight"],
                         tensor["bn" + n + ".bias"],
                         tensor["bn" + n + ".running_mean"],
                         tensor["bn" + n + ".running_var"],
                         true,
                         0.1,
                         1e-5,
                         false);
    }
    h = at::relu(h);
    if (spec.dropout[l] > 0.0) {
      at::Tensor mask = at::empty({kRows, spec.hidden[l]}, at::kFloat);
      same_dropout.dropout_mask(
          mask.data_ptr<float>(), static_cast<std::size_t>(mask.numel()), spec.dropout[l]);
      h = h.mul(mask);
    }
  }
  const at::Tensor g = at::from_blob(const_cast<float*>(upstream.data()),
                                     {kRows, static_cast<std::int64_t>(spec.columns())},
                                     at::kFloat);
  const auto outputs = static_cast<std::int64_t>(spec.outputs);
  const at::Tensor logits = at::linear(h, tensor["out.weight"], tensor["out.bias"]);
  at::Tensor objective = logits.mul(g.narrow(1, 0, outputs)).sum();
  at::Tensor score;
  if (spec.attention > 0) {
    score = at::linear(
        at::linear(h, tensor["attention_V.weight"], tensor["attention_V.bias"])
            .tanh()
            .mul(at::linear(h, tensor["attention_U.weight"], tensor["attention_U.bias"]).sigmoid()),
        tensor["attention_w.weight"],
        tensor["attention_w.bias"]);
    objective = objective.add(score.mul(g.narrow(1, outputs, 1)).sum());
  }
  objective.backward();

  const float* expected_logits = logits.data_ptr<float>();
  for (std::size_t i = 0; i < kRows; ++i) {
    for (std::size_t c = 0; c < spec.outputs; ++c) {
      EXPECT_NEAR(out[i * spec.columns() + c], expected_logits[i * spec.outputs + c], 1e-5);
    }
    if (spec.attention > 0) {
      EXPECT_NEAR(out[i * spec.columns() + spec.outputs], score.data_ptr<float>()[i], 1e-5);
    }
  }
  std::size_t not_zero = 0;
  for (const Parameter& gradient : network.gradients()) {
    const at::Tensor expected = tensor[gradient.name].grad().contiguous();
    ASSERT_EQ(static_cast<std::size_t>(expected.numel()), gradient.values.size());
    for (std::size_t i = 0; i < gradient.values.size(); ++i) {
      EXPECT_NEAR(gradient.values[i], expected.data_ptr<float>()[i], 2e-5) << gradient.name << i;
      not_zero += gradient.values[i] != 0.0F ? 1 : 0;
    }
  }
  EXPECT_GT(not_zero, 20U);
}

TEST(Network, GradientsEqualAutogradsForEveryPart) {
  NetworkSpec spec = small_spec();
  compare_with_autograd(spec, "batch norm");
  spec.dropout = {0.4, 0.25};
  compare_with_autograd(spec, "batch norm and dropout");
  spec.batch_norm = false;
  compare_with_autograd(spec, "dropout without batch norm");
  spec.dropout = {0.0, 0.0};
  compare_with_autograd(spec, "plain");
  spec.projection = 6;
  compare_with_autograd(spec, "projection");
  spec.attention = 3;
  spec.outputs = 1;
  compare_with_autograd(spec, "projection and attention");
  spec.projection = 0;
  spec.batch_norm = true;
  spec.dropout = {0.0, 0.3};
  compare_with_autograd(spec, "attention, batch norm, dropout");
}

TEST(Network, StartsAsPyTorchLinearDoes) {
  NetworkSpec spec = small_spec();
  spec.inputs = 100;
  spec.hidden = {200, 10};
  const Network network(spec, DeviceKind::kCpu, 5);
  const Parameters parameters = network.parameters();
  double squares = 0.0;
  for (const float w : find_parameter(parameters, "fc1.weight").values) {
    ASSERT_LE(std::abs(w), 0.1F);  // 1 / sqrt(100)
    squares += static_cast<double>(w) * w;
  }
  EXPECT_NEAR(squares / 20000.0, 0.01 / 3.0, 1e-4);  // variance of U(-0.1, 0.1)
  EXPECT_EQ(find_parameter(parameters, "bn1.weight").values, std::vector<float>(200, 1.0F));
  EXPECT_EQ(find_parameter(parameters, "bn1.bias").values, std::vector<float>(200, 0.0F));
  EXPECT_EQ(find_parameter(parameters, "bn1.running_var").values, std::vector<float>(200, 1.0F));
}

TEST(Network, PredictsTheSameForManyRowsAsForFew) {
  NetworkSpec spec = small_spec();
  const Network network(spec, DeviceKind::kCpu, 5);
  const std::vector<float> x = sines(9000 * 5, 0.1);  // more than one piece of 4096
  const std::vector<float> all = network.evaluate(x.data(), 9000);
  const std::vector<float> last = network.evaluate(x.data() + 8990 * 5, 10);
  for (std::size_t i = 0; i < 20; ++i) EXPECT_NEAR(all[8990 * 2 + i], last[i], 1e-6);
}

TEST(Network, RefusesAGradientOfAnotherSize) {
  Network network(small_spec(), DeviceKind::kCpu, 5);
  const std::vector<float> x = sines(10, 0.1);
  RandomStream dropout(1);
  std::vector<float> out;
  network.forward(x.data(), 2, dropout, out);
  EXPECT_THROW(network.backward(std::vector<float>(3)), Error);
}

TEST(RandomStream, MasksKeepTheirShareAndScale) {
  RandomStream random(7);
  std::vector<float> mask(40001);
  random.dropout_mask(mask.data(), mask.size(), 0.3);
  double sum = 0.0;
  for (const float m : mask) {
    EXPECT_TRUE(m == 0.0F || m == RandomStream::dropout_scale(0.3));
    sum += m;
  }
  // Mean 1, standard error sqrt(.3 / .7 / 40001) = 0.0033.
  EXPECT_NEAR(sum / static_cast<double>(mask.size()), 1.0, 0.013);
  EXPECT_NEAR(RandomStream::dropout_scale(0.3), 1.0 / 0.7, 2e-5);
}

TEST(RandomStream, NormalsHaveTheMomentsOfANormal) {
  RandomStream random(8);
  double first = 0.0, second = 0.0, fourth = 0.0;
  constexpr int kDraws = 100000;
  for (int i = 0; i < kDraws; ++i) {
    const double z = random.normal();
    first += z;
    second += z * z;
    fourth += z * z * z * z;
  }
  EXPECT_NEAR(first / kDraws, 0.0, 0.013);
  EXPECT_NEAR(second / kDraws, 1.0, 0.018);
  EXPECT_NEAR(fourth / kDraws, 3.0, 0.13);
}

}  // namespace
}  // namespace med3d::nn
