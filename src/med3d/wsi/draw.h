// Marks on pictures: rectangles, lines and text, for captions, colour bars and outlines.
//
// Everything is clipped to the image; coordinates are pixels of the image, x to the right, y down.
// No anti-aliasing: the same call gives the same bytes everywhere.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "med3d/wsi/image.h"

namespace med3d {

using Rgb = std::array<std::uint8_t, 3>;

inline constexpr Rgb kBlack = {0, 0, 0};
inline constexpr Rgb kWhite = {255, 255, 255};

// Columns [x, x + width) and rows [y, y + height); nothing for a width or height below 1.
void fill_rectangle(RgbImage& image,
                    std::int64_t x,
                    std::int64_t y,
                    std::int64_t width,
                    std::int64_t height,
                    Rgb colour);

// The same rectangle's border, `thickness` pixels wide and inside of it.
void draw_rectangle(RgbImage& image,
                    std::int64_t x,
                    std::int64_t y,
                    std::int64_t width,
                    std::int64_t height,
                    std::int64_t thickness,
                    Rgb colour);

// A line from (x0, y0) to (x1, y1), both ends drawn (Bresenham), with a square pen of `thickness`.
void draw_line(RgbImage& image,
               std::int64_t x0,
               std::int64_t y0,
               std::int64_t x1,
               std::int64_t y1,
               std::int64_t thickness,
               Rgb colour);

// Copies `source` with its corner at (x, y).
void draw_image(RgbImage& image, const RgbImage& source, std::int64_t x, std::int64_t y);

// Text in a font of our own: 5 x 8 pixels a character in a cell of kTextWidth x kTextHeight, times
// `scale`. Printable ASCII; any other byte shows as a box (UTF-8: one box for each byte).
inline constexpr std::int64_t kTextWidth = 6;
inline constexpr std::int64_t kTextHeight = 9;
void draw_text(RgbImage& image,
               std::int64_t x,
               std::int64_t y,
               std::string_view text,
               Rgb colour,
               std::int64_t scale = 1);

// Pixels that draw_text takes for `text`.
std::int64_t text_width(std::string_view text, std::int64_t scale = 1);

// `text`, or its start and end around ".." where it is longer than `characters`.
std::string shorten_text(std::string_view text, std::size_t characters);

}  // namespace med3d
