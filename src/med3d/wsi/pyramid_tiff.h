// Pyramidal tiled TIFF: what OpenSlide, QuPath and every viewer of slides open.
//
// Written in one pass: tiles of all levels are stored as they become whole, the directories follow
// at the end. Memory is two rows of tiles of each level, however tall the image is.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>

#include "med3d/wsi/image.h"

namespace med3d {

enum class TiffCompression {
  kJpeg,     // small; 4:2:0 chroma
  kDeflate,  // exact: for maps whose colours are read back
};

struct PyramidTiffOptions {
  std::int64_t tile = 256;  // side of a tile, a multiple of 16 as TIFF asks, 16 to 4096
  TiffCompression compression = TiffCompression::kJpeg;
  int jpeg_quality = 85;    // 1 to 100
  int deflate_level = 6;    // 1 to 9
  double mpp = 0.0;         // micrometres a pixel, for the resolution tags (in cm); 0 = not known
  std::string description;  // ImageDescription of the first level, printable ASCII; empty = none.
                            // "Aperio ..." makes OpenSlide read it as such: keys after '|'
  // Levels are halved until the larger side is at most this; 0 = no reduced level.
  std::int64_t smallest_level = 256;
  // Also reduced levels with a side below `tile`: OpenSlide 3.4.1 shows uninitialised pixels there
  // (as it does of a whole image that small).
  bool levels_below_tile = false;
  // A factor other than 2 between levels, as Aperio's 4: that level is made by halving twice, and
  // the one between is not stored.
  int halvings_per_level = 1;
  bool big = false;  // BigTIFF also where classic TIFF would do
  int threads = 1;   // that encode tiles; the bytes do not depend on it

  void validate() const;  // Error(kUsage) naming the field
};

// Fills `rgb` with rows [y, y + rows) of the image, whole width, 3 bytes a pixel. Called from top
// to bottom, each row once; rows = options.tile, fewer at the end.
using PixelRows =
    std::function<void(std::int64_t y, std::int64_t rows, std::span<std::uint8_t> rgb)>;

struct PyramidTiffInfo {
  std::int64_t levels = 0;
  std::uint64_t bytes = 0;
  bool big = false;  // BigTIFF: classic TIFF ends at 4 GiB, and is used up to there
};

// Writes the image and its pyramid.
//
// A pixel of a level is the mean of 2 x 2 pixels of the one above it, each channel rounded half up;
// an odd last row or column is repeated. Level i measures ceil(size / 2^i). Full-resolution
// directory first, then the levels with NewSubfileType 1, little-endian. A tile that reaches beyond
// the image repeats its last column and row there, so that JPEG rings at no edge. The same pixels
// and options give the same bytes (deflate: on one machine); the file is old or new, never half.
//
// width, height  pixels, 1 to limits().image_side
//
// Cost O(width * height); memory O(width * tile), plus 16 bytes a tile.
// Throws Error(kUsage) for a size or option out of range, kIo if writing fails, and what `rows`
// throws.
//
// Source: TIFF 6.0; Adobe's TIFF Technical Note 2 (JPEG); the BigTIFF proposal.
// Checked against: libtiff 4.5, OpenSlide 3.4.1 and tifffile 2023.2.3.
PyramidTiffInfo write_pyramid_tiff(const std::filesystem::path& path,
                                   std::int64_t width,
                                   std::int64_t height,
                                   const PixelRows& rows,
                                   const PyramidTiffOptions& options);

PyramidTiffInfo write_pyramid_tiff(const std::filesystem::path& path,
                                   const RgbImage& image,
                                   const PyramidTiffOptions& options);

}  // namespace med3d
