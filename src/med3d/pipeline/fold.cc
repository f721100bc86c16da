#include "med3d/pipeline/fold.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "med3d/core/error.h"
#include "med3d/core/random.h"
#include "med3d/core/stop.h"
#include "med3d/core/text.h"
#include "med3d/nn/late_fusion.h"
#include "med3d/stats/calibration.h"
#include "med3d/stats/classification.h"
#include "med3d/stats/curves.h"

namespace med3d::pipeline {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

// Labels and probabilities of the rows that have a prediction.
struct Predicted {
  std::vector<std::uint8_t> label;
  std::vector<double> probability;
};
Predicted with_prediction(const Cohort& cohort,
                          const Rows& rows,
                          const std::vector<double>& probability) {
  Predicted out;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (std::isnan(probability[i])) continue;
    out.label.push_back(cohort.label[rows[i]]);
    out.probability.push_back(probability[i]);
  }
  return out;
}

// Higher is better; nothing where the predictions cannot tell.
double selection_score(const Predicted& p, const std::string& metric) {
  const auto positives = std::count(p.label.begin(), p.label.end(), 1);
  if (positives == 0 || positives == static_cast<long>(p.label.size())) return kNone;
  if (metric == "log_loss") return -stats::log_loss(p.label, p.probability).value;
  if (metric == "balanced_accuracy") {
    const auto c = stats::confusion(p.label, p.probability, best_threshold(p.label, p.probability));
    return stats::balanced_accuracy(c).value;
  }
  return stats::auroc(p.label, p.probability).value;
}

// The logistic map of an arm's out-of-fold probabilities; unchanged where it cannot be fitted. An
// arm that ranks the wrong way round out of fold is flattened, not turned over.
Recalibration recalibrate(const Predicted& p) {
  const auto fit = stats::calibration_fit(p.label, p.probability);
  if (!fit.slope.ok() || std::isnan(fit.slope_model_intercept)) return {};
  if (fit.slope.value > 0.0) return {fit.slope_model_intercept, fit.slope.value};
  const double positives = static_cast<double>(std::count(p.label.begin(), p.label.end(), 1));
  const double negatives = static_cast<double>(p.label.size()) - positives;
  return {std::log(positives / negatives), 0.0};
}

// All combinations of the candidates that concern one section; one empty list where there are none.
std::vector<std::vector<std::string>> candidates_of(const RunSettings& settings,
                                                    const std::string& section) {
  std::vector<std::vector<std::string>> candidates = {{}};
  if (section.empty()) return candidates;
  for (const auto& [key, values] : settings.validation.select) {
    if (!key.starts_with(section + ".")) continue;
    std::vector<std::vector<std::string>> grown;
    for (const auto& candidate : candidates) {
      for (const auto& value : values) {
        auto next = candidate;
        next.push_back(key + "=" + value);
        grown.push_back(std::move(next));
      }
    }
    candidates = std::move(grown);
  }
  return candidates;
}

// A model on one training side: fitted, or the reason why it could not be.
struct Attempt {
  std::shared_ptr<const Model> model;
  std::string reason;
};
Attempt attempt(const ModelSpec& spec,
                const Cohort& cohort,
                const RunSettings& settings,
                const TrainingRows& training,
                std::uint64_t seed,
                const FittedModels& fitted) {
  try {
    return {spec.fit({cohort, settings, training, seed, fitted}), ""};
  } catch (const Error& error) {
    // Too few of a class is a fact about these rows; anything else is a fault and ends the run.
    if (error.kind() != ErrorKind::kData) throw;
    return {nullptr, error.what()};
  }
}

// Weights by gradient descent on the rows of which at least one arm has an out-of-fold prediction.
std::vector<double> learned_weights(const Matrix<double>& probability,
                                    const std::vector<std::uint8_t>& label) {
  const auto mask = present_mask(probability);
  Rows covered;
  std::vector<std::uint8_t> y;
  for (std::size_t i = 0; i < probability.rows(); ++i) {
    const auto row = mask.row(i);
    if (std::none_of(row.begin(), row.end(), [](std::uint8_t m) { return m != 0; })) continue;
    covered.push_back(i);
    y.push_back(label[i]);
  }
  return nn::learn_weights(probability.take_rows(covered), mask.take_rows(covered), y);
}

}  // namespace

