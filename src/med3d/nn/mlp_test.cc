#include "med3d/nn/mlp.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <thread>

#include "med3d/core/error.h"
#include "med3d/core/random.h"
#include "med3d/nn/internal/loss.h"

namespace med3d::nn {
namespace {

struct Data {
  Matrix<float> x;
  std::vector<std::uint8_t> y;
};

// The sign of x0 * x1, which no linear rule finds; the other columns are noise.
Data exclusive_or(std::size_t n, std::uint32_t seed, std::size_t inputs = 4, double flip = 0.0) {
  NumpyRandom random(seed);
  Data data{Matrix<float>(n, inputs), std::vector<std::uint8_t>(n)};
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < inputs; ++j) data.x(i, j) = static_cast<float>(random.normal());
    data.y[i] = data.x(i, 0) * data.x(i, 1) > 0.0F ? 1 : 0;
    if (random.uniform() < flip) data.y[i] = 1 - data.y[i];
  }
  return data;
}

MlpOptions small_options() {
  MlpOptions options;
  options.hidden = {32, 16};
  options.dropout = {0.1, 0.0};
  options.training.epochs = 40;
  options.training.learning_rate = 0.01;
  options.training.seed = 5;
  return options;
}

double accuracy(const std::vector<double>& p, const std::vector<std::uint8_t>& y) {
  double right = 0.0;
  for (std::size_t i = 0; i < y.size(); ++i) right += (p[i] >= 0.5) == (y[i] == 1) ? 1.0 : 0.0;
  return right / static_cast<double>(y.size());
}

TEST(Mlp, LearnsExclusiveOrWithEitherLoss) {
  const Data train = exclusive_or(400, 1);
  const Data test = exclusive_or(300, 2);
  MlpOptions options = small_options();
  for (const auto loss :
       {TrainingOptions::Loss::kWeightedCrossEntropy, TrainingOptions::Loss::kBce}) {
    options.training.loss = loss;
    const Mlp mlp = Mlp::fit(train.x, train.y, options);
    EXPECT_GT(accuracy(mlp.predict(test.x), test.y), 0.85);
    EXPECT_LT(mlp.curve().training_loss.back(), mlp.curve().training_loss.front() / 2.0);
    EXPECT_GT(mlp.curve().training_accuracy.back(), 0.85);
  }
}

TEST(Mlp, DefaultNetHasThePapersShapes) {
  const Data data = exclusive_or(65, 1, 17);  // 65 = 2 * 32 + 1: the last row joins a batch
  MlpOptions options;
  options.training.epochs = 1;
  const Mlp mlp = Mlp::fit(data.x, data.y, options);
  const Parameters parameters = mlp.parameters();
  using Shape = std::vector<std::uint64_t>;
  EXPECT_EQ(find_parameter(parameters, "fc1.weight").shape, (Shape{256, 17}));
  EXPECT_EQ(find_parameter(parameters, "fc3.weight").shape, (Shape{64, 128}));
  EXPECT_EQ(find_parameter(parameters, "bn2.running_mean").shape, (Shape{128}));
  EXPECT_EQ(find_parameter(parameters, "out.weight").shape, (Shape{2, 64}));
  EXPECT_EQ(parameters.size(), 4U * 2 + 3U * 4);
  const Matrix<float> embedding = mlp.embed(data.x, 3);
  EXPECT_EQ(embedding.rows(), 65U);
  EXPECT_EQ(embedding.cols(), 64U);
  EXPECT_EQ(mlp.embed(data.x, 1).cols(), 256U);
  for (std::size_t i = 0; i < embedding.size(); ++i) EXPECT_GE(embedding.data()[i], 0.0F);
  for (const double p : mlp.predict(data.x)) {
    EXPECT_GE(p, 0.0);
    EXPECT_LE(p, 1.0);
  }
}

