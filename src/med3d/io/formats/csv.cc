#include "med3d/io/formats/csv.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numeric>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/limits.h"
#include "med3d/core/text.h"

namespace med3d {
namespace {

std::size_t line_at(std::string_view text, std::size_t offset) {
  return 1 + static_cast<std::size_t>(std::count(
                 text.begin(), text.begin() + static_cast<std::ptrdiff_t>(offset), '\n'));
}

// The offset of the first byte that is no well-formed UTF-8 (RFC 3629: no overlong forms, no
// surrogates, nothing above U+10FFFF), or npos.
std::size_t first_invalid_utf8(std::string_view text) {
  std::size_t i = 0;
  while (i < text.size()) {
    std::uint64_t block = 0;
    if (i + 8 <= text.size()) {
      std::memcpy(&block, text.data() + i, 8);
      if ((block & 0x8080808080808080ULL) == 0) {
        i += 8;
        continue;
      }
    }
    const auto byte = [&](std::size_t at) -> unsigned {
      return at < text.size() ? static_cast<unsigned char>(text[at]) : 0U;
    };
    const unsigned lead = byte(i);
    if (lead < 0x80) {
      ++i;
      continue;
    }
    const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (lead < 0xC2 || lead > 0xF4) return i;
    for (std::size_t k = 1; k < length; ++k) {
      if ((byte(i + k) & 0xC0U) != 0x80) return i;
    }
    const unsigned second = byte(i + 1);
    if ((lead == 0xE0 && second < 0xA0) || (lead == 0xED && second > 0x9F) ||
        (lead == 0xF0 && second < 0x90) || (lead == 0xF4 && second > 0x8F)) {
      return i;
    }
    i += length;
  }
  return std::string_view::npos;
}

char detect_separator(std::string_view header, std::string_view source) {
  constexpr std::array<char, 3> kCandidates = {',', ';', '\t'};
  std::array<std::size_t, 3> counts = {0, 0, 0};
  bool quoted = false;
  for (const char c : header) {
    if (c == '"') quoted = !quoted;
    if (c == '\n' && !quoted) break;
    for (std::size_t i = 0; i < kCandidates.size() && !quoted; ++i)
      counts[i] += c == kCandidates[i];
  }
  const std::string name = to_lower(source);
  const bool tab_name = name.ends_with(".tsv") || name.ends_with(".tab");
  if (tab_name && counts[2] > 0) return '\t';
  const auto most = std::max_element(counts.begin(), counts.end());
  return *most == 0 && tab_name ? '\t'
                                : kCandidates[static_cast<std::size_t>(most - counts.begin())];
}

class TableParser {
 public:
  TableParser(std::string_view text, std::string_view source, const TableOptions& options)
      : text_(text), source_(source), options_(options) {}

  Table parse() {
    check_encoding();
    if (options_.comments) {
      while (at_ < text_.size() && text_[at_] == '#') skip_line();
    }
    // Blank lines at the end say nothing; anywhere else they are rows of a wrong length.
    while (!text_.empty() && (text_.back() == '\n' || text_.back() == '\r')) text_.remove_suffix(1);
    if (at_ >= text_.size()) fail(line_, "no header line");
    separator_ =
        options_.separator != 0 ? options_.separator : detect_separator(text_.substr(at_), source_);
    Table table;
    table.source = source_;
    parse_header(table);
    while (at_ < text_.size()) {
      const std::size_t line = line_;
      std::vector<std::string> row;
      row.reserve(table.columns.size());
      const std::size_t cells = parse_row(row, table.columns.size());
      if (cells != table.columns.size()) {
        fail(line,
             fmt::format(
                 "{} cell{}, expected {}", cells, cells == 1 ? "" : "s", table.columns.size()));
      }
      if (table.rows.size() >= limits().table_rows) {
        fail(line, fmt::format("more rows than the limit of {}", limits().table_rows));
      }
      table.rows.push_back(std::move(row));
      table.line_of_row.push_back(line);
    }
    return table;
  }

 private:
  [[noreturn]] void fail(std::size_t line, const std::string& what) const {
    throw Error(ErrorKind::kFormat, fmt::format("{}: line {}: {}", source_, line, what));
  }

