#include <gtest/gtest.h>
#include <openslide.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "med3d/io/test_support.inc"
#include "med3d/wsi/pyramid_tiff.h"
#include "med3d/wsi/readers/pixels_between_internal.h"
#include "med3d/wsi/slide.h"

namespace med3d {
namespace {

namespace fs = std::filesystem;
using testing_io::TemporaryFolder;

// One pixel of a region, of grey ones around it.
int painted(const Axis& across,
            const Axis& down,
            const std::vector<int>& grey,
            const std::vector<std::uint8_t>& cover = {1, 1, 1, 1}) {
  std::vector<std::uint8_t> window;
  for (const int value : grey) window.insert(window.end(), 3, static_cast<std::uint8_t>(value));
  std::vector<std::uint8_t> rgb(3);
  PixelsBetween().paint(across, down, 1, 1, window, cover, rgb.data(), 3);
  EXPECT_EQ(rgb[0], rgb[1]);
  EXPECT_EQ(rgb[0], rgb[2]);
  return rgb[0];
}

TEST(PixelsBetween, PlacesACornerInStepsOf65536) {
  const Axis axis = place_between(10.25, 256);
  EXPECT_EQ(axis.at, 10);
  EXPECT_FALSE(axis.is_whole);
  EXPECT_EQ(axis.after, 0.25F);
  EXPECT_EQ(place_between(3.5 / 65536, 256).after, 4.0F / 65536);  // ties go to the even step
  EXPECT_TRUE(place_between(7.0 + 1.0 / 513, 256).is_whole);
  EXPECT_FALSE(place_between(7.0 + 1.0 / 511, 256).is_whole);
  const Axis below = place_between(8.0 - 1.0 / 600, 256);  // whole, should the other axis be so
  EXPECT_TRUE(below.is_whole);
  EXPECT_EQ(below.at, 7);
}

TEST(PixelsBetween, CutsTheMeanOfFourPixels) {
  const Axis half = place_between(0.5, 256);
  const Axis none = place_between(0.0, 256);
  EXPECT_EQ(painted(half, half, {255, 0, 0, 0}), 64);  // 256 / 4
  // 0.5 * (10 + 13) / 255 * 256 = 11.545
  EXPECT_EQ(painted(half, none, {10, 13, 0, 0}), 11);
  // 0.75 * 200 + 0.25 * 100 = 175; 175 / 255 * 256 = 175.69
  EXPECT_EQ(painted(none, place_between(0.25, 256), {200, 0, 100, 0}), 175);
  EXPECT_EQ(painted(half, half, {255, 255, 255, 255}), 255);
}

// Right: alpha 0.5 * 256 = 128, colour 0.5 * 101 / 255 * 256 = 50.70, cut to 50. Left: the share
// that is left is (1 - 128 / 255) / 0.5 = 0.99608; colour 0.19804 * 0.99608 + 50 / 255 = 0.39334,
// which is 100.70, cut to 100, of alpha 1. In one tile it is 101 / 255 * 256 = 101.4.
TEST(PixelsBetween, CutsOnceForEachTileWhereTwoMeet) {
  const Axis none = place_between(0.0, 4);
  EXPECT_EQ(painted(place_between(3.5, 4), none, {101, 101, 0, 0}), 100);
  EXPECT_EQ(painted(place_between(2.5, 4), none, {101, 101, 0, 0}), 101);
  EXPECT_EQ(painted(none, place_between(3.5, 4), {101, 0, 101, 0}), 100);
}

// Alpha 0.25 * 256 = 64, colour 0.25 * 90 / 255 * 256 = 22.6 cut to 22; 255 * 22 / 64 = 87.7.
TEST(PixelsBetween, DividesByTheAlphaOfWhatIsThere) {
  const Axis half = place_between(0.5, 256);
  EXPECT_EQ(painted(half, half, {90, 7, 7, 7}, {1, 0, 0, 0}), 87);
  EXPECT_EQ(painted(half, half, {90, 7, 7, 7}, {0, 0, 0, 0}), 0);
}

struct CloseSlide {
  void operator()(openslide_t* slide) const { openslide_close(slide); }
};

// A region by both, byte by byte.
void expect_same(Slide& slide,
                 openslide_t* theirs,
                 std::int64_t x,
                 std::int64_t y,
                 int level,
                 std::int64_t width,
                 std::int64_t height) {
  std::vector<std::uint32_t> argb(static_cast<std::size_t>(width * height));
  openslide_read_region(theirs, argb.data(), x, y, level, width, height);
  ASSERT_EQ(openslide_get_error(theirs), nullptr);
  const RgbImage ours = slide.read_region(x, y, level, width, height);
  std::int64_t differing = 0;
  for (std::size_t p = 0; p < argb.size(); ++p) {
    const std::uint32_t alpha = argb[p] >> 24;
    for (std::size_t c = 0; c < 3; ++c) {  // as openslide-python's RGBA without its alpha
      const std::uint32_t value = argb[p] >> (16 - 8 * c) & 0xFF;
      const std::uint32_t wanted = alpha == 0 ? 0 : std::min(255 * value / alpha, 255U);
      differing += ours.pixels[3 * p + c] != wanted;
    }
  }
  EXPECT_EQ(differing, 0) << "level " << level << " at " << x << ", " << y << ": " << width << " x "
                          << height;
}

// So many seeded regions of each level, on every kind of corner.
void expect_same_everywhere(const fs::path& path,
                            int regions,
                            std::uint64_t seed,
                            int levels = 99) {
  SCOPED_TRACE(path.filename());
  const auto slide = open_slide(path, "tiff");
  const std::unique_ptr<openslide_t, CloseSlide> theirs(openslide_open(path.c_str()));
  ASSERT_NE(theirs, nullptr);
  std::mt19937_64 random(seed);
  const auto below = [&](std::int64_t n) {
    return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(n));
  };
  const SlideInfo& info = slide->info();
  ASSERT_EQ(openslide_get_level_count(theirs.get()), static_cast<int>(info.levels.size()));
  for (int i = 0; i < std::min(levels, static_cast<int>(info.levels.size())); ++i) {
    const SlideLevel& level = info.levels[static_cast<std::size_t>(i)];
    ASSERT_EQ(openslide_get_level_downsample(theirs.get(), i), level.downsample);
    for (int n = 0; n < regions; ++n) {
      // Anywhere up to 300 pixels beyond level 0; every third on the level's last columns or rows.
      std::int64_t x = below(info.levels[0].width + 600) - 300;
      std::int64_t y = below(info.levels[0].height + 600) - 300;
      const auto last = [&](std::int64_t side) {
        const auto at = static_cast<double>(side - 1 - below(3)) * level.downsample;
        return static_cast<std::int64_t>(at) - below(20);
      };
      if (n % 6 == 0) x = last(level.width);
      if (n % 6 == 3) y = last(level.height);
      const std::int64_t width = 1 + below(300);
      expect_same(*slide, theirs.get(), x, y, i, width, 1 + below(300));
    }
  }
}

// Noise, so that no error hides in a flat piece.
void write_noise(const fs::path& path,
                 std::int64_t width,
                 std::int64_t height,
                 std::int64_t tile,
                 const std::string& description) {
  RgbImage image(width, height);
  std::mt19937 random(11);
  for (std::uint8_t& value : image.pixels) value = static_cast<std::uint8_t>(random());
  PyramidTiffOptions options;
  options.tile = tile;
  options.compression = TiffCompression::kJpeg;
  options.description = description;
  options.smallest_level = 100;
  write_pyramid_tiff(path, image, options);
}

// Downsamples of 2.002, 4.01, 8.04 and 16.2 with tiles of 48, and of 2 with tiles of 64.
TEST(PixelsBetween, EqualOpenSlidesOnMadeSlides) {
  const TemporaryFolder folder;
  write_noise(folder / "odd.tif", 1003, 777, 48, "");
  write_noise(folder / "even.svs", 512, 384, 64, "Aperio Image Library|AppMag = 20");
  for (const char* name : {"odd.tif", "even.svs"}) {
    EXPECT_GT(open_slide(folder / name)->info().levels.size(), 2U);
    expect_same_everywhere(folder / name, 60, 1);
  }
}

TEST(PixelsBetween, EqualOpenSlidesOnEverySlideBothRead) {
  const char* data = std::getenv("MED3D_TEST_DATA");
  const char* source = std::getenv("MED3D_SOURCE_DIR");
  const fs::path folder =
      (data != nullptr ? fs::path(data)
                       : fs::path(source != nullptr ? source : ".") / "../shared/data") /
      "slides";
  if (!fs::is_directory(folder))
    GTEST_SKIP() << "NO SLIDES AT " << folder << " (set MED3D_TEST_DATA)";
  for (const char* name : {"CMU-1-Small-Region.svs", "TCGA-CR-7395-01A-01-TS1.svs", "mosaic.tif"}) {
    expect_same_everywhere(folder / name, 60, 2);
  }
  // Its next level is smaller than a tile and not JPEG: OpenSlide shows what was never written.
  expect_same_everywhere(folder / "dicom_small/openslide_boxes.tiff", 60, 2, 2);
}

// OpenSlide cuts a large region into pieces of 4096, whose corners are whole level-0 pixels.
TEST(PixelsBetween, EqualOpenSlidesInARegionOfSeveralPieces) {
  const TemporaryFolder folder;
  write_noise(folder / "wide.tif", 10001, 300, 64, "");
  const auto slide = open_slide(folder / "wide.tif", "tiff");
  const std::unique_ptr<openslide_t, CloseSlide> theirs(
      openslide_open((folder / "wide.tif").c_str()));
  ASSERT_NE(theirs, nullptr);
  expect_same(*slide, theirs.get(), 3, 5, 1, 5100, 70);
  expect_same(*slide, theirs.get(), -11, -3, 1, 5100, 70);
}

}  // namespace
}  // namespace med3d
