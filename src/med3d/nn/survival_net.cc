#include "med3d/nn/survival_net.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/core/random.h"
#include "med3d/core/text.h"
#include "med3d/nn/internal/fusion_rows.h"
#include "med3d/nn/internal/layers.h"
#include "med3d/nn/internal/loss.h"
#include "med3d/nn/internal/network.h"
#include "med3d/nn/internal/trainer.h"
#include "med3d/stats/survival/cox.h"

namespace med3d::nn {
namespace {

using stats::survival::SurvivalTimes;
using Loss = SurvivalNetOptions::Loss;

constexpr double kFloor = 1e-7;  // under each logarithm

[[noreturn]] void usage(const std::string& message) {
  throw Error(ErrorKind::kUsage, "SurvivalNet: " + message);
}

NetworkSpec network_spec(const SurvivalNetOptions& options,
                         const std::vector<std::size_t>& block_inputs) {
  NetworkSpec spec;
  spec.inputs = std::accumulate(block_inputs.begin(), block_inputs.end(), block_inputs.size());
  spec.projection =
      options.mode == FusionMode::kMean ? static_cast<std::size_t>(options.projection) : 0;
  spec.hidden = options.hidden;
  spec.dropout = options.dropout;
  spec.batch_norm = options.batch_norm;
  spec.outputs = options.outputs();
  return spec;
}

std::vector<std::size_t> widths_of(const FusionInput& input) {
  std::vector<std::size_t> widths;
  for (const auto& block : input.blocks) widths.push_back(block.cols());
  return widths;
}

// Loss per event of a batch, and its gradient in the outputs.
double cox_loss(const SurvivalTimes& times,
                const std::vector<float>& outputs,
                std::vector<float>& gradient) {
  const std::vector<double> f(outputs.begin(), outputs.end());
  std::vector<double> slope(f.size());
  const double likelihood =
      stats::survival::cox_log_likelihood(times, f, stats::survival::Ties::kEfron, slope);
  const auto events = static_cast<double>(times.n_events());
  gradient.resize(f.size());
  for (std::size_t i = 0; i < f.size(); ++i) {
    gradient[i] = static_cast<float>(-slope[i] / events);
  }
  return -likelihood / events;
}

}  // namespace

struct SurvivalNet::Impl {
  SurvivalNetOptions options;
  std::vector<std::size_t> block_inputs;
  std::vector<Standardise> standardise;
  Network network;
  std::vector<double> training_loss;
};

void SurvivalNetOptions::validate() const {
  check_layers("SurvivalNet", hidden, dropout);
  if (batch_norm && batch_size != 0) check_batch_norm("SurvivalNet", batch_norm, batch_size);
  if (epochs < 1) usage("epochs is " + std::to_string(epochs) + ", expected at least 1");
  if (batch_size != 0 && batch_size < 2) {
    usage("batch_size is " + std::to_string(batch_size) + ", expected 0 (all rows) or at least 2");
  }
  if (!(learning_rate > 0.0) || !std::isfinite(learning_rate)) {
    usage("learning_rate is " + format_double(learning_rate) + ", expected above 0");
  }
  if (!(weight_decay >= 0.0) || !std::isfinite(weight_decay)) {
    usage("weight_decay is " + format_double(weight_decay) + ", expected 0 or more");
  }
  if (!(modality_dropout >= 0.0 && modality_dropout < 1.0)) {
    usage("modality_dropout is " + format_double(modality_dropout) + ", expected [0, 1)");
  }
  if (!(alpha >= 0.0 && alpha < 1.0)) {
    usage("alpha is " + format_double(alpha) + ", expected [0, 1)");
  }
  if (mode == FusionMode::kMean && (projection < 1 || projection > 65536)) {
    usage("projection is " + std::to_string(projection) + " wide, expected 1 to 65536");
  }
  if (loss == Loss::kDiscrete) {
    if (cuts.empty()) usage("discrete time needs at least one boundary between intervals");
    for (std::size_t j = 0; j < cuts.size(); ++j) {
      if (!std::isfinite(cuts[j]) || (j > 0 && cuts[j] <= cuts[j - 1])) {
        usage("boundary " + std::to_string(j + 1) + " is " + format_double(cuts[j]) +
              ", expected finite and rising");
      }
    }
  }
}

std::vector<std::size_t> interval_of(std::span<const double> time_months,
                                     std::span<const double> cuts) {
  std::vector<std::size_t> out;
  for (const double t : time_months) {
    out.push_back(
        static_cast<std::size_t>(std::upper_bound(cuts.begin(), cuts.end(), t) - cuts.begin()));
  }
  return out;
}

double discrete_nll(const Matrix<float>& logits,
                    std::span<const std::size_t> interval,
                    std::span<const std::uint8_t> event,
                    double alpha,
                    std::span<float> gradient) {
  const std::size_t intervals = logits.cols();
  const auto n = static_cast<double>(logits.rows());
  std::fill(gradient.begin(), gradient.end(), 0.0F);
  double total = 0.0;
  const double floor = std::log(kFloor);
  for (std::size_t i = 0; i < logits.rows(); ++i) {
    // log S before the interval, and log h or log(1 - h) in it, without leaving the logarithm.
    const std::size_t y = interval[i];
    const bool seen = event[i] != 0;
    const double weight = seen ? 1.0 : 1.0 - alpha;
    double before = 0.0;
    for (std::size_t j = 0; j < y; ++j) before -= softplus(static_cast<double>(logits(i, j)));
    const double z = static_cast<double>(logits(i, y));
    const double survived = seen ? before : before - softplus(z);
    const double hazard = seen ? -softplus(-z) : 0.0;
    total += weight * (-std::max(survived, floor) - std::max(hazard, floor));
    if (gradient.empty()) continue;
    // A term at its floor has no slope.
    const std::size_t last = seen ? y : y + 1;
    if (survived > floor) {
      for (std::size_t j = 0; j < last; ++j) {
        gradient[i * intervals + j] +=
            static_cast<float>(weight * sigmoid(static_cast<double>(logits(i, j))) / n);
      }
    }
    if (seen && hazard > floor) {
      gradient[i * intervals + y] += static_cast<float>(weight * (sigmoid(z) - 1.0) / n);
    }
  }
  return total / n;
}

SurvivalNet SurvivalNet::fit(const FusionInput& input,
                             const SurvivalTimes& times,
                             const SurvivalNetOptions& options) {
  options.validate();
  const auto widths = widths_of(input);
  check_fusion_input(input, widths, "survival training input");
  const std::size_t n = input.present.rows();
  if (times.size() != n) {
    throw Error(ErrorKind::kData,
                "survival training input: " + std::to_string(n) + " rows but " +
                    std::to_string(times.size()) + " times");
  }
  if (times.n_events() == 0) {
    throw Error(ErrorKind::kData, "survival training input: no event among the rows");
  }
  auto impl = std::make_unique<Impl>(
      Impl{options,
           widths,
           standardise_blocks(input),
           Network(network_spec(options, widths), options.device, options.seed),
           {}});
  Network& network = impl->network;
  const std::size_t width = network.spec().inputs;
  const auto interval = interval_of(times.time_months(), options.cuts);
  const std::size_t batch_size =
      options.batch_size == 0 ? n : static_cast<std::size_t>(options.batch_size);
  RandomStream order_random(derive_seed(options.seed, "order"));
  RandomStream dropout(derive_seed(options.seed, "dropout"));
  RandomStream modality(derive_seed(options.seed, "modality dropout"));

  std::vector<std::size_t> order(n);
  std::vector<float> rows;
  std::vector<float> outputs;
  std::vector<float> gradient;
  std::vector<std::uint8_t> mask;
  for (int epoch = 0; epoch < options.epochs; ++epoch) {
    std::iota(order.begin(), order.end(), std::size_t{0});
    order_random.shuffle(order);
    double loss_sum = 0.0;
    double items_sum = 0.0;
    std::size_t begin = 0;
    for (const std::size_t end : batch_ends(n, batch_size)) {
      const std::span<const std::size_t> items(order.data() + begin, end - begin);
      begin = end;
      const SurvivalTimes batch = times.take(items);
      if (options.loss == Loss::kCox && batch.n_events() == 0) continue;
      rows.resize(items.size() * width);
      for (std::size_t i = 0; i < items.size(); ++i) {
        const auto present = input.present.row(items[i]);
        mask.assign(present.begin(), present.end());
        if (options.modality_dropout > 0.0) {
          drop_modalities(mask, options.modality_dropout, modality);
        }
        fusion_row(input,
                   impl->standardise,
                   options.mode,
                   items[i],
                   mask,
                   0.0F,
                   nullptr,
                   rows.data() + i * width);
      }
      network.forward(rows.data(), items.size(), dropout, outputs);
      double loss = 0.0;
      if (options.loss == Loss::kCox) {
        loss = cox_loss(batch, outputs, gradient);
      } else {
        Matrix<float> logits(items.size(), options.outputs());
        std::copy(outputs.begin(), outputs.end(), logits.data());
        std::vector<std::size_t> of_batch;
        for (const std::size_t item : items) of_batch.push_back(interval[item]);
        gradient.resize(outputs.size());
        loss = discrete_nll(logits, of_batch, batch.event(), options.alpha, gradient);
      }
      if (!std::isfinite(loss)) {
        throw Error(ErrorKind::kNumerical,
                    "SurvivalNet: epoch " + std::to_string(epoch + 1) +
                        ": the training loss is no finite number; lower the learning rate (" +
                        format_double(options.learning_rate) + ")");
      }
      network.backward(gradient);
      network.step(options.learning_rate, options.weight_decay);
      loss_sum += loss * static_cast<double>(items.size());
      items_sum += static_cast<double>(items.size());
    }
    impl->training_loss.push_back(loss_sum / items_sum);
  }
  return SurvivalNet(std::move(impl));
}

Matrix<double> SurvivalNet::predict(const FusionInput& input) const {
  check_fusion_input(input, impl_->block_inputs, "survival input");
  const std::size_t n = input.present.rows();
  const std::size_t width = impl_->network.spec().inputs;
  std::vector<float> rows(n * width);
  for (std::size_t i = 0; i < n; ++i) {
    fusion_row(input,
               impl_->standardise,
               impl_->options.mode,
               i,
               input.present.row(i),
               0.0F,
               nullptr,
               rows.data() + i * width);
  }
  const auto outputs = impl_->network.evaluate(rows.data(), n);
  Matrix<double> out(n, impl_->options.outputs());
  const bool hazards = impl_->options.loss == Loss::kDiscrete;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const auto z = static_cast<double>(outputs[i]);
    out.data()[i] = hazards ? sigmoid(z) : z;
  }
  return out;
}

const std::vector<double>& SurvivalNet::training_loss() const { return impl_->training_loss; }

Parameters SurvivalNet::parameters() const {
  Parameters out = standardise_parameters(impl_->standardise);
  for (auto& parameter : impl_->network.parameters()) out.push_back(std::move(parameter));
  return out;
}

SurvivalNet SurvivalNet::from_parameters(const SurvivalNetOptions& options,
                                         const std::vector<std::size_t>& block_inputs,
                                         const Parameters& parameters) {
  options.validate();
  std::vector<Standardise> standardise = read_standardise(parameters, block_inputs);
  auto impl =
      std::make_unique<Impl>(Impl{options,
                                  block_inputs,
                                  std::move(standardise),
                                  Network(network_spec(options, block_inputs), options.device, 0),
                                  {}});
  impl->network.load(parameters);
  SurvivalNet net(std::move(impl));
  refuse_unknown_parameters(parameters, net.parameters());
  return net;
}

SurvivalNet::SurvivalNet(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SurvivalNet::~SurvivalNet() = default;
SurvivalNet::SurvivalNet(SurvivalNet&&) noexcept = default;
SurvivalNet& SurvivalNet::operator=(SurvivalNet&&) noexcept = default;

}  // namespace med3d::nn
