// A whole run: slides, scans and tables, or a cohort of vectors, in; run folder out.
//
// The folder (docs/run_directory.md tells each file):
//   slides/, scans/                                         with [slides], [scans]: what they gave
//   run.json, settings.toml, splits.csv, cohort.json        what was asked, of whom
//   folds/<repeat>-<fold>.json, folds/final.json            finished pieces of work
//   predictions.csv, metrics.json, report.json              what came out
//   survival_predictions.csv                                with [survival] enabled
//   clinical_features.csv, wsi_features.csv, ct_mri_features.csv
//   model/                                                  the bundle (bundle.h)
//
//   state.sqlite, log.jsonl, manifest.json                  the registry of items (run_store.h)
//
// The stages are in stages.h. Each file appears whole or not at all. A piece of work is done when
// its files are there and carry its key (a hash of settings, inputs and version); a run that was
// killed goes on with what is missing and ends with the same bytes as one that was not.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "med3d/core/json.h"
#include "med3d/core/progress.h"
#include "med3d/pipeline/cohort.h"
#include "med3d/pipeline/leaks.h"
#include "med3d/pipeline/run_settings.h"
#include "med3d/pipeline/run_store.h"
#include "med3d/pipeline/stages.h"

namespace med3d::pipeline {

struct RunOptions {
  std::filesystem::path output;
  int threads = 1;
  bool overwrite = false;  // replace a folder that holds another run
  bool dry_run = false;    // say what would be done, write nothing
  // Why a run goes on although training and test are not apart; "" = it is refused.
  std::string allow_leak = {};
  // For the question whether training and test share one, beside the slides that the run reads.
  std::vector<ImagePrint> images = {};
  StageChoice choice = {};  // some of the stages
  Shard shard = {};         // some of the slides and scans: it ends after stage extract
  // Draws report.html from the folder's report.json (report/report.h); none = no page.
  std::function<void(const std::filesystem::path& folder)> draw_page = {};
  // Told of the run store as long as it is open, then nullptr: for who must end the process.
  std::function<void(RunStore*)> store_in_use = {};
};

struct RunSummary {
  std::string key;
  std::size_t pieces = 0;      // folds and the final fit
  std::size_t taken_over = 0;  // found finished
  std::size_t failed_items = 0;
  Json report;             // as written to report.json; null where stage report was not reached
  Json plan;               // of a dry run: stages of files; cohort, models and pieces of work
  std::string ended_with;  // the last stage that was worked on
};

// Of slides and scans, those that failed are outcomes and the others go on. A folder of the same
// settings whose slides, scans or table changed since is brought up to date; what is unchanged
// stays.
//
// Throws Error(kUsage) if the folder holds another run and overwrite is off, or if a stage that is
// left out by `choice` was not done before; kIo if it cannot be written or another process is at
// work in it; LeakError if training and test are not apart (leaks.h) and allow_leak gives no
// reason; Stopped (core/stop.h); else as load_cohort.
RunSummary run(const RunSettings& settings, const RunOptions& options, Progress& progress);

// The same on a cohort in memory, for programs that made it themselves. `followed` is the follow-up
// cohort of the same patients (load_follow_up_cohort), needed where [survival] is enabled.
RunSummary run_cohort(const Cohort& cohort,
                      const RunSettings& settings,
                      const RunOptions& options,
                      Progress& progress,
                      const Cohort* followed = nullptr);

}  // namespace med3d::pipeline
