#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "med3d/core/error.h"
#include "med3d/core/parallel.h"
#include "med3d/radiology/slice_stack_internal.h"

namespace med3d::radiology {
namespace {

constexpr double kDegrees = 180.0 / 3.14159265358979323846;
constexpr double kSamePlaceMm = 0.01;
constexpr double kSameDirection = 1e-3;  // of unit vectors: 0.06 degrees
constexpr double kLeastTilt = 0.5;       // degrees
constexpr double kMostTilt = 45.0;

[[noreturn]] void refuse(const std::string& what) { throw Error(ErrorKind::kData, what); }

Vector3 minus(const Vector3& a, const Vector3& b) {
  return {a[0] - b[0], a[1] - b[1], a[2] - b[2]};
}

// Of the values that differ from the first slice's, how many and which came first.
template <class Same>
void require_same(const std::vector<SlicePlace>& slices,
                  std::string_view what,
                  const Same& same,
                  const auto& show) {
  std::size_t others = 0;
  std::size_t first = 0;
  for (std::size_t i = 1; i < slices.size(); ++i) {
    if (same(slices[i], slices[0])) continue;
    if (others++ == 0) first = i;
  }
  if (others == 0) return;
  refuse(fmt::format("{}: {} in {} of {} images and {} in image {}, expected one for the series",
                     what,
                     show(slices[0]),
                     slices.size() - others,
                     slices.size(),
                     show(slices[first]),
                     first + 1));
}

void check_alike(const std::vector<SlicePlace>& slices) {
  require_same(
      slices,
      "orientation",
      [](const SlicePlace& a, const SlicePlace& b) {
        return norm(minus(a.row, b.row)) < kSameDirection &&
               norm(minus(a.column, b.column)) < kSameDirection;
      },
      [](const SlicePlace& s) {
        return fmt::format("{} (normal {:.3f} {:.3f} {:.3f})",
                           to_string(plane_of(s.row, s.column)),
                           cross(s.row, s.column)[0],
                           cross(s.row, s.column)[1],
                           cross(s.row, s.column)[2]);
      });
  require_same(
      slices,
      "size",
      [](const SlicePlace& a, const SlicePlace& b) {
        return a.columns == b.columns && a.rows == b.rows;
      },
      [](const SlicePlace& s) { return fmt::format("{} x {}", s.columns, s.rows); });
  require_same(
      slices,
      "pixel spacing",
      [](const SlicePlace& a, const SlicePlace& b) {
        return std::abs(a.spacing_x - b.spacing_x) <= 1e-3 * b.spacing_x &&
               std::abs(a.spacing_y - b.spacing_y) <= 1e-3 * b.spacing_y;
      },
      [](const SlicePlace& s) {
        return fmt::format("{:.4g} x {:.4g} mm", s.spacing_x, s.spacing_y);
      });
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

// Sets the grid along the normal: even, or how it would be made so.
void plan_steps(StackPlan& plan, const SeriesOptions& options) {
  const std::size_t n = plan.along.size();
  plan.grid_slices = n;
  const double last = plan.along.back();
  plan.step_mm = last / static_cast<double>(n - 1);
  double worst = 0.0;
  for (std::size_t i = 0; i < n; ++i) {
    worst = std::max(worst, std::abs(plan.along[i] - static_cast<double>(i) * plan.step_mm));
  }
  if (worst <= options.position_tolerance * plan.step_mm) return;

  plan.even = false;
  std::vector<double> steps;
  for (std::size_t i = 1; i < n; ++i) steps.push_back(plan.along[i] - plan.along[i - 1]);
  const double usual = median(steps);
  const double grid = std::max(1.0, std::round(last / usual));
  const double even = last / grid;
  bool on_grid = true;
  std::size_t gap = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const double off = std::remainder(plan.along[i], even);
    on_grid = on_grid && std::abs(off) <= options.position_tolerance * even;
    if (i > 0 && gap == 0 && steps[i - 1] > 1.5 * usual) gap = i;
  }
  std::string found;
  if (on_grid && gap > 0) {
    found =
        fmt::format("{} missing of {} slices: {:.4g} mm between slices {} and {}, expected {:.4g}",
                    static_cast<std::size_t>(grid) + 1 - n,
                    static_cast<std::size_t>(grid) + 1,
                    steps[gap - 1],
                    gap,
                    gap + 1,
                    even);
  } else {
    const auto [least, most] = std::ranges::minmax(steps);
    found =
        fmt::format("varying slice spacing: {:.4g} to {:.4g} mm, expected one value", least, most);
  }
  if (options.gaps == GapHandling::kRefuse) refuse(found);
  // A stray slice far away would ask for any amount of slices between.
  if (grid > 10.0 * static_cast<double>(n)) {
    refuse(fmt::format("{}; {:.0f} slices would have to be made of {}", found, grid + 1.0, n));
  }
  plan.step_mm = even;
  plan.grid_slices = static_cast<std::size_t>(grid) + 1;
  plan.notes.push_back(found + "; interpolated");
}

void plan_tilt(StackPlan& plan,
               const std::vector<SlicePlace>& slices,
               const SeriesOptions& options) {
  const SlicePlace& first = slices[plan.places.front().front()];
  const std::size_t n = plan.places.size();
  for (std::size_t i = 0; i < n; ++i) {
    const Vector3 from_first = minus(slices[plan.places[i].front()].position, first.position);
    plan.shift_x.push_back(dot(from_first, first.row) / first.spacing_x);
    plan.shift_y.push_back(dot(from_first, first.column) / first.spacing_y);
  }
  // They must lie on one line, tilted or not.
  for (std::size_t i = 0; i < n; ++i) {
    const double part = n > 1 ? plan.along[i] / plan.along.back() : 0.0;
    const double off_x = plan.shift_x[i] - part * plan.shift_x.back();
    const double off_y = plan.shift_y[i] - part * plan.shift_y.back();
    if (std::max(std::abs(off_x), std::abs(off_y)) > 0.5) {
      refuse(
          fmt::format("slices that do not lie on one line: slice {} of {} is {:.2f} voxels aside, "
                      "expected at most 0.5",
                      i + 1,
                      n,
                      std::hypot(off_x, off_y)));
    }
  }
  if (n < 2) return;
  const double aside =
      std::hypot(plan.shift_x.back() * first.spacing_x, plan.shift_y.back() * first.spacing_y);
  const double degrees = std::atan2(aside, plan.along.back()) * kDegrees;
  if (degrees < kLeastTilt) return;
  if (degrees > kMostTilt) {
    refuse(
        fmt::format("slices that follow each other {:.1f} degrees off their normal, expected at "
                    "most {:.0f}",
                    degrees,
                    kMostTilt));
  }
  if (options.tilt == TiltHandling::kRefuse) {
    refuse(fmt::format("gantry tilt of {:.2f} degrees, expected none", degrees));
  }
  plan.tilt_degrees = degrees;
  plan.notes.push_back(fmt::format(
      "gantry tilt of {:.2f} degrees; {}",
      degrees,
      options.tilt == TiltHandling::kStraighten ? "straightened" : "kept in the grid's axes"));
}

// One slice moved by (dx, dy) voxels into a larger one: out(x, y) = in(x - dx, y - dy).
void move_slice(const float* in,
                std::int64_t columns,
                std::int64_t rows,
                double dx,
                double dy,
                std::int64_t out_columns,
                std::int64_t out_rows,
                float fill,
                float* out) {
  const auto base_x = static_cast<std::int64_t>(std::floor(-dx));
  const auto base_y = static_cast<std::int64_t>(std::floor(-dy));
  const double part_x = -dx - static_cast<double>(base_x);
  const double part_y = -dy - static_cast<double>(base_y);
  const auto value = [&](std::int64_t x, std::int64_t y) {
    const bool inside = x >= 0 && x < columns && y >= 0 && y < rows;
    return static_cast<double>(inside ? in[y * columns + x] : fill);
  };
  for (std::int64_t y = 0; y < out_rows; ++y) {
    for (std::int64_t x = 0; x < out_columns; ++x) {
      const std::int64_t u = x + base_x;
      const std::int64_t v = y + base_y;
      // Neighbours of weight 0 are not looked at: at a whole shift the values stay as they are.
      double sum = (1.0 - part_x) * (1.0 - part_y) * value(u, v);
      if (part_x > 0.0) sum += part_x * (1.0 - part_y) * value(u + 1, v);
      if (part_y > 0.0) sum += (1.0 - part_x) * part_y * value(u, v + 1);
      if (part_x > 0.0 && part_y > 0.0) sum += part_x * part_y * value(u + 1, v + 1);
      out[y * out_columns + x] = static_cast<float>(sum);
    }
  }
}

}  // namespace

StackPlan plan_stack(const std::vector<SlicePlace>& slices, const SeriesOptions& options) {
  check_alike(slices);
  StackPlan plan;
  plan.normal = cross(slices[0].row, slices[0].column);
  std::vector<double> along(slices.size());
  for (std::size_t i = 0; i < slices.size(); ++i) along[i] = dot(slices[i].position, plan.normal);
  std::vector<std::size_t> order(slices.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, {}, [&](std::size_t i) { return along[i]; });
  for (const std::size_t i : order) {
    if (!plan.places.empty() && along[i] - along[plan.places.back().front()] < kSamePlaceMm) {
      const Vector3 aside = minus(slices[i].position, slices[plan.places.back().front()].position);
      if (norm(aside) > 10.0 * kSamePlaceMm) {
        refuse(fmt::format("images side by side in one plane, {:.4g} mm apart, expected one",
                           norm(aside)));
      }
      plan.places.back().push_back(i);
    } else {
      plan.places.push_back({i});
      plan.along.push_back(along[i] - along[order.front()]);
    }
  }
  if (plan.places.size() > 1) {
    plan_steps(plan, options);
  } else {
    plan.grid_slices = 1;
    plan.step_mm = slices[0].thickness;
    if (!(plan.step_mm > 0.0)) {
      plan.step_mm = 1.0;
      plan.notes.emplace_back("one slice without a thickness; taken as 1 mm");
    }
  }
  plan_tilt(plan, slices, options);
  return plan;
}

Volume build_volume(const StackPlan& plan,
                    const std::vector<SlicePlace>& slices,
                    std::vector<float> voxels,
                    const SeriesOptions& options) {
  const SlicePlace& first = slices[plan.places.front().front()];
  const std::size_t n = plan.places.size();
  std::int64_t columns = first.columns;
  std::int64_t rows = first.rows;
  std::int64_t base_x = 0;  // of the new first voxel, in voxels of the first slice
  std::int64_t base_y = 0;
  const bool straighten = plan.tilt_degrees > 0.0 && options.tilt == TiltHandling::kStraighten;
  if (straighten) {
    const double end_x = plan.shift_x.back();
    const double end_y = plan.shift_y.back();
    base_x = static_cast<std::int64_t>(std::floor(std::min(0.0, end_x)));
    base_y = static_cast<std::int64_t>(std::floor(std::min(0.0, end_y)));
    const std::int64_t wide = columns + static_cast<std::int64_t>(std::ceil(std::abs(end_x)));
    const std::int64_t high = rows + static_cast<std::int64_t>(std::ceil(std::abs(end_y)));
    const std::size_t count = checked_voxels({wide, high, static_cast<std::int64_t>(n)}, "series");
    std::vector<float> moved(count);
    const float fill = *std::ranges::min_element(voxels);
    parallel_for(n, options.threads, [&](std::size_t i) {
      // The shift that the line through all slices gives; a slice's own may be off by rounding.
      const double part = plan.along[i] / plan.along.back();
      move_slice(voxels.data() + i * static_cast<std::size_t>(columns * rows),
                 columns,
                 rows,
                 part * end_x - static_cast<double>(base_x),
                 part * end_y - static_cast<double>(base_y),
                 wide,
                 high,
                 fill,
                 moved.data() + i * static_cast<std::size_t>(wide * high));
    });
    voxels = std::move(moved);
    columns = wide;
    rows = high;
  }
  const auto slice = static_cast<std::size_t>(columns * rows);
  if (!plan.even) {
    const std::size_t count =
        checked_voxels({columns, rows, static_cast<std::int64_t>(plan.grid_slices)}, "series");
    std::vector<float> made(count);
    std::size_t below = 0;
    for (std::size_t k = 0; k < plan.grid_slices; ++k) {
      const double at = static_cast<double>(k) * plan.step_mm;
      while (below + 2 < n && plan.along[below + 1] <= at) ++below;
      const double length = plan.along[below + 1] - plan.along[below];
      double part = std::clamp((at - plan.along[below]) / length, 0.0, 1.0);
      // A slice that lies where one is wanted, but for rounding, is taken as it is.
      const double near = options.position_tolerance * plan.step_mm / length;
      if (part <= near) part = 0.0;
      if (part >= 1.0 - near) part = 1.0;
      const float* a = voxels.data() + below * slice;
      const float* b = a + slice;
      float* out = made.data() + k * slice;
      for (std::size_t i = 0; i < slice; ++i) {
        out[i] = static_cast<float>((1.0 - part) * static_cast<double>(a[i]) +
                                    part * static_cast<double>(b[i]));
      }
    }
    voxels = std::move(made);
  }
  Volume out;
  out.size = {columns, rows, static_cast<std::int64_t>(plan.grid_slices)};
  out.voxels = std::move(voxels);
  Vector3 step{};
  for (std::size_t i = 0; i < 3; ++i) step[i] = plan.normal[i] * plan.step_mm;
  if (plan.tilt_degrees == 0.0 || !straighten) {
    // The line through the slices itself: a tilt too small to count moves nothing then.
    const double steps = std::max(1.0, static_cast<double>(plan.grid_slices) - 1.0);
    for (std::size_t i = 0; i < 3; ++i) {
      step[i] += (first.row[i] * plan.shift_x.back() * first.spacing_x +
                  first.column[i] * plan.shift_y.back() * first.spacing_y) /
                 steps;
    }
  }
  for (std::size_t i = 0; i < 3; ++i) {
    out.patient_from_voxel.m[i] = {
        first.row[i] * first.spacing_x,
        first.column[i] * first.spacing_y,
        step[i],
        first.position[i] + first.row[i] * first.spacing_x * static_cast<double>(base_x) +
            first.column[i] * first.spacing_y * static_cast<double>(base_y)};
  }
  out.spacing_mm = spacing_of(out.patient_from_voxel);
  return out;
}

}  // namespace med3d::radiology
