#include "med3d/stats/survival/kaplan_meier.h"

#include <gtest/gtest.h>

#include <cmath>

#include "med3d/core/error.h"
#include "med3d/stats/survival/test_survival.inl"

namespace med3d::stats::survival {
namespace {

std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

// Six patients: events at 2 (two of them), 5 and 9, censored at 2 and 7.
//   t  at risk  d   S            Greenwood sum          H
//   2     6     2   4/6 = 2/3    2/(6*4) = 1/12         1/3
//   5     3     1   2/3*2/3=4/9  1/12 + 1/(3*2) = 1/4   1/3 + 1/3 = 2/3
//   7     2     0   4/9          1/4                    2/3
//   9     1     1   0            -                      5/3
SurvivalTimes six() { return {{2, 5, 2, 9, 2, 7}, {1, 1, 0, 1, 1, 0}}; }

TEST(SurvivalTimes, NamesTheFirstBadRow) {
  EXPECT_EQ(message_of([] {
              SurvivalTimes({1, 2}, {1});
            }),
            "2 times but 1 event marks, expected one of each per patient");
  EXPECT_EQ(message_of([] {
              SurvivalTimes({1, -2}, {1, 1});
            }),
            "row 1: time -2 months, expected a finite number of at least 0");
  EXPECT_EQ(message_of([] {
              SurvivalTimes({1, std::nan("")}, {1, 1});
            }),
            "row 1: time nan months, expected a finite number of at least 0");
  EXPECT_EQ(message_of([] {
              SurvivalTimes({1, 2}, {1, 3});
            }),
            "row 1: event 3, expected 1 (observed) or 0 (censored)");
}

TEST(SurvivalTimes, OrdersEventsBeforeCensoringsAtOneTime) {
  EXPECT_EQ(six().order(), (std::vector<std::size_t>{0, 4, 2, 1, 5, 3}));
  EXPECT_EQ(six().n_events(), 4);
  EXPECT_EQ(six().reversed().n_events(), 2);
  const std::vector<std::size_t> twice = {3, 3};
  EXPECT_EQ(six().take(twice).n_events(), 2);
  EXPECT_EQ(six().take(twice).longest(), 9.0);
}

TEST(KaplanMeier, MatchesHandComputedValues) {
  const KaplanMeier km = kaplan_meier(six());
  ASSERT_EQ(km.row.size(), 4U);
  EXPECT_EQ(km.row[0].n_risk, 6);
  EXPECT_EQ(km.row[0].n_event, 2);
  EXPECT_EQ(km.row[0].n_censor, 1);
  EXPECT_DOUBLE_EQ(km.row[0].survival, 2.0 / 3.0);
  EXPECT_DOUBLE_EQ(km.row[1].survival, 4.0 / 9.0);
  EXPECT_DOUBLE_EQ(km.row[1].std_error, 4.0 / 9.0 * std::sqrt(0.25));
  EXPECT_DOUBLE_EQ(km.row[1].low, 4.0 / 9.0 * std::exp(-1.959963984540054 * 0.5));
  EXPECT_DOUBLE_EQ(km.row[1].high, 1.0);  // 4/9 exp(0.98) = 1.18, cut
  EXPECT_EQ(km.row[3].survival, 0.0);
  EXPECT_TRUE(std::isnan(km.row[3].std_error));
  EXPECT_DOUBLE_EQ(km.row[3].cumulative_hazard, 5.0 / 3.0);
  EXPECT_DOUBLE_EQ(km.row[1].hazard_std_error, std::sqrt(2.0 / 36.0 + 1.0 / 9.0));
}

TEST(KaplanMeier, ReadsTheCurveBetweenItsTimes) {
  const KaplanMeier km = kaplan_meier(six());
  EXPECT_EQ(km.at(1.9).value, 1.0);
  EXPECT_FALSE(km.at(1.9).has_interval());
  EXPECT_DOUBLE_EQ(km.at(2.0).value, 2.0 / 3.0);
  EXPECT_DOUBLE_EQ(km.at(8.9).value, 4.0 / 9.0);
  EXPECT_EQ(km.at(100.0).value, 0.0);  // nobody is left: 0 for good
  EXPECT_EQ(km.n_at_risk(0.0), 6);
  EXPECT_EQ(km.n_at_risk(2.0), 6);
  EXPECT_EQ(km.n_at_risk(2.1), 3);
  EXPECT_EQ(km.n_at_risk(9.1), 0);
}

TEST(KaplanMeier, TakesTheMiddleOfAFlatStretchAsQuantile) {
  // Events at 1, 2, 3, 4 of four patients: S is exactly 1/2 from 2 to 3.
  const KaplanMeier km = kaplan_meier({{1, 2, 3, 4}, {1, 1, 1, 1}});
  EXPECT_DOUBLE_EQ(km.median().value, 2.5);
  EXPECT_DOUBLE_EQ(km.quantile(0.4).value, 2.0);
  // S ends at exactly 1/2, watched to 8: half of the way from 2 to 8.
  EXPECT_DOUBLE_EQ(kaplan_meier({{1, 2, 8, 8}, {1, 1, 0, 0}}).median().value, 5.0);
}

TEST(KaplanMeier, SaysWhyAQuantityIsNotThere) {
  const KaplanMeier censored = kaplan_meier({{3, 5}, {0, 0}});
  EXPECT_EQ(censored.median().not_estimable, "survival falls to 1 only, 0.5 was asked for");
  EXPECT_EQ(censored.at(6).not_estimable, "6 months is beyond the last follow-up of 5 months");
  EXPECT_EQ(censored.at(4).value, 1.0);
  const KaplanMeier nobody = kaplan_meier({});
  EXPECT_EQ(nobody.median().not_estimable, "no patients");
  EXPECT_EQ(nobody.at(1).not_estimable, "no patients");
  EXPECT_EQ(nobody.restricted_mean(1).mean.not_estimable, "no patients");
  EXPECT_THROW(censored.quantile(1.0), Error);
  EXPECT_THROW(censored.restricted_mean(0.0), Error);
  CurveOptions options;
  options.confidence = 1.0;
  EXPECT_THROW(kaplan_meier(six(), options), Error);
}

TEST(RestrictedMean, MatchesHandComputedArea) {
  // To 6 months: 2 * 1 + 3 * 2/3 + 1 * 4/9 = 40/9. Areas after the events at 2 and 5: 22/9 and 4/9.
  const RestrictedMean mean = kaplan_meier(six()).restricted_mean(6.0);
  EXPECT_DOUBLE_EQ(mean.mean.value, 40.0 / 9.0);
  EXPECT_DOUBLE_EQ(mean.std_error, std::sqrt(22.0 * 22.0 / 81.0 / 12.0 + 16.0 / 81.0 / 6.0));
  EXPECT_TRUE(mean.warning.empty());
}

TEST(RestrictedMean, CutsTauToTheEndOfFollowUpWithAWarning) {
  const RestrictedMean mean = kaplan_meier({{2, 4}, {1, 0}}).restricted_mean(10.0);
  EXPECT_EQ(mean.tau_months, 4.0);
  EXPECT_DOUBLE_EQ(mean.mean.value, 2.0 + 0.5 * 2.0);
  EXPECT_EQ(mean.warning, "restricted mean to 10 months cut to the last follow-up of 4 months");
}

TEST(LogRank, MatchesHandComputedValue) {
  // Group 0: events at 1, 3; group 1: events at 2, 4. Times 1..4, at risk (2,2) (1,2) (1,1) (0,1).
  // Expected in group 0: 1/2 + 1/3 + 1/2 + 0 = 4/3. Variance: 1/4 + 2/9 + 1/4 = 13/18.
  const SurvivalTimes times({1, 3, 2, 4}, {1, 1, 1, 1});
  const std::vector<std::int64_t> group = {0, 0, 1, 1};
  const LogRank test = log_rank(times, group);
  EXPECT_DOUBLE_EQ(test.group[0].expected, 4.0 / 3.0);
  EXPECT_NEAR(test.chi_squared, (4.0 / 9.0) / (13.0 / 18.0), 1e-14);
  EXPECT_EQ(test.df, 1);
}

TEST(LogRank, SaysWhyThereIsNoTest) {
  const SurvivalTimes times({1, 2}, {1, 1});
  const std::vector<std::int64_t> one = {4, 4};
  const std::vector<std::int64_t> two = {4, 5};
  const std::vector<std::int64_t> short_by_one = {4};
  EXPECT_EQ(log_rank(times, one).not_estimable, "1 group(s), at least 2 are needed");
  EXPECT_TRUE(std::isnan(log_rank(times, one).p));
  EXPECT_EQ(log_rank({{1, 2}, {0, 0}}, two).not_estimable, "no events");
  EXPECT_EQ(message_of([&] { log_rank(times, short_by_one); }),
            "1 group numbers for 2 patients, expected one each");
}

class AgainstR : public ::testing::TestWithParam<const char*> {};

TEST_P(AgainstR, KaplanMeierAgrees) {
  const auto folder = reference_folder("survival");
  MED3D_NEED_REFERENCE(folder);
  const std::string set = GetParam();
  const SurvivalTimes times = Table(folder / ("data_" + set + ".csv")).times();
  const Table quantiles(folder / "km_quantiles.csv");
  const std::pair<const char*, IntervalScale> scales[] = {{"plain", IntervalScale::kPlain},
                                                          {"log", IntervalScale::kLog},
                                                          {"log-log", IntervalScale::kLogLog}};
  for (const auto& [name, scale] : scales) {
    CurveOptions options;
    options.scale = scale;
    const KaplanMeier km = kaplan_meier(times, options);
    const Table expected(folder / ("km_" + set + "_" + name + ".csv"));
    ASSERT_EQ(km.row.size(), expected.size());
    for (std::size_t i = 0; i < km.row.size(); ++i) {
      const std::string where = set + " " + name + " row " + std::to_string(i);
      EXPECT_EQ(km.row[i].time_months, expected.number(i, "time")) << where;
      EXPECT_EQ(km.row[i].n_risk, expected.number(i, "n_risk")) << where;
      EXPECT_EQ(km.row[i].n_event, expected.number(i, "n_event")) << where;
      EXPECT_EQ(km.row[i].n_censor, expected.number(i, "n_censor")) << where;
      expect_close(km.row[i].survival, expected.number(i, "surv"), 1e-12, where);
      expect_close(km.row[i].std_error, expected.number(i, "std_err"), 1e-12, where);
      expect_close(km.row[i].low, expected.number(i, "lower"), 1e-10, where);
      expect_close(km.row[i].high, expected.number(i, "upper"), 1e-10, where);
    }
    int found = 0;
    for (std::size_t i = 0; i < quantiles.size(); ++i) {
      if (quantiles.text(i, "set") != set || quantiles.text(i, "conf") != name) continue;
      ++found;
      const Estimate q = km.quantile(quantiles.number(i, "prob"));
      const std::string where = set + " " + name + " quantile " + quantiles.text(i, "prob");
      expect_close(q.value, quantiles.number(i, "quantile"), 1e-12, where);
      expect_close(q.low, quantiles.number(i, "lower"), 1e-12, where);
      expect_close(q.high, quantiles.number(i, "upper"), 1e-12, where);
    }
    EXPECT_EQ(found, 3);
  }
  const Table hazard(folder / ("nelson_aalen_" + set + ".csv"));
  const KaplanMeier km = kaplan_meier(times);
  for (std::size_t i = 0; i < hazard.size(); ++i) {
    expect_close(km.row[i].cumulative_hazard, hazard.number(i, "cumhaz"), 1e-12, set);
    expect_close(km.row[i].hazard_std_error, hazard.number(i, "std_chaz"), 1e-12, set);
  }
  const Table rmst(folder / "rmst.csv");
  for (std::size_t i = 0; i < rmst.size(); ++i) {
    if (rmst.text(i, "set") != set) continue;
    const RestrictedMean mean = km.restricted_mean(rmst.number(i, "tau"));
    expect_close(mean.mean.value, rmst.number(i, "rmst"), 1e-12, set);
    expect_close(mean.std_error, rmst.number(i, "se"), 1e-12, set);
  }
}

TEST_P(AgainstR, StrataAndLogRankAgree) {
  const auto folder = reference_folder("survival");
  MED3D_NEED_REFERENCE(folder);
  const std::string set = GetParam();
  const Table data(folder / ("data_" + set + ".csv"));
  const SurvivalTimes times = data.times();
  const Table expected(folder / "logrank.csv");
  std::string column;
  std::vector<std::int64_t> group;
  int found = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (expected.text(i, "set") != set) continue;
    if (column.empty()) {
      column = expected.text(i, "group");
      for (const double g : data.numbers(column)) group.push_back(std::lround(g));
    }
    const LogRank test = log_rank(times, group, expected.number(i, "rho"));
    const std::string level = expected.text(i, "level");
    for (const auto& g : test.group) {
      if (column + "=" + std::to_string(g.group) != level) continue;
      ++found;
      EXPECT_EQ(g.n, expected.number(i, "n"));
      expect_close(g.observed, expected.number(i, "observed"), 1e-12, level);
      expect_close(g.expected, expected.number(i, "expected"), 1e-12, level);
    }
    expect_close(test.chi_squared, expected.number(i, "chisq"), 1e-10, level);
    EXPECT_EQ(test.df, expected.number(i, "df"));
    EXPECT_NEAR(test.p / expected.number(i, "p"), 1.0, 1e-8);
  }
  EXPECT_GE(found, 4);

  std::size_t row = 0;
  const Table strata(folder / ("km_" + set + "_by_" + column + "_log.csv"));
  for (const Stratum& stratum : kaplan_meier_by(times, group)) {
    for (const KaplanMeierRow& r : stratum.curve.row) {
      ASSERT_LT(row, strata.size());
      EXPECT_EQ(column + "=" + std::to_string(stratum.group), strata.text(row, "stratum"));
      EXPECT_EQ(r.time_months, strata.number(row, "time"));
      expect_close(r.survival, strata.number(row, "surv"), 1e-12, set);
      expect_close(r.std_error, strata.number(row, "std_err"), 1e-12, set);
      expect_close(r.low, strata.number(row, "lower"), 1e-10, set);
      expect_close(r.high, strata.number(row, "upper"), 1e-10, set);
      ++row;
    }
  }
  EXPECT_EQ(row, strata.size());
}

INSTANTIATE_TEST_SUITE_P(Sets,
                         AgainstR,
                         ::testing::Values("lung", "colon_recurrence", "rotterdam"));

}  // namespace
}  // namespace med3d::stats::survival
