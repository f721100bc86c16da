// Time of one training step (batch 32, 17-256-128-64-2, batch norm, dropout, Adam) in our network
// and in the same layers written as a torch::nn eager loop, on one thread.
//
//   mlp_step [steps=2000]

#include <torch/torch.h>

#include <vector>

#include "bench/measure.h"
#include "med3d/nn/device.h"
#include "med3d/nn/internal/network.h"

namespace med3d::bench {
namespace {

double ours(std::size_t inputs, const std::vector<int>& hidden, std::size_t batch, int steps) {
  using namespace nn;
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
  const Stopwatch watch;
  run(steps);
  return 1e3 * watch.cpu_s() / steps;
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
  const Stopwatch watch;
  run(steps);
  return 1e3 * watch.cpu_s() / steps;
}

int run_cases(int argc, char** argv) {
  const Arguments arguments(argc, argv, {{"steps", "2000"}});
  const int steps = arguments.count("steps");
  nn::use_one_thread();
  Json json = {{"program", "mlp_step"},
               {"libtorch", nn::torch_version()},
               {"sgemm_gflops", nn::sgemm_gflops()},
               {"steps", steps},
               {"nets", Json::array()}};
  std::string sentence = fmt::format("LibTorch {}, sgemm {:.0f} GFLOP/s on one thread",
                                     nn::torch_version(),
                                     json["sgemm_gflops"].get<double>());
  struct Net {
    const char* name;
    std::size_t inputs;
    std::vector<int> hidden;
  };
  for (const Net& net : {Net{"clinical 17-256-128-64-2", 17, {256, 128, 64}},
                         Net{"scans 512-256-128-2", 512, {256, 128}},
                         Net{"fused 1603-128-64-2", 1603, {128, 64}}}) {
    const double a = ours(net.inputs, net.hidden, 32, steps);
    const double b = eager(static_cast<std::int64_t>(net.inputs), net.hidden, 32, steps);
    json["nets"].push_back({{"name", net.name}, {"ours_cpu_ms", a}, {"eager_cpu_ms", b}});
    sentence +=
        fmt::format("\n{:<26} ours {:.3f} CPU ms a step, torch::nn eager {:.3f}, ratio {:.1f}",
                    net.name,
                    a,
                    b,
                    b / a);
  }
  say(sentence, json);
  return 0;
}

}  // namespace
}  // namespace med3d::bench

int main(int argc, char** argv) {
  return med3d::bench::guarded(med3d::bench::run_cases, argc, argv);
}
