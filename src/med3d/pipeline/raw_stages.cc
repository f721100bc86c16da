// Stages index to aggregate: from slides and scans to the vectors that a cohort joins.
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <set>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/hash.h"
#include "med3d/core/stop.h"
#include "med3d/io/features.h"
#include "med3d/pipeline/run_work_internal.h"
#include "med3d/pipeline/version.h"
#include "med3d/wsi/slide.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;

// Name, size and time of change of files: their content, without reading gigabytes of it. A file
// that was only touched is looked at again and found unchanged by its record.
std::string signature(std::vector<fs::path> files) {
  std::sort(files.begin(), files.end());
  std::string out;
  for (const auto& file : files) {
    std::error_code error;
    out += fmt::format("{} {} {}\n",
                       file.filename().string(),
                       fs::file_size(file, error),
                       fs::last_write_time(file, error).time_since_epoch().count());
  }
  return out;
}

std::vector<fs::path> files_of(const SlideItem& slide) {
  std::error_code error;
  if (!fs::is_directory(slide.path, error)) return {slide.path};
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(slide.path, error)) {
    if (entry.is_regular_file(error)) files.push_back(entry.path());
  }
  return files;
}

// Names of scans are hashes of their UIDs: a patient of one may have another's of the same name.
std::string name_of(const VolumeItem& scan) { return scan.patient + "/" + scan.series; }

ItemState state_of(const SlideOutcome& outcome) {
  if (outcome.status == SlideStatus::kFailed) return ItemState::kFailed;
  return outcome.status == SlideStatus::kEmpty ? ItemState::kSkipped : ItemState::kDone;
}

ItemState state_of(const VolumeOutcome& outcome) {
  if (outcome.status == VolumeStatus::kFailed) return ItemState::kFailed;
  return outcome.status == VolumeStatus::kDropped ? ItemState::kSkipped : ItemState::kDone;
}

// "Kept" is a word of one call; what is written must not tell how often a run was stopped.
void forget_calls(SlideOutcome& outcome) {
  if (outcome.status == SlideStatus::kKept) outcome.status = SlideStatus::kDone;
}
void forget_calls(VolumeOutcome& outcome) {
  if (outcome.status == VolumeStatus::kKept) outcome.status = VolumeStatus::kDone;
}

// Those of these files that are there, as the store takes them.
std::vector<StoredFile> stored(const fs::path& out, const std::vector<fs::path>& files) {
  std::vector<StoredFile> list;
  for (const auto& file : files) {
    std::error_code error;
    if (fs::is_regular_file(file, error)) {
      list.push_back({file.lexically_relative(out), 0, ""});
    }
  }
  return list;
}

std::vector<fs::path> tile_files(const SlideFolder& folder, const std::string& id) {
  return {folder.contours(id),
          folder.mask(id),
          folder.stitch(id),
          folder.tile_record(id),
          folder.tiles(id)};
}

std::vector<fs::path> feature_files(const SlideFolder& folder, const std::string& id) {
  return {folder.features_h5(id), folder.features_pt(id), folder.record(id)};
}

// What the store knows of an item under this key: done with all its files, or skipped.
std::optional<ItemRecord> known(RunStore& store,
                                const std::string& stage,
                                const std::string& item,
                                const std::string& key) {
  if (auto record = store.finished(stage, item, key)) return record;
  auto record = store.find(stage, item);
  if (record && record->key == key && record->state == ItemState::kSkipped) return record;
  return std::nullopt;
}

template <class Outcome>
std::optional<Outcome> known_outcome(RunStore& store,
                                     const std::string& stage,
                                     const std::string& item,
                                     const std::string& key) {
  const auto record = known(store, stage, item, key);
  if (!record) return std::nullopt;
  try {
    return Outcome::from_json(record->facts);
  } catch (const Error&) {
    return std::nullopt;  // of another version: done again
  }
}

void record_slide(RunWork& run,
                  const std::string& stage,
                  const SlideItem& item,
                  SlideOutcome outcome,
                  const std::vector<fs::path>& files) {
  forget_calls(outcome);
  run.record(
      {stage,
       item.slide_id,
       run.item_key(stage, item),
       state_of(outcome),
       outcome.reason,
       state_of(outcome) == ItemState::kDone ? stored(run.out, files) : std::vector<StoredFile>{},
       outcome.to_json()});
}