double best_threshold(std::span<const std::uint8_t> label, std::span<const double> probability) {
  const auto positives = static_cast<double>(std::count(label.begin(), label.end(), 1));
  const double negatives = static_cast<double>(label.size()) - positives;
  if (positives == 0 || negatives == 0) return 0.5;
  std::vector<std::size_t> order(label.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return probability[a] != probability[b] ? probability[a] < probability[b] : a < b;
  });
  double best = -1.0;
  double threshold = 0.5;
  double positives_below = 0;
  double negatives_below = 0;
  for (std::size_t i = 0; i + 1 < order.size(); ++i) {
    (label[order[i]] != 0 ? positives_below : negatives_below) += 1;
    const double here = probability[order[i]];
    const double next = probability[order[i + 1]];
    if (here == next) continue;
    const double balanced =
        0.5 * ((positives - positives_below) / positives + negatives_below / negatives);
    const double cut = 0.5 * (here + next);
    const bool nearer = std::abs(cut - 0.5) < std::abs(threshold - 0.5);
    if (balanced > best + 1e-12 || (balanced > best - 1e-12 && nearer)) {
      best = std::max(best, balanced);
      threshold = cut;
    }
  }
  return best < 0 ? 0.5 : threshold;
}

std::vector<int> source_strata(const Cohort& cohort, const RunSettings& settings) {
  std::vector<int> strata;
  if (!settings.validation.stratify_by_source) return strata;
  std::map<std::string, int> number;
  for (const auto& source : cohort.source) number.emplace(source, 0);
  int next = 0;
  for (auto& [name, value] : number) value = next++;
  for (const auto& source : cohort.source) strata.push_back(number.at(source));
  return strata;
}

std::size_t fold_units(const RunSettings& settings, const std::vector<ModelSpec>& specs) {
  std::size_t units = 0;
  for (const auto& spec : specs) {
    const auto inner = static_cast<std::size_t>(settings.validation.inner_folds);
    units += spec.ensemble_of_arms
                 ? 1
                 : candidates_of(settings, spec.settings_section).size() * inner + 1;
  }
  return units;
}

namespace {

// A prediction that was made before, of the held-out rows: an arm of which nothing else is asked.
class StoredPredictions : public Model {
 public:
  StoredPredictions(const Rows& rows, const std::vector<double>& probability) {
    for (std::size_t i = 0; i < rows.size(); ++i) probability_[rows[i]] = probability[i];
  }
  std::vector<double> predict(const Cohort&, const Rows& rows) const override {
    std::vector<double> out;
    for (const std::size_t row : rows) out.push_back(probability_.at(row));
    return out;
  }
  Json save(const std::string&, TensorStore&) const override {
    throw Error(ErrorKind::kUsage, "a stored prediction is no model to keep");
  }

