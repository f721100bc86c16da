#include "med3d/pipeline/run.h"

#include <fmt/format.h>
#include <malloc.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <fstream>
#include <mutex>
#include <optional>
#include <set>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/hash.h"
#include "med3d/core/parallel.h"
#include "med3d/core/random.h"
#include "med3d/core/stop.h"
#include "med3d/core/text.h"
#include "med3d/io/formats/csv.h"
#include "med3d/pipeline/artefacts.h"
#include "med3d/pipeline/bundle.h"
#include "med3d/pipeline/cohort_check.h"
#include "med3d/pipeline/evaluation.h"
#include "med3d/pipeline/evidence.h"
#include "med3d/pipeline/folder_lock.h"
#include "med3d/pipeline/model_card.h"
#include "med3d/pipeline/paper_leak.h"
#include "med3d/pipeline/piece_file.h"
#include "med3d/pipeline/probast.h"
#include "med3d/pipeline/report_sections.h"
#include "med3d/pipeline/run_work_internal.h"
#include "med3d/pipeline/survival_fold.h"
#include "med3d/pipeline/survival_run.h"
#include "med3d/pipeline/tripod.h"
#include "med3d/pipeline/version.h"
#include "med3d/tabular/split.h"

namespace med3d::pipeline {
namespace fs = std::filesystem;
namespace {

// Every path whole, so that it can be read from anywhere and says the same from anywhere.
std::string text_of(RunSettings kept) {
  kept.run.threads = 0;
  SettingsSchema schema;
  kept.describe(schema);
  const auto whole = [](fs::path& path) {
    if (!path.empty()) path = fs::absolute(path).lexically_normal();
  };
  for (auto& field : schema.fields()) {
    if (auto* path = std::get_if<fs::path*>(&field.value)) whole(**path);
    if (auto* list = std::get_if<PathList*>(&field.value)) {
      for (auto& one : **list) whole(one);
    }
  }
  // A preset is a name or a file.
  if (fs::path preset = kept.raw.slides.preset; fs::exists(preset)) {
    whole(preset);
    kept.raw.slides.preset = preset.string();
  }
  return settings_toml(schema, {}, true);
}

// The settings as they decide the result: the number of threads does not. The device stays in: a
// GPU rounds otherwise.
std::string settings_text(const RunSettings& settings) {
  RunSettings kept = settings;
  // Where slides and scans lie and how many are read at once: their vectors are part of the data.
  kept.raw = settings.raw.without_places();
  kept.raw.slides.batch_size = SlideSettings().batch_size;
  kept.raw.slides.readers = 0;
  return text_of(std::move(kept));
}

std::vector<Piece> plan_pieces(const Cohort& cohort, const RunSettings& settings) {
  Rows train;
  Rows test;
  for (std::size_t row = 0; row < cohort.size(); ++row) {
    (cohort.split[row] == "test" ? test : train).push_back(row);
  }
  std::vector<std::uint8_t> label;
  std::vector<int> strata;
  const auto all_strata = source_strata(cohort, settings);
  for (const std::size_t row : train) {
    label.push_back(cohort.label[row]);
    if (!all_strata.empty()) strata.push_back(all_strata[row]);
  }
  const auto folds = tabular::repeated_stratified_folds(
      label,
      strata,
      settings.validation.folds,
      settings.validation.repeats,
      derive_seed(static_cast<std::uint64_t>(settings.run.seed), "outer"));
  std::vector<Piece> pieces;
  // The final fit is the longest piece and starts first.
  pieces.push_back(
      {-1, 0, test.empty() ? Partition::all_for_training(train) : Partition(train, test)});
  for (int repeat = 0; repeat < settings.validation.repeats; ++repeat) {
    for (int fold = 0; fold < settings.validation.folds; ++fold) {
      Rows training;
      Rows held_out;
      for (std::size_t i = 0; i < train.size(); ++i) {
        const bool out = folds[static_cast<std::size_t>(repeat)][i] == fold;
        (out ? held_out : training).push_back(train[i]);
      }
      pieces.push_back({repeat, fold, Partition(std::move(training), std::move(held_out))});
    }
  }
  return pieces;
}

// A finished part of a piece of this very run, or nothing.
std::optional<Json> finished_json(const fs::path& file,
                                  const Piece& piece,
                                  const std::string& key) {
  auto json = read_piece(file, key);
  if (!json) return std::nullopt;
  try {
    const FoldOutcome outcome = FoldOutcome::from_json(json->at("outcome"));
    if (outcome.repeat != piece.repeat || outcome.fold != piece.fold ||
        outcome.held_out != piece.partition.held_out()) {
      return std::nullopt;
    }
    return json;
  } catch (const std::exception&) {
    return std::nullopt;  // damaged: it is computed again
  }
}

fs::path arms_file(const RunWork& run, const Piece& piece) {
  return run.out / "folds" / (piece.name() + ".json");
}
fs::path fusions_file(const RunWork& run, const Piece& piece) {
  return run.out / "folds" / (piece.name() + "-fusion.json");
}

std::uint64_t seed_of(const RunWork& run, const Piece& piece) {
  return derive_seed(
      static_cast<std::uint64_t>(run.settings.run.seed),
      "piece",
      {static_cast<std::uint64_t>(piece.repeat + 1), static_cast<std::uint64_t>(piece.fold)});
}

Json out_of_fold_json(const std::map<std::string, std::vector<double>>& out_of_fold,
                      const std::vector<std::string>& arms) {
  Json json = Json::object();
  for (const auto& id : arms) {
    json[id] = Json::array();
    for (const double p : out_of_fold.at(id)) {
      json[id].push_back(std::isnan(p) ? Json(nullptr) : Json(p));
    }
  }
  return json;
}

std::map<std::string, std::vector<double>> read_out_of_fold(const Json& json) {
  std::map<std::string, std::vector<double>> out;
  for (const auto& [id, list] : json.items()) {
    for (const auto& p : list) out[id].push_back(p.is_null() ? std::nan("") : p.get<double>());
  }
  return out;
}

void record_piece(RunWork& run,
                  const char* stage,
                  const Piece& piece,
                  const std::string& key,
                  const fs::path& file) {
  run.record({stage,
              piece.name(),
              key,
              ItemState::kDone,
              "",
              {{file.lexically_relative(run.out), 0, ""}},
              Json::object()});
}

std::string splits_csv(const Cohort& cohort, const std::vector<Piece>& pieces, int repeats) {
  std::vector<std::string> columns = {"case_id", "split", "source", "label"};
  for (int r = 0; r < repeats; ++r) columns.push_back(fmt::format("fold_of_repeat_{}", r + 1));
  std::vector<std::vector<std::string>> fold(static_cast<std::size_t>(repeats),
                                             std::vector<std::string>(cohort.size()));
  for (const auto& piece : pieces) {
    if (piece.repeat < 0) continue;
    for (const std::size_t row : piece.partition.held_out()) {
      fold[static_cast<std::size_t>(piece.repeat)][row] = std::to_string(piece.fold + 1);
    }
  }
  CsvWriter csv(columns);
  for (std::size_t row = 0; row < cohort.size(); ++row) {
    csv.text(cohort.case_ids[row])
        .text(cohort.split[row].empty() ? "train" : cohort.split[row])
        .text(cohort.source[row])
        .number(static_cast<int>(cohort.label[row]));
    for (const auto& of_repeat : fold) csv.text(of_repeat[row]);
    csv.end_row();
  }
  return csv.str();
}

// Takes away what another run left, so that a run that is stopped early cannot be mistaken for it.
// run.json goes last: until then the folder is known for the other run's.
//
// keep_final  the final fit is this run's too
void remove_results(const fs::path& out, bool keep_final) {
  for (const char* name : {"report.html",
                           "report.json",
                           "metrics.json",
                           "predictions.csv",
                           "survival_predictions.csv",
                           "model/survival.json",
                           "model/survival.safetensors",
                           "model/evidence.json",
                           "clinical_scores.csv",
                           "model/model_card.md",
                           "model/card.json",
                           "evaluation.json",
                           "manifest.json"}) {
    fs::remove(out / name);
  }
  fs::remove_all(out / "figures");
  if (!keep_final) remove_final_artefacts(out);
  fs::remove(out / "run.json");
}

// Files of pieces that this run does not have, or that another run fitted.
void remove_strangers(const RunWork& run) {
  std::map<std::string, std::string> keys;
  for (const auto& piece : run.pieces) {
    keys[piece.name() + ".json"] = run.train_key;
    keys[piece.name() + "-fusion.json"] = run.fuse_key;
  }
  if (run.settings.survival.enabled) {
    for (const auto& piece : plan_survival(*run.followed, run.settings)) {
      keys[piece.file()] = run.survival_key;
    }
  }
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(run.out / "folds", error)) {
    const auto known = keys.find(entry.path().filename().string());
    if (known == keys.end() || !read_piece(entry.path(), known->second)) {
      fs::remove_all(entry.path());
    }
  }
}

bool final_fit_is_there(const RunWork& run) {
  const Piece& piece = run.pieces.front();
  const auto json = finished_json(fusions_file(run, piece), piece, run.fuse_key);
  return json && json->value("files", Json()) == final_artefact_hashes(run.out);
}

std::string settings_key(const RunSettings& settings) {
  return sha256_hex(fmt::format("med3d {}\n{}", version(), settings_text(settings)));
}

// Another run's folder is never mixed with this one. Slides and scans may have changed since: a run
// of the same settings is brought up to date; vectors have no settings of their own to know them
// by, so that theirs must be the same.
void refuse_other_run(const RunWork& run) {
  const fs::path& out = run.out;
  if (run.options.overwrite || !fs::is_directory(out)) return;
  const bool raw = run.settings.raw.used();
  if (fs::exists(out / "run.json")) {
    bool same = false;
    try {
      const Json found = read_json(out / "run.json");
      same = raw ? found.value("settings_key", "") == settings_key(run.settings)
                 : found.value("key", "") == run.summary.key;
    } catch (const std::exception&) {
      same = false;
    }
    if (!same) {
      throw Error(
          ErrorKind::kUsage,
          fmt::format("{}: holds another run (other settings, data or version)", out.string()));
    }
    return;
  }
  if (RunStore::exists(out)) return;
  for (const auto& entry : fs::directory_iterator(out)) {
    if (!entry.path().filename().string().starts_with(".")) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("{}: the folder is not empty and holds no run", out.string()));
    }
  }
}

