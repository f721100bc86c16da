#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "med3d/io/formats/jpeg.h"
#include "med3d/io/formats/png.h"
#include "med3d/io/test_support.inc"
#include "med3d/wsi/slide.h"

namespace med3d {
namespace {

using testing_io::expect_error;
using testing_io::TemporaryFolder;
using testing_io::write_bytes;

std::vector<std::uint8_t> ramp(std::size_t count) {
  std::vector<std::uint8_t> out(count);
  for (std::size_t i = 0; i < count; ++i) out[i] = static_cast<std::uint8_t>(i * 7 + i / 256);
  return out;
}

TEST(ImageSlide, ReadsRegionsOfAPngWithBlackBeyondIt) {
  const TemporaryFolder folder;
  const std::vector<std::uint8_t> pixels = ramp(5 * 4 * 3);
  write_bytes(folder / "a.png", png_bytes(pixels, 5, 4, 3));
  const auto slide = open_slide(folder / "a.png");
  EXPECT_EQ(slide->info().format, "image");
  ASSERT_EQ(slide->info().levels.size(), 1U);
  EXPECT_EQ(slide->info().levels[0].width, 5);
  EXPECT_EQ(slide->info().levels[0].height, 4);
  EXPECT_FALSE(slide->info().mpp_x);
  EXPECT_EQ(slide->read_region(0, 0, 0, 5, 4).pixels, pixels);

  const RgbImage corner = slide->read_region(-1, 2, 0, 3, 4);
  for (std::int64_t y = 0; y < 4; ++y) {
    for (std::int64_t x = 0; x < 3; ++x) {
      const bool inside = x >= 1 && y < 2;
      const std::size_t at = static_cast<std::size_t>((y + 2) * 5 + x - 1) * 3;
      EXPECT_EQ(*corner.at(x, y), inside ? pixels[at] : 0) << x << ", " << y;
    }
  }
  const RgbImage far = slide->read_region(INT64_MIN, INT64_MAX, 0, 2, 2);
  EXPECT_EQ(far, RgbImage(2, 2));
}

TEST(ImageSlide, ReadsAJpegAsTheDecoderDoes) {
  const TemporaryFolder folder;
  const std::string jpeg = encode_jpeg(ramp(20 * 10 * 3), 20, 10, 90);
  write_bytes(folder / "a.jpg", jpeg);
  std::vector<std::uint8_t> expected(20 * 10 * 3);
  JpegDecoder().decode_rgb(jpeg, {}, JpegColor::kAsMarked, 20, 10, expected);
  const auto slide = open_slide(folder / "a.jpg");
  EXPECT_EQ(slide->read_region(0, 0, 0, 20, 10).pixels, expected);
}

TEST(ImageSlide, NamesWhatItCannotDo) {
  const TemporaryFolder folder;
  const std::string png = png_bytes(ramp(300), 10, 10, 3);
  write_bytes(folder / "a.png", png);
  const auto slide = open_slide(folder / "a.png");
  expect_error(ErrorKind::kNotFound, "no image 'label'", [&] { slide->associated_image("label"); });
  expect_error(
      ErrorKind::kUsage, "level 1 of a slide with 1", [&] { slide->read_region(0, 0, 1, 2, 2); });
  std::vector<std::uint8_t> small(11);
  expect_error(ErrorKind::kUsage, "2 x 2 pixels in 11 bytes", [&] {
    slide->read_region(0, 0, 0, 2, 2, small);
  });

  write_bytes(folder / "cut.png", png.substr(0, png.size() / 2));
  const auto cut = open_slide(folder / "cut.png");
  expect_error(ErrorKind::kFormat, "cut.png", [&] { cut->read_region(0, 0, 0, 2, 2); });
  std::string bomb = png;
  bomb[16] = bomb[20] = 0;
  bomb[18] = bomb[22] = '\xFF';  // 65,290 pixels on each side
  write_bytes(folder / "bomb.png", bomb);
  expect_error(ErrorKind::kFormat, "more than the limit", [&] { open_slide(folder / "bomb.png"); });
}

}  // namespace
}  // namespace med3d