// The last layer is linear: P from the embedding by hand must be what predict says.
TEST(Mlp, TheEmbeddingIsWhatTheLastLayerSees) {
  const Data data = exclusive_or(50, 1);
  MlpOptions options = small_options();
  options.training.epochs = 3;
  options.training.loss = TrainingOptions::Loss::kBce;
  const Mlp mlp = Mlp::fit(data.x, data.y, options);
  const Matrix<float> h = mlp.embed(data.x, 2);
  const Parameters parameters = mlp.parameters();
  const auto& weight = find_parameter(parameters, "out.weight").values;
  const auto& bias = find_parameter(parameters, "out.bias").values;
  const std::vector<double> p = mlp.predict(data.x);
  for (std::size_t i = 0; i < 50; ++i) {
    double z = bias[0];
    for (std::size_t j = 0; j < h.cols(); ++j) z += static_cast<double>(weight[j]) * h(i, j);
    EXPECT_NEAR(p[i], sigmoid(z), 1e-6);
  }
}

TEST(Mlp, IsBitIdenticalAloneAndBesideThreeOthers) {
  const Data train = exclusive_or(150, 1, 17);
  const Data other = exclusive_or(300, 9, 17);
  MlpOptions options;
  options.training.epochs = 4;
  options.training.feature_noise = 0.05;
  options.training.seed = 77;
  const Parameters alone = Mlp::fit(train.x, train.y, options).parameters();
  Parameters beside;
  {
    std::vector<std::thread> threads;
    for (std::uint64_t t = 0; t < 3; ++t) {
      threads.emplace_back([&, t] {
        MlpOptions own = options;
        own.training.seed = t;
        Mlp::fit(other.x, other.y, own);
      });
    }
    threads.emplace_back([&] { beside = Mlp::fit(train.x, train.y, options).parameters(); });
    for (auto& thread : threads) thread.join();
  }
  EXPECT_TRUE(alone == beside);
  options.training.seed = 78;
  EXPECT_FALSE(alone == Mlp::fit(train.x, train.y, options).parameters());
}

TEST(Mlp, RoundTripPredictsTheSameBits) {
  const Data train = exclusive_or(100, 1);
  const MlpOptions options = small_options();
  const Mlp mlp = Mlp::fit(train.x, train.y, options);
  const Mlp loaded = Mlp::from_parameters(options, 4, mlp.parameters());
  EXPECT_EQ(mlp.predict(train.x), loaded.predict(train.x));
  EXPECT_EQ(mlp.embed(train.x, 1), loaded.embed(train.x, 1));
  EXPECT_TRUE(mlp.parameters() == loaded.parameters());
  EXPECT_THROW(Mlp::from_parameters(options, 5, mlp.parameters()), Error);
  // A state_dict of PyTorch holds counters that inference does not read; nothing else is passed
  // over.
  Parameters more = mlp.parameters();
  more.push_back({"bn1.num_batches_tracked", {}, {12.0F}});
  EXPECT_EQ(Mlp::from_parameters(options, 4, more).predict(train.x), mlp.predict(train.x));
  more.push_back({"fc3.weight", {1}, {1.0F}});
  try {
    Mlp::from_parameters(options, 4, more);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kFormat);
    EXPECT_STREQ(error.what(), "parameter 'fc3.weight' has no place in this network");
  }
}

// A net that overfits noisy labels: validation loss turns, the fit stops and goes back.
TEST(Mlp, EarlyStoppingRestoresTheBestEpoch) {
  const Data train = exclusive_or(80, 1, 20, 0.3);
  const Data val = exclusive_or(200, 2, 20, 0.3);
  MlpOptions options = small_options();
  options.training.epochs = 100;
  options.training.early_stopping_patience = 5;
  options.training.select = TrainingOptions::Select::kBestLoss;
  const Mlp mlp = Mlp::fit(train.x, train.y, options, &val.x, val.y);
  const LearningCurve& curve = mlp.curve();
  ASSERT_TRUE(curve.stopped_early);
  const auto best = std::min_element(curve.validation_loss.begin(), curve.validation_loss.end());
  EXPECT_EQ(curve.best_epoch, best - curve.validation_loss.begin());
  EXPECT_EQ(curve.validation_loss.size(), static_cast<std::size_t>(curve.best_epoch) + 6);

  // The kept net has the validation loss of its epoch, not of the last.
  const LossSpec loss = make_loss(options.training, train.y);
  double sum = 0.0;
  double weights = 0.0;
  const std::vector<double> p = mlp.predict(val.x);
  for (std::size_t i = 0; i < p.size(); ++i) {
    sum -= loss.weight[val.y[i]] * std::log(val.y[i] == 1 ? p[i] : 1.0 - p[i]);
    weights += loss.weight[val.y[i]];
  }
  EXPECT_NEAR(sum / weights, *best, 1e-6);
  EXPECT_GT(std::abs(curve.validation_loss.back() - *best), 1e-4);
}

