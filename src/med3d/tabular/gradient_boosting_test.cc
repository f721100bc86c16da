#include "med3d/tabular/gradient_boosting.h"

#include <gtest/gtest.h>

#include <cmath>

#include "med3d/core/error.h"
#include "med3d/core/json.h"
#include "med3d/core/parallel.h"
#include "med3d/core/random.h"
#include "med3d/tabular/test_reference.h"

namespace med3d::tabular {
namespace {

struct Data {
  Matrix<double> x;
  std::vector<std::uint8_t> y;
};

// Class 1 where the first two columns agree in sign: no single column tells.
Data make_data(std::size_t n) {
  NumpyRandom random(3);
  Data out{Matrix<double>(n, 4), {}};
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < 4; ++j) out.x(i, j) = random.normal();
    out.y.push_back(out.x(i, 0) * out.x(i, 1) > 0.0 ? 1 : 0);
  }
  return out;
}

BoostingOptions exact_options() {
  BoostingOptions options;
  options.subsample = 1.0;
  options.colsample = 1.0;
  return options;
}

// One tree of depth 1, learning rate 1, lambda 1, eight rows with x = 0 and y = 0, eight with x = 1
// and y = 1. At the base score 0.5 each gradient is p - y = +-0.5 and each second derivative 0.25,
// so on the left G = 4, H = 2, the leaf is -G / (H + lambda) = -4/3 and P = 1 / (1 + exp(4/3)).
TEST(GradientBoosting, MatchesHandComputedTree) {
  Matrix<double> x(16, 1);
  std::vector<std::uint8_t> y(16, 0);
  for (std::size_t i = 8; i < 16; ++i) {
    x(i, 0) = 1.0;
    y[i] = 1;
  }
  BoostingOptions options = exact_options();
  options.rounds = 1;
  options.max_depth = 1;
  options.learning_rate = 1.0;
  const auto p = GradientBoosting::fit(x, y, options).predict_proba(x);
  EXPECT_NEAR(p[0], 1.0 / (1.0 + std::exp(4.0 / 3.0)), 1e-6);
  EXPECT_NEAR(p[15], 1.0 / (1.0 + std::exp(-4.0 / 3.0)), 1e-6);
  // Class 1 counted twice: G = 8, H = 4, leaf = 8 / 5.
  options.scale_pos_weight = 2.0;
  EXPECT_NEAR(GradientBoosting::fit(x, y, options).predict_proba(x)[15],
              1.0 / (1.0 + std::exp(-8.0 / 5.0)),
              1e-6);
}

TEST(GradientBoosting, LearnsAnInteraction) {
  const Data data = make_data(600);
  BoostingOptions options;
  options.rounds = 300;
  options.learning_rate = 0.2;
  options.max_depth = 3;
  const auto p = GradientBoosting::fit(data.x, data.y, options).predict_proba(data.x);
  int right = 0;
  for (std::size_t i = 0; i < p.size(); ++i) right += (p[i] > 0.5) == (data.y[i] == 1) ? 1 : 0;
  EXPECT_GT(right, 570);
}

TEST(GradientBoosting, TreatsNanAsMissing) {
  Matrix<double> x(40, 1);
  std::vector<std::uint8_t> y;
  for (std::size_t i = 0; i < 40; ++i) {
    x(i, 0) = i % 2 == 0 ? std::nan("") : static_cast<double>(i % 5);
    y.push_back(i % 2 == 0 ? 1 : 0);
  }
  const auto p = GradientBoosting::fit(x, y, exact_options()).predict_proba(x);
  EXPECT_GT(p[0], 0.8);
  EXPECT_LT(p[1], 0.2);
}

TEST(GradientBoosting, GivesTheSameBytesForTheSameSeedOnAnyThread) {
  const Data data = make_data(150);
  std::vector<std::string> alone, together(6);
  const auto train = [&](std::size_t i) {
    BoostingOptions options;
    options.rounds = 30;
    options.seed = static_cast<std::uint32_t>(i);
    return GradientBoosting::fit(data.x, data.y, options).save_bytes();
  };
  for (std::size_t i = 0; i < together.size(); ++i) alone.push_back(train(i));
  parallel_for(together.size(), 3, [&](std::size_t i) { together[i] = train(i); });
  EXPECT_EQ(alone, together);
  EXPECT_NE(alone[0], alone[1]);
}

TEST(GradientBoosting, ReadsBackTheSameModel) {
  const Data data = make_data(100);
  const auto model = GradientBoosting::fit(data.x, data.y);
  const auto again = GradientBoosting::load_bytes(model.save_bytes());
  EXPECT_EQ(again.predict_proba(data.x), model.predict_proba(data.x));
  EXPECT_EQ(again.save_bytes(), model.save_bytes());
  EXPECT_EQ(again.columns(), 4U);
  expect_error(ErrorKind::kUsage, "3 columns, expected 4", [&] {
    again.predict_proba(Matrix<double>(1, 3));
  });
  EXPECT_TRUE(again.predict_proba(Matrix<double>()).empty());
}

