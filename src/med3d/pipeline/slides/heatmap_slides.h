// CLAM's create_heatmaps.py, from stored attention alone: no net is asked, no slide tiled anew.
//
//   heatmaps/<slide>.png      the map with its colour bar
//   heatmaps/<slide>.tif      the map as a pyramid, with the slide's scale
//   geojson/<slide>.geojson   tiles with their scores, for QuPath
//   sheets/<slide>.png        the tiles of highest and of lowest attention
//   outcomes.csv, outcomes.json
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "med3d/core/progress.h"
#include "med3d/pipeline/slides/slide_list.h"
#include "med3d/pipeline/slides/slide_outcome.h"
#include "med3d/wsi/heatmap.h"

namespace med3d::pipeline {

enum class AttentionScale {
  kPercentile,  // rank among the slide's tiles, or among the reference: CLAM's
  kRaw,         // the scores as stored, before the softmax
  kSoftmax,     // the weights of the tiles: they add up to 1
};
AttentionScale parse_attention_scale(std::string_view name);  // "percentile", "raw", "softmax"

struct HeatmapSlidesJob {
  // An evaluation's folder, its attention/, or one <slide>.h5 (CLAM's <slide>_blockmap.h5).
  std::filesystem::path attention;
  int fold = -1;  // of an evaluation of several
  SlideSearch slides;
  std::filesystem::path output;
  // Folder of patches/<slide>.h5: the tiles must be those of the attention, and their size is taken
  // from there. Empty: the size that is stored with the attention.
  std::filesystem::path patches;
  std::int64_t footprint = 0;  // side of a tile, level-0 pixels, where neither says it; 0 = none
  // Attention of other tiles of the same slides (a folder, by slide), or of one file for all:
  // percentiles among these. Empty: among the slide's own.
  std::filesystem::path reference;
  AttentionScale scale = AttentionScale::kPercentile;
  HeatmapOptions options;  // `scale` and `meaning` are set from the above
  // Tiles of each section of the sheet, of which none is in both, and annotations; 0 = no sheet.
  std::int64_t top_k = 15;
  bool tiff = true;
  bool geojson = true;
  bool overwrite = false;
  int threads = 1;  // slides at once; the files do not depend on it
};

// One outcome for each attention file, by name.
//
// A slide that is not there, cannot be opened, or is tiled otherwise than the attention says (tiles
// beyond it, another size, other coordinates than patches/: CLAM issue 154) is a failed outcome.
//
// Throws Error(kUsage) for options out of range and an output that is not empty unless `overwrite`;
// kNotFound if there is no attention; as find_slides; kIo.
std::vector<SlideOutcome> heatmap_slides(const HeatmapSlidesJob& job, Progress& progress);

}  // namespace med3d::pipeline
