#include "med3d/stats/recalibration.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <vector>

#include "med3d/core/error.h"

namespace med3d::stats {
namespace {

std::vector<std::size_t> each_alone(std::size_t n) {
  std::vector<std::size_t> patient(n);
  std::iota(patient.begin(), patient.end(), 0);
  return patient;
}

// Two groups with p = 0.2 (40 patients, 10 events) and p = 0.7 (30 patients, 20 events): two
// numbers fitted to two shares, so the rate is 10/40 = 0.25 and 20/30. On the logit scale the
// sandwich of a group is that of its share: 1 / (40 x 0.25 x 0.75) x 70 / 68.
TEST(RecalibratedRate, GivesTheShareOfEachOfTwoGroups) {
  std::vector<std::uint8_t> label;
  std::vector<double> probability;
  for (int i = 0; i < 40; ++i) {
    label.push_back(i < 10 ? 1 : 0);
    probability.push_back(0.2);
  }
  for (int i = 0; i < 30; ++i) {
    label.push_back(i < 20 ? 1 : 0);
    probability.push_back(0.7);
  }
  const auto fit = fit_recalibrated_rate(label, probability, each_alone(70));
  EXPECT_EQ(fit.n, 70U);
  EXPECT_EQ(fit.events, 30U);
  const auto low = fit.at(0.2);
  EXPECT_NEAR(low.value, 0.25, 1e-12);
  EXPECT_NEAR(fit.at(0.7).value, 2.0 / 3.0, 1e-12);
  const double half = 1.959963984540054 * std::sqrt(70.0 / 68.0 / 7.5);
  const double eta = std::log(1.0 / 3.0);
  EXPECT_NEAR(low.low, 1.0 / (1.0 + std::exp(-(eta - half))), 1e-10);
  EXPECT_NEAR(low.high, 1.0 / (1.0 + std::exp(-(eta + half))), 1e-10);
}

// 24 patients (11 events) predicted twice. numpy 1.24 and scipy 1.10: BFGS, then the sandwich with
// scores summed by patient, written out.
TEST(RecalibratedRate, CountsAPatientPredictedTwiceAsOne) {
  const std::vector<double> p = {.05, .1, .12, .15, .2, .22, .25, .3, .33, .35, .4, .42,
                                 .45, .5, .52, .55, .6, .62, .65, .7, .72, .75, .8, .85};
  const std::vector<std::uint8_t> y = {0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 1, 0,
                                       1, 0, 1, 1, 0, 1, 0, 1, 1, 0, 1, 1};
  const double shift[] = {.04, -.03, .02};
  std::vector<double> probability = p;
  std::vector<std::uint8_t> label = y;
  auto patient = each_alone(24);
  for (std::size_t i = 0; i < 24; ++i) {
    probability.push_back(p[i] + shift[i % 3]);
    label.push_back(y[i]);
    patient.push_back(i);
  }
  const auto fit = fit_recalibrated_rate(label, probability, patient);
  EXPECT_EQ(fit.n, 24U);
  EXPECT_NEAR(fit.intercept, 0.04274057238458, 1e-9);
  EXPECT_NEAR(fit.slope, 0.89264045746573, 1e-9);
  EXPECT_NEAR(fit.var_intercept, 0.23533289160961, 1e-9);
  EXPECT_NEAR(fit.covariance, 0.04116773346268, 1e-9);
  EXPECT_NEAR(fit.var_slope, 0.19942182972854, 1e-9);
  const auto rate = fit.at(0.3);
  EXPECT_NEAR(rate.value, 0.3288056750054453, 1e-9);
  EXPECT_NEAR(rate.low, 0.1415312397219184, 1e-9);
  EXPECT_NEAR(rate.high, 0.5927743303909394, 1e-9);

  // Every prediction written down twice more changes nothing.
  auto again = fit_recalibrated_rate(label, probability, patient);
  const auto n = label.size();
  for (std::size_t i = 0; i < n; ++i) {
    label.push_back(label[i]);
    probability.push_back(probability[i]);
    patient.push_back(patient[i]);
  }
  again = fit_recalibrated_rate(label, probability, patient);
  EXPECT_NEAR(again.slope, fit.slope, 1e-12);
  EXPECT_NEAR(again.var_slope, fit.var_slope, 1e-12);
}

// One probability for all: the rate is the share of all, 12 of 40, whatever is asked.
TEST(RecalibratedRate, HasNoSlopeWhereEveryPredictionIsTheSame) {
  std::vector<std::uint8_t> label(40, 0);
  for (int i = 0; i < 12; ++i) label[static_cast<std::size_t>(i)] = 1;
  const std::vector<double> probability(40, 0.9);
  const auto fit = fit_recalibrated_rate(label, probability, each_alone(40));
  EXPECT_EQ(fit.slope, 0.0);
  EXPECT_NEAR(fit.at(0.9).value, 0.3, 1e-12);
  EXPECT_NEAR(fit.at(0.1).value, 0.3, 1e-12);
  // sqrt(1 / (40 x 0.3 x 0.7) x 40 / 39)
  const double half = 1.959963984540054 * std::sqrt(40.0 / 39.0 / 8.4);
  EXPECT_NEAR(fit.at(0.9).low, 1.0 / (1.0 + std::exp(-(std::log(3.0 / 7.0) - half))), 1e-10);
}

TEST(RecalibratedRate, SaysWhyItCannotBeHad) {
  std::vector<std::uint8_t> label(60, 0);
  std::vector<double> probability;
  for (std::size_t i = 0; i < 60; ++i) probability.push_back(static_cast<double>(i) / 60.0);
  for (std::size_t i = 51; i < 60; ++i) label[i] = 1;
  const auto few = fit_recalibrated_rate(label, probability, each_alone(60));
  EXPECT_NE(few.not_estimable.find("9 held-out patients with the event and 51 without"),
            std::string::npos);
  EXPECT_FALSE(few.at(0.5).ok());
  for (std::size_t i = 40; i < 60; ++i) label[i] = 1;
  const auto parted = fit_recalibrated_rate(label, probability, each_alone(60));
  EXPECT_NE(parted.not_estimable.find("parts the two classes"), std::string::npos);
  label[3] = label[12] = 1;
  const auto fine = fit_recalibrated_rate(label, probability, each_alone(60));
  EXPECT_TRUE(fine.at(0.0).ok() && fine.at(1.0).ok());
  EXPECT_FALSE(fine.at(std::nan("")).ok());
}

TEST(RecalibratedRate, RefusesPatientsOfBothLabelsAndUnevenSizes) {
  const std::vector<std::uint8_t> label = {0, 1};
  const std::vector<double> probability = {0.1, 0.2};
  EXPECT_THROW(fit_recalibrated_rate(label, probability, std::vector<std::size_t>{5, 5}), Error);
  EXPECT_THROW(fit_recalibrated_rate(label, probability, std::vector<std::size_t>{5}), Error);
}

}  // namespace
}  // namespace med3d::stats
