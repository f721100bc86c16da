#include "med3d/radiology/resample.h"

#include <gtest/gtest.h>

#include <cmath>

#include "med3d/core/file.h"
#include "med3d/core/text.h"
#include "med3d/radiology/test_support.inc"
#include "med3d/radiology/test_volume.inc"

namespace med3d {
namespace {

TEST(Zoom, ReadsTheVoxelsThatScipyReads) {
  const auto path = test_data("reference/medicalnet/zoom0_index.csv");
  MED3D_NEEDS_DATA(path);
  const auto lines = split(read_file(path, 1 << 20), '\n');
  std::size_t cases = 0;
  for (std::size_t i = 1; i < lines.size(); ++i) {
    const auto cells = split(std::string(trim(lines[i])), ',');
    if (cells.size() != 4) continue;
    std::string found;
    // The file was made by a ramp: a plane of zeros reads as 0 there.
    for (const std::int64_t index :
         zoom_nearest_index(std::stoll(cells[0]), std::stoll(cells[1]), LastPlane::kScipy)) {
      found += (found.empty() ? "" : " ") + std::to_string(std::max<std::int64_t>(0, index));
    }
    ASSERT_EQ(found, cells[3]) << cells[0] << " to " << cells[1];
    ++cases;
  }
  EXPECT_EQ(cases, 540U);
}

// tests/reference/volume_resize.py; sizes there are depth, height, width.
TEST(Zoom, EqualsScipy) {
  const struct {
    Volume volume;
    VolumeSize size;
    double nearest;
    double linear;
  } kCases[] = {{reference_grid(7, 8, 9), {9, 5, 11}, 1028256.0, 1027913.4},
                {reference_grid(7, 8, 9), {4, 20, 3}, 511408.0, 512101.29824561405},
                {reference_grid(5, 3, 128), {14, 2, 5}, 241159.0, 233393.46153846168},
                {reference_grid(4, 1, 6), {3, 1, 1}, 292.0, 352.0}};
  for (const auto& one : kCases) {
    EXPECT_EQ(checksum(zoom_nearest(one.volume, one.size)), one.nearest);
    const Volume linear = zoom_linear(one.volume, one.size);
    EXPECT_NEAR(checksum(linear), one.linear, 1e-7 * one.linear);
    EXPECT_EQ(linear.voxels, zoom_linear(one.volume, one.size, LastPlane::kScipy, 3).voxels);
  }
}

TEST(Zoom, ScipysLastPlaneIsZeroForSomeSizesUnlessClamped) {
  const Volume volume = reference_grid(1, 1, 128);
  EXPECT_EQ(zoom_nearest(volume, {14, 1, 1}).voxels.back(), 0.0F);
  EXPECT_EQ(zoom_linear(volume, {14, 1, 1}).voxels.back(), 0.0F);
  EXPECT_EQ(zoom_nearest(volume, {14, 1, 1}, LastPlane::kClamped).voxels.back(),
            volume.voxels.back());
  EXPECT_EQ(zoom_linear(volume, {14, 1, 1}, LastPlane::kClamped).voxels.back(),
            volume.voxels.back());
}

TEST(Zoom, KeepsTheCornersInThePatient) {
  Volume volume = reference_grid(5, 4, 3);
  volume.patient_from_voxel.m = {{{2, 0, 0, 10}, {0, 3, 0, 20}, {0, 0, 4, 30}, {0, 0, 0, 1}}};
  volume.spacing_mm = {2, 3, 4};
  const Volume out = zoom_linear(volume, {5, 7, 2});
  EXPECT_EQ(out.patient_from_voxel({0, 0, 0}), volume.patient_from_voxel({0, 0, 0}));
  EXPECT_EQ(out.patient_from_voxel({4, 6, 1}), volume.patient_from_voxel({2, 3, 4}));
}

// Pillow works in single precision.
TEST(ResizeAntialiased, EqualsPillow) {
  const Volume a = resize_antialiased(reference_grid(7, 8, 9), {9, 5, 11});
  EXPECT_NEAR(checksum(a), 1032249.2924286127, 0.1);
  EXPECT_NEAR(a.voxels.front(), 1.6363636, 1e-5);
  const Volume b = resize_antialiased(reference_grid(7, 8, 9), {4, 20, 3});
  EXPECT_NEAR(checksum(b), 486022.850982666, 0.1);
  EXPECT_NEAR(b.voxels.back(), 36.665306, 1e-4);
  const Volume c = resize_antialiased(reference_grid(9, 30, 31), {64, 7, 4}, 2);
  EXPECT_NEAR(checksum(c), 3862636.7173728943, 1.0);
  EXPECT_NEAR(c.voxels.front(), 16.760714, 1e-4);
}

TEST(ResizeAntialiased, KeepsAConstantAndTheFieldOfView) {
  Volume volume = reference_grid(6, 5, 4);
  for (float& voxel : volume.voxels) voxel = 7.0F;
  const Volume out = resize_antialiased(volume, {9, 2, 3});
  for (const float voxel : out.voxels) EXPECT_FLOAT_EQ(voxel, 7.0F);
  // The outer edge of the first voxel stays: centre - half a step.
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(out.patient_from_voxel.m[i][3] - 0.5 * out.spacing_mm[i], -0.5, 1e-12);
  }
}

TEST(ResampleToSpacing, GivesExactlyThatSpacing) {
  Volume volume = reference_grid(4, 10, 10);
  volume.patient_from_voxel.m[2][2] = 5.0;
  volume.spacing_mm = {1, 1, 5};
  const Volume out = resample_to_spacing(volume, {2, 3, 2});
  EXPECT_EQ(out.size, (VolumeSize{5, 3, 10}));  // 10 / 2, round(10 / 3), 20 / 2
  EXPECT_NEAR(out.spacing_mm[1], 3.0, 1e-12);
  // 3 voxels of 3 mm centred in 10 mm: the first centre lies at -0.5 + 0.5 + 1.5 = 1.5.
  EXPECT_NEAR(out.patient_from_voxel.m[1][3], 1.5, 1e-12);
  EXPECT_NEAR(out.patient_from_voxel.m[2][3], -1.5, 1e-12);  // -2.5 + 1
  const Volume same = resample_to_spacing(volume, volume.spacing_mm);
  EXPECT_EQ(same.voxels, volume.voxels);
  expect_error(ErrorKind::kUsage, "a spacing of 0 mm", [&] {
    resample_to_spacing(volume, {1, 0, 1});
  });
  expect_error(ErrorKind::kFormat, "resampled volume", [&] {
    resample_to_spacing(volume, {1e-9, 1e-9, 1e-9});
  });
}

// Along x 10 voxels of 1 mm, 4 new ones of 2 mm: centres at 4.5 -3, -1, +1, +3
// = 1.5, 3.5, 5.5, 7.5. Along y 4 new ones of 4 mm in 10 mm: -1.5 is outside of -0.5 to 9.5, 2.5
// and 6.5 are in, 10.5 is outside. Along z 4 voxels of 5 mm stay as they are.
TEST(ResampleAroundCentre, KeepsMillimetresAndFillsUpTheRest) {
  Volume volume = reference_grid(4, 10, 10);
  volume.patient_from_voxel.m[2][2] = 5.0;
  volume.spacing_mm = {1, 1, 5};
  const Volume out = resample_around_centre(volume, {2, 4, 5}, {4, 4, 4}, -7.0F);
  EXPECT_EQ(out.size, (VolumeSize{4, 4, 4}));
  EXPECT_NEAR(out.patient_from_voxel.m[0][3], 1.5, 1e-12);
  EXPECT_NEAR(out.patient_from_voxel.m[1][3], -1.5, 1e-12);
  for (std::int64_t x = 0; x < 4; ++x) {
    EXPECT_EQ(out.at(x, 0, 1), -7.0F);
    EXPECT_EQ(out.at(x, 3, 1), -7.0F);
    EXPECT_GE(out.at(x, 1, 1), 0.0F);
  }
  // What lies inside is what resampling the whole volume gives.
  const Volume whole = resample_to_spacing(volume, {2, 1, 5});
  const Volume part = resample_around_centre(volume, {2, 1, 5}, {3, 10, 4}, 0.0F);
  EXPECT_EQ(whole.size[0], 5);
  EXPECT_FLOAT_EQ(part.at(1, 4, 2), whole.at(2, 4, 2));
  const Volume same = resample_around_centre(volume, volume.spacing_mm, volume.size, 0.0F);
  EXPECT_EQ(same.voxels, volume.voxels);
  expect_error(ErrorKind::kData, "larger than the scan", [&] {
    resample_around_centre(volume, {50, 1, 1}, {4, 4, 4}, 0.0F);
  });
  expect_error(ErrorKind::kUsage, "a spacing of 0 mm", [&] {
    resample_around_centre(volume, {1, 0, 1}, {4, 4, 4}, 0.0F);
  });
}

TEST(CropToMask, CutsAroundTheMaskWithAMargin) {
  const Volume volume = reference_grid(5, 6, 7);
  Volume mask = volume;
  for (float& voxel : mask.voxels) voxel = 0.0F;
  expect_error(ErrorKind::kData, "without any voxel", [&] { crop_to_mask(volume, mask); });
  mask.at(3, 2, 1) = 1.0F;
  mask.at(4, 2, 4) = 1.0F;
  const Volume out = crop_to_mask(volume, mask, 0.5);
  EXPECT_EQ(out.size, (VolumeSize{4, 3, 5}));  // x 2..5, y 1..3, z 0..4: cut at the volume's edge
  EXPECT_EQ(out.patient_from_voxel({0, 0, 0}), (Vector3{2, 1, 0}));
  EXPECT_EQ(out.at(1, 1, 1), volume.at(3, 2, 1));
  mask.patient_from_voxel.m[0][3] = 1.0;
  expect_error(ErrorKind::kData, "another grid", [&] { crop_to_mask(volume, mask); });
}

}  // namespace
}  // namespace med3d
