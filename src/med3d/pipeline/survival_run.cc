#include "med3d/pipeline/survival_run.h"

#include <fmt/format.h>

#include <optional>
#include <vector>

#include "med3d/core/file.h"
#include "med3d/core/hash.h"
#include "med3d/core/parallel.h"
#include "med3d/core/random.h"
#include "med3d/core/stop.h"
#include "med3d/pipeline/piece_file.h"
#include "med3d/pipeline/survival_bundle.h"
#include "med3d/pipeline/survival_evaluation.h"
#include "med3d/pipeline/survival_optimism.h"

namespace med3d::pipeline {
namespace {

// SHA-256 of the bundle's files that the fit on all training patients leaves.
Json bundle_hashes(const std::filesystem::path& out) {
  Json hashes = Json::object();
  for (const char* name : kSurvivalFiles) {
    if (std::filesystem::is_regular_file(out / name)) hashes[name] = sha256_file(out / name);
  }
  return hashes;
}

// A piece of this very run, or nothing: also where its part of the bundle is gone or was changed.
std::optional<SurvivalFold> finished(const std::filesystem::path& out,
                                     const SurvivalPiece& piece,
                                     const std::string& key) {
  const auto found = read_piece(out / "folds" / piece.file(), key);
  if (!found) return std::nullopt;
  if (found->contains("files") && found->at("files") != bundle_hashes(out)) return std::nullopt;
  try {
    SurvivalFold fold = SurvivalFold::from_json(found->at("outcome"));
    if (fold.held_out != piece.partition.held_out()) return std::nullopt;
    return fold;
  } catch (const std::exception&) {
    return std::nullopt;  // damaged: it is computed again
  }
}

}  // namespace

Json plan_survival_json(const Cohort& cohort, const RunSettings& settings) {
  const auto specs = survival_model_list(settings, cohort.modality_names());
  const auto pieces = plan_survival(cohort, settings);
  Json plan = {{"patients", cohort.size()},
               {"pieces", pieces.size()},
               {"fits", pieces.size() * survival_units(settings, specs)},
               {"models", Json::array()}};
  for (const auto& spec : specs) plan["models"].push_back(spec.id);
  return plan;
}

namespace {

struct FittedPieces {
  std::vector<SurvivalPiece> pieces;
  std::vector<std::optional<SurvivalFold>> folds;
  std::size_t taken_over = 0;
};

FittedPieces fit_pieces(const Cohort& cohort,
                        const RunSettings& settings,
                        const std::filesystem::path& out,
                        const std::string& key,
                        int threads,
                        Progress& progress) {
  const auto specs = survival_model_list(settings, cohort.modality_names());
  FittedPieces fitted;
  fitted.pieces = plan_survival(cohort, settings);
  const auto& pieces = fitted.pieces;
  auto& folds = fitted.folds;
  folds.resize(pieces.size());
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    folds[i] = finished(out, pieces[i], key);
    if (folds[i]) ++fitted.taken_over;
  }
  const std::size_t open = pieces.size() - fitted.taken_over;
  if (open > 0) {
    progress.start("fitting models of time to event", open * survival_units(settings, specs));
  }
  parallel_for(pieces.size(), threads, [&](std::size_t i) {
    if (folds[i]) return;
    throw_if_stopped();
    const auto seed = derive_seed(
        static_cast<std::uint64_t>(settings.run.seed),
        "survival " + pieces[i].set,
        {static_cast<std::uint64_t>(pieces[i].repeat), static_cast<std::uint64_t>(pieces[i].fold)});
    const auto& partition = pieces[i].partition;
    auto fit = fit_survival_fold(cohort, settings, specs, partition, seed, progress);
    Json record = {{"outcome", fit.outcome.to_json()}};
    if (i == 0) {  // the fit on all training patients
      write_survival_bundle(
          out / "model", cohort, settings, specs, fit, partition.training().rows());
      record["files"] = bundle_hashes(out);
    }
    write_piece(out / "folds" / pieces[i].file(), key, record);
    folds[i] = std::move(fit.outcome);
  });
  return fitted;
}

}  // namespace

std::size_t fit_survival(const Cohort& cohort,
                         const RunSettings& settings,
                         const std::filesystem::path& out,
                         const std::string& key,
                         int threads,
                         Progress& progress) {
  return fit_pieces(cohort, settings, out, key, threads, progress).taken_over;
}

SurvivalSummary run_survival(const Cohort& cohort,
                             const RunSettings& settings,
                             const std::filesystem::path& out,
                             const std::string& key,
                             int threads,
                             Progress& progress) {
  const auto specs = survival_model_list(settings, cohort.modality_names());
  auto [pieces, folds, taken_over] = fit_pieces(cohort, settings, out, key, threads, progress);
  SurvivalSummary summary;
  summary.pieces = pieces.size();
  summary.taken_over = taken_over;
  progress.start("evaluating time to event", 0);
  std::vector<SurvivalFold> all;
  for (auto& fold : folds) all.push_back(std::move(*fold));
  const ScoreBaselines scores(cohort);
  SurvivalContext context{
      cohort, settings, specs, aggregate_survival(cohort, settings, pieces, all), threads, &scores};
  summary.report = evaluate_survival(context);
  // The fit on all training patients, whether or not there are test patients to judge it on.
  Json final_fit = Json::object();
  for (const auto& [id, outcome] : all.front().models) {
    final_fit[id] =
        outcome.not_fitted.empty() ? outcome.description : Json{{"not_fitted", outcome.not_fitted}};
  }
  summary.report["final_fit"] = {{"n_training", all.front().n_training},
                                 {"events_training", all.front().events_training},
                                 {"models", final_fit}};
  summary.report["optimism"] =
      optimism_json(cohort, settings, specs, pieces.front().partition.training().rows(), threads);
  summary.predictions = survival_predictions_csv(context);
  return summary;
}

}  // namespace med3d::pipeline
