#include "med3d/radiology/volume.h"

#include <gtest/gtest.h>

#include <cmath>

#include "med3d/radiology/test_support.inc"

namespace med3d {
namespace {

// 2 x 3 x 2 voxels, voxel (x, y, z) has the value 100 z + 10 y + x.
Volume numbered() {
  Volume out;
  out.size = {2, 3, 2};
  out.patient_from_voxel.m = {{{0.5, 0, 0, -10}, {0, 0.25, 0, 20}, {0, 0, 4, 7}, {0, 0, 0, 1}}};
  out.spacing_mm = {0.5, 0.25, 4};
  for (int z = 0; z < 2; ++z) {
    for (int y = 0; y < 3; ++y) {
      for (int x = 0; x < 2; ++x) out.voxels.push_back(static_cast<float>(100 * z + 10 * y + x));
    }
  }
  return out;
}

TEST(Volume, PlacesAVoxelInThePatient) {
  // x = 0.5 * 1 - 10, y = 0.25 * 2 + 20, z = 4 * 1 + 7
  EXPECT_EQ(numbered().patient_from_voxel({1, 2, 1}), (Vector3{-9.5, 20.5, 11}));
}

TEST(Volume, InverseUndoesTheMap) {
  Affine map;
  map.m = {{{0.3, -0.1, 0.2, 5}, {0.05, 0.7, -0.4, -6}, {0.1, 0.2, 2.5, 100}, {0, 0, 0, 1}}};
  const Affine same = map * inverse(map);
  for (std::size_t i = 0; i < 4; ++i) {
    for (std::size_t j = 0; j < 4; ++j) EXPECT_NEAR(same.m[i][j], i == j ? 1.0 : 0.0, 1e-12);
  }
  map.m[2] = map.m[1];
  expect_error(ErrorKind::kData, "flat", [&] { inverse(map); });
}

TEST(Volume, NamesOrientationAndPlane) {
  EXPECT_EQ(orientation_code(numbered().patient_from_voxel), "LPS");
  // As the coronal MR stores it: x to the left, y down, z to the front.
  Affine coronal;
  coronal.m = {{{1.56, 0, -0.05, 0}, {0, 0, -8.7, 0}, {0, -1.56, 0, 0}, {0, 0, 0, 1}}};
  EXPECT_EQ(orientation_code(coronal), "LIA");
  EXPECT_EQ(plane_of(coronal), Plane::kCoronal);
  EXPECT_EQ(plane_of({1, 0, 0}, {0, 1, 0}), Plane::kAxial);
  EXPECT_EQ(plane_of({0, 1, 0}, {0, 0, -1}), Plane::kSagittal);
  // A gantry tilt of 30 degrees is axial still; 45 degrees is nothing.
  EXPECT_EQ(plane_of({1, 0, 0}, {0, std::sqrt(0.75), -0.5}), Plane::kAxial);
  EXPECT_EQ(plane_of({1, 0, 0}, {0, std::sqrt(0.5), -std::sqrt(0.5)}), Plane::kOblique);
}

TEST(Volume, ReorientingMovesNoVoxelInThePatient) {
  const Volume from = numbered();
  for (const char* code : {"LPS", "RAS", "SPL", "IAR", "PIL", "ASR"}) {
    const Volume to = reorient(from, code);
    EXPECT_EQ(orientation_code(to.patient_from_voxel), code);
    const Affine from_voxel = inverse(from.patient_from_voxel);
    for (std::int64_t z = 0; z < to.size[2]; ++z) {
      for (std::int64_t y = 0; y < to.size[1]; ++y) {
        for (std::int64_t x = 0; x < to.size[0]; ++x) {
          const Vector3 voxel = from_voxel(to.patient_from_voxel(
              {static_cast<double>(x), static_cast<double>(y), static_cast<double>(z)}));
          EXPECT_EQ(to.at(x, y, z),
                    from.at(std::lround(voxel[0]), std::lround(voxel[1]), std::lround(voxel[2])));
        }
      }
    }
    EXPECT_EQ(reorient(to, "LPS").voxels, from.voxels);
  }
  // By hand: RAS turns x and y round, so voxel (0, 0, 0) is the old (1, 2, 0) = 21.
  EXPECT_EQ(reorient(from, "RAS").at(0, 0, 0), 21.0F);
}

TEST(Volume, RefusesWhatDoesNotFit) {
  Volume volume = numbered();
  expect_error(ErrorKind::kUsage, "orientation 'LLS'", [&] { reorient(volume, "LLS"); });
  expect_error(ErrorKind::kUsage, "orientation 'xyz'", [&] { reorient(volume, "xyz"); });
  volume.voxels.pop_back();
  expect_error(ErrorKind::kData, "11 voxels, expected 2 x 3 x 2", [&] { volume.validate(); });
  volume = numbered();
  volume.spacing_mm[1] = 0.26;
  expect_error(ErrorKind::kData, "spacing of 0.26 mm along axis 1", [&] { volume.validate(); });
  expect_error(ErrorKind::kFormat, "expected at least 1", [] { checked_voxels({1, 0, 1}, "v"); });
  expect_error(ErrorKind::kFormat, "limit", [] { checked_voxels({1 << 20, 1 << 20, 1}, "v"); });
  expect_error(ErrorKind::kFormat, "64 bits", [] {
    checked_voxels({1LL << 40, 1LL << 40, 1}, "v");
  });
}

}  // namespace
}  // namespace med3d