// One line an event: what a person reads after a night, and nothing decides by.
void log_event(const RunWork& run, const std::string& event, Json facts = Json::object()) {
  std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  Json line = {{"time", text}, {"event", event}};
  if (!run.options.shard.whole()) line["shard"] = run.options.shard.text();
  line.update(facts);
  std::ofstream file(run.out / "log.jsonl", std::ios::app);
  file << line.dump() << "\n";
}

// Each result with its size and hash. Items' files are known to the store; only the others are
// read.
void write_manifest(RunWork& run) {
  std::map<std::string, Json> files;
  for (const auto& stage : stages()) {
    for (const auto& item : run.store->items(std::string(stage.name))) {
      for (const auto& file : item.files) {
        if (item.state == ItemState::kDone) {
          files[file.path.generic_string()] = {{"bytes", file.size}, {"sha256", file.sha256}};
        }
      }
    }
  }
  // A user's own files in the folder are none of the run's.
  std::set<std::string> own;
  for (const auto& stage : stages()) {
    for (const auto given : stage.gives) own.insert(fs::path(given).begin()->string());
  }
  Json list = Json::object();
  std::vector<std::string> names;
  for (auto it = fs::recursive_directory_iterator(run.out);
       it != fs::recursive_directory_iterator();
       ++it) {
    const std::string name = it->path().filename().string();
    if (name.starts_with(".")) {
      if (it->is_directory()) it.disable_recursion_pending();
      continue;
    }
    if (!it->is_regular_file()) continue;
    const std::string path = it->path().lexically_relative(run.out).generic_string();
    const std::string place = it->path().lexically_relative(run.out).begin()->string();
    if (own.contains(place) && path != "manifest.json") names.push_back(path);
  }
  std::sort(names.begin(), names.end());
  for (const auto& name : names) {
    const auto known = files.find(name);
    // Those of stage report are not recorded yet, those of an earlier call may be another's.
    const bool fresh = name.starts_with("slides/") || name.starts_with("scans/");
    list[name] = known != files.end() && fresh ? known->second
                                               : Json{{"bytes", fs::file_size(run.out / name)},
                                                      {"sha256", sha256_file(run.out / name)}};
  }
  write_json(run.out / "manifest.json",
             {{"program", "med3d " + version()},
              {"key", run.summary.key},
              {"seed", run.settings.run.seed},
              {"cohort_sha256", run.cohort->sha256},
              {"files", list}});
}

