#include "med3d/nn/fusion_net.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/core/random.h"
#include "med3d/nn/internal/fusion_rows.h"
#include "med3d/nn/internal/layers.h"
#include "med3d/nn/internal/trainer.h"

namespace med3d::nn {
namespace {

std::size_t row_width(const std::vector<std::size_t>& block_inputs) {
  return std::accumulate(block_inputs.begin(), block_inputs.end(), block_inputs.size());
}

NetworkSpec network_spec(const FusionOptions& options,
                         const std::vector<std::size_t>& block_inputs) {
  NetworkSpec spec;
  spec.inputs = row_width(block_inputs);
  spec.projection =
      options.mode == FusionMode::kMean ? static_cast<std::size_t>(options.projection) : 0;
  spec.hidden = options.hidden;
  spec.dropout = options.dropout;
  spec.batch_norm = options.batch_norm;
  LossSpec loss;
  loss.kind = options.training.loss;
  spec.outputs = loss.columns();
  return spec;
}

// projection.weight (P, sum d_k + K) as [W_1 ... W_K b_1 ... b_K], to projection<k>.weight and
// .bias, and back.
Parameters split_projection(const Parameter& joined, const std::vector<std::size_t>& block_inputs) {
  Parameters parts;
  const auto rows = static_cast<std::size_t>(joined.shape[0]);
  const std::size_t width = row_width(block_inputs);
  std::size_t first = 0;
  for (std::size_t k = 0; k < block_inputs.size(); ++k) {
    const std::size_t d = block_inputs[k];
    const std::string name = "projection" + std::to_string(k + 1);
    Parameter weight{name + ".weight", {rows, d}, {}};
    Parameter bias{name + ".bias", {rows}, {}};
    for (std::size_t r = 0; r < rows; ++r) {
      const float* row = joined.values.data() + r * width;
      weight.values.insert(weight.values.end(), row + first, row + first + d);
      bias.values.push_back(row[width - block_inputs.size() + k]);
    }
    parts.push_back(std::move(weight));
    parts.push_back(std::move(bias));
    first += d;
  }
  return parts;
}

Parameter join_projection(const Parameters& parts,
                          std::size_t rows,
                          const std::vector<std::size_t>& block_inputs) {
  const std::size_t width = row_width(block_inputs);
  Parameter joined{"projection.weight", {rows, width}, std::vector<float>(rows * width)};
  std::size_t first = 0;
  for (std::size_t k = 0; k < block_inputs.size(); ++k) {
    const std::size_t d = block_inputs[k];
    const std::string name = "projection" + std::to_string(k + 1);
    const Parameter& weight = find_parameter(parts, name + ".weight");
    const Parameter& bias = find_parameter(parts, name + ".bias");
    check_parameter(weight, {rows, d});
    check_parameter(bias, {rows});
    for (std::size_t r = 0; r < rows; ++r) {
      std::copy_n(weight.values.data() + r * d, d, joined.values.data() + r * width + first);
      joined.values[r * width + width - block_inputs.size() + k] = bias.values[r];
    }
    first += d;
  }
  return joined;
}

// The network draws its first layer as one map of all columns, uniform in +-1 / sqrt(width); each
// block's own layer has the bound 1 / sqrt(d_k), for weight and bias.
void rescale_projection(Network& network, const std::vector<std::size_t>& block_inputs) {
  Parameters parameters = network.parameters();
  for (Parameter& parameter : parameters) {
    if (parameter.name != "projection.weight") continue;
    const std::size_t width = row_width(block_inputs);
    const std::size_t bias_column = width - block_inputs.size();
    for (std::size_t r = 0; r < parameter.shape[0]; ++r) {
      float* row = parameter.values.data() + r * width;
      std::size_t column = 0;
      for (std::size_t k = 0; k < block_inputs.size(); ++k) {
        const auto factor = static_cast<float>(
            std::sqrt(static_cast<double>(width) / static_cast<double>(block_inputs[k])));
        for (std::size_t j = 0; j < block_inputs[k]; ++j) row[column++] *= factor;
        row[bias_column + k] *= factor;
      }
    }
  }
  network.load(parameters);
}

Matrix<float> rows_of(const FusionInput& input,
                      const std::vector<Standardise>& standardise,
                      FusionMode mode,
                      std::size_t width) {
  Matrix<float> rows(input.present.rows(), width);
  for (std::size_t i = 0; i < rows.rows(); ++i) {
    fusion_row(
        input, standardise, mode, i, input.present.row(i), 0.0F, nullptr, rows.row(i).data());
  }
  return rows;
}

class FusionTask : public TrainingTask {
 public:
  FusionTask(const FusionInput& input,
             std::span<const std::uint8_t> y,
             const std::vector<Standardise>& standardise,
             const FusionOptions& options,
             std::size_t width,
             Matrix<float> rows_val,
             std::span<const std::uint8_t> y_val)
      : input_(input),
        y_(y),
        standardise_(standardise),
        mode_(options.mode),
        width_(width),
        modality_dropout_(options.training.modality_dropout),
        noise_sd_(static_cast<float>(options.training.feature_noise)),
        rows_val_(std::move(rows_val)),
        y_val_(y_val),
        noise_(derive_seed(options.training.seed, "noise")),
        modality_(derive_seed(options.training.seed, "modality dropout")) {}

