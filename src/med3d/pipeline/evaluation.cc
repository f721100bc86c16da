#include "med3d/pipeline/evaluation.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "med3d/core/error.h"
#include "med3d/core/random.h"
#include "med3d/core/text.h"
#include "med3d/io/formats/csv.h"
#include "med3d/stats/calibration.h"
#include "med3d/stats/curves.h"
#include "med3d/stats/delong.h"
#include "med3d/stats/intervals.h"

namespace med3d::pipeline {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
// Intervals of small tables need fewer resamples than headline figures.
constexpr int kPatternBootstrap = 200;
constexpr int kCalibrationBins = 5;
constexpr const char* kStageGradeModel = "stage_grade_logistic";

// What a model said of the patients for whom it said anything.
struct Judged {
  Rows rows;
  std::vector<std::uint8_t> label;
  std::vector<double> probability;
  std::vector<std::uint8_t> predicted;
  double threshold = 0.5;
};

Judged judged(const Cohort& cohort,
              const SetPredictions& set,
              const ModelPredictions& model,
              const std::function<bool(std::size_t)>& keep = {}) {
  Judged out;
  double sum = 0.0;
  for (std::size_t i = 0; i < set.rows.size(); ++i) {
    if (std::isnan(model.probability[i])) continue;
    if (keep && !keep(set.rows[i])) continue;
    out.rows.push_back(set.rows[i]);
    out.label.push_back(cohort.label[set.rows[i]]);
    out.probability.push_back(model.probability[i]);
    out.predicted.push_back(model.predicted[i]);
    sum += model.threshold[i];
  }
  if (!out.rows.empty()) out.threshold = sum / static_cast<double>(out.rows.size());
  return out;
}

stats::EvaluateOptions evaluate_options(const EvaluationContext& context,
                                        const std::string& what,
                                        int repeats) {
  stats::EvaluateOptions options;
  options.bootstrap_repeats = repeats;
  options.seed = derive_seed(static_cast<std::uint64_t>(context.settings.run.seed), what);
  options.threads = context.threads;
  options.confidence = context.settings.validation.confidence;
  options.interval = interval_kind(context.settings);
  return options;
}

Json metrics_json(const stats::MetricSet& set) {
  Json json = Json::object();
  for (const auto& [name, estimate] : set.metrics) json[name] = to_json(estimate);
  return json;
}

// Always positive, stage + grade and the clinical scores on the very patients the model was judged
// on.
Json baselines_json(const EvaluationContext& context,
                    const ModelSpec& spec,
                    const SetPredictions& set,
                    const Judged& data) {
  const double confidence = context.settings.validation.confidence;
  Json out = Json::array();
  stats::BootstrapOptions draws;
  draws.repeats = context.settings.validation.bootstrap;
  draws.seed = derive_seed(static_cast<std::uint64_t>(context.settings.run.seed),
                           "always positive/" + set.name + "/" + spec.id);
  draws.threads = context.threads;
  draws.confidence = confidence;
  draws.interval = interval_kind(context.settings);
  out.push_back(beside_always_positive(data.label, data.predicted, draws));
  const auto found = set.models.find(kStageGradeModel);
  if (found != set.models.end() && spec.id != kStageGradeModel) {
    std::vector<double> risk;
    for (const std::size_t row : data.rows) {
      const auto at = std::lower_bound(set.rows.begin(), set.rows.end(), row) - set.rows.begin();
      risk.push_back(found->second.probability[static_cast<std::size_t>(at)]);
    }
    out.push_back(beside_baseline(kStageGradeModel,
                                  "Stage and grade, logistic",
                                  data.label,
                                  data.probability,
                                  risk,
                                  confidence));
  }
  if (context.scores != nullptr && !context.scores->empty()) {
    for (auto& entry :
         context.scores->beside(data.rows, data.label, data.probability, confidence)) {
      out.push_back(std::move(entry));
    }
  }
  return out;
}

Json set_json(const EvaluationContext& context,
              const ModelSpec& spec,
              const SetPredictions& set,
              const ModelPredictions& model) {
  const Judged data = judged(context.cohort, set, model);
  Json json = set_metrics_json(context, spec.id, set, model);
  const bool both_classes = json.at("positives") != 0 && json.at("negatives") != 0;
  json["without_prediction"] = set.rows.size() - data.rows.size();
  json["folds_fitted"] = model.folds_fitted;
  json["folds"] = model.folds;
  if (model.repeat_auroc.size() > 1) {
    double sum = 0.0;
    double squares = 0.0;
    for (const double a : model.repeat_auroc) sum += a;
    const double n = static_cast<double>(model.repeat_auroc.size());
    for (const double a : model.repeat_auroc) squares += (a - sum / n) * (a - sum / n);
    json["auroc_over_repeats"] = {{"mean", sum / n}, {"sd", std::sqrt(squares / (n - 1.0))}};
  }
  if (both_classes && spec.family != "reference") {
    stats::BandOptions band;
    band.repeats = std::max(1, context.settings.validation.bootstrap / 2);
    band.seed = derive_seed(static_cast<std::uint64_t>(context.settings.run.seed),
                            "band/" + set.name + "/" + spec.id);
    band.threads = context.threads;
    band.confidence = context.settings.validation.confidence;
    const auto roc = stats::roc_band(data.label, data.probability, band);
    json["roc"] = {{"fpr", roc.grid}, {"tpr", roc.value}, {"low", roc.low}, {"high", roc.high}};
    const auto pr = stats::pr_band(data.label, data.probability, band);
    json["pr"] = {{"recall", pr.grid}, {"precision", pr.value}, {"low", pr.low}, {"high", pr.high}};
    Json calibration = {{"predicted", Json::array()},
                        {"observed", Json::array()},
                        {"low", Json::array()},
                        {"high", Json::array()},
                        {"n", Json::array()}};
    for (const auto& bin : stats::calibration_table(data.label,
                                                    data.probability,
                                                    kCalibrationBins,
                                                    stats::BinStrategy::kQuantile,
                                                    context.settings.validation.confidence)) {
      calibration["predicted"].push_back(bin.mean_probability);
      calibration["observed"].push_back(bin.observed.value);
      calibration["low"].push_back(bin.observed.low);
      calibration["high"].push_back(bin.observed.high);
      calibration["n"].push_back(bin.n);
    }
    json["calibration"] = calibration;
    json["baselines"] = baselines_json(context, spec, set, data);
  }
  return json;
}

// Paired comparison of two models on the patients for whom both said something.
void compare(const EvaluationContext& context,
             const SetPredictions& set,
             const std::string& a,
             const std::string& b,
             Json& out) {
  const auto& first = set.models.at(a);
  const auto& second = set.models.at(b);
  std::vector<std::uint8_t> label;
  std::vector<std::uint8_t> right_first;
  std::vector<std::uint8_t> right_second;
  std::vector<double> p;
  std::vector<double> q;
  for (std::size_t i = 0; i < set.rows.size(); ++i) {
    if (std::isnan(first.probability[i]) || std::isnan(second.probability[i])) continue;
    const std::uint8_t y = context.cohort.label[set.rows[i]];
    label.push_back(y);
    p.push_back(first.probability[i]);
    q.push_back(second.probability[i]);
    right_first.push_back(first.predicted[i] == y ? 1 : 0);
    right_second.push_back(second.predicted[i] == y ? 1 : 0);
  }
  if (label.empty()) return;
  const auto delong = stats::auroc_difference(label, p, q, context.settings.validation.confidence);
  out.push_back({{"set", set.name},
                 {"a", a},
                 {"b", b},
                 {"test", "DeLong"},
                 {"metric", "auroc"},
                 {"n", label.size()},
                 {"difference", to_json(delong.difference)},
                 {"p", std::isnan(delong.p) ? Json(nullptr) : Json(delong.p)},
                 {"p_adjusted", nullptr}});
  const auto mcnemar = stats::mcnemar(right_first, right_second);
  const double n = static_cast<double>(label.size());
  out.push_back({{"set", set.name},
                 {"a", a},
                 {"b", b},
                 {"test", "McNemar"},
                 {"metric", "accuracy"},
                 {"n", label.size()},
                 {"difference",
                  {{"value", static_cast<double>(mcnemar.only_first - mcnemar.only_second) / n}}},
                 {"p", mcnemar.p},
                 {"p_adjusted", nullptr}});
}

// Holm's correction within each set and test.
void adjust(Json& comparisons) {
  std::map<std::pair<std::string, std::string>, std::vector<std::size_t>> families;
  for (std::size_t i = 0; i < comparisons.size(); ++i) {
    if (!comparisons[i].at("p").is_null()) {
      families[{comparisons[i].at("set"), comparisons[i].at("test")}].push_back(i);
    }
  }
  for (const auto& [family, members] : families) {
    std::vector<double> p;
    for (const std::size_t i : members) p.push_back(comparisons[i].at("p").get<double>());
    const auto adjusted = stats::holm(p);
    for (std::size_t k = 0; k < members.size(); ++k) {
      comparisons[members[k]]["p_adjusted"] = adjusted[k];
    }
  }
}

Json availability_json(const EvaluationContext& context,
                       const ModelSpec& spec,
                       const SetPredictions& set,
                       const ModelPredictions& model) {
  std::map<std::vector<std::string>, std::size_t> patterns;
  for (const std::size_t row : set.rows) ++patterns[available_modalities(context.cohort, row)];
  Json rows = Json::array();
  for (const auto& [pattern, n] : patterns) {
    const Judged data = judged(context.cohort, set, model, [&](std::size_t row) {
      return available_modalities(context.cohort, row) == pattern;
    });
    if (data.rows.empty()) continue;
    const auto metrics = stats::evaluate_set(
        data.label,
        data.probability,
        data.predicted,
        data.threshold,
        evaluate_options(context,
                         "pattern/" + set.name + "/" + spec.id + "/" + join(pattern, "+"),
                         std::min(kPatternBootstrap, context.settings.validation.bootstrap)));
    Json kept = Json::object();
    for (const char* key : {"auroc", "auprc", "balanced_accuracy", "sensitivity", "specificity"}) {
      kept[key] = to_json(metrics.at(key));
    }
    rows.push_back({{"pattern", pattern},
                    {"n", metrics.n},
                    {"positives", metrics.positives},
                    {"negatives", metrics.negatives},
                    {"metrics", kept}});
  }
  return {{"set", set.name}, {"model", spec.id}, {"rows", rows}};
}

}  // namespace

