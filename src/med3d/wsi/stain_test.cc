#include "med3d/wsi/stain.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "med3d/core/error.h"

namespace med3d {
namespace {

// pixels() of tests/reference/stain.py.
std::vector<std::uint8_t> two_stains(std::size_t n) {
  std::vector<std::uint8_t> rgb;
  for (std::size_t i = 0; i < n; ++i) {
    const double h = static_cast<double>((i * 37 + i * i * 5) % 97) / 97.0 * 1.6;
    const double e = static_cast<double>((i * 53 + i * i * 3) % 89) / 89.0 * 1.1 + 0.1;
    const double od[] = {h * 0.65 + e * 0.10, h * 0.70 + e * 0.95, h * 0.29 + e * 0.30};
    for (const double value : od) {
      const double level = std::floor(240.0 * std::exp(-value) + 0.5);
      rgb.push_back(i % 7 == 0 ? 245 : static_cast<std::uint8_t>(level));
    }
  }
  return rgb;
}

long sum(const std::vector<std::uint8_t>& values) {
  return std::accumulate(values.begin(), values.end(), 0L);
}

StainOptions options_of(StainMethod method) {
  StainOptions options;
  options.method = method;
  return options;
}

void expect_near(const auto& found, const auto& expected, double bound) {
  for (std::size_t k = 0; k < expected.size(); ++k) EXPECT_NEAR(found[k], expected[k], bound) << k;
}

int largest_difference(const std::vector<std::uint8_t>& a, const std::vector<std::uint8_t>& b) {
  int largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i] - b[i]));
  return largest;
}

double mean_difference(const std::vector<std::uint8_t>& a, const std::vector<std::uint8_t>& b) {
  double total = 0;
  for (std::size_t i = 0; i < a.size(); ++i) total += std::abs(a[i] - b[i]);
  return total / static_cast<double>(a.size());
}

TEST(Stain, MacenkoAgreesWithNumpy) {
  std::vector<std::uint8_t> rgb = two_stains(5000);
  ASSERT_EQ(sum(rgb), 2135794);
  const StainOptions options = options_of(StainMethod::kMacenko);
  const StainFit fit = fit_stain(rgb, options);
  ASSERT_TRUE(fit.usable) << fit.reason;
  EXPECT_EQ(fit.tissue_pixels, 3886);
  expect_near(fit.haematoxylin,
              std::array{0.611908655904913, 0.7328274000669729, 0.29754293562396045},
              1e-10);
  expect_near(
      fit.eosin, std::array{0.1712324317106941, 0.936254363399208, 0.3067690032359642}, 1e-10);
  expect_near(fit.concentration, std::array{1.6466277632691069, 1.237946495988525}, 1e-10);
  apply_stain(fit, options, rgb);
  const std::vector<std::uint8_t> first = {
      246, 248, 244, 135, 80, 120, 76, 47, 92, 117, 91, 138, 144, 73, 111, 173, 98, 131};
  EXPECT_EQ(std::vector(rgb.begin(), rgb.begin() + 18), first);
  EXPECT_EQ(sum(rgb), 1988683);
}

TEST(Stain, ReinhardAgreesWithNumpy) {
  std::vector<std::uint8_t> rgb = two_stains(5000);
  const StainOptions options = options_of(StainMethod::kReinhard);
  const StainFit fit = fit_stain(rgb, options);
  ASSERT_TRUE(fit.usable) << fit.reason;
  expect_near(
      fit.mean, std::array{8.064457212649481, -0.3590430678125181, 0.051957484647902334}, 1e-10);
  expect_near(
      fit.stddev, std::array{0.426736180854076, 0.109833938265453, 0.03162576276656896}, 1e-10);
  apply_stain(fit, options, rgb);
  const std::vector<std::uint8_t> first = {
      255, 255, 255, 217, 129, 185, 114, 84, 140, 208, 191, 216, 221, 103, 168, 255, 144, 201};
  EXPECT_EQ(std::vector(rgb.begin(), rgb.begin() + 18), first);
  EXPECT_EQ(sum(rgb), 2823075);
}

// One pixel by hand. Stains (1, 0, 0) and (0, 1, 0), target the same with twice the concentration
// of the first: red density d becomes 2 d, so (I + 1) becomes (I + 1)^2 / 240; blue has no stain.
//   red 59: 60^2 / 240 - 1 = 14; green stays 119; blue becomes 240 - 1 = 239.
TEST(Stain, MacenkoScalesConcentrationsAsWorkedByHand) {
  StainOptions options = options_of(StainMethod::kMacenko);
  options.target_haematoxylin = {1, 0, 0};
  options.target_eosin = {0, 1, 0};
  options.target_concentration = {2, 1};
  StainFit fit;
  fit.method = StainMethod::kMacenko;
  fit.usable = true;
  fit.haematoxylin = {1, 0, 0};
  fit.eosin = {0, 1, 0};
  fit.concentration = {1, 1};
  std::vector<std::uint8_t> rgb = {59, 119, 30};
  apply_stain(fit, options, rgb);
  EXPECT_EQ(rgb, (std::vector<std::uint8_t>{14, 119, 239}));
}

