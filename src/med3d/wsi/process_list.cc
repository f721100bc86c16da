#include "med3d/wsi/process_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/text.h"
#include "med3d/io/formats/csv.h"

namespace med3d {
namespace {

// In the order in which CLAM writes them.
constexpr std::array<std::string_view, 17> kColumns = {"slide_id",
                                                       "process",
                                                       "status",
                                                       "seg_level",
                                                       "sthresh",
                                                       "mthresh",
                                                       "close",
                                                       "use_otsu",
                                                       "keep_ids",
                                                       "exclude_ids",
                                                       "a_t",
                                                       "a_h",
                                                       "max_n_holes",
                                                       "vis_level",
                                                       "line_thickness",
                                                       "use_padding",
                                                       "contour_fn"};
// Read or known, but not written: of presets, and of old lists.
constexpr std::array<std::string_view, 3> kOtherColumns = {"white_thresh", "black_thresh", "a"};

ClamParameters parameters(
    int sthresh, int mthresh, int close, double a_t, double a_h, int holes, int thickness) {
  ClamParameters out;
  out.segment.sthresh = sthresh;
  out.segment.mthresh = mthresh;
  out.segment.close = close;
  out.segment.a_t = a_t;
  out.segment.a_h = a_h;
  out.segment.max_n_holes = holes;
  out.line_thickness = thickness;
  return out;
}

// One row of a table, cells by name; a missing or blank cell is no value.
class Row {
 public:
  Row(const Table& table, std::size_t number) : table_(table), number_(number) {}

  std::optional<std::string> text(std::string_view column) const {
    const auto at = table_.find(column);
    if (!at) return std::nullopt;
    std::string value(trim(table_.rows[number_][*at]));
    if (value.empty()) return std::nullopt;
    return value;
  }

  std::optional<double> number(std::string_view column) const {
    const auto cell = text(column);
    if (!cell) return std::nullopt;
    const auto value = parse_double(*cell);
    if (!value || !std::isfinite(*value)) refuse(column, "a number");
    return value;
  }

  void set(std::string_view column, double& to) const {
    if (const auto value = number(column)) to = *value;
  }

  void set(std::string_view column, int& to) const {
    const auto value = number(column);
    if (!value) return;
    if (*value != std::floor(*value) || std::abs(*value) > 1e9) refuse(column, "a whole number");
    to = static_cast<int>(*value);
  }

  void set(std::string_view column, bool& to) const {
    const auto cell = text(column);
    if (!cell) return;
    const std::string lower = to_lower(*cell);
    if (lower == "true" || lower == "1" || lower == "1.0") {
      to = true;
    } else if (lower == "false" || lower == "0" || lower == "0.0") {
      to = false;
    } else {
      refuse(column, "True or False");
    }
  }

  // "none", or whole numbers with commas.
  void set(std::string_view column, std::vector<std::int64_t>& to) const {
    const auto cell = text(column);
    if (!cell) return;
    to.clear();
    if (to_lower(*cell) == "none") return;
    for (const std::string& part : split(*cell, ',')) {
      const auto value = parse_double(part);
      if (!value || !(*value >= 0 && *value < 1e9) || *value != std::floor(*value)) {
        refuse(column, "none, or contour numbers from 0 with commas between them");
      }
      to.push_back(static_cast<std::int64_t>(*value));
    }
  }

  [[noreturn]] void refuse(std::string_view column, std::string_view expected) const {
    throw Error(ErrorKind::kFormat,
                fmt::format("{}: line {}, column '{}': '{}', expected {}",
                            table_.source,
                            table_.line_of_row[number_],
                            column,
                            text(column).value_or("").substr(0, 40),
                            expected));
  }

  ClamParameters parameters(const ClamParameters& defaults) const {
    ClamParameters out = defaults;
    SegmentOptions& segment = out.segment;
    set("seg_level", segment.seg_level);
    set("sthresh", segment.sthresh);
    set("mthresh", segment.mthresh);
    set("close", segment.close);
    set("use_otsu", segment.use_otsu);
    set("keep_ids", segment.keep_ids);
    set("exclude_ids", segment.exclude_ids);
    set("a_t", segment.a_t);
    set("a_h", segment.a_h);
    set("max_n_holes", segment.max_n_holes);
    set("vis_level", out.vis_level);
    set("line_thickness", out.line_thickness);
    set("use_padding", out.use_padding);
    try {
      if (const auto name = text("contour_fn")) out.contour_fn = parse_contour_test(*name);
      segment.validate();
    } catch (const Error& error) {
      throw Error(
          ErrorKind::kFormat,
          fmt::format("{}: line {}: {}", table_.source, table_.line_of_row[number_], error.what()));
    }
    if (out.vis_level < -1) refuse("vis_level", "a level from 0, or -1");
    if (out.line_thickness < 0) refuse("line_thickness", "0 or more");
    return out;
  }

