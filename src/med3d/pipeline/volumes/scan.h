// A scan from its files to what an encoder sees.
#pragma once

#include <optional>
#include <string>

#include "med3d/pipeline/volumes/volume_list.h"
#include "med3d/radiology/dicom_series.h"
#include "med3d/radiology/preprocess.h"

namespace med3d::pipeline {

// SHA-256 of the SHA-256 of each file in ascending order: names and order of files have no part in
// it. Throws Error(kNotFound | kIo) naming a file by its number.
std::string files_sha256(const VolumeItem& item);

// The volume of a DICOM series or a NIfTI file. A NIfTI of modality CT whose lowest voxel is
// negative counts as Hounsfield units, with a note.
//
// Throws as load_series and read_nifti; no message names a file.
SeriesVolume load_scan(const VolumeItem& item, const SeriesOptions& options);

struct PrepareOptions {
  std::string recipe;     // empty: "paper" for CT, "mr" for MR
  RecipeOptions options;  // size, orientation, noise
  // Resampled to this spacing around the centre of the scan (or of its mask's box) and cut or
  // filled up (-1024 HU, else 0) to options.size, so that a voxel is as large in every scan;
  // empty: the whole scan is brought to options.size, whatever its spacing.
  std::optional<Vector3> spacing_mm;
  double margin_mm = 10.0;  // around a mask's box
  // A scan without a mask is an error where masks are in use.
  bool needs_mask = false;

  // Throws Error(kUsage) for a value out of range or an unknown recipe.
  void validate() const;
  // The recipe for a modality.
  const VolumeRecipe& recipe_for(std::string_view modality) const;
  // All that decides a voxel's value, for records.
  std::string text(std::string_view modality) const;
};

// Cropping, spacing, recipe, in this order.
// Throws Error(kData) where a recipe is not defined for the volume, or the mask does not fit it.
Volume prepare_scan(Volume volume, const VolumeItem& item, const PrepareOptions& options);

}  // namespace med3d::pipeline
