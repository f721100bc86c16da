// The geometry of a series: from slices anywhere in the patient to an even, square grid.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "med3d/radiology/dicom_series.h"
#include "med3d/radiology/volume.h"

namespace med3d::radiology {

struct SlicePlace {
  Vector3 position{};  // centre of the first voxel, LPS mm
  Vector3 row{};       // unit direction of increasing x
  Vector3 column{};    // of increasing y
  double spacing_x = 0.0;
  double spacing_y = 0.0;
  std::int64_t columns = 0;
  std::int64_t rows = 0;
  double thickness = 0.0;  // or the spacing that a single slice states; 0 = not said
};

struct StackPlan {
  // The slices of each place in order along the normal: indices of the input, more than one where
  // images lie at one place.
  std::vector<std::vector<std::size_t>> places;
  std::vector<double> along;    // mm from the first place, along the normal
  std::vector<double> shift_x;  // in voxels: how far each place is off the normal through the first
  std::vector<double> shift_y;
  bool even = true;
  double step_mm = 0.0;         // along the normal, of the grid
  std::size_t grid_slices = 0;  // of the grid
  double tilt_degrees = 0.0;    // 0 below the half degree that counts
  Vector3 normal{};
  std::vector<std::string> notes;
};

// Throws Error(kData) as load_series says.
StackPlan plan_stack(const std::vector<SlicePlace>& slices, const SeriesOptions& options);

// voxels  one slice for each place, in order. Straightens and interpolates as planned.
Volume build_volume(const StackPlan& plan,
                    const std::vector<SlicePlace>& slices,
                    std::vector<float> voxels,
                    const SeriesOptions& options);

}  // namespace med3d::radiology