  void check_encoding() {
    if (text_.size() > limits().table_bytes) {
      throw Error(ErrorKind::kFormat,
                  fmt::format("{}: {} bytes, more than the limit of {}",
                              source_,
                              text_.size(),
                              limits().table_bytes));
    }
    using namespace std::string_view_literals;
    if (text_.starts_with("\xFF\xFE\0\0"sv) || text_.starts_with("\0\0\xFE\xFF"sv)) {
      throw Error(ErrorKind::kUnsupported,
                  fmt::format("{}: encoded as UTF-32, expected UTF-8", source_));
    }
    if (text_.starts_with("\xFF\xFE") || text_.starts_with("\xFE\xFF")) {
      throw Error(ErrorKind::kUnsupported,
                  fmt::format("{}: encoded as UTF-16, expected UTF-8", source_));
    }
    if (text_.starts_with("\xEF\xBB\xBF")) text_.remove_prefix(3);
    if (const auto zero = text_.find('\0'); zero != text_.npos) {
      fail(line_at(text_, zero), "a zero byte: not a text file, or UTF-16 without its mark");
    }
    if (const auto bad = first_invalid_utf8(text_); bad != text_.npos) {
      fail(line_at(text_, bad), "text that is not UTF-8 (an older encoding such as Latin-1?)");
    }
  }

  void skip_line() {
    const std::size_t end = text_.find('\n', at_);
    at_ = end == text_.npos ? text_.size() : end + 1;
    ++line_;
  }

  void parse_header(Table& table) {
    const std::size_t line = line_;
    if (parse_row(table.columns, limits().table_columns) > limits().table_columns) {
      fail(line, fmt::format("more columns than the limit of {}", limits().table_columns));
    }
    for (std::size_t i = 0; i < table.columns.size(); ++i) {
      std::string& name = table.columns[i];
      name = std::string(trim(name));
      if (!name.empty()) continue;
      if (i > 0 || table.columns.size() == 1)
        fail(line, fmt::format("column {} has no name", i + 1));
      name = "index";
    }
    std::vector<std::size_t> order(table.columns.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      return table.columns[a] < table.columns[b];
    });
    for (std::size_t i = 1; i < order.size(); ++i) {
      if (table.columns[order[i]] == table.columns[order[i - 1]]) {
        fail(line,
             fmt::format("columns {} and {} are both named '{}'",
                         order[i - 1] + 1,
                         order[i] + 1,
                         table.columns[order[i]].substr(0, 100)));
      }
    }
  }

  // Reads one record to the end of its last line and returns its number of cells, of which no more
  // than `most` are kept: a row of separators cannot fill the memory.
  std::size_t parse_row(std::vector<std::string>& row, std::size_t most) {
    for (std::size_t cells = 1;; ++cells) {
      std::string cell;
      const bool quoted = at_ < text_.size() && text_[at_] == '"';
      if (quoted) {
        quoted_cell(cell);
      } else {
        const std::size_t begin = at_;
        while (at_ < text_.size() && text_[at_] != separator_ && text_[at_] != '\n' &&
               text_[at_] != '\r') {
          ++at_;
        }
        cell = text_.substr(begin, at_ - begin);
      }
      if (cell.size() > limits().table_cell_bytes) {
        fail(line_,
             fmt::format("a cell of {} bytes, more than the limit of {}",
                         cell.size(),
                         limits().table_cell_bytes));
      }
      if (cells <= most) row.push_back(std::move(cell));
      if (at_ >= text_.size()) return cells;
      const char c = text_[at_];
      if (c == separator_) {
        ++at_;
        continue;
      }
      if (c == '\r') {
        if (at_ + 1 >= text_.size() || text_[at_ + 1] != '\n') {
          fail(line_, "a carriage return that no line feed follows");
        }
        ++at_;
      } else if (c != '\n') {
        fail(line_, "text after a closing quote");
      }
      ++at_;
      ++line_;
      return cells;
    }
  }

