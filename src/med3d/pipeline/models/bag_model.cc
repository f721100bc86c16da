#include <fmt/format.h>

#include <map>

#include "med3d/core/error.h"
#include "med3d/core/text.h"
#include "med3d/pipeline/models/kinds_internal.h"
#include "med3d/pipeline/models/networks_internal.h"
#include "med3d/pipeline/models/rows_internal.h"
#include "med3d/tabular/standardizer.h"

namespace med3d::pipeline {
namespace {

class BagModel final : public Model {
 public:
  static std::unique_ptr<Model> fit(const FitRequest& request,
                                    const std::vector<std::string>& modalities) {
    const auto& section = request.settings.radiology_arm;
    auto model = std::make_unique<BagModel>();
    model->modalities_ = modalities;
    const Partition partition =
        training_split(request,
                       rows_with_modalities(request.cohort, request.training.rows(), modalities),
                       section.fit,
                       join(modalities, " and "));
    auto bags = gather_bags(request.cohort, partition.training().rows(), modalities);
    auto held_out = gather_bags(request.cohort, partition.held_out(), modalities);
    model->scale_ = section.standardize;
    if (model->scale_) {
      model->standardizer_ = tabular::Standardizer::fit(bags.instances);
      bags.instances = model->standardizer_.transform(bags.instances);
      if (!held_out.instances.empty()) {
        held_out.instances = model->standardizer_.transform(held_out.instances);
      }
    }
    model->inputs_ = bags.instances.cols();
    const auto y = labels_of(request.cohort, bags.chosen.rows);
    const auto y_val = labels_of(request.cohort, held_out.chosen.rows);
    const nn::Bags data{bags.instances, bags.bag_of_instance};
    const nn::Bags data_val{held_out.instances, held_out.bag_of_instance};
    for (int member = 0; member < section.fit.ensemble; ++member) {
      model->options_.hidden = section.hidden;
      model->options_.dropout.assign(section.hidden.size(), section.dropout);
      model->options_.pool = pool_of(section.pool);
      model->options_.training = section.fit.training(
          member_seed(request, member), device_of(request.settings), !y_val.empty());
      model->members_.add(nn::BagClassifier::fit(
          data, y, model->options_, y_val.empty() ? nullptr : &data_val, y_val));
    }
    return model;
  }

  static std::unique_ptr<Model> load(const Json& json,
                                     const TensorStore& store,
                                     const FittedModels&) {
    auto model = std::make_unique<BagModel>();
    model->modalities_ = json.at("modalities").get<std::vector<std::string>>();
    model->scale_ = json.at("standardize").get<bool>();
    if (model->scale_) {
      model->standardizer_ = tabular::Standardizer::from_json(json.at("standardizer"));
    }
    model->inputs_ = json.at("inputs").get<std::size_t>();
    model->options_.hidden = hidden_of(json, model->inputs_, arrays_of(json, store, 0));
    model->options_.dropout.assign(model->options_.hidden.size(), 0.0);
    model->options_.pool = pool_of(word_of(json, "pool", {"max", "mean", "noisy_or", "attention"}));
    model->members_ =
        Ensemble<nn::BagClassifier>::load(json, store, [&](const nn::Parameters& parameters) {
          return nn::BagClassifier::from_parameters(model->options_, model->inputs_, parameters);
        });
    return model;
  }

  std::vector<double> predict(const Cohort& cohort, const Rows& rows) const override {
    const auto bags = scaled(cohort, rows);
    if (bags.chosen.rows.empty()) return std::vector<double>(rows.size(), kNone);
    return scatter(members_.predict(nn::Bags{bags.instances, bags.bag_of_instance}),
                   bags.chosen.position,
                   rows.size());
  }

  Matrix<float> embed(const Cohort& cohort, const Rows& rows, int) const override {
    const auto bags = scaled(cohort, rows);
    if (bags.chosen.rows.empty()) {
      return Matrix<float>(rows.size(), static_cast<std::size_t>(options_.hidden.back()));
    }
    return scatter(members_.first().embed({bags.instances, bags.bag_of_instance}),
                   bags.chosen.position,
                   rows.size());
  }

