#include "med3d/wsi/tiling.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "med3d/core/error.h"
#include "med3d/wsi/mpp.h"
#include "med3d/wsi/tissue_geometry.h"

namespace med3d {
namespace {

constexpr std::int64_t kMostCandidates = 100'000'000;
constexpr std::int64_t kMostSide = 1 << 20;  // of a tile, pixels

struct Names {
  std::string_view mode[3] = {"mpp", "clam", "trident"};
  std::string_view test[4] = {"four_pt", "four_pt_hard", "center", "basic"};
};
constexpr Names kNames;

[[noreturn]] void refuse(const std::string& what) { throw Error(ErrorKind::kUsage, what); }

void check_side(std::int64_t value, std::int64_t least, const char* name) {
  if (value < least || value > kMostSide) {
    refuse(fmt::format("{} is {}, expected {} to {} pixels", name, value, least, kMostSide));
  }
}

std::array<double, 2> downsample_of(const SlideInfo& slide, std::size_t level) {
  const SlideLevel& whole = slide.levels[0];
  const SlideLevel& part = slide.levels[level];
  return {static_cast<double>(whole.width) / static_cast<double>(part.width),
          static_cast<double>(whole.height) / static_cast<double>(part.height)};
}

void set_level(Tiles& tiles, const SlideInfo& slide, int level) {
  const auto i = static_cast<std::size_t>(level);
  tiles.read_level = level;
  tiles.downsample = downsample_of(slide, i);
  tiles.level_size = {slide.levels[i].width, slide.levels[i].height};
  tiles.level0_size = {slide.levels[0].width, slide.levels[0].height};
}

// The coarsest level that is at most `most` times smaller than level 0.
int coarsest_level(const SlideInfo& slide, double most) {
  int best = 0;
  for (std::size_t i = 1; i < slide.levels.size(); ++i) {
    if (slide.levels[i].downsample <= most &&
        slide.levels[i].downsample > slide.levels[static_cast<std::size_t>(best)].downsample) {
      best = static_cast<int>(i);
    }
  }
  return best;
}

double slide_mpp(const SlideInfo& slide, const TileOptions& options) {
  const double mpp = options.slide_mpp            ? *options.slide_mpp
                     : slide.mpp_x && slide.mpp_y ? (*slide.mpp_x + *slide.mpp_y) / 2
                     : slide.mpp_x                ? *slide.mpp_x
                     : slide.mpp_y                ? *slide.mpp_y
                                                  : 0.0;
  if (!options.slide_mpp && !slide.mpp_x && !slide.mpp_y) {
    throw Error(
        ErrorKind::kData,
        "the slide does not say how many micrometres a pixel measures: give its mpp, or tile "
        "in clam mode");
  }
  if (!(mpp > 0.0) || !std::isfinite(mpp)) {
    throw Error(ErrorKind::kData,
                fmt::format("the slide has {} micrometres a pixel, expected more than 0", mpp));
  }
  return mpp;
}

std::int64_t checked_round(double side, const char* what) {
  if (!(side < static_cast<double>(kMostSide))) {
    refuse(fmt::format("{} would be {:.0f} pixels, expected at most {}", what, side, kMostSide));
  }
  return std::max<std::int64_t>(1, static_cast<std::int64_t>(std::nearbyint(side)));
}

bool contour_test(
    RingSides& outline, ContourTest test, std::int64_t x, std::int64_t y, std::int64_t side) {
  const std::int64_t half = side / 2;
  const auto inside = [&](std::int64_t px, std::int64_t py) {
    return outline.side(2 * px, 2 * py) >= 0;
  };
  if (test == ContourTest::kBasic) return inside(x, y);
  const std::int64_t cx = x + half;
  const std::int64_t cy = y + half;
  const std::int64_t shift = half / 2;
  if (test == ContourTest::kCenter || shift == 0) return inside(cx, cy);
  const bool points[4] = {inside(cx - shift, cy - shift),
                          inside(cx + shift, cy + shift),
                          inside(cx + shift, cy - shift),
                          inside(cx - shift, cy + shift)};
  return test == ContourTest::kFourPoint
             ? std::any_of(points, points + 4, [](bool in) { return in; })
             : std::all_of(points, points + 4, [](bool in) { return in; });
}

std::int64_t count_steps(std::int64_t from, std::int64_t to, std::int64_t step) {
  return to <= from ? 0 : (to - from + step - 1) / step;
}

void add_candidates(std::int64_t columns, std::int64_t rows, std::int64_t& total) {
  // Both are below 2^31, as slides are.
  total += columns * rows;
  if (columns * rows > kMostCandidates || total > kMostCandidates) {
    refuse(
        fmt::format("{} x {} places for a tile, more than {} on one slide: the step is too small",
                    columns,
                    rows,
                    kMostCandidates));
  }
}

struct Walk {
  std::int64_t side;                  // of a tile, level-0 pixels
  std::array<std::int64_t, 2> sides;  // the same in x and y where they differ
  std::array<std::int64_t, 2> steps;
};

void walk_regions(const Tissue& tissue, const TileOptions& options, const Walk& walk, Tiles& out) {
  std::int64_t candidates = 0;
  const double area = static_cast<double>(walk.side) * static_cast<double>(walk.side);
  for (std::size_t r = 0; r < tissue.regions.size(); ++r) {
    const TissueRegion& region = tissue.regions[r];
    if (region.outline.empty()) continue;
    std::int64_t start[2] = {region.outline[0].x, region.outline[0].y};
    std::int64_t last[2] = {start[0], start[1]};
    for (const PixelPoint& p : region.outline) {
      start[0] = std::min<std::int64_t>(start[0], p.x);
      start[1] = std::min<std::int64_t>(start[1], p.y);
      last[0] = std::max<std::int64_t>(last[0], p.x);
      last[1] = std::max<std::int64_t>(last[1], p.y);
    }
    std::int64_t stop[2] = {last[0] + 1, last[1] + 1};
    for (std::size_t axis = 0; axis < 2 && !options.use_padding; ++axis) {
      stop[axis] = std::min(stop[axis], out.level0_size[axis] - walk.sides[axis] + 1);
    }
    add_candidates(count_steps(start[0], stop[0], walk.steps[0]),
                   count_steps(start[1], stop[1], walk.steps[1]),
                   candidates);
    RegionSides sides(region);
    const std::size_t before = out.coords.rows();
    for (std::int64_t x = start[0]; x < stop[0]; x += walk.steps[0]) {
      for (std::int64_t y = start[1]; y < stop[1]; y += walk.steps[1]) {
        if (!contour_test(sides.outline(), options.contour_fn, x, y, walk.side) ||
            sides.in_hole(2 * x + walk.side, 2 * y + walk.side)) {
          continue;
        }
        if (options.min_tissue_proportion > 0 &&
            sides.area_within(x, y, walk.side) < options.min_tissue_proportion * area) {
          continue;
        }
        const std::int64_t corner[2] = {x, y};
        out.coords.append_row(corner);
        out.region.push_back(static_cast<std::int32_t>(r));
      }
    }
    if (options.mode == TileMode::kClam && out.coords.rows() == before + 1) {
      std::vector<std::size_t> others(before);
      for (std::size_t i = 0; i < before; ++i) others[i] = i;
      out.coords = out.coords.take_rows(others);
      out.region.pop_back();
      ++out.dropped_single;
    }
  }
}

void walk_grid(const Tissue& tissue, const TileOptions& options, Tiles& out) {
  const std::int64_t columns = count_steps(0, out.level0_size[0], out.step);
  const std::int64_t rows = count_steps(0, out.level0_size[1], out.step);
  std::int64_t candidates = 0;
  add_candidates(columns, rows, candidates);
  std::vector<RegionSides> regions;
  regions.reserve(tissue.regions.size());
  for (const TissueRegion& region : tissue.regions) regions.emplace_back(region);
  const double area = static_cast<double>(out.footprint) * static_cast<double>(out.footprint);
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t column = 0; column < columns; ++column) {
      const std::int64_t corner[2] = {column * out.step, row * out.step};
      bool taken = false;
      if (options.min_tissue_proportion > 0) {
        double tissue_area = 0.0;
        for (const RegionSides& region : regions) {
          tissue_area += region.area_within(corner[0], corner[1], out.footprint);
        }
        taken = tissue_area >= options.min_tissue_proportion * area;
      } else {
        taken = std::any_of(regions.begin(), regions.end(), [&](RegionSides& region) {
          return region.intersects(corner[0], corner[1], out.footprint);
        });
      }
      if (!taken) continue;
      out.coords.append_row(corner);
      out.region.push_back(-1);
    }
  }
}

