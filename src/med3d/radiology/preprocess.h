// Named recipes from a volume to what a 3D encoder sees.
//
// The result is a volume whose voxels are the tensor (D, H, W) = (z, y, x), with the map of its
// voxels, so that a heat map finds its way back to the scan. A recipe is chosen by name; no caller
// tests the name, all that differs is in the list.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "med3d/radiology/resample.h"
#include "med3d/radiology/volume.h"

namespace med3d {

enum class ZeroVoxels {
  kKeep,   // stay 0
  kNoise,  // standard normal noise: numpy.random.RandomState(seed).normal(size=(D, H, W)), taken
           // there
};

struct RecipeOptions {
  VolumeSize size{448, 448, 56};    // x, y, z: the paper's and MedicalNet's D, H, W = 56, 448, 448
  std::string orientation = "LPS";  // axes are brought to this first; empty = as they are stored
  ZeroVoxels zeros = ZeroVoxels::kKeep;  // medicalnet only; MedicalNet itself draws without a seed
  std::uint32_t seed = 42;
  int threads = 1;

  // Throws Error(kUsage) for a value out of range.
  void validate() const;
};

struct VolumeRecipe {
  std::string_view name;
  std::string_view summary;    // one line
  std::string_view reference;  // where it is from
  Volume (*apply)(const Volume& volume, const RecipeOptions& options);
};

// paper       clip to [-1024, 1024], (v + 158.58) / 324.70, zoom_linear (scipy order 1, last plane
//             clamped). The paper's constants are of CT; it uses them for MR too.
// ct          clip to [-1024, 1024] HU, resize_antialiased, (v - mean) / sd with mean and
// population
//             sd of the voxels above -500 HU (the body: air would shift both with the field of
//             view)
// mr          voxels other than 0 clipped to their 1st and 99th percentile (numpy's linear), then
//             (v - mean) / population sd of them; 0 stays 0 (background); resize_antialiased
// medicalnet  zoom_nearest with scipy's last plane, (v - mean) / population sd over voxels above 0
//             (mean and sd in double), voxels that were 0 by options.zeros. MedicalNet takes a
//             NIfTI's axes in the order of the file; give orientation "" and axes z, y, x for its
//             documented one
//
// Each throws Error(kData) where mean and sd are not defined (no voxel above the threshold, all
// equal) instead of handing NaN on, and ct for a volume that is not in Hounsfield units.
//
// Source: the paper, section 5.2; Chen et al., Med3D, arXiv:1904.00625 and its
// datasets/brains18.py. Checked against: reference/medicalnet (MedicalNet's own code, seeded),
// numpy and scipy 1.10.1 (tests/reference/volume_resize.py).
std::span<const VolumeRecipe* const> volume_recipes();

// Throws Error(kUsage) naming the recipes there are, and the nearest.
const VolumeRecipe& volume_recipe(std::string_view name);

}  // namespace med3d
