#include "med3d/report/svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "med3d/report/markup.h"
#include "med3d/report/templates.h"

namespace med3d::report {
namespace {

std::string coordinate(double value) {
  std::string text = fmt::format("{:.2f}", value);
  while (text.back() == '0') text.pop_back();
  if (text.back() == '.') text.pop_back();
  return text == "-0" ? "0" : text;
}

bool finite(const Point& point) {
  return std::isfinite(point.first) && std::isfinite(point.second);
}

}  // namespace

void Svg::close(std::string_view element, std::string_view tip) {
  if (tip.empty()) {
    body_ += "/>";
  } else {
    body_ += fmt::format("><title>{}</title></{}>", escape(tip), element);
  }
}

void Svg::line(double x1, double y1, double x2, double y2, std::string_view css_class) {
  body_ += fmt::format(R"(<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>)",
                       css_class,
                       coordinate(x1),
                       coordinate(y1),
                       coordinate(x2),
                       coordinate(y2));
}

void Svg::rect(double x,
               double y,
               double width,
               double height,
               std::string_view css_class,
               std::string_view tip,
               double radius) {
  body_ += fmt::format(R"(<rect class="{}" x="{}" y="{}" width="{}" height="{}")",
                       css_class,
                       coordinate(x),
                       coordinate(y),
                       coordinate(std::max(0.0, width)),
                       coordinate(std::max(0.0, height)));
  if (radius > 0.0) body_ += fmt::format(R"( rx="{}")", coordinate(radius));
  close("rect", tip);
}

void Svg::circle(
    double x, double y, double radius, std::string_view css_class, std::string_view tip) {
  body_ += fmt::format(R"(<circle class="{}" cx="{}" cy="{}" r="{}")",
                       css_class,
                       coordinate(x),
                       coordinate(y),
                       coordinate(radius));
  close("circle", tip);
}

void Svg::path(const std::vector<Point>& points,
               std::string_view css_class,
               bool closed,
               std::string_view tip) {
  std::string d;
  bool pen_down = false;
  for (const Point& point : points) {
    if (!finite(point)) {
      pen_down = false;
      continue;
    }
    d += pen_down ? 'L' : 'M';
    d += coordinate(point.first) + " " + coordinate(point.second);
    pen_down = true;
  }
  if (d.empty()) return;
  body_ += fmt::format(R"(<path class="{}" d="{}{}")", css_class, d, closed ? "Z" : "");
  close("path", tip);
}

void Svg::text(double x,
               double y,
               std::string_view content,
               std::string_view css_class,
               std::string_view tip) {
  body_ += fmt::format(R"(<text class="{}" x="{}" y="{}">{})",
                       css_class,
                       coordinate(x),
                       coordinate(y),
                       escape(content));
  if (!tip.empty()) body_ += fmt::format("<title>{}</title>", escape(tip));
  body_ += "</text>";
}

void Svg::vertical_text(double x, double y, std::string_view content, std::string_view css_class) {
  body_ += fmt::format(R"x(<text class="{}" transform="translate({} {}) rotate(-90)">{}</text>)x",
                       css_class,
                       coordinate(x),
                       coordinate(y),
                       escape(content));
}

void Svg::begin_plot(double left,
                     double top,
                     double width,
                     double height,
                     double x0,
                     double x1,
                     double y0,
                     double y1,
                     std::string_view x_name,
                     std::string_view y_name) {
  body_ += fmt::format(
      R"(<g class="plot" data-frame="{} {} {} {}" data-range="{} {} {} {}" data-x="{}" data-y="{}">)",
      coordinate(left),
      coordinate(top),
      coordinate(width),
      coordinate(height),
      fmt::format("{:.6g}", x0),
      fmt::format("{:.6g}", x1),
      fmt::format("{:.6g}", y0),
      fmt::format("{:.6g}", y1),
      escape(x_name),
      escape(y_name));
  // Something must lie under the pointer wherever it is in the frame.
  rect(left, top, width, height, "hit");
}

void Svg::end_plot() { body_ += "</g>"; }

std::string Svg::inline_markup(std::string_view id,
                               std::string_view title,
                               std::string_view description) const {
  return fmt::format(
      R"(<svg class="fig" role="img" viewBox="0 0 {} {}" width="{}" height="{}" aria-labelledby="{}-t {}-d"><title id="{}-t">{}</title><desc id="{}-d">{}</desc>{}</svg>)",
      coordinate(width_),
      coordinate(height_),
      coordinate(width_),
      coordinate(height_),
      id,
      id,
      id,
      escape(title),
      id,
      escape(description),
      body_);
}

std::string Svg::standalone(std::string_view title, std::string_view description) const {
  return fmt::format(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
      R"(<svg xmlns="http://www.w3.org/2000/svg" class="fig" role="img" viewBox="0 0 {} {}" width="{}" height="{}">)"
      "<title>{}</title><desc>{}</desc><style>{}</style><defs>{}</defs>"
      R"(<rect class="paper" width="{}" height="{}"/>{}</svg>)"
      "\n",
      coordinate(width_),
      coordinate(height_),
      coordinate(width_),
      coordinate(height_),
      escape(title),
      escape(description),
      figure_css(),
      svg_patterns(),
      coordinate(width_),
      coordinate(height_),
      body_);
}

std::string svg_patterns() {
  return R"x(<pattern id="hatch" width="5" height="5" patternUnits="userSpaceOnUse" )x"
         R"x(patternTransform="rotate(45)"><rect class="hatch-ground" width="5" height="5"/>)x"
         R"x(<line class="hatch-line" x1="0" y1="0" x2="0" y2="5"/></pattern>)x";
}

std::vector<Point> simplify(const std::vector<Point>& points, double tolerance) {
  std::vector<char> keep(points.size(), 0);
  std::vector<std::pair<std::size_t, std::size_t>> open;
  std::size_t start = 0;
  for (std::size_t i = 0; i <= points.size(); ++i) {
    if (i < points.size() && finite(points[i])) continue;
    if (i < points.size()) keep[i] = 1;
    if (i > start) {
      keep[start] = keep[i - 1] = 1;
      open.emplace_back(start, i - 1);
    }
    start = i + 1;
  }
  while (!open.empty()) {
    const auto [first, last] = open.back();
    open.pop_back();
    const auto [ax, ay] = points[first];
    const double dx = points[last].first - ax;
    const double dy = points[last].second - ay;
    const double length = std::hypot(dx, dy);
    double worst = tolerance;
    std::size_t at = 0;
    for (std::size_t i = first + 1; i < last; ++i) {
      const double px = points[i].first - ax;
      const double py = points[i].second - ay;
      const double distance =
          length > 0.0 ? std::abs(px * dy - py * dx) / length : std::hypot(px, py);
      if (distance > worst) {
        worst = distance;
        at = i;
      }
    }
    if (at == 0) continue;
    keep[at] = 1;
    open.emplace_back(first, at);
    open.emplace_back(at, last);
  }
  std::vector<Point> out;
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (keep[i]) out.push_back(points[i]);
  }
  return out;
}

}  // namespace med3d::report
