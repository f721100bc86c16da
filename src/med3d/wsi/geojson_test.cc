#include "med3d/wsi/geojson.h"

#include "med3d/core/json.h"
#include "med3d/wsi/mask_image.h"
#include "med3d/wsi/tissue_test_support.inc"

namespace med3d {
namespace {

using testing_io::expect_error;
using testing_io::TemporaryFolder;
using testing_wsi::fill;
using testing_wsi::MemorySlide;
using testing_wsi::rectangle;

Tissue some_tissue() {
  Tissue out;
  TissueRegion& first = out.regions.emplace_back();
  // With points between the corners, as contours have them.
  first.outline = {{0, 0}, {0, 5}, {0, 100}, {60, 100}, {100, 100}, {100, 0}, {50, 0}};
  first.holes = {rectangle(10, 10, 40, 40), rectangle(60, 60, 10, 10)};
  out.regions.emplace_back().outline = {{300, 300}, {320, 300}, {310, 330}};
  return out;
}

// Twice the area by the plain formula: positive turns left.
double turn(const Json& ring) {
  double sum = 0.0;
  for (std::size_t i = 0; i + 1 < ring.size(); ++i) {
    sum += ring[i][0].get<double>() * ring[i + 1][1].get<double>() -
           ring[i + 1][0].get<double>() * ring[i][1].get<double>();
  }
  return sum;
}

TEST(GeoJson, IsWhatQuPathOpens) {
  const std::string text = tissue_geojson(some_tissue());
  const Json document = parse_json(text, "tissue");
  EXPECT_EQ(document["type"], "FeatureCollection");
  ASSERT_EQ(document["features"].size(), 2U);
  const Json& feature = document["features"][0];
  EXPECT_EQ(feature["type"], "Feature");
  EXPECT_EQ(feature["geometry"]["type"], "Polygon");
  EXPECT_EQ(feature["properties"]["objectType"], "annotation");
  EXPECT_EQ(feature["properties"]["classification"]["name"], "Tissue");
  EXPECT_EQ(feature["properties"]["classification"]["color"].size(), 3U);
  const Json& rings = feature["geometry"]["coordinates"];
  ASSERT_EQ(rings.size(), 3U);
  for (const Json& ring : rings) {
    EXPECT_EQ(ring.size(), 5U);  // four corners and the first again
    EXPECT_EQ(ring.front(), ring.back());
  }
  EXPECT_EQ(turn(rings[0]), 2 * 100 * 100.0);
  EXPECT_EQ(turn(rings[1]), -2 * 40 * 40.0);
  EXPECT_EQ(turn(rings[2]), -2 * 10 * 10.0);
  EXPECT_EQ(text, tissue_geojson(some_tissue()));
}

TEST(GeoJson, ComesBackAsTheSameTissue) {
  const TemporaryFolder folder;
  write_tissue_geojson(folder / "a.geojson", some_tissue());
  const Tissue back = read_tissue_geojson(folder / "a.geojson");
  ASSERT_EQ(back.regions.size(), 2U);
  ASSERT_EQ(back.regions[0].holes.size(), 2U);
  EXPECT_EQ(std::abs(twice_signed_area(back.regions[0].outline)), 2 * 100 * 100);
  EXPECT_EQ(std::abs(twice_signed_area(back.regions[0].holes[0])), 2 * 40 * 40);
  EXPECT_EQ(tissue_geojson(back), tissue_geojson(some_tissue()));
}

TEST(GeoJson, RingsOfNoAreaAreLeftOut) {
  Tissue tissue = some_tissue();
  tissue.regions[0].holes.push_back({{70, 70}, {80, 70}});
  tissue.regions.emplace_back().outline = {{5, 5}};
  EXPECT_EQ(tissue_geojson(tissue), tissue_geojson(some_tissue()));
  EXPECT_EQ(parse_json(tissue_geojson({}), "none")["features"].size(), 0U);
}

TEST(GeoJson, ReadsMultiPolygonsFractionsAndBareGeometries) {
  const Tissue tissue = parse_tissue_geojson(
      R"({"type":"Feature","properties":{},"geometry":{"type":"MultiPolygon","coordinates":
      [[[[0.7,0.2],[10.9,0],[10,10],[0.7,0.2]]],[[[20,20],[30,20],[30,30]]]]}})",
      "qupath");
  ASSERT_EQ(tissue.regions.size(), 2U);
  EXPECT_EQ(tissue.regions[0].outline, (Ring{{0, 0}, {10, 0}, {10, 10}}));
  EXPECT_EQ(tissue.regions[1].outline, (Ring{{20, 20}, {30, 20}, {30, 30}}));
  EXPECT_EQ(parse_tissue_geojson(R"({"type":"Polygon","coordinates":[[[0,0],[1,0],[1,1],[0,0]]]})",
                                 "bare")
                .regions.size(),
            1U);
}