  std::vector<ScanScore> scan_scores(const Cohort& cohort, const Rows& rows) const override {
    const auto bags = scaled(cohort, rows);
    const std::size_t n = bags.bag_of_instance.size();
    std::vector<ScanScore> out(n);
    for (std::size_t i = 0; i < n; ++i) {
      out[i].modality = bags.item_of_instance[i].first;
      out[i].item = bags.item_of_instance[i].second;
    }
    const auto share = 1.0 / static_cast<double>(members_.members().size());
    const nn::Bags data{bags.instances, bags.bag_of_instance};
    for (const auto& member : members_.members()) {
      if (n == 0) break;
      const auto probability = member.instance_scores(data);
      const auto weight = options_.pool == nn::Pool::kAttention
                              ? member.attention_weights(data)
                              : weights_by_pool(probability, bags.bag_of_instance);
      for (std::size_t i = 0; i < n; ++i) {
        out[i].probability += share * probability[i];
        out[i].weight += share * weight[i];
      }
    }
    return out;
  }

  const nn::LearningCurve* curve() const override { return members_.curve(); }

  Json save(const std::string& name, TensorStore& store) const override {
    static const std::map<nn::Pool, std::string> pools = {{nn::Pool::kMax, "max"},
                                                          {nn::Pool::kMean, "mean"},
                                                          {nn::Pool::kNoisyOr, "noisy_or"},
                                                          {nn::Pool::kAttention, "attention"}};
    Json json = {{"modalities", modalities_},
                 {"inputs", inputs_},
                 {"hidden", options_.hidden},
                 {"pool", pools.at(options_.pool)}};
    members_.save(name, store, json);
    json["standardize"] = scale_;
    if (scale_) json["standardizer"] = standardizer_.to_json();
    return json;
  }

 private:
  // Of pooling without attention; bags are contiguous.
  std::vector<double> weights_by_pool(const std::vector<double>& probability,
                                      const std::vector<std::size_t>& bag_of_instance) const {
    std::vector<double> out(probability.size(), 0.0);
    for (std::size_t begin = 0, end = 0; begin < out.size(); begin = end) {
      std::size_t top = begin;
      for (end = begin; end < out.size() && bag_of_instance[end] == bag_of_instance[begin]; ++end) {
        if (probability[end] > probability[top]) top = end;
      }
      if (options_.pool == nn::Pool::kMax) {
        out[top] = 1.0;
      } else {
        for (std::size_t i = begin; i < end; ++i) out[i] = 1.0 / static_cast<double>(end - begin);
      }
    }
    return out;
  }

  PatientBags scaled(const Cohort& cohort, const Rows& rows) const {
    auto bags = gather_bags(cohort, rows, modalities_);
    check_width(bags.instances, inputs_, modalities_);
    if (scale_ && !bags.instances.empty()) {
      bags.instances = standardizer_.transform(bags.instances);
    }
    return bags;
  }
  static void check_width(const Matrix<float>& instances,
                          std::size_t expected,
                          const std::vector<std::string>& modalities) {
    if (instances.rows() > 0 && instances.cols() != expected) {
      throw Error(ErrorKind::kData,
                  fmt::format("{}: vectors of {} numbers, the model was trained on {}",
                              join(modalities, " and "),
                              instances.cols(),
                              expected));
    }
  }

  std::vector<std::string> modalities_;
  bool scale_ = true;
  tabular::Standardizer standardizer_;
  std::size_t inputs_ = 0;
  nn::BagOptions options_;
  Ensemble<nn::BagClassifier> members_;
};

}  // namespace

std::unique_ptr<Model> fit_bag_model(const FitRequest& request,
                                     const std::vector<std::string>& modalities) {
  return BagModel::fit(request, modalities);
}
std::unique_ptr<Model> load_bag_model(const Json& json,
                                      const TensorStore& store,
                                      const FittedModels& fitted) {
  return BagModel::load(json, store, fitted);
}

}  // namespace med3d::pipeline
