#include "med3d/tabular/logistic.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <limits>

#include "med3d/core/error.h"
#include "med3d/core/random.h"
#include "med3d/tabular/test_reference.h"

namespace med3d::tabular {
namespace {

Matrix<double> table(std::size_t n, std::size_t p) {
  Matrix<double> out = reference_grid(n, p);
  for (std::size_t i = 0; i < out.size(); ++i) out.data()[i] = out.data()[i] / 97.0 - 0.5;
  return out;
}

std::vector<std::uint8_t> labels(std::size_t n) {
  std::vector<std::uint8_t> out;
  for (std::size_t i = 0; i < n; ++i) out.push_back((i * 29 + i * i * 5) % 31 < 9 ? 1 : 0);
  return out;
}

struct Expected {
  double intercept;
  std::vector<double> first;
  double squares;
  std::vector<double> p;
};

void expect_model(const LogisticRegression& found,
                  const Matrix<double>& x,
                  const Expected& expected) {
  // scikit-learn's lbfgs stops a little short of the optimum that Newton's method reaches.
  constexpr double kBound = 2e-6;
  EXPECT_NEAR(found.intercept(), expected.intercept, kBound);
  double squares = 0.0;
  for (const double w : found.coefficients()) squares += w * w;
  EXPECT_NEAR(squares, expected.squares, 10 * kBound);
  const auto p = found.predict_proba(x);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(found.coefficients()[i], expected.first[i], kBound);
  }
  for (std::size_t i = 0; i < 3; ++i) EXPECT_NEAR(p[i], expected.p[i], kBound);
}

// One column, rows -1 (class 0) and +1 (class 1), C = 1: by symmetry b = 0 and w solves
// w = 2 / (1 + exp(w)), the fixed point 0.8526055...: 2 / (1 + e^0.8526055) = 0.8526055.
TEST(Logistic, MatchesHandComputedValue) {
  Matrix<double> x(2, 1);
  x(0, 0) = -1.0;
  x(1, 0) = 1.0;
  const auto model = LogisticRegression::fit(x, std::vector<std::uint8_t>{0, 1});
  const double w = model.coefficients()[0];
  EXPECT_NEAR(w, 2.0 / (1.0 + std::exp(w)), 1e-12);
  EXPECT_NEAR(w, 0.8526055, 1e-6);
  EXPECT_NEAR(model.intercept(), 0.0, 1e-12);
}

// All from tests/reference/logistic.py.
TEST(Logistic, EqualsScikitLearnWithMoreRowsThanColumns) {
  const Matrix<double> x = table(60, 4);
  const auto y = labels(60);
  LogisticOptions options;
  expect_model(LogisticRegression::fit(x, y, options),
               x,
               {-0.9330420034014136,
                {-0.862307069236736, -0.40554157517950185, 0.2712246832738132, 0.05062301864880331},
                0.9841629696888179,
                {0.38980470400553735, 0.30184131513376267, 0.39663830680989925}});
  std::vector<double> weight;
  for (int i = 0; i < 60; ++i) weight.push_back(i % 3 + 0.5);
  expect_model(
      LogisticRegression::fit(x, y, options, weight),
      x,
      {-0.9219974237964615,
       {-1.1841427359757728, -0.3239201526471601, 0.47136992114025633, 0.08881567192164344},
       1.7371961105898128,
       {0.3985398155916653, 0.326760444798947, 0.4444491227949842}});
  options.c = 10.0;
  options.balanced = true;
  expect_model(LogisticRegression::fit(x, y, options),
               x,
               {-0.039001346982653846,
                {-1.7180747760501436, -0.6880837659455633, 0.4693058725304901, 0.10095244233190773},
                3.655679602661961,
                {0.7113128516270575, 0.5357275904888288, 0.7222128701307069}});
}

TEST(Logistic, EqualsScikitLearnWithMoreColumnsThanRows) {
  const Matrix<double> x = table(40, 90);
  const auto y = labels(40);
  LogisticOptions options;
  options.c = 0.5;
  expect_model(
      LogisticRegression::fit(x, y, options),
      x,
      {-1.2000654704908762,
       {-0.4617184600194561, -0.08080115588479762, 0.07043664389890714, -0.06369556618453923},
       4.408340360951508,
       {0.5362903564336707, 0.6311759988881005, 0.19287239367510728}});
  options.c = 2.0;
  options.balanced = true;
  expect_model(
      LogisticRegression::fit(x, y, options),
      x,
      {-1.2932945627415324,
       {-0.9642371416832523, -0.21724923381965816, 0.12030199435160312, -0.08858779933546745},
       19.201440250180312,
       {0.8356255923826833, 0.8899282793055566, 0.1444315367879772}});
}

// The same data once with 30 columns (solved in columns) and once with 50 columns of zeros added
// (solved in rows): the optimum is the same.
TEST(Logistic, BothSolversFindTheSameOptimum) {
  const Matrix<double> x = table(40, 30);
  Matrix<double> wide(40, 80);
  for (std::size_t i = 0; i < 40; ++i) {
    std::copy(x.row(i).begin(), x.row(i).end(), wide.row(i).begin());
  }
  const auto y = labels(40);
  const auto a = LogisticRegression::fit(x, y);
  const auto b = LogisticRegression::fit(wide, y);
  EXPECT_NEAR(a.intercept(), b.intercept(), 1e-9);
  for (std::size_t j = 0; j < 30; ++j) {
    EXPECT_NEAR(a.coefficients()[j], b.coefficients()[j], 1e-9);
  }
  for (std::size_t j = 30; j < 80; ++j) EXPECT_EQ(b.coefficients()[j], 0.0);
}

TEST(Logistic, StaysFiniteOnSeparableData) {
  Matrix<double> x(20, 1);
  std::vector<std::uint8_t> y;
  for (std::size_t i = 0; i < 20; ++i) {
    x(i, 0) = i < 10 ? -1.0 : 1.0;
    y.push_back(i < 10 ? 0 : 1);
  }
  LogisticOptions options;
  options.c = 1e6;
  const auto model = LogisticRegression::fit(x, y, options);
  EXPECT_TRUE(std::isfinite(model.coefficients()[0]));
  EXPECT_GT(model.coefficients()[0], 5.0);
  EXPECT_GT(model.predict_proba(x)[19], 0.999);
}

TEST(Logistic, SolvesTwoThousandColumnsInASecond) {
  NumpyRandom random(1);
  Matrix<double> x(400, 2200);
  for (std::size_t i = 0; i < x.size(); ++i) x.data()[i] = random.normal();
  std::vector<std::uint8_t> y;
  for (std::size_t i = 0; i < 400; ++i) y.push_back(x(i, 0) + random.normal() > 1.0 ? 1 : 0);
  LogisticOptions options;
  options.balanced = true;
  const auto start = std::chrono::steady_clock::now();
  const auto model = LogisticRegression::fit(x, y, options);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  RecordProperty("seconds", std::to_string(seconds.count()));
#ifdef NDEBUG
  EXPECT_LT(seconds.count(), 5.0);  // 0.3 s alone on one core; the bound allows for busy machines
#endif
  // At the optimum w_j = -sum_i dloss_i x_ij: check the largest gap over all columns.
  const auto p = model.predict_proba(x);
  double positives = 0.0;
  for (const std::uint8_t label : y) positives += label;
  double worst = 0.0;
  for (std::size_t j = 0; j < x.cols(); ++j) {
    double gradient = model.coefficients()[j];
    for (std::size_t i = 0; i < 400; ++i) {
      const double weight = 400.0 / (2.0 * (y[i] != 0 ? positives : 400.0 - positives));
      gradient += weight * (p[i] - y[i]) * x(i, j);
    }
    worst = std::max(worst, std::abs(gradient));
  }
  EXPECT_LT(worst, 1e-6);
}

TEST(Logistic, ReadsBackTheSameModel) {
  const Matrix<double> x = table(60, 4);
  const auto model = LogisticRegression::fit(x, labels(60));
  const auto again = LogisticRegression::from_json(parse_json(dump_json(model.to_json()), "test"));
  EXPECT_EQ(again.predict_proba(x), model.predict_proba(x));
  const auto load = [](const char* text) {
    LogisticRegression::from_json(parse_json(text, "test"));
  };
  expect_error(ErrorKind::kFormat, "'model' is not", [&] { load("{}"); });
  expect_error(ErrorKind::kFormat, "no 'intercept'", [&] { load(R"({"model": "logistic"})"); });
  expect_error(ErrorKind::kFormat, "a coefficient is no number", [&] {
    load(R"({"model": "logistic", "intercept": 0, "coefficients": [null]})");
  });
}

TEST(Logistic, RefusesWhatHasNoSolution) {
  const Matrix<double> x = table(10, 2);
  std::vector<std::uint8_t> y(10, 0);
  expect_error(ErrorKind::kData, "no row of class 1", [&] { LogisticRegression::fit(x, y); });
  y[0] = 1;
  LogisticOptions options;
  options.c = std::numeric_limits<double>::infinity();
  expect_error(ErrorKind::kUsage, "C is inf", [&] { LogisticRegression::fit(x, y, options); });
  options.c = 0.0;
  expect_error(ErrorKind::kUsage, "C is 0", [&] { LogisticRegression::fit(x, y, options); });
  Matrix<double> bad = x;
  bad(2, 1) = std::nan("");
  expect_error(
      ErrorKind::kData, "row 3, column 2 is nan", [&] { LogisticRegression::fit(bad, y); });
  std::vector<double> weight(10, 1.0);
  weight[0] = 0.0;
  expect_error(
      ErrorKind::kData, "no row of class 1", [&] { LogisticRegression::fit(x, y, {}, weight); });
  weight[0] = -1.0;
  expect_error(ErrorKind::kData, "weight of row 1 is -1", [&] {
    LogisticRegression::fit(x, y, {}, weight);
  });
  y[4] = 2;
  expect_error(ErrorKind::kData, "label of row 5 is 2", [&] { LogisticRegression::fit(x, y); });
  y.pop_back();
  expect_error(ErrorKind::kUsage, "do not fit together", [&] { LogisticRegression::fit(x, y); });
  y.push_back(0);
  y[4] = 0;
  const auto model = LogisticRegression::fit(x, y);
  expect_error(ErrorKind::kUsage, "3 columns, expected 2", [&] {
    model.predict_proba(Matrix<double>(1, 3));
  });
}

}  // namespace
}  // namespace med3d::tabular
