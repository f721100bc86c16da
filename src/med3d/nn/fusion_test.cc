#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <thread>

#include "med3d/core/error.h"
#include "med3d/core/random.h"
#include "med3d/nn/fusion_net.h"
#include "med3d/nn/internal/fusion_rows.h"
#include "med3d/nn/internal/loss.h"
#include "med3d/nn/late_fusion.h"

namespace med3d::nn {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr FusionMode kModes[] = {FusionMode::kConcat, FusionMode::kMean};

struct Data {
  FusionInput input;
  std::vector<std::uint8_t> y;
};

// Three modalities of 6, 10 and 4 columns, each with a part of the signal; each is absent in a
// third of the rows, where it holds `absent`.
Data planted(std::size_t n, std::uint32_t seed, float absent = kNaN, bool complete = false) {
  NumpyRandom random(seed);
  const std::vector<std::size_t> widths = {6, 10, 4};
  Data data;
  data.input.present = Matrix<std::uint8_t>(n, 3);
  for (const std::size_t d : widths) data.input.blocks.emplace_back(n, d);
  for (std::size_t i = 0; i < n; ++i) {
    const std::uint8_t label = random.uniform() < 0.5 ? 1 : 0;
    data.y.push_back(label);
    const std::size_t sure = random.randint(3);
    for (std::size_t k = 0; k < 3; ++k) {
      const bool there = random.uniform() < 0.67 || k == sure || complete;
      data.input.present(i, k) = there ? 1 : 0;
      for (std::size_t j = 0; j < widths[k]; ++j) {
        const double value = 5.0 + 3.0 * random.normal() + (j < 2 ? 4.5 * label : 0.0);
        data.input.blocks[k](i, j) = there ? static_cast<float>(value) : absent;
      }
    }
  }
  return data;
}

FusionOptions small_options(FusionMode mode) {
  FusionOptions options;
  options.mode = mode;
  options.projection = 12;
  options.hidden = {16, 8};
  options.dropout = {0.2, 0.0};
  options.training.epochs = 30;
  options.training.learning_rate = 5e-3;
  options.training.modality_dropout = 0.2;
  options.training.feature_noise = 0.05;
  options.training.seed = 4;
  return options;
}

double accuracy(const std::vector<double>& p, const std::vector<std::uint8_t>& y) {
  double right = 0.0;
  for (std::size_t i = 0; i < y.size(); ++i) right += (p[i] >= 0.5) == (y[i] == 1) ? 1.0 : 0.0;
  return right / static_cast<double>(y.size());
}

TEST(FusionNet, LearnsFromIncompleteRowsInBothModes) {
  const Data train = planted(300, 1);
  const Data test = planted(300, 2);
  const Data complete = planted(300, 3, kNaN, true);
  for (const FusionMode mode : kModes) {
    const FusionNet net = FusionNet::fit(train.input, train.y, small_options(mode));
    EXPECT_GT(accuracy(net.predict(test.input), test.y), 0.85);
    EXPECT_GT(accuracy(net.predict(complete.input), complete.y), 0.9);
  }
}

TEST(FusionNet, ValuesOfAbsentBlocksNeverMatter) {
  for (const FusionMode mode : kModes) {
    const Data nan = planted(120, 1, kNaN);
    const Data huge = planted(120, 1, 1e30F);
    FusionOptions options = small_options(mode);
    options.training.epochs = 5;
    options.training.select = TrainingOptions::Select::kBestLoss;
    const FusionNet a = FusionNet::fit(nan.input, nan.y, options, &nan.input, nan.y);
    const FusionNet b = FusionNet::fit(huge.input, huge.y, options, &huge.input, huge.y);
    EXPECT_TRUE(a.parameters() == b.parameters());
    EXPECT_EQ(a.predict(nan.input), b.predict(huge.input));
    for (const double p : a.predict(nan.input)) EXPECT_TRUE(std::isfinite(p));
  }
}

TEST(FusionNet, PredictsEverySubsetAndRefusesTheEmptyOne) {
  const Data train = planted(120, 1);
  for (const FusionMode mode : kModes) {
    const FusionNet net = FusionNet::fit(train.input, train.y, small_options(mode));
    Data row = planted(1, 7, kNaN, true);
    std::vector<double> seen;
    for (std::uint8_t subset = 1; subset < 8; ++subset) {
      for (std::size_t k = 0; k < 3; ++k) row.input.present(0, k) = (subset >> k) & 1U;
      seen.push_back(net.predict(row.input)[0]);
      EXPECT_TRUE(std::isfinite(seen.back()));
    }
    EXPECT_NE(seen[0], seen[6]);
    for (std::size_t k = 0; k < 3; ++k) row.input.present(0, k) = 0;
    try {
      net.predict(row.input);
      ADD_FAILURE();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kData);
      EXPECT_STREQ(error.what(), "fusion input: row 0 has no modality present");
    }
  }
}