// Items that are no longer asked for are forgotten, so that counts are of this cohort.
void forget_others(RunWork& run, const std::string& stage, const std::set<std::string>& wanted) {
  for (const auto& record : run.store->items(stage)) {
    if (!wanted.contains(record.item) && run.mine(record.item))
      run.store->forget(stage, record.item);
  }
}

// Outcomes of an earlier stage, by item; an item without one was not done under its present key.
template <class Outcome>
std::map<std::string, Outcome> outcomes_of(RunWork& run, const std::string& stage) {
  std::map<std::string, Outcome> out;
  for (const auto& record : run.store->items(stage)) {
    try {
      out[record.item] = Outcome::from_json(record.facts);
    } catch (const Error&) {
      continue;  // of the other kind
    }
  }
  return out;
}

}  // namespace

// ---- RunWork

fs::path RunWork::series_index() const {
  // In a folder of its own, which indexing locks; each shard has one, as it is written by one
  // process.
  const auto& shard = options.shard;
  const std::string folder =
      shard.whole() ? ".index" : fmt::format(".index-{}of{}", shard.index, shard.count);
  return scan_folder().root / folder / "volumes.sqlite";
}

const std::vector<ChosenSlide>& RunWork::slides() {
  if (!slides_) {
    slides_ = settings.raw.slides.used() ? choose_slides(settings.raw.slides)
                                         : std::vector<ChosenSlide>{};
  }
  return *slides_;
}

const std::vector<FilteredSeries>& RunWork::series() {
  if (!series_) {
    series_ = settings.raw.scans.used() ? choose_series(settings.raw.scans, series_index())
                                        : std::vector<FilteredSeries>{};
  }
  return *series_;
}

bool RunWork::mine(const std::string& item) const {
  const auto& shard = options.shard;
  return shard.whole() || shard_of_item(item, shard.count) == shard.index;
}

std::vector<SlideItem> RunWork::taken_slides() {
  std::vector<SlideItem> taken;
  for (const auto& slide : slides()) {
    if (slide.left_out.empty() && mine(slide.item.slide_id)) taken.push_back(slide.item);
  }
  return taken;
}

std::vector<VolumeItem> RunWork::taken_scans() {
  std::vector<VolumeItem> taken;
  if (!settings.raw.scans.used()) return taken;
  for (auto& scan : items_of(series(), settings.raw.scans.masks)) {
    if (scan.kept && mine(name_of(scan))) taken.push_back(std::move(scan));
  }
  return taken;
}

std::string RunWork::item_key(std::string_view stage, const SlideItem& slide) {
  std::string text = fmt::format("slide {} {}\n{}",
                                 slide.slide_id,
                                 slide.mpp ? fmt::format("{}", *slide.mpp) : "",
                                 signature(files_of(slide)));
  const std::lock_guard lock(mutex_);
  auto& common = item_settings_[fmt::format("slides {}", stage)];
  if (common.empty()) {
    common = "med3d " + version() + "\n";
    for (const char* name : {"segment", "tile", "extract"}) {
      common += settings_of_stage(settings, find_stage(name), "slides");
      if (name == stage) break;
    }
  }
  return sha256_hex(common + text);
}

std::string RunWork::item_key(std::string_view stage, const VolumeItem& scan) {
  std::string text = fmt::format("scan {} {}\n{}mask {}",
                                 name_of(scan),
                                 scan.modality,
                                 signature(scan.files),
                                 scan.mask.empty() ? "" : signature({scan.mask}));
  const std::lock_guard lock(mutex_);
  auto& common = item_settings_[fmt::format("scans {}", stage)];
  if (common.empty()) {
    common = "med3d " + version() + "\n" + settings_of_stage(settings, find_stage(stage), "scans");
  }
  return sha256_hex(common + text);
}

void RunWork::record(ItemRecord record) {
  try {
    const auto before = store->find(record.stage, record.item);
    // A record costs a sync: what the store has already is not written again.
    if (before && before->key == record.key && before->state == record.state &&
        before->reason == record.reason && before->facts == record.facts && record.files.empty() &&
        before->files.empty()) {
      return;
    }
    store->record(record);
  } catch (...) {
    const std::lock_guard lock(mutex_);
    if (!error_) error_ = std::current_exception();
  }
}

