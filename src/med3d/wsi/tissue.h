// Where the tissue of a slide is: CLAM's segmentation into contours with holes.
//
// Source: Lu et al., Nature Biomedical Engineering 5:555-570, 2021. doi:10.1038/s41551-020-00682-w
// Checked against: CLAM @ 53e2409 on three slides and 24 parameter sets: masks, areas, contours and
// their order (wsi/tissue_reference_test.cc).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "med3d/wsi/image.h"
#include "med3d/wsi/slide.h"
#include "med3d/wsi/tissue_mask.h"

namespace med3d {

// CLAM's parameters under CLAM's names; the defaults are those of its create_patches_fp.py.
struct SegmentOptions {
  int seg_level = -1;     // level that is looked at; -1 = the one best for a downsample of 64
  int sthresh = 8;        // saturation above which a pixel is tissue, 0 to 255
  int mthresh = 7;        // side of the median's window, pixels of the level; odd, 1 to 255
  int close = 4;          // side of the closing's square, pixels; 0 = none; at most 255
  bool use_otsu = false;  // Otsu's threshold takes the place of sthresh
  // Areas in units of 512 x 512 level-0 pixels: contours (less their holes) must be larger than
  // a_t, holes larger than a_h to be left out of the tissue. Finite, >= 0.
  double a_t = 100;
  double a_h = 16;
  int max_n_holes = 8;  // holes of one contour, the largest first; >= 0
  // Numbers of kept contours, from 0: those to take (none = all), then those to leave out.
  std::vector<std::int64_t> keep_ids;
  std::vector<std::int64_t> exclude_ids;

  // Do as CLAM does where we do better: no second look at a slide without tissue, and a level of
  // more than kMostSegmentPixels is given up where a smaller one could be taken.
  bool clam = false;
  // The second look in spite of `clam`. Where CLAM finds tissue, nothing changes.
  bool retry = false;

  MaskOptions mask() const { return {sthresh, mthresh, close, use_otsu}; }

  // Throws Error(kUsage) naming the field, its value and its range.
  void validate() const;

  friend bool operator==(const SegmentOptions&, const SegmentOptions&) = default;
};

constexpr double kMostSegmentPixels = 1e8;  // of the level that is looked at, as in CLAM

struct PixelPoint {
  std::int32_t x = 0;
  std::int32_t y = 0;
  friend bool operator==(const PixelPoint&, const PixelPoint&) = default;
};

// Corners of a closed line; the last is joined to the first, which is not repeated.
using Ring = std::vector<PixelPoint>;

// One piece of tissue, once in level-0 pixels and once in pixels of the level that was looked at.
struct TissueRegion {
  Ring outline;             // level-0 pixels
  std::vector<Ring> holes;  // level-0 pixels, the largest first
  Ring outline_seg;         // empty where it is not known (read from a file)
  std::vector<Ring> holes_seg;
};

// What became of a contour that was found.
struct FoundContour {
  std::int64_t index = 0;   // among all rings in the order found, holes counted too
  double area = 0.0;        // of its outline, holes included, pixels^2 of the level
  double holes_area = 0.0;  // of all its holes
  std::int64_t holes = 0;
  std::int64_t points = 0;
  bool kept = false;  // large enough (keep_ids and exclude_ids not regarded)
};

// One look at the slide: the first as asked, the next ones easier to please.
struct SegmentAttempt {
  double a_t = 0.0;
  bool use_otsu = false;
  std::int64_t regions = 0;  // contours that were large enough
};

struct Tissue {
  std::vector<TissueRegion> regions;     // in the order found; keep_ids and exclude_ids obeyed
  std::vector<FoundContour> found;       // every outline of the last attempt, in the order found
  std::vector<SegmentAttempt> attempts;  // at least one, unless `problem` says why there is none
  std::optional<int> otsu_threshold;     // of the last attempt
  int seg_level = 0;                     // the level that was looked at
  double scale_x = 1.0;                  // level-0 pixels a pixel of that level
  double scale_y = 1.0;
  // Why the slide was not looked at ("level 0 has 120000 x 90000 pixels, ..."); CLAM's failed_seg.
  std::string problem;

