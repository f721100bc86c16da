#include "med3d/radiology/preprocess.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "med3d/core/error.h"
#include "med3d/core/random.h"
#include "med3d/core/text.h"

namespace med3d {
namespace {

constexpr float kLeastHu = -1024.0F;
constexpr float kMostHu = 1024.0F;
constexpr double kPaperMean = -158.58;
constexpr double kPaperSd = 324.70;
constexpr float kBodyHu = -500.0F;

Volume oriented(const Volume& volume, const RecipeOptions& options) {
  options.validate();
  if (!options.orientation.empty()) return reorient(volume, options.orientation);
  volume.validate();
  return volume;
}

struct Moments {
  double mean = 0.0;
  double sd = 0.0;
};

// Population mean and sd of the voxels that `counts` takes.
template <class Counts>
Moments moments_of(const std::vector<float>& voxels, std::string_view which, const Counts& counts) {
  double sum = 0.0;
  std::size_t n = 0;
  for (const float voxel : voxels) {
    if (!counts(voxel)) continue;
    sum += static_cast<double>(voxel);
    ++n;
  }
  if (n == 0)
    throw Error(ErrorKind::kData, fmt::format("no voxel {}: nothing to normalise by", which));
  Moments out;
  out.mean = sum / static_cast<double>(n);
  double squares = 0.0;
  for (const float voxel : voxels) {
    if (!counts(voxel)) continue;
    const double off = static_cast<double>(voxel) - out.mean;
    squares += off * off;
  }
  out.sd = std::sqrt(squares / static_cast<double>(n));
  if (!(out.sd > 0.0) || !std::isfinite(out.sd)) {
    throw Error(ErrorKind::kData,
                fmt::format("all {} voxels {} are equal: nothing to normalise by", n, which));
  }
  return out;
}

float standardised(float voxel, const Moments& moments) {
  return static_cast<float>((static_cast<double>(voxel) - moments.mean) / moments.sd);
}

void clip_hu(Volume& volume) {
  for (float& voxel : volume.voxels) voxel = std::clamp(voxel, kLeastHu, kMostHu);
}

Volume apply_paper(const Volume& volume, const RecipeOptions& options) {
  Volume work = oriented(volume, options);
  clip_hu(work);
  for (float& voxel : work.voxels) voxel = standardised(voxel, {kPaperMean, kPaperSd});
  Volume out = zoom_linear(work, options.size, LastPlane::kClamped, options.threads);
  out.units = VoxelUnits::kArbitrary;
  return out;
}

Volume apply_ct(const Volume& volume, const RecipeOptions& options) {
  if (volume.units != VoxelUnits::kHu) {
    throw Error(ErrorKind::kData, "voxels in arbitrary units, expected Hounsfield units for CT");
  }
  Volume work = oriented(volume, options);
  clip_hu(work);
  Volume out = resize_antialiased(work, options.size, options.threads);
  const Moments moments =
      moments_of(out.voxels, "above -500 HU", [](float voxel) { return voxel > kBodyHu; });
  for (float& voxel : out.voxels) voxel = standardised(voxel, moments);
  out.units = VoxelUnits::kArbitrary;
  return out;
}

// numpy.percentile, method "linear". `values` is reordered.
double percentile(std::vector<float>& values, double percent) {
  const double at = percent / 100.0 * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(std::floor(at));
  const auto low = values.begin() + static_cast<std::ptrdiff_t>(below);
  std::ranges::nth_element(values, low);
  const auto first = static_cast<double>(*low);
  if (below + 1 == values.size()) return first;
  const auto second = static_cast<double>(*std::min_element(low + 1, values.end()));
  return first + (second - first) * (at - static_cast<double>(below));
}

Volume apply_mr(const Volume& volume, const RecipeOptions& options) {
  Volume work = oriented(volume, options);
  std::vector<float> tissue;
  std::ranges::copy_if(work.voxels, std::back_inserter(tissue), [](float v) { return v != 0.0F; });
  if (tissue.empty())
    throw Error(ErrorKind::kData, "no voxel other than 0: nothing to normalise by");
  const auto low = static_cast<float>(percentile(tissue, 1.0));
  const auto high = static_cast<float>(percentile(tissue, 99.0));
  for (float& voxel : tissue) voxel = std::clamp(voxel, low, high);
  const Moments moments = moments_of(tissue, "other than 0", [](float) { return true; });
  for (float& voxel : work.voxels) {
    if (voxel != 0.0F) voxel = standardised(std::clamp(voxel, low, high), moments);
  }
  Volume out = resize_antialiased(work, options.size, options.threads);
  out.units = VoxelUnits::kArbitrary;
  return out;
}

Volume apply_medicalnet(const Volume& volume, const RecipeOptions& options) {
  Volume out = zoom_nearest(oriented(volume, options), options.size, LastPlane::kScipy);
  const Moments moments =
      moments_of(out.voxels, "above 0", [](float voxel) { return voxel > 0.0F; });
  NumpyRandom random(options.seed);
  const bool noise = options.zeros == ZeroVoxels::kNoise;
  for (float& voxel : out.voxels) {
    // Drawn for every voxel, as MedicalNet does, so that a seeded run of it gives the same.
    const double drawn = noise ? random.normal() : 0.0;
    voxel = voxel == 0.0F ? static_cast<float>(drawn) : standardised(voxel, moments);
  }
  out.units = VoxelUnits::kArbitrary;
  return out;
}

constexpr VolumeRecipe kPaper{"paper",
                              "clip [-1024, 1024], constants of the paper, trilinear",
                              "the paper, section 5.2",
                              apply_paper};
constexpr VolumeRecipe kCt{
    "ct", "clip [-1024, 1024] HU, antialiased, z-score of the body", "", apply_ct};
constexpr VolumeRecipe kMr{
    "mr", "clip to percentiles 1 to 99 and z-score of non-zero voxels, antialiased", "", apply_mr};
constexpr VolumeRecipe kMedicalNet{"medicalnet",
                                   "nearest voxel as scipy's zoom, z-score of voxels above 0",
                                   "Chen et al., arXiv:1904.00625",
                                   apply_medicalnet};
constexpr std::array<const VolumeRecipe*, 4> kRecipes{&kPaper, &kCt, &kMr, &kMedicalNet};

}  // namespace

void RecipeOptions::validate() const {
  for (const std::int64_t side : size) {
    if (side < 1 || side > 4096) {
      throw Error(ErrorKind::kUsage, fmt::format("a side of {} voxels, expected 1 to 4096", side));
    }
  }
  if (threads < 1) {
    throw Error(ErrorKind::kUsage, fmt::format("{} threads, expected at least 1", threads));
  }
}

std::span<const VolumeRecipe* const> volume_recipes() { return kRecipes; }

const VolumeRecipe& volume_recipe(std::string_view name) {
  std::vector<std::string> names;
  for (const VolumeRecipe* recipe : kRecipes) {
    if (recipe->name == name) return *recipe;
    names.emplace_back(recipe->name);
  }
  throw Error(ErrorKind::kUsage,
              fmt::format("no recipe '{}', expected one of {}{}",
                          name,
                          join(names, ", "),
                          did_you_mean(name, names)));
}

}  // namespace med3d
