#include "med3d/pipeline/run.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <mutex>
#include <optional>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/hash.h"
#include "med3d/core/parallel.h"
#include "med3d/core/random.h"
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
#include "med3d/pipeline/survival_run.h"
#include "med3d/pipeline/tripod.h"
#include "med3d/pipeline/version.h"
#include "med3d/tabular/split.h"

namespace med3d::pipeline {
namespace fs = std::filesystem;
namespace {

// The settings as they decide the result: the number of threads does not. The device stays in: a
// GPU rounds otherwise.
std::string settings_text(const RunSettings& settings) {
  RunSettings kept = settings;
  kept.run.threads = 0;
  SettingsSchema schema;
  kept.describe(schema);
  return settings_toml(schema, {}, true);
}

struct Piece {
  int repeat = 0;  // -1: the final fit
  int fold = 0;
  Partition partition;

  std::string file() const {
    return repeat < 0 ? "final.json"
                      : fmt::format("repeat{:02}-fold{:02}.json", repeat + 1, fold + 1);
  }
};

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

// A finished piece of this very run, or nothing. The final fit's file comes last and names what was
// written before it: a bundle or feature file that is gone or was changed since is made again.
std::optional<FoldOutcome> finished(const fs::path& out,
                                    const Piece& piece,
                                    const std::string& key) {
  const auto found = read_piece(out / "folds" / piece.file(), key);
  if (!found) return std::nullopt;
  try {
    const Json& json = *found;
    if (piece.repeat < 0 && json.at("files") != final_artefact_hashes(out)) return std::nullopt;
    FoldOutcome outcome = FoldOutcome::from_json(json.at("outcome"));
    if (outcome.repeat != piece.repeat || outcome.fold != piece.fold ||
        outcome.held_out != piece.partition.held_out()) {
      return std::nullopt;
    }
    return outcome;
  } catch (const std::exception&) {
    return std::nullopt;  // damaged: it is computed again
  }
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
void remove_results(const fs::path& out) {
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
                           "model/card.json"}) {
    fs::remove(out / name);
  }
  fs::remove_all(out / "figures");
  remove_final_artefacts(out);
  fs::remove_all(out / "folds");
  fs::remove(out / "run.json");
}

}  // namespace

RunSummary run(const RunSettings& settings, const RunOptions& options, Progress& progress) {
  settings.validate();
  const Cohort cohort = load_cohort(settings.cohort, progress, options.threads);
  std::optional<Cohort> followed;
  if (settings.survival.enabled) {
    followed = load_follow_up_cohort(settings.cohort, progress, options.threads);
  }
  return run_cohort(cohort, settings, options, progress, followed ? &*followed : nullptr);
}

