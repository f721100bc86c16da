#include "med3d/radiology/series_header.h"

#include <gtest/gtest.h>

#include <cmath>

#include "med3d/radiology/nifti.h"
#include "med3d/radiology/test_dicom.inc"
#include "med3d/radiology/test_support.inc"

namespace med3d {
namespace {

// What a scanner writes of an arterial phase.
std::string arterial_words() {
  return element(0x0008103E, "LO", "Arterial 5.0") + element(0x00081030, "LO", "CT ABDOMEN WWO") +
         element(0x00080008, "CS", "ORIGINAL\\PRIMARY\\AXIAL") +
         element(0x00080018, "UI", "1.2.3.4.5") +
         element(0x00080016, "UI", "1.2.840.10008.5.1.4.1.1.2") +
         element(0x00080020, "DA", "20081109") + element(0x00080032, "TM", "100040.500") +
         element(0x00100020, "LO", "C3L-00610") + element(0x00180010, "LO", "OMNIPAQUE") +
         element(0x00181042, "TM", "100000") + element(0x0020000D, "UI", "1.2.9");
}

TEST(SeriesHeader, ReadsWhatAFileSaysOfItsSeries) {
  TestSlice slice;
  slice.position = "-10\\-20\\35.5";
  slice.extra_low = arterial_words();
  const TestFolder folder("series_header");
  const SeriesHeader header = read_dicom_series_header(folder.write("a.dcm", slice.bytes()));
  EXPECT_EQ(header.patient_id, "C3L-00610");
  EXPECT_EQ(header.study_uid, "1.2.9");
  EXPECT_EQ(header.series_uid, "1.2.3");
  EXPECT_EQ(header.instance_uid, "1.2.3.4.5");
  EXPECT_EQ(header.facts.modality, "CT");
  EXPECT_EQ(header.facts.description, "Arterial 5.0");
  EXPECT_EQ(header.facts.study_description, "CT ABDOMEN WWO");
  EXPECT_EQ(header.facts.image_type, "ORIGINAL\\PRIMARY\\AXIAL");
  EXPECT_EQ(header.facts.sop_class, "1.2.840.10008.5.1.4.1.1.2");
  EXPECT_EQ(header.facts.contrast_agent, "OMNIPAQUE");
  EXPECT_DOUBLE_EQ(header.facts.contrast_delay_s.value_or(0), 40.5);  // 10:00:40.5 - 10:00:00
  EXPECT_EQ(header.facts.plane, Plane::kAxial);
  EXPECT_EQ(header.facts.slices, 1);
  EXPECT_EQ(header.study_date, "20081109");
  EXPECT_EQ(header.columns, 3);
  EXPECT_EQ(header.rows, 2);
  EXPECT_EQ(header.spacing_x_mm, 0.25);
  EXPECT_EQ(header.spacing_y_mm, 0.5);
  EXPECT_EQ(header.thickness_mm, 2.0);
  ASSERT_EQ(header.along_mm.size(), 1U);
  EXPECT_DOUBLE_EQ(header.along_mm[0], 35.5);  // normal of axial slices is +z
  EXPECT_TRUE(header.problems.empty());
}

TEST(SeriesHeader, CountsTheDelayOverMidnightAndDropsAnHour) {
  const TestFolder folder("series_header_delay");
  const auto delay = [&](const std::string& start, const std::string& acquired) {
    TestSlice slice;
    slice.extra_low = element(0x00080032, "TM", acquired) + element(0x00181042, "TM", start);
    return read_dicom_series_header(folder.write("a.dcm", slice.bytes())).facts.contrast_delay_s;
  };
  EXPECT_EQ(delay("235930", "000010"), 40.0);
  EXPECT_EQ(delay("100000", "095950"), -10.0);
  EXPECT_EQ(delay("100000", "120000"), std::nullopt);
  EXPECT_EQ(delay("xx0000", "100000"), std::nullopt);
}

TEST(SeriesHeader, TellsThePlaneFromTheDirectionsAlone) {
  const TestFolder folder("series_header_plane");
  const auto plane = [&](const std::string& orientation) {
    TestSlice slice;
    slice.orientation = orientation;
    slice.extra_low = element(0x0008103E, "LO", "AXIAL");
    return read_dicom_series_header(folder.write("a.dcm", slice.bytes())).facts.plane;
  };
  EXPECT_EQ(plane("1\\0\\0\\0\\0\\-1"), Plane::kCoronal);
  EXPECT_EQ(plane("0\\1\\0\\0\\0\\-1"), Plane::kSagittal);
  EXPECT_EQ(plane("1\\0\\0\\0\\0.97\\-0.243"), Plane::kAxial);  // a tilted gantry
  EXPECT_EQ(plane(""), std::nullopt);
  EXPECT_EQ(plane("0\\0\\0\\0\\0\\0"), std::nullopt);
}

TEST(SeriesHeader, NamesADirectoryOfFiles) {
  const TestFolder folder("series_header_directory");
  const std::string bytes = std::string(128, '\0') + "DICM" +
                            element(0x00020010, "UI", "1.2.840.10008.1.2.1") +
                            element(0x00041220, "SQ", "");
  EXPECT_TRUE(read_dicom_series_header(folder.write("DICOMDIR", bytes)).directory);
}

TEST(SeriesHeader, AMessageHoldsNeitherPathNorValue) {
  const TestFolder folder("series_header_message");
  TestSlice slice;
  slice.extra_low = element(0x00100010, "PN", "Canary^Name");
  const auto path = folder.write("Canary^Name.dcm", slice.bytes().substr(0, 185));
  try {
    read_dicom_series_header(path);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).find("Canary"), std::string::npos) << error.what();
  }
  const auto nifti = folder.write("Canary^Name.nii", "short");
  try {
    read_nifti_series_header(nifti);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).find("Canary"), std::string::npos) << error.what();
  }
}

