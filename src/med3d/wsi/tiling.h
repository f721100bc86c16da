// Which squares of a slide are looked at: CLAM's patches, TRIDENT's grid, or tiles of a fixed size
// in micrometres.
//
// Source: Lu et al., Nature Biomedical Engineering 5:555-570, 2021. doi:10.1038/s41551-020-00682-w;
// Zhang et al., TRIDENT, 2025. arXiv:2502.06750
// Checked against: CLAM @ 53e2409, coordinates and their order, three slides, four contour tests
// and two levels (wsi/tissue_reference_test.cc).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "med3d/core/matrix.h"
#include "med3d/wsi/slide.h"
#include "med3d/wsi/tissue.h"

namespace med3d {

enum class TileMode {
  kMpp,      // the same micrometres a pixel on every slide; CLAM's walk otherwise
  kClam,     // patch_size pixels of patch_level, whatever they measure
  kTrident,  // a grid over the whole slide at a target magnification
};

// Which points of a tile must lie in the outline of a piece of tissue, its edge included. With
// `half` = half of the tile's side, rounded down:
enum class ContourTest {
  kFourPoint,      // "four_pt": any of the centre +-half / 2 in both directions (CLAM's default)
  kFourPointHard,  // "four_pt_hard": all four of them
  kCenter,         // "center": the centre
  kBasic,          // "basic": the upper left corner
};

std::string_view to_string(TileMode mode);        // "mpp", "clam", "trident"
std::string_view to_string(ContourTest test);     // "four_pt", ...
TileMode parse_tile_mode(std::string_view name);  // Error(kUsage) naming those there are
ContourTest parse_contour_test(std::string_view name);

struct TileOptions {
  TileMode mode = TileMode::kMpp;

  std::int64_t patch_size = 256;  // side of a tile, pixels at the target scale (clam: patch_level)
  std::int64_t step_size = 256;   // from tile to tile, the same pixels; not in trident mode

  // mpp mode. 0.5 um is a scan at 20x, the scale that most encoders were trained at.
  double target_mpp = 0.5;  // micrometres a pixel, > 0
  // How far a level may be coarser than the target and still be read: headers are rounded.
  double level_tolerance = 0.01;
  std::optional<double> slide_mpp;  // of level 0, instead of what the slide says

  // clam mode
  int patch_level = 0;

  // mpp and clam modes
  bool use_padding = true;  // tiles may reach over the slide's edge, where they are black
  ContourTest contour_fn = ContourTest::kFourPoint;

  // trident mode
  double target_magnification = 20;           // > 0
  std::optional<double> slide_magnification;  // of level 0, instead of what the slide says
  std::int64_t overlap = 0;                   // pixels at the target scale, below patch_size

  // All modes: the share of a tile that must be tissue, 0 to 1.
  double min_tissue_proportion = 0.0;

  // Throws Error(kUsage) naming the field, its value and its range.
  void validate() const;
};

// The tiles of one slide, all of one size, and how to read them: read_size x read_size pixels of
// level read_level at each corner, resized to target_size.
struct Tiles {
  TileMode mode = TileMode::kMpp;
  Matrix<std::int64_t> coords;       // (tiles, 2) x, y of the upper left corner, level-0 pixels
  std::vector<std::int32_t> region;  // (tiles,) index into Tissue::regions, -1 in trident mode

  int read_level = 0;            // -1 where a file does not say: see choose_read_level
  std::int64_t read_size = 0;    // pixels of that level
  std::int64_t target_size = 0;  // pixels
  std::int64_t footprint = 0;    // side of a tile, level-0 pixels
  std::int64_t step = 0;         // from tile to tile, level-0 pixels; 0 where not known

  double target_mpp = 0.0;            // 0 where not known
  double target_magnification = 0.0;  // trident mode, else 0
  double level0_magnification = 0.0;  // trident mode, else 0
  std::int64_t overlap = 0;           // pixels at the target scale

  std::array<double, 2> downsample = {1.0, 1.0};    // of read_level, in x and y
  std::array<std::int64_t, 2> level_size = {0, 0};  // width, height of read_level
  std::array<std::int64_t, 2> level0_size = {0, 0};

  // Pieces of tissue of a single tile, which CLAM drops without a word; clam mode only.
  std::int64_t dropped_single = 0;
};

// The tiles of a slide.
//
// clam     Each region has its own grid from its bounding box (tiles of neighbours may overlap), x
//          outer, y inner, in steps of step_size * trunc(downsample). A tile is taken if contour_fn
//          says so and its centre is not strictly inside a hole. As CLAM does, a region of exactly
//          one tile is dropped.
// mpp      The same walk with side round(patch_size * target_mpp / mpp) and step alike, no region
//          dropped. Read from the coarsest level whose mpp is at most target_mpp * (1 +
//          level_tolerance), level 0 if none is, round(patch_size * target_mpp / level mpp) pixels.
//          mpp is the mean of mpp_x and mpp_y.
// trident  A grid from (0, 0) over the whole slide, rows from the top, side round(patch_size *
// ratio)
//          and step side - round(overlap * ratio) with ratio = level-0 / target magnification. A
//          tile is taken if it touches tissue. The magnification is that of the slide's mpp
//          (magnification_bucket), else its objective power.
//
// With min_tissue_proportion > 0 a tile must also have that share of its area in its region
// (trident: in all regions together), areas being exact.
//
// Cost O(candidates log points + points); a candidate's area costs the points near it.
// Throws Error(kUsage) for options out of their range, a level that is not there and more than 10^8
// candidates; kData if the slide does not say its mpp (its magnification) and the options neither,
// or if it says what cannot be.
Tiles make_tiles(const SlideInfo& slide, const Tissue& tissue, const TileOptions& options);

// Fills read_level, read_size, downsample and level_size of tiles whose file does not tell a level:
// the coarsest level that needs no enlarging.
void choose_read_level(Tiles& tiles, const SlideInfo& slide);

}  // namespace med3d