Tiles clam_tiles(const SlideInfo& slide, const Tissue& tissue, const TileOptions& options) {
  if (options.patch_level >= static_cast<int>(slide.levels.size())) {
    refuse(fmt::format("patch_level is {}, but the slide has {} levels, numbered from 0",
                       options.patch_level,
                       slide.levels.size()));
  }
  Tiles out;
  set_level(out, slide, options.patch_level);
  const auto x_factor = static_cast<std::int64_t>(out.downsample[0]);
  const auto y_factor = static_cast<std::int64_t>(out.downsample[1]);
  if (x_factor < 1 || y_factor < 1) {
    refuse(fmt::format("level {} is larger than level 0", options.patch_level));
  }
  out.read_size = options.patch_size;
  out.target_size = options.patch_size;
  out.footprint = options.patch_size * x_factor;
  out.step = options.step_size * x_factor;
  if (slide.mpp_x && *slide.mpp_x > 0) out.target_mpp = *slide.mpp_x * out.downsample[0];
  out.overlap = std::max<std::int64_t>(0, options.patch_size - options.step_size);
  walk_regions(tissue,
               options,
               {out.footprint,
                {out.footprint, options.patch_size * y_factor},
                {out.step, options.step_size * y_factor}},
               out);
  return out;
}

Tiles mpp_tiles(const SlideInfo& slide, const Tissue& tissue, const TileOptions& options) {
  const double mpp = slide_mpp(slide, options);
  const double ratio = options.target_mpp / mpp;
  Tiles out;
  set_level(out, slide, coarsest_level(slide, ratio * (1.0 + options.level_tolerance)));
  const double level_mpp = mpp * slide.levels[static_cast<std::size_t>(out.read_level)].downsample;
  const auto side = static_cast<double>(options.patch_size);
  out.read_size = checked_round(side * options.target_mpp / level_mpp, "a tile as it is read");
  out.target_size = options.patch_size;
  out.footprint = checked_round(side * ratio, "a tile of level 0");
  out.step = checked_round(static_cast<double>(options.step_size) * ratio, "the step on level 0");
  out.target_mpp = options.target_mpp;
  out.overlap = std::max<std::int64_t>(0, options.patch_size - options.step_size);
  walk_regions(
      tissue, options, {out.footprint, {out.footprint, out.footprint}, {out.step, out.step}}, out);
  return out;
}