Json set_metrics_json(const EvaluationContext& context,
                      const std::string& model_id,
                      const SetPredictions& set,
                      const ModelPredictions& model) {
  const Judged data = judged(context.cohort, set, model);
  const auto options = evaluate_options(
      context, "metrics/" + set.name + "/" + model_id, context.settings.validation.bootstrap);
  // Folds differ by a patient or two in their prevalence; a constant must not seem to rank by it.
  const auto metrics =
      model_id == kMajorityModel && !data.probability.empty()
          ? stats::majority_class_row(data.label, options, data.probability.front())
          : stats::evaluate_set(
                data.label, data.probability, data.predicted, data.threshold, options);
  const auto& c = metrics.confusion;
  return {{"name", set.name},
          {"n", metrics.n},
          {"positives", metrics.positives},
          {"negatives", metrics.negatives},
          {"threshold", data.threshold},
          {"metrics", metrics_json(metrics)},
          {"confusion", {c.tn, c.fp, c.fn, c.tp}}};
}

stats::IntervalKind interval_kind(const RunSettings& settings) {
  return settings.validation.interval == "bca" ? stats::IntervalKind::kBca
                                               : stats::IntervalKind::kPercentile;
}

bool ModelPredictions::any() const {
  return std::any_of(
      probability.begin(), probability.end(), [](double p) { return !std::isnan(p); });
}

