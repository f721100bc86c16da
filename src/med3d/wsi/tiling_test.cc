#include "med3d/wsi/tiling.h"

#include "med3d/wsi/tissue_test_support.inc"

namespace med3d {
namespace {

using testing_io::expect_error;
using testing_wsi::rectangle;

using Corners = std::vector<std::pair<std::int64_t, std::int64_t>>;

Corners corners(const Tiles& tiles) {
  Corners out;
  for (std::size_t i = 0; i < tiles.coords.rows(); ++i) {
    out.emplace_back(tiles.coords(i, 0), tiles.coords(i, 1));
  }
  EXPECT_EQ(tiles.region.size(), out.size());
  EXPECT_EQ(tiles.coords.cols(), 2U);
  return out;
}

SlideInfo slide(std::int64_t width,
                std::int64_t height,
                const std::vector<double>& downsamples = {1.0},
                std::optional<double> mpp = 0.5) {
  SlideInfo out;
  for (const double downsample : downsamples) {
    SlideLevel level;
    level.width = static_cast<std::int64_t>(static_cast<double>(width) / downsample);
    level.height = static_cast<std::int64_t>(static_cast<double>(height) / downsample);
    level.downsample = downsample;
    out.levels.push_back(level);
  }
  out.mpp_x = mpp;
  out.mpp_y = mpp;
  return out;
}

Tissue tissue(const std::vector<Ring>& outlines) {
  Tissue out;
  for (const Ring& outline : outlines) out.regions.emplace_back().outline = outline;
  return out;
}

TileOptions clam() {
  TileOptions out;
  out.mode = TileMode::kClam;
  return out;
}

TEST(Tiling, WalksColumnsFirstAndEachRegionOnItsOwnGrid) {
  const Tissue two = tissue({rectangle(0, 0, 512, 512), rectangle(1001, 7, 300, 512)});
  const Tiles tiles = make_tiles(slide(4000, 4000), two, clam());
  EXPECT_EQ(corners(tiles),
            (Corners{{0, 0}, {0, 256}, {256, 0}, {256, 256}, {1001, 7}, {1001, 263}}));
  EXPECT_EQ(tiles.region, (std::vector<std::int32_t>{0, 0, 0, 0, 1, 1}));
  EXPECT_EQ(tiles.footprint, 256);
  EXPECT_EQ(tiles.dropped_single, 0);
}

// Side 256: the four points are 64 and 192 from the corner. Tissue to 70 holds one of them, and the
// upper left corner on its edge.
TEST(Tiling, AnyOfFourPointsIsEnoughUnlessAllAreAsked) {
  const Tissue small = tissue({rectangle(0, 0, 70, 70)});
  TileOptions options;
  const auto count = [&](ContourTest test) {
    options.contour_fn = test;
    return corners(make_tiles(slide(4000, 4000), small, options)).size();
  };
  EXPECT_EQ(count(ContourTest::kFourPoint), 1U);
  EXPECT_EQ(count(ContourTest::kFourPointHard), 0U);
  EXPECT_EQ(count(ContourTest::kCenter), 0U);
  EXPECT_EQ(count(ContourTest::kBasic), 1U);
}

TEST(Tiling, ClamDropsARegionOfOneTileAndTellsIt) {
  const Tissue both = tissue({rectangle(0, 0, 70, 70), rectangle(1000, 0, 200, 500)});
  const Tiles as_clam = make_tiles(slide(4000, 4000), both, clam());
  EXPECT_EQ(corners(as_clam), (Corners{{1000, 0}, {1000, 256}}));
  EXPECT_EQ(as_clam.dropped_single, 1);
  const Tiles ours = make_tiles(slide(4000, 4000), both, {});
  EXPECT_EQ(corners(ours), (Corners{{0, 0}, {1000, 0}, {1000, 256}}));
  EXPECT_EQ(ours.dropped_single, 0);
}

TEST(Tiling, PaddingReachesOverTheEdge) {
  const Tissue whole = tissue({rectangle(0, 0, 299, 299)});
  TileOptions options = clam();
  options.step_size = 128;
  EXPECT_EQ(corners(make_tiles(slide(300, 300), whole, options)),
            (Corners{{0, 0}, {0, 128}, {128, 0}, {128, 128}}));
  options.use_padding = false;  // corners up to 300 - 256 = 44
  options.step_size = 22;
  EXPECT_EQ(corners(make_tiles(slide(300, 300), whole, options)).size(), 9U);
  options.mode = TileMode::kMpp;
  EXPECT_EQ(corners(make_tiles(slide(300, 300), whole, options)).size(), 9U);
}

TEST(Tiling, ASlideSmallerThanATileHasOneWithPaddingOnly) {
  const Tissue whole = tissue({rectangle(0, 0, 99, 99)});
  TileOptions options;
  EXPECT_EQ(corners(make_tiles(slide(100, 100), whole, options)), (Corners{{0, 0}}));
  options.use_padding = false;
  EXPECT_TRUE(corners(make_tiles(slide(100, 100), whole, options)).empty());
}

TEST(Tiling, ATileWhoseCentreIsInAHoleIsLeftOut) {
  Tissue holed = tissue({rectangle(0, 0, 511, 511)});
  holed.regions[0].holes = {rectangle(100, 100, 30, 30)};  // around (128, 128)
  EXPECT_EQ(corners(make_tiles(slide(4000, 4000), holed, clam())),
            (Corners{{0, 256}, {256, 0}, {256, 256}}));
  holed.regions[0].holes = {rectangle(100, 100, 28, 30)};  // its edge is on the centre
  EXPECT_EQ(corners(make_tiles(slide(4000, 4000), holed, clam())).size(), 4U);
}

// CLAM's downsample is 4000 / 2001 = 1.999, of which it takes the whole part, 1: tiles of level 1
// stand as close as those of level 0 would.
TEST(Tiling, ClamCutsTheDownsampleToAWholeNumber) {
  SlideInfo two = slide(4000, 4000, {1.0, 2.0});
  two.levels[1].width = two.levels[1].height = 2001;
  TileOptions options = clam();
  options.patch_level = 1;
  const Tissue square = tissue({rectangle(0, 0, 511, 511)});
  Tiles tiles = make_tiles(two, square, options);
  EXPECT_EQ(tiles.footprint, 256);
  EXPECT_EQ(corners(tiles).size(), 4U);
  EXPECT_EQ(tiles.read_level, 1);
  EXPECT_DOUBLE_EQ(tiles.downsample[0], 4000.0 / 2001.0);
  two.levels[1].width = two.levels[1].height = 2000;
  tiles = make_tiles(two, square, options);
  EXPECT_EQ(tiles.footprint, 512);
  EXPECT_EQ(corners(tiles).size(), 0U);
  EXPECT_EQ(tiles.dropped_single, 1);
  options.patch_level = 2;
  expect_error(ErrorKind::kUsage, "patch_level is 2, but the slide has 2 levels", [&] {
    make_tiles(two, square, options);
  });
}

TEST(Tiling, MppChoosesTheCoarsestLevelThatNeedsNoEnlarging) {
  const Tissue square = tissue({rectangle(0, 0, 3000, 3000)});
  const std::vector<double> levels = {1, 2, 4, 16};
  // 0.25: level 1 has exactly 0.5.
  Tiles tiles = make_tiles(slide(8000, 8000, levels, 0.25), square, {});
  EXPECT_EQ(tiles.read_level, 1);
  EXPECT_EQ(tiles.read_size, 256);
  EXPECT_EQ(tiles.footprint, 512);
  EXPECT_EQ(tiles.step, 512);
  EXPECT_EQ(tiles.target_size, 256);
  EXPECT_EQ(corners(tiles)[1], (std::pair<std::int64_t, std::int64_t>{0, 512}));
  // 0.2522: level 1 has 0.5044, within 1 %; 256 * 0.5 / 0.5044 = 253.8.
  tiles = make_tiles(slide(8000, 8000, levels, 0.2522), square, {});
  EXPECT_EQ(tiles.read_level, 1);
  EXPECT_EQ(tiles.read_size, 254);
  EXPECT_EQ(tiles.footprint, 508);  // 256 * 0.5 / 0.2522 = 507.5
  // 0.26: level 1 has 0.52; level 0 is read, 256 * 0.5 / 0.26 = 492.3.
  tiles = make_tiles(slide(8000, 8000, levels, 0.26), square, {});
  EXPECT_EQ(tiles.read_level, 0);
  EXPECT_EQ(tiles.read_size, 492);
  // 1.0: nothing is fine enough, level 0 is enlarged.
  tiles = make_tiles(slide(8000, 8000, levels, 1.0), square, {});
  EXPECT_EQ(tiles.read_level, 0);
  EXPECT_EQ(tiles.read_size, 128);
  EXPECT_EQ(tiles.target_size, 256);
}

TEST(Tiling, MppIsNeverGuessed) {
  const Tissue square = tissue({rectangle(0, 0, 600, 600)});
  TileOptions options;
  expect_error(ErrorKind::kData, "does not say how many micrometres", [&] {
    make_tiles(slide(4000, 4000, {1.0}, std::nullopt), square, options);
  });
  expect_error(ErrorKind::kData, "0 micrometres a pixel", [&] {
    make_tiles(slide(4000, 4000, {1.0}, 0.0), square, options);
  });
  options.slide_mpp = 0.5;
  EXPECT_FALSE(
      corners(make_tiles(slide(4000, 4000, {1.0}, std::nullopt), square, options)).empty());
}

// Half of each border tile is tissue, worked by hand: the square ends 128 into the second tiles.
TEST(Tiling, MinimumTissueProportionCountsExactAreas) {
  const Tissue square = tissue({rectangle(0, 0, 384, 384)});
  TileOptions options;
  EXPECT_EQ(corners(make_tiles(slide(4000, 4000), square, options)).size(), 4U);
  options.min_tissue_proportion = 0.5;  // (256, 256) has a quarter
  EXPECT_EQ(corners(make_tiles(slide(4000, 4000), square, options)),
            (Corners{{0, 0}, {0, 256}, {256, 0}}));
  options.min_tissue_proportion = 0.51;
  EXPECT_EQ(corners(make_tiles(slide(4000, 4000), square, options)), (Corners{{0, 0}}));
}

// 40x to 20x: ratio 2, tiles of 2 * 100 with overlap 2 * 25 on level 0, so a step of 150; rows
// first.
TEST(Tiling, TridentsGridRunsAlongRowsFromTheOrigin) {
  SlideInfo at40 = slide(500, 400, {1.0, 2.0, 4.0}, 0.25);
  TileOptions options;
  options.mode = TileMode::kTrident;
  options.patch_size = 100;
  options.overlap = 25;
  const Tissue square = tissue({rectangle(310, 10, 30, 160)});
  const Tiles tiles = make_tiles(at40, square, options);
  // Columns 150 (to 350) and 300; rows 0 (to 200) and 150 (to 350).
  EXPECT_EQ(corners(tiles), (Corners{{150, 0}, {300, 0}, {150, 150}, {300, 150}}));
  EXPECT_EQ(tiles.footprint, 200);
  EXPECT_EQ(tiles.step, 150);
  EXPECT_EQ(tiles.read_level, 1);
  EXPECT_EQ(tiles.read_size, 100);
  EXPECT_EQ(tiles.level0_magnification, 40.0);
  EXPECT_EQ(tiles.region, (std::vector<std::int32_t>{-1, -1, -1, -1}));
  options.min_tissue_proportion = 0.1;  // 30 * 160 of 200 * 200 is 0.12 above, 30 * 20 below
  EXPECT_EQ(corners(make_tiles(at40, square, options)), (Corners{{150, 0}, {300, 0}}));
}

TEST(Tiling, TridentTakesTheObjectiveOnlyWithoutMpp) {
  TileOptions options;
  options.mode = TileMode::kTrident;
  SlideInfo info = slide(4000, 4000, {1.0}, std::nullopt);
  const Tissue none;
  expect_error(ErrorKind::kData, "neither its micrometres a pixel nor its magnification", [&] {
    make_tiles(info, none, options);
  });
  info.objective_power = 40;
  EXPECT_EQ(make_tiles(info, none, options).footprint, 512);
  info.mpp_x = 0.5;
  EXPECT_EQ(make_tiles(info, none, options).footprint, 256);
  info.mpp_x = 7.0;
  expect_error(ErrorKind::kData, "7 micrometres a pixel", [&] { make_tiles(info, none, options); });
}

TEST(Tiling, ATridentFilesLevelIsChosenLater) {
  Tiles tiles;
  tiles.read_level = -1;
  tiles.footprint = 1024;
  tiles.target_size = 256;
  choose_read_level(tiles, slide(8000, 8000, {1, 2, 4, 16}));
  EXPECT_EQ(tiles.read_level, 2);
  EXPECT_EQ(tiles.read_size, 256);
  tiles.footprint = 0;
  expect_error(ErrorKind::kUsage, "unknown size", [&] { choose_read_level(tiles, slide(9, 9)); });
}

TEST(Tiling, NoTissueIsNoTilesOfTwoColumns) {
  const Tiles tiles = make_tiles(slide(4000, 4000), {}, clam());
  EXPECT_TRUE(corners(tiles).empty());
}

TEST(Tiling, RefusesOptionsOutOfRange) {
  const auto refused = [](const char* part, auto change) {
    TileOptions options;
    change(options);
    expect_error(ErrorKind::kUsage, part, [&] {
      make_tiles(slide(100000, 100000), tissue({rectangle(0, 0, 99999, 99999)}), options);
    });
  };
  refused("patch_size is 0", [](auto& o) { o.patch_size = 0; });
  refused("step_size is -1", [](auto& o) { o.step_size = -1; });
  refused("target_mpp is 0", [](auto& o) { o.target_mpp = 0; });
  refused("overlap is 256", [](auto& o) { o.overlap = 256; });
  refused("min_tissue_proportion is 1.5", [](auto& o) { o.min_tissue_proportion = 1.5; });
  refused("level_tolerance is 1", [](auto& o) { o.level_tolerance = 1; });
  refused("patch_level is -1", [](auto& o) { o.patch_level = -1; });
  refused("the step is too small", [](auto& o) { o.step_size = 1; });
  refused("a tile as it is read would be", [](auto& o) { o.target_mpp = 1e6; });
  EXPECT_EQ(parse_contour_test("four_pt_hard"), ContourTest::kFourPointHard);
  EXPECT_EQ(parse_tile_mode("trident"), TileMode::kTrident);
  expect_error(ErrorKind::kUsage, "expected four_pt, four_pt_hard, center, basic", [] {
    parse_contour_test("easy");
  });
}

}  // namespace
}  // namespace med3d
