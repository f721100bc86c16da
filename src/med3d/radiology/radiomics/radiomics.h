// Radiomics: numbers for the grey values, the shape and the texture of a region of a scan.
//
// Names, definitions, defaults and order are those of pyradiomics 3: 107 features of the original
// image in seven classes, "original_glcm_Contrast" and so on. Where pyradiomics and the IBSI
// reference manual differ, pyradiomics is followed; docs/radiomics.md lists the differences.
//
// A feature that is not defined for a region (no two neighbouring voxels in it, for the GLCM) is
// NaN here; who writes it leaves the cell empty.
//
// Source: van Griethuysen et al., Cancer Research 77(21):e104, 2017; Zwanenburg et al., Radiology
// 295(2):328, 2020 (IBSI).
// Checked against: the reference values of the IBSI digital phantom, and an independent brute-force
// program (tests/reference/radiomics.py).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "med3d/radiology/volume.h"

namespace med3d::radiomics {

enum class FeatureClass { kShape, kFirstOrder, kGlcm, kGldm, kGlrlm, kGlszm, kNgtdm };

std::string_view to_string(FeatureClass feature_class);  // "shape", "firstorder", "glcm", ...
// Throws Error(kUsage) naming the classes there are, and the nearest.
FeatureClass parse_feature_class(std::string_view name);
std::vector<FeatureClass> all_feature_classes();  // in the order of pyradiomics' tables

// How the matrices of the directions become one value (pyradiomics' weightingNorm).
enum class Weighting {
  kNone,         // a value for each direction, and the mean of them
  kManhattan,    // the matrices are summed with weights of the step's length in this norm, and one
  kEuclidean,    // value is computed: exp(-length^2) for the GLCM, length for the GLRLM
  kInfinity,     //
  kNoWeighting,  // the same with weights of 1: IBSI's "3D, merged"
};
std::string_view to_string(Weighting weighting);  // "none", "manhattan", ..., "no_weighting"
Weighting parse_weighting(std::string_view name);

enum class Interpolator {
  kBSpline,  // cubic, as SimpleITK's sitkBSpline
  kLinear,
};
std::string_view to_string(Interpolator interpolator);  // "bspline", "linear"
Interpolator parse_interpolator(std::string_view name);

// Defaults are pyradiomics', whose names stand in parentheses where they differ.
struct Options {
  std::int64_t label = 1;  // voxels of the mask with this value are the region

  // Grey levels, numbered from 1 at the lowest value of the region: of this width and counted from
  // 0, so that the levels of two scans have the same edges (binWidth); or this many between the
  // lowest and the highest value (binCount).
  double bin_width = 25.0;
  std::optional<std::int64_t> bin_count;

  // Grid on which all is computed (resampledPixelSpacing); none = the scan's own. 0 along an axis
  // keeps that axis. The mask is resampled by the nearest voxel.
  std::optional<Vector3> spacing_mm;
  Interpolator interpolator = Interpolator::kBSpline;

  // (value - mean) / standard deviation of the whole image, times normalize_scale; values beyond
  // remove_outliers standard deviations are set to that bound before scaling.
  bool normalize = false;
  double normalize_scale = 1.0;
  std::optional<double> remove_outliers;

  std::vector<int> distances{1};  // of neighbours in voxels: GLCM, GLDM, NGTDM
  bool symmetrical_glcm = true;
  Weighting weighting = Weighting::kNone;  // GLCM, GLRLM
  int gldm_alpha = 0;                      // levels a neighbour may differ by and still depend
                                           // (gldm_a)
  // Neighbours in planes of constant z only (force2D, force2Ddimension 0): for slices that are far
  // apart.
  bool force_2d = false;
  double voxel_array_shift = 0.0;   // added to the values in Energy, TotalEnergy, RootMeanSquared
  bool standard_deviation = false;  // also firstorder_StandardDeviation, the root of Variance

  // Axes along which the region has at least two voxels (minimumROIDimensions), and the number of
  // voxels above which it is large enough (minimumROISize). Smaller regions are refused.
  int minimum_dimensions = 2;  // 0 to 3
  std::int64_t minimum_voxels = 0;

  std::vector<FeatureClass> classes = all_feature_classes();
  int threads = 1;  // the result is the same for every number

  // Throws Error(kUsage) for a value out of range.
  void validate() const;
};

// Grey levels at most: matrices of them are held in memory, and MCC needs levels^3 steps.
constexpr std::int64_t kMaximumLevels = 1024;

struct Feature {
  std::string name;    // "original_firstorder_Energy"
  double value = 0.0;  // NaN where not defined
};

struct Result {
  std::vector<Feature> features;       // in the order of feature_names
  std::int64_t voxels = 0;             // of the region, on the grid of the computation
  std::array<std::int64_t, 3> size{};  // of its bounding box, voxels along x, y, z
  Vector3 spacing_mm{};                // of that grid
  std::int64_t levels = 0;             // the highest grey level
  double lowest = 0.0;                 // value of the region's voxels, normalised if asked for
  double highest = 0.0;

  std::vector<std::string> not_estimable() const;  // names of the features that are NaN
};

// Classes in the order of all_feature_classes, whatever order options give them in.
std::vector<std::string> feature_names(const Options& options = {});

// image  the scan; voxels of the region finite
// mask   on the same grid (0.01 voxel); its axes may be stored in another order or direction
//
// Cost: a few passes over the region's voxels for each of 13 directions; memory of about 20 bytes a
// voxel of its bounding box, and levels^2 for each thread. B-spline: 8 bytes a voxel of the
// bounding box and 40 voxels around it.
// Throws Error(kUsage) as validate; kData for a mask on another grid (both are named), without the
// label (those that are there are named), a region that is too small, a voxel that is not finite,
// more than kMaximumLevels grey levels.
Result extract(const Volume& image, const Volume& mask, const Options& options = {});

}  // namespace med3d::radiomics
