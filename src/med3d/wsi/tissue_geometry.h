// Points and squares against the rings of tissue: exact, and fast for many questions of one ring.
#pragma once

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "med3d/wsi/tissue.h"

namespace med3d {

// Answers where points lie to a ring, by the even-odd rule and in whole numbers.
//
// The answers are those of OpenCV's pointPolygonTest, which looks at every edge for every point;
// here the edges that meet a horizontal line are found once for each line asked about, so that a
// grid of points costs O(edges + lines * edges near a line + points * log(edges on the line)).
//
// Checked against: cv::pointPolygonTest on drawn rings, points between pixels included.
class RingSides {
 public:
  // Coordinates within +-2^30. A ring of no corner has everything outside.
  explicit RingSides(const Ring& ring);

  // +1 inside, 0 on an edge or corner, -1 outside, for the point (x2 / 2, y2 / 2). Not const: it
  // keeps what it learns of a line; not safe for two threads at once.
  int side(std::int64_t x2, std::int64_t y2);

  // Whether any edge meets the closed rectangle from (x, y) to (x + width, y + height).
  bool meets(std::int64_t x, std::int64_t y, std::int64_t width, std::int64_t height) const;

  // The area within the ring that lies in this rectangle, pixels^2.
  double area_within(std::int64_t x, std::int64_t y, std::int64_t width, std::int64_t height) const;

 private:
  struct Line {
    // Where edges cross the line, times 4: odd where the place is not a half pixel but just beyond.
    std::vector<std::int64_t> crossings;
    std::vector<std::pair<std::int64_t, std::int64_t>> on;  // first and last x2 of what lies on it
  };
  const Line& line(std::int64_t y2);
  const PixelPoint& end_of(std::size_t edge) const {
    return ring_[edge + 1 == ring_.size() ? 0 : edge + 1];
  }
  std::size_t band_of(std::int64_t y) const;

  Ring ring_;
  std::int64_t top_ = 0;
  std::int64_t bottom_ = -1;
  std::int64_t band_height_ = 1;
  std::vector<std::vector<std::uint32_t>> bands_;  // edges that touch these rows
  std::map<std::int64_t, Line> lines_;
};

// Tissue of one region: its outline without its holes.
class RegionSides {
 public:
  explicit RegionSides(const TissueRegion& region);

  RingSides& outline() { return outline_; }

  // Whether the point (x2 / 2, y2 / 2) lies inside a hole, its edge not included.
  bool in_hole(std::int64_t x2, std::int64_t y2);

  // Whether tissue, edges included, and the closed square have a point in common.
  bool intersects(std::int64_t x, std::int64_t y, std::int64_t side);

  // The area of tissue in the square, pixels^2.
  double area_within(std::int64_t x, std::int64_t y, std::int64_t side) const;

 private:
  RingSides outline_;
  std::vector<RingSides> holes_;
};

}  // namespace med3d
