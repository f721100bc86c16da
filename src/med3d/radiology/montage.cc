#include "med3d/radiology/montage.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "med3d/core/error.h"
#include "med3d/radiology/resample.h"

namespace med3d {
namespace {

constexpr GreyWindow kSoftTissue{-160.0, 240.0};

GreyWindow percentile_window(std::vector<float> voxels) {
  const auto at = [&](double part) {
    const auto index = static_cast<std::ptrdiff_t>(part * static_cast<double>(voxels.size() - 1));
    std::ranges::nth_element(voxels, voxels.begin() + index);
    return static_cast<double>(voxels[static_cast<std::size_t>(index)]);
  };
  const double low = at(0.01);
  const double high = at(0.99);
  return {low, high > low ? high : low + 1.0};
}

// x to the right of the picture, y down, z from slice to slice.
std::string_view picture_axes(Plane plane) {
  switch (plane) {
    case Plane::kCoronal:
      return "LIP";
    case Plane::kSagittal:
      return "PIL";
    default:
      return "LPS";
  }
}

}  // namespace

void MontageOptions::validate() const {
  const auto check = [](std::int64_t value, std::int64_t most, std::string_view name) {
    if (value >= 1 && value <= most) return;
    throw Error(ErrorKind::kUsage, fmt::format("{} {}, expected 1 to {}", name, value, most));
  };
  check(slices, 1000, "slices");
  check(columns, 100, "columns");
  check(tile, 2048, "tile");
  if (plane == Plane::kOblique) {
    throw Error(ErrorKind::kUsage, "plane oblique, expected axial, coronal or sagittal");
  }
  if (window && !(window->high > window->low)) {
    throw Error(
        ErrorKind::kUsage,
        fmt::format("a window from {} to {}, expected low below high", window->low, window->high));
  }
}

Montage montage(const Volume& volume, const MontageOptions& options) {
  options.validate();
  const Volume turned = reorient(volume, picture_axes(options.plane));
  Montage out;
  out.window = options.window.value_or(
      volume.units == VoxelUnits::kHu ? kSoftTissue : percentile_window(volume.voxels));

  const double wide = static_cast<double>(turned.size[0]) * turned.spacing_mm[0];
  const double high = static_cast<double>(turned.size[1]) * turned.spacing_mm[1];
  const double scale = static_cast<double>(options.tile) / std::max(wide, high);
  const auto side = [&](double mm) {
    return std::max<std::int64_t>(1, static_cast<std::int64_t>(std::lround(mm * scale)));
  };
  const std::int64_t tile_x = side(wide);
  const std::int64_t tile_y = side(high);
  const std::int64_t count = std::min<std::int64_t>(options.slices, turned.size[2]);
  const std::int64_t columns = std::min<std::int64_t>(options.columns, count);
  const std::int64_t rows = (count + columns - 1) / columns;
  out.width = columns * tile_x;
  out.height = rows * tile_y;
  out.pixels.assign(static_cast<std::size_t>(out.width * out.height), 0);

  const auto plane = static_cast<std::size_t>(turned.size[0] * turned.size[1]);
  Volume one;
  one.size = {turned.size[0], turned.size[1], 1};
  one.patient_from_voxel = turned.patient_from_voxel;
  one.spacing_mm = turned.spacing_mm;
  for (std::int64_t i = 0; i < count; ++i) {
    // The middle of each of `count` equal parts.
    const std::int64_t z = (2 * i + 1) * turned.size[2] / (2 * count);
    out.shown.push_back(z);
    const auto from =
        turned.voxels.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(z) * plane);
    one.voxels.assign(from, from + static_cast<std::ptrdiff_t>(plane));
    const Volume tile = resize_antialiased(one, {tile_x, tile_y, 1});
    for (std::int64_t y = 0; y < tile_y; ++y) {
      std::uint8_t* to =
          out.pixels.data() + (i / columns * tile_y + y) * out.width + i % columns * tile_x;
      for (std::int64_t x = 0; x < tile_x; ++x) {
        const double part = (static_cast<double>(tile.at(x, y, 0)) - out.window.low) /
                            (out.window.high - out.window.low);
        to[x] = static_cast<std::uint8_t>(std::lround(255.0 * std::clamp(part, 0.0, 1.0)));
      }
    }
  }
  return out;
}

}  // namespace med3d