void take_outcomes(RunWork& run, bool fusions) {
  auto& list = fusions ? run.fusions : run.arms;
  list.resize(run.pieces.size());
  for (std::size_t i = 0; i < run.pieces.size(); ++i) {
    if (list[i]) continue;
    const Piece& piece = run.pieces[i];
    const auto json = fusions ? finished_json(fusions_file(run, piece), piece, run.fuse_key)
                              : finished_json(arms_file(run, piece), piece, run.train_key);
    if (!json) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("{}: not fitted yet; stage {} comes first",
                              piece.name(),
                              fusions ? "fuse" : "train"));
    }
    list[i] = FoldOutcome::from_json(json->at("outcome"));
  }
}

}  // namespace

std::string Piece::name() const {
  return repeat < 0 ? "final" : fmt::format("repeat{:02}-fold{:02}", repeat + 1, fold + 1);
}

void RunWork::load() {
  if (cohort == nullptr) {
    const CohortSettings joined = cohort_settings();
    own_cohort_ = load_cohort(joined, progress, options.threads);
    cohort = &*own_cohort_;
    if (settings.survival.enabled) {
      own_followed_ = load_follow_up_cohort(joined, progress, options.threads);
      followed = &*own_followed_;
    }
  }
  if (pieces.empty()) plan_models();
}

