#include "med3d/stats/survival/horizon_calibration.h"

#include <gtest/gtest.h>

#include <cmath>

#include "med3d/core/error.h"
#include "med3d/core/random.h"
#include "med3d/stats/survival/cox.h"
#include "med3d/stats/survival/kaplan_meier.h"

namespace med3d::stats::survival {
namespace {

struct Drawn {
  SurvivalTimes times;
  std::vector<double> x;     // log of rate times horizon (2 months): log(-log(1 - risk))
  std::vector<double> risk;  // true
};

std::vector<double> risk_of(const std::vector<double>& x) {
  std::vector<double> out;
  for (const double v : x) out.push_back(-std::expm1(-std::exp(v)));
  return out;
}

Drawn draw(std::size_t n) {
  NumpyRandom random(17);
  Drawn out;
  std::vector<double> time;
  std::vector<std::uint8_t> event;
  for (std::size_t i = 0; i < n; ++i) {
    const double rate = 0.2 * std::exp(0.9 * random.normal());
    const double t = -std::log(1.0 - random.uniform()) / rate;
    const double c = 8.0 * random.uniform();
    time.push_back(std::min(t, c));
    event.push_back(t <= c ? 1 : 0);
    out.x.push_back(std::log(2.0 * rate));
  }
  out.times = SurvivalTimes(time, event);
  out.risk = risk_of(out.x);
  return out;
}

TEST(HorizonCalibration, FindsTrueRisksCalibrated) {
  const Drawn d = draw(3000);
  const HorizonCalibration c = horizon_calibration(d.times, d.risk, 2.0);
  // True values inside limits of 99.9 %: about 1.68 times the half width of 95 %.
  EXPECT_NEAR(c.slope.value, 1.0, 1.68 * (c.slope.high - c.slope.value));
  EXPECT_LT(c.slope.high - c.slope.low, 0.25);
  EXPECT_NEAR(std::log(c.observed_over_expected.value),
              0.0,
              1.68 * std::log(c.observed_over_expected.high / c.observed_over_expected.value));
  EXPECT_LT(c.ici.value, 0.03);
  EXPECT_LE(c.e50.value, c.e90.value);
  EXPECT_LE(c.e90.value, c.e_max.value);
  EXPECT_EQ(c.group.size(), 10U);
  EXPECT_EQ(c.group[0].n, 300);
  EXPECT_LT(c.group[0].observed.value, c.group[9].observed.value);
  EXPECT_TRUE(c.warnings.empty());
}

TEST(HorizonCalibration, DividesTheSlopeOfRisksTooExtremeByTheFactor) {
  const Drawn d = draw(300);
  std::vector<double> extreme = d.x;
  for (double& v : extreme) v = 1.25 * v;  // no risk so near 1 that it is clipped
  const double slope = horizon_calibration(d.times, d.risk, 2.0).slope.value;
  EXPECT_NEAR(horizon_calibration(d.times, risk_of(extreme), 2.0).slope.value, slope / 1.25, 1e-6);
}

TEST(HorizonCalibration, SeesRisksThatAreTooLow) {
  const Drawn d = draw(1000);
  std::vector<double> low = d.x;
  for (double& v : low) v -= 1.0;
  const HorizonCalibration fair = horizon_calibration(d.times, d.risk, 2.0);
  const HorizonCalibration c = horizon_calibration(d.times, risk_of(low), 2.0);
  EXPECT_NEAR(c.slope.value, fair.slope.value, 1e-6);  // the slope does not look at the level
  EXPECT_GT(c.observed_over_expected.low, 1.5);
  // The curve is the same function of the patient, so ICI is the mean distance from it.
  double distance = 0.0;
  for (std::size_t i = 0; i < 1000; ++i) {
    EXPECT_NEAR(c.curve[i], fair.curve[i], 1e-6);
    distance += std::abs(risk_of(low)[i] - fair.curve[i]) / 1000.0;
  }
  EXPECT_NEAR(c.ici.value, distance, 1e-6);
}

TEST(HorizonCalibration, MatchesHandComputedRatio) {
  // Times 1e 2c 3e 4c 5e: S(3.5) = 4/5 * 2/3 = 8/15. Mean risk 0.4: O/E = (7/15) / 0.4 = 7/6.
  const SurvivalTimes times({1, 2, 3, 4, 5}, {1, 0, 1, 0, 1});
  const std::vector<double> risk = {0.6, 0.5, 0.4, 0.3, 0.2};
  HorizonCalibrationOptions options;
  options.groups = 0;
  const HorizonCalibration c = horizon_calibration(times, risk, 3.5, options);
  EXPECT_NEAR(c.observed_over_expected.value, 7.0 / 6.0, 1e-14);
  // Greenwood: S sqrt(1/20 + 1/6).
  const double error = 8.0 / 15.0 * std::sqrt(1.0 / 20.0 + 1.0 / 6.0);
  EXPECT_NEAR(c.observed_over_expected.high,
              7.0 / 6.0 * std::exp(1.959963984540054 * error / (7.0 / 15.0)),
              1e-12);
  EXPECT_TRUE(c.group.empty());
}

TEST(HorizonCalibration, TakesAConstantRisk) {
  const SurvivalTimes times({1, 2, 3, 4}, {1, 1, 0, 0});
  const std::vector<double> risk(4, 0.2);
  const HorizonCalibration c = horizon_calibration(times, risk, 3.0);
  EXPECT_FALSE(c.slope.ok());
  // Without a covariate the curve is 1 - exp(-(1/4 + 1/3)).
  EXPECT_NEAR(c.ici.value, 1.0 - std::exp(-7.0 / 12.0) - 0.2, 1e-12);
  EXPECT_EQ(c.group.size(), 1U);
  EXPECT_FALSE(c.warnings.empty());
}

TEST(HorizonCalibration, DegradesWithAReason) {
  const std::vector<double> risk = {0.0, 0.4, 1.0};
  const SurvivalTimes times({1, 2, 3}, {1, 1, 0});
  const HorizonCalibration late = horizon_calibration(times, risk, 9.0);
  EXPECT_EQ(late.ici.not_estimable, "9 months is beyond the last follow-up of 3 months");
  EXPECT_FALSE(late.observed_over_expected.ok());
  EXPECT_EQ(late.clipped, 2);
  const HorizonCalibration censored =
      horizon_calibration(SurvivalTimes({1, 2, 3}, {0, 0, 0}), risk, 2.0);
  EXPECT_EQ(censored.ici.not_estimable, "no events");
  EXPECT_EQ(censored.slope.not_estimable, "no events");
  EXPECT_EQ(censored.observed_over_expected.value, 0.0);
  EXPECT_EQ(horizon_calibration({}, {}, 2.0).slope.not_estimable, "no patients");
  EXPECT_THROW(horizon_calibration(times, std::vector<double>{0, 0.5, 1.1}, 2.0), Error);
  EXPECT_THROW(horizon_calibration(times, risk, -2.0), Error);
  HorizonCalibrationOptions options;
  options.knots = 2;
  EXPECT_THROW(horizon_calibration(times, risk, 2.0, options), Error);
}

}  // namespace
}  // namespace med3d::stats::survival
