// The models of time to event in a bundle: survival.json says everything, survival.safetensors
// holds the numbers, beside the classifiers' two files.
//
// Beside each model stands what it said of the training patients while it had not seen them
// (out-of-fold risks at the main horizon), so that a new patient's risk can be given a rank among
// them and the follow-up of those whose risk was alike.
//
// A patient whose follow-up a competing event ended counts as censored, here as in the fit.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "med3d/core/json.h"
#include "med3d/pipeline/survival_fold.h"
#include "med3d/stats/estimate.h"

namespace med3d::pipeline {

// Training patients of one third of the out-of-fold risk, as they were followed.
struct RiskGroup {
  std::size_t n = 0;
  std::size_t events = 0;
  // Kaplan-Meier at each horizon with its interval on the log-log scale; not estimable in fewer
  // than 10 patients or beyond the follow-up.
  std::vector<stats::Estimate> survival;
};

struct SavedSurvival {
  std::string id;                       // "clinical_cox"
  std::string label;                    // "Clinical and genomic, Cox elastic net"
  std::string family;                   // as SurvivalSpec has it
  std::vector<std::string> modalities;  // that it may use
  std::vector<double> risks;            // rising out-of-fold risks, 1000 even steps at most
  std::vector<double> cuts;             // two, or none where there were too few patients
  std::vector<RiskGroup> groups;        // low, intermediate, high; none without cuts

  // Share of the training patients whose risk is lower, equal ones half, in percent; NaN if
  // unknown.
  double percentile(double risk) const;
  int group(double risk) const;  // 0, 1, 2, or -1
};

struct SurvivalBundle {
  std::string endpoint;  // "PFI"
  std::vector<double> horizons_months;
  double main_horizon_months = 0.0;
  bool synthetic = false;
  std::vector<std::string> modalities;
  std::vector<std::string> columns;
  std::vector<std::string> missing_values;
  std::map<std::string, int> widths;
  std::vector<SavedSurvival> saved;  // in the order of the fit
  FittedSurvival models;
};

inline constexpr const char* kSurvivalFiles[] = {"model/survival.json",
                                                 "model/survival.safetensors"};

// Writes both files, arrays first. `training` are the rows of `fit`.
void write_survival_bundle(const std::filesystem::path& folder,
                           const Cohort& cohort,
                           const RunSettings& settings,
                           const std::vector<SurvivalSpec>& specs,
                           const FittedSurvivalFold& fit,
                           const Rows& training);

// As read_bundle: nothing the files say is taken on trust.
// Throws Error(kFormat | kData | kUnsupported) as read_bundle, kNotFound where there is none.
SurvivalBundle read_survival_bundle(const std::filesystem::path& folder);

}  // namespace med3d::pipeline
