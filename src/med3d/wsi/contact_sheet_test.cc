#include "med3d/wsi/contact_sheet.h"

#include <gtest/gtest.h>

#include <cmath>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/json.h"
#include "med3d/wsi/heatmap_geojson.h"
#include "med3d/wsi/overview.h"
#include "med3d/wsi/tile_sample.h"
#include "med3d/wsi/visual_test_support.inc"

namespace med3d {
namespace {

using Indices = std::vector<std::size_t>;

RgbImage ramp(std::int64_t width, std::int64_t height) {
  RgbImage image(width, height);
  for (std::int64_t y = 0; y < height; ++y) {
    for (std::int64_t x = 0; x < width; ++x) {
      image.at(x, y)[0] = static_cast<std::uint8_t>(x);
      image.at(x, y)[1] = static_cast<std::uint8_t>(y);
    }
  }
  return image;
}

Rgb pixel(const RgbImage& image, std::int64_t x, std::int64_t y) {
  return {image.at(x, y)[0], image.at(x, y)[1], image.at(x, y)[2]};
}

Matrix<std::int64_t> row_of_tiles(std::size_t n, std::int64_t step) {
  Matrix<std::int64_t> out(n, 2);
  for (std::size_t i = 0; i < n; ++i) out(i, 0) = static_cast<std::int64_t>(i) * step;
  return out;
}

TEST(TileSample, TakesTheHighestAndTheLowestWithTiesInOrder) {
  const std::vector<double> scores = {3, 1, 2, 3, 1};
  EXPECT_EQ(sample_tiles(scores, {SampleMode::kTopK, 3, 0, 0, 1}), (Indices{0, 3, 2}));
  EXPECT_EQ(sample_tiles(scores, {SampleMode::kReverseTopK, 3, 0, 0, 1}), (Indices{1, 4, 2}));
  EXPECT_EQ(sample_tiles(scores, {SampleMode::kTopK, 99, 0, 0, 1}).size(), 5U);
  EXPECT_TRUE(sample_tiles({}, {SampleMode::kTopK, 3, 0, 0, 1}).empty());
}

// tests/reference/heatmap.py: choice(arange(20, 30), 3, replace=False) after seed 1. Scores 0..39
// have percentile ranks 2.5, 5, ... 100: those of 20..29 are 52.5 to 75.
TEST(TileSample, DrawsFromARangeAsNumpyDoes) {
  std::vector<double> scores(40);
  for (std::size_t i = 0; i < 40; ++i) scores[i] = static_cast<double>(i);
  const auto draw = [&](std::int64_t k, std::uint64_t seed) {
    return sample_tiles(scores, {SampleMode::kRangeSample, k, seed, 0.52, 0.755});
  };
  EXPECT_EQ(draw(3, 1), (Indices{22, 29, 26}));
  EXPECT_EQ(draw(4, 7), (Indices{28, 25, 20, 22}));
  EXPECT_EQ(draw(99, 7).size(), 10U);
  EXPECT_TRUE(sample_tiles(scores, {SampleMode::kRangeSample, 3, 1, 0.001, 0.002}).empty());
}

TEST(TileSample, RefusesWhatMakesNoSense) {
  const std::vector<double> scores = {1, 2};
  EXPECT_THROW(sample_tiles(scores, {SampleMode::kTopK, -1, 0, 0, 1}), Error);
  EXPECT_THROW(sample_tiles(scores, {SampleMode::kRangeSample, 1, 0, 0.6, 0.4}), Error);
  EXPECT_THROW(sample_tiles({{1.0, std::nan("")}}, {}), Error);
  EXPECT_THROW(parse_sample_mode("top"), Error);
  EXPECT_EQ(parse_sample_mode("reverse_topk"), SampleMode::kReverseTopK);
}

TEST(HeatmapGeojson, IsWhatQuPathReads) {
  const std::vector<double> scores = {0.25, 1e-9, 0.75};
  HeatmapGeojsonOptions options;
  options.top_k = 2;
  options.top_class = "top \"attention\" </script>";
  const std::string text = heatmap_geojson(row_of_tiles(3, 512), 512, scores, options);
  const Json document = parse_json(text, "heatmap");
  EXPECT_EQ(document["type"], "FeatureCollection");
  const Json& features = document["features"];
  ASSERT_EQ(features.size(), 5U);  // three tiles, two annotations
  for (const Json& feature : features) {
    EXPECT_EQ(feature["type"], "Feature");
    EXPECT_EQ(feature["geometry"]["type"], "Polygon");
    const Json& rings = feature["geometry"]["coordinates"];
    ASSERT_EQ(rings.size(), 1U);
    ASSERT_EQ(rings[0].size(), 5U);
    EXPECT_EQ(rings[0].front(), rings[0].back());
    // Twice the signed area by the shoelace formula: 2 * 512 * 512, so the ring is not crossed.
    std::int64_t area = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      area += rings[0][i][0].get<std::int64_t>() * rings[0][i + 1][1].get<std::int64_t>() -
              rings[0][i + 1][0].get<std::int64_t>() * rings[0][i][1].get<std::int64_t>();
    }
    EXPECT_EQ(area, 2 * 512 * 512);
  }
  for (std::size_t i = 0; i < 3; ++i) {
    const Json& properties = features[i]["properties"];
    EXPECT_EQ(properties["objectType"], "detection");
    EXPECT_EQ(properties["measurements"]["attention"].get<double>(), scores[i]);
    EXPECT_EQ(features[i]["geometry"]["coordinates"][0][0][0], 512 * i);
    EXPECT_EQ(properties["color"].size(), 3U);
  }
  EXPECT_DOUBLE_EQ(features[1]["properties"]["measurements"]["percentile"], 100.0 / 3);
  const Json& first = features[3];
  EXPECT_EQ(first["properties"]["objectType"], "annotation");
  EXPECT_EQ(first["properties"]["classification"]["name"], options.top_class);
  EXPECT_EQ(first["properties"]["classification"]["color"], (Json{128, 0, 0}));
  EXPECT_EQ(first["geometry"]["coordinates"][0][0][0], 1024);
  EXPECT_EQ(features[4]["geometry"]["coordinates"][0][0][0], 0);
}

TEST(HeatmapGeojson, OfNoTileIsAnEmptyCollectionAndIsWrittenAtomically) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "a.geojson";
  write_heatmap_geojson(path, {}, 256, {}, {});
  EXPECT_EQ(read_json(path)["features"].size(), 0U);
  EXPECT_THROW(write_heatmap_geojson(path, row_of_tiles(2, 1), 256, {{1.0, std::nan("")}}, {}),
               Error);
  EXPECT_EQ(read_json(path)["features"].size(), 0U);
  EXPECT_THROW(heatmap_geojson(row_of_tiles(2, 1), 256, {{1.0}}, {}), Error);
  EXPECT_THROW(heatmap_geojson(row_of_tiles(1, 1), 0, {{1.0}}, {}), Error);
  HeatmapGeojsonOptions options;
  options.measurement = "percentile";
  EXPECT_THROW(options.validate(), Error);
}

