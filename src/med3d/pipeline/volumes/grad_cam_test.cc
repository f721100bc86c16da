#include "med3d/pipeline/volumes/grad_cam.h"

#include <gtest/gtest.h>

#include <cmath>

#include "med3d/core/error.h"
#include "med3d/core/random.h"

namespace med3d::pipeline {
namespace {

// A logit of two layers on the embedding, as an MLP's: z = sum_j v_j tanh(sum_c w_jc mean_p A_cp).
double logit(const FeatureMap& map, const std::vector<double>& w, const std::vector<double>& v) {
  const std::size_t positions = map.values.size() / 3;
  double z = 0.0;
  for (std::size_t j = 0; j < v.size(); ++j) {
    double sum = 0.0;
    for (std::size_t c = 0; c < 3; ++c) {
      double mean = 0.0;
      for (std::size_t p = 0; p < positions; ++p) mean += map.values[c * positions + p];
      sum += w[j * 3 + c] * mean / static_cast<double>(positions);
    }
    z += v[j] * std::tanh(sum);
  }
  return z;
}

TEST(ClassActivation, IsTheGradientByCentralDifferencesTimesTheMap) {
  NumpyRandom random(3);
  FeatureMap map;
  map.shape = {3, 2, 3, 2};
  for (int i = 0; i < 36; ++i) map.values.push_back(static_cast<float>(random.normal()));
  std::vector<double> w(6);
  for (double& x : w) x = random.normal();
  const std::vector<double> v = {0.7, -1.3};
  // Of the embedding, by hand: sum_j v_j (1 - tanh^2) w_jc.
  std::vector<float> gradient(3, 0.0F);
  for (std::size_t j = 0; j < 2; ++j) {
    double sum = 0.0;
    for (std::size_t c = 0; c < 3; ++c) {
      for (std::size_t p = 0; p < 12; ++p) sum += w[j * 3 + c] * map.values[c * 12 + p] / 12.0;
    }
    for (std::size_t c = 0; c < 3; ++c) {
      gradient[c] +=
          static_cast<float>(v[j] * (1.0 - std::tanh(sum) * std::tanh(sum)) * w[j * 3 + c]);
    }
  }
  const std::vector<float> activation = class_activation(map, gradient);
  ASSERT_EQ(activation.size(), 12U);
  for (std::size_t p = 0; p < 12; ++p) {
    double expected = 0.0;
    for (std::size_t c = 0; c < 3; ++c) {
      const float kept = map.values[c * 12 + p];
      constexpr float kStep = 0.01F;
      map.values[c * 12 + p] = kept + kStep;
      const double above = logit(map, w, v);
      map.values[c * 12 + p] = kept - kStep;
      const double below = logit(map, w, v);
      map.values[c * 12 + p] = kept;
      expected += (above - below) / (2.0 * kStep) * kept;
    }
    EXPECT_NEAR(activation[p], expected, 1e-5) << p;
  }
  EXPECT_THROW(class_activation(map, std::vector<float>(2)), Error);
}

// A map of 1 x 1 x 2 with stride 8 on a line of 16 voxels: position 0 sees about voxel 0, position
// 1 about voxel 8. At voxel 2 the heat is 3/4 * 4 + 1/4 * 8 = 5; from voxel 8 on it stays 8. The
// scan is the same line at half the spacing, begun half a prepared voxel earlier and mirrored.
TEST(HeatOnScan, IsLinearBetweenPositionsOnTheScansOwnGrid) {
  Volume prepared;
  prepared.size = {16, 1, 1};
  prepared.voxels.assign(16, 0.0F);
  const std::vector<float> activation = {4.0F, 8.0F};
  Volume heat = heat_on_scan(activation, {1, 1, 2}, 8, prepared, prepared, 1);
  EXPECT_FLOAT_EQ(heat.at(0, 0, 0), 4.0F);
  EXPECT_FLOAT_EQ(heat.at(2, 0, 0), 5.0F);
  EXPECT_FLOAT_EQ(heat.at(8, 0, 0), 8.0F);
  EXPECT_FLOAT_EQ(heat.at(15, 0, 0), 8.0F);

  Volume scan;
  scan.size = {32, 1, 1};
  scan.spacing_mm = {0.5, 1, 1};
  scan.patient_from_voxel.m = {{{-0.5, 0, 0, 15.25}, {0, 1, 0, 0}, {0, 0, 1, 0}, {0, 0, 0, 1}}};
  scan.voxels.assign(32, 0.0F);
  heat = heat_on_scan(activation, {1, 1, 2}, 8, prepared, scan, 2);
  EXPECT_EQ(heat.patient_from_voxel, scan.patient_from_voxel);
  // Scan voxel 27 is at 15.25 - 13.5 = 1.75: 4 + 4 * 1.75 / 8 = 4.875.
  EXPECT_FLOAT_EQ(heat.at(27, 0, 0), 4.875F);
  EXPECT_FLOAT_EQ(heat.at(0, 0, 0), 8.0F);

  // What the encoder did not see has no heat, and what speaks against the class none either.
  scan.patient_from_voxel.m[0][3] = 100.0;
  heat = heat_on_scan(activation, {1, 1, 2}, 8, prepared, scan, 1);
  for (const float v : heat.voxels) EXPECT_EQ(v, 0.0F);
  heat = heat_on_scan(std::vector<float>{-1.0F, -2.0F}, {1, 1, 2}, 8, prepared, prepared, 1);
  for (const float v : heat.voxels) EXPECT_EQ(v, 0.0F);
}

}  // namespace
}  // namespace med3d::pipeline
