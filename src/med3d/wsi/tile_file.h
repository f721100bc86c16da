// patches/<slide>.h5: where the tiles of a slide are and how to read them, in CLAM's and TRIDENT's
// layout at once.
//
// One dataset `coords` i64 (N, 2), level-0 pixels, with attributes:
//   CLAM      patch_size (pixels of patch_level), patch_level, downsample (2),
//   downsampled_level_dim
//             (2), level_dim (2), name, save_path
//   TRIDENT   patch_size (pixels at the target magnification), patch_size_level0,
//             level0_magnification, target_magnification, overlap, name, savetodir, level0_width,
//             level0_height
//   ours      tile_mode, read_size, target_size, step_level0, target_mpp
// patch_size, the one name both have, is TRIDENT's in trident mode, else CLAM's.
//
// Checked against: files of CLAM's create_patches_fp.py; h5py 3.7 reads ours.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "med3d/wsi/tiling.h"

namespace med3d {

struct TileFile {
  Tiles tiles;                                    // `region` is empty: no file says it
  std::string name;                               // of the slide, as the file says
  std::map<std::string, std::string> attributes;  // all, as text: "256", "[1, 1]"
};

// name       of the slide, without folder and extension
// save_path  what save_path and savetodir say: the folder, as the user named it
//
// In clam mode the chunks are CLAM's too, (1, 2). CLAM writes no file for a slide without tiles and
// TRIDENT one of no rows: the caller decides, both can be written.
// Throws as write_tile_coordinates.
void write_tiles(const std::filesystem::path& path,
                 const Tiles& tiles,
                 const std::string& name,
                 const std::string& save_path);

// A file of ours, of CLAM or of TRIDENT. A TRIDENT file names no level: read_level is -1 until
// choose_read_level().
//
// Throws Error(kFormat) if neither patch_level nor patch_size_level0 is there or a value makes no
// sense, and as read_coordinate_file.
TileFile read_tiles(const std::filesystem::path& path);

}  // namespace med3d
