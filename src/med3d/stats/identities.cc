#include "med3d/stats/identities.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

namespace med3d::stats {
namespace {

using Formula = Estimate (*)(const Confusion&);

Estimate of_precision(const Confusion& c) { return precision(c); }
Estimate of_sensitivity(const Confusion& c) { return sensitivity(c); }
Estimate of_specificity(const Confusion& c) { return specificity(c); }
Estimate of_npv(const Confusion& c) { return npv(c); }
Estimate of_f1(const Confusion& c) { return f1(c); }
Estimate of_f1_negative(const Confusion& c) { return f1_negative(c); }

struct Rule {
  const char* name;
  Formula formula;  // null: not a function of the table
  double lowest;
  double highest;
  bool needs_both_classes;
};

constexpr double kInfinity = std::numeric_limits<double>::infinity();

constexpr Rule kRules[] = {
    {"auroc", nullptr, 0.0, 1.0, true},
    {"auprc", nullptr, 0.0, 1.0, true},
    {"prevalence", prevalence, 0.0, 1.0, false},
    {"accuracy", accuracy, 0.0, 1.0, false},
    {"balanced_accuracy", balanced_accuracy, 0.0, 1.0, true},
    {"sensitivity", of_sensitivity, 0.0, 1.0, false},
    {"recall", of_sensitivity, 0.0, 1.0, false},
    {"specificity", of_specificity, 0.0, 1.0, false},
    {"precision", of_precision, 0.0, 1.0, false},
    {"npv", of_npv, 0.0, 1.0, false},
    {"f1", of_f1, 0.0, 1.0, false},
    {"precision_negative", of_npv, 0.0, 1.0, false},
    {"recall_negative", of_specificity, 0.0, 1.0, false},
    {"f1_negative", of_f1_negative, 0.0, 1.0, false},
    {"mcc", mcc, -1.0, 1.0, true},
    {"brier", nullptr, 0.0, 1.0, false},
    {"log_loss", nullptr, 0.0, kInfinity, false},
};

// The value under that name, if it is there and estimable.
std::optional<double> find(std::span<const NamedEstimate> metrics, const std::string& name) {
  for (const auto& [key, estimate] : metrics) {
    if (key == name && estimate.ok()) return estimate.value;
  }
  return std::nullopt;
}

void check_harmonic_mean(std::span<const NamedEstimate> metrics,
                         const char* f1_name,
                         const char* precision_name,
                         const char* recall_name,
                         double tolerance,
                         std::vector<std::string>& wrong) {
  const auto f = find(metrics, f1_name);
  const auto p = find(metrics, precision_name);
  const auto r = find(metrics, recall_name);
  if (!f || !p || !r) return;
  const double expected = *p + *r > 0.0 ? 2.0 * *p * *r / (*p + *r) : 0.0;
  if (std::abs(*f - expected) > tolerance) {
    wrong.push_back(fmt::format("{} is {}, but {} {} and {} {} give {}",
                                f1_name,
                                *f,
                                precision_name,
                                *p,
                                recall_name,
                                *r,
                                expected));
  }
}

}  // namespace

std::vector<std::string> check_identities(const Confusion& table,
                                          std::span<const NamedEstimate> metrics,
                                          double tolerance) {
  std::vector<std::string> wrong;
  const bool one_class = table.positives() == 0 || table.negatives() == 0;
  for (const auto& [name, estimate] : metrics) {
    if (!estimate.not_estimable.empty() && !std::isnan(estimate.value)) {
      wrong.push_back(
          fmt::format("{} is called not estimable but has the value {}", name, estimate.value));
    }
    if (estimate.not_estimable.empty() && std::isnan(estimate.value)) {
      wrong.push_back(fmt::format("{} has no value and no reason for it", name));
    }
    if (estimate.low > estimate.high) {
      wrong.push_back(
          fmt::format("{} has the interval {} to {}", name, estimate.low, estimate.high));
    }
    const auto* rule = std::find_if(
        std::begin(kRules), std::end(kRules), [&](const Rule& r) { return name == r.name; });
    if (rule == std::end(kRules) || !estimate.ok()) continue;
    if (estimate.value < rule->lowest - tolerance || estimate.value > rule->highest + tolerance) {
      wrong.push_back(fmt::format(
          "{} is {}, outside [{}, {}]", name, estimate.value, rule->lowest, rule->highest));
    }
    if (rule->needs_both_classes && one_class) {
      wrong.push_back(fmt::format("{} is {} on a set with one class", name, estimate.value));
    }
    if (rule->formula == nullptr) continue;
    const Estimate expected = rule->formula(table);
    if (!expected.ok() || std::abs(expected.value - estimate.value) > tolerance) {
      wrong.push_back(
          expected.ok()
              ? fmt::format(
                    "{} is {}, but the table gives {}", name, estimate.value, expected.value)
              : fmt::format(
                    "{} is {}, but in the table {}", name, estimate.value, expected.not_estimable));
    }
  }

  const auto balanced = find(metrics, "balanced_accuracy");
  const auto recall = find(metrics, "sensitivity");
  const auto specificity_value = find(metrics, "specificity");
  if (balanced && recall && specificity_value &&
      std::abs(*balanced - (*recall + *specificity_value) / 2.0) > tolerance) {
    wrong.push_back(
        fmt::format("balanced_accuracy is {}, but sensitivity {} and specificity {} give {}",
                    *balanced,
                    *recall,
                    *specificity_value,
                    (*recall + *specificity_value) / 2.0));
  }
  check_harmonic_mean(metrics, "f1", "precision", "sensitivity", tolerance, wrong);
  check_harmonic_mean(
      metrics, "f1_negative", "precision_negative", "recall_negative", tolerance, wrong);
  const std::pair<const char*, const char*> twins[] = {{"npv", "precision_negative"},
                                                       {"specificity", "recall_negative"}};
  for (const auto& [one, other] : twins) {
    const auto a = find(metrics, one);
    const auto b = find(metrics, other);
    if (a && b && std::abs(*a - *b) > tolerance) {
      wrong.push_back(fmt::format("{} is {} but {} is {}", one, *a, other, *b));
    }
  }
  return wrong;
}

}  // namespace med3d::stats
