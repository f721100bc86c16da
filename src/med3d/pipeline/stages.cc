#include "med3d/pipeline/stages.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>

#include "med3d/core/error.h"
#include "med3d/core/hash.h"
#include "med3d/core/text.h"
#include "med3d/pipeline/run_work_internal.h"
#include "med3d/pipeline/version.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;

// Keys that change how fast, not what.
constexpr std::string_view kNoMatter[] = {
    "run.threads", "slides.batch_size", "slides.readers", "slides.folder", "scans.folder"};

const std::vector<Stage>& table() {
  static const std::vector<Stage> list = {
      {"index",
       "find slides and series",
       {},
       {"slides.slide_ext",
        "slides.list",
        "scans.volumes",
        "scans.case_ids",
        "scans.keep_ids",
        "scans.secret_file"},
       {"scans/.index"},
       true,
       false,
       &index_files},
      {"filter",
       "choose slides and series",
       {"index"},
       {"slides.slide_kinds",
        "slides.sample_kinds",
        "slides.process_list",
        "scans.filter",
        "scans.rules"},
       {"scans/series.csv", "scans/summary.csv", "scans/rules.csv", "scans/rules.toml"},
       true,
       false,
       &filter_files},
      {"segment",
       "outline tissue",
       {"filter"},
       {"slides.process_list",
        "slides.mpp",
        "slides.preset",
        "slides.seg_level",
        "slides.sthresh",
        "slides.mthresh",
        "slides.close",
        "slides.use_otsu",
        "slides.a_t",
        "slides.a_h",
        "slides.max_n_holes",
        "slides.pictures",
        "slides.mode",
        "slides.retry"},
       {"slides/contours_geojson", "slides/masks"},
       true,
       true,
       &segment_slides},
      {"tile",
       "cover tissue with tiles",
       {"segment"},
       {"slides.patch_size",
        "slides.step_size",
        "slides.target_mpp",
        "slides.patch_level",
        "slides.mag",
        "slides.overlap",
        "slides.min_tissue_proportion",
        "slides.contour_fn",
        "slides.padding"},
       {"slides/patches", "slides/stitches", "slides/process_list_autogen.csv"},
       true,
       true,
       &tile_chosen_slides},
      {"extract",
       "encode tiles and scans",
       {"tile", "filter"},
       {"slides.encoder", "slides.weights",  "slides.precision",     "slides.engine",
        "slides.device",  "slides.input_px", "slides.mean",          "slides.std",
        "slides.stain",   "slides.quality",  "slides.max_bad_tiles", "slides.seed",
        "scans.masks",    "scans.margin_mm", "scans.tilt",           "scans.gaps",
        "scans.recipe",   "scans.size",      "scans.spacing",        "scans.orientation",
        "scans.noise",    "scans.encoder",   "scans.weights",        "scans.precision",
        "scans.engine",   "scans.device",    "scans.shortcut",       "scans.seed"},
       {"slides/h5_files", "slides/pt_files", "scans/ct", "scans/mri"},
       true,
       true,
       &extract_files},
      {"aggregate",
       "pool to vectors of slides, scans and patients",
       {"extract"},
       {"slides.slide_pool",
        "slides.patient_pool",
        "slides.model",
        "slides.slide_table",
        "slides.vectors",
        "scans.pool",
        "scans.model",
        "scans.vectors"},
       {"slides/wsi_slide_features.csv", "slides/wsi_features.csv", "scans/ct_mri_features.csv"},
       true,
       false,
       &aggregate_vectors},
      {"tabular",
       "join table and vectors, divide patients",
       {"aggregate"},
       {"cohort", "endpoint", "clinical", "split", "ct", "mri", "wsi", "genomic"},
       {"run.json", "settings.toml", "cohort.json", "splits.csv"},
       false,
       false,
       &join_cohort},
      {"train",
       "fit arms and baselines on each training side",
       {"tabular"},
       {"run.seed",
        "run.device",
        "run.models",
        "validation.folds",
        "validation.repeats",
        "validation.inner_folds",
        "validation.stratify_by_source",
        "validation.threshold",
        "validation.selection_metric",
        "validation.select",
        "clinical_arm",
        "radiology_arm",
        "wsi_arm",
        "baseline_mlp",
        "classical"},
       {"folds"},
       false,
       false,
       &train_arms},
      {"fuse",
       "fit fusions, the final models and those of time to event",
       {"train"},
       {"fusion", "survival"},
       {"folds",
        "model",
        "final.json",
        "clinical_features.csv",
        "wsi_features.csv",
        "ct_mri_features.csv",
        "ct_features.csv",
        "mri_features.csv"},
       false,
       false,
       &fuse_arms},
      {"evaluate",
       "metrics with intervals, comparisons",
       {"fuse"},
       {"validation"},
       {"predictions.csv",
        "survival_predictions.csv",
        "clinical_scores.csv",
        "metrics.json",
        "evaluation.json"},
       false,
       false,
       &evaluate_run},
      {"report",
       "one page of all of it",
       {"evaluate"},
       {},
       {"report.json", "report.html", "figures", "manifest.json"},
       false,
       false,
       &report_run},
  };
  return list;
}

