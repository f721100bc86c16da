// What the models of time to event share: inputs of each arm, and relative hazards with a baseline.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "med3d/nn/fusion_net.h"
#include "med3d/pipeline/models/rows_internal.h"
#include "med3d/pipeline/survival_models.h"
#include "med3d/tabular/clinical_encoder.h"

namespace med3d::pipeline {

// One arm's patients as numbers: the encoded table, or the leading principal components of the mean
// of a patient's vectors. Everything is learnt from the training rows that have the arm; columns
// have mean 0 there, and standard deviation 1 unless constant.
class ArmInputs {
 public:
  // columns   of the table; empty = all. components 0 = all features.
  static ArmInputs fit(const SurvivalRequest& request,
                       const std::string& arm,
                       const std::vector<std::string>& columns = {});

  // (rows, width), zeros where the arm is absent, which `present` tells.
  VectorBlock apply(const Cohort& cohort, const Rows& rows) const;

  const std::string& arm() const { return arm_; }
  std::size_t width() const { return names_.size(); }
  const std::vector<std::string>& names() const { return names_; }
  std::vector<std::string> warnings(const Cohort& cohort, const Rows& rows) const;

  Json save(const std::string& name, TensorStore& store) const;
  static ArmInputs load(const Json& json, const std::string& name, const TensorStore& store);

 private:
  Matrix<double> raw(const Cohort& cohort, const Rows& rows) const;  // rows that have the arm

  std::string arm_;
  tabular::ClinicalEncoder encoder_;
  std::vector<double> mean_, scale_;  // of the raw features; scale 0 = constant
  Matrix<double> loading_;            // (features, components), empty without reduction
  std::vector<std::string> names_;
};

// The arms of a model side by side.
class SurvivalInputs {
 public:
  static SurvivalInputs fit(const SurvivalRequest& request,
                            const std::vector<std::string>& arms,
                            const std::vector<std::string>& columns = {});

  // Rows of which at least one arm is there, and their blocks.
  struct Part {
    Selected chosen;
    nn::FusionInput input;
  };
  Part apply(const Cohort& cohort, const Rows& rows) const;

  // Blocks and, for two arms or more, presence bits in one row; absent blocks hold `fill`.
  Matrix<double> flat(const nn::FusionInput& input, double fill) const;
  std::vector<std::string> names() const;  // of the columns of flat()
  std::size_t width() const;               // their number
  std::vector<std::size_t> block_widths() const;
  const std::vector<std::string>& arms() const { return arms_; }
  std::vector<std::string> warnings(const Cohort& cohort, const Rows& rows) const;

  Json save(SurvivalArchive& archive) const;
  static SurvivalInputs load(const Json& json, const SurvivalArchive& archive);

 private:
  std::vector<std::string> arms_;
  std::vector<std::shared_ptr<const ArmInputs>> inputs_;
};

// From log relative hazards to probabilities: risk(t) = 1 - exp(-H0(t) exp(f - middle)), Breslow's
// H0 of the training rows, `middle` their mean f so that no exponential overflows.
class RelativeHazard {
 public:
  RelativeHazard() = default;
  RelativeHazard(const stats::survival::SurvivalTimes& times, std::span<const double> f);

  double risk(double f, double time_months) const;
  double cumulative_baseline(double time_months) const;  // last value beyond the follow-up

  Json to_json() const;
  static RelativeHazard from_json(const Json& json);  // throws Error(kFormat)

 private:
  double middle_ = 0.0;
  std::vector<double> time_;
  std::vector<double> hazard_;
};

// What turns input rows into risks.
class SurvivalHead {
 public:
  virtual ~SurvivalHead() = default;
  virtual Matrix<double> risk(const SurvivalInputs& inputs,
                              const nn::FusionInput& rows,
                              std::span<const double> horizons_months) const = 0;
  virtual Json describe() const = 0;
  virtual std::vector<std::string> remarks() const { return {}; }
  virtual Json save(const std::string& name, TensorStore& store) const = 0;
};

// Each fits on rows that the caller took from TrainingRows.
struct HeadRequest {
  const SurvivalInputs& inputs;
  const nn::FusionInput& rows;
  const stats::survival::SurvivalTimes& times;
  const RunSettings& settings;
  std::uint64_t seed;
};
std::unique_ptr<SurvivalHead> fit_cox_head(const HeadRequest& request);
std::unique_ptr<SurvivalHead> fit_boosted_head(const HeadRequest& request);
std::unique_ptr<SurvivalHead> fit_deepsurv_head(const HeadRequest& request, nn::FusionMode mode);
std::unique_ptr<SurvivalHead> fit_discrete_head(const HeadRequest& request, nn::FusionMode mode);

// And back from a bundle.
struct HeadSource {
  const Json& json;
  const TensorStore& store;
  const SurvivalInputs& inputs;
};
std::unique_ptr<SurvivalHead> load_cox_head(const HeadSource& source);
std::unique_ptr<SurvivalHead> load_boosted_head(const HeadSource& source);
std::unique_ptr<SurvivalHead> load_deepsurv_head(const HeadSource& source);
std::unique_ptr<SurvivalHead> load_discrete_head(const HeadSource& source);

using FitHead = std::function<std::unique_ptr<SurvivalHead>(const HeadRequest&)>;
std::unique_ptr<SurvivalModel> fit_survival_model(const SurvivalRequest& request,
                                                  const std::vector<std::string>& arms,
                                                  const std::vector<std::string>& columns,
                                                  const FitHead& fit_head);

std::unique_ptr<SurvivalModel> fit_no_covariates(const SurvivalRequest& request);

using LoadHead = std::function<std::unique_ptr<SurvivalHead>(const HeadSource&)>;
std::unique_ptr<SurvivalModel> load_head_model(const Json& json,
                                               const SurvivalArchive& archive,
                                               const LoadHead& load_head);
std::unique_ptr<SurvivalModel> load_no_covariates(const Json& json);
std::unique_ptr<SurvivalModel> load_late_mean(const Json& json, const FittedSurvival& fitted);
std::unique_ptr<SurvivalModel> load_late_stack(const Json& json, const FittedSurvival& fitted);

// A list of finite numbers of a bundle. Throws Error(kFormat), also for another length than
// `expected` where that is not 0.
std::vector<double> numbers_of(const Json& json, const char* key, std::size_t expected = 0);

}  // namespace med3d::pipeline
