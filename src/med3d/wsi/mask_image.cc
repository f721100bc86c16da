#include "med3d/wsi/mask_image.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>
#include <utility>
#include <vector>

namespace med3d {
namespace {

const cv::Scalar kOutlineColor(0, 255, 0);
const cv::Scalar kHoleColor(0, 0, 255);
constexpr double kThickest = 1000;  // pixels; OpenCV's own limit is higher

std::vector<cv::Point> points_of(const Ring& ring, const LevelImage& on) {
  std::vector<cv::Point> out;
  out.reserve(ring.size());
  for (const PixelPoint& p : ring) {
    out.emplace_back(static_cast<int>(p.x * (1 / on.scale_x)),
                     static_cast<int>(p.y * (1 / on.scale_y)));
  }
  return out;
}

}  // namespace

RgbImage draw_tissue(LevelImage level, const Tissue& tissue, int line_thickness) {
  const double scale = std::sqrt(1 / level.scale_x * (1 / level.scale_y));
  const int thickness = static_cast<int>(std::clamp(line_thickness * scale, 1.0, kThickest));
  cv::Mat at(static_cast<int>(level.pixels.height),
             static_cast<int>(level.pixels.width),
             CV_8UC3,
             level.pixels.pixels.data());
  const auto draw = [&](const Ring& ring, const cv::Scalar& color) {
    if (ring.empty()) return;
    const std::vector<std::vector<cv::Point>> one = {points_of(ring, level)};
    cv::drawContours(at, one, -1, color, thickness, cv::LINE_8);
  };
  // Holes last: thick outlines would hide those near the edge.
  for (const TissueRegion& region : tissue.regions) draw(region.outline, kOutlineColor);
  for (const TissueRegion& region : tissue.regions) {
    for (const Ring& hole : region.holes) draw(hole, kHoleColor);
  }
  return std::move(level.pixels);
}

RgbImage draw_stitch(const LevelImage& level, const Tiles& tiles) {
  RgbImage out(level.pixels.width, level.pixels.height);
  const auto side_x =
      static_cast<std::int64_t>(std::ceil(static_cast<double>(tiles.footprint) / level.scale_x));
  const auto side_y =
      static_cast<std::int64_t>(std::ceil(static_cast<double>(tiles.footprint) / level.scale_y));
  for (std::size_t i = 0; i < tiles.coords.rows(); ++i) {
    const auto start_x = static_cast<std::int64_t>(
        std::ceil(static_cast<double>(tiles.coords(i, 0)) / level.scale_x));
    const auto start_y = static_cast<std::int64_t>(
        std::ceil(static_cast<double>(tiles.coords(i, 1)) / level.scale_y));
    const std::int64_t x = std::clamp<std::int64_t>(start_x, 0, out.width);
    const std::int64_t end = std::clamp<std::int64_t>(start_x + side_x, x, out.width);
    const std::int64_t bottom = std::min(start_y + side_y, out.height);
    for (std::int64_t y = std::max<std::int64_t>(start_y, 0); y < bottom && end > x; ++y) {
      std::memcpy(out.at(x, y), level.pixels.at(x, y), static_cast<std::size_t>(3 * (end - x)));
    }
  }
  return out;
}

}  // namespace med3d
