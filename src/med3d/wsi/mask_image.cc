#include "med3d/wsi/mask_image.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>
#include <vector>

#include "med3d/core/error.h"

namespace med3d {
namespace {

const cv::Scalar kOutlineColor(0, 255, 0);
const cv::Scalar kHoleColor(0, 0, 255);
constexpr double kThickest = 1000;  // pixels; OpenCV's own limit is higher

struct Picture {
  RgbImage image;
  double scale_x = 1.0;  // level-0 pixels a pixel of it
  double scale_y = 1.0;
};

Picture picture_of(Slide& slide, int asked) {
  const SlideInfo& info = slide.info();
  const int number = asked < 0 ? clam_auto_level(info) : asked;
  if (number >= static_cast<int>(info.levels.size())) {
    throw Error(ErrorKind::kUsage,
                fmt::format("a picture of level {}, but the slide has {} levels, numbered from 0",
                            number,
                            info.levels.size()));
  }
  const SlideLevel& level = info.levels[static_cast<std::size_t>(number)];
  if (static_cast<double>(level.width) * static_cast<double>(level.height) > kMostSegmentPixels) {
    throw Error(ErrorKind::kUsage,
                fmt::format("level {} of {} x {} pixels is too large for a picture",
                            number,
                            level.width,
                            level.height));
  }
  return {slide.read_region(0, 0, number, level.width, level.height),
          static_cast<double>(info.levels[0].width) / static_cast<double>(level.width),
          static_cast<double>(info.levels[0].height) / static_cast<double>(level.height)};
}

std::vector<cv::Point> points_of(const Ring& ring, const Picture& on) {
  std::vector<cv::Point> out;
  out.reserve(ring.size());
  for (const PixelPoint& p : ring) {
    out.emplace_back(static_cast<int>(p.x * (1 / on.scale_x)),
                     static_cast<int>(p.y * (1 / on.scale_y)));
  }
  return out;
}

}  // namespace

RgbImage draw_tissue(Slide& slide, const Tissue& tissue, int line_thickness, int level) {
  Picture out = picture_of(slide, level);
  const double scale = std::sqrt(1 / out.scale_x * (1 / out.scale_y));
  const int thickness = static_cast<int>(std::clamp(line_thickness * scale, 1.0, kThickest));
  cv::Mat at(static_cast<int>(out.image.height),
             static_cast<int>(out.image.width),
             CV_8UC3,
             out.image.pixels.data());
  const auto draw = [&](const Ring& ring, const cv::Scalar& color) {
    if (ring.empty()) return;
    const std::vector<std::vector<cv::Point>> one = {points_of(ring, out)};
    cv::drawContours(at, one, -1, color, thickness, cv::LINE_8);
  };
  // Holes last: thick outlines would hide those near the edge.
  for (const TissueRegion& region : tissue.regions) draw(region.outline, kOutlineColor);
  for (const TissueRegion& region : tissue.regions) {
    for (const Ring& hole : region.holes) draw(hole, kHoleColor);
  }
  return std::move(out.image);
}

RgbImage draw_stitch(Slide& slide, const Tiles& tiles, int level) {
  const Picture from = picture_of(slide, level);
  RgbImage out(from.image.width, from.image.height);
  const auto side_x =
      static_cast<std::int64_t>(std::ceil(static_cast<double>(tiles.footprint) / from.scale_x));
  const auto side_y =
      static_cast<std::int64_t>(std::ceil(static_cast<double>(tiles.footprint) / from.scale_y));
  for (std::size_t i = 0; i < tiles.coords.rows(); ++i) {
    const auto start_x = static_cast<std::int64_t>(
        std::ceil(static_cast<double>(tiles.coords(i, 0)) / from.scale_x));
    const auto start_y = static_cast<std::int64_t>(
        std::ceil(static_cast<double>(tiles.coords(i, 1)) / from.scale_y));
    const std::int64_t x = std::clamp<std::int64_t>(start_x, 0, out.width);
    const std::int64_t end = std::clamp<std::int64_t>(start_x + side_x, x, out.width);
    const std::int64_t bottom = std::min(start_y + side_y, out.height);
    for (std::int64_t y = std::max<std::int64_t>(start_y, 0); y < bottom && end > x; ++y) {
      std::memcpy(out.at(x, y), from.image.at(x, y), static_cast<std::size_t>(3 * (end - x)));
    }
  }
  return out;
}

}  // namespace med3d