Tiles trident_tiles(const SlideInfo& slide, const Tissue& tissue, const TileOptions& options) {
  std::optional<double> magnification = options.slide_magnification;
  if (!magnification && (options.slide_mpp || slide.mpp_x || slide.mpp_y)) {
    const double mpp = slide_mpp(slide, options);
    magnification = magnification_bucket(mpp);
    if (!magnification) {
      throw Error(
          ErrorKind::kData,
          fmt::format("{} micrometres a pixel is no magnification, expected less than 2.4", mpp));
    }
  }
  if (!magnification) magnification = slide.objective_power;
  if (!magnification || !(*magnification > 0) || !std::isfinite(*magnification)) {
    throw Error(ErrorKind::kData,
                "the slide says neither its micrometres a pixel nor its magnification: give one of "
                "them, or tile in clam mode");
  }
  const double ratio = *magnification / options.target_magnification;
  Tiles out;
  set_level(out, slide, coarsest_level(slide, ratio * (1.0 + options.level_tolerance)));
  const auto side = static_cast<double>(options.patch_size);
  out.footprint = checked_round(side * ratio, "a tile of level 0");
  out.step = out.footprint - static_cast<std::int64_t>(
                                 std::nearbyint(static_cast<double>(options.overlap) * ratio));
  if (out.step < 1) {
    refuse(fmt::format("an overlap of {} pixels leaves no step between tiles of {} on level 0",
                       options.overlap,
                       out.footprint));
  }
  out.read_size =
      checked_round(static_cast<double>(out.footprint) /
                        slide.levels[static_cast<std::size_t>(out.read_level)].downsample,
                    "a tile as it is read");
  out.target_size = options.patch_size;
  out.target_magnification = options.target_magnification;
  out.level0_magnification = *magnification;
  out.overlap = options.overlap;
  walk_grid(tissue, options, out);
  return out;
}

