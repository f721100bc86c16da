#include "med3d/stats/identities.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "med3d/core/error.h"

namespace med3d::stats {
namespace {

constexpr std::size_t kMaxTables = 100;

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

// ---- printed rows ----

// The closed interval of numbers that print as x.
struct Window {
  double low = -kInfinity;
  double high = kInfinity;
  bool contains(double value) const { return value >= low && value <= high; }
};

Window window(const std::optional<double>& printed, int decimals) {
  if (!printed) return {};
  // A little more than half a unit: 0.0005 itself may be printed up or down.
  const double half = 0.5 * std::pow(10.0, -decimals) + 1e-9;
  return {*printed - half, *printed + half};
}

struct Windows {
  Window accuracy, precision, recall, balanced_accuracy, f1;
};

bool fits(const Confusion& c, const Windows& w) {
  const auto inside = [](const Estimate& estimate, const Window& range) {
    if (range.low == -kInfinity) return true;
    return range.contains(estimate.ok() ? estimate.value : 0.0);  // printed 0/0 is 0
  };
  return inside(accuracy(c), w.accuracy) && inside(precision(c), w.precision) &&
         inside(sensitivity(c), w.recall) && inside(balanced_accuracy(c), w.balanced_accuracy) &&
         inside(f1(c), w.f1);
}

// Whole numbers in [low, high], cut to [0, top].
std::pair<std::int64_t, std::int64_t> whole_numbers(double low, double high, std::int64_t top) {
  const double limit = static_cast<double>(top);
  const double first = std::clamp(std::ceil(low - 1e-9), 0.0, limit + 1.0);
  const double last = std::clamp(std::floor(high + 1e-9), -1.0, limit);
  return {static_cast<std::int64_t>(first), static_cast<std::int64_t>(last)};
}

void collect(std::int64_t positives,
             std::int64_t negatives,
             const Windows& w,
             std::vector<Confusion>& tables) {
  const double n1 = static_cast<double>(positives);
  const double n0 = static_cast<double>(negatives);
  const auto [tp_first, tp_last] = whole_numbers(w.recall.low * n1, w.recall.high * n1, positives);
  for (std::int64_t tp = tp_first; tp <= tp_last; ++tp) {
    // What precision, balanced accuracy and accuracy each leave for fp, before trying any.
    const double t = static_cast<double>(tp);
    double low = 0.0;
    double high = n0;
    if (tp > 0 && w.precision.low > 0.0) high = std::min(high, t / w.precision.low - t);
    if (tp > 0 && w.precision.high < kInfinity) {
      low = std::max(low, t / std::max(w.precision.high, 1e-12) - t);
    }
    if (w.balanced_accuracy.high < kInfinity) {
      low = std::max(low, n0 * (1.0 - (2.0 * w.balanced_accuracy.high - t / n1)));
      high = std::min(high, n0 * (1.0 - (2.0 * w.balanced_accuracy.low - t / n1)));
    }
    if (w.accuracy.high < kInfinity) {
      low = std::max(low, n0 - (w.accuracy.high * (n1 + n0) - t));
      high = std::min(high, n0 - (w.accuracy.low * (n1 + n0) - t));
    }
    const auto [fp_first, fp_last] = whole_numbers(low, high, negatives);
    for (std::int64_t fp = fp_first; fp <= fp_last; ++fp) {
      const Confusion c{negatives - fp, fp, positives - tp, tp};
      if (fits(c, w)) tables.push_back(c);
      if (tables.size() >= kMaxTables) return;
    }
  }
}

bool overlap(Window a, const Window& b) { return a.low <= b.high && b.low <= a.high; }

// Would a set of one class, scored by software that drops the absent class, print this row? Then
// balanced accuracy and accuracy are the recall of the class that is there. Counts are not asked:
// the printed ones belong to the set the authors thought they had.
bool fits_one_class(const Windows& w) {
  Window share{0.0, 1.0};
  for (const Window& each : {w.balanced_accuracy, w.accuracy}) {
    share.low = std::max(share.low, each.low);
    share.high = std::min(share.high, each.high);
  }
  const bool no_positives = share.low <= share.high && w.precision.contains(0.0) &&
                            w.recall.contains(0.0) && w.f1.contains(0.0);
  share.low = std::max(share.low, w.recall.low);
  share.high = std::min(share.high, w.recall.high);
  const auto f1_of = [](double recall) { return 2.0 * recall / (1.0 + recall); };
  const bool no_negatives = share.low <= share.high && w.precision.contains(1.0) &&
                            overlap({f1_of(share.low), f1_of(share.high)}, w.f1);
  return no_positives || no_negatives;
}

void require_row(const PublishedRow& row) {
  const std::pair<const char*, std::optional<double>> shares[] = {
      {"accuracy", row.accuracy},
      {"precision", row.precision},
      {"recall", row.recall},
      {"balanced accuracy", row.balanced_accuracy},
      {"f1", row.f1}};
  for (const auto& [name, value] : shares) {
    if (value && !(*value >= 0.0 && *value <= 1.0)) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("{} {}, expected a number in [0, 1]", name, *value));
    }
  }
  const std::pair<const char*, std::optional<std::int64_t>> counts[] = {
      {"positives", row.positives}, {"negatives", row.negatives}};
  for (const auto& [name, value] : counts) {
    if (value && (*value < 0 || *value > 1'000'000)) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("{} {}, expected a count in 0..1000000", name, *value));
    }
  }
  if (row.decimals < 1 || row.decimals > 9) {
    throw Error(ErrorKind::kUsage,
                fmt::format("{} decimals, expected a number in 1..9", row.decimals));
  }
  if (!row.recall && !row.precision && !row.accuracy) {
    throw Error(ErrorKind::kUsage, "row without recall, precision and accuracy, expected one");
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

RowVerdict check_published_row(const PublishedRow& row, std::int64_t max_n) {
  require_row(row);
  const Windows w{window(row.accuracy, row.decimals),
                  window(row.precision, row.decimals),
                  window(row.recall, row.decimals),
                  window(row.balanced_accuracy, row.decimals),
                  window(row.f1, row.decimals)};
  RowVerdict verdict;
  if (row.positives && row.negatives) {
    if (*row.positives > 0 && *row.negatives > 0) {
      collect(*row.positives, *row.negatives, w, verdict.tables);
    }
  } else {
    const std::int64_t p_first = row.positives ? *row.positives : 1;
    const std::int64_t p_last = row.positives ? *row.positives : max_n;
    const std::int64_t n_first = row.negatives ? *row.negatives : 1;
    const std::int64_t n_last = row.negatives ? *row.negatives : max_n;
    for (std::int64_t total = 2; total <= p_last + n_last && verdict.tables.empty(); ++total) {
      for (std::int64_t p = std::max(p_first, total - n_last);
           p <= std::min(p_last, total - n_first);
           ++p) {
        if (p > 0 && total - p > 0) collect(p, total - p, w, verdict.tables);
      }
    }
  }
  verdict.possible = !verdict.tables.empty();
  if (verdict.possible) {
    const Confusion& c = verdict.tables.front();
    verdict.finding =
        fmt::format("possible: {} table(s), for example TP {} FN {} FP {} TN {} ({} patients)",
                    verdict.tables.size(),
                    c.tp,
                    c.fn,
                    c.fp,
                    c.tn,
                    c.n());
    return verdict;
  }
  verdict.single_class = fits_one_class(w);
  if (verdict.single_class) {
    verdict.finding =
        "impossible with two classes; it is what a set of one class prints when the absent class "
        "is "
        "dropped (balanced accuracy = recall of the class that is there)";
  } else if (row.positives && row.negatives) {
    verdict.finding = fmt::format("impossible: no table of {} positives and {} negatives gives it",
                                  *row.positives,
                                  *row.negatives);
  } else {
    verdict.finding =
        fmt::format("impossible: no table of up to {} patients of each class gives it", max_n);
  }
  return verdict;
}

}  // namespace med3d::stats