// The definition, in double precision, from the saved parameters: z = sum m f / (sum m + 1e-6).
TEST(FusionNet, TheMaskedMeanIsTheDefinition) {
  const Data train = planted(120, 1);
  FusionOptions options = small_options(FusionMode::kMean);
  options.training.epochs = 3;
  const FusionNet net = FusionNet::fit(train.input, train.y, options);
  const Matrix<float> z = net.embed(train.input, 0);
  ASSERT_EQ(z.cols(), 12U);
  const Parameters parameters = net.parameters();
  for (std::size_t i = 0; i < 20; ++i) {
    for (std::size_t p = 0; p < 12; ++p) {
      double sum = 0.0;
      double count = 0.0;
      for (std::size_t k = 0; k < 3; ++k) {
        if (train.input.present(i, k) == 0) continue;
        const std::string number = std::to_string(k + 1);
        const auto& mean = find_parameter(parameters, "standardise" + number + ".mean").values;
        const auto& scale = find_parameter(parameters, "standardise" + number + ".scale").values;
        const auto& weight = find_parameter(parameters, "projection" + number + ".weight").values;
        double f = find_parameter(parameters, "projection" + number + ".bias").values[p];
        const auto x = train.input.blocks[k].row(i);
        for (std::size_t j = 0; j < x.size(); ++j) {
          f += static_cast<double>(weight[p * x.size() + j]) * (x[j] - mean[j]) / scale[j];
        }
        sum += f;
        count += 1.0;
      }
      EXPECT_NEAR(z(i, p), sum / (count + 1e-6), 2e-5);
    }
  }
  EXPECT_EQ(net.embed(train.input, 2).cols(), 8U);
  EXPECT_THROW(net.embed(train.input, 3), Error);
}

// Block 0 is (1), (3) where present: mean 2, sd 1. Block 1 is constant 7: mean 7, scale 1.
TEST(FusionRows, ConcatenatesMaskedStandardisedBlocksAndBits) {
  FusionInput input;
  input.blocks = {Matrix<float>(3, 1), Matrix<float>(3, 2, 7.0F)};
  input.blocks[0](0, 0) = 1.0F;
  input.blocks[0](1, 0) = 3.0F;
  input.blocks[0](2, 0) = kNaN;
  input.present = Matrix<std::uint8_t>(3, 2, 1);
  input.present(2, 0) = 0;
  const std::vector<Standardise> s = standardise_blocks(input);
  EXPECT_FLOAT_EQ(s[0].mean[0], 2.0F);
  EXPECT_FLOAT_EQ(s[0].scale[0], 1.0F);
  EXPECT_FLOAT_EQ(s[1].scale[1], 1.0F);
  std::vector<float> row(5);
  fusion_row(input, s, FusionMode::kConcat, 1, input.present.row(1), 0.0F, nullptr, row.data());
  EXPECT_EQ(row, (std::vector<float>{1, 0, 0, 1, 1}));
  fusion_row(input, s, FusionMode::kConcat, 2, input.present.row(2), 0.0F, nullptr, row.data());
  EXPECT_EQ(row, (std::vector<float>{0, 0, 0, 0, 1}));
  fusion_row(input, s, FusionMode::kMean, 1, input.present.row(1), 0.0F, nullptr, row.data());
  EXPECT_NEAR(row[0], 0.5, 1e-6);
  EXPECT_NEAR(row[3], 0.5, 1e-6);
}

