// Labelled scans for training a net on the volumes themselves, prepared and in memory.
//
// Two sources:
//   .npz   MedMNIST's: {train,val,test}_images (n, D, H, W), ..._labels (n,) or (n, 1). Each volume
//          counts as a patient of its own: the file names none.
//   .csv   columns file, label, patient (or case_id) and split (train, val, test). A file is NIfTI,
//          .npy (D, H, W) or a folder of one DICOM series, relative to the table's folder.
//
// No patient may stand in two splits, in whatever spelling.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "med3d/core/json.h"
#include "med3d/core/progress.h"
#include "med3d/nn/volume_classifier.h"
#include "med3d/radiology/volume.h"

namespace med3d::pipeline {

// From a scan to what the net sees. It travels with the net.
struct VolumePreparation {
  // "dataset": resize_antialiased, then (v - mean) / sd with both over all training voxels; else a
  // name of volume_recipes().
  std::string recipe = "dataset";
  nn::VolumeShape extent{56, 448, 448};
  double mean = 0.0;  // of "dataset"
  double sd = 1.0;

  // The axes in the order LPS, then the recipe. Voxels of the result are the tensor (D, H, W).
  Volume apply(const Volume& scan, int threads) const;

  void validate() const;  // throws Error(kUsage)
  Json to_json() const;
  static VolumePreparation from_json(const Json& json);  // throws Error(kFormat)
};

// A scan as it lies on disk: .nii, .nii.gz, .npy (three axes, z slowest, voxels of 1 mm), or a
// folder of one DICOM series. Throws as their readers do; Error(kUnsupported) for anything else,
// kData for a folder of several series.
Volume read_scan(const std::filesystem::path& path, int threads);

enum class VolumeSplit { kTrain, kVal, kTest };
std::string_view to_string(VolumeSplit split);  // "train", "val", "test"

struct VolumeDataset {
  VolumePreparation preparation;      // mean and sd filled in
  std::vector<std::string> ids;       // (n,) "train_17", or the file as the table spells it
  std::vector<std::string> patients;  // (n,)
  std::vector<std::uint8_t> labels;   // (n,) 0 or 1
  std::vector<VolumeSplit> splits;    // (n,)
  std::vector<float> voxels;          // (n, D, H, W)
  bool patients_known = false;        // false: of a file that names none
  std::string sha256;                 // of all of this: names the data in the run's key

  std::vector<std::size_t> rows_of(VolumeSplit split) const;
  // Valid for as long as the dataset and `rows` are.
  nn::VolumeSet set(const std::vector<std::size_t>& rows) const;
};

// Memory: all prepared volumes as f32, and the npz as it is stored.
// Throws Error(kNotFound | kFormat | kUnsupported) for files; kData for a label other than 0 and 1,
// an unknown split, a split without both classes, a patient in two splits or with two labels (lines
// are named, patients are not); kUsage where all volumes together are beyond limits().array_bytes.
VolumeDataset read_volume_dataset(const std::filesystem::path& path,
                                  const VolumePreparation& preparation,
                                  int threads,
                                  Progress& progress);

}  // namespace med3d::pipeline
