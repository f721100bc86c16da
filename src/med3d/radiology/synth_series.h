// CT and MR studies made from a seed, as DICOM files: an abdomen with two kidneys and a tumour.
//
// For demos and tests of the whole way from files to report without patient data. It looks like an
// abdomen to an eye that does not look twice; no finding on it means anything.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "med3d/radiology/volume.h"

namespace med3d {

enum class SynthModality { kCt, kMr };

struct SynthStudyOptions {
  SynthModality modality = SynthModality::kCt;
  // Of anatomy and noise: one patient's CT and MR have one seed, and one anatomy.
  std::uint64_t seed = 0;
  // Of UIDs: a second study with another one holds the same pixels under other UIDs.
  std::uint64_t uid_seed = 0;
  std::string patient_id = "SYN-0001";  // 1 to 64 characters; also in PatientName, SYNTHETIC^...
  bool german = false;                  // descriptions in German, else English

  // The tumour: what a model can find. Its contrast with what surrounds it grows with all three.
  double tumour_radius_mm = 28.0;  // 6 to 60
  double enhancement = 1.0;        // 0 to 2; 1: 110 HU in the arterial phase, 75 in the venous one
  double necrosis = 0.0;           // 0 to 0.8: radius of the core that does not enhance, as a share
  double heterogeneity = 0.3;      // 0 to 1: unevenness of what enhances

  void validate() const;  // Error(kUsage) naming the field
};

struct SynthSeriesInfo {
  std::string folder;       // of its files, below the study's
  std::string description;  // SeriesDescription
  bool kept = false;        // by the shipped rules (series_filter.h)
  std::int64_t images = 0;
};

struct SynthStudyInfo {
  std::vector<SynthSeriesInfo> series;
  Vector3 tumour_centre_mm{};  // LPS, in the coordinates of the files
  std::uint64_t bytes = 0;     // of all files
};

// Writes one study: <folder>/<series number>/IM0001 ..., explicit VR little endian.
//
//   CT  localizer (2 projections) | axial before contrast | arterial | venous | venous coronal
//       (every second patient's marked as derived, the others told by their orientation alone) |
//       dose report (secondary capture). 72 x 72 pixels of 5 mm, 16 slices of 6 mm; HU
//   MR  localizer (three planes in one series) | T2 axial | T1 before contrast | T1 after it |
//       T2 coronal | ADC map. 64 x 64 pixels of 5.6 mm, 14 slices of 7 mm
//
// About 0.6 MB a CT and 0.4 MB an MR. The CT's arterial and venous and the MR's T2 and T1 after
// contrast are what the shipped rules keep; the rest are distractors.
//
// Every voxel is a function of the options and its place. Files are written without flushing: write
// what makes the folder a cohort after them, atomically.
// Throws Error(kUsage) as validate, kIo if writing fails.
//
// Checked against: our reader and filter, pydicom 2.3.1, DCMTK 3.6.7 dcmdump.
SynthStudyInfo write_synth_study(const std::filesystem::path& folder,
                                 const SynthStudyOptions& options);

// What write_synth_study would say, without writing; `bytes` is 0 then.
SynthStudyInfo describe_synth_study(const SynthStudyOptions& options);

}  // namespace med3d