 private:
  std::map<std::size_t, double> probability_;
};

// Fits `specs` in order. `arms` are those that late fusion joins, fitted before.
FoldOutcome fit_part(const Cohort& cohort,
                     const RunSettings& settings,
                     const std::vector<ModelSpec>& specs,
                     const std::vector<std::string>& arms,
                     const Partition& partition,
                     std::uint64_t seed,
                     FoldFit& fit,
                     Progress& progress) {
  const Rows& rows = partition.training().rows();
  const auto inner = partition.inner_folds(cohort.label,
                                           source_strata(cohort, settings),
                                           settings.validation.inner_folds,
                                           derive_seed(seed, "inner"));
  std::map<std::size_t, std::size_t> position;
  for (std::size_t i = 0; i < rows.size(); ++i) position[rows[i]] = i;

  FoldOutcome result;
  result.held_out = partition.held_out();
  auto& inner_fitted = fit.inner;
  auto& out_of_fold = fit.out_of_fold;
  inner_fitted.resize(inner.size());

  for (const auto& spec : specs) {
    throw_if_stopped();
    ModelOutcome outcome;
    outcome.probability.assign(partition.held_out().size(), kNone);
    auto& oof = out_of_fold[spec.id];
    oof.assign(rows.size(), kNone);
    const std::uint64_t model_seed = derive_seed(seed, spec.id);

    if (!spec.ensemble_of_arms) {
      // Nested selection: the candidate whose out-of-fold predictions are best. The first wins
      // ties.
      double best = -std::numeric_limits<double>::infinity();
      std::vector<std::string> best_candidate;
      std::vector<Attempt> best_attempts(inner.size());
      bool have_best = false;
      for (const auto& candidate : candidates_of(settings, spec.settings_section)) {
        const RunSettings tried = candidate.empty() ? settings : settings.with(candidate);
        std::vector<double> predicted(rows.size(), kNone);
        std::vector<Attempt> attempts;
        for (std::size_t k = 0; k < inner.size(); ++k) {
          attempts.push_back(attempt(spec,
                                     cohort,
                                     tried,
                                     inner[k].training(),
                                     derive_seed(model_seed, "inner", {k}),
                                     inner_fitted[k]));
          progress.advance();
          if (!attempts.back().model) continue;
          const auto p = attempts.back().model->predict(cohort, inner[k].held_out());
          for (std::size_t i = 0; i < p.size(); ++i) {
            predicted[position.at(inner[k].held_out()[i])] = p[i];
          }
        }
        const double score = selection_score(with_prediction(cohort, rows, predicted),
                                             settings.validation.selection_metric);
        if (!have_best || score > best) {
          have_best = true;
          best = std::isnan(score) ? best : score;
          best_candidate = candidate;
          best_attempts = std::move(attempts);
          oof = std::move(predicted);
        }
      }
      for (std::size_t k = 0; k < inner.size(); ++k) {
        if (best_attempts[k].model) inner_fitted[k][spec.id] = best_attempts[k].model;
      }
      const RunSettings chosen = best_candidate.empty() ? settings : settings.with(best_candidate);
      auto final_fit = attempt(spec, cohort, chosen, partition.training(), model_seed, fit.models);
      progress.advance();
      outcome.chosen = best_candidate;
      outcome.not_fitted = final_fit.reason;
      if (final_fit.model) fit.models[spec.id] = final_fit.model;
    } else {
      Matrix<double> probability(rows.size(), arms.size(), kNone);
      std::vector<double> weights(arms.size(), 0.0);
      std::vector<Recalibration> recalibration(arms.size());
      std::vector<std::uint8_t> label;
      for (const std::size_t row : rows) label.push_back(cohort.label[row]);
      std::vector<bool> seen(arms.size(), false);
      bool any = false;
      for (std::size_t k = 0; k < arms.size(); ++k) {
        if (!fit.models.contains(arms[k])) continue;
        const auto& p = out_of_fold.at(arms[k]);
        const auto predicted = with_prediction(cohort, rows, p);
        if (settings.fusion.calibrate_arms == "platt") recalibration[k] = recalibrate(predicted);
        for (std::size_t i = 0; i < rows.size(); ++i) probability(i, k) = recalibration[k](p[i]);
        const auto matrix =
            stats::confusion(predicted.label,
                             predicted.probability,
                             best_threshold(predicted.label, predicted.probability));
        const auto balanced = stats::balanced_accuracy(matrix);
        // An arm that was never seen to work out of fold carries no weight.
        if (!balanced.ok()) continue;
        seen[k] = true;
        any = true;
        weights[k] = settings.fusion.late_rule == "excess" ? std::max(0.0, balanced.value - 0.5)
                                                           : balanced.value;
      }
      if (any && spec.id == "late_learned") {
        weights = learned_weights(probability, label);
        for (std::size_t k = 0; k < arms.size(); ++k) {
          if (!seen[k]) weights[k] = 0.0;
        }
      }
      if (any && std::all_of(weights.begin(), weights.end(), [](double w) { return w <= 0; })) {
        std::fill(weights.begin(), weights.end(), 1.0);
      }
      if (any) {
        oof = combine_late(probability, weights);
        for (std::size_t k = 0; k < arms.size(); ++k) outcome.weights[arms[k]] = weights[k];
        fit.models[spec.id] = make_late_fusion(arms, weights, recalibration, fit.models);
      } else {
        outcome.not_fitted = "no arm has out-of-fold predictions of both classes";
      }
      progress.advance();
    }

    const auto predicted = with_prediction(cohort, rows, oof);
    // The majority class is the rule itself: no threshold could be learnt for it.
    outcome.threshold = settings.validation.threshold == "half" || spec.id == kMajorityModel
                            ? 0.5
                            : best_threshold(predicted.label, predicted.probability);
    if (const auto found = fit.models.find(spec.id);
        found != fit.models.end() && !partition.held_out().empty()) {
      outcome.probability = found->second->predict(cohort, partition.held_out());
    }
    result.models[spec.id] = std::move(outcome);
  }
  return result;
}

}  // namespace

std::vector<ModelSpec> part_of(const std::vector<ModelSpec>& specs, bool fusions) {
  std::vector<ModelSpec> out;
  for (const auto& spec : specs) {
    if (is_fusion(spec) == fusions) out.push_back(spec);
  }
  return out;
}

