#include "med3d/stats/umap.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "med3d/core/error.h"
#include "med3d/core/random.h"
#include "med3d/stats/lanczos.h"
#include "med3d/stats/test_data.inl"

namespace med3d::stats {
namespace {

SymmetricOperator ring(std::size_t n) {
  return [n](std::span<const double> x, std::span<double> y) {
    for (std::size_t i = 0; i < n; ++i) y[i] = x[(i + 1) % n] + x[(i + n - 1) % n];
  };
}

// The ring of n has eigenvalues 2 cos(2 pi k / n): 2 once, then each twice.
TEST(Lanczos, FindsDoubleEigenvaluesTwice) {
  for (const std::size_t n : {5U, 40U, 300U}) {
    const auto pairs = leading_eigenpairs(n, ring(n), 5);
    ASSERT_EQ(pairs.size(), 5U);
    for (std::size_t p = 0; p < 5; ++p) {
      const double k = static_cast<double>((p + 1) / 2);
      EXPECT_NEAR(
          pairs[p].value, 2.0 * std::cos(2.0 * std::numbers::pi * k / static_cast<double>(n)), 1e-9)
          << n << " " << p;
    }
  }
}

// The path of n has eigenvalues 2 cos(pi k / (n + 1)) and vectors sin(pi k i / (n + 1)).
TEST(Lanczos, MatchesTheClosedFormOfAPathAndFixesTheSign) {
  const std::size_t n = 60;
  const SymmetricOperator path = [](std::span<const double> x, std::span<double> y) {
    for (std::size_t i = 0; i < x.size(); ++i) {
      y[i] = (i > 0 ? x[i - 1] : 0.0) + (i + 1 < x.size() ? x[i + 1] : 0.0);
    }
  };
  const auto pairs = leading_eigenpairs(n, path, 2);
  const double length = std::sqrt(61.0 / 2.0);
  for (std::size_t p = 0; p < 2; ++p) {
    const double angle = std::numbers::pi * static_cast<double>(p + 1) / 61.0;
    EXPECT_NEAR(pairs[p].value, 2.0 * std::cos(angle), 1e-12);
    for (std::size_t i = 0; i < n; ++i) {
      EXPECT_NEAR(pairs[p].vector[i], std::sin(angle * static_cast<double>(i + 1)) / length, 1e-7);
    }
  }
}

TEST(Lanczos, ReturnsNoMoreVectorsThanThereAre) {
  const SymmetricOperator zero = [](std::span<const double>, std::span<double> y) {
    std::fill(y.begin(), y.end(), 0.0);
  };
  EXPECT_EQ(leading_eigenpairs(2, zero, 5).size(), 2U);
  EXPECT_EQ(leading_eigenpairs(3, ring(3), 5, {{1.0, 0.0, 0.0}}).size(), 2U);
}

Matrix<double> two_clouds(std::size_t n, double gap) {
  NumpyRandom random(1);
  Matrix<double> x(n, 4);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t c = 0; c < 4; ++c) x(i, c) = random.normal() + (i % 2 == 0 ? gap : 0.0);
  }
  return x;
}

TEST(ExactNeighbors, TakesTiesByIndexAndItselfFirst) {
  Matrix<double> x(5, 1);
  for (std::size_t i = 0; i < 5; ++i) x(i, 0) = static_cast<double>(i);
  x(4, 0) = 2.0;  // a twin of row 2
  const Neighbors found = exact_neighbors(x, 4);
  const auto row = found.index.row(4);
  EXPECT_EQ(std::vector<std::int64_t>(row.begin(), row.end()),
            (std::vector<std::int64_t>{4, 2, 1, 3}));
  EXPECT_EQ(found.distance(4, 1), 0.0F);
  EXPECT_EQ(found.distance(4, 3), 1.0F);
  EXPECT_THROW(exact_neighbors(x, 6), Error);
  EXPECT_THROW(exact_neighbors(x, 0), Error);
  x(1, 0) = std::nan("");
  EXPECT_THROW(exact_neighbors(x, 2), Error);
}