  std::span<const std::uint8_t> labels() const override { return y_; }

  void make_batch(std::span<const std::size_t> items, std::vector<float>& rows) override {
    rows.resize(items.size() * width_);
    for (std::size_t i = 0; i < items.size(); ++i) {
      const auto present = input_.present.row(items[i]);
      mask_.assign(present.begin(), present.end());
      if (modality_dropout_ > 0.0) drop_modalities(mask_, modality_dropout_, modality_);
      fusion_row(input_,
                 standardise_,
                 mode_,
                 items[i],
                 mask_,
                 noise_sd_,
                 &noise_,
                 rows.data() + i * width_);
    }
  }

  std::span<const std::uint8_t> validation_labels() const override { return y_val_; }
  std::vector<float> validation_logits(const Network& network) const override {
    return network.evaluate(rows_val_.data(), rows_val_.rows());
  }

 private:
  const FusionInput& input_;
  std::span<const std::uint8_t> y_;
  const std::vector<Standardise>& standardise_;
  FusionMode mode_;
  std::size_t width_;
  double modality_dropout_;
  float noise_sd_;
  Matrix<float> rows_val_;
  std::span<const std::uint8_t> y_val_;
  RandomStream noise_;
  RandomStream modality_;
  std::vector<std::uint8_t> mask_;
};

}  // namespace

struct FusionNet::Impl {
  FusionMode mode;
  std::vector<std::size_t> block_inputs;
  std::vector<Standardise> standardise;
  LossSpec loss;
  Network network;
  LearningCurve curve;

