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
  constexpr double kBound = 1e-8;  // where scikit-learn's Newton stops
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
// w = 2 / (1 + exp(w)); by bisection w = 0.6748316143423994: e^w = 1.963702, 2 / 2.963702 =
// 0.674832.
TEST(Logistic, MatchesHandComputedValue) {
  Matrix<double> x(2, 1);
  x(0, 0) = -1.0;
  x(1, 0) = 1.0;
  const auto model = LogisticRegression::fit(x, std::vector<std::uint8_t>{0, 1});
  const double w = model.coefficients()[0];
  EXPECT_NEAR(w, 2.0 / (1.0 + std::exp(w)), 1e-12);
  EXPECT_NEAR(w, 0.6748316143423994, 1e-12);
  EXPECT_NEAR(model.intercept(), 0.0, 1e-12);
}

// All from tests/reference/logistic.py.
TEST(Logistic, EqualsScikitLearnWithMoreRowsThanColumns) {
  const Matrix<double> x = table(60, 4);
  const auto y = labels(60);
  LogisticOptions options;
  expect_model(
      LogisticRegression::fit(x, y, options),
      x,
      {-0.933041716754337,
       {-0.8623053733196123, -0.40554410855421874, 0.27122429369325673, 0.05062313716007845},
       0.984161900344246,
       {0.38980487501813976, 0.30184127716726394, 0.3966382755152773}});
  std::vector<double> weight;
  for (int i = 0; i < 60; ++i) weight.push_back(i % 3 + 0.5);
  expect_model(LogisticRegression::fit(x, y, options, weight),
               x,
               {-0.9220037816160837,
                {-1.184139054797679, -0.32393654864114335, 0.471380890491727, 0.0888217000858247},
                1.737209426969586,
                {0.3985380118421609, 0.32675991338461985, 0.4444488830340292}});
  options.c = 10.0;
  options.balanced = true;
  expect_model(LogisticRegression::fit(x, y, options),
               x,
               {-0.039003596404254555,
                {-1.718076601721454, -0.688056916742124, 0.46934061075582345, 0.10093480735446901},
                3.655677974299751,
                {0.7113084320767327, 0.5357284376561394, 0.7222113228875804}});
}

TEST(Logistic, EqualsScikitLearnWithMoreColumnsThanRows) {
  const Matrix<double> x = table(40, 90);
  const auto y = labels(40);
  LogisticOptions options;
  options.c = 0.5;
  expect_model(
      LogisticRegression::fit(x, y, options),
      x,
      {-1.2000658060105052,
       {-0.46171586779104495, -0.08079891025991057, 0.07043668980099124, -0.063692801436918},
       4.408329571172464,
       {0.5362820480781989, 0.6311738200611366, 0.19287495566254473}});
  options.c = 2.0;
  options.balanced = true;
  expect_model(
      LogisticRegression::fit(x, y, options),
      x,
      {-1.2933283844019996,
       {-0.9642289544091256, -0.2172447556015594, 0.12029709835316367, -0.08857994746721042},
       19.201319053937162,
       {0.8356206750491837, 0.8899252074586684, 0.1444281254874123}});
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
