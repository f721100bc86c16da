#include "med3d/stats/survival/optimism.h"

#include <gtest/gtest.h>

#include "med3d/core/error.h"
#include "med3d/core/random.h"
#include "med3d/stats/survival/concordance.h"
#include "med3d/stats/survival/cox.h"

namespace med3d::stats::survival {
namespace {

using Rows = std::span<const std::size_t>;

TEST(OptimismBootstrap, FindsTheKnownOptimismOfAMean) {
  // Model: the mean of the rows. Score: -mean squared distance from it. With the sample mean m* and
  // all mean m: score on sample - score on all = var - var* + (m* - m)^2, whose expectation is
  // var / n + var / n = 2 var / n.
  NumpyRandom random(1);
  std::vector<double> y(60);
  for (double& v : y) v = random.normal();
  const auto mean_of = [&](Rows rows) {
    double sum = 0.0;
    for (const std::size_t i : rows) sum += y[i];
    return sum / static_cast<double>(rows.size());
  };
  const auto score = [&](double model, Rows rows, std::span<double> value) {
    value[0] = 0.0;
    for (const std::size_t i : rows) {
      value[0] -= (y[i] - model) * (y[i] - model) / static_cast<double>(rows.size());
    }
  };
  OptimismOptions options;
  options.repeats = 4000;
  const auto result = optimism_bootstrap(60, 1, mean_of, score, options);
  const double variance = -result[0].apparent.value;
  // Spread of one replicate about 0.18 of the variance here; of 4000: 0.003.
  EXPECT_NEAR(result[0].optimism.value, 2.0 * variance / 60.0, 0.012 * variance);
  EXPECT_DOUBLE_EQ(result[0].corrected.value, result[0].apparent.value - result[0].optimism.value);
  options.threads = 2;
  EXPECT_EQ(optimism_bootstrap(60, 1, mean_of, score, options)[0].optimism.value,
            result[0].optimism.value);
}

TEST(OptimismBootstrap, IsZeroForAModelThatDoesNotLookAtTheData) {
  const std::vector<double> y = {1, 5, 2, 8};
  const auto fit = [](Rows) { return 0; };
  const auto constant = [](int, Rows, std::span<double> value) { value[0] = 0.7; };
  const auto result = optimism_bootstrap(4, 1, fit, constant);
  EXPECT_EQ(result[0].corrected.value, 0.7);
  EXPECT_EQ(result[0].optimism.value, 0.0);
}

TEST(OptimismBootstrap, TakesTheGlossOffACoxModelOfNoise) {
  NumpyRandom random(3);
  Matrix<double> x(60, 8);
  std::vector<double> time;
  std::vector<std::uint8_t> event;
  for (std::size_t i = 0; i < 60; ++i) {
    for (std::size_t j = 0; j < 8; ++j) x(i, j) = random.normal();
    time.push_back(1.0 + random.uniform());
    event.push_back(random.uniform() < 0.6 ? 1 : 0);
  }
  const SurvivalTimes times(time, event);
  const auto take = [&](Rows rows) {
    return x.take_rows(std::vector<std::size_t>(rows.begin(), rows.end()));
  };
  const auto fit = [&](Rows rows) { return cox_fit(times.take(rows), take(rows)); };
  const auto score = [&](const CoxFit& model, Rows rows, std::span<double> value) {
    value[0] = harrell_c_index(times.take(rows), model.linear_predictor(take(rows))).c_index.value;
  };
  OptimismOptions options;
  options.repeats = 60;
  const auto result = optimism_bootstrap(60, 1, fit, score, options);
  EXPECT_GT(result[0].apparent.value, 0.6);  // of covariates that mean nothing
  EXPECT_LT(result[0].corrected.value, result[0].apparent.value - 0.06);
}

TEST(OptimismBootstrap, CountsSamplesThatSupportNoScore) {
  const std::vector<double> apparent = {0.8, 0.8, std::nan("")};
  Matrix<double> optimism(10, 3, 0.1);
  optimism(0, 0) = std::nan("");
  optimism(1, 1) = optimism(2, 1) = std::nan("");
  const auto result = summarise_optimism(apparent, optimism);
  EXPECT_NEAR(result[0].corrected.value, 0.7, 1e-15);
  EXPECT_EQ(result[0].undefined, 1);
  EXPECT_EQ(result[1].corrected.not_estimable, "undefined in 2 of 10 bootstrap samples");
  EXPECT_TRUE(result[1].apparent.ok());
  EXPECT_EQ(result[2].corrected.not_estimable, "the set does not support it");
  EXPECT_THROW(OptimismOptions().validate(0), Error);
}

}  // namespace
}  // namespace med3d::stats::survival