void RunWork::plan_models() {
  check_table(*cohort, settings);
  const bool survival = settings.survival.enabled;
  if (survival && followed == nullptr) {
    throw Error(ErrorKind::kUsage, "[survival] enabled: the run was given no follow-up cohort");
  }
  if (settings.validation.protocol == "paper-leak" && cohort->columns.empty()) {
    throw Error(ErrorKind::kUsage,
                "[validation] protocol = \"paper-leak\" needs a clinical table to oversample");
  }
  for (const auto& finding : check_cohort(*cohort)) {
    if (finding.level != "info") progress.warn(finding.text);
  }
  leaks = check_leaks(*cohort, images_for_leaks());
  if (!leaks.empty() && options.allow_leak.empty()) throw LeakError(leaks);
  for (const Leak& leak : leaks) progress.warn("leak, allowed on request: " + leak.text);
  specs = model_list(settings, cohort->modality_names());
  pieces = plan_pieces(*cohort, settings);
  resolved = settings_text(settings);
  fits.resize(pieces.size());

  // Of the cohort's sections only what the models see: its name and words decide nothing.
  std::string joined;
  for (const char* section : {"endpoint", "clinical", "split", "ct", "mri", "wsi", "genomic"}) {
    joined += settings_of_stage(settings, find_stage("tabular"), section);
  }
  const std::string fitted = joined + settings_of_stage(settings, find_stage("train"));
  const Stage& fuse = find_stage("fuse");
  train_key = sha256_hex(fmt::format("med3d {}\n{}\n{}", version(), cohort->sha256, fitted));
  fuse_key = sha256_hex(train_key + settings_of_stage(settings, fuse, "fusion"));
  if (survival) {
    survival_key = sha256_hex(fmt::format("med3d {}\n{}\n{}{}{}",
                                          version(),
                                          followed->sha256,
                                          fitted,
                                          settings_of_stage(settings, fuse),
                                          settings_of_stage(settings, find_stage("evaluate"))));
  }
  // What is said in the report is part of what a folder holds.
  allowed_leak = leaks.empty() ? "" : options.allow_leak;
  const std::string said = allowed_leak.empty() ? "" : "\nleak allowed: " + allowed_leak;
  summary.key = sha256_hex(fmt::format("med3d {}\n{}\n{}{}{}",
                                       version(),
                                       cohort->sha256,
                                       resolved,
                                       survival ? followed->sha256 : "",
                                       said));
  summary.pieces = pieces.size();
  for (const auto& outcome : cohort->outcomes) {
    if (outcome.status == "failed") ++summary.failed_items;
  }
  Json models = Json::array();
  for (const auto& spec : specs) models.push_back(spec.id);
  summary.plan.update(Json{{"output", out.string()},
                           {"patients", cohort->size()},
                           {"modalities", cohort->modality_names()},
                           {"pieces", pieces.size()},
                           {"fits", pieces.size() * fold_units(settings, specs)},
                           {"failed_items", summary.failed_items},
                           {"models", models}});
  if (survival) summary.plan["survival"] = plan_survival_json(*followed, settings);
}

// ---- the stages