 private:
  const Table& table_;
  std::size_t number_;
};

std::string ids_text(const std::vector<std::int64_t>& ids) {
  return ids.empty() ? "none" : fmt::format("{}", fmt::join(ids, ","));
}

// As pandas writes a float: 100.0, 0.05.
std::string float_text(double value) {
  const std::string out = format_double(value);
  return out.find_first_of(".en") == std::string::npos ? out + ".0" : out;
}

ProcessList from_table(const Table& table, const ClamParameters& defaults) {
  table.column("slide_id");
  ProcessList out;
  std::vector<std::size_t> extra;
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    const std::string& name = table.columns[i];
    const auto known = [&](std::string_view other) { return other == to_lower(name); };
    if (std::any_of(kColumns.begin(), kColumns.end(), known) ||
        std::any_of(kOtherColumns.begin(), kOtherColumns.end(), known)) {
      continue;
    }
    out.extra_columns.push_back(name);
    extra.push_back(i);
  }
  std::set<std::string> seen;
  for (std::size_t r = 0; r < table.rows.size(); ++r) {
    const Row from(table, r);
    ProcessRow row;
    const auto id = from.text("slide_id");
    if (!id || !seen.insert(*id).second) {
      throw Error(ErrorKind::kData,
                  fmt::format("{}: line {}: {}",
                              table.source,
                              table.line_of_row[r],
                              id ? "a slide_id that a line before has too" : "a blank slide_id"));
    }
    row.slide_id = *id;
    from.set("process", row.process);
    row.status = from.text("status").value_or(row.status);
    row.legacy_area = from.number("a");
    row.parameters = from.parameters(defaults);
    for (const std::size_t i : extra) row.extra.push_back(table.rows[r][i]);
    out.rows.push_back(std::move(row));
  }
  return out;
}

}  // namespace

std::span<const ClamPreset> clam_presets() {
  static const std::array<ClamPreset, 4> presets = {
      ClamPreset{"default", parameters(8, 7, 4, 100, 16, 8, 250)},
      ClamPreset{"bwh_biopsy", parameters(15, 11, 2, 1, 1, 2, 50)},
      ClamPreset{"bwh_resection", parameters(15, 11, 4, 100, 16, 8, 150)},
      ClamPreset{"tcga", parameters(8, 7, 4, 16, 4, 8, 100)}};
  return presets;
}

const ClamParameters& clam_preset(std::string_view name) {
  std::string_view plain = name;
  if (plain.ends_with(".csv")) plain.remove_suffix(4);
  std::vector<std::string> names;
  for (const ClamPreset& preset : clam_presets()) {
    if (preset.name == plain) return preset.parameters;
    names.emplace_back(preset.name);
  }
  throw Error(ErrorKind::kNotFound,
              fmt::format("no preset '{}'{}; there are {}",
                          name.substr(0, 60),
                          did_you_mean(plain, names),
                          join(names, ", ")));
}

ClamParameters read_clam_preset(const std::filesystem::path& path) {
  const Table table = read_table(path);
  if (table.rows.empty()) {
    throw Error(ErrorKind::kData, table.source + ": a preset without a line of values");
  }
  return Row(table, 0).parameters({});
}

ProcessList read_process_list(const std::filesystem::path& path, const ClamParameters& defaults) {
  return from_table(read_table(path), defaults);
}

ProcessList parse_process_list(std::string_view text,
                               std::string_view source,
                               const ClamParameters& defaults) {
  return from_table(parse_table(text, source), defaults);
}

std::string process_list_csv(const ProcessList& list) {
  std::vector<std::string> columns(kColumns.begin(), kColumns.end());
  // A list that still waits for its conversion keeps what it waits for.
  const bool legacy = std::any_of(list.rows.begin(), list.rows.end(), [](const auto& row) {
    return row.legacy_area.has_value();
  });
  if (legacy) columns.emplace_back("a");
  columns.insert(columns.end(), list.extra_columns.begin(), list.extra_columns.end());
  CsvWriter out(columns);
  const auto truth = [](bool value) { return value ? "True" : "False"; };
  for (const ProcessRow& row : list.rows) {
    const SegmentOptions& segment = row.parameters.segment;
    out.text(row.slide_id).number(row.process ? 1 : 0).text(row.status);
    out.number(segment.seg_level).number(segment.sthresh).number(segment.mthresh);
    out.number(segment.close).text(truth(segment.use_otsu));
    out.text(ids_text(segment.keep_ids)).text(ids_text(segment.exclude_ids));
    out.text(float_text(segment.a_t)).text(float_text(segment.a_h)).number(segment.max_n_holes);
    out.number(row.parameters.vis_level).number(row.parameters.line_thickness);
    out.text(truth(row.parameters.use_padding)).text(to_string(row.parameters.contour_fn));
    if (legacy && row.legacy_area) out.number(*row.legacy_area);
    if (legacy && !row.legacy_area) out.missing();
    for (std::size_t i = 0; i < list.extra_columns.size(); ++i) {
      out.text(i < row.extra.size() ? std::string_view(row.extra[i]) : std::string_view());
    }
    out.end_row();
  }
  return out.str();
}

void write_process_list(const std::filesystem::path& path, const ProcessList& list) {
  write_file_atomic(path, process_list_csv(list));
}

void convert_legacy_area(ProcessRow& row, const SlideInfo& slide) {
  if (!row.legacy_area) return;
  SegmentOptions& segment = row.parameters.segment;
  const auto levels = static_cast<int>(slide.levels.size());
  // Python's -1 is the last level; there is no other sense in a negative one.
  const int number = segment.seg_level < 0 ? levels - 1 : segment.seg_level;
  if (number < 0 || number >= levels) {
    throw Error(ErrorKind::kUsage,
                fmt::format("an old list gives its area at level {}, but the slide has {} levels, "
                            "numbered from 0",
                            segment.seg_level,
                            levels));
  }
  const SlideLevel& whole = slide.levels[0];
  const SlideLevel& level = slide.levels[static_cast<std::size_t>(number)];
  const double scale_x = static_cast<double>(whole.width) / static_cast<double>(level.width);
  const double scale_y = static_cast<double>(whole.height) / static_cast<double>(level.height);
  segment.a_t = std::trunc(*row.legacy_area * (scale_x * scale_y) / (512.0 * 512.0));
  segment.seg_level = -1;
  row.parameters.vis_level = -1;
  row.legacy_area.reset();
}

}  // namespace med3d
