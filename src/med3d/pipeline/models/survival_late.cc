// Late fusion of the arms' risks: weighted mean, and a stacked Cox model.
#include <algorithm>
#include <cmath>

#include "med3d/core/error.h"
#include "med3d/pipeline/models/survival_internal.h"
#include "med3d/stats/survival/cox.h"

namespace med3d::pipeline {
namespace {

namespace ss = stats::survival;

std::vector<std::shared_ptr<const SurvivalModel>> models_of(const std::vector<std::string>& arms,
                                                            const FittedSurvival& fitted) {
  std::vector<std::shared_ptr<const SurvivalModel>> models;
  for (const auto& arm : arms) {
    const auto found = fitted.find(arm);
    models.push_back(found == fitted.end() ? nullptr : found->second);
  }
  return models;
}

std::vector<std::string> warnings_of(
    const std::vector<std::shared_ptr<const SurvivalModel>>& models,
    const Cohort& cohort,
    const Rows& rows) {
  std::vector<std::string> warnings;
  for (const auto& model : models) {
    if (!model) continue;
    for (auto& warning : model->input_warnings(cohort, rows)) {
      warnings.push_back(std::move(warning));
    }
  }
  return warnings;
}

class LateMean final : public SurvivalModel {
 public:
  LateMean(std::vector<std::string> arms, std::vector<double> weights, const FittedSurvival& fitted)
      : arms_(std::move(arms)), weights_(std::move(weights)), models_(models_of(arms_, fitted)) {}

  Matrix<double> risk(const Cohort& cohort,
                      const Rows& rows,
                      std::span<const double> horizons) const override {
    std::vector<Matrix<double>> of_arm;
    for (const auto& model : models_) {
      of_arm.push_back(model ? model->risk(cohort, rows, horizons)
                             : Matrix<double>(rows.size(), horizons.size(), kNone));
    }
    Matrix<double> out(rows.size(), horizons.size(), kNone);
    Matrix<double> at_horizon(rows.size(), arms_.size());
    for (std::size_t h = 0; h < horizons.size(); ++h) {
      for (std::size_t i = 0; i < rows.size(); ++i) {
        for (std::size_t k = 0; k < arms_.size(); ++k) at_horizon(i, k) = of_arm[k](i, h);
      }
      const auto combined = combine_late(at_horizon, weights_);
      for (std::size_t i = 0; i < rows.size(); ++i) out(i, h) = combined[i];
    }
    return out;
  }
  Json describe() const override {
    Json weights = Json::object();
    for (std::size_t k = 0; k < arms_.size(); ++k) weights[arms_[k]] = weights_[k];
    return {{"kind", "late-mean"}, {"weights", weights}};
  }
  std::vector<std::string> input_warnings(const Cohort& cohort, const Rows& rows) const override {
    return warnings_of(models_, cohort, rows);
  }
  Json save(const std::string&, SurvivalArchive&) const override {
    return {{"kind", "late-mean"}, {"arms", arms_}, {"weights", weights_}};
  }

 private:
  std::vector<std::string> arms_;
  std::vector<double> weights_;
  std::vector<std::shared_ptr<const SurvivalModel>> models_;
};

class LateStack final : public SurvivalModel {
 public:
  LateStack(std::vector<std::string> arms, double horizon, const FittedSurvival& fitted)
      : arms_(std::move(arms)), horizon_(horizon), models_(models_of(arms_, fitted)) {}

  void fit(const Matrix<double>& oof, const ss::SurvivalTimes& times) {
    beta_.assign(arms_.size(), 0.0);
    mean_.assign(arms_.size(), 0.0);
    std::vector<std::size_t> used;
    for (std::size_t k = 0; k < arms_.size(); ++k) {
      double sum = 0.0;
      std::size_t n = 0;
      for (std::size_t i = 0; i < oof.rows(); ++i) {
        if (std::isnan(oof(i, k))) continue;
        sum += log_cumulative_hazard(oof(i, k));
        ++n;
      }
      if (n == 0 || !models_[k]) continue;
      mean_[k] = sum / static_cast<double>(n);
      used.push_back(k);
    }
    if (used.empty() || times.n_events() == 0) {
      throw Error(ErrorKind::kData,
                  "late fusion: no arm has out-of-fold risks of patients with events");
    }
    const Matrix<double> z = centred(oof);
    // An arm that points the wrong way beside the others is noise, not a contrary opinion.
    while (!used.empty()) {
      Matrix<double> x(z.rows(), used.size());
      for (std::size_t i = 0; i < z.rows(); ++i) {
        for (std::size_t k = 0; k < used.size(); ++k) x(i, k) = z(i, used[k]);
      }
      const auto fit = ss::cox_fit(times, x);
      std::size_t worst = used.size();
      double lowest = 0.0;
      for (std::size_t k = 0; k < used.size(); ++k) {
        if (fit.beta[k] < lowest) {
          lowest = fit.beta[k];
          worst = k;
        }
      }
      if (worst == used.size()) {
        for (std::size_t k = 0; k < used.size(); ++k) beta_[used[k]] = fit.beta[k];
        break;
      }
      used.erase(used.begin() + static_cast<long>(worst));
    }
    hazard_ = RelativeHazard(times, combine(z));
  }

