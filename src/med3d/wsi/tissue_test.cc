#include "med3d/wsi/tissue.h"

#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>

#include "med3d/core/random.h"
#include "med3d/wsi/tissue_test_support.inc"

namespace med3d {
namespace {

using testing_io::expect_error;
using testing_wsi::fill;
using testing_wsi::MemorySlide;

// At this scale a_t and a_h are in pixels: trunc(512^2 / (512 * 512)) = 1.
constexpr double kUnitScale = 512.0;

// Nothing that would change a mask of hard edges.
SegmentOptions plain_options() {
  SegmentOptions out;
  out.mthresh = 1;
  out.close = 0;
  return out;
}

GrayImage squares(std::int64_t width,
                  std::int64_t height,
                  const std::vector<std::array<std::int64_t, 3>>& x_y_side,
                  std::uint8_t value = 200) {
  GrayImage out(width, height);
  for (const auto& [left, top, side] : x_y_side) {
    for (std::int64_t y = top; y < top + side; ++y) {
      for (std::int64_t x = left; x < left + side; ++x) *out.at(x, y) = value;
    }
  }
  return out;
}

Tissue segment(const GrayImage& saturation, const SegmentOptions& options) {
  return segment_saturation(saturation, kUnitScale, kUnitScale, options);
}

TEST(TissueMask, SaturationIsOpenCvsForEveryMaximumAndMinimum) {
  RgbImage image(256, 256);
  for (int high = 0; high < 256; ++high) {
    for (int low = 0; low < 256; ++low) {
      std::uint8_t* p = image.at(low, high);
      p[high % 3] = static_cast<std::uint8_t>(std::max(high, low));
      p[(high + 1) % 3] = static_cast<std::uint8_t>(std::min(high, low));
      p[(high + 2) % 3] = static_cast<std::uint8_t>((high + low) / 2);
    }
  }
  cv::Mat hsv;
  cv::cvtColor(cv::Mat(256, 256, CV_8UC3, image.pixels.data()), hsv, cv::COLOR_RGB2HSV);
  const GrayImage saturation = saturation_of(image);
  for (int y = 0; y < 256; ++y) {
    for (int x = 0; x < 256; ++x) ASSERT_EQ(*saturation.at(x, y), hsv.at<cv::Vec3b>(y, x)[1]);
  }
}

// The count of ones that takes the median's place, and both ways to it, against OpenCV.
TEST(TissueMask, EqualsMedianThresholdAndClosingOfOpenCv) {
  NumpyRandom random(11);
  RgbImage image(61, 47);
  for (auto& byte : image.pixels) byte = static_cast<std::uint8_t>(random.randint(256));
  GrayImage saturation = saturation_of(image);
  for (const int window : {1, 3, 5, 7, 11, 63, 255}) {
    for (const int sthresh : {0, 8, 120, 200, 255}) {
      for (const int close : {0, 2, 4, 5}) {
        cv::Mat expected;
        cv::medianBlur(cv::Mat(47, 61, CV_8UC1, saturation.pixels.data()), expected, window);
        cv::threshold(expected, expected, sthresh, 255, cv::THRESH_BINARY);
        if (close > 0) {
          cv::morphologyEx(
              expected, expected, cv::MORPH_CLOSE, cv::Mat::ones(close, close, CV_8UC1));
        }
        const MaskOptions options{sthresh, window, close, false};
        const GrayImage found = tissue_mask(image, options).mask;
        ASSERT_TRUE(std::equal(found.pixels.begin(), found.pixels.end(), expected.datastart))
            << window << ' ' << sthresh << ' ' << close;
        ASSERT_EQ(found, tissue_mask_of_saturation(saturation, options).mask);
      }
    }
  }
}

// An 11 x 11 square's outline runs through the centres of its border: area 10 * 10.
TEST(Tissue, AreaMustBeStrictlyLarger) {
  const GrayImage saturation = squares(40, 40, {{5, 6, 11}});
  SegmentOptions options = plain_options();
  options.clam = true;
  options.a_t = 100;
  EXPECT_TRUE(segment(saturation, options).empty());
  options.a_t = 99.5;
  const Tissue tissue = segment(saturation, options);
  ASSERT_EQ(tissue.regions.size(), 1U);
  EXPECT_EQ(tissue.found.at(0).area, 100.0);
  EXPECT_EQ(tissue.regions[0].outline_seg.size(), 40U);  // every border pixel
  EXPECT_EQ(tissue.regions[0].outline_seg[0], (PixelPoint{5, 6}));
  EXPECT_EQ(tissue.regions[0].outline[0], (PixelPoint{5 * 512, 6 * 512}));
}

// A hole of n x n pixels is bounded by the tissue around it, corners cut: (n + 1)^2 - 2. So 5 -> 34
// and 9 -> 98, and of the 40 * 40 within the outline 1600 - 34 - 98 = 1468 remain.
TEST(Tissue, HolesCountAgainstTheAreaAndAreTakenLargestFirst) {
  GrayImage saturation = squares(60, 60, {{5, 5, 41}});
  for (const auto& [left, top, side] : {std::array{10, 10, 5}, std::array{25, 25, 9}}) {
    for (int y = top; y < top + side; ++y) {
      for (int x = left; x < left + side; ++x) *saturation.at(x, y) = 0;
    }
  }
  SegmentOptions options = plain_options();
  options.clam = true;
  options.a_t = 1468;
  EXPECT_TRUE(segment(saturation, options).empty());
  options.a_t = 1467;
  options.a_h = 33;
  Tissue tissue = segment(saturation, options);
  ASSERT_EQ(tissue.regions.size(), 1U);
  EXPECT_EQ(tissue.found[0].area, 1600.0);
  EXPECT_EQ(tissue.found[0].holes_area, 132.0);
  EXPECT_EQ(tissue.found[0].holes, 2);
  ASSERT_EQ(tissue.regions[0].holes_seg.size(), 2U);
  EXPECT_EQ(std::abs(twice_signed_area(tissue.regions[0].holes_seg[0])), 2 * 98);
  options.max_n_holes = 1;
  tissue = segment(saturation, options);
  ASSERT_EQ(tissue.regions[0].holes_seg.size(), 1U);
  EXPECT_EQ(std::abs(twice_signed_area(tissue.regions[0].holes_seg[0])), 2 * 98);
  options.max_n_holes = 8;
  options.a_h = 34;  // strictly larger here too
  EXPECT_EQ(segment(saturation, options).regions[0].holes_seg.size(), 1U);
  options.a_h = 98;
  EXPECT_TRUE(segment(saturation, options).regions[0].holes_seg.empty());
}

TEST(Tissue, KeepsAndExcludesContoursByNumber) {
  const GrayImage saturation = squares(100, 30, {{5, 5, 11}, {35, 5, 13}, {65, 5, 15}});
  SegmentOptions options = plain_options();
  options.a_t = 50;
  const Tissue all = segment(saturation, options);
  ASSERT_EQ(all.regions.size(), 3U);
  options.exclude_ids = {1, 77};  // one that is not there does no harm, as in CLAM
  Tissue some = segment(saturation, options);
  ASSERT_EQ(some.regions.size(), 2U);
  EXPECT_EQ(some.regions[0].outline, all.regions[0].outline);
  EXPECT_EQ(some.regions[1].outline, all.regions[2].outline);
  options.keep_ids = {2, 1};
  some = segment(saturation, options);
  ASSERT_EQ(some.regions.size(), 1U);
  EXPECT_EQ(some.regions[0].outline, all.regions[2].outline);
  options.keep_ids = {3};
  expect_error(ErrorKind::kUsage, "keep_ids names contour 3, but 3 were found", [&] {
    segment(saturation, options);
  });
}

std::vector<std::pair<double, bool>> rungs(const Tissue& tissue) {
  std::vector<std::pair<double, bool>> out;
  for (const SegmentAttempt& attempt : tissue.attempts) {
    out.emplace_back(attempt.a_t, attempt.use_otsu);
  }
  return out;
}

using Rungs = std::vector<std::pair<double, bool>>;

TEST(Tissue, AnEmptySlideClimbsTheWholeLadder) {
  const Tissue tissue = segment(GrayImage(50, 50), plain_options());
  EXPECT_TRUE(tissue.empty());
  EXPECT_EQ(rungs(tissue), (Rungs{{100, false}, {16, false}, {4, false}, {1, false}, {1, true}}));
  SegmentOptions clam = plain_options();
  clam.clam = true;
  EXPECT_EQ(rungs(segment(GrayImage(50, 50), clam)), (Rungs{{100, false}}));
  clam.retry = true;
  EXPECT_EQ(rungs(segment(GrayImage(50, 50), clam)), rungs(tissue));
}

TEST(Tissue, ARetryChangesNothingWhereClamFindsTissue) {
  SegmentOptions clam = plain_options();
  clam.clam = true;
  const GrayImage saturation = squares(50, 50, {{10, 10, 30}, {2, 2, 4}});
  const Tissue without = segment(saturation, clam);
  clam.retry = true;
  const Tissue with = segment(saturation, clam);
  EXPECT_EQ(rungs(with), (Rungs{{100, false}}));
  ASSERT_EQ(with.regions.size(), without.regions.size());
  EXPECT_EQ(with.regions[0].outline, without.regions[0].outline);
}

// A square of 4 x 4 pixels: area 9, too small for 100 and 16, found with 4.
TEST(Tissue, TheLadderStopsWhereTissueIsFound) {
  const Tissue tissue = segment(squares(50, 50, {{20, 20, 4}}), plain_options());
  EXPECT_EQ(tissue.regions.size(), 1U);
  EXPECT_EQ(rungs(tissue), (Rungs{{100, false}, {16, false}, {4, false}}));
  EXPECT_EQ(tissue.attempts.back().regions, 1);
}

TEST(Tissue, OtsuFindsWeakStainAsTheLastRung) {
  const Tissue tissue = segment(squares(50, 50, {{10, 10, 20}}, 5), plain_options());
  ASSERT_EQ(tissue.regions.size(), 1U);
  EXPECT_EQ(rungs(tissue).back(), (std::pair<double, bool>{1, true}));
  ASSERT_TRUE(tissue.otsu_threshold.has_value());
  EXPECT_LT(*tissue.otsu_threshold, 5);
}

TEST(Tissue, ALevelTooLargeIsReplacedByTheNextOrGivenUp) {
  RgbImage image(100, 50, 255);
  fill(image, 20, 10, 30, 30, 200, 50, 150);
  MemorySlide slide(image, {{20000, 10000}, {100, 50}});
  SegmentOptions options = plain_options();
  options.a_t = 1;
  options.seg_level = 0;
  Tissue tissue = segment_tissue(slide, options);
  EXPECT_EQ(tissue.seg_level, 1);
  EXPECT_TRUE(tissue.problem.empty());
  ASSERT_EQ(tissue.regions.size(), 1U);
  EXPECT_EQ(tissue.regions[0].outline[0], (PixelPoint{20 * 200, 10 * 200}));
  options.clam = true;
  tissue = segment_tissue(slide, options);
  EXPECT_NE(tissue.problem.find("level 0 has 20000 x 10000 pixels"), std::string::npos);
  EXPECT_TRUE(tissue.empty());
  EXPECT_TRUE(tissue.attempts.empty());
}

TEST(Tissue, ALevelIsReadWithItsScale) {
  MemorySlide slide(RgbImage(100, 50, 255), {{20000, 10000}, {100, 50}});
  const LevelImage level = read_level(slide, 1);
  EXPECT_EQ(level.level, 1);
  EXPECT_EQ(level.scale_x, 200.0);
  EXPECT_EQ(level.pixels.width, 100);
  expect_error(ErrorKind::kUsage, "level is 2, but the slide has 2", [&] { read_level(slide, 2); });
  expect_error(ErrorKind::kUsage, "too large to be read at once", [&] { read_level(slide, 0); });
}

TEST(Tissue, ALargeFlatPictureIsLookedAtInBothModes) {
  MemorySlide flat(RgbImage(2, 2), {{20000, 10000}});
  MemorySlide two(RgbImage(2, 2), {{40000, 30000}, {20000, 15000}});
  SegmentOptions options;
  for (const bool clam : {false, true}) {
    options.clam = clam;
    EXPECT_EQ(choose_segment_level(flat.info(), options).level, 0);
    EXPECT_EQ(choose_segment_level(flat.info(), options).problem, "");
    EXPECT_EQ(choose_segment_level(two.info(), options).level, 1);  // both are too large
    EXPECT_EQ(choose_segment_level(two.info(), options).problem, "");
  }
}

// 101 x 50 pixels, at most 1,300: 2 x 2 leaves 51 x 25 = 1,275.
TEST(Tissue, ALevelThatDoesNotFitIsAveraged) {
  RgbImage image(101, 50, 250);
  fill(image, 20, 10, 31, 30, 200, 50, 150);
  MemorySlide slide(image);
  const LevelImage level = read_level_to_fit(slide, 0, 1300);
  EXPECT_EQ(level.reduction, 2);
  EXPECT_EQ(level.scale_x, 2.0);
  EXPECT_EQ(level.scale_y, 2.0);
  EXPECT_EQ(level.pixels.width, 51);
  EXPECT_EQ(level.pixels.height, 25);
  EXPECT_EQ(level.pixels.at(9, 5)[1], 250);
  EXPECT_EQ(level.pixels.at(10, 5)[1], 50);
  EXPECT_EQ(level.pixels.at(25, 5)[1], 150);   // columns 50 and 51: (50 + 250) / 2
  EXPECT_EQ(level.pixels.at(50, 24)[1], 250);  // the last column, alone
  SegmentOptions options = plain_options();
  options.a_t = 0;
  const Tissue tissue = segment_tissue(level, options);
  ASSERT_EQ(tissue.regions.size(), 1U);
  EXPECT_EQ(tissue.regions[0].outline[0], (PixelPoint{20, 10}));
  EXPECT_EQ(read_level_to_fit(slide, 0, 5050).reduction, 1);
  expect_error(ErrorKind::kUsage, "at most 0 pixels", [&] { read_level_to_fit(slide, 0, 0); });
}

// Squares of 256 from (0, 0); the reader cannot decode those that touch the first `bad` columns.
class DamagedSlide : public MemorySlide {
 public:
  explicit DamagedSlide(std::int64_t bad) : MemorySlide(RgbImage(1024, 256, 200)), bad_(bad) {}
  using MemorySlide::read_region;
  void read_region(std::int64_t x,
                   std::int64_t y,
                   int level,
                   std::int64_t width,
                   std::int64_t height,
                   std::span<std::uint8_t> rgb) override {
    if (x < bad_) throw Error(ErrorKind::kFormat, "no pixels here");
    MemorySlide::read_region(x, y, level, width, height, rgb);
  }