Json to_json(const stats::Estimate& estimate) {
  if (!estimate.ok()) {
    return {
        {"not_estimable", estimate.not_estimable.empty() ? "undefined" : estimate.not_estimable}};
  }
  const auto number = [](double x) { return std::isnan(x) ? Json(nullptr) : Json(x); };
  return {
      {"value", estimate.value}, {"low", number(estimate.low)}, {"high", number(estimate.high)}};
}

std::vector<std::string> available_modalities(const Cohort& cohort, std::size_t row) {
  std::vector<std::string> out;
  if (!cohort.columns.empty() && cohort.has_clinical[row]) out.emplace_back("clinical");
  for (const auto& modality : cohort.modalities) {
    if (modality.has(row)) out.push_back(modality.name);
  }
  return out;
}

SetPredictions aggregate(const std::string& name,
                         const Cohort& cohort,
                         const std::vector<FoldOutcome>& outcomes) {
  SetPredictions set;
  set.name = name;
  for (const auto& outcome : outcomes) {
    set.rows.insert(set.rows.end(), outcome.held_out.begin(), outcome.held_out.end());
  }
  std::sort(set.rows.begin(), set.rows.end());
  set.rows.erase(std::unique(set.rows.begin(), set.rows.end()), set.rows.end());
  std::map<std::size_t, std::size_t> position;
  for (std::size_t i = 0; i < set.rows.size(); ++i) position[set.rows[i]] = i;

  struct Sum {
    std::vector<double> probability, threshold;
    std::vector<int> n;
    std::map<int, std::pair<std::vector<std::uint8_t>, std::vector<double>>> by_repeat;
    std::map<std::string, double> weights;
  };
  std::map<std::string, Sum> sums;
  const std::size_t n = set.rows.size();
  for (const auto& outcome : outcomes) {
    for (const auto& [id, model] : outcome.models) {
      auto& sum = sums[id];
      auto& out = set.models[id];
      sum.probability.resize(n, 0.0);
      sum.threshold.resize(n, 0.0);
      sum.n.resize(n, 0);
      ++out.folds;
      if (model.not_fitted.empty()) {
        ++out.folds_fitted;
        for (const auto& choice : model.chosen) ++out.chosen[choice];
        for (const auto& [arm, weight] : model.weights) sum.weights[arm] += weight;
      } else if (out.not_fitted.empty()) {
        out.not_fitted = model.not_fitted;
      }
      auto& repeat = sum.by_repeat[outcome.repeat];
      for (std::size_t i = 0; i < outcome.held_out.size(); ++i) {
        if (std::isnan(model.probability[i])) continue;
        const std::size_t at = position.at(outcome.held_out[i]);
        sum.probability[at] += model.probability[i];
        sum.threshold[at] += model.threshold;
        ++sum.n[at];
        repeat.first.push_back(cohort.label[outcome.held_out[i]]);
        repeat.second.push_back(model.probability[i]);
      }
    }
  }
  for (auto& [id, out] : set.models) {
    const auto& sum = sums.at(id);
    out.probability.assign(n, kNone);
    out.threshold.assign(n, kNone);
    out.predicted.assign(n, 0);
    for (std::size_t i = 0; i < n; ++i) {
      if (sum.n[i] == 0) continue;
      out.probability[i] = sum.probability[i] / sum.n[i];
      out.threshold[i] = sum.threshold[i] / sum.n[i];
      out.predicted[i] = out.probability[i] >= out.threshold[i] ? 1 : 0;
    }
    for (const auto& [repeat, data] : sum.by_repeat) {
      if (data.first.empty()) continue;
      const auto auroc = stats::auroc(data.first, data.second);
      if (auroc.ok()) out.repeat_auroc.push_back(auroc.value);
    }
    for (const auto& [arm, weight] : sum.weights) {
      out.weights[arm] = weight / static_cast<double>(std::max<std::size_t>(1, out.folds_fitted));
    }
    if (out.folds_fitted > 0) out.not_fitted.clear();
  }
  return set;
}

