// The folder of a job on scans.
//
//   ct/<patient>/<series>.npy, mri/<patient>/<series>.npy   one embedding a scan, (1, width) f32
//   ct/<patient>/<series>.json                              record of it: what it was made of
//   volumes.csv, volumes.json                               what became of each scan
//   ct_features.csv, mri_features.csv, ct_mri_features.csv  one vector a patient
//   scan_weights.csv                                        of each scan in its patient's vector
//
// CT and MRI have a folder each, so that ct/ is a source of bags for [ct] of a cohort and mri/ one
// for [mri] (features = ["out/ct"], case_from = "folder").
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "med3d/pipeline/folder_lock.h"

namespace med3d::pipeline {

// "ct" for "CT", "mri" for "MR", "" for all others.
std::string_view modality_folder(std::string_view modality);

struct VolumeFolder {
  std::filesystem::path root;

  std::filesystem::path features(std::string_view modality,
                                 const std::string& patient,
                                 const std::string& series) const {
    return root / modality_folder(modality) / patient / (series + ".npy");
  }
  // Beside its features.
  static std::filesystem::path record_of(std::filesystem::path features) {
    return features.replace_extension(".json");
  }
  std::filesystem::path outcomes_csv() const { return root / "volumes.csv"; }
  std::filesystem::path outcomes_json() const { return root / "volumes.json"; }
  // name  "ct", "mri" or "ct_mri"
  std::filesystem::path patient_vectors(std::string_view name) const {
    return root / (std::string(name) + "_features.csv");
  }

  std::filesystem::path scan_weights() const { return root / "scan_weights.csv"; }

  // Makes the folder, removes what a killed job left half written in it, and keeps other processes
  // out for as long as the result lives. Throws as make_folder and FolderLock.
  std::unique_ptr<FolderLock> claim() const;
};

}  // namespace med3d::pipeline
