// What tells that two slides or two scans are one: of their pixels, not of their files.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "med3d/radiology/volume.h"
#include "med3d/wsi/image.h"
#include "med3d/wsi/slide.h"

namespace med3d::pipeline {

// What a slide looks like from afar: its grey levels, averaged to 24 x 24 whatever its shape.
struct Look {
  static constexpr std::int64_t kSide = 24;
  std::vector<std::uint8_t> grey;  // kSide * kSide, rows from the top; empty = none (of scans)
  friend bool operator==(const Look&, const Look&) = default;
};

struct ImageHash {
  // SHA-256 of size and pixels; equal only for the same pixels, whatever their file.
  std::string content;
  Look look;

  // The same slide after another compression or at another size: the looks correlate by at least
  // 0.99 (Pearson) and neither is all glass (standard deviation of at least 2 grey levels: less
  // says too little to accuse anybody). Turned and mirrored copies are not recognised.
  bool similar(const ImageHash& other) const;
};

// Rec. 601 luma. Of an image without pixels: none.
Look look_of(const RgbImage& image);

// Of the slide's lowest level: content of its pixels as they are (averaged down to a side of at
// most 2,048 where the slide has no small level), look of the same. Throws as read_thumbnail.
ImageHash hash_slide(Slide& slide);

// Of size and voxels; spacing and place take no part: a copy may carry other headers. Two scans
// that were cropped or resampled otherwise differ.
ImageHash hash_volume(const Volume& volume);

}  // namespace med3d::pipeline
