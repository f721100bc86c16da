#include "med3d/report/plot.h"

#include <fmt/format.h>

#include <algorithm>

#include "med3d/core/text.h"
#include "med3d/report/markup.h"

namespace med3d::report {

std::string to_csv(const DataTable& table) {
  std::string out;
  const auto add_row = [&](std::size_t n, auto cell) {
    for (std::size_t i = 0; i < n; ++i) {
      if (i > 0) out += ',';
      out += csv_cell(cell(i));
    }
    out += '\n';
  };
  add_row(table.columns.size(), [&](std::size_t i) { return table.columns[i]; });
  for (const auto& row : table.rows) {
    add_row(row.size(), [&](std::size_t i) {
      if (!row[i].number) return row[i].text;
      return std::isfinite(*row[i].number) ? format_double(*row[i].number) : std::string();
    });
  }
  return out;
}

std::vector<double> nice_ticks(double low, double high, int wanted) {
  const double span = high - low;
  if (!(span > 0.0) || !std::isfinite(span)) return {low};
  const double raw = span / std::max(1, wanted);
  const double power = std::pow(10.0, std::floor(std::log10(raw)));
  const double ratio = raw / power;
  const double step = power * (ratio < 1.5 ? 1.0 : ratio < 3.5 ? 2.0 : ratio < 7.5 ? 5.0 : 10.0);
  std::vector<double> ticks;
  // Whole multiples, not a running sum, so that 0.3 is 3 * 0.1 and zero is zero.
  for (double k = std::ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k += 1.0) {
    ticks.push_back(k * step + 0.0);  // -0 is 0
    if (ticks.size() > 50) break;
  }
  return ticks;
}

std::string tick_label(double value) {
  std::string text = fmt::format("{:.4g}", value);
  if (text == "-0") text = "0";
  return text[0] == '-' ? fmt::format("\u2212{}", text.substr(1)) : text;
}

void draw_axes(Svg& svg,
               const Frame& frame,
               std::string_view x_name,
               std::string_view y_name,
               const std::vector<double>& x_ticks,
               const std::vector<double>& y_ticks) {
  for (const double tick : y_ticks) {
    svg.line(frame.left, frame.y(tick), frame.right(), frame.y(tick), "grid");
    svg.text(frame.left - 7, frame.y(tick) + 3.5, tick_label(tick), "tick end");
  }
  for (const double tick : x_ticks) {
    svg.line(frame.x(tick), frame.top, frame.x(tick), frame.bottom(), "grid");
    svg.text(frame.x(tick), frame.bottom() + 15, tick_label(tick), "tick mid");
  }
  svg.line(frame.left, frame.bottom(), frame.right(), frame.bottom(), "axis");
  if (!x_name.empty()) {
    svg.text(frame.left + frame.width / 2, frame.bottom() + 33, x_name, "name mid");
  }
  if (!y_name.empty()) {
    svg.vertical_text(frame.left - 34, frame.top + frame.height / 2, y_name, "name mid");
  }
}

std::vector<std::string> wrap(std::string_view text, std::size_t width, std::size_t max_lines) {
  std::vector<std::string> lines;
  std::string line;
  std::string rest;
  for (const std::string& word : split(text, ' ')) {
    if (word.empty()) continue;
    if (!rest.empty()) {
      rest += " " + word;
      continue;
    }
    if (line.empty() || line.size() + 1 + word.size() <= width) {
      line += (line.empty() ? "" : " ") + word;
    } else if (lines.size() + 1 == max_lines) {
      rest = word;
    } else {
      lines.push_back(line);
      line = word;
    }
  }
  if (!rest.empty()) line += " " + rest;
  if (!line.empty()) lines.push_back(line);
  for (std::string& each : lines) each = shorten(each, width);
  return lines;
}

}  // namespace med3d::report