// A 4 x 2 image averaged to 2 x 1: (0 + 1 + 0 + 1 + 2) / 4 = 1 for red of the left half, and
// (2 + 3 + 2 + 3 + 2) / 4 = 3; green (0 + 0 + 1 + 1 + 2) / 4 = 1.
TEST(Overview, AveragesAsWorkedByHand) {
  EXPECT_EQ(averaged(ramp(4, 2), 2, 1).pixels, (std::vector<std::uint8_t>{1, 1, 0, 3, 1, 0}));
  MemorySlide slide(ramp(4, 2), 1);
  const Overview overview = read_overview(slide, 0, 2, 2);
  EXPECT_EQ(overview.image, averaged(ramp(4, 2), 2, 1));
  EXPECT_EQ(overview.reduction, 2);
  EXPECT_DOUBLE_EQ(overview.downsample_x, 2.0);
  EXPECT_THROW(read_overview(slide, 1, 2, 2), Error);
  EXPECT_THROW(read_overview(slide, 0, 0, 2), Error);
}

TEST(Overview, ReadsTheCheapestLevelThatIsLargeEnough) {
  MemorySlide slide(ramp(640, 320), 4);  // 640, 320, 160, 80
  const Overview overview = read_thumbnail(slide, 150, 150);
  EXPECT_EQ(overview.level, 2);
  EXPECT_EQ(overview.image.width, 80);
  EXPECT_DOUBLE_EQ(overview.downsample_x, 8.0);
  // A tile's preview: 64 pixels of level 0 to 32, read at level 1 as they are.
  EXPECT_EQ(pixel(read_tile_preview(slide, 100, 40, 64, 32), 3, 2), (Rgb{106, 44, 0}));
}

