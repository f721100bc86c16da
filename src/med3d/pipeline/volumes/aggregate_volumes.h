// From one vector a scan to one a patient: ct_features.csv, mri_features.csv, ct_mri_features.csv.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "med3d/core/progress.h"
#include "med3d/io/features.h"
#include "med3d/pipeline/volumes/volume_folder.h"

namespace med3d::pipeline {

// How the scans of a patient become one vector.
enum class VolumePool {
  kMean,             // of its scans
  kMax,              // the largest of each feature
  kMostInformative,  // that of one scan, see below
  kAttention,        // mean weighted by a trained model's attention over the patient's scans
};

VolumePool parse_volume_pool(
    std::string_view name);  // "mean", "max", "most-informative", "attention"

// One feature file of a scan.
struct ScanFile {
  std::string patient;
  std::string series;
  std::string modality;  // "ct" or "mri"
  std::filesystem::path path;
};

// Files of ct/ and mri/ of a folder, by modality, patient and series.
// Throws Error(kNotFound) if the folder has neither, kData if there is no file in them.
std::vector<ScanFile> scan_files(const VolumeFolder& folder);

struct AggregateVolumesJob {
  VolumePool pool = VolumePool::kMean;
  // A run's model folder (model.json): its model of bags of scans, ct_mri or else ct and mri.
  // Needed by kAttention. With it the most informative scan is the one with the largest weight in
  // the patient's bag, of equals the one with the highest probability; without it the one with the
  // most voxels as read (the paper names no criterion; more voxels are more of the patient, or the
  // same part more finely sampled). Of equals the first by name.
  std::filesystem::path model;
};

struct PatientVectors {
  // A row for each patient, ascending; empty where there is no scan of it, ct_mri also where the
  // vectors of CT and MRI differ in width.
  FeatureTable ct, mri, ct_mri;
  // Of each scan in its patient's vector of ct_mri (else of ct or mri): empty for kMax, which mixes
  // scans feature by feature.
  struct Weight {
    ScanFile scan;
    std::optional<double> weight;
  };
  std::vector<Weight> weights;  // in the order of the scans
  struct LeftOut {
    ScanFile scan;
    std::string reason;
  };
  std::vector<LeftOut> left_out;
  std::vector<std::string> notes;  // what a reader of the tables must know

  // patient,series,modality,weight
  std::string weights_csv() const;
};

// A file that cannot be read, or has another width than the first of its modality, is left out and
// told. Sums are in f64, in the order of scans.
//
// Throws Error(kUsage) for attention without a model or with one without attention, kData for a
// model of another width; as read_bundle.
PatientVectors aggregate_volumes(const std::vector<ScanFile>& scans,
                                 const AggregateVolumesJob& job,
                                 Progress& progress);

// Writes the three tables and scan_weights.csv, those without a row excepted: an older one is
// removed. Returns the names of what it wrote.
std::vector<std::string> write_patient_vectors(const VolumeFolder& folder,
                                               const PatientVectors& vectors);

}  // namespace med3d::pipeline
