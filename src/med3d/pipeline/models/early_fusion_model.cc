#include <algorithm>
#include <cstdint>

#include "med3d/pipeline/models/fused_inputs_internal.h"
#include "med3d/pipeline/models/kinds_internal.h"
#include "med3d/pipeline/models/networks_internal.h"
#include "med3d/pipeline/models/rows_internal.h"

namespace med3d::pipeline {
namespace {

class EarlyFusionModel final : public Model {
 public:
  static std::unique_ptr<Model> fit(const FitRequest& request,
                                    const std::vector<std::string>& arms,
                                    nn::FusionMode mode) {
    const auto& section = request.settings.fusion;
    auto model = std::make_unique<EarlyFusionModel>();
    const int layer =
        section.clinical_input == "encoded" ? 0 : (section.clinical_input == "fc2" ? 2 : 3);
    const Partition partition =
        training_split(request,
                       rows_with_any(request.cohort, request.training.rows(), arms),
                       section.fit,
                       "fusion");
    model->inputs_ = FusedInputs::fit(request, partition.training(), arms, layer);
    const auto x = model->inputs_.apply(request.cohort, partition.training().rows());
    const auto x_val = model->inputs_.apply(request.cohort, partition.held_out());
    const auto y_val = labels_of(request.cohort, partition.held_out());
    for (int member = 0; member < section.fit.ensemble; ++member) {
      model->options_.mode = mode;
      model->options_.projection = section.projection;
      model->options_.hidden = section.hidden;
      model->options_.dropout = section.dropout;
      model->options_.dropout.resize(section.hidden.size(), 0.0);
      model->options_.training = section.fit.training(
          member_seed(request, member), device_of(request.settings), !y_val.empty());
      model->options_.training.modality_dropout = section.modality_dropout;
      model->members_.add(nn::FusionNet::fit(x,
                                             labels_of(request.cohort, partition.training().rows()),
                                             model->options_,
                                             y_val.empty() ? nullptr : &x_val,
                                             y_val));
    }
    return model;
  }

  static std::unique_ptr<Model> load(const Json& json,
                                     const TensorStore& store,
                                     const FittedModels& fitted) {
    auto model = std::make_unique<EarlyFusionModel>();
    model->inputs_ = FusedInputs::load(json.at("inputs"), fitted);
    const bool mean = word_of(json, "mode", {"mean", "concat"}) == "mean";
    model->options_.mode = mean ? nn::FusionMode::kMean : nn::FusionMode::kConcat;
    model->options_.projection = json.at("projection").get<int>();
    std::uint64_t inputs = model->inputs_.arms().size();
    for (const std::size_t width : model->inputs_.widths()) inputs += width;
    const auto arrays = arrays_of(json, store, 0);
    if (mean) {
      // The projection stands before the hidden layers and is held to the arrays as they are.
      Json projected = {{"hidden", json.at("hidden").get<std::vector<int>>()}};
      projected["hidden"].insert(projected["hidden"].begin(), model->options_.projection);
      (void)hidden_of(projected, inputs, arrays);
      inputs = static_cast<std::uint64_t>(model->options_.projection);
    }
    model->options_.hidden = hidden_of(json, inputs, arrays);
    model->options_.dropout.assign(model->options_.hidden.size(), 0.0);
    model->members_ =
        Ensemble<nn::FusionNet>::load(json, store, [&](const nn::Parameters& parameters) {
          return nn::FusionNet::from_parameters(
              model->options_, model->inputs_.widths(), parameters);
        });
    return model;
  }

  std::vector<double> predict(const Cohort& cohort, const Rows& rows) const override {
    const auto chosen = rows_with_any(cohort, rows, inputs_.arms());
    if (chosen.rows.empty()) return std::vector<double>(rows.size(), kNone);
    return scatter(
        members_.predict(inputs_.apply(cohort, chosen.rows)), chosen.position, rows.size());
  }
  Matrix<float> embed(const Cohort& cohort, const Rows& rows, int layer) const override {
    const auto chosen = rows_with_any(cohort, rows, inputs_.arms());
    const int depth = std::min(layer, static_cast<int>(options_.hidden.size()));
    if (chosen.rows.empty()) {
      return no_embedding(rows.size(), options_.hidden, depth);
    }
    return scatter(members_.first().embed(inputs_.apply(cohort, chosen.rows), depth),
                   chosen.position,
                   rows.size());
  }
  const nn::LearningCurve* curve() const override { return members_.curve(); }
  std::vector<std::string> input_warnings(const Cohort& cohort, const Rows& rows) const override {
    return inputs_.warnings(cohort, rows);
  }

  Json save(const std::string& name, TensorStore& store) const override {
    Json json = {{"inputs", inputs_.save()},
                 {"mode", options_.mode == nn::FusionMode::kMean ? "mean" : "concat"},
                 {"projection", options_.projection},
                 {"hidden", options_.hidden}};
    members_.save(name, store, json);
    return json;
  }

 private:
  FusedInputs inputs_;
  nn::FusionOptions options_;
  Ensemble<nn::FusionNet> members_;
};

}  // namespace

std::unique_ptr<Model> fit_early_fusion(const FitRequest& request,
                                        const std::vector<std::string>& arms,
                                        nn::FusionMode mode) {
  return EarlyFusionModel::fit(request, arms, mode);
}
std::unique_ptr<Model> load_early_fusion(const Json& json,
                                         const TensorStore& store,
                                         const FittedModels& fitted) {
  return EarlyFusionModel::load(json, store, fitted);
}

}  // namespace med3d::pipeline