TEST(ContactSheet, ShowsPicturesInFramesOfTheirStatusPageByPage) {
  ContactSheetOptions options;
  options.columns = 2;
  options.rows = 1;
  options.cell = 64;
  std::vector<RgbImage> pages;
  ContactSheet sheet(options, [&](std::int64_t page, const RgbImage& image) {
    EXPECT_EQ(page, static_cast<std::int64_t>(pages.size()) + 1);
    pages.push_back(image);
  });
  sheet.add({"good", "12 tiles", SheetStatus::kGood, RgbImage(300, 100, 90)});
  sheet.add({"empty", "no tissue", SheetStatus::kEmpty, RgbImage(10, 10, 90)});
  sheet.add({"failed", "damaged", SheetStatus::kFailed, {}});
  sheet.finish();
  sheet.finish();
  ASSERT_EQ(pages.size(), 2U);
  const RgbImage& page = pages[0];
  EXPECT_EQ(page.width, 8 + 2 * 72);
  const std::int64_t top = 24 + 8;
  EXPECT_EQ(pixel(page, 9, top + 1), (Rgb{0, 140, 70}));          // the green frame
  EXPECT_EQ(pixel(page, 8 + 32, top + 32), (Rgb{90, 90, 90}));    // the picture, in the middle
  EXPECT_EQ(pixel(page, 8 + 32, top + 8), (Rgb{236, 236, 236}));  // wide: empty above
  EXPECT_EQ(pixel(page, 80 + 31, top + 31), (Rgb{200, 30, 30}));  // crossed out
  EXPECT_EQ(pixel(pages[1], 9, top + 1), (Rgb{200, 30, 30}));
  EXPECT_EQ(pages[1].pixels.size(), static_cast<std::size_t>(pages[1].width * pages[1].height * 3));
}

TEST(ContactSheet, OfNothingHasNoPageAndHostileSizesAreRefused) {
  ContactSheet sheet({}, [](std::int64_t, const RgbImage&) { FAIL(); });
  sheet.finish();
  ContactSheetOptions options;
  options.columns = 64;
  options.rows = 64;
  options.cell = 2048;
  EXPECT_THROW(options.validate(), Error);
  options = {};
  options.cell = 1;
  EXPECT_THROW(options.validate(), Error);
}

TEST(TileSheet, ShowsTheTilesOfItsSectionsAndMarksADamagedOne) {
  MemorySlide slide(ramp(250, 64), 1);
  const std::vector<double> scores = {0.1, 0.9, 0.5};
  const std::vector<TileSheetSection> sections = {{"highest", {1, 2}}, {"lowest", {0}}};
  TileSheetOptions options;
  options.columns = 2;
  options.side = 32;
  const auto coords = row_of_tiles(3, 64);
  const RgbImage sheet = draw_tile_sheet(slide, coords, 64, scores, sections, options);
  EXPECT_EQ(sheet.width, 8 + 2 * 40);
  // Tile 1 begins at x = 64: its pixel (10, 10) is the mean of 84, 85 and 20, 21, rounded up.
  EXPECT_EQ(pixel(sheet, 8 + 10, 24 + 24 + 8 + 10), (Rgb{85, 21, 0}));
  EXPECT_EQ(sheet, draw_tile_sheet(slide, coords, 64, scores, sections, options));
  slide.bad_x = 64;
  slide.bad_y = 0;
  const RgbImage damaged = draw_tile_sheet(slide, coords, 64, scores, sections, options);
  EXPECT_EQ(pixel(damaged, 8 + 16, 24 + 24 + 8 + 16), (Rgb{200, 30, 30}));
}

TEST(TileSheet, RefusesTilesThatAreNotThere) {
  MemorySlide slide(ramp(250, 64), 1);
  const std::vector<double> scores = {0.1};
  const std::vector<TileSheetSection> wrong = {{"highest", {1}}};
  EXPECT_THROW(draw_tile_sheet(slide, row_of_tiles(1, 64), 64, scores, wrong, {}), Error);
  EXPECT_THROW(draw_tile_sheet(slide, row_of_tiles(2, 64), 64, scores, {}, {}), Error);
  TileSheetOptions options;
  options.max_tiles = 2;
  const std::vector<TileSheetSection> many = {{"highest", {0, 0, 0}}};
  EXPECT_THROW(draw_tile_sheet(slide, row_of_tiles(1, 64), 64, scores, many, options), Error);
}

}  // namespace
}  // namespace med3d
