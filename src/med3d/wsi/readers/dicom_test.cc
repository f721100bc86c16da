// Slides written by DCMTK here, and real files compared with pydicom.
#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dcpixseq.h>
#include <dcmtk/dcmdata/dcpxitem.h>
#include <dcmtk/dcmdata/dcrledrg.h>
#include <dcmtk/dcmdata/dcrleerg.h>
#include <dcmtk/dcmdata/dctk.h>
#include <dcmtk/dcmjpls/djencode.h>
#include <dcmtk/dcmjpls/djrparam.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "med3d/core/file.h"
#include "med3d/core/hash.h"
#include "med3d/core/random.h"
#include "med3d/io/formats/jpeg.h"
#include "med3d/io/test_support.inc"
#include "med3d/wsi/slide.h"

namespace med3d {
namespace {

namespace fs = std::filesystem;
using testing_io::expect_error;
using testing_io::from_hex;
using testing_io::message_of;
using testing_io::TemporaryFolder;

constexpr const char* kCanary = "CANARY";

enum class Stored { kNative, kJpeg, kRle, kJpegLs };

struct Spec {
  int width = 50;
  int height = 30;
  int tile = 16;
  Stored stored = Stored::kNative;
  bool offset_table = true;
  bool grey = false;
  std::string kind = "VOLUME";
  std::string series = "1.2.3";
  std::string instance = "1.2.3.1";
  std::vector<std::pair<int, int>> places = {};  // 1-based (column, row): TILED_SPARSE
  std::string concatenation = {};
  int first = 0;   // frame of the concatenation
  int count = -1;  // frames in this file, -1 = all
  std::function<void(DcmDataset&)> change = {};
};

std::uint8_t pixel(std::int64_t x, std::int64_t y, int c) {
  return static_cast<std::uint8_t>(x + y * 2 +
                                   c * 40);  // up to 205 with the filling of the last tiles
}

std::pair<int, int> corner(const Spec& spec, int frame) {
  if (!spec.places.empty()) {
    const auto [column, row] = spec.places[static_cast<std::size_t>(frame)];
    return {column - 1, row - 1};
  }
  const int across = (spec.width + spec.tile - 1) / spec.tile;
  return {frame % across * spec.tile, frame / across * spec.tile};
}

std::vector<std::uint8_t> frame_pixels(const Spec& spec, int frame) {
  const auto [x0, y0] = corner(spec, frame);
  std::vector<std::uint8_t> out;
  for (int y = 0; y < spec.tile; ++y) {
    for (int x = 0; x < spec.tile; ++x) {
      for (int c = 0; c < (spec.grey ? 1 : 3); ++c) out.push_back(pixel(x0 + x, y0 + y, c));
    }
  }
  return out;
}

int frames_of(const Spec& spec) {
  if (!spec.places.empty()) return static_cast<int>(spec.places.size());
  const int across = (spec.width + spec.tile - 1) / spec.tile;
  const int down = (spec.height + spec.tile - 1) / spec.tile;
  return spec.count >= 0 ? spec.count : across * down;
}

// Frames as they are given, encapsulated.
void put_frames(DcmDataset& data,
                const std::vector<std::string>& frames,
                E_TransferSyntax syntax,
                bool offset_table) {
  auto* sequence = new DcmPixelSequence(DCM_PixelSequenceTag);
  auto* table = new DcmPixelItem(DcmTag(DCM_Item, EVR_OB));
  sequence->insert(table);
  DcmOffsetList offsets;
  for (std::string frame : frames) {
    if (frame.size() % 2 != 0) frame.push_back('\0');
    sequence->storeCompressedFrame(
        offsets, reinterpret_cast<Uint8*>(frame.data()), static_cast<Uint32>(frame.size()), 0);
  }
  if (offset_table) table->createOffsetTable(offsets);
  auto* pixels = new DcmPixelData(DCM_PixelData);
  pixels->putOriginalRepresentation(syntax, nullptr, sequence);
  data.insert(pixels, true);
}

void plant_canaries(DcmDataset& data) {
  data.putAndInsertString(DCM_PatientName, "CANARY^PERSON");
  data.putAndInsertString(DCM_PatientID, "CANARY-4711");
  data.putAndInsertString(DCM_PatientBirthDate, "19450312");
  data.putAndInsertString(DCM_StudyDate, "19450312");
  data.putAndInsertString(DCM_StudyInstanceUID, "1.2.4711.4711");
  data.putAndInsertString(DCM_AccessionNumber, "CANARY");
  data.putAndInsertString(DCM_InstitutionName, "CANARY");
  data.putAndInsertString(DCM_Manufacturer, "CANARY");
  data.putAndInsertString(DCM_ManufacturerModelName, "CANARY");
  data.putAndInsertString(DCM_SoftwareVersions, "CANARY");
  data.putAndInsertString(DCM_DeviceSerialNumber, "CANARY");
  data.putAndInsertString(DCM_ImageComments, "CANARY");
  data.putAndInsertString(DCM_ContainerIdentifier, "CANARY");
  data.putAndInsertString(DCM_BarcodeValue, "CANARY");
  data.putAndInsertString(DCM_LabelText, "CANARY");
  data.putAndInsertString(DCM_ReferringPhysicianName, "CANARY");
  data.putAndInsertString(DCM_OperatorsName, "CANARY");
  data.putAndInsertString(DCM_FocusMethod, "CANARY");
  data.putAndInsertString(DCM_BurnedInAnnotation, "CANARY");
  data.putAndInsertString(DCM_LossyImageCompressionMethod, "CANARY");
}

void write(const Spec& spec, const fs::path& path) {
  static const bool registered = [] {
    OFLog::configure(OFLogger::OFF_LOG_LEVEL);
    DcmRLEEncoderRegistration::registerCodecs();
    DJLSEncoderRegistration::registerCodecs(0, 0, 0, 0, OFFalse);  // the samples as they are
    return true;
  }();
  ASSERT_TRUE(registered);
  DcmFileFormat file;
  DcmDataset& data = *file.getDataset();
  plant_canaries(data);
  const int frames = frames_of(spec);
  data.putAndInsertString(DCM_SOPClassUID, UID_VLWholeSlideMicroscopyImageStorage);
  data.putAndInsertString(DCM_SOPInstanceUID, spec.instance.c_str());
  data.putAndInsertString(DCM_SeriesInstanceUID, spec.series.c_str());
  const std::string kind = "ORIGINAL\\PRIMARY\\" + spec.kind + "\\CANARY";
  data.putAndInsertString(DCM_ImageType, kind.c_str());
  data.putAndInsertUint16(DCM_SamplesPerPixel, spec.grey ? 1 : 3);
  data.putAndInsertString(DCM_PhotometricInterpretation, spec.grey ? "MONOCHROME2" : "RGB");
  if (!spec.grey) data.putAndInsertUint16(DCM_PlanarConfiguration, 0);
  data.putAndInsertString(DCM_NumberOfFrames, std::to_string(frames).c_str());
  data.putAndInsertUint16(DCM_Rows, static_cast<Uint16>(spec.tile));
  data.putAndInsertUint16(DCM_Columns, static_cast<Uint16>(spec.tile));
  data.putAndInsertUint16(DCM_BitsAllocated, 8);
  data.putAndInsertUint16(DCM_BitsStored, 8);
  data.putAndInsertUint16(DCM_HighBit, 7);
  data.putAndInsertUint16(DCM_PixelRepresentation, 0);
  data.putAndInsertUint32(DCM_TotalPixelMatrixColumns, static_cast<Uint32>(spec.width));
  data.putAndInsertUint32(DCM_TotalPixelMatrixRows, static_cast<Uint32>(spec.height));
  data.putAndInsertString(DCM_DimensionOrganizationType,
                          spec.places.empty() ? "TILED_FULL" : "TILED_SPARSE");
  DcmItem* item = nullptr;
  data.findOrCreateSequenceItem(DCM_OpticalPathSequence, item, -2);
  item->putAndInsertString(DCM_ObjectiveLensPower, "40");
  data.findOrCreateSequenceItem(DCM_SharedFunctionalGroupsSequence, item, -2);
  DcmItem* measures = nullptr;
  item->findOrCreateSequenceItem(DCM_PixelMeasuresSequence, measures, -2);
  measures->putAndInsertString(DCM_PixelSpacing, "0.00025\\0.000252");  // rows, columns
  if (!spec.concatenation.empty()) {
    data.putAndInsertString(DCM_ConcatenationUID, spec.concatenation.c_str());
    data.putAndInsertUint32(DCM_ConcatenationFrameOffsetNumber, static_cast<Uint32>(spec.first));
  }
  for (const auto& [column, row] : spec.places) {
    data.findOrCreateSequenceItem(DCM_PerFrameFunctionalGroupsSequence, item, -2);
    DcmItem* place = nullptr;
    item->findOrCreateSequenceItem(DCM_PlanePositionSlideSequence, place, -2);
    place->putAndInsertSint32(DCM_ColumnPositionInTotalImagePixelMatrix, column);
    place->putAndInsertSint32(DCM_RowPositionInTotalImagePixelMatrix, row);
  }

  std::vector<std::uint8_t> native;
  std::vector<std::string> jpegs;
  for (int i = 0; i < frames; ++i) {
    const std::vector<std::uint8_t> one = frame_pixels(spec, spec.first + i);
    native.insert(native.end(), one.begin(), one.end());
    if (spec.stored == Stored::kJpeg) {
      jpegs.push_back(spec.grey ? encode_jpeg_gray(one, spec.tile, spec.tile, 95)
                                : encode_jpeg(one, spec.tile, spec.tile, 95));
    }
  }
  E_TransferSyntax syntax = EXS_LittleEndianExplicit;
  if (spec.stored == Stored::kJpeg) {
    syntax = EXS_JPEGProcess1;
    put_frames(data, jpegs, syntax, spec.offset_table);
  } else {
    data.putAndInsertUint8Array(DCM_PixelData, native.data(), native.size());
  }
  if (spec.change) spec.change(data);
  if (spec.stored == Stored::kRle || spec.stored == Stored::kJpegLs) {
    syntax = spec.stored == Stored::kRle ? EXS_RLELossless : EXS_JPEGLSLossless;
    const DJLSRepresentationParameter lossless(0, OFTrue);
    const bool rle = spec.stored == Stored::kRle;
    const OFCondition status = data.chooseRepresentation(syntax, rle ? nullptr : &lossless);
    ASSERT_TRUE(status.good()) << status.text();
  }
  ASSERT_TRUE(file.saveFile(path.c_str(), syntax).good());
}

std::string bytes_of(const Spec& spec) {
  const TemporaryFolder folder;
  write(spec, folder / "a.dcm");
  return read_file(folder / "a.dcm", 1 << 24);
}

// Every pixel of a region against the formula, `off` grey levels apart at most (for JPEG).
void expect_formula(Slide& slide, std::int64_t x, std::int64_t y, int width, int height, int off) {
  const SlideLevel& level = slide.info().levels[0];
  const RgbImage image = slide.read_region(x, y, 0, width, height);
  for (std::int64_t row = 0; row < height; ++row) {
    for (std::int64_t column = 0; column < width; ++column) {
      const std::int64_t at_x = x + column;
      const std::int64_t at_y = y + row;
      const bool inside = at_x >= 0 && at_y >= 0 && at_x < level.width && at_y < level.height;
      for (int c = 0; c < 3; ++c) {
        const int expected = inside ? pixel(at_x, at_y, c) : 0;
        ASSERT_NEAR(image.at(column, row)[c], expected, off) << at_x << ", " << at_y;
      }
    }
  }
}

std::string hash(const RgbImage& image) {
  return sha256_hex({reinterpret_cast<const char*>(image.pixels.data()), image.pixels.size()});
}

TEST(DicomSlide, ReadsNativeRleAndJpegLsFramesExactly) {
  for (const Stored stored : {Stored::kNative, Stored::kRle, Stored::kJpegLs}) {
    const TemporaryFolder folder;
    write({.stored = stored}, folder / "a.dcm");
    const auto slide = open_slide(folder / "a.dcm");
    const SlideInfo& info = slide->info();
    EXPECT_EQ(info.format, "dicom");
    ASSERT_EQ(info.levels.size(), 1U);
    EXPECT_EQ(info.levels[0].width, 50);
    EXPECT_EQ(info.levels[0].height, 30);
    EXPECT_EQ(info.levels[0].tile_width, 16);
    EXPECT_DOUBLE_EQ(info.mpp_x.value(), 0.252);
    EXPECT_DOUBLE_EQ(info.mpp_y.value(), 0.25);
    EXPECT_EQ(info.mpp_source, "dicom.PixelSpacing");
    EXPECT_DOUBLE_EQ(info.objective_power.value(), 40.0);
    expect_formula(*slide, 0, 0, 50, 30, 0);
    expect_formula(*slide, -5, 13, 40, 30, 0);
    EXPECT_EQ(slide->read_region(INT64_MIN, INT64_MAX, 0, 4, 4), RgbImage(4, 4));
  }
}

TEST(DicomSlide, ReadsJpegFramesWithAndWithoutAnOffsetTable) {
  const TemporaryFolder folder;
  write({.stored = Stored::kJpeg}, folder / "a.dcm");
  write({.stored = Stored::kJpeg, .offset_table = false, .series = "1.2.4"}, folder / "b.dcm");
  const auto with = open_slide(folder / "a.dcm");
  const auto without = open_slide(folder / "b.dcm");
  // JFIF frames in a file that says RGB. Chroma is halved at the tiles' edges, hence the tolerance.
  expect_formula(*with, 0, 0, 48, 30, 12);
  EXPECT_EQ(with->read_region(3, 4, 0, 40, 20), without->read_region(3, 4, 0, 40, 20));
}

TEST(DicomSlide, FindsFramesByTheExtendedOffsetTable) {
  const TemporaryFolder folder;
  Spec spec{.stored = Stored::kJpeg, .offset_table = false};
  write(spec, folder / "walked.dcm");
  spec.series = "1.2.5";
  spec.change = [&](DcmDataset& data) {
    std::vector<Uint64> offsets;
    std::vector<Uint64> lengths;
    Uint64 at = 0;
    for (int i = 0; i < frames_of(spec); ++i) {
      std::size_t size = encode_jpeg(frame_pixels(spec, i), spec.tile, spec.tile, 95).size();
      offsets.push_back(at);
      lengths.push_back(size);
      size += size % 2;
      at += size + 8;
    }
    const auto put = [&](const DcmTagKey& key, std::vector<Uint64>& values) {
      auto* element = new DcmOther64bitVeryLong(DcmTag(key, EVR_OV));
      element->putUint8Array(reinterpret_cast<Uint8*>(values.data()), values.size() * 8);
      data.insert(element, true);
    };
    put(DCM_ExtendedOffsetTable, offsets);
    put(DCM_ExtendedOffsetTableLengths, lengths);
  };
  write(spec, folder / "table.dcm");
  EXPECT_EQ(open_slide(folder / "table.dcm")->read_region(0, 0, 0, 50, 30),
            open_slide(folder / "walked.dcm")->read_region(0, 0, 0, 50, 30));
}

TEST(DicomSlide, ReadsGreyAndYbrAndPlanarFrames) {
  const TemporaryFolder folder;
  write({.grey = true}, folder / "grey.dcm");
  const RgbImage grey = open_slide(folder / "grey.dcm")->read_region(20, 10, 0, 2, 2);
  for (int c = 0; c < 3; ++c) EXPECT_EQ(grey.at(1, 1)[c], pixel(21, 11, 0));

  // MONOCHROME1: 0 is white.
  write({.grey = true,
         .series = "1.2.6",
         .change =
             [](DcmDataset& d) {
               d.putAndInsertString(DCM_PhotometricInterpretation, "MONOCHROME1");
             }},
        folder / "inverse.dcm");
  EXPECT_EQ(open_slide(folder / "inverse.dcm")->read_region(20, 10, 0, 1, 1).pixels[0],
            255 - pixel(20, 10, 0));

  // At (0, 0) the samples are 0, 40, 80: R = 0 + 1.402 (80 - 128) < 0, G = -0.344136 (40 - 128) -
  // 0.714136 (80 - 128) = 30.28 + 34.28 = 64.56, B = 1.772 (40 - 128) < 0.
  write(
      {.series = "1.2.7",
       .change =
           [](DcmDataset& d) { d.putAndInsertString(DCM_PhotometricInterpretation, "YBR_FULL"); }},
      folder / "ybr.dcm");
  const RgbImage ybr = open_slide(folder / "ybr.dcm")->read_region(0, 0, 0, 1, 1);
  EXPECT_EQ(ybr.pixels, (std::vector<std::uint8_t>{0, 65, 0}));

  // Planes of 256 bytes: the first pixel is made of bytes 0, 256 and 512 of the frame, and byte 256
  // is sample 1 of pixel 85, (5, 5), byte 512 is sample 2 of pixel 170, (10, 10).
  write({.series = "1.2.8",
         .change = [](DcmDataset& d) { d.putAndInsertUint16(DCM_PlanarConfiguration, 1); }},
        folder / "planar.dcm");
  const RgbImage planar = open_slide(folder / "planar.dcm")->read_region(0, 0, 0, 1, 1);
  EXPECT_EQ(planar.pixels,
            (std::vector<std::uint8_t>{pixel(0, 0, 0), pixel(5, 5, 1), pixel(10, 10, 2)}));
}

// 4 x 4 pixels by Pillow's lossless JPEG 2000: (40 x + 9 y + 60 c) mod 256.
TEST(DicomSlide, ReadsJpeg2000Frames) {
  const std::string stream = from_hex(
      "ff4fff51002f00000000000400000004000000000000000000000004000000040000000000000000000307010107"
      "0101070101ff52000c00000001000204040001ff5c000a4040484850484850ff6400250001437265617465642062"
      "79204f70656e4a5045472076657273696f6e20322e352e30ff90000a0000000000700001ff93cfb408071fc1f202"
      "083fc7d404043fc7da0507ce08031f02bfc7da0507ce08031f02bfc7da0507ce061f681804730706ff7fc3ea0481"
      "f203000cff613f0b3d7fc3ea0481f203000cff613f0b3d7fcfc0121f50247e00601090f7230db0db2f0d8d7fffd"
      "9");
  const TemporaryFolder folder;
  // The JPEG path of the writer, with other bytes under the syntax that is put into the file after.
  Spec spec{.width = 4, .height = 4, .tile = 4, .stored = Stored::kJpeg};
  spec.change = [&](DcmDataset& data) { put_frames(data, {stream}, EXS_JPEGProcess1, true); };
  std::string bytes = bytes_of(spec);
  const std::string from = "1.2.840.10008.1.2.4.50";
  bytes.replace(bytes.find(from), from.size(), "1.2.840.10008.1.2.4.90");
  testing_io::write_bytes(folder / "a.dcm", bytes);
  const RgbImage image = open_slide(folder / "a.dcm")->read_region(0, 0, 0, 4, 4);
  for (int i = 0; i < 48; ++i) {
    EXPECT_EQ(image.pixels[static_cast<std::size_t>(i)],
              (i / 3 % 4 * 40 + i / 12 * 9 + i % 3 * 60) % 256);
  }
}

TEST(DicomSlide, PlacesSparseTilesAndLeavesTheRestBlack) {
  const TemporaryFolder folder;
  // The second tile lies across four cells of the grid, the third hangs over the edge.
  write({.places = {{1, 1}, {22, 10}, {45, 25}}}, folder / "a.dcm");
  const auto slide = open_slide(folder / "a.dcm");
  const RgbImage image = slide->read_region(0, 0, 0, 50, 30);
  for (std::int64_t y = 0; y < 30; ++y) {
    for (std::int64_t x = 0; x < 50; ++x) {
      const bool covered =
          (x < 16 && y < 16) || (x >= 21 && x < 37 && y >= 9 && y < 25) || (x >= 44 && y >= 24);
      ASSERT_EQ(image.at(x, y)[2], covered ? pixel(x, y, 2) : 0) << x << ", " << y;
    }
  }
  expect_formula(*slide, 33, 17, 3, 3, 0);  // within the second tile, not in its first cell

  write({.series = "1.9", .places = {{1, 1}, {17, 1}, {1, 1}}}, folder / "twice.dcm");
  expect_error(ErrorKind::kUnsupported, "frame 3 lies where another does", [&] {
    open_slide(folder / "twice.dcm");
  });
  write({.series = "1.8", .places = {{1, 1}, {51, 1}}}, folder / "out.dcm");
  expect_error(ErrorKind::kFormat, "frame 2 lies outside", [&] { open_slide(folder / "out.dcm"); });
}

// One series: a level in two files, a level in one, a label, an overview; and other files beside.
void write_series(const TemporaryFolder& folder) {
  write({.instance = "1.1", .concatenation = "7.7", .first = 0, .count = 5}, folder / "z0.dcm");
  write({.instance = "1.2", .concatenation = "7.7", .first = 5, .count = 3}, folder / "a1.dcm");
  write({.width = 25, .height = 15, .instance = "1.3"}, folder / "b.dcm");
  write({.width = 20, .height = 10, .kind = "LABEL", .instance = "1.4"}, folder / "c.dcm");
  write({.width = 30, .height = 10, .kind = "OVERVIEW", .instance = "1.5"}, folder / "d.dcm");
  testing_io::write_bytes(folder / "notes.txt", "not DICOM");
}

TEST(DicomSlide, JoinsTheFilesOfASeries) {
  const TemporaryFolder folder;
  write_series(folder);
  for (const char* name : {"", "z0.dcm", "a1.dcm", "b.dcm", "c.dcm"}) {
    const auto slide = open_slide(folder / name);
    const SlideInfo& info = slide->info();
    ASSERT_EQ(info.levels.size(), 2U) << name;
    EXPECT_EQ(info.levels[1].width, 25);
    EXPECT_DOUBLE_EQ(info.levels[1].downsample, 2.0);
    EXPECT_EQ(info.associated, (std::vector<std::string>{"label", "macro"}));
    expect_formula(*slide, 0, 0, 50, 30, 0);
    const RgbImage half = slide->read_region(20, 10, 1, 2, 2);
    EXPECT_EQ(half.at(1, 1)[0], pixel(11, 6, 0));
    const RgbImage label = slide->associated_image("label");
    EXPECT_EQ(label.width, 20);
    EXPECT_EQ(label.at(19, 9)[1], pixel(19, 9, 1));
  }
  const auto slide = open_slide(folder / "z0.dcm");
  expect_error(ErrorKind::kNotFound, "no image 'thumbnail'; there are: label, macro", [&] {
    slide->associated_image("thumbnail");
  });
}

TEST(DicomSlide, RefusesFoldersThatHoldNoOneSlide) {
  const TemporaryFolder folder;
  fs::create_directory(folder / "empty");
  EXPECT_THROW(open_slide(folder / "empty"), Error);
  write_series(folder);
  fs::remove(folder / "a1.dcm");
  expect_error(
      ErrorKind::kFormat, "5 frames for a level of 4 x 2 tiles", [&] { open_slide(folder / ""); });
  write_series(folder);
  fs::remove(folder / "z0.dcm");
  expect_error(ErrorKind::kFormat, "frames 0 to 5 of its concatenation are in no file", [&] {
    open_slide(folder / "");
  });
  write_series(folder);
  write({.series = "5.5", .instance = "5.1"}, folder / "other.dcm");
  const std::string message = message_of([&] { open_slide(folder / ""); }, ErrorKind::kUnsupported);
  EXPECT_NE(message.find("2 different slides in one folder"), std::string::npos) << message;
  EXPECT_EQ(open_slide(folder / "other.dcm")->info().levels.size(), 1U);

  write({.instance = "1.9"}, folder / "rescan.dcm");
  expect_error(
      ErrorKind::kUnsupported, "no concatenation with it", [&] { open_slide(folder / "z0.dcm"); });
}

TEST(DicomSlide, LosesOnlyTheRegionsOfADamagedFrame) {
  const TemporaryFolder folder;
  for (const Stored stored : {Stored::kJpeg, Stored::kRle, Stored::kJpegLs}) {
    std::string bytes = bytes_of({.stored = stored});
    // The sixth fragment behind the offset table is frame 6, at (16, 16).
    std::size_t at = bytes.find(std::string("\xFE\xFF\x00\xE0", 4));
    const std::size_t pixels = bytes.find(std::string("\xE0\x7F\x10\x00", 4));
    at = bytes.find(std::string("\xFE\xFF\x00\xE0", 4), pixels);
    for (int i = 0; i < 6; ++i) at = bytes.find(std::string("\xFE\xFF\x00\xE0", 4), at + 4);
    bytes.replace(at + 8, 70, 70, '\xFF');
    testing_io::write_bytes(folder / "bad.dcm", bytes);
    const auto slide = open_slide(folder / "bad.dcm");
    int lost = 0;
    for (int frame = 0; frame < 8; ++frame) {
      const auto [x, y] = corner(Spec{}, frame);
      try {
        expect_formula(*slide, x, y, 2, 2, 12);
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::kFormat);
        EXPECT_NE(std::string(error.what()).find("frame 6 at (16, 16): "), std::string::npos)
            << error.what();
        ++lost;
      }
    }
    EXPECT_EQ(lost, 1);
    fs::remove(folder / "bad.dcm");
  }
}

TEST(DicomSlide, RefusesByNameWhatItDoesNotRead) {
  const TemporaryFolder folder;
  const auto refused =
      [&](ErrorKind kind, std::string_view text, const std::function<void(DcmDataset&)>& change) {
        write({.change = change}, folder / "a.dcm");
        expect_error(kind, text, [&] { open_slide(folder / "a.dcm"); });
      };
  refused(ErrorKind::kUnsupported, "16 bits a sample, expected 8", [](DcmDataset& d) {
    d.putAndInsertUint16(DCM_BitsAllocated, 16);
  });
  refused(ErrorKind::kUnsupported, "3 focal planes", [](DcmDataset& d) {
    d.putAndInsertUint32(DCM_TotalPixelMatrixFocalPlanes, 3);
  });
  refused(ErrorKind::kUnsupported, "2 optical paths", [](DcmDataset& d) {
    d.putAndInsertUint32(DCM_NumberOfOpticalPaths, 2);
  });
  refused(ErrorKind::kUnsupported, "photometric", [](DcmDataset& d) {
    d.putAndInsertString(DCM_PhotometricInterpretation, "PALETTE COLOR");
  });
  refused(ErrorKind::kUnsupported, "the class 1.2.840.10008.5.1.4.1.1.2,", [](DcmDataset& d) {
    d.putAndInsertString(DCM_SOPClassUID, UID_CTImageStorage);
  });
  refused(ErrorKind::kUnsupported, "a UID that is not of the standard", [](DcmDataset& d) {
    d.putAndInsertString(DCM_SOPClassUID, "1.2.4711");
  });
  refused(ErrorKind::kFormat,
          "TotalPixelMatrixColumns 4294967295, expected 1 to",
          [](DcmDataset& d) { d.putAndInsertUint32(DCM_TotalPixelMatrixColumns, 0xFFFFFFFF); });
  refused(ErrorKind::kFormat, "frames of 65535 x 65535 pixels", [](DcmDataset& d) {
    d.putAndInsertUint16(DCM_Rows, 65535);
    d.putAndInsertUint16(DCM_Columns, 65535);
  });
  refused(ErrorKind::kFormat, "NumberOfFrames 2e+09, expected 1 to 4194304", [](DcmDataset& d) {
    d.putAndInsertString(DCM_NumberOfFrames, "2000000000");
  });
  refused(ErrorKind::kFormat, "bytes of pixels, expected", [](DcmDataset& d) {
    d.putAndInsertString(DCM_NumberOfFrames, "9");
  });
  refused(ErrorKind::kFormat, "7 frames for a level of 4 x 2 tiles", [](DcmDataset& d) {
    d.putAndInsertString(DCM_NumberOfFrames, "7");
  });
  refused(ErrorKind::kUnsupported, "no image of the kind VOLUME", [](DcmDataset& d) {
    d.putAndInsertString(DCM_ImageType, "ORIGINAL\\PRIMARY\\LABEL\\NONE");
  });
  refused(ErrorKind::kFormat, "nested deeper than 64", [](DcmDataset& d) {
    DcmItem* item = &d;
    for (int i = 0; i < 70; ++i) {
      DcmItem* below = nullptr;
      item->findOrCreateSequenceItem(DCM_ContentSequence, below, -2);
      item = below;
    }
  });

  const std::string good = bytes_of({});
  const std::string explicit_uid = std::string("1.2.840.10008.1.2.1\0", 20);
  const auto with_syntax = [&](std::string uid, std::string_view text) {
    uid.resize(explicit_uid.size(), '\0');
    std::string bytes = good;
    bytes.replace(bytes.find(explicit_uid), explicit_uid.size(), uid);
    testing_io::write_bytes(folder / "a.dcm", bytes);
    expect_error(ErrorKind::kUnsupported, text, [&] { open_slide(folder / "a.dcm"); });
  };
  with_syntax("1.2.840.10008.1.2.2", "explicit big endian");
  with_syntax("1.2.840.10008.1.9.9", "transfer syntax: 1.2.840.10008.1.9.9");
  std::string jpeg = bytes_of({.stored = Stored::kJpeg});
  const std::string baseline = "1.2.840.10008.1.2.4.50";
  jpeg.replace(jpeg.find(baseline), baseline.size(), "1.2.840.10008.1.2.4.70");
  testing_io::write_bytes(folder / "a.dcm", jpeg);
  expect_error(ErrorKind::kUnsupported, "transfer syntax: JPEG lossless, first-order", [&] {
    open_slide(folder / "a.dcm");
  });
}

void read_everything(const fs::path& path) {
  const auto slide = open_slide(path);
  for (std::size_t level = 0; level < slide->info().levels.size(); ++level) {
    for (std::int64_t x = 0; x < 48; x += 16) {
      try {
        slide->read_region(x, 0, static_cast<int>(level), 16, 30);
      } catch (const Error& error) {
        EXPECT_EQ(std::string(error.what()).find(kCanary), std::string::npos) << error.what();
      }
    }
  }
}

// No crash, no hang, and no word of the patient, whatever is said of the damage.
void expect_contained(const fs::path& path, const std::string& bytes) {
  testing_io::write_bytes(path, bytes);
  try {
    read_everything(path);
  } catch (const Error& error) {
    const std::string message = error.what();
    for (const char* planted : {kCanary, "19450312", "4711"}) {
      EXPECT_EQ(message.find(planted), std::string::npos) << message;
    }
  }
}

TEST(DicomSlide, SurvivesCutsAndFlippedBits) {
  const TemporaryFolder folder;
  for (const Spec& spec : {Spec{.stored = Stored::kJpeg, .offset_table = false},
                           Spec{.stored = Stored::kRle},
                           Spec{.stored = Stored::kJpegLs},
                           Spec{.places = {{1, 1}, {22, 10}}}}) {
    const std::string good = bytes_of(spec);
    for (std::size_t n = 0; n < good.size(); n += good.size() / 40 + 1) {
      expect_contained(folder / "a.dcm", good.substr(0, n));
    }
    NumpyRandom random(3);
    for (int i = 0; i < 90; ++i) {
      std::string bad = good;
      const auto bit = static_cast<std::size_t>(random.randint(good.size() * 8));
      bad[bit / 8] = static_cast<char>(static_cast<unsigned char>(bad[bit / 8]) ^ (1U << bit % 8));
      expect_contained(folder / "a.dcm", bad);
    }
  }
}

TEST(DicomSlide, GivesNoPixelsOfATruncatedFile) {
  const TemporaryFolder folder;
  const std::string good = bytes_of({});
  testing_io::write_bytes(folder / "a.dcm", good.substr(0, good.size() - 100));
  const auto slide = open_slide(folder / "a.dcm");
  expect_formula(*slide, 0, 0, 16, 16, 0);
  expect_error(ErrorKind::kFormat, "frame 8 at (48, 16): the file ends at byte", [&] {
    slide->read_region(48, 16, 0, 2, 2);
  });
}

TEST(DicomSlide, TellsNothingOfPeople) {
  const TemporaryFolder folder;
  write_series(folder);
  const SlideInfo info = open_slide(folder / "z0.dcm")->info();
  EXPECT_EQ(info.properties.at("dicom.ImageType"), "ORIGINAL\\PRIMARY\\VOLUME");
  for (const auto& [name, value] : info.properties) {
    for (const char* planted : {kCanary, "19450312", "4711"}) {
      EXPECT_EQ(value.find(planted), std::string::npos) << name << " = " << value;
    }
  }
}

// tests/reference/dicom_slides.py
TEST(DicomSlide, GivesThePixelsOfPydicom) {
  const fs::path slides = testing_io::test_data_folder() / "slides";
  MED3D_REQUIRE_DATA(slides / "dicom_small");
  constexpr std::pair<const char*, const char*> kHashes[] = {
      {"dicom_small/openslide_boxes_0.dcm",
       "53eb8c75a1f7d4cc6f6f9a0fb22ba62e8d5ba8bc4b50a3277c3c1cbfd79df0e6"},
      {"dicom_small/sm_image.dcm",
       "c05080458a5d583e86f8a28b3aea56344470450c12b89b7a00476e936fc272cb"},
      {"dicom_small/sm_image_control.dcm",
       "59f1b502dd803d0938f8b2e449163a2cbd693dfc14f74713c69cce92ddf1e060"},
      // Lossless: the pixels of sm_image.dcm, by DCMTK's decoder.
      {"dicom_small/sm_image_jpegls.dcm",
       "c05080458a5d583e86f8a28b3aea56344470450c12b89b7a00476e936fc272cb"},
      {"pathml_small_dicom_SM_3236x2638.dcm",
       "c01d44298f3a0964a5ce802411a00cbf9f3c44218a90cfef3d7ab8988eb568b2"},
  };
  for (const auto& [name, expected] : kHashes) {
    const auto slide = open_slide(slides / name);
    const SlideLevel& level = slide->info().levels[0];
    EXPECT_EQ(hash(slide->read_region(0, 0, 0, level.width, level.height)), expected) << name;
  }
  const auto boxes = open_slide(slides / "dicom_small/openslide_boxes_1.dcm");
  EXPECT_EQ(hash(boxes->associated_image("thumbnail")),
            "b4968f50c8ce7abacaea99f5e1333b5f6b98dd8706a2d756faa86bd7ff65e810");
  EXPECT_DOUBLE_EQ(boxes->info().mpp_x.value(), 0.499);
  EXPECT_DOUBLE_EQ(boxes->info().objective_power.value(), 20.0);
  expect_error(
      ErrorKind::kUnsupported, "different slides", [&] { open_slide(slides / "dicom_small"); });
}

TEST(DicomSlide, LosesOneOf42FramesOfARealFile) {
  const fs::path real =
      testing_io::test_data_folder() / "slides/pathml_small_dicom_SM_3236x2638.dcm";
  MED3D_REQUIRE_DATA(real);
  const TemporaryFolder folder;
  std::string bytes = read_file(real, 1 << 24);
  bytes.replace(bytes.size() / 2, 2000, 2000, '\0');
  testing_io::write_bytes(folder / "a.dcm", bytes);
  const auto slide = open_slide(folder / "a.dcm");
  int lost = 0;
  for (int frame = 0; frame < 42; ++frame) {
    try {
      slide->read_region(frame % 7 * 500 + 100, frame / 7 * 500 + 100, 0, 30, 30);
    } catch (const Error&) {
      ++lost;
    }
  }
  EXPECT_EQ(lost, 1);
}

}  // namespace
}  // namespace med3d