TEST(Stain, ATargetEqualToTheSlideLeavesTheTileNearlyUnchanged) {
  const std::vector<std::uint8_t> rgb = two_stains(5000);
  StainOptions options = options_of(StainMethod::kReinhard);
  StainFit fit = fit_stain(rgb, options);
  options.target_mean = fit.mean;
  options.target_stddev = fit.stddev;
  std::vector<std::uint8_t> mapped = rgb;
  apply_stain(fit, options, mapped);
  EXPECT_LE(largest_difference(mapped, rgb), 1);

  options = options_of(StainMethod::kMacenko);
  fit = fit_stain(rgb, options);
  options.target_haematoxylin = fit.haematoxylin;
  options.target_eosin = fit.eosin;
  options.target_concentration = fit.concentration;
  mapped = rgb;
  apply_stain(fit, options, mapped);
  // The pixels lie in the plane of two stains but for their rounding to whole levels.
  EXPECT_LE(largest_difference(mapped, rgb), 3);
}

TEST(Stain, BringsAPaleSlideToNearTheColoursOfADarkOne) {
  // The same tissue with all concentrations at 60 %: after normalisation the two agree.
  std::vector<std::uint8_t> dark = two_stains(5000);
  std::vector<std::uint8_t> pale = dark;
  for (std::uint8_t& level : pale) {
    if (level == 245) continue;
    level = static_cast<std::uint8_t>(std::lround(240.0 * std::pow((level + 1) / 240.0, 0.6) - 1));
  }
  const StainOptions options = options_of(StainMethod::kMacenko);
  const double before = mean_difference(dark, pale);
  apply_stain(fit_stain(dark, options), options, dark);
  apply_stain(fit_stain(pale, options), options, pale);
  // Not equal: the pale slide has fewer pixels dense enough to be tissue, so other percentiles.
  EXPECT_GT(before, 25.0);
  EXPECT_LT(mean_difference(dark, pale), before / 3);
}

TEST(Stain, TooLittleTissueIsSaidAndLeavesTheTile) {
  for (const StainMethod method : {StainMethod::kMacenko, StainMethod::kReinhard}) {
    const StainOptions options = options_of(method);
    std::vector<std::uint8_t> rgb = two_stains(600);
    const std::vector<std::uint8_t> before = rgb;
    const StainFit fit = fit_stain(rgb, options);
    EXPECT_FALSE(fit.usable);
    EXPECT_NE(fit.reason.find("tissue pixels, at least 1000 are needed"), std::string::npos);
    apply_stain(fit, options, rgb);
    EXPECT_EQ(rgb, before);
    EXPECT_FALSE(fit_stain({}, options).usable);
  }
}

TEST(Stain, OneColourIsNotTakenForTwoStains) {
  std::vector<std::uint8_t> rgb;
  for (int i = 0; i < 2000; ++i) rgb.insert(rgb.end(), {120, 60, 140});
  for (const StainMethod method : {StainMethod::kMacenko, StainMethod::kReinhard}) {
    const StainFit fit = fit_stain(rgb, options_of(method));
    EXPECT_FALSE(fit.usable);
    EXPECT_NE(fit.reason.find("one colour only"), std::string::npos) << fit.reason;
  }
}

TEST(Stain, SamplesTissueOnlyAndTheSameForTheSameSeed) {
  const std::vector<std::uint8_t> rgb = two_stains(5000);
  const StainOptions options = options_of(StainMethod::kMacenko);
  const auto sample = sample_tissue_pixels(rgb, 500, 7, options);
  ASSERT_EQ(sample.size(), 1500U);
  EXPECT_EQ(sample, sample_tissue_pixels(rgb, 500, 7, options));
  EXPECT_NE(sample, sample_tissue_pixels(rgb, 500, 8, options));
  for (std::size_t p = 0; p < sample.size(); p += 3) EXPECT_NE(sample[p], 245);
  EXPECT_EQ(sample_tissue_pixels(rgb, 1 << 20, 7, options).size(), 3U * 3886U);
  EXPECT_TRUE(sample_tissue_pixels(rgb, 0, 7, options).empty());
  // Enough pixels tell the same stains as all of them.
  const StainFit fit = fit_stain(sample_tissue_pixels(rgb, 2000, 7, options), options);
  const StainFit all = fit_stain(rgb, options);
  expect_near(fit.haematoxylin, all.haematoxylin, 0.02);
}

TEST(Stain, RefusesWhatIsNoPixelArrayOrNoOption) {
  const std::vector<std::uint8_t> bytes(10);
  EXPECT_THROW(fit_stain(bytes, options_of(StainMethod::kMacenko)), Error);
  EXPECT_THROW(parse_stain_method("makenco"), Error);
  EXPECT_EQ(parse_stain_method("macenko"), StainMethod::kMacenko);
  StainOptions options;
  options.light = 0;
  EXPECT_THROW(options.validate(), Error);
  options = {};
  options.target_stddev[1] = std::nan("");
  EXPECT_THROW(options.validate(), Error);
}

}  // namespace
}  // namespace med3d
