#include "med3d/stats/metric_set.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "med3d/core/error.h"
#include "med3d/stats/intervals.h"

namespace med3d::stats {
namespace {

constexpr const char* kNames[] = {"auroc",
                                  "auprc",
                                  "prevalence",
                                  "accuracy",
                                  "balanced_accuracy",
                                  "sensitivity",
                                  "specificity",
                                  "precision",
                                  "npv",
                                  "f1",
                                  "precision_negative",
                                  "recall_negative",
                                  "f1_negative",
                                  "mcc",
                                  "brier",
                                  "log_loss",
                                  "calibration_intercept",
                                  "calibration_slope"};
constexpr std::size_t kCount = std::size(kNames);

// All but auroc, which the bootstrap does not need.
std::vector<Estimate> values_after_auroc(std::span<const std::uint8_t> label,
                                         std::span<const double> probability,
                                         std::span<const std::uint8_t> predicted) {
  const Confusion c = confusion(label, predicted);
  const CalibrationFit fit = calibration_fit(label, probability);
  std::vector<Estimate> out = {average_precision(label, probability),
                               prevalence(c),
                               accuracy(c),
                               balanced_accuracy(c),
                               sensitivity(c),
                               specificity(c),
                               precision(c),
                               npv(c),
                               f1(c),
                               npv(c),
                               specificity(c),
                               f1_negative(c),
                               mcc(c),
                               brier(label, probability),
                               log_loss(label, probability),
                               fit.intercept,
                               fit.slope};
  for (Estimate& estimate : out) estimate.low = estimate.high = std::nan("");
  return out;
}

}  // namespace

void EvaluateOptions::validate() const {
  if (bootstrap_repeats < 0) {
    throw Error(ErrorKind::kUsage,
                fmt::format("bootstrap_repeats {}, expected 0 or more", bootstrap_repeats));
  }
  require_confidence(confidence);
}

const Estimate& MetricSet::at(const std::string& name) const {
  for (const auto& [key, estimate] : metrics) {
    if (key == name) return estimate;
  }
  throw Error(ErrorKind::kNotFound, fmt::format("no metric named '{}'", name));
}

std::span<const char* const> metric_names() { return kNames; }

MetricSet evaluate_set(std::span<const std::uint8_t> label,
                       std::span<const double> probability,
                       double threshold,
                       const EvaluateOptions& options) {
  std::vector<std::uint8_t> predicted;
  predicted.reserve(probability.size());
  for (const double p : probability) predicted.push_back(p >= threshold ? 1 : 0);
  return evaluate_set(label, probability, predicted, threshold, options);
}

MetricSet evaluate_set(std::span<const std::uint8_t> label,
                       std::span<const double> probability,
                       std::span<const std::uint8_t> predicted,
                       double threshold,
                       const EvaluateOptions& options) {
  options.validate();
  require_labels_and_probabilities(label, probability);
  MetricSet out;
  out.confusion = confusion(label, predicted);
  out.threshold = threshold;
  out.n = out.confusion.n();
  out.positives = out.confusion.positives();
  out.negatives = out.confusion.negatives();

  std::vector<Estimate> estimates = values_after_auroc(label, probability, predicted);
  if (options.bootstrap_repeats > 0 && out.n > 0) {
    BootstrapOptions draws;
    draws.repeats = options.bootstrap_repeats;
    draws.seed = options.seed;
    draws.threads = options.threads;
    draws.confidence = options.confidence;
    draws.interval = options.interval;
    if (out.positives > 0 && out.negatives > 0) {
      draws.accept = [&](std::span<const std::size_t> rows) {
        const auto drawn = std::count_if(
            rows.begin(), rows.end(), [&](std::size_t row) { return label[row] == 1; });
        return drawn > 0 && static_cast<std::size_t>(drawn) < rows.size();
      };
    }
    const BootstrapResult result = bootstrap(
        label.size(),
        kCount - 1,
        [&](std::span<const std::size_t> rows, std::span<double> value) {
          std::vector<std::uint8_t> drawn_label;
          std::vector<double> drawn_probability;
          drawn_label.reserve(rows.size());
          drawn_probability.reserve(rows.size());
          std::vector<std::uint8_t> drawn_predicted;
          drawn_predicted.reserve(rows.size());
          for (const std::size_t row : rows) {
            drawn_label.push_back(label[row]);
            drawn_probability.push_back(probability[row]);
            drawn_predicted.push_back(predicted[row]);
          }
          const auto drawn = values_after_auroc(drawn_label, drawn_probability, drawn_predicted);
          for (std::size_t i = 0; i < drawn.size(); ++i) value[i] = drawn[i].value;
        },
        draws);
    out.redrawn = result.redrawn;
    for (std::size_t i = 0; i < estimates.size(); ++i) {
      if (!estimates[i].ok()) continue;
      estimates[i].low = result.estimate[i].low;
      estimates[i].high = result.estimate[i].high;
    }
  }

  out.metrics.emplace_back(kNames[0], auroc_delong(label, probability, options.confidence).auroc);
  for (std::size_t i = 0; i < estimates.size(); ++i) {
    out.metrics.emplace_back(kNames[i + 1], estimates[i]);
  }
  return out;
}

std::vector<NamedEstimate> evaluate(std::span<const std::uint8_t> label,
                                    std::span<const double> probability,
                                    double threshold,
                                    const EvaluateOptions& options) {
  return evaluate_set(label, probability, threshold, options).metrics;
}

MetricSet majority_class_row(std::span<const std::uint8_t> label,
                             const EvaluateOptions& options,
                             std::optional<double> training_prevalence) {
  const auto positives = std::count(label.begin(), label.end(), std::uint8_t{1});
  const double own =
      label.empty() ? 0.0 : static_cast<double>(positives) / static_cast<double>(label.size());
  const std::vector<double> probability(label.size(), training_prevalence.value_or(own));
  return evaluate_set(label, probability, 0.5, options);
}

}  // namespace med3d::stats
