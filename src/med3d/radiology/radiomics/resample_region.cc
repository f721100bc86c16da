#include "med3d/radiology/radiomics/resample_region.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "med3d/core/error.h"
#include "med3d/core/limits.h"
#include "med3d/core/parallel.h"

namespace med3d::radiomics {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
// The filter's response falls by 0.268 a voxel: 40 voxels away nothing of it is left in a double.
constexpr std::int64_t kFilterReach = 40;

struct Block {
  std::array<std::int64_t, 3> low{};
  std::array<std::int64_t, 3> size{};
  std::vector<double> values;  // x fastest

  double at(std::int64_t x, std::int64_t y, std::int64_t z) const {
    return values[static_cast<std::size_t>(x + size[0] * (y + size[1] * z))];
  }
};

// Voxels of a box of doubles, within limits().array_bytes. Throws Error(kFormat).
std::size_t checked_doubles(const std::array<std::int64_t, 3>& size) {
  const std::size_t voxels = checked_voxels(size, "a region");
  if (checked_multiply(voxels, sizeof(double), "a region") > limits().array_bytes) {
    throw Error(ErrorKind::kFormat,
                fmt::format("a region of {} x {} x {} voxels: more than an array may have",
                            size[0],
                            size[1],
                            size[2]));
  }
  return voxels;
}

[[noreturn]] void not_finite() {
  throw Error(ErrorKind::kData, "the image has a voxel in or near the region that is not finite");
}

Block cut(const Volume& image, const Box& box, std::int64_t margin) {
  Block out;
  for (std::size_t axis = 0; axis < 3; ++axis) {
    out.low[axis] = std::max<std::int64_t>(0, box.low[axis] - margin);
    const std::int64_t high = std::min(image.size[axis] - 1, box.high[axis] + margin);
    out.size[axis] = high - out.low[axis] + 1;
  }
  out.values.reserve(checked_doubles(out.size));
  for (std::int64_t z = 0; z < out.size[2]; ++z) {
    for (std::int64_t y = 0; y < out.size[1]; ++y) {
      for (std::int64_t x = 0; x < out.size[0]; ++x) {
        const float value = image.at(x + out.low[0], y + out.low[1], z + out.low[2]);
        if (!std::isfinite(value)) not_finite();
        out.values.push_back(static_cast<double>(value));
      }
    }
  }
  return out;
}

// One line of samples to coefficients of cubic B-splines, mirrored at both ends.
void filter_line(std::vector<double>& line) {
  const auto n = static_cast<std::int64_t>(line.size());
  if (n < 2) return;
  const double pole = std::sqrt(3.0) - 2.0;
  for (double& value : line) value *= 6.0;
  const auto at = [&](std::int64_t i) -> double& { return line[static_cast<std::size_t>(i)]; };
  // The mirrored line has period 2 n - 2; the sum over all periods is a geometric series.
  double power = pole;
  double sum = at(0);
  for (std::int64_t i = 1; i < 2 * n - 2 && std::abs(power) > 1e-30; ++i) {
    sum += power * at(i < n ? i : 2 * n - 2 - i);
    power *= pole;
  }
  at(0) = sum / (1.0 - std::pow(pole, static_cast<double>(2 * n - 2)));
  for (std::int64_t i = 1; i < n; ++i) at(i) += pole * at(i - 1);
  at(n - 1) = pole / (pole * pole - 1.0) * (at(n - 1) + pole * at(n - 2));
  for (std::int64_t i = n - 2; i >= 0; --i) at(i) = pole * (at(i + 1) - at(i));
}

void filter_block(Block& block, int threads) {
  const std::array<std::int64_t, 3> stride{1, block.size[0], block.size[0] * block.size[1]};
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const std::size_t a = axis == 0 ? 1 : 0;
    const std::size_t b = axis == 2 ? 1 : 2;
    parallel_for(static_cast<std::size_t>(block.size[b]), threads, [&](std::size_t j) {
      std::vector<double> line(static_cast<std::size_t>(block.size[axis]));
      for (std::int64_t i = 0; i < block.size[a]; ++i) {
        double* first =
            block.values.data() + i * stride[a] + static_cast<std::int64_t>(j) * stride[b];
        for (std::size_t k = 0; k < line.size(); ++k) {
          line[k] = first[static_cast<std::int64_t>(k) * stride[axis]];
        }
        filter_line(line);
        for (std::size_t k = 0; k < line.size(); ++k) {
          first[static_cast<std::int64_t>(k) * stride[axis]] = line[k];
        }
      }
    });
  }
}

struct Taps {
  std::array<std::int64_t, 4> index{};  // in the block
  std::array<double, 4> weight{};
  int count = 0;
};

Taps taps_at(double c, std::int64_t low, std::int64_t size, Interpolator interpolator) {
  Taps taps;
  const double local = c - static_cast<double>(low);
  const auto base = static_cast<std::int64_t>(std::floor(local));
  const double t = local - static_cast<double>(base);
  if (interpolator == Interpolator::kLinear) {
    taps.count = 2;
    taps.weight = {1.0 - t, t, 0.0, 0.0};
    for (int k = 0; k < 2; ++k) {
      taps.index[static_cast<std::size_t>(k)] = std::clamp<std::int64_t>(base + k, 0, size - 1);
    }
    return taps;
  }
  taps.count = 4;
  const double u = 1.0 - t;
  taps.weight = {u * u * u / 6.0,
                 (4.0 - 6.0 * t * t + 3.0 * t * t * t) / 6.0,
                 (4.0 - 6.0 * u * u + 3.0 * u * u * u) / 6.0,
                 t * t * t / 6.0};
  const std::int64_t period = std::max<std::int64_t>(1, 2 * size - 2);
  for (int k = 0; k < 4; ++k) {
    std::int64_t i = ((base - 1 + k) % period + period) % period;
    if (i >= size) i = period - i;
    taps.index[static_cast<std::size_t>(k)] = i;
  }
  return taps;
}

