#include "med3d/wsi/tissue.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/wsi/overview.h"

namespace med3d {
namespace {

constexpr double kReferenceSide = 512.0;       // the unit of a_t and a_h is its square
constexpr double kEasierAreas[] = {16, 4, 1};  // a_t of CLAM's presets for small tissue
constexpr double kAutoDownsample = 64.0;
constexpr double kMaxDamaged = 0.5;  // of a level that is averaged

struct Contours {
  std::vector<std::vector<cv::Point>> rings;
  std::vector<int> outlines;            // ring numbers
  std::vector<std::vector<int>> holes;  // of each outline: ring numbers
  std::vector<double> areas;            // of each ring
};

Contours contours_of(const GrayImage& mask) {
  Contours out;
  std::vector<cv::Vec4i> hierarchy;
  const cv::Mat at(static_cast<int>(mask.height),
                   static_cast<int>(mask.width),
                   CV_8UC1,
                   const_cast<std::uint8_t*>(mask.pixels.data()));  // OpenCV copies it
  cv::findContours(at, out.rings, hierarchy, cv::RETR_CCOMP, cv::CHAIN_APPROX_NONE);
  std::vector<std::size_t> place(out.rings.size());
  for (std::size_t i = 0; i < out.rings.size(); ++i) {
    out.areas.push_back(cv::contourArea(out.rings[i]));
    if (hierarchy[i][3] >= 0) continue;
    place[i] = out.outlines.size();
    out.outlines.push_back(static_cast<int>(i));
  }
  out.holes.resize(out.outlines.size());
  for (std::size_t i = 0; i < out.rings.size(); ++i) {
    const int parent = hierarchy[i][3];
    if (parent >= 0)
      out.holes[place[static_cast<std::size_t>(parent)]].push_back(static_cast<int>(i));
  }
  return out;
}

Ring scaled(const std::vector<cv::Point>& ring, double scale_x, double scale_y) {
  Ring out;
  out.reserve(ring.size());
  for (const cv::Point& p : ring) {
    out.push_back(
        {static_cast<std::int32_t>(p.x * scale_x), static_cast<std::int32_t>(p.y * scale_y)});
  }
  return out;
}

// Fills found and regions (all that are large enough) for one threshold of area.
void keep_large(const Contours& contours, const SegmentOptions& options, Tissue& out) {
  out.found.clear();
  out.regions.clear();
  const double unit = std::trunc(kReferenceSide * kReferenceSide / (out.scale_x * out.scale_y));
  for (std::size_t i = 0; i < contours.outlines.size(); ++i) {
    const auto outline = static_cast<std::size_t>(contours.outlines[i]);
    const auto area_of = [&](int ring) { return contours.areas[static_cast<std::size_t>(ring)]; };
    FoundContour found;
    found.index = contours.outlines[i];
    found.area = contours.areas[outline];
    for (const int hole : contours.holes[i]) found.holes_area += area_of(hole);
    found.holes = static_cast<std::int64_t>(contours.holes[i].size());
    found.points = static_cast<std::int64_t>(contours.rings[outline].size());
    const double tissue = found.area - found.holes_area;
    found.kept = tissue != 0 && options.a_t * unit < tissue;
    out.found.push_back(found);
    if (!found.kept) continue;

    std::vector<int> holes = contours.holes[i];
    std::stable_sort(
        holes.begin(), holes.end(), [&](int a, int b) { return area_of(a) > area_of(b); });
    holes.resize(std::min(holes.size(), static_cast<std::size_t>(options.max_n_holes)));
    TissueRegion region;
    region.outline = scaled(contours.rings[outline], out.scale_x, out.scale_y);
    region.outline_seg = scaled(contours.rings[outline], 1.0, 1.0);
    for (const int hole : holes) {
      if (!(area_of(hole) > options.a_h * unit)) continue;
      const auto& ring = contours.rings[static_cast<std::size_t>(hole)];
      region.holes.push_back(scaled(ring, out.scale_x, out.scale_y));
      region.holes_seg.push_back(scaled(ring, 1.0, 1.0));
    }
    out.regions.push_back(std::move(region));
  }
}

void obey_ids(const SegmentOptions& options, Tissue& out) {
  const auto count = static_cast<std::int64_t>(out.regions.size());
  std::vector<std::int64_t> ids = options.keep_ids;
  if (ids.empty()) {
    ids.resize(out.regions.size());
    std::iota(ids.begin(), ids.end(), 0);
  }
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  std::vector<TissueRegion> kept;
  for (const std::int64_t id : ids) {
    if (id >= count) {
      throw Error(
          ErrorKind::kUsage,
          fmt::format("keep_ids names contour {}, but {} were found, numbered from 0", id, count));
    }
    if (std::find(options.exclude_ids.begin(), options.exclude_ids.end(), id) ==
        options.exclude_ids.end()) {
      kept.push_back(std::move(out.regions[static_cast<std::size_t>(id)]));
    }
  }
  out.regions = std::move(kept);
}

using MaskMaker = std::function<TissueMask(const MaskOptions&)>;

Tissue segment(const MaskMaker& mask_of,
               double scale_x,
               double scale_y,
               const SegmentOptions& options) {
  if (!(scale_x > 0) || !(scale_y > 0) || !std::isfinite(scale_x) || !std::isfinite(scale_y)) {
    throw Error(ErrorKind::kUsage,
                fmt::format("a level of scale {} x {}, expected > 0", scale_x, scale_y));
  }
  Tissue out;
  out.scale_x = scale_x;
  out.scale_y = scale_y;
  SegmentOptions now = options;
  TissueMask mask = mask_of(now.mask());
  constexpr double kMostCoordinate = 1 << 30;
  if (static_cast<double>(mask.mask.width) * scale_x > kMostCoordinate ||
      static_cast<double>(mask.mask.height) * scale_y > kMostCoordinate) {
    throw Error(ErrorKind::kUsage,
                fmt::format("a level of {} x {} pixels at scale {} x {}: no slide is as large",
                            mask.mask.width,
                            mask.mask.height,
                            scale_x,
                            scale_y));
  }
  out.otsu_threshold = mask.otsu;
  Contours contours = contours_of(mask.mask);
  const auto attempt = [&] {
    keep_large(contours, now, out);
    out.attempts.push_back({now.a_t, now.use_otsu, static_cast<std::int64_t>(out.regions.size())});
    return !out.regions.empty();
  };
  bool found = attempt();
  if (!found && (!options.clam || options.retry)) {
    for (const double easier : kEasierAreas) {
      if (found || easier >= now.a_t) continue;
      now.a_t = easier;
      found = attempt();
    }
    if (!found && !now.use_otsu) {
      now.use_otsu = true;
      mask = mask_of(now.mask());
      out.otsu_threshold = mask.otsu;
      contours = contours_of(mask.mask);
      attempt();
    }
  }
  if (!out.regions.empty()) obey_ids(options, out);
  return out;
}

void check_at_least(double value, double least, const char* name) {
  if (!(value >= least) || !std::isfinite(value)) {
    throw Error(ErrorKind::kUsage,
                fmt::format("{} is {}, expected a finite number from {}", name, value, least));
  }
}

// The level asked for, -1 being the automatic one.
int checked_level(const SlideInfo& info, int level, const char* name) {
  const auto levels = static_cast<int>(info.levels.size());
  if (level < -1 || level >= levels) {
    throw Error(
        ErrorKind::kUsage,
        fmt::format("{} is {}, but the slide has {} levels, numbered from 0", name, level, levels));
  }
  return level < 0 ? clam_auto_level(info) : level;
}

bool fits(const SlideLevel& level, double most_pixels = kMostSegmentPixels) {
  return static_cast<double>(level.width) * static_cast<double>(level.height) <= most_pixels;
}

}  // namespace

void SegmentOptions::validate() const {
  check_at_least(seg_level, -1, "seg_level");
  check_at_least(a_t, 0, "a_t");
  check_at_least(a_h, 0, "a_h");
  check_at_least(max_n_holes, 0, "max_n_holes");
  mask().validate();
  for (const std::int64_t id : keep_ids) check_at_least(static_cast<double>(id), 0, "keep_ids");
  for (const std::int64_t id : exclude_ids) {
    check_at_least(static_cast<double>(id), 0, "exclude_ids");
  }
}

int clam_auto_level(const SlideInfo& info) {
  return info.levels.size() <= 1 ? 0 : best_level_for_downsample(info, kAutoDownsample);
}

SegmentLevel choose_segment_level(const SlideInfo& info, const SegmentOptions& options) {
  SegmentLevel out;
  out.level = checked_level(info, options.seg_level, "seg_level");
  const auto level = [&](int i) -> const SlideLevel& {
    return info.levels[static_cast<std::size_t>(i)];
  };
  const auto last = static_cast<int>(info.levels.size()) - 1;
  const int asked = out.level;
  while (!fits(level(out.level)) && out.level < last) ++out.level;
  if (options.clam && out.level != asked && fits(level(out.level))) {
    out.problem = fmt::format(
        "level {} has {} x {} pixels, more than {:.0f} are not looked at in clam mode; "
        "level {} has {} x {}",
        asked,
        level(asked).width,
        level(asked).height,
        kMostSegmentPixels,
        out.level,
        level(out.level).width,
        level(out.level).height);
    out.level = asked;
  }
  return out;
}

LevelImage read_level(Slide& slide, int level) {
  const SlideInfo& info = slide.info();
  LevelImage out;
  out.level = checked_level(info, level, "level");
  const SlideLevel& at = info.levels[static_cast<std::size_t>(out.level)];
  if (!fits(at)) {
    throw Error(
        ErrorKind::kUsage,
        fmt::format("level {} of {} x {} pixels is too large to be read at once, expected at "
                    "most {:.0f}",
                    out.level,
                    at.width,
                    at.height,
                    kMostSegmentPixels));
  }
  out.scale_x = static_cast<double>(info.levels[0].width) / static_cast<double>(at.width);
  out.scale_y = static_cast<double>(info.levels[0].height) / static_cast<double>(at.height);
  out.pixels = slide.read_region(0, 0, out.level, at.width, at.height);
  return out;
}

LevelImage read_level_to_fit(Slide& slide, int level, double most_pixels) {
  if (!(most_pixels >= 1)) {
    throw Error(ErrorKind::kUsage, fmt::format("a level of at most {} pixels", most_pixels));
  }
  const SlideInfo& info = slide.info();
  const int number = checked_level(info, level, "level");
  const SlideLevel& at = info.levels[static_cast<std::size_t>(number)];
  if (fits(at, most_pixels)) return read_level(slide, number);
  const auto reduced = [](std::int64_t side, std::int64_t k) { return (side + k - 1) / k; };
  std::int64_t k = 2;
  while (static_cast<double>(reduced(at.width, k)) * static_cast<double>(reduced(at.height, k)) >
         most_pixels) {
    ++k;
  }
  Overview overview =
      read_overview(slide, number, reduced(at.width, k), reduced(at.height, k), kMaxDamaged);
  LevelImage out;
  out.pixels = std::move(overview.image);
  out.level = number;
  out.scale_x = overview.downsample_x;
  out.scale_y = overview.downsample_y;
  out.reduction = overview.reduction;
  out.damaged_blocks = overview.damaged_blocks;
  return out;
}

Tissue segment_tissue(Slide& slide, const SegmentOptions& options) {
  options.validate();
  SegmentLevel chosen = choose_segment_level(slide.info(), options);
  if (chosen.problem.empty()) {
    return segment_tissue(read_level_to_fit(slide, chosen.level), options);
  }
  Tissue out;
  out.seg_level = chosen.level;
  out.problem = std::move(chosen.problem);
  return out;
}

Tissue segment_tissue(const LevelImage& level, const SegmentOptions& options) {
  options.validate();
  Tissue out = segment([&](const MaskOptions& mask) { return tissue_mask(level.pixels, mask); },
                       level.scale_x,
                       level.scale_y,
                       options);
  out.seg_level = level.level;
  return out;
}

Tissue segment_saturation(const GrayImage& saturation,
                          double scale_x,
                          double scale_y,
                          const SegmentOptions& options) {
  options.validate();
  return segment(
      [&](const MaskOptions& mask) { return tissue_mask_of_saturation(saturation, mask); },
      scale_x,
      scale_y,
      options);
}

std::int64_t twice_signed_area(const Ring& ring) {
  std::int64_t sum = 0;
  for (std::size_t i = 0; i < ring.size(); ++i) {
    const PixelPoint& a = ring[i];
    const PixelPoint& b = ring[i + 1 == ring.size() ? 0 : i + 1];
    sum += std::int64_t{a.x} * b.y - std::int64_t{b.x} * a.y;
  }
  return sum;
}

}  // namespace med3d
