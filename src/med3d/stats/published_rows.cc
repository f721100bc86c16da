#include "med3d/stats/published_rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "med3d/core/error.h"

namespace med3d::stats {
namespace {

constexpr std::size_t kMaxTables = 100;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// The closed interval of numbers that print as x.
struct Window {
  double low = -kInfinity;
  double high = kInfinity;
  bool given() const { return high < kInfinity; }
  bool contains(double value) const { return value >= low && value <= high; }
};

Window window(const std::optional<PrintedShare>& printed) {
  if (!printed) return {};
  // A little more than half a unit: 0.0005 itself may be printed up or down.
  const double half = 0.5 * std::pow(10.0, -printed->decimals) + 1e-9;
  return {printed->value - half, printed->value + half};
}

bool overlap(const Window& a, const Window& b) { return a.low <= b.high && b.low <= a.high; }

struct Windows {
  explicit Windows(const PublishedRow& row)
      : accuracy(window(row.accuracy)),
        balanced_accuracy(window(row.balanced_accuracy)),
        precision(window(row.precision)),
        recall(window(row.recall)),
        specificity(window(row.specificity)),
        npv(window(row.npv)),
        f1(window(row.f1)),
        f1_negative(window(row.f1_negative)) {}

  Window accuracy, balanced_accuracy, precision, recall, specificity, npv, f1, f1_negative;
};

bool fits(const Confusion& c, const Windows& w) {
  const auto inside = [](const Estimate& estimate, const Window& range) {
    if (!range.given()) return true;
    return range.contains(estimate.ok() ? estimate.value : 0.0);  // printed 0/0 is 0
  };
  return inside(accuracy(c), w.accuracy) && inside(precision(c), w.precision) &&
         inside(sensitivity(c), w.recall) && inside(balanced_accuracy(c), w.balanced_accuracy) &&
         inside(f1(c), w.f1) && inside(specificity(c), w.specificity) && inside(npv(c), w.npv) &&
         inside(f1_negative(c), w.f1_negative);
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
             std::size_t most,
             std::vector<Confusion>& tables) {
  const double n1 = static_cast<double>(positives);
  const double n0 = static_cast<double>(negatives);
  const auto [tp_first, tp_last] = whole_numbers(w.recall.low * n1, w.recall.high * n1, positives);
  for (std::int64_t tp = tp_first; tp <= tp_last; ++tp) {
    // What the other numbers each leave for fp, before trying any.
    const double t = static_cast<double>(tp);
    double low = 0.0;
    double high = n0;
    if (tp > 0 && w.precision.low > 0.0) high = std::min(high, t / w.precision.low - t);
    if (tp > 0 && w.precision.given()) {
      low = std::max(low, t / std::max(w.precision.high, 1e-12) - t);
    }
    if (w.specificity.given()) {
      low = std::max(low, n0 * (1.0 - w.specificity.high));
      high = std::min(high, n0 * (1.0 - w.specificity.low));
    }
    if (w.balanced_accuracy.given()) {
      low = std::max(low, n0 * (1.0 - (2.0 * w.balanced_accuracy.high - t / n1)));
      high = std::min(high, n0 * (1.0 - (2.0 * w.balanced_accuracy.low - t / n1)));
    }
    if (w.accuracy.given()) {
      low = std::max(low, n0 - (w.accuracy.high * (n1 + n0) - t));
      high = std::min(high, n0 - (w.accuracy.low * (n1 + n0) - t));
    }
    const auto [fp_first, fp_last] = whole_numbers(low, high, negatives);
    for (std::int64_t fp = fp_first; fp <= fp_last; ++fp) {
      const Confusion c{negatives - fp, fp, positives - tp, tp};
      if (fits(c, w)) tables.push_back(c);
      if (tables.size() >= most) return;
    }
  }
}

// Would a set of one class, scored by software that drops the absent class, print this row? Then
// balanced accuracy and accuracy are the recall of the class that is there. Counts are not asked:
// the printed ones belong to the set the authors thought they had.
bool fits_one_class(const Windows& w) {
  if (!w.recall.given() || !(w.balanced_accuracy.given() || w.accuracy.given())) return false;
  Window share{0.0, 1.0};
  for (const Window& each : {w.balanced_accuracy, w.accuracy}) {
    share.low = std::max(share.low, each.low);
    share.high = std::min(share.high, each.high);
  }
  const bool no_positives = share.low <= share.high && w.precision.contains(0.0) &&
                            w.recall.contains(0.0) && w.f1.contains(0.0) &&
                            overlap(share, w.specificity);
  share.low = std::max(share.low, w.recall.low);
  share.high = std::min(share.high, w.recall.high);
  const auto f1_of = [](double recall) { return 2.0 * recall / (1.0 + recall); };
  const bool no_negatives = share.low <= share.high && w.precision.contains(1.0) &&
                            overlap({f1_of(share.low), f1_of(share.high)}, w.f1) &&
                            w.specificity.contains(0.0);
  return no_positives || no_negatives;
}

std::array<std::pair<const char*, const std::optional<PrintedShare>*>, 8> shares_of(
    const PublishedRow& row) {
  return {{{"accuracy", &row.accuracy},
           {"balanced accuracy", &row.balanced_accuracy},
           {"precision", &row.precision},
           {"recall", &row.recall},
           {"specificity", &row.specificity},
           {"npv", &row.npv},
           {"f1", &row.f1},
           {"f1 of the negative class", &row.f1_negative}}};
}

void require_numbers(const PublishedRow& row) {
  for (const auto& [name, share] : shares_of(row)) {
    if (!*share) continue;
    const double value = (*share)->value;
    if (!(value >= 0.0 && value <= 1.0)) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("{} {}, expected a number in [0, 1]", name, value));
    }
    const int decimals = (*share)->decimals;
    if (decimals < 1 || decimals > 9) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("{} with {} decimals, expected 1 to 9", name, decimals));
    }
  }
  std::vector<std::pair<const char*, std::int64_t>> counts;
  if (row.positives) counts.emplace_back("positives", *row.positives);
  if (row.negatives) counts.emplace_back("negatives", *row.negatives);
  if (row.table) {
    counts.insert(counts.end(),
                  {{"tp", row.table->tp},
                   {"fn", row.table->fn},
                   {"fp", row.table->fp},
                   {"tn", row.table->tn}});
  }
  for (const auto& [name, value] : counts) {
    if (value < 0 || value > 1'000'000) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("{} {}, expected a count in 0..1000000", name, value));
    }
  }
}

