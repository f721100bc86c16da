#include "med3d/radiology/radiomics/radiomics.h"

#include "med3d/radiology/radiomics/glcm.h"
#include "med3d/radiology/radiomics/gldm.h"
#include "med3d/radiology/radiomics/glrlm.h"
#include "med3d/radiology/radiomics/glszm.h"
#include "med3d/radiology/radiomics/ngtdm.h"
#include "med3d/radiology/radiomics/resample_region.h"
#include "med3d/radiology/radiomics/shape.h"
#include "med3d/radiology/radiomics/test_regions.inc"
#include "med3d/radiology/resample.h"

namespace med3d::radiomics {
namespace {

Region levels_of(const std::array<std::int64_t, 3>& size, const std::vector<double>& values) {
  Region region = region_of(size, values);
  Options options;
  options.bin_width = 1.0;
  discretise(region, options);
  return region;
}

// pyradiomics' documentation: a 5 x 5 image, pairs to the left and right; skimage's graycomatrix
// gives the same.
TEST(RadiomicsMatrices, CountsPairsInOneDirection) {
  const Region region = levels_of(
      {5, 5, 1}, {1, 2, 5, 2, 3, 3, 2, 1, 3, 1, 1, 3, 5, 5, 2, 1, 1, 1, 1, 2, 1, 2, 4, 3, 5});
  const Matrix<double> counts = glcm_counts(region, {1, 0, 0}, true);
  const double kExpected[5][5] = {
      {6, 4, 3, 0, 0}, {4, 0, 2, 1, 3}, {3, 2, 0, 1, 2}, {0, 1, 1, 0, 0}, {0, 3, 2, 0, 2}};
  for (std::size_t i = 0; i < 5; ++i) {
    for (std::size_t j = 0; j < 5; ++j) EXPECT_EQ(counts(i, j), kExpected[i][j]) << i << j;
  }
}

// The image of pyradiomics' documentation for runs, zones and dependences.
Region example() {
  return levels_of({5, 5, 1},
                   {5, 2, 5, 4, 4, 3, 3, 3, 1, 3, 2, 1, 1, 1, 3, 4, 2, 2, 2, 3, 3, 5, 3, 3, 2});
}

// Row 1: 5 | 2 | 5 | 4 4; row 2: 3 3 3 | 1 | 3; row 3: 2 | 1 1 1 | 3; row 4: 4 | 2 2 2 | 3;
// row 5: 3 | 5 | 3 3 | 2.
TEST(RadiomicsMatrices, CountsRunsInOneDirection) {
  const LevelSizes expected = {{{1, 1}, 1},
                               {{1, 3}, 1},
                               {{2, 1}, 3},
                               {{2, 3}, 1},
                               {{3, 1}, 4},
                               {{3, 2}, 1},
                               {{3, 3}, 1},
                               {{4, 1}, 1},
                               {{4, 2}, 1},
                               {{5, 1}, 3}};
  EXPECT_EQ(glrlm_counts(example(), {1, 0, 0}), expected);
}

TEST(RadiomicsMatrices, CountsZones) {
  // 1: one zone of 4; 2: 1 and 5; 3: 1, 3 and 5; 4: 1 and 2; 5: three of 1.
  const LevelSizes expected = {{{1, 4}, 1},
                               {{2, 1}, 1},
                               {{2, 5}, 1},
                               {{3, 1}, 1},
                               {{3, 3}, 1},
                               {{3, 5}, 1},
                               {{4, 1}, 1},
                               {{4, 2}, 1},
                               {{5, 1}, 3}};
  EXPECT_EQ(glszm_counts(example(), false), expected);
}

TEST(RadiomicsMatrices, CountsDependences) {
  // pyradiomics' documentation, sizes from 1: a voxel counts itself.
  const LevelSizes expected = {{{1, 2}, 1},
                               {{1, 3}, 2},
                               {{1, 4}, 1},
                               {{2, 1}, 1},
                               {{2, 2}, 2},
                               {{2, 3}, 3},
                               {{3, 1}, 1},
                               {{3, 2}, 4},
                               {{3, 3}, 4},
                               {{4, 1}, 1},
                               {{4, 2}, 2},
                               {{5, 1}, 3}};
  EXPECT_EQ(gldm_counts(example(), Options{}), expected);
}

// The image of pyradiomics' documentation, worked by hand; level 4 is not there.
TEST(RadiomicsMatrices, SumsDifferencesToNeighbours) {
  const Region region = levels_of({4, 4, 1}, {1, 2, 5, 2, 3, 5, 1, 3, 1, 3, 5, 5, 3, 1, 1, 1});
  const auto rows = ngtdm_rows(region, Options{});
  ASSERT_EQ(rows.size(), 4U);
  // |1-10/3| + |1-30/8| + |1-15/5| + |1-13/5| + |1-15/5| + |1-11/3|
  EXPECT_NEAR(rows[0].differences, 7.0 / 3 + 22.0 / 8 + 2 + 8.0 / 5 + 2 + 8.0 / 3, 1e-12);
  EXPECT_EQ(rows[0].voxels, 6);
  EXPECT_NEAR(rows[1].differences, 2.0, 1e-12);
  // |3-12/5| + |3-18/5| + |3-20/8| + |3-5/3|
  EXPECT_NEAR(rows[2].differences, 0.6 + 0.6 + 0.5 + 4.0 / 3, 1e-12);
  EXPECT_EQ(rows[3].level, 5);
  // |5-13/5| + |5-21/8| + |5-20/8| + |5-11/5|
  EXPECT_NEAR(rows[3].differences, 2.4 + 2.375 + 2.5 + 2.8, 1e-12);
}

// Values 54 to 166 in bins of 25: edges 50, 75, ..., 175 (pyradiomics' documentation).
TEST(RadiomicsLevels, AreBinsCountedFromZero) {
  Region region = region_of({6, 1, 1}, {54, 74.999, 75, 99, 150, 166});
  discretise(region, Options{});
  EXPECT_EQ(region.present, (std::vector<std::int32_t>{1, 2, 5}));
  EXPECT_EQ(region.level[region.voxels[1]], 1);
  EXPECT_EQ(region.level[region.voxels[2]], 2);
  // Below zero the multiple of the width is still the one below: -30 lies in [-50, -25).
  Region negative = region_of({3, 1, 1}, {-30, -25, 0});
  discretise(negative, Options{});
  EXPECT_EQ(negative.present, (std::vector<std::int32_t>{1, 2, 3}));
  // The highest value on an edge opens its own bin.
  Region edge = region_of({2, 1, 1}, {50, 100});
  discretise(edge, Options{});
  EXPECT_EQ(edge.highest_level(), 3);
}

TEST(RadiomicsLevels, HaveTheirHighestValueInTheLastOfSoManyBins) {
  Options options;
  options.bin_count = 4;  // edges 0, 2, 4, 6, 8
  Region region = region_of({5, 1, 1}, {0, 1.9, 2, 6, 8});
  discretise(region, options);
  EXPECT_EQ(region.level[region.voxels[0]], 1);
  EXPECT_EQ(region.level[region.voxels[1]], 1);
  EXPECT_EQ(region.level[region.voxels[2]], 2);
  EXPECT_EQ(region.level[region.voxels[3]], 4);
  EXPECT_EQ(region.level[region.voxels[4]], 4);
  Region flat = region_of({2, 1, 1}, {3, 3});
  discretise(flat, options);
  EXPECT_EQ(flat.present.size(), 1U);
}

TEST(RadiomicsLevels, AreNotMoreThanCanBeHandled) {
  Scan scan = made();
  scan.image.voxels[13 * 11 * 4 + 13 * 5 + 6] = 1e30F;
  expect_error(
      ErrorKind::kData, "more than 1024 grey levels", [&] { extract(scan.image, scan.mask); });
  Options options;
  options.classes = {FeatureClass::kShape};
  EXPECT_EQ(extract(scan.image, scan.mask, options).features.size(), 14U);
}

TEST(RadiomicsNames, AreThoseOfPyradiomics) {
  const auto names = feature_names();
  ASSERT_EQ(names.size(), 107U);
  EXPECT_EQ(names.front(), "original_shape_Elongation");
  EXPECT_EQ(names[14], "original_firstorder_10Percentile");
  EXPECT_EQ(names.back(), "original_ngtdm_Strength");
  Options options;
  options.standard_deviation = true;
  options.classes = {FeatureClass::kNgtdm, FeatureClass::kFirstOrder};
  const auto fewer = feature_names(options);
  ASSERT_EQ(fewer.size(), 24U);
  EXPECT_EQ(fewer[18], "original_firstorder_StandardDeviation");
  const Scan scan = made();
  const Result result = extract(scan.image, scan.mask, options);
  ASSERT_EQ(result.features.size(), fewer.size());
  for (std::size_t i = 0; i < fewer.size(); ++i) EXPECT_EQ(result.features[i].name, fewer[i]);
  const auto found = by_name(result);
  EXPECT_DOUBLE_EQ(found.at("original_firstorder_StandardDeviation"),
                   std::sqrt(found.at("original_firstorder_Variance")));
}

// scipy.ndimage.map_coordinates on the same grid; the check sum weighs voxel i by i mod 89 + 1.
TEST(RadiomicsGrid, IsResampledAsScipyDoes) {
  const struct {
    Interpolator interpolator;
    double sum;
    double low;
    double high;
    double check;
  } kResampled[] = {{Interpolator::kBSpline,
                     44988.579706729724,
                     -134.72886062855952,
                     252.81784101914047,
                     2077237.1481159579},
                    {Interpolator::kLinear,
                     44726.8606060606,
                     -83.77500000000003,
                     161.90732323232317,
                     2027262.7018939396}};
  const Scan scan = made();
  for (const auto& one : kResampled) {
    Options options;
    options.spacing_mm = Vector3{1, 1, 1};
    options.interpolator = one.interpolator;
    const Region region = cut_region(scan.image, scan.mask, options);
    ASSERT_EQ(region.voxels.size(), 917U);
    double sum = 0.0;
    double check = 0.0;
    for (std::size_t i = 0; i < region.values.size(); ++i) {
      sum += region.values[i];
      check += region.values[i] * static_cast<double>(i % 89 + 1);
    }
    EXPECT_NEAR(sum, one.sum, 1e-6);
    EXPECT_NEAR(check, one.check, 1e-4);
    EXPECT_NEAR(*std::min_element(region.values.begin(), region.values.end()), one.low, 1e-9);
    EXPECT_NEAR(*std::max_element(region.values.begin(), region.values.end()), one.high, 1e-9);
    EXPECT_EQ(region.spacing_mm, (Vector3{1, 1, 1}));
  }
}

TEST(RadiomicsGrid, IsNotFinerThanMemoryAllows) {
  Scan scan = made();
  for (Volume* volume : {&scan.image, &scan.mask}) {
    for (std::size_t k = 0; k < 3; ++k) volume->patient_from_voxel.m[k][k] *= 1000.0;
    volume->spacing_mm = spacing_of(volume->patient_from_voxel);
  }
  Options options;
  options.spacing_mm = Vector3{0.01, 0, 0};
  expect_error(ErrorKind::kFormat, "more than 100,000 voxels long", [&] {
    extract(scan.image, scan.mask, options);
  });
  options.spacing_mm = Vector3{1, 1, 1};
  expect_error(ErrorKind::kFormat, "voxels", [&] { extract(scan.image, scan.mask, options); });
}

TEST(RadiomicsGrid, StaysWhereTheSpacingIsItsOwn) {
  const Scan scan = made();
  Options options;
  options.spacing_mm = Vector3{0.9, 0, 2.5};
  const auto found = by_name(extract(scan.image, scan.mask, options));
  const auto plain = by_name(extract(scan.image, scan.mask));
  EXPECT_EQ(found, plain);
}

// The image as a whole has mean 0 and standard deviation 10 then.
TEST(RadiomicsGrid, IsNormalisedByTheWholeImage) {
  const Scan scan = scan_of({4, 2, 1}, {0, 2, 4, 6, 8, 10, 12, 14});
  Options options;
  options.normalize = true;
  options.normalize_scale = 10.0;
  const auto found = by_name(extract(scan.image, scan.mask, options));
  // Mean 7; squares 2 (49 + 25 + 9 + 1) = 168, over 7 = 24.
  EXPECT_NEAR(found.at("original_firstorder_Maximum"), 70.0 / std::sqrt(24.0), 1e-12);
  options.remove_outliers = 1.0;
  const auto cut = by_name(extract(scan.image, scan.mask, options));
  EXPECT_NEAR(cut.at("original_firstorder_Maximum"), 10.0, 1e-12);
}

// skimage.measure.marching_cubes(method="lorensen") of an ellipsoid.
TEST(RadiomicsShape, HasTheMeshOfSkimage) {
  std::vector<double> values;
  for (int z = 0; z < 14; ++z) {
    for (int y = 0; y < 17; ++y) {
      for (int x = 0; x < 21; ++x) {
        const double u = (x - 10) / 8.3;
        const double v = (y - 8) / 6.7;
        const double w = (z - 6.5) / 5.2;
        values.push_back(u * u + v * v + w * w <= 1 ? 1.0 : X);
      }
    }
  }
  const Region region = region_of({21, 17, 14}, values, {0.9, 1.1, 2.5});
  ASSERT_EQ(region.voxels.size(), 1202U);
  const Mesh mesh = mesh_of(region);
  EXPECT_NEAR(mesh.area_mm2, 1157.301679002486, 1e-9);
  EXPECT_NEAR(mesh.volume_mm3, 2939.4750000000026, 1e-9);
  EXPECT_NEAR(diameters_of(region).any_mm, 26.0161488310626, 1e-12);
}

// One voxel of 1 mm: an octahedron of half diagonals 1/2, volume 4/3 (1/2)^3 = 1/6, eight triangles
// of sides sqrt(1/2), area sqrt(3)/8 each.
TEST(RadiomicsShape, OfOneVoxelIsAnOctahedron) {
  const Region region = region_of({1, 1, 1}, {1.0});
  const Mesh mesh = mesh_of(region);
  EXPECT_NEAR(mesh.volume_mm3, 1.0 / 6.0, 1e-15);
  EXPECT_NEAR(mesh.area_mm2, std::sqrt(3.0), 1e-15);
  const Diameters diameters = diameters_of(region);
  EXPECT_DOUBLE_EQ(diameters.any_mm, 1.0);
  EXPECT_DOUBLE_EQ(diameters.slice_mm, 1.0);
}

// A row of 3 voxels of 2 mm along x, others 1 mm: from 1 mm before the first centre to 1 mm behind
// the last, 6 mm; in planes of constant x only the thickness of 1 mm.
TEST(RadiomicsShape, HasDiametersBetweenPointsOfTheSurface) {
  const Region region = region_of({3, 1, 1}, {1, 1, 1}, {2, 1, 1});
  const Diameters diameters = diameters_of(region);
  EXPECT_DOUBLE_EQ(diameters.any_mm, 6.0);
  EXPECT_DOUBLE_EQ(diameters.slice_mm, 6.0);
  EXPECT_DOUBLE_EQ(diameters.column_mm, 6.0);
  EXPECT_DOUBLE_EQ(diameters.row_mm, 1.0);
}

TEST(RadiomicsExtract, DoesNotDependOnThreadsOrPadding) {
  const Scan scan = made();
  const Result one = extract(scan.image, scan.mask);
  Options options;
  options.threads = 3;
  const Result three = extract(scan.image, scan.mask, options);
  for (std::size_t i = 0; i < one.features.size(); ++i) {
    EXPECT_EQ(one.features[i].value, three.features[i].value) << one.features[i].name;
  }
  // Empty slices around the region change nothing.
  const Result box =
      extract(crop_to_mask(scan.image, scan.mask), crop_to_mask(scan.mask, scan.mask));
  for (std::size_t i = 0; i < one.features.size(); ++i) {
    EXPECT_EQ(one.features[i].value, box.features[i].value) << one.features[i].name;
  }
}

TEST(RadiomicsExtract, TakesAMaskWithAxesInAnotherOrder) {
  const Scan scan = made();
  const auto plain = by_name(extract(scan.image, scan.mask));
  EXPECT_EQ(by_name(extract(scan.image, reorient(scan.mask, "ARS"))), plain);
}

// What pyradiomics says of a flat region: correlation and MCC 1, Imc 0, coarseness 10^6.
TEST(RadiomicsExtract, GivesPyradiomicsAnswersForOneGreyLevel) {
  const Scan scan = scan_of({3, 3, 2}, std::vector<double>(18, 40.0));
  const Result result = extract(scan.image, scan.mask);
  EXPECT_TRUE(result.not_estimable().empty());
  const auto found = by_name(result);
  EXPECT_EQ(found.at("original_firstorder_Skewness"), 0.0);
  EXPECT_EQ(found.at("original_firstorder_Kurtosis"), 0.0);
  EXPECT_EQ(found.at("original_glcm_Correlation"), 1.0);
  EXPECT_EQ(found.at("original_glcm_MCC"), 1.0);
  EXPECT_EQ(found.at("original_glcm_Imc1"), 0.0);
  EXPECT_EQ(found.at("original_glcm_Imc2"), 0.0);
  EXPECT_EQ(found.at("original_ngtdm_Coarseness"), 1e6);
  EXPECT_EQ(found.at("original_ngtdm_Contrast"), 0.0);
  EXPECT_EQ(found.at("original_ngtdm_Busyness"), 0.0);
  EXPECT_EQ(found.at("original_ngtdm_Strength"), 0.0);
  EXPECT_NEAR(found.at("original_glcm_JointEntropy"), 0.0, 1e-15);
}

TEST(RadiomicsExtract, LeavesWhatOneVoxelCannotTellUndefined) {
  const Scan scan = scan_of({2, 2, 1}, {X, 5, X, X});
  expect_error(ErrorKind::kData, "the region is 1 x 1 x 1 voxels, expected two or more along", [&] {
    extract(scan.image, scan.mask);
  });
  Options options;
  options.minimum_dimensions = 0;
  const Result result = extract(scan.image, scan.mask, options);
  const auto undefined = result.not_estimable();
  // 24 of the GLCM, 16 of the GLRLM, Elongation and Flatness.
  EXPECT_EQ(undefined.size(), 42U);
  EXPECT_EQ(by_name(result).at("original_firstorder_Mean"), 5.0);
  EXPECT_EQ(by_name(result).at("original_glszm_ZonePercentage"), 1.0);
}

// Two voxels far from each other in a plane, on no common line of a direction but one.
TEST(RadiomicsExtract, LeavesOutDirectionsWithoutLines) {
  const Scan scan = scan_of({5, 2, 1}, {1, X, X, X, 30, X, X, X, X, 60});
  const auto found = by_name(extract(scan.image, scan.mask));
  // Along x the line of the first two voxels has a gap: two runs of 1. Along y two voxels touch.
  EXPECT_EQ(found.at("original_glrlm_RunPercentage"), 1.0);
  // The GLCM has only the pair along y: levels 2 (30) and 3 (60).
  EXPECT_DOUBLE_EQ(found.at("original_glcm_Contrast"), 1.0);
}

TEST(RadiomicsExtract, KeepsNeighboursInThePlaneIfAskedTo) {
  // Two slices that differ; in planes all neighbours are alike.
  const Scan scan = scan_of({2, 2, 2}, {10, 10, 10, 10, 60, 60, 60, 60});
  Options options;
  options.force_2d = true;
  EXPECT_EQ(by_name(extract(scan.image, scan.mask, options)).at("original_glcm_Contrast"), 0.0);
  EXPECT_GT(by_name(extract(scan.image, scan.mask)).at("original_glcm_Contrast"), 0.0);
}

TEST(RadiomicsExtract, NamesBothGridsOfAMaskElsewhere) {
  Scan scan = made();
  Volume other = scan.mask;
  other.patient_from_voxel.m[0][3] = 4.0;
  expect_error(ErrorKind::kData,
               "the image has 13 x 11 x 9 voxels of 0.9, 1.1, 2.5 mm, first at (0, 0, 0) mm, axes "
               "LPS; the mask has 13 x 11 x 9 voxels of 0.9, 1.1, 2.5 mm, first at (4, 0, 0) mm",
               [&] { extract(scan.image, other); });
}

TEST(RadiomicsExtract, NamesTheLabelsThereAre) {
  Scan scan = made();
  Options options;
  options.label = 3;
  expect_error(ErrorKind::kData, "label 3 is not in the mask: it has 1", [&] {
    extract(scan.image, scan.mask, options);
  });
  std::fill(scan.mask.voxels.begin(), scan.mask.voxels.end(), 0.0F);
  expect_error(ErrorKind::kData, "label 1 is not in the mask: it is empty", [&] {
    extract(scan.image, scan.mask);
  });
}

TEST(RadiomicsExtract, RefusesVoxelsThatAreNotFinite) {
  Scan scan = made();
  const std::size_t centre = 13 * 11 * 4 + 13 * 5 + 5;
  ASSERT_EQ(scan.mask.voxels[centre], 1.0F);
  scan.image.voxels[centre] = std::numeric_limits<float>::quiet_NaN();
  expect_error(ErrorKind::kData, "not finite", [&] { extract(scan.image, scan.mask); });
  Options options;
  options.normalize = true;
  expect_error(ErrorKind::kData, "not finite", [&] { extract(scan.image, scan.mask, options); });
  // Outside of the region it does not matter.
  scan.image.voxels[centre] = 0.0F;
  scan.image.voxels[0] = std::numeric_limits<float>::infinity();
  EXPECT_EQ(extract(scan.image, scan.mask).features.size(), 107U);
}

TEST(RadiomicsOptions, RefusesValuesOutOfRange) {
  const auto refuse = [](const std::string& part, const auto& change) {
    Options options;
    change(options);
    expect_error(ErrorKind::kUsage, part, [&] { options.validate(); });
  };
  refuse("bin width", [](Options& o) { o.bin_width = 0.0; });
  refuse("bin count", [](Options& o) { o.bin_count = 5000; });
  refuse("label", [](Options& o) { o.label = 0; });
  refuse("distance", [](Options& o) { o.distances = {11}; });
  refuse("no distance", [](Options& o) { o.distances.clear(); });
  refuse("spacing", [](Options& o) { o.spacing_mm = Vector3{1, -1, 1}; });
  refuse("gldm_a", [](Options& o) { o.gldm_alpha = -1; });
  refuse("no class", [](Options& o) { o.classes.clear(); });
  refuse("axes", [](Options& o) { o.minimum_dimensions = 4; });
  expect_error(ErrorKind::kUsage, "did you mean 'glszm'", [] { parse_feature_class("glsz"); });
  EXPECT_EQ(parse_weighting("no_weighting"), Weighting::kNoWeighting);
  EXPECT_EQ(parse_interpolator("linear"), Interpolator::kLinear);
}

// [[2, 1], [1, 3]] has eigenvalues (5 +- sqrt 5) / 2; [[0, 2], [0, 0]] has singular value 2.
TEST(RadiomicsMatrices, HaveTheirLargestSingularValue) {
  Matrix<double> symmetric(2, 2);
  symmetric(0, 0) = 2;
  symmetric(0, 1) = symmetric(1, 0) = 1;
  symmetric(1, 1) = 3;
  EXPECT_NEAR(largest_singular_value(symmetric), (5 + std::sqrt(5.0)) / 2, 1e-14);
  Matrix<double> shift(2, 2);
  shift(0, 1) = 2;
  EXPECT_NEAR(largest_singular_value(shift), 2.0, 1e-14);
  Matrix<double> negative(3, 3);
  for (std::size_t i = 0; i < 3; ++i) negative(i, i) = -1.0 - static_cast<double>(i);
  EXPECT_NEAR(largest_singular_value(negative), 3.0, 1e-14);
}

}  // namespace
}  // namespace med3d::radiomics