TEST(GeoJson, RefusesWhatIsNoTissue) {
  const auto refused = [](ErrorKind kind, const char* part, const std::string& text) {
    expect_error(kind, part, [&] { parse_tissue_geojson(text, "file"); });
  };
  const auto polygon = [](const std::string& coordinates) {
    return R"({"type":"FeatureCollection","features":[{"type":"Feature","geometry":{"type":"Polygon",)"
           R"("coordinates":)" +
           coordinates + "}}]}";
  };
  refused(ErrorKind::kFormat, "an object with a type", "[1]");
  refused(ErrorKind::kFormat, "without a list of features", R"({"type":"FeatureCollection"})");
  refused(ErrorKind::kFormat,
          "feature 0 (from 0) has no geometry",
          R"({"type":"FeatureCollection","features":[7]})");
  refused(ErrorKind::kUnsupported, "is a Point", R"({"type":"Point","coordinates":[1,2]})");
  refused(ErrorKind::kFormat, "has no outline", polygon("[]"));
  refused(ErrorKind::kFormat, "no list", polygon("[5]"));
  refused(ErrorKind::kFormat, "a ring of 2 corners", polygon("[[[0,0],[1,1],[0,0]]]"));
  refused(ErrorKind::kFormat, "not two numbers", polygon(R"([[[0,"a"],[1,1],[2,2]]])"));
  refused(ErrorKind::kFormat, "which no slide has", polygon("[[[0,0],[1e12,1],[2,2]]]"));
}

TEST(TissuePictures, ShowOutlinesInGreenAndHolesInBlue) {
  MemorySlide slide(RgbImage(120, 120, 255));
  const RgbImage picture = draw_tissue(read_level(slide), some_tissue(), 1);
  const auto color = [&](std::int64_t x, std::int64_t y) {
    const std::uint8_t* p = picture.at(x, y);
    return std::array<int, 3>{p[0], p[1], p[2]};
  };
  EXPECT_EQ(color(0, 50), (std::array<int, 3>{0, 255, 0}));
  EXPECT_EQ(color(10, 30), (std::array<int, 3>{0, 0, 255}));
  EXPECT_EQ(color(80, 30), (std::array<int, 3>{255, 255, 255}));
}

TEST(TissuePictures, StitchShowsTilesOnBlackAndCutsThemAtTheEdge) {
  RgbImage image(100, 80, 255);
  fill(image, 0, 0, 50, 80, 9, 8, 7);
  MemorySlide slide(image);
  Tiles tiles;
  tiles.footprint = 30;
  tiles.coords = Matrix<std::int64_t>(3, 2);
  tiles.coords(0, 0) = 10;  // (10, 0), (90, 70) and (-20, -20): the last two reach over the edges
  tiles.coords(1, 0) = 90;
  tiles.coords(1, 1) = 70;
  tiles.coords(2, 0) = tiles.coords(2, 1) = -20;
  const RgbImage picture = draw_stitch(read_level(slide), tiles);
  EXPECT_EQ(picture.at(10, 0)[0], 9);
  EXPECT_EQ(picture.at(39, 29)[2], 7);
  EXPECT_EQ(picture.at(40, 29)[2], 0);
  EXPECT_EQ(picture.at(39, 30)[2], 0);
  EXPECT_EQ(picture.at(99, 79)[1], 255);
  EXPECT_EQ(picture.at(89, 79)[1], 0);
  EXPECT_EQ(picture.at(9, 9)[0], 9);
  EXPECT_EQ(picture.at(9, 10)[0], 0);
}

}  // namespace
}  // namespace med3d
