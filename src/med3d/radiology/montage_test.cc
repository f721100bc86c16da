#include "med3d/radiology/montage.h"

#include <gtest/gtest.h>

#include "med3d/io/formats/png.h"
#include "med3d/radiology/test_support.inc"

namespace med3d {
namespace {

// 2 x 2 x 4 voxels of 1 x 1 x 2 mm, voxel = 10 z + 2 y + x.
Volume small() {
  Volume out;
  out.size = {2, 2, 4};
  out.patient_from_voxel.m[2][2] = 2.0;
  out.spacing_mm = {1, 1, 2};
  for (int z = 0; z < 4; ++z) {
    for (int i = 0; i < 4; ++i) out.voxels.push_back(static_cast<float>(10 * z + i));
  }
  return out;
}

TEST(Montage, LaysSlicesInAGrid) {
  MontageOptions options;
  options.slices = 3;
  options.columns = 2;
  options.tile = 2;
  options.window = GreyWindow{0.0, 255.0};
  const Montage out = montage(small(), options);
  // Slices in the middle of each third: floor(4 / 6), floor(12 / 6), floor(20 / 6).
  EXPECT_EQ(out.shown, (std::vector<std::int64_t>{0, 2, 3}));
  EXPECT_EQ(out.width, 4);
  EXPECT_EQ(out.height, 4);
  EXPECT_EQ(out.pixels,
            (std::vector<std::uint8_t>{0, 1, 20, 21, 2, 3, 22, 23, 30, 31, 0, 0, 32, 33, 0, 0}));
  EXPECT_NE(png_bytes(out.pixels, out.width, out.height, 1), "");
}

TEST(Montage, ShowsCoronalSlicesWithTheHeadUpAndSquareMillimetres) {
  MontageOptions options;
  options.plane = Plane::kCoronal;
  options.slices = 1;
  options.tile = 8;
  options.window = GreyWindow{0.0, 255.0};
  const Montage out = montage(small(), options);
  EXPECT_EQ(out.width, 2);            // 2 mm of 8
  EXPECT_EQ(out.height, 8);           // 4 slices of 2 mm
  EXPECT_EQ(out.pixels.front(), 32);  // z = 3, y = 1, x = 0
  EXPECT_EQ(out.pixels.back(), 3);
}

TEST(Montage, WindowsClampAndComeFromTheVoxels) {
  Volume volume = small();
  volume.units = VoxelUnits::kHu;
  const Montage ct = montage(volume);
  EXPECT_EQ(ct.window.low, -160.0);
  EXPECT_EQ(ct.window.high, 240.0);
  EXPECT_EQ(ct.shown.size(), 4U);
  volume.units = VoxelUnits::kArbitrary;
  EXPECT_EQ(montage(volume).window.low, 0.0);
  EXPECT_EQ(montage(volume).window.high, 32.0);  // floor(0.99 * 15) = the 15th of 16
  MontageOptions narrow;
  narrow.window = GreyWindow{100.0, 200.0};
  for (const std::uint8_t pixel : montage(volume, narrow).pixels) EXPECT_EQ(pixel, 0);
}

TEST(Montage, NamesOptionsOutOfRange) {
  const auto refused = [](auto change, const std::string& part) {
    MontageOptions options;
    change(options);
    expect_error(ErrorKind::kUsage, part, [&] { montage(small(), options); });
  };
  refused([](MontageOptions& o) { o.slices = 0; }, "slices 0");
  refused([](MontageOptions& o) { o.tile = 4000; }, "tile 4000");
  refused([](MontageOptions& o) { o.plane = Plane::kOblique; }, "oblique");
  refused([](MontageOptions& o) { o.window = GreyWindow{1.0, 1.0}; }, "low below high");
}

}  // namespace
}  // namespace med3d
