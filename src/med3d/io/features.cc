#include "med3d/io/features.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <map>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/limits.h"
#include "med3d/core/text.h"
#include "med3d/io/formats/csv.h"
#include "med3d/io/formats/hdf5.h"
#include "med3d/io/formats/npy.h"
#include "med3d/io/formats/safetensors.h"
#include "med3d/io/formats/torch_file.h"

namespace med3d {
namespace fs = std::filesystem;
namespace {

// The only list: a new format is one line here.
constexpr const FeatureFormat* kFormats[] = {
    &npy_feature_format,
    &npz_feature_format,
    &safetensors_feature_format,
    &torch_feature_format,
    &hdf5_feature_format,
};

std::string known_extensions() {
  std::vector<std::string> out;
  for (const auto* format : kFormats) {
    for (const auto extension : format->extensions) out.emplace_back(extension);
  }
  return join(out, ", ");
}

std::string read_head(const fs::path& path) {
  // Opening a pipe would block, so what is no regular file is left to the refusals of read_file.
  if (!fs::is_regular_file(path)) read_file(path, 0);
  std::ifstream file(path, std::ios::binary);
  std::string head(kFeatureHeadBytes, '\0');
  file.read(head.data(), static_cast<std::streamsize>(head.size()));
  if (file.bad() || !file.is_open()) {
    throw Error(ErrorKind::kIo, path.string() + ": cannot be read");
  }
  head.resize(static_cast<std::size_t>(file.gcount()));
  return head;
}

const FeatureFormat& format_of(const fs::path& path) {
  const std::string head = read_head(path);
  if (head.empty()) throw Error(ErrorKind::kFormat, path.string() + ": an empty file");
  const std::string extension = to_lower(path.extension().string());
  const FeatureFormat* named = nullptr;
  const FeatureFormat* content = nullptr;
  for (const auto* format : kFormats) {
    const auto& known = format->extensions;
    if (std::find(known.begin(), known.end(), extension) != known.end()) named = format;
    if (content == nullptr && format->detect(head)) content = format;
  }
  if (named != nullptr && named->detect(head)) return *named;
  if (named != nullptr) {
    throw Error(ErrorKind::kFormat,
                fmt::format("{}: named as {} but its content is {}",
                            path.string(),
                            named->name,
                            content != nullptr ? content->name : "not"));
  }
  if (content == nullptr) {
    throw Error(ErrorKind::kUnsupported,
                fmt::format("{}: not a feature file that is known, expected one of {}",
                            path.string(),
                            known_extensions()));
  }
  return *content;
}

// Spelling aside: "Case ID", "case_id" and "CaseID" are one name.
std::string plain_name(std::string_view name) {
  std::string out;
  for (const char c : to_lower(name)) {
    if (c != ' ' && c != '_' && c != '-' && c != '.') out += c;
  }
  return out;
}

bool is_case_column(std::string_view name) {
  const std::string plain = plain_name(name);
  return plain == "caseid" || plain == "case" || plain.starts_with("patient");
}

bool is_item_column(std::string_view name) {
  const std::string plain = plain_name(name);
  constexpr std::string_view kNames[] = {
      "slideid", "scanid", "itemid", "examid", "seriesuid", "seriesinstanceuid"};
  return std::find(std::begin(kNames), std::end(kNames), plain) != std::end(kNames);
}

void require_sound(const float* values, std::size_t rows, std::size_t cols, const fs::path& path) {
  if (rows == 0 || cols == 0) {
    throw Error(ErrorKind::kData,
                fmt::format("{}: {} rows of {} features, expected at least one of each",
                            path.string(),
                            rows,
                            cols));
  }
  // A value is not finite when all bits of its exponent are set. Looked for in pieces without a
  // branch, then by name.
  const auto finite = [](float value) {
    return (std::bit_cast<std::uint32_t>(value) & 0x7f800000U) != 0x7f800000U;
  };
  constexpr std::size_t kPiece = 4096;
  for (std::size_t first = 0; first < rows * cols; first += kPiece) {
    const std::size_t end = std::min(rows * cols, first + kPiece);
    unsigned bad = 0;
    for (std::size_t i = first; i < end; ++i) bad |= finite(values[i]) ? 0U : 1U;
    if (bad == 0) continue;
    while (finite(values[first])) ++first;
    throw Error(ErrorKind::kData,
                fmt::format("{}: row {}, column {} (counted from 0) is {}, expected a finite "
                            "number",
                            path.string(),
                            first / cols,
                            first % cols,
                            values[first]));
  }
}

}  // namespace

std::span<const FeatureFormat* const> feature_formats() { return kFormats; }

Matrix<float> read_features(const fs::path& path) {
  Matrix<float> out = format_of(path).open(path);
  require_sound(out.data(), out.rows(), out.cols(), path);
  return out;
}

std::optional<StoredFeatures> stored_features(const fs::path& path) {
  const FeatureFormat& format = format_of(path);
  if (format.stored == nullptr) return std::nullopt;
  const FileBytes file = FileBytes::map(path, limits().weights_bytes);
  const auto arrays = format.stored(file, path.string());
  std::vector<std::string> names;
  for (const auto& named : arrays) names.push_back(named.name);
  const NamedStoredArray& chosen = arrays[features_among(names, path.string())];
  const auto [rows, cols] =
      matrix_shape(chosen.array.shape, fmt::format("{}, array '{}'", path.string(), chosen.name));
  if (chosen.array.dtype != DType::kF32 || !chosen.array.in_place) return std::nullopt;
  const std::string_view bytes = chosen.array.in_place();
  StoredFeatures out{file, 0, rows, cols};
  if (!bytes.empty()) out.offset = static_cast<std::uint64_t>(bytes.data() - file.view().data());
  if (bytes.size() != rows * cols * sizeof(float) || out.offset % alignof(float) != 0) {
    return std::nullopt;
  }
  require_sound(out.data(), rows, cols, path);
  return out;
}

FeatureTable read_feature_table(const fs::path& path) {
  const Table table = read_table(path);
  const auto& columns = table.columns;
  // Only the nameless first column of pandas is skipped: a named one may hold anything.
  const std::size_t id =
      columns[0] == "index" && columns.size() > 1 && is_case_column(columns[1]) ? 1 : 0;
  if (!is_case_column(columns[id])) {
    throw Error(ErrorKind::kFormat,
                fmt::format("{}: the first column is '{}', expected a case id (case_id, "
                            "patient_id, PatientID, Case ID)",
                            table.source,
                            columns[id].substr(0, 100)));
  }
  const bool items = columns.size() > id + 1 && is_item_column(columns[id + 1]);
  const std::size_t first = id + (items ? 2 : 1);
  if (first >= columns.size()) {
    throw Error(ErrorKind::kFormat, table.source + ": no feature columns after the ids");
  }

  FeatureTable out;
  out.columns.assign(columns.begin() + static_cast<std::ptrdiff_t>(first), columns.end());
  out.values = Matrix<float>(table.rows.size(), out.columns.size());
  std::map<std::pair<std::string, std::string>, std::size_t> seen;
  for (std::size_t r = 0; r < table.rows.size(); ++r) {
    const auto& row = table.rows[r];
    const auto fail = [&](ErrorKind kind, std::size_t column, std::string_view what) {
      throw Error(kind,
                  fmt::format("{}: line {}, column '{}': {}",
                              table.source,
                              table.line_of_row[r],
                              columns[column].substr(0, 100),
                              what));
    };
    const std::string case_id(trim(row[id]));
    const std::string item_id(items ? trim(row[id + 1]) : std::string_view());
    if (case_id.empty()) fail(ErrorKind::kData, id, "a blank id");
    if (items && item_id.empty()) fail(ErrorKind::kData, id + 1, "a blank id");
    const auto [twin, fresh] = seen.emplace(std::pair(case_id, item_id), table.line_of_row[r]);
    if (!fresh) {
      fail(ErrorKind::kData,
           items ? id + 1 : id,
           fmt::format("the id of line {} again", twin->second));
    }
    out.case_ids.push_back(case_id);
    if (items) out.item_ids.push_back(item_id);
    for (std::size_t c = first; c < columns.size(); ++c) {
      const auto value = parse_double(row[c]);
      if (!value) {
        fail(ErrorKind::kFormat,
             c,
             row[c].empty() ? "an empty cell, expected a number"
                            : fmt::format("'{}', expected a number", row[c].substr(0, 40)));
      }
      const auto number = static_cast<float>(*value);
      if (!std::isfinite(number)) {
        fail(ErrorKind::kData,
             c,
             fmt::format("'{}', expected a finite number of single precision",
                         row[c].substr(0, 40)));
      }
      out.values(r, c - first) = number;
    }
  }
  return out;
}

std::string feature_table_csv(const FeatureTable& table) {
  const bool items = !table.item_ids.empty();
  const std::size_t rows = table.case_ids.size();
  if (table.values.rows() != rows || table.values.cols() != table.columns.size() ||
      (items && table.item_ids.size() != rows)) {
    throw Error(
        ErrorKind::kUsage,
        fmt::format("feature table: {} case ids, {} item ids, {} columns and {} x {} values "
                    "do not fit together",
                    rows,
                    table.item_ids.size(),
                    table.columns.size(),
                    table.values.rows(),
                    table.values.cols()));
  }
  std::vector<std::string> columns = {"case_id"};
  if (items) columns.emplace_back("item_id");
  columns.insert(columns.end(), table.columns.begin(), table.columns.end());
  CsvWriter writer(columns);
  for (std::size_t r = 0; r < rows; ++r) {
    writer.text(table.case_ids[r]);
    if (items) writer.text(table.item_ids[r]);
    for (const float value : table.values.row(r)) writer.number(value);
    writer.end_row();
  }
  return writer.str();
}

std::vector<std::string> feature_columns(std::string_view prefix, std::size_t count) {
  std::vector<std::string> out;
  out.reserve(count);
  for (std::size_t i = 0; i < count; ++i) out.push_back(fmt::format("{}_{}", prefix, i));
  return out;
}

}  // namespace med3d
