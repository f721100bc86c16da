#include "med3d/nn/mlp.h"

#include <algorithm>
#include <string>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/core/random.h"
#include "med3d/nn/internal/layers.h"
#include "med3d/nn/internal/trainer.h"

namespace med3d::nn {
namespace {

NetworkSpec network_spec(const MlpOptions& options, std::size_t inputs) {
  NetworkSpec spec;
  spec.inputs = inputs;
  spec.hidden = options.hidden;
  spec.dropout = options.dropout;
  spec.batch_norm = options.batch_norm;
  LossSpec loss;
  loss.kind = options.training.loss;
  spec.outputs = loss.columns();
  return spec;
}

class MlpTask : public TrainingTask {
 public:
  MlpTask(const Matrix<float>& x,
          std::span<const std::uint8_t> y,
          const Matrix<float>* x_val,
          std::span<const std::uint8_t> y_val,
          const TrainingOptions& options)
      : x_(x), y_(y), x_val_(x_val), y_val_(y_val), noise_(derive_seed(options.seed, "noise")) {
    if (options.feature_noise > 0.0) {
      noise_sd_ = column_sd(x);
      for (float& sd : noise_sd_) sd *= static_cast<float>(options.feature_noise);
    }
  }

  std::span<const std::uint8_t> labels() const override { return y_; }

  void make_batch(std::span<const std::size_t> items, std::vector<float>& rows) override {
    rows.resize(items.size() * x_.cols());
    float* out = rows.data();
    for (const std::size_t item : items) {
      const auto row = x_.row(item);
      std::copy(row.begin(), row.end(), out);
      for (std::size_t j = 0; j < noise_sd_.size(); ++j) out[j] += noise_sd_[j] * noise_.normal();
      out += x_.cols();
    }
  }

  std::span<const std::uint8_t> validation_labels() const override { return y_val_; }
  std::vector<float> validation_logits(const Network& network) const override {
    return network.evaluate(x_val_->data(), x_val_->rows());
  }

 private:
  const Matrix<float>& x_;
  std::span<const std::uint8_t> y_;
  const Matrix<float>* x_val_;
  std::span<const std::uint8_t> y_val_;
  RandomStream noise_;
  std::vector<float> noise_sd_;  // empty without noise
};

}  // namespace

struct Mlp::Impl {
  LossSpec loss;
  Network network;
  LearningCurve curve;
};

void MlpOptions::validate() const {
  training.validate();
  check_layers("Mlp", hidden, dropout);
  check_batch_norm("Mlp", batch_norm, training.batch_size);
  refuse_modality_dropout("Mlp", training.modality_dropout);
}

Mlp Mlp::fit(const Matrix<float>& x,
             std::span<const std::uint8_t> y,
             const MlpOptions& options,
             const Matrix<float>* x_val,
             std::span<const std::uint8_t> y_val) {
  options.validate();
  check_rows(x, x.cols(), "Mlp training features");
  if (x.rows() != y.size()) {
    throw Error(ErrorKind::kData,
                "Mlp: " + std::to_string(x.rows()) + " training rows but " +
                    std::to_string(y.size()) + " labels");
  }
  if (x_val != nullptr) check_rows(*x_val, x.cols(), "Mlp validation features");
  if ((x_val == nullptr ? 0 : x_val->rows()) != y_val.size()) {
    throw Error(ErrorKind::kData,
                "Mlp: " + std::to_string(x_val == nullptr ? 0 : x_val->rows()) +
                    " validation rows but " + std::to_string(y_val.size()) + " labels");
  }
  const LossSpec loss = make_loss(options.training, y);
  auto impl = std::make_unique<Impl>(
      Impl{loss,
           Network(network_spec(options, x.cols()), options.training.device, options.training.seed),
           {}});
  MlpTask task(x, y, x_val, y_val, options.training);
  impl->curve = train(impl->network, task, loss, options.training);
  return Mlp(std::move(impl));
}

std::vector<double> Mlp::predict(const Matrix<float>& x) const {
  check_rows(x, inputs(), "Mlp features");
  const std::vector<float> logits = impl_->network.evaluate(x.data(), x.rows());
  std::vector<double> p(x.rows());
  for (std::size_t i = 0; i < p.size(); ++i) {
    p[i] = probability(impl_->loss, logits.data() + i * impl_->loss.columns());
  }
  return p;
}

Matrix<float> Mlp::embed(const Matrix<float>& x, int layer) const {
  check_layer("Mlp", layer, impl_->network.spec().hidden.size());
  check_rows(x, inputs(), "Mlp features");
  return impl_->network.hidden(x.data(), x.rows(), static_cast<std::size_t>(layer));
}

const LearningCurve& Mlp::curve() const { return impl_->curve; }
std::size_t Mlp::inputs() const { return impl_->network.spec().inputs; }
Parameters Mlp::parameters() const { return impl_->network.parameters(); }

Mlp Mlp::from_parameters(const MlpOptions& options,
                         std::size_t inputs,
                         const Parameters& parameters) {
  options.validate();
  LossSpec loss;
  loss.kind = options.training.loss;
  auto impl = std::make_unique<Impl>(
      Impl{loss, Network(network_spec(options, inputs), options.training.device, 0), {}});
  impl->network.load(parameters);
  refuse_unknown_parameters(parameters, impl->network.parameters());
  return Mlp(std::move(impl));
}

Mlp::Mlp(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Mlp::~Mlp() = default;
Mlp::Mlp(Mlp&&) noexcept = default;
Mlp& Mlp::operator=(Mlp&&) noexcept = default;

}  // namespace med3d::nn
