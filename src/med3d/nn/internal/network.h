// The dense network under every model of this module: forward, backward and Adam.
//
//   x -> [Linear without bias: projection]            if spec.projection > 0
//     -> [Linear -> BatchNorm1d -> ReLU -> Dropout]   for each hidden layer
//     -> Linear (spec.outputs columns)
//     -> and beside it, if spec.attention > 0, one more column: the gated attention score
//        a(h) = w . (tanh(V h + b_V) * sigmoid(U h + b_U)) + c      of the last hidden layer h
//        [Ilse et al., ICML 2018, arXiv:1802.04712]
//
// The three models only differ in how they make rows and how they turn outputs into a loss, so both
// stay outside, on plain arrays. Names, shapes and random numbers are made here; forward and
// backward are LibTorch operators on the other side of internal/torch_interface.h
// (torch_network.cc), without autograd: its bookkeeping costs more than the arithmetic of nets this
// small (bench/mlp_step.cc). The same operators run on the CPU and on CUDA. All parameters are
// views into one buffer, all gradients into another.
//
// Initial weights as PyTorch's Linear: weight and bias uniform in +-1 / sqrt(inputs); batch norm
// weight 1, bias 0, momentum 0.1, eps 1e-5.
//
// Checked against: autograd on the same layers (network_test.cc).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "med3d/core/matrix.h"
#include "med3d/nn/device.h"
#include "med3d/nn/internal/random_stream.h"
#include "med3d/nn/parameters.h"

namespace med3d::nn {

struct NetworkSpec {
  std::size_t inputs = 0;
  std::size_t projection = 0;   // width of a linear map in front, 0 = none
  std::vector<int> hidden;      // widths; may be empty
  std::vector<double> dropout;  // one for each hidden layer, in [0, 1)
  bool batch_norm = true;
  std::size_t outputs = 1;
  std::size_t attention = 0;  // width of the attention branch, 0 = none; needs a hidden layer

  std::size_t columns() const { return outputs + (attention > 0 ? 1 : 0); }
};

class Network {
 public:
  Network(const NetworkSpec& spec, DeviceKind device, std::uint64_t seed);
  ~Network();
  Network(Network&&) noexcept;
  Network& operator=(Network&&) noexcept;

  const NetworkSpec& spec() const;

  // Training mode: batch statistics (which also move the running ones) and dropout.
  // rows (n, inputs) must live until backward(); `out` becomes (n, columns()). With batch norm
  // n >= 2.
  void forward(const float* rows, std::size_t n, RandomStream& dropout, std::vector<float>& out);

  // Gradients of all parameters, for the batch of the last forward(). gradient (n, columns()).
  void backward(std::span<const float> gradient);

  // One Adam step on these gradients.
  void step(double learning_rate, double weight_decay);

  // Inference mode: running statistics, no dropout. (n, columns()), and the output of hidden layer
  // `layer` (from 1, after ReLU; 0 = the projection). Safe from several threads at once.
  std::vector<float> evaluate(const float* rows, std::size_t n) const;
  Matrix<float> hidden(const float* rows, std::size_t n, std::size_t layer) const;

  Parameters parameters() const;
  Parameters gradients() const;  // same names, running statistics left out
  // Throws Error(kFormat | kData) if a tensor is missing, of another shape or not finite.
  void load(const Parameters& parameters);

  // All trained numbers in one array, to return to an earlier epoch.
  std::vector<float> state() const;
  void set_state(std::span<const float> state);

  // The step that CUDA takes, on whatever device this is; for the test that compares the two.
  void step_with_operators(double learning_rate, double weight_decay);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace med3d::nn
