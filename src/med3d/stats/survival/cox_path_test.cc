#include "med3d/stats/survival/cox_path.h"

#include <gtest/gtest.h>

#include <cmath>

#include "med3d/core/error.h"
#include "med3d/core/random.h"
#include "med3d/stats/survival/test_survival.inl"

namespace med3d::stats::survival {
namespace {

struct Drawn {
  SurvivalTimes times;
  Matrix<double> x;
};

// Exponential times whose rate rises with the first two columns; units far apart.
Drawn draw(std::size_t n, std::size_t p, std::uint32_t seed) {
  NumpyRandom random(seed);
  Drawn out;
  out.x = Matrix<double>(n, p);
  std::vector<double> time;
  std::vector<std::uint8_t> event;
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < p; ++j) {
      out.x(i, j) = random.normal() * (j % 2 == 0 ? 1.0 : 50.0);
    }
    const double rate = std::exp(0.8 * out.x(i, 0) - 0.01 * out.x(i, 1));
    const double t = -std::log(1.0 - random.uniform()) / rate;
    const double c = 3.0 * random.uniform();
    time.push_back(std::ceil(10.0 * std::min(t, c)));  // ties
    event.push_back(t <= c ? 1 : 0);
  }
  out.times = SurvivalTimes(time, event);
  return out;
}

// Largest departure from the optimality conditions of the header, recomputed from the likelihood of
// cox.h and relative to lambda_max.
double worst_violation(const Drawn& d, const CoxPath& path, std::size_t step, double alpha) {
  std::vector<double> g_eta(d.times.size());
  cox_log_likelihood(d.times, path.linear_predictor(d.x, step), Ties::kEfron, g_eta);
  const double n = static_cast<double>(d.times.size());
  double worst = 0.0;
  for (std::size_t j = 0; j < d.x.cols(); ++j) {
    double mean = 0.0;
    double square = 0.0;
    for (std::size_t i = 0; i < d.x.rows(); ++i) mean += d.x(i, j) / n;
    for (std::size_t i = 0; i < d.x.rows(); ++i) {
      square += (d.x(i, j) - mean) * (d.x(i, j) - mean) / n;
    }
    const double sd = std::sqrt(square);
    double g = 0.0;
    for (std::size_t i = 0; i < d.x.rows(); ++i) g += (d.x(i, j) - mean) / sd * g_eta[i] / n;
    const double b = path.coefficient(step, j) * sd;
    const double lambda = path.lambda[step];
    worst = std::max(
        worst,
        b == 0.0 ? std::max(0.0, std::abs(g) - lambda * alpha)
                 : std::abs(g - std::copysign(lambda * alpha, b) - lambda * (1.0 - alpha) * b));
  }
  return worst / (path.lambda[0] * std::max(alpha, 1e-3));
}

TEST(CoxPath, SatisfiesItsOptimalityConditions) {
  const Drawn d = draw(120, 12, 1);
  for (const double alpha : {0.0, 0.5, 1.0}) {
    CoxPathOptions options;
    options.alpha = alpha;
    options.n_lambda = 12;
    const CoxPath path = cox_path(d.times, d.x, options);
    EXPECT_TRUE(path.warnings.empty());
    for (std::size_t k = 0; k < path.lambda.size(); ++k) {
      EXPECT_LT(worst_violation(d, path, k, alpha), 2e-7) << alpha << " " << k;
      if (k > 0) {
        EXPECT_GE(path.log_likelihood[k], path.log_likelihood[k - 1] - 1e-9);
      }
    }
  }
}

TEST(CoxPath, LeavesNoCovariateAtItsLargestPenalty) {
  const Drawn d = draw(100, 6, 2);
  CoxPathOptions options;
  options.n_lambda = 20;
  const CoxPath path = cox_path(d.times, d.x, options);
  EXPECT_EQ(path.nonzero[0], 0U);
  EXPECT_EQ(path.log_likelihood[0], path.log_likelihood_null);
  EXPECT_GE(path.nonzero[1], 1U);
  EXPECT_NE(path.coefficient(2, 0), 0.0);  // the strongest comes first
}

TEST(CoxPath, ReachesTheUnpenalisedFitWithoutPenalty) {
  const Drawn d = draw(150, 5, 3);
  CoxPathOptions options;
  options.lambda = {0.01, 0.0};
  options.tolerance = 1e-9;
  const CoxPath path = cox_path(d.times, d.x, options);
  const CoxFit fit = cox_fit(d.times, d.x);
  for (std::size_t j = 0; j < 5; ++j) {
    EXPECT_NEAR(path.coefficient(1, j) / fit.beta[j], 1.0, 1e-5);
  }
  EXPECT_NEAR(path.log_likelihood[1], fit.log_likelihood, 1e-9);
}

TEST(CoxPath, MatchesTheClosedFormOfThreePatients) {
  // As in cox_test.cc: x = 0, 1, 0 with sd s = sqrt(2) / 3, dl/db = 1 - w/(2+w) - w/(1+w). The
  // lasso at lambda solves dl/db / s / 3 = lambda (the coefficient per sd is b s): w = 1.2 gives 1
  // - 0.375 - 0.545454...
  const double w = 1.2;
  const double s = std::sqrt(2.0) / 3.0;
  const SurvivalTimes times({1, 2, 3}, {1, 1, 1});
  Matrix<double> x(3, 1);
  x(1, 0) = 1.0;
  CoxPathOptions options;
  options.lambda = {(1.0 - w / (2.0 + w) - w / (1.0 + w)) / s / 3.0};
  options.tolerance = 1e-10;
  EXPECT_NEAR(cox_path(times, x, options).coefficient(0, 0), std::log(w), 1e-8);
}

TEST(CoxPath, TakesMoreCovariatesThanPatients) {
  const Drawn d = draw(40, 80, 5);
  CoxPathOptions options;
  options.n_lambda = 10;
  options.lambda_min_ratio = 0.1;
  const CoxPath path = cox_path(d.times, d.x, options);
  EXPECT_TRUE(path.warnings.empty());
  EXPECT_LT(worst_violation(d, path, 9, 1.0), 2e-7);
  EXPECT_LT(path.nonzero[9], 80U);
}

TEST(CoxPath, KeepsConstantColumnsAtZeroAndNeedsEvents) {
  Drawn d = draw(30, 2, 6);
  for (std::size_t i = 0; i < 30; ++i) d.x(i, 1) = 4.0;
  CoxPathOptions options;
  options.alpha = 0.0;
  options.n_lambda = 3;
  const CoxPath path = cox_path(d.times, d.x, options);
  EXPECT_EQ(path.coefficient(2, 1), 0.0);
  EXPECT_NE(path.coefficient(2, 0), 0.0);
  const CoxPath none = cox_path(SurvivalTimes({1, 2}, {0, 0}), Matrix<double>(2, 1), options);
  EXPECT_EQ(none.not_estimable, "no events");
  options.alpha = 1.5;
  EXPECT_THROW(cox_path(d.times, d.x, options), Error);
  options.alpha = 1.0;
  options.lambda = {0.1, 0.2};
  EXPECT_THROW(cox_path(d.times, d.x, options), Error);
}

}  // namespace
}  // namespace med3d::stats::survival