  void quoted_cell(std::string& cell) {
    const std::size_t opened = line_;
    ++at_;
    while (true) {
      const std::size_t quote = text_.find('"', at_);
      if (quote == text_.npos) fail(opened, "a quote that is never closed");
      const std::string_view piece = text_.substr(at_, quote - at_);
      line_ += static_cast<std::size_t>(std::count(piece.begin(), piece.end(), '\n'));
      cell += piece;
      at_ = quote + 1;
      if (at_ >= text_.size() || text_[at_] != '"') return;
      cell += '"';
      ++at_;
    }
  }

  std::string_view text_;
  std::string_view source_;
  const TableOptions& options_;
  std::size_t at_ = 0;
  std::size_t line_ = 1;
  char separator_ = ',';
};

bool looks_like_formula(std::string_view value) {
  return !value.empty() &&
         std::string_view("=+-@\t\r").find(value.front()) != std::string_view::npos &&
         !parse_double(value);
}

std::string quoted_if_needed(std::string_view value) {
  const bool edge = !value.empty() && (value.front() == ' ' || value.back() == ' ');
  // A header that begins with '#' would read as a comment, an empty only cell as a blank line.
  const bool plain = !edge && !value.starts_with('#') &&
                     value.find_first_of(",;\t\"\r\n") == std::string_view::npos;
  if (plain) return std::string(value);
  std::string out = "\"";
  for (const char c : value) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + '"';
}

}  // namespace

std::optional<std::size_t> Table::find(std::string_view name) const {
  const auto exact = std::find(columns.begin(), columns.end(), name);
  if (exact != columns.end()) return static_cast<std::size_t>(exact - columns.begin());
  const std::string wanted = to_lower(name);
  std::optional<std::size_t> found;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    if (columns[i].size() != wanted.size() || to_lower(columns[i]) != wanted) continue;
    if (found) return std::nullopt;  // "Age" and "AGE": neither was meant for certain
    found = i;
  }
  return found;
}

std::size_t Table::column(std::string_view name) const {
  const auto found = find(name);
  if (found) return *found;
  throw Error(ErrorKind::kNotFound,
              fmt::format("{}: no column '{}'{}", source, name, did_you_mean(name, columns)));
}

Table parse_table(std::string_view text, std::string_view source, const TableOptions& options) {
  return TableParser(text, source, options).parse();
}

Table read_table(const std::filesystem::path& path, const TableOptions& options) {
  return parse_table(read_file(path, limits().table_bytes), path.string(), options);
}

CsvWriter::CsvWriter(const std::vector<std::string>& columns) : columns_(columns.size()) {
  for (const auto& column : columns) text(column);
  end_row();
}

CsvWriter& CsvWriter::text(std::string_view value) {
  if (!looks_like_formula(value)) return raw(quoted_if_needed(value));
  std::string defused = "'";
  defused += value;
  return raw(quoted_if_needed(defused));
}

CsvWriter& CsvWriter::number(double value) { return raw(format_double(value)); }

CsvWriter& CsvWriter::number(float value) {
  // The shortest decimal of a float, read as a double, prints as that same decimal. It is proven to
  // come back, as our reader goes through double and rounds twice.
  if (std::isfinite(value)) {
    const auto shortest = parse_double(fmt::format("{}", value));
    if (shortest && static_cast<float>(*shortest) == value) return number(*shortest);
  }
  return number(static_cast<double>(value));
}

CsvWriter& CsvWriter::raw(std::string_view cell) {
  if (cells_ > 0) out_ += ',';
  // Alone in its row, an empty cell would be a blank line.
  if (cell.empty() && columns_ == 1) cell = "\"\"";
  out_ += cell;
  ++cells_;
  return *this;
}

void CsvWriter::end_row() {
  if (cells_ != columns_) {
    throw Error(ErrorKind::kUsage,
                fmt::format("a CSV row of {} cells, expected {}", cells_, columns_));
  }
  out_ += '\n';
  cells_ = 0;
}

const std::string& CsvWriter::str() const {
  if (cells_ != 0) throw Error(ErrorKind::kUsage, "a CSV row that was not ended");
  return out_;
}

}  // namespace med3d
