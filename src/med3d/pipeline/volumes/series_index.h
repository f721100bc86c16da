// The index of a folder of CT and MR scans: one SQLite file, one row a series, one row a file.
//
// Any layout will do (PatientID/SeriesInstanceUID, NBIA, IDC, GDC, flat, several series in one
// folder): files are told by what they hold, and put together by SeriesInstanceUID. A DICOMDIR is
// not believed: the files themselves are read. A NIfTI file is a series, described by its sidecar
// or by a table. Links are not followed, names that begin with a dot are left out.
//
// The index holds no name, number or birth date of a patient as the headers have them:
//
//   patient   the public id of TCGA and CPTAC, a name given by the user's own table, or a
//   pseudonym:
//             "p-" and 12 digits of SHA-256(secret, PatientID). Without a secret it can be found
//             again by who knows all numbers; with one it cannot
//   study, series   first digits of a SHA-256 of the UID; names of files are made of these
//   dates     dropped, or moved by -1825 to 1825 days, one number for a patient
//
// It does hold what is needed to work with the folder: descriptions as they stand,
// SeriesInstanceUID and the files' paths, which may name a patient where the folders do. It is made
// readable by its owner alone and stays with the data; outputs for others carry `patient` and
// `series`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "med3d/core/progress.h"
#include "med3d/radiology/series_header.h"

namespace med3d::pipeline {

struct SeriesRecord {
  std::string series;    // 16 hexadecimal digits; safe as a file name, the same on every run
  std::string patient;   // public id or pseudonym; safe as a file name
  std::string study;     // "t" and 12 digits; "" where not said
  std::string modality;  // "CT", "MR", ...; that of `facts`
  std::vector<std::filesystem::path> files;  // absolute, each instance once, in order of path

  std::string collection;  // "TCGA", "CPTAC", "other"; a table of series may name one of its own
  std::string series_uid;  // never for an output; "" where not said
  SeriesFacts facts;
  std::optional<std::int64_t> series_number;
  std::string study_date;  // YYYYMMDD moved as asked, or ""
  std::string series_date;
  std::int64_t columns = 0;  // 0 = no images
  std::int64_t rows = 0;
  std::optional<double> spacing_x_mm;
  std::optional<double> spacing_y_mm;
  std::optional<double> thickness_mm;
  std::optional<double> step_mm;      // median distance of neighbouring slices
  std::int64_t images = 0;            // without duplicates
  std::int64_t duplicates = 0;        // files of an instance that is there already
  std::vector<std::string> problems;  // "slices missing or unevenly spaced", ...
};

// The series of an index in order of patient, study, number and key.
// Throws Error(kNotFound) if there is none, kFormat if it is no index of this program or version.
std::vector<SeriesRecord> read_series_index(const std::filesystem::path& index);

// Series from a table of descriptions instead of files: columns modality and SeriesDescription,
// and, where there, case_id or PatientID, SeriesInstanceUID or series, StudyDescription,
// SeriesNumber, collection, ImageType, slices, plane (axial, coronal, sagittal, oblique),
// ContrastBolusAgent. "NA" and empty cells are not said. Ids that are not public become pseudonyms.
// Throws as read_table; Error(kNotFound) without the two columns, kData for a cell of no meaning.
std::vector<SeriesRecord> read_series_table(const std::filesystem::path& table,
                                            bool keep_ids = false,
                                            const std::string& secret = "");

enum class IndexDates { kDrop, kShift };

struct VolumeIndexOptions {
  std::filesystem::path folder;
  std::filesystem::path index;  // empty = volumes.sqlite in the folder
  bool keep_ids = false;        // patients under their PatientID as it stands
  std::string secret;           // mixed into pseudonyms and shifts; shifting needs one
  IndexDates dates = IndexDates::kDrop;
  // Tables: patient_id,case_id for names of the user's own; path (relative to `folder`) with any
  // of case_id, modality, SeriesDescription, StudyDescription, series for NIfTI files. Or empty.
  std::filesystem::path case_ids;
  std::filesystem::path volumes;
  bool redo = false;  // read every file again
  int threads = 1;    // files read at once; the index does not depend on it

  std::filesystem::path index_path() const;
  // Throws Error(kUsage) for shifted dates without a secret.
  void validate() const;
};

struct ProblemFile {
  std::filesystem::path path;  // relative to the folder; may name a patient
  std::string problem;
};

struct VolumeIndexResult {
  std::int64_t files = 0;  // regular files found
  std::int64_t read = 0;   // of them new or changed, and read
  std::int64_t unchanged = 0;
  std::int64_t vanished = 0;  // known before, gone now
  std::int64_t other = 0;     // neither DICOM nor NIfTI, and not called so
  std::int64_t links = 0;     // not followed
  std::int64_t series = 0;
  std::int64_t patients = 0;
  std::vector<ProblemFile> problem_files;               // damaged, no regular file, ...
  std::map<std::string, std::int64_t> series_problems;  // how many series have each
};

// Makes or renews the index. A file whose size and time of change are as before is not read again;
// a killed run goes on where it was, from ".<name>.part" beside the index. The index itself is
// always the old one or the new one.
//
// One damaged file is a row with its problem, and the others go on.
//
// Throws Error(kNotFound) if there is no such folder, kData for more than 4,000,000 files, kIo if
// the index cannot be written or another run is at it.
VolumeIndexResult index_volumes(const VolumeIndexOptions& options, Progress& progress);

}  // namespace med3d::pipeline
