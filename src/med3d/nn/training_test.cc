#include "med3d/nn/training.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <string>

#include "med3d/core/error.h"
#include "med3d/nn/device.h"
#include "med3d/nn/internal/loss.h"
#include "med3d/nn/internal/trainer.h"
#include "med3d/nn/parameters.h"

namespace med3d::nn {
namespace {

std::string message_of(ErrorKind kind, const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

// Four labels 0, 1, 1, 1: weights 4 / (2 * 1) = 2 and 4 / (2 * 3) = 2/3; pos_weight 1/3.
TEST(Loss, ClassWeightsAreInverseToTheClasses) {
  const std::vector<std::uint8_t> y = {0, 1, 1, 1};
  TrainingOptions options;
  LossSpec spec = make_loss(options, y);
  EXPECT_DOUBLE_EQ(spec.weight[0], 2.0);
  EXPECT_DOUBLE_EQ(spec.weight[1], 2.0 / 3.0);
  EXPECT_DOUBLE_EQ(spec.pos_weight, 1.0 / 3.0);
  options.class_weights = false;
  spec = make_loss(options, y);
  EXPECT_DOUBLE_EQ(spec.weight[0], 1.0);
  EXPECT_DOUBLE_EQ(spec.pos_weight, 1.0);
}

// Rows (0, 0) with label 0 and (0, log 3) with label 1: P = 1/2 and 3/4. Weights 2 and 1:
// (2 log 2 + log(4/3)) / 3 = 0.5579921.
TEST(Loss, WeightedCrossEntropyIsTheHandValue) {
  LossSpec spec;
  spec.weight = {2.0, 1.0};
  const std::vector<float> logits = {0.0F, 0.0F, 0.0F, std::log(3.0F)};
  const std::vector<std::uint8_t> y = {0, 1};
  EXPECT_NEAR(loss_and_gradient(spec, logits, y, {}),
              (2.0 * std::log(2.0) + std::log(4.0 / 3.0)) / 3.0,
              1e-7);
}

// One row, P(positive) = 3/4, label 1, smoothing 0.2: -(0.9 log 3/4 + 0.1 log 1/4).
TEST(Loss, LabelSmoothingIsTheHandValue) {
  const double expected = -(0.9 * std::log(0.75) + 0.1 * std::log(0.25));
  LossSpec spec;
  spec.smoothing = 0.2;
  const std::vector<std::uint8_t> y = {1};
  EXPECT_NEAR(
      loss_and_gradient(spec, std::vector<float>{0.0F, std::log(3.0F)}, y, {}), expected, 1e-7);
  spec.kind = TrainingOptions::Loss::kBce;
  EXPECT_NEAR(loss_and_gradient(spec, std::vector<float>{std::log(3.0F)}, y, {}), expected, 1e-7);
  spec.pos_weight = 3.0;  // the positive part counts three times
  EXPECT_NEAR(loss_and_gradient(spec, std::vector<float>{std::log(3.0F)}, y, {}),
              -(3.0 * 0.9 * std::log(0.75) + 0.1 * std::log(0.25)),
              1e-7);
}

// tests/reference/losses.py, PyTorch 1.13.
TEST(Loss, ValuesAndGradientsArePyTorchs) {
  LossSpec spec;
  spec.weight = {1.5, 0.75};
  spec.smoothing = 0.1;
  const std::vector<std::uint8_t> y = {0, 1, 1};
  std::vector<float> gradient(6);
  EXPECT_NEAR(loss_and_gradient(
                  spec, std::vector<float>{0.5F, -1.0F, 2.0F, 0.25F, -0.75F, 1.5F}, y, gradient),
              0.657177034,
              1e-8);
  const std::vector<double> expected = {
      -0.076432443, 0.076432443, 0.198637611, -0.198637611, 2.9235e-05, -2.9235e-05};
  for (std::size_t i = 0; i < 6; ++i) EXPECT_NEAR(gradient[i], expected[i], 1e-7);

  spec.kind = TrainingOptions::Loss::kBce;
  spec.pos_weight = 0.5;
  gradient.resize(3);
  EXPECT_NEAR(loss_and_gradient(spec, std::vector<float>{0.5F, -2.0F, 1.25F}, y, gradient),
              0.716208344,
              1e-8);
  EXPECT_NEAR(gradient[0], 0.193965949, 1e-7);
  EXPECT_NEAR(gradient[1], -0.137472822, 1e-7);
  EXPECT_NEAR(gradient[2], -0.022305858, 1e-7);
}

TEST(Loss, StaysFiniteForHugeLogits) {
  const std::vector<std::uint8_t> y = {1};
  std::vector<float> gradient(2);
  LossSpec spec;
  EXPECT_NEAR(loss_and_gradient(spec, std::vector<float>{1e4F, -1e4F}, y, gradient), 2e4, 1e-3);
  EXPECT_FLOAT_EQ(gradient[1], -1.0F);
  EXPECT_DOUBLE_EQ(sigmoid(-800.0), 0.0);
  EXPECT_DOUBLE_EQ(sigmoid(800.0), 1.0);
}

TEST(Loss, RefusesLabelsThatCannotServe) {
  EXPECT_NE(message_of(ErrorKind::kData,
                       [] {
                         make_loss({}, std::vector<std::uint8_t>{0, 2, 1});
                       })
                .find("row 1 is 2"),
            std::string::npos);
  EXPECT_NE(message_of(ErrorKind::kData,
                       [] {
                         make_loss({}, std::vector<std::uint8_t>{1, 1});
                       })
                .find("all 1"),
            std::string::npos);
}

// 900 of 1000 items are positive; drawn with weights N / n_class each class is expected half the
// time. Over 200,000 draws the standard error of the share is 0.0011.
TEST(Sampler, WeightedDrawsBothClassesEquallyOften) {
  std::vector<std::uint8_t> y(1000, 1);
  for (std::size_t i = 0; i < 100; ++i) y[i] = 0;
  RandomStream random(3);
  std::vector<int> drawn(1000, 0);
  double negatives = 0.0;
  for (int epoch = 0; epoch < 200; ++epoch) {
    for (const std::size_t i : epoch_order(y, TrainingOptions::Sampler::kWeighted, random)) {
      ++drawn[i];
      negatives += y[i] == 0 ? 1.0 : 0.0;
    }
  }
  EXPECT_NEAR(negatives / 200000.0, 0.5, 0.005);
  // Each negative is expected 1000 times (sd 31), each positive 111 times (sd 10.5).
  for (std::size_t i = 0; i < 100; ++i) EXPECT_NEAR(drawn[i], 1000, 160);
  for (std::size_t i = 100; i < 1000; ++i) EXPECT_NEAR(drawn[i], 111, 55);
}

TEST(Sampler, ShuffleTakesEveryItemOnce) {
  const std::vector<std::uint8_t> y(50, 0);
  RandomStream random(3);
  std::vector<std::size_t> order = epoch_order(y, TrainingOptions::Sampler::kShuffle, random);
  const std::vector<std::size_t> next = epoch_order(y, TrainingOptions::Sampler::kShuffle, random);
  EXPECT_NE(order, next);
  std::sort(order.begin(), order.end());
  for (std::size_t i = 0; i < 50; ++i) EXPECT_EQ(order[i], i);
}

TEST(Batches, ALastBatchOfOneJoinsTheOneBefore) {
  using Ends = std::vector<std::size_t>;
  EXPECT_EQ(batch_ends(10, 4), (Ends{4, 8, 10}));
  EXPECT_EQ(batch_ends(9, 4), (Ends{4, 9}));
  EXPECT_EQ(batch_ends(8, 4), (Ends{4, 8}));
  EXPECT_EQ(batch_ends(3, 4), (Ends{3}));
  EXPECT_EQ(batch_ends(5, 4), (Ends{5}));
}

TEST(ColumnSd, IsThePopulationsDeviation) {
  Matrix<float> x(4, 2);
  for (std::size_t i = 0; i < 4; ++i) {
    x(i, 0) = static_cast<float>(i);  // variance (2.25 + .25 + .25 + 2.25) / 4 = 1.25
    x(i, 1) = 7.0F;
  }
  EXPECT_FLOAT_EQ(column_sd(x)[0], std::sqrt(1.25F));
  EXPECT_FLOAT_EQ(column_sd(x)[1], 0.0F);
}

TEST(TrainingOptions, EachBadValueIsNamed) {
  const auto refused = [](const std::function<void(TrainingOptions&)>& spoil) {
    TrainingOptions options;
    options.validate();
    spoil(options);
    return message_of(ErrorKind::kUsage, [&] { options.validate(); });
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(refused([](auto& o) { o.epochs = 0; }),
            "training option epochs is 0, expected at least 1");
  EXPECT_EQ(refused([](auto& o) { o.batch_size = -1; }),
            "training option batch_size is -1, expected at least 1");
  EXPECT_EQ(refused([](auto& o) { o.learning_rate = 0; }),
            "training option learning_rate is 0, expected a number in (0, 10]");
  EXPECT_EQ(refused([&](auto& o) { o.learning_rate = nan; }),
            "training option learning_rate is nan, expected a number in (0, 10]");
  EXPECT_EQ(refused([](auto& o) { o.weight_decay = -0.5; }),
            "training option weight_decay is -0.5, expected a number in [0, 10]");
  EXPECT_EQ(refused([](auto& o) { o.label_smoothing = 1; }),
            "training option label_smoothing is 1, expected a number in [0, 1)");
  EXPECT_EQ(refused([](auto& o) { o.feature_noise = -1; }),
            "training option feature_noise is -1, expected a number in [0, 10]");
  EXPECT_EQ(refused([](auto& o) { o.early_stopping_patience = -2; }),
            "training option early_stopping_patience is -2, expected 0 (never) or more");
  EXPECT_EQ(refused([](auto& o) { o.modality_dropout = 1; }),
            "training option modality_dropout is 1, expected a number in [0, 1)");
}

TEST(Parameters, EachDefectHasItsOwnMessage) {
  const Parameters good = {{"fc1.weight", {1, 2}, {1, 2}}};
  EXPECT_NO_THROW(check_parameter(find_parameter(good, "fc1.weight"), {1, 2}));
  EXPECT_NE(message_of(ErrorKind::kFormat, [&] { find_parameter(good, "fc2.weight"); })
                .find("'fc2.weight' is missing"),
            std::string::npos);
  EXPECT_EQ(message_of(ErrorKind::kFormat,
                       [&] {
                         check_parameter(good[0], {2, 1});
                       }),
            "parameter 'fc1.weight' has shape (1, 2), expected (2, 1)");
  EXPECT_EQ(message_of(ErrorKind::kFormat,
                       [] {
                         check_parameter({"b", {3}, {1, 2}}, {3});
                       }),
            "parameter 'b' holds 2 values, expected 3 for shape (3)");
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(message_of(ErrorKind::kData,
                       [&] {
                         check_parameter({"b", {2}, {1, infinity}}, {2});
                       }),
            "parameter 'b', value 1 is not finite");
}

TEST(Device, CpuIsAlwaysThereAndCudaSaysSoWhereItIsNot) {
  EXPECT_EQ(resolve_device(DeviceKind::kCpu).name, "cpu");
  EXPECT_NE(resolve_device(DeviceKind::kAuto).kind, DeviceKind::kAuto);
  if (cuda_available()) {
    EXPECT_EQ(resolve_device(DeviceKind::kCuda).name, "cuda:0");
  } else {
    EXPECT_EQ(resolve_device(DeviceKind::kAuto).kind, DeviceKind::kCpu);
    EXPECT_NE(message_of(ErrorKind::kUnsupported, [] { resolve_device(DeviceKind::kCuda); })
                  .find("'cuda' was asked for"),
              std::string::npos);
  }
}

TEST(Device, NamesAreReadBackAndOthersRefused) {
  for (const DeviceKind kind : {DeviceKind::kAuto, DeviceKind::kCpu, DeviceKind::kCuda}) {
    EXPECT_EQ(parse_device(to_string(kind)), kind);
  }
  EXPECT_EQ(message_of(ErrorKind::kUsage, [] { parse_device("gpu"); }),
            "device 'gpu', expected 'auto', 'cpu' or 'cuda'");
}

TEST(Device, ReportsWhatWasLinked) {
  const std::string version = torch_version();
  EXPECT_EQ(std::count(version.begin(), version.end(), '.'), 2) << version;
  EXPECT_GT(sgemm_gflops(), 0.5);
}

}  // namespace
}  // namespace med3d::nn