void join_cohort(RunWork& run) {
  run.load();
  const fs::path& out = run.out;
  const Cohort& cohort = *run.cohort;
  std::string found;
  if (fs::exists(out / "run.json")) {
    try {
      found = read_json(out / "run.json").at("key").get<std::string>();
    } catch (const std::exception&) {
      found = "damaged";
    }
    if (found != run.summary.key) {
      const bool keep_final = final_fit_is_there(run);
      remove_results(out, keep_final);
      remove_strangers(run);
    }
  }
  Json about = {{"program", "med3d " + version()},
                {"key", run.summary.key},
                {"settings_key", settings_key(run.settings)},
                {"seed", run.settings.run.seed},
                {"cohort", {{"name", cohort.name}, {"sha256", cohort.sha256}}},
                {"endpoint", cohort.endpoint.name}};
  if (!run.allowed_leak.empty()) about["allow_leak"] = run.allowed_leak;
  write_json(out / "run.json", about);
  write_file_atomic(out / "settings.toml", text_of(run.settings));
  write_json(out / "cohort.json", cohort_report(cohort));
  write_file_atomic(out / "splits.csv",
                    splits_csv(cohort, run.pieces, run.settings.validation.repeats));
  run.record({"tabular",
              "cohort",
              run.summary.key,
              ItemState::kDone,
              "",
              {{"cohort.json", 0, ""}, {"splits.csv", 0, ""}},
              {{"patients", cohort.size()}}});
  run.rethrow();
}

void train_arms(RunWork& run) {
  run.load();
  const auto alone = part_of(run.specs, false);
  const auto arm_names = arm_ids(run.specs);
  auto& arms = run.arms;
  arms.resize(run.pieces.size());
  std::size_t open = 0;
  for (std::size_t i = 0; i < run.pieces.size(); ++i) {
    const auto json = finished_json(arms_file(run, run.pieces[i]), run.pieces[i], run.train_key);
    if (json) {
      arms[i] = FoldOutcome::from_json(json->at("outcome"));
    } else {
      ++open;
    }
  }
  if (open > 0) {
    run.progress.start("fitting arms and baselines", open * fold_units(run.settings, alone));
  }
  parallel_for(run.pieces.size(), run.options.threads, [&](std::size_t i) {
    const Piece& piece = run.pieces[i];
    const fs::path file = arms_file(run, piece);
    if (!arms[i]) {
      throw_if_stopped();
      auto fit = std::make_unique<FoldFit>();
      FoldOutcome outcome = fit_arms(*run.cohort,
                                     run.settings,
                                     run.specs,
                                     piece.partition,
                                     seed_of(run, piece),
                                     *fit,
                                     run.progress);
      outcome.repeat = piece.repeat;
      outcome.fold = piece.fold;
      write_piece(file,
                  run.train_key,
                  {{"outcome", outcome.to_json()},
                   {"out_of_fold", out_of_fold_json(fit->out_of_fold, arm_names)}});
      arms[i] = std::move(outcome);
      // Of a fold the fusions read the arms, and of its inner folds the clinical one: the other
      // networks would fill the memory for nothing. The final fit is kept whole, for the bundle.
      for (auto& inner : fit->inner) {
        std::erase_if(inner, [](const auto& one) { return one.first != kClinicalArm; });
      }
      if (piece.repeat >= 0) {
        std::erase_if(fit->models, [&](const auto& one) {
          return std::find(arm_names.begin(), arm_names.end(), one.first) == arm_names.end();
        });
      }
      run.fits[i] = std::move(fit);
    }
    record_piece(run, "train", piece, run.train_key, file);
  });
  run.rethrow();
}

