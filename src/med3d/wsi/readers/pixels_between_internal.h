// A region whose corner lies between the pixels of its level, to the bit as OpenSlide 3.4.1 gives
// it.
//
// OpenSlide paints the tiles of a level one by one onto the region, with cairo, at a place that is
// no whole pixel. With (f, g) the fraction of the corner in units of 1/65536 pixel, a tile gives to
// a pixel of the region
//
//   c = (1-f)(1-g) c_00 + f (1-g) c_10 + (1-f) g c_01 + f g c_11      colour / 255, alpha likewise
//
// of the four pixels around it, where those beyond the tile, beyond the level and in a missing tile
// are transparent. All of it is computed in float in this order, since for the operator SATURATE
// pixman leaves its 8-bit paths. A tile adds as much as the alpha left by those before it allows,
//
//   pixel += c min(1, (1 - alpha) / c_alpha),
//
// and what is there is cut to floor(256 v) (1 becomes 255) after each tile. Tiles are painted from
// the last to the first, so that where two meet a pixel may come out with an alpha of 254. At the
// end colours are divided by alpha, cut to whole numbers, as openslide-python does.
//
// A corner within 1/512 of a pixel in both directions is on that pixel: nothing is blended there.
//
// Source: experiments with OpenSlide 3.4.1, cairo 1.16 and pixman 0.42 (Debian 12).
// Checked against: openslide_read_region, thousands of random regions (readers/tiff_test.cc).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace med3d {

// Where the pixels of a region lie along one axis of its level.
struct Axis {
  std::int64_t at = 0;    // the level's pixel before (or at) the region's first one
  bool is_whole = true;   // to 1/512 pixel: no blending, if the other axis is whole too
  float after = 0;        // weight of the level's pixel after it, [0, 1), a multiple of 1/65536
  std::int64_t tile = 1;  // side of the level's tiles in pixels

  // Does a tile end between the two pixels around pixel i of the region?
  bool is_seam(std::int64_t i) const { return (at + i + 1) % tile == 0; }
};

// position  of the region's corner, in pixels of the level, not negative
Axis place_between(double position, std::int64_t tile);

// Kept between regions for its memory.
class PixelsBetween {
 public:
  // window  (height + 1) * (width + 1) * 3, the level's pixels from (across.at, down.at), 0 where
  //         there are none
  // cover   (height + 1) * (width + 1), 1 where the level has a pixel, else 0
  // rgb     height rows of width pixels, `stride` bytes apart
  void paint(const Axis& across,
             const Axis& down,
             std::int64_t width,
             std::int64_t height,
             std::span<const std::uint8_t> window,
             std::span<const std::uint8_t> cover,
             std::uint8_t* rgb,
             std::int64_t stride);

 private:
  std::vector<float> upper_;
  std::vector<float> lower_;
};

}  // namespace med3d