void RunWork::rethrow() {
  const std::lock_guard lock(mutex_);
  if (error_) std::rethrow_exception(error_);
}

// ---- the stages

void index_files(RunWork& run) {
  std::set<std::string> found;
  for (const auto& slide : run.slides()) {
    found.insert("slide " + slide.item.slide_id);
    if (!run.mine("slide " + slide.item.slide_id)) continue;
    run.record({"index",
                "slide " + slide.item.slide_id,
                sha256_hex(signature(files_of(slide.item))),
                slide.item.problem.empty() ? ItemState::kDone : ItemState::kFailed,
                slide.item.problem,
                {},
                {{"bytes", bytes_of(slide.item)}}});
  }
  if (run.settings.raw.scans.used()) {
    make_folder(run.series_index().parent_path());
    const auto result = index_volumes(
        index_options(run.settings.raw.scans, run.series_index(), run.options.threads),
        run.progress);
    if (!result.problem_files.empty()) {
      // Their paths may name a patient; `volume index` shows them to who asks.
      run.progress.warn(fmt::format("{} files of scans cannot be read; `volume index` names them",
                                    result.problem_files.size()));
    }
    for (const auto& one : run.series()) {
      const std::string item = "series " + one.series.patient + "/" + one.series.series;
      found.insert(item);
      if (!run.mine(item)) continue;
      run.record({"index",
                  item,
                  sha256_hex(signature(one.series.files)),
                  ItemState::kDone,
                  "",
                  {},
                  {{"modality", one.series.modality}, {"files", one.series.files.size()}}});
    }
  }
  forget_others(run, "index", found);
  run.rethrow();
}

void filter_files(RunWork& run) {
  std::set<std::string> judged;
  const auto judge = [&](const std::string& item, bool kept, const std::string& reason) {
    judged.insert(item);
    if (!run.mine(item)) return;
    run.record({"filter",
                item,
                run.keys.find("filter")->second,
                kept ? ItemState::kDone : ItemState::kSkipped,
                reason,
                {},
                Json::object()});
  };
  for (const auto& slide : run.slides()) {
    judge("slide " + slide.item.slide_id, slide.left_out.empty(), slide.left_out);
  }
  if (run.settings.raw.scans.used()) {
    const auto& series = run.series();
    for (const auto& one : series) {
      judge("series " + one.series.patient + "/" + one.series.series, one.kept, one.reason);
    }
    const fs::path folder = run.scan_folder().root;
    write_file_atomic(folder / "series.csv", series_csv(series));
    write_file_atomic(folder / "summary.csv", summary_csv(summarise_filter(series)));
    write_file_atomic(folder / "rules.csv", rules_csv(count_rules(series)));
    const auto& scans = run.settings.raw.scans;
    if (scans.filter) {
      write_file_atomic(folder / "rules.toml",
                        scans.rules.empty() ? std::string(shipped_filter_rules_toml())
                                            : read_file(scans.rules, 1 << 20));
    }
  }
  forget_others(run, "filter", judged);
  run.rethrow();
}

