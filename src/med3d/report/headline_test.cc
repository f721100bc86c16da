#include "med3d/report/headline.h"

#include <gtest/gtest.h>

#include <string>

namespace med3d::report {
namespace {

Model model(const std::string& id,
            const std::string& family,
            double cv,
            double test,
            std::int64_t n = 100) {
  Model out;
  out.id = out.label = id;
  out.family = family;
  for (const auto& [name, value] : {std::pair{"cross-validation", cv}, {"test", test}}) {
    ModelSet set;
    set.name = name;
    set.n = n;
    set.metrics["auroc"].value = value;
    out.sets.push_back(set);
  }
  return out;
}

Comparison comparison(const std::string& a, const std::string& b, double low, double high) {
  Comparison out;
  out.set = "cross-validation";
  out.a = a;
  out.b = b;
  out.test = "DeLong";
  out.difference = {(low + high) / 2, low, high, ""};
  return out;
}

Document fusion_and_arm() {
  Document document;
  document.models = {model("fusion", "fusion", 0.75, 0.6), model("arm", "arm", 0.70, 0.9)};
  return document;
}

Verdict first_verdict(const Document& document) { return contests(document).at(0).verdict; }

TEST(Contests, SaysBeatsOnlyWhereTheIntervalLeavesZeroOut) {
  Document document = fusion_and_arm();
  document.comparisons = {comparison("fusion", "arm", 0.01, 0.09)};
  EXPECT_EQ(first_verdict(document), Verdict::kBeats);
  document.comparisons = {comparison("fusion", "arm", -0.01, 0.09)};
  EXPECT_EQ(first_verdict(document), Verdict::kNotShown);
  document.comparisons = {comparison("fusion", "arm", -0.09, -0.01)};
  EXPECT_EQ(first_verdict(document), Verdict::kLoses);
}

TEST(Contests, TurnsAComparisonThatIsWrittenTheOtherWayRound) {
  Document document = fusion_and_arm();
  document.comparisons = {comparison("arm", "fusion", -0.09, -0.01)};
  EXPECT_EQ(first_verdict(document), Verdict::kBeats);
  EXPECT_EQ(contests(document)[0].sentence,
            "The best fusion, fusion (AUROC 0.75), beats the best single arm, arm (AUROC 0.70): "
            "difference 0.05 (0.01\u20130.09), DeLong.");
}

TEST(Contests, AnAdjustedPOverrulesTheInterval) {
  Document document = fusion_and_arm();
  document.comparisons = {comparison("fusion", "arm", 0.01, 0.09)};
  document.comparisons[0].p_adjusted = 0.08;
  EXPECT_EQ(first_verdict(document), Verdict::kNotShown);
}

TEST(Contests, DoesNotTakeATestOfErrorsForOneOfDiscrimination) {
  Document document = fusion_and_arm();
  document.comparisons = {comparison("fusion", "arm", 0.01, 0.09)};
  document.comparisons[0].test = "McNemar";
  EXPECT_EQ(first_verdict(document), Verdict::kUntested);
  document.comparisons[0].test = "bootstrap";
  document.comparisons[0].metric = "brier";
  EXPECT_EQ(first_verdict(document), Verdict::kUntested);
}

TEST(Contests, DoesNotCompareModelsOfDifferentPatients) {
  Document document = fusion_and_arm();
  document.models[1] = model("arm", "arm", 0.7, 0.9, 20);
  EXPECT_EQ(first_verdict(document), Verdict::kDifferent);
  EXPECT_NE(contests(document)[0].sentence.find("n = 100 and n = 20"), std::string::npos);
}

// "second" has the better test figure, but the test set must pick nothing.
TEST(Contests, PicksTheBestOnCrossValidationOnly) {
  Document document = fusion_and_arm();
  document.models.push_back(model("second", "fusion", 0.74, 0.99));
  for (const Contest& contest : contests(document)) EXPECT_EQ(contest.a->id, "fusion");
}

TEST(Contests, SetsDeepModelsAgainstClassicalBaselines) {
  Document document = fusion_and_arm();
  document.models.push_back(model("logistic", "baseline", 0.8, 0.8));
  document.comparisons = {comparison("fusion", "logistic", -0.09, -0.01)};
  const auto all = contests(document);
  ASSERT_EQ(all.size(), 4U);
  EXPECT_EQ(all[2].verdict, Verdict::kLoses);
  EXPECT_EQ(all[2].sentence.rfind("The best deep model, fusion", 0), 0U);
}

TEST(Contests, IsEmptyWithoutTwoSides) {
  Document document;
  EXPECT_TRUE(contests(document).empty());
  document.models = {model("arm", "arm", 0.7, 0.7)};
  EXPECT_TRUE(contests(document).empty());
}

// 29 positives and 3 negatives, the paper's fusion set: s = 29/32, F1 = 2s/(1+s) = 58/61.
TEST(AlwaysMajority, MatchesHandComputedValues) {
  const Metrics metrics = always_majority(29, 3);
  EXPECT_DOUBLE_EQ(*metrics.at("f1").value, 58.0 / 61.0);
  EXPECT_DOUBLE_EQ(*metrics.at("precision").value, 29.0 / 32.0);
  EXPECT_DOUBLE_EQ(*metrics.at("balanced_accuracy").value, 0.5);
  EXPECT_DOUBLE_EQ(*metrics.at("sensitivity").value, 1.0);
  EXPECT_DOUBLE_EQ(*metrics.at("specificity").value, 0.0);
  EXPECT_FALSE(metrics.at("npv").value);
}

TEST(AlwaysMajority, CannotEstimateDiscriminationInOneClass) {
  const Metrics metrics = always_majority(11, 0);
  EXPECT_FALSE(metrics.at("balanced_accuracy").value);
  EXPECT_EQ(metrics.at("specificity").reason, "no negatives in this set");
  EXPECT_DOUBLE_EQ(*metrics.at("f1").value, 1.0);
  EXPECT_TRUE(always_majority(0, 0).empty());
}

}  // namespace
}  // namespace med3d::report
