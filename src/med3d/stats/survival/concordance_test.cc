#include "med3d/stats/survival/concordance.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "med3d/core/error.h"
#include "med3d/core/random.h"
#include "med3d/stats/survival/test_survival.inl"

namespace med3d::stats::survival {
namespace {

// Three patients, worked by hand: pairs (0,1) and (0,2) concordant, (1,2) discordant.
TEST(HarrellCIndex, MatchesHandComputedValue) {
  const std::vector<double> time_months = {6.0, 12.0, 24.0};
  const std::vector<std::uint8_t> event = {1, 1, 0};
  const std::vector<double> risk_score = {0.9, 0.1, 0.5};
  const Concordance c = harrell_c_index(time_months, event, risk_score);
  EXPECT_DOUBLE_EQ(c.c_index.value, 2.0 / 3.0);
  // Pairs per patient 2, 2, 2; concordant 2, 1, 1. Influence (2 - 4/3)/3, (1 - 4/3)/3 twice:
  // 2/9, -1/9, -1/9; variance 6/81.
  EXPECT_NEAR(c.std_error, std::sqrt(6.0 / 81.0), 1e-15);
}

TEST(HarrellCIndex, FollowsTheConventionsAtTies) {
  // At time 5: two events (not comparable with each other) and one censored (outlives both).
  // Pairs: (0,2) risks 3 > 1 concordant; (1,2) risks 1 = 1 tied.
  const Concordance c =
      harrell_c_index(SurvivalTimes({5, 5, 5}, {1, 1, 0}), std::vector<double>{3, 1, 1});
  EXPECT_EQ(c.concordant, 1.0);
  EXPECT_EQ(c.tied_risk, 1.0);
  EXPECT_EQ(c.discordant, 0.0);
  EXPECT_EQ(c.tied_time, 1.0);
  EXPECT_EQ(c.tied_both, 0.0);
  EXPECT_DOUBLE_EQ(c.c_index.value, 0.75);
}

TEST(HarrellCIndex, IsNotEstimableWithoutAComparablePair) {
  const std::vector<double> risk = {1, 2};
  EXPECT_EQ(harrell_c_index(SurvivalTimes({1, 2}, {0, 0}), risk).c_index.not_estimable,
            "no events");
  EXPECT_EQ(harrell_c_index(SurvivalTimes({1, 2}, {0, 1}), risk).c_index.not_estimable,
            "no comparable pair of patients");
  EXPECT_EQ(harrell_c_index(SurvivalTimes({2, 2}, {1, 1}), risk).c_index.not_estimable,
            "no comparable pair of patients");
  EXPECT_EQ(harrell_c_index(SurvivalTimes(), {}).c_index.not_estimable, "no patients");
  EXPECT_TRUE(std::isnan(harrell_c_index(SurvivalTimes(), {}).c_index.value));
}

TEST(HarrellCIndex, GivesNoIntervalToAPerfectOrder) {
  const Concordance c =
      harrell_c_index(SurvivalTimes({1, 2, 3}, {1, 1, 1}), std::vector<double>{3, 2, 1});
  EXPECT_EQ(c.c_index.value, 1.0);
  EXPECT_FALSE(c.c_index.has_interval());
}

TEST(HarrellCIndex, RejectsARiskThatIsNoNumber) {
  try {
    harrell_c_index(SurvivalTimes({1, 2}, {1, 1}), std::vector<double>{1, std::nan("")});
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "row 1: risk score nan, expected a finite number");
  }
  EXPECT_THROW(harrell_c_index(SurvivalTimes({1, 2}, {1, 1}), std::vector<double>{1}), Error);
}

struct Drawn {
  SurvivalTimes times;
  std::vector<double> risk;
  std::vector<double> other;
};

Drawn draw(std::size_t n, std::uint32_t seed) {
  NumpyRandom random(seed);
  std::vector<double> time;
  std::vector<std::uint8_t> event;
  Drawn out;
  for (std::size_t i = 0; i < n; ++i) {
    time.push_back(static_cast<double>(random.randint(25)));  // many ties
    event.push_back(random.randint(3) == 0 ? 0 : 1);
    out.risk.push_back(static_cast<double>(random.randint(12)));
    out.other.push_back(-time.back() + 8.0 * random.normal());
  }
  out.times = SurvivalTimes(time, event);
  return out;
}

TEST(HarrellCIndex, EqualsTheDefinitionByPairs) {
  for (std::uint32_t seed = 0; seed < 20; ++seed) {
    const Drawn d = draw(60, seed);
    double concordant = 0;
    double tied = 0;
    double pairs = 0;
    for (std::size_t i = 0; i < 60; ++i) {
      for (std::size_t j = 0; j < 60; ++j) {
        if (i == j || !d.times.has_event(i)) continue;
        const bool outlives = d.times.time(j) > d.times.time(i) ||
                              (d.times.time(j) == d.times.time(i) && !d.times.has_event(j));
        if (!outlives) continue;
        pairs += 1;
        concordant += d.risk[i] > d.risk[j] ? 1 : 0;
        tied += d.risk[i] == d.risk[j] ? 1 : 0;
      }
    }
    const Concordance c = harrell_c_index(d.times, d.risk);
    EXPECT_EQ(c.concordant, concordant);
    EXPECT_EQ(c.tied_risk, tied);
    EXPECT_EQ(c.comparable(), pairs);
    // Influence sums to 0: C does not change when all patients count double.
    EXPECT_NEAR(std::accumulate(c.influence.begin(), c.influence.end(), 0.0), 0.0, 1e-13);
    // Mirror: the opposite risk has 1 - C.
    std::vector<double> opposite = d.risk;
    for (double& r : opposite) r = -r;
    EXPECT_NEAR(harrell_c_index(d.times, opposite).c_index.value, 1.0 - c.c_index.value, 1e-15);
  }
}

TEST(UnoCIndex, EqualsHarrellsWithoutCensoring) {
  Drawn d = draw(80, 3);
  const SurvivalTimes all(d.times.time_months(), std::vector<std::uint8_t>(80, 1));
  EXPECT_EQ(uno_c_index(all, d.risk).c_index.value, harrell_c_index(all, d.risk).c_index.value);
}

TEST(UnoCIndex, MatchesHandComputedWeights) {
  // Times 1e 2c 3e 4e: G = 1 to 2, then 1 - 1/3 = 2/3. Pairs of the event at 1 (three, weight 1):
  // risks 2 against 3, 1, 4: one concordant. Pair (3,4), weight 9/4: 1 against 4, discordant.
  const Concordance c =
      uno_c_index(SurvivalTimes({1, 2, 3, 4}, {1, 0, 1, 1}), std::vector<double>{2, 3, 1, 4});
  EXPECT_DOUBLE_EQ(c.c_index.value, 1.0 / (3.0 + 9.0 / 4.0));
  UnoOptions options;
  options.tau_months = 3.0;  // the event at 3 is not before 3
  EXPECT_DOUBLE_EQ(
      uno_c_index(
          SurvivalTimes({1, 2, 3, 4}, {1, 0, 1, 1}), std::vector<double>{2, 3, 1, 4}, options)
          .c_index.value,
      1.0 / 3.0);
}

TEST(UnoCIndex, TruncatesWithAWarningWhereCensoringIsUnknown) {
  const CensoringCurve train(SurvivalTimes({1, 2}, {1, 0}));
  UnoOptions options;
  options.censoring = &train;
  const Concordance c =
      uno_c_index(SurvivalTimes({1, 3, 4}, {1, 1, 0}), std::vector<double>{3, 2, 1}, options);
  EXPECT_EQ(c.c_index.value, 1.0);
  EXPECT_EQ(c.comparable(), 2.0);
  ASSERT_EQ(c.warnings.size(), 1U);
  EXPECT_EQ(c.warnings[0],
            "1 event(s) after the follow-up of the set in which censoring was estimated (2 months) "
            "were left out");
  options.tau_months = 0.5;
  EXPECT_EQ(uno_c_index(SurvivalTimes({1, 3}, {1, 0}), std::vector<double>{3, 2}, options)
                .c_index.not_estimable,
            "no event before tau");
  options.tau_months = 0.0;
  EXPECT_THROW(uno_c_index(SurvivalTimes({1, 3}, {1, 0}), std::vector<double>{3, 2}, options),
               Error);
}

TEST(CIndexDifference, IsZeroAndWithoutTestForEqualModels) {
  const Drawn d = draw(60, 5);
  const ConcordanceDifference same = c_index_difference(d.times, d.risk, d.risk);
  EXPECT_EQ(same.difference.value, 0.0);
  EXPECT_TRUE(std::isnan(same.p));
}

TEST(CIndexDifference, AgreesWithTheBootstrap) {
  const Drawn d = draw(200, 7);
  const ConcordanceDifference jackknife = c_index_difference(d.times, d.risk, d.other);
  BootstrapOptions options;
  options.repeats = 400;
  const PairedDifference boot = c_index_difference_bootstrap(d.times, d.risk, d.other, options);
  EXPECT_EQ(boot.difference.value, jackknife.difference.value);
  // Monte Carlo error of a limit from 400 samples is about 0.1 standard errors.
  EXPECT_NEAR(boot.difference.low, jackknife.difference.low, 0.5 * jackknife.std_error);
  EXPECT_NEAR(boot.difference.high, jackknife.difference.high, 0.5 * jackknife.std_error);
  EXPECT_LT(jackknife.p, 1e-4);
  EXPECT_LT(boot.p, 0.01);
  options.threads = 2;
  EXPECT_EQ(c_index_difference_bootstrap(d.times, d.risk, d.other, options).difference.low,
            boot.difference.low);
  EXPECT_EQ(c_index_difference_bootstrap({}, {}, {}).difference.not_estimable, "no patients");
}

TEST(CIndexBootstrap, CoversTheJackknifeInterval) {
  const Drawn d = draw(200, 9);
  BootstrapOptions options;
  options.repeats = 300;
  options.interval = IntervalKind::kBca;
  const Estimate boot = c_index_bootstrap(d.times, d.other, options);
  const Concordance c = harrell_c_index(d.times, d.other);
  EXPECT_EQ(boot.value, c.c_index.value);
  EXPECT_NEAR(boot.low, c.c_index.low, 0.7 * c.std_error);
  EXPECT_NEAR(boot.high, c.c_index.high, 0.7 * c.std_error);
}

TEST(CensoringCurve, LetsEventsLeaveBeforeCensorings) {
  // At 2: one event and one censoring among 4. The event leaves first: 1 - 1/3. At 5: last one.
  const CensoringCurve g(SurvivalTimes({2, 2, 3, 5}, {1, 0, 1, 0}));
  EXPECT_EQ(g.at(1.9), 1.0);
  EXPECT_EQ(g.before(2.0), 1.0);
  EXPECT_DOUBLE_EQ(g.at(2.0), 2.0 / 3.0);
  EXPECT_DOUBLE_EQ(g.before(5.0), 2.0 / 3.0);
  EXPECT_EQ(g.at(5.0), 0.0);
  EXPECT_TRUE(g.supports(5.0));
  EXPECT_FALSE(g.supports(5.1));
}

class ConcordanceAgainstR : public ::testing::TestWithParam<const char*> {};

TEST_P(ConcordanceAgainstR, CountsValueAndErrorAgree) {
  const auto folder = reference_folder("survival");
  MED3D_NEED_REFERENCE(folder);
  const std::string set = GetParam();
  const Table data(folder / ("data_" + set + ".csv"));
  const Table fitted(folder / ("cox_lp_" + set + ".csv"));
  const SurvivalTimes times = data.times();
  const Table expected(folder / "concordance.csv");
  int found = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (expected.text(i, "set") != set) continue;
    const std::string marker = expected.text(i, "marker");
    const std::string weighting = expected.text(i, "timewt");
    if (weighting == "S_over_G") continue;  // the same pairs on another scale
    const std::vector<double> risk =
        marker == "lp" ? fitted.numbers("lp_centred") : data.numbers(marker);
    const Concordance c =
        weighting == "n" ? harrell_c_index(times, risk) : uno_c_index(times, risk);
    const std::string where = set + " " + marker + " " + weighting;
    ++found;
    expect_close(c.c_index.value, expected.number(i, "c"), 1e-12, where);
    expect_close(c.std_error, expected.number(i, "se"), 1e-12, where);
    expect_close(c.concordant, expected.number(i, "concordant"), 1e-12, where);
    expect_close(c.discordant, expected.number(i, "discordant"), 1e-12, where);
    expect_close(c.tied_risk, expected.number(i, "tied_x"), 1e-12, where);
    expect_close(c.tied_time, expected.number(i, "tied_y"), 1e-12, where);
    expect_close(c.tied_both, expected.number(i, "tied_xy"), 1e-12, where);
  }
  EXPECT_EQ(found, 8);
  const Table hmisc(folder / "rcorr_cens.csv");
  for (std::size_t i = 0; i < hmisc.size(); ++i) {
    if (hmisc.text(i, "set") != set) continue;
    // Hmisc orients a marker towards longer survival, hence its negated name; it counts pairs
    // twice.
    const Concordance c = harrell_c_index(times, data.numbers("rand_marker"));
    expect_close(c.c_index.value, hmisc.number(i, "C"), 1e-12, set);
    expect_close(2.0 * c.std_error, hmisc.number(i, "SD"), 1e-12, set);
    EXPECT_EQ(2.0 * c.comparable(), hmisc.number(i, "relevant"));
  }
}

INSTANTIATE_TEST_SUITE_P(Sets,
                         ConcordanceAgainstR,
                         ::testing::Values("lung", "colon_recurrence", "rotterdam"));

}  // namespace
}  // namespace med3d::stats::survival
