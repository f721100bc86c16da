// What the stages of a run share while it is at work. Each stage is a function of stages.cc's
// table; what it leaves for the next is in the run folder, and here what is costly to read again.
#pragma once

#include <exception>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "med3d/pipeline/cohort.h"
#include "med3d/pipeline/fold.h"
#include "med3d/pipeline/leaks.h"
#include "med3d/pipeline/raw_inputs.h"
#include "med3d/pipeline/run.h"
#include "med3d/pipeline/run_store.h"
#include "med3d/pipeline/slides/slide_folder.h"
#include "med3d/pipeline/stages.h"
#include "med3d/pipeline/survival_run.h"
#include "med3d/pipeline/volumes/volume_folder.h"

namespace med3d::pipeline {

// One fit: a fold of a repeat, or (repeat -1) all training patients.
struct Piece {
  int repeat = 0;
  int fold = 0;
  Partition partition;

  std::string name() const;  // "repeat01-fold03", "final"
};

class RunWork {
 public:
  RunWork(const RunSettings& asked, const RunOptions& how, Progress& told)
      : settings(asked), options(how), progress(told), out(how.output) {}

  const RunSettings& settings;
  const RunOptions& options;
  Progress& progress;
  std::filesystem::path out;
  std::unique_ptr<RunStore> store;
  std::map<std::string, std::string, std::less<>> keys;  // of stages
  RunSummary summary;

  // ---- slides and scans (raw_stages.cc)

  SlideFolder slide_folder() const { return {out / "slides"}; }
  VolumeFolder scan_folder() const { return {out / "scans"}; }
  std::filesystem::path series_index() const;

  // As found and chosen: read once, by whichever stage comes first.
  const std::vector<ChosenSlide>& slides();
  const std::vector<FilteredSeries>& series();
  // Those taken that are this shard's.
  std::vector<SlideItem> taken_slides();
  std::vector<VolumeItem> taken_scans();
  bool mine(const std::string& item) const;

  // Hash of all that decides what a stage makes of one slide or scan.
  std::string item_key(std::string_view stage, const SlideItem& slide);
  std::string item_key(std::string_view stage, const VolumeItem& scan);

  // Records an item unless the store has it so already. What goes wrong is thrown by rethrow(): a
  // stage's threads must not be unwound by it.
  void record(ItemRecord record);
  void rethrow();

  // ---- cohort and models (run.cc)

  const Cohort* cohort = nullptr;
  const Cohort* followed = nullptr;
  std::vector<Leak> leaks;
  std::string allowed_leak;  // why they are allowed; "" where there is none
  std::vector<ModelSpec> specs;
  std::vector<Piece> pieces;
  std::string resolved;  // settings as they decide the result
  std::string train_key, fuse_key, survival_key;
  // Of each piece; nothing where the stage that fits it has not been at work.
  std::vector<std::optional<FoldOutcome>> arms, fusions;
  // Kept from train to fuse, so that nothing is fitted twice in one call.
  std::vector<std::unique_ptr<FoldFit>> fits;

  // Joins table and vectors, if nobody has yet. Throws as load_cohort.
  void load();
  // Cohort sections with what aggregate made in place of [wsi], [ct] and [mri] features.
  CohortSettings cohort_settings();
  // Of the slides that were read, where training and test are told apart, and those given.
  std::vector<ImagePrint> images_for_leaks();
  // Checks, models, pieces, keys and the plan.
  void plan_models();

 private:
  std::optional<std::vector<ChosenSlide>> slides_;
  std::optional<std::vector<FilteredSeries>> series_;
  std::map<std::string, std::string> item_settings_;
  std::optional<Cohort> own_cohort_, own_followed_;
  std::mutex mutex_;
  std::exception_ptr error_;
};

void index_files(RunWork& run);
void filter_files(RunWork& run);
void segment_slides(RunWork& run);
void tile_chosen_slides(RunWork& run);
void extract_files(RunWork& run);
void aggregate_vectors(RunWork& run);
void join_cohort(RunWork& run);
void train_arms(RunWork& run);
void fuse_arms(RunWork& run);
void evaluate_run(RunWork& run);
void report_run(RunWork& run);

// "From raw files" of the report: items of each stage by outcome and reason, and the encoders. Null
// without [slides] and [scans].
Json raw_section(RunWork& run);

// Of a dry run: stages with items to do and done, estimated seconds, bytes on disk and in memory.
Json plan_files(RunWork& run);

}  // namespace med3d::pipeline
