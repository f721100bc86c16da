#include "med3d/wsi/tissue_geometry.h"

#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>

#include "med3d/core/random.h"
#include "med3d/wsi/tissue_test_support.inc"

namespace med3d {
namespace {

using testing_wsi::rectangle;

Ring drawn_ring(NumpyRandom& random, std::size_t corners, std::uint64_t extent) {
  Ring out;
  for (std::size_t i = 0; i < corners; ++i) {
    out.push_back({static_cast<std::int32_t>(random.randint(extent)) - 5,
                   static_cast<std::int32_t>(random.randint(extent)) - 5});
  }
  return out;
}

// Rings that cross themselves, repeat corners and have level edges; points on and between pixels.
TEST(RingSides, AgreesWithPointPolygonTest) {
  NumpyRandom random(3);
  for (int round = 0; round < 60; ++round) {
    const Ring ring = drawn_ring(random, 1 + random.randint(30), round % 2 == 0 ? 12 : 60);
    std::vector<cv::Point> points;
    for (const PixelPoint& p : ring) points.emplace_back(p.x, p.y);
    RingSides sides(ring);
    for (std::int64_t y2 = -14; y2 < 120; y2 += 1 + round % 3) {
      for (std::int64_t x2 = -14; x2 < 120; x2 += 1 + round % 2) {
        const cv::Point2f at(static_cast<float>(x2) / 2, static_cast<float>(y2) / 2);
        const double expected = cv::pointPolygonTest(points, at, false);
        ASSERT_EQ(sides.side(x2, y2), static_cast<int>(expected))
            << "round " << round << ", point " << at << " ring " << points;
      }
    }
  }
}

TEST(RingSides, NothingIsInsideNoRing) {
  RingSides sides{Ring()};
  EXPECT_EQ(sides.side(0, 0), -1);
  EXPECT_FALSE(sides.meets(0, 0, 10, 10));
  EXPECT_EQ(sides.area_within(0, 0, 10, 10), 0.0);
}

TEST(RingSides, FindsEdgesThatMeetARectangle) {
  const Ring triangle = {{0, 0}, {20, 0}, {0, 20}};  // its long edge is x + y = 20
  const RingSides sides(triangle);
  EXPECT_TRUE(sides.meets(8, 8, 10, 10));   // the long edge cuts a corner, no end is inside
  EXPECT_TRUE(sides.meets(10, 10, 5, 5));   // touches in one point
  EXPECT_FALSE(sides.meets(11, 10, 5, 5));  // just beyond
  EXPECT_FALSE(sides.meets(2, 2, 5, 5));    // wholly inside: no edge
  EXPECT_TRUE(sides.meets(-5, -5, 100, 100));
  EXPECT_FALSE(sides.meets(-9, -9, 8, 8));
}

// Triangle of legs 20, worked by hand. In the square from (0, 0) of side 10 all 100; in that from
// (10, 0) the part below x + y = 20: 50; in (10, 10) nothing; in all 200.
TEST(RingSides, AreasWithinRectanglesAreExact) {
  const Ring triangle = {{0, 0}, {20, 0}, {0, 20}};
  const RingSides sides(triangle);
  EXPECT_DOUBLE_EQ(sides.area_within(0, 0, 10, 10), 100.0);
  EXPECT_DOUBLE_EQ(sides.area_within(10, 0, 10, 10), 50.0);
  EXPECT_DOUBLE_EQ(sides.area_within(10, 10, 10, 10), 0.0);
  EXPECT_DOUBLE_EQ(sides.area_within(-50, -50, 200, 200), 200.0);
}

// A ring taller than its bands are many: the parts of a tiling add up to the whole.
TEST(RingSides, AreasOfATilingAddUp) {
  const Ring ring = {{3, 1}, {4000, 700}, {2500, 5003}, {1700, 2000}, {20, 4990}};
  const RingSides sides(ring);
  double sum = 0.0;
  for (std::int64_t y = 0; y < 5120; y += 256) {
    for (std::int64_t x = 0; x < 4096; x += 256) sum += sides.area_within(x, y, 256, 256);
  }
  EXPECT_NEAR(sum, static_cast<double>(std::abs(twice_signed_area(ring))) / 2, 1e-6);
}

TEST(RegionSides, HolesAreNoTissueButTheirEdgesAre) {
  TissueRegion region;
  region.outline = rectangle(0, 0, 100, 100);
  region.holes = {rectangle(20, 20, 40, 40)};
  RegionSides sides(region);
  EXPECT_TRUE(sides.in_hole(2 * 40, 2 * 40));
  EXPECT_FALSE(sides.in_hole(2 * 20, 2 * 40));
  EXPECT_FALSE(sides.intersects(25, 25, 10));
  EXPECT_TRUE(sides.intersects(25, 25, 35));  // reaches the hole's far edge
  EXPECT_TRUE(sides.intersects(70, 70, 10));
  EXPECT_TRUE(sides.intersects(100, 100, 10));
  EXPECT_FALSE(sides.intersects(101, 100, 10));
  EXPECT_DOUBLE_EQ(sides.area_within(10, 10, 20), 400.0 - 100.0);
  EXPECT_DOUBLE_EQ(sides.area_within(0, 0, 100), 10000.0 - 1600.0);
}

}  // namespace
}  // namespace med3d
