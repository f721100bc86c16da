#include "med3d/nn/bag_classifier.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "med3d/core/error.h"
#include "med3d/core/random.h"
#include "med3d/nn/internal/bag_pooling.h"
#include "med3d/nn/internal/loss.h"

namespace med3d::nn {
namespace {

constexpr Pool kPools[] = {Pool::kMax, Pool::kMean, Pool::kNoisyOr, Pool::kAttention};

struct Data {
  Bags bags;
  std::vector<std::uint8_t> y;
};

// One to four scans a patient; of a positive patient's, one alone is shifted.
Data planted(std::size_t n, std::uint32_t seed, std::size_t inputs = 12) {
  NumpyRandom random(seed);
  Data data;
  for (std::size_t bag = 0; bag < n; ++bag) {
    const std::uint8_t label = random.uniform() < 0.4 ? 1 : 0;
    data.y.push_back(label);
    const std::size_t count = 1 + random.randint(4);
    const std::size_t which = random.randint(count);
    for (std::size_t i = 0; i < count; ++i) {
      std::vector<float> row(inputs);
      for (float& value : row) value = static_cast<float>(random.normal());
      if (label == 1 && i == which) {
        for (std::size_t j = 0; j < 4; ++j) row[j] += 2.5F;
      }
      data.bags.instances.append_row(row);
      data.bags.bag_of_instance.push_back(bag);
    }
  }
  return data;
}

BagOptions small_options(Pool pool) {
  BagOptions options;
  options.pool = pool;
  options.hidden = {16, 8};
  options.attention = 6;
  options.training.epochs = 40;
  options.training.learning_rate = 5e-3;
  options.training.seed = 3;
  return options;
}

double accuracy(const std::vector<double>& p, const std::vector<std::uint8_t>& y) {
  double right = 0.0;
  for (std::size_t i = 0; i < y.size(); ++i) right += (p[i] >= 0.5) == (y[i] == 1) ? 1.0 : 0.0;
  return right / static_cast<double>(y.size());
}

// Bags {log 3, 0} and {-1}. Max: log 3 and -1. Mean: log 3 / 2. Noisy-or: 1 - (1/4)(1/2) = 7/8,
// logit log 7; a single instance keeps its logit.
TEST(BagPooling, ValuesAreTheHandValues) {
  const std::vector<float> outputs = {std::log(3.0F), 0.0F, -1.0F};
  const std::vector<std::size_t> ends = {2, 3};
  EXPECT_FLOAT_EQ(pool_bags(Pool::kMax, outputs, ends)[0], std::log(3.0F));
  EXPECT_FLOAT_EQ(pool_bags(Pool::kMean, outputs, ends)[0], std::log(3.0F) / 2.0F);
  EXPECT_FLOAT_EQ(pool_bags(Pool::kNoisyOr, outputs, ends)[0], std::log(7.0F));
  for (const Pool pool : {Pool::kMax, Pool::kMean, Pool::kNoisyOr}) {
    EXPECT_FLOAT_EQ(pool_bags(pool, outputs, ends)[1], -1.0F);
  }
  // Attention scores log 3 and 0: weights 3/4 and 1/4 of logits 2 and -2: 1.
  const std::vector<float> attended = {2.0F, std::log(3.0F), -2.0F, 0.0F};
  EXPECT_FLOAT_EQ(pool_bags(Pool::kAttention, attended, std::vector<std::size_t>{2})[0], 1.0F);
}

TEST(BagPooling, NoisyOrStaysFiniteAtBothEnds) {
  const std::vector<std::size_t> ends = {2, 4};
  const std::vector<float> outputs = {90.0F, 80.0F, -90.0F, -90.0F};
  const std::vector<float> z = pool_bags(Pool::kNoisyOr, outputs, ends);
  EXPECT_NEAR(z[0], 170.0F, 1e-3);                   // -log(e^-90 e^-80)
  EXPECT_NEAR(z[1], -90.0F + std::log(2.0F), 1e-3);  // 2 e^-90
  for (const float g :
       pool_bags_gradient(Pool::kNoisyOr, outputs, ends, std::vector<float>{1.0F, 1.0F})) {
    EXPECT_TRUE(std::isfinite(g));
  }
}

TEST(BagPooling, GradientsMatchCentralDifferences) {
  const std::vector<std::size_t> ends = {3, 4, 6};
  const std::vector<float> upstream = {0.7F, -1.3F, 0.4F};
  for (const Pool pool : kPools) {
    std::vector<float> outputs(6 * output_columns(pool));
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      outputs[i] = static_cast<float>(1.5 * std::sin(1.3 * static_cast<double>(i) + 0.4));
    }
    const std::vector<float> gradient = pool_bags_gradient(pool, outputs, ends, upstream);
    const auto objective = [&](const std::vector<float>& at) {
      const std::vector<float> z = pool_bags(pool, at, ends);
      double sum = 0.0;
      for (std::size_t b = 0; b < 3; ++b) sum += static_cast<double>(upstream[b]) * z[b];
      return sum;
    };
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      constexpr float kStep = 0.01F;
      std::vector<float> up = outputs;
      std::vector<float> down = outputs;
      up[i] += kStep;
      down[i] -= kStep;
      EXPECT_NEAR(gradient[i], (objective(up) - objective(down)) / (2.0 * kStep), 2e-4)
          << "pool " << static_cast<int>(pool) << " output " << i;
    }
  }
}

