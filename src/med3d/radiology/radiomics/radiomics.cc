#include "med3d/radiology/radiomics/radiomics.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <span>

#include "med3d/core/error.h"
#include "med3d/core/text.h"
#include "med3d/radiology/radiomics/first_order.h"
#include "med3d/radiology/radiomics/glcm.h"
#include "med3d/radiology/radiomics/gldm.h"
#include "med3d/radiology/radiomics/glrlm.h"
#include "med3d/radiology/radiomics/glszm.h"
#include "med3d/radiology/radiomics/ngtdm.h"
#include "med3d/radiology/radiomics/region.h"
#include "med3d/radiology/radiomics/shape.h"

namespace med3d::radiomics {
namespace {

template <class T>
struct Named {
  std::string_view name;
  T value;
};

constexpr std::array<Named<FeatureClass>, 7> kClasses = {{{"shape", FeatureClass::kShape},
                                                          {"firstorder", FeatureClass::kFirstOrder},
                                                          {"glcm", FeatureClass::kGlcm},
                                                          {"gldm", FeatureClass::kGldm},
                                                          {"glrlm", FeatureClass::kGlrlm},
                                                          {"glszm", FeatureClass::kGlszm},
                                                          {"ngtdm", FeatureClass::kNgtdm}}};
constexpr std::array<Named<Weighting>, 5> kWeightings = {
    {{"none", Weighting::kNone},
     {"manhattan", Weighting::kManhattan},
     {"euclidean", Weighting::kEuclidean},
     {"infinity", Weighting::kInfinity},
     {"no_weighting", Weighting::kNoWeighting}}};
constexpr std::array<Named<Interpolator>, 2> kInterpolators = {
    {{"bspline", Interpolator::kBSpline}, {"linear", Interpolator::kLinear}}};

template <class T>
std::string_view name_of(std::span<const Named<T>> list, T value) {
  for (const auto& one : list) {
    if (one.value == value) return one.name;
  }
  return list.front().name;
}

template <class T>
T find_named(std::span<const Named<T>> list, std::string_view what, std::string_view name) {
  std::vector<std::string> names;
  for (const auto& one : list) {
    if (one.name == name) return one.value;
    names.emplace_back(one.name);
  }
  throw Error(ErrorKind::kUsage,
              fmt::format("unknown {} '{}'{}, expected one of: {}",
                          what,
                          name,
                          did_you_mean(name, names),
                          join(names, ", ")));
}

bool wants(const Options& options, FeatureClass feature_class) {
  return std::find(options.classes.begin(), options.classes.end(), feature_class) !=
         options.classes.end();
}

std::vector<std::string_view> names_of(FeatureClass feature_class, const Options& options) {
  const auto list = [](const auto& names) {
    return std::vector<std::string_view>(names.begin(), names.end());
  };
  switch (feature_class) {
    case FeatureClass::kShape:
      return list(kShapeNames);
    case FeatureClass::kFirstOrder: {
      auto names = list(kFirstOrderNames);
      if (options.standard_deviation) names.push_back("StandardDeviation");
      return names;
    }
    case FeatureClass::kGlcm:
      return list(kGlcmNames);
    case FeatureClass::kGldm:
      return list(kGldmNames);
    case FeatureClass::kGlrlm:
      return list(kGlrlmNames);
    case FeatureClass::kGlszm:
      return list(kGlszmNames);
    case FeatureClass::kNgtdm:
      return list(kNgtdmNames);
  }
  return {};
}

std::vector<double> values_of(FeatureClass feature_class,
                              const Region& region,
                              const Options& options) {
  switch (feature_class) {
    case FeatureClass::kShape:
      return shape_features(region);
    case FeatureClass::kFirstOrder:
      return first_order_features(region, options);
    case FeatureClass::kGlcm:
      return glcm_features(region, options);
    case FeatureClass::kGldm:
      return gldm_features(region, options);
    case FeatureClass::kGlrlm:
      return glrlm_features(region, options);
    case FeatureClass::kGlszm:
      return glszm_features(region, options);
    case FeatureClass::kNgtdm:
      return ngtdm_features(region, options);
  }
  return {};
}

std::string full_name(FeatureClass feature_class, std::string_view feature) {
  return fmt::format("original_{}_{}", to_string(feature_class), feature);
}

void require(bool holds, const std::string& what) {
  if (!holds) throw Error(ErrorKind::kUsage, what);
}

}  // namespace

std::string_view to_string(FeatureClass feature_class) {
  return name_of<FeatureClass>(kClasses, feature_class);
}
FeatureClass parse_feature_class(std::string_view name) {
  return find_named<FeatureClass>(kClasses, "class of features", name);
}
std::vector<FeatureClass> all_feature_classes() {
  std::vector<FeatureClass> out;
  for (const auto& one : kClasses) out.push_back(one.value);
  return out;
}

std::string_view to_string(Weighting weighting) {
  return name_of<Weighting>(kWeightings, weighting);
}
Weighting parse_weighting(std::string_view name) {
  return find_named<Weighting>(kWeightings, "weighting", name);
}

std::string_view to_string(Interpolator interpolator) {
  return name_of<Interpolator>(kInterpolators, interpolator);
}
Interpolator parse_interpolator(std::string_view name) {
  return find_named<Interpolator>(kInterpolators, "interpolator", name);
}

void Options::validate() const {
  // A mask is read as float: greater numbers are not all in it.
  require(label >= 1 && label <= (1 << 24),
          fmt::format("label {}: expected 1 to {}", label, 1 << 24));
  require(std::isfinite(bin_width) && bin_width > 0.0,
          fmt::format("bin width {}: expected above 0", bin_width));
  if (bin_count) {
    require(*bin_count >= 1 && *bin_count <= kMaximumLevels,
            fmt::format("bin count {}: expected 1 to {}", *bin_count, kMaximumLevels));
  }
  if (spacing_mm) {
    for (const double side : *spacing_mm) {
      require(side == 0.0 || (std::isfinite(side) && side >= 0.01 && side <= 1000.0),
              fmt::format("spacing {} mm: expected 0.01 to 1000, or 0 to keep it", side));
    }
  }
  require(std::isfinite(normalize_scale) && normalize_scale > 0.0,
          fmt::format("scale of the normalisation {}: expected above 0", normalize_scale));
  if (remove_outliers) {
    require(std::isfinite(*remove_outliers) && *remove_outliers > 0.0,
            fmt::format("outliers beyond {}: expected above 0", *remove_outliers));
  }
  require(!distances.empty(), "no distance of neighbours: expected one or more");
  for (const int distance : distances) {
    require(distance >= 1 && distance <= 10,
            fmt::format("distance {} of neighbours: expected 1 to 10 voxels", distance));
  }
  require(gldm_alpha >= 0, fmt::format("gldm_a {}: expected 0 or more", gldm_alpha));
  require(std::isfinite(voxel_array_shift), "the shift of the values is not finite");
  require(minimum_dimensions >= 0 && minimum_dimensions <= 3,
          fmt::format("{} axes of the region: expected 0 to 3", minimum_dimensions));
  require(minimum_voxels >= 0,
          fmt::format("at least {} voxels: expected 0 or more", minimum_voxels));
  require(!classes.empty(), "no class of features: expected one or more");
  require(threads >= 1, fmt::format("{} threads: expected 1 or more", threads));
}

std::vector<std::string> Result::not_estimable() const {
  std::vector<std::string> names;
  for (const Feature& feature : features) {
    if (std::isnan(feature.value)) names.push_back(feature.name);
  }
  return names;
}

std::vector<std::string> feature_names(const Options& options) {
  std::vector<std::string> out;
  for (const FeatureClass feature_class : all_feature_classes()) {
    if (!wants(options, feature_class)) continue;
    for (const auto name : names_of(feature_class, options)) {
      out.push_back(full_name(feature_class, name));
    }
  }
  return out;
}

Result extract(const Volume& image, const Volume& mask, const Options& options) {
  Region region = cut_region(image, mask, options);
  Result result;
  result.voxels = static_cast<std::int64_t>(region.voxels.size());
  result.size = region.size;
  result.spacing_mm = region.spacing_mm;
  const auto [low, high] = std::minmax_element(region.values.begin(), region.values.end());
  result.lowest = *low;
  result.highest = *high;
  // Shape needs no grey levels: their number may be what cannot be handled.
  const bool shape_only =
      std::all_of(options.classes.begin(), options.classes.end(), [](FeatureClass feature_class) {
        return feature_class == FeatureClass::kShape;
      });
  if (!shape_only) {
    discretise(region, options);
    result.levels = region.highest_level();
  }
  for (const FeatureClass feature_class : all_feature_classes()) {
    if (!wants(options, feature_class)) continue;
    const std::vector<double> values = values_of(feature_class, region, options);
    const auto names = names_of(feature_class, options);
    for (std::size_t i = 0; i < names.size(); ++i) {
      result.features.push_back({full_name(feature_class, names[i]), values.at(i)});
    }
  }
  return result;
}

}  // namespace med3d::radiomics
