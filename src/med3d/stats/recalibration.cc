#include "med3d/stats/recalibration.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <vector>

#include "med3d/core/error.h"

namespace med3d::stats {
namespace {

constexpr std::size_t kFewest = 10;  // of each class: five for each of the two numbers fitted
constexpr double kClip = 1e-6;
constexpr int kMaxSteps = 100;
constexpr double kSteepest = 1e3;  // a slope beyond it is on its way to infinity

double softplus(double x) {
  return x > 0.0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
}
double sigmoid(double x) {
  return x >= 0.0 ? 1.0 / (1.0 + std::exp(-x)) : std::exp(x) / (1.0 + std::exp(x));
}
double logit(double p) {
  const double q = std::clamp(p, kClip, 1.0 - kClip);
  return std::log(q / (1.0 - q));
}

struct Point {
  double x = 0.0;
  double y = 0.0;
  double weight = 1.0;      // a patient's rows add up to one
  std::size_t patient = 0;  // from 0
};

// A symmetric 2 x 2 matrix: (a, b; b, c).
struct Symmetric {
  double a = 0.0, b = 0.0, c = 0.0;

  double determinant() const { return a * c - b * b; }
  Symmetric inverse() const {
    const double d = determinant();
    return {c / d, -b / d, a / d};
  }
  void add(double u, double v, double weight) {
    a += weight * u * u;
    b += weight * u * v;
    c += weight * v * v;
  }
};

double log_likelihood(const std::vector<Point>& points, double intercept, double slope) {
  double sum = 0.0;
  for (const auto& p : points) {
    const double eta = intercept + slope * p.x;
    sum += p.weight * (p.y * eta - softplus(eta));
  }
  return sum;
}

// Newton's method with step halving; false where it goes to infinity.
bool fit(const std::vector<Point>& points, bool slope_free, RecalibratedRate& out) {
  double now = log_likelihood(points, out.intercept, out.slope);
  for (int step = 0; step < kMaxSteps; ++step) {
    Symmetric information;
    double score[2] = {0.0, 0.0};
    for (const auto& p : points) {
      const double fitted = sigmoid(out.intercept + out.slope * p.x);
      information.add(1.0, p.x, p.weight * fitted * (1.0 - fitted));
      score[0] += p.weight * (p.y - fitted);
      score[1] += p.weight * (p.y - fitted) * p.x;
    }
    double change[2];
    if (slope_free) {
      if (!(information.determinant() > 0.0)) return false;
      const auto inverse = information.inverse();
      change[0] = inverse.a * score[0] + inverse.b * score[1];
      change[1] = inverse.b * score[0] + inverse.c * score[1];
    } else {
      if (!(information.a > 0.0)) return false;
      change[0] = score[0] / information.a;
      change[1] = 0.0;
    }
    double length = 1.0;
    double next = log_likelihood(points, out.intercept + change[0], out.slope + change[1]);
    // Close to the top its height is lost in rounding: no reason to turn back.
    const double least = now - 1e-12 * (1.0 + std::abs(now));
    while (!(next >= least) && length > 1e-10) {
      length /= 2.0;
      next = log_likelihood(
          points, out.intercept + length * change[0], out.slope + length * change[1]);
    }
    out.intercept += length * change[0];
    out.slope += length * change[1];
    if (!std::isfinite(out.intercept) || std::abs(out.slope) > kSteepest) return false;
    const double moved = std::max(std::abs(length * change[0]), std::abs(length * change[1]));
    now = std::max(next, now);
    if (moved <= 1e-12 * std::max({1.0, std::abs(out.intercept), std::abs(out.slope)})) return true;
  }
  return false;
}

}  // namespace

RecalibratedRate fit_recalibrated_rate(std::span<const std::uint8_t> label,
                                       std::span<const double> probability,
                                       std::span<const std::size_t> patient) {
  require_labels_and_probabilities(label, probability);
  if (patient.size() != label.size()) {
    throw Error(
        ErrorKind::kData,
        fmt::format("recalibration: {} labels but {} patients", label.size(), patient.size()));
  }
  std::map<std::size_t, std::vector<std::size_t>> rows_of;
  for (std::size_t i = 0; i < patient.size(); ++i) rows_of[patient[i]].push_back(i);

  RecalibratedRate out;
  out.n = rows_of.size();
  std::vector<Point> points;
  std::size_t number = 0;
  for (const auto& [unused, rows] : rows_of) {
    for (const std::size_t i : rows) {
      if (label[i] != label[rows.front()]) {
        throw Error(ErrorKind::kData, "recalibration: one patient has both labels");
      }
      points.push_back({logit(probability[i]),
                        static_cast<double>(label[i]),
                        1.0 / static_cast<double>(rows.size()),
                        number});
    }
    out.events += label[rows.front()];
    ++number;
  }
  if (out.events < kFewest || out.n - out.events < kFewest) {
    out.not_estimable = fmt::format(
        "{} held-out patients with the event and {} without: at least {} of each are "
        "needed",
        out.events,
        out.n - out.events,
        kFewest);
    return out;
  }
  const auto [lowest, highest] = std::minmax_element(
      points.begin(), points.end(), [](const Point& a, const Point& b) { return a.x < b.x; });
  const bool slope_free = highest->x - lowest->x > 1e-9;
  if (!fit(points, slope_free, out)) {
    out.not_estimable = "a threshold on the held-out predictions parts the two classes";
    return out;
  }
  Symmetric information;
  std::vector<std::array<double, 2>> score(out.n, {0.0, 0.0});
  for (const auto& p : points) {
    const double fitted = sigmoid(out.intercept + out.slope * p.x);
    information.add(1.0, p.x, p.weight * fitted * (1.0 - fitted));
    score[p.patient][0] += p.weight * (p.y - fitted);
    score[p.patient][1] += p.weight * (p.y - fitted) * p.x;
  }
  Symmetric spread;
  for (const auto& s : score) spread.add(s[0], s[1], 1.0);
  const auto m = static_cast<double>(out.n);
  if (!slope_free) {
    out.var_intercept = spread.a / (information.a * information.a) * m / (m - 1.0);
    return out;
  }
  const auto inverse = information.inverse();
  const double factor = m / (m - 2.0);
  // V = A^-1 B A^-1: each patient's score goes through A^-1 first.
  Symmetric v;
  for (const auto& s : score) {
    v.add(inverse.a * s[0] + inverse.b * s[1], inverse.b * s[0] + inverse.c * s[1], factor);
  }
  out.var_intercept = v.a;
  out.covariance = v.b;
  out.var_slope = v.c;
  return out;
}

Estimate RecalibratedRate::at(double probability, double confidence) const {
  require_confidence(confidence);
  if (!not_estimable.empty()) return Estimate::none(not_estimable);
  if (std::isnan(probability)) return Estimate::none("the model gives no probability");
  const double x = logit(probability);
  const double eta = intercept + slope * x;
  const double variance = var_intercept + 2.0 * x * covariance + x * x * var_slope;
  const double half = normal_quantile_two_sided(confidence) * std::sqrt(std::max(0.0, variance));
  return Estimate::of(sigmoid(eta), sigmoid(eta - half), sigmoid(eta + half));
}

}  // namespace med3d::stats