  bool empty() const { return regions.empty(); }
};

// The level that seg_level or vis_level -1 stands for: 0 if there is only one, else OpenSlide's
// best for a downsample of 64 (at 64.1 that is the one before it, as in CLAM).
int clam_auto_level(const SlideInfo& info);

// The level that segmentation looks at.
struct SegmentLevel {
  int level = 0;
  // Why there is none: in clam mode, where the level asked for has more than kMostSegmentPixels and
  // a smaller one has not (CLAM's failed_seg). Else empty.
  std::string problem;
};

// The level asked for or, if that has more than kMostSegmentPixels, the next one that has not; the
// last where all have, which read_level_to_fit() then averages.
//
// Throws Error(kUsage) for a seg_level that is not there.
SegmentLevel choose_segment_level(const SlideInfo& info, const SegmentOptions& options);

// The whole of one level.
struct LevelImage {
  RgbImage pixels;
  int level = 0;
  double scale_x = 1.0;  // level-0 pixels a pixel: width_0 / width, height_0 / height
  double scale_y = 1.0;
  std::int64_t reduction = 1;       // each pixel is the mean of reduction^2 of the level
  std::int64_t damaged_blocks = 0;  // averaged only: squares that could not be decoded, grey
};

// level  -1 as clam_auto_level
//
// Throws Error(kUsage) for a level that is not there or has more than kMostSegmentPixels, and what
// Slide::read_region throws.
LevelImage read_level(Slide& slide, int level = -1);

// The same, but a level of more than most_pixels (a flat picture without a pyramid) is averaged
// over the smallest k x k that leaves no more, in bounded memory (see read_overview): its scale is
// k times the level's. Damaged squares of it are grey.
//
// Throws as read_level and read_overview; Error(kFormat) if more than half of it is damaged.
LevelImage read_level_to_fit(Slide& slide, int level = -1, double most_pixels = kMostSegmentPixels);

// The tissue of a slide.
//
// The level (choose_segment_level, read_level_to_fit) passes through tissue_mask(). Outlines and
// their holes are OpenCV's findContours (two-level hierarchy, every border pixel). An outline is
// kept if
//   area - area of all its holes > a_t * trunc(512^2 / (scale_x scale_y))   (and not 0),
// of its holes the max_n_holes largest, if larger than a_h times the same. Areas are those of the
// polygons through the pixels' centres. Level-0 coordinates are trunc(coordinate * scale).
//
// If nothing is kept, unless options.clam is set without options.retry, it is looked again with a_t
// 16, 4 and 1 (those below the one asked for) and, at last, with Otsu's threshold and the smallest
// of these; Tissue::attempts tells. keep_ids and exclude_ids number the contours of the last
// attempt.
//
// Cost: reading the level, and about 10 ns a pixel of it; memory 5 bytes a pixel of the level.
// Throws Error(kUsage) for options out of their range, a level that is not there or keep_ids beyond
// the contours found, and what Slide::read_region throws.
Tissue segment_tissue(Slide& slide, const SegmentOptions& options);

// The same for pixels that are at hand: read_level(slide) can then serve segmentation and pictures.
Tissue segment_tissue(const LevelImage& level, const SegmentOptions& options);

// The same from the saturation (saturation_of), which is all that segmentation looks at, of a level
// whose scale is that of LevelImage.
Tissue segment_saturation(const GrayImage& saturation,
                          double scale_x,
                          double scale_y,
                          const SegmentOptions& options);

// Twice the area within a ring; positive where its corners run with the clock on a screen, whose y
// points down.
std::int64_t twice_signed_area(const Ring& ring);

}  // namespace med3d
