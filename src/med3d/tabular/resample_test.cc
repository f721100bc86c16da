#include "med3d/tabular/resample.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "med3d/core/error.h"
#include "med3d/tabular/knn.h"
#include "med3d/tabular/test_reference.h"

namespace med3d::tabular {
namespace {

std::vector<std::uint8_t> labels_of(const Matrix<double>& y) {
  std::vector<std::uint8_t> out;
  for (std::size_t i = 0; i < y.size(); ++i) out.push_back(static_cast<std::uint8_t>(y.data()[i]));
  return out;
}

Matrix<double> grid(std::size_t n, std::size_t p, int levels) {
  Matrix<double> out = reference_grid(n, p);
  for (std::size_t i = 0; i < out.size(); ++i) out.data()[i] = std::fmod(out.data()[i], levels);
  return out;
}

std::size_t count(const std::vector<std::uint8_t>& y, int label) {
  return static_cast<std::size_t>(std::count(y.begin(), y.end(), label));
}

// Points 0, 1, 3, 7 on a line: from 1 the others lie at 1, 2 and 6.
TEST(NearestNeighbors, ListsTheNearestFirst) {
  Matrix<double> x(4, 1);
  for (const auto& [i, value] : {std::pair{0, 0.0}, {1, 1.0}, {2, 3.0}, {3, 7.0}}) {
    x(static_cast<std::size_t>(i), 0) = value;
  }
  for (const auto search : {NeighborSearch::kAuto,
                            NeighborSearch::kBrute,
                            NeighborSearch::kKdTree,
                            NeighborSearch::kBruteExpanded}) {
    const auto found = nearest_neighbors(x, x, 4, search);
    const std::vector<std::size_t> expected = {1, 0, 2, 3};
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(), found.row(1).begin()));
  }
}

// tests/reference/resample.py, "neighbours": integer grids full of equal distances.
TEST(NearestNeighbors, BreaksTiesAsScikitLearnDoes) {
  struct Case {
    std::size_t n, p;
    int levels;
    std::size_t k;
    double expected;
  };
  for (const Case& c : {Case{400, 4, 3, 6, 52581078},
                        Case{333, 7, 2, 9, 79802121},
                        Case{90, 2, 5, 4, 1917263},
                        Case{120, 20, 2, 6, 4976956},
                        Case{50, 3, 2, 30, 14077575}}) {
    const Matrix<double> x = grid(c.n, c.p, c.levels);
    EXPECT_EQ(checksum(nearest_neighbors(x, x, c.k)), c.expected) << c.n << " rows";
  }
}

TEST(NearestNeighbors, TreeAndBruteForceFindTheSameDistances) {
  const Matrix<double> x = grid(300, 5, 97);
  const auto tree = nearest_neighbors(x, x, 7, NeighborSearch::kKdTree);
  const auto brute = nearest_neighbors(x, x, 7, NeighborSearch::kBrute);
  const auto distance = [&](std::size_t a, std::size_t b) {
    double sum = 0.0;
    for (std::size_t j = 0; j < x.cols(); ++j) sum += (x(a, j) - x(b, j)) * (x(a, j) - x(b, j));
    return sum;
  };
  for (std::size_t i = 0; i < x.rows(); ++i) {
    for (std::size_t j = 0; j < 7; ++j) {
      ASSERT_EQ(distance(i, tree(i, j)), distance(i, brute(i, j)));
      if (j == 0) continue;
      ASSERT_LE(distance(i, brute(i, j - 1)), distance(i, brute(i, j)));
    }
  }
}

TEST(NearestNeighbors, RefusesMoreNeighboursThanRows) {
  expect_error(ErrorKind::kData, "3 rows, expected at least k = 4", [] {
    nearest_neighbors(Matrix<double>(3, 2), Matrix<double>(1, 2), 4);
  });
  expect_error(ErrorKind::kUsage, "k is 0", [] {
    nearest_neighbors(Matrix<double>(3, 2), Matrix<double>(1, 2), 0);
  });
  expect_error(ErrorKind::kUsage, "queries have 3 columns, expected 2", [] {
    nearest_neighbors(Matrix<double>(3, 2), Matrix<double>(1, 3), 1);
  });
}

