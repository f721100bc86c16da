#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/nn/late_fusion.h"
#include "med3d/pipeline/models/kinds_internal.h"
#include "med3d/pipeline/models/rows_internal.h"

namespace med3d::pipeline {
namespace {

class LateFusionModel final : public Model {
 public:
  LateFusionModel(std::vector<std::string> arms,
                  std::vector<double> weights,
                  std::vector<Recalibration> recalibration,
                  const FittedModels& fitted)
      : arms_(std::move(arms)),
        weights_(std::move(weights)),
        recalibration_(std::move(recalibration)) {
    for (const auto& arm : arms_) {
      const auto found = fitted.find(arm);
      models_.push_back(found == fitted.end() ? nullptr : found->second);
    }
  }

  static std::unique_ptr<Model> load(const Json& json,
                                     const TensorStore&,
                                     const FittedModels& fitted) {
    std::vector<Recalibration> recalibration;
    for (const auto& entry : json.at("recalibration")) {
      recalibration.push_back({entry.at(0).get<double>(), entry.at(1).get<double>()});
    }
    auto arms = json.at("arms").get<std::vector<std::string>>();
    auto weights = json.at("weights").get<std::vector<double>>();
    if (weights.size() != arms.size() || recalibration.size() != arms.size()) {
      throw Error(
          ErrorKind::kFormat,
          fmt::format("late fusion: {} arms, {} weights, {} recalibrations, expected one each",
                      arms.size(),
                      weights.size(),
                      recalibration.size()));
    }
    return std::make_unique<LateFusionModel>(
        std::move(arms), std::move(weights), std::move(recalibration), fitted);
  }

  std::vector<double> predict(const Cohort& cohort, const Rows& rows) const override {
    Matrix<double> probability(rows.size(), arms_.size(), kNone);
    for (std::size_t k = 0; k < arms_.size(); ++k) {
      if (!models_[k]) continue;
      const auto p = models_[k]->predict(cohort, rows);
      for (std::size_t i = 0; i < rows.size(); ++i) probability(i, k) = recalibration_[k](p[i]);
    }
    return combine_late(probability, weights_);
  }

  std::vector<std::string> input_warnings(const Cohort& cohort, const Rows& rows) const override {
    std::vector<std::string> warnings;
    for (const auto& model : models_) {
      if (!model) continue;
      for (auto& warning : model->input_warnings(cohort, rows)) {
        warnings.push_back(std::move(warning));
      }
    }
    return warnings;
  }

  Json save(const std::string&, TensorStore&) const override {
    Json recalibration = Json::array();
    for (const auto& r : recalibration_)
      recalibration.push_back(Json::array({r.intercept, r.slope}));
    return {{"arms", arms_}, {"weights", weights_}, {"recalibration", recalibration}};
  }

 private:
  std::vector<std::string> arms_;
  std::vector<double> weights_;
  std::vector<Recalibration> recalibration_;
  std::vector<std::shared_ptr<const Model>> models_;
};

}  // namespace

std::unique_ptr<Model> load_late_fusion(const Json& json,
                                        const TensorStore& store,
                                        const FittedModels& fitted) {
  return LateFusionModel::load(json, store, fitted);
}

std::vector<double> combine_late(const Matrix<double>& probability,
                                 const std::vector<double>& weights) {
  std::vector<double> out(probability.rows(), kNone);
  Rows weighted;
  Rows unweighted;
  for (std::size_t i = 0; i < probability.rows(); ++i) {
    bool any = false;
    bool any_weight = false;
    for (std::size_t k = 0; k < weights.size(); ++k) {
      if (std::isnan(probability(i, k))) continue;
      any = true;
      any_weight |= weights[k] > 0;
    }
    if (any) (any_weight ? weighted : unweighted).push_back(i);
  }
  // A patient of whom only arms without weight are there still gets an answer: their plain mean.
  const std::vector<double> equal(weights.size(), 1.0);
  for (const auto& [rows, used] : {std::pair{&weighted, &weights}, {&unweighted, &equal}}) {
    if (rows->empty()) continue;
    const auto chosen = probability.take_rows(*rows);
    const auto combined = nn::weighted_sum(chosen, present_mask(chosen), *used);
    for (std::size_t i = 0; i < rows->size(); ++i) out[(*rows)[i]] = combined[i];
  }
  return out;
}

Matrix<std::uint8_t> present_mask(const Matrix<double>& probability) {
  Matrix<std::uint8_t> mask(probability.rows(), probability.cols());
  for (std::size_t i = 0; i < probability.size(); ++i) {
    mask.data()[i] = std::isnan(probability.data()[i]) ? 0 : 1;
  }
  return mask;
}

double Recalibration::operator()(double probability) const {
  const bool unchanged = intercept == 0.0 && slope == 1.0;
  if (unchanged || std::isnan(probability)) return probability;
  constexpr double kClip = 1e-12;
  const double p = std::clamp(probability, kClip, 1.0 - kClip);
  const double logit = intercept + slope * std::log(p / (1.0 - p));
  return 1.0 / (1.0 + std::exp(-logit));
}

std::unique_ptr<Model> make_late_fusion(std::vector<std::string> arms,
                                        std::vector<double> weights,
                                        std::vector<Recalibration> recalibration,
                                        const FittedModels& fitted) {
  return std::make_unique<LateFusionModel>(
      std::move(arms), std::move(weights), std::move(recalibration), fitted);
}

}  // namespace med3d::pipeline
