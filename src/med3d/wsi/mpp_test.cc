#include "med3d/wsi/mpp.h"

#include <gtest/gtest.h>

#include "med3d/core/error.h"

namespace med3d {
namespace {

SlideInfo with(std::optional<double> x, std::optional<double> y, const std::string& source) {
  SlideInfo info;
  info.mpp_x = x;
  info.mpp_y = y;
  info.mpp_source = source;
  return info;
}

TEST(Mpp, TakesWhatTheSlideSays) {
  const MppVerdict verdict = judge_mpp(with(0.25, 0.252, "aperio.MPP"));
  EXPECT_DOUBLE_EQ(verdict.mpp.value(), 0.251);
  EXPECT_EQ(verdict.source, "aperio.MPP");
  EXPECT_TRUE(verdict.warnings.empty());
}

TEST(Mpp, DoesNotBelieveTenPixelsACentimetre) {
  SlideInfo info = with(1000.0, 1000.0, "tiff.XResolution");
  info.properties = {{"tiff.XResolution", "10"}, {"tiff.ResolutionUnit", "centimeter"}};
  const MppVerdict verdict = judge_mpp(info);
  EXPECT_FALSE(verdict.mpp);
  ASSERT_EQ(verdict.warnings.size(), 2U);
  EXPECT_EQ(verdict.warnings[0],
            "tiff.XResolution 10 per cm = 1000 um/px, outside of 0.05 to 20: not believed");
  EXPECT_EQ(verdict.warnings[1], "no scale that can be used");
}

TEST(Mpp, SaysWhatTheObjectiveWouldFit) {
  SlideInfo info = with(0.027, 0.027, "aperio.MPP");
  info.objective_power = 40.0;
  const MppVerdict verdict = judge_mpp(info);
  EXPECT_FALSE(verdict.mpp);
  ASSERT_EQ(verdict.warnings.size(), 3U);
  EXPECT_EQ(verdict.warnings[1],
            "aperio.MPP 0.027 um/px for an objective of 40: 10 / 40 = 0.25 expected");
  EXPECT_EQ(verdict.warnings[2],
            "no scale that can be used; the objective of 40 would fit 0.25 um/px");
}

// 0.1 against 10 / 20 = 0.5: five times off, but not impossible. 0.23 is a 20x with an adapter.
TEST(Mpp, UsesAScaleThatIsOffItsObjectiveWithAWord) {
  SlideInfo info = with(0.1, 0.1, "aperio.MPP");
  info.objective_power = 20.0;
  EXPECT_DOUBLE_EQ(judge_mpp(info).mpp.value(), 0.1);
  EXPECT_EQ(judge_mpp(info).warnings.size(), 1U);
  info.mpp_x = info.mpp_y = 0.23;
  EXPECT_TRUE(judge_mpp(info).warnings.empty());
}

// (0.51 - 0.49) / 0.5 = 4 %.
TEST(Mpp, WarnsOfPixelsThatAreNotSquare) {
  const MppVerdict verdict = judge_mpp(with(0.49, 0.51, "ome.PhysicalSizeX"));
  EXPECT_DOUBLE_EQ(verdict.mpp.value(), 0.5);
  ASSERT_EQ(verdict.warnings.size(), 1U);
  EXPECT_NE(verdict.warnings[0].find("differ by 4.0 %"), std::string::npos);
}

TEST(Mpp, GoesOnToTheNextSourceAndTellsOfTheFirst) {
  SlideInfo info = with(0.0, 0.0, "aperio.MPP");
  info.properties = {{"tiff.XResolution", "20000"}, {"tiff.ResolutionUnit", "centimeter"}};
  const MppVerdict verdict = judge_mpp(info);
  EXPECT_DOUBLE_EQ(verdict.mpp.value(), 0.5);
  EXPECT_EQ(verdict.source, "tiff.XResolution");
  EXPECT_EQ(verdict.warnings.size(), 1U);
  SlideInfo hamamatsu;
  hamamatsu.properties = {{"hamamatsu.XResolution", "45320"}};  // 10,000 / 45,320
  EXPECT_NEAR(judge_mpp(hamamatsu).mpp.value(), 0.22065, 1e-5);
  SlideInfo mirax;
  mirax.properties = {{"openslide.mirax.MPP", "0,2325"}};
  EXPECT_DOUBLE_EQ(judge_mpp(mirax).mpp.value(), 0.2325);
  SlideInfo inches;
  inches.properties = {{"tiff.XResolution", "50800"}, {"tiff.ResolutionUnit", "inch"}};
  EXPECT_DOUBLE_EQ(judge_mpp(inches).mpp.value(), 0.5);
  SlideInfo nonsense;
  nonsense.properties = {{"aperio.MPP", "unknown"}};
  EXPECT_FALSE(judge_mpp(nonsense).mpp);
  EXPECT_EQ(judge_mpp(nonsense).warnings.front(),
            "aperio.MPP unknown um/px: no number: not believed");
}

TEST(Mpp, TheUsersWordCounts) {
  const MppVerdict verdict = judge_mpp(with(0.25, 0.25, "aperio.MPP"), 0.5);
  EXPECT_DOUBLE_EQ(verdict.mpp.value(), 0.5);
  EXPECT_EQ(verdict.source, "override");
  ASSERT_EQ(verdict.warnings.size(), 1U);
  EXPECT_EQ(verdict.warnings[0], "0.5 um/px was given, aperio.MPP says 0.25");
  EXPECT_TRUE(judge_mpp(with(1000.0, 1000.0, "tiff.XResolution"), 0.5).warnings.empty());
  EXPECT_THROW(judge_mpp(SlideInfo{}, 0.0), Error);
  EXPECT_THROW(judge_mpp(SlideInfo{}, -0.5), Error);
  EXPECT_THROW(judge_mpp(SlideInfo{}, std::numeric_limits<double>::quiet_NaN()), Error);
}

TEST(Mpp, MissingOrNoNumberIsNeverAGuess) {
  for (const double mpp : {0.0, -0.25, std::numeric_limits<double>::infinity(), 1e-9, 20.1}) {
    EXPECT_FALSE(judge_mpp(with(mpp, mpp, "aperio.MPP")).mpp) << mpp;
  }
  EXPECT_FALSE(judge_mpp(SlideInfo{}).mpp);
  EXPECT_EQ(judge_mpp(SlideInfo{}).warnings, std::vector<std::string>{"no scale that can be used"});
}

TEST(Mpp, BucketsAreTridents) {
  EXPECT_EQ(magnification_bucket(0.159), 80);
  EXPECT_EQ(magnification_bucket(0.16), 60);
  EXPECT_EQ(magnification_bucket(0.2), 40);
  EXPECT_EQ(magnification_bucket(0.2525), 40);
  EXPECT_EQ(magnification_bucket(0.3), 20);
  EXPECT_EQ(magnification_bucket(0.5), 20);
  EXPECT_EQ(magnification_bucket(0.6), 10);
  EXPECT_EQ(magnification_bucket(1.2), 5);
  EXPECT_EQ(magnification_bucket(2.4), std::nullopt);
  EXPECT_EQ(magnification_bucket(0.0), std::nullopt);
}

}  // namespace
}  // namespace med3d
