#include "med3d/stats/classification.h"

#include <fmt/format.h>

#include <cmath>
#include <string>
#include <vector>

#include "med3d/core/error.h"

namespace med3d::stats {
namespace {

void require_counts(const Confusion& c) {
  if (c.tn < 0 || c.fp < 0 || c.fn < 0 || c.tp < 0) {
    throw Error(ErrorKind::kUsage,
                fmt::format("confusion counts tn {} fp {} fn {} tp {}, expected none below 0",
                            c.tn,
                            c.fp,
                            c.fn,
                            c.tp));
  }
}

double as_double(std::int64_t count) { return static_cast<double>(count); }

Estimate ratio(std::int64_t part, std::int64_t whole, ZeroDivision zero, const char* reason) {
  if (whole == 0) return zero == ZeroDivision::kZero ? Estimate::of(0.0) : Estimate::none(reason);
  return Estimate::of(as_double(part) / as_double(whole));
}

// Why a quantity that needs both classes does not exist; empty if it does.
std::string missing_class(const Confusion& c) {
  require_counts(c);
  if (c.n() == 0) return "no patients";
  if (c.positives() == 0) return "no positives in the set";
  if (c.negatives() == 0) return "no negatives in the set";
  return "";
}

using PerClass = Estimate (*)(const Confusion&, ZeroDivision);

Estimate mean_over_classes(const Confusion& c, ZeroDivision zero, bool weighted, PerClass value) {
  if (const std::string reason = missing_class(c);
      c.n() == 0 || (zero == ZeroDivision::kNotEstimable && !reason.empty())) {
    return Estimate::none(reason);
  }
  double sum = 0.0;
  double weights = 0.0;
  for (const Confusion& view : {c, c.swapped()}) {
    // A class neither present nor predicted is no class to scikit-learn.
    if (view.positives() == 0 && view.predicted_positives() == 0) continue;
    const double weight = weighted ? as_double(view.positives()) : 1.0;
    const Estimate one = value(view, zero);
    if (!one.ok()) return one;
    sum += weight * one.value;
    weights += weight;
  }
  return Estimate::of(sum / weights);
}

}  // namespace

Confusion confusion(std::span<const std::uint8_t> label,
                    std::span<const double> probability,
                    double threshold) {
  require_labels_and_probabilities(label, probability);
  if (std::isnan(threshold)) {
    throw Error(ErrorKind::kUsage, "threshold is not a number, expected a value in [0, 1]");
  }
  Confusion c;
  for (std::size_t i = 0; i < label.size(); ++i) {
    const bool predicted = probability[i] >= threshold;
    if (label[i] == 1) {
      ++(predicted ? c.tp : c.fn);
    } else {
      ++(predicted ? c.fp : c.tn);
    }
  }
  return c;
}

Confusion confusion(std::span<const std::uint8_t> label, std::span<const std::uint8_t> predicted) {
  const std::vector<double> probability(predicted.begin(), predicted.end());
  return confusion(label, probability, 0.5);
}

Estimate prevalence(const Confusion& c) {
  require_counts(c);
  return ratio(c.positives(), c.n(), ZeroDivision::kNotEstimable, "no patients");
}

Estimate accuracy(const Confusion& c) {
  require_counts(c);
  return ratio(c.tp + c.tn, c.n(), ZeroDivision::kNotEstimable, "no patients");
}

Estimate balanced_accuracy(const Confusion& c) {
  if (const std::string reason = missing_class(c); !reason.empty()) return Estimate::none(reason);
  return Estimate::of((sensitivity(c).value + specificity(c).value) / 2.0);
}

Estimate mcc(const Confusion& c) {
  if (const std::string reason = missing_class(c); !reason.empty()) return Estimate::none(reason);
  // Products in double: four counts of 1e5 overflow 64 bits.
  const double product = as_double(c.predicted_positives()) * as_double(c.positives()) *
                         as_double(c.negatives()) * as_double(c.predicted_negatives());
  if (product == 0.0) return Estimate::of(0.0);
  const double covariance = as_double(c.tp) * as_double(c.tn) - as_double(c.fp) * as_double(c.fn);
  return Estimate::of(covariance / std::sqrt(product));
}

Estimate cohen_kappa(const Confusion& c) {
  if (const std::string reason = missing_class(c); !reason.empty()) return Estimate::none(reason);
  const double n = as_double(c.n());
  const double observed = as_double(c.tp + c.tn) / n;
  const double chance = (as_double(c.positives()) * as_double(c.predicted_positives()) +
                         as_double(c.negatives()) * as_double(c.predicted_negatives())) /
                        (n * n);
  // Both classes exist, so chance agreement is below 1.
  return Estimate::of((observed - chance) / (1.0 - chance));
}

Estimate sensitivity(const Confusion& c, ZeroDivision zero) {
  require_counts(c);
  return ratio(c.tp, c.positives(), zero, "no positives in the set");
}

Estimate specificity(const Confusion& c, ZeroDivision zero) {
  require_counts(c);
  return ratio(c.tn, c.negatives(), zero, "no negatives in the set");
}

Estimate precision(const Confusion& c, ZeroDivision zero) {
  require_counts(c);
  return ratio(c.tp, c.predicted_positives(), zero, "nobody was predicted positive");
}

Estimate npv(const Confusion& c, ZeroDivision zero) {
  require_counts(c);
  return ratio(c.tn, c.predicted_negatives(), zero, "nobody was predicted negative");
}

Estimate f1(const Confusion& c, ZeroDivision zero) {
  require_counts(c);
  return ratio(2 * c.tp, 2 * c.tp + c.fp + c.fn, zero, "no positives, present or predicted");
}

Estimate f1_negative(const Confusion& c, ZeroDivision zero) {
  require_counts(c);
  return ratio(2 * c.tn, 2 * c.tn + c.fp + c.fn, zero, "no negatives, present or predicted");
}

Estimate macro_precision(const Confusion& c, ZeroDivision zero) {
  return mean_over_classes(c, zero, false, precision);
}

Estimate macro_recall(const Confusion& c, ZeroDivision zero) {
  return mean_over_classes(c, zero, false, sensitivity);
}

Estimate macro_f1(const Confusion& c, ZeroDivision zero) {
  return mean_over_classes(c, zero, false, f1);
}

Estimate weighted_precision(const Confusion& c, ZeroDivision zero) {
  return mean_over_classes(c, zero, true, precision);
}

Estimate weighted_f1(const Confusion& c, ZeroDivision zero) {
  return mean_over_classes(c, zero, true, f1);
}

}  // namespace med3d::stats
