#include "med3d/wsi/tissue_geometry.h"

#include <algorithm>
#include <cmath>

namespace med3d {
namespace {

constexpr std::int64_t kMostBands = 1024;

// The quotient rounded down, and whether it was rounded; divisor > 0.
std::pair<std::int64_t, bool> floor_divide(std::int64_t value, std::int64_t divisor) {
  std::int64_t quotient = value / divisor;
  const std::int64_t rest = value - quotient * divisor;
  if (rest < 0) --quotient;
  return {quotient, rest != 0};
}

// The integral over y of clamp(x(y), left, right) - left along the part of a straight edge between
// the rows top and bottom; negative if the edge runs upwards.
double clamped_strip(double x0,
                     double y0,
                     double x1,
                     double y1,
                     double left,
                     double right,
                     double top,
                     double bottom) {
  if (y0 == y1) return 0.0;
  if (y0 > y1) return -clamped_strip(x1, y1, x0, y0, left, right, top, bottom);
  const double slope = (x1 - x0) / (y1 - y0);
  const double from = std::max(y0, top);
  const double to = std::min(y1, bottom);
  if (from >= to) return 0.0;
  // The edge is straight between the rows where it passes the two sides.
  double cuts[4] = {from, from, to, to};
  if (slope != 0.0) {
    cuts[1] = std::clamp(y0 + (left - x0) / slope, from, to);
    cuts[2] = std::clamp(y0 + (right - x0) / slope, from, to);
    if (cuts[1] > cuts[2]) std::swap(cuts[1], cuts[2]);
  }
  double sum = 0.0;
  const auto depth = [&](double y) {
    return std::clamp(x0 + (y - y0) * slope, left, right) - left;
  };
  for (int i = 0; i < 3; ++i) {
    sum += (cuts[i + 1] - cuts[i]) * (depth(cuts[i]) + depth(cuts[i + 1])) / 2;
  }
  return sum;
}

}  // namespace

RingSides::RingSides(const Ring& ring) : ring_(ring) {
  if (ring_.empty()) return;
  const auto [low, high] = std::minmax_element(
      ring_.begin(), ring_.end(), [](const auto& a, const auto& b) { return a.y < b.y; });
  top_ = low->y;
  bottom_ = high->y;
  const std::int64_t height = bottom_ - top_ + 1;
  band_height_ = (height + kMostBands - 1) / kMostBands;
  bands_.resize(static_cast<std::size_t>((height + band_height_ - 1) / band_height_));
  for (std::size_t i = 0; i < ring_.size(); ++i) {
    const auto [first, last] = std::minmax(ring_[i].y, end_of(i).y);
    for (std::size_t band = band_of(first); band <= band_of(last); ++band) {
      bands_[band].push_back(static_cast<std::uint32_t>(i));
    }
  }
}

std::size_t RingSides::band_of(std::int64_t y) const {
  return static_cast<std::size_t>((std::clamp(y, top_, bottom_) - top_) / band_height_);
}

const RingSides::Line& RingSides::line(std::int64_t y2) {
  const auto [place, fresh] = lines_.try_emplace(y2);
  Line& out = place->second;
  if (!fresh) return out;
  std::vector<std::pair<std::int64_t, std::int64_t>> on;
  for (const std::uint32_t edge : bands_[band_of(floor_divide(y2, 2).first)]) {
    const PixelPoint& a = ring_[edge];
    const PixelPoint& b = end_of(edge);
    const std::int64_t ay = 2 * std::int64_t{a.y};
    const std::int64_t by = 2 * std::int64_t{b.y};
    if (ay == y2 && by == y2)
      on.emplace_back(2 * std::int64_t{std::min(a.x, b.x)}, 2 * std::int64_t{std::max(a.x, b.x)});
    else if (ay == y2)
      on.emplace_back(2 * std::int64_t{a.x}, 2 * std::int64_t{a.x});
    else if (by == y2)
      on.emplace_back(2 * std::int64_t{b.x}, 2 * std::int64_t{b.x});
    if ((ay <= y2) == (by <= y2)) continue;
    const PixelPoint& upper = ay < by ? a : b;
    const std::int64_t dy = std::abs(std::int64_t{b.y} - a.y);
    const std::int64_t dx = (ay < by ? 1 : -1) * (std::int64_t{b.x} - a.x);
    const auto [x2, between] = floor_divide((y2 - 2 * std::int64_t{upper.y}) * dx, dy);
    out.crossings.push_back(2 * (2 * std::int64_t{upper.x} + x2) + (between ? 1 : 0));
  }
  std::sort(out.crossings.begin(), out.crossings.end());
  std::sort(on.begin(), on.end());
  for (const auto& part : on) {
    if (!out.on.empty() && part.first <= out.on.back().second) {
      out.on.back().second = std::max(out.on.back().second, part.second);
    } else {
      out.on.push_back(part);
    }
  }
  return out;
}

int RingSides::side(std::int64_t x2, std::int64_t y2) {
  if (ring_.empty() || y2 < 2 * top_ || y2 > 2 * bottom_) return -1;
  const Line& at = line(y2);
  const auto next =
      std::upper_bound(at.on.begin(), at.on.end(), x2, [](std::int64_t x, const auto& part) {
        return x < part.first;
      });
  if (next != at.on.begin() && std::prev(next)->second >= x2) return 0;
  const auto crossing = std::lower_bound(at.crossings.begin(), at.crossings.end(), 2 * x2);
  if (crossing != at.crossings.end() && *crossing == 2 * x2) return 0;
  return (at.crossings.end() - crossing) % 2 != 0 ? 1 : -1;
}

bool RingSides::meets(std::int64_t x,
                      std::int64_t y,
                      std::int64_t width,
                      std::int64_t height) const {
  if (ring_.empty() || y > bottom_ || y + height < top_) return false;
  for (std::size_t band = band_of(y); band <= band_of(y + height); ++band) {
    for (const std::uint32_t edge : bands_[band]) {
      const PixelPoint& a = ring_[edge];
      const PixelPoint& b = end_of(edge);
      if (std::max(a.x, b.x) < x || std::min(a.x, b.x) > x + width || std::max(a.y, b.y) < y ||
          std::min(a.y, b.y) > y + height) {
        continue;
      }
      // The edge misses the rectangle only if all four corners lie on one side of it.
      const std::int64_t dx = std::int64_t{b.x} - a.x;
      const std::int64_t dy = std::int64_t{b.y} - a.y;
      const auto turn = [&](std::int64_t px, std::int64_t py) {
        return (py - a.y) * dx - (px - a.x) * dy;
      };
      const std::int64_t corners[4] = {
          turn(x, y), turn(x + width, y), turn(x, y + height), turn(x + width, y + height)};
      const auto [low, high] = std::minmax_element(corners, corners + 4);
      if (*low <= 0 && *high >= 0) return true;
    }
  }
  return false;
}

double RingSides::area_within(std::int64_t x,
                              std::int64_t y,
                              std::int64_t width,
                              std::int64_t height) const {
  if (ring_.empty() || y >= bottom_ || y + height <= top_) return 0.0;
  const auto top = static_cast<double>(y);
  const auto left = static_cast<double>(x);
  const auto right = static_cast<double>(x + width);
  const std::int64_t end = std::min(y + height, bottom_);
  double sum = 0.0;
  for (std::size_t band = band_of(y); band <= band_of(end); ++band) {
    // An edge stands in every band it touches: each counts what lies in its own rows.
    const std::int64_t first_row = top_ + static_cast<std::int64_t>(band) * band_height_;
    const double from = std::max(top, static_cast<double>(first_row));
    const double to =
        std::min(static_cast<double>(y + height), static_cast<double>(first_row + band_height_));
    for (const std::uint32_t edge : bands_[band]) {
      const PixelPoint& a = ring_[edge];
      const PixelPoint& b = end_of(edge);
      sum += clamped_strip(a.x, a.y, b.x, b.y, left, right, from, to);
    }
  }
  return std::abs(sum);
}

RegionSides::RegionSides(const TissueRegion& region) : outline_(region.outline) {
  holes_.reserve(region.holes.size());
  for (const Ring& hole : region.holes) holes_.emplace_back(hole);
}

bool RegionSides::in_hole(std::int64_t x2, std::int64_t y2) {
  return std::any_of(
      holes_.begin(), holes_.end(), [&](RingSides& hole) { return hole.side(x2, y2) > 0; });
}

bool RegionSides::intersects(std::int64_t x, std::int64_t y, std::int64_t side) {
  if (outline_.meets(x, y, side, side)) return true;
  for (const RingSides& hole : holes_) {
    if (hole.meets(x, y, side, side)) return true;
  }
  // No edge in it: the square is all tissue or has none.
  return outline_.side(2 * x, 2 * y) >= 0 && !in_hole(2 * x, 2 * y);
}

double RegionSides::area_within(std::int64_t x, std::int64_t y, std::int64_t side) const {
  double area = outline_.area_within(x, y, side, side);
  for (const RingSides& hole : holes_) area -= hole.area_within(x, y, side, side);
  return std::max(area, 0.0);
}

}  // namespace med3d
