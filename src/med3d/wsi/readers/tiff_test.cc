#include "med3d/wsi/readers/tiff.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <tiffio.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>

#include "med3d/core/error.h"
#include "med3d/core/hash.h"
#include "med3d/core/random.h"
#include "med3d/wsi/mpp.h"
#include "med3d/wsi/readers/tile_cache_internal.h"

namespace med3d {
namespace {

namespace fs = std::filesystem;

using Pixel = std::function<int(int x, int y, int c)>;

int pattern(int x, int y, int c) { return (3 * x + 5 * y + 70 * c) % 256; }

// One directory of a TIFF to be written.
struct Page {
  int width = 75;
  int height = 50;
  int tile_width = 32;  // 0 = strips of tile_height rows
  int tile_height = 16;
  int compression = COMPRESSION_NONE;
  int photometric = PHOTOMETRIC_RGB;
  int samples = 3;
  bool is_planar = false;
  int subfile_type = -1;
  std::string description;
  std::string software;
  std::string raw_tile;  // every tile is these bytes
  int sub_ifds = 0;      // the next pages are its children
  float resolution = 0;  // per cm
  Pixel pixel = pattern;
};

void write_page(TIFF* tiff, const Page& page) {
  TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, page.width);
  TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, page.height);
  TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, 8);
  TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, page.samples);
  TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, page.photometric);
  TIFFSetField(
      tiff, TIFFTAG_PLANARCONFIG, page.is_planar ? PLANARCONFIG_SEPARATE : PLANARCONFIG_CONTIG);
  TIFFSetField(
      tiff, TIFFTAG_COMPRESSION, page.raw_tile.empty() ? page.compression : COMPRESSION_NONE);
  if (page.samples == 4) {
    const std::uint16_t extra = EXTRASAMPLE_UNASSALPHA;
    TIFFSetField(tiff, TIFFTAG_EXTRASAMPLES, 1, &extra);
  }
  if (page.compression == COMPRESSION_JPEG) {
    TIFFSetField(tiff, TIFFTAG_JPEGQUALITY, 95);
    TIFFSetField(tiff, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
  }
  if (page.subfile_type >= 0) TIFFSetField(tiff, TIFFTAG_SUBFILETYPE, page.subfile_type);
  if (!page.description.empty())
    TIFFSetField(tiff, TIFFTAG_IMAGEDESCRIPTION, page.description.c_str());
  if (!page.software.empty()) TIFFSetField(tiff, TIFFTAG_SOFTWARE, page.software.c_str());
  if (page.resolution > 0) {
    TIFFSetField(tiff, TIFFTAG_RESOLUTIONUNIT, RESUNIT_CENTIMETER);
    TIFFSetField(tiff, TIFFTAG_XRESOLUTION, page.resolution);
    TIFFSetField(tiff, TIFFTAG_YRESOLUTION, page.resolution);
  }
  if (page.sub_ifds > 0) {
    const std::vector<toff_t> none(static_cast<std::size_t>(page.sub_ifds), 0);
    TIFFSetField(tiff, TIFFTAG_SUBIFD, page.sub_ifds, none.data());
  }
  const bool tiled = page.tile_width > 0;
  const int tile_width = tiled ? page.tile_width : page.width;
  if (tiled) {
    TIFFSetField(tiff, TIFFTAG_TILEWIDTH, page.tile_width);
    TIFFSetField(tiff, TIFFTAG_TILELENGTH, page.tile_height);
  } else {
    TIFFSetField(tiff, TIFFTAG_ROWSPERSTRIP, page.tile_height);
  }
  const int step = page.is_planar ? 1 : page.samples;
  std::uint32_t index = 0;
  for (int plane = 0; plane < (page.is_planar ? page.samples : 1); ++plane) {
    for (int y0 = 0; y0 < page.height; y0 += page.tile_height) {
      for (int x0 = 0; x0 < page.width; x0 += tile_width, ++index) {
        if (!page.raw_tile.empty()) {
          TIFFWriteRawTile(tiff,
                           index,
                           const_cast<char*>(page.raw_tile.data()),
                           static_cast<tmsize_t>(page.raw_tile.size()));
          continue;
        }
        const int rows = tiled ? page.tile_height : std::min(page.tile_height, page.height - y0);
        std::vector<std::uint8_t> bytes(static_cast<std::size_t>(tile_width * rows * step));
        for (int y = 0; y < rows; ++y) {
          for (int x = 0; x < tile_width; ++x) {
            for (int c = 0; c < step; ++c) {
              bytes[static_cast<std::size_t>((y * tile_width + x) * step + c)] =
                  static_cast<std::uint8_t>(page.pixel(x0 + x, y0 + y, page.is_planar ? plane : c));
            }
          }
        }
        const auto size = static_cast<tmsize_t>(bytes.size());
        ASSERT_GT(tiled ? TIFFWriteEncodedTile(tiff, index, bytes.data(), size)
                        : TIFFWriteEncodedStrip(tiff, index, bytes.data(), size),
                  0);
      }
    }
  }
  ASSERT_EQ(TIFFWriteDirectory(tiff), 1);
}

fs::path write_tiff(const std::string& name,
                    const std::vector<Page>& pages,
                    const char* mode = "w") {
  const fs::path folder = fs::path(testing::TempDir()) / "med3d-tiff";
  fs::create_directories(folder);
  const fs::path path = folder / name;
  TIFF* tiff = TIFFOpen(path.c_str(), mode);
  EXPECT_NE(tiff, nullptr);
  for (const Page& page : pages) write_page(tiff, page);
  TIFFClose(tiff);
  return path;
}