TEST(GradientBoosting, RefusesBrokenModels) {
  const Data data = make_data(100);
  const std::string bytes = GradientBoosting::fit(data.x, data.y).save_bytes();
  const auto load = [](const std::string& text) { GradientBoosting::load_bytes(text); };
  expect_error(ErrorKind::kFormat, "gradient boosting model", [&] {
    load(bytes.substr(0, bytes.size() / 2));
  });
  expect_error(ErrorKind::kFormat, "gradient boosting model", [&] { load("{}"); });
  expect_error(ErrorKind::kFormat, "gradient boosting model", [&] { load(""); });
  const Json model = parse_json(bytes, "test");
  const auto with = [&](const auto& change) {
    Json copy = model;
    change(copy["learner"]["gradient_booster"]["model"]["trees"][0]);
    load(copy.dump());
  };
  expect_error(ErrorKind::kFormat, "out of range", [&] {
    with([](Json& tree) { tree["left_children"][0] = 1000; });
  });
  expect_error(ErrorKind::kFormat, "out of range", [&] {
    with([](Json& tree) { tree["split_indices"][0] = 4; });
  });
  expect_error(ErrorKind::kFormat, "out of range", [&] {
    with([](Json& tree) { tree["left_children"][1] = 0; });
  });
  expect_error(ErrorKind::kFormat, "two parents", [&] {
    with([](Json& tree) {
      tree["left_children"][1] = 1;
      tree["right_children"][1] = 2;
    });
  });
  expect_error(ErrorKind::kFormat, "by category", [&] {
    with([](Json& tree) { tree["split_type"][0] = 1; });
  });
  const auto with_booster = [&](const auto& change) {
    Json copy = model;
    change(copy["learner"]);
    load(copy.dump());
  };
  expect_error(ErrorKind::kFormat, "more than one output", [&] {
    with_booster(
        [](Json& learner) { learner["gradient_booster"]["model"]["tree_info"][0] = 1000000; });
  });
  expect_error(ErrorKind::kFormat, "not trees", [&] {
    with_booster([](Json& learner) { learner["objective"]["name"] = "multi:softprob"; });
  });
  // The same document, differently written, is the same model.
  EXPECT_EQ(GradientBoosting::load_bytes(" \n" + bytes).predict_proba(data.x),
            GradientBoosting::load_bytes(bytes).predict_proba(data.x));
  expect_error(ErrorKind::kFormat, "another length", [&] {
    with([](Json& tree) { tree["parents"].push_back(0); });
  });
}

TEST(GradientBoosting, RefusesWhatItCannotUse) {
  const Data data = make_data(20);
  const auto fit = [&](const Matrix<double>& x, std::vector<std::uint8_t> y) {
    GradientBoosting::fit(x, y);
  };
  expect_error(ErrorKind::kData, "no row of class 1", [&] {
    fit(data.x, std::vector<std::uint8_t>(20, 0));
  });
  expect_error(ErrorKind::kUsage, "20 rows and 3 labels", [&] { fit(data.x, {0, 1, 1}); });
  auto y = data.y;
  y[6] = 9;
  expect_error(ErrorKind::kData, "label of row 7 is 9", [&] { fit(data.x, y); });
  Matrix<double> x = data.x;
  x(1, 2) = 1e300;
  expect_error(ErrorKind::kData, "row 2, column 3 is 1e+300", [&] { fit(x, data.y); });
  BoostingOptions options;
  options.rounds = 0;
  expect_error(ErrorKind::kUsage, "rounds is 0", [&] { options.validate(); });
  options = {};
  options.subsample = 0.0;
  expect_error(ErrorKind::kUsage, "subsample is 0", [&] { options.validate(); });
  options = {};
  options.scale_pos_weight = 0.0;
  expect_error(ErrorKind::kUsage, "scale_pos_weight is 0", [&] { options.validate(); });
}

// Hazard e^(x0): the trees must order patients by the first column, time 0 included.
TEST(CoxBoosting, OrdersPatientsByTheirHazard) {
  const Data data = make_data(200);
  std::vector<double> time;
  std::vector<std::uint8_t> event;
  for (std::size_t i = 0; i < 200; ++i) {
    time.push_back(i == 0 ? 0.0 : 10.0 * std::exp(-data.x(i, 0)));
    event.push_back(i % 4 == 3 ? 0 : 1);
  }
  BoostingOptions options;
  options.seed = 3;
  const auto model = CoxBoosting::fit(data.x, time, event, options);
  const auto risk = model.log_hazard(data.x);
  double concordant = 0, pairs = 0;
  for (std::size_t i = 1; i < 200; ++i) {
    for (std::size_t j = 1; j < 200; ++j) {
      if (event[i] == 0 || !(time[i] < time[j])) continue;
      pairs += 1;
      concordant += risk[i] > risk[j] ? 1 : 0;
    }
  }
  EXPECT_GT(concordant / pairs, 0.9);
  const auto loaded = CoxBoosting::load_bytes(model.save_bytes());
  EXPECT_EQ(loaded.log_hazard(data.x), risk);
  EXPECT_EQ(loaded.columns(), data.x.cols());
  EXPECT_EQ(CoxBoosting::fit(data.x, time, event, options).save_bytes(), model.save_bytes());
  expect_error(ErrorKind::kFormat, "not trees for binary:logistic", [&] {
    GradientBoosting::load_bytes(model.save_bytes());
  });
}

TEST(CoxBoosting, RefusesWhatItCannotUse) {
  const Data data = make_data(20);
  std::vector<double> time(20, 5.0);
  std::vector<std::uint8_t> event(20, 0);
  expect_error(ErrorKind::kData, "no event", [&] { CoxBoosting::fit(data.x, time, event); });
  event[3] = 1;
  time[4] = -1.0;
  expect_error(ErrorKind::kData, "row 5", [&] { CoxBoosting::fit(data.x, time, event); });
  time.pop_back();
  expect_error(
      ErrorKind::kUsage, "20 rows and 19 times", [&] { CoxBoosting::fit(data.x, time, event); });
  BoostingOptions options;
  options.scale_pos_weight = 2.0;
  expect_error(ErrorKind::kUsage, "no class to weigh", [&] {
    CoxBoosting::fit(data.x, std::vector<double>(20, 1.0), event, options);
  });
}

}  // namespace
}  // namespace med3d::tabular
