#include "med3d/radiology/acquisition.h"

#include <gtest/gtest.h>

#include "med3d/radiology/test_dicom.inc"
#include "med3d/radiology/test_support.inc"

namespace med3d {
namespace {

// Group 18 of a slice; its thickness stands behind the modality.
std::string slice_with(const std::string& low, const std::string& group_18) {
  std::string data =
      element(0x00080060, "CS", "MR") + low + group_18 + element(0x0020000E, "UI", "1.2.3");
  return std::string(128, '\0') + "DICM" + element(0x00020010, "UI", "1.2.840.10008.1.2.1") + data;
}

TEST(AcquisitionParameters, TellsNumbersAndWordsOfTheStandard) {
  const TestFolder folder("acquisition");
  const auto file = folder.write(
      "a.dcm",
      slice_with(element(0x00080070, "LO", "SIEMENS"),
                 element(0x00180010, "LO", "Gadovist") + element(0x00180020, "CS", "GR\\IR") +
                     element(0x00180023, "CS", "3D") + element(0x00180050, "DS", "2.5") +
                     element(0x00180080, "DS", "4.5") + element(0x00180081, "DS", "1.5") +
                     element(0x00180087, "DS", "3") + element(0x00181210, "SH", "B30f") +
                     element(0x00181314, "DS", "12")));
  const Json expected = {{"Modality", "MR"},
                         {"Manufacturer", "Siemens"},
                         {"ConvolutionKernel", "B30f"},
                         {"MagneticFieldStrength", 3.0},
                         {"MRAcquisitionType", "3D"},
                         {"ScanningSequence", {"GR", "IR"}},
                         {"EchoTime", 0.0015},
                         {"RepetitionTime", 0.0045},
                         {"FlipAngle", 12.0},
                         {"SliceThickness", 2.5},
                         {"ContrastBolusAgentGiven", true}};
  EXPECT_EQ(acquisition_parameters(file).dump(), expected.dump());
}

TEST(AcquisitionParameters, NeverRepeatsWhatSomebodyTyped) {
  const TestFolder folder("acquisition_canary");
  const std::string canary = "DOE JOHN";
  const auto file = folder.write(
      "a.dcm",
      slice_with(element(0x00080070, "LO", canary) + element(0x00080080, "LO", canary),
                 element(0x00180010, "LO", canary) + element(0x00180015, "CS", canary) +
                     element(0x00180020, "CS", canary + "\\SE") +
                     element(0x00180023, "CS", canary) + element(0x00181210, "SH", canary)));
  const std::string text = acquisition_parameters(file).dump();
  EXPECT_EQ(text.find("DOE"), std::string::npos) << text;
  EXPECT_NE(text.find("\"SE\""), std::string::npos) << text;
}

TEST(AcquisitionParameters, ReadsARealCtSeries) {
  const auto folder = test_data("dicom/ct_abdomen_postcontrast_cptac-pda_C3L-00189");
  MED3D_NEEDS_DATA(folder);
  const Json found = acquisition_parameters(folder / "1-01.dcm");
  EXPECT_EQ(found.at("Modality"), "CT");
  EXPECT_GT(found.at("KVP").get<double>(), 50.0);
  EXPECT_GT(found.at("SliceThickness").get<double>(), 0.5);
}

}  // namespace
}  // namespace med3d
