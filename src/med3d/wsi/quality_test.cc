#include "med3d/wsi/quality.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "med3d/core/error.h"

namespace med3d {
namespace {

using Bytes = std::vector<std::uint8_t>;

// tile() of tests/reference/quality.py.
Bytes reference_tile(int width, int height) {
  Bytes rgb;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int k = 0; k < 3; ++k) {
        rgb.push_back(static_cast<std::uint8_t>((x * 37 + y * 11 + k * 53 + x * y * 7) % 251));
      }
    }
  }
  return rgb;
}

void add_pixel(Bytes& rgb, int red, int green, int blue) {
  for (const int level : {red, green, blue}) rgb.push_back(static_cast<std::uint8_t>(level));
}

Bytes plain(int pixels, int red, int green, int blue) {
  Bytes rgb;
  for (int i = 0; i < pixels; ++i) add_pixel(rgb, red, green, blue);
  return rgb;
}

TileQuality measure(const Bytes& rgb, int width, int height, double mpp = 0) {
  return measure_quality(rgb, width, height, mpp, {});
}

DropReason reason_of(const Bytes& rgb, int width, int height) {
  return drop_reason(measure(rgb, width, height), {});
}

TEST(Quality, SharpnessAndSaturationAgreeWithOpenCv) {
  const TileQuality wide = measure(reference_tile(33, 20), 33, 20);
  EXPECT_NEAR(wide.sharpness, 58202.749612029394, 1e-6);
  EXPECT_NEAR(wide.saturation, 187.34848484848484, 1e-9);
  const TileQuality thin = measure(reference_tile(1, 5), 1, 5);
  EXPECT_NEAR(thin.sharpness, 193.6, 1e-9);
  EXPECT_NEAR(thin.saturation, 214.2, 1e-9);
  const TileQuality square = measure(reference_tile(64, 64), 64, 64);
  EXPECT_NEAR(square.sharpness, 48831.76416295767, 1e-6);
  EXPECT_NEAR(square.saturation, 188.986083984375, 1e-9);
}

// One white pixel (255) in the middle of 3 x 3 black ones. With mirrored borders (the row before
// the first is the second): corners see none of it, 0; the four edges see it twice (once itself,
// once mirrored), 510; the middle -1020. Mean (4 * 510 - 1020) / 9 = 340/3, mean of squares
// (4 * 260100 + 1040400) / 9 = 231200, variance 231200 - 115600 / 9.
TEST(Quality, SharpnessIsWorkedByHand) {
  Bytes rgb = plain(9, 0, 0, 0);
  rgb[12] = rgb[13] = rgb[14] = 255;
  EXPECT_NEAR(measure(rgb, 3, 3).sharpness, 231200.0 - 115600.0 / 9.0, 1e-6);
}

TEST(Quality, SharpnessIsMeasuredAtTheStatedResolution) {
  // Stripes one pixel wide at 0.25 um are even grey at 0.5 um.
  Bytes rgb;
  for (int y = 0; y < 16; ++y) {
    for (int x = 0; x < 16; ++x) {
      const int level = x % 2 == 0 ? 200 : 100;
      add_pixel(rgb, level, level, level);
    }
  }
  EXPECT_GT(measure(rgb, 16, 16, 0.5).sharpness, 1000.0);
  EXPECT_EQ(measure(rgb, 16, 16, 0.25).sharpness, 0.0);
  // A tile smaller than the factor is one pixel, not a division by zero.
  EXPECT_EQ(measure(rgb, 16, 16, 0.001).sharpness, 0.0);
}

TEST(Quality, DropsBlankAndBlackTilesWithTheirReason) {
  EXPECT_EQ(reason_of(plain(64, 243, 242, 244), 8, 8), DropReason::kBlank);
  EXPECT_EQ(reason_of(plain(64, 0, 0, 0), 8, 8), DropReason::kBlack);
  EXPECT_EQ(to_string(DropReason::kBlank), "blank");
  EXPECT_EQ(to_string(DropReason::kNone), "");
}

TEST(Quality, FindsInkOfThreeColoursAndNotHaematoxylinOrEosin) {
  EXPECT_EQ(measure(plain(4, 30, 80, 180), 2, 2).blue_ink, 1.0);   // hue 220
  EXPECT_EQ(measure(plain(4, 30, 150, 90), 2, 2).green_ink, 1.0);  // hue 150
  EXPECT_EQ(measure(plain(4, 40, 38, 42), 2, 2).black_ink, 1.0);
  for (const Bytes& tissue : {plain(4, 90, 60, 140),    // haematoxylin, hue 263
                              plain(4, 230, 150, 190),  // eosin
                              plain(4, 60, 30, 90),     // a dark nucleus: saturated
                              plain(4, 0, 0, 0)}) {     // beyond the scan
    const TileQuality quality = measure(tissue, 2, 2);
    EXPECT_EQ(quality.blue_ink + quality.green_ink + quality.black_ink, 0.0);
  }
}

TEST(Quality, ATileIsDroppedForInkFromItsThresholdOn) {
  // 100 pixels of sharp tissue, then eleven of them green.
  Bytes rgb;
  for (int i = 0; i < 100; ++i) {
    const bool nucleus = (i / 10 + i) % 2 == 0;
    nucleus ? add_pixel(rgb, 90, 60, 140) : add_pixel(rgb, 230, 150, 190);
  }
  EXPECT_EQ(reason_of(rgb, 10, 10), DropReason::kNone);
  const Bytes ink = plain(11, 30, 150, 90);
  std::copy(ink.begin(), ink.end() - 3, rgb.begin());
  EXPECT_EQ(reason_of(rgb, 10, 10), DropReason::kNone);  // 10 %: not above the threshold
  std::copy(ink.begin(), ink.end(), rgb.begin());
  EXPECT_EQ(reason_of(rgb, 10, 10), DropReason::kGreenInk);
  QualityOptions off;
  off.check_pen = false;
  EXPECT_EQ(drop_reason(measure(rgb, 10, 10), off), DropReason::kNone);
}

TEST(Quality, DropsABlurredTile) {
  Bytes rgb;
  for (int i = 0; i < 256; ++i) add_pixel(rgb, 200, 120 + i / 16, 190);
  EXPECT_EQ(reason_of(rgb, 16, 16), DropReason::kBlurred);
}

TEST(Quality, RefusesSizesThatDoNotFit) {
  EXPECT_THROW(measure(plain(4, 1, 2, 3), 2, 3), Error);
  EXPECT_THROW(measure({}, 0, 0), Error);
  EXPECT_THROW(measure(plain(4, 1, 2, 3), std::numeric_limits<int>::max(), 2), Error);
  QualityOptions options;
  options.max_ink = 2;
  EXPECT_THROW(options.validate(), Error);
}

}  // namespace
}  // namespace med3d