  Matrix<float> rows(const FusionInput& input) const {
    check_fusion_input(input, block_inputs, "fusion input");
    return rows_of(input, standardise, mode, network.spec().inputs);
  }
};

void FusionOptions::validate() const {
  training.validate();
  check_layers("FusionNet", hidden, dropout);
  check_batch_norm("FusionNet", batch_norm, training.batch_size);
  if (mode == FusionMode::kMean && (projection < 1 || projection > 65536)) {
    throw Error(
        ErrorKind::kUsage,
        "FusionNet: projection is " + std::to_string(projection) + " wide, expected 1 to 65536");
  }
}

FusionNet FusionNet::fit(const FusionInput& input,
                         std::span<const std::uint8_t> y,
                         const FusionOptions& options,
                         const FusionInput* input_val,
                         std::span<const std::uint8_t> y_val) {
  options.validate();
  std::vector<std::size_t> block_inputs;
  for (const Matrix<float>& block : input.blocks) block_inputs.push_back(block.cols());
  check_fusion_input(input, block_inputs, "fusion training input");
  if (input.present.rows() != y.size()) {
    throw Error(ErrorKind::kData,
                "fusion training input: " + std::to_string(input.present.rows()) + " rows but " +
                    std::to_string(y.size()) + " labels");
  }
  if (input_val != nullptr) {
    check_fusion_input(*input_val, block_inputs, "fusion validation input");
  }
  const std::size_t n_val = input_val == nullptr ? 0 : input_val->present.rows();
  if (n_val != y_val.size()) {
    throw Error(ErrorKind::kData,
                "fusion validation input: " + std::to_string(n_val) + " rows but " +
                    std::to_string(y_val.size()) + " labels");
  }
  const LossSpec loss = make_loss(options.training, y);
  auto impl = std::make_unique<Impl>(Impl{
      options.mode,
      block_inputs,
      standardise_blocks(input),
      loss,
      Network(network_spec(options, block_inputs), options.training.device, options.training.seed),
      {}});
  if (options.mode == FusionMode::kMean) rescale_projection(impl->network, block_inputs);
  const std::size_t width = row_width(block_inputs);
  Matrix<float> rows_val;
  if (input_val != nullptr) rows_val = rows_of(*input_val, impl->standardise, options.mode, width);
  FusionTask task(input, y, impl->standardise, options, width, std::move(rows_val), y_val);
  impl->curve = train(impl->network, task, loss, options.training);
  return FusionNet(std::move(impl));
}

std::vector<double> FusionNet::predict(const FusionInput& input) const {
  const Matrix<float> rows = impl_->rows(input);
  const std::vector<float> logits = impl_->network.evaluate(rows.data(), rows.rows());
  std::vector<double> p(rows.rows());
  for (std::size_t i = 0; i < p.size(); ++i) {
    p[i] = probability(impl_->loss, logits.data() + i * impl_->loss.columns());
  }
  return p;
}

Matrix<float> FusionNet::embed(const FusionInput& input, int layer) const {
  check_layer("FusionNet",
              layer,
              impl_->network.spec().hidden.size(),
              impl_->mode == FusionMode::kMean ? 0 : 1);
  const Matrix<float> rows = impl_->rows(input);
  return impl_->network.hidden(rows.data(), rows.rows(), static_cast<std::size_t>(layer));
}

const LearningCurve& FusionNet::curve() const { return impl_->curve; }
std::vector<std::size_t> FusionNet::block_inputs() const { return impl_->block_inputs; }

Parameters FusionNet::parameters() const {
  Parameters result = standardise_parameters(impl_->standardise);
  for (Parameter& parameter : impl_->network.parameters()) {
    if (parameter.name == "projection.weight") {
      for (Parameter& part : split_projection(parameter, impl_->block_inputs)) {
        result.push_back(std::move(part));
      }
    } else {
      result.push_back(std::move(parameter));
    }
  }
  return result;
}

FusionNet FusionNet::from_parameters(const FusionOptions& options,
                                     const std::vector<std::size_t>& block_inputs,
                                     const Parameters& parameters) {
  options.validate();
  std::vector<Standardise> standardise = read_standardise(parameters, block_inputs);
  LossSpec loss;
  loss.kind = options.training.loss;
  auto impl = std::make_unique<Impl>(
      Impl{options.mode,
           block_inputs,
           std::move(standardise),
           loss,
           Network(network_spec(options, block_inputs), options.training.device, 0),
           {}});
  Parameters joined = parameters;
  if (options.mode == FusionMode::kMean) {
    joined.push_back(
        join_projection(parameters, static_cast<std::size_t>(options.projection), block_inputs));
  }
  impl->network.load(joined);
  FusionNet net(std::move(impl));
  refuse_unknown_parameters(parameters, net.parameters());
  return net;
}

FusionNet::FusionNet(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
FusionNet::~FusionNet() = default;
FusionNet::FusionNet(FusionNet&&) noexcept = default;
FusionNet& FusionNet::operator=(FusionNet&&) noexcept = default;

}  // namespace med3d::nn
