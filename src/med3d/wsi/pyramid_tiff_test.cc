#include "med3d/wsi/pyramid_tiff.h"

#include <gtest/gtest.h>
#include <tiffio.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <numeric>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/wsi/visual_test_support.inc"

namespace med3d {
namespace {

// Smooth enough for JPEG, with no symmetry that would hide a wrong order.
RgbImage test_image(std::int64_t width, std::int64_t height) {
  RgbImage image(width, height);
  for (std::int64_t y = 0; y < height; ++y) {
    for (std::int64_t x = 0; x < width; ++x) {
      image.at(x, y)[0] = static_cast<std::uint8_t>(40 + x * 150 / width);
      image.at(x, y)[1] = static_cast<std::uint8_t>(30 + y * 180 / height);
      image.at(x, y)[2] = static_cast<std::uint8_t>(200 - (x + y) * 120 / (width + height));
    }
  }
  return image;
}

RgbImage halved(const RgbImage& from) {
  RgbImage out((from.width + 1) / 2, (from.height + 1) / 2);
  for (std::int64_t y = 0; y < out.height; ++y) {
    for (std::int64_t x = 0; x < out.width; ++x) {
      for (int k = 0; k < 3; ++k) {
        int sum = 2;
        for (int j = 0; j < 4; ++j) {
          sum += from.at(std::min(2 * x + j % 2, from.width - 1),
                         std::min(2 * y + j / 2, from.height - 1))[k];
        }
        out.at(x, y)[k] = static_cast<std::uint8_t>(sum / 4);
      }
    }
  }
  return out;
}

// A level through libtiff's own decoding to RGBA.
RgbImage read_level(const std::filesystem::path& path, int level) {
  const std::unique_ptr<TIFF, void (*)(TIFF*)> tiff(TIFFOpen(path.c_str(), "r"), &TIFFClose);
  EXPECT_TRUE(tiff != nullptr);
  if (!tiff || TIFFSetDirectory(tiff.get(), static_cast<tdir_t>(level)) == 0) return {};
  std::uint32_t width = 0, height = 0;
  TIFFGetField(tiff.get(), TIFFTAG_IMAGEWIDTH, &width);
  TIFFGetField(tiff.get(), TIFFTAG_IMAGELENGTH, &height);
  std::vector<std::uint32_t> raster(static_cast<std::size_t>(width) * height);
  EXPECT_EQ(
      TIFFReadRGBAImageOriented(tiff.get(), width, height, raster.data(), ORIENTATION_TOPLEFT, 1),
      1);
  RgbImage image(width, height);
  for (std::size_t i = 0; i < raster.size(); ++i) {
    image.pixels[i * 3] = static_cast<std::uint8_t>(TIFFGetR(raster[i]));
    image.pixels[i * 3 + 1] = static_cast<std::uint8_t>(TIFFGetG(raster[i]));
    image.pixels[i * 3 + 2] = static_cast<std::uint8_t>(TIFFGetB(raster[i]));
  }
  return image;
}

int level_count(const std::filesystem::path& path) {
  const std::unique_ptr<TIFF, void (*)(TIFF*)> tiff(TIFFOpen(path.c_str(), "r"), &TIFFClose);
  return tiff ? TIFFNumberOfDirectories(tiff.get()) : 0;
}

PyramidTiffOptions exact(std::int64_t tile) {
  PyramidTiffOptions options;
  options.compression = TiffCompression::kDeflate;
  options.tile = tile;
  options.smallest_level = tile;
  options.levels_below_tile = true;
  return options;
}

// Grey levels 10 20 30 / 50 60 71. Halved: (10+20+50+60+2)/4 = 35, and the last column repeated:
// (30+30+71+71+2)/4 = 51. Halved again, one row repeated: (35+51+35+51+2)/4 = 43.
TEST(PyramidTiff, LevelsAreMeansAsWorkedByHand) {
  const TemporaryFolder folder;
  RgbImage image(3, 2);
  const int levels[] = {10, 20, 30, 50, 60, 71};
  for (std::size_t i = 0; i < 18; ++i) image.pixels[i] = static_cast<std::uint8_t>(levels[i / 3]);
  PyramidTiffOptions options = exact(16);
  options.smallest_level = 1;
  const auto path = folder.path() / "a.tif";
  const PyramidTiffInfo info = write_pyramid_tiff(path, image, options);
  EXPECT_EQ(info.levels, 3);
  EXPECT_FALSE(info.big);
  EXPECT_EQ(info.bytes, std::filesystem::file_size(path));
  EXPECT_EQ(read_level(path, 0), image);
  EXPECT_EQ(read_level(path, 1).pixels, (std::vector<std::uint8_t>{35, 35, 35, 51, 51, 51}));
  EXPECT_EQ(read_level(path, 2).pixels, (std::vector<std::uint8_t>{43, 43, 43}));
}

TEST(PyramidTiff, DeflateKeepsEveryPixelOfEveryLevelInBothKindsOfTiff) {
  const TemporaryFolder folder;
  for (const bool big : {false, true}) {
    RgbImage image = test_image(301, 170);
    PyramidTiffOptions options = exact(32);
    options.big = big;
    const auto path = folder.path() / "a.tif";
    const PyramidTiffInfo info = write_pyramid_tiff(path, image, options);
    EXPECT_EQ(info.big, big);
    ASSERT_EQ(info.levels, 5);  // 301, 151, 76, 38, 19
    ASSERT_EQ(level_count(path), 5);
    for (int level = 0; level < 5; ++level) {
      EXPECT_EQ(read_level(path, level), image) << level;
      image = halved(image);
    }
  }
}

TEST(PyramidTiff, JpegStaysCloseToThePixels) {
  const TemporaryFolder folder;
  const RgbImage image = test_image(300, 200);
  PyramidTiffOptions options;
  options.tile = 128;
  options.smallest_level = 128;
  options.levels_below_tile = true;
  options.jpeg_quality = 90;
  const auto path = folder.path() / "a.tif";
  ASSERT_EQ(write_pyramid_tiff(path, image, options).levels, 3);
  const RgbImage found = read_level(path, 0);
  ASSERT_EQ(found.width, 300);
  ASSERT_EQ(found.height, 200);
  int largest = 0;
  for (std::size_t i = 0; i < image.pixels.size(); ++i) {
    largest = std::max(largest, std::abs(found.pixels[i] - image.pixels[i]));
  }
  EXPECT_LE(largest, 8);
  EXPECT_LT(std::filesystem::file_size(path), image.pixels.size() / 4);
}

TEST(PyramidTiff, BytesDoNotDependOnThreads) {
  const TemporaryFolder folder;
  const RgbImage image = test_image(300, 200);
  PyramidTiffOptions options;
  options.tile = 64;
  write_pyramid_tiff(folder.path() / "one.tif", image, options);
  options.threads = 3;
  write_pyramid_tiff(folder.path() / "three.tif", image, options);
  EXPECT_EQ(read_file(folder.path() / "one.tif", 1 << 24),
            read_file(folder.path() / "three.tif", 1 << 24));
}

TEST(PyramidTiff, AsksForEachRowOnceFromTopToBottom) {
  const TemporaryFolder folder;
  std::vector<std::int64_t> asked;
  write_pyramid_tiff(
      folder.path() / "a.tif",
      20,
      70,
      [&](std::int64_t y, std::int64_t rows, std::span<std::uint8_t> rgb) {
        asked.insert(asked.end(), {y, rows});
        EXPECT_EQ(rgb.size(), static_cast<std::size_t>(rows * 20 * 3));
        std::fill(rgb.begin(), rgb.end(), static_cast<std::uint8_t>(y));
      },
      exact(32));
  EXPECT_EQ(asked, (std::vector<std::int64_t>{0, 32, 32, 32, 64, 6}));
  EXPECT_EQ(read_level(folder.path() / "a.tif", 0).at(19, 69)[0], 64);
}

TEST(PyramidTiff, StepsOfFourLeaveOutTheLevelsBetween) {
  const TemporaryFolder folder;
  const RgbImage image = test_image(160, 96);
  PyramidTiffOptions options = exact(16);
  options.halvings_per_level = 2;
  const auto path = folder.path() / "a.tif";
  ASSERT_EQ(write_pyramid_tiff(path, image, options).levels, 3);  // 160, 40, 10
  EXPECT_EQ(read_level(path, 1), halved(halved(image)));
  EXPECT_EQ(read_level(path, 2).width, 10);
  options.smallest_level = 0;
  EXPECT_EQ(write_pyramid_tiff(path, image, options).levels, 1);
}

TEST(PyramidTiff, OpenSlideAndTifffileReadIt) {
  const TemporaryFolder folder;
  const RgbImage image = test_image(700, 420);
  PyramidTiffOptions options = exact(128);
  options.mpp = 0.5;
  options.levels_below_tile = false;
  const auto path = folder.path() / "a.tif";
  write_pyramid_tiff(path, image, options);
  RgbImage level = image;
  std::string openslide, tifffile;
  for (int i = 0; i < 2; ++i) {  // 700 x 420, 350 x 210; 175 x 105 is lower than a tile
    const long sum = std::accumulate(level.pixels.begin(), level.pixels.end(), 0L);
    long weighted = 0;
    for (std::size_t j = 0; j < level.pixels.size(); ++j) {
      weighted += level.pixels[j] * static_cast<long>(j % 89 + 1);
    }
    const std::string line =
        std::to_string(i) + " " + std::to_string(sum) + " " + std::to_string(weighted) + "\n";
    openslide += "openslide " + line;
    tifffile += "tifffile " + line;
    level = halved(level);
  }
  MED3D_RUN_REFERENCE(found, "pyramid_tiff.py", path.string() + " --pixels");
  EXPECT_EQ(found,
            "vendor generic-tiff\n"
            "levels 700x420 350x210\n"
            "openslide.mpp-x 0\n"  // version 3.4.1 gives none for generic TIFF
            "openslide.objective-power 0\n"
            "tiff.XResolution 2e+04\n" +
                openslide +
                "big False pages 2\n"
                "subfiles 0 1\n"
                "compressions 8\n" +
                tifffile);
}

TEST(PyramidTiff, OpenSlideReadsJpegTilesAndAnAperioDescription) {
  const TemporaryFolder folder;
  PyramidTiffOptions options;
  options.tile = 240;
  options.description =
      "Aperio Image Library v11.2.1 \r\n900x600 [0,0 900x600] (240x240) JPEG/RGB Q=85"
      "|AppMag = 20|MPP = 0.4990";
  options.mpp = 0.499;
  const auto path = folder.path() / "a.svs";
  write_pyramid_tiff(path, test_image(900, 600), options);
  MED3D_RUN_REFERENCE(found, "pyramid_tiff.py", path.string());
  EXPECT_NE(found.find("vendor aperio\nlevels 900x600 450x300\n"), std::string::npos) << found;
  EXPECT_NE(found.find("mpp-x 0.499\nopenslide.objective-power 20\n"), std::string::npos) << found;
  EXPECT_NE(found.find("compressions 7\n"), std::string::npos) << found;
}

TEST(PyramidTiff, AFailingSourceLeavesTheOldFile) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "a.tif";
  write_file_atomic(path, std::string_view("old"));
  const auto failing = [](std::int64_t y, std::int64_t, std::span<std::uint8_t>) {
    if (y > 0) throw Error(ErrorKind::kFormat, "tile 7 is damaged");
  };
  EXPECT_THROW(write_pyramid_tiff(path, 64, 64, failing, exact(16)), Error);
  EXPECT_EQ(read_file(path, 100), "old");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
}

TEST(PyramidTiff, RefusesSizesAndOptionsBeforeMemoryIsTaken) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "a.tif";
  const PixelRows none = [](std::int64_t, std::int64_t, std::span<std::uint8_t>) { FAIL(); };
  const auto expect = [&](std::int64_t width,
                          std::int64_t height,
                          const PyramidTiffOptions& options,
                          const std::string& part) {
    try {
      write_pyramid_tiff(path, width, height, none, options);
      ADD_FAILURE() << "no error, expected " << part;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kUsage);
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  };
  expect(0, 5, exact(16), "an image of 0 x 5 pixels");
  expect(5, -1, exact(16), "an image of 5 x -1 pixels");
  expect(std::int64_t{1} << 60, 5, exact(16), "expected sides of 1 to");
  expect(1 << 20, 5, exact(4096), "a row of tiles takes");
  expect(5, 5, exact(100), "tile: 100, expected a multiple of 16");
  PyramidTiffOptions options = exact(16);
  options.description = "caf\xc3\xa9";
  expect(5, 5, options, "no printable ASCII");
  options = exact(16);
  options.mpp = -1;
  expect(5, 5, options, "mpp: -1");
  EXPECT_FALSE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace med3d