// Neighbours at 1 and 2 (k = 3): rho = 1, and 1 + exp(-1/sigma) = log2(3): sigma =
// -1/ln(log2(3)-1).
TEST(SmoothNeighborDistances, SolvesTheSumForSigma) {
  Matrix<float> distance(1, 3);
  distance(0, 1) = 1.0F;
  distance(0, 2) = 2.0F;
  const LocalScale scale = smooth_neighbor_distances(distance);
  EXPECT_EQ(scale.rho[0], 1.0F);
  EXPECT_NEAR(scale.sigma[0], -1.0 / std::log(std::log2(3.0) - 1.0), 1e-4);
}

// Row 0 reaches row 1 with membership 1, row 1 reaches row 2, not row 0: the union keeps 1.
TEST(FuzzyGraph, JoinsMembershipsOfBothDirections) {
  Neighbors neighbors{Matrix<std::int64_t>(2, 2), Matrix<float>(2, 2)};
  neighbors.index(0, 1) = 1;
  neighbors.index(1, 0) = 1;
  neighbors.index(1, 1) = 0;
  neighbors.distance(0, 1) = neighbors.distance(1, 1) = 3.0F;
  // exp(-(3-2)/1) = 0.36788 from row 0, exp(-(3-1)/2) = 0.36788 from row 1.
  const FuzzyGraph graph = fuzzy_graph(neighbors, LocalScale{{1.0F, 2.0F}, {2.0F, 1.0F}});
  ASSERT_EQ(graph.weight.size(), 2U);
  const double e = std::exp(-1.0);
  EXPECT_NEAR(graph.weight[0], 2.0 * e - e * e, 1e-6);
  EXPECT_EQ(graph.weight[0], graph.weight[1]);
  EXPECT_EQ(graph.row[1], 1);
  EXPECT_EQ(graph.col[1], 0);
}

TEST(Umap, KeepsTwoCloudsApartAndIsTheSameOnAnyNumberOfThreads) {
  const Matrix<double> x = two_clouds(60, 12.0);
  UmapOptions options;
  options.seed = 3;
  options.n_epochs = 200;
  const UmapResult one = umap(x, options);
  options.threads = 3;
  const UmapResult three = umap(x, options);
  EXPECT_TRUE(one.embedding == three.embedding);
  options.seed = 4;
  EXPECT_FALSE(one.embedding == umap(x, options).embedding);
  ASSERT_EQ(one.notes.size(), 1U);  // two pieces
  EXPECT_NE(one.notes[0].find("2 separate pieces"), std::string::npos);
  // Every patient's nearest in the map is of its own cloud.
  const Neighbors found = exact_neighbors(one.embedding, 2);
  for (std::size_t i = 0; i < 60; ++i) {
    EXPECT_EQ(found.index(i, 1) % 2, static_cast<std::int64_t>(i % 2)) << i;
  }
  EXPECT_GT(trustworthiness(x, one.embedding, 5), 0.85);
}

TEST(Umap, WorksOnVerySmallSets) {
  for (const std::size_t n : {3U, 4U, 5U, 10U, 30U}) {
    const UmapResult result = umap(two_clouds(n, 1.0));
    EXPECT_EQ(result.embedding.rows(), n);
    EXPECT_EQ(result.n_neighbors, static_cast<int>(std::min<std::size_t>(15, n - 1)));
    EXPECT_EQ(result.notes.empty() || n > 15, n > 15) << n;
  }
  EXPECT_THROW(umap(two_clouds(2, 1.0)), Error);
}

TEST(Umap, SurvivesTwinsAndAConstantTableAndOneColumn) {
  EXPECT_EQ(umap(Matrix<double>(12, 3, 1.5)).embedding.rows(), 12U);
  Matrix<double> line(20, 1);
  for (std::size_t i = 0; i < 20; ++i) line(i, 0) = i < 10 ? 0.0 : 100.0;
  EXPECT_EQ(umap(line).embedding.cols(), 2U);
  UmapOptions options;
  options.n_components = 3;
  options.n_neighbors = 4;
  EXPECT_EQ(umap(line, options).embedding.cols(), 3U);
}

