#include "med3d/stats/survival/sample_size.h"

#include <gtest/gtest.h>

#include <cmath>

#include "med3d/core/error.h"

namespace med3d::stats::survival {
namespace {

SampleSizeOptions published() {
  SampleSizeOptions options;
  options.parameters = 30;
  options.r_squared = 0.051;
  options.event_rate = 0.065;
  options.mean_follow_up = 2.07;
  options.horizon = 2.0;
  return options;
}

TEST(SampleSize, MatchesThePublishedExample) {
  const SampleSize size = sample_size(published());
  EXPECT_EQ(size.n_shrinkage, 5143);  // 30 / (0.1 * 0.0583372)
  EXPECT_EQ(size.n_optimism, 1039);
  EXPECT_EQ(size.n, 5143);
  EXPECT_EQ(size.events, 692);
  EXPECT_NEAR(size.events_per_parameter, 23.07, 0.005);
  EXPECT_NEAR(size.max_r_squared, 0.555, 0.0005);
}

TEST(SampleSize, MakesTheOverallRiskAsPreciseAsAsked) {
  const SampleSizeOptions options = published();
  const double n = static_cast<double>(sample_size(options).n_risk);
  const auto margin = [&](double patients) {
    const double error =
        1.959963984540054 * std::sqrt(options.event_rate / (patients * options.mean_follow_up));
    const double risk = 1.0 - std::exp(-options.event_rate * 2.0);
    return risk - (1.0 - std::exp(-(options.event_rate - error) * 2.0));
  };
  EXPECT_LE(margin(n), 0.05);
  EXPECT_GT(margin(n - 1.0), 0.05);
}

TEST(SampleSize, AndItsInverseAgree) {
  EXPECT_EQ(max_parameters(5143, 0.051), 30);
  EXPECT_EQ(max_parameters(5142, 0.051), 29);
  EXPECT_EQ(max_parameters(0, 0.051), 0);
}

TEST(SampleSize, RejectsWhatCannotBe) {
  SampleSizeOptions options = published();
  options.r_squared = 0.6;  // more than such events allow
  EXPECT_THROW(sample_size(options), Error);
  options = published();
  options.parameters = 0;
  EXPECT_THROW(sample_size(options), Error);
  options = published();
  options.shrinkage = 1.0;
  EXPECT_THROW(sample_size(options), Error);
  EXPECT_THROW(max_parameters(100, 0.95), Error);
}

}  // namespace
}  // namespace med3d::stats::survival