namespace {

void work_on_tissue(RunWork& run, bool tiles) {
  if (!run.settings.raw.slides.used()) return;
  const std::string stage = tiles ? "tile" : "segment";
  const SlideFolder folder = run.slide_folder();
  const auto slides = run.taken_slides();
  TileJob job = tile_job(run.settings.raw.slides, run.options.threads);
  job.write_tiles = tiles;
  job.summaries = run.options.shard.whole();
  job.hooks.known = [&](const SlideItem& item) {
    return known_outcome<SlideOutcome>(*run.store, stage, item.slide_id, run.item_key(stage, item));
  };
  job.hooks.done = [&](const SlideItem& item, const SlideOutcome& outcome) {
    // One look at a slide gives both: its outline is recorded first, as it is there first.
    SlideOutcome outline = outcome;
    if (outline.step == "tile") {
      outline.step = "segment";
      outline.tiles = 0;
      outline.status = SlideStatus::kDone;
      outline.reason.clear();
    }
    record_slide(run,
                 "segment",
                 item,
                 outline,
                 {folder.contours(item.slide_id), folder.mask(item.slide_id)});
    if (tiles) record_slide(run, stage, item, outcome, tile_files(folder, item.slide_id));
  };
  make_folder(folder.root);
  tile_slides(slides, folder, job, run.progress);
  run.rethrow();
  std::set<std::string> wanted;
  for (const auto& slide : run.slides()) {
    if (slide.left_out.empty()) wanted.insert(slide.item.slide_id);
  }
  forget_others(run, "segment", wanted);
  if (tiles) forget_others(run, "tile", wanted);
}

void extract_taken_slides(RunWork& run) {
  if (!run.settings.raw.slides.used()) return;
  const auto& settings = run.settings.raw.slides;
  if (settings.precision == "int8" && !run.options.shard.whole()) {
    throw Error(ErrorKind::kUsage,
                "--shard: precision int8 takes its scales from the first slides of all; "
                "calibrate them by one run without it");
  }
  const SlideFolder folder = run.slide_folder();
  const auto slides = run.taken_slides();
  const auto tiled = outcomes_of<SlideOutcome>(run, "tile");
  std::vector<SlideOutcome> outcomes;
  bool all_known = true;
  for (const auto& slide : slides) {
    const auto found = tiled.find(slide.slide_id);
    if (found == tiled.end()) {
      throw Error(ErrorKind::kData,
                  fmt::format("slide {}: not tiled yet; stage tile comes first", slide.slide_id));
    }
    outcomes.push_back(found->second);
    all_known = all_known &&
                (known(*run.store, "extract", slide.slide_id, run.item_key("extract", slide)) ||
                 state_of(found->second) != ItemState::kDone);
  }
  ExtractJob job = extract_job(settings, run.options.threads);
  job.hooks.known = [&](const SlideItem& item) {
    return known_outcome<SlideOutcome>(
        *run.store, "extract", item.slide_id, run.item_key("extract", item));
  };
  job.hooks.done = [&](const SlideItem& item, const SlideOutcome& outcome) {
    record_slide(run, "extract", item, outcome, feature_files(folder, item.slide_id));
  };
  if (all_known) {
    // The encoder is not needed, and takes longer to load than all of this.
    for (std::size_t i = 0; i < slides.size(); ++i) {
      if (state_of(outcomes[i]) != ItemState::kDone) job.hooks.done(slides[i], outcomes[i]);
    }
  } else {
    auto encoder = load_slide_encoder(settings, run.options.threads);
    extract_slides(slides, std::move(outcomes), folder, encoder, job, run.progress);
  }
  run.rethrow();
}

void extract_taken_scans(RunWork& run) {
  if (!run.settings.raw.scans.used()) return;
  const auto& settings = run.settings.raw.scans;
  const VolumeFolder folder = run.scan_folder();
  const auto scans = run.taken_scans();
  const bool all_known = std::all_of(scans.begin(), scans.end(), [&](const VolumeItem& scan) {
    return known(*run.store, "extract", name_of(scan), run.item_key("extract", scan)).has_value();
  });
  if (all_known) return;
  ExtractVolumesJob job = extract_job(settings, run.options.threads);
  job.hooks.known = [&](const VolumeItem& scan) {
    return known_outcome<VolumeOutcome>(
        *run.store, "extract", name_of(scan), run.item_key("extract", scan));
  };
  job.hooks.done = [&](const VolumeItem& scan, VolumeOutcome outcome) {
    forget_calls(outcome);
    const fs::path features = folder.features(scan.modality, scan.patient, scan.series);
    const bool done = state_of(outcome) == ItemState::kDone;
    run.record({"extract",
                name_of(scan),
                run.item_key("extract", scan),
                state_of(outcome),
                outcome.reason,
                done ? stored(run.out, {features, VolumeFolder::record_of(features)})
                     : std::vector<StoredFile>{},
                outcome.to_json()});
  };
  auto encoder = load_scan_encoder(settings, run.options.threads);
  extract_volumes(scans, folder, encoder, job, run.progress);
  run.rethrow();
}

Json encoder_json(const SlideSettings& settings) {
  const bool trained = settings.encoder == "torchscript" || find_encoder(settings.encoder).trained;
  return {{"name", settings.encoder},
          {"trained", trained},
          {"weights_sha256", trained ? Json(sha256_file(settings.weights)) : Json()},
          {"seed", trained ? Json() : Json(settings.seed)}};
}

Json encoder_json(const ScanSettings& settings) {
  const bool trained = find_volume_encoder(settings.encoder).trained;
  return {{"name", settings.encoder},
          {"trained", trained},
          {"weights_sha256", trained ? Json(sha256_file(settings.weights)) : Json()},
          {"seed", trained ? Json() : Json(settings.seed)}};
}

// Hash of what goes into a pool: the keys of the features, in order.
template <class Item>
std::string pool_key(RunWork& run, const char* section, const std::vector<Item>& items) {
  std::string text = "med3d " + version() + "\n" +
                     settings_of_stage(run.settings, find_stage("aggregate"), section);
  for (const auto& item : items) text += run.item_key("extract", item) + "\n";
  return sha256_hex(text);
}

void aggregate_taken_slides(RunWork& run) {
  const SlideFolder folder = run.slide_folder();
  const auto slides = run.taken_slides();
  const std::string key = pool_key(run, "slides", slides);
  if (run.store->finished("aggregate", "slides", key)) return;
  const auto extracted = outcomes_of<SlideOutcome>(run, "extract");
  std::vector<SlideOutcome> outcomes;
  std::vector<fs::path> files;
  std::map<std::string, std::size_t> by_file;
  for (const auto& slide : slides) {
    const auto found = extracted.find(slide.slide_id);
    if (found == extracted.end()) {
      throw Error(
          ErrorKind::kData,
          fmt::format("slide {}: not encoded yet; stage extract comes first", slide.slide_id));
    }
    outcomes.push_back(found->second);
    if (state_of(found->second) != ItemState::kDone) continue;
    files.push_back(folder.features_h5(slide.slide_id));
    by_file[files.back().filename().string()] = outcomes.size() - 1;
  }
  SlideVectors vectors;
  if (!files.empty()) {
    vectors = aggregate_slides(files, aggregate_job(run.settings.raw.slides), run.progress);
  }
  for (const auto& left : vectors.left_out) {
    auto& outcome = outcomes[by_file.at(left.file)];
    if (left.failed) {
      outcome.status = SlideStatus::kFailed;
      outcome.step = "aggregate";
      outcome.reason = left.reason;
    } else {
      outcome.warnings.push_back("not in wsi_features.csv: " + left.reason);
    }
  }
  Json document = {{"schema", 1},
                   {"command", "run"},
                   {"encoder", encoder_json(run.settings.raw.slides)},
                   {"slides", Json::array()}};
  for (const auto& outcome : outcomes) document["slides"].push_back(outcome.to_json());
  write_file_atomic(folder.outcomes_csv(), outcomes_csv(outcomes));
  write_json(folder.outcomes_json(), document);
  if (vectors.slides.case_ids.empty()) {
    fs::remove(folder.slide_vectors());
    fs::remove(folder.patient_vectors());
  } else {
    write_file_atomic(folder.slide_vectors(), feature_table_csv(vectors.slides));
    write_file_atomic(folder.patient_vectors(), feature_table_csv(vectors.patients));
  }
  run.record({"aggregate",
              "slides",
              key,
              ItemState::kDone,
              "",
              stored(run.out,
                     {folder.slide_vectors(),
                      folder.patient_vectors(),
                      folder.outcomes_csv(),
                      folder.outcomes_json()}),
              {{"slides", vectors.slides.case_ids.size()},
               {"patients", vectors.patients.case_ids.size()},
               {"left_out", vectors.left_out.size()}}});
  run.rethrow();
}

std::vector<ScanFile> scan_files_of(RunWork& run) {
  const VolumeFolder folder = run.scan_folder();
  const auto extracted = outcomes_of<VolumeOutcome>(run, "extract");
  std::vector<ScanFile> files;
  for (const auto& scan : run.taken_scans()) {
    const auto found = extracted.find(name_of(scan));
    if (found == extracted.end()) {
      throw Error(
          ErrorKind::kData,
          fmt::format("scan {}: not encoded yet; stage extract comes first", name_of(scan)));
    }
    if (state_of(found->second) != ItemState::kDone) continue;
    files.push_back({scan.patient,
                     scan.series,
                     std::string(modality_folder(scan.modality)),
                     folder.features(scan.modality, scan.patient, scan.series)});
  }
  return files;
}

void aggregate_taken_scans(RunWork& run) {
  const VolumeFolder folder = run.scan_folder();
  const auto scans = run.taken_scans();
  const std::string key = pool_key(run, "scans", scans);
  if (run.store->finished("aggregate", "scans", key)) return;
  const auto files = scan_files_of(run);
  PatientVectors vectors;
  if (!files.empty()) {
    vectors = aggregate_volumes(files, aggregate_job(run.settings.raw.scans), run.progress);
  }
  for (const auto& note : vectors.notes) run.progress.note(note);
  std::vector<VolumeOutcome> outcomes;
  const auto extracted = outcomes_of<VolumeOutcome>(run, "extract");
  for (const auto& item : items_of(run.series(), run.settings.raw.scans.masks)) {
    VolumeOutcome outcome;
    if (const auto found = extracted.find(name_of(item)); item.kept && found != extracted.end()) {
      outcome = found->second;
    } else {
      outcome.patient = item.patient;
      outcome.series = item.series;
      outcome.modality = item.modality;
      outcome.files = static_cast<std::int64_t>(item.files.size());
      outcome.status = VolumeStatus::kDropped;
      outcome.step = "filter";
      outcome.reason = item.problem;
    }
    for (const auto& left : vectors.left_out) {
      if (left.scan.patient != item.patient || left.scan.series != item.series) continue;
      outcome.status = VolumeStatus::kFailed;
      outcome.step = "aggregate";
      outcome.reason = left.reason;
    }
    outcomes.push_back(std::move(outcome));
  }
  Json document = {{"schema", 1},
                   {"command", "run"},
                   {"encoder", encoder_json(run.settings.raw.scans)},
                   {"scans", Json::array()}};
  for (const auto& outcome : outcomes) document["scans"].push_back(outcome.to_json());
  write_file_atomic(folder.outcomes_csv(), outcomes_csv(outcomes));
  write_json(folder.outcomes_json(), document);
  const auto written = write_patient_vectors(folder, vectors);
  std::vector<fs::path> gives = {folder.outcomes_csv(), folder.outcomes_json()};
  for (const auto& name : written) gives.push_back(folder.root / name);
  run.record({"aggregate",
              "scans",
              key,
              ItemState::kDone,
              "",
              stored(run.out, gives),
              {{"scans", vectors.weights.size()}, {"left_out", vectors.left_out.size()}}});
  run.rethrow();
}

}  // namespace

