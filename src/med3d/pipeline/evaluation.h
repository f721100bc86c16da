// From folds to figures: one prediction per patient and set, every metric with n, events and
// interval, paired comparisons, and a table per pattern of available modalities.
//
// Cross-validation over R repeats gives each patient R predictions, all by models that never saw
// the patient. Their mean is the patient's probability; the patient counts as predicted positive
// where the mean probability reaches the mean of the thresholds of exactly those models. So n is
// the number of patients, not of predictions. The spread over repeats is reported beside it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "med3d/core/json.h"
#include "med3d/pipeline/fold.h"
#include "med3d/pipeline/score_baselines.h"
#include "med3d/stats/metric_set.h"

namespace med3d::pipeline {

struct ModelPredictions {
  std::vector<double> probability;      // per row of the set; NaN = no prediction
  std::vector<double> threshold;        // per row: mean threshold of the models that predicted it
  std::vector<std::uint8_t> predicted;  // per row; meaningless where probability is NaN
  std::vector<double> repeat_auroc;     // one per repeat, NaN where not estimable
  std::string not_fitted;               // the reason, if it was fitted in no fold
  std::size_t folds_fitted = 0;
  std::size_t folds = 0;
  std::map<std::string, double> weights;      // late fusion, mean over folds
  std::map<std::string, std::size_t> chosen;  // "key=value": folds that chose it

  bool any() const;  // at least one prediction
};

struct SetPredictions {
  std::string name;  // "cross-validation" or "test"
  Rows rows;
  std::map<std::string, ModelPredictions> models;
};

// Predictions of all repeats for the patients they cover, in row order.
SetPredictions aggregate(const std::string& name,
                         const Cohort& cohort,
                         const std::vector<FoldOutcome>& outcomes);

// {"value", "low", "high"} or {"not_estimable": reason}.
Json to_json(const stats::Estimate& estimate);

struct EvaluationContext {
  const Cohort& cohort;
  const RunSettings& settings;
  const std::vector<ModelSpec>& specs;
  std::vector<SetPredictions> sets;
  int threads = 1;
  const ScoreBaselines* scores = nullptr;  // of the same cohort; null: no clinical scores
};

// The sections "models", "comparisons", "availability_results", "late_weights" and "selection" of
// report.json.
Json evaluate_models(const EvaluationContext& context);

// One model on one set: n, positives, negatives, threshold, metrics and confusion matrix.
Json set_metrics_json(const EvaluationContext& context,
                      const std::string& model_id,
                      const SetPredictions& set,
                      const ModelPredictions& model);

// [validation] interval as the statistics name it.
stats::IntervalKind interval_kind(const RunSettings& settings);

// The best model of some families in the first set by [validation] rank_metric; empty if none.
std::string best_of_families(const EvaluationContext& context,
                             const Json& models,
                             const std::vector<std::string>& families);

// Rows of predictions.csv: patient, set, model, label, probability, threshold, class, modalities.
std::string predictions_csv(const EvaluationContext& context);

// The modalities a patient has, in the cohort's order: {"clinical", "wsi"}.
std::vector<std::string> available_modalities(const Cohort& cohort, std::size_t row);

}  // namespace med3d::pipeline
