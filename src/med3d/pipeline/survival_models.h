// Models of time to event: one head (elastic-net Cox, hazards of intervals, DeepSurv, boosted Cox)
// on one arm, on all arms side by side, and late fusion of the arms.
//
// A model is fitted on TrainingRows of a follow-up cohort (load_follow_up_cohort) and gives, for
// any patient, the probability of the event by any horizon; NaN for a patient of whom it has no
// modality. Patients whose follow-up a competing event ended count as censored then: the hazards
// are cause-specific.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "med3d/core/json.h"
#include "med3d/pipeline/models.h"
#include "med3d/stats/survival/times.h"

namespace med3d::pipeline {

class ArmInputs;

// The saved form of models of time to event: arrays, and the preprocessing of each arm, which the
// models of a fold share and which is therefore written once.
struct SurvivalArchive {
  TensorStore arrays;
  Json inputs = Json::object();  // of `arms`, by name
  std::map<std::string, std::shared_ptr<const ArmInputs>> arms;
};

class SurvivalModel {
 public:
  virtual ~SurvivalModel() = default;

  // (rows, horizons) P(event by the horizon), rising along a row; NaN where no modality is there.
  // horizons_months rising. A horizon beyond the training follow-up keeps the last value known.
  virtual Matrix<double> risk(const Cohort& cohort,
                              const Rows& rows,
                              std::span<const double> horizons_months) const = 0;

  // What the model is made of, for the report: coefficients, penalty, weights.
  virtual Json describe() const = 0;

  virtual std::vector<std::string> remarks() const { return {}; }

  // Cells of these patients that the model has not met before (unknown categories).
  virtual std::vector<std::string> input_warnings(const Cohort&, const Rows&) const { return {}; }

  // What load_survival_model makes the same model of, bit for bit. `name` is that of its arrays.
  virtual Json save(const std::string& name, SurvivalArchive& archive) const = 0;
};

using FittedSurvival = std::map<std::string, std::shared_ptr<const SurvivalModel>>;

// json, archive   from anywhere: nothing they say is taken on trust
// fitted          the models before it in its bundle, of which late fusion is made
// Throws Error(kFormat | kData) where they break their format or contradict each other.
std::unique_ptr<SurvivalModel> load_survival_model(const Json& json,
                                                   const SurvivalArchive& archive,
                                                   const FittedSurvival& fitted);
// Fills archive.arms from archive.inputs. Throws Error(kFormat).
void load_arm_inputs(SurvivalArchive& archive);

// Inputs that several heads share on the same training rows, so that they are made once. Not for
// more than one thread.
struct ArmInputCache {
  std::map<std::string, std::shared_ptr<const ArmInputs>> arms;
};

struct SurvivalRequest {
  const Cohort& cohort;
  const RunSettings& settings;
  const TrainingRows& training;
  std::uint64_t seed;
  ArmInputCache* inputs = nullptr;  // of these very training rows, or null
};

struct SurvivalSpec {
  std::string id;      // "clinical_cox", "early_deepsurv", "late_stacked"
  std::string label;   // "Clinical and genomic, Cox elastic net"
  std::string family;  // arm | head | fusion | baseline | reference, as report.json says
  std::string head;    // cox | discrete | deepsurv | boosted; empty for late fusion
  std::vector<std::string> arms;
  std::string reference;  // paper behind it
  // Throws Error(kData) where the training rows cannot support it. Null for late fusion, which is
  // built from out-of-fold risks of the arms.
  std::function<std::unique_ptr<SurvivalModel>(const SurvivalRequest&)> fit;
};

// Everybody's risk is that of the training patients (Kaplan-Meier).
inline constexpr const char* kNoCovariates = "kaplan_meier";

// In fitting order; depends on the cohort's modalities, [survival] heads and models.
// Throws Error(kUsage) for a model of [survival] models that there is not.
std::vector<SurvivalSpec> survival_model_list(const RunSettings& settings,
                                              const std::vector<std::string>& modalities);

// The arms that late fusion joins ("clinical_cox", "wsi_cox"), in order.
std::vector<std::string> survival_arm_ids(const std::vector<SurvivalSpec>& specs);

// Follow-up of some patients of a follow-up cohort.
stats::survival::SurvivalTimes times_of(const Cohort& cohort, const Rows& rows);

// One arm's out-of-fold risks as the input of late fusion: log(-log(1 - risk)), the log cumulative
// hazard, which a Cox model may weigh; NaN stays NaN.
double log_cumulative_hazard(double risk);

// Late fusion: a weighted mean of the risks of the arms present, weights renormalised over them;
// their plain mean where none of them has a weight.
std::unique_ptr<SurvivalModel> make_late_mean(std::vector<std::string> arms,
                                              std::vector<double> weights,
                                              const FittedSurvival& fitted);

// Late fusion: a Cox model of the arms' log cumulative hazards at the main horizon, centred, absent
// arms at their mean; coefficients below 0 are taken out and the rest fitted anew (Breiman 1996,
// stacked regressions). oof (n, arms) out-of-fold risks of the training rows at that horizon.
// Throws Error(kData) where no arm has a risk or there is no event.
struct LateStackFit {
  std::unique_ptr<SurvivalModel> model;
  std::vector<double> oof_risk;  // (n,) at that horizon, NaN where no arm has a risk
};
LateStackFit fit_late_stack(std::vector<std::string> arms,
                            const Matrix<double>& oof,
                            const stats::survival::SurvivalTimes& times,
                            double horizon_months,
                            const FittedSurvival& fitted);

}  // namespace med3d::pipeline