void segment_slides(RunWork& run) {
  // Where tiles follow, one look at a slide gives its outline and its tiles (tile_chosen_slides).
  if (!run.options.choice.takes(find_stage("tile"))) work_on_tissue(run, false);
}

void tile_chosen_slides(RunWork& run) { work_on_tissue(run, true); }

void extract_files(RunWork& run) {
  extract_taken_slides(run);
  extract_taken_scans(run);
  std::set<std::string> wanted;
  for (const auto& slide : run.slides()) {
    if (slide.left_out.empty()) wanted.insert(slide.item.slide_id);
  }
  for (const auto& one : run.series()) {
    if (one.kept) wanted.insert(one.series.patient + "/" + one.series.series);
  }
  forget_others(run, "extract", wanted);
}

void aggregate_vectors(RunWork& run) {
  if (run.settings.raw.slides.used()) aggregate_taken_slides(run);
  if (run.settings.raw.scans.used()) aggregate_taken_scans(run);
}

CohortSettings RunWork::cohort_settings() {
  CohortSettings joined = settings.cohort;
  const auto give = [](ModalitySettings& modality, PathList files, const std::string& case_from) {
    modality.features = std::move(files);
    modality.case_from = case_from;
    modality.map.clear();
    // A modality of which no file could be used is absent, as if it had never been asked for.
    if (modality.features.empty()) modality.enabled = false;
  };
  if (settings.raw.slides.used()) {
    const fs::path table = settings.raw.slides.vectors == "patients"
                               ? slide_folder().patient_vectors()
                               : slide_folder().slide_vectors();
    give(joined.wsi, fs::exists(table) ? PathList{table} : PathList{}, "name");
  }
  if (settings.raw.scans.used()) {
    for (auto* modality : {&joined.ct, &joined.mri}) {
      PathList files;
      if (settings.raw.scans.vectors == "patients") {
        const fs::path table = scan_folder().patient_vectors(modality->section);
        if (fs::exists(table)) files.push_back(table);
        give(*modality, std::move(files), "name");
        continue;
      }
      for (const auto& scan : scan_files_of(*this)) {
        if (scan.modality == modality->section) files.push_back(scan.path);
      }
      give(*modality, std::move(files), "folder");
    }
  }
  return joined;
}