// What one axis of the new grid reads of the old one.
struct Axis {
  double spacing = 1.0;
  std::vector<double> coordinate;     // of the new voxels, in old voxels
  std::vector<std::int64_t> nearest;  // old voxel
};

Axis grid_along(
    std::int64_t image_size, std::int64_t low, std::int64_t high, double from, double to) {
  Axis axis;
  axis.spacing = to;
  const double ratio = from / to;
  const auto first = std::max(0.0, std::floor((static_cast<double>(low) - 0.5) * ratio));
  const auto last = std::min(std::ceil((static_cast<double>(high) + 0.5) * ratio),
                             std::ceil(static_cast<double>(image_size) * ratio) - 1.0);
  if (!(last - first < 100'000.0)) {
    throw Error(ErrorKind::kFormat,
                "the region is more than 100,000 voxels long on a grid of that spacing");
  }
  const double origin = 0.5 * (to - from) / from;
  for (double k = first; k <= last; k += 1.0) {
    const double c = origin + k / ratio;
    // Beyond the half voxel around the outermost centres there is no image.
    if (c < -0.5 || c >= static_cast<double>(image_size) - 0.5) continue;
    axis.coordinate.push_back(c);
    axis.nearest.push_back(std::clamp<std::int64_t>(
        static_cast<std::int64_t>(std::floor(c + 0.5)), 0, image_size - 1));
  }
  return axis;
}

}  // namespace

ResampledBox resample_box(const Volume& image,
                          const Volume& mask,
                          const Box& box,
                          const Options& options) {
  const auto label = static_cast<float>(options.label);
  ResampledBox out;
  out.spacing_mm = image.spacing_mm;
  if (options.spacing_mm) {
    for (std::size_t axis = 0; axis < 3; ++axis) {
      const bool moves = (*options.spacing_mm)[axis] > 0.0 && box.high[axis] > box.low[axis];
      if (moves) out.spacing_mm[axis] = (*options.spacing_mm)[axis];
    }
  }
  if (out.spacing_mm == image.spacing_mm) {
    for (std::size_t axis = 0; axis < 3; ++axis)
      out.size[axis] = box.high[axis] - box.low[axis] + 1;
    out.values.reserve(checked_doubles(out.size));
    for (std::int64_t z = box.low[2]; z <= box.high[2]; ++z) {
      for (std::int64_t y = box.low[1]; y <= box.high[1]; ++y) {
        for (std::int64_t x = box.low[0]; x <= box.high[0]; ++x) {
          const bool inside = mask.at(x, y, z) == label;
          const float value = image.at(x, y, z);
          if (inside && !std::isfinite(value)) not_finite();
          out.values.push_back(inside ? static_cast<double>(value) : kNaN);
        }
      }
    }
    return out;
  }

  std::array<Axis, 3> axes;
  for (std::size_t axis = 0; axis < 3; ++axis) {
    axes[axis] = grid_along(image.size[axis],
                            box.low[axis],
                            box.high[axis],
                            image.spacing_mm[axis],
                            out.spacing_mm[axis]);
    out.size[axis] = static_cast<std::int64_t>(axes[axis].coordinate.size());
    if (out.size[axis] == 0) {
      throw Error(ErrorKind::kData, "nothing of the region is left on a grid of that spacing");
    }
  }
  out.values.assign(checked_doubles(out.size), kNaN);
  const bool spline = options.interpolator == Interpolator::kBSpline;
  Block block = cut(image, box, spline ? kFilterReach : 2);
  if (spline) filter_block(block, options.threads);
  std::array<std::vector<Taps>, 3> taps;
  for (std::size_t axis = 0; axis < 3; ++axis) {
    for (const double c : axes[axis].coordinate) {
      taps[axis].push_back(taps_at(c, block.low[axis], block.size[axis], options.interpolator));
    }
  }
  parallel_for(static_cast<std::size_t>(out.size[2]), options.threads, [&](std::size_t z) {
    const Taps& along_z = taps[2][z];
    for (std::size_t y = 0; y < taps[1].size(); ++y) {
      const Taps& along_y = taps[1][y];
      for (std::size_t x = 0; x < taps[0].size(); ++x) {
        if (mask.at(axes[0].nearest[x], axes[1].nearest[y], axes[2].nearest[z]) != label) continue;
        const Taps& along_x = taps[0][x];
        double sum = 0.0;
        for (std::size_t c = 0; c < static_cast<std::size_t>(along_z.count); ++c) {
          for (std::size_t b = 0; b < static_cast<std::size_t>(along_y.count); ++b) {
            double row = 0.0;
            for (std::size_t a = 0; a < static_cast<std::size_t>(along_x.count); ++a) {
              row += along_x.weight[a] *
                     block.at(along_x.index[a], along_y.index[b], along_z.index[c]);
            }
            sum += along_z.weight[c] * along_y.weight[b] * row;
          }
        }
        const std::size_t place = x + taps[0].size() * (y + taps[1].size() * z);
        out.values[place] = sum;
      }
    }
  });
  const bool any = std::any_of(
      out.values.begin(), out.values.end(), [](double value) { return !std::isnan(value); });
  if (!any) {
    throw Error(ErrorKind::kData, "nothing of the region is left on a grid of that spacing");
  }
  return out;
}

}  // namespace med3d::radiomics
