// What early fusion and the classical baselines see: one block per arm, each with a presence bit.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "med3d/nn/fusion_net.h"
#include "med3d/pipeline/models.h"
#include "med3d/pipeline/models/clinical_model_internal.h"
#include "med3d/tabular/standardizer.h"

namespace med3d::pipeline {

class FusedInputs {
 public:
  // `layer` 0 takes the encoded table, 2 or 3 the clinical arm's hidden layer.
  // Throws Error(kData) where the clinical arm is wanted and could not be fitted.
  static FusedInputs fit(const FitRequest& request,
                         const TrainingRows& training,
                         const std::vector<std::string>& arms,
                         int layer);

  // Standardised blocks; those of absent modalities are zero.
  nn::FusionInput apply(const Cohort& cohort, const Rows& rows) const;

  // All blocks side by side with their presence bits; absent blocks hold `fill`.
  Matrix<double> flat(const Cohort& cohort, const Rows& rows, double fill) const;

  const std::vector<std::string>& arms() const { return arms_; }
  const std::vector<std::size_t>& widths() const { return widths_; }
  std::vector<std::string> warnings(const Cohort& cohort, const Rows& rows) const;

  Json save() const;
  static FusedInputs load(const Json& json, const FittedModels& fitted);

 private:
  void bind(const FittedModels& fitted);
  nn::FusionInput raw(const Cohort& cohort, const Rows& rows) const;

  std::vector<std::string> arms_;
  int layer_ = 3;
  std::vector<std::size_t> widths_;
  std::vector<tabular::Standardizer> standardizers_;
  std::shared_ptr<const ClinicalModel> clinical_;
};

}  // namespace med3d::pipeline