TEST(Mlp, KeepsTheEpochOfBestBalancedAccuracy) {
  const Data train = exclusive_or(80, 1, 20, 0.3);
  const Data val = exclusive_or(101, 2, 20, 0.3);
  MlpOptions options = small_options();
  options.training.epochs = 25;
  options.training.select = TrainingOptions::Select::kBestBalancedAccuracy;
  const Mlp mlp = Mlp::fit(train.x, train.y, options, &val.x, val.y);
  const LearningCurve& curve = mlp.curve();
  const auto best = std::max_element(curve.validation_balanced_accuracy.begin(),
                                     curve.validation_balanced_accuracy.end());
  EXPECT_EQ(curve.validation_balanced_accuracy[static_cast<std::size_t>(curve.best_epoch)], *best);
  EXPECT_DOUBLE_EQ(accuracy(mlp.predict(val.x), val.y),
                   curve.validation_accuracy[static_cast<std::size_t>(curve.best_epoch)]);
  EXPECT_FALSE(curve.stopped_early);
}

// PyTorch's rates: StepLR(30, .1); CosineAnnealingLR(T_max=10) from tests/reference/losses.py.
TEST(Mlp, SchedulersFollowPyTorch) {
  const Data train = exclusive_or(20, 1);
  MlpOptions options = small_options();
  options.hidden = {4};
  options.dropout = {0.0};
  options.training.learning_rate = 0.1;
  options.training.epochs = 61;
  options.training.scheduler = TrainingOptions::Scheduler::kStep;
  const std::vector<double> step = Mlp::fit(train.x, train.y, options).curve().learning_rate;
  EXPECT_DOUBLE_EQ(step[29], 0.1);
  EXPECT_NEAR(step[30], 0.01, 1e-12);
  EXPECT_NEAR(step[60], 0.001, 1e-12);

  options.training.epochs = 10;
  options.training.scheduler = TrainingOptions::Scheduler::kCosine;
  const std::vector<double> cosine = Mlp::fit(train.x, train.y, options).curve().learning_rate;
  const std::vector<double> expected = {0.1,
                                        0.097552826,
                                        0.09045085,
                                        0.079389263,
                                        0.06545085,
                                        0.05,
                                        0.03454915,
                                        0.020610737,
                                        0.00954915,
                                        0.002447174};
  for (std::size_t i = 0; i < 10; ++i) EXPECT_NEAR(cosine[i], expected[i], 1e-9);

  options.training.scheduler = TrainingOptions::Scheduler::kNone;
  EXPECT_EQ(Mlp::fit(train.x, train.y, options).curve().learning_rate,
            std::vector<double>(10, 0.1));
}

// ReduceLROnPlateau halves after the sixth epoch in a row without a relative gain of 1e-4.
TEST(Mlp, PlateauHalvesAfterSixEpochsWithoutGain) {
  const Data train = exclusive_or(60, 1, 10, 0.4);
  const Data val = exclusive_or(60, 2, 10, 0.4);
  MlpOptions options = small_options();
  options.training.epochs = 40;
  const LearningCurve curve = Mlp::fit(train.x, train.y, options, &val.x, val.y).curve();
  double best = std::numeric_limits<double>::infinity();
  double rate = options.training.learning_rate;
  int bad = 0;
  int halvings = 0;
  for (std::size_t e = 0; e < curve.validation_loss.size(); ++e) {
    EXPECT_DOUBLE_EQ(curve.learning_rate[e], rate) << "epoch " << e;
    if (curve.validation_loss[e] < best * 0.9999) {
      best = curve.validation_loss[e];
      bad = 0;
    } else if (++bad == 6) {
      rate /= 2.0;
      bad = 0;
      ++halvings;
    }
  }
  EXPECT_GE(halvings, 2);
}

