#include <fmt/format.h>

#include <algorithm>

#include "med3d/core/error.h"
#include "med3d/pipeline/models/fused_inputs_internal.h"
#include "med3d/pipeline/models/rows_internal.h"

namespace med3d::pipeline {

FusedInputs FusedInputs::fit(const FitRequest& request,
                             const TrainingRows& training,
                             const std::vector<std::string>& arms,
                             int layer) {
  FusedInputs inputs;
  inputs.arms_ = arms;
  inputs.layer_ = layer;
  inputs.bind(request.fitted);
  const auto raw = inputs.raw(request.cohort, training.rows());
  for (std::size_t k = 0; k < arms.size(); ++k) {
    Rows present;
    for (std::size_t i = 0; i < raw.present.rows(); ++i) {
      if (raw.present(i, k) != 0) present.push_back(i);
    }
    inputs.widths_.push_back(raw.blocks[k].cols());
    inputs.standardizers_.push_back(tabular::Standardizer::fit(raw.blocks[k].take_rows(present)));
  }
  return inputs;
}

nn::FusionInput FusedInputs::apply(const Cohort& cohort, const Rows& rows) const {
  nn::FusionInput input = raw(cohort, rows);
  for (std::size_t k = 0; k < arms_.size(); ++k) {
    if (input.blocks[k].cols() == 0) input.blocks[k] = Matrix<float>(rows.size(), widths_[k]);
    if (input.blocks[k].cols() != widths_[k]) {
      throw Error(ErrorKind::kData,
                  fmt::format("{}: vectors of {} numbers, the model was trained on {}",
                              arms_[k],
                              input.blocks[k].cols(),
                              widths_[k]));
    }
    input.blocks[k] = standardizers_[k].transform(input.blocks[k]);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (input.present(i, k) == 0) std::ranges::fill(input.blocks[k].row(i), 0.0F);
    }
  }
  return input;
}

Matrix<double> FusedInputs::flat(const Cohort& cohort, const Rows& rows, double fill) const {
  const auto input = apply(cohort, rows);
  std::size_t width = arms_.size();
  for (const std::size_t w : widths_) width += w;
  Matrix<double> out(rows.size(), width);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    std::size_t at = 0;
    for (std::size_t k = 0; k < arms_.size(); ++k) {
      const bool there = input.present(i, k) != 0;
      for (const float value : input.blocks[k].row(i)) {
        out(i, at++) = there ? static_cast<double>(value) : fill;
      }
    }
    for (std::size_t k = 0; k < arms_.size(); ++k) out(i, at++) = input.present(i, k);
  }
  return out;
}

std::vector<std::string> FusedInputs::warnings(const Cohort& cohort, const Rows& rows) const {
  return clinical_ ? clinical_->input_warnings(cohort, rows) : std::vector<std::string>{};
}

Json FusedInputs::save() const {
  Json json = {{"arms", arms_}, {"layer", layer_}, {"widths", widths_}};
  json["standardizers"] = Json::array();
  for (const auto& s : standardizers_) json["standardizers"].push_back(s.to_json());
  return json;
}

FusedInputs FusedInputs::load(const Json& json, const FittedModels& fitted) {
  FusedInputs inputs;
  inputs.arms_ = json.at("arms").get<std::vector<std::string>>();
  inputs.layer_ = json.at("layer").get<int>();
  inputs.widths_ = json.at("widths").get<std::vector<std::size_t>>();
  for (const auto& s : json.at("standardizers").get<std::vector<Json>>()) {
    inputs.standardizers_.push_back(tabular::Standardizer::from_json(s));
  }
  bool fit = inputs.widths_.size() == inputs.arms_.size() &&
             inputs.standardizers_.size() == inputs.arms_.size();
  for (std::size_t k = 0; fit && k < inputs.arms_.size(); ++k) {
    fit = inputs.standardizers_[k].columns() == inputs.widths_[k];
  }
  if (!fit) {
    throw Error(ErrorKind::kFormat,
                fmt::format("fusion: 'widths' and 'standardizers' do not fit the {} 'arms'",
                            inputs.arms_.size()));
  }
  if (inputs.layer_ < 0) {
    throw Error(ErrorKind::kFormat,
                fmt::format("fusion: 'layer' is {}, expected 0 or more", inputs.layer_));
  }
  inputs.bind(fitted);
  return inputs;
}

void FusedInputs::bind(const FittedModels& fitted) {
  if (std::find(arms_.begin(), arms_.end(), "clinical") == arms_.end()) return;
  const auto found = fitted.find("clinical");
  if (found == fitted.end()) {
    throw Error(ErrorKind::kData,
                "fusion needs the clinical arm, which could not be fitted on these rows");
  }
  clinical_ = std::dynamic_pointer_cast<const ClinicalModel>(found->second);
}

nn::FusionInput FusedInputs::raw(const Cohort& cohort, const Rows& rows) const {
  nn::FusionInput input;
  input.present = Matrix<std::uint8_t>(rows.size(), arms_.size());
  for (std::size_t k = 0; k < arms_.size(); ++k) {
    if (arms_[k] == "clinical") {
      const auto chosen = rows_with_table(cohort, rows);
      for (const std::size_t position : chosen.position) input.present(position, k) = 1;
      input.blocks.push_back(
          layer_ > 0 ? clinical_->embed(cohort, rows, layer_)
                     : scatter(matrix_cast<float>(clinical_->encode(cohort, chosen.rows)),
                               chosen.position,
                               rows.size()));
    } else {
      auto block = mean_block(cohort, rows, modalities_of_arm(arms_[k]));
      for (std::size_t i = 0; i < rows.size(); ++i) input.present(i, k) = block.present[i];
      input.blocks.push_back(std::move(block.values));
    }
  }
  return input;
}

}  // namespace med3d::pipeline
