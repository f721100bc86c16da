// Networks for time to event: a log relative hazard (DeepSurv), or hazards of a few intervals
// (PORPOISE, MCAT), from any subset of modality blocks.
//
//   rows   as FusionNet makes them: masked blocks side by side, or the masked mean of projections;
//          one block alone is an ordinary perceptron
//   kCox        one output f(x); loss = -(1/events) log partial likelihood of f, Efron's ties
//   kDiscrete   J outputs z_j; h_j = sigmoid(z_j), S_j = prod_{i <= j} (1 - h_i), S_{-1} = 1
//               y = the interval of the time; with eps = 1e-7 under each logarithm
//               event:    u = -log S_{y-1} - log h_y        censored: c = -log S_y
//               loss = mean over rows of (1 - alpha) (u or c) + alpha (u, or 0 where censored)
//
// The partial likelihood compares patients, so a batch is its own risk set: the default is all rows
// in one batch. A batch without events teaches nothing and is left out.
//
// Source: Katzman et al., BMC Med Res Methodol 18:24, 2018 (DeepSurv); Zadeh and Schmid, IEEE TPAMI
// 2021, doi:10.1109/TPAMI.2020.2979450, as PORPOISE and MCAT use it (4 intervals, alpha 0).
// Checked against: by hand, central differences, cox_log_likelihood (R survival).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "med3d/core/matrix.h"
#include "med3d/nn/device.h"
#include "med3d/nn/fusion_net.h"
#include "med3d/nn/parameters.h"
#include "med3d/stats/survival/times.h"

namespace med3d::nn {

struct SurvivalNetOptions {
  enum class Loss { kCox, kDiscrete };
  Loss loss = Loss::kCox;
  // kDiscrete: inner boundaries in months, rising: interval j holds cuts[j-1] <= time < cuts[j].
  std::vector<double> cuts;
  // kDiscrete: weight taken from the censored patients, in [0, 1). PORPOISE's default is 0.
  double alpha = 0.0;

  FusionMode mode = FusionMode::kConcat;
  int projection = 64;             // kMean alone
  std::vector<int> hidden = {32};  // small: some hundred patients, a hundred events
  std::vector<double> dropout = {0.3};
  bool batch_norm = false;  // the whole set is one batch: nothing to normalise over
  int epochs = 60;
  int batch_size = 0;             // rows a step; 0 = all
  double learning_rate = 3e-3;    // Adam
  double weight_decay = 1e-2;     // added to the gradient
  double modality_dropout = 0.0;  // as TrainingOptions has it
  std::uint64_t seed = 0;
  DeviceKind device = DeviceKind::kCpu;

  std::size_t outputs() const { return loss == Loss::kCox ? 1 : cuts.size() + 1; }
  void validate() const;  // throws Error(kUsage)
};

class SurvivalNet {
 public:
  // Blocks are standardised inside by the rows that have them. Runs on the calling thread alone.
  // Cost: about epochs passes over the rows.
  // Throws Error(kUsage | kUnsupported | kNumerical), Error(kData) for rows without an event.
  static SurvivalNet fit(const FusionInput& input,
                         const stats::survival::SurvivalTimes& times,
                         const SurvivalNetOptions& options);

  // (n, 1) log relative hazards, or (n, intervals) hazards in (0, 1). Safe from several threads.
  Matrix<double> predict(const FusionInput& input) const;

  const std::vector<double>& training_loss()
      const;  // one an epoch; empty for a net that was loaded
  Parameters parameters() const;
  // The same predictions, bit for bit; reads loss, cuts, mode, layers, batch norm and device.
  // Throws Error(kFormat | kData).
  static SurvivalNet from_parameters(const SurvivalNetOptions& options,
                                     const std::vector<std::size_t>& block_inputs,
                                     const Parameters& parameters);

  ~SurvivalNet();
  SurvivalNet(SurvivalNet&&) noexcept;
  SurvivalNet& operator=(SurvivalNet&&) noexcept;

 private:
  struct Impl;
  explicit SurvivalNet(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// The interval of each time under these boundaries.
std::vector<std::size_t> interval_of(std::span<const double> time_months,
                                     std::span<const double> cuts);

// The loss of kDiscrete over rows of logits (n, intervals), and its gradient (or empty).
double discrete_nll(const Matrix<float>& logits,
                    std::span<const std::size_t> interval,
                    std::span<const std::uint8_t> event,
                    double alpha,
                    std::span<float> gradient);

}  // namespace med3d::nn
