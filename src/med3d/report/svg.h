// Writes one SVG drawing: the same calls give the same bytes on every machine.
//
// Coordinates are in user units with y down, written with at most two decimals. Looks come from CSS
// classes only (templates/figure.css), never from style attributes, which the page's content
// security policy forbids. All text is escaped here; class names must be literals.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace med3d::report {

using Point = std::pair<double, double>;

class Svg {
 public:
  Svg(double width, double height) : width_(width), height_(height) {}

  // `tip` is what a pointer resting on the mark is told; it becomes a <title> child.
  void line(double x1, double y1, double x2, double y2, std::string_view css_class);
  void rect(double x,
            double y,
            double width,
            double height,
            std::string_view css_class,
            std::string_view tip = "",
            double radius = 0.0);
  void circle(
      double x, double y, double radius, std::string_view css_class, std::string_view tip = "");
  // A closed or open line through the points. A NaN coordinate breaks the line there.
  void path(const std::vector<Point>& points,
            std::string_view css_class,
            bool closed = false,
            std::string_view tip = "");
  // css_class also sets the anchor: "start" (default), "mid" or "end" beside the size class.
  void text(double x,
            double y,
            std::string_view content,
            std::string_view css_class,
            std::string_view tip = "");
  // Turned a quarter to the left about its own anchor: the name of a vertical axis.
  void vertical_text(double x, double y, std::string_view content, std::string_view css_class);
  // A curve whose values the page's script can read under the pointer: the frame in user units and
  // the values at its edges.
  void begin_plot(double left,
                  double top,
                  double width,
                  double height,
                  double x0,
                  double x1,
                  double y0,
                  double y1,
                  std::string_view x_name,
                  std::string_view y_name);
  void end_plot();

  double width() const { return width_; }
  double height() const { return height_; }

  // For the page: role="img", named by its <title> and <desc>. `id` must be a slug.
  std::string inline_markup(std::string_view id,
                            std::string_view title,
                            std::string_view description) const;
  // A file of its own, with its style and patterns inside.
  std::string standalone(std::string_view title, std::string_view description) const;

 private:
  void close(std::string_view element, std::string_view tip);

  double width_;
  double height_;
  std::string body_;
};

// The patterns that classes refer to; once in a page, and inside each standalone file.
std::string svg_patterns();

// Fewer points for the same picture: those within `tolerance` units of the line through the kept
// ones go (Douglas and Peucker 1973). Points with NaN stay and split the line. Cost O(n log n), at
// worst O(n^2); recursion is replaced by a stack, so a long curve is no danger.
std::vector<Point> simplify(const std::vector<Point>& points, double tolerance);

}  // namespace med3d::report