TEST(Resample, EqualsTheStoredImbalancedLearnVectors) {
  const auto root = test_data("reference/resample");
  MED3D_NEEDS_REFERENCE(root);
  int cases = 0;
  for (const char* set : {"breast", "ehr_dup"}) {
    const Matrix<double> x = read_npy(root / set / "X.npy");
    const auto y = labels_of(read_npy(root / set / "y.npy"));
    for (const char* name :
         {"smote_k5", "smote_k3", "smote_ratio0.6", "adasyn_k5", "adasyn_k3", "adasyn_ratio0.6"}) {
      const auto folder = root / set / name;
      if (!std::filesystem::is_directory(folder)) continue;
      SCOPED_TRACE(folder.string());
      const std::string text = name;
      ResampleOptions options;
      options.seed = 42;
      options.strict = true;
      options.k_neighbors = text.ends_with("k3") ? 3 : 5;
      options.ratio = text.ends_with("0.6") ? 0.6 : 0.0;
      const Balance balance = text.starts_with("smote") ? Balance::kSmote : Balance::kAdasyn;
      const Resampled found = resample(x, y, balance, options);
      expect_near(found.x, read_npy(folder / "X_res.npy"), 1e-12);
      EXPECT_EQ(found.y, labels_of(read_npy(folder / "y_res.npy")));
      EXPECT_EQ(found.n_original, x.rows());
      EXPECT_TRUE(found.warnings.empty());
      ++cases;
    }
  }
  EXPECT_EQ(cases, 10);
}

// tests/reference/resample.py, "smotenc": synthetic rows for two numeric and two nominal columns.
TEST(Smotenc, EqualsImbalancedLearn) {
  Matrix<double> x = reference_grid(40, 4);
  std::vector<std::uint8_t> y;
  for (std::size_t i = 0; i < 40; ++i) {
    x(i, 2) = std::fmod(x(i, 2), 3.0);
    x(i, 3) = std::fmod(x(i, 3), 4.0);
    y.push_back(i % 10 < 7 ? 1 : 0);
  }
  ResampleOptions options;
  options.k_neighbors = 4;
  options.seed = 7;
  options.categorical = {false, false, true, true};
  const std::vector<std::vector<double>> expected = {
      {74.99694502146455, 88.0, 1.0, 0.0},
      {67.03768998836281, 79.3961499806047, 2.0, 0.0},
      {71.92521927791249, 75.89721493871376, 1.0, 0.0},
      {21.523764532594154, 37.04705665742692, 0.0, 2.0},
      {26.703390223142108, 68.52749077524724, 0.0, 1.0},
      {28.423708801384013, 75.91490402422022, 0.0, 2.0},
      {64.35056827929004, 88.0, 2.0, 2.0},
      {23.933073232100423, 7.774009596538901, 0.0, 2.0},
      {31.191504152729266, 73.94672715998902, 0.0, 2.0},
      {27.137587960621957, 53.40778931088424, 0.0, 2.0},
      {26.925302317348955, 51.423286868355916, 1.0, 2.0},
      {75.98902165071755, 70.61427185406718, 1.0, 0.0},
      {72.4514245045501, 67.09715099089979, 1.0, 0.0},
      {72.6060575804193, 82.61212015314675, 2.0, 0.0},
      {88.0, 73.100167334789, 1.0, 0.0},
      {24.272614875339805, 66.45518237307444, 1.0, 2.0},
  };
  const Resampled found = resample(x, y, Balance::kSmotenc, options);
  ASSERT_EQ(found.x.rows(), 56U);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    for (std::size_t j = 0; j < 4; ++j) EXPECT_NEAR(found.x(40 + i, j), expected[i][j], 1e-12);
  }

  for (std::size_t i = 0; i < 40; ++i) {
    x(i, 1) = 3.0;
    x(i, 0) = i < 30 ? 3.0 : 4.0;
  }
  std::vector<std::uint8_t> swapped;
  for (const std::uint8_t label : y) swapped.push_back(static_cast<std::uint8_t>(1 - label));
  options.k_neighbors = 5;
  options.seed = 3;
  const Resampled second = resample(x, swapped, Balance::kSmotenc, options);
  EXPECT_NEAR(std::accumulate(second.x.data(), second.x.data() + second.x.size(), 0.0),
              493.30185790553423,
              1e-10);
  Matrix<double> scaled = second.x;
  for (std::size_t i = 0; i < scaled.size(); ++i) {
    scaled.data()[i] = std::floor(scaled.data()[i] * 1000.0);
  }
  EXPECT_EQ(checksum(scaled), 29485966.0);

  // Numeric columns without any spread: distances are all 0, votes are plain counts.
  for (std::size_t i = 0; i < 40; ++i) x(i, 0) = 3.0;
  EXPECT_EQ(checksum(resample(x, y, Balance::kSmotenc, options).x), 27593.0);
}

