// A box of a scan and its mask, as they are or on a grid of another spacing.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "med3d/radiology/radiomics/radiomics.h"
#include "med3d/radiology/volume.h"

namespace med3d::radiomics {

struct Box {
  std::array<std::int64_t, 3> low;   // first voxel, x, y, z
  std::array<std::int64_t, 3> high;  // last voxel
};

struct ResampledBox {
  std::array<std::int64_t, 3> size{};
  Vector3 spacing_mm{};
  std::vector<double> values;  // x fastest; NaN where the mask does not have the label
};

// options.spacing_mm  new voxels; without it, or where it is the scan's own, the box is cut out.
//                     An axis along which the box has one voxel is kept.
//
// The new grid shares the corner of the old one: new voxel k has its centre at old coordinate
// (k + 0.5) new / old - 0.5. Voxels of it whose nearest old voxel has the label belong to the
// region; only they are computed.
//   linear   from the 8 voxels around; the outermost voxels reach half a voxel beyond their centre
//   bspline  cubic: coefficients by recursive filters (pole sqrt(3) - 2), mirrored at the border
//
// Throws Error(kData) for a voxel that is not finite or a region that vanishes on a coarse grid;
// kFormat for a grid beyond the limits.
//
// Source: pyradiomics' resampleImage; Unser, IEEE Signal Processing Magazine 16(6):22, 1999.
// Checked against: scipy.ndimage.map_coordinates, orders 1 and 3 (tests/reference/radiomics.py).
ResampledBox resample_box(const Volume& image,
                          const Volume& mask,
                          const Box& box,
                          const Options& options);

}  // namespace med3d::radiomics
