#include "med3d/radiology/resample.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "med3d/core/error.h"
#include "med3d/core/parallel.h"

namespace med3d {
namespace {

// The input voxels that one output voxel is made of; none = it is 0.
struct Taps {
  std::int64_t first = 0;
  std::vector<double> weights;
};
using AxisTaps = std::vector<Taps>;

double zoom_step(std::int64_t in, std::int64_t out) {
  return out > 1 ? static_cast<double>(in - 1) / static_cast<double>(out - 1) : 1.0;
}

AxisTaps zoom_taps(std::int64_t in, std::int64_t out, LastPlane last) {
  const double step = zoom_step(in, out);
  const auto end = static_cast<double>(in - 1);
  AxisTaps all(static_cast<std::size_t>(out));
  for (std::int64_t o = 0; o < out; ++o) {
    Taps& taps = all[static_cast<std::size_t>(o)];
    double at = static_cast<double>(o) * step;
    if (at > end) {
      if (last == LastPlane::kScipy) continue;
      at = end;
    }
    taps.first = static_cast<std::int64_t>(std::floor(at));
    const double part = at - static_cast<double>(taps.first);
    taps.weights = {1.0 - part};
    if (part > 0.0) taps.weights.push_back(part);
  }
  return all;
}

// centre(o) in input voxels, voxel centres at whole numbers; step = input voxels per output voxel.
AxisTaps triangle_taps(std::int64_t in, std::int64_t out, double start, double step) {
  const double width = std::max(1.0, step);
  AxisTaps all(static_cast<std::size_t>(out));
  for (std::int64_t o = 0; o < out; ++o) {
    Taps& taps = all[static_cast<std::size_t>(o)];
    const double centre = start + static_cast<double>(o) * step;
    const double inside = std::clamp(centre, 0.0, static_cast<double>(in - 1));
    const auto low =
        std::max<std::int64_t>(0, static_cast<std::int64_t>(std::ceil(centre - width)));
    const auto high =
        std::min<std::int64_t>(in - 1, static_cast<std::int64_t>(std::floor(centre + width)));
    double sum = 0.0;
    taps.first = low;
    for (std::int64_t i = low; i <= high; ++i) {
      const double weight = std::max(0.0, 1.0 - std::abs(static_cast<double>(i) - centre) / width);
      taps.weights.push_back(weight);
      sum += weight;
    }
    if (sum > 0.0) {
      for (double& weight : taps.weights) weight /= sum;
    } else {  // beyond the edge by more than the filter is wide
      taps.first = static_cast<std::int64_t>(std::round(inside));
      taps.weights = {1.0};
    }
  }
  return all;
}

// One output slice at a time: input slices to a plane of doubles, then rows, then columns.
std::vector<float> apply(const Volume& volume,
                         const AxisTaps& along_x,
                         const AxisTaps& along_y,
                         const AxisTaps& along_z,
                         int threads) {
  const auto columns = static_cast<std::size_t>(volume.size[0]);
  const auto rows = static_cast<std::size_t>(volume.size[1]);
  const std::size_t plane = columns * rows;
  std::vector<float> out(along_x.size() * along_y.size() * along_z.size());
  parallel_for(along_z.size(), threads, [&](std::size_t z) {
    std::vector<double> slice(plane);
    const Taps& deep = along_z[z];
    for (std::size_t k = 0; k < deep.weights.size(); ++k) {
      const float* from = volume.voxels.data() + (static_cast<std::size_t>(deep.first) + k) * plane;
      const double weight = deep.weights[k];
      for (std::size_t i = 0; i < plane; ++i) slice[i] += weight * static_cast<double>(from[i]);
    }
    std::vector<double> line(columns);
    float* to = out.data() + z * along_x.size() * along_y.size();
    for (const Taps& down : along_y) {
      std::ranges::fill(line, 0.0);
      for (std::size_t k = 0; k < down.weights.size(); ++k) {
        const double* from = slice.data() + (static_cast<std::size_t>(down.first) + k) * columns;
        const double weight = down.weights[k];
        for (std::size_t i = 0; i < columns; ++i) line[i] += weight * from[i];
      }
      for (const Taps& across : along_x) {
        double sum = 0.0;
        const double* from = line.data() + across.first;
        for (std::size_t k = 0; k < across.weights.size(); ++k) sum += across.weights[k] * from[k];
        *to++ = static_cast<float>(sum);
      }
    }
  });
  return out;
}

// The grid whose voxel o lies at old voxel start + o * step.
Volume on_grid(const Volume& volume,
               const VolumeSize& size,
               const Vector3& start,
               const Vector3& step) {
  checked_voxels(size, "resampled volume");
  Affine old_from_new;
  for (std::size_t i = 0; i < 3; ++i) {
    old_from_new.m[i][i] = step[i];
    old_from_new.m[i][3] = start[i];
  }
  Volume out;
  out.size = size;
  out.units = volume.units;
  out.patient_from_voxel = volume.patient_from_voxel * old_from_new;
  out.spacing_mm = spacing_of(out.patient_from_voxel);
  return out;
}

Volume zoomed(const Volume& volume, const VolumeSize& size) {
  volume.validate();
  checked_voxels(size, "resampled volume");
  Vector3 step{};
  for (std::size_t i = 0; i < 3; ++i) {
    // One voxel has no step to the next: any size will do, but not 0.
    step[i] = volume.size[i] > 1 ? zoom_step(volume.size[i], size[i]) : 1.0;
  }
  return on_grid(volume, size, {0, 0, 0}, step);
}

}  // namespace

std::vector<std::int64_t> zoom_nearest_index(std::int64_t in, std::int64_t out, LastPlane last) {
  const double step = zoom_step(in, out);
  std::vector<std::int64_t> index;
  index.reserve(static_cast<std::size_t>(out));
  for (std::int64_t o = 0; o < out; ++o) {
    const double at = static_cast<double>(o) * step;
    const bool beyond = at > static_cast<double>(in - 1);
    if (beyond && last == LastPlane::kScipy) {
      index.push_back(-1);
    } else {
      index.push_back(std::min(in - 1, static_cast<std::int64_t>(std::floor(at + 0.5))));
    }
  }
  return index;
}

Volume zoom_nearest(const Volume& volume, const VolumeSize& size, LastPlane last) {
  Volume out = zoomed(volume, size);
  std::array<std::vector<std::int64_t>, 3> from;
  for (std::size_t i = 0; i < 3; ++i) from[i] = zoom_nearest_index(volume.size[i], size[i], last);
  out.voxels.reserve(static_cast<std::size_t>(size[0] * size[1] * size[2]));
  for (const std::int64_t z : from[2]) {
    for (const std::int64_t y : from[1]) {
      const std::int64_t row = volume.size[0] * (y + volume.size[1] * z);
      for (const std::int64_t x : from[0]) {
        const bool none = x < 0 || y < 0 || z < 0;
        out.voxels.push_back(none ? 0.0F : volume.voxels[static_cast<std::size_t>(row + x)]);
      }
    }
  }
  return out;
}

Volume zoom_linear(const Volume& volume, const VolumeSize& size, LastPlane last, int threads) {
  Volume out = zoomed(volume, size);
  out.voxels = apply(volume,
                     zoom_taps(volume.size[0], size[0], last),
                     zoom_taps(volume.size[1], size[1], last),
                     zoom_taps(volume.size[2], size[2], last),
                     threads);
  return out;
}

Volume resize_antialiased(const Volume& volume, const VolumeSize& size, int threads) {
  volume.validate();
  checked_voxels(size, "resampled volume");
  Vector3 start{};
  Vector3 step{};
  std::array<AxisTaps, 3> taps;
  for (std::size_t i = 0; i < 3; ++i) {
    step[i] = static_cast<double>(volume.size[i]) / static_cast<double>(size[i]);
    start[i] = 0.5 * step[i] - 0.5;
    taps[i] = triangle_taps(volume.size[i], size[i], start[i], step[i]);
  }
  Volume out = on_grid(volume, size, start, step);
  out.voxels = apply(volume, taps[0], taps[1], taps[2], threads);
  return out;
}

Volume resample_to_spacing(const Volume& volume, const Vector3& spacing_mm, int threads) {
  volume.validate();
  Vector3 start{};
  Vector3 step{};
  VolumeSize size{};
  for (std::size_t i = 0; i < 3; ++i) {
    if (!(spacing_mm[i] > 0.0) || !std::isfinite(spacing_mm[i])) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("a spacing of {} mm, expected above 0", spacing_mm[i]));
    }
    step[i] = spacing_mm[i] / volume.spacing_mm[i];
    const double wanted = std::round(static_cast<double>(volume.size[i]) / step[i]);
    size[i] = static_cast<std::int64_t>(std::clamp(wanted, 1.0, 1e12));
    start[i] = 0.5 * (static_cast<double>(volume.size[i] - 1) -
                      static_cast<double>(size[i] - 1) * step[i]);
  }
  Volume out = on_grid(volume, size, start, step);
  std::array<AxisTaps, 3> taps;
  for (std::size_t i = 0; i < 3; ++i) {
    taps[i] = triangle_taps(volume.size[i], size[i], start[i], step[i]);
  }
  out.voxels = apply(volume, taps[0], taps[1], taps[2], threads);
  return out;
}

