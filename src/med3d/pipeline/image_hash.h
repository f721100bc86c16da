// What tells that two slides or two scans are one: of their pixels, not of their files.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "med3d/radiology/volume.h"
#include "med3d/wsi/image.h"
#include "med3d/wsi/slide.h"

namespace med3d::pipeline {

// Whether, at 16 x 17 and 8 x 9 places, it gets brighter to the right by at least 3 of 255 grey
// levels (a difference hash; the margin keeps empty glass from being all chance).
struct Look {
  std::array<std::uint64_t, 5> bits{};  // 256 of the fine grid, 64 of the coarse one; 1 = brighter
  int set() const;                      // how many are 1
  friend bool operator==(const Look&, const Look&) = default;
};

struct ImageHash {
  // SHA-256 of size and pixels; equal only for the same pixels, whatever their file.
  std::string content;
  Look look;  // of slides; all zero for scans

  // The same slide after another compression or at another size: of the bits that are set in either
  // look, at most 15 % differ, and at least 32 are set (fewer say too little to accuse anybody).
  // Turned and mirrored copies are not recognised.
  bool similar(const ImageHash& other) const;
};

Look look_of(const RgbImage& image);

// Of the slide's lowest level: content of its pixels as they are (averaged down to a side of at
// most 2,048 where the slide has no small level), look of the same. Throws as read_thumbnail.
ImageHash hash_slide(Slide& slide);

// Of size and voxels; spacing and place take no part: a copy may carry other headers. Two scans
// that were cropped or resampled otherwise differ.
ImageHash hash_volume(const Volume& volume);

}  // namespace med3d::pipeline
