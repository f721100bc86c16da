// Time of one training step (batch 32, 17-256-128-64-2, batch norm, dropout, Adam) in our network
// and in the same layers written as a torch::nn eager loop, on one thread.
//
//   mlp_step [steps=2000]

#include <torch/torch.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "med3d/nn/device.h"
#include "med3d/nn/internal/network.h"

namespace {

using Clock = std::chrono::steady_clock;

double milliseconds(Clock::time_point start, int steps) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count() / steps;
}

double ours(std::size_t inputs, const std::vector<int>& hidden, std::size_t batch, int steps) {
  using namespace med3d::nn;
  NetworkSpec spec;
  spec.inputs = inputs;
  spec.hidden = hidden;
  spec.dropout.assign(hidden.size(), 0.3);
  spec.outputs = 2;
  Network network(spec, DeviceKind::kCpu, 1);
  RandomStream random(1);
  std::vector<float> rows(batch * inputs);
  for (float& value : rows) value = random.normal();
  std::vector<float> out;
  std::vector<float> gradient(batch * 2);
  const auto run = [&](int count) {
    for (int s = 0; s < count; ++s) {
      network.forward(rows.data(), batch, random, out);
      for (std::size_t i = 0; i < gradient.size(); ++i) gradient[i] = out[i] / 32.0F;
      network.backward(gradient);
      network.step(1e-3, 1e-4);
    }
  };
  run(100);
  const auto start = Clock::now();
  run(steps);
  return milliseconds(start, steps);
}

double eager(std::int64_t inputs, const std::vector<int>& hidden, std::int64_t batch, int steps) {
  torch::nn::Sequential net;
  std::int64_t width = inputs;
  for (const int out : hidden) {
    net->push_back(torch::nn::Linear(width, out));
    net->push_back(torch::nn::BatchNorm1d(out));
    net->push_back(torch::nn::ReLU());
    net->push_back(torch::nn::Dropout(0.3));
    width = out;
  }
  net->push_back(torch::nn::Linear(width, 2));
  torch::optim::Adam adam(net->parameters(), torch::optim::AdamOptions(1e-3).weight_decay(1e-4));
  const torch::Tensor x = torch::randn({batch, inputs});
  const torch::Tensor y = torch::randint(2, {batch}, torch::kLong);
  const auto run = [&](int count) {
    for (int s = 0; s < count; ++s) {
      adam.zero_grad();
      torch::nn::functional::cross_entropy(net->forward(x), y).backward();
      adam.step();
    }
  };
  run(100);
  const auto start = Clock::now();
  run(steps);
  return milliseconds(start, steps);
}

}  // namespace

int main(int argc, char** argv) {
  const int steps = argc > 1 ? std::atoi(argv[1]) : 2000;
  med3d::nn::use_one_thread();
  std::printf("LibTorch %s, sgemm %.0f GFLOP/s on one thread\n",
              med3d::nn::torch_version().c_str(),
              med3d::nn::sgemm_gflops());
  struct Case {
    const char* name;
    std::size_t inputs;
    std::vector<int> hidden;
  };
  for (const Case& c : {Case{"clinical 17-256-128-64-2", 17, {256, 128, 64}},
                        Case{"scans 512-256-128-2", 512, {256, 128}},
                        Case{"fused 1603-128-64-2", 1603, {128, 64}}}) {
    const double a = ours(c.inputs, c.hidden, 32, steps);
    const double b = eager(static_cast<std::int64_t>(c.inputs), c.hidden, 32, steps);
    std::printf(
        "%-26s ours %.3f ms/step, torch::nn eager %.3f ms/step, ratio %.1f\n", c.name, a, b, b / a);
  }
  return 0;
}
