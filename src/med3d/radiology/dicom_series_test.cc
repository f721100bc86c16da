#include "med3d/radiology/dicom_series.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "med3d/core/file.h"
#include "med3d/core/hash.h"
#include "med3d/io/formats/deflate.h"
#include "med3d/radiology/nifti.h"
#include "med3d/radiology/test_dicom.inc"
#include "med3d/radiology/test_support.inc"

namespace med3d {
namespace {

using Paths = std::vector<std::filesystem::path>;

std::string hash_of(const Volume& volume) {
  return sha256_hex(
      {reinterpret_cast<const char*>(volume.voxels.data()), volume.voxels.size() * sizeof(float)});
}

Paths files_of(const std::filesystem::path& path) {
  if (std::filesystem::is_regular_file(path)) return {path};
  Paths out;
  for (const auto& entry : std::filesystem::directory_iterator(path)) {
    if (entry.path().extension() == ".dcm") out.push_back(entry.path());
  }
  std::ranges::sort(out);
  return out;
}

SeriesVolume load(const Paths& files, const SeriesOptions& options = {}) {
  return load_series(files, options);
}

// tests/reference/dicom_series.py
TEST(DicomSeries, ReadsRealSeriesBitForBit) {
  const struct {
    const char* name;
    std::array<std::int64_t, 3> size;
    const char* hash;
    Vector3 origin;
  } kSeries[] = {
      {"ct_abdomen_postcontrast_cptac-pda_C3L-00189",
       {512, 512, 35},
       "431a797e1ad25d84a12909ab9bb4e43cb9fccfbd31a95445d4f5110b4dcb297f",
       {-235.56, -220.0, -178.329}},
      {"ct_abdomen_venous_stageII-colorectal-005",
       {512, 512, 2},
       "fc375b049c32ed77b161c134d4bc01b8d2ed60a4185e05378fc4ff1c74ecc241",
       {-169.1572265625, -302.1572265625, 518.5}},
      {"mr_abdomen_coronal_tcga-lihc_TCGA-BC-4073",
       {256, 256, 30},
       "aad05b1a14257ee30804280ca8861c01853f9c3e710ae1eaeeaa5cc7dc29f34a",
       {-192.08655097603, -170.73427091429, 186.84670096636}},
      {"geometry_edge_cases/dicom2nifti/ge/anatomical/001",
       {256, 256, 4},
       "3ddd29f76fa84ac8a418c666cd3504c0cd94c6a01ace64324f62a28dfe91a71a",
       {-40.0007, -140.73, 124.7}},
      {"geometry_edge_cases/dicom2nifti/generic/anatomical/001",
       {256, 256, 4},
       "f0d946db8d2183a95f8cc360ef1c4f8f5df5b9b71ade6bd2aadc15dbc5bd6b09",
       {-100.79415804148, -161.07467269897, 130.05125403404}},
      {"geometry_edge_cases/dicom2nifti/generic/anatomical/001_implicit",
       {256, 256, 4},
       "61d425a5737aba585175585492e44049eb280a8a2da61917bd6e494d00dcb9eb",
       {-100.79415804148, -161.07467269897, 130.05125403404}},
      {"geometry_edge_cases/dicom2nifti/generic/anatomical/002_non_isotropic",
       {64, 28, 4},
       "54343b52654571529038e37539b3c0e4b1ca45c0cba53e4eed405f51bbe62bf1",
       {-83.429662112195, -132.1349194459, -143.92534345894}},
      {"geometry_edge_cases/dicom2nifti/failing/slicecount/001",
       {256, 256, 2},
       "ce362a504ff5c13bb07a4fc3fe8e83009684dbfca8b04dd95956390c3d93f730",
       {-102.79415804148, -161.07467269897, 130.05125403404}},
      {"geometry_edge_cases/dicom2nifti/philips_enhanced/anatomical/001",
       {256, 256, 8},
       "7ebbfb8c4b1265bd8c637188ac402ed73b0102ea2db79bd8983133218063c7e1",
       {100.293579101562, -150.60459327697, 116.949243545532}},
      {"geometry_edge_cases/dicom2nifti/philips_enhanced/anatomical/001_implicit",
       {256, 256, 8},
       "169a453d38128ac13a71c96b9c3747e0db2d8126dc30372cbc3fab214cbe6e90",
       {109.673967374837, -121.37216330283, 111.078759120898}},
      {"transfer_syntaxes/nema_wg04_compsamples/CT1_UNC",
       {512, 512, 1},
       "060ec848de42d7138db08716fe5af98f600a51703c4b0e61d29d23cc903a30b0",
       {-158.135803, -179.035797, -75.699997}},
      {"transfer_syntaxes/nema_wg04_compsamples/CT2_UNC",
       {512, 512, 1},
       "9c42fa9a8014360caeb34b760f951f596a62151f9f452586a30dee00de0241e4",
       {-120.0, -120.0, -545.0}},
      {"transfer_syntaxes/nema_wg04_compsamples/MR1_UNC",
       {512, 512, 1},
       "ea5ee265b7b5772e9f75ed6940fb29fde6f554459c5b11480f746f5d9d3562ca",
       {-83.9063, -91.2, 6.6406}},
      {"transfer_syntaxes/nema_wg04_compsamples/MR2_UNC",
       {1024, 1024, 1},
       "e9871bd0b6f9998bc4411582dcc3a7a59eb6ccfe5284db415bb38974c19635d8",
       {-180.058222, -97.147766, 112.82799}},
      {"transfer_syntaxes/nema_wg04_compsamples/MR3_UNC",
       {512, 512, 1},
       "65261afa3c87cd44c0d0e40f30065332bae7a2337dd038bc3bce5421898a9a29",
       {-105.5, 15.6, 75.0}},
      {"transfer_syntaxes/nema_wg04_compsamples/MR4_UNC",
       {512, 512, 1},
       "60d44ed0869ae5dc352ef82fb74e25781432829571990dc1e2601f40d899539f",
       {-125.000992, -122.842384, 32.496708}},
      {"transfer_syntaxes/nema_wg04_compsamples/CT1_J2KI",
       {512, 512, 1},
       "ba6d9994a8fdd5cc6e6a229f9078c8b891b591fb13de83f28e29029ff5ee72e0",
       {-158.135803, -179.035797, -75.699997}},
      {"transfer_syntaxes/nema_wg04_compsamples/CT2_J2KI",
       {512, 512, 1},
       "d0c52913aaf81f0c54f258f6a1b451b2467784d129cec19691e204a7329f7445",
       {-120.0, -120.0, -545.0}},
      {"transfer_syntaxes/nema_wg04_compsamples/MR1_J2KI",
       {512, 512, 1},
       "d3a8cc432da8783980e9a8488c9ff06354ca11d115d0be606c47008fa8325b59",
       {-83.9063, -91.2, 6.6406}},
      {"transfer_syntaxes/nema_wg04_compsamples/MR2_J2KI",
       {1024, 1024, 1},
       "74eb2d0026e073259d3528acac80317de0f8b239001eb3039928438b38b747e6",
       {-180.058222, -97.147766, 112.82799}},
      {"transfer_syntaxes/nema_wg04_compsamples/MR3_J2KI",
       {512, 512, 1},
       "3f1f4f6346fed994122857d0272bdf9d1a431824d7b1ca6502c007edfe189183",
       {-105.5, 15.6, 75.0}},
      {"transfer_syntaxes/nema_wg04_compsamples/MR4_J2KI",
       {512, 512, 1},
       "488af1756b3c2fd9cdeef64bd0c146b207668475925ad6a8213f43fdaeac4909",
       {-125.000992, -122.842384, 32.496708}},
      {"single_abdomen_pydicom/MR-SIEMENS-DICOM-WithOverlays.dcm",
       {484, 484, 1},
       "9ce80cfaca82903047e3513b15581978fadc3173c11a3057a969665642f73830",
       {-159.82565509386, -175.32202350207, 28.426151275635}},
  };
  for (const auto& series : kSeries) {
    const auto path = test_data("dicom") / series.name;
    MED3D_NEEDS_DATA(path);
    SeriesOptions options;
    options.threads = 2;
    Paths files = files_of(path);
    std::ranges::reverse(files);  // the order of the list says nothing
    const SeriesVolume found = load(files, options);
    EXPECT_EQ(found.volume.size, series.size) << series.name;
    EXPECT_EQ(hash_of(found.volume), series.hash) << series.name;
    for (std::size_t i = 0; i < 3; ++i) {
      EXPECT_NEAR(found.volume.patient_from_voxel.m[i][3], series.origin[i], 1e-9) << series.name;
    }
    EXPECT_TRUE(found.notes.empty()) << series.name << found.notes.front();
    found.volume.validate();
  }
}

TEST(DicomSeries, KnowsPlanesAndUnitsOfRealSeries) {
  const auto root = test_data("dicom");
  MED3D_NEEDS_DATA(root);
  const SeriesVolume ct = load(files_of(root / "ct_abdomen_venous_stageII-colorectal-005"));
  EXPECT_EQ(ct.plane, Plane::kAxial);
  EXPECT_EQ(ct.modality, "CT");
  EXPECT_EQ(ct.volume.units, VoxelUnits::kHu);
  EXPECT_EQ(orientation_code(ct.volume.patient_from_voxel), "LPS");
  EXPECT_NEAR(ct.volume.spacing_mm[2], 5.0, 1e-9);
  const SeriesVolume mr = load(files_of(root / "mr_abdomen_coronal_tcga-lihc_TCGA-BC-4073"));
  EXPECT_EQ(mr.plane, Plane::kCoronal);
  EXPECT_EQ(mr.volume.units, VoxelUnits::kArbitrary);
  EXPECT_NEAR(mr.volume.spacing_mm[2], 8.75, 1e-3);
}

// dicom2nifti's own result for the same files: the voxels of the same places have the same values.
TEST(DicomSeries, AgreesWithTheNiftiOfThePublicTruth) {
  const auto root = test_data("dicom/geometry_edge_cases/dicom2nifti");
  MED3D_NEEDS_DATA(root);
  for (const char* name : {"generic/anatomical/001",
                           "generic/anatomical/001_implicit",
                           "generic/anatomical/002_non_isotropic",
                           "generic/compressed/001",
                           "generic/compressed_j2k/001",
                           "generic/compressed_jpeg/001",
                           "generic/compressed_jpegls/001",
                           "generic/compressed_rle/001",
                           "failing/slicecount/001"}) {
    const Volume ours = load(files_of(root / name)).volume;
    const Volume truth = read_nifti((root / name).string() + "_ground_truth.nii.gz");
    const Affine truth_voxel = inverse(truth.patient_from_voxel) * ours.patient_from_voxel;
    double worst = 0.0;
    for (const std::int64_t z : {std::int64_t{0}, ours.size[2] - 1}) {
      for (std::int64_t y = 0; y < ours.size[1]; ++y) {
        for (std::int64_t x = 0; x < ours.size[0]; ++x) {
          const Vector3 at =
              truth_voxel({static_cast<double>(x), static_cast<double>(y), static_cast<double>(z)});
          std::array<std::int64_t, 3> near{};
          for (std::size_t i = 0; i < 3; ++i) {
            near[i] = std::lround(at[i]);
            worst = std::max(worst, std::abs(at[i] - static_cast<double>(near[i])));
            ASSERT_GE(near[i], 0) << name;
            ASSERT_LT(near[i], truth.size[i]) << name;
          }
          ASSERT_NEAR(ours.at(x, y, z), truth.at(near[0], near[1], near[2]), 1e-4) << name;
        }
      }
    }
    EXPECT_LT(worst, 0.01) << name;
  }
}

TEST(DicomSeries, NamesTheFaultOfTheFailingCases) {
  const auto root = test_data("dicom/geometry_edge_cases/dicom2nifti/failing");
  MED3D_NEEDS_DATA(root);
  expect_error(ErrorKind::kData,
               "1 missing of 5 slices: 10 mm between slices 3 and 4, expected 5",
               [&] { load(files_of(root / "sliceincrement/001")); });
  expect_error(ErrorKind::kData,
               "1 missing of 5 slices: 1.499 mm between slices 3 and 4, expected 0.7497",
               [&] { load(files_of(root / "sliceincrement/002")); });
  expect_error(ErrorKind::kData, "orientation: sagittal", [&] {
    load(files_of(root / "sliceorientation/001"));
  });
  // c = (0, 0.9703, -0.2419): sin(14 degrees) = 0.2419.
  const SeriesVolume tilted = load(files_of(root / "gantrytilting/001"));
  EXPECT_NEAR(tilted.tilt_degrees, 14.0, 0.01);
  // 3 steps of 5 mm * 0.24192 / 0.41797 mm a pixel = 8.68 rows.
  EXPECT_EQ(tilted.volume.size, (std::array<std::int64_t, 3>{512, 512 + 9, 4}));
  EXPECT_NEAR(tilted.volume.spacing_mm[2], 5.0 * 0.970295726, 1e-6);
  SeriesOptions fill;
  fill.gaps = GapHandling::kInterpolate;
  const SeriesVolume filled = load(files_of(root / "sliceincrement/002"), fill);
  EXPECT_EQ(filled.volume.size, (std::array<std::int64_t, 3>{512, 514, 5}));  // as the public truth
  EXPECT_EQ(filled.interpolated, 1U);
  EXPECT_EQ(filled.notes.size(), 2U);
}

TEST(DicomSeries, RefusesPicturesAmongScans) {
  const auto root = test_data("dicom/ct_head_philips_localizer_summary");
  MED3D_NEEDS_DATA(root);
  expect_error(ErrorKind::kUnsupported, "file 1 of 1: 3 samples a pixel", [&] {
    load({root / "S4010/I40"});
  });
  EXPECT_EQ(load({root / "S1000/I10"}).plane, Plane::kSagittal);
  const FolderSeries found = find_series(root, 2);
  EXPECT_EQ(found.series.size(), 2U);
  EXPECT_EQ(found.series[1].files.size(), 6U);
  EXPECT_EQ(found.other_files, 2U);
}

std::string nema(const std::string& name) {
  return "dicom/transfer_syntaxes/nema_wg04_compsamples/" + name;
}

TEST(DicomSeries, LosslessTransferSyntaxesGiveTheOriginalsPixels) {
  MED3D_NEEDS_DATA(test_data(nema("CT1_UNC")));
  for (const std::string image : {"CT1", "CT2", "MR1", "MR2", "MR3", "MR4"}) {
    const Volume original = load({test_data(nema(image + "_UNC"))}).volume;
    for (const std::string syntax : {"RLE", "JPLL", "JLSL", "J2KR"}) {
      const Volume found = load({test_data(nema(image + "_" + syntax))}).volume;
      EXPECT_TRUE(found.voxels == original.voxels) << image << " " << syntax;
      EXPECT_EQ(found.patient_from_voxel, original.patient_from_voxel);
    }
  }
}

TEST(DicomSeries, LossyTransferSyntaxesComeNearTheOriginal) {
  MED3D_NEEDS_DATA(test_data(nema("CT1_UNC")));
  for (const std::string image : {"CT1", "CT2", "MR1", "MR2", "MR3", "MR4"}) {
    const Volume original = load({test_data(nema(image + "_UNC"))}).volume;
    const auto [low, high] = std::ranges::minmax(original.voxels);
    for (const std::string syntax : {"JPLY", "JLSN", "J2KI"}) {
      const auto path = test_data(nema(image + "_" + syntax));
      if (!std::filesystem::exists(path)) continue;  // CT has no JPEG of 12 bits
      const Volume found = load({path}).volume;
      double sum = 0.0;
      double worst = 0.0;
      for (std::size_t i = 0; i < found.voxels.size(); ++i) {
        const double off = std::abs(static_cast<double>(found.voxels[i]) - original.voxels[i]);
        sum += off;
        worst = std::max(worst, off);
      }
      const double range = static_cast<double>(high) - low;
      EXPECT_GT(worst, 0.0) << image << " " << syntax;
      EXPECT_LT(sum / static_cast<double>(found.voxels.size()), 0.02 * range)
          << image << " " << syntax;
      if (syntax == "JLSN") {
        EXPECT_LT(worst, 0.01 * range) << image;
      }
    }
  }
}

// --- Files made here ---------------------------------------------------------------------------

class MadeSeries : public testing::Test {
 protected:
  MadeSeries() : folder_(testing::UnitTest::GetInstance()->current_test_info()->name()) {}

