#include "med3d/wsi/draw.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "med3d/core/error.h"
#include "med3d/wsi/colour_map.h"

namespace med3d {
namespace {

// '#' where the image is black.
std::string picture(const RgbImage& image) {
  std::string out;
  for (std::int64_t y = 0; y < image.height; ++y) {
    for (std::int64_t x = 0; x < image.width; ++x) out += image.at(x, y)[0] == 0 ? '#' : '.';
    out += '\n';
  }
  return out;
}

TEST(Draw, TextIsReadable) {
  RgbImage image(17, 8, 255);
  draw_text(image, 0, 0, "1g%", kBlack);
  EXPECT_EQ(picture(image),
            "..#.........##...\n"
            ".##.........##..#\n"
            "..#....####....#.\n"
            "..#...#...#...#..\n"
            "..#...#...#..#...\n"
            "..#....####.#..##\n"
            ".###......#....##\n"
            ".......###.......\n");
  EXPECT_EQ(text_width("1g%"), 18);
  EXPECT_EQ(text_width("ab", 3), 36);
}

TEST(Draw, RectanglesAndLinesStayInsideTheImage) {
  RgbImage image(6, 4, 255);
  draw_rectangle(image, -2, 1, 6, 9, 1, kBlack);
  fill_rectangle(image, 5, -5, 100, 6, kBlack);
  EXPECT_EQ(picture(image),
            ".....#\n"
            "####..\n"
            "...#..\n"
            "...#..\n");
  RgbImage other(5, 5, 255);
  draw_line(other, 0, 0, 4, 4, 1, kBlack);
  draw_line(other, 4, 0, 4, 2, 1, kBlack);
  draw_line(other, 1'000'000'000'000, 900, 2'000'000'000'000, 1000, 1, kBlack);
  draw_text(other, -100, -100, "far away", kBlack);
  EXPECT_EQ(picture(other),
            "#...#\n"
            ".#..#\n"
            "..#.#\n"
            "...#.\n"
            "....#\n");
}

TEST(Draw, ShortensLongNamesInTheMiddle) {
  EXPECT_EQ(shorten_text("TCGA-CR-7395-01A-01-TS1", 11), "TCGA-..-TS1");
  EXPECT_EQ(shorten_text("short", 11), "short");
  EXPECT_EQ(shorten_text("short", 2), "sh");
}

TEST(ColourMaps, HaveTheirPublishedColours) {
  // matplotlib's jet: half blue, cyan-green-yellow, half red.
  EXPECT_EQ(colour_of(ColourMap::kJet, 0.0), (Rgb{0, 0, 128}));
  EXPECT_EQ(colour_of(ColourMap::kJet, 1.0), (Rgb{128, 0, 0}));
  // Entry 51 at 0.2: green (0.2 - 0.125) / 0.25 * 255 = 76.5, rounded up.
  EXPECT_EQ(colour_of(ColourMap::kJet, 0.2), (Rgb{0, 77, 255}));
  // viridis entries 0, 64, 128, 191, 255 of the published table, at most 5 off between anchors.
  const auto& viridis = colour_table(ColourMap::kViridis);
  const Rgb expected[] = {
      {68, 1, 84}, {59, 82, 139}, {33, 145, 140}, {92, 200, 99}, {253, 231, 37}};
  const int at[] = {0, 64, 128, 191, 255};
  for (int i = 0; i < 5; ++i) {
    for (int k = 0; k < 3; ++k) EXPECT_NEAR(viridis[at[i]][k], expected[i][k], 5) << at[i];
  }
  // Moreland's table of 33 entries: the ends, 4, 8, 16 and 24.
  const auto& coolwarm = colour_table(ColourMap::kCoolwarm);
  const Rgb moreland[] = {{59, 76, 192},
                          {98, 130, 234},
                          {141, 176, 254},
                          {221, 221, 221},
                          {244, 154, 123},
                          {180, 4, 38}};
  const double where[] = {0, 4 / 32.0, 8 / 32.0, 16 / 32.0, 24 / 32.0, 1};
  for (int i = 0; i < 6; ++i) {
    const auto entry = static_cast<std::size_t>(std::lround(where[i] * 255));
    for (int k = 0; k < 3; ++k) EXPECT_NEAR(coolwarm[entry][k], moreland[i][k], 2) << where[i];
  }
}

TEST(ColourMaps, AreKnownByNameAndClampTheirInput) {
  for (const auto map : {ColourMap::kJet, ColourMap::kViridis, ColourMap::kCoolwarm}) {
    EXPECT_EQ(parse_colour_map(to_string(map)), map);
    EXPECT_EQ(colour_of(map, -3.0), colour_of(map, 0.0));
    EXPECT_EQ(colour_of(map, 7.0), colour_of(map, 1.0));
  }
  EXPECT_THROW(parse_colour_map("viridas"), Error);
}

}  // namespace
}  // namespace med3d
