// Pictures to check by eye what was segmented and tiled: CLAM's masks/<id>.jpg and
// stitches/<id>.jpg.
#pragma once

#include "med3d/wsi/image.h"
#include "med3d/wsi/tiling.h"
#include "med3d/wsi/tissue.h"

namespace med3d {

// The slide with outlines of tissue in green and of holes in blue.
//
// level           what is drawn on, taken over: CLAM draws on read_level(slide)
// line_thickness  level-0 pixels; drawn at least one pixel wide
RgbImage draw_tissue(LevelImage level, const Tissue& tissue, int line_thickness = 250);

// Only the tiles of the slide, each where it was, on black.
RgbImage draw_stitch(const LevelImage& level, const Tiles& tiles);

}  // namespace med3d
