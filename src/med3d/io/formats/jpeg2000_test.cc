#include "med3d/io/formats/jpeg2000.h"

#include <gtest/gtest.h>
#include <openjpeg.h>

#include <functional>
#include <memory>
#include <vector>

#include "med3d/core/limits.h"
#include "med3d/io/test_support.inc"

namespace med3d {
namespace {

using testing_io::expect_error;

struct Shape {
  int width = 0;
  int height = 0;
  int components = 1;
  int bits = 8;
  bool is_signed = false;
  int chroma_step = 1;  // of components 1 and 2, horizontally
  OPJ_CODEC_FORMAT format = OPJ_CODEC_J2K;
};

// A lossless stream written by OpenJPEG itself.
std::string encode(const Shape& shape, const std::function<int(int c, int x, int y)>& value) {
  std::vector<opj_image_cmptparm_t> parts(static_cast<std::size_t>(shape.components));
  for (std::size_t c = 0; c < parts.size(); ++c) {
    const auto step = static_cast<OPJ_UINT32>(c == 0 ? 1 : shape.chroma_step);
    parts[c] = {};
    parts[c].dx = step;
    parts[c].dy = 1;
    parts[c].w = (static_cast<OPJ_UINT32>(shape.width) + step - 1) / step;
    parts[c].h = static_cast<OPJ_UINT32>(shape.height);
    parts[c].prec = static_cast<OPJ_UINT32>(shape.bits);
    parts[c].sgnd = shape.is_signed ? 1 : 0;
  }
  const std::unique_ptr<opj_image_t, decltype(&opj_image_destroy)> image(
      opj_image_create(static_cast<OPJ_UINT32>(shape.components),
                       parts.data(),
                       shape.components == 1 ? OPJ_CLRSPC_GRAY : OPJ_CLRSPC_SRGB),
      &opj_image_destroy);
  image->x1 = static_cast<OPJ_UINT32>(shape.width);
  image->y1 = static_cast<OPJ_UINT32>(shape.height);
  for (int c = 0; c < shape.components; ++c) {
    opj_image_comp_t& component = image->comps[c];
    for (OPJ_UINT32 y = 0; y < component.h; ++y) {
      for (OPJ_UINT32 x = 0; x < component.w; ++x) {
        component.data[y * component.w + x] = value(c, static_cast<int>(x), static_cast<int>(y));
      }
    }
  }
  opj_cparameters_t parameters;
  opj_set_default_encoder_parameters(&parameters);
  parameters.tcp_numlayers = 1;
  parameters.cp_disto_alloc = 1;
  parameters.numresolution = 3;
  const std::unique_ptr<opj_codec_t, decltype(&opj_destroy_codec)> codec(
      opj_create_compress(shape.format), &opj_destroy_codec);
  const std::string path = testing::TempDir() + "med3d-j2k-" + std::to_string(shape.width) + "-" +
                           std::to_string(shape.components) + std::to_string(shape.bits) +
                           std::to_string(shape.chroma_step) + std::to_string(shape.format);
  {
    const std::unique_ptr<opj_stream_t, decltype(&opj_stream_destroy)> stream(
        opj_stream_create_default_file_stream(path.c_str(), OPJ_FALSE), &opj_stream_destroy);
    EXPECT_TRUE(opj_setup_encoder(codec.get(), &parameters, image.get()));
    EXPECT_TRUE(opj_start_compress(codec.get(), image.get(), stream.get()));
    EXPECT_TRUE(opj_encode(codec.get(), stream.get()));
    EXPECT_TRUE(opj_end_compress(codec.get(), stream.get()));
  }
  std::ifstream in(path, std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(in), {}};
  std::filesystem::remove(path);
  return bytes;
}

int color_value(int c, int x, int y) { return (7 * x + 5 * y + 40 * c) % 256; }

std::vector<std::uint8_t> rgb(const std::string& bytes,
                              std::int64_t width,
                              std::int64_t height,
                              bool is_ycbcr = false) {
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(width * height * 3));
  decode_jpeg2000_rgb(bytes, is_ycbcr, width, height, pixels);
  return pixels;
}

TEST(Jpeg2000, GivesBackALosslessColourImage) {
  for (const auto format : {OPJ_CODEC_J2K, OPJ_CODEC_JP2}) {
    const std::string bytes = encode({37, 21, 3, 8, false, 1, format}, color_value);
    EXPECT_TRUE(detect_jpeg2000(bytes));
    const auto pixels = rgb(bytes, 37, 21);
    for (int y = 0; y < 21; ++y) {
      for (int x = 0; x < 37; ++x) {
        for (int c = 0; c < 3; ++c) {
          ASSERT_EQ(pixels[static_cast<std::size_t>((y * 37 + x) * 3 + c)], color_value(c, x, y));
        }
      }
    }
    const Jpeg2000Image image = decode_jpeg2000(bytes);
    EXPECT_EQ(image.color, format == OPJ_CODEC_JP2 ? Jpeg2000Color::kRgb : Jpeg2000Color::kUnknown);
    EXPECT_EQ(std::vector<std::uint8_t>(image.samples.begin(), image.samples.end()), pixels);
  }
}

TEST(Jpeg2000, GivesBackSixteenSignedBits) {
  const auto value = [](int, int x, int y) { return -1024 + 131 * x + 17 * y; };
  const Jpeg2000Image image = decode_jpeg2000(encode({31, 12, 1, 16, true}, value));
  EXPECT_EQ(image.header.bits, 16);
  EXPECT_TRUE(image.header.is_signed);
  EXPECT_EQ(image.header.components, 1);
  for (int y = 0; y < 12; ++y) {
    for (int x = 0; x < 31; ++x) {
      ASSERT_EQ(image.samples[static_cast<std::size_t>(y * 31 + x)], value(0, x, y));
    }
  }
}

// Y = 100, Cb = 138, Cr = 108: R = 100 - 1.402*20 = 71.96, G = 100 - 0.344*10 + 0.714*20 = 110.84,
// B = 100 + 1.772*10 = 117.72; the chroma holds half the columns.
TEST(Jpeg2000, ConvertsSubsampledYCbCr) {
  const std::string bytes = encode({9, 4, 3, 8, false, 2}, [](int c, int, int) {
    return c == 0 ? 100 : c == 1 ? 138 : 108;
  });
  const auto pixels = rgb(bytes, 9, 4, true);
  for (std::size_t i = 0; i < pixels.size(); i += 3) {
    EXPECT_EQ(pixels[i], 72);
    EXPECT_EQ(pixels[i + 1], 111);
    EXPECT_EQ(pixels[i + 2], 118);
  }
}

TEST(Jpeg2000, RefusesAnotherSizeOrDepthThanExpected) {
  const std::string bytes = encode({16, 8, 3}, color_value);
  expect_error(ErrorKind::kFormat, "16 x 8 pixels, expected 8 x 16", [&] { rgb(bytes, 8, 16); });
  const std::string deep = encode({16, 8, 1, 12}, [](int, int x, int) { return x; });
  expect_error(
      ErrorKind::kUnsupported, "1 components of 12 unsigned bits", [&] { rgb(deep, 16, 8); });
}

// SIZ begins at byte 4: length, capabilities, then Xsiz at 8 and Ysiz at 12, tile sizes at 24
// and 28.
TEST(Jpeg2000, RefusesClaimsBeforeMemoryIsTaken) {
  const std::string good = encode({16, 8, 3}, color_value);
  const auto with = [&](std::size_t at, const std::string& bytes) {
    std::string changed = good;
    changed.replace(at, bytes.size(), bytes);
    return [changed] { decode_jpeg2000(changed); };
  };
  const std::string huge("\x7F\xFF\xFF\xFF\x7F\xFF\xFF\xFF", 8);
  expect_error(ErrorKind::kFormat, "image_side", with(8, huge));
  const std::string large(std::string("\x00\x00\xFF\xDC\x00\x00\xFF\xDC", 8));
  expect_error(ErrorKind::kFormat, "image_bytes", with(8, large));
  const std::string empty(8, '\0');
  expect_error(ErrorKind::kFormat, "no pixels", with(8, empty));
  expect_error(ErrorKind::kFormat, "tile grid", with(24, empty));
  // 4000 x 4000 pixels in tiles of 1 x 1.
  std::string tiles = good;
  tiles.replace(8, 8, std::string("\x00\x00\x0F\xA0\x00\x00\x0F\xA0", 8));
  tiles.replace(24, 8, std::string("\x00\x00\x00\x01\x00\x00\x00\x01", 8));
  expect_error(ErrorKind::kUnsupported, "16000000 tiles", [&] { decode_jpeg2000(tiles); });
  expect_error(ErrorKind::kUnsupported, "17 bits", with(42, std::string(1, '\x10')));
  expect_error(ErrorKind::kFormat, "neither", [] { decode_jpeg2000("JPEG"); });
}

TEST(Jpeg2000, RefusesEveryCut) {
  const std::string bare = encode({20, 20, 3}, color_value);
  testing_io::expect_every_cut_refused(bare, [](const std::string& cut) { decode_jpeg2000(cut); });
  const std::string boxed = encode({20, 20, 3, 8, false, 1, OPJ_CODEC_JP2}, color_value);
  testing_io::expect_every_cut_refused(boxed, [](const std::string& cut) { decode_jpeg2000(cut); });
}

// DICOM pads a fragment to an even length.
TEST(Jpeg2000, IgnoresPaddingAfterTheEnd) {
  const std::string bytes = encode({16, 8, 3}, color_value);
  EXPECT_EQ(rgb(bytes + std::string(1, '\0'), 16, 8), rgb(bytes, 16, 8));
}

TEST(Jpeg2000, ContainsBitFlips) {
  const std::string bytes = encode({24, 24, 3}, color_value);
  testing_io::expect_bit_flips_contained(
      bytes, 600, [](const std::string& bad) { decode_jpeg2000(bad); });
}

}  // namespace
}  // namespace med3d
