#include <algorithm>

#include "med3d/pipeline/models/clinical_model_internal.h"
#include "med3d/pipeline/models/kinds_internal.h"
#include "med3d/pipeline/models/rows_internal.h"
#include "med3d/pipeline/models/table_internal.h"
#include "med3d/tabular/resample.h"

namespace med3d::pipeline {
namespace {

tabular::Balance balance_of(const std::string& name) {
  if (name == "smote") return tabular::Balance::kSmote;
  if (name == "adasyn") return tabular::Balance::kAdasyn;
  if (name == "smotenc") return tabular::Balance::kSmotenc;
  if (name == "random") return tabular::Balance::kRandom;
  return tabular::Balance::kNone;
}

std::vector<bool> binary_columns(const Matrix<double>& x) {
  std::vector<bool> binary(x.cols(), true);
  for (std::size_t i = 0; i < x.rows(); ++i) {
    for (std::size_t j = 0; j < x.cols(); ++j) {
      if (x(i, j) != 0.0 && x(i, j) != 1.0) binary[j] = false;
    }
  }
  return binary;
}

}  // namespace

std::unique_ptr<Model> ClinicalModel::fit(const FitRequest& request) {
  const auto& section = request.settings.clinical_arm;
  auto model = std::make_unique<ClinicalModel>();
  const Partition partition =
      training_split(request,
                     rows_with_table(request.cohort, request.training.rows()),
                     section.fit,
                     "clinical table");
  const Rows& rows = partition.training().rows();
  const auto table = chosen_table(request.cohort, rows, section.columns);
  model->encoder_ = fit_encoder(request.cohort, request.settings, table);
  const auto x = model->encoder_.transform(table);
  const auto y = labels_of(request.cohort, rows);
  const auto x_val = matrix_cast<float>(model->encode(request.cohort, partition.held_out()));
  const auto y_val = labels_of(request.cohort, partition.held_out());

  for (int member = 0; member < section.fit.ensemble; ++member) {
    const auto seed = member_seed(request, member);
    tabular::ResampleOptions resample;
    resample.k_neighbors = section.k_neighbors;
    resample.seed = static_cast<std::uint32_t>(seed);
    resample.categorical = binary_columns(x);
    const auto balanced = tabular::resample(x, y, balance_of(section.balance), resample);
    if (member == 0) {
      model->remarks_ = balanced.warnings;
      for (const std::uint8_t label : y) ++model->counts_.before[label];
      for (const std::uint8_t label : balanced.y) ++model->counts_.after[label];
    }
    model->options_ = mlp_options(section.hidden,
                                  section.dropout,
                                  section.batch_norm,
                                  section.fit,
                                  seed,
                                  device_of(request.settings),
                                  x_val.rows() > 0);
    // Oversampled rows are balanced already: weights on top would tip the scale the other way.
    if (section.balance != "none") model->options_.training.class_weights = false;
    model->networks_.add(nn::Mlp::fit(matrix_cast<float>(balanced.x),
                                      balanced.y,
                                      model->options_,
                                      x_val.rows() > 0 ? &x_val : nullptr,
                                      y_val));
  }
  for (const auto& finding : model->encoder_.findings()) {
    model->remarks_.push_back(finding.message);
  }
  return model;
}

std::unique_ptr<Model> ClinicalModel::load(const Json& json, const TensorStore& store) {
  auto model = std::make_unique<ClinicalModel>();
  model->encoder_ = tabular::ClinicalEncoder::from_json(json.at("encoder"));
  model->options_ = mlp_options_from(json.at("network"), store);
  model->networks_ = load_mlps(json.at("network"), store, model->options_);
  return model;
}

std::vector<double> ClinicalModel::predict(const Cohort& cohort, const Rows& rows) const {
  const auto chosen = rows_with_table(cohort, rows);
  if (chosen.rows.empty()) return std::vector<double>(rows.size(), kNone);
  return scatter(networks_.predict(matrix_cast<float>(encode(cohort, chosen.rows))),
                 chosen.position,
                 rows.size());
}

Matrix<float> ClinicalModel::embed(const Cohort& cohort, const Rows& rows, int layer) const {
  const auto chosen = rows_with_table(cohort, rows);
  const int depth = std::min(layer, static_cast<int>(options_.hidden.size()));
  if (chosen.rows.empty()) {
    return no_embedding(rows.size(), options_.hidden, depth);
  }
  return scatter(networks_.first().embed(matrix_cast<float>(encode(cohort, chosen.rows)), depth),
                 chosen.position,
                 rows.size());
}

Json ClinicalModel::save(const std::string& name, TensorStore& store) const {
  return {
      {"encoder", encoder_.to_json()},
      {"network", save_mlps(networks_, name, store, options_, encoder_.feature_names().size())}};
}

std::vector<std::string> ClinicalModel::input_warnings(const Cohort& cohort,
                                                       const Rows& rows) const {
  return encoder_warnings(encoder_, cohort, rows);
}

Matrix<double> ClinicalModel::encode(const Cohort& cohort, const Rows& rows) const {
  if (rows.empty()) return Matrix<double>(0, encoder_.feature_names().size());
  return encoder_.transform(clinical_table(cohort, rows));
}

std::unique_ptr<Model> fit_clinical_model(const FitRequest& request) {
  return ClinicalModel::fit(request);
}
std::unique_ptr<Model> load_clinical_model(const Json& json,
                                           const TensorStore& store,
                                           const FittedModels&) {
  return ClinicalModel::load(json, store);
}

}  // namespace med3d::pipeline
