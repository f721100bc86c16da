#include "med3d/stats/intervals.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "med3d/core/error.h"
#include "med3d/core/random.h"

namespace med3d::stats {
namespace {

TEST(Wilson, MatchesPublishedAndHandComputedLimits) {
  // Specificity 1 of 1: low = (1 + z^2/2 - z sqrt(z^2/4)) / (1 + z^2) = 1 / (1 + z^2) = 0.2065.
  const Estimate one = wilson(1, 1);
  const double z = 1.959963984540054;
  EXPECT_NEAR(one.low, 1.0 / (1.0 + z * z), 1e-12);
  EXPECT_EQ(one.high, 1.0);
  // 2 of 3, the early-fusion specificity: printed .21 to .94.
  const Estimate two = wilson(2, 3);
  EXPECT_NEAR(two.low, 0.2077, 5e-5);
  EXPECT_NEAR(two.high, 0.9385, 5e-5);
  EXPECT_EQ(wilson(0, 7).low, 0.0);
  EXPECT_NEAR(wilson(0, 7).high, 1.0 - wilson(7, 7).low, 1e-12);
  EXPECT_EQ(wilson(0, 0).not_estimable, "no patients");
  EXPECT_THROW(wilson(4, 3), Error);
  EXPECT_THROW(wilson(1, 3, 1.0), Error);
}

// Ten numbers with mean 5.5: the percentile interval of the mean must lie near the normal one with
// the population standard deviation, se = sqrt(8.25 / 10) = 0.908.
TEST(Bootstrap, IntervalOfAMeanIsNearTheNormalOne) {
  const Estimate mean = bootstrap(10, 4000, 1, [](std::span<const std::size_t> rows) {
    double sum = 0.0;
    for (const std::size_t row : rows) sum += static_cast<double>(row + 1);
    return sum / static_cast<double>(rows.size());
  });
  EXPECT_DOUBLE_EQ(mean.value, 5.5);
  EXPECT_NEAR(mean.low, 5.5 - 1.96 * 0.908, 0.12);
  EXPECT_NEAR(mean.high, 5.5 + 1.96 * 0.908, 0.12);
}

double share_of_first_half(std::span<const std::size_t> rows) {
  return static_cast<double>(
             std::count_if(rows.begin(), rows.end(), [](std::size_t r) { return r < 10; })) /
         static_cast<double>(rows.size());
}

TEST(Bootstrap, IsTheSameOnAnyNumberOfThreadsAndAnotherForAnotherSeed) {
  const Statistic statistic = [](std::span<const std::size_t> rows, std::span<double> value) {
    value[0] = share_of_first_half(rows);
    value[1] = static_cast<double>(rows[0]);
  };
  BootstrapOptions options;
  options.repeats = 300;
  options.seed = 9;
  options.interval = IntervalKind::kBca;
  const BootstrapResult one = bootstrap(20, 2, statistic, options);
  options.threads = 4;
  const BootstrapResult four = bootstrap(20, 2, statistic, options);
  EXPECT_TRUE(one.replicate == four.replicate);
  EXPECT_EQ(one.estimate[0].low, four.estimate[0].low);
  options.seed = 10;
  EXPECT_FALSE(one.replicate == bootstrap(20, 2, statistic, options).replicate);
}

TEST(Bootstrap, KeepsTheSizeOfEachStratum) {
  BootstrapOptions options;
  options.repeats = 100;
  for (int i = 0; i < 30; ++i) options.strata.push_back(i < 10 ? 7 : -2);
  const BootstrapResult result = bootstrap(
      30,
      1,
      [](std::span<const std::size_t> rows, std::span<double> value) {
        value[0] = share_of_first_half(rows);
      },
      options);
  for (std::size_t r = 0; r < 100; ++r) EXPECT_DOUBLE_EQ(result.replicate(r, 0), 1.0 / 3.0);
}

TEST(Bootstrap, DrawsRefusedSamplesAgainAndCountsThem) {
  BootstrapOptions options;
  options.repeats = 400;
  options.accept = [](std::span<const std::size_t> rows) {
    return std::find(rows.begin(), rows.end(), std::size_t{0}) != rows.end();
  };
  const BootstrapResult result = bootstrap(
      5,
      1,
      [&](std::span<const std::size_t> rows, std::span<double> value) {
        value[0] = options.accept(rows) ? 1.0 : 0.0;
      },
      options);
  for (std::size_t r = 0; r < 400; ++r) EXPECT_EQ(result.replicate(r, 0), 1.0);
  // (4/5)^5 = 0.328 of the draws lack patient 0: about 400 * .328 / .672 = 195 refusals.
  EXPECT_NEAR(static_cast<double>(result.redrawn), 195.0, 60.0);
  options.accept = [](std::span<const std::size_t>) { return false; };
  options.repeats = 1;
  EXPECT_THROW(bootstrap(
                   5, 1, [](auto, auto) {}, options),
               Error);
}

TEST(Bootstrap, GivesNoIntervalToAStatisticThatIsOftenUndefined) {
  BootstrapOptions options;
  options.repeats = 200;
  const BootstrapResult result = bootstrap(
      5,
      2,
      [](std::span<const std::size_t> rows, std::span<double> value) {
        const bool there = std::find(rows.begin(), rows.end(), std::size_t{0}) != rows.end();
        value[0] = there ? 1.0 : std::nan("");
        value[1] = std::nan("");
      },
      options);
  EXPECT_GT(result.undefined[0], 20);
  EXPECT_TRUE(result.estimate[0].ok());
  EXPECT_FALSE(result.estimate[0].has_interval());
  EXPECT_EQ(result.estimate[1].not_estimable, "the set does not support it");
}

// An exponential-like sample: BCa shifts the interval of a variance upwards, as it should.
TEST(Bootstrap, BcaMovesTheIntervalOfASkewedStatisticUpwards) {
  std::vector<double> x;
  for (int i = 1; i <= 40; ++i) x.push_back(-std::log(1.0 - (i - 0.5) / 40.0));
  const Statistic variance = [&](std::span<const std::size_t> rows, std::span<double> value) {
    double sum = 0.0;
    double squares = 0.0;
    for (const std::size_t r : rows) {
      sum += x[r];
      squares += x[r] * x[r];
    }
    const double n = static_cast<double>(rows.size());
    value[0] = squares / n - sum / n * (sum / n);
  };
  BootstrapOptions options;
  options.repeats = 2000;
  const Estimate percentile = bootstrap(40, 1, variance, options).estimate[0];
  options.interval = IntervalKind::kBca;
  const Estimate bca = bootstrap(40, 1, variance, options).estimate[0];
  EXPECT_GT(bca.low, percentile.low);
  EXPECT_GT(bca.high, percentile.high);
  EXPECT_LT(bca.low, bca.value);
  EXPECT_GT(bca.high, bca.value);
}

TEST(Bootstrap, RefusesNobodyAndBadOptions) {
  const Statistic statistic = [](auto, auto) {};
  EXPECT_THROW(bootstrap(0, 1, statistic), Error);
  BootstrapOptions options;
  options.repeats = 0;
  EXPECT_THROW(bootstrap(3, 1, statistic, options), Error);
  options.repeats = 1;
  options.strata = {1, 2};
  EXPECT_THROW(bootstrap(3, 1, statistic, options), Error);
}

TEST(PairedBootstrap, SeesADifferenceThatIsThereAndNoneWhereThereIsNone) {
  // First right on 90 of 100, second right on 70 of the same.
  const auto first = [](std::span<const std::size_t> rows) {
    double right = 0.0;
    for (const std::size_t r : rows) right += r % 10 != 0;
    return right / static_cast<double>(rows.size());
  };
  const auto second = [](std::span<const std::size_t> rows) {
    double right = 0.0;
    for (const std::size_t r : rows) right += r % 10 > 2;
    return right / static_cast<double>(rows.size());
  };
  const PairedDifference real = paired_bootstrap(100, first, second);
  EXPECT_NEAR(real.difference.value, 0.2, 1e-12);
  EXPECT_GT(real.difference.low, 0.1);
  EXPECT_NEAR(real.p, 2.0 / 1001.0, 1e-12);
  const PairedDifference none = paired_bootstrap(100, first, first);
  EXPECT_EQ(none.difference.value, 0.0);
  EXPECT_EQ(none.p, 1.0);
}

// Exact: b 1, c 5: 2 * (C(6,0) + C(6,1)) / 2^6 = 14/64. From 25 pairs on: b 10, c 25: 14^2/35
// = 5.6.
TEST(McNemar, IsExactForFewDiscordantPairsAndChiSquaredForMany) {
  const McNemar few = mcnemar(1, 5);
  EXPECT_TRUE(few.exact);
  EXPECT_NEAR(few.p, 14.0 / 64.0, 1e-12);
  const McNemar many = mcnemar(10, 25);
  EXPECT_FALSE(many.exact);
  EXPECT_NEAR(many.statistic, 5.6, 1e-12);
  EXPECT_NEAR(many.p, std::erfc(std::sqrt(5.6 / 2.0)), 1e-12);  // chi-squared(1) upper tail
  EXPECT_EQ(mcnemar(0, 0).p, 1.0);
  EXPECT_EQ(mcnemar(3, 3).p, 1.0);
  EXPECT_EQ(mcnemar(20, 20).p, 1.0);
  EXPECT_THROW(mcnemar(-1, 2), Error);
  const std::vector<std::uint8_t> a = {1, 1, 0, 0};
  const std::vector<std::uint8_t> b = {1, 0, 1, 0};
  EXPECT_EQ(mcnemar(a, b).only_first, 1);
  EXPECT_EQ(mcnemar(a, b).only_second, 1);
  EXPECT_THROW(mcnemar(a, std::vector<std::uint8_t>{1}), Error);
}

// Sorted .01 .02 .03 .04 times 4 3 2 1 = .04 .06 .06 .04; running maximum .04 .06 .06 .06.
TEST(BenjaminiHochberg, StepsUpAndKeepsTheOrder) {
  // Sorted 0.01 0.02 0.03 0.2 times 4 / rank: 0.04 0.04 0.04 0.2.
  const auto adjusted = benjamini_hochberg(std::vector<double>{0.03, 0.01, 0.2, 0.02});
  const std::vector<double> expected = {0.04, 0.04, 0.2, 0.04};
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(adjusted[i], expected[i], 1e-15);
  EXPECT_TRUE(benjamini_hochberg({}).empty());
  EXPECT_THROW(benjamini_hochberg(std::vector<double>{1.5}), Error);
}

TEST(BenjaminiHochberg, FindsTheFourOfThePaper) {
  // Section 4.1 of the 1995 paper: 15 tests, level 0.05, four rejected (Bonferroni: three).
  const std::vector<double> p = {0.0001,
                                 0.0004,
                                 0.0019,
                                 0.0095,
                                 0.0201,
                                 0.0278,
                                 0.0298,
                                 0.0344,
                                 0.0459,
                                 0.3240,
                                 0.4262,
                                 0.5719,
                                 0.6528,
                                 0.7590,
                                 1.0000};
  const auto step_up = benjamini_hochberg(p);
  const auto step_down = holm(p);
  EXPECT_EQ(std::count_if(step_up.begin(), step_up.end(), [](double v) { return v <= 0.05; }), 4);
  EXPECT_EQ(std::count_if(step_down.begin(), step_down.end(), [](double v) { return v <= 0.05; }),
            3);
}

TEST(Holm, StepsDownAndKeepsTheOrder) {
  const auto adjusted = holm(std::vector<double>{0.03, 0.01, 0.04, 0.02});
  EXPECT_NEAR(adjusted[1], 0.04, 1e-15);
  EXPECT_NEAR(adjusted[3], 0.06, 1e-15);
  EXPECT_NEAR(adjusted[0], 0.06, 1e-15);
  EXPECT_NEAR(adjusted[2], 0.06, 1e-15);
  EXPECT_EQ(holm(std::vector<double>{0.9, 0.8})[1], 1.0);
  EXPECT_TRUE(holm({}).empty());
  EXPECT_THROW(holm(std::vector<double>{0.5, std::nan("")}), Error);
}

}  // namespace
}  // namespace med3d::stats
