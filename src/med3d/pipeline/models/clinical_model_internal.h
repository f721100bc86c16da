// The clinical arm as a type: early fusion and the baselines read its encoder and hidden layers.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "med3d/nn/mlp.h"
#include "med3d/pipeline/models.h"
#include "med3d/pipeline/models/networks_internal.h"
#include "med3d/tabular/clinical_encoder.h"

namespace med3d::pipeline {

class ClinicalModel final : public Model {
 public:
  static std::unique_ptr<Model> fit(const FitRequest& request);
  static std::unique_ptr<Model> load(const Json& json, const TensorStore& store);

  std::vector<double> predict(const Cohort& cohort, const Rows& rows) const override;
  Matrix<float> embed(const Cohort& cohort, const Rows& rows, int layer) const override;
  const nn::LearningCurve* curve() const override { return networks_.curve(); }
  const ClassCounts* class_counts() const override { return &counts_; }
  std::vector<std::string> remarks() const override { return remarks_; }
  Json save(const std::string& name, TensorStore& store) const override;
  std::vector<std::string> input_warnings(const Cohort& cohort, const Rows& rows) const override;

  // The table as the network sees it: (rows.size(), encoded features).
  Matrix<double> encode(const Cohort& cohort, const Rows& rows) const;

 private:
  tabular::ClinicalEncoder encoder_;
  Ensemble<nn::Mlp> networks_;
  nn::MlpOptions options_;
  ClassCounts counts_;
  std::vector<std::string> remarks_;
};

}  // namespace med3d::pipeline
