#include "med3d/pipeline/slides/attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "med3d/core/random.h"
#include "med3d/mil/clam_weights.h"
#include "med3d/pipeline/test_support.h"

namespace med3d::pipeline {
namespace {

Matrix<float> drawn(std::size_t rows, std::size_t cols) {
  NumpyRandom random(3);
  Matrix<float> out(rows, cols);
  for (std::size_t i = 0; i < out.size(); ++i) out.data()[i] = static_cast<float>(random.normal());
  return out;
}

mil::ClamOptions tiny(mil::ModelType type) {
  mil::ClamOptions options;
  options.model_type = type;
  options.embed_dim = 6;
  options.n_classes = 3;
  options.precision = Arithmetic::kF32;
  return options;
}

// exp(0), exp(log 2), exp(log 5): 1, 2 and 5 of 8.
TEST(AttentionWeights, AreASoftmaxThatNoLargeScoreBreaks) {
  const std::vector<float> raw = {1000.0F, 1000.0F + std::log(2.0F), 1000.0F + std::log(5.0F)};
  const auto weights = attention_weights(raw);
  EXPECT_NEAR(weights[0], 1.0 / 8, 1e-5);
  EXPECT_NEAR(weights[1], 2.0 / 8, 1e-5);
  EXPECT_NEAR(weights[2], 5.0 / 8, 1e-5);
  EXPECT_TRUE(attention_weights({}).empty());
}

TEST(IsPartOf, AcceptsTilesLeftOutAndNoOtherOrder) {
  const auto rows = [](const std::vector<std::int64_t>& x) {
    Matrix<std::int64_t> out(x.size(), 2);
    for (std::size_t i = 0; i < x.size(); ++i) out(i, 0) = x[i];
    return out;
  };
  EXPECT_TRUE(is_part_of(rows({1, 2, 3}), rows({1, 2, 3})));
  EXPECT_TRUE(is_part_of(rows({1, 3}), rows({1, 2, 3})));
  EXPECT_TRUE(is_part_of(rows({}), rows({1})));
  EXPECT_FALSE(is_part_of(rows({3, 1}), rows({1, 2, 3})));
  EXPECT_FALSE(is_part_of(rows({1, 1}), rows({1, 2})));
  EXPECT_FALSE(is_part_of(rows({1, 2, 3}), rows({1, 2})));
}

// The two ways to the slide's vector must meet: M is the weighted mean of h, and the head of the
// predicted class is the one that speaks.
TEST(AttendWith, SpeaksForThePredictedClass) {
  const testing::TempFolder folder;
  const auto features = drawn(11, 6);
  for (const auto type :
       {mil::ModelType::kClamSb, mil::ModelType::kClamMb, mil::ModelType::kAbmil}) {
    mil::Clam net(tiny(type));
    const auto path = folder.write("net.pt", mil::clam_checkpoint_bytes(net));
    const AttendSlide attend = attend_with(path);
    const SlideAttention said = attend(features);
    const auto expected = net.forward({features.data(), features.rows(), features.cols()});
    const std::size_t row =
        type == mil::ModelType::kClamMb ? static_cast<std::size_t>(expected.predicted) : 0;
    ASSERT_EQ(said.weight.size(), 11U);
    EXPECT_NEAR(std::accumulate(said.weight.begin(), said.weight.end(), 0.0), 1.0, 1e-6);
    double highest = -HUGE_VAL;
    for (std::size_t i = 0; i < 11; ++i) {
      highest = std::max<double>(highest, expected.attention_raw(row, i));
      const double ratio = std::exp(static_cast<double>(expected.attention_raw(row, i)) -
                                    static_cast<double>(expected.attention_raw(row, 0)));
      EXPECT_NEAR(said.weight[i] / said.weight[0], ratio, 1e-5 * ratio);
    }
    EXPECT_EQ(said.highest, highest);
    ASSERT_EQ(said.embedding.size(), 512U);
    for (std::size_t j = 0; j < 512; ++j) EXPECT_EQ(said.embedding[j], expected.embedding(row, j));
  }
}

TEST(AttendWith, RefusesANetWithoutAttention) {
  const testing::TempFolder folder;
  const auto path =
      folder.write("net.pt", mil::clam_checkpoint_bytes(mil::Clam(tiny(mil::ModelType::kMean))));
  try {
    attend_with(path);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUsage);
    EXPECT_NE(std::string(error.what()).find("a mean net, which has no attention"),
              std::string::npos);
  }
}

// Pools through the job that `slide aggregate` runs: by the weights, by M, and by the slide whose
// highest raw score is higher.
TEST(AttendWith, PoolsSlidesToPatients) {
  const testing::TempFolder folder;
  mil::Clam net(tiny(mil::ModelType::kClamSb));
  const auto model = folder.write("net.pt", mil::clam_checkpoint_bytes(net));
  auto first = drawn(9, 6);
  auto second = drawn(4, 6);
  for (std::size_t i = 0; i < second.size(); ++i) second.data()[i] *= -1.5F;
  folder.write("f/TCGA-AA-0001-01Z-00-DX1.npy", npy_bytes(first));
  folder.write("f/TCGA-AA-0001-01Z-00-DX2.npy", npy_bytes(second));
  AggregateJob job;
  job.attend = attend_with(model);
  job.slide_pool = SlidePool::kAttention;
  job.patient_pool = PatientPool::kTopSlide;
  const auto files = feature_files(folder.path() / "f");
  const auto pooled = aggregate_slides(files, job, silent_progress());
  ASSERT_EQ(pooled.slides.values.rows(), 2U);
  ASSERT_EQ(pooled.patients.values.rows(), 1U);
  const auto one = job.attend(first), two = job.attend(second);
  double expected = 0.0;
  for (std::size_t i = 0; i < 9; ++i) {
    expected += static_cast<double>(one.weight[i]) * static_cast<double>(first(i, 2));
  }
  EXPECT_NEAR(pooled.slides.values(0, 2), expected, 1e-6);
  const std::size_t top = one.highest >= two.highest ? 0 : 1;
  EXPECT_EQ(pooled.patients.values(0, 3), pooled.slides.values(top, 3));
  job.slide_pool = SlidePool::kEmbedding;
  EXPECT_EQ(aggregate_slides(files, job, silent_progress()).slides.values.cols(), 512U);
}

}  // namespace
}  // namespace med3d::pipeline