TEST(Smotenc, NeverInventsANominalValue) {
  Matrix<double> x = grid(60, 3, 97);
  std::vector<std::uint8_t> y;
  for (std::size_t i = 0; i < 60; ++i) {
    x(i, 2) = std::fmod(x(i, 2), 2.0);
    y.push_back(i < 15 ? 1 : 0);
  }
  ResampleOptions options;
  options.categorical = {false, false, true};
  const Resampled found = resample(x, y, Balance::kSmotenc, options);
  ASSERT_EQ(found.x.rows(), 90U);
  for (std::size_t i = 0; i < 90; ++i) EXPECT_TRUE(found.x(i, 2) == 0.0 || found.x(i, 2) == 1.0);
}

// tests/reference/resample.py, "random": the rows that RandomOverSampler(random_state=11) repeats.
TEST(RandomOversampling, DrawsTheRowsImbalancedLearnDraws) {
  const Matrix<double> x = reference_grid(40, 4);
  std::vector<std::uint8_t> y;
  for (std::size_t i = 0; i < 40; ++i) y.push_back(i % 10 < 7 ? 1 : 0);
  ResampleOptions options;
  options.seed = 11;
  const Resampled found = resample(x, y, Balance::kRandom, options);
  const std::vector<std::size_t> expected = {
      37, 7, 39, 8, 28, 8, 28, 9, 29, 7, 7, 18, 9, 8, 38, 19};
  ASSERT_EQ(found.x.rows(), 40 + expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_TRUE(std::equal(
        x.row(expected[i]).begin(), x.row(expected[i]).end(), found.x.row(40 + i).begin()));
  }
}

// tests/reference/resample.py, "three classes".
TEST(Resample, GrowsEveryClassButTheLargest) {
  const Matrix<double> x = grid(90, 5, 50);
  std::vector<std::uint8_t> y(90, 0);
  std::fill(y.begin() + 50, y.begin() + 75, std::uint8_t{1});
  std::fill(y.begin() + 75, y.end(), std::uint8_t{2});
  ResampleOptions options;
  options.seed = 5;
  const auto sums = [](const Matrix<double>& m) {
    double sum = 0.0;
    double squares = 0.0;
    for (std::size_t i = 0; i < m.size(); ++i) {
      sum += m.data()[i];
      squares += m.data()[i] * m.data()[i];
    }
    return std::pair(sum, squares);
  };
  const Resampled smote = resample(x, y, Balance::kSmote, options);
  EXPECT_EQ(count(smote.y, 1), 50U);
  EXPECT_EQ(count(smote.y, 2), 50U);
  EXPECT_NEAR(sums(smote.x).first, 17861.57174788074, 1e-8);
  EXPECT_NEAR(sums(smote.x).second, 559567.4517545013, 1e-6);
  const Resampled adasyn = resample(x, y, Balance::kAdasyn, options);
  EXPECT_EQ(count(adasyn.y, 2), 49U);
  EXPECT_NEAR(sums(adasyn.x).first, 17697.721935288624, 1e-8);
  EXPECT_NEAR(sums(adasyn.x).second, 555276.596756372, 1e-6);
}

// Two rows of class 1 at 0 and 10, k = 1: every synthetic value is 10 u or 10 - 10 u with u in
// [0, 1), so between them; the second column is 0 for both.
TEST(Smote, StaysOnTheSegmentBetweenNeighbours) {
  Matrix<double> x(6, 2);
  x(1, 0) = 10.0;
  for (std::size_t i = 2; i < 6; ++i) x(i, 1) = 5.0;
  const std::vector<std::uint8_t> y = {1, 1, 0, 0, 0, 0};
  ResampleOptions options;
  options.k_neighbors = 1;
  const Resampled found = resample(x, y, Balance::kSmote, options);
  ASSERT_EQ(found.x.rows(), 8U);
  for (std::size_t i = 6; i < 8; ++i) {
    EXPECT_GE(found.x(i, 0), 0.0);
    EXPECT_LE(found.x(i, 0), 10.0);
    EXPECT_EQ(found.x(i, 1), 0.0);
    EXPECT_EQ(found.y[i], 1);
  }
  EXPECT_EQ(found.x.take_rows(std::vector<int>{0, 1, 2, 3, 4, 5}), x);
}

