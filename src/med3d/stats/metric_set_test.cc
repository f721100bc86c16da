#include "med3d/stats/metric_set.h"

#include <gtest/gtest.h>

#include <cmath>

#include "med3d/core/error.h"
#include "med3d/core/random.h"

namespace med3d::stats {
namespace {

struct Cohort {
  std::vector<std::uint8_t> label;
  std::vector<double> probability;
};

Cohort cohort(int n, double positive_share) {
  NumpyRandom random(11);
  Cohort out;
  for (int i = 0; i < n; ++i) {
    const bool positive = random.uniform() < positive_share;
    out.label.push_back(positive ? 1 : 0);
    out.probability.push_back(1.0 / (1.0 + std::exp(-(random.normal() + (positive ? 0.8 : -0.8)))));
  }
  return out;
}

TEST(MetricSet, HoldsEveryKeyInOrderWithAnIntervalAroundItsValue) {
  const Cohort c = cohort(150, 0.4);
  EvaluateOptions options;
  options.bootstrap_repeats = 300;
  const MetricSet set = evaluate_set(c.label, c.probability, 0.5, options);
  ASSERT_EQ(set.metrics.size(), metric_names().size());
  for (std::size_t i = 0; i < set.metrics.size(); ++i) {
    const auto& [name, estimate] = set.metrics[i];
    EXPECT_EQ(name, metric_names()[i]);
    EXPECT_TRUE(estimate.has_interval()) << name;
    EXPECT_LE(estimate.low, estimate.value) << name;
    EXPECT_GE(estimate.high, estimate.value) << name;
  }
  EXPECT_EQ(set.metrics.front().first, "auroc");
  EXPECT_EQ(set.metrics.back().first, "calibration_slope");
  EXPECT_EQ(set.n, 150);
  EXPECT_EQ(set.positives + set.negatives, 150);
  EXPECT_TRUE(check_identities(set.confusion, set.metrics).empty());
  EXPECT_THROW(set.at("accuracy_of_hope"), Error);
}

TEST(MetricSet, IsTheSameOnAnyNumberOfThreads) {
  const Cohort c = cohort(60, 0.2);
  EvaluateOptions options;
  options.bootstrap_repeats = 100;
  options.seed = 4;
  const MetricSet one = evaluate_set(c.label, c.probability, 0.5, options);
  options.threads = 3;
  const MetricSet three = evaluate_set(c.label, c.probability, 0.5, options);
  for (std::size_t i = 0; i < one.metrics.size(); ++i) {
    EXPECT_EQ(one.metrics[i].second.value, three.metrics[i].second.value);
    if (one.metrics[i].second.has_interval()) {
      EXPECT_EQ(one.metrics[i].second.low, three.metrics[i].second.low);
      EXPECT_EQ(one.metrics[i].second.high, three.metrics[i].second.high);
    }
  }
  EXPECT_EQ(one.redrawn, three.redrawn);
}

TEST(MetricSet, SaysNotEstimableForASetOfOneClass) {
  const std::vector<std::uint8_t> label = {1, 1, 1};
  const std::vector<double> probability = {0.9, 0.8, 0.2};
  const MetricSet set = evaluate_set(label, probability, 0.5);
  EXPECT_NEAR(set.at("sensitivity").value, 2.0 / 3.0, 1e-15);
  for (const char* name : {"auroc",
                           "auprc",
                           "balanced_accuracy",
                           "mcc",
                           "specificity",
                           "recall_negative",
                           "calibration_intercept",
                           "calibration_slope"}) {
    EXPECT_FALSE(set.at(name).ok()) << name;
    EXPECT_EQ(set.at(name).not_estimable, "no negatives in the set") << name;
  }
  EXPECT_EQ(set.redrawn, 0);
  EXPECT_TRUE(check_identities(set.confusion, set.metrics).empty());
  EXPECT_EQ(evaluate_set({}, {}, 0.5).at("accuracy").not_estimable, "no patients");
}

TEST(MetricSet, CountsResamplesThatLackedAClass) {
  std::vector<std::uint8_t> label(20, 0);
  label[3] = 1;
  std::vector<double> probability(20, 0.1);
  for (std::size_t i = 0; i < 20; ++i) probability[i] += 0.04 * static_cast<double>(i);
  EvaluateOptions options;
  options.bootstrap_repeats = 200;
  // (19/20)^20 = 0.358 of the draws have no positive.
  const MetricSet set = evaluate_set(label, probability, 0.5, options);
  EXPECT_GT(set.redrawn, 60);
  EXPECT_FALSE(set.at("auroc").has_interval());  // one positive: DeLong has no variance
  EXPECT_TRUE(set.at("auprc").has_interval());
}

// Ten patients, seven positive: all called positive. F1 = 14/17, Brier = .7 * .3, BA = 1/2.
TEST(MajorityClassRow, MatchesHandComputedValues) {
  std::vector<std::uint8_t> label(10, 1);
  label[0] = label[4] = label[8] = 0;
  EvaluateOptions options;
  options.bootstrap_repeats = 50;
  const MetricSet row = majority_class_row(label, options);
  EXPECT_EQ(row.confusion, (Confusion{0, 3, 0, 7}));
  EXPECT_NEAR(row.at("accuracy").value, 0.7, 1e-15);
  EXPECT_NEAR(row.at("balanced_accuracy").value, 0.5, 1e-15);
  EXPECT_NEAR(row.at("f1").value, 14.0 / 17.0, 1e-15);
  EXPECT_NEAR(row.at("brier").value, 0.21, 1e-15);
  EXPECT_NEAR(row.at("auroc").value, 0.5, 1e-15);
  EXPECT_EQ(row.at("mcc").value, 0.0);
  EXPECT_EQ(row.at("npv").not_estimable, "nobody was predicted negative");
  EXPECT_EQ(majority_class_row(label, options, 0.3).confusion, (Confusion{3, 0, 7, 0}));
}

TEST(MetricSet, RefusesBadOptions) {
  EvaluateOptions options;
  options.bootstrap_repeats = -1;
  EXPECT_THROW(evaluate({}, {}, 0.5, options), Error);
  options.bootstrap_repeats = 1;
  options.confidence = 0.0;
  EXPECT_THROW(evaluate({}, {}, 0.5, options), Error);
}

std::string only_complaint(const Confusion& table, std::vector<NamedEstimate> metrics) {
  const auto wrong = check_identities(table, metrics);
  return wrong.size() == 1 ? wrong.front() : std::to_string(wrong.size()) + " complaints";
}

TEST(CheckIdentities, NamesEachBrokenOne) {
  const Confusion table{48, 0, 59, 101};
  EXPECT_EQ(only_complaint(table, {{"auroc", Estimate::of(1.25)}}),
            "auroc is 1.25, outside [0, 1]");
  EXPECT_EQ(only_complaint(table, {{"accuracy", Estimate::of(0.5)}}),
            "accuracy is 0.5, but the table gives 0.7163461538461539");
  EXPECT_EQ(only_complaint(table, {{"brier", Estimate::of(0.5, 0.75, 0.25)}}),
            "brier has the interval 0.75 to 0.25");
  EXPECT_EQ(only_complaint(table, {{"brier", Estimate{}}}),
            "brier has no value and no reason for it");
  Estimate both = Estimate::of(0.5);
  both.not_estimable = "a reason";
  EXPECT_EQ(only_complaint(table, {{"brier", both}}),
            "brier is called not estimable but has the value 0.5");
  EXPECT_EQ(only_complaint(Confusion{0, 0, 1, 1}, {{"auroc", Estimate::of(0.5)}}),
            "auroc is 0.5 on a set with one class");
  // Wrong in the table and wrong against its parts: two complaints.
  EXPECT_EQ(
      check_identities(table,
                       std::vector<NamedEstimate>{{"balanced_accuracy", Estimate::of(0.63125)},
                                                  {"sensitivity", Estimate::of(0.63125)},
                                                  {"specificity", Estimate::of(1.0)}})
          .size(),
      2U);
  EXPECT_EQ(check_identities(table,
                             std::vector<NamedEstimate>{{"f1", Estimate::of(0.9)},
                                                        {"precision", Estimate::of(1.0)},
                                                        {"sensitivity", Estimate::of(0.63125)}})
                .size(),
            2U);
}

// Four patients at thresholds of their own: only the second call's classes differ from p >= 0.5.
TEST(EvaluateSet, TakesClassesThatWereJudgedAtThresholdsOfTheirOwn) {
  const std::vector<std::uint8_t> label = {0, 0, 1, 1};
  const std::vector<double> probability = {0.2, 0.6, 0.4, 0.9};
  const std::vector<std::uint8_t> predicted = {0, 0, 1, 1};
  const MetricSet at_half = evaluate_set(label, probability, 0.5);
  const MetricSet own = evaluate_set(label, probability, predicted, 0.5);
  EXPECT_DOUBLE_EQ(at_half.at("balanced_accuracy").value, 0.5);
  EXPECT_DOUBLE_EQ(own.at("balanced_accuracy").value, 1.0);
  EXPECT_DOUBLE_EQ(own.at("auroc").value, at_half.at("auroc").value);
  EXPECT_DOUBLE_EQ(own.at("brier").value, at_half.at("brier").value);
}

// Same samples, other limits: a small Brier score is skewed, and BCa's limits lie further right
// than plain quantiles do.
TEST(EvaluateSet, BcaMovesTheLimitsAndNotTheValue) {
  std::vector<std::uint8_t> label;
  std::vector<double> probability;
  for (int i = 0; i < 30; ++i) {
    label.push_back(i % 3 == 0 ? 1 : 0);
    probability.push_back(i % 3 == 0 ? (i == 0 ? 0.01 : 0.9) : 0.1);
  }
  EvaluateOptions options;
  options.bootstrap_repeats = 500;
  options.seed = 4;
  const MetricSet plain = evaluate_set(label, probability, 0.5, options);
  options.interval = IntervalKind::kBca;
  const MetricSet bca = evaluate_set(label, probability, 0.5, options);
  EXPECT_EQ(plain.at("brier").value, bca.at("brier").value);
  EXPECT_GT(bca.at("brier").high, plain.at("brier").high);
  EXPECT_EQ(plain.at("auroc").low, bca.at("auroc").low);  // DeLong asks no bootstrap
}

}  // namespace
}  // namespace med3d::stats