FoldOutcome fit_arms(const Cohort& cohort,
                     const RunSettings& settings,
                     const std::vector<ModelSpec>& specs,
                     const Partition& partition,
                     std::uint64_t seed,
                     FoldFit& fit,
                     Progress& progress) {
  return fit_part(
      cohort, settings, part_of(specs, false), arm_ids(specs), partition, seed, fit, progress);
}

FoldOutcome fit_fusions(const Cohort& cohort,
                        const RunSettings& settings,
                        const std::vector<ModelSpec>& specs,
                        const Partition& partition,
                        std::uint64_t seed,
                        FoldFit& fit,
                        Progress& progress) {
  return fit_part(
      cohort, settings, part_of(specs, true), arm_ids(specs), partition, seed, fit, progress);
}

FoldFit restore_arms(const Cohort& cohort,
                     const RunSettings& settings,
                     const std::vector<ModelSpec>& specs,
                     const Partition& partition,
                     std::uint64_t seed,
                     const FoldOutcome& arms,
                     std::map<std::string, std::vector<double>> out_of_fold,
                     Progress& progress) {
  FoldFit fit;
  const auto fusions = part_of(specs, true);
  const bool reads_layers = std::any_of(
      fusions.begin(), fusions.end(), [](const ModelSpec& spec) { return !spec.ensemble_of_arms; });
  if (reads_layers) {
    std::vector<ModelSpec> clinical;
    for (const auto& spec : specs) {
      if (spec.id == kClinicalArm) clinical.push_back(spec);
    }
    fit_part(cohort, settings, clinical, {}, partition, seed, fit, progress);
  }
  for (const auto& id : arm_ids(specs)) {
    const auto& outcome = arms.models.at(id);
    if (fit.models.contains(id) || !outcome.not_fitted.empty()) continue;
    fit.models[id] = std::make_shared<StoredPredictions>(arms.held_out, outcome.probability);
  }
  fit.out_of_fold = std::move(out_of_fold);
  return fit;
}

FittedFold fit_fold(const Cohort& cohort,
                    const RunSettings& settings,
                    const std::vector<ModelSpec>& specs,
                    const Partition& partition,
                    std::uint64_t seed,
                    Progress& progress) {
  FoldFit fit;
  FittedFold result;
  result.outcome = fit_arms(cohort, settings, specs, partition, seed, fit, progress);
  auto fusions = fit_fusions(cohort, settings, specs, partition, seed, fit, progress);
  result.outcome.models.merge(fusions.models);
  result.models = std::move(fit.models);
  return result;
}

Json FoldOutcome::to_json() const {
  Json json = {
      {"repeat", repeat}, {"fold", fold}, {"held_out", held_out}, {"models", Json::object()}};
  for (const auto& [id, model] : models) {
    Json entry = {{"threshold", model.threshold}};
    entry["probability"] = Json::array();
    for (const double p : model.probability) {
      entry["probability"].push_back(std::isnan(p) ? Json(nullptr) : Json(p));
    }
    if (!model.not_fitted.empty()) entry["not_fitted"] = model.not_fitted;
    if (!model.chosen.empty()) entry["chosen"] = model.chosen;
    if (!model.weights.empty()) entry["weights"] = model.weights;
    json["models"][id] = std::move(entry);
  }
  return json;
}

FoldOutcome FoldOutcome::from_json(const Json& json) {
  FoldOutcome outcome;
  outcome.repeat = json.at("repeat").get<int>();
  outcome.fold = json.at("fold").get<int>();
  outcome.held_out = json.at("held_out").get<Rows>();
  for (const auto& [id, entry] : json.at("models").items()) {
    ModelOutcome model;
    model.threshold = entry.at("threshold").get<double>();
    for (const auto& p : entry.at("probability")) {
      model.probability.push_back(p.is_null() ? kNone : p.get<double>());
    }
    model.not_fitted = entry.value("not_fitted", "");
    if (entry.contains("chosen")) model.chosen = entry.at("chosen").get<std::vector<std::string>>();
    if (entry.contains("weights")) {
      model.weights = entry.at("weights").get<std::map<std::string, double>>();
    }
    if (model.probability.size() != outcome.held_out.size()) {
      throw Error(ErrorKind::kFormat,
                  fmt::format("model '{}': {} probabilities for {} patients",
                              id,
                              model.probability.size(),
                              outcome.held_out.size()));
    }
    outcome.models[id] = std::move(model);
  }
  return outcome;
}

}  // namespace med3d::pipeline
