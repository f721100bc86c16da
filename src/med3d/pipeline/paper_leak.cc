#include "med3d/pipeline/paper_leak.h"

#include <fmt/format.h>

#include "med3d/core/error.h"
#include "med3d/core/random.h"
#include "med3d/nn/mlp.h"
#include "med3d/tabular/clinical_encoder.h"
#include "med3d/tabular/resample.h"
#include "med3d/tabular/split.h"

namespace med3d::pipeline {

Json paper_leak_json(const EvaluationContext& context) {
  const Cohort& cohort = context.cohort;
  if (cohort.columns.empty()) {
    throw Error(ErrorKind::kData, "protocol paper-leak needs a clinical table");
  }
  const auto& section = context.settings.clinical_arm;
  Json rows = Json::array();
  const auto seed =
      derive_seed(static_cast<std::uint64_t>(context.settings.run.seed), "paper-leak");
  Rows all;
  for (std::size_t row = 0; row < cohort.size(); ++row) {
    if (cohort.has_clinical[row]) all.push_back(row);
  }
  std::vector<std::uint8_t> y;
  for (const std::size_t row : all) y.push_back(cohort.label[row]);
  // The error begins here: imputation and scaling see every patient.
  const auto x = encode_all_rows(cohort, context.settings, all);

  for (const auto balance : {tabular::Balance::kSmote, tabular::Balance::kAdasyn}) {
    tabular::ResampleOptions resample;
    resample.k_neighbors = section.k_neighbors;
    resample.seed = static_cast<std::uint32_t>(derive_seed(seed, "oversampling"));
    const auto balanced = tabular::resample(x, y, balance, resample);
    const auto split = tabular::stratified_hold_out(
        balanced.y, 0.2, static_cast<std::uint32_t>(derive_seed(seed, "split")));
    const auto take = [&](const std::vector<std::size_t>& index) {
      std::vector<std::uint8_t> labels;
      for (const std::size_t i : index) labels.push_back(balanced.y[i]);
      return labels;
    };
    nn::MlpOptions options;
    options.hidden = section.hidden;
    options.dropout = section.dropout;
    options.batch_norm = section.batch_norm;
    options.training = section.fit.training(seed, nn::DeviceKind::kCpu, false);
    options.training.class_weights = false;
    const auto network = nn::Mlp::fit(
        matrix_cast<float>(balanced.x.take_rows(split.train)), take(split.train), options);
    const auto label = take(split.test);
    const auto probability = network.predict(matrix_cast<float>(balanced.x.take_rows(split.test)));
    std::size_t synthetic = 0;
    for (const std::size_t i : split.test) synthetic += i >= balanced.n_original ? 1 : 0;
    stats::EvaluateOptions evaluate;
    evaluate.bootstrap_repeats = context.settings.validation.bootstrap;
    evaluate.seed = seed;
    evaluate.threads = context.threads;
    evaluate.confidence = context.settings.validation.confidence;
    const auto set = stats::evaluate_set(label, probability, 0.5, evaluate);
    Json metrics = Json::object();
    for (const auto& [name, estimate] : set.metrics) metrics[name] = to_json(estimate);
    rows.push_back({{"label",
                     fmt::format("{} before the split: {} of {} test rows are synthetic",
                                 tabular::to_string(balance),
                                 synthetic,
                                 label.size())},
                    {"n", set.n},
                    {"positives", set.positives},
                    {"negatives", set.negatives},
                    {"metrics", metrics}});
  }
  for (const auto& set : context.sets) {
    const auto found = set.models.find("clinical");
    if (found == set.models.end() || !found->second.any()) continue;
    const Json honest = set_metrics_json(context, "clinical", set, found->second);
    rows.push_back({{"label", "Honest, the clinical arm of this run, " + set.name},
                    {"n", honest.at("n")},
                    {"positives", honest.at("positives")},
                    {"negatives", honest.at("negatives")},
                    {"metrics", honest.at("metrics")}});
  }
  return {{"text",
           "Oversampling before the split deals copies of training patients into the test set: its "
           "figures measure memory, not prognosis. Shown to be recognised, not to be quoted."},
          {"rows", rows}};
}

}  // namespace med3d::pipeline
