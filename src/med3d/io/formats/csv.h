// Tables of text: reading CSV and TSV strictly, writing CSV safely.
//
// Every cell stays the text that stood in the file; what a cell means is decided by the module that
// knows the column. Nothing is guessed or repaired: a short row is an error, never padded.
//
// Source: RFC 4180, with LF line ends, a byte order mark, comment lines and other separators
// allowed.
//
// Checked against: the MMIST-ccRCC, PORPOISE and cBioPortal tables as Python's csv module reads
// them, every cut and bit flip of a small file.
#pragma once

#include <concepts>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace med3d {

struct Table {
  std::string source;                          // path or name, for messages
  std::vector<std::string> columns;            // unique, never blank, spaces at the ends removed
  std::vector<std::vector<std::string>> rows;  // each as long as `columns`
  std::vector<std::size_t> line_of_row;        // line of the file on which a row begins, from 1

  // The index of a column: by its exact name, else by its name in any case if only one is such.
  std::optional<std::size_t> find(std::string_view name) const;
  // The same, or Error(kNotFound) with the nearest name that is there.
  std::size_t column(std::string_view name) const;
};

struct TableOptions {
  // ',', ';' or '\t'; 0 = the one that occurs most in the header line outside of quotes (a tab in
  // a file named .tsv), because exports differ in it and no name tells.
  char separator = 0;
  // Leading lines that begin with '#' are skipped: cBioPortal puts four of them before the header.
  bool comments = true;
};

// Reads a table with one header line. Blank lines at the end are ignored. A blank name of the first
// column (pandas' index) becomes "index".
//
// Throws Error(kFormat) with the line for: no header, a blank or repeated column name, a row with
// another number of cells than the header, an open quote, text after a closing quote, a zero byte,
// a carriage return alone, text that is not UTF-8, anything beyond limits().table_*;
// Error(kUnsupported) for UTF-16 and UTF-32.
Table parse_table(std::string_view text, std::string_view source, const TableOptions& options = {});
Table read_table(const std::filesystem::path& path, const TableOptions& options = {});

// Builds the text of a CSV: comma, LF, quotes where needed.
//
// A text cell that a spreadsheet would run as a formula (it begins with = + - @, a tab or a
// carriage return and is no number) gets an apostrophe in front. Numbers are the shortest that read
// back the same, "nan" and "inf" included; use missing() where a value is not there.
class CsvWriter {
 public:
  explicit CsvWriter(const std::vector<std::string>& columns);

  CsvWriter& text(std::string_view value);
  CsvWriter& number(double value);
  CsvWriter& number(float value);  // the shortest decimal that reads back as the same float
  template <std::integral T>
  CsvWriter& number(T value) {
    return raw(std::to_string(value));
  }
  CsvWriter& missing() { return raw(""); }  // an empty cell

  // Throws Error(kUsage) if the row has not one cell for each column.
  void end_row();

  // Throws Error(kUsage) inside a row.
  const std::string& str() const;

 private:
  CsvWriter& raw(std::string_view cell);

  std::string out_;
  std::size_t columns_ = 0;
  std::size_t cells_ = 0;  // of the row being written
};

}  // namespace med3d
