#include "med3d/tabular/split.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "med3d/core/error.h"
#include "med3d/tabular/test_reference.h"

namespace med3d::tabular {
namespace {

std::vector<int> integers(const RawColumn& column) {
  std::vector<int> out;
  for (const std::string& cell : column.cells) out.push_back(std::stoi(cell));
  return out;
}

double column_checksum(const auto& values) {
  Matrix<double> column(values.size(), 1);
  for (std::size_t i = 0; i < values.size(); ++i) column(i, 0) = static_cast<double>(values[i]);
  return checksum(column);
}

// Labels 0 0 1 0 1 0, two folds, by hand: sorted 0 0 0 0 1 1 are dealt to folds 0 1 0 1 0 1, so
// each fold gets two of class 0 and one of class 1, the first ones of each class to fold 0.
TEST(StratifiedFolds, MatchesHandDealtFolds) {
  const std::vector<std::uint8_t> labels = {0, 0, 1, 0, 1, 0};
  EXPECT_EQ(stratified_folds(labels, 2), (std::vector<int>{0, 0, 0, 1, 1, 1}));
}

TEST(Splits, EqualTheStoredScikitLearnVectors) {
  const auto root = test_data("reference/preprocess");
  MED3D_NEEDS_REFERENCE(root);
  const RawTable table = read_plain_csv(root / "split_labels.csv");
  std::vector<std::uint8_t> labels;
  for (const int label : integers(table[0])) labels.push_back(static_cast<std::uint8_t>(label));
  const std::vector<int> groups = integers(table[1]);
  const auto expected = [&](const char* file) {
    return integers(read_plain_csv(root / file).at(0));
  };
  EXPECT_EQ(stratified_folds(labels, 5), expected("stratified_kfold.csv"));
  EXPECT_EQ(stratified_folds(labels, 5, 42), expected("stratified_kfold_shuffled_seed42.csv"));
  EXPECT_EQ(group_folds(groups, 5), expected("group_kfold.csv"));
  EXPECT_EQ(stratified_group_folds(labels, groups, 5), expected("stratified_group_kfold.csv"));
  const std::vector<int> is_test = expected("train_test_split_strat_seed42.csv");
  const auto n_test = std::count(is_test.begin(), is_test.end(), 1);
  const HoldOut found = stratified_hold_out(
      labels, static_cast<double>(n_test) / static_cast<double>(is_test.size()), 42);
  std::vector<int> found_test(labels.size(), 0);
  for (const std::size_t row : found.test) found_test[row] = 1;
  EXPECT_EQ(found_test, is_test);
}

// tests/reference/resample.py, "splits": 300 rows, 61 groups of uneven size, three classes.
TEST(Splits, EqualScikitLearnOnALargerTable) {
  std::vector<std::uint8_t> labels;
  std::vector<int> groups;
  for (int i = 0; i < 300; ++i) {
    groups.push_back((i * i * 7 + i * 3) % 61);
    labels.push_back(static_cast<std::uint8_t>((i * 29 + i * i * 5) % 31 % 3));
  }
  EXPECT_EQ(column_checksum(group_folds(groups, 5)), 24782);
  EXPECT_EQ(column_checksum(stratified_group_folds(labels, groups, 5)), 24495);
  EXPECT_EQ(column_checksum(stratified_folds(labels, 7)), 38449);
  EXPECT_EQ(column_checksum(stratified_folds(labels, 7, 9)), 38440);
  const HoldOut found = stratified_hold_out(labels, 0.23, 4);
  EXPECT_EQ(column_checksum(found.train), 1407862);
  EXPECT_EQ(column_checksum(found.test), 336550);
  EXPECT_EQ(std::vector<std::size_t>(found.test.begin(), found.test.begin() + 6),
            (std::vector<std::size_t>{6, 68, 72, 204, 222, 137}));
}

TEST(GroupFolds, KeepEveryGroupInOneFold) {
  const std::vector<int> groups = {5, 5, -1, 7, 7, 7, 9, -1, 2};
  const std::vector<int> folds = group_folds(groups, 3);
  for (std::size_t i = 0; i < groups.size(); ++i) {
    for (std::size_t j = 0; j < groups.size(); ++j) {
      if (groups[i] != groups[j]) continue;
      EXPECT_EQ(folds[i], folds[j]);
    }
  }
  expect_error(
      ErrorKind::kData, "5 groups, 6 folds need at least 6", [&] { group_folds(groups, 6); });
}

class RepeatedFolds : public testing::Test {
 protected:
  void SetUp() override {
    for (int i = 0; i < 103; ++i) {
      labels_.push_back(i % 7 == 0 ? 0 : 1);
      strata_.push_back(i % 3 == 0 ? 1 : 2);
    }
  }
  std::vector<std::uint8_t> labels_;
  std::vector<int> strata_;
};

TEST_F(RepeatedFolds, SpreadClassesAndStrataEvenly) {
  const auto folds = repeated_stratified_folds(labels_, strata_, 5, 3, 1);
  ASSERT_EQ(folds.size(), 3U);
  for (const auto& fold_of_row : folds) {
    ASSERT_EQ(fold_of_row.size(), labels_.size());
    for (int label = 0; label < 2; ++label) {
      for (int stratum = 0; stratum < 3; ++stratum) {  // 0: any
        std::vector<int> count(5, 0);
        for (std::size_t i = 0; i < labels_.size(); ++i) {
          if (labels_[i] != label || (stratum != 0 && strata_[i] != stratum)) continue;
          ++count.at(static_cast<std::size_t>(fold_of_row[i]));
        }
        const auto [low, high] = std::minmax_element(count.begin(), count.end());
        EXPECT_LE(*high - *low, 1) << "class " << label << ", stratum " << stratum;
      }
    }
  }
}

TEST_F(RepeatedFolds, DifferBetweenRepeatsAndSeedsButNotBetweenRuns) {
  const auto three = repeated_stratified_folds(labels_, strata_, 5, 3, 1);
  EXPECT_NE(three[0], three[1]);
  EXPECT_NE(three[1], three[2]);
  const auto two = repeated_stratified_folds(labels_, strata_, 5, 2, 1);
  EXPECT_EQ(two[0], three[0]);
  EXPECT_EQ(two[1], three[1]);
  EXPECT_NE(repeated_stratified_folds(labels_, strata_, 5, 1, 2)[0], three[0]);
  EXPECT_NE(repeated_stratified_folds(labels_, {}, 5, 1, 1)[0], three[0]);
}

TEST(Splits, RefuseWhatCannotBeSplit) {
  const std::vector<std::uint8_t> rare = {0, 0, 0, 1, 1, 1, 1, 1, 1};
  expect_error(ErrorKind::kData, "class 0 has 3 patients, 5 folds need at least 5", [&] {
    repeated_stratified_folds(rare, {}, 5, 1, 0);
  });
  expect_error(ErrorKind::kData, "class 0 has 3 patients, 5 folds need at least 5", [&] {
    stratified_folds(rare, 5);
  });
  expect_error(
      ErrorKind::kUsage, "1 folds, expected at least 2", [&] { stratified_folds(rare, 1); });
  expect_error(
      ErrorKind::kUsage, "0 repeats", [&] { repeated_stratified_folds(rare, {}, 2, 0, 0); });
  expect_error(ErrorKind::kUsage, "9 labels and 2 strata", [&] {
    repeated_stratified_folds(rare, std::vector<int>{1, 2}, 2, 1, 0);
  });
  expect_error(ErrorKind::kData, "no patients", [] { stratified_folds({}, 2); });
  const std::vector<std::uint8_t> one(8, 1);
  expect_error(ErrorKind::kData, "every patient is of class 1", [&] {
    repeated_stratified_folds(one, {}, 2, 1, 0);
  });
  expect_error(ErrorKind::kUsage, "test fraction is 1", [&] { stratified_hold_out(rare, 1.0, 0); });
  expect_error(ErrorKind::kData, "8 training and 1 test patients", [&] {
    stratified_hold_out(rare, 0.1, 0);
  });
  expect_error(ErrorKind::kData, "class 0 has 1 patient", [&] {
    stratified_hold_out(std::vector<std::uint8_t>{0, 1, 1}, 0.5, 0);
  });
  expect_error(ErrorKind::kData, "expected at least", [] { stratified_hold_out({}, 0.5, 0); });
}

}  // namespace
}  // namespace med3d::tabular
