// The analysis of time to event inside a run: pieces fitted or taken over, then evaluated.
#pragma once

#include <filesystem>
#include <string>

#include "med3d/core/json.h"
#include "med3d/core/progress.h"
#include "med3d/pipeline/cohort.h"
#include "med3d/pipeline/run_settings.h"

namespace med3d::pipeline {

struct SurvivalSummary {
  std::size_t pieces = 0;
  std::size_t taken_over = 0;
  Json report;              // the section "survival" of report.json
  std::string predictions;  // survival_predictions.csv
};

// Pieces and models as they are planned, for a dry run.
Json plan_survival_json(const Cohort& cohort, const RunSettings& settings);

// Fits what is missing in `out`/folds; run_survival finds it done. Returns the number of pieces
// that were there before.
std::size_t fit_survival(const Cohort& cohort,
                         const RunSettings& settings,
                         const std::filesystem::path& out,
                         const std::string& key,
                         int threads,
                         Progress& progress);

// Fits what is missing in `out`/folds and evaluates. `key` names the run: pieces of another are
// made again. The result does not depend on `threads`.
SurvivalSummary run_survival(const Cohort& cohort,
                             const RunSettings& settings,
                             const std::filesystem::path& out,
                             const std::string& key,
                             int threads,
                             Progress& progress);

}  // namespace med3d::pipeline