template <class Enum, std::size_t kCount>
Enum parse_name(std::string_view name, const std::string_view (&names)[kCount], const char* what) {
  for (std::size_t i = 0; i < kCount; ++i) {
    if (names[i] == name) return static_cast<Enum>(i);
  }
  refuse(
      fmt::format("'{}' is no {}, expected {}", name.substr(0, 40), what, fmt::join(names, ", ")));
}

}  // namespace

std::string_view to_string(TileMode mode) { return kNames.mode[static_cast<std::size_t>(mode)]; }

std::string_view to_string(ContourTest test) { return kNames.test[static_cast<std::size_t>(test)]; }

TileMode parse_tile_mode(std::string_view name) {
  return parse_name<TileMode>(name, kNames.mode, "way to tile");
}

ContourTest parse_contour_test(std::string_view name) {
  return parse_name<ContourTest>(name, kNames.test, "contour_fn");
}

void TileOptions::validate() const {
  const auto positive = [](double value, const char* name) {
    if (!(value > 0) || !std::isfinite(value)) {
      refuse(fmt::format("{} is {}, expected a finite number above 0", name, value));
    }
  };
  check_side(patch_size, 1, "patch_size");
  check_side(step_size, 1, "step_size");
  positive(target_mpp, "target_mpp");
  positive(target_magnification, "target_magnification");
  if (slide_mpp) positive(*slide_mpp, "the slide's mpp");
  if (slide_magnification) positive(*slide_magnification, "the slide's magnification");
  if (!(level_tolerance >= 0 && level_tolerance < 1)) {
    refuse(fmt::format("level_tolerance is {}, expected 0 to 1", level_tolerance));
  }
  if (patch_level < 0) refuse(fmt::format("patch_level is {}, expected 0 or more", patch_level));
  if (overlap < 0 || overlap >= patch_size) {
    refuse(fmt::format(
        "overlap is {}, expected 0 to less than the patch_size {}", overlap, patch_size));
  }
  if (!(min_tissue_proportion >= 0 && min_tissue_proportion <= 1)) {
    refuse(fmt::format("min_tissue_proportion is {}, expected 0 to 1", min_tissue_proportion));
  }
}

Tiles make_tiles(const SlideInfo& slide, const Tissue& tissue, const TileOptions& options) {
  options.validate();
  if (slide.levels.empty()) refuse("a slide without levels cannot be tiled");
  Tiles out = options.mode == TileMode::kClam      ? clam_tiles(slide, tissue, options)
              : options.mode == TileMode::kTrident ? trident_tiles(slide, tissue, options)
                                                   : mpp_tiles(slide, tissue, options);
  out.mode = options.mode;
  if (out.coords.rows() == 0) out.coords = Matrix<std::int64_t>(0, 2);
  return out;
}

void choose_read_level(Tiles& tiles, const SlideInfo& slide) {
  if (tiles.footprint < 1 || tiles.target_size < 1 || slide.levels.empty()) {
    refuse("tiles of unknown size: no level can be chosen for them");
  }
  const double ratio =
      static_cast<double>(tiles.footprint) / static_cast<double>(tiles.target_size);
  set_level(tiles, slide, coarsest_level(slide, ratio * 1.01));
  tiles.read_size =
      checked_round(static_cast<double>(tiles.footprint) /
                        slide.levels[static_cast<std::size_t>(tiles.read_level)].downsample,
                    "a tile as it is read");
}

}  // namespace med3d
