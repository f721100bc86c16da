#include "med3d/report/svg.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "med3d/report/plot.h"

namespace med3d::report {
namespace {

TEST(Svg, WritesAnAccessibleDrawing) {
  Svg svg(100, 50);
  svg.line(0, 0.5, 1.0 / 3.0, -0.0001, "axis");
  svg.text(1, 2, "a<b", "small");
  EXPECT_EQ(svg.inline_markup("id", "T&t", "d"),
            "<svg class=\"fig\" role=\"img\" viewBox=\"0 0 100 50\" width=\"100\" height=\"50\" "
            "aria-labelledby=\"id-t id-d\"><title id=\"id-t\">T&amp;t</title><desc "
            "id=\"id-d\">d</desc><line class=\"axis\" x1=\"0\" y1=\"0.5\" x2=\"0.33\" "
            "y2=\"0\"/><text class=\"small\" x=\"1\" y=\"2\">a&lt;b</text></svg>");
}

TEST(Svg, BreaksALineWhereAValueIsAbsent) {
  Svg svg(10, 10);
  svg.path({{0, 0}, {1, 1}, {2, std::nan("")}, {3, 3}, {4, 4}}, "curve");
  EXPECT_NE(svg.inline_markup("i", "", "").find("d=\"M0 0L1 1M3 3L4 4\""), std::string::npos);
}

TEST(Svg, GivesMarksTheirTip) {
  Svg svg(10, 10);
  svg.circle(1, 2, 3, "dot", "a \"tip\"");
  EXPECT_NE(svg.inline_markup("i", "", "").find("<title>a &quot;tip&quot;</title></circle>"),
            std::string::npos);
}

TEST(Simplify, KeepsCornersAndDropsWhatLiesOnALine) {
  const std::vector<Point> stairs = {{0, 0}, {0, 1}, {0, 2}, {1, 2}, {2, 2}, {2, 3}};
  const std::vector<Point> expected = {{0, 0}, {0, 2}, {2, 2}, {2, 3}};
  EXPECT_EQ(simplify(stairs, 0.1), expected);
}

TEST(Simplify, NeverMovesFartherThanItsTolerance) {
  std::vector<Point> wave;
  for (int i = 0; i < 500; ++i) wave.emplace_back(i, 40.0 * std::sin(i / 20.0));
  const auto kept = simplify(wave, 0.35);
  EXPECT_LT(kept.size(), 150U);
  // Each left-out point is within the tolerance of the chord over it, measured upright: steeper
  // chords (slope at most 2 here) can only make that longer by sqrt(5).
  std::size_t k = 0;
  for (const Point& point : wave) {
    while (kept[k + 1].first < point.first) ++k;
    const auto [ax, ay] = kept[k];
    const auto [bx, by] = kept[k + 1];
    const double chord = ay + (by - ay) * (point.first - ax) / (bx - ax);
    EXPECT_LE(std::abs(chord - point.second), 0.35 * std::sqrt(5.0) + 1e-9);
  }
}

TEST(Simplify, KeepsGapsAndShortLines) {
  EXPECT_TRUE(simplify({}, 1).empty());
  EXPECT_EQ(simplify({{1, 1}}, 1).size(), 1U);
  EXPECT_EQ(simplify({{0, 0}, {1, std::nan("")}, {2, 0}}, 1).size(), 3U);
}

TEST(NiceTicks, AreRoundAndInside) {
  const auto ticks = nice_ticks(0.0, 1.0, 5);
  ASSERT_EQ(ticks.size(), 6U);
  for (int i = 0; i < 6; ++i) EXPECT_NEAR(ticks[static_cast<std::size_t>(i)], 0.2 * i, 1e-15);
  EXPECT_EQ(nice_ticks(0, 49, 6), (std::vector<double>{0, 10, 20, 30, 40}));
  EXPECT_EQ(nice_ticks(2, 2, 5), (std::vector<double>{2}));
}

TEST(Wrap, BreaksAtSpacesAndEndsInAnEllipsis) {
  EXPECT_EQ(wrap("one two three", 7, 3), (std::vector<std::string>{"one two", "three"}));
  EXPECT_EQ(wrap("one two three four", 7, 2), (std::vector<std::string>{"one two", "three\u2026"}));
}

TEST(ToCsv, WritesAllDigitsAndEmptyCells) {
  const DataTable table{{"name", "value"}, {{"a", 1.0 / 3.0}, {"b", std::nan("")}}};
  EXPECT_EQ(to_csv(table), "name,value\na,0.3333333333333333\nb,\n");
}

}  // namespace
}  // namespace med3d::report
