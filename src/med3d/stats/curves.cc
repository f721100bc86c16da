#include "med3d/stats/curves.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "med3d/core/error.h"
#include "med3d/stats/intervals.h"

namespace med3d::stats {
namespace {

// Cumulative counts at each distinct score, highest first.
struct Cumulative {
  std::vector<std::int64_t> tp;
  std::vector<std::int64_t> fp;
  std::vector<double> threshold;
  std::int64_t positives = 0;
  std::int64_t negatives = 0;
};

Cumulative cumulate(std::span<const std::uint8_t> label, std::span<const double> score) {
  require_labels_and_scores(label, score);
  std::vector<std::size_t> order(label.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return score[a] > score[b];
  });
  Cumulative out;
  for (std::size_t i = 0; i < order.size(); ++i) {
    ++(label[order[i]] == 1 ? out.positives : out.negatives);
    if (i + 1 < order.size() && score[order[i + 1]] == score[order[i]]) continue;
    out.tp.push_back(out.positives);
    out.fp.push_back(out.negatives);
    out.threshold.push_back(score[order[i]]);
  }
  return out;
}

std::string missing_class(const Cumulative& counts) {
  if (counts.positives + counts.negatives == 0) return "no patients";
  if (counts.positives == 0) return "no positives in the set";
  if (counts.negatives == 0) return "no negatives in the set";
  return "";
}

double share(std::int64_t part, std::int64_t whole) {
  return static_cast<double>(part) / static_cast<double>(whole);
}

RocCurve roc_from(const Cumulative& counts, bool drop_intermediate) {
  RocCurve curve;
  curve.not_estimable = missing_class(counts);
  const std::size_t n = counts.threshold.size();
  if (n == 0) return curve;
  curve.fpr.push_back(counts.negatives > 0 ? 0.0 : std::nan(""));
  curve.tpr.push_back(counts.positives > 0 ? 0.0 : std::nan(""));
  curve.threshold.push_back(counts.threshold.front() + 1.0);
  for (std::size_t i = 0; i < n; ++i) {
    if (drop_intermediate && n > 2 && i > 0 && i + 1 < n) {
      const bool straight = counts.fp[i + 1] - counts.fp[i] == counts.fp[i] - counts.fp[i - 1] &&
                            counts.tp[i + 1] - counts.tp[i] == counts.tp[i] - counts.tp[i - 1];
      if (straight) continue;
    }
    curve.fpr.push_back(counts.negatives > 0 ? share(counts.fp[i], counts.negatives)
                                             : std::nan(""));
    curve.tpr.push_back(counts.positives > 0 ? share(counts.tp[i], counts.positives)
                                             : std::nan(""));
    curve.threshold.push_back(counts.threshold[i]);
  }
  return curve;
}

PrCurve pr_from(const Cumulative& counts) {
  PrCurve curve;
  curve.not_estimable = missing_class(counts);
  for (std::size_t i = counts.threshold.size(); i-- > 0;) {
    curve.precision.push_back(share(counts.tp[i], counts.tp[i] + counts.fp[i]));
    curve.recall.push_back(counts.positives > 0 ? share(counts.tp[i], counts.positives) : 1.0);
    curve.threshold.push_back(counts.threshold[i]);
  }
  curve.precision.push_back(1.0);
  curve.recall.push_back(0.0);
  return curve;
}

using Reading = std::function<void(std::span<const std::uint8_t>,
                                   std::span<const double>,
                                   std::span<const double>,
                                   std::span<double>)>;

CurveBand band(std::span<const std::uint8_t> label,
               std::span<const double> score,
               const BandOptions& options,
               const Reading& read) {
  options.validate();
  const Cumulative counts = cumulate(label, score);
  CurveBand out;
  out.not_estimable = missing_class(counts);
  const auto points = static_cast<std::size_t>(options.grid_points);
  for (std::size_t g = 0; g < points; ++g) {
    out.grid.push_back(static_cast<double>(g) / static_cast<double>(points - 1));
  }
  if (!out.not_estimable.empty()) return out;

  const Statistic statistic = [&](std::span<const std::size_t> rows, std::span<double> value) {
    std::vector<std::uint8_t> drawn_label;
    std::vector<double> drawn_score;
    drawn_label.reserve(rows.size());
    drawn_score.reserve(rows.size());
    for (const std::size_t row : rows) {
      drawn_label.push_back(label[row]);
      drawn_score.push_back(score[row]);
    }
    read(drawn_label, drawn_score, out.grid, value);
  };
  BootstrapOptions draws;
  draws.repeats = options.repeats;
  draws.seed = options.seed;
  draws.threads = options.threads;
  draws.confidence = options.confidence;
  draws.accept = [&](std::span<const std::size_t> rows) {
    return std::any_of(rows.begin(), rows.end(), [&](std::size_t r) { return label[r] == 1; }) &&
           std::any_of(rows.begin(), rows.end(), [&](std::size_t r) { return label[r] == 0; });
  };
  const BootstrapResult result = bootstrap(label.size(), points, statistic, draws);
  out.redrawn = result.redrawn;
  for (std::size_t g = 0; g < points; ++g) {
    double sum = 0.0;
    for (std::size_t r = 0; r < result.replicate.rows(); ++r) sum += result.replicate(r, g);
    out.mean.push_back(sum / static_cast<double>(result.replicate.rows()));
    out.value.push_back(result.estimate[g].value);
    out.low.push_back(result.estimate[g].low);
    out.high.push_back(result.estimate[g].high);
  }
  return out;
}

}  // namespace

