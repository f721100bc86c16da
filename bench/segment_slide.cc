// Segmentation and tiling of one slide, as CLAM's create_patches_fp.py --seg --patch --stitch.
//
//   segment_slide slide=FILE [preset=tcga] [output=FOLDER] [runs=1]
//
// preset  default, bwh_biopsy, bwh_resection or tcga, all in clam mode
// output  a folder for the files CLAM writes (patches, masks, stitches); without it none is written
//
// The same in Python: CLAM's own script on a folder with this slide, or python/segment_slide.py,
// which calls OpenSlide and OpenCV as it does. The tiles must be as many.

#include <filesystem>

#include "bench/measure.h"
#include "med3d/core/file.h"
#include "med3d/io/formats/jpeg.h"
#include "med3d/wsi/mask_image.h"
#include "med3d/wsi/process_list.h"
#include "med3d/wsi/slide.h"
#include "med3d/wsi/tile_file.h"
#include "med3d/wsi/tiling.h"
#include "med3d/wsi/tissue.h"

namespace med3d::bench {
namespace {

namespace fs = std::filesystem;

// PIL's quality where none is asked for, as in CLAM.
constexpr int kJpegQuality = 75;

void write_picture(const fs::path& path, const RgbImage& image) {
  write_file_atomic(path, encode_jpeg(image.pixels, image.width, image.height, kJpegQuality));
}

int run(int argc, char** argv) {
  const Arguments arguments(
      argc, argv, {{"slide", ""}, {"preset", "tcga"}, {"output", ""}, {"runs", "1"}});
  const fs::path path = arguments.text("slide");
  const fs::path output = arguments.text("output");
  const int runs = arguments.count("runs");
  ClamParameters parameters = clam_preset(arguments.text("preset"));
  parameters.segment.clam = true;
  TileOptions options;
  options.mode = TileMode::kClam;

  const Stopwatch watch;
  double segment_cpu = 0.0;
  double tile_cpu = 0.0;
  Tiles tiles;
  for (int i = 0; i < runs; ++i) {
    const auto slide = open_slide(path);
    const Stopwatch segmenting;
    LevelImage level = read_level(*slide);
    const Tissue tissue = segment_tissue(level, parameters.segment);
    segment_cpu += segmenting.cpu_s();
    const Stopwatch tiling;
    tiles = make_tiles(slide->info(), tissue, options);
    tile_cpu += tiling.cpu_s();
    if (output.empty()) continue;
    const std::string name = path.stem().string();
    write_tiles(output / "patches" / (name + ".h5"), tiles, name, (output / "patches").string());
    write_picture(output / "stitches" / (name + ".jpg"), draw_stitch(level, tiles));
    write_picture(output / "masks" / (name + ".jpg"),
                  draw_tissue(std::move(level), tissue, parameters.line_thickness));
  }
  const double cpu = watch.cpu_s();
  const double wall = watch.wall_s();

  Json json = {{"program", "segment_slide"},
               {"slide", path.filename().string()},
               {"preset", arguments.text("preset")},
               {"pictures", !output.empty()},
               {"runs", runs},
               {"tiles", tiles.coords.rows()},
               {"segment_cpu_s", segment_cpu},
               {"tile_cpu_s", tile_cpu}};
  add_times(json, cpu, wall);
  say(fmt::format(
          "{}, {}: {:.3f} CPU s ({:.3f} segmenting, {:.4f} tiling), {} tiles, peak {:.0f} MiB",
          path.filename().string(),
          arguments.text("preset"),
          cpu / runs,
          segment_cpu / runs,
          tile_cpu / runs,
          tiles.coords.rows(),
          peak_mib()),
      json);
  return 0;
}

}  // namespace
}  // namespace med3d::bench

int main(int argc, char** argv) { return med3d::bench::guarded(med3d::bench::run, argc, argv); }