std::vector<ImagePrint> RunWork::images_for_leaks() {
  std::vector<ImagePrint> images = options.images;
  const auto has = [&](const char* side) {
    return std::find(cohort->split.begin(), cohort->split.end(), side) != cohort->split.end();
  };
  if (!settings.raw.slides.used() || store == nullptr || !has("train") || !has("test")) {
    return images;
  }
  // Whose a slide is stands in the table of vectors, which took it from its name or a slide table.
  std::map<std::string, std::string> case_of;
  if (fs::exists(slide_folder().slide_vectors())) {
    const FeatureTable table = read_feature_table(slide_folder().slide_vectors());
    for (std::size_t i = 0; i < table.case_ids.size(); ++i) {
      case_of[table.item_ids.at(i)] = table.case_ids[i];
    }
  }
  progress.start("comparing slides of training and test", 0);
  for (const auto& slide : taken_slides()) {
    const auto patient = case_of.find(slide.slide_id);
    if (patient == case_of.end()) continue;
    throw_if_stopped();
    ImagePrint print{"wsi", slide.slide_id, patient->second, {}};
    const std::string item = "look of " + slide.slide_id;
    const std::string key = sha256_hex(signature(files_of(slide)));
    const auto before = store->find("tabular", item);
    if (before && before->key == key && before->state == ItemState::kDone) {
      print.hash.content = before->facts.at("content").get<std::string>();
      print.hash.look.grey = before->facts.at("look").get<std::vector<std::uint8_t>>();
    } else {
      try {
        print.hash = hash_slide(*open_slide(slide.path));
      } catch (const Error&) {
        continue;  // it had no features either, or its record says why
      }
      record({"tabular",
              item,
              key,
              ItemState::kDone,
              "",
              {},
              {{"content", print.hash.content}, {"look", print.hash.look.grey}}});
    }
    images.push_back(std::move(print));
  }
  return images;
}

