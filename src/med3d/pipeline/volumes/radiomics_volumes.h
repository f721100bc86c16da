// From scans and masks to radiomics_features.csv, a modality of a cohort.
//
//   radiomics_features.csv        one row a patient, for `med3d run`
//   radiomics_scan_features.csv   one row a scan
//   radiomics_settings.json       what all of it was computed with, under pyradiomics' names
//   outcomes.csv, outcomes.json   what became of each scan
//   scans/<key>.json              record of a finished scan: a stopped job goes on from these
//
// A record's name is a hash of patient and scan: ids never become paths.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "med3d/core/json.h"
#include "med3d/core/progress.h"
#include "med3d/radiology/radiomics/radiomics.h"

namespace med3d::pipeline {

struct RadiomicsItem {
  std::string case_id;
  std::string scan_id;                // unique within the patient
  std::filesystem::path image;        // NIfTI, a DICOM file, or a folder that holds one series
  std::filesystem::path mask;         // NIfTI
  std::optional<std::int64_t> label;  // of this row; none = the job's
};

// A table with columns case_id (or patient, patient_id), image and mask, and scan_id and label if
// there are any; names in any case. Relative paths are below the table's folder. Without scan_id
// the scans of a patient are scan_1, scan_2 and so on: file names may tell who somebody is.
//
// Throws Error(kData) with the line for a blank cell or one scan twice, kFormat for a label that is
// no whole number; as read_table.
std::vector<RadiomicsItem> read_radiomics_list(const std::filesystem::path& table);

// One image and its mask, as an item of the patient that an archive's name tells (TCGA, CPTAC),
// else of "case_1".
RadiomicsItem radiomics_item(const std::filesystem::path& image, const std::filesystem::path& mask);

// How the scans of a patient become the patient's row.
enum class ScanPool {
  kMean,
  kLargest,  // the scan with the largest region, in mm^3
};
ScanPool parse_scan_pool(std::string_view name);  // "mean", "largest"

struct RadiomicsJob {
  std::filesystem::path output;
  radiomics::Options options;  // options.threads for one scan after the other
  ScanPool pool = ScanPool::kMean;
  bool overwrite = false;  // compute again what is there
};

// The options under pyradiomics' names.
Json radiomics_settings(const RadiomicsJob& job);

enum class RadiomicsStatus {
  kDone,
  kKept,    // was finished before, of the same bytes with the same options
  kFailed,  // `reason` says why; other scans went on
};

struct RadiomicsOutcome {
  std::string case_id;
  std::string scan_id;
  RadiomicsStatus status = RadiomicsStatus::kDone;
  std::string reason;              // of a failure
  radiomics::Result result;        // empty where it failed before there was one
  std::vector<std::string> notes;  // what was mended in a DICOM series

  Json to_json() const;
};

// Works through the items and writes the files above. A feature that is not estimable (NaN) keeps
// its scan out of the tables: a cohort holds finite numbers. The scan is a failure that names it,
// and its record and outcomes.json have the others.
//
// Memory: one image and its mask, and what radiomics::extract takes.
// Throws Error(kUsage) as Options::validate and for no item; kIo if the folder cannot be written or
// another process works in it. What is wrong with one scan is its outcome.
std::vector<RadiomicsOutcome> extract_radiomics(const std::vector<RadiomicsItem>& items,
                                                const RadiomicsJob& job,
                                                Progress& progress);

// 0 all done, 1 all failed, 3 some failed.
int exit_code(const std::vector<RadiomicsOutcome>& outcomes);
// Counts by status, and failures with their reasons in order.
std::string radiomics_text(const std::vector<RadiomicsOutcome>& outcomes);

}  // namespace med3d::pipeline