TEST(BagClassifier, FindsPatientsWithOneTellingScan) {
  const Data train = planted(160, 1);
  const Data val = planted(80, 2);
  const Data test = planted(150, 3);
  for (const Pool pool : kPools) {
    const BagClassifier net =
        BagClassifier::fit(train.bags, train.y, small_options(pool), &val.bags, val.y);
    EXPECT_GT(accuracy(net.predict(test.bags), test.y), 0.82) << static_cast<int>(pool);
    const LearningCurve& curve = net.curve();
    const auto best = std::min_element(curve.validation_loss.begin(), curve.validation_loss.end());
    EXPECT_EQ(curve.best_epoch, best - curve.validation_loss.begin());
  }
}

TEST(BagClassifier, PredictionsFollowFromInstanceScores) {
  const Data train = planted(60, 1);
  const Data val = planted(30, 2);
  for (const Pool pool : {Pool::kMax, Pool::kNoisyOr}) {
    const BagClassifier net =
        BagClassifier::fit(train.bags, train.y, small_options(pool), &val.bags, val.y);
    const std::vector<double> p = net.predict(val.bags);
    const std::vector<double> scores = net.instance_scores(val.bags);
    for (std::size_t bag = 0; bag < p.size(); ++bag) {
      double largest = 0.0;
      double none = 1.0;
      for (std::size_t i = 0; i < scores.size(); ++i) {
        if (val.bags.bag_of_instance[i] != bag) continue;
        largest = std::max(largest, scores[i]);
        none *= 1.0 - scores[i];
      }
      EXPECT_NEAR(p[bag], pool == Pool::kMax ? largest : 1.0 - none, 1e-5);
    }
  }
}

TEST(BagClassifier, OrderOfInstancesDoesNotMatter) {
  const Data train = planted(60, 1);
  const Data val = planted(30, 2);
  for (const Pool pool : kPools) {
    const BagClassifier net =
        BagClassifier::fit(train.bags, train.y, small_options(pool), &val.bags, val.y);
    const std::size_t n = val.bags.instances.rows();
    std::vector<std::size_t> order = NumpyRandom(4).permutation(n);
    Bags mixed{val.bags.instances.take_rows(order), {}};
    for (const std::size_t i : order) mixed.bag_of_instance.push_back(val.bags.bag_of_instance[i]);
    const std::vector<double> p = net.predict(val.bags);
    const std::vector<double> q = net.predict(mixed);
    for (std::size_t bag = 0; bag < p.size(); ++bag) EXPECT_NEAR(p[bag], q[bag], 1e-6);
    const std::vector<double> a = net.instance_scores(val.bags);
    const std::vector<double> b = net.instance_scores(mixed);
    for (std::size_t i = 0; i < n; ++i) EXPECT_NEAR(b[i], a[order[i]], 1e-6);
  }
}

TEST(BagClassifier, AttentionSumsToOneAndPoolsTheEmbedding) {
  const Data train = planted(60, 1);
  const Data val = planted(30, 2);
  const BagClassifier net =
      BagClassifier::fit(train.bags, train.y, small_options(Pool::kAttention), &val.bags, val.y);
  const std::vector<double> a = net.attention_weights(val.bags);
  std::vector<double> sums(val.y.size(), 0.0);
  for (std::size_t i = 0; i < a.size(); ++i) sums[val.bags.bag_of_instance[i]] += a[i];
  for (const double sum : sums) EXPECT_NEAR(sum, 1.0, 1e-12);
  // The head on the attention-pooled embedding is the prediction (Ilse et al.'s form).
  const Matrix<float> h = net.embed(val.bags);
  ASSERT_EQ(h.cols(), 8U);
  const Parameters parameters = net.parameters();
  const auto& weight = find_parameter(parameters, "out.weight").values;
  const std::vector<double> p = net.predict(val.bags);
  for (std::size_t bag = 0; bag < p.size(); ++bag) {
    double z = find_parameter(parameters, "out.bias").values[0];
    for (std::size_t j = 0; j < 8; ++j) z += static_cast<double>(weight[j]) * h(bag, j);
    EXPECT_NEAR(p[bag], sigmoid(z), 1e-5);
  }
  const BagClassifier max =
      BagClassifier::fit(train.bags, train.y, small_options(Pool::kMax), &val.bags, val.y);
  EXPECT_THROW(max.attention_weights(val.bags), Error);
}

