#include "med3d/stats/survival/decision_curve.h"

#include <gtest/gtest.h>

#include "med3d/core/error.h"

namespace med3d::stats::survival {
namespace {

TEST(DecisionCurve, MatchesHandComputedValue) {
  // Times 1e 2c 3e 4c 5e, horizon 3.5. Risk >= 0.4: patients 1e, 2c, 3e; among them S = 2/3 * 0 =
  // 0. Net benefit at 0.4: 3/5 (1 - 0). At 0.25 also 4c: S = 3/4 * 1/2 = 3/8: 4/5 (5/8 - 3/8 / 3).
  const SurvivalTimes times({1, 2, 3, 4, 5}, {1, 0, 1, 0, 1});
  const std::vector<double> risk = {0.6, 0.5, 0.4, 0.3, 0.2};
  const std::vector<double> threshold = {0.25, 0.4, 0.7};
  const auto curve = decision_curve(times, risk, 3.5, threshold);
  EXPECT_DOUBLE_EQ(curve[0].model.value, 0.8 * (5.0 / 8.0 - 1.0 / 8.0));
  EXPECT_DOUBLE_EQ(curve[1].model.value, 0.6);
  EXPECT_EQ(curve[2].model.value, 0.0);  // nobody is treated
  EXPECT_EQ(curve[2].n_positive, 0);
  // Everybody: S = 8/15.
  EXPECT_DOUBLE_EQ(curve[1].treat_all.value, 7.0 / 15.0 - 8.0 / 15.0 * (0.4 / 0.6));
}

TEST(DecisionCurve, EqualsTheBinaryOneWithoutCensoring) {
  const SurvivalTimes times({1, 2, 3, 4, 5, 6}, {1, 1, 1, 1, 1, 1});
  const std::vector<double> risk = {0.9, 0.2, 0.6, 0.6, 0.3, 0.1};
  const std::vector<double> threshold = {0.5};
  // Events by 3: patients 0, 1, 2. At or above 0.5: 0, 2 (true), 3 (false): 2/6 - 1/6.
  EXPECT_NEAR(decision_curve(times, risk, 3.0, threshold)[0].model.value, 1.0 / 6.0, 1e-15);
}

TEST(DecisionCurve, DegradesWithAReason) {
  const SurvivalTimes times({1, 2, 9}, {1, 0, 0});
  const std::vector<double> risk = {0.8, 0.7, 0.1};
  const std::vector<double> threshold = {0.5};
  const auto curve = decision_curve(times, risk, 5.0, threshold);
  EXPECT_EQ(
      curve[0].model.not_estimable,
      "patients at or above the threshold: 5 months is beyond the last follow-up of 2 months");
  EXPECT_TRUE(curve[0].treat_all.ok());
  EXPECT_EQ(decision_curve({}, {}, 5.0, threshold)[0].model.not_estimable, "no patients");
  const std::vector<double> one = {1.0};
  EXPECT_THROW(decision_curve(times, risk, 5.0, one), Error);
  EXPECT_THROW(decision_curve(times, risk, 0.0, threshold), Error);
  EXPECT_THROW(decision_curve(times, std::vector<double>{2, 0, 0}, 5.0, threshold), Error);
}

}  // namespace
}  // namespace med3d::stats::survival