Json evaluate_models(const EvaluationContext& context) {
  Json report;
  report["models"] = Json::array();
  for (const auto& spec : context.specs) {
    Json model = {{"id", spec.id},
                  {"label", spec.label},
                  {"family", spec.family},
                  {"modalities", spec.modalities},
                  {"reference", spec.reference},
                  {"sets", Json::array()}};
    for (const auto& set : context.sets) {
      const auto found = set.models.find(spec.id);
      if (found == set.models.end()) continue;
      if (found->second.any()) {
        model["sets"].push_back(set_json(context, spec, set, found->second));
      } else {
        model["not_fitted"] = found->second.not_fitted.empty()
                                  ? "no patient of the set has the modality"
                                  : found->second.not_fitted;
      }
    }
    report["models"].push_back(model);
  }

  const std::string best_arm = best_of_families(context, report["models"], {"arm"});
  report["comparisons"] = Json::array();
  report["availability_results"] = Json::array();
  report["late_weights"] = Json::array();
  report["selection"] = Json::array();
  // Every model against the best single-modality network, and the best network against the best
  // classical baseline: the two questions that the report answers in words.
  const std::string best_single =
      best_of_families(context, report["models"], {"arm", "paper-baseline"});
  const std::string best_deep =
      best_of_families(context, report["models"], {"arm", "paper-baseline", "fusion"});
  const std::string best_baseline = best_of_families(context, report["models"], {"baseline"});
  for (const auto& set : context.sets) {
    const auto answered = [&](const std::string& id) {
      const auto found = set.models.find(id);
      return found != set.models.end() && found->second.any();
    };
    for (const auto& spec : context.specs) {
      if (spec.id == best_single || spec.family == "reference") continue;
      if (answered(best_single) && answered(spec.id)) {
        compare(context, set, spec.id, best_single, report["comparisons"]);
      }
    }
    if (best_deep != best_single && answered(best_deep) && answered(best_baseline)) {
      compare(context, set, best_deep, best_baseline, report["comparisons"]);
    }
    for (const auto& spec : context.specs) {
      const auto found = set.models.find(spec.id);
      if (found == set.models.end() || !found->second.any()) continue;
      if (spec.family == "fusion" || spec.id == best_arm) {
        report["availability_results"].push_back(
            availability_json(context, spec, set, found->second));
      }
      for (const auto& [arm, weight] : found->second.weights) {
        report["late_weights"].push_back(
            {{"set", set.name}, {"model", spec.label}, {"modality", arm}, {"weight", weight}});
      }
      for (const auto& [setting, chosen] : found->second.chosen) {
        report["selection"].push_back({{"set", set.name},
                                       {"arm", spec.id},
                                       {"setting", setting},
                                       {"chosen", chosen},
                                       {"of", found->second.folds_fitted}});
      }
    }
  }
  adjust(report["comparisons"]);
  return report;
}