Volume resample_around_centre(const Volume& volume,
                              const Vector3& spacing_mm,
                              const VolumeSize& size,
                              float fill,
                              int threads) {
  volume.validate();
  checked_voxels(size, "resampled volume");
  Vector3 start{};
  Vector3 step{};
  std::array<AxisTaps, 3> taps;
  VolumeSize first{};  // of the new voxels whose centres lie in the old field of view
  VolumeSize inside{};
  for (std::size_t i = 0; i < 3; ++i) {
    if (!(spacing_mm[i] > 0.0) || !std::isfinite(spacing_mm[i])) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("a spacing of {} mm, expected above 0", spacing_mm[i]));
    }
    step[i] = spacing_mm[i] / volume.spacing_mm[i];
    const auto old_size = static_cast<double>(volume.size[i]);
    start[i] = 0.5 * (old_size - 1.0 - static_cast<double>(size[i] - 1) * step[i]);
    const auto at = [&](std::int64_t o) { return start[i] + static_cast<double>(o) * step[i]; };
    while (first[i] < size[i] && at(first[i]) < -0.5) ++first[i];
    while (first[i] + inside[i] < size[i] && at(first[i] + inside[i]) <= old_size - 0.5) {
      ++inside[i];
    }
    if (inside[i] == 0) {
      throw Error(ErrorKind::kData,
                  fmt::format("a spacing of {} mm, larger than the scan", spacing_mm[i]));
    }
    taps[i] = triangle_taps(volume.size[i], inside[i], at(first[i]), step[i]);
  }
  Volume out = on_grid(volume, size, start, step);
  out.voxels.assign(static_cast<std::size_t>(size[0] * size[1] * size[2]), fill);
  const std::vector<float> part = apply(volume, taps[0], taps[1], taps[2], threads);
  const float* from = part.data();
  for (std::int64_t z = 0; z < inside[2]; ++z) {
    for (std::int64_t y = 0; y < inside[1]; ++y, from += inside[0]) {
      std::copy_n(from, inside[0], &out.at(first[0], first[1] + y, first[2] + z));
    }
  }
  return out;
}