TEST(Resample, ReturnsBalancedDataUnchanged) {
  const Matrix<double> x = grid(16, 3, 97);
  std::vector<std::uint8_t> y(16, 0);
  std::fill(y.begin() + 8, y.end(), std::uint8_t{1});
  ResampleOptions options;
  options.categorical = {false, false, true};
  for (const Balance balance :
       {Balance::kNone, Balance::kSmote, Balance::kAdasyn, Balance::kSmotenc, Balance::kRandom}) {
    const Resampled found = resample(x, y, balance, options);
    EXPECT_EQ(found.x, x);
    EXPECT_EQ(found.y, y);
  }
}

TEST(Resample, LowersKForASmallClassOrRefusesUnderStrict) {
  const Matrix<double> x = grid(20, 3, 97);
  std::vector<std::uint8_t> y(20, 0);
  std::fill(y.begin(), y.begin() + 5, std::uint8_t{1});
  ResampleOptions options;
  for (const Balance balance : {Balance::kSmote, Balance::kAdasyn}) {
    options.strict = false;
    const Resampled found = resample(x, y, balance, options);
    EXPECT_GT(found.x.rows(), 20U);
    ASSERT_EQ(found.warnings.size(), 1U);
    EXPECT_EQ(found.warnings[0],
              "class 1 has 5 rows, 5 neighbours need at least 6; 4 used instead");
    options.strict = true;
    expect_error(ErrorKind::kData, "class 1 has 5 rows, 5 neighbours need at least 6", [&] {
      resample(x, y, balance, options);
    });
  }
  std::fill(y.begin() + 1, y.begin() + 5, std::uint8_t{0});
  options.strict = false;
  expect_error(
      ErrorKind::kData, "class 1 has 1 row", [&] { resample(x, y, Balance::kSmote, options); });
}

TEST(Adasyn, BecomesSmoteWhereNoNeighbourIsOfAnotherClass) {
  Matrix<double> x = grid(30, 2, 10);
  std::vector<std::uint8_t> y(30, 0);
  for (std::size_t i = 0; i < 8; ++i) {
    x(i, 0) += 1000.0;
    y[i] = 1;
  }
  ResampleOptions options;
  const Resampled found = resample(x, y, Balance::kAdasyn, options);
  ASSERT_EQ(found.warnings.size(), 1U);
  EXPECT_NE(found.warnings[0].find("none of its rows has a neighbour of another class"),
            std::string::npos);
  EXPECT_EQ(found.x, resample(x, y, Balance::kSmote, options).x);
  options.strict = true;
  expect_error(
      ErrorKind::kData, "use smote instead", [&] { resample(x, y, Balance::kAdasyn, options); });
}

TEST(Resample, RefusesWhatItCannotUse) {
  Matrix<double> x = grid(20, 2, 97);
  std::vector<std::uint8_t> y(20, 0);
  const ResampleOptions options;
  expect_error(ErrorKind::kData, "20 rows of class 0 only", [&] {
    resample(x, y, Balance::kSmote, options);
  });
  std::fill(y.begin(), y.begin() + 8, std::uint8_t{1});
  ResampleOptions bad = options;
  bad.ratio = 0.5;
  expect_error(ErrorKind::kData, "already at ratio 0.5 or above", [&] {
    resample(x, y, Balance::kSmote, bad);
  });
  bad.ratio = 1.5;
  expect_error(ErrorKind::kUsage, "ratio is 1.5", [&] { resample(x, y, Balance::kSmote, bad); });
  bad = options;
  bad.k_neighbors = 0;
  expect_error(
      ErrorKind::kUsage, "k_neighbors is 0", [&] { resample(x, y, Balance::kSmote, bad); });
  expect_error(ErrorKind::kUsage, "marks 0 columns, expected 2", [&] {
    resample(x, y, Balance::kSmotenc, options);
  });
  bad = options;
  bad.categorical = {true, true};
  expect_error(ErrorKind::kUsage, "every column is nominal", [&] {
    resample(x, y, Balance::kSmotenc, bad);
  });
  x(3, 1) = std::nan("");
  expect_error(ErrorKind::kData, "row 4, column 2 is nan", [&] {
    resample(x, y, Balance::kAdasyn, options);
  });
  y.pop_back();
  expect_error(ErrorKind::kUsage, "20 rows and 19 labels", [&] {
    resample(x, y, Balance::kSmote, options);
  });
  expect_error(ErrorKind::kUsage, "did you mean 'adasyn'", [] { parse_balance("adasin"); });
  EXPECT_EQ(parse_balance(to_string(Balance::kSmotenc)), Balance::kSmotenc);
}

}  // namespace
}  // namespace med3d::tabular
