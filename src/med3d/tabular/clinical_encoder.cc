#include "med3d/tabular/clinical_encoder.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>
#include <set>
#include <string_view>

#include "med3d/core/error.h"
#include "med3d/core/text.h"
#include "med3d/tabular/preprocess.h"

namespace med3d::tabular {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
// Beyond this a value is a typing error or an overflow in waiting (features become floats).
constexpr double kLargest = 1e30;
constexpr std::size_t kIdentifierRows = 20;
constexpr std::array<std::string_view, 5> kFamilies = {"stage", "T", "N", "M", "G"};

std::string lower_trimmed(std::string_view text) { return to_lower(trim(text)); }

std::string place(std::size_t row, const std::string& column) {
  return "row " + std::to_string(row + 1) + ", column '" + column + "': ";
}

std::string plural(std::size_t n, const std::string& one, const std::string& many) {
  return std::to_string(n) + " " + (n == 1 ? one : many);
}

// The value of a stage word, NaN for X, nothing if the word is not of this family.
std::optional<double> stage_value(std::string_view family, std::string_view cell) {
  std::string text = lower_trimmed(cell);
  if (const auto note = text.find('('); note != std::string::npos && note > 0) {
    text = std::string(trim(text.substr(0, note)));
  }
  double value = 0.0;
  std::string rest;
  if (family == "stage") {
    const bool prefixed = text.starts_with("stage");
    if (prefixed) text = std::string(trim(text.substr(5)));
    if (text == "x") return kNan;
    const auto digits = text.find_first_not_of("iv");
    const std::string roman = text.substr(0, digits);
    rest = digits == std::string::npos ? "" : text.substr(digits);
    if (roman == "i") {
      value = 1.0;
    } else if (roman == "ii") {
      value = 2.0;
    } else if (roman == "iii") {
      value = 3.0;
    } else if (roman == "iv") {
      value = 4.0;
    } else if (prefixed && roman.empty() && !rest.empty() && rest[0] >= '0' && rest[0] <= '4') {
      value = rest[0] - '0';
      rest = rest.substr(1);
    } else {
      return std::nullopt;
    }
  } else {
    const char letter = to_lower(family)[0];
    std::size_t start = 0;
    while (letter != 'g' && start < text.size() && start < 2 &&
           std::string_view("pcyr").find(text[start]) != std::string_view::npos) {
      ++start;
    }
    if (start + 1 >= text.size() || text[start] != letter) return std::nullopt;
    rest = text.substr(start + 1);
    if (rest == "x") return kNan;
    if (letter == 't' && rest == "is") return 0.5;
    const int lowest = letter == 'g' ? 1 : 0;
    const int highest = letter == 'm' ? 1 : letter == 'n' ? 3 : 4;
    const int digit = rest[0] - '0';
    if (digit < lowest || digit > highest) return std::nullopt;
    value = digit;
    rest = rest.substr(1);
    if (letter == 'g' && !rest.empty()) return std::nullopt;
  }
  if (rest.empty()) return value;
  if (rest.size() == 1 && rest[0] >= 'a' && rest[0] <= 'c') {
    return value + 0.25 * (rest[0] - 'a' + 1);
  }
  return std::nullopt;
}

// A number cell: NaN where the text says so, nothing for other text.
std::optional<double> number_cell(const std::string& cell,
                                  std::size_t row,
                                  const std::string& column) {
  const std::optional<double> value = parse_double(cell);
  if (!value || std::isnan(*value)) return value;
  // "inf" is how tools write an empty division; "1e400" is a number that does not fit.
  const bool digits = cell.find_first_of("0123456789") != std::string::npos;
  if (std::isinf(*value) && !digits) return kNan;
  if (std::abs(*value) > kLargest) {
    throw Error(ErrorKind::kData,
                place(row, column) + std::string(trim(cell)) +
                    " is out of range, expected a number between -1e30 and 1e30");
  }
  return value;
}

// Numbers that are written differently ("1", "1.0") are one level.
std::string level_of_cell(const std::string& cell) {
  const std::optional<double> value = parse_double(cell);
  return value && std::isfinite(*value) ? format_double(*value) : std::string(trim(cell));
}

void sort_levels(std::vector<std::string>& levels) {
  const bool numeric = std::all_of(levels.begin(), levels.end(), [](const std::string& level) {
    return parse_double(level).has_value();
  });
  std::sort(levels.begin(), levels.end(), [&](const std::string& a, const std::string& b) {
    return numeric ? *parse_double(a) < *parse_double(b) : a < b;
  });
}

std::vector<std::string> column_names(const RawTable& table) {
  std::vector<std::string> out;
  for (const RawColumn& column : table) out.push_back(column.name);
  return out;
}

// Rows of the table, after the checks every use needs.
std::size_t check_table(const RawTable& table) {
  std::set<std::string> seen;
  for (const RawColumn& column : table) {
    if (!seen.insert(column.name).second) {
      throw Error(ErrorKind::kData,
                  "clinical table: two columns are called '" + column.name + "', expected one");
    }
    if (column.cells.size() != table.front().cells.size()) {
      throw Error(ErrorKind::kData,
                  "clinical table: column '" + column.name + "' has " +
                      plural(column.cells.size(), "row", "rows") + ", expected " +
                      std::to_string(table.front().cells.size()) + " as in '" + table.front().name +
                      "'");
    }
  }
  return table.empty() ? 0 : table.front().cells.size();
}

bool contains(const std::vector<std::string>& list, const std::string& value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

}  // namespace

// One column as numbers (nominal: index into levels); NaN = missing, -1 = nominal level unknown.
struct ClinicalEncoder::Parsed {
  std::vector<double> value;
  std::vector<std::string> unknown;  // distinct unknown nominal cells, in order of appearance
  std::size_t n_unknown = 0;
};

void EncoderOptions::validate() const {
  if (!(max_missing >= 0.0 && max_missing <= 1.0)) {
    throw Error(ErrorKind::kUsage,
                "clinical encoder: max_missing is " + format_double(max_missing) +
                    ", expected a share between 0 and 1");
  }
  for (const auto& [column, levels] : ordinal) {
    std::set<std::string> seen;
    for (const std::string& level : levels) {
      if (!seen.insert(lower_trimmed(level)).second) {
        throw Error(
            ErrorKind::kUsage,
            "clinical encoder: ordinal column '" + column + "' lists '" + level + "' twice");
      }
    }
    if (contains(categorical, column)) {
      throw Error(
          ErrorKind::kUsage,
          "clinical encoder: column '" + column + "' is declared both ordinal and categorical");
    }
  }
}

bool ClinicalEncoder::is_missing(const std::string& cell) const {
  const std::string text = lower_trimmed(cell);
  if (std::binary_search(missing_.begin(), missing_.end(), text)) return true;
  return std::binary_search(missing_.begin(), missing_.end(), "-1") && parse_double(text) == -1.0;
}

ClinicalEncoder::Column ClinicalEncoder::learn_type(const RawColumn& raw,
                                                    const EncoderOptions& options) const {
  Column out;
  out.name = raw.name;
  if (const auto declared = options.ordinal.find(raw.name); declared != options.ordinal.end()) {
    out.kind = Kind::kOrdinal;
    for (const std::string& level : declared->second) out.levels.push_back(lower_trimmed(level));
    return out;
  }
  if (contains(options.categorical, raw.name)) {
    out.kind = Kind::kNominal;
    return out;
  }
  std::size_t present = 0;
  std::size_t numbers = 0;
  std::optional<std::size_t> first_text;
  for (std::size_t i = 0; i < raw.cells.size(); ++i) {
    if (is_missing(raw.cells[i])) continue;
    ++present;
    if (parse_double(raw.cells[i])) {
      ++numbers;
    } else if (!first_text) {
      first_text = i;
    }
  }
  if (!first_text) return out;
  if (2 * numbers > present) {
    throw Error(ErrorKind::kData,
                place(*first_text, raw.name) + "'" + std::string(trim(raw.cells[*first_text])) +
                    "', expected a number as in " + std::to_string(numbers) + " of " +
                    std::to_string(present) +
                    " cells (or declare the column categorical, or the text missing)");
  }
  for (const std::string_view family : kFamilies) {
    bool all = true;
    bool known = false;
    for (const std::string& cell : raw.cells) {
      if (is_missing(cell)) continue;
      const std::optional<double> value = stage_value(family, cell);
      all = all && value.has_value();
      known = known || (value && !std::isnan(*value));
      if (!all) break;
    }
    if (all && known) {
      out.kind = Kind::kStage;
      out.family = std::string(family);
      return out;
    }
  }
  out.kind = Kind::kNominal;
  return out;
}

ClinicalEncoder::Parsed ClinicalEncoder::parse(const Column& column, const RawColumn& raw) const {
  Parsed out;
  out.value.assign(raw.cells.size(), kNan);
  for (std::size_t i = 0; i < raw.cells.size(); ++i) {
    const std::string& cell = raw.cells[i];
    if (is_missing(cell)) continue;
    const auto refuse = [&](const std::string& expected) {
      throw Error(
          ErrorKind::kData,
          place(i, column.name) + "'" + std::string(trim(cell)) + "', expected " + expected);
    };
    if (column.kind == Kind::kNominal) {
      const std::string level = level_of_cell(cell);
      const auto found = std::find(column.levels.begin(), column.levels.end(), level);
      if (found != column.levels.end()) {
        out.value[i] = static_cast<double>(found - column.levels.begin());
        continue;
      }
      out.value[i] = -1.0;
      ++out.n_unknown;
      if (!contains(out.unknown, level)) out.unknown.push_back(level);
      continue;
    }
    if (column.kind == Kind::kStage) {
      const std::optional<double> value = stage_value(column.family, cell);
      if (!value) refuse("a " + column.family + " word such as the training table has");
      out.value[i] = *value;
      continue;
    }
    const std::optional<double> value = number_cell(cell, i, column.name);
    if (value) {
      out.value[i] = *value;
      continue;
    }
    if (column.kind == Kind::kNumeric) refuse("a number");
    const std::string word = lower_trimmed(cell);
    const auto found = std::find(column.levels.begin(), column.levels.end(), word);
    if (found == column.levels.end()) {
      refuse("a number or one of: " + join(column.levels, ", ") +
             did_you_mean(word, column.levels));
    }
    out.value[i] = static_cast<double>(found - column.levels.begin());
  }
  return out;
}

void ClinicalEncoder::set_missing(const std::vector<std::string>& words) {
  for (const std::string& word : words) missing_.push_back(lower_trimmed(word));
  std::sort(missing_.begin(), missing_.end());
  missing_.erase(std::unique(missing_.begin(), missing_.end()), missing_.end());
}

std::vector<std::string> ClinicalEncoder::text_columns(const RawTable& table,
                                                       const EncoderOptions& options) {
  options.validate();
  check_table(table);
  ClinicalEncoder encoder;
  encoder.set_missing(options.missing);
  std::vector<std::string> out;
  for (const RawColumn& raw : table) {
    if (contains(options.drop, raw.name) || contains(options.categorical, raw.name)) continue;
    if (encoder.learn_type(raw, options).kind == Kind::kNominal) out.push_back(raw.name);
  }
  return out;
}

ClinicalEncoder ClinicalEncoder::fit(const RawTable& training, const EncoderOptions& options) {
  options.validate();
  const std::size_t rows = check_table(training);
  if (rows == 0) {
    throw Error(ErrorKind::kData, "clinical table: no rows to learn from, expected at least one");
  }
  const std::vector<std::string> names = column_names(training);
  const auto check_named = [&](const std::string& name, const char* option) {
    if (contains(names, name)) return;
    throw Error(ErrorKind::kUsage,
                std::string("clinical encoder: '") + option + "' names column '" + name +
                    "', which is not in the table" + did_you_mean(name, names));
  };
  for (const std::string& name : options.drop) check_named(name, "drop");
  for (const std::string& name : options.categorical) check_named(name, "categorical");
  for (const auto& [name, levels] : options.ordinal) check_named(name, "ordinal");

  ClinicalEncoder out;
  out.set_missing(options.missing);
  out.drop_first_ = options.drop_first;
  out.min_max_ = options.min_max;

  std::vector<std::vector<bool>> patterns;  // of the indicators, to find equal ones
  for (const RawColumn& raw : training) {
    if (contains(options.drop, raw.name)) continue;
    const auto report = [&](const char* kind, const std::string& message) {
      out.findings_.push_back({kind, raw.name, message});
    };
    Column column = out.learn_type(raw, options);
    if (column.kind == Kind::kNominal) {
      std::vector<std::string> present;
      for (const std::string& cell : raw.cells) {
        if (!out.is_missing(cell)) present.push_back(level_of_cell(cell));
      }
      const std::set<std::string> distinct(present.begin(), present.end());
      if (distinct.size() == present.size() && present.size() >= kIdentifierRows &&
          !contains(options.categorical, raw.name)) {
        report("identifier",
               "dropped: all " + std::to_string(present.size()) +
                   " texts differ, so it looks like an identifier (declare it "
                   "categorical to keep it)");
        continue;
      }
      column.levels.assign(distinct.begin(), distinct.end());
      sort_levels(column.levels);
    }
    const Parsed parsed = out.parse(column, raw);
    std::vector<double> present;
    std::vector<bool> pattern;
    for (const double value : parsed.value) {
      pattern.push_back(std::isnan(value));
      if (!std::isnan(value)) present.push_back(value);
    }
    const std::size_t n_missing = rows - present.size();
    if (present.empty()) {
      report("all-missing", "dropped: no cell has a value");
      continue;
    }
    if (static_cast<double>(n_missing) > options.max_missing * static_cast<double>(rows)) {
      report("too-many-missing",
             "dropped: " + std::to_string(n_missing) + " of " + std::to_string(rows) +
                 " cells are missing, at most a share " + "of " +
                 format_double(options.max_missing) + " is allowed");
      continue;
    }
    const auto [low, high] = std::minmax_element(present.begin(), present.end());
    column.min = *low;
    column.max = *high;
    if (column.kind == Kind::kNumeric) {
      Matrix<double> values(present.size(), 1);
      std::copy(present.begin(), present.end(), values.data());
      column.fill = column_medians(values)[0];
    } else {
      column.fill = most_frequent(present);
    }
    column.indicator = options.missing_indicators && n_missing > 0;
    // A range whose inverse overflows is no range.
    column.emitted = column.max > column.min && std::isfinite(1.0 / (column.max - column.min));
    const std::string fill_text =
        column.kind == Kind::kNominal
            ? "'" + column.levels[static_cast<std::size_t>(column.fill)] + "'"
            : format_double(column.fill);
    if (!column.emitted) {
      report("constant",
             "dropped: every present cell is " + fill_text +
                 (column.indicator ? "; that it is missing in " + plural(n_missing, "row", "rows") +
                                         " is kept as an indicator"
                                   : ""));
    } else if (n_missing > 0) {
      report("imputed",
             plural(n_missing, "missing cell", "missing cells") + " of " + std::to_string(rows) +
                 " filled with the " + (column.kind == Kind::kNumeric ? "median " : "mode ") +
                 fill_text);
    }
    if (!column.emitted && !column.indicator) continue;
    if (column.indicator) {
      const auto equal = std::find(patterns.begin(), patterns.end(), pattern);
      if (equal != patterns.end()) {
        out.indicators_[static_cast<std::size_t>(equal - patterns.begin())].columns.push_back(
            out.columns_.size());
      } else {
        patterns.push_back(pattern);
        out.indicators_.push_back({"", {out.columns_.size()}});
      }
    }
    out.columns_.push_back(std::move(column));
  }
  out.name_features();
  for (const Indicator& indicator : out.indicators_) {
    if (indicator.columns.size() < 2) continue;
    out.findings_.push_back({"merged",
                             indicator.name,
                             std::to_string(indicator.columns.size()) +
                                 " columns are missing in the same rows: one indicator for all"});
  }
  if (out.feature_names_.empty()) {
    throw Error(ErrorKind::kData,
                "clinical table: no column is left, each is dropped, constant or missing");
  }
  return out;
}

void ClinicalEncoder::name_features() {
  feature_names_.clear();
  for (const Column& column : columns_) {
    if (!column.emitted) continue;
    if (column.kind != Kind::kNominal) {
      feature_names_.push_back(column.name);
      continue;
    }
    for (std::size_t level = drop_first_ ? 1 : 0; level < column.levels.size(); ++level) {
      feature_names_.push_back(column.name + "=" + column.levels[level]);
    }
  }
  for (Indicator& indicator : indicators_) {
    std::vector<std::string> members;
    for (const std::size_t c : indicator.columns) members.push_back(columns_[c].name);
    indicator.name = "missing(" + join(members, ",") + ")";
    feature_names_.push_back(indicator.name);
  }
  std::set<std::string> seen;
  for (const std::string& name : feature_names_) {
    if (!seen.insert(name).second) {
      throw Error(ErrorKind::kData,
                  "clinical table: two features would be called '" + name + "'; rename a column");
    }
  }
}

Matrix<double> ClinicalEncoder::transform(const RawTable& table,
                                          std::vector<std::string>* warnings) const {
  const std::size_t rows = check_table(table);
  const auto warn = [&](const std::string& text) {
    if (warnings != nullptr) warnings->push_back(text);
  };
  const std::vector<std::string> names = column_names(table);
  Matrix<double> out(rows, feature_names_.size());
  std::vector<std::vector<double>> parsed_values;
  std::size_t feature = 0;
  for (const Column& column : columns_) {
    const auto found = std::find(names.begin(), names.end(), column.name);
    if (found == names.end()) {
      throw Error(ErrorKind::kNotFound,
                  "clinical table: no column '" + column.name +
                      "', which the model was trained with" + did_you_mean(column.name, names));
    }
    Parsed parsed = parse(column, table[static_cast<std::size_t>(found - names.begin())]);
    if (parsed.n_unknown > 0) {
      std::vector<std::string> shown(
          parsed.unknown.begin(),
          parsed.unknown.begin() +
              static_cast<std::ptrdiff_t>(std::min<std::size_t>(3, parsed.unknown.size())));
      warn("column '" + column.name + "': " + plural(parsed.n_unknown, "cell has", "cells have") +
           " a value not seen in training ('" + join(shown, "', '") + "'" +
           (parsed.unknown.size() > 3 ? ", ..." : "") + "), all its indicators set to 0");
    }
    std::size_t n_missing = 0;
    for (const double value : parsed.value) n_missing += std::isnan(value) ? 1 : 0;
    if (n_missing > 0 && !column.indicator) {
      warn("column '" + column.name + "': " + plural(n_missing, "missing cell", "missing cells") +
           " filled in without an indicator, as training had none");
    }
    if (column.emitted && column.kind == Kind::kNominal) {
      const std::size_t first = drop_first_ ? 1 : 0;
      for (std::size_t i = 0; i < rows; ++i) {
        const double value = std::isnan(parsed.value[i]) ? column.fill : parsed.value[i];
        if (value < static_cast<double>(first)) continue;
        out(i, feature + static_cast<std::size_t>(value) - first) = 1.0;
      }
      feature += column.levels.size() - first;
    } else if (column.emitted) {
      for (std::size_t i = 0; i < rows; ++i) {
        const double value = std::isnan(parsed.value[i]) ? column.fill : parsed.value[i];
        const double scaled = min_max_ ? (value - column.min) / (column.max - column.min) : value;
        if (!(std::abs(scaled) <= kLargest)) {
          throw Error(ErrorKind::kData,
                      place(i, column.name) + format_double(value) +
                          " is too far from the training range " + format_double(column.min) +
                          " to " + format_double(column.max));
        }
        out(i, feature) = scaled;
      }
      ++feature;
    }
    parsed_values.push_back(std::move(parsed.value));
  }
  for (const Indicator& indicator : indicators_) {
    std::size_t uneven = 0;
    for (std::size_t i = 0; i < rows; ++i) {
      std::size_t n_missing = 0;
      for (const std::size_t c : indicator.columns) {
        n_missing += std::isnan(parsed_values[c][i]) ? 1 : 0;
      }
      out(i, feature) = n_missing > 0 ? 1.0 : 0.0;
      uneven += n_missing > 0 && n_missing < indicator.columns.size() ? 1 : 0;
    }
    if (uneven > 0) {
      warn("indicator '" + indicator.name + "': in " + plural(uneven, "row", "rows") +
           " only some of these columns are missing, which training never showed; set to 1");
    }
    ++feature;
  }
  return out;
}

std::vector<bool> ClinicalEncoder::indicator_features() const {
  std::vector<bool> out;
  for (const Column& column : columns_) {
    if (!column.emitted) continue;
    const bool nominal = column.kind == Kind::kNominal;
    out.insert(out.end(), nominal ? column.levels.size() - (drop_first_ ? 1 : 0) : 1, nominal);
  }
  out.insert(out.end(), indicators_.size(), true);
  return out;
}

namespace {

constexpr std::array<std::string_view, 4> kKindNames = {"numeric", "ordinal", "stage", "nominal"};

[[noreturn]] void refuse_json(const std::string& reason) {
  throw Error(ErrorKind::kFormat, "clinical encoder: " + reason);
}

const Json& member(const Json& json, const char* key) {
  if (!json.is_object() || !json.contains(key)) refuse_json(std::string("no '") + key + "'");
  return json.at(key);
}

const Json& array_member(const Json& json, const char* key) {
  const Json& value = member(json, key);
  if (!value.is_array()) refuse_json(std::string("'") + key + "' is not a list");
  return value;
}

std::string text(const Json& json, const char* key) {
  const Json& value = member(json, key);
  if (!value.is_string()) refuse_json(std::string("'") + key + "' is not a text");
  return value.get<std::string>();
}

bool flag(const Json& json, const char* key) {
  const Json& value = member(json, key);
  if (!value.is_boolean()) refuse_json(std::string("'") + key + "' is not true or false");
  return value.get<bool>();
}

double number(const Json& json, const char* key) {
  const Json& value = member(json, key);
  if (!value.is_number()) refuse_json(std::string("'") + key + "' is not a number");
  return value.get<double>();
}

std::vector<std::string> texts(const Json& json, const char* key) {
  std::vector<std::string> out;
  for (const Json& value : array_member(json, key)) {
    if (!value.is_string())
      refuse_json(std::string("'") + key + "' holds something else than text");
    out.push_back(value.get<std::string>());
  }
  return out;
}

}  // namespace

Json ClinicalEncoder::to_json() const {
  Json out;
  out["encoder"] = "clinical";
  out["missing"] = missing_;
  out["drop_first"] = drop_first_;
  out["min_max"] = min_max_;
  out["columns"] = Json::array();
  for (const Column& column : columns_) {
    Json entry;
    entry["name"] = column.name;
    entry["kind"] = kKindNames[static_cast<std::size_t>(column.kind)];
    if (column.kind == Kind::kStage) entry["order"] = column.family;
    if (column.kind == Kind::kOrdinal || column.kind == Kind::kNominal) {
      entry["levels"] = column.levels;
    }
    entry["fill"] = column.fill;
    entry["min"] = column.min;
    entry["max"] = column.max;
    entry["emitted"] = column.emitted;
    entry["indicator"] = column.indicator;
    out["columns"].push_back(std::move(entry));
  }
  out["indicators"] = Json::array();
  for (const Indicator& indicator : indicators_) out["indicators"].push_back(indicator.columns);
  out["feature_names"] = feature_names_;
  out["findings"] = Json::array();
  for (const Finding& finding : findings_) {
    Json entry;
    entry["kind"] = finding.kind;
    entry["column"] = finding.column;
    entry["message"] = finding.message;
    out["findings"].push_back(std::move(entry));
  }
  return out;
}

ClinicalEncoder ClinicalEncoder::from_json(const Json& json) {
  if (text(json, "encoder") != "clinical") refuse_json("'encoder' is not \"clinical\"");
  ClinicalEncoder out;
  out.missing_ = texts(json, "missing");
  std::sort(out.missing_.begin(), out.missing_.end());
  out.drop_first_ = flag(json, "drop_first");
  out.min_max_ = flag(json, "min_max");
  for (const Json& entry : array_member(json, "columns")) {
    Column column;
    column.name = text(entry, "name");
    const std::string kind = text(entry, "kind");
    const auto found = std::find(kKindNames.begin(), kKindNames.end(), kind);
    if (found == kKindNames.end()) {
      refuse_json("column '" + column.name + "' is of unknown kind '" + kind + "'");
    }
    column.kind = static_cast<Kind>(found - kKindNames.begin());
    if (column.kind == Kind::kStage) {
      column.family = text(entry, "order");
      if (std::find(kFamilies.begin(), kFamilies.end(), column.family) == kFamilies.end()) {
        refuse_json("column '" + column.name + "' has unknown order '" + column.family + "'");
      }
    }
    if (column.kind == Kind::kOrdinal || column.kind == Kind::kNominal) {
      column.levels = texts(entry, "levels");
    }
    column.fill = number(entry, "fill");
    column.min = number(entry, "min");
    column.max = number(entry, "max");
    column.emitted = flag(entry, "emitted");
    column.indicator = flag(entry, "indicator");
    if (column.kind == Kind::kNominal) {
      const double n = static_cast<double>(column.levels.size());
      if (!(column.fill >= 0.0 && column.fill < n) || column.fill != std::floor(column.fill)) {
        refuse_json("column '" + column.name + "': 'fill' is not one of its levels");
      }
    } else if (!std::isfinite(column.fill) || (column.emitted && !(column.max > column.min))) {
      refuse_json("column '" + column.name + "': 'min' must be below 'max'");
    }
    out.columns_.push_back(std::move(column));
  }
  for (const Json& entry : array_member(json, "indicators")) {
    Indicator indicator;
    if (!entry.is_array() || entry.empty()) refuse_json("an indicator lists no columns");
    for (const Json& index : entry) {
      if (!index.is_number_unsigned() || index.get<std::size_t>() >= out.columns_.size()) {
        refuse_json("an indicator names a column that is not there");
      }
      indicator.columns.push_back(index.get<std::size_t>());
    }
    out.indicators_.push_back(std::move(indicator));
  }
  out.name_features();
  if (texts(json, "feature_names") != out.feature_names_) {
    refuse_json("'feature_names' do not follow from the columns");
  }
  for (const Json& entry : array_member(json, "findings")) {
    out.findings_.push_back({text(entry, "kind"), text(entry, "column"), text(entry, "message")});
  }
  return out;
}

}  // namespace med3d::tabular
