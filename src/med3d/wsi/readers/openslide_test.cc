#include <gtest/gtest.h>
#include <tiffio.h>

#include <filesystem>
#include <string>
#include <vector>

#include "med3d/core/file.h"
#include "med3d/core/hash.h"
#include "med3d/io/test_support.inc"
#include "med3d/wsi/slide.h"

namespace med3d {
namespace {

namespace fs = std::filesystem;
using testing_io::expect_error;
using testing_io::TemporaryFolder;

constexpr int kTile = 64;

std::uint8_t pixel(std::int64_t x, std::int64_t y, int c) {
  return static_cast<std::uint8_t>(x * 3 + y * 5 + c * 90 + x * y / 50);
}

// A tiled TIFF of raw pixels; each level is half of the one before it, with the same formula.
void write_tiff(const fs::path& path, std::vector<std::pair<int, int>> sizes) {
  TIFF* const tiff = TIFFOpen(path.c_str(), "w");
  ASSERT_NE(tiff, nullptr);
  bool first = true;
  for (const auto& [width, height] : sizes) {
    TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, width);
    TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, height);
    TIFFSetField(tiff, TIFFTAG_TILEWIDTH, kTile);
    TIFFSetField(tiff, TIFFTAG_TILELENGTH, kTile);
    TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, 8);
    TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, 3);
    TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_RGB);
    TIFFSetField(tiff, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG);
    TIFFSetField(tiff, TIFFTAG_COMPRESSION, COMPRESSION_ADOBE_DEFLATE);
    TIFFSetField(tiff, TIFFTAG_IMAGEDESCRIPTION, "of Canary Person, born 1945");
    TIFFSetField(tiff, TIFFTAG_ARTIST, "Canary Person");
    TIFFSetField(tiff, TIFFTAG_DATETIME, "1945:03:12 00:00:00");
    TIFFSetField(tiff, TIFFTAG_XRESOLUTION, 20000.0);
    TIFFSetField(tiff, TIFFTAG_YRESOLUTION, 20000.0);
    TIFFSetField(tiff, TIFFTAG_RESOLUTIONUNIT, RESUNIT_CENTIMETER);
    if (!first) TIFFSetField(tiff, TIFFTAG_SUBFILETYPE, FILETYPE_REDUCEDIMAGE);
    first = false;
    std::vector<std::uint8_t> tile(kTile * kTile * 3);
    for (int y = 0; y < height; y += kTile) {
      for (int x = 0; x < width; x += kTile) {
        for (std::size_t i = 0; i < tile.size(); ++i) {
          const auto at = static_cast<int>(i / 3);
          tile[i] = pixel(x + at % kTile, y + at / kTile, static_cast<int>(i % 3));
        }
        TIFFWriteTile(tiff, tile.data(), static_cast<uint32_t>(x), static_cast<uint32_t>(y), 0, 0);
      }
    }
    TIFFWriteDirectory(tiff);
  }
  TIFFClose(tiff);
}

std::string hash(const RgbImage& image) {
  return sha256_hex({reinterpret_cast<const char*>(image.pixels.data()), image.pixels.size()});
}

TEST(OpenSlideReader, ReadsATiffThatIsAskedForByName) {
  const TemporaryFolder folder;
  write_tiff(folder / "a.tif", {{200, 150}, {100, 75}});
  const auto slide = open_slide(folder / "a.tif", "openslide");
  EXPECT_EQ(slide->info().format, "openslide");
  ASSERT_EQ(slide->info().levels.size(), 2U);
  EXPECT_EQ(slide->info().levels[1].width, 100);
  EXPECT_EQ(slide->info().levels[1].tile_width, kTile);
  EXPECT_DOUBLE_EQ(slide->info().levels[1].downsample, 2.0);

  const RgbImage image = slide->read_region(150, 100, 0, 80, 70);
  for (std::int64_t y = 0; y < 70; ++y) {
    for (std::int64_t x = 0; x < 80; ++x) {
      for (int c = 0; c < 3; ++c) {
        const bool inside = x < 50 && y < 50;
        ASSERT_EQ(image.at(x, y)[c], inside ? pixel(150 + x, 100 + y, c) : 0) << x << ", " << y;
      }
    }
  }
  const RgbImage half = slide->read_region(20, 40, 1, 10, 10);
  EXPECT_EQ(*half.at(3, 4), pixel(10 + 3, 20 + 4, 0));
}

TEST(OpenSlideReader, LeavesOutLevelsSmallerThanTheirTile) {
  const TemporaryFolder folder;
  write_tiff(folder / "a.tif", {{200, 150}, {100, 75}, {50, 37}});
  EXPECT_EQ(open_slide(folder / "a.tif", "openslide")->info().levels.size(), 2U);
  write_tiff(folder / "small.tif", {{50, 37}});
  expect_error(ErrorKind::kUnsupported, "smaller than its tile", [&] {
    open_slide(folder / "small.tif", "openslide");
  });
}

