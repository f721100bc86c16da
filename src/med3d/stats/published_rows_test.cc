#include "med3d/stats/published_rows.h"

#include <gtest/gtest.h>

#include "med3d/core/error.h"

namespace med3d::stats {
namespace {

PublishedRow row(double p, double r, double ba, double f1_score) {
  PublishedRow out;
  out.precision = {p, 3};
  out.recall = {r, 3};
  out.balanced_accuracy = {ba, 3};
  out.f1 = {f1_score, 3};
  return out;
}

TEST(PublishedRow, FlagsTheLateFusionRowAsASetOfOneClass) {
  const RowVerdict verdict = check_published_row(row(1.0, 0.667, 0.667, 0.8));
  EXPECT_FALSE(verdict.possible);
  EXPECT_TRUE(verdict.single_class);
  PublishedRow counted = row(1.0, 0.667, 0.667, 0.8);
  counted.positives = 29;
  counted.negatives = 3;
  EXPECT_TRUE(check_published_row(counted).single_class);
  // The same with specificity 1 counted in is an ordinary row.
  EXPECT_TRUE(check_published_row(row(1.0, 0.667, 0.833, 0.8)).possible);
}

TEST(PublishedRow, SolvesTheTablesOfTheStudy) {
  PublishedRow ehr = row(1.0, 0.631, 0.816, 0.774);
  ehr.positives = 160;
  ehr.negatives = 48;
  const RowVerdict of_ehr = check_published_row(ehr);
  ASSERT_EQ(of_ehr.tables.size(), 1U);
  EXPECT_EQ(of_ehr.tables[0], (Confusion{48, 0, 59, 101}));

  PublishedRow imaging = row(1.0, 0.737, 0.868, 0.848);
  imaging.positives = 19;
  imaging.negatives = 1;
  EXPECT_EQ(check_published_row(imaging).tables.at(0), (Confusion{1, 0, 5, 14}));

  PublishedRow slides = row(0.955, 0.604, 0.702, 0.740);
  slides.positives = 106;
  slides.negatives = 15;
  EXPECT_EQ(check_published_row(slides).tables.at(0), (Confusion{12, 3, 42, 64}));

  PublishedRow smote;
  smote.accuracy = {0.8670, 4};
  smote.precision = {0.8077, 4};
  smote.recall = {0.9633, 4};
  smote.positives = smote.negatives = 109;
  ASSERT_EQ(check_published_row(smote).tables.size(), 1U);
  EXPECT_EQ(check_published_row(smote).tables[0], (Confusion{84, 25, 4, 105}));

  PublishedRow adasyn = smote;
  adasyn.accuracy = {0.9174, 4};
  adasyn.precision = {0.8889, 4};
  adasyn.recall = {0.9541, 4};
  EXPECT_EQ(check_published_row(adasyn).tables.at(0), (Confusion{96, 13, 5, 104}));
}

TEST(PublishedRow, FindsTheSmallestSetBehindTheEarlyFusionRow) {
  const RowVerdict verdict = check_published_row(row(0.967, 1.0, 0.833, 0.983));
  ASSERT_TRUE(verdict.possible);
  EXPECT_EQ(verdict.tables[0].n(), 32);
  EXPECT_EQ(verdict.tables[0], (Confusion{2, 1, 0, 29}));
}

TEST(PublishedRow, RefusesARowWhoseF1ContradictsItsParts) {
  PublishedRow wrong = row(0.9, 0.9, 0.9, 0.95);
  wrong.positives = wrong.negatives = 100;
  const RowVerdict verdict = check_published_row(wrong);
  EXPECT_FALSE(verdict.possible);
  EXPECT_FALSE(verdict.single_class);
  EXPECT_EQ(verdict.finding, "impossible: no table of 100 positives and 100 negatives gives it");
}

TEST(PublishedRow, SaysWhatIsWrongWithTheRequest) {
  EXPECT_THROW(check_published_row(PublishedRow{}), Error);
  EXPECT_THROW(check_published_row(row(1.2, 0.5, 0.5, 0.5)), Error);
  PublishedRow bad = row(1.0, 0.5, 0.5, 0.5);
  bad.positives = -3;
  EXPECT_THROW(check_published_row(bad), Error);
  bad.positives = 3;
  bad.recall = {0.5, 0};
  EXPECT_THROW(check_published_row(bad), Error);
}

// The tables of the study before its baselines: two classifiers on one set of unknown size.
TEST(CommonSizes, FindsTheBalancedSetBehindTwoTables) {
  PublishedRow smote;
  smote.accuracy = {0.8670, 4};
  smote.precision = {0.8077, 4};
  smote.recall = {0.9633, 4};
  PublishedRow adasyn;
  adasyn.accuracy = {0.9174, 4};
  adasyn.precision = {0.8889, 4};
  adasyn.recall = {0.9541, 4};
  const auto sizes = common_sizes(std::vector{smote, adasyn}, 250);
  ASSERT_FALSE(sizes.empty());
  EXPECT_EQ(sizes[0], (std::pair<std::int64_t, std::int64_t>{109, 109}));
  for (const auto& [p, n] : sizes) EXPECT_EQ(p, n);
}

// Recall 0.500 of one row asks for an even number of positives, 0.333 of the other for a multiple
// of three: six at least, whatever the negatives.
TEST(CommonSizes, AreThoseThatEachRowAllows) {
  PublishedRow half;
  half.recall = {0.5, 3};
  PublishedRow third;
  third.recall = {0.333, 3};
  const auto sizes = common_sizes(std::vector{half, third}, 11);
  ASSERT_EQ(sizes.size(), 11U);
  for (const auto& [p, n] : sizes) EXPECT_EQ(p, 6);
  third.positives = 9;
  half.positives = 8;
  EXPECT_TRUE(common_sizes(std::vector{half, third}, 11).empty());
}

TEST(CommonSizes, TakesThePrintedTableAtItsWord) {
  PublishedRow counted;
  counted.table = Confusion{4, 1, 2, 3};
  counted.accuracy = {0.7, 1};
  EXPECT_EQ(common_sizes(std::vector{counted}),
            (std::vector<std::pair<std::int64_t, std::int64_t>>{{5, 5}}));
  EXPECT_TRUE(check_published_row(counted).possible);
  counted.accuracy = {0.8, 1};
  EXPECT_EQ(check_published_row(counted).finding,
            "impossible: the printed table TP 3 FN 2 FP 1 TN 4 gives other numbers");
}

// Ten patients, TP 3 FN 2 FP 1 TN 4: specificity 0.8, npv 4/6, F1 of the negatives 8/11.
TEST(PublishedRow, SearchesWithTheNumbersOfTheNegativeClassToo) {
  PublishedRow both;
  both.recall = {0.6, 3};
  both.specificity = {0.8, 3};
  both.npv = {0.667, 3};
  both.f1_negative = {0.727, 3};
  both.positives = both.negatives = 5;
  EXPECT_EQ(check_published_row(both).tables.at(0), (Confusion{4, 1, 2, 3}));
  both.npv = {0.7, 3};
  EXPECT_FALSE(check_published_row(both).possible);
}

TEST(PrintedShare, KnowsRoundingFromCuttingOff) {
  EXPECT_TRUE(same_when_rounded({0.82, 2}, {0.816, 3}));
  EXPECT_FALSE(same_when_rounded({0.81, 2}, {0.816, 3}));
  EXPECT_TRUE(cut_off({0.81, 2}, {0.816, 3}));
  EXPECT_FALSE(cut_off({0.73, 2}, {0.740, 3}));
  EXPECT_TRUE(same_when_rounded({0.5, 1}, {0.55, 2}));  // half a unit may go either way
}

}  // namespace
}  // namespace med3d::stats
