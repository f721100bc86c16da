// From the pieces of a survival analysis to figures: one risk curve a patient, every metric with n,
// events and interval, risk groups, comparisons, subgroups.
//
// Repeats give a patient several risk curves, all by models that never saw the patient: their mean
// is the patient's. It ranks by the risk at the main horizon. A patient's group is that of the mean
// risk among the mean cut-points of exactly those models.
//
// Intervals: Harrell's and Uno's C, integrated Brier score and ICI by bootstrap over patients
// (percentiles); AUC(t) and Brier(t) by their influence functions; observed over expected and slope
// as horizon_calibration.h says. What a set cannot support is "not_estimable" with its reason.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "med3d/core/json.h"
#include "med3d/pipeline/score_baselines.h"
#include "med3d/pipeline/survival_fold.h"

namespace med3d::pipeline {

struct SurvivalPredictions {
  Matrix<double> risk;           // (rows, risk_times); NaN rows = no prediction
  Matrix<double> cuts;           // (rows, 2) mean cut-points of the models that predicted the row
  std::vector<double> repeat_c;  // Harrell's C of each repeat by itself
  std::string not_fitted;        // the reason, if it was fitted in no piece
  std::size_t fitted = 0;
  std::size_t pieces = 0;
  Json description;  // of the last piece

  bool has(std::size_t i) const;
  int group(std::size_t i, std::size_t horizon) const;  // 0 low, 1 intermediate, 2 high, -1 none
};

struct SurvivalSet {
  std::string name;
  double share = 1.0;  // of the training side (learning curve)
  double n_training = 0.0;
  double events_training = 0.0;  // means over the pieces
  Rows rows;
  std::map<std::string, SurvivalPredictions> models;
};

struct SurvivalContext {
  const Cohort& cohort;  // of follow-up
  const RunSettings& settings;
  const std::vector<SurvivalSpec>& specs;
  std::vector<SurvivalSet> sets;
  int threads = 1;
  const ScoreBaselines* scores = nullptr;  // of the same cohort; null: no clinical scores
};

// Pieces of one name put together, in the order in which names first appear.
std::vector<SurvivalSet> aggregate_survival(const Cohort& cohort,
                                            const RunSettings& settings,
                                            const std::vector<SurvivalPiece>& pieces,
                                            const std::vector<SurvivalFold>& folds);

// The section "survival" of report.json and metrics.json: endpoint, follow-up, incidence,
// sample_size, models (each with its sets: metrics, groups, calibration, decision_curve, ph),
// comparisons, subgroups, learning_curve, best, warnings.
Json evaluate_survival(const SurvivalContext& context);

// Rows of survival_predictions.csv: patient, set, model, follow-up, outcome ("event", "censored",
// "competing"), risk at each horizon, cut-points, group.
std::string survival_predictions_csv(const SurvivalContext& context);

}  // namespace med3d::pipeline