void require_row(const PublishedRow& row) {
  require_numbers(row);
  if (!row.recall && !row.precision && !row.accuracy) {
    throw Error(ErrorKind::kUsage, "row without recall, precision and accuracy, expected one");
  }
}

bool states_a_share(const PublishedRow& row) {
  const auto shares = shares_of(row);
  return std::any_of(
      shares.begin(), shares.end(), [](const auto& each) { return each.second->has_value(); });
}

bool size_fits(const PublishedRow& row,
               const Windows& windows,
               std::int64_t positives,
               std::int64_t negatives) {
  if (row.table) {
    return row.table->positives() == positives && row.table->negatives() == negatives;
  }
  std::vector<Confusion> found;
  collect(positives, negatives, windows, 1, found);
  return !found.empty();
}

}  // namespace

RowVerdict check_published_row(const PublishedRow& row, std::int64_t max_n) {
  require_row(row);
  const Windows w(row);
  RowVerdict verdict;
  if (row.table) {
    const bool both_classes = row.table->positives() > 0 && row.table->negatives() > 0;
    if (both_classes && fits(*row.table, w)) verdict.tables.push_back(*row.table);
  } else if (row.positives && row.negatives) {
    if (*row.positives > 0 && *row.negatives > 0) {
      collect(*row.positives, *row.negatives, w, kMaxTables, verdict.tables);
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
        if (p > 0 && total - p > 0) collect(p, total - p, w, kMaxTables, verdict.tables);
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
  verdict.single_class = !row.table && fits_one_class(w);
  if (verdict.single_class) {
    verdict.finding =
        "impossible with two classes; it is what a set of one class prints when the absent class "
        "is "
        "dropped (balanced accuracy = recall of the class that is there)";
  } else if (row.table) {
    verdict.finding =
        fmt::format("impossible: the printed table TP {} FN {} FP {} TN {} gives other numbers",
                    row.table->tp,
                    row.table->fn,
                    row.table->fp,
                    row.table->tn);
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

std::vector<std::pair<std::int64_t, std::int64_t>> common_sizes(std::span<const PublishedRow> rows,
                                                                std::int64_t max_n,
                                                                std::size_t most) {
  std::vector<Windows> windows;
  std::optional<std::int64_t> positives;
  std::optional<std::int64_t> negatives;
  for (const PublishedRow& row : rows) {
    require_numbers(row);
    windows.emplace_back(row);
    const auto agree = [](std::optional<std::int64_t>& known, std::int64_t value) {
      if (known && *known != value) return false;
      known = value;
      return true;
    };
    if (row.positives && !agree(positives, *row.positives)) return {};
    if (row.negatives && !agree(negatives, *row.negatives)) return {};
    if (row.table && !agree(positives, row.table->positives())) return {};
    if (row.table && !agree(negatives, row.table->negatives())) return {};
  }
  const auto fits_all = [&](std::int64_t p, std::int64_t n) {
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (states_a_share(rows[i]) && !size_fits(rows[i], windows[i], p, n)) return false;
    }
    return true;
  };
  std::vector<std::pair<std::int64_t, std::int64_t>> sizes;
  const std::int64_t p_last = positives.value_or(max_n);
  const std::int64_t n_last = negatives.value_or(max_n);
  const std::int64_t p_first = std::max<std::int64_t>(positives.value_or(1), 1);
  const std::int64_t n_first = std::max<std::int64_t>(negatives.value_or(1), 1);
  for (std::int64_t total = p_first + n_first; total <= p_last + n_last; ++total) {
    for (std::int64_t p = std::max(p_first, total - n_last); p <= std::min(p_last, total - n_first);
         ++p) {
      if (!fits_all(p, total - p)) continue;
      sizes.emplace_back(p, total - p);
      if (sizes.size() >= most) return sizes;
    }
  }
  return sizes;
}

bool same_when_rounded(const PrintedShare& a, const PrintedShare& b) {
  return overlap(window(a), window(b));
}

bool cut_off(const PrintedShare& coarse, const PrintedShare& fine) {
  if (coarse.decimals >= fine.decimals) return false;
  const double unit = std::pow(10.0, -coarse.decimals);
  return std::abs(std::floor(fine.value / unit + 1e-6) * unit - coarse.value) < 1e-9;
}

}  // namespace med3d::stats