TEST(Mlp, RefusesDataThatCannotServe) {
  Data data = exclusive_or(20, 1);
  const MlpOptions options = small_options();
  const auto kind = [&](const auto& action) {
    try {
      action();
    } catch (const Error& error) {
      return error.kind();
    }
    return ErrorKind::kIo;
  };
  EXPECT_EQ(kind([&] { Mlp::fit(Matrix<float>(), data.y, options); }), ErrorKind::kData);
  EXPECT_EQ(kind([&] { Mlp::fit(data.x, std::vector<std::uint8_t>(19, 1), options); }),
            ErrorKind::kData);
  EXPECT_EQ(kind([&] { Mlp::fit(data.x, std::vector<std::uint8_t>(20, 1), options); }),
            ErrorKind::kData);
  EXPECT_EQ(kind([&] { Mlp::fit(data.x, data.y, options, &data.x, {}); }), ErrorKind::kData);
  MlpOptions stopping = options;
  stopping.training.early_stopping_patience = 3;
  EXPECT_EQ(kind([&] { Mlp::fit(data.x, data.y, stopping); }), ErrorKind::kUsage);
  MlpOptions best = options;
  best.training.select = TrainingOptions::Select::kBestBalancedAccuracy;
  EXPECT_EQ(kind([&] { Mlp::fit(data.x, data.y, best); }), ErrorKind::kUsage);
  const std::vector<std::uint8_t> one_class(20, 0);
  EXPECT_EQ(kind([&] { Mlp::fit(data.x, data.y, best, &data.x, one_class); }), ErrorKind::kData);
  const Mlp mlp = Mlp::fit(data.x, data.y, options);
  EXPECT_EQ(kind([&] { mlp.predict(Matrix<float>(2, 3)); }), ErrorKind::kData);
  EXPECT_EQ(kind([&] { mlp.embed(data.x, 0); }), ErrorKind::kUsage);
  EXPECT_EQ(kind([&] { mlp.embed(data.x, 3); }), ErrorKind::kUsage);
  data.x(3, 2) = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(kind([&] { Mlp::fit(data.x, data.y, options); }), ErrorKind::kData);
  try {
    mlp.predict(data.x);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "Mlp features: row 3, column 2 is not finite; impute it first");
  }
}

TEST(Mlp, RefusesOptionsThatCannotServe) {
  const auto message = [](const auto& spoil) -> std::string {
    MlpOptions options;
    options.validate();
    spoil(options);
    try {
      options.validate();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kUsage);
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(message([](auto& o) { o.hidden = {}; }),
            "Mlp: no hidden layer, expected at least one width");
  EXPECT_EQ(message([](auto& o) { o.hidden = {8}; }),
            "Mlp: 3 dropout values for 1 hidden layers, expected one for each");
  EXPECT_EQ(message([](auto& o) { o.hidden[1] = 0; }),
            "Mlp: hidden layer 2 is 0 wide, expected 1 to 65536");
  EXPECT_EQ(message([](auto& o) { o.dropout[2] = 1.0; }),
            "Mlp: dropout of hidden layer 3 is 1, expected a number in [0, 1)");
  EXPECT_EQ(message([](auto& o) { o.training.batch_size = 1; }),
            "Mlp: batch_size is 1, expected at least 2 with batch norm");
  EXPECT_EQ(message([](auto& o) { o.training.modality_dropout = 0.2; }),
            "Mlp: modality_dropout is 0.2, but only FusionNet has modalities to drop; expected 0");
}

TEST(Mlp, SaysSoWhenTheLossLeavesTheReals) {
  Data data = exclusive_or(40, 1);
  for (std::size_t i = 0; i < data.x.size(); ++i)
    data.x.data()[i] = std::copysign(3e38F, data.x.data()[i]);
  MlpOptions options = small_options();
  options.batch_norm = false;
  try {
    Mlp::fit(data.x, data.y, options);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kNumerical);
    EXPECT_NE(std::string(error.what()).find("epoch 1"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace med3d::nn
