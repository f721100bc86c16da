// The first half of a slide job: where the tissue of each slide is, and which tiles cover it.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "med3d/core/progress.h"
#include "med3d/pipeline/slides/slide_folder.h"
#include "med3d/pipeline/slides/slide_list.h"
#include "med3d/pipeline/slides/slide_outcome.h"
#include "med3d/wsi/process_list.h"
#include "med3d/wsi/tiling.h"

namespace med3d::pipeline {

struct TileJob {
  ClamParameters parameters;  // segmentation and pictures, for slides the list does not speak of
  TileOptions tiles;
  bool write_tiles = true;  // false: segment only
  bool masks = true;        // pictures
  bool stitches = true;
  bool contours = true;                // GeoJSON
  std::filesystem::path process_list;  // CLAM's, with parameters for some slides; empty = none
  bool redo = false;                   // also what is there already (CLAM's --no_auto_skip)
  int threads = 1;                     // slides at once; the files do not depend on it
  // False where other processes tile other slides into the same folder: neither CLAM's list nor
  // contact sheets are written, which are of all slides.
  bool summaries = true;
  SlideHooks hooks;
};

// Segments and tiles each slide and writes patches/, pictures, outlines and CLAM's process list,
// which is written anew after each slide. A slide whose coordinates are there already is kept,
// unless its record says that they were made with other parameters; coordinates without a record,
// as CLAM and TRIDENT write them, are kept as they are.
//
// One bad slide is an outcome, and the others go on. A slide without tissue after all attempts is
// kEmpty and has no patches file, as with CLAM.
//
// Throws Error(kUsage) for options out of their range, kIo if the folder cannot be written; Stopped
// between slides (core/stop.h).
std::vector<SlideOutcome> tile_slides(const std::vector<SlideItem>& slides,
                                      const SlideFolder& folder,
                                      const TileJob& job,
                                      Progress& progress);

}  // namespace med3d::pipeline
