#include "med3d/nn/survival_net.h"

#include <gtest/gtest.h>

#include <cmath>

#include "med3d/core/error.h"
#include "med3d/core/random.h"
#include "med3d/stats/survival/concordance.h"

namespace med3d::nn {
namespace {

using Loss = SurvivalNetOptions::Loss;
using stats::survival::SurvivalTimes;

// Hazard e^(1.5 x0); the second block is noise and absent for every third patient.
struct Data {
  FusionInput input;
  std::vector<double> time;
  std::vector<std::uint8_t> event;
  SurvivalTimes times() const { return {time, event}; }
};
Data make_data(std::size_t n, std::uint32_t seed) {
  NumpyRandom random(seed);
  Data data;
  data.input.blocks = {Matrix<float>(n, 3), Matrix<float>(n, 2)};
  data.input.present = Matrix<std::uint8_t>(n, 2, 1);
  for (std::size_t i = 0; i < n; ++i) {
    for (auto& block : data.input.blocks) {
      for (float& value : block.row(i)) value = static_cast<float>(random.normal());
    }
    if (i % 3 == 0) data.input.present(i, 1) = 0;
    const double x = static_cast<double>(data.input.blocks[0](i, 0));
    const double death = -30.0 * std::log(1.0 - random.uniform()) * std::exp(-1.5 * x);
    const double lost = 60.0 * random.uniform();
    data.time.push_back(std::min(death, lost));
    data.event.push_back(death <= lost ? 1 : 0);
  }
  return data;
}

TEST(SurvivalNet, BothLossesFindTheHazard) {
  const Data train = make_data(300, 1);
  const Data test = make_data(200, 2);
  for (const Loss loss : {Loss::kCox, Loss::kDiscrete}) {
    for (const FusionMode mode : {FusionMode::kConcat, FusionMode::kMean}) {
      SurvivalNetOptions options;
      options.loss = loss;
      options.mode = mode;
      options.projection = 8;
      if (loss == Loss::kDiscrete) options.cuts = {5, 10, 20};
      options.modality_dropout = 0.1;
      options.learning_rate = 0.02;
      options.seed = 3;
      const auto net = SurvivalNet::fit(train.input, train.times(), options);
      EXPECT_LT(net.training_loss().back(), net.training_loss().front());
      const auto out = net.predict(test.input);
      ASSERT_EQ(out.cols(), options.outputs());
      std::vector<double> risk;
      for (std::size_t i = 0; i < out.rows(); ++i) risk.push_back(out(i, 0));
      const auto c = stats::survival::harrell_c_index(test.times(), risk);
      EXPECT_GT(c.c_index.value, 0.72);
      // Loaded again, and fitted again from the same seed: bit for bit the same.
      const auto loaded = SurvivalNet::from_parameters(options, {3, 2}, net.parameters());
      EXPECT_EQ(loaded.predict(test.input), out);
      EXPECT_EQ(SurvivalNet::fit(train.input, train.times(), options).predict(test.input), out);
    }
  }
}

// Two patients, two intervals, all hazards 1/2 (logits 0). Event in the second interval:
// -log S_0 - log h_1 = 2 log 2; censored in the first: -log S_0 = log 2. Mean 1.5 log 2; with
// alpha = 0.4 the censored one counts 0.6: (2 + 0.6) / 2 log 2.
TEST(DiscreteNll, MatchesHandComputedValues) {
  const Matrix<float> logits(2, 2, 0.0F);
  const std::vector<std::size_t> interval = {1, 0};
  const std::vector<std::uint8_t> event = {1, 0};
  EXPECT_NEAR(discrete_nll(logits, interval, event, 0.0, {}), 1.5 * std::log(2.0), 1e-12);
  EXPECT_NEAR(discrete_nll(logits, interval, event, 0.4, {}), 1.3 * std::log(2.0), 1e-12);
}

TEST(DiscreteNll, TheGradientMatchesCentralDifferences) {
  NumpyRandom random(4);
  Matrix<float> logits(6, 4);
  for (std::size_t i = 0; i < logits.size(); ++i) {
    logits.data()[i] = static_cast<float>(random.normal());
  }
  const std::vector<std::size_t> interval = {0, 1, 2, 3, 3, 0};
  const std::vector<std::uint8_t> event = {1, 0, 1, 1, 0, 0};
  std::vector<float> gradient(logits.size());
  discrete_nll(logits, interval, event, 0.3, gradient);
  const float step = 1e-2F;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    Matrix<float> moved = logits;
    moved.data()[i] = logits.data()[i] + step;
    const double up = discrete_nll(moved, interval, event, 0.3, {});
    moved.data()[i] = logits.data()[i] - step;
    const double down = discrete_nll(moved, interval, event, 0.3, {});
    EXPECT_NEAR(static_cast<double>(gradient[i]), (up - down) / 0.02, 1e-4);
  }
}

// A term below 1e-7 is held there and has no slope.
TEST(DiscreteNll, HasAFloorUnderTheLogarithm) {
  Matrix<float> logits(1, 2);
  logits(0, 0) = -40.0F;  // hazard e^-40 where the event came
  std::vector<float> gradient(2);
  EXPECT_NEAR(discrete_nll(
                  logits, std::vector<std::size_t>{0}, std::vector<std::uint8_t>{1}, 0.0, gradient),
              -std::log(1e-7),
              1e-9);
  EXPECT_EQ(gradient[0], 0.0F);
}

TEST(IntervalOf, ATimeOnABoundaryBelongsToTheLaterInterval) {
  const std::vector<double> cuts = {5.0, 10.0};
  const std::vector<double> time = {0.0, 4.9, 5.0, 10.0, 99.0};
  EXPECT_EQ(interval_of(time, cuts), (std::vector<std::size_t>{0, 0, 1, 2, 2}));
}

TEST(SurvivalNet, RefusesWhatItCannotLearnFrom) {
  Data data = make_data(20, 1);
  const auto message = [&](const SurvivalNetOptions& options) -> std::string {
    try {
      SurvivalNet::fit(data.input, data.times(), options);
    } catch (const Error& error) {
      return error.what();
    }
    return "fitted";
  };
  SurvivalNetOptions options;
  options.loss = Loss::kDiscrete;
  EXPECT_NE(message(options).find("at least one boundary"), std::string::npos);
  options.cuts = {5, 5};
  EXPECT_NE(message(options).find("boundary 2 is 5"), std::string::npos);
  options = {};
  options.alpha = 1.0;
  EXPECT_NE(message(options).find("alpha is 1"), std::string::npos);
  options = {};
  options.epochs = 0;
  EXPECT_NE(message(options).find("epochs is 0"), std::string::npos);
  options = {};
  data.event.assign(20, 0);
  EXPECT_NE(message(options).find("no event among the rows"), std::string::npos);
  data.time.pop_back();
  data.event.pop_back();
  EXPECT_NE(message(options).find("20 rows but 19 times"), std::string::npos);
}

}  // namespace
}  // namespace med3d::nn
