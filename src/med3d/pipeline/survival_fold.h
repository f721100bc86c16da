// One training side of the analysis of time to event, fitted without a look at the held-out
// patients, and the validation designs that make such sides.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "med3d/core/json.h"
#include "med3d/core/progress.h"
#include "med3d/pipeline/survival_models.h"

namespace med3d::pipeline {

// The horizons of [survival], with [endpoint] horizon_months among them where there is one.
std::vector<double> survival_horizons(const RunSettings& settings);
// The one whose risk ranks patients: [endpoint] horizon_months, else the second of the list.
double main_horizon(const RunSettings& settings);
// Times at which risks are kept: the horizons and ten even steps up to the last, for the integrated
// Brier score. Rising.
std::vector<double> risk_times(const RunSettings& settings);

struct SurvivalOutcome {
  Matrix<double> risk;       // (held_out, risk_times); NaN rows = no prediction
  std::vector<double> cuts;  // thirds of the out-of-fold risk of the training rows, main horizon
  std::string not_fitted;    // why the training rows could not support it; empty if fitted
  Json description;          // of the fit on all of the training side
};

// A training side and those to judge on. `set` names the patients' results: pieces of one set are
// put together by patient.
struct SurvivalPiece {
  std::string set;  // "cross-validation", "test", "TCGA to CPTAC", "leave-one-site-out", ...
  int repeat = 0;
  int fold = 0;
  double share = 1.0;  // of the training side that is used (learning curve)
  Partition partition;

  std::string file() const;  // "survival-tcga-to-cptac-r01-f01.json"
};

struct SurvivalFold {
  std::size_t n_training = 0;
  std::size_t events_training = 0;
  Rows held_out;
  std::map<std::string, SurvivalOutcome> models;

  Json to_json() const;
  static SurvivalFold from_json(const Json& json);  // throws Error(kFormat)
};

// With the models themselves, and what those fitted on inner folds say of the training patients
// that they have not seen.
struct FittedSurvivalFold {
  SurvivalFold outcome;
  FittedSurvival models;
  // (training rows,) risk at the main horizon, NaN = none; of late fusion with the weights that
  // were fitted on these very risks of its arms.
  std::map<std::string, std::vector<double>> out_of_fold;
};

// All pieces of [survival] designs and learning_curve, on the train rows; the first is the fit on
// all of them, judged on the test rows where there are any ("test").
//
//   cross-validation  folds and repeats of [validation], balanced by event
//   source            train on one source, test on all others
//   site              each TCGA tissue source site is left out once; sites below min_site_patients
//                     and patients without one (by source) are left out together
//   preserved-site    folds of [validation] in which no site is divided, balanced by events
//   learning_curve    the folds of the first repeat with a share of their training side
//
// Site designs follow Howard et al., Nat Commun 12:4423, 2021. doi:10.1038/s41467-021-24698-1
// Throws Error(kData) where the cohort cannot be divided so (one source, one site).
std::vector<SurvivalPiece> plan_survival(const Cohort& cohort, const RunSettings& settings);

// Fits every model. Inside the training side, [validation] inner_folds give out-of-fold risks, from
// which alone come the cut-points of risk groups, the weights of late fusion (C-index above one
// half) and the stacked Cox model.
FittedSurvivalFold fit_survival_fold(const Cohort& cohort,
                                     const RunSettings& settings,
                                     const std::vector<SurvivalSpec>& specs,
                                     const Partition& partition,
                                     std::uint64_t seed,
                                     Progress& progress);

// Units of progress of one fit_survival_fold.
std::size_t survival_units(const RunSettings& settings, const std::vector<SurvivalSpec>& specs);

}  // namespace med3d::pipeline
