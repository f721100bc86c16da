// Features of a scan or slide from any file format we read, and the wide tables of one row per
// case.
//
// A new format is formats/<name>.cc with a FeatureFormat and one line in features.cc.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "med3d/core/file_bytes.h"
#include "med3d/core/matrix.h"
#include "med3d/io/stored_array.h"

namespace med3d {

struct FeatureFormat {
  std::string_view name;                     // "npy"
  std::vector<std::string_view> extensions;  // lower case, with the dot: ".npy"
  bool (*detect)(std::string_view head);     // by the first kFeatureHeadBytes of a file or fewer
  Matrix<float> (*open)(const std::filesystem::path& path);  // (rows, features)
  // The arrays of a file where they lie, for formats that hold them as memory does; else null.
  std::vector<NamedStoredArray> (*stored)(const FileBytes& file,
                                          const std::string& source) = nullptr;
};

constexpr std::size_t kFeatureHeadBytes = 4096;

// Every format, in the order in which they are tried on a file without a known extension.
std::span<const FeatureFormat* const> feature_formats();

// The features of one scan or slide: (rows, features), one row per scan, tile or slide.
//
// The extension names the format and the first bytes must agree; without a known extension the
// first bytes decide alone. An array of one axis is one row; axes of length one are dropped.
//
// Throws Error(kNotFound) for a missing file, kUnsupported for an unknown format, kFormat for
// content of another format than the extension says or a damaged file, kData if there is no row,
// no feature, or a value is not finite (row and column are named, counted from 0).
Matrix<float> read_features(const std::filesystem::path& path);

// The same where they lie in the file, mapped and not copied.
struct StoredFeatures {
  FileBytes file;
  std::uint64_t offset = 0;  // of the first value in it, a multiple of four
  std::size_t rows = 0;
  std::size_t cols = 0;

  const float* data() const { return reinterpret_cast<const float*>(file.view().data() + offset); }
};

// Nothing where the file holds them in another type or order, packed, or not aligned: read_features
// then. What read_features refuses is refused here, checksums and values included. Cost: one pass
// over the values.
std::optional<StoredFeatures> stored_features(const std::filesystem::path& path);

// A table of one row per case, or per case and item: the paper's clinical_features.csv,
// wsi_features.csv and ct_mri_features.csv.
struct FeatureTable {
  std::vector<std::string> case_ids;  // (rows,)
  std::vector<std::string> item_ids;  // (rows,) slide or scan of each row; empty if not in the file
  std::vector<std::string> columns;   // (features,) "ehr_0", "ehr_1", ...
  Matrix<float> values;               // (rows, features), finite
};

// Reads a CSV or TSV whose first column is the case: case_id, patient_id, PatientID, "Case ID",
// PATIENT, in any case (a nameless row index before it, as pandas writes, is skipped). A second
// column slide_id, scan_id, item_id, exam_id, series_uid or SeriesInstanceUID names the item. All
// others are features of any name.
//
// Throws Error(kFormat) with line and column for a cell that is not a number, kData for a blank id,
// NaN, infinity, or a case (or case and item) that occurs twice.
FeatureTable read_feature_table(const std::filesystem::path& path);

// The same as text: "case_id,[item_id,]ehr_0,...", numbers the shortest that read back the same.
// Throws Error(kUsage) if the sizes do not fit together.
std::string feature_table_csv(const FeatureTable& table);

// "ehr_0" ... "ehr_63": the column names of the paper's tables.
std::vector<std::string> feature_columns(std::string_view prefix, std::size_t count);

}  // namespace med3d