Json raw_section(RunWork& run) {
  const auto& raw = run.settings.raw;
  if (!raw.used()) return nullptr;
  Json out = Json::object();
  const auto is_slide = [](const ItemRecord& record) {
    return record.item.starts_with("slide ") ||
           (record.facts.contains("slide_id") && record.stage != "aggregate");
  };
  const auto count = [&](bool slides) {
    Json list = Json::array();
    for (const auto& stage : stages()) {
      if (!stage.of_files || stage.name == "aggregate") continue;
      if (!slides && (stage.name == "segment" || stage.name == "tile")) continue;
      std::size_t done = 0;
      std::map<std::string, std::size_t> skipped, failed;
      for (const auto& record : run.store->items(std::string(stage.name))) {
        if (is_slide(record) != slides) continue;
        if (record.state == ItemState::kDone) ++done;
        if (record.state == ItemState::kSkipped) ++skipped[record.reason];
        if (record.state == ItemState::kFailed) ++failed[record.reason];
      }
      Json reasons = Json::array();
      std::size_t n_skipped = 0;
      std::size_t n_failed = 0;
      for (const auto& [reason, n] : skipped) {
        reasons.push_back({{"outcome", "skipped"}, {"reason", reason}, {"n", n}});
        n_skipped += n;
      }
      for (const auto& [reason, n] : failed) {
        reasons.push_back({{"outcome", "failed"}, {"reason", reason}, {"n", n}});
        n_failed += n;
      }
      list.push_back({{"stage", stage.name},
                      {"done", done},
                      {"skipped", n_skipped},
                      {"failed", n_failed},
                      {"reasons", reasons}});
    }
    return list;
  };
  if (raw.slides.used()) {
    out["slides"] = {{"encoder", encoder_json(raw.slides)}, {"stages", count(true)}};
  }
  if (raw.scans.used()) {
    out["scans"] = {{"encoder", encoder_json(raw.scans)}, {"stages", count(false)}};
  }
  return out;
}

}  // namespace med3d::pipeline