std::string slurp(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void spill(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

std::uint64_t little(const std::string& bytes, std::size_t at, int n) {
  std::uint64_t value = 0;
  for (int i = n - 1; i >= 0; --i)
    value = value << 8 | static_cast<unsigned char>(bytes[at + static_cast<std::size_t>(i)]);
  return value;
}

void put_little(std::string& bytes, std::size_t at, std::uint64_t value, int n) {
  for (int i = 0; i < n; ++i)
    bytes[at + static_cast<std::size_t>(i)] = static_cast<char>(value >> (8 * i));
}

// Offset in a classic little-endian TIFF of the 12-byte entry of `tag` in directory n; with tag 0
// of the link to the next directory.
std::size_t entry_of(const std::string& bytes, int n, int tag) {
  std::size_t at = little(bytes, 4, 4);
  while (true) {
    const std::size_t count = little(bytes, at, 2);
    if (n == 0) {
      for (std::size_t i = 0; i < count && tag != 0; ++i) {
        if (little(bytes, at + 2 + 12 * i, 2) == static_cast<std::uint64_t>(tag))
          return at + 2 + 12 * i;
      }
      return at + 2 + 12 * count;
    }
    at = little(bytes, at + 2 + 12 * count, 4);
    --n;
  }
}

// The n-th number of a tag: libtiff stores them as shorts if they fit.
struct Number {
  std::size_t at;
  int bytes;
};

Number number_of(const std::string& bytes, int directory, int tag, std::size_t n) {
  const std::size_t entry = entry_of(bytes, directory, tag);
  const int size = little(bytes, entry + 2, 2) == TIFF_SHORT ? 2 : 4;
  const std::size_t count = little(bytes, entry + 4, 4);
  const bool inside = count * static_cast<std::size_t>(size) <= 4;
  return {(inside ? entry + 8 : little(bytes, entry + 8, 4)) + n * static_cast<std::size_t>(size),
          size};
}

std::uint64_t get(const std::string& bytes, Number number) {
  return little(bytes, number.at, number.bytes);
}

void put(std::string& bytes, Number number, std::uint64_t value) {
  put_little(bytes, number.at, value, number.bytes);
}

std::string message_of(ErrorKind kind, const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(to_string(error.kind()), to_string(kind)) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

void expect_error(ErrorKind kind, const std::string& text, const std::function<void()>& action) {
  const std::string message = message_of(kind, action);
  EXPECT_NE(message.find(text), std::string::npos) << message;
}

// The whole of level 0 and a rim of 5 pixels around it, tile by tile and more.
void read_everything(const fs::path& path) {
  const auto slide = open_slide(path);
  for (std::size_t level = 0; level < slide->info().levels.size(); ++level) {
    const SlideLevel& size = slide->info().levels[level];
    slide->read_region(0, 0, static_cast<int>(level), size.width, size.height);
  }
  for (const std::string& name : slide->info().associated) slide->associated_image(name);
}

void expect_pixels(const fs::path& path, const Page& page, int tolerance = 0) {
  const auto slide = open_slide(path);
  const RgbImage image = slide->read_region(-5, -5, 0, page.width + 10, page.height + 10);
  for (int y = -5; y < page.height + 5; ++y) {
    for (int x = -5; x < page.width + 5; ++x) {
      for (int c = 0; c < 3; ++c) {
        const bool inside = x >= 0 && y >= 0 && x < page.width && y < page.height;
        int expected = inside ? page.pixel(x, y, page.samples < 3 ? 0 : c) & 255 : 0;
        if (inside && page.photometric == PHOTOMETRIC_MINISWHITE) expected = 255 - expected;
        ASSERT_NEAR(image.at(x + 5, y + 5)[c], expected, tolerance)
            << path << " at " << x << ", " << y << ", " << c;
      }
    }
  }
}

TEST(TiffSlide, ReadsEveryCompressionTilesAndStrips) {
  for (const int compression :
       {COMPRESSION_NONE, COMPRESSION_LZW, COMPRESSION_ADOBE_DEFLATE, COMPRESSION_PACKBITS}) {
    for (const int tile_width : {32, 0}) {
      for (const char* mode : {"w", "w8", "wb"}) {  // classic, BigTIFF, big-endian
        Page page;
        page.compression = compression;
        page.tile_width = tile_width;
        expect_pixels(write_tiff("plain.tif", {page}, mode), page);
      }
    }
  }
}

TEST(TiffSlide, ReadsGreyAlphaAndPlanes) {
  Page gray;
  gray.samples = 1;
  gray.photometric = PHOTOMETRIC_MINISBLACK;
  expect_pixels(write_tiff("gray.tif", {gray}), gray);
  gray.photometric = PHOTOMETRIC_MINISWHITE;
  expect_pixels(write_tiff("white.tif", {gray}), gray);
  Page alpha;
  alpha.samples = 4;
  expect_pixels(write_tiff("alpha.tif", {alpha}), alpha);
  Page planes;
  planes.is_planar = true;
  planes.compression = COMPRESSION_LZW;
  expect_pixels(write_tiff("planes.tif", {planes}), planes);
}

// Smooth ramps: at quality 95 a JPEG is within a few grey levels of them.
TEST(TiffSlide, ReadsJpegAsTheTiffSaysItsColours) {
  for (const int photometric : {PHOTOMETRIC_YCBCR, PHOTOMETRIC_RGB, PHOTOMETRIC_MINISBLACK}) {
    Page page;
    page.compression = COMPRESSION_JPEG;
    page.photometric = photometric;
    page.samples = photometric == PHOTOMETRIC_MINISBLACK ? 1 : 3;
    page.pixel = [](int x, int y, int c) { return 40 + x + y + 20 * c; };
    expect_pixels(write_tiff("jpeg.tif", {page}), page, 4);
    page.tile_width = 0;
    expect_pixels(write_tiff("jpeg-strips.tif", {page}), page, 4);
  }
}

// A JPEG 2000 codestream of 16 x 16 pixels, all (100, 138, 108), written by PIL 9.4:
// Image.new("RGB", (16, 16), (100, 138, 108)).save(..., irreversible=False, no_jp2=True, mct=0)
std::string flat_codestream() {
  static const unsigned char kBytes[] = {
      0xFF, 0x4F, 0xFF, 0x51, 0x00, 0x2F, 0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x00, 0x00, 0x00,
      0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x00, 0x00,
      0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x03, 0x07, 0x01, 0x01,
      0x07, 0x01, 0x01, 0x07, 0x01, 0x01, 0xFF, 0x52, 0x00, 0x0C, 0x00, 0x00, 0x00, 0x01, 0x00,
      0x01, 0x04, 0x04, 0x00, 0x01, 0xFF, 0x5C, 0x00, 0x07, 0x40, 0x40, 0x48, 0x48, 0x50, 0xFF,
      0x64, 0x00, 0x25, 0x00, 0x01, 0x43, 0x72, 0x65, 0x61, 0x74, 0x65, 0x64, 0x20, 0x62, 0x79,
      0x20, 0x4F, 0x70, 0x65, 0x6E, 0x4A, 0x50, 0x45, 0x47, 0x20, 0x76, 0x65, 0x72, 0x73, 0x69,
      0x6F, 0x6E, 0x20, 0x32, 0x2E, 0x35, 0x2E, 0x30, 0xFF, 0x90, 0x00, 0x0A, 0x00, 0x00, 0x00,
      0x00, 0x00, 0x3D, 0x00, 0x01, 0xFF, 0x93, 0xC3, 0xE7, 0x18, 0x11, 0x50, 0x54, 0xAF, 0x82,
      0x3D, 0x48, 0x00, 0x01, 0x84, 0x84, 0xBF, 0xC1, 0xF2, 0x0B, 0x14, 0x00, 0x5C, 0xA2, 0x7D,
      0xB6, 0x90, 0x00, 0x03, 0x09, 0x08, 0xC3, 0xE7, 0x18, 0x11, 0x50, 0x54, 0xA2, 0x7D, 0xB6,
      0x90, 0x00, 0x03, 0x09, 0x09, 0x7F, 0x80, 0x80, 0x80, 0xFF, 0xD9,
  };
  return {reinterpret_cast<const char*>(kBytes), sizeof kBytes};
}

// As Y, Cb, Cr that is R = 100 - 1.402*20 = 72, G = 100 - 0.344*10 + 0.714*20 = 111,
// B = 100 + 1.772*10 = 118.
TEST(TiffSlide, ReadsAperiosJpeg2000) {
  for (const int compression : {33003, 33005}) {
    Page page;
    page.width = 40;
    page.height = 20;
    page.tile_width = page.tile_height = 16;
    page.raw_tile = flat_codestream();
    const fs::path path = write_tiff("j2k.svs", {page});
    std::string bytes = slurp(path);
    put_little(bytes,
               entry_of(bytes, 0, TIFFTAG_COMPRESSION) + 8,
               static_cast<std::uint64_t>(compression),
               2);
    spill(path, bytes);
    const RgbImage image = open_slide(path)->read_region(0, 0, 0, 40, 20);
    const int expected[2][3] = {{72, 111, 118}, {100, 138, 108}};
    for (int y = 0; y < 20; ++y) {
      for (int x = 0; x < 40; ++x) {
        for (int c = 0; c < 3; ++c) EXPECT_EQ(image.at(x, y)[c], expected[compression == 33005][c]);
      }
    }
  }
}

std::vector<Page> pyramid() {
  Page base;
  base.width = 101;
  base.height = 81;
  Page half = base;
  half.width = 50;
  half.height = 40;
  half.subfile_type = FILETYPE_REDUCEDIMAGE;
  half.pixel = [](int x, int y, int c) { return 100 + (x % 5) * 20 + (y % 3) * 5 + c; };
  Page page;  // neither reduced nor of this slide
  page.subfile_type = FILETYPE_PAGE;
  return {base, page, half};
}

TEST(TiffSlide, TakesReducedImagesAsLevels) {
  const auto slide = open_slide(write_tiff("pyramid.tif", pyramid()));
  const SlideInfo& info = slide->info();
  EXPECT_EQ(info.format, "tiff");
  ASSERT_EQ(info.levels.size(), 2U);
  EXPECT_EQ(info.levels[1].width, 50);
  EXPECT_EQ(info.levels[1].tile_width, 32);
  EXPECT_DOUBLE_EQ(info.levels[1].downsample, (81.0 / 40.0 + 101.0 / 50.0) / 2.0);  // 2.0225
}

// Level-0 (7, 0) is 7 / 2.0225 = 3.4611 on level 1: phase floor(.4611 * 256) = 118, its middle
// 118.5 / 256 = 0.4629; y is whole: phase 0, 0.5 / 256 = 0.00195. With f(x) = 100 + 20 (x mod 5),
// red at (3, 0) is (160 + 0.4629 * 20) + 0.00195 * 5 = 169.27; the next one, between 180 and 100:
// 180 - 0.4629 * 80 + 0.01 = 142.98.
TEST(TiffSlide, BlendsBetweenThePixelsOfALevel) {
  const auto slide = open_slide(write_tiff("pyramid.tif", pyramid()));
  const RgbImage image = slide->read_region(7, 0, 1, 2, 1);
  EXPECT_EQ(image.at(0, 0)[0], 169);
  EXPECT_EQ(image.at(1, 0)[0], 143);
  // (0, 0) is whole: pixels as they are.
  const RgbImage corner = slide->read_region(0, 0, 1, 2, 2);
  EXPECT_EQ(corner.at(0, 0)[0], 100);
  EXPECT_EQ(corner.at(1, 1)[2], 127);
  // -9 moves four whole pixels of the level: 9 / 2.0225 = 4.45.
  const RgbImage before = slide->read_region(-9, 0, 1, 6, 1);
  EXPECT_EQ(before.at(3, 0)[0], 0);
  EXPECT_EQ(before.at(4, 0)[0], 100);
}

std::vector<Page> aperio() {
  Page base;
  base.width = 128;
  base.height = 96;
  base.compression = COMPRESSION_JPEG;
  base.photometric = PHOTOMETRIC_YCBCR;
  base.pixel = [](int x, int y, int) { return 60 + x + y / 2; };
  base.description =
      "Aperio Image Library v12\r\n128x96 [0,0 128x96] (32x16) JPEG/RGB Q=70|AppMag = 40|MPP = "
      "0,2520|Filename = SMITH-JOHN|Date = 01/02/03|Time = 09:10:11|User = drjones|Title = "
      "S99-1234|ImageID = 55512|Barcode = 777888|SCANNER OF DR JONES = yes|Left = 25.6";
  Page thumbnail = base;
  thumbnail.width = 64;
  thumbnail.height = 48;
  thumbnail.tile_width = 0;
  thumbnail.description = "Aperio Image Library v12\r\n128x96 -> 64x48 - |Filename = SMITH-JOHN";
  Page half = base;
  half.width = 64;
  half.height = 48;
  Page label = thumbnail;
  label.compression = COMPRESSION_LZW;
  label.photometric = PHOTOMETRIC_RGB;
  label.pixel = pattern;
  label.width = 20;
  label.height = 30;
  label.subfile_type = 1;
  label.description = "Aperio Image Library v12\r\nlabel 20x30";
  Page macro = label;
  macro.subfile_type = 9;
  macro.description = "";
  return {base, thumbnail, half, label, macro};
}

TEST(TiffSlide, TellsAperiosLevelsFromItsAssociatedImages) {
  const auto slide = open_slide(write_tiff("aperio.svs", aperio()));
  const SlideInfo& info = slide->info();
  ASSERT_EQ(info.levels.size(), 2U);
  EXPECT_DOUBLE_EQ(info.levels[1].downsample, 2.0);
  EXPECT_EQ(info.associated, (std::vector<std::string>{"label", "macro", "thumbnail"}));
  const RgbImage label = slide->associated_image("label");
  ASSERT_EQ(label.width, 20);
  EXPECT_EQ(label.at(7, 9)[1], pattern(7, 9, 1));
  EXPECT_EQ(slide->associated_image("thumbnail").height, 48);
  EXPECT_DOUBLE_EQ(info.mpp_x.value(), 0.252);
  EXPECT_EQ(info.mpp_source, "aperio.MPP");
  EXPECT_DOUBLE_EQ(info.objective_power.value(), 40.0);
  expect_error(
      ErrorKind::kNotFound, "label, macro, thumbnail", [&] { slide->associated_image("map"); });
}

TEST(TiffSlide, KeepsNothingThatLeadsToAPatient) {
  const auto slide = open_slide(write_tiff("aperio.svs", aperio()));
  for (const auto& [name, value] : slide->info().properties) {
    for (const char* planted :
         {"SMITH", "01/02/03", "09:10:11", "jones", "JONES", "S99-1234", "55512", "777888"}) {
      EXPECT_EQ(value.find(planted), std::string::npos) << name << " = " << value;
      EXPECT_EQ(name.find(planted), std::string::npos) << name;
    }
  }
  EXPECT_EQ(slide->info().properties.at("aperio.Left"), "25.6");
}

// Tile (1, 1) of level 1 begins at (32, 16) and covers level 0 from (64, 32). Its mean at level-1
// pixel (40, 20) is that of level-0 pixels (80..81, 40..41): 60 + 80.5 + 20 = 160.5.
TEST(TiffSlide, FillsAMissingTileOfALowerAperioLevelFromAbove) {
  const fs::path path = write_tiff("missing.svs", aperio());
  std::string bytes = slurp(path);
  put(bytes, number_of(bytes, 2, TIFFTAG_TILEBYTECOUNTS, 3), 0);
  put(bytes, number_of(bytes, 0, TIFFTAG_TILEBYTECOUNTS, 0), 0);
  spill(path, bytes);
  const auto slide = open_slide(path);
  EXPECT_NEAR(slide->read_region(80, 40, 1, 1, 1).at(0, 0)[0], 160, 4);
  // On level 0 there is nothing above: black, and its neighbour is as it was.
  const RgbImage base = slide->read_region(0, 0, 0, 40, 10);
  EXPECT_EQ(base.at(31, 9)[0], 0);
  EXPECT_NEAR(base.at(32, 9)[0], 60 + 32 + 4, 4);
}

TEST(TiffSlide, ReadsAnOmePyramidOfSubIfds) {
  std::vector<Page> pages = pyramid();
  Page label;
  label.width = 30;
  label.height = 20;
  pages[0].sub_ifds = 1;
  pages[0].description =
      "<?xml version=\"1.0\"?><OME xmlns=\"http://www.openmicroscopy.org/Schemas/OME/2016-06\">"
      "<Instrument><Objective ID=\"O:0\" NominalMagnification=\"20.0\"/></Instrument>"
      "<Image ID=\"Image:0\" Name=\"SMITH\"><Pixels ID=\"P:0\" PhysicalSizeX=\"500\" "
      "PhysicalSizeXUnit=\"nm\" PhysicalSizeY=\"0.51\" PhysicalSizeYUnit=\"&#181;m\"/></Image>"
      "<Image ID=\"Image:1\" Name=\"label image\"><Pixels PhysicalSizeX=\"9\"/></Image></OME>";
  pages[2].subfile_type = 1;
  const fs::path path = write_tiff("ome.tif", {pages[0], pages[2], label});
  const auto slide = open_slide(path);
  const SlideInfo& info = slide->info();
  ASSERT_EQ(info.levels.size(), 2U);
  EXPECT_EQ(info.levels[1].width, 50);
  EXPECT_DOUBLE_EQ(info.mpp_x.value(), 0.5);
  EXPECT_DOUBLE_EQ(info.mpp_y.value(), 0.51);
  EXPECT_EQ(info.mpp_source, "ome.PhysicalSizeX");
  EXPECT_DOUBLE_EQ(info.objective_power.value(), 20.0);
  EXPECT_EQ(info.associated, std::vector<std::string>{"label"});
  EXPECT_EQ(slide->associated_image("label").width, 30);
  EXPECT_EQ(slide->read_region(0, 0, 1, 2, 1).at(1, 0)[0], 120);
  EXPECT_EQ(slide->read_region(9, 9, 0, 1, 1).at(0, 0)[0], pattern(9, 9, 0));
}

TEST(TiffSlide, ReadsTheScaleOfAPlainTiff) {
  Page page;
  page.resolution = 20000;  // per cm: 10,000 / 20,000 = 0.5 um
  const auto slide = open_slide(write_tiff("scale.tif", {page}));
  EXPECT_DOUBLE_EQ(slide->info().mpp_x.value(), 0.5);
  EXPECT_EQ(slide->info().mpp_source, "tiff.XResolution");
  EXPECT_EQ(judge_mpp(slide->info()).mpp.value(), 0.5);
}

TEST(TiffSlide, LeavesOtherVendorsToOpenSlide) {
  const auto taken = [](const Page& page) {
    const fs::path path = write_tiff("vendor.tif", {page});
    return tiff_slide_format.detect(path, slurp(path).substr(0, kSlideHeadBytes));
  };
  Page page;
  EXPECT_TRUE(taken(page));
  page.software = "Philips DP v1.0";
  EXPECT_FALSE(taken(page));
  page.software = "";
  page.description = "<scn xmlns=\"http://www.leica-microsystems.com/scn/2010/10/01\"/>";
  EXPECT_FALSE(taken(page));
}

TEST(TiffSlide, ADamagedTileCostsOnlyTheRegionsThatTouchIt) {
  const fs::path path = write_tiff("tile.svs", aperio());
  const auto whole = open_slide(path);
  std::string bytes = slurp(path);
  const std::size_t offset = get(bytes, number_of(bytes, 0, TIFFTAG_TILEOFFSETS, 5));
  const std::size_t length = get(bytes, number_of(bytes, 0, TIFFTAG_TILEBYTECOUNTS, 5));
  bytes.replace(offset, length, length, '\0');
  spill(path, bytes);
  const auto slide = open_slide(path);
  int lost = 0;
  for (int y = 0; y < 96; y += 16) {
    for (int x = 0; x < 128; x += 32) {
      if (x == 32 && y == 16) {
        expect_error(ErrorKind::kFormat, "level 0, tile column 1, row 1", [&] {
          slide->read_region(x, y, 0, 32, 16);
        });
        ++lost;
      } else {
        EXPECT_EQ(slide->read_region(x, y, 0, 32, 16), whole->read_region(x, y, 0, 32, 16));
      }
    }
  }
  EXPECT_EQ(lost, 1);
}

// libtiff writes directories after the pixels: each of these cuts a link, a table or a directory.
TEST(TiffSlide, RefusesCutFiles) {
  const fs::path path = write_tiff("cut.svs", aperio());
  const std::string bytes = slurp(path);
  const fs::path cut = path.parent_path() / "cut-now.svs";
  for (std::size_t i = 0; i < 150; ++i) {
    spill(cut, bytes.substr(0, bytes.size() * i / 150));
    EXPECT_THROW(read_everything(cut), Error) << i;
  }
}

// The directory stands, the last tile's bytes do not.
TEST(TiffSlide, NamesTheTileWhoseBytesAreCutOff) {
  const fs::path path = write_tiff("short.tif", {Page{}});
  std::string bytes = slurp(path);
  put(bytes, number_of(bytes, 0, TIFFTAG_TILEOFFSETS, 4), bytes.size() - 7);
  spill(path, bytes);
  expect_error(ErrorKind::kFormat, "level 0, tile column 1, row 1", [&] { read_everything(path); });
  Page jpeg;
  jpeg.compression = COMPRESSION_JPEG;
  jpeg.photometric = PHOTOMETRIC_YCBCR;
  const fs::path other = write_tiff("short-jpeg.tif", {jpeg});
  bytes = slurp(other);
  put(bytes, number_of(bytes, 0, TIFFTAG_TILEBYTECOUNTS, 4), 60000);
  spill(other, bytes);
  expect_error(ErrorKind::kFormat, "cut short", [&] { read_everything(other); });
}

TEST(TiffSlide, ContainsBitFlips) {
  const fs::path path = write_tiff("flip.svs", aperio());
  const std::string good = slurp(path);
  const std::size_t directories = little(good, 4, 4);
  const fs::path bad = path.parent_path() / "flip-now.svs";
  NumpyRandom random(11);
  for (int i = 0; i < 400; ++i) {
    std::string bytes = good;
    // Half of them after the pixels, where the directories are.
    const std::size_t from = i % 2 == 0 ? 0 : directories;
    const std::size_t at = from + random.randint(bytes.size() - from);
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << random.randint(8)));
    spill(bad, bytes);
    try {
      read_everything(bad);
    } catch (const Error& error) {
      EXPECT_FALSE(std::string(error.what()).empty());
    }
  }
}

TEST(TiffSlide, RefusesAnImmenseTileFromTheHeader) {
  Page page;
  page.width = page.height = 65520;
  page.tile_width = page.tile_height = 65520;
  page.raw_tile = std::string(65000, '\0');
  const fs::path path = write_tiff("bomb.tif", {page});
  EXPECT_LT(fs::file_size(path), 66000U);
  expect_error(ErrorKind::kFormat, "tile of 65520 x 65520 pixels: 12878611200 bytes", [&] {
    open_slide(path);
  });
  page.width = 3000000;
  page.raw_tile = "x";
  page.tile_width = page.tile_height = 1 << 16;
  page.height = 10;
  expect_error(
      ErrorKind::kFormat, "image_side", [&] { open_slide(write_tiff("wide.tif", {page})); });
}

TEST(TiffSlide, RefusesACycleOfDirectories) {
  const fs::path path = write_tiff("cycle.tif", pyramid());
  std::string bytes = slurp(path);
  put_little(bytes, entry_of(bytes, 2, 0), little(bytes, 4, 4), 4);
  spill(path, bytes);
  message_of(ErrorKind::kFormat, [&] { open_slide(path); });
  put_little(bytes, entry_of(bytes, 0, 0), little(bytes, 4, 4), 4);  // the first to itself
  spill(path, bytes);
  message_of(ErrorKind::kFormat, [&] { open_slide(path); });
}

TEST(TiffSlide, NamesWhatItDoesNotRead) {
  const auto changed = [](int tag, std::uint64_t value) {
    const fs::path path = write_tiff("odd.tif", {Page{}});
    std::string bytes = slurp(path);
    put_little(bytes, entry_of(bytes, 0, tag) + 8, value, 2);
    spill(path, bytes);
    return [path] { open_slide(path); };
  };
  expect_error(ErrorKind::kUnsupported, "compression 4", changed(TIFFTAG_COMPRESSION, 4));
  expect_error(
      ErrorKind::kUnsupported, "photometric interpretation 5", changed(TIFFTAG_PHOTOMETRIC, 5));
  expect_error(ErrorKind::kUnsupported, "without JPEG", changed(TIFFTAG_PHOTOMETRIC, 6));
}

TEST(TiffSlide, RefusesWhatIsNoFileWithoutWaiting) {
  const fs::path folder = fs::path(testing::TempDir()) / "med3d-tiff";
  fs::create_directories(folder);
  const fs::path pipe = folder / "pipe.svs";
  fs::remove(pipe);
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  expect_error(ErrorKind::kFormat, "not a regular file", [&] { open_slide(pipe); });
  expect_error(ErrorKind::kFormat, "not a regular file", [&] { tiff_slide_format.open(pipe); });
  expect_error(ErrorKind::kFormat, "not a regular file", [&] { tiff_slide_format.open(folder); });
  expect_error(ErrorKind::kNotFound, "no such file", [&] { open_slide(folder / "none.svs"); });
  spill(folder / "empty.svs", "");
  expect_error(ErrorKind::kFormat, "empty", [&] { open_slide(folder / "empty.svs"); });
  fs::remove(pipe);
}

TEST(TiffSlide, RefusesRequestsThatMakeNoSense) {
  const auto slide = open_slide(write_tiff("plain.tif", {Page{}}));
  std::vector<std::uint8_t> rgb(300);
  expect_error(ErrorKind::kUsage, "level 1", [&] { slide->read_region(0, 0, 1, 10, 10, rgb); });
  expect_error(
      ErrorKind::kUsage, "room for 300", [&] { slide->read_region(0, 0, 0, 11, 10, rgb); });
  expect_error(ErrorKind::kUsage, "a region", [&] { slide->read_region(0, 0, 0, -10, -10, rgb); });
  slide->read_region(INT32_MAX, INT32_MIN, 0, 10, 10, rgb);
  EXPECT_EQ(rgb, std::vector<std::uint8_t>(300, 0));
}

TEST(TileCache, DropsWhatWasNotUsedForLongest) {
  TileCache cache(3000);
  const auto tile = [&](std::size_t n) { return DecodedTile{1, 1, false, cache.memory(n)}; };
  cache.insert(1, tile(1000));  // with 256 of overhead each: 1,256
  cache.insert(2, tile(1000));
  ASSERT_NE(cache.find(1), nullptr);
  cache.insert(3, tile(1000));  // 3,768 > 3,000: 2 goes
  EXPECT_EQ(cache.find(2), nullptr);
  EXPECT_NE(cache.find(1), nullptr);
  EXPECT_NE(cache.find(3), nullptr);
  EXPECT_LE(cache.bytes(), 3000U);
  cache.insert(4, tile(9000));  // larger than all: it stays, alone
  EXPECT_NE(cache.find(4), nullptr);
  EXPECT_EQ(cache.find(3), nullptr);
}

struct Reference {
  const char* slide;
  int level;  // -1: an associated image, x its place in the alphabet
  std::int64_t x, y, width, height;
  const char* sha256;
};

// tests/reference/openslide_regions.py, OpenSlide 3.4.1.
constexpr Reference kReferences[] = {
    {"CMU-1-Small-Region.svs",
     0,
     974,
     1516,
     64,
     500,
     "dad19091ac4ae0dd8828316faee540a2ab8bc2013c27efbd0fb901c48194286d"},
    {"CMU-1-Small-Region.svs",
     0,
     268,
     1922,
     300,
     90,
     "6148444066bc3b0b12ab0503f3d4a042c90e1eb8aa97595d52c18c91dcd1b182"},
    {"CMU-1-Small-Region.svs",
     0,
     959,
     2938,
     300,
     90,
     "0e45eeeff6b93d8b3677945d04469bb564a24a7e188a2aa2ddb0596388dc86d1"},
    {"CMU-1-Small-Region.svs",
     0,
     -40,
     -30,
     300,
     90,
     "260b2fda527768f1b5bbf32c3b27c3849c232d97084b6824ba956f575b04392b"},
    {"CMU-1-Small-Region.svs",
     0,
     2216,
     -7,
     64,
     500,
     "3516cbd504778e88cd5c9fe843bbadc62f2e2af607cc592ad09fddb0e5edfc2b"},
    {"CMU-1-Small-Region.svs",
     0,
     7220,
     0,
     256,
     256,
     "3381de4ca9f3a477f25989dfc8b744e7916046b7aa369f61a9a2f7dc0963ec9e"},
    {"CMU-1-Small-Region.svs",
     0,
     2120,
     2907,
     256,
     256,
     "f4d3e3e77f51714d5518fb6e2c6a936df4e2e7d62715118a85db8bfd8da3d755"},
    {"CMU-1-Small-Region.svs",
     -1,
     0,
     0,
     387,
     463,
     "d99082dd23a68f5c988437048de8b3434404e233c6491483650537bc87866fbc"},
    {"CMU-1-Small-Region.svs",
     -1,
     1,
     0,
     1280,
     431,
     "38124ab29f00798ab06b290c9808676cd131c64c8b0a0acf5a87c63d37e812f6"},
    {"CMU-1-Small-Region.svs",
     -1,
     2,
     0,
     574,
     768,
     "9d6d14fa38bc56c9c755e39e3e6e19c699edefb9a4c1f56694a74952f219e74e"},
    {"TCGA-CR-7395-01A-01-TS1.svs",
     0,
     1305,
     1233,
     256,
     256,
     "479522f1770ebdb916b8b6556c4f45d9f904fbbdc11ffd5307af3d08b7fe6507"},
    {"TCGA-CR-7395-01A-01-TS1.svs",
     0,
     2208,
     2437,
     256,
     256,
     "733ae00664b95854d68a24dbf885ec86f9ddae645e96d6cb21b565db85601ce0"},
    {"TCGA-CR-7395-01A-01-TS1.svs",
     0,
     3498,
     2983,
     300,
     90,
     "560dd53d9d647743fa5898477e24706f94b11b1c0fa82e3ed381aca666f2fc0f"},
    {"TCGA-CR-7395-01A-01-TS1.svs",
     0,
     -40,
     -30,
     64,
     500,
     "eb7038329041f65648736385af9e03a791adfe596187acdabb591405503ccc5d"},
    {"TCGA-CR-7395-01A-01-TS1.svs",
     0,
     1099,
     -7,
     300,
     90,
     "7f599fe8d821c7831f269da8fe90e499bbb5da391a95638e134cd521d80204c3"},
    {"TCGA-CR-7395-01A-01-TS1.svs",
     0,
     9443,
     0,
     1,
     1,
     "709e80c88487a2411e1ee4dfb9f22a861492d20c4765150c0c794abd70f8147c"},
    {"TCGA-CR-7395-01A-01-TS1.svs",
     0,
     4343,
     3507,
     64,
     500,
     "17d065b00d6b0832834c9d840d35ffa8895c492719e228cbbfeffa1a6883bf96"},
    {"TCGA-CR-7395-01A-01-TS1.svs",
     1,
     3961,
     6,
     1,
     1,
     "5ae7e6a42304dc6e4176210b83c43024f99a0bce9a870c3b6d2c95fc8ebfb74c"},
    {"TCGA-CR-7395-01A-01-TS1.svs",
     1,
     3955,
     2,
     64,
     500,
     "d87b0dda0ed4dd830c4edd2ef6ca0229f4e3aff8753fcb34fce1177e3dea8f35"},
    {"TCGA-CR-7395-01A-01-TS1.svs",
     1,
     12,
     10,
     1,
     1,
     "5ae7e6a42304dc6e4176210b83c43024f99a0bce9a870c3b6d2c95fc8ebfb74c"},
    {"TCGA-CR-7395-01A-01-TS1.svs",
     1,
     -40,
     -30,
     64,
     500,
     "b9e4817dda98e0eee30a5a25783649396357b1be720c6da0ad8a33e74ea115af"},
    {"TCGA-CR-7395-01A-01-TS1.svs",
     1,
     4,
     -7,
     300,
     90,
     "f2800ab8795fa340cb387c1e202d480b2bf03a2c6569f1a77b7c3a5f6e01cf15"},
    {"TCGA-CR-7395-01A-01-TS1.svs",
     -1,
     0,
     0,
     956,
     768,
     "21e277d5dc5de4ab67721da9dce590d6229b6a3b365f40a325ca62eab599c39d"},
    {"mosaic.tif",
     0,
     9869,
     6529,
     1,
     1,
     "34f5183a1d7a6ff883e15c755f5e26fda421cdad612571432ad8499da8513503"},
    {"mosaic.tif",
     0,
     12729,
     10461,
     64,
     500,
     "af3c80a88859346d59aff1b03f73083c4735185359637c6657b1ccebdf02a3c3"},
    {"mosaic.tif",
     0,
     15440,
     3120,
     1,
     1,
     "34f5183a1d7a6ff883e15c755f5e26fda421cdad612571432ad8499da8513503"},
    {"mosaic.tif",
     0,
     -40,
     -30,
     300,
     90,
     "3f2e95ec7f5c124625a3f2e14ee52173cbdc2ec5740b06c52dd786c670620b57"},
    {"mosaic.tif",
     0,
     2126,
     -7,
     64,
     500,
     "c133808f1cb0c6ec36f6cd057bbc00a40dfc1bf53fac9afd0203ad3f7a7eeb9e"},
    {"mosaic.tif",
     0,
     21003,
     0,
     256,
     256,
     "3381de4ca9f3a477f25989dfc8b744e7916046b7aa369f61a9a2f7dc0963ec9e"},
    {"mosaic.tif",
     0,
     15903,
     11947,
     64,
     500,
     "fdc8232f4193a44352b975fe5930df5ac6dcfff3f380de4bd89bd93433fbe604"},
    {"mosaic.tif",
     1,
     13731,
     10,
     256,
     256,
     "5e0b8c10fb18141109ec463917f7c3bb1c62b1253a48ec10c2556f6481dd81cb"},
    {"mosaic.tif",
     1,
     4,
     18,
     300,
     90,
     "c9748998ebe15583ac515691a3671d9f9d9ce52a5eace07e639d9b42d3728b6c"},
    {"mosaic.tif",
     1,
     13717,
     36,
     64,
     500,
     "5ed2d178fcc6557fd3f06bb87026aacb26aeb9b54319b5dbc335d613b6e1936f"},
    {"mosaic.tif",
     1,
     -40,
     -30,
     300,
     90,
     "8d60a08cf081519af7267fb9880b3268835ee98cd0522273a99b8be0654a07af"},
    {"mosaic.tif",
     1,
     13747,
     -7,
     300,
     90,
     "847da727d971d00430a5b534a4aeb10ce3f11c1339ebdb786545fbfbf3a72456"},
    {"mosaic.tif",
     2,
     0,
     4593,
     256,
     256,
     "8ae95b555faf0df5d24d84508d3b01cdb149b16869742c26beda5a58cbae7071"},
    {"mosaic.tif",
     2,
     9170,
     8,
     64,
     500,
     "12f61eb021aa13cadb62b8b216555eaef33fbac166f84bcb531886c1ab49d31a"},
    {"mosaic.tif",
     2,
     13715,
     9162,
     300,
     90,
     "751d4be67b968e2c15a19d9a7b1a912f32d848795f9811b0ea8aaf2d0b4013a2"},
    {"mosaic.tif",
     2,
     -40,
     -30,
     1,
     1,
     "709e80c88487a2411e1ee4dfb9f22a861492d20c4765150c0c794abd70f8147c"},
    {"mosaic.tif",
     2,
     12,
     -7,
     1,
     1,
     "709e80c88487a2411e1ee4dfb9f22a861492d20c4765150c0c794abd70f8147c"},
    {"mosaic.tif",
     3,
     10396,
     10356,
     300,
     90,
     "841fe4ecb89adf6c89d1dec1776d82f75d8d18e2c47198d8ababa1f28ea51276"},
    {"mosaic.tif",
     3,
     12957,
     7771,
     1,
     1,
     "5ae7e6a42304dc6e4176210b83c43024f99a0bce9a870c3b6d2c95fc8ebfb74c"},
    {"mosaic.tif",
     3,
     15582,
     7763,
     1,
     1,
     "34f5183a1d7a6ff883e15c755f5e26fda421cdad612571432ad8499da8513503"},
    {"mosaic.tif",
     3,
     -40,
     -30,
     256,
     256,
     "b5edf076bdd76da38802a091e1a6ff295921e5f876c6c04766d16658308cc60e"},
    {"mosaic.tif",
     3,
     15558,
     -7,
     300,
     90,
     "d779bd321d22c00cd8d4b013c7d54df3bc9494cb3aaa4fd4c512e4d865f158fb"},
    {"mosaic.tif",
     4,
     15590,
     2577,
     256,
     256,
     "7b3e2a7cb7446ce70ee7b52fa21f2db2ad572a5812685beb0cd061e0610fedf5"},
    {"mosaic.tif",
     4,
     5170,
     2625,
     256,
     256,
     "4056a443e38c017e0482fc552728384136f5b9b1d41f7ccc6f680c138cb77330"},
    {"mosaic.tif",
     4,
     12981,
     5122,
     256,
     256,
     "f0bc69c83c02d02bb09abd2852bcbe350a5cfc7dec73b16a5a610537e8df6d14"},
    {"mosaic.tif",
     4,
     -40,
     -30,
     64,
     500,
     "03212df3f7fc1398f06911c963d57d2ca5ebfbb11fa0ddee8f545280f23e092a"},
    {"mosaic.tif",
     4,
     15558,
     -7,
     64,
     500,
     "9ecb0a2fb3ef78cfbec862cbed0eb251933cde8251a72bb1b7c66c2db5db86b3"},
    {"mosaic.tif",
     5,
     7683,
     5154,
     1,
     1,
     "6cedbf0a17e9617014133c079ee2ca8e9a1606c26ea9a12702096923e4b5b880"},
    {"mosaic.tif",
     5,
     10436,
     5186,
     1,
     1,
     "b555c8dd8db3ae00497f177949b901ab263a5accc4406219c1c647751dd948cd"},
    {"mosaic.tif",
     5,
     13061,
     0,
     256,
     256,
     "420b5a31e9f7df684c1fab651d63d2028fecf9af3fe403bff86d8733d6a94fa6"},
    {"mosaic.tif",
     5,
     -40,
     -30,
     64,
     500,
     "3f682d6d7dd1de383001ada12748e6a8cff3fb5c04912649dd5207454bd298bf"},
    {"mosaic.tif",
     5,
     7811,
     -7,
     1,
     1,
     "122cae1409e978cfa550624199eba6bda2cf7bdabed858567eb069549f36dfbf"},
    {"mosaic.tif",
     6,
     2372,
     2308,
     256,
     256,
     "6f61be16b1aefce1842c239010ae6d90804964cc9f99f8e493d323cf62796d37"},
    {"mosaic.tif",
     6,
     2308,
     10514,
     64,
     500,
     "860ffdea201e495716796745f2d58d68119f46100458ac50779159c8be1138ec"},
    {"mosaic.tif",
     6,
     8142,
     5834,
     1,
     1,
     "8cdd8c9f7f7d17be12349ba7b4b6530a9e6cbd8597c24536649b559879865b9e"},
    {"mosaic.tif",
     6,
     -40,
     -30,
     256,
     256,
     "4eedc97cdf5aaf7613869bb7127647472376e1a8e12839172a45acb5b9bea366"},
    {"mosaic.tif",
     6,
     12245,
     -7,
     64,
     500,
     "e040df79e2458ccf2db5dceab3704620d2221021458c63a73f02fe721bef6154"},
};

TEST(TiffSlide, GivesThePixelsOfOpenSlide) {
  const char* data = std::getenv("MED3D_TEST_DATA");
  const char* source = std::getenv("MED3D_SOURCE_DIR");
  const fs::path folder =
      (data != nullptr ? fs::path(data)
                       : fs::path(source != nullptr ? source : ".") / "../shared/data") /
      "slides";
  if (!fs::is_directory(folder))
    GTEST_SKIP() << "NO SLIDES AT " << folder << " (set MED3D_TEST_DATA)";
  std::string name;
  std::unique_ptr<Slide> slide;
  for (const Reference& reference : kReferences) {
    if (name != reference.slide) {
      name = reference.slide;
      slide = open_slide(folder / name);
    }
    const RgbImage image =
        reference.level < 0
            ? slide->associated_image(
                  slide->info().associated.at(static_cast<std::size_t>(reference.x)))
            : slide->read_region(
                  reference.x, reference.y, reference.level, reference.width, reference.height);
    EXPECT_EQ(sha256_hex({reinterpret_cast<const char*>(image.pixels.data()), image.pixels.size()}),
              reference.sha256)
        << name << " level " << reference.level << " at " << reference.x << ", " << reference.y;
  }
}

}  // namespace
}  // namespace med3d