TEST(OpenSlideReader, LosesOnlyTheRegionsOfADamagedTile) {
  const TemporaryFolder folder;
  write_tiff(folder / "a.tif", {{256, 256}});
  std::string bytes = read_file(folder / "a.tif", 1 << 20);
  TIFF* const tiff = TIFFOpen((folder / "a.tif").c_str(), "r");
  std::uint64_t* offsets = nullptr;
  ASSERT_EQ(TIFFGetField(tiff, TIFFTAG_TILEOFFSETS, &offsets), 1);
  bytes.replace(offsets[5], 40, 40, '\xFF');  // column 1, row 1
  TIFFClose(tiff);
  testing_io::write_bytes(folder / "bad.tif", bytes);

  const auto slide = open_slide(folder / "bad.tif", "openslide");
  int lost = 0;
  for (int tile = 0; tile < 16; ++tile) {
    const std::int64_t x = tile % 4 * kTile;
    const std::int64_t y = tile / 4 * kTile;
    try {
      const RgbImage image = slide->read_region(x, y, 0, kTile, kTile);
      EXPECT_EQ(*image.at(5, 6), pixel(x + 5, y + 6, 0)) << tile;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kFormat);
      EXPECT_NE(std::string(error.what()).find("at (64, 64), level 0: OpenSlide: "),
                std::string::npos)
          << error.what();
      ++lost;
    }
  }
  EXPECT_EQ(lost, 1);
}

TEST(OpenSlideReader, TellsNothingOfPeople) {
  const TemporaryFolder folder;
  write_tiff(folder / "a.tif", {{200, 150}});
  const auto slide = open_slide(folder / "a.tif", "openslide");
  const auto& properties = slide->info().properties;
  EXPECT_EQ(properties.at("openslide.vendor"), "generic-tiff");
  EXPECT_EQ(properties.at("tiff.XResolution"), "20000");
  for (const auto& [name, value] : properties) {
    EXPECT_EQ(value.find("Canary"), std::string::npos) << name;
    EXPECT_EQ(value.find("1945"), std::string::npos) << name;
  }
}

TEST(OpenSlideReader, NamesWhatItCannotDo) {
  const TemporaryFolder folder;
  testing_io::write_bytes(folder / "a.txt", "no slide");
  expect_error(ErrorKind::kUnsupported, "OpenSlide does not know", [&] {
    open_slide(folder / "a.txt", "openslide");
  });
  expect_error(ErrorKind::kUnsupported, "no slide format", [&] { open_slide(folder / "a.txt"); });
  write_tiff(folder / "a.tif", {{200, 150}});
  const auto slide = open_slide(folder / "a.tif", "openslide");
  expect_error(ErrorKind::kUsage, "level 3", [&] { slide->read_region(0, 0, 3, 1, 1); });
  expect_error(ErrorKind::kNotFound, "no image 'label'", [&] { slide->associated_image("label"); });
}

TEST(OpenSlideReader, SurvivesEveryCut) {
  const TemporaryFolder folder;
  write_tiff(folder / "a.tif", {{200, 150}});
  const std::string bytes = read_file(folder / "a.tif", 1 << 20);
  for (std::size_t n = 0; n < bytes.size(); n += bytes.size() / 60) {
    testing_io::write_bytes(folder / "cut.tif", bytes.substr(0, n));
    try {
      open_slide(folder / "cut.tif", "openslide")->read_region(0, 0, 0, 200, 150);
    } catch (const Error&) {
    }
  }
}

// tests/reference/openslide_fallback_regions.py
TEST(OpenSlideReader, GivesThePixelsOfOpenSlidePython) {
  const fs::path slides = testing_io::test_data_folder() / "slides";
  MED3D_REQUIRE_DATA(slides / "CMU-1-Small-Region.svs");
  const auto cmu = open_slide(slides / "CMU-1-Small-Region.svs", "openslide");
  EXPECT_EQ(hash(cmu->read_region(100, 200, 0, 512, 300)),
            "83580c11f5136762a3b2af27988ee6b8fdf7e888e5643b623be9a339a8ba7278");
  EXPECT_EQ(hash(cmu->read_region(-40, 2900, 0, 300, 200)),
            "79964bb2521fa98eda34a5ff5bb68c9a954c5cfff454ea1f4d4297274eb4b0c4");
  EXPECT_EQ(cmu->info().associated, (std::vector<std::string>{"label", "macro", "thumbnail"}));
  EXPECT_EQ(hash(cmu->associated_image("macro")),
            "38124ab29f00798ab06b290c9808676cd131c64c8b0a0acf5a87c63d37e812f6");
  EXPECT_DOUBLE_EQ(cmu->info().mpp_x.value(), 0.499);
  EXPECT_DOUBLE_EQ(cmu->info().objective_power.value(), 20.0);
  EXPECT_FALSE(cmu->info().properties.contains("openslide.comment"));
  EXPECT_FALSE(cmu->info().properties.contains("aperio.Filename"));

  // Level 1 at a corner between its pixels: OpenSlide blends there.
  MED3D_REQUIRE_DATA(slides / "TCGA-CR-7395-01A-01-TS1.svs");
  const auto tcga = open_slide(slides / "TCGA-CR-7395-01A-01-TS1.svs", "openslide");
  EXPECT_EQ(hash(tcga->read_region(1000, 700, 0, 300, 300)),
            "b5daf74ead8ac7a10411d5bccd6e9f8ef76a771af48b25f94eaac41b083af343");
  EXPECT_EQ(hash(tcga->read_region(301, 403, 1, 256, 256)),
            "0a3b9c5535b6d5b61c23f6bb9eca0fe47458af1424f0d58de03846bec291b736");
}

}  // namespace
}  // namespace med3d