std::string best_of_families(const EvaluationContext& context,
                             const Json& models,
                             const std::vector<std::string>& families) {
  std::string best;
  double best_value = -1.0;
  if (context.sets.empty()) return best;
  for (const auto& model : models) {
    if (std::find(families.begin(), families.end(), model.at("family")) == families.end()) continue;
    for (const auto& set : model.at("sets")) {
      if (set.at("name") != context.sets.front().name) continue;
      const auto& metric = set.at("metrics").at(context.settings.validation.rank_metric);
      if (metric.contains("value") && metric.at("value").get<double>() > best_value) {
        best_value = metric.at("value").get<double>();
        best = model.at("id").get<std::string>();
      }
    }
  }
  return best;
}

std::string predictions_csv(const EvaluationContext& context) {
  const Cohort& cohort = context.cohort;
  CsvWriter csv({"case_id",
                 "set",
                 "model",
                 "endpoint",
                 "positive_class",
                 "label",
                 "probability",
                 "threshold",
                 "predicted",
                 "modalities_available"});
  for (const auto& set : context.sets) {
    for (const auto& spec : context.specs) {
      const auto found = set.models.find(spec.id);
      if (found == set.models.end()) continue;
      for (std::size_t i = 0; i < set.rows.size(); ++i) {
        const std::size_t row = set.rows[i];
        const double p = found->second.probability[i];
        const bool known = !std::isnan(p);
        csv.text(cohort.case_ids[row])
            .text(set.name)
            .text(spec.id)
            .text(cohort.endpoint.name)
            .text(cohort.endpoint.positive_label)
            .number(static_cast<int>(cohort.label[row]));
        if (known) {
          csv.number(p).number(found->second.threshold[i]).number(int{found->second.predicted[i]});
        } else {
          csv.missing().missing().missing();
        }
        csv.text(join(available_modalities(cohort, row), "+")).end_row();
      }
    }
  }
  return csv.str();
}

}  // namespace med3d::pipeline
