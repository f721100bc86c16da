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

// How many values, from the first on, are surely finite: all of them, or those before the block
// that holds one that is not. A block is tested without a branch, which compiles to vector
// instructions.
std::size_t finite_until(std::span<const float> values) {
  constexpr std::size_t kBlock = 4096;
  for (std::size_t at = 0; at < values.size(); at += kBlock) {
    std::uint32_t found = 0;
    for (const float value : values.subspan(at, std::min(kBlock, values.size() - at))) {
      constexpr std::uint32_t kExponent = 0x7f800000U;
      found |= (std::bit_cast<std::uint32_t>(value) & kExponent) == kExponent ? 1U : 0U;
    }
    if (found != 0) return at;
  }
  return values.size();
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

}  // namespace

std::span<const FeatureFormat* const> feature_formats() { return kFormats; }

Matrix<float> read_features(const fs::path& path) {
  Matrix<float> out = format_of(path).open(path);
  if (out.rows() == 0 || out.cols() == 0) {
    throw Error(ErrorKind::kData,
                fmt::format("{}: {} rows of {} features, expected at least one of each",
                            path.string(),
                            out.rows(),
                            out.cols()));
  }
  for (std::size_t i = finite_until({out.data(), out.size()}); i < out.size(); ++i) {
    if (!std::isfinite(out.data()[i])) {
      throw Error(ErrorKind::kData,
                  fmt::format("{}: row {}, column {} (counted from 0) is {}, expected a finite "
                              "number",
                              path.string(),
                              i / out.cols(),
                              i % out.cols(),
                              out.data()[i]));
    }
  }
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