void fuse_arms(RunWork& run) {
  run.load();
  take_outcomes(run, false);
  const auto joined = part_of(run.specs, true);
  auto& fusions = run.fusions;
  fusions.resize(run.pieces.size());
  std::size_t open = 0;
  for (std::size_t i = 0; i < run.pieces.size(); ++i) {
    const Piece& piece = run.pieces[i];
    const auto json = finished_json(fusions_file(run, piece), piece, run.fuse_key);
    if (json && (piece.repeat >= 0 || final_fit_is_there(run))) {
      fusions[i] = FoldOutcome::from_json(json->at("outcome"));
      if (run.fits[i] == nullptr) ++run.summary.taken_over;
    } else {
      ++open;
    }
  }
  if (run.summary.taken_over > 0) {
    run.progress.note(fmt::format("{} of {} pieces were finished before and are taken over",
                                  run.summary.taken_over,
                                  run.pieces.size()));
  }
  if (open > 0) {
    run.progress.start("fitting fusions",
                       open * std::max<std::size_t>(1, fold_units(run.settings, joined)));
  }
  parallel_for(run.pieces.size(), run.options.threads, [&](std::size_t i) {
    const Piece& piece = run.pieces[i];
    const fs::path file = fusions_file(run, piece);
    if (fusions[i]) {
      record_piece(run, "fuse", piece, run.fuse_key, file);
      return;
    }
    throw_if_stopped();
    const auto seed = seed_of(run, piece);
    FoldFit fit;
    if (run.fits[i] != nullptr) {
      fit = std::move(*run.fits[i]);
      run.fits[i].reset();
    } else if (piece.repeat < 0) {
      // The bundle keeps every model: those of an earlier call are fitted again.
      fit_arms(*run.cohort, run.settings, run.specs, piece.partition, seed, fit, run.progress);
    } else {
      const Json stored = finished_json(arms_file(run, piece), piece, run.train_key).value();
      fit = restore_arms(*run.cohort,
                         run.settings,
                         run.specs,
                         piece.partition,
                         seed,
                         *run.arms[i],
                         read_out_of_fold(stored.at("out_of_fold")),
                         run.progress);
    }
    FoldOutcome outcome =
        fit_fusions(*run.cohort, run.settings, run.specs, piece.partition, seed, fit, run.progress);
    outcome.repeat = piece.repeat;
    outcome.fold = piece.fold;
    Json record = {{"outcome", outcome.to_json()}};
    if (piece.repeat < 0) {
      std::map<std::string, double> thresholds;
      for (const auto* part : {&*run.arms[i], &outcome}) {
        for (const auto& [id, model] : part->models) thresholds[id] = model.threshold;
      }
      remove_final_artefacts(run.out);
      write_bundle(run.out / "model", *run.cohort, run.settings, run.specs, fit.models, thresholds);
      write_final_artefacts(
          run.out, *run.cohort, run.settings, run.specs, fit.models, piece.partition);
      record["files"] = final_artefact_hashes(run.out);
    }
    write_piece(file, run.fuse_key, record);
    fusions[i] = std::move(outcome);
    record_piece(run, "fuse", piece, run.fuse_key, file);
  });
  if (run.settings.survival.enabled) {
    run.summary.taken_over += fit_survival(
        *run.followed, run.settings, run.out, run.survival_key, run.options.threads, run.progress);
  }
  run.rethrow();
}

void evaluate_run(RunWork& run) {
  run.load();
  const Cohort& cohort = *run.cohort;
  const RunSettings& settings = run.settings;
  const bool survival = settings.survival.enabled;
  if (survival) run.summary.pieces += plan_survival(*run.followed, settings).size();
  if (run.store->finished("evaluate", "metrics", run.summary.key)) return;
  take_outcomes(run, false);
  take_outcomes(run, true);

  std::optional<SurvivalSummary> time_to_event;
  if (survival) {
    time_to_event = run_survival(
        *run.followed, settings, run.out, run.survival_key, run.options.threads, run.progress);
  }
  throw_if_stopped();
  run.progress.start("evaluating", 0);
  std::vector<FoldOutcome> cross_validation;
  std::vector<FoldOutcome> final_fit;
  for (std::size_t i = 0; i < run.pieces.size(); ++i) {
    FoldOutcome whole = *run.arms[i];
    whole.models.insert(run.fusions[i]->models.begin(), run.fusions[i]->models.end());
    (whole.repeat < 0 ? final_fit : cross_validation).push_back(std::move(whole));
  }
  const ScoreBaselines scores(cohort);
  EvaluationContext context{cohort, settings, run.specs, {}, run.options.threads, &scores};
  context.sets.push_back(aggregate("cross-validation", cohort, cross_validation));
  if (!final_fit.front().held_out.empty()) {
    context.sets.push_back(aggregate("test", cohort, final_fit));
  }

  Json report = evaluate_models(context);
  const Json artefacts = read_json(run.out / "final.json");
  report["umap"] = umap_json(artefacts, context);
  if (settings.validation.protocol == "paper-leak") {
    report["paper_leak"] = paper_leak_json(context);
  }
  report["best"] = {{"arm", best_of_families(context, report["models"], {"arm"})},
                    {"fusion", best_of_families(context, report["models"], {"fusion"})},
                    {"baseline", best_of_families(context, report["models"], {"baseline"})}};
  if (time_to_event) report["survival"] = time_to_event->report;
  write_evidence(
      run.out / "model",
      gather_evidence(
          cohort, settings, cross_validation, run.pieces.front().partition.training().rows()));
  // Of everybody who was followed where there is such a cohort: it holds the others.
  const ScoreBaselines of_all(survival ? *run.followed : cohort);
  std::vector<StoredFile> files = {{"predictions.csv", 0, ""},
                                   {"metrics.json", 0, ""},
                                   {"evaluation.json", 0, ""},
                                   {"model/evidence.json", 0, ""}};
  if (!of_all.empty()) {
    report["clinical_scores"] = of_all.summary();
    write_file_atomic(run.out / "clinical_scores.csv", of_all.csv());
    files.push_back({"clinical_scores.csv", 0, ""});
  }
  write_file_atomic(run.out / "predictions.csv", predictions_csv(context));
  Json metrics = {{"endpoint", endpoint_section(cohort.endpoint)}, {"models", Json::array()}};
  for (const auto& model : report["models"]) {
    Json kept = model;
    for (auto& set : kept["sets"]) {
      set.erase("roc");
      set.erase("pr");
    }
    metrics["models"].push_back(kept);
  }
  metrics["comparisons"] = report["comparisons"];
  if (report.contains("clinical_scores")) metrics["clinical_scores"] = report["clinical_scores"];
  if (time_to_event) {
    metrics["survival"] = time_to_event->report;
    write_file_atomic(run.out / "survival_predictions.csv", time_to_event->predictions);
    files.push_back({"survival_predictions.csv", 0, ""});
  }
  write_json(run.out / "metrics.json", metrics);
  write_json(run.out / "evaluation.json", report);
  run.record({"evaluate",
              "metrics",
              run.summary.key,
              ItemState::kDone,
              "",
              std::move(files),
              {{"models", report["models"].size()}}});
  run.rethrow();
}

