#include "med3d/pipeline/volumes/scan.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/core/hash.h"
#include "med3d/core/text.h"
#include "med3d/radiology/nifti.h"
#include "med3d/radiology/resample.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;

constexpr float kAir = -1024.0F;
constexpr double kLargestMargin = 10'000.0;

// Runs `work`; errors lose the path of the file, which may name a person.
template <class Work>
auto without_path(const fs::path& path, const Work& work) {
  try {
    return work();
  } catch (const Error& error) {
    std::string what = error.what();
    for (const std::string& shown :
         {path.string() + ": ", path.string(), path.filename().string() + ": "}) {
      for (std::size_t at = what.find(shown); at != what.npos; at = what.find(shown)) {
        what.erase(at, shown.size());
      }
    }
    throw Error(error.kind(), what);
  }
}

}  // namespace

std::string files_sha256(const VolumeItem& item) {
  std::vector<std::string> each;
  each.reserve(item.files.size());
  for (std::size_t i = 0; i < item.files.size(); ++i) {
    try {
      each.push_back(without_path(item.files[i], [&] { return sha256_file(item.files[i]); }));
    } catch (...) {
      rethrow_with_context(fmt::format("file {} of {}", i + 1, item.files.size()));
    }
  }
  std::ranges::sort(each);
  Sha256 all;
  for (const auto& one : each) all.update(one);
  return all.hex();
}

SeriesVolume load_scan(const VolumeItem& item, const SeriesOptions& options) {
  if (!item.is_nifti()) return load_series(item.files, options);
  SeriesVolume out;
  const fs::path& path = item.files.front();
  out.volume = without_path(path, [&] { return read_nifti(path); });
  out.modality = item.modality;
  out.plane = plane_of(out.volume.patient_from_voxel);
  out.images = static_cast<std::size_t>(out.volume.size[2]);
  if (item.modality == "CT" && std::ranges::min(out.volume.voxels) < 0.0F) {
    out.volume.units = VoxelUnits::kHu;
    out.notes.emplace_back("NIfTI does not tell units: a CT, taken as Hounsfield units");
  }
  return out;
}

void PrepareOptions::validate() const {
  options.validate();
  if (!recipe.empty()) volume_recipe(recipe);
  if (spacing_mm) {
    for (const double side : *spacing_mm) {
      if (!(side >= 0.01) || !(side <= 100.0)) {
        throw Error(ErrorKind::kUsage,
                    fmt::format("a spacing of {} mm, expected 0.01 to 100", side));
      }
    }
  }
  if (!(margin_mm >= 0.0) || !(margin_mm <= kLargestMargin)) {
    throw Error(ErrorKind::kUsage,
                fmt::format("a margin of {} mm, expected 0 to {}", margin_mm, kLargestMargin));
  }
}

const VolumeRecipe& PrepareOptions::recipe_for(std::string_view modality) const {
  if (!recipe.empty()) return volume_recipe(recipe);
  return volume_recipe(modality == "CT" ? "paper" : "mr");
}

std::string PrepareOptions::text(std::string_view modality) const {
  std::string out = fmt::format("recipe {}, size {} {} {}, orientation {}",
                                recipe_for(modality).name,
                                options.size[0],
                                options.size[1],
                                options.size[2],
                                options.orientation.empty() ? "as stored" : options.orientation);
  if (options.zeros == ZeroVoxels::kNoise) out += fmt::format(", noise of seed {}", options.seed);
  if (spacing_mm) {
    out +=
        fmt::format(", spacing {} {} {} mm", (*spacing_mm)[0], (*spacing_mm)[1], (*spacing_mm)[2]);
  }
  if (needs_mask) out += fmt::format(", masks with {} mm", margin_mm);
  return out;
}

Volume prepare_scan(Volume volume, const VolumeItem& item, const PrepareOptions& options) {
  if (!item.mask.empty()) {
    const Volume mask = without_path(item.mask, [&] {
      try {
        return read_nifti(item.mask);
      } catch (...) {
        rethrow_with_context("its mask");
      }
    });
    volume = crop_to_mask(volume, mask, options.margin_mm);
  } else if (options.needs_mask) {
    throw Error(ErrorKind::kNotFound, "no mask for it among the masks");
  }
  if (options.spacing_mm) {
    if (!options.options.orientation.empty()) {
      volume = reorient(volume, options.options.orientation);
    }
    const float fill = volume.units == VoxelUnits::kHu ? kAir : 0.0F;
    volume = resample_around_centre(
        volume, *options.spacing_mm, options.options.size, fill, options.options.threads);
  }
  return options.recipe_for(item.modality).apply(volume, options.options);
}

}  // namespace med3d::pipeline