// p = 0.5, two present of three: each survives with 1/2, both gone (1/4) gives one back, so one is
// left with 3/4 in total and each is kept with 1/2 + 1/8 = 0.625. Standard error 0.0034.
TEST(FusionRows, ModalityDropoutNeverHidesAll) {
  RandomStream random(9);
  int kept = 0;
  int single = 0;
  constexpr int kDraws = 20000;
  for (int i = 0; i < kDraws; ++i) {
    std::vector<std::uint8_t> mask = {1, 0, 1};
    drop_modalities(mask, 0.5, random);
    ASSERT_EQ(mask[1], 0);
    ASSERT_GE(mask[0] + mask[2], 1);
    kept += mask[0];
    single += mask[0] + mask[2] == 1 ? 1 : 0;
  }
  EXPECT_NEAR(kept / static_cast<double>(kDraws), 0.625, 0.014);
  EXPECT_NEAR(single / static_cast<double>(kDraws), 0.75, 0.013);
}

TEST(FusionNet, RoundTripPredictsTheSameBits) {
  const Data train = planted(120, 1);
  for (const FusionMode mode : kModes) {
    FusionOptions options = small_options(mode);
    options.training.epochs = 3;
    const FusionNet net = FusionNet::fit(train.input, train.y, options);
    const FusionNet loaded =
        FusionNet::from_parameters(options, net.block_inputs(), net.parameters());
    EXPECT_EQ(net.predict(train.input), loaded.predict(train.input));
    EXPECT_EQ(net.embed(train.input, 1), loaded.embed(train.input, 1));
    EXPECT_TRUE(net.parameters() == loaded.parameters());
    EXPECT_THROW(FusionNet::from_parameters(options, {6, 10}, net.parameters()), Error);
    Parameters broken = net.parameters();
    broken[1].values[0] = 0.0F;  // standardise1.scale
    EXPECT_THROW(FusionNet::from_parameters(options, net.block_inputs(), broken), Error);
  }
}

TEST(FusionNet, IsBitIdenticalAloneAndBesideThreeOthers) {
  const Data train = planted(100, 1);
  FusionOptions options = small_options(FusionMode::kMean);
  options.training.epochs = 4;
  const Parameters alone = FusionNet::fit(train.input, train.y, options).parameters();
  std::vector<Parameters> beside(4);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < 4; ++t) {
    threads.emplace_back(
        [&, t] { beside[t] = FusionNet::fit(train.input, train.y, options).parameters(); });
  }
  for (auto& thread : threads) thread.join();
  for (const Parameters& parameters : beside) EXPECT_TRUE(parameters == alone);
}

