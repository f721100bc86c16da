#include "med3d/pipeline/slides/heatmap_slides.h"

#include <gtest/gtest.h>

#include <functional>

#include "med3d/core/file.h"
#include "med3d/core/json.h"
#include "med3d/io/formats/hdf5.h"
#include "med3d/io/formats/png.h"
#include "med3d/pipeline/test_support.h"
#include "med3d/wsi/synth_slide.h"
#include "med3d/wsi/tile_file.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;
using testing::TempFolder;

Matrix<std::int64_t> tiles_of(std::int64_t side) {
  Matrix<std::int64_t> out(4, 2);
  for (std::int64_t i = 0; i < 4; ++i) {
    out(static_cast<std::size_t>(i), 0) = (i % 2) * side;
    out(static_cast<std::size_t>(i), 1) = (i / 2) * side;
  }
  return out;
}

// A slide of 512 x 256 pixels with stored attention of its four tiles of 128.
struct Stored {
  TempFolder folder;
  HeatmapSlidesJob job;
  std::vector<float> scores = {0.5F, -1.0F, 3.0F, 0.0F};

  Stored() {
    SynthSlideOptions options;
    options.width = 512;
    options.height = 256;
    write_synth_slide(folder.path() / "slides/a.svs", options);
    write_attention({{"patch_size_level0", std::int64_t{128}}, {"predicted", std::int64_t{1}}});
    job.attention = folder.path() / "attention";
    job.slides.places = {folder.path() / "slides"};
    job.output = folder.path() / "maps";
    job.overwrite = true;
    job.options.vis_level = 0;
    job.options.blank_canvas = true;
    job.options.alpha = 1.0;
    job.options.colour_bar = false;
  }
  void write_attention(const std::vector<Hdf5Attribute>& attributes) const {
    write_attention_file(folder.path() / "attention/a.h5", scores, tiles_of(128), attributes);
  }
  void write_patches(std::int64_t side) const {
    Tiles tiles;
    tiles.coords = tiles_of(side);
    tiles.read_size = tiles.target_size = tiles.footprint = tiles.step = side;
    tiles.level_size = tiles.level0_size = {512, 256};
    write_tiles(folder.path() / "patches/a.h5", tiles, "a", "x");
  }
  std::string reason() const {
    const auto outcomes = heatmap_slides(job, silent_progress());
    EXPECT_EQ(outcomes.size(), 1U);
    EXPECT_EQ(outcomes[0].status, SlideStatus::kFailed);
    return outcomes[0].reason;
  }
};

// What is drawn is what is stored: the highest score in the last colour, the lowest in the first,
// in their own places, and glass stays white.
TEST(HeatmapSlides, DrawsTheStoredScoresWhereTheirTilesLie) {
  Stored stored;
  stored.job.scale = AttentionScale::kRaw;
  const auto outcomes = heatmap_slides(stored.job, silent_progress());
  ASSERT_EQ(outcomes[0].status, SlideStatus::kDone) << outcomes[0].reason;
  EXPECT_EQ(outcomes[0].tiles, 4);
  const auto map = read_png(stored.job.output / "heatmaps/a.png");
  ASSERT_EQ(map.width, 512);
  const auto colour = [&](std::int64_t x, std::int64_t y) {
    const auto* pixel = map.pixels.data() + 3 * (y * map.width + x);
    return Rgb{pixel[0], pixel[1], pixel[2]};
  };
  EXPECT_EQ(colour(5, 130), colour_of(ColourMap::kJet, 1.0));    // 3, tile 2
  EXPECT_EQ(colour(250, 127), colour_of(ColourMap::kJet, 0.0));  // -1, tile 1
  EXPECT_EQ(colour(5, 5), colour_of(ColourMap::kJet, (0.5 + 1.0) / 4.0));
  EXPECT_EQ(colour(300, 5), kWhite);
  const Json geojson = read_json(stored.job.output / "geojson/a.geojson");
  EXPECT_EQ(geojson.at("features").size(), 8U);  // four tiles, and four annotations of the highest
  EXPECT_EQ(geojson["features"][2]["properties"]["measurements"]["attention"].get<double>(), 3.0);
  for (const char* name : {"heatmaps/a.tif", "sheets/a.png", "outcomes.csv", "outcomes.json"}) {
    EXPECT_TRUE(fs::exists(stored.job.output / name)) << name;
  }
}

