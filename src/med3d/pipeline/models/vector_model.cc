#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/core/random.h"
#include "med3d/core/text.h"
#include "med3d/pipeline/models/kinds_internal.h"
#include "med3d/pipeline/models/networks_internal.h"
#include "med3d/pipeline/models/rows_internal.h"
#include "med3d/tabular/standardizer.h"

namespace med3d::pipeline {
namespace {

// How a patient's slides become one vector: mean, attention-weighted mean, or the top slide.
class SlidePooling {
 public:
  static SlidePooling fit(const FitRequest& request,
                          const std::string& rule,
                          const std::vector<std::string>& modalities,
                          const Rows& rows) {
    SlidePooling pooling;
    pooling.rule_ = rule;
    pooling.modalities_ = modalities;
    if (rule == "mean") return pooling;
    auto bags = gather_bags(request.cohort, rows, modalities);
    pooling.inputs_ = bags.instances.cols();
    pooling.standardizer_ = tabular::Standardizer::fit(bags.instances);
    bags.instances = pooling.standardizer_.transform(bags.instances);
    pooling.options_ = attention_options();
    pooling.options_.training = request.settings.wsi_arm.fit.training(
        derive_seed(request.seed, "attention"), device_of(request.settings), false);
    pooling.options_.training.loss = nn::TrainingOptions::Loss::kBce;
    pooling.attention_ = std::make_shared<const nn::BagClassifier>(
        nn::BagClassifier::fit({bags.instances, bags.bag_of_instance},
                               labels_of(request.cohort, bags.chosen.rows),
                               pooling.options_,
                               nullptr,
                               {}));
    return pooling;
  }

  // Rows without an item are zero; `present` tells them.
  VectorBlock apply(const Cohort& cohort, const Rows& rows) const {
    if (rule_ == "mean") return mean_block(cohort, rows, modalities_);
    const auto bags = gather_bags(cohort, rows, modalities_);
    VectorBlock block{Matrix<float>(rows.size(), inputs_),
                      std::vector<std::uint8_t>(rows.size(), 0)};
    if (bags.chosen.rows.empty()) return block;
    const auto weight = attention_->attention_weights(
        {standardizer_.transform(bags.instances), bags.bag_of_instance});
    // The features stay the encoder's own: attention weighs the inputs, not a hidden layer.
    std::vector<double> best(bags.chosen.rows.size(), -1.0);
    for (std::size_t i = 0; i < bags.bag_of_instance.size(); ++i) {
      const std::size_t bag = bags.bag_of_instance[i];
      const std::size_t position = bags.chosen.position[bag];
      block.present[position] = 1;
      auto target = block.values.row(position);
      const auto source = bags.instances.row(i);
      if (rule_ == "attention") {
        for (std::size_t j = 0; j < target.size(); ++j) {
          target[j] += static_cast<float>(weight[i]) * source[j];
        }
      } else if (weight[i] > best[bag]) {
        best[bag] = weight[i];
        std::copy(source.begin(), source.end(), target.begin());
      }
    }
    return block;
  }

  Json save(const std::string& name, TensorStore& store) const {
    Json json = {{"rule", rule_}, {"modalities", modalities_}};
    if (attention_) {
      store.put(name + "/attention", attention_->parameters());
      json["inputs"] = inputs_;
      json["tensors"] = name + "/attention";
      json["standardizer"] = standardizer_.to_json();
    }
    return json;
  }
  static SlidePooling load(const Json& json, const TensorStore& store) {
    SlidePooling pooling;
    pooling.rule_ = word_of(json, "rule", {"mean", "attention", "top"});
    pooling.modalities_ = json.at("modalities").get<std::vector<std::string>>();
    if (pooling.rule_ == "mean") return pooling;
    pooling.inputs_ = json.at("inputs").get<std::size_t>();
    pooling.standardizer_ = tabular::Standardizer::from_json(json.at("standardizer"));
    pooling.options_ = attention_options();
    const auto arrays = store.get(json.at("tensors").get<std::string>());
    (void)hidden_of({{"hidden", pooling.options_.hidden}}, pooling.inputs_, arrays);
    pooling.attention_ = std::make_shared<const nn::BagClassifier>(
        nn::BagClassifier::from_parameters(pooling.options_, pooling.inputs_, arrays));
    return pooling;
  }

 private:
  static nn::BagOptions attention_options() {
    nn::BagOptions options;
    options.hidden = {128};
    options.dropout = {0.25};
    options.pool = nn::Pool::kAttention;
    return options;
  }