TEST(Umap, SaysWhatIsWrongWithItsOptions) {
  const Matrix<double> x = two_clouds(10, 1.0);
  UmapOptions options;
  options.n_neighbors = 1;
  EXPECT_THROW(umap(x, options), Error);
  options = {};
  options.min_dist = 2.0;
  EXPECT_THROW(umap(x, options), Error);
  options = {};
  options.learning_rate = 0.0;
  EXPECT_THROW(umap(x, options), Error);
  Matrix<double> broken = x;
  broken(7, 2) = std::nan("");
  try {
    umap(broken);
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "input row 7: nan, expected a finite number");
  }
}

TEST(Trustworthiness, IsOneForTheDataItselfAndNeedsFewNeighbours) {
  const Matrix<double> x = two_clouds(20, 1.0);
  EXPECT_EQ(trustworthiness(x, x, 5), 1.0);
  EXPECT_THROW(trustworthiness(x, x, 10), Error);
  EXPECT_THROW(trustworthiness(x, two_clouds(19, 1.0), 5), Error);
}

// Rows 0 1 2 3 4 on a line, map 0 1 4 3 2: k = 1. Row 2 sits at 4 and its map neighbour is row 3
// (true rank of 3 from 2: tied with 1 at distance 1, index 1 first, so 2: penalty 1). Row 1's map
// neighbours: 0 at distance 1 and 4 at distance 1, 0 first, rank 1: none. Row 4 at 2: 1 and 3 tied,
// 1 first, true rank of 1 from 4 is 3: penalty 2. Rows 0 and 3: row 3 at 3: 2 at distance 1, 4 at
// distance 1, 2 first, rank 1. T = 1 - 2 / (5 * 1 * (10 - 3 - 1)) * 3 = 1 - 6/30.
TEST(Trustworthiness, MatchesHandComputedValue) {
  Matrix<double> x(5, 1);
  Matrix<double> map(5, 1);
  const double at[] = {0, 1, 4, 3, 2};
  for (std::size_t i = 0; i < 5; ++i) {
    x(i, 0) = static_cast<double>(i);
    map(i, 0) = at[i];
  }
  EXPECT_DOUBLE_EQ(trustworthiness(x, map, 1), 0.8);
}

TEST(CurveParameters, MatchUmapLearn) {
  const auto folder = reference_folder("umap");
  MED3D_NEED_REFERENCE(folder);
  int cases = 0;
  for (const auto& row : read_csv(folder / "ab.csv")) {
    const CurveParameters curve = fit_curve_parameters(std::stod(row[0]), std::stod(row[1]));
    EXPECT_NEAR(curve.a, std::stod(row[2]), 1e-5) << row[0] << " " << row[1];
    EXPECT_NEAR(curve.b, std::stod(row[3]), 1e-5) << row[0] << " " << row[1];
    ++cases;
  }
  EXPECT_EQ(cases, 12);
}

class UmapOnDigits : public testing::TestWithParam<std::string> {};

