// Turns a clinical table of text cells into numbers a model can use, the same way for every row
// set: everything is learnt from the training rows and stored.
//
// Each column becomes one of
//   numeric  every present cell is a number; missing ones get the median
//   ordinal  ordered words, declared or of the built-in stage kinds; missing ones get the mode
//   nominal  any other text, or declared; missing ones get the mode, then one indicator a level
// Ties of a mode go to the smallest. Numeric and ordinal columns are min-max scaled.
//
// Columns of the result, in this order: for each table column in training order its value column
// ("age") or its indicators ("race=White", levels in ascending order); then the missing indicators
// in the order of their first table column, "missing(age)", those that are equal on every training
// row merged into one, "missing(age,grade)".
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "med3d/core/json.h"
#include "med3d/core/matrix.h"

namespace med3d::tabular {

// A column as it stands in a file: a name and one text cell a row.
struct RawColumn {
  std::string name;
  std::vector<std::string> cells;
};

using RawTable = std::vector<RawColumn>;  // all of the same length

struct EncoderOptions {
  // Cells that mean "not known", compared without case and outer spaces. Where "-1" is listed, any
  // spelling of that number is missing.
  std::vector<std::string> missing = {"",
                                      "na",
                                      "n/a",
                                      "nan",
                                      "null",
                                      "none",
                                      "-1",
                                      "-1.0",
                                      "'--",
                                      "--",
                                      "not reported",
                                      "unknown",
                                      "[not available]",
                                      "[not applicable]",
                                      "[unknown]",
                                      "[not evaluated]",
                                      "[discrepancy]"};
  // Column to its words from lowest to highest (0, 1, ...), compared without case. Cells that are
  // numbers keep their value. Any other cell is an error.
  std::map<std::string, std::vector<std::string>> ordinal;
  std::vector<std::string> categorical;  // nominal even if every cell is a number
  std::vector<std::string> drop;         // not used at all (case_id, the label, the split)
  bool missing_indicators = true;        // for columns with missing cells in training
  bool drop_first = true;                // no indicator for a nominal column's first level
  double max_missing = 1.0;              // [0, 1]; a column missing in a larger share is dropped
  bool min_max = true;                   // scale numeric and ordinal columns to [0, 1] of training

  void validate() const;  // throws Error(kUsage)
};

// Something the user should know about a column.
struct Finding {
  std::string kind;    // "constant", "all-missing", "too-many-missing", "identifier" (all dropped),
                       // "imputed", "merged"
  std::string column;  // of the table; for "merged" the name of the indicator
  std::string message;
};

// Built-in orders, used when every present cell of an undeclared column fits one of them (without
// case; a leading p, c, y or r and a bracketed note are ignored; a, b, c add 0.25, 0.5, 0.75):
//   stage  "Stage I", "I", "IIIa", "stage 4"    1 to 4
//   T      T0, Tis, T1 to T4                    0, 0.5, 1 to 4
//   N, M   N0 to N3, M0 to M1                   0 to 3, 0 to 1
//   G      G1 to G4                             1 to 4
// X ("TX", "Stage X") is missing.
class ClinicalEncoder {
 public:
  // Learns types, fill values, levels and ranges. A column that is constant or missing throughout
  // is dropped with a finding; so is undeclared text that differs in every one of 20 rows or more
  // (an identifier). A dropped constant column keeps its missing indicator. Cost O(cells log rows).
  // Throws Error(kUsage) if an option names a column that is not there, Error(kData) naming row and
  // column of a bad cell (one that is no number where more than half of them are, or a number
  // beyond 1e30), on duplicate names, uneven lengths, no rows, or when no column is left.
  static ClinicalEncoder fit(const RawTable& training, const EncoderOptions& options = {});

  // The columns of the table that fit would take for nominal, declared ones left out. On one part
  // of a table a column may look like numbers or stages and on another like text: ask here with the
  // whole table and declare the answer categorical where a part is fitted.
  // Throws Error(kData) as fit for a cell that is no number where more than half of them are.
  static std::vector<std::string> text_columns(const RawTable& table,
                                               const EncoderOptions& options = {});

  // (rows, features). Columns are found by name, others are ignored. Values outside the training
  // range leave [0, 1]. A nominal cell not seen in training gives zeros in all its indicators; it
  // and missing cells in a column without an indicator are counted in `warnings`.
  // Throws Error(kNotFound) for a missing column (with the nearest name), Error(kData) naming row
  // (1-based, header not counted) and column of a bad cell.
  Matrix<double> transform(const RawTable& table,
                           std::vector<std::string>* warnings = nullptr) const;

  const std::vector<std::string>& feature_names() const { return feature_names_; }
  const std::vector<Finding>& findings() const { return findings_; }

  // For SMOTENC: true for features that are indicators (nominal levels, missing), (features,).
  std::vector<bool> indicator_features() const;

  Json to_json() const;
  static ClinicalEncoder from_json(const Json& json);  // throws Error(kFormat)

 private:
  enum class Kind { kNumeric, kOrdinal, kStage, kNominal };
  struct Column {
    std::string name;
    Kind kind = Kind::kNumeric;
    std::vector<std::string> levels;  // ordinal: words in order; nominal: sorted levels
    std::string family;               // stage: which built-in order
    double fill = 0.0;                // numeric, ordinal, stage; nominal: index into levels
    double min = 0.0, max = 1.0;      // of training; unscaled numbers ignore them
    bool emitted = true;              // false: kept only for its missing indicator
    bool indicator = false;           // its missingness is in an indicator
  };
  struct Indicator {
    std::string name;
    std::vector<std::size_t> columns;  // indices into columns_
  };
  struct Parsed;

  Parsed parse(const Column& column, const RawColumn& raw) const;
  bool is_missing(const std::string& cell) const;
  Column learn_type(const RawColumn& raw, const EncoderOptions& options) const;
  void name_features();
  void set_missing(const std::vector<std::string>& words);

  std::vector<std::string> missing_;  // lower case, trimmed, sorted
  bool drop_first_ = true;
  bool min_max_ = true;
  std::vector<Column> columns_;
  std::vector<Indicator> indicators_;
  std::vector<std::string> feature_names_;
  std::vector<Finding> findings_;
};

}  // namespace med3d::tabular
