// Volumes on other grids: scipy's zoom, antialiased resizing, resampling to a spacing, cropping.
//
// Sizes and spacings are given along x, y, z, as Volume has them. Every function returns the map of
// the new voxels too. Sums are in double; the result does not depend on the number of threads.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "med3d/radiology/volume.h"

namespace med3d {

using VolumeSize = std::array<std::int64_t, 3>;  // x, y, z

// What scipy does where rounding carries the last coordinate beyond the last voxel: for some sizes
// (256 to 56, 250 to 448) o * ((in - 1) / (out - 1)) is a little more than in - 1 at o = out - 1,
// and the whole plane becomes 0.
enum class LastPlane {
  kScipy,    // 0, as scipy.ndimage.zoom with its default mode
  kClamped,  // the last voxel's plane
};

// scipy.ndimage.zoom(order=0, 1): output voxel o reads input coordinate c = o * (in - 1) / (out -
// 1) along each axis (first and last voxel centres stay where they are; 0 where out is 1), the
// nearest voxel floor(c + 0.5) or the linear mean of two. No antialiasing.
//
// Cost: one pass over input slices for each output slice.
// Throws Error(kFormat) for a size below 1 or beyond the limits.
//
// Checked against: reference/medicalnet/zoom0_index.csv (540 pairs of sizes), scipy 1.10.1
// (tests/reference/volume_resize.py).
Volume zoom_nearest(const Volume& volume,
                    const VolumeSize& size,
                    LastPlane last = LastPlane::kScipy);
Volume zoom_linear(const Volume& volume,
                   const VolumeSize& size,
                   LastPlane last = LastPlane::kScipy,
                   int threads = 1);

// The input voxel that scipy's order 0 reads for each output voxel; -1 = none, the result is 0.
std::vector<std::int64_t> zoom_nearest_index(std::int64_t in, std::int64_t out, LastPlane last);

// Trilinear with a triangle filter that widens where the grid becomes coarser, so that no slice is
// skipped: output o sits at input (o + 0.5) * in / out - 0.5, the field of view stays.
//
//   w(i) = max(0, 1 - |i - c| / max(1, in / out)), normalised over the voxels inside
//
// Checked against: Pillow 9.4 BILINEAR, which is this filter in two dimensions.
Volume resize_antialiased(const Volume& volume, const VolumeSize& size, int threads = 1);

// The same filter on a grid of exactly this spacing, centred in the old field of view, of
// round(size * old / new) voxels (at least 1) along each axis.
// Throws Error(kUsage) for a spacing that is not above 0.
Volume resample_to_spacing(const Volume& volume, const Vector3& spacing_mm, int threads = 1);

// The same filter on a grid of exactly this spacing and size around the centre of the volume; what
// lies outside of the volume's field of view is `fill`.
//
// Memory: the result, twice, whatever the spacing.
// Throws as resample_to_spacing, and Error(kData) for a spacing that steps over the whole volume.
Volume resample_around_centre(const Volume& volume,
                              const Vector3& spacing_mm,
                              const VolumeSize& size,
                              float fill,
                              int threads = 1);

// The part of a volume around the voxels of a mask that are above 0, with a margin, cut at the
// volume's edges.
//
// mask  of the same size and place as the volume (0.01 voxel)
//
// Throws Error(kData) if it is not, or if it is empty; kUsage for a negative margin.
Volume crop_to_mask(const Volume& volume, const Volume& mask, double margin_mm = 0.0);

}  // namespace med3d
