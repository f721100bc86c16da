// Which scans there are: folders of DICOM files, NIfTI files and tables of both to items with safe
// names.
//
// What a file says of its patient never becomes a name of ours: a patient is the id of a public
// archive (TCGA-BP-4352, C3L-00189) or a pseudonym made of a hash, and a series is a hash of its
// UID. Both are safe as names of files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "med3d/pipeline/volumes/filter_series.h"

namespace med3d::pipeline {

struct VolumeItem {
  std::string series;    // safe as a file name
  std::string patient;   // safe as a folder name
  std::string modality;  // "CT", "MR", another word of DICOM, or "" where nothing says
  std::vector<std::filesystem::path> files;  // DICOM files of one series, or one NIfTI file
  std::filesystem::path mask;                // NIfTI on the scan's grid; empty = none
  bool kept = true;     // false: a filter or the list left it out, `problem` says why
  std::string problem;  // why it cannot be used; else empty

  bool is_nifti() const;
};

struct VolumeSearch {
  // Folders, DICOM files and NIfTI files (.nii, .nii.gz). Links below a folder are not followed.
  std::vector<std::filesystem::path> places;
  // A table with columns path (or filename, file, nifti: a NIfTI file, a DICOM file or a folder of
  // one series; relative to the table) and case_id (or patient, patient_id), and if they are there
  // series (or scan_id, item_id), modality and mask. Its names were chosen by the user and are kept
  // where they are safe.
  std::filesystem::path table;
  // Of NIfTI files that neither the table nor a sidecar ("Modality" in <name>.json) tells: "CT",
  // "MR" or "".
  std::string modality;
  // NIfTI masks by name: <series>.nii.gz, or <name of the NIfTI file>; empty = none.
  std::filesystem::path masks;
  // Names of NIfTI files of no public archive stay as they are where they are safe; else they
  // become hashes, as such a name may be a person's.
  bool keep_names = false;
  int threads = 1;
};

// All scans of the places, in ascending order of (patient, series); one of a series that is there
// twice keeps its files, the second says so. Files that are no DICOM image are counted in
// `other_files`.
//
// Throws Error(kNotFound) for a place that is not there, kUsage if nothing is asked for, kData if
// there is no scan, or as read_table for the table; messages do not name files below a place.
struct VolumeList {
  std::vector<VolumeItem> items;
  std::size_t other_files = 0;
};
VolumeList find_volumes(const VolumeSearch& search);

// Series of an index, with the filter's verdict on each.
//
// masks  as VolumeSearch::masks
std::vector<VolumeItem> items_of(std::span<const FilteredSeries> series,
                                 const std::filesystem::path& masks = {});

bool is_nifti_name(const std::filesystem::path& path);

// As the index names them without a secret (patient_names.h): the id of a public archive, else "p-"
// and 12 digits of a hash; and 16 digits of a hash of a SeriesInstanceUID, or what stands for one.
std::string public_or_pseudonym(std::string_view id);
std::string series_key(std::string_view patient, std::string_view uid);

}  // namespace med3d::pipeline