TEST(SeriesHeader, NeverReadsThePixels) {
  TestSlice slice;
  const std::string whole = slice.bytes();
  const TestFolder folder("series_header_pixels");
  // All but the header of the pixel data is gone.
  const auto path = folder.write("a.dcm", whole.substr(0, whole.size() - 12));
  EXPECT_EQ(read_dicom_series_header(path).images, 1);
}

TEST(SeriesHeader, EveryCutIsAHeaderOrAnError) {
  TestSlice slice;
  slice.extra_low = arterial_words();
  const std::string whole = slice.bytes();
  const TestFolder folder("series_header_cuts");
  for (std::size_t size = 0; size < whole.size(); size += 3) {
    try {
      read_dicom_series_header(folder.write("a.dcm", whole.substr(0, size)));
    } catch (const Error&) {
    }
  }
}

TEST(SeriesHeader, ReadsANiftiFileWithItsSidecar) {
  const TestFolder folder("series_header_nifti");
  Volume volume;
  volume.size = {4, 3, 12};
  volume.spacing_mm = {0.5, 0.5, 5};
  volume.patient_from_voxel.m = {{{0.5, 0, 0, 0}, {0, 0.5, 0, 0}, {0, 0, 5, 100}, {0, 0, 0, 1}}};
  volume.voxels.assign(4 * 3 * 12, 0.0F);
  write_nifti(folder.path() / "scan.nii.gz", volume);
  folder.write("scan.json",
               R"({"Modality":"MR","SeriesDescription":"Ax T1 post","EchoTime":0.002,
                   "ImageType":["ORIGINAL","PRIMARY"],"PatientID":"TCGA-BP-4352"})");
  const SeriesHeader header = read_nifti_series_header(folder.path() / "scan.nii.gz");
  EXPECT_EQ(header.patient_id, "TCGA-BP-4352");
  EXPECT_EQ(header.facts.modality, "MR");
  EXPECT_EQ(header.facts.description, "Ax T1 post");
  EXPECT_EQ(header.facts.image_type, "ORIGINAL\\PRIMARY");
  EXPECT_NEAR(header.facts.echo_time_ms.value_or(0), 2.0, 1e-9);  // seconds there
  EXPECT_EQ(header.facts.plane, Plane::kAxial);
  EXPECT_EQ(header.facts.slices, 12);
  EXPECT_EQ(header.columns, 4);

  folder.write("scan.json", "[1, 2");
  const SeriesHeader damaged = read_nifti_series_header(folder.path() / "scan.nii.gz");
  ASSERT_EQ(damaged.problems.size(), 1U);
  EXPECT_EQ(damaged.problems[0], "a sidecar that is no JSON object");
}

