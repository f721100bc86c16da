// The voxels of a mask, cut out of a scan, with their values and grey levels.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "med3d/radiology/radiomics/radiomics.h"
#include "med3d/radiology/volume.h"

namespace med3d::radiomics {

struct Region {
  std::array<std::int64_t, 3> size{};    // of the bounding box, voxels along x, y, z
  std::int64_t margin = 1;               // empty voxels around it in `level`
  std::array<std::int64_t, 3> padded{};  // size + 2 * margin
  Vector3 spacing_mm{1, 1, 1};
  std::vector<std::uint32_t> voxels;  // (n,) places of the region's voxels in `level`, ascending
  std::vector<double> values;         // (n,) their values
  std::vector<std::int32_t> level;    // padded, x fastest; 0 outside the region, else from 1
  std::vector<std::int32_t> present;  // grey levels that occur, ascending

  std::int64_t highest_level() const { return present.empty() ? 0 : present.back(); }
  std::int64_t step(const std::array<int, 3>& offset) const {
    return offset[0] + padded[0] * (offset[1] + padded[1] * offset[2]);
  }
};

// The region of the label, on the grid of the options, normalised if asked for; grey levels are
// still 1 everywhere. Throws as extract.
Region cut_region(const Volume& image, const Volume& mask, const Options& options);

// A region of `values` in a box of `size`, NaN outside of it: for tests and worked examples.
Region region_of(const std::array<std::int64_t, 3>& size,
                 const std::vector<double>& values,
                 const Vector3& spacing_mm = {1, 1, 1},
                 std::int64_t margin = 1);

// Sets the grey levels of a region by its values.
//
// Bin width w: level = number of edges e_k <= value, e_k = low + k w, where low is the multiple of
// w at or below the lowest value. Bin count b: edges evenly spaced from the lowest to the highest
// value, the last one moved up by 1; a flat region counts as values - 0.5 to + 0.5.
//
// Throws Error(kData) for more than kMaximumLevels levels.
// Checked against: numpy.digitize on numpy.arange and numpy.histogram's edges
// (tests/reference/radiomics.py).
void discretise(Region& region, const Options& options);

// Steps from a voxel to its neighbours, x, y, z, one of each pair of opposite ones: those whose
// longest component is one of `distances`, shorter than the bounding box.
std::vector<std::array<int, 3>> directions(const Region& region,
                                           const std::vector<int>& distances,
                                           bool force_2d);

// Length of a step in mm.
double step_length(const std::array<int, 3>& offset, const Vector3& spacing_mm, Weighting norm);

// Of each column over the rows that are no NaN; NaN where there is none.
std::vector<double> mean_of_rows(const std::vector<std::vector<double>>& rows, std::size_t columns);

}  // namespace med3d::radiomics