TEST_P(UmapOnDigits, GraphMatchesUmapLearn) {
  const auto folder = reference_folder("umap");
  MED3D_NEED_REFERENCE(folder);
  const std::string prefix = GetParam();
  const auto x = matrix_cast<double>(read_npy<float>(folder / (prefix + "X.npy")));
  const auto index = read_npy<std::int64_t>(folder / (prefix + "knn_idx.npy"));
  const auto distance = read_npy<float>(folder / (prefix + "knn_dist.npy"));
  const auto sigma = read_npy<float>(folder / (prefix + "sigmas.npy"));
  const auto rho = read_npy<float>(folder / (prefix + "rhos.npy"));

  const Neighbors ours = exact_neighbors(x, 15);
  for (std::size_t i = 0; i < index.rows(); ++i) {
    for (std::size_t j = 0; j < 15; ++j) {
      EXPECT_NEAR(ours.distance(i, j), distance(i, j), 1e-5) << i << " " << j;
      // Another index is right only where the distance is tied.
      const auto other = x.row(static_cast<std::size_t>(index(i, j)));
      double squared = 0.0;
      for (std::size_t c = 0; c < other.size(); ++c) {
        squared += (x(i, c) - other[c]) * (x(i, c) - other[c]);
      }
      EXPECT_NEAR(std::sqrt(squared), ours.distance(i, j), 1e-5) << i << " " << j;
    }
  }

  const LocalScale scale = smooth_neighbor_distances(ours.distance);
  std::size_t other_step = 0;
  for (std::size_t i = 0; i < x.rows(); ++i) {
    // Relative: umap-learn sums in single precision in an order of its compiler's choosing, so now
    // and then its bisection stops one step (2^-16) before or after ours.
    EXPECT_NEAR(scale.sigma[i], sigma(i, 0), 1e-5 * sigma(i, 0)) << i;
    other_step += std::abs(scale.sigma[i] - sigma(i, 0)) > 1e-5F ? 1 : 0;
    EXPECT_NEAR(scale.rho[i], rho(i, 0), 1e-5) << i;
  }
  EXPECT_LT(other_step, x.rows() / 100);

  // On the reference's own neighbours, so that its order among ties does not enter.
  const FuzzyGraph graph = fuzzy_graph({index, distance}, scale);
  const auto rows = read_csv(folder / (prefix + "graph_coo.csv"));
  ASSERT_EQ(graph.weight.size(), rows.size());
  for (std::size_t e = 0; e < rows.size(); ++e) {
    ASSERT_EQ(graph.row[e], std::stoll(rows[e][0])) << e;
    ASSERT_EQ(graph.col[e], std::stoll(rows[e][1])) << e;
    ASSERT_NEAR(graph.weight[e], std::stod(rows[e][2]), 1e-5) << e;
  }
}

TEST_P(UmapOnDigits, MapIsAsTrustworthyAsThatOfUmapLearn) {
  const auto folder = reference_folder("umap");
  MED3D_NEED_REFERENCE(folder);
  const std::string prefix = GetParam();
  const auto x = matrix_cast<double>(read_npy<float>(folder / (prefix + "X.npy")));
  double worst5 = 1.0;
  double worst15 = 1.0;
  std::map<std::string, std::pair<double, double>> reference;
  for (const auto& row : read_csv(folder / "trust.csv")) {
    if (row[0] != prefix + "umap" || row[1] != "15" || row[2].rfind("0.1", 0) != 0) continue;
    worst5 = std::min(worst5, std::stod(row[4]));
    worst15 = std::min(worst15, std::stod(row[5]));
    reference[row[3]] = {std::stod(row[4]), std::stod(row[5])};
  }
  ASSERT_EQ(reference.size(), 5U);
  // The same measure on umap-learn's own maps gives the recorded numbers, up to ties.
  for (const std::string seed : {"0", "1"}) {
    const auto theirs =
        matrix_cast<double>(read_npy<float>(folder / (prefix + "embed_seed" + seed + ".npy")));
    EXPECT_NEAR(trustworthiness(x, theirs, 5, 2), reference[seed].first, 1e-4);
    EXPECT_NEAR(trustworthiness(x, theirs, 15, 2), reference[seed].second, 1e-4);
  }
  UmapOptions options;
  options.threads = 2;
  const UmapResult result = umap(x, options);
  EXPECT_TRUE(result.notes.empty()) << result.notes.front();
  const double trust5 = trustworthiness(x, result.embedding, 5, 2);
  const double trust15 = trustworthiness(x, result.embedding, 15, 2);
  RecordProperty("trustworthiness_5", std::to_string(trust5));
  RecordProperty("trustworthiness_15", std::to_string(trust15));
  EXPECT_GE(trust5, worst5 - 0.005);
  EXPECT_GE(trust15, worst15 - 0.005);
}

INSTANTIATE_TEST_SUITE_P(Sets, UmapOnDigits, testing::Values("small_", ""), [](const auto& set) {
  return set.param.empty() ? std::string("All") : std::string("First300");
});

}  // namespace
}  // namespace med3d::stats
