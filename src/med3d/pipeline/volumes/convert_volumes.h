// Scans as files that others read: NIfTI with a sidecar, and pages to look at.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "med3d/core/progress.h"
#include "med3d/pipeline/volumes/volume_list.h"
#include "med3d/pipeline/volumes/volume_outcome.h"
#include "med3d/radiology/dicom_series.h"
#include "med3d/radiology/montage.h"
#include "med3d/radiology/nifti.h"

namespace med3d::pipeline {

struct ConvertJob {
  SeriesOptions series;
  NiftiType type = NiftiType::kFloat32;
  std::string orientation;  // "RAS", ...; empty: as acquired
  bool redo = false;        // also what is there already
};

// Writes <folder>/<patient>/<series>.nii.gz and .json beside it: geometry, modality, units and
// acquisition parameters (radiology/acquisition.h), and no identifier, date or UID. The JSON comes
// last; a scan that has one of the same files and options is kept.
//
// Cost: one volume in memory. Throws Error(kIo) if the folder cannot be written; everything of one
// scan is its outcome.
std::vector<VolumeOutcome> convert_volumes(const std::vector<VolumeItem>& scans,
                                           const std::filesystem::path& folder,
                                           const ConvertJob& job,
                                           Progress& progress);

struct PreviewJob {
  SeriesOptions series;
  MontageOptions montage;
};

// Writes <folder>/<patient>_<series>.png. Errors as convert_volumes.
std::vector<VolumeOutcome> preview_volumes(const std::vector<VolumeItem>& scans,
                                           const std::filesystem::path& folder,
                                           const PreviewJob& job,
                                           Progress& progress);

}  // namespace med3d::pipeline
