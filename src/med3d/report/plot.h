// What the figures share: a frame with axes, round ticks, wrapped words, the data behind a drawing.
#pragma once

#include <cmath>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "med3d/report/svg.h"

namespace med3d::report {

// A cell of a figure's data: a number keeps all its digits in the CSV and is rounded in the page.
struct Cell {
  Cell(std::string value) : text(std::move(value)) {}  // NOLINT: tables read well
  Cell(const char* value) : text(value) {}             // NOLINT
  Cell(double value) : number(value) {}                // NOLINT
  Cell(const std::optional<double>& value)             // NOLINT
      : number(value.value_or(std::nan(""))) {}
  Cell(const std::optional<std::int64_t>& value)  // NOLINT
      : number(value ? static_cast<double>(*value) : std::nan("")) {}

  std::string text;
  std::optional<double> number;  // NaN = absent
};

struct DataTable {
  std::vector<std::string> columns;
  std::vector<std::vector<Cell>> rows;
};

std::string to_csv(const DataTable& table);  // absent numbers are empty cells

struct Figure {
  std::string id;           // slug, unique in the page
  std::string title;        // plain text
  std::string description;  // for a reader who cannot see it
  std::string caption;      // plain text below the title, may be empty
  Svg svg;
  DataTable data;
};

// A plotting area in user units and the values at its edges.
struct Frame {
  double left, top, width, height;
  double x0, x1, y0, y1;

  double x(double value) const { return left + (value - x0) / (x1 - x0) * width; }
  double y(double value) const { return top + height - (value - y0) / (y1 - y0) * height; }
  double right() const { return left + width; }
  double bottom() const { return top + height; }
};

// Round values inside [low, high], about `wanted` of them: steps of 1, 2 or 5 times a power of ten.
std::vector<double> nice_ticks(double low, double high, int wanted);

std::string tick_label(double value);  // "0.25", "−5", "100"

// Grid, ticks and the names of both axes.
void draw_axes(Svg& svg,
               const Frame& frame,
               std::string_view x_name,
               std::string_view y_name,
               const std::vector<double>& x_ticks,
               const std::vector<double>& y_ticks);

// Lines of at most `width` characters, broken at spaces; the last of `max_lines` ends in an
// ellipsis if something is left.
std::vector<std::string> wrap(std::string_view text, std::size_t width, std::size_t max_lines);

}  // namespace med3d::report
