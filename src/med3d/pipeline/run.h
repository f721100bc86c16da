// A whole run: cohort in, run folder out.
//
// The folder (docs/run_directory.md tells each file):
//   run.json, settings.toml, splits.csv, cohort.json       what was asked, of whom
//   folds/<repeat>-<fold>.json, folds/final.json            finished pieces of work
//   predictions.csv, metrics.json, report.json              what came out
//   survival_predictions.csv                                with [survival] enabled
//   clinical_features.csv, wsi_features.csv, ct_mri_features.csv
//   model/                                                  the bundle (bundle.h)
//
// Each file appears whole or not at all. A piece of work is done when its file is there and carries
// the key of this run (a hash of settings, cohort and version); a run that was killed goes on with
// what is missing and ends with the same bytes as one that was not.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "med3d/core/json.h"
#include "med3d/core/progress.h"
#include "med3d/pipeline/cohort.h"
#include "med3d/pipeline/leaks.h"
#include "med3d/pipeline/run_settings.h"

namespace med3d::pipeline {

struct RunOptions {
  std::filesystem::path output;
  int threads = 1;
  bool overwrite = false;  // replace a folder that holds another run
  bool dry_run = false;    // say what would be done, write nothing
  // Why a run goes on although training and test are not apart; "" = it is refused.
  std::string allow_leak = {};
  // Of a run on raw files, for the question whether training and test share one.
  std::vector<ImagePrint> images = {};
};

struct RunSummary {
  std::string key;
  std::size_t pieces = 0;      // folds and the final fit
  std::size_t taken_over = 0;  // found finished
  std::size_t failed_items = 0;
  Json report;  // as written to report.json; empty in a dry run
  Json plan;    // cohort, models and pieces of work
};

// Throws Error(kLeak) if training and test are not apart (leaks.h) and [validation] allow_leak
// gives no reason, kUsage if the folder holds another run and overwrite is off, kIo if it cannot be
// written or another process is at work in it; else as load_cohort.
RunSummary run(const RunSettings& settings, const RunOptions& options, Progress& progress);

// The same on a cohort in memory, for programs that made it themselves. `followed` is the follow-up
// cohort of the same patients (load_follow_up_cohort), needed where [survival] is enabled.
RunSummary run_cohort(const Cohort& cohort,
                      const RunSettings& settings,
                      const RunOptions& options,
                      Progress& progress,
                      const Cohort* followed = nullptr);

}  // namespace med3d::pipeline