// For the maximum the embedding is that of the scan that decided: the head on it is the prediction.
TEST(BagClassifier, MaxEmbedsTheScanThatDecided) {
  const Data train = planted(60, 1);
  const Data val = planted(30, 2);
  const BagClassifier net =
      BagClassifier::fit(train.bags, train.y, small_options(Pool::kMax), &val.bags, val.y);
  const Matrix<float> h = net.embed(val.bags);
  const Parameters parameters = net.parameters();
  const auto& weight = find_parameter(parameters, "out.weight").values;
  const std::vector<double> p = net.predict(val.bags);
  for (std::size_t bag = 0; bag < p.size(); ++bag) {
    double z = find_parameter(parameters, "out.bias").values[0];
    for (std::size_t j = 0; j < 8; ++j) z += static_cast<double>(weight[j]) * h(bag, j);
    EXPECT_NEAR(p[bag], sigmoid(z), 1e-5);
  }
}

TEST(BagClassifier, RoundTripPredictsTheSameBits) {
  const Data train = planted(60, 1);
  const Data val = planted(30, 2);
  for (const Pool pool : kPools) {
    const BagOptions options = small_options(pool);
    const BagClassifier net = BagClassifier::fit(train.bags, train.y, options, &val.bags, val.y);
    const BagClassifier loaded = BagClassifier::from_parameters(options, 12, net.parameters());
    EXPECT_EQ(net.predict(val.bags), loaded.predict(val.bags));
    EXPECT_EQ(net.embed(val.bags), loaded.embed(val.bags));
    const BagClassifier again = BagClassifier::fit(train.bags, train.y, options, &val.bags, val.y);
    EXPECT_TRUE(net.parameters() == again.parameters());
  }
}

TEST(BagClassifier, DefaultNetHasThePapersShapesAndNeedsValidation) {
  const Data train = planted(8, 1, 512);
  BagOptions options;
  EXPECT_EQ(options.training.epochs, 70);
  EXPECT_THROW(BagClassifier::fit(train.bags, train.y, options), Error);
  options.training.epochs = 1;
  const BagClassifier net = BagClassifier::fit(train.bags, train.y, options, &train.bags, train.y);
  const Parameters parameters = net.parameters();
  using Shape = std::vector<std::uint64_t>;
  EXPECT_EQ(find_parameter(parameters, "fc1.weight").shape, (Shape{256, 512}));
  EXPECT_EQ(find_parameter(parameters, "fc2.weight").shape, (Shape{128, 256}));
  EXPECT_EQ(find_parameter(parameters, "out.weight").shape, (Shape{1, 128}));
  EXPECT_EQ(net.embed(train.bags).cols(), 128U);
}

TEST(BagClassifier, RefusesBagsThatCannotServe) {
  const Data train = planted(20, 1);
  const BagOptions options = small_options(Pool::kMean);
  const BagClassifier net = BagClassifier::fit(train.bags, train.y, options, &train.bags, train.y);
  const auto message = [&](const Bags& bags) -> std::string {
    try {
      net.predict(bags);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kData);
      return error.what();
    }
    return "";
  };
  Bags bags{Matrix<float>(3, 12), {0, 2, 2}};
  EXPECT_EQ(message(bags), "bags: bag 1 has no instance, but bags go up to number 2");
  bags.bag_of_instance = {1, 1, static_cast<std::size_t>(-1)};
  EXPECT_NE(message(bags).find("bag 0 has no instance"), std::string::npos);
  bags.bag_of_instance = {0, 1};
  EXPECT_EQ(message(bags), "bags: 3 instances but 2 bag numbers");
  EXPECT_EQ(message({Matrix<float>(1, 11), {0}}), "bags: 11 columns, expected 12");
  EXPECT_EQ(message({}), "bags: no rows");
  EXPECT_THROW(BagClassifier::fit(train.bags, std::vector<std::uint8_t>{0, 1}, options), Error);
  BagOptions two_logits = options;
  two_logits.training.loss = TrainingOptions::Loss::kWeightedCrossEntropy;
  EXPECT_THROW(two_logits.validate(), Error);
  BagOptions narrow = small_options(Pool::kAttention);
  narrow.attention = 0;
  EXPECT_THROW(narrow.validate(), Error);
}

}  // namespace
}  // namespace med3d::nn
