// Pictures to check by eye what was segmented and tiled: CLAM's masks/<id>.jpg and
// stitches/<id>.jpg.
#pragma once

#include "med3d/wsi/image.h"
#include "med3d/wsi/slide.h"
#include "med3d/wsi/tiling.h"
#include "med3d/wsi/tissue.h"

namespace med3d {

// The slide with outlines of tissue in green and of holes in blue.
//
// level           the picture's; -1 as clam_auto_level
// line_thickness  level-0 pixels; drawn at least one pixel wide
//
// Cost: reading the level. Throws Error(kUsage) for a level that is not there or has more than
// kMostSegmentPixels, and what Slide::read_region throws.
RgbImage draw_tissue(Slide& slide, const Tissue& tissue, int line_thickness = 250, int level = -1);

// Only the tiles of the slide, each where it was, on black. Arguments, cost and errors as above.
RgbImage draw_stitch(Slide& slide, const Tiles& tiles, int level = -1);

}  // namespace med3d