 private:
  std::int64_t bad_;
};

TEST(Tissue, DamagedSquaresOfAnAveragedLevelAreGreyAndCounted) {
  DamagedSlide half(512);
  const LevelImage level = read_level_to_fit(half, 0, 100000);
  EXPECT_EQ(level.damaged_blocks, 2);
  EXPECT_EQ(level.pixels.at(0, 0)[0], 128);
  EXPECT_EQ(level.pixels.at(511, 0)[0], 200);
  DamagedSlide more(513);
  expect_error(ErrorKind::kFormat, "3 of the 4 squares of it cannot be decoded: no pixels", [&] {
    read_level_to_fit(more, 0, 100000);
  });
}

// 64.1 is above 64: the level before it is taken, whatever is meant. One level is level 0.
TEST(Tissue, TheAutomaticLevelIsOpenSlidesForADownsampleOf64) {
  SlideInfo info;
  for (const double downsample : {1.0, 16.0, 32.0, 64.1}) {
    SlideLevel level;
    level.downsample = downsample;
    info.levels.push_back(level);
  }
  EXPECT_EQ(clam_auto_level(info), 2);
  info.levels[3].downsample = 64.0;
  EXPECT_EQ(clam_auto_level(info), 3);
  info.levels.resize(1);
  EXPECT_EQ(clam_auto_level(info), 0);
}

TEST(Tissue, RefusesOptionsOutOfRange) {
  const auto refused = [](const char* part, auto change) {
    SegmentOptions options;
    change(options);
    expect_error(ErrorKind::kUsage, part, [&] { segment(GrayImage(9, 9), options); });
  };
  refused("seg_level is -2", [](auto& o) { o.seg_level = -2; });
  refused("sthresh is 256", [](auto& o) { o.sthresh = 256; });
  refused("mthresh is 4", [](auto& o) { o.mthresh = 4; });
  refused("close is -1", [](auto& o) { o.close = -1; });
  refused("a_t is -1", [](auto& o) { o.a_t = -1; });
  refused("a_h is nan", [](auto& o) { o.a_h = std::nan(""); });
  refused("max_n_holes is -1", [](auto& o) { o.max_n_holes = -1; });
  refused("keep_ids is -3", [](auto& o) { o.keep_ids = {-3}; });
  MemorySlide slide(RgbImage(20, 20));
  SegmentOptions options;
  options.seg_level = 1;
  expect_error(ErrorKind::kUsage, "seg_level is 1, but the slide has 1 levels", [&] {
    segment_tissue(slide, options);
  });
  expect_error(ErrorKind::kUsage, "0 x 0 pixels", [] { segment(GrayImage(), {}); });
}

}  // namespace
}  // namespace med3d
