#include "med3d/stats/calibration.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "med3d/core/error.h"
#include "med3d/stats/intervals.h"

namespace med3d::stats {
namespace {

constexpr int kMaxSteps = 100;

// log(1 + exp(x)) without overflow.
double softplus(double x) {
  return x > 0.0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
}
double sigmoid(double x) {
  return x >= 0.0 ? 1.0 / (1.0 + std::exp(-x)) : std::exp(x) / (1.0 + std::exp(x));
}

// One fit of logit P = c + b x. With slope_free false, b stays at 1.
struct Fit {
  bool converged = false;
  double c = 0.0;
  double b = 1.0;
  double variance_c = 0.0;
  double variance_b = 0.0;
};

Fit newton(std::span<const std::uint8_t> label, const std::vector<double>& x, bool slope_free) {
  const auto loss = [&](double c, double b) {
    double sum = 0.0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double eta = c + b * x[i];
      sum += softplus(eta) - (label[i] == 1 ? eta : 0.0);
    }
    return sum;
  };
  Fit fit;
  // From b = 0 every patient has weight 1/4: probabilities of 0 and 1 cannot stall the first step.
  if (slope_free) fit.b = 0.0;
  double current = loss(fit.c, fit.b);
  for (int step = 0; step < kMaxSteps; ++step) {
    double g0 = 0.0, g1 = 0.0, h00 = 0.0, h01 = 0.0, h11 = 0.0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double p = sigmoid(fit.c + fit.b * x[i]);
      const double residual = p - static_cast<double>(label[i]);
      const double weight = p * (1.0 - p);
      g0 += residual;
      g1 += residual * x[i];
      h00 += weight;
      h01 += weight * x[i];
      h11 += weight * x[i] * x[i];
    }
    double move_c = 0.0;
    double move_b = 0.0;
    if (slope_free) {
      const double determinant = h00 * h11 - h01 * h01;
      if (!(determinant > 0.0)) return fit;
      move_c = -(h11 * g0 - h01 * g1) / determinant;
      move_b = -(h00 * g1 - h01 * g0) / determinant;
      fit.variance_c = h11 / determinant;
      fit.variance_b = h00 / determinant;
    } else {
      if (!(h00 > 0.0)) return fit;
      move_c = -g0 / h00;
      fit.variance_c = 1.0 / h00;
    }
    if (!std::isfinite(move_c) || !std::isfinite(move_b)) return fit;
    if (std::abs(move_c) <= 1e-12 * (1.0 + std::abs(fit.c)) &&
        std::abs(move_b) <= 1e-12 * (1.0 + std::abs(fit.b))) {
      fit.converged = true;
      return fit;
    }
    // Halve until the loss does not rise; at the minimum it moves by rounding only.
    double scale = 1.0;
    double next = loss(fit.c + move_c, fit.b + move_b);
    while (!(next <= current + 1e-12 * (1.0 + std::abs(current))) && scale > 1e-10) {
      scale /= 2.0;
      next = loss(fit.c + scale * move_c, fit.b + scale * move_b);
    }
    fit.c += scale * move_c;
    fit.b += scale * move_b;
    current = next;
  }
  return fit;
}

// A threshold that parts the classes makes the slope infinite; touching at one value is enough.
bool separated(std::span<const std::uint8_t> label, const std::vector<double>& x) {
  double low[2] = {std::numeric_limits<double>::infinity(),
                   std::numeric_limits<double>::infinity()};
  double high[2] = {-low[0], -low[1]};
  for (std::size_t i = 0; i < x.size(); ++i) {
    low[label[i]] = std::min(low[label[i]], x[i]);
    high[label[i]] = std::max(high[label[i]], x[i]);
  }
  return high[0] <= low[1] || high[1] <= low[0];
}

std::vector<double> bin_edges(std::span<const double> probability,
                              int n_bins,
                              BinStrategy strategy) {
  std::vector<double> sorted(probability.begin(), probability.end());
  std::sort(sorted.begin(), sorted.end());
  std::vector<double> edges;
  const double step = 1.0 / static_cast<double>(n_bins);
  for (int i = 0; i <= n_bins; ++i) {
    // numpy.linspace: multiples of the step, the last one set to 1.
    const double q = i == n_bins ? 1.0 : static_cast<double>(i) * step;
    edges.push_back(strategy == BinStrategy::kUniform ? q : sorted_quantile(sorted, q));
  }
  return edges;
}

}  // namespace