TEST(SeriesHeader, SurvivesItsStore) {
  TestSlice slice;
  slice.extra_low = arterial_words();
  const TestFolder folder("series_header_store");
  SeriesHeader header = read_dicom_series_header(folder.write("a.dcm", slice.bytes()));
  header.facts.slices.reset();  // kept elsewhere
  header.facts.contrast_delay_s = std::round(*header.facts.contrast_delay_s);
  const Json json = series_header_to_json(header);
  const SeriesHeader back = series_header_from_json(json);
  EXPECT_EQ(back.facts, header.facts);
  EXPECT_EQ(back.columns, header.columns);
  EXPECT_EQ(back.orientation, header.orientation);
  EXPECT_EQ(json.dump().find("C3L"), std::string::npos) << "the patient's number is kept apart";
  expect_error(
      ErrorKind::kFormat, "not of this program", [] { series_header_from_json(Json::array()); });
}

TEST(ReadableText, BecomesUtf8WithoutControlCharacters) {
  EXPECT_EQ(readable_text("ven\xF6s"), "ven\xC3\xB6s");               // ISO 8859-1
  EXPECT_EQ(readable_text("ven\xC3\xB6s"), "ven\xC3\xB6s");           // UTF-8 already
  EXPECT_EQ(readable_text("t\xEAtnicza", "ISO_IR 101"), "t?tnicza");  // Latin-2 is not read
  EXPECT_EQ(readable_text(" a\n\tb\x01  c "), "a b c");
  EXPECT_EQ(readable_text(std::string(1000, 'x')).size(), 256U);
  EXPECT_EQ(readable_text("\xED\xA0\x80"), "\xC3\xAD\xC2\xA0?");  // a surrogate is no UTF-8
}

// pydicom 2.3.1 (tests/reference/series_header.py) on the real scans.
TEST(SeriesHeader, AgreesWithPydicomOnRealScans) {
  const auto root = test_data("dicom");
  MED3D_NEEDS_DATA(root);
  const SeriesHeader ct =
      read_dicom_series_header(root / "ct_abdomen_postcontrast_cptac-pda_C3L-00189/1-01.dcm");
  EXPECT_EQ(ct.facts.description, "LUNG BASES 5MM");
  EXPECT_EQ(ct.facts.study_description, "CT ABDOMEN & PELVIS ENHANCED=AB");
  EXPECT_EQ(ct.facts.image_type, "ORIGINAL\\PRIMARY\\AXIAL");
  EXPECT_EQ(ct.facts.contrast_agent, "");
  EXPECT_EQ(ct.facts.plane, Plane::kAxial);
  EXPECT_EQ(ct.thickness_mm, 5.0);
  const SeriesHeader mr =
      read_dicom_series_header(root / "mr_abdomen_coronal_tcga-lihc_TCGA-BC-4073/1-01.dcm");
  EXPECT_EQ(mr.facts.plane, Plane::kCoronal);
  EXPECT_EQ(mr.facts.description, "NEW HASTE CORONAL");
  const SeriesHeader scout =
      read_dicom_series_header(root / "ct_head_philips_localizer_summary/S1000/I10");
  EXPECT_EQ(scout.facts.image_type, "ORIGINAL\\PRIMARY\\LOCALIZER");
  EXPECT_TRUE(
      read_dicom_series_header(root / "ct_head_philips_localizer_summary/S1000/DIRFILE").directory);
}

}  // namespace
}  // namespace med3d