TEST(FusionNet, RefusesInputThatCannotServe) {
  const Data good = planted(40, 1);
  const FusionOptions options = small_options(FusionMode::kConcat);
  const auto message = [&](const auto& spoil) -> std::string {
    Data data = good;
    spoil(data);
    try {
      FusionNet::fit(data.input, data.y, options);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kData);
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(message([](Data& d) {
              for (std::size_t i = 0; i < 40; ++i) {
                d.input.present(i, 0) = 0;
                if (d.input.present(i, 1) + d.input.present(i, 2) == 0) d.input.present(i, 1) = 1;
                for (std::size_t k = 1; k < 3; ++k) {
                  for (float& v : d.input.blocks[k].row(i)) {
                    if (std::isnan(v)) v = 0.0F;
                  }
                }
              }
            }),
            "fusion: block 0 is present in no training row; leave it out");
  EXPECT_NE(message([](Data& d) {
              d.input.present(5, 1) = 1;
              d.input.blocks[1](5, 3) = kNaN;
              for (std::size_t j = 0; j < 10; ++j) {
                if (j != 3) d.input.blocks[1](5, j) = 0.0F;
              }
            }).find("row 5 of block 1 is marked present but column 3"),
            std::string::npos);
  EXPECT_NE(message([](Data& d) { d.input.present(2, 2) = 3; }).find("is 3, expected 0 or 1"),
            std::string::npos);
  EXPECT_NE(message([](Data& d) { d.input.blocks.pop_back(); }).find("2 blocks and 3 mask"),
            std::string::npos);
  EXPECT_NE(message([](Data& d) { d.y.pop_back(); }).find("40 rows but 39 labels"),
            std::string::npos);
  EXPECT_NE(message([](Data& d) {
              d.input.blocks[2] = Matrix<float>(39, 4);
            }).find("block 2 is 39 x 4, expected 40 x 4"),
            std::string::npos);
  FusionOptions narrow = small_options(FusionMode::kMean);
  narrow.projection = 0;
  EXPECT_THROW(narrow.validate(), Error);
}

// Weights 0.8 and 0.6 (balanced accuracies): row 0 has both, (0.8 * 0.9 + 0.6 * 0.2) / 1.4 = 0.6;
// row 1 has the second alone, whose value passes through; what is absent is NaN.
TEST(LateFusion, WeightedSumIsTheHandValue) {
  Matrix<double> p(2, 2);
  p(0, 0) = 0.9;
  p(0, 1) = 0.2;
  p(1, 0) = std::numeric_limits<double>::quiet_NaN();
  p(1, 1) = 0.3;
  Matrix<std::uint8_t> present(2, 2, 1);
  present(1, 0) = 0;
  const std::vector<double> accuracies = {0.8, 0.6};
  const std::vector<double> fused =
      weighted_sum(p, present, rule_weights(accuracies, WeightRule::kBalancedAccuracy));
  EXPECT_DOUBLE_EQ(fused[0], 0.6);
  EXPECT_DOUBLE_EQ(fused[1], 0.3);
  // max(BA - 0.5, 0) = 0.3 and 0.1: (0.3 * 0.9 + 0.1 * 0.2) / 0.4 = 0.725.
  EXPECT_NEAR(weighted_sum(p, present, rule_weights(accuracies, WeightRule::kAboveChance))[0],
              0.725,
              1e-12);
  // A patient with worthless modalities alone gets their plain mean.
  const std::vector<double> worthless = {0.7, 0.45};
  const std::vector<double> weights = rule_weights(worthless, WeightRule::kAboveChance);
  EXPECT_DOUBLE_EQ(weights[1], 0.0);
  EXPECT_DOUBLE_EQ(weighted_sum(p, present, weights)[1], 0.3);
}

TEST(LateFusion, LearnsToTrustTheModalityThatKnows) {
  NumpyRandom random(5);
  constexpr std::size_t kN = 300;
  Matrix<double> p(kN, 3);
  Matrix<std::uint8_t> present(kN, 3, 1);
  std::vector<std::uint8_t> y(kN);
  for (std::size_t i = 0; i < kN; ++i) {
    y[i] = random.uniform() < 0.3 ? 1 : 0;
    p(i, 0) = y[i] == 1 ? 0.6 + 0.3 * random.uniform() : 0.1 + 0.3 * random.uniform();
    p(i, 1) = random.uniform();
    p(i, 2) = std::numeric_limits<double>::quiet_NaN();
    present(i, 2) = 0;
    if (i % 5 == 0) present(i, 1) = 0;
  }
  const std::vector<double> weights = learn_weights(p, present, y);
  EXPECT_GT(weights[0], 5.0 * weights[1]);
  EXPECT_DOUBLE_EQ(weights[2], 0.5);  // nobody has it
  EXPECT_EQ(weights, learn_weights(p, present, y));
  // At the minimum the gradient is near zero.
  std::vector<double> theta;
  for (const double w : weights) theta.push_back(std::log(w / (1.0 - w)));
  std::vector<double> gradient(3);
  learned_weights_objective(p, present, y, {}, theta, gradient);
  for (const double g : gradient) EXPECT_NEAR(g, 0.0, 1e-3);
}

TEST(LateFusion, GradientMatchesCentralDifferences) {
  NumpyRandom random(6);
  Matrix<double> p(12, 3);
  Matrix<std::uint8_t> present(12, 3, 1);
  std::vector<std::uint8_t> y(12);
  for (std::size_t i = 0; i < 12; ++i) {
    y[i] = i % 3 == 0 ? 1 : 0;
    for (std::size_t k = 0; k < 3; ++k) p(i, k) = random.uniform();
    present(i, i % 3) = i % 2 == 0 ? 0 : 1;
  }
  for (const bool weighted : {true, false}) {
    LearnedWeightsOptions options;
    options.class_weights = weighted;
    options.l2 = 0.05;
    const std::vector<double> theta = {0.3, -0.7, 1.1};
    std::vector<double> gradient(3);
    std::vector<double> unused(3);
    learned_weights_objective(p, present, y, options, theta, gradient);
    for (std::size_t k = 0; k < 3; ++k) {
      std::vector<double> up = theta;
      std::vector<double> down = theta;
      up[k] += 1e-5;
      down[k] -= 1e-5;
      const double difference = (learned_weights_objective(p, present, y, options, up, unused) -
                                 learned_weights_objective(p, present, y, options, down, unused)) /
                                2e-5;
      EXPECT_NEAR(gradient[k], difference, 1e-8);
    }
  }
}

// Equal weights, one row of each class, p = 0.5 and 0.8: mean of log 2 and -log 0.8.
TEST(LateFusion, ObjectiveIsTheHandValue) {
  Matrix<double> p(2, 2);
  p(0, 0) = 0.4;
  p(0, 1) = 0.6;
  p(1, 0) = 0.7;
  p(1, 1) = 0.9;
  const Matrix<std::uint8_t> present(2, 2, 1);
  std::vector<double> gradient(2);
  EXPECT_NEAR(
      learned_weights_objective(
          p, present, std::vector<std::uint8_t>{0, 1}, {}, std::vector<double>{0, 0}, gradient),
      (std::log(2.0) - std::log(0.8)) / 2.0,
      1e-12);
}

TEST(LateFusion, EachDefectHasItsOwnMessage) {
  const auto message = [](const auto& action) -> std::string {
    try {
      action();
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  Matrix<double> p(2, 2, 0.5);
  Matrix<std::uint8_t> present(2, 2, 1);
  const std::vector<double> weights = {1.0, 1.0};
  EXPECT_EQ(message([&] { weighted_sum(p, present, std::vector<double>{1.0}); }),
            "late fusion: 1 weights for 2 modalities");
  EXPECT_EQ(message([&] {
              weighted_sum(p, present, std::vector<double>{1.0, -1.0});
            }),
            "late fusion: weight of modality 1 is -1, expected a finite number >= 0");
  EXPECT_EQ(message([&] {
              rule_weights(std::vector<double>{0.7, std::nan("")}, WeightRule::kBalancedAccuracy);
            }),
            "late fusion: balanced accuracy of modality 1 is nan, expected a number in [0, 1]");
  p(1, 0) = 1.5;
  EXPECT_EQ(message([&] { weighted_sum(p, present, weights); }),
            "late fusion: row 1, modality 0: probability 1.5, expected a number in [0, 1]");
  present(0, 0) = present(0, 1) = 0;
  EXPECT_EQ(message([&] { weighted_sum(p, present, weights); }),
            "late fusion: row 0 has no modality present");
  LearnedWeightsOptions options;
  options.steps = 0;
  EXPECT_EQ(message([&] { options.validate(); }),
            "learned weights option steps is 0, expected at least 1");
}

}  // namespace
}  // namespace med3d::nn