RocCurve roc_curve(std::span<const std::uint8_t> label,
                   std::span<const double> score,
                   bool drop_intermediate) {
  return roc_from(cumulate(label, score), drop_intermediate);
}

PrCurve precision_recall_curve(std::span<const std::uint8_t> label, std::span<const double> score) {
  return pr_from(cumulate(label, score));
}

Estimate auroc(std::span<const std::uint8_t> label, std::span<const double> score) {
  const Cumulative counts = cumulate(label, score);
  if (const std::string reason = missing_class(counts); !reason.empty()) {
    return Estimate::none(reason);
  }
  // Twice the number of well-ordered pairs: a positive beats every negative below it, ties half.
  std::int64_t twice = 0;
  std::int64_t tp_before = 0;
  std::int64_t fp_before = 0;
  for (std::size_t i = 0; i < counts.threshold.size(); ++i) {
    const std::int64_t tied_positives = counts.tp[i] - tp_before;
    const std::int64_t tied_negatives = counts.fp[i] - fp_before;
    twice += tied_positives * (2 * (counts.negatives - counts.fp[i]) + tied_negatives);
    tp_before = counts.tp[i];
    fp_before = counts.fp[i];
  }
  return Estimate::of(static_cast<double>(twice) / 2.0 / static_cast<double>(counts.positives) /
                      static_cast<double>(counts.negatives));
}

Estimate average_precision(std::span<const std::uint8_t> label, std::span<const double> score) {
  const Cumulative counts = cumulate(label, score);
  if (const std::string reason = missing_class(counts); !reason.empty()) {
    return Estimate::none(reason);
  }
  double sum = 0.0;
  std::int64_t tp_before = 0;
  for (std::size_t i = 0; i < counts.threshold.size(); ++i) {
    sum += static_cast<double>(counts.tp[i] - tp_before) *
           share(counts.tp[i], counts.tp[i] + counts.fp[i]);
    tp_before = counts.tp[i];
  }
  return Estimate::of(sum / static_cast<double>(counts.positives));
}

Estimate pr_auc_trapezoid(std::span<const std::uint8_t> label, std::span<const double> score) {
  const PrCurve curve = precision_recall_curve(label, score);
  if (!curve.not_estimable.empty()) return Estimate::none(curve.not_estimable);
  double area = 0.0;
  for (std::size_t i = 0; i + 1 < curve.recall.size(); ++i) {
    area += (curve.recall[i] - curve.recall[i + 1]) *
            (curve.precision[i] + curve.precision[i + 1]) / 2.0;
  }
  return Estimate::of(area);
}

double tpr_at(const RocCurve& curve, double fpr) {
  // Last point at or left of fpr: at a vertical rise that is its top.
  const auto right = std::upper_bound(curve.fpr.begin(), curve.fpr.end(), fpr);
  if (right == curve.fpr.begin()) return std::nan("");
  const auto i = static_cast<std::size_t>(right - curve.fpr.begin()) - 1;
  if (right == curve.fpr.end()) return curve.tpr[i];
  const double t = (fpr - curve.fpr[i]) / (curve.fpr[i + 1] - curve.fpr[i]);
  return curve.tpr[i] + t * (curve.tpr[i + 1] - curve.tpr[i]);
}

double precision_at(const PrCurve& curve, double recall) {
  // Thresholds rise along the vectors, so walk back from the highest; the artificial last point
  // is no threshold and is left out.
  for (std::size_t i = curve.threshold.size(); i-- > 0;) {
    if (curve.recall[i] >= recall && curve.recall[i] > 0.0) return curve.precision[i];
  }
  return std::nan("");
}

void BandOptions::validate() const {
  if (grid_points < 2) {
    throw Error(ErrorKind::kUsage, fmt::format("grid_points {}, expected at least 2", grid_points));
  }
  require_confidence(confidence);
}

CurveBand roc_band(std::span<const std::uint8_t> label,
                   std::span<const double> score,
                   const BandOptions& options) {
  return band(label,
              score,
              options,
              [](std::span<const std::uint8_t> drawn_label,
                 std::span<const double> drawn_score,
                 std::span<const double> grid,
                 std::span<double> value) {
                const RocCurve curve = roc_curve(drawn_label, drawn_score);
                for (std::size_t g = 0; g < grid.size(); ++g) value[g] = tpr_at(curve, grid[g]);
              });
}

CurveBand pr_band(std::span<const std::uint8_t> label,
                  std::span<const double> score,
                  const BandOptions& options) {
  return band(label,
              score,
              options,
              [](std::span<const std::uint8_t> drawn_label,
                 std::span<const double> drawn_score,
                 std::span<const double> grid,
                 std::span<double> value) {
                const PrCurve curve = precision_recall_curve(drawn_label, drawn_score);
                for (std::size_t g = 0; g < grid.size(); ++g) {
                  value[g] = precision_at(curve, grid[g]);
                }
              });
}

}  // namespace med3d::stats
