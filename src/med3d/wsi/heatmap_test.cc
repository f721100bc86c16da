#include "med3d/wsi/heatmap.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <set>

#include "med3d/core/error.h"
#include "med3d/core/random.h"
#include "med3d/wsi/visual_test_support.inc"

namespace med3d {
namespace {

Matrix<std::int64_t> tiles(const std::vector<std::array<std::int64_t, 2>>& corners) {
  Matrix<std::int64_t> out(corners.size(), 2);
  for (std::size_t i = 0; i < corners.size(); ++i) {
    out(i, 0) = corners[i][0];
    out(i, 1) = corners[i][1];
  }
  return out;
}

Overview white(std::int64_t width, std::int64_t height, double downsample) {
  Overview out;
  out.image = RgbImage(width, height, 240);
  out.downsample_x = out.downsample_y = downsample;
  return out;
}

HeatmapOptions raw() {
  HeatmapOptions options;
  options.scale = ScoreScale::kRaw;
  options.colour_bar = false;
  return options;
}

void expect_error(ErrorKind kind, const std::string& part, const std::function<void()>& work) {
  try {
    work();
    ADD_FAILURE() << "no error, expected one saying '" << part << "'";
  } catch (const Error& error) {
    EXPECT_EQ(to_string(error.kind()), to_string(kind)) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

const std::vector<double> kScores = {
    0.0, 1.125, 0.125, 1.125, 1.25, 0.625, 0.625, 1.25, 1.125, 0.125, 1.125, 0.0};

// tests/reference/heatmap.py
TEST(Heatmap, PercentilesAgreeWithScipyTiesIncluded) {
  const std::vector<double> ranks = percentile_ranks(kScores);
  const double expected[] = {12.5,
                             70.83333333333334,
                             29.166666666666668,
                             70.83333333333334,
                             95.83333333333334,
                             45.83333333333333,
                             45.83333333333333,
                             95.83333333333334,
                             70.83333333333334,
                             29.166666666666668,
                             70.83333333333334,
                             12.5};
  for (std::size_t i = 0; i < 12; ++i) EXPECT_DOUBLE_EQ(ranks[i], expected[i]) << i;
  const std::vector<double> reference = {
      0.125, 0.0, 1.25, 1.125, 1.0, 1.0, 0.875, 0.75, 0.75, 0.625, 0.5, 0.5};
  const std::vector<double> among = percentiles_among(kScores, reference);
  const double expected_among[] = {8.333333333333334,
                                   91.66666666666667,
                                   16.666666666666668,
                                   91.66666666666667,
                                   100.0,
                                   41.66666666666667,
                                   41.66666666666667,
                                   100.0,
                                   91.66666666666667,
                                   16.666666666666668,
                                   91.66666666666667,
                                   8.333333333333334};
  for (std::size_t i = 0; i < 12; ++i) EXPECT_DOUBLE_EQ(among[i], expected_among[i]) << i;
}

// By hand: scores 5, 5, 1 have ranks 2.5, 2.5, 1 of 3.
TEST(Heatmap, PercentileRanksAreWorkedByHand) {
  const std::vector<double> scores = {5, 5, 1};
  const std::vector<double> ranks = percentile_ranks(scores);
  EXPECT_DOUBLE_EQ(ranks[0], 250.0 / 3);
  EXPECT_DOUBLE_EQ(ranks[1], 250.0 / 3);
  EXPECT_DOUBLE_EQ(ranks[2], 100.0 / 3);
  EXPECT_TRUE(percentile_ranks({}).empty());
}

// A canvas of 4 x 2 pixels at 10 level-0 pixels each; tiles of 20 pixels, 2 x 2 on the canvas.
// Scores 1 at x = 0, 3 at x = 10: the shared column holds (1 + 3) / 2 = 2, column 3 nothing.
TEST(Heatmap, AveragesWhereTilesOverlap) {
  const std::vector<double> scores = {1, 3};
  const Heatmap map =
      draw_heatmap(tiles({{0, 0}, {10, 0}}), 20, scores, {}, white(4, 2, 10), raw());
  for (int y = 0; y < 2; ++y) {
    EXPECT_EQ(map.grid[y * 4 + 0], 1.0F);
    EXPECT_EQ(map.grid[y * 4 + 1], 2.0F);
    EXPECT_EQ(map.grid[y * 4 + 2], 3.0F);
    EXPECT_TRUE(std::isnan(map.grid[y * 4 + 3]));
  }
  EXPECT_EQ(map.drawn, (std::vector<double>{1.5, 2.5}));
  EXPECT_EQ(map.low, 1.0);
  EXPECT_EQ(map.high, 3.0);
  // 0.4 of jet's first colour (0, 0, 128) and 0.6 of 240: 144, 144, 195.2.
  EXPECT_EQ((Rgb{map.image.at(0, 0)[0], map.image.at(0, 0)[1], map.image.at(0, 0)[2]}),
            (Rgb{144, 144, 195}));
  EXPECT_EQ(map.image.at(3, 1)[0], 240);  // outside of tiles the slide is untouched
}

TEST(Heatmap, WhatIsDrawnIsWhatWasStored) {
  // Tiles side by side at a downsample that no tile is a multiple of, on a grid with a hole.
  NumpyRandom random(5);
  std::vector<std::array<std::int64_t, 2>> corners;
  std::vector<double> scores;
  for (int y = 0; y < 13; ++y) {
    for (int x = 0; x < 17; ++x) {
      if (x == 5 && y == 5) continue;
      corners.push_back({37 + x * 250, 11 + y * 250});
      scores.push_back(static_cast<double>(static_cast<float>(random.uniform() / 200)));
    }
  }
  const Heatmap map = draw_heatmap(tiles(corners), 250, scores, {}, white(170, 131, 26.3), raw());
  ASSERT_EQ(map.drawn.size(), scores.size());
  for (std::size_t i = 0; i < scores.size(); ++i) EXPECT_NEAR(map.drawn[i], scores[i], 1e-12) << i;
  EXPECT_NEAR(std::accumulate(map.drawn.begin(), map.drawn.end(), 0.0),
              std::accumulate(scores.begin(), scores.end(), 0.0),
              1e-9);
  EXPECT_EQ(std::max_element(map.drawn.begin(), map.drawn.end()) - map.drawn.begin(),
            std::max_element(scores.begin(), scores.end()) - scores.begin());
  // The pixels of all tiles together are the painted ones, each once: no gap, no overlap.
  const auto painted = std::count_if(
      map.grid.begin(), map.grid.end(), [](float value) { return !std::isnan(value); });
  // Columns round(37 / 26.3) = 1 to round(4287 / 26.3) = 163, rows 0 to round(3261 / 26.3) = 124,
  // less the hole, columns 49 to 58 and rows 48 to 57.5 as rounded.
  const auto edge = [](double at) { return std::lround(at / 26.3); };
  const long hole =
      (edge(37 + 6 * 250) - edge(37 + 5 * 250)) * (edge(11 + 6 * 250) - edge(11 + 5 * 250));
  EXPECT_EQ(painted, (163 - 1) * (124 - 0) - hole);
}

TEST(Heatmap, PercentilesPaintTheOrderOfTheScores) {
  const std::vector<double> scores = {0.9, 0.001, 0.002, 0.0005};
  HeatmapOptions options = raw();
  options.scale = ScoreScale::kPercentile;
  const Heatmap map =
      draw_heatmap(tiles({{0, 0}, {2, 0}, {4, 0}, {6, 0}}), 2, scores, {}, white(4, 1, 2), options);
  EXPECT_EQ(map.grid, (std::vector<float>{100, 50, 75, 25}));
  EXPECT_EQ(map.values, (std::vector<double>{100, 50, 75, 25}));
  // Among the reference 0, 0.001, 1, 2: 0.9 has two below (50), 0.001 one below and itself (75).
  const std::vector<double> reference = {2, 0, 0.001, 1};
  const Heatmap among = draw_heatmap(
      tiles({{0, 0}, {2, 0}, {4, 0}, {6, 0}}), 2, scores, reference, white(4, 1, 2), options);
  EXPECT_EQ(among.grid[0], 50.0F);
  EXPECT_EQ(among.grid[1], 50.0F);  // (1 + 2 + 1) * 12.5
}

TEST(Heatmap, BinarizesAtTheThresholdAndPaintsNothingElse) {
  const std::vector<double> scores = {0.7, 0.25, 0.05, 0.0};
  HeatmapOptions options = raw();
  options.binarize = true;  // at 1 / n = 0.25, which the second reaches
  options.alpha = 1.0;
  const auto corners = tiles({{0, 0}, {2, 0}, {4, 0}, {6, 0}});
  const Heatmap map = draw_heatmap(corners, 2, scores, {}, white(4, 1, 2), options);
  EXPECT_EQ(map.values, (std::vector<double>{1, 1, 0, 0}));
  EXPECT_EQ(map.image.at(1, 0)[0], 128);  // jet's last colour, (128, 0, 0)
  EXPECT_EQ(map.image.at(2, 0)[0], 240);
  options.scale = ScoreScale::kPercentile;
  options.binary_thresh = 0.9;
  const Heatmap top = draw_heatmap(corners, 2, scores, {}, white(4, 1, 2), options);
  EXPECT_EQ(top.values, (std::vector<double>{1, 0, 0, 0}));
}

TEST(Heatmap, BlurSmoothsPaintedPixelsOnlyAndKeepsAnEvenMap) {
  HeatmapOptions options = raw();
  options.blur = true;
  const std::vector<double> even = {2, 2};
  const auto corners = tiles({{0, 0}, {40, 0}});
  const Heatmap flat = draw_heatmap(corners, 40, even, {}, white(12, 6, 10), options);
  for (int x = 0; x < 8; ++x) EXPECT_NEAR(flat.grid[x], 2.0F, 1e-6);
  EXPECT_TRUE(std::isnan(flat.grid[8]));
  const std::vector<double> step = {0, 1};
  const Heatmap blurred = draw_heatmap(corners, 40, step, {}, white(12, 6, 10), options);
  for (int x = 1; x < 8; ++x) EXPECT_GT(blurred.grid[x], blurred.grid[x - 1]);
  EXPECT_NEAR(blurred.grid[3] + blurred.grid[4], 1.0F, 1e-6);  // the step is in the middle
}

TEST(Heatmap, EqualScoresAreDrawnInTheMiddleColour) {
  const std::vector<double> scores = {0.5, 0.5};
  HeatmapOptions options = raw();
  options.colours = ColourMap::kCoolwarm;
  options.alpha = 1;
  const Heatmap map = draw_heatmap(tiles({{0, 0}, {2, 0}}), 2, scores, {}, white(4, 1, 1), options);
  EXPECT_NEAR(map.image.at(0, 0)[0], 221, 2);
}

TEST(Heatmap, PaintsTheLevelThatIsAskedForAndCountsDamagedSquares) {
  MemorySlide slide(RgbImage(640, 512, 200), 7);
  const std::vector<double> scores = {1, 2};
  HeatmapOptions options = raw();
  const auto corners = tiles({{0, 0}, {512, 384}});  // the second reaches beyond the slide
  const Heatmap map = draw_heatmap(corners, 256, scores, {}, slide, options);
  EXPECT_EQ(map.width, 20);  // level 5, 640 / 32
  EXPECT_EQ(map.height, 16);
  EXPECT_EQ(map.grid[15 * 20 + 19], 2.0F);
  options.vis_level = 1;
  EXPECT_EQ(draw_heatmap(corners, 256, scores, {}, slide, options).width, 320);
  options.max_side = 160;
  const Heatmap reduced = draw_heatmap(corners, 256, scores, {}, slide, options);
  EXPECT_EQ(reduced.width, 160);
  EXPECT_DOUBLE_EQ(reduced.downsample_x, 4.0);
  options.vis_level = 7;
  expect_error(ErrorKind::kUsage, "level 7, expected 0 to 6", [&] {
    draw_heatmap(corners, 256, scores, {}, slide, options);
  });
  slide.bad_x = 300;
  slide.bad_y = 10;
  options.vis_level = 0;
  options.max_side = 8192;
  const Heatmap damaged = draw_heatmap(corners, 256, scores, {}, slide, options);
  EXPECT_EQ(damaged.damaged_blocks, 1);
  EXPECT_EQ(damaged.image.at(300, 10)[0], 128);
  EXPECT_EQ(damaged.image.at(300, 300)[0], 200);
}

TEST(Heatmap, TheColourBarIsBesideThePictureAndSaysWhatIsShown) {
  const std::vector<double> scores = {1, 2};
  HeatmapOptions options;
  options.meaning = "attention, class 1";
  const Overview background = white(300, 200, 2);
  const Heatmap with =
      draw_heatmap(tiles({{0, 0}, {100, 0}}), 100, scores, {}, background, options);
  options.colour_bar = false;
  const Heatmap without =
      draw_heatmap(tiles({{0, 0}, {100, 0}}), 100, scores, {}, background, options);
  EXPECT_EQ(without.image.width, 300);
  ASSERT_GT(with.image.width, 300);
  ASSERT_GE(with.image.height, 200);
  for (int y = 0; y < 200; ++y) {
    ASSERT_TRUE(std::equal(with.image.at(0, y), with.image.at(0, y) + 900, without.image.at(0, y)));
  }
  // The bar goes through the colours of the map: of the 128 rows that it has here, 126 within its
  // frame, each of another colour.
  std::set<Rgb> colours;
  for (std::int64_t y = 0; y < with.image.height; ++y) {
    const std::uint8_t* pixel = with.image.at(300 + 8 + 12, y);
    colours.insert({pixel[0], pixel[1], pixel[2]});
  }
  const auto& table = colour_table(ColourMap::kJet);
  EXPECT_GE(std::count_if(table.begin(), table.end(), [&](Rgb c) { return colours.count(c) > 0; }),
            126);
}

TEST(Heatmap, RefusesScoresAndCoordinatesThatDoNotBelongTogether) {
  const std::vector<double> scores = {1, 2};
  const Overview background = white(10, 10, 10);
  const auto draw = [&](const Matrix<std::int64_t>& coords,
                        std::int64_t footprint,
                        const std::vector<double>& values,
                        const HeatmapOptions& options = raw()) {
    draw_heatmap(coords, footprint, values, {}, background, options);
  };
  expect_error(ErrorKind::kUsage, "coordinates (1, 2) and 2 scores", [&] {
    draw(tiles({{0, 0}}), 10, scores);
  });
  expect_error(ErrorKind::kData, "no tile to draw", [&] { draw({}, 10, {}); });
  expect_error(ErrorKind::kData, "score 1 is nan", [&] {
    draw(tiles({{0, 0}, {10, 0}}), 10, {1, std::nan("")});
  });
  expect_error(ErrorKind::kUsage, "a tile of 0 level-0 pixels", [&] {
    draw(tiles({{0, 0}, {10, 0}}), 0, scores);
  });
  expect_error(ErrorKind::kData,
               "tile 1 at (100, 0) lies outside of the slide of 100 x 100 pixels (1 of 2 tiles do)",
               [&] {
                 draw(tiles({{0, 0}, {100, 0}}), 10, scores);
               });
  expect_error(ErrorKind::kData, "lies outside", [&] {
    draw(tiles({{0, 0}, {std::numeric_limits<std::int64_t>::min(), 0}}), 10, scores);
  });
  expect_error(ErrorKind::kData, "more than 1,024 times", [&] {
    draw(Matrix<std::int64_t>(2000, 2), 1000, std::vector<double>(2000, 1.0));
  });
  HeatmapOptions options = raw();
  options.alpha = 1.5;
  expect_error(ErrorKind::kUsage, "alpha: 1.5", [&] {
    draw(tiles({{0, 0}, {10, 0}}), 10, scores, options);
  });
}

}  // namespace
}  // namespace med3d