void report_run(RunWork& run) {
  run.load();
  const Cohort& cohort = *run.cohort;
  const RunSettings& settings = run.settings;
  Json report = {{"schema", 1},
                 {"title", fmt::format("{}: {}", cohort.name, cohort.endpoint.name)},
                 {"version", version()},
                 {"synthetic", cohort.synthetic},
                 {"banners", banner_section(cohort, settings, run.leaks, run.options.allow_leak)}};
  report["endpoint"] = endpoint_section(cohort.endpoint);
  report["protocol"] = protocol_section(cohort, settings);
  report["cohort"] = cohort_section(cohort);
  if (const Json raw = raw_section(run); !raw.is_null()) {
    report["raw"] = raw;
    for (const char* kind : {"slides", "scans"}) {
      if (!raw.contains(kind) || raw.at(kind).at("encoder").at("trained")) continue;
      report["banners"].push_back(
          {{"level", "warning"},
           {"text",
            fmt::format("Features of {} are of untrained weights ({}): for trials only, they mean "
                        "nothing.",
                        kind,
                        raw.at(kind).at("encoder").at("name").get<std::string>())}});
    }
  }
  const Json artefacts = read_json(run.out / "final.json");
  report["class_balance"] = artefacts.at("class_balance");
  report["learning_curves"] = artefacts.at("learning_curves");
  report.update(read_json(run.out / "evaluation.json"));
  // An interval that reaches one half is said in words, not left to be read off a figure.
  std::vector<std::string> no_better;
  for (const auto& model : report["models"]) {
    if (model.at("family") == "reference" || model.at("sets").empty()) continue;
    const auto& auroc = model.at("sets").front().at("metrics").at("auroc");
    const bool above =
        auroc.contains("low") && auroc.at("low").is_number() && auroc.at("low").get<double>() > 0.5;
    if (!above) no_better.push_back(model.at("label").get<std::string>());
  }
  if (!no_better.empty()) {
    report["banners"].push_back(
        {{"level", "info"},
         {"text",
          fmt::format("Not shown to be better than chance in {}: {}.",
                      report["models"].front().at("sets").front().at("name").get<std::string>(),
                      join(no_better, "; "))}});
  }
  report["provenance"] = Json::array({Json::array({"Program", "med3d " + version()}),
                                      Json::array({"Run key", run.summary.key}),
                                      Json::array({"Cohort SHA-256", cohort.sha256}),
                                      Json::array({"Seed", std::to_string(settings.run.seed)}),
                                      Json::array({"Device", settings.run.device})});
  report["tripod"] = tripod_json(report, cohort, settings);
  report["probast"] = probast_json(report, cohort, settings);
  write_model_card(run.out / "model", model_card(report, cohort, settings));
  report["model_card"] = true;
  write_json(run.out / "report.json", report);
  if (run.options.draw_page) run.options.draw_page(run.out);
  write_manifest(run);
  run.record({"report",
              "report",
              run.summary.key,
              ItemState::kDone,
              "",
              {{"report.json", 0, ""},
               {"manifest.json", 0, ""},
               {"model/model_card.md", 0, ""},
               {"model/card.json", 0, ""}},
              Json::object()});
  run.rethrow();
  run.summary.report = std::move(report);
}

