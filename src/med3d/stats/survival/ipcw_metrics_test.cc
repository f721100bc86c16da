#include "med3d/stats/survival/ipcw_metrics.h"

#include <gtest/gtest.h>

#include <cmath>

#include "med3d/core/error.h"
#include "med3d/core/random.h"
#include "med3d/stats/calibration.h"
#include "med3d/stats/curves.h"
#include "med3d/stats/survival/horizon_labels.h"
#include "med3d/stats/survival/kaplan_meier.h"
#include "med3d/stats/survival/test_survival.inl"

namespace med3d::stats::survival {
namespace {

// Times 1e 2c 3e 4c 5e: censorings at 2 (4 at risk) and 4 (2 at risk): G = 3/4 from 2, 3/8 from 4.
SurvivalTimes five() { return {{1, 2, 3, 4, 5}, {1, 0, 1, 0, 1}}; }

TEST(HorizonLabels, WeighsByTheInverseOfStayingWatched) {
  const HorizonLabels at = horizon_labels(five(), 3.5);
  EXPECT_EQ(at.label, (std::vector<std::uint8_t>{1, 0, 1, 0, 0}));
  const std::vector<double> weight = {1.0, 0.0, 4.0 / 3.0, 4.0 / 3.0, 4.0 / 3.0};
  for (std::size_t i = 0; i < 5; ++i) EXPECT_DOUBLE_EQ(at.weight[i], weight[i]);
  EXPECT_EQ(at.n_event, 2);
  EXPECT_EQ(at.n_free, 2);
  EXPECT_EQ(at.n_unknown, 1);
  HorizonOptions options;
  options.unknown = UnknownOutcome::kExclude;
  EXPECT_EQ(horizon_labels(five(), 3.5, options).weight, (std::vector<double>{1, 0, 1, 1, 1}));
}

TEST(HorizonLabels, CountsWhoIsCensoredAtTheHorizonAsFree) {
  const HorizonLabels at = horizon_labels(five(), 4.0);
  EXPECT_DOUBLE_EQ(at.weight[3], 4.0 / 3.0);  // G(4-), not G(4)
  EXPECT_EQ(at.n_free, 2);
  // A cohort closed at 4: everybody who reached it counts.
  const HorizonLabels closed = horizon_labels(SurvivalTimes({1, 4, 4}, {1, 0, 0}), 4.0);
  EXPECT_EQ(closed.weight, (std::vector<double>{1, 1, 1}));
}

TEST(HorizonLabels, GiveTheKaplanMeierRate) {
  NumpyRandom random(2);
  std::vector<double> time;
  std::vector<std::uint8_t> event;
  for (int i = 0; i < 150; ++i) {
    time.push_back(static_cast<double>(1 + random.randint(40)));
    event.push_back(random.randint(2) == 0 ? 0 : 1);
  }
  const SurvivalTimes times(time, event);
  for (const double horizon : {3.0, 10.5, 20.0, 33.0}) {
    const HorizonLabels at = horizon_labels(times, horizon);
    double events = 0.0;
    double all = 0.0;
    for (std::size_t i = 0; i < 150; ++i) {
      events += at.label[i] != 0 ? at.weight[i] : 0.0;
      all += at.weight[i];
    }
    EXPECT_NEAR(events / 150.0, 1.0 - kaplan_meier(times).at(horizon).value, 1e-12);
    EXPECT_NEAR(all, 150.0, 1e-10);
  }
}

TEST(HorizonLabels, WarnsBeyondTheFollowUp) {
  const HorizonLabels late = horizon_labels(five(), 6.0);
  EXPECT_EQ(late.n_free, 0);
  EXPECT_EQ(late.warning,
            "horizon of 6 months is beyond the last follow-up of 5 months: nobody is known to be "
            "free of the event");
  EXPECT_THROW(horizon_labels(five(), 0.0), Error);
  const CensoringCurve train(SurvivalTimes({1, 2}, {1, 1}));
  HorizonOptions options;
  options.censoring = &train;
  EXPECT_EQ(horizon_labels(five(), 3.5, options).n_unknown, 4);
  EXPECT_FALSE(horizon_labels(five(), 3.5, options).warning.empty());
}

TEST(TimeDependentAuc, MatchesHandComputedValue) {
  // At 3.5: events 0 (weight 1) and 2 (4/3), free 3 and 4 (4/3 each). Risks 5, 0, 2, 3, 1:
  // event 0 above both, event 2 above one of two: (1 * 1 + 4/3 * 1/2) / (7/3) = 5/7.
  const std::vector<double> risk = {5, 0, 2, 3, 1};
  const std::vector<double> horizon = {3.5};
  const TimeDependentAuc auc = time_dependent_auc(five(), risk, horizon);
  EXPECT_NEAR(auc.at[0].value.value, 5.0 / 7.0, 1e-15);
  EXPECT_NEAR(auc.mean.value, 5.0 / 7.0, 1e-15);
  EXPECT_TRUE(auc.warnings.empty());
}

TEST(BrierScores, MatchesHandComputedValue) {
  // At 3.5, risks 0.8 0.5 0.6 0.3 0.1: (0.04 + 4/3 (0.16 + 0.09 + 0.01)) / 5 = 0.386667 / 5.
  Matrix<double> risk(5, 1);
  const double value[] = {0.8, 0.5, 0.6, 0.3, 0.1};
  std::copy(value, value + 5, risk.data());
  const std::vector<double> horizon = {3.5};
  const BrierScores brier = brier_scores(five(), risk, horizon);
  EXPECT_NEAR(brier.at[0].value.value, (0.04 + 4.0 / 3.0 * 0.26) / 5.0, 1e-15);
  // Null model: S(3.5) = 4/5 * 2/3 = 8/15 for all; sum of weights of events 7/3, of free 8/3.
  const double null_model = (7.0 / 3.0 * 64.0 / 225.0 + 8.0 / 3.0 * 49.0 / 225.0) / 5.0;
  EXPECT_NEAR(brier.null_model[0].value.value, null_model, 1e-15);
  EXPECT_NEAR(brier.scaled[0].value, 1.0 - brier.at[0].value.value / null_model, 1e-15);
  EXPECT_EQ(brier.integrated.value, brier.at[0].value.value);
}

TEST(IpcwMetrics, EqualTheBinaryOnesWithoutCensoring) {
  const SurvivalTimes times({1, 2, 3, 4, 5, 6}, {1, 1, 1, 1, 1, 1});
  const std::vector<double> p = {0.9, 0.2, 0.6, 0.6, 0.3, 0.1};
  const std::vector<double> horizon = {3.0};
  const std::vector<std::uint8_t> label = {1, 1, 1, 0, 0, 0};
  Matrix<double> risk(6, 1);
  std::copy(p.begin(), p.end(), risk.data());
  EXPECT_NEAR(
      time_dependent_auc(times, p, horizon).at[0].value.value, auroc(label, p).value, 1e-15);
  EXPECT_NEAR(brier_scores(times, risk, horizon).at[0].value.value, brier(label, p).value, 1e-15);
}

TEST(IpcwMetrics, TruncateHorizonsBeyondTheFollowUpWithAWarning) {
  const std::vector<double> risk = {5, 0, 2, 3, 1};
  const std::vector<double> horizons = {0.5, 3.5, 5.0, 7.0};
  const TimeDependentAuc auc = time_dependent_auc(five(), risk, horizons);
  EXPECT_EQ(auc.at[0].value.not_estimable, "nobody had the event by the horizon");
  EXPECT_TRUE(auc.at[1].value.ok());
  EXPECT_EQ(auc.at[2].value.not_estimable, "nobody is known to be free at the horizon");
  EXPECT_EQ(auc.at[3].value.not_estimable, "7 months is beyond the last follow-up of 5 months");
  ASSERT_EQ(auc.warnings.size(), 1U);
  EXPECT_EQ(auc.warnings[0], "7 months is beyond the last follow-up of 5 months: left out");
  const BrierScores brier = brier_scores(five(), Matrix<double>(5, 4, 0.5), horizons);
  EXPECT_FALSE(brier.at[3].value.ok());
  EXPECT_TRUE(std::isnan(brier.at[3].value.value));
  // Risk 1/2 for all: 1/4 times the sum of weights, which is n. The integral stops at 5.
  EXPECT_NEAR(brier.at[1].value.value, 0.25, 1e-15);
  EXPECT_NEAR(brier.integrated.value, 0.25, 1e-15);
  EXPECT_FALSE(brier_scores({}, Matrix<double>(), horizons).integrated.ok());
  EXPECT_EQ(time_dependent_auc({}, {}, horizons).mean.not_estimable,
            "not estimable at any horizon");
}

TEST(IpcwMetrics, IntegrateByTrapezoids) {
  // No censoring, risks 0 for all: Brier(t) is the share of events: 1/4, 2/4, 3/4 at 1, 2, 4.
  const SurvivalTimes times({1, 2, 4, 6}, {1, 1, 1, 1});
  const std::vector<double> horizons = {1, 2, 4};
  const BrierScores brier = brier_scores(times, Matrix<double>(4, 3, 0.0), horizons);
  EXPECT_NEAR(brier.integrated.value, (0.375 * 1.0 + 0.625 * 2.0) / 3.0, 1e-15);
}

TEST(IpcwMetrics, RejectImpossibleInput) {
  const std::vector<double> falling = {2, 1};
  const std::vector<double> one = {2};
  EXPECT_THROW(time_dependent_auc(five(), std::vector<double>(5, 0.0), falling), Error);
  EXPECT_THROW(time_dependent_auc(five(), std::vector<double>(4, 0.0), one), Error);
  try {
    brier_scores(five(), Matrix<double>(5, 1, 1.5), one);
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "row 0, horizon 0: risk 1.5, expected a number in [0, 1]");
  }
  EXPECT_THROW(brier_scores(five(), Matrix<double>(5, 2, 0.5), one), Error);
}

TEST(HorizonGrid, LiesBetweenTheTenthAndTheNinetiethPerCentOfEvents) {
  std::vector<double> time;
  for (int i = 1; i <= 11; ++i) time.push_back(i);
  const SurvivalTimes times(time, std::vector<std::uint8_t>(11, 1));
  EXPECT_EQ(horizon_grid(times, 3), (std::vector<double>{2, 6, 10}));
  EXPECT_TRUE(horizon_grid({}, 3).empty());
}

class ScoresAgainstR : public ::testing::TestWithParam<const char*> {};

TEST_P(ScoresAgainstR, ValuesErrorsAndLimitsAgree) {
  const auto folder = reference_folder("survival");
  MED3D_NEED_REFERENCE(folder);
  const std::string set = GetParam();
  const Table data(folder / ("data_" + set + ".csv"));
  const Table predicted(folder / ("score_pred_" + set + ".csv"));
  const Table scores(folder / ("score_" + set + ".csv"));
  std::vector<std::size_t> rows;
  for (std::size_t i = 0; i < predicted.size(); ++i) {
    rows.push_back(static_cast<std::size_t>(predicted.number(i, "id")) - 1);
    ASSERT_EQ(data.text(rows.back(), "id"), predicted.text(i, "id"));
  }
  const SurvivalTimes times = data.times().take(rows);
  std::vector<double> horizons;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (scores.text(i, "metric") == "AUC") horizons.push_back(scores.number(i, "time"));
  }
  ASSERT_EQ(horizons.size(), 3U);
  const TimeDependentAuc auc = time_dependent_auc(times, predicted.numbers("lp"), horizons);
  const BrierScores brier =
      brier_scores(times, predicted.columns({"risk_t1", "risk_t2", "risk_t3"}), horizons);
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const std::string where = set + " " + scores.text(i, "metric") + " " + scores.text(i, "model") +
                              " " + scores.text(i, "time");
    const std::size_t k = i % 3;
    const HorizonValue& found = scores.text(i, "metric") == "AUC"         ? auc.at[k]
                                : scores.text(i, "model") == "Null model" ? brier.null_model[k]
                                                                          : brier.at[k];
    ASSERT_EQ(found.horizon_months, scores.number(i, "time")) << where;
    expect_close(found.value.value, scores.number(i, "value"), 1e-12, where);
    expect_close(found.std_error, scores.number(i, "se"), 1e-12, where);
    expect_close(found.value.low, scores.number(i, "lower"), 1e-12, where);
    expect_close(found.value.high, scores.number(i, "upper"), 1e-12, where);
  }
}

INSTANTIATE_TEST_SUITE_P(Sets,
                         ScoresAgainstR,
                         ::testing::Values("lung", "colon_recurrence", "rotterdam"));

}  // namespace
}  // namespace med3d::stats::survival
