#include "med3d/radiology/radiomics/region.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "med3d/core/error.h"
#include "med3d/radiology/radiomics/resample_region.h"

namespace med3d::radiomics {
namespace {

std::string text_of(const Vector3& point) {
  return fmt::format("{:.6g}, {:.6g}, {:.6g}", point[0], point[1], point[2]);
}

std::string geometry_of(const Volume& volume) {
  return fmt::format("{} x {} x {} voxels of {} mm, first at ({}) mm, axes {}",
                     volume.size[0],
                     volume.size[1],
                     volume.size[2],
                     text_of(volume.spacing_mm),
                     text_of(volume.patient_from_voxel({0, 0, 0})),
                     orientation_code(volume.patient_from_voxel));
}

// mask in the image's order of axes; stored as its file has it, for the message.
void require_same_grid(const Volume& image, const Volume& mask, const Volume& stored) {
  bool same = image.size == mask.size;
  if (same) {
    const Affine image_from_patient = inverse(image.patient_from_voxel);
    for (int corner = 0; corner < 8 && same; ++corner) {
      Vector3 at{};
      for (std::size_t axis = 0; axis < 3; ++axis) {
        at[axis] = ((corner >> axis) & 1) != 0 ? static_cast<double>(image.size[axis] - 1) : 0.0;
      }
      const Vector3 seen = image_from_patient(mask.patient_from_voxel(at));
      for (std::size_t axis = 0; axis < 3; ++axis) {
        same = same && std::abs(seen[axis] - at[axis]) <= 0.01;
      }
    }
  }
  if (!same) {
    throw Error(ErrorKind::kData,
                fmt::format("the mask is on another grid than the image: the image has {}; the "
                            "mask has {}",
                            geometry_of(image),
                            geometry_of(stored)));
  }
}

std::string labels_of(const Volume& mask) {
  constexpr std::size_t kShown = 10;
  std::set<float> labels;
  for (const float value : mask.voxels) {
    if (value != 0.0F && labels.size() <= kShown) labels.insert(value);
  }
  if (labels.empty()) return "it is empty";
  std::string text = "it has";
  std::size_t shown = 0;
  for (const float label : labels) {
    if (shown++ == kShown) return text + " and more";
    text += fmt::format("{} {}", shown == 1 ? "" : ",", label);
  }
  return text;
}

void require_large_enough(const Region& region, const Options& options) {
  const auto axes = std::count_if(
      region.size.begin(), region.size.end(), [](std::int64_t side) { return side > 1; });
  if (axes < options.minimum_dimensions) {
    throw Error(ErrorKind::kData,
                fmt::format("the region is {} x {} x {} voxels, expected two or more along at "
                            "least {} axes",
                            region.size[0],
                            region.size[1],
                            region.size[2],
                            options.minimum_dimensions));
  }
  const auto count = static_cast<std::int64_t>(region.voxels.size());
  if (count <= options.minimum_voxels) {
    throw Error(
        ErrorKind::kData,
        fmt::format(
            "the region has {} voxels, expected more than {}", count, options.minimum_voxels));
  }
}

std::int64_t margin_of(const Options& options) {
  return *std::max_element(options.distances.begin(), options.distances.end());
}

void normalise(Region& region, const Volume& image) {
  double sum = 0.0;
  for (const float value : image.voxels) sum += static_cast<double>(value);
  const double count = static_cast<double>(image.voxels.size());
  const double mean = sum / count;
  double squares = 0.0;
  for (const float value : image.voxels) {
    const double off = static_cast<double>(value) - mean;
    squares += off * off;
  }
  // ITK's filter divides by n - 1.
  const double deviation = std::sqrt(squares / (count - 1.0));
  if (!std::isfinite(deviation) || deviation <= 0.0) {
    throw Error(ErrorKind::kData,
                "the image cannot be normalised: its voxels are all equal or not all finite");
  }
  for (double& value : region.values) value = (value - mean) / deviation;
}

double python_modulo(double value, double width) {
  double rest = std::fmod(value, width);
  if (rest != 0.0 && (rest < 0.0) != (width < 0.0)) rest += width;
  return rest;
}

[[noreturn]] void too_many_levels(double lowest, double highest, double width) {
  throw Error(ErrorKind::kData,
              fmt::format("values from {:.6g} to {:.6g} in bins of {:.6g} are more than {} grey "
                          "levels: a larger bin width or a bin count is needed",
                          lowest,
                          highest,
                          width,
                          kMaximumLevels));
}

}  // namespace

Region region_of(const std::array<std::int64_t, 3>& size,
                 const std::vector<double>& values,
                 const Vector3& spacing_mm,
                 std::int64_t margin) {
  std::array<std::int64_t, 3> low = size;
  std::array<std::int64_t, 3> high{-1, -1, -1};
  const auto each = [&](const auto& work) {
    std::size_t i = 0;
    for (std::int64_t z = 0; z < size[2]; ++z) {
      for (std::int64_t y = 0; y < size[1]; ++y) {
        for (std::int64_t x = 0; x < size[0]; ++x, ++i) {
          if (!std::isnan(values[i])) work(std::array<std::int64_t, 3>{x, y, z}, values[i]);
        }
      }
    }
  };
  std::size_t count = 0;
  each([&](const auto& at, double) {
    ++count;
    for (std::size_t axis = 0; axis < 3; ++axis) {
      low[axis] = std::min(low[axis], at[axis]);
      high[axis] = std::max(high[axis], at[axis]);
    }
  });
  if (count == 0) throw Error(ErrorKind::kData, "the region has no voxel");
  Region region;
  region.margin = margin;
  region.spacing_mm = spacing_mm;
  for (std::size_t axis = 0; axis < 3; ++axis) {
    region.size[axis] = high[axis] - low[axis] + 1;
    region.padded[axis] = region.size[axis] + 2 * margin;
  }
  region.level.assign(checked_voxels(region.padded, "a region"), 0);
  region.voxels.reserve(count);
  region.values.reserve(count);
  region.present = {1};
  each([&](const auto& at, double value) {
    const std::int64_t place = (at[0] - low[0] + margin) +
                               region.padded[0] * ((at[1] - low[1] + margin) +
                                                   region.padded[1] * (at[2] - low[2] + margin));
    region.level[static_cast<std::size_t>(place)] = 1;
    region.voxels.push_back(static_cast<std::uint32_t>(place));
    region.values.push_back(value);
  });
  return region;
}

Region cut_region(const Volume& image, const Volume& mask, const Options& options) {
  options.validate();
  image.validate();
  mask.validate();
  // A mask drawn on the NIfTI of a DICOM series has the same voxels in another order.
  const std::string code = orientation_code(image.patient_from_voxel);
  if (orientation_code(mask.patient_from_voxel) != code) {
    const Volume turned = reorient(mask, code);
    require_same_grid(image, turned, mask);
    return cut_region(image, turned, options);
  }
  require_same_grid(image, mask, mask);

  const auto label = static_cast<float>(options.label);
  Box box{image.size, {-1, -1, -1}};
  std::size_t i = 0;
  for (std::int64_t z = 0; z < mask.size[2]; ++z) {
    for (std::int64_t y = 0; y < mask.size[1]; ++y) {
      for (std::int64_t x = 0; x < mask.size[0]; ++x, ++i) {
        if (mask.voxels[i] != label) continue;
        box.low = {std::min(box.low[0], x), std::min(box.low[1], y), std::min(box.low[2], z)};
        box.high = {std::max(box.high[0], x), std::max(box.high[1], y), std::max(box.high[2], z)};
      }
    }
  }
  if (box.high[0] < 0) {
    throw Error(ErrorKind::kData,
                fmt::format("label {} is not in the mask: {}", options.label, labels_of(mask)));
  }

  ResampledBox cut = resample_box(image, mask, box, options);
  Region region = region_of(cut.size, cut.values, cut.spacing_mm, margin_of(options));
  require_large_enough(region, options);
  if (options.normalize) {
    normalise(region, image);
    for (double& value : region.values) {
      if (options.remove_outliers) {
        value = std::clamp(value, -*options.remove_outliers, *options.remove_outliers);
      }
      value *= options.normalize_scale;
    }
  }
  return region;
}

void discretise(Region& region, const Options& options) {
  const auto [low_at, high_at] = std::minmax_element(region.values.begin(), region.values.end());
  const double lowest = *low_at;
  const double highest = *high_at;
  double start = lowest;
  double width = options.bin_width;
  std::int64_t bins = std::numeric_limits<std::int64_t>::max();
  if (options.bin_count) {
    bins = *options.bin_count;
    const bool flat = lowest == highest;
    if (flat) start = lowest - 0.5;
    width = ((flat ? highest + 0.5 : highest) - start) / static_cast<double>(bins);
  } else {
    start = lowest - python_modulo(lowest, width);
    width = (start + options.bin_width) - start;  // numpy.arange's step
    if (!(width > 0.0) || (highest - start) / width >= static_cast<double>(kMaximumLevels)) {
      too_many_levels(lowest, highest, options.bin_width);
    }
  }
  if (bins != std::numeric_limits<std::int64_t>::max() && bins > kMaximumLevels) {
    too_many_levels(lowest, highest, width);
  }
  const auto edge = [&](std::int64_t k) { return start + static_cast<double>(k) * width; };
  std::set<std::int32_t> present;
  for (std::size_t i = 0; i < region.values.size(); ++i) {
    const double value = region.values[i];
    auto k = static_cast<std::int64_t>(std::floor((value - start) / width));
    // The division may land on the wrong side of an edge; the edges decide.
    while (k > 0 && edge(k) > value) --k;
    while (edge(k + 1) <= value) ++k;
    k = std::clamp<std::int64_t>(k, 0, bins - 1);
    const auto level = static_cast<std::int32_t>(k + 1);
    region.level[region.voxels[i]] = level;
    present.insert(level);
  }
  region.present.assign(present.begin(), present.end());
}

std::vector<std::array<int, 3>> directions(const Region& region,
                                           const std::vector<int>& distances,
                                           bool force_2d) {
  const int reach = *std::max_element(distances.begin(), distances.end());
  std::vector<std::array<int, 3>> out;
  for (int z = 0; z <= (force_2d ? 0 : reach); ++z) {
    for (int y = -reach; y <= reach; ++y) {
      for (int x = -reach; x <= reach; ++x) {
        // Of two opposite steps the one whose last component other than 0 is positive.
        if (z == 0 && (y < 0 || (y == 0 && x <= 0))) continue;
        const int longest = std::max({std::abs(x), std::abs(y), z});
        if (std::find(distances.begin(), distances.end(), longest) == distances.end()) continue;
        if (std::abs(x) >= region.size[0] || std::abs(y) >= region.size[1] || z >= region.size[2]) {
          continue;
        }
        out.push_back({x, y, z});
      }
    }
  }
  return out;
}

double step_length(const std::array<int, 3>& offset, const Vector3& spacing_mm, Weighting norm) {
  Vector3 along{};
  for (std::size_t axis = 0; axis < 3; ++axis) {
    along[axis] = std::abs(offset[axis]) * spacing_mm[axis];
  }
  switch (norm) {
    case Weighting::kManhattan:
      return along[0] + along[1] + along[2];
    case Weighting::kEuclidean:
      return med3d::norm(along);
    case Weighting::kInfinity:
      return std::max({along[0], along[1], along[2]});
    case Weighting::kNone:
    case Weighting::kNoWeighting:
      break;
  }
  return 1.0;
}

std::vector<double> mean_of_rows(const std::vector<std::vector<double>>& rows,
                                 std::size_t columns) {
  std::vector<double> out(columns, std::numeric_limits<double>::quiet_NaN());
  for (std::size_t j = 0; j < columns; ++j) {
    double sum = 0.0;
    std::size_t count = 0;
    for (const auto& row : rows) {
      if (std::isnan(row[j])) continue;
      sum += row[j];
      ++count;
    }
    if (count > 0) out[j] = sum / static_cast<double>(count);
  }
  return out;
}

}  // namespace med3d::radiomics