Estimate brier(std::span<const std::uint8_t> label, std::span<const double> probability) {
  require_labels_and_probabilities(label, probability);
  if (label.empty()) return Estimate::none("no patients");
  double sum = 0.0;
  for (std::size_t i = 0; i < label.size(); ++i) {
    const double d = probability[i] - static_cast<double>(label[i]);
    sum += d * d;
  }
  return Estimate::of(sum / static_cast<double>(label.size()));
}

Estimate log_loss(std::span<const std::uint8_t> label,
                  std::span<const double> probability,
                  double clip) {
  require_labels_and_probabilities(label, probability);
  if (!(clip > 0.0 && clip < 0.5)) {
    throw Error(ErrorKind::kUsage,
                fmt::format("log loss clip {}, expected a number above 0 and below 0.5", clip));
  }
  if (label.empty()) return Estimate::none("no patients");
  double sum = 0.0;
  for (std::size_t i = 0; i < label.size(); ++i) {
    const double of_truth = label[i] == 1 ? probability[i] : 1.0 - probability[i];
    sum -= std::log(std::clamp(of_truth, clip, 1.0 - clip));
  }
  return Estimate::of(sum / static_cast<double>(label.size()));
}

CalibrationFit calibration_fit(std::span<const std::uint8_t> label,
                               std::span<const double> probability,
                               double confidence) {
  require_labels_and_probabilities(label, probability);
  const double z = normal_quantile_two_sided(confidence);
  CalibrationFit out;
  std::vector<double> logit;
  logit.reserve(probability.size());
  for (const double p : probability) {
    const double kept = std::clamp(p, kProbabilityClip, 1.0 - kProbabilityClip);
    out.clipped += kept == p ? 0 : 1;
    logit.push_back(std::log(kept) - std::log1p(-kept));
  }
  const auto positives = std::count(label.begin(), label.end(), std::uint8_t{1});
  const char* reason = label.empty()    ? "no patients"
                       : positives == 0 ? "no positives in the set"
                       : static_cast<std::size_t>(positives) == label.size()
                           ? "no negatives in the set"
                           : nullptr;
  if (reason != nullptr) {
    out.intercept = out.slope = Estimate::none(reason);
    return out;
  }

  const Fit offset = newton(label, logit, false);
  if (offset.converged) {
    const double half = z * std::sqrt(offset.variance_c);
    out.intercept = Estimate::of(offset.c, offset.c - half, offset.c + half);
  } else {
    out.intercept = Estimate::none("the calibration fit did not converge");
  }

  const auto [lowest, highest] = std::minmax_element(logit.begin(), logit.end());
  if (*lowest == *highest) {
    out.slope = Estimate::none("all probabilities are equal");
  } else if (separated(label, logit)) {
    out.slope = Estimate::none("a threshold separates the classes, the slope is infinite");
  } else {
    const Fit fit = newton(label, logit, true);
    if (fit.converged) {
      const double half = z * std::sqrt(fit.variance_b);
      out.slope = Estimate::of(fit.b, fit.b - half, fit.b + half);
      out.slope_model_intercept = fit.c;
    } else {
      out.slope = Estimate::none("the calibration fit did not converge");
    }
  }
  return out;
}

std::vector<CalibrationBin> calibration_table(std::span<const std::uint8_t> label,
                                              std::span<const double> probability,
                                              int n_bins,
                                              BinStrategy strategy,
                                              double confidence) {
  require_labels_and_probabilities(label, probability);
  if (n_bins < 1) {
    throw Error(ErrorKind::kUsage, fmt::format("{} calibration bins, expected at least 1", n_bins));
  }
  if (label.empty()) return {};
  const std::vector<double> edges = bin_edges(probability, n_bins, strategy);
  const auto bins = static_cast<std::size_t>(n_bins);
  std::vector<std::int64_t> count(bins, 0);
  std::vector<std::int64_t> positives(bins, 0);
  std::vector<double> sum(bins, 0.0);
  for (std::size_t i = 0; i < label.size(); ++i) {
    const auto inner = std::lower_bound(edges.begin() + 1, edges.end() - 1, probability[i]);
    const auto bin = static_cast<std::size_t>(inner - (edges.begin() + 1));
    ++count[bin];
    positives[bin] += label[i];
    sum[bin] += probability[i];
  }
  std::vector<CalibrationBin> out;
  for (std::size_t b = 0; b < bins; ++b) {
    if (count[b] == 0) continue;
    out.push_back({edges[b],
                   edges[b + 1],
                   count[b],
                   sum[b] / static_cast<double>(count[b]),
                   wilson(positives[b], count[b], confidence)});
  }
  return out;
}

}  // namespace med3d::stats
