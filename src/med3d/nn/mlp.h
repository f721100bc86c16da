// The multilayer perceptron of the paper: clinical variables, or any embedding, to P(positive).
//
//   x -> [Linear -> BatchNorm1d -> ReLU -> Dropout] for each hidden layer -> Linear -> P
//
// P is the softmax probability of the second logit, or the sigmoid of the only one, as the loss
// asks. Features are taken as they come: scale and impute before. The order of layers is the one of
// reference implementations; the paper names the parts only (5.1.3).
//
// Source: the paper, 5.1.3 (17-256-128-64) and 5.4.1 (two hidden layers, label smoothing).
// Checked against: PyTorch 1.13, five Adam steps from fixed weights (tests/reference/mlp_steps.py).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "med3d/core/matrix.h"
#include "med3d/nn/parameters.h"
#include "med3d/nn/training.h"

namespace med3d::nn {

struct MlpOptions {
  // Widths of the hidden layers (paper 5.1.3). At least one.
  std::vector<int> hidden = {256, 128, 64};
  // Probability of dropping an element, one for each hidden layer, in [0, 1): 0.3 in the first two
  // (paper 5.1.3).
  std::vector<double> dropout = {0.3, 0.3, 0.0};
  // Batch norm after each hidden linear layer (paper 5.1.3).
  bool batch_norm = true;
  TrainingOptions training;

  // Throws Error(kUsage).
  void validate() const;
};

class Mlp {
 public:
  // x (n, inputs) finite; y (n,) in {0, 1}, both present. x_val (m, inputs) and y_val (m,) are
  // watched, never trained on. Runs on the calling thread alone: fit many side by side.
  // Cost: about 0.3 ms a step of 32 rows for the default net.
  // Throws Error(kUsage | kData | kUnsupported | kNumerical).
  static Mlp fit(const Matrix<float>& x,
                 std::span<const std::uint8_t> y,
                 const MlpOptions& options,
                 const Matrix<float>* x_val = nullptr,
                 std::span<const std::uint8_t> y_val = {});

  // P(positive) for each row, in [0, 1]. Safe from several threads at once, as is embed().
  std::vector<double> predict(const Matrix<float>& x) const;

  // (n, hidden[layer - 1]): the output of hidden layer `layer` (from 1) after ReLU, without
  // dropout. The paper fuses the third ("fc3", 64) and draws the first.
  Matrix<float> embed(const Matrix<float>& x, int layer) const;

  const LearningCurve& curve() const;  // empty for a net that was loaded
  std::size_t inputs() const;

  // fc1.weight (256, 17), fc1.bias, bn1.weight, ..., out.weight, out.bias, then bn1.running_mean,
  // bn1.running_var, ...
  Parameters parameters() const;
  // The same predictions, bit for bit. Only the layers, batch norm, loss and device of the options
  // are read. Throws Error(kFormat | kData) naming the first tensor that does not fit.
  static Mlp from_parameters(const MlpOptions& options,
                             std::size_t inputs,
                             const Parameters& parameters);

  ~Mlp();
  Mlp(Mlp&&) noexcept;
  Mlp& operator=(Mlp&&) noexcept;

 private:
  struct Impl;
  explicit Mlp(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace med3d::nn
