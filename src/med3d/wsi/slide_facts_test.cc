#include "med3d/wsi/slide_facts.h"

#include <gtest/gtest.h>

namespace med3d {
namespace {

TEST(SlideFacts, NumbersMayHaveADecimalComma) {
  EXPECT_EQ(parse_fact(" 0.4990 "), 0.499);
  EXPECT_EQ(parse_fact("0,25"), 0.25);
  EXPECT_EQ(parse_fact("1,000.5"), std::nullopt);
  EXPECT_EQ(parse_fact("nan"), std::nullopt);
  EXPECT_EQ(parse_fact("inf"), std::nullopt);
  EXPECT_EQ(parse_fact("0.25 um"), std::nullopt);
  EXPECT_EQ(parse_fact(""), std::nullopt);
  EXPECT_EQ(parse_fact("0"), 0.0);
}

TEST(SlideFacts, PropertiesThatMayIdentifyAreLeftOut) {
  for (const char* name : {"aperio.User",
                           "aperio.Date",
                           "aperio.Time",
                           "aperio.Filename",
                           "aperio.Title",
                           "aperio.ImageID",
                           "tiff.DateTime",
                           "tiff.HostComputer",
                           "tiff.Artist",
                           "openslide.comment",
                           "hamamatsu.Created",
                           "hamamatsu.NDP.S/N",
                           "leica.barcode",
                           "mirax.GENERAL.SLIDE_ID",
                           "mirax.GENERAL.SLIDE_NAME",
                           "philips.PIM_DP_UFS_BARCODE",
                           "philips.DICOM_ACQUISITION_DATETIME",
                           "tiff.ImageDescription"}) {
    EXPECT_TRUE(may_identify(name)) << name;
  }
  for (const char* name : {"aperio.MPP",
                           "aperio.AppMag",
                           "aperio.Exposure Time",
                           "openslide.vendor",
                           "openslide.mpp-x",
                           "hamamatsu.XResolution",
                           "openslide.level[0].width",
                           "tiff.ResolutionUnit",
                           "openslide.mirax.MPP",
                           "leica.objective",
                           "openslide.quickhash-1"}) {
    EXPECT_FALSE(may_identify(name)) << name;
  }
  SlideInfo info;
  add_property(info, "aperio.User", "dr jones");
  add_property(info, "aperio.MPP", "0.25");
  EXPECT_EQ(info.properties, (std::map<std::string, std::string>{{"aperio.MPP", "0.25"}}));
}

TEST(SlideFacts, FindsXmlAttributes) {
  const std::string xml =
      "<a><PixelsInfo X=\"0\"/><Pixels  Y = '2'\n X=\"1 &lt; 2 &amp; &#181;\" Z=\"3\"/></a>";
  EXPECT_EQ(xml_attribute(xml, "Pixels", "X"), "1 < 2 & \u00B5");
  EXPECT_EQ(xml_attribute(xml, "Pixels", "Y"), "2");
  EXPECT_EQ(xml_attribute(xml, "Pixels", "W"), std::nullopt);
  EXPECT_EQ(xml_attribute(xml, "Image", "X"), std::nullopt);
  EXPECT_EQ(xml_attribute("<Pixels X=\"1", "Pixels", "X"), std::nullopt);
  EXPECT_EQ(xml_attribute("<Pixels X=", "Pixels", "X"), std::nullopt);
  EXPECT_EQ(xml_attribute("<Pixels", "Pixels", "X"), std::nullopt);
}

TEST(SlideFacts, ConvertsOmeUnits) {
  const auto mpp = [](const std::string& attributes) {
    SlideInfo info;
    add_ome_facts("<OME><Pixels " + attributes + "/></OME>", info);
    return info.mpp_x;
  };
  EXPECT_DOUBLE_EQ(mpp("PhysicalSizeX=\"0.25\"").value(), 0.25);
  EXPECT_DOUBLE_EQ(mpp("PhysicalSizeX=\"250\" PhysicalSizeXUnit=\"nm\"").value(), 0.25);
  EXPECT_DOUBLE_EQ(mpp("PhysicalSizeX=\"0.00025\" PhysicalSizeXUnit=\"mm\"").value(), 0.25);
  EXPECT_EQ(mpp("PhysicalSizeX=\"1\" PhysicalSizeXUnit=\"pixel\""), std::nullopt);
  EXPECT_EQ(mpp("SizeX=\"1\""), std::nullopt);
}

// 25,400 / 50,800 = 0.5; 10,000 / 40,000 = 0.25.
TEST(SlideFacts, ConvertsTiffResolution) {
  const auto mpp = [](std::optional<double> x, int unit) {
    SlideInfo info;
    add_tiff_resolution(x, x, unit, info);
    return info.mpp_x;
  };
  EXPECT_DOUBLE_EQ(mpp(50800.0, 2).value(), 0.5);
  EXPECT_DOUBLE_EQ(mpp(40000.0, 3).value(), 0.25);
  EXPECT_EQ(mpp(40000.0, 1), std::nullopt);
  EXPECT_EQ(mpp(0.0, 3), std::nullopt);
  EXPECT_EQ(mpp(std::nullopt, 3), std::nullopt);
}

}  // namespace
}  // namespace med3d