RunSummary run_cohort(const Cohort& cohort,
                      const RunSettings& settings,
                      const RunOptions& options,
                      Progress& progress,
                      const Cohort* followed) {
  check_table(cohort, settings);
  const bool survival = settings.survival.enabled;
  if (survival && followed == nullptr) {
    throw Error(ErrorKind::kUsage, "[survival] enabled: the run was given no follow-up cohort");
  }
  if (settings.validation.protocol == "paper-leak" && cohort.columns.empty()) {
    throw Error(ErrorKind::kUsage,
                "[validation] protocol = \"paper-leak\" needs a clinical table to oversample");
  }
  for (const auto& finding : check_cohort(cohort)) {
    if (finding.level != "info") progress.warn(finding.text);
  }
  const auto leaks = check_leaks(cohort, options.images);
  if (!leaks.empty() && options.allow_leak.empty()) throw LeakError(leaks);
  for (const Leak& leak : leaks) progress.warn("leak, allowed on request: " + leak.text);
  const auto specs = model_list(settings, cohort.modality_names());
  const auto pieces = plan_pieces(cohort, settings);
  const std::string resolved = settings_text(settings);

  RunSummary summary;
  // What is said in the report is part of what a folder holds.
  const std::string allowed = leaks.empty() ? "" : options.allow_leak;
  summary.key = sha256_hex(fmt::format("med3d {}\n{}\n{}{}{}",
                                       version(),
                                       cohort.sha256,
                                       resolved,
                                       survival ? followed->sha256 : "",
                                       allowed.empty() ? "" : "\nleak allowed: " + allowed));
  summary.pieces = pieces.size();
  for (const auto& outcome : cohort.outcomes) {
    if (outcome.status == "failed") ++summary.failed_items;
  }
  summary.plan = {{"output", options.output.string()},
                  {"patients", cohort.size()},
                  {"modalities", cohort.modality_names()},
                  {"pieces", pieces.size()},
                  {"fits", pieces.size() * fold_units(settings, specs)},
                  {"failed_items", summary.failed_items}};
  summary.plan["models"] = Json::array();
  for (const auto& spec : specs) summary.plan["models"].push_back(spec.id);
  if (survival) summary.plan["survival"] = plan_survival_json(*followed, settings);
  if (options.dry_run) return summary;

  // Another run's folder is never mixed with this one.
  const fs::path& out = options.output;
  make_folder(out);
  const FolderLock lock(out);
  remove_stale_temporaries(out);
  for (const char* folder : {"folds", "model", "figures"}) remove_stale_temporaries(out / folder);
  if (fs::exists(out / "run.json")) {
    std::string found;
    try {
      found = read_json(out / "run.json").value("key", "");
    } catch (const Error&) {
      found = "damaged";
    }
    if (found != summary.key && !options.overwrite) {
      throw Error(
          ErrorKind::kUsage,
          fmt::format("{}: holds another run (other settings, data or version)", out.string()));
    }
    if (found != summary.key) remove_results(out);
  } else if (!options.overwrite) {
    for (const auto& entry : fs::directory_iterator(out)) {
      if (!entry.path().filename().string().starts_with(".")) {
        throw Error(ErrorKind::kUsage,
                    fmt::format("{}: the folder is not empty and holds no run", out.string()));
      }
    }
  }
  Json about = {{"program", "med3d " + version()},
                {"key", summary.key},
                {"seed", settings.run.seed},
                {"cohort", {{"name", cohort.name}, {"sha256", cohort.sha256}}},
                {"endpoint", cohort.endpoint.name}};
  if (!allowed.empty()) about["allow_leak"] = allowed;
  write_json(out / "run.json", about);
  write_file_atomic(out / "settings.toml", resolved);
  write_json(out / "cohort.json", cohort_report(cohort));
  write_file_atomic(out / "splits.csv", splits_csv(cohort, pieces, settings.validation.repeats));

  // Fit what is missing. Each piece is independent and draws from its own seed.
  std::vector<std::optional<FoldOutcome>> outcomes(pieces.size());
  std::size_t open = 0;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    outcomes[i] = finished(out, pieces[i], summary.key);
    if (outcomes[i]) {
      ++summary.taken_over;
    } else {
      ++open;
    }
  }
  if (summary.taken_over > 0) {
    progress.note(fmt::format("{} of {} pieces were finished before and are taken over",
                              summary.taken_over,
                              pieces.size()));
  }
  if (open > 0) progress.start("fitting models", open * fold_units(settings, specs));
  parallel_for(pieces.size(), options.threads, [&](std::size_t i) {
    if (outcomes[i]) return;
    const Piece& piece = pieces[i];
    const auto seed = derive_seed(
        static_cast<std::uint64_t>(settings.run.seed),
        "piece",
        {static_cast<std::uint64_t>(piece.repeat + 1), static_cast<std::uint64_t>(piece.fold)});
    FittedFold fitted = fit_fold(cohort, settings, specs, piece.partition, seed, progress);
    fitted.outcome.repeat = piece.repeat;
    fitted.outcome.fold = piece.fold;
    if (piece.repeat < 0) {
      std::map<std::string, double> thresholds;
      for (const auto& [id, model] : fitted.outcome.models) thresholds[id] = model.threshold;
      remove_final_artefacts(out);
      write_bundle(out / "model", cohort, settings, specs, fitted.models, thresholds);
      write_final_artefacts(out, cohort, settings, specs, fitted.models, piece.partition);
    }
    Json record = {{"outcome", fitted.outcome.to_json()}};
    if (piece.repeat < 0) record["files"] = final_artefact_hashes(out);
    write_piece(out / "folds" / piece.file(), summary.key, record);
    outcomes[i] = std::move(fitted.outcome);
  });

  std::optional<SurvivalSummary> time_to_event;
  if (survival) {
    time_to_event = run_survival(*followed, settings, out, summary.key, options.threads, progress);
    summary.pieces += time_to_event->pieces;
    summary.taken_over += time_to_event->taken_over;
  }

  progress.start("evaluating", 0);
  std::vector<FoldOutcome> cross_validation;
  std::vector<FoldOutcome> final_fit;
  for (auto& outcome : outcomes) {
    (outcome->repeat < 0 ? final_fit : cross_validation).push_back(std::move(*outcome));
  }
  const ScoreBaselines scores(cohort);
  EvaluationContext context{cohort, settings, specs, {}, options.threads, &scores};
  context.sets.push_back(aggregate("cross-validation", cohort, cross_validation));
  if (!final_fit.front().held_out.empty()) {
    context.sets.push_back(aggregate("test", cohort, final_fit));
  }

  Json report = {{"schema", 1},
                 {"title", fmt::format("{}: {}", cohort.name, cohort.endpoint.name)},
                 {"version", version()},
                 {"synthetic", cohort.synthetic},
                 {"banners", banner_section(cohort, settings, leaks, options.allow_leak)}};
  report["endpoint"] = endpoint_section(cohort.endpoint);
  report["protocol"] = protocol_section(cohort, settings);
  report["cohort"] = cohort_section(cohort);
  const Json artefacts = read_json(out / "final.json");
  report["class_balance"] = artefacts.at("class_balance");
  report["learning_curves"] = artefacts.at("learning_curves");
  report.update(evaluate_models(context));
  write_evidence(
      out / "model",
      gather_evidence(
          cohort, settings, cross_validation, pieces.front().partition.training().rows()));
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
  report["umap"] = umap_json(artefacts, context);
  if (settings.validation.protocol == "paper-leak") {
    report["paper_leak"] = paper_leak_json(context);
  }
  report["best"] = {{"arm", best_of_families(context, report["models"], {"arm"})},
                    {"fusion", best_of_families(context, report["models"], {"fusion"})},
                    {"baseline", best_of_families(context, report["models"], {"baseline"})}};
  report["provenance"] = Json::array({Json::array({"Program", "med3d " + version()}),
                                      Json::array({"Run key", summary.key}),
                                      Json::array({"Cohort SHA-256", cohort.sha256}),
                                      Json::array({"Seed", std::to_string(settings.run.seed)}),
                                      Json::array({"Device", settings.run.device})});
  if (time_to_event) report["survival"] = time_to_event->report;
  // Of everybody who was followed where there is such a cohort: it holds the others.
  const ScoreBaselines of_all(survival ? *followed : cohort);
  if (!of_all.empty()) {
    report["clinical_scores"] = of_all.summary();
    write_file_atomic(out / "clinical_scores.csv", of_all.csv());
  }
  report["tripod"] = tripod_json(report, cohort, settings);
  report["probast"] = probast_json(report, cohort, settings);
  write_model_card(out / "model", model_card(report, cohort, settings));
  report["model_card"] = true;

  write_file_atomic(out / "predictions.csv", predictions_csv(context));
  Json metrics = {{"endpoint", report["endpoint"]}, {"models", Json::array()}};
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
    write_file_atomic(out / "survival_predictions.csv", time_to_event->predictions);
  }
  write_json(out / "metrics.json", metrics);
  write_json(out / "report.json", report);
  progress.finish();
  summary.report = std::move(report);
  return summary;
}

}  // namespace med3d::pipeline
