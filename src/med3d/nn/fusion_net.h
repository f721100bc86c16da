// Early fusion: one net over the embeddings of all modalities, whichever of them a patient has.
//
//   x_k   block of modality k, standardised by the mean and standard deviation of the training rows
//         that have it; m_k = 1 where it is present
//
//   kConcat   z = [m_1 x_1, ..., m_K x_K, m_1, ..., m_K]                      -> MLP
//   kMean     z = sum_k m_k f_k / (sum_k m_k + 1e-6),  f_k = W_k x_k + b_k    -> MLP
//
// The mask bits tell the net "absent" from "average". kMean projects because the blocks differ in
// width (64, 1024, 512 in the paper), so they have no mean as they are. Values of absent blocks are
// never read: they may be NaN.
//
// Modality dropout (training.modality_dropout = p) hides each present modality of a training row
// with probability p, its mask bit too; a row that would lose all keeps one of them, drawn evenly.
// So the net learns every subset, not only the complete rows.
//
// Source: the paper, 3.5, 5.4 and 5.4.2; the masked mean as in the public reimplementation for
// MMIST-ccRCC; modality dropout after Neverova et al., IEEE TPAMI 38(8), 2016, arXiv:1501.00102.
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

struct FusionInput {
  std::vector<Matrix<float>> blocks;  // K of (n, d_k); rows of absent modalities hold anything
  Matrix<std::uint8_t> present;       // (n, K) 1 = available; at least one in each row
};

enum class FusionMode { kConcat, kMean };

struct FusionOptions {
  FusionMode mode = FusionMode::kConcat;
  // Width of f_k, read for kMean alone: the size of the paper's own radiology embedding (5.2.5).
  int projection = 128;
  // The paper says "a unified MLP classifier" (3.5): its two-layer baseline (5.4.1), 128-64.
  std::vector<int> hidden = {128, 64};
  std::vector<double> dropout = {0.3, 0.3};
  bool batch_norm = true;
  TrainingOptions training;

  // Throws Error(kUsage).
  void validate() const;
};

class FusionNet {
 public:
  // Every modality must be present in some training row; present values must be finite.
  // Throws Error(kUsage | kData | kUnsupported | kNumerical).
  static FusionNet fit(const FusionInput& input,
                       std::span<const std::uint8_t> y,
                       const FusionOptions& options,
                       const FusionInput* input_val = nullptr,
                       std::span<const std::uint8_t> y_val = {});

  // P(positive) from any non-empty subset of the modalities. Throws Error(kData) for a row that has
  // none. Safe from several threads at once, as is embed().
  std::vector<double> predict(const FusionInput& input) const;

  // (n, hidden[layer - 1]) after ReLU; with kMean layer 0 is z (n, projection).
  Matrix<float> embed(const FusionInput& input, int layer) const;

  const LearningCurve& curve() const;
  std::vector<std::size_t> block_inputs() const;  // d_k

  // standardise1.mean (d_1,), standardise1.scale (d_1,), ..., with kMean projection1.weight
  // (projection, d_1), projection1.bias, ..., then fc1.weight, ... as in Mlp.
  Parameters parameters() const;
  // The same predictions, bit for bit; reads mode, layers, batch norm, loss and device.
  static FusionNet from_parameters(const FusionOptions& options,
                                   const std::vector<std::size_t>& block_inputs,
                                   const Parameters& parameters);

  ~FusionNet();
  FusionNet(FusionNet&&) noexcept;
  FusionNet& operator=(FusionNet&&) noexcept;

 private:
  struct Impl;
  explicit FusionNet(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace med3d::nn
