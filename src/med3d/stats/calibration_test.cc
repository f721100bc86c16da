#include "med3d/stats/calibration.h"

#include <cmath>

#include "med3d/core/error.h"
#include "med3d/core/random.h"
#include "med3d/stats/test_data.inl"

namespace med3d::stats {
namespace {

double logit(double p) { return std::log(p / (1.0 - p)); }

TEST(Brier, MatchesHandComputedValue) {
  // (0.2^2 + 0.4^2 + 0.9^2) / 3 = (0.04 + 0.16 + 0.81) / 3
  EXPECT_NEAR(brier(std::vector<std::uint8_t>{0, 1, 1}, std::vector<double>{0.2, 0.6, 0.1}).value,
              1.01 / 3.0,
              1e-15);
  EXPECT_EQ(brier({}, {}).not_estimable, "no patients");
}

TEST(LogLoss, ChargesAConfidentErrorByTheClip) {
  EXPECT_NEAR(log_loss(std::vector<std::uint8_t>{1}, std::vector<double>{0.0}).value,
              52.0 * std::log(2.0),
              1e-12);
  EXPECT_NEAR(log_loss(std::vector<std::uint8_t>{1}, std::vector<double>{0.0}, 1e-15).value,
              15.0 * std::log(10.0),
              1e-9);
  EXPECT_THROW(log_loss(std::vector<std::uint8_t>{1}, std::vector<double>{0.5}, 0.0), Error);
}

// Two predicted values, 0.2 for ten patients of whom 3 are positive, 0.7 for ten of whom 6 are. The
// slope model has two parameters and two groups, so it fits both shares exactly:
//   b = (logit .6 - logit .3) / (logit .7 - logit .2),  c = logit .3 - b logit .2
TEST(CalibrationFit, MatchesTheClosedFormOfTwoGroups) {
  std::vector<std::uint8_t> label;
  std::vector<double> probability;
  for (int i = 0; i < 10; ++i) {
    label.push_back(i < 3);
    probability.push_back(0.2);
    label.push_back(i < 6);
    probability.push_back(0.7);
  }
  const CalibrationFit fit = calibration_fit(label, probability);
  const double b = (logit(0.6) - logit(0.3)) / (logit(0.7) - logit(0.2));
  EXPECT_NEAR(fit.slope.value, b, 1e-10);
  EXPECT_NEAR(fit.slope_model_intercept, logit(0.3) - b * logit(0.2), 1e-10);
  // Wald: var b = (1/(10*.3*.7) + 1/(10*.6*.4)) / (logit .7 - logit .2)^2.
  const double gap = logit(0.7) - logit(0.2);
  const double se = std::sqrt(1.0 / 2.1 + 1.0 / 2.4) / gap;
  EXPECT_NEAR(fit.slope.high - fit.slope.low, 2.0 * 1.959963984540054 * se, 1e-9);
  // Calibration in the large solves 10 s(a + logit .2) + 10 s(a + logit .7) = 9 positives.
  const double a = fit.intercept.value;
  const auto s = [](double x) { return 1.0 / (1.0 + std::exp(-x)); };
  EXPECT_NEAR(10.0 * s(a + logit(0.2)) + 10.0 * s(a + logit(0.7)), 9.0, 1e-9);
  EXPECT_EQ(fit.clipped, 0);
}

TEST(CalibrationFit, RecoversADistortionItWasGiven) {
  // Truth logit = 0.5 + 0.8 x; predicted logit = x. Expected shares as labels by long repetition.
  NumpyRandom random(3);
  std::vector<std::uint8_t> label;
  std::vector<double> probability;
  for (int i = 0; i < 40000; ++i) {
    const double x = 4.0 * random.uniform() - 2.0;
    const double truth = 1.0 / (1.0 + std::exp(-(0.5 + 0.8 * x)));
    label.push_back(random.uniform() < truth ? 1 : 0);
    probability.push_back(1.0 / (1.0 + std::exp(-x)));
  }
  const CalibrationFit fit = calibration_fit(label, probability);
  EXPECT_NEAR(fit.slope.value, 0.8, 0.04);
  EXPECT_NEAR(fit.slope_model_intercept, 0.5, 0.04);
  EXPECT_LT(fit.slope.low, 0.8);
  EXPECT_GT(fit.slope.high, 0.8);
}

TEST(CalibrationFit, SaysWhyItCannotBeFitted) {
  const std::vector<std::uint8_t> label = {0, 0, 1, 1};
  EXPECT_EQ(calibration_fit(std::vector<std::uint8_t>(4, 1), std::vector<double>(4, 0.5))
                .intercept.not_estimable,
            "no negatives in the set");
  const CalibrationFit constant = calibration_fit(label, std::vector<double>(4, 0.2));
  EXPECT_EQ(constant.slope.not_estimable, "all probabilities are equal");
  // All equal at 0.2 with half positive: a = logit .5 - logit .2.
  EXPECT_NEAR(constant.intercept.value, -logit(0.2), 1e-10);
  for (const auto& separating : {std::vector<double>{0.1, 0.2, 0.3, 0.4},
                                 std::vector<double>{0.1, 0.3, 0.3, 0.4},
                                 std::vector<double>{0.9, 0.8, 0.2, 0.1}}) {
    EXPECT_EQ(calibration_fit(label, separating).slope.not_estimable,
              "a threshold separates the classes, the slope is infinite");
  }
  EXPECT_EQ(calibration_fit({}, {}).slope.not_estimable, "no patients");
}

TEST(CalibrationFit, CountsProbabilitiesWithoutALogit) {
  const std::vector<std::uint8_t> label = {0, 1, 0, 1, 1, 0, 1, 0};
  const std::vector<double> probability = {0.0, 1.0, 1.0, 0.0, 0.7, 0.3, 1.0, 0.0};
  const CalibrationFit fit = calibration_fit(label, probability);
  EXPECT_EQ(fit.clipped, 6);
  ASSERT_TRUE(fit.slope.ok());
  EXPECT_GT(fit.slope.value, 0.0);
  EXPECT_LT(fit.slope.value, 0.2);
}

TEST(CalibrationTable, PutsAnInnerEdgeIntoTheBinBelowAndLeavesOutEmptyBins) {
  const std::vector<std::uint8_t> label = {0, 1, 1, 0};
  const std::vector<double> probability = {0.0, 0.5, 1.0, 0.6};
  const auto table = calibration_table(label, probability, 2);
  ASSERT_EQ(table.size(), 2U);
  EXPECT_EQ(table[0].n, 2);
  EXPECT_DOUBLE_EQ(table[0].mean_probability, 0.25);
  EXPECT_DOUBLE_EQ(table[0].observed.value, 0.5);
  EXPECT_TRUE(table[0].observed.has_interval());
  EXPECT_DOUBLE_EQ(table[1].mean_probability, 0.8);
  EXPECT_EQ(calibration_table(label, probability, 100).size(), 4U);
  EXPECT_TRUE(calibration_table({}, {}).empty());
  EXPECT_THROW(calibration_table(label, probability, 0), Error);
}

// Quartile edges of 1..8 (tenths of 0.1) are 0.1, 0.275, 0.45, 0.625, 0.8: two patients each.
TEST(CalibrationTable, MakesQuantileBinsOfEqualSize) {
  std::vector<std::uint8_t> label;
  std::vector<double> probability;
  for (int i = 1; i <= 8; ++i) {
    label.push_back(i > 4);
    probability.push_back(i / 10.0);
  }
  const auto table = calibration_table(label, probability, 4, BinStrategy::kQuantile);
  ASSERT_EQ(table.size(), 4U);
  for (const auto& bin : table) EXPECT_EQ(bin.n, 2);
  EXPECT_NEAR(table[0].upper, 0.275, 1e-12);
  EXPECT_NEAR(table[3].mean_probability, 0.75, 1e-12);
  EXPECT_DOUBLE_EQ(table[3].observed.value, 1.0);
}

TEST(CalibrationTable, MatchesScikitLearnOnEveryReferenceCase) {
  const auto folder = reference_folder("metrics");
  MED3D_NEED_REFERENCE(folder);
  int cases = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder / "calibration")) {
    const std::string file = entry.path().filename().string();
    const Labelled data = read_labelled(folder / "data" / file);
    const auto table = calibration_table(data.label, data.score, 5);
    const auto rows = read_csv(entry.path());
    ASSERT_EQ(table.size(), rows.size()) << file;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      EXPECT_NEAR(table[i].observed.value, std::stod(rows[i][0]), 1e-12) << file << " bin " << i;
      EXPECT_NEAR(table[i].mean_probability, std::stod(rows[i][1]), 1e-12) << file << " bin " << i;
    }
    ++cases;
  }
  EXPECT_EQ(cases, 15);
}

}  // namespace
}  // namespace med3d::stats