  std::string rule_ = "mean";
  std::vector<std::string> modalities_;
  std::size_t inputs_ = 0;
  tabular::Standardizer standardizer_;
  nn::BagOptions options_;
  std::shared_ptr<const nn::BagClassifier> attention_;
};

class VectorModel final : public Model {
 public:
  static std::unique_ptr<Model> fit(const FitRequest& request, const VectorModelOptions& options) {
    auto model = std::make_unique<VectorModel>();
    const Partition partition = training_split(
        request,
        rows_with_modalities(request.cohort, request.training.rows(), options.modalities),
        options.fit,
        join(options.modalities, " and "));
    const Rows& rows = partition.training().rows();
    model->pooling_ = SlidePooling::fit(request, options.pool, options.modalities, rows);
    auto x = model->pooling_.apply(request.cohort, rows).values;
    model->standardizer_ = tabular::Standardizer::fit(x);
    x = model->standardizer_.transform(x);
    model->inputs_ = x.cols();
    auto x_val = model->pooling_.apply(request.cohort, partition.held_out()).values;
    if (x_val.rows() > 0) x_val = model->standardizer_.transform(x_val);
    for (int member = 0; member < options.fit.ensemble; ++member) {
      model->options_ = mlp_options(options.hidden,
                                    options.dropout,
                                    options.batch_norm,
                                    options.fit,
                                    member_seed(request, member),
                                    device_of(request.settings),
                                    x_val.rows() > 0);
      model->networks_.add(nn::Mlp::fit(x,
                                        labels_of(request.cohort, rows),
                                        model->options_,
                                        x_val.rows() > 0 ? &x_val : nullptr,
                                        labels_of(request.cohort, partition.held_out())));
    }
    return model;
  }

  static std::unique_ptr<Model> load(const Json& json,
                                     const TensorStore& store,
                                     const FittedModels&) {
    auto model = std::make_unique<VectorModel>();
    model->pooling_ = SlidePooling::load(json.at("pooling"), store);
    model->standardizer_ = tabular::Standardizer::from_json(json.at("standardizer"));
    model->options_ = mlp_options_from(json.at("network"), store);
    model->networks_ = load_mlps(json.at("network"), store, model->options_);
    model->inputs_ = json.at("network").at("inputs").get<std::size_t>();
    return model;
  }

  std::vector<double> predict(const Cohort& cohort, const Rows& rows) const override {
    const auto [x, position] = inputs(cohort, rows);
    if (position.empty()) return std::vector<double>(rows.size(), kNone);
    return scatter(networks_.predict(x), position, rows.size());
  }
  Matrix<float> embed(const Cohort& cohort, const Rows& rows, int layer) const override {
    const auto [x, position] = inputs(cohort, rows);
    const int depth = std::min(layer, static_cast<int>(options_.hidden.size()));
    if (position.empty()) {
      return no_embedding(rows.size(), options_.hidden, depth);
    }
    return scatter(networks_.first().embed(x, depth), position, rows.size());
  }
  const nn::LearningCurve* curve() const override { return networks_.curve(); }

  Json save(const std::string& name, TensorStore& store) const override {
    return {{"pooling", pooling_.save(name, store)},
            {"standardizer", standardizer_.to_json()},
            {"network", save_mlps(networks_, name, store, options_, inputs_)}};
  }

 private:
  std::pair<Matrix<float>, std::vector<std::size_t>> inputs(const Cohort& cohort,
                                                            const Rows& rows) const {
    const auto block = pooling_.apply(cohort, rows);
    std::vector<std::size_t> position;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (block.present[i] != 0) position.push_back(i);
    }
    if (position.empty()) return {Matrix<float>(), position};
    if (block.values.cols() != inputs_) {
      throw Error(
          ErrorKind::kData,
          fmt::format(
              "vectors of {} numbers, the model was trained on {}", block.values.cols(), inputs_));
    }
    return {standardizer_.transform(block.values.take_rows(position)), position};
  }

  SlidePooling pooling_;
  tabular::Standardizer standardizer_;
  std::size_t inputs_ = 0;
  nn::MlpOptions options_;
  Ensemble<nn::Mlp> networks_;
};

}  // namespace

std::unique_ptr<Model> fit_vector_model(const FitRequest& request,
                                        const VectorModelOptions& options) {
  return VectorModel::fit(request, options);
}
std::unique_ptr<Model> load_vector_model(const Json& json,
                                         const TensorStore& store,
                                         const FittedModels& fitted) {
  return VectorModel::load(json, store, fitted);
}

}  // namespace med3d::pipeline