  void add(const TestSlice& slice) {
    files_.push_back(folder_.write(std::to_string(files_.size()) + ".dcm", slice.bytes()));
  }
  void add_at(std::initializer_list<double> z) {
    for (const double at : z) {
      TestSlice slice;
      slice.position = "0\\0\\" + std::to_string(at);
      for (std::uint32_t& value : slice.values) value += static_cast<std::uint32_t>(100 * at);
      add(slice);
    }
  }
  void refused(ErrorKind kind, const std::string& part, const SeriesOptions& options = {}) {
    expect_error(kind, part, [&] { load(files_, options); });
    files_.clear();
  }
  std::vector<float> values(const TestSlice& slice) {
    return load({folder_.write("one.dcm", slice.bytes())}).volume.voxels;
  }

  TestFolder folder_;
  Paths files_;
};

TEST_F(MadeSeries, PlacesSlicesByPositionNotByName) {
  add_at({4, 0, 2});
  const SeriesVolume found = load(files_);
  EXPECT_EQ(found.volume.voxels,
            (std::vector<float>{
                1, 2, 3, 4, 5, 6, 201, 202, 203, 204, 205, 206, 401, 402, 403, 404, 405, 406}));
  EXPECT_EQ(found.volume.spacing_mm, (Vector3{0.25, 0.5, 2}));  // PixelSpacing: rows first
  EXPECT_EQ(found.images, 3U);
}

TEST_F(MadeSeries, RescalesEachSliceByItsOwn) {
  TestSlice slice;
  slice.slope = "2.5";
  slice.intercept = "-1024";
  add(slice);
  slice.position = "0\\0\\3";
  slice.slope = "0.5";
  slice.intercept = "1";
  add(slice);
  const Volume volume = load(files_).volume;
  EXPECT_EQ(volume.voxels.front(), -1021.5F);  // 2.5 * 1 - 1024
  EXPECT_EQ(volume.voxels.back(), 4.0F);       // 0.5 * 6 + 1
}

TEST_F(MadeSeries, ReadsEveryDepthAndSign) {
  TestSlice slice;
  slice.values = {0, 1, 0x7FFF, 0x8000, 0xFFFF, 2};
  EXPECT_EQ(values(slice), (std::vector<float>{0, 1, 32767, 32768, 65535, 2}));
  slice.is_signed = true;
  EXPECT_EQ(values(slice), (std::vector<float>{0, 1, 32767, -32768, -1, 2}));
  // 12 bits stored, an overlay in the bits above.
  slice.stored = 12;
  slice.high = 11;
  slice.values = {0x07FF, 0xF7FF, 0x0800, 0x1FFF, 0, 1};
  EXPECT_EQ(values(slice), (std::vector<float>{2047, 2047, -2048, -1, 0, 1}));
  slice.high = 15;  // the sample in the upper bits
  slice.is_signed = false;
  slice.values = {0xFFF0, 0x0010, 0x001F, 0, 0, 0x0020};
  EXPECT_EQ(values(slice), (std::vector<float>{4095, 1, 1, 0, 0, 2}));
  slice = {};
  slice.allocated = slice.stored = 8;
  slice.high = 7;
  slice.values = {0, 255, 128, 1, 2, 3};
  EXPECT_EQ(values(slice), (std::vector<float>{0, 255, 128, 1, 2, 3}));
  slice.allocated = slice.stored = 32;
  slice.high = 31;
  slice.values = {0, 0xFFFFFFFF, 1 << 24, 1, 2, 3};
  EXPECT_EQ(values(slice), (std::vector<float>{0, 4294967295.0F, 16777216, 1, 2, 3}));
  slice.is_signed = true;
  EXPECT_EQ(values(slice), (std::vector<float>{0, -1, 16777216, 1, 2, 3}));
}

TEST_F(MadeSeries, InvertsMonochrome1ButNotHounsfieldUnits) {
  TestSlice slice;
  slice.photometric = "MONOCHROME1";
  slice.stored = 12;
  slice.high = 11;
  EXPECT_EQ(values(slice)[0], 1.0F);  // CT with a rescale: HU
  slice.modality = "MR";
  slice.slope = "2";
  EXPECT_EQ(values(slice)[0], 8188.0F);  // 2 * (4095 - 1)
  slice.is_signed = true;
  EXPECT_EQ(values(slice)[0], -4.0F);  // 2 * (-1 - 1)
}

std::string rle(const std::vector<std::string>& segments) {
  std::string head = little(segments.size(), 4);
  std::string body;
  for (const std::string& segment : segments) {
    head += little(64 + body.size(), 4);
    body += segment;
  }
  head.resize(64, '\0');
  return head + body;
}

TEST_F(MadeSeries, DecodesRunLengths) {
  TestSlice slice;
  slice.syntax = "1.2.840.10008.1.2.5";
  // High bytes 1 1 1 1 1 1 (a run of six), low bytes 1..6 (six literals).
  slice.pixels =
      encapsulated({rle({std::string("\xFB\x01", 2), std::string("\x05\1\2\3\4\5\6", 7)})});
  EXPECT_EQ(values(slice), (std::vector<float>{257, 258, 259, 260, 261, 262}));
  slice.pixels =
      encapsulated({rle({std::string("\xFB\x01", 2), std::string("\x04\1\2\3\4\5", 6)})});
  add(slice);
  refused(ErrorKind::kFormat, "RLE: segment 1 ends after 5 of 6 bytes");
  slice.pixels = encapsulated({rle({std::string("\xFB\x01", 2)})});
  add(slice);
  refused(ErrorKind::kFormat, "RLE: 1 segments, expected 2");
  slice.rows = slice.columns = 8000;
  add(slice);
  refused(ErrorKind::kFormat, "bytes, too few for 1 frames of 8000 x 8000 pixels");
}

// Literals and runs of 1 to 128 in turn, 2 * (1 + ... + 128) = 128 * 129 samples: copies of a known
// size must not reach beyond a plane, nor leave anything of theirs.
TEST_F(MadeSeries, DecodesRunsOfEveryLength) {
  TestSlice slice;
  slice.syntax = "1.2.840.10008.1.2.5";
  slice.columns = 129;
  slice.rows = 128;
  std::string low;
  std::vector<float> expected;
  for (int n = 1; n <= 128; ++n) {
    low += static_cast<char>(n - 1);
    for (int i = 0; i < n; ++i) {
      low += static_cast<char>((7 * n + i) % 251);
      expected.push_back(static_cast<float>((7 * n + i) % 251));
    }
    if (n == 1) {  // there is no run of one
      low += std::string("\0\x09", 2);
    } else {
      low += static_cast<char>(1 - n);
      low += '\x09';
    }
    expected.insert(expected.end(), static_cast<std::size_t>(n), 9.0F);
  }
  std::string high;  // 129 runs of 128 zeros
  for (int i = 0; i < 129; ++i) high += std::string("\x81\0", 2);
  slice.pixels = encapsulated({rle({high, low})});
  EXPECT_EQ(values(slice), expected);
}

TEST_F(MadeSeries, HeadersAloneTellTheGeometry) {
  add_at({4, 0, 2, 2});
  const SeriesInfo found = inspect_series(files_);
  EXPECT_EQ(found.modality, "CT");
  EXPECT_EQ(found.size, (std::array<std::int64_t, 3>{3, 2, 3}));
  EXPECT_EQ(found.spacing_mm, (Vector3{0.25, 0.5, 2}));
  EXPECT_EQ(found.orientation, "LPS");
  EXPECT_EQ(found.plane, Plane::kAxial);
  EXPECT_EQ(found.units, VoxelUnits::kHu);
  EXPECT_EQ(found.bits_stored, 16);
  EXPECT_EQ(found.transfer_syntaxes, (std::vector<std::string>{"explicit little endian"}));
  EXPECT_EQ(found.images, 4U);
  EXPECT_EQ(found.places, 3U);
  add_at({8});
  expect_error(ErrorKind::kData, "missing", [&] { inspect_series(files_); });
}

TEST_F(MadeSeries, DropsAnImageThatIsThereTwice) {
  add_at({0, 2, 2, 4});
  const SeriesVolume found = load(files_);
  EXPECT_EQ(found.duplicates, 1U);
  EXPECT_EQ(found.volume.size[2], 3);
  ASSERT_EQ(found.notes.size(), 1U);
  TestSlice other;
  other.position = "0\\0\\2";
  add(other);
  refused(ErrorKind::kData, "images with different pixels at one place (1 of 3 places");
}

TEST_F(MadeSeries, NamesGapsAndMendsThemWhereAsked) {
  add_at({0, 2, 4, 8});
  refused(ErrorKind::kData, "1 missing of 5 slices: 4 mm between slices 3 and 4, expected 2");
  add_at({0, 2, 5, 9});
  refused(ErrorKind::kData, "varying slice spacing: 2 to 4 mm");
  add_at({0, 2, 4, 8});
  SeriesOptions fill;
  fill.gaps = GapHandling::kInterpolate;
  const SeriesVolume found = load(files_, fill);
  EXPECT_EQ(found.volume.size[2], 5);
  EXPECT_EQ(found.volume.at(0, 0, 3), 601.0F);  // half-way between 401 and 801
  EXPECT_EQ(found.interpolated, 1U);
  files_.clear();
  // Steps of 2, 3 and 5 mm: the median is 3, the grid 0, 3.33, 6.67, 10.
  add_at({0, 2, 5, 10});
  const Volume even = load(files_, fill).volume;
  EXPECT_EQ(even.size[2], 4);
  EXPECT_NEAR(even.at(0, 0, 1), 1 + 100 * 10.0 / 3.0, 1e-3);  // values are linear in z
  files_.clear();
  add_at({0, 1, 2, 1000});
  refused(ErrorKind::kData, "would have to be made of 4", fill);
  add_at({0, 0.6, 1.3, 1.9, 2.5});  // 0.625 mm rounded to tenths
  EXPECT_EQ(load(files_).volume.size[2], 5);
}

// Rows run down by 0.5 mm; each slice is 1 mm further back: one voxel a slice at 4 mm steps, a tilt
// of atan(0.5 / 4).
TEST_F(MadeSeries, StraightensAGantryTilt) {
  for (int k = 0; k < 3; ++k) {
    TestSlice slice;
    slice.position = "0\\" + std::to_string(0.5 * k) + "\\" + std::to_string(4 * k);
    add(slice);
  }
  const SeriesVolume found = load(files_);
  EXPECT_NEAR(found.tilt_degrees, std::atan(0.125) * 180 / 3.14159265358979, 1e-6);
  EXPECT_EQ(found.volume.size, (std::array<std::int64_t, 3>{3, 4, 3}));
  // Slice k lies k rows lower; what was never seen holds the lowest value, 1.
  EXPECT_EQ(found.volume.voxels, (std::vector<float>{1, 2, 3, 4, 5, 6, 1, 1, 1, 1, 1, 1,  //
                                                     1, 1, 1, 1, 2, 3, 4, 5, 6, 1, 1, 1,  //
                                                     1, 1, 1, 1, 1, 1, 1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(found.volume.patient_from_voxel.column(2), (Vector3{0, 0, 4}));
  SeriesOptions keep;
  keep.tilt = TiltHandling::kKeep;
  const SeriesVolume kept = load(files_, keep);
  EXPECT_EQ(kept.volume.size[1], 2);
  EXPECT_EQ(kept.volume.patient_from_voxel.column(2), (Vector3{0, 0.5, 4}));
  SeriesOptions no;
  no.tilt = TiltHandling::kRefuse;
  refused(ErrorKind::kData, "gantry tilt of 7.13 degrees", no);
}

TEST_F(MadeSeries, NamesWhatDoesNotBelongTogether) {
  TestSlice slice;
  const auto two = [&](auto change) {
    add(slice);
    TestSlice other = slice;
    other.position = "0\\0\\2";
    change(other);
    add(other);
  };
  two([](TestSlice& s) { s.orientation = "0\\1\\0\\0\\0\\-1"; });
  refused(ErrorKind::kData,
          "orientation: axial (normal 0.000 0.000 1.000) in 1 of 2 images and sagittal");
  two([](TestSlice& s) {
    s.columns = 2;
    s.values.resize(4);
  });
  refused(ErrorKind::kData, "size: 3 x 2 in 1 of 2 images and 2 x 2 in image 2");
  two([](TestSlice& s) { s.spacing = "0.5\\0.3"; });
  refused(ErrorKind::kData, "pixel spacing: 0.25 x 0.5 mm in 1 of 2");
  two([](TestSlice& s) { s.series = "1.2.4"; });
  refused(ErrorKind::kData, "file 2 of 2: of another series");
  two([](TestSlice& s) { s.modality = "MR"; });
  refused(ErrorKind::kData, "file 2 of 2: of another modality");
  two([](TestSlice& s) { s.slope.clear(); });
  refused(ErrorKind::kData, "Hounsfield units in 1 of 2 images");
  two([](TestSlice& s) { s.position = "50\\0\\0"; });
  refused(ErrorKind::kData, "images side by side in one plane, 50 mm apart");
  two([](TestSlice& s) { s.position = "50\\0\\2"; });
  refused(ErrorKind::kData, "87.7 degrees off their normal");
  two([](TestSlice& s) { s.position.clear(); });
  refused(ErrorKind::kData, "file 2 of 2: no ImagePositionPatient");
  two([](TestSlice& s) { s.orientation = "1\\0\\0\\1\\0\\0"; });
  refused(ErrorKind::kData, "file 2 of 2: rows and columns with a cosine of 1");
  two([](TestSlice& s) { s.orientation = "1\\0\\0\\0\\nan\\0"; });
  refused(ErrorKind::kData, "no ImageOrientationPatient of six numbers");
  two([](TestSlice& s) { s.orientation = "2\\0\\0\\0\\1\\0"; });
  refused(ErrorKind::kData, "a direction of length 2");
  two([](TestSlice& s) { s.spacing = "0\\1"; });
  refused(ErrorKind::kData, "no PixelSpacing");
  add_at({0, 2, 4});
  slice.position = "0.4\\0\\6";  // 1.6 voxels
  add(slice);
  refused(ErrorKind::kData, "do not lie on one line");
  expect_error(ErrorKind::kUsage, "no files", [] { load({}); });
}

TEST_F(MadeSeries, NamesPixelsItCannotUse) {
  const auto one = [&](auto change) {
    TestSlice slice;
    change(slice);
    add(slice);
  };
  one([](TestSlice& s) { s.samples = 3; });
  refused(ErrorKind::kUnsupported, "3 samples a pixel");
  one([](TestSlice& s) { s.photometric = "PALETTE COLOR"; });
  refused(ErrorKind::kUnsupported, "palette");
  one([](TestSlice& s) {
    s.allocated = 1, s.stored = 1, s.high = 0, s.pixels = element(0x7FE00010, "OB", "ab");
  });
  refused(ErrorKind::kUnsupported, "1 bits a pixel");
  one([](TestSlice& s) { s.stored = 17; });
  refused(ErrorKind::kFormat, "BitsStored 17, expected a whole number from 1 to 16");
  one([](TestSlice& s) { s.high = 3; });
  refused(ErrorKind::kFormat, "HighBit 3");
  one([](TestSlice& s) { s.slope = "0"; });
  refused(ErrorKind::kFormat, "RescaleSlope");
  one([](TestSlice& s) { s.values.pop_back(); });
  refused(ErrorKind::kFormat, "file 1 of 1: 10 bytes of pixels, expected 12");
  TestSlice padded;
  padded.values.insert(padded.values.end(), 5, 0);
  EXPECT_EQ(values(padded).size(), 6U);
  one([](TestSlice& s) { s.values.push_back(7); });
  refused(ErrorKind::kFormat, "14 bytes of pixels, expected 12");
  one([](TestSlice& s) {
    s.extra = element(0x00283000, "SQ", dicom_item(element(0x00283002, "US", "")));
  });
  refused(ErrorKind::kUnsupported, "modality LUT");
  one([](TestSlice& s) { s.syntax = "1.2.840.10008.1.2.4.201"; });
  refused(ErrorKind::kUnsupported, "High-Throughput JPEG 2000 lossless");
  one([](TestSlice& s) { s.syntax = "1.2.3.4"; });
  refused(ErrorKind::kUnsupported, "transfer syntax: a UID that is not of the standard");
  one([](TestSlice& s) { s.rows = s.columns = 65535; });
  refused(ErrorKind::kFormat, "more than the limit of");
  for (const char* syntax : {"1.2.840.10008.1.2.4.50",
                             "1.2.840.10008.1.2.4.70",
                             "1.2.840.10008.1.2.4.80",
                             "1.2.840.10008.1.2.4.90"}) {
    one([&](TestSlice& s) {
      s.syntax = syntax;
      s.pixels = encapsulated({"junk junk junk"});
    });
    refused(ErrorKind::kFormat, "file 1 of 1: JPEG");
  }
  files_.push_back(folder_.write("text.dcm", "hello"));
  refused(ErrorKind::kFormat, "no DICM at byte 128");
  files_.push_back(folder_.path() / "none.dcm");
  refused(ErrorKind::kNotFound, "file 1 of 1: cannot be opened");
  files_.push_back(folder_.path());
  refused(ErrorKind::kFormat, "not a regular file");
}

TEST_F(MadeSeries, ReadsADeflatedFile) {
  TestSlice slice;
  slice.syntax = "1.2.840.10008.1.2.1.99";
  const std::string plain = slice.bytes();
  const std::size_t meta = 132 + element(0x00020010, "UI", slice.syntax).size();
  const std::string packed = zlib_compress(plain.substr(meta));
  const auto path =
      folder_.write("d.dcm", plain.substr(0, meta) + packed.substr(2, packed.size() - 6));
  EXPECT_EQ(load({path}).volume.voxels, (std::vector<float>{1, 2, 3, 4, 5, 6}));
}

TEST_F(MadeSeries, FindsTheSeriesOfAFolder) {
  TestSlice slice;
  slice.series = "9.9";
  folder_.write("b/1", slice.bytes());
  folder_.write("b/2", slice.bytes());
  slice.series = "1.1";
  folder_.write("c/1", slice.bytes());
  folder_.write("c/note.txt", "hello");
  folder_.write("a/1", slice.bytes());
  const FolderSeries found = find_series(folder_.path(), 2);
  ASSERT_EQ(found.series.size(), 2U);
  EXPECT_EQ(found.series[0].series_uid, "1.1");  // its first file is a/1
  EXPECT_EQ(found.series[0].files.size(), 2U);
  EXPECT_EQ(found.series[1].files.size(), 2U);
  EXPECT_EQ(found.other_files, 1U);
  expect_error(ErrorKind::kNotFound, "no folder", [&] { find_series(folder_.path() / "x"); });
}

// Frames by their functional groups: positions and rescale of each, the rest shared.
TestSlice enhanced(const std::vector<std::string>& positions) {
  TestSlice out;
  out.position.clear();
  out.orientation.clear();
  out.spacing.clear();
  out.slope.clear();
  const std::string shared =
      element(0x00209116, "SQ", dicom_item(element(0x00200037, "DS", "1\\0\\0\\0\\1\\0"))) +
      element(0x00289110, "SQ", dicom_item(element(0x00280030, "DS", "0.5\\0.25")));
  std::string frames;
  out.values.clear();
  for (std::size_t i = 0; i < positions.size(); ++i) {
    frames +=
        dicom_item(element(0x00209113, "SQ", dicom_item(element(0x00200032, "DS", positions[i]))) +
                   element(0x00289145,
                           "SQ",
                           dicom_item(element(0x00281052, "DS", std::to_string(i)) +
                                      element(0x00281053, "DS", "10"))));
    for (std::uint32_t v = 1; v <= 6; ++v) out.values.push_back(v);
  }
  out.extra = element(0x00280008, "IS", std::to_string(positions.size())) +
              element(0x52009229, "SQ", dicom_item(shared)) + element(0x52009230, "SQ", frames);
  return out;
}

TEST_F(MadeSeries, ReadsTheFramesOfAnEnhancedFileByTheirGroups) {
  add(enhanced({"0\\0\\4", "0\\0\\0", "0\\0\\2"}));
  const SeriesVolume found = load(files_);
  EXPECT_EQ(found.volume.size, (std::array<std::int64_t, 3>{3, 2, 3}));
  EXPECT_EQ(found.volume.spacing_mm, (Vector3{0.25, 0.5, 2}));
  EXPECT_EQ(found.volume.at(0, 0, 0), 11.0F);  // the second frame: 10 * 1 + 1
  EXPECT_EQ(found.volume.at(0, 0, 2), 10.0F);  // the first: 10 * 1 + 0
  EXPECT_EQ(found.volume.units, VoxelUnits::kHu);
  files_.clear();
  add(enhanced({"0\\0\\0", "0\\0\\2", "0\\0\\0", "0\\0\\2"}));
  refused(ErrorKind::kData, "different pixels at one place (2 of 2 places");
  TestSlice lies = enhanced({"0\\0\\0", "0\\0\\2"});
  lies.extra.replace(8, 2, "3 ");  // NumberOfFrames
  add(lies);
  refused(ErrorKind::kFormat, "2 groups of frames, expected 3");
  TestSlice bare;
  bare.extra = element(0x00280008, "IS", "2");
  bare.values.resize(12);
  add(bare);
  refused(ErrorKind::kData, "2 frames without groups of their own");
}

// Every text element holds a canary; whatever goes wrong, no message repeats it.
TEST_F(MadeSeries, NoMessageHoldsWhatTheHeaderSays) {
  TestSlice slice;
  slice.extra_low = element(0x00080080, "LO", "CANARY") + element(0x00081030, "LO", "CANARY") +
                    element(0x00100010, "PN", "CANARY^CANARY") +
                    element(0x00100020, "LO", "CANARY") + element(0x00100030, "DA", "CANARY");
  slice.series = "CANARY";
  const auto look = [&](const std::string& bytes) {
    const auto path = folder_.write("CANARY.dcm", bytes);
    const auto other = folder_.write("b.dcm", TestSlice{}.bytes());
    for (const Paths& files : {Paths{path}, Paths{path, other}, Paths{path, path}}) {
      try {
        for (const std::string& note : load(files).notes) EXPECT_EQ(note.find("CANARY"), note.npos);
      } catch (const std::exception& error) {
        EXPECT_EQ(std::string(error.what()).find("CANARY"), std::string::npos) << error.what();
      }
    }
  };
  for (std::string* field : {&slice.position,
                             &slice.orientation,
                             &slice.spacing,
                             &slice.thickness,
                             &slice.modality,
                             &slice.photometric,
                             &slice.slope,
                             &slice.intercept,
                             &slice.series,
                             &slice.syntax}) {
    const std::string good = *field;
    *field = "CANARY";
    look(slice.bytes());
    *field = good;
  }
  const std::string whole = slice.bytes();
  for (std::size_t cut = 0; cut < whole.size(); cut += 5) look(whole.substr(0, cut));
}

TEST_F(MadeSeries, AnyCutIsAnErrorAndAnyFlippedBitANamedOutcome) {
  TestSlice raw;
  TestSlice runs;
  runs.syntax = "1.2.840.10008.1.2.5";
  runs.pixels =
      encapsulated({rle({std::string("\xFB\x01", 2), std::string("\x05\1\2\3\4\5\6", 7)})});
  const TestSlice frames = enhanced({"0\\0\\0", "0\\0\\2"});
  for (const std::string& whole : {raw.bytes(), runs.bytes(), frames.bytes()}) {
    for (std::size_t cut = 0; cut < whole.size(); ++cut) {
      const auto path = folder_.write("cut.dcm", whole.substr(0, cut));
      EXPECT_THROW(load({path}), Error) << cut;
    }
    for (std::size_t bit = 128 * 8; bit < whole.size() * 8; bit += 3) {
      std::string flipped = whole;
      flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
      try {
        const SeriesVolume found = load({folder_.write("flip.dcm", flipped)});
        found.volume.validate();
      } catch (const Error&) {
      }
    }
  }
}

// Streams of the real codecs, cut and damaged: DCMTK and OpenJPEG see no header that we did not
// check.
TEST_F(MadeSeries, DamagedStreamsOfRealFilesAreContained) {
  MED3D_NEEDS_DATA(test_data(nema("MR4_JPLL")));
  std::uint64_t state = 7;
  const auto next = [&] { return state = state * 6364136223846793005ULL + 1442695040888963407ULL; };
  for (const std::string name : {"MR4_JPLL", "MR4_JLSL", "MR4_JPLY", "MR4_RLE", "CT2_J2KI"}) {
    const std::string whole = read_file(test_data(nema(name)), 1 << 24);
    for (int i = 1; i < 12; ++i) {
      const auto path =
          folder_.write("cut", whole.substr(0, whole.size() * static_cast<std::size_t>(i) / 12));
      EXPECT_THROW(load({path}), Error) << name << i;
    }
    for (int i = 0; i < 12; ++i) {
      std::string flipped = whole;
      const std::size_t bit = (next() >> 20) % (whole.size() * 8);
      flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
      try {
        load({folder_.write("flip", flipped)}).volume.validate();
      } catch (const Error&) {
      }
    }
  }
}

}  // namespace
}  // namespace med3d
