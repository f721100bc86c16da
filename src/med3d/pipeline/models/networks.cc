#include <algorithm>

#include "med3d/core/error.h"
#include "med3d/core/limits.h"
#include "med3d/core/random.h"
#include "med3d/core/text.h"
#include "med3d/pipeline/models/networks_internal.h"

namespace med3d::pipeline {

nn::DeviceKind device_of(const RunSettings& settings) {
  if (settings.run.device == "cpu") return nn::DeviceKind::kCpu;
  if (settings.run.device == "cuda") return nn::DeviceKind::kCuda;
  return nn::DeviceKind::kAuto;
}

std::uint64_t member_seed(const FitRequest& request, int member) {
  return derive_seed(request.seed, "member", {static_cast<std::uint64_t>(member)});
}

nn::Pool pool_of(const std::string& name) {
  if (name == "mean") return nn::Pool::kMean;
  if (name == "noisy_or") return nn::Pool::kNoisyOr;
  if (name == "attention") return nn::Pool::kAttention;
  return nn::Pool::kMax;
}

nn::MlpOptions mlp_options(const std::vector<int>& hidden,
                           const std::vector<double>& dropout,
                           bool batch_norm,
                           const FitSettings& fit,
                           std::uint64_t seed,
                           nn::DeviceKind device,
                           bool has_validation) {
  nn::MlpOptions options;
  options.hidden = hidden;
  options.dropout = dropout;
  options.dropout.resize(hidden.size(), 0.0);
  options.batch_norm = batch_norm;
  options.training = fit.training(seed, device, has_validation);
  return options;
}

std::string word_of(const Json& json, const char* key, const std::vector<std::string>& allowed) {
  const auto word = json.at(key).get<std::string>();
  if (std::find(allowed.begin(), allowed.end(), word) == allowed.end()) {
    throw Error(ErrorKind::kFormat,
                fmt::format("'{}' is '{}', expected one of {}", key, word, join(allowed, ", ")));
  }
  return word;
}

std::vector<int> hidden_of(const Json& json, std::uint64_t inputs, const nn::Parameters& arrays) {
  const auto hidden = json.at("hidden").get<std::vector<int>>();
  std::uint64_t held = 0;
  for (const auto& array : arrays) held += array.values.size();
  std::uint64_t needed = 0;
  std::uint64_t width = inputs;
  for (const int next : hidden) {
    if (next < 1 || width < 1) {
      throw Error(ErrorKind::kFormat, "'inputs' or 'hidden' has a width below 1");
    }
    needed = checked_add(
        needed, checked_multiply(width, static_cast<std::uint64_t>(next), "'hidden'"), "'hidden'");
    width = static_cast<std::uint64_t>(next);
  }
  if (hidden.empty() || needed > held) {
    throw Error(ErrorKind::kFormat,
                fmt::format("'inputs' and 'hidden' make a network of at least {} numbers, the "
                            "arrays hold {}",
                            needed,
                            held));
  }
  return hidden;
}

std::size_t members_of(const Json& json) {
  const auto members = json.at("members").get<std::size_t>();
  if (members == 0) throw Error(ErrorKind::kFormat, "'members' is 0, expected at least 1");
  return members;
}

nn::Parameters arrays_of(const Json& json, const TensorStore& store, std::size_t member) {
  return store.get(fmt::format("{}/{}", json.at("tensors").get<std::string>(), member));
}

Json to_json(const nn::MlpOptions& options, std::size_t inputs) {
  return {
      {"inputs", inputs},
      {"hidden", options.hidden},
      {"batch_norm", options.batch_norm},
      {"loss", options.training.loss == nn::TrainingOptions::Loss::kBce ? "bce" : "cross_entropy"}};
}

nn::MlpOptions mlp_options_from(const Json& json, const TensorStore& store) {
  nn::MlpOptions options;
  options.hidden =
      hidden_of(json, json.at("inputs").get<std::uint64_t>(), arrays_of(json, store, 0));
  options.dropout.assign(options.hidden.size(), 0.0);
  options.batch_norm = json.at("batch_norm").get<bool>();
  options.training.loss = word_of(json, "loss", {"bce", "cross_entropy"}) == "bce"
                              ? nn::TrainingOptions::Loss::kBce
                              : nn::TrainingOptions::Loss::kWeightedCrossEntropy;
  return options;
}

Matrix<float> no_embedding(std::size_t rows, const std::vector<int>& hidden, int layer) {
  return Matrix<float>(rows, static_cast<std::size_t>(hidden[static_cast<std::size_t>(layer - 1)]));
}

Json save_mlps(const Ensemble<nn::Mlp>& members,
               const std::string& name,
               TensorStore& store,
               const nn::MlpOptions& options,
               std::size_t inputs) {
  Json json = to_json(options, inputs);
  members.save(name, store, json);
  return json;
}

Ensemble<nn::Mlp> load_mlps(const Json& json,
                            const TensorStore& store,
                            const nn::MlpOptions& options) {
  const auto inputs = json.at("inputs").get<std::size_t>();
  return Ensemble<nn::Mlp>::load(json, store, [&](const nn::Parameters& parameters) {
    return nn::Mlp::from_parameters(options, inputs, parameters);
  });
}

nn::TrainingOptions FitSettings::training(std::uint64_t seed,
                                          nn::DeviceKind device,
                                          bool has_validation) const {
  nn::TrainingOptions options;
  options.epochs = epochs;
  options.batch_size = batch_size;
  options.learning_rate = learning_rate;
  options.weight_decay = weight_decay;
  options.scheduler = scheduler == "none"     ? nn::TrainingOptions::Scheduler::kNone
                      : scheduler == "step"   ? nn::TrainingOptions::Scheduler::kStep
                      : scheduler == "cosine" ? nn::TrainingOptions::Scheduler::kCosine
                                              : nn::TrainingOptions::Scheduler::kPlateau;
  options.loss = loss == "bce" ? nn::TrainingOptions::Loss::kBce
                               : nn::TrainingOptions::Loss::kWeightedCrossEntropy;
  options.class_weights = class_weights;
  options.label_smoothing = label_smoothing;
  options.sampler = sampler == "weighted" ? nn::TrainingOptions::Sampler::kWeighted
                                          : nn::TrainingOptions::Sampler::kShuffle;
  options.feature_noise = feature_noise;
  options.early_stopping_patience = patience;
  options.select = select == "best_loss" ? nn::TrainingOptions::Select::kBestLoss
                   : select == "best_balanced_accuracy"
                       ? nn::TrainingOptions::Select::kBestBalancedAccuracy
                       : nn::TrainingOptions::Select::kLast;
  if (!has_validation) {
    options.early_stopping_patience = 0;
    options.select = nn::TrainingOptions::Select::kLast;
  }
  options.seed = seed;
  options.device = device;
  return options;
}

}  // namespace med3d::pipeline