  Matrix<double> risk(const Cohort& cohort,
                      const Rows& rows,
                      std::span<const double> horizons) const override {
    Matrix<double> of_arm(rows.size(), arms_.size(), kNone);
    const std::vector<double> main = {horizon_};
    for (std::size_t k = 0; k < arms_.size(); ++k) {
      if (!models_[k]) continue;
      const auto r = models_[k]->risk(cohort, rows, main);
      for (std::size_t i = 0; i < rows.size(); ++i) of_arm(i, k) = r(i, 0);
    }
    return combined(of_arm, horizons);
  }

  // From the arms' risks at the main horizon; NaN where no arm has one.
  Matrix<double> combined(const Matrix<double>& of_arm, std::span<const double> horizons) const {
    const auto f = combine(centred(of_arm));
    Matrix<double> out(of_arm.rows(), horizons.size(), kNone);
    for (std::size_t i = 0; i < of_arm.rows(); ++i) {
      const auto row = of_arm.row(i);
      if (std::all_of(row.begin(), row.end(), [](double r) { return std::isnan(r); })) continue;
      for (std::size_t h = 0; h < horizons.size(); ++h) out(i, h) = hazard_.risk(f[i], horizons[h]);
    }
    return out;
  }

  Json describe() const override {
    Json weights = Json::object();
    for (std::size_t k = 0; k < arms_.size(); ++k) weights[arms_[k]] = beta_[k];
    return {{"kind", "late-stack"}, {"weights", weights}};
  }
  std::vector<std::string> input_warnings(const Cohort& cohort, const Rows& rows) const override {
    return warnings_of(models_, cohort, rows);
  }
  Json save(const std::string&, SurvivalArchive&) const override {
    return {{"kind", "late-stack"},
            {"arms", arms_},
            {"horizon_months", horizon_},
            {"mean", mean_},
            {"beta", beta_},
            {"baseline", hazard_.to_json()}};
  }
  static std::unique_ptr<SurvivalModel> load(const Json& json, const FittedSurvival& fitted) {
    auto arms = json.at("arms").get<std::vector<std::string>>();
    const auto horizon = json.at("horizon_months").get<double>();
    if (arms.empty() || !(horizon > 0.0)) {
      throw Error(ErrorKind::kFormat, "'arms' is empty or 'horizon_months' is not above 0");
    }
    auto model = std::make_unique<LateStack>(std::move(arms), horizon, fitted);
    model->mean_ = numbers_of(json, "mean", model->arms_.size());
    model->beta_ = numbers_of(json, "beta", model->arms_.size());
    model->hazard_ = RelativeHazard::from_json(json.at("baseline"));
    return model;
  }

 private:
  Matrix<double> centred(const Matrix<double>& risk) const {
    Matrix<double> z(risk.rows(), risk.cols());
    for (std::size_t i = 0; i < risk.rows(); ++i) {
      for (std::size_t k = 0; k < risk.cols(); ++k) {
        z(i, k) = std::isnan(risk(i, k)) ? 0.0 : log_cumulative_hazard(risk(i, k)) - mean_[k];
      }
    }
    return z;
  }
  std::vector<double> combine(const Matrix<double>& z) const {
    std::vector<double> f(z.rows(), 0.0);
    for (std::size_t i = 0; i < z.rows(); ++i) {
      for (std::size_t k = 0; k < z.cols(); ++k) f[i] += beta_[k] * z(i, k);
    }
    return f;
  }

  std::vector<std::string> arms_;
  double horizon_;
  std::vector<std::shared_ptr<const SurvivalModel>> models_;
  std::vector<double> mean_, beta_;
  RelativeHazard hazard_;
};

}  // namespace

double log_cumulative_hazard(double risk) {
  if (std::isnan(risk)) return risk;
  constexpr double kClip = 1e-6;
  return std::log(-std::log1p(-std::clamp(risk, kClip, 1.0 - kClip)));
}

std::unique_ptr<SurvivalModel> make_late_mean(std::vector<std::string> arms,
                                              std::vector<double> weights,
                                              const FittedSurvival& fitted) {
  return std::make_unique<LateMean>(std::move(arms), std::move(weights), fitted);
}

std::unique_ptr<SurvivalModel> load_late_mean(const Json& json, const FittedSurvival& fitted) {
  auto arms = json.at("arms").get<std::vector<std::string>>();
  if (arms.empty()) throw Error(ErrorKind::kFormat, "'arms' is empty");
  auto weights = numbers_of(json, "weights", arms.size());
  if (std::any_of(weights.begin(), weights.end(), [](double w) { return w < 0.0; })) {
    throw Error(ErrorKind::kFormat, "'weights' holds a number below 0");
  }
  return make_late_mean(std::move(arms), std::move(weights), fitted);
}

std::unique_ptr<SurvivalModel> load_late_stack(const Json& json, const FittedSurvival& fitted) {
  return LateStack::load(json, fitted);
}

LateStackFit fit_late_stack(std::vector<std::string> arms,
                            const Matrix<double>& oof,
                            const ss::SurvivalTimes& times,
                            double horizon_months,
                            const FittedSurvival& fitted) {
  auto model = std::make_unique<LateStack>(std::move(arms), horizon_months, fitted);
  model->fit(oof, times);
  const std::vector<double> horizon = {horizon_months};
  const auto risk = model->combined(oof, horizon);
  LateStackFit out;
  out.oof_risk.assign(risk.data(), risk.data() + risk.size());
  out.model = std::move(model);
  return out;
}

}  // namespace med3d::pipeline
