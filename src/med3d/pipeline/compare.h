// Predictions of several runs or outside programs against each other, on the same patients.
//
// A source is a run folder (predictions.csv, survival_predictions.csv) or a CSV file, one row a
// patient (and model); names of columns in any case, with spaces, '-' or '_':
//
//   case_id (patient, id ...)            joined as everywhere: spellings of TCGA and CPTAC ids
//   agree model                                optional: several predictors in one file probability
//   (prob, risk_probability) P(positive class), P(event by the horizon); or risk (risk_score,
//   score, hazard)     higher = worse, any scale: it ranks, it has no Brier score label optional: 0
//   or 1 time_months (or time_days), event    optional: follow-up, event 0 or 1
//
// What happened to a patient comes from the first source that says it; sources that disagree about
// a patient (another label, another event, times 0.1 months apart) are no comparison, and refused.
// Only patients whom all predictors answered, and whose outcome is known, are compared: how many
// each predictor lost by that is counted.
//
// Every predictor is compared with the reference, first minus second:
//
//   classes        AUROC (DeLong), Brier score (paired bootstrap)
//   time to event  Harrell's C and, at the horizon, the IPCW Brier score (both paired bootstrap)
//
// Percentile intervals; p two-sided; Holm over the comparisons of one metric. A negative difference
// of Brier scores favours the first.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "med3d/core/json.h"
#include "med3d/stats/estimate.h"

namespace med3d::pipeline {

struct CompareOptions {
  std::string task = "auto";        // "auto", "classes", "survival"; auto: survival where every
                                    // run folder holds it, or a file has times and no labels
  std::string set = "auto";         // of run folders; auto: "test" where every run has it, else
                                    // "cross-validation"
  std::vector<std::string> models;  // ids to take from each source; empty: of a run the best arm,
                                    // fusion and baseline (by cross-validation), of a file all
  std::string reference;        // name of the predictor the others are compared with; empty: first
  double horizon_months = 0.0;  // 0: the main horizon of the first run, or no Brier score
  int bootstrap = 2000;
  double confidence = 0.95;
  std::uint64_t seed = 0;
  int threads = 1;

  void validate() const;  // throws Error(kUsage) naming the field
};

struct ComparedPredictor {
  std::string name;                                              // "run-a: clinical_cox", "other"
  std::string source;                                            // as it was given
  std::size_t patients = 0;                                      // with a prediction
  std::size_t not_common = 0;                                    // of these, not in the comparison
  bool probabilities = false;                                    // else a risk that only ranks
  std::vector<std::pair<std::string, stats::Estimate>> metrics;  // on the common patients
};

struct ComparedPair {
  std::string metric;  // "auroc", "brier", "c_index"
  std::string first;
  std::string second;  // the reference
  std::string test;    // "DeLong", "paired bootstrap"
  stats::Estimate difference;
  double p = std::numeric_limits<double>::quiet_NaN();
  double p_adjusted = std::numeric_limits<double>::quiet_NaN();
};

struct Comparison {
  std::string task;  // "classes" or "survival"
  std::string set;   // of the run folders, or ""
  double horizon_months = 0.0;
  std::size_t n = 0;                // patients in common
  std::size_t events = 0;           // positives, or events seen
  std::size_t without_outcome = 0;  // answered by all, outcome unknown
  std::vector<ComparedPredictor> predictors;
  std::vector<ComparedPair> pairs;  // by metric, then in the order of the predictors
};

// Cost: bootstrap * pairs evaluations of O(n log n).
// Throws Error(kUsage) for bad options, fewer than two predictors or a reference that is none of
// them; kNotFound for a missing source, model or set; kFormat for a table without the columns;
// kData for two rows of one patient and model, values that are no numbers, sources that disagree,
// no patient in common.
Comparison compare_predictions(const std::vector<std::filesystem::path>& sources,
                               const CompareOptions& options);

Json comparison_json(const Comparison& comparison);
std::string comparison_csv(const Comparison& comparison);
std::string comparison_text(const Comparison& comparison);  // for a terminal, ending in a newline

}  // namespace med3d::pipeline