TEST(HeatmapSlides, RefuseTilesThatAreNotThoseOfTheAttention) {
  Stored stored;
  stored.job.patches = stored.folder.path() / "patches";
  EXPECT_NE(stored.reason().find("a.h5"), std::string::npos);  // no such file
  stored.write_patches(128);
  EXPECT_EQ(heatmap_slides(stored.job, silent_progress())[0].status, SlideStatus::kDone);
  stored.write_patches(64);
  EXPECT_NE(stored.reason().find("other tiles than patches/ holds"), std::string::npos);
  stored.write_attention({{"patch_size_level0", std::int64_t{64}}});
  stored.write_patches(128);
  EXPECT_NE(stored.reason().find("of tiles of 64 level-0 pixels, those of patches/ measure 128"),
            std::string::npos);
  stored.job.patches.clear();
  stored.write_attention({{"patch_size_level0", std::int64_t{128}},
                          {"level0_width", std::int64_t{1024}},
                          {"level0_height", std::int64_t{512}}});
  EXPECT_NE(stored.reason().find("of a slide of 1024 x 512 pixels, this one has 512 x 256"),
            std::string::npos);
  write_attention_file(stored.folder.path() / "attention/a.h5",
                       stored.scores,
                       tiles_of(1000),
                       std::vector<Hdf5Attribute>{{"patch_size_level0", std::int64_t{128}}});
  EXPECT_NE(stored.reason().find("lies outside of the slide of 512 x 256"), std::string::npos);
  stored.write_attention({});
  EXPECT_NE(stored.reason().find("nothing says how large the tiles"), std::string::npos);
  stored.job.footprint = 128;
  EXPECT_EQ(heatmap_slides(stored.job, silent_progress())[0].status, SlideStatus::kDone);
}

TEST(HeatmapSlides, SoftmaxWeightsAddUpAndReferenceScoresRank) {
  Stored stored;
  stored.job.scale = AttentionScale::kSoftmax;
  heatmap_slides(stored.job, silent_progress());
  const Json geojson = read_json(stored.job.output / "geojson/a.geojson");
  double sum = 0.0;
  for (std::size_t i = 0; i < 4; ++i) {
    sum += geojson["features"][i]["properties"]["measurements"]["attention"].get<double>();
  }
  EXPECT_NEAR(sum, 1.0, 1e-12);
  // Among 10 and 20 every score is at percentile 0: the first colour everywhere.
  const std::vector<float> high = {10.0F, 20.0F};
  Matrix<std::int64_t> at(2, 2);
  at(1, 0) = 7;
  write_attention_file(stored.folder.path() / "reference.h5", high, at, {});
  stored.job.scale = AttentionScale::kPercentile;
  stored.job.reference = stored.folder.path() / "reference.h5";
  heatmap_slides(stored.job, silent_progress());
  const auto map = read_png(stored.job.output / "heatmaps/a.png");
  const auto first = colour_of(ColourMap::kJet, 0.0);
  for (const std::int64_t x : {5, 140}) {
    const auto* pixel = map.pixels.data() + 3 * (140 * map.width + x);
    EXPECT_EQ((Rgb{pixel[0], pixel[1], pixel[2]}), first);
  }
}

TEST(HeatmapSlides, ReadsClamsBlockmapsByTheirNames) {
  const Stored stored;
  fs::rename(stored.folder.path() / "attention/a.h5",
             stored.folder.path() / "attention/a_blockmap.h5");
  const auto outcomes = heatmap_slides(stored.job, silent_progress());
  EXPECT_EQ(outcomes[0].slide_id, "a");
  EXPECT_EQ(outcomes[0].status, SlideStatus::kDone) << outcomes[0].reason;
}

}  // namespace
}  // namespace med3d::pipeline