namespace {

// Stages before the first that is asked for must have been done, by this run's settings.
void require_done(const RunWork& run, const Stage& stage) {
  for (const auto& record : run.store->stages()) {
    if (record.stage == stage.name && record.state == StageState::kEnded &&
        record.key == run.keys.find(stage.name)->second) {
      return;
    }
  }
  throw Error(ErrorKind::kUsage,
              fmt::format("stage {} has not been done with these settings: it comes before what is "
                          "asked for",
                          stage.name));
}

class StoreInUse {
 public:
  StoreInUse(const RunOptions& options, RunStore* store) : options_(options) { tell(store); }
  ~StoreInUse() { tell(nullptr); }
  StoreInUse(const StoreInUse&) = delete;
  StoreInUse& operator=(const StoreInUse&) = delete;

 private:
  void tell(RunStore* store) const {
    if (options_.store_in_use) options_.store_in_use(store);
  }
  const RunOptions& options_;
};

RunSummary run_stages(RunWork& run) {
  const RunOptions& options = run.options;
  const fs::path& out = run.out;
  const bool raw = run.settings.raw.used();
  options.choice.validate();
  if (!options.shard.whole() && !raw) {
    throw Error(ErrorKind::kUsage,
                "--shard: slides and scans are shared out, and this cohort names none");
  }
  if (options.dry_run) {
    if (raw) run.summary.plan = plan_files(run);
    return run.summary;
  }
  refuse_other_run(run);
  make_folder(out);
  // Shards of one run work side by side: the store's lease keeps others out.
  std::optional<FolderLock> lock;
  std::unique_ptr<FolderLock> of_slides, of_scans;
  if (options.shard.whole()) {
    lock.emplace(out);
    if (run.settings.raw.slides.used()) of_slides = run.slide_folder().claim();
    if (run.settings.raw.scans.used()) of_scans = run.scan_folder().claim();
    remove_stale_temporaries(out);
    for (const char* folder : {"folds", "model", "figures"}) remove_stale_temporaries(out / folder);
  }
  StoreOptions store_options;
  store_options.shard = options.shard;
  store_options.note = [&](const std::string& text) { run.progress.note(text); };
  run.store = std::make_unique<RunStore>(out, store_options);
  const StoreInUse in_use(options, run.store.get());
  run.keys = stage_keys(run.settings);
  if (raw && !fs::exists(out / "run.json")) {
    write_json(out / "run.json",
               {{"program", "med3d " + version()},
                {"key", ""},
                {"settings_key", settings_key(run.settings)}});
  }
  if (raw) write_file_atomic(out / "settings.toml", text_of(run.settings));

  bool begun = false;
  for (const auto& stage : stages()) {
    if (stage.of_files && !raw) continue;
    if (!options.choice.takes(stage)) {
      if (begun) break;
      if (!stage.by_item) require_done(run, stage);
      continue;
    }
    const bool shared = stage.by_item || stage.name == "index" || stage.name == "filter";
    if (!options.shard.whole() && !shared) break;
    begun = true;
    throw_if_stopped();
    const std::string name(stage.name);
    run.store->begin_stage(name, run.keys.find(stage.name)->second);
    log_event(run, "begin", {{"stage", name}});
    try {
      stage.work(run);
    } catch (const Stopped& stopped) {
      log_event(run, "stopped", {{"stage", name}, {"signal", stopped.signal()}});
      throw;
    } catch (const std::exception& error) {
      log_event(run, "failed", {{"stage", name}, {"reason", describe(error)}});
      run.store->fail_stage(name, describe(error));
      throw;
    }
    run.store->end_stage(name);
#ifdef __GLIBC__
    // The program keeps freed memory for its networks; the next stage has others.
    ::malloc_trim(0);
#endif
    log_event(run, "end", {{"stage", name}});
    run.summary.ended_with = name;
  }
  if (raw) {
    for (const auto& stage : stages()) {
      if (!stage.of_files) continue;
      for (const auto& item : run.store->items(std::string(stage.name))) {
        if (item.state == ItemState::kFailed && run.mine(item.item)) ++run.summary.failed_items;
      }
    }
  }
  run.progress.finish();
  return std::move(run.summary);
}

}  // namespace

RunSummary run(const RunSettings& settings, const RunOptions& options, Progress& progress) {
  settings.validate();
  RunWork work(settings, options, progress);
  if (!settings.raw.used()) work.load();
  return run_stages(work);
}

RunSummary run_cohort(const Cohort& cohort,
                      const RunSettings& settings,
                      const RunOptions& options,
                      Progress& progress,
                      const Cohort* followed) {
  RunWork work(settings, options, progress);
  work.cohort = &cohort;
  work.followed = followed;
  work.load();
  return run_stages(work);
}

}  // namespace med3d::pipeline