std::vector<std::string> names() {
  std::vector<std::string> out;
  for (const auto& stage : table()) out.emplace_back(stage.name);
  return out;
}

std::size_t position(std::string_view name) {
  return static_cast<std::size_t>(&find_stage(name) - table().data());
}

// A file stands for its content; a folder's items have keys of their own. Weights are large and
// several stages depend on them: they are read once.
Json content_of(const fs::path& path) {
  static std::mutex mutex;
  static std::map<std::string, std::string> known;
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return "";
  const std::string version_of_file =
      fmt::format("{} {} {}",
                  path.string(),
                  fs::file_size(path, error),
                  fs::last_write_time(path, error).time_since_epoch().count());
  const std::lock_guard lock(mutex);
  auto& hash = known[version_of_file];
  if (hash.empty()) hash = sha256_file(path);
  return hash;
}

}  // namespace

std::span<const Stage> stages() { return table(); }

const Stage& find_stage(std::string_view name) {
  for (const auto& stage : table()) {
    if (stage.name == name) return stage;
  }
  throw Error(ErrorKind::kUsage,
              fmt::format("no stage '{}'{}; there are {}",
                          name,
                          did_you_mean(std::string(name), names()),
                          join(names(), ", ")));
}

void StageChoice::validate() const {
  for (const auto* name : {&from, &until, &only}) {
    if (!name->empty()) (void)find_stage(*name);
  }
  if (!only.empty() && !(from.empty() && until.empty())) {
    throw Error(ErrorKind::kUsage, "--only: a single stage; --from and --until name a range");
  }
  if (!from.empty() && !until.empty() && position(from) > position(until)) {
    throw Error(ErrorKind::kUsage, fmt::format("--from {}: comes after --until {}", from, until));
  }
}

bool StageChoice::takes(const Stage& stage) const {
  if (!only.empty()) return stage.name == only;
  const std::size_t at = position(stage.name);
  return (from.empty() || at >= position(from)) && (until.empty() || at <= position(until));
}

std::string settings_of_stage(const RunSettings& settings,
                              const Stage& stage,
                              std::string_view section) {
  RunSettings copy = settings;
  SettingsSchema schema;
  copy.describe(schema);
  const Json values = settings_json(schema, {});
  std::string out;
  for (const auto& field : schema.fields()) {
    const std::string key = field.section + "." + field.key;
    const bool asked =
        std::any_of(stage.settings.begin(), stage.settings.end(), [&](std::string_view pattern) {
          return pattern == key || pattern == field.section;
        });
    if (!asked || std::ranges::find(kNoMatter, key) != std::end(kNoMatter)) continue;
    if (!section.empty() && field.section != section) continue;
    Json value = values.at(field.section).at(field.key).at("value");
    if (const auto* path = std::get_if<fs::path*>(&field.value)) {
      value = content_of(**path);
    } else if (const auto* list = std::get_if<PathList*>(&field.value)) {
      value = Json::array();
      for (const auto& one : **list) value.push_back(content_of(one));
    }
    out += key + " " + value.dump() + "\n";
  }
  return out;
}

std::map<std::string, std::string, std::less<>> stage_keys(const RunSettings& settings) {
  std::map<std::string, std::string, std::less<>> keys;
  for (const auto& stage : table()) {
    std::string text =
        fmt::format("med3d {} {}\n{}", version(), stage.name, settings_of_stage(settings, stage));
    // The table is in order: what a stage needs stands above it.
    for (const auto need : stage.needs) text += keys.find(need)->second + "\n";
    keys.emplace(stage.name, sha256_hex(text));
  }
  return keys;
}

}  // namespace med3d::pipeline
