#include "med3d/stats/delong.h"

#include <algorithm>
#include <boost/math/distributions/normal.hpp>
#include <cmath>
#include <numeric>
#include <vector>

#include "med3d/stats/curves.h"

namespace med3d::stats {
namespace {

// Midrank of each value (ties share the mean of their ranks), ranks from 1.
std::vector<double> midranks(const std::vector<double>& value) {
  std::vector<std::size_t> order(value.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return value[a] < value[b];
  });
  std::vector<double> rank(value.size());
  for (std::size_t i = 0; i < order.size();) {
    std::size_t end = i + 1;
    while (end < order.size() && value[order[end]] == value[order[i]]) ++end;
    for (std::size_t t = i; t < end; ++t) rank[order[t]] = static_cast<double>(i + end + 1) / 2.0;
    i = end;
  }
  return rank;
}

struct Components {
  std::vector<double> positive;  // V10
  std::vector<double> negative;  // V01
};

Components components(std::span<const std::uint8_t> label, std::span<const double> score) {
  std::vector<double> positives;
  std::vector<double> negatives;
  for (std::size_t i = 0; i < label.size(); ++i) {
    (label[i] == 1 ? positives : negatives).push_back(score[i]);
  }
  std::vector<double> pooled = positives;
  pooled.insert(pooled.end(), negatives.begin(), negatives.end());
  const auto rank_pooled = midranks(pooled);
  const auto rank_positive = midranks(positives);
  const auto rank_negative = midranks(negatives);
  const auto n1 = static_cast<double>(positives.size());
  const auto n0 = static_cast<double>(negatives.size());
  Components out;
  for (std::size_t i = 0; i < positives.size(); ++i) {
    out.positive.push_back((rank_pooled[i] - rank_positive[i]) / n0);
  }
  for (std::size_t j = 0; j < negatives.size(); ++j) {
    out.negative.push_back(1.0 - (rank_pooled[positives.size() + j] - rank_negative[j]) / n1);
  }
  return out;
}

double sample_covariance(const std::vector<double>& a, const std::vector<double>& b) {
  const auto n = static_cast<double>(a.size());
  if (a.size() < 2) return std::nan("");
  const double mean_a = std::accumulate(a.begin(), a.end(), 0.0) / n;
  const double mean_b = std::accumulate(b.begin(), b.end(), 0.0) / n;
  double sum = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += (a[i] - mean_a) * (b[i] - mean_b);
  return sum / (n - 1.0);
}

double covariance(const Components& a, const Components& b) {
  return sample_covariance(a.positive, b.positive) / static_cast<double>(a.positive.size()) +
         sample_covariance(a.negative, b.negative) / static_cast<double>(a.negative.size());
}

// Below this a variance is rounding: it comes of values in [0, 1].
constexpr double kNoVariance = 1e-20;

}  // namespace

AurocDelong auroc_delong(std::span<const std::uint8_t> label,
                         std::span<const double> score,
                         double confidence) {
  const double z = normal_quantile_two_sided(confidence);
  AurocDelong out;
  out.auroc = out.wald = auroc(label, score);
  if (!out.auroc.ok()) return out;
  const Components parts = components(label, score);
  out.variance = covariance(parts, parts);
  if (out.variance > kNoVariance) {
    const double a = out.auroc.value;
    const double half = z * std::sqrt(out.variance);
    out.wald.low = std::max(0.0, a - half);
    out.wald.high = std::min(1.0, a + half);
    // With a variance above 0 a is neither 0 nor 1.
    const double odds = a / (1.0 - a);
    const double factor = std::exp(half / (a * (1.0 - a)));
    out.auroc.low = 1.0 / (1.0 + factor / odds);
    out.auroc.high = 1.0 / (1.0 + 1.0 / (odds * factor));
  }
  return out;
}

AurocDifference auroc_difference(std::span<const std::uint8_t> label,
                                 std::span<const double> first,
                                 std::span<const double> second,
                                 double confidence) {
  AurocDifference out;
  const AurocDelong a = auroc_delong(label, first, confidence);
  const AurocDelong b = auroc_delong(label, second, confidence);
  out.first = a.auroc;
  out.second = b.auroc;
  if (!a.auroc.ok()) {
    out.difference = Estimate::none(a.auroc.not_estimable);
    return out;
  }
  out.difference = Estimate::of(a.auroc.value - b.auroc.value);
  const Components of_first = components(label, first);
  const Components of_second = components(label, second);
  // The variance of the differences of the components, so that equal models give exactly 0.
  Components gap;
  for (std::size_t i = 0; i < of_first.positive.size(); ++i) {
    gap.positive.push_back(of_first.positive[i] - of_second.positive[i]);
  }
  for (std::size_t j = 0; j < of_first.negative.size(); ++j) {
    gap.negative.push_back(of_first.negative[j] - of_second.negative[j]);
  }
  out.variance = covariance(gap, gap);
  if (out.variance > kNoVariance) {
    const double se = std::sqrt(out.variance);
    const double half = normal_quantile_two_sided(confidence) * se;
    out.difference.low = out.difference.value - half;
    out.difference.high = out.difference.value + half;
    out.z = out.difference.value / se;
    out.p = 2.0 * boost::math::cdf(boost::math::complement(boost::math::normal(), std::abs(out.z)));
  }
  return out;
}

}  // namespace med3d::stats
