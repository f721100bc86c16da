// A cohort of generated patients as a hospital's files would be: slides, DICOM series and tables.
// Nobody real is in it, and its answer is known.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "med3d/core/progress.h"

namespace med3d::pipeline {

// A fault that is planted on purpose, for the guards against leaks.
enum class PlantedLeak {
  kNone,
  kSlide,     // a test patient's slide is, byte for byte, that of a training patient
  kPatient,   // a test patient is a training patient under another spelling of the id
  kScan,      // a test patient's CT holds the pixels of a training patient's, under other UIDs
  kBalanced,  // the test split holds as many recurrences as others, to the patient
};
std::string_view to_string(PlantedLeak leak);            // "none", "slide", ...
PlantedLeak planted_leak_of(std::string_view word);      // Error(kUsage) for another word
const std::vector<std::string>& planted_leak_words();    // in the order above
const std::vector<std::string>& planted_signal_words();  // clinical, ct, mri, wsi

// Patient p has latent severities s_m of the modalities m = clinical, ct, mri, wsi, each N(0, 1).
// Those of the modalities that carry the signal share a part, as one disease shows in all of them:
//
//   s_m = sqrt(0.5) shared + sqrt(0.5) own_m,   risk = mean of these s_m / its sd, + 0.20 noise
//
// the others' are drawn apart and tell nothing. The 35 % with the largest risk recur within 24
// months, whether or not a modality is then there. What a severity changes:
//
//   clinical   grade, pt, ecog, haemoglobin_g_dl, BAP1 of the tables; all other columns are noise
//   ct, mri    the tumour's radius 28 + 11 s mm, its enhancement 1 + 0.3 s, its heterogeneity
//   wsi        nuclei a mm^2 2600 exp(0.28 s), their size 1 + 0.1 s, clearing of the cytoplasm
//              0.7 - 0.15 s, eosin 1 - 0.06 s
//
// Missing, at random: CT, MRI, slide and the genomic panel of a fifth of the patients each (never
// all three images of one), and single values of the clinical table.
struct SynthRawOptions {
  int patients = 60;  // 6 to 999
  std::uint64_t seed = 0;
  std::vector<std::string> signal = {"clinical", "ct", "mri", "wsi"};  // modalities that carry it
  PlantedLeak leak = PlantedLeak::kNone;
  std::int64_t slide_width = 2048;  // pixels of level 0 at 0.5 micrometres, 512 to 20000
  std::int64_t slide_height = 1536;
  int threads = 1;  // the bytes do not depend on it

  void validate() const;  // Error(kUsage) naming the field
};

// What there is, or would be.
struct SynthRawInfo {
  int patients = 0;
  int recurrences = 0;  // within 24 months
  int slides = 0;
  int ct_studies = 0;
  int mri_studies = 0;
  std::int64_t files = 0;
  std::uint64_t bytes = 0;  // of a plan an estimate, within about a quarter
};

// Writes into `folder` (made if missing):
//
//   clinical.csv, genomic.csv   one row a patient, ids SYN-0001 ..., blanks where a value is
//                               missing; `split` is train or test, 75/25, stratified
//   followup.csv                rfs_months, rfs_event, os_months, os_event
//   slides/SYN-0001.svs         wsi/synth_slide.h
//   dicom/SYN-0001/{ct,mr}/     radiology/synth_series.h: the series a hospital would send, with
//                               localizers, pre-contrast, coronal and derived ones among them
//   cohort.toml                 endpoint, tables, [slides] and [scans], synthetic = true
//   truth.csv                   what was planted; no part of the pipeline reads it
//   SYNTHETIC.txt               the marker
//
// Equal options give equal bytes, at any number of threads, also where a synthetic cohort stood
// before: its slides and scans are removed. Throws Error(kUsage) for options out of range and for a
// folder that holds such files without the marker; kIo.
SynthRawInfo write_synthetic_raw_cohort(const std::filesystem::path& folder,
                                        const SynthRawOptions& options,
                                        Progress& progress);

// The same without writing.
SynthRawInfo plan_synthetic_raw_cohort(const SynthRawOptions& options);

}  // namespace med3d::pipeline
