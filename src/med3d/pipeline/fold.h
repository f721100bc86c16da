// One training side of the validation, fitted from beginning to end without a look at the held-out
// patients: selection, thresholds and late-fusion weights come from folds inside it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "med3d/core/json.h"
#include "med3d/core/progress.h"
#include "med3d/pipeline/models.h"

namespace med3d::pipeline {

// What one model says of the held-out patients, and how it came to it.
struct ModelOutcome {
  std::vector<double> probability;  // of the held-out rows, in their order; NaN = no prediction
  double threshold = 0.5;           // from out-of-fold predictions of the training rows
  std::string not_fitted;           // why the training rows could not support it; empty if fitted
  std::vector<std::string> chosen;  // settings that nested selection chose, "key=value"
  std::map<std::string, double> weights;  // late fusion: weight of each arm
};

struct FoldOutcome {
  int repeat = 0;  // -1: the final fit on all training rows
  int fold = 0;
  Rows held_out;
  std::map<std::string, ModelOutcome> models;  // by model id

  Json to_json() const;
  static FoldOutcome from_json(const Json& json);
};

struct FittedFold {
  FoldOutcome outcome;
  FittedModels models;
};

// Fits every model of the list on the training side and predicts for the held-out side.
//
// Inside the training side, `inner_folds` give each model out-of-fold predictions. From these alone
// come: the candidate of [validation] select that is best by selection_metric; the threshold; an
// arm's late-fusion weight; the learned late weights. A model whose training rows hold one class is
// recorded as not fitted and the rest go on.
//
// The out-of-fold predictions of late fusion itself (for its threshold) use the weights fitted on
// the same predictions: two or three numbers on hundreds of patients, all of them training rows.
FittedFold fit_fold(const Cohort& cohort,
                    const RunSettings& settings,
                    const std::vector<ModelSpec>& specs,
                    const Partition& partition,
                    std::uint64_t seed,
                    Progress& progress);

// What the fusions of a training side need of its arms.
struct FoldFit {
  std::vector<FittedModels> inner;  // fitted on the training side of each inner fold
  std::map<std::string, std::vector<double>> out_of_fold;  // by model, of the training rows
  FittedModels models;                                     // fitted on all training rows
};

// The same in two steps: first the models of `specs` that stand alone (is_fusion says no), then,
// with what these left in `fit`, the others. Together they give what fit_fold gives, to the bit.
FoldOutcome fit_arms(const Cohort& cohort,
                     const RunSettings& settings,
                     const std::vector<ModelSpec>& specs,
                     const Partition& partition,
                     std::uint64_t seed,
                     FoldFit& fit,
                     Progress& progress);
FoldOutcome fit_fusions(const Cohort& cohort,
                        const RunSettings& settings,
                        const std::vector<ModelSpec>& specs,
                        const Partition& partition,
                        std::uint64_t seed,
                        FoldFit& fit,
                        Progress& progress);

// What fit_fusions needs to predict for the held-out rows, from an outcome of fit_arms that was
// stored: out-of-fold and held-out predictions are taken from there, and the clinical arm alone,
// whose hidden layers early fusion reads, is fitted again. For models that are to be kept (the
// final fit) nothing but fit_arms will do.
FoldFit restore_arms(const Cohort& cohort,
                     const RunSettings& settings,
                     const std::vector<ModelSpec>& specs,
                     const Partition& partition,
                     std::uint64_t seed,
                     const FoldOutcome& arms,
                     std::map<std::string, std::vector<double>> out_of_fold,
                     Progress& progress);

// The cut-point with the highest balanced accuracy over the distinct probabilities; the midpoint
// between neighbours, and the one nearest 0.5 among equals. 0.5 where a class is missing.
double best_threshold(std::span<const std::uint8_t> label, std::span<const double> probability);

// The second label that [validation] stratify_by_source balances over folds; empty if it is off.
std::vector<int> source_strata(const Cohort& cohort, const RunSettings& settings);

// Units of progress that one fit_fold reports: models times (inner folds + 1).
std::size_t fold_units(const RunSettings& settings, const std::vector<ModelSpec>& specs);

// Those of the list that fit_arms fits, or (fusions) the others.
std::vector<ModelSpec> part_of(const std::vector<ModelSpec>& specs, bool fusions);

}  // namespace med3d::pipeline