Volume crop_to_mask(const Volume& volume, const Volume& mask, double margin_mm) {
  volume.validate();
  mask.validate();
  if (!(margin_mm >= 0.0) || !std::isfinite(margin_mm)) {
    throw Error(ErrorKind::kUsage, fmt::format("a margin of {} mm, expected 0 or more", margin_mm));
  }
  const Affine between = inverse(volume.patient_from_voxel) * mask.patient_from_voxel;
  const Vector3 last{static_cast<double>(mask.size[0] - 1),
                     static_cast<double>(mask.size[1] - 1),
                     static_cast<double>(mask.size[2] - 1)};
  const Vector3 first_off = between({0, 0, 0});
  const Vector3 last_at = between(last);
  bool same = mask.size == volume.size;
  for (std::size_t i = 0; i < 3; ++i) {
    same = same && std::abs(first_off[i]) < 0.01 && std::abs(last_at[i] - last[i]) < 0.01;
  }
  if (!same) throw Error(ErrorKind::kData, "a mask on another grid than its volume");
  VolumeSize low = volume.size;
  VolumeSize high{-1, -1, -1};
  for (std::int64_t z = 0; z < mask.size[2]; ++z) {
    for (std::int64_t y = 0; y < mask.size[1]; ++y) {
      for (std::int64_t x = 0; x < mask.size[0]; ++x) {
        if (!(mask.at(x, y, z) > 0.0F)) continue;
        const VolumeSize at{x, y, z};
        for (std::size_t i = 0; i < 3; ++i) {
          low[i] = std::min(low[i], at[i]);
          high[i] = std::max(high[i], at[i]);
        }
      }
    }
  }
  if (high[0] < 0) throw Error(ErrorKind::kData, "a mask without any voxel above 0");
  VolumeSize size{};
  for (std::size_t i = 0; i < 3; ++i) {
    const double voxels =
        std::min(std::ceil(margin_mm / volume.spacing_mm[i]), static_cast<double>(volume.size[i]));
    const auto margin = static_cast<std::int64_t>(voxels);
    low[i] = std::max<std::int64_t>(0, low[i] - margin);
    high[i] = std::min(volume.size[i] - 1, high[i] + margin);
    size[i] = high[i] - low[i] + 1;
  }
  Volume out = on_grid(
      volume,
      size,
      {static_cast<double>(low[0]), static_cast<double>(low[1]), static_cast<double>(low[2])},
      {1, 1, 1});
  for (std::int64_t z = low[2]; z <= high[2]; ++z) {
    for (std::int64_t y = low[1]; y <= high[1]; ++y) {
      for (std::int64_t x = low[0]; x <= high[0]; ++x) out.voxels.push_back(volume.at(x, y, z));
    }
  }
  return out;
}

}  // namespace med3d
