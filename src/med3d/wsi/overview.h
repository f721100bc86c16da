// A slide, or a square of it, small enough to look at.
#pragma once

#include <cstdint>
#include <string>

#include "med3d/wsi/image.h"
#include "med3d/wsi/slide.h"

namespace med3d {

struct Overview {
  RgbImage image;
  int level = 0;               // that was read
  std::int64_t reduction = 1;  // and averaged over reduction x reduction pixels of it
  double downsample_x = 1.0;   // level-0 pixels a pixel of the image, the level's own sizes taken
  double downsample_y = 1.0;
  std::int64_t blocks = 0;          // squares of up to 256 level pixels that it was made of
  std::int64_t damaged_blocks = 0;  // of these, such that could not be decoded: grey
  std::string first_damage;         // what the reader said of the first of these
};

// The whole slide at a level, averaged over the smallest whole k x k that fits the bounds. A rest
// of less than k pixels at the right and lower edge is averaged as far as it goes.
//
// level                  0 .. levels - 1
// max_width, max_height  pixels, at least 1
//
// max_damaged            share of the squares that may be damaged, 0 to 1
//
// Damaged tiles leave grey (128) squares, which are counted. Reads bands: memory O(width * (256 +
// k)) besides the image. Throws Error(kUsage) for a level that is not there or bounds below 1,
// kFormat for a result beyond limits().image_bytes, for more than max_damaged (below 1: also as
// soon as a thousand squares were read and none was whole), and what else the reader throws.
Overview read_overview(Slide& slide,
                       int level,
                       std::int64_t max_width,
                       std::int64_t max_height,
                       double max_damaged = 1.0);

// The same at the cheapest level that is at least as large as the bounds ask for.
Overview read_thumbnail(Slide& slide, std::int64_t max_width, std::int64_t max_height);

// The image at another size: each pixel is the mean, rounded, of what falls into it; pixels are
// repeated where it is enlarged. width, height at least 1.
RgbImage averaged(const RgbImage& image, std::int64_t width, std::int64_t height);

// A square of the slide, averaged to side x side pixels: for sheets of tiles, not for encoders.
//
// x, y, footprint  level-0 pixels; footprint > 0
//
// Read from the best level for footprint / side. Throws as Slide::read_region.
RgbImage read_tile_preview(
    Slide& slide, std::int64_t x, std::int64_t y, std::int64_t footprint, std::int64_t side);

}  // namespace med3d
