// A folder with two small synthetic slides, tiled, for the tests of this folder.
#pragma once

#include "med3d/pipeline/slides/slide_folder.h"
#include "med3d/pipeline/slides/slide_list.h"
#include "med3d/pipeline/slides/tile_slides.h"
#include "med3d/pipeline/test_support.h"
#include "med3d/wsi/process_list.h"
#include "med3d/wsi/synth_slide.h"

namespace med3d::pipeline::testing {

// About a dozen tiles each, in less than a tenth of a second.
inline std::vector<SlideItem> synth_slides(const std::filesystem::path& folder) {
  SynthSlideOptions options;
  options.width = 1200;
  options.height = 900;
  for (const char* name : {"a.svs", "b.svs"}) {
    write_synth_slide(folder / name, options);
    ++options.seed;
  }
  return find_slides({{folder}, {}, {}});
}

inline TileJob small_tiles() {
  TileJob job;
  job.parameters = clam_preset("bwh_biopsy");
  job.tiles.patch_size = job.tiles.step_size = 128;
  job.masks = job.stitches = false;
  return job;
}

}  // namespace med3d::pipeline::testing
