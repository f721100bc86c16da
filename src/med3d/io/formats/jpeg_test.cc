#include "med3d/io/formats/jpeg.h"

#include <gtest/gtest.h>
#include <turbojpeg.h>

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "med3d/core/hash.h"
#include "med3d/core/limits.h"
#include "med3d/io/test_support.inc"

namespace med3d {
namespace {

using testing_io::expect_bit_flips_contained;
using testing_io::expect_error;

// (37 x + 11 y + 5 x y / 8 + 60 c) mod 256 in a block pattern: smooth enough for a JPEG, in no way
// flat.
std::vector<std::uint8_t> pattern(std::int64_t width, std::int64_t height, int channels) {
  std::vector<std::uint8_t> pixels;
  for (std::int64_t y = 0; y < height; ++y) {
    for (std::int64_t x = 0; x < width; ++x) {
      for (int c = 0; c < channels; ++c) {
        pixels.push_back(static_cast<std::uint8_t>((3 * x + 2 * y + x * y / 8 + 60 * c) % 256));
      }
    }
  }
  return pixels;
}

std::vector<std::uint8_t> decode(const std::string& jpeg,
                                 std::int64_t width,
                                 std::int64_t height,
                                 JpegColor color = JpegColor::kAsMarked,
                                 const std::string& tables = "") {
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(width * height * 3));
  JpegDecoder().decode_rgb(jpeg, tables, color, width, height, pixels);
  return pixels;
}

std::string text(std::span<const std::uint8_t> pixels) {
  return {reinterpret_cast<const char*>(pixels.data()), pixels.size()};
}

// PIL 9.4.0 (libjpeg-turbo 2.1.5): numpy.asarray(Image.open(...)) of these very bytes.
TEST(Jpeg, DecodesToThePixelsOfPil) {
  const std::string color = encode_jpeg(pattern(45, 29, 3), 45, 29, 80);
  const std::string gray = encode_jpeg_gray(pattern(45, 29, 1), 45, 29, 80);
  if (const char* folder = std::getenv("MED3D_JPEG_DUMP")) {  // to renew the values below
    testing_io::write_bytes(std::filesystem::path(folder) / "color.jpg", color);
    testing_io::write_bytes(std::filesystem::path(folder) / "gray.jpg", gray);
  }
  EXPECT_EQ(sha256_hex(text(decode(color, 45, 29))),
            "1e207502ccba96a57663dc3814ef9fcd35129e18cf8ff4d77abf00ac5dfe937c");
  std::vector<std::uint8_t> pixels(45 * 29);
  JpegDecoder().decode_gray(gray, "", 45, 29, pixels);
  EXPECT_EQ(sha256_hex(text(pixels)),
            "97319e7aae63fa31b25c18ff879ab260988a6a114b4d9e847109fb475f9c61f4");
}

TEST(Jpeg, ReadsTheHeader) {
  const JpegHeader header = read_jpeg_header(encode_jpeg(pattern(45, 29, 3), 45, 29, 80));
  EXPECT_EQ(header.width, 45);
  EXPECT_EQ(header.height, 29);
  EXPECT_EQ(header.components, 3);
  EXPECT_FALSE(header.progressive);
  EXPECT_EQ(read_jpeg_header(encode_jpeg_gray(pattern(8, 8, 1), 8, 8, 80)).components, 1);
}

TEST(Jpeg, GreyBecomesEqualRedGreenAndBlue) {
  const std::vector<std::uint8_t> flat(64, 77);
  for (const std::uint8_t value : decode(encode_jpeg_gray(flat, 8, 8, 100), 8, 8)) {
    EXPECT_EQ(value, 77);
  }
}

// R, G, B = 10, 20, 30 is stored as Y = 0.299*10 + 0.587*20 + 0.114*30 = 18.15,
// Cb = 128 + 0.564 (30 - 18.15) = 134.7, Cr = 128 + 0.713 (10 - 18.15) = 122.2.
TEST(Jpeg, TheCallerSaysWhatTheComponentsAre) {
  std::vector<std::uint8_t> flat;
  for (int i = 0; i < 64; ++i) flat.insert(flat.end(), {10, 20, 30});
  const std::string jpeg = encode_jpeg(flat, 8, 8, 100);
  const auto marked = decode(jpeg, 8, 8);
  EXPECT_NEAR(marked[0], 10, 1);
  EXPECT_NEAR(marked[1], 20, 1);
  EXPECT_NEAR(marked[2], 30, 1);
  EXPECT_EQ(decode(jpeg, 8, 8, JpegColor::kYCbCr), marked);
  const auto stored = decode(jpeg, 8, 8, JpegColor::kRgb);
  EXPECT_NEAR(stored[0], 18, 1);
  EXPECT_NEAR(stored[1], 135, 1);
  EXPECT_NEAR(stored[2], 122, 1);
}

// Tables (FFDB, FFC4) cut out of a JPEG and kept apart, as in a TIFF.
TEST(Jpeg, SplicesTablesThatAreStoredApart) {
  const std::string whole = encode_jpeg(pattern(32, 24, 3), 32, 24, 85);
  std::string tables("\xFF\xD8", 2);
  std::string image("\xFF\xD8", 2);
  std::size_t at = 2;
  while (static_cast<unsigned char>(whole[at + 1]) != 0xDA) {
    const std::size_t length =
        static_cast<std::size_t>(static_cast<unsigned char>(whole[at + 2]) << 8 |
                                 static_cast<unsigned char>(whole[at + 3])) +
        2;
    const int marker = static_cast<unsigned char>(whole[at + 1]);
    (marker == 0xDB || marker == 0xC4 ? tables : image) += whole.substr(at, length);
    at += length;
  }
  image += whole.substr(at);
  tables += "\xFF\xD9";
  EXPECT_EQ(decode(image, 32, 24, JpegColor::kAsMarked, tables), decode(whole, 32, 24));
  EXPECT_EQ(decode(image, 32, 24, JpegColor::kYCbCr, tables), decode(whole, 32, 24));
  EXPECT_THROW(decode(image, 32, 24), Error);
  expect_error(ErrorKind::kFormat, "frame header among the tables", [&] {
    decode(image, 32, 24, JpegColor::kAsMarked, whole);
  });
}

TEST(Jpeg, RefusesAnotherSizeThanExpected) {
  const std::string jpeg = encode_jpeg(pattern(16, 8, 3), 16, 8, 80);
  expect_error(ErrorKind::kFormat, "16 x 8 pixels, expected 8 x 16", [&] { decode(jpeg, 8, 16); });
}

TEST(Jpeg, RefusesPixelsThatDoNotFitTheirMemory) {
  const std::string jpeg = encode_jpeg(pattern(16, 8, 3), 16, 8, 80);
  std::vector<std::uint8_t> small(16);
  expect_error(ErrorKind::kUsage, "room for 16 bytes", [&] {
    JpegDecoder().decode_rgb(jpeg, "", JpegColor::kAsMarked, 16, 8, small);
  });
}

// A header that claims 65,500 x 65,500 asks for 12.9 GB.
TEST(Jpeg, RefusesSizesBeyondTheLimitsBeforeMemoryIsTaken) {
  std::string jpeg = encode_jpeg(pattern(16, 8, 3), 16, 8, 80);
  const std::size_t frame = jpeg.find("\xFF\xC0");
  ASSERT_NE(frame, std::string::npos);
  jpeg.replace(frame + 5, 4, "\xFF\xDC\xFF\xDC", 4);
  std::vector<std::uint8_t> none;
  expect_error(ErrorKind::kFormat, "image_bytes", [&] {
    JpegDecoder().decode_rgb(jpeg, "", JpegColor::kAsMarked, 65500, 65500, none);
  });
}

TEST(Jpeg, NamesProcessesThatAreNotRead) {
  std::string jpeg = encode_jpeg(pattern(16, 8, 3), 16, 8, 80);
  const std::size_t frame = jpeg.find("\xFF\xC0");
  const auto with = [&](std::size_t offset, char value) {
    std::string changed = jpeg;
    changed[frame + offset] = value;
    return changed;
  };
  const auto header = [](const std::string& bytes) { return [bytes] { read_jpeg_header(bytes); }; };
  expect_error(ErrorKind::kUnsupported, "SOF3", header(with(1, '\xC3')));
  expect_error(ErrorKind::kUnsupported, "12 bits", header(with(4, 12)));
  expect_error(ErrorKind::kUnsupported, "4 components", header(with(9, 4)));
  expect_error(ErrorKind::kUnsupported, "height", header([&] {
                 std::string changed = jpeg;
                 changed.replace(frame + 5, 2, 2, '\0');
                 return changed;
               }()));
  expect_error(ErrorKind::kFormat, "SOI", header("not a JPEG"));
  expect_error(ErrorKind::kFormat, "SOI", header(""));
}

// TurboJPEG's own pixels, of noise at a quality at which values are cut to 0 and 255.
void expect_pixels_of_turbojpeg(std::int64_t width, std::int64_t height, int subsampling) {
  SCOPED_TRACE(testing::Message() << width << " x " << height << ", chroma " << subsampling);
  const std::unique_ptr<void, decltype(&tjDestroy)> compress(tjInitCompress(), &tjDestroy);
  const std::unique_ptr<void, decltype(&tjDestroy)> decompress(tjInitDecompress(), &tjDestroy);
  NumpyRandom random(static_cast<std::uint32_t>(1000 * width + height));
  std::vector<std::uint8_t> noise(static_cast<std::size_t>(width * height * 3));
  for (std::uint8_t& value : noise) value = static_cast<std::uint8_t>(random.randint(256));
  const int w = static_cast<int>(width);
  const int h = static_cast<int>(height);
  unsigned char* out = nullptr;
  unsigned long size = 0;
  ASSERT_EQ(
      tjCompress2(compress.get(), noise.data(), w, 0, h, TJPF_RGB, &out, &size, subsampling, 90, 0),
      0);
  const std::string jpeg(reinterpret_cast<const char*>(out), size);
  tjFree(out);
  std::vector<std::uint8_t> expected(noise.size());
  ASSERT_EQ(tjDecompress2(decompress.get(),
                          reinterpret_cast<const unsigned char*>(jpeg.data()),
                          jpeg.size(),
                          expected.data(),
                          w,
                          0,
                          h,
                          TJPF_RGB,
                          TJFLAG_ACCURATEDCT),
            0);
  EXPECT_EQ(decode(jpeg, width, height), expected);
  EXPECT_EQ(decode(jpeg, width, height, JpegColor::kYCbCr), expected);
}

TEST(Jpeg, HasTurboJpegsPixelsAtEveryWidthAndHeight) {
  for (const int subsampling : {TJSAMP_420, TJSAMP_422, TJSAMP_444, TJSAMP_440}) {
    for (std::int64_t width = 1; width <= 80; ++width) {
      expect_pixels_of_turbojpeg(width, 1 + width * 7 % 19, subsampling);
    }
    for (std::int64_t height = 1; height <= 40; ++height) {
      expect_pixels_of_turbojpeg(37, height, subsampling);
    }
    expect_pixels_of_turbojpeg(240, 240, subsampling);
  }
}

// FF 00 is no marker to libjpeg, which looks for the next one inside of what would be its segment:
// a frame header of full chroma, and one that hides the header we see. It must not be given the
// room of smaller chroma.
TEST(Jpeg, GoesByTheFrameHeaderThatTurboJpegFinds) {
  const std::string jpeg = encode_jpeg(pattern(64, 48, 3), 64, 48, 75);
  const std::size_t frame = jpeg.find("\xFF\xC0");
  ASSERT_NE(frame, std::string::npos);
  std::string other = jpeg.substr(frame, 19);
  ASSERT_EQ(other[11], '\x22');
  other[11] = '\x11';
  std::string bad = jpeg;
  bad.insert(frame,
             std::string("\xFF\x00\x00\x19", 4) + other + std::string("\xFF\xE1\x00\x15", 4));
  EXPECT_THROW(decode(bad, 64, 48), Error);
}

// Grey luma and every pair of chroma values in flat blocks, so that each reaches its pixels whole.
TEST(Jpeg, ConvertsEveryColorAsTurboJpeg) {
  const std::unique_ptr<void, decltype(&tjDestroy)> compress(tjInitCompress(), &tjDestroy);
  const std::unique_ptr<void, decltype(&tjDestroy)> decompress(tjInitDecompress(), &tjDestroy);
  constexpr int kSide = 16 * 64;  // 64 x 64 flat squares: every fourth value of both
  std::vector<std::uint8_t> y(kSide * kSide, 128);
  std::vector<std::uint8_t> cb(kSide * kSide / 4);
  std::vector<std::uint8_t> cr(cb.size());
  for (std::size_t i = 0; i < cb.size(); ++i) {
    cb[i] = static_cast<std::uint8_t>(i % (kSide / 2) / 8 * 4);
    cr[i] = static_cast<std::uint8_t>(i / (kSide / 2) / 8 * 4);
  }
  for (std::size_t i = 0; i < y.size(); ++i) y[i] = static_cast<std::uint8_t>(i % 8 * 36);
  const unsigned char* planes[] = {y.data(), cb.data(), cr.data()};
  unsigned char* out = nullptr;
  unsigned long size = 0;
  ASSERT_EQ(tjCompressFromYUVPlanes(
                compress.get(), planes, kSide, nullptr, kSide, TJSAMP_420, &out, &size, 100, 0),
            0);
  const std::string jpeg(reinterpret_cast<const char*>(out), size);
  tjFree(out);
  std::vector<std::uint8_t> expected(y.size() * 3);
  ASSERT_EQ(tjDecompress2(decompress.get(),
                          reinterpret_cast<const unsigned char*>(jpeg.data()),
                          jpeg.size(),
                          expected.data(),
                          kSide,
                          0,
                          kSide,
                          TJPF_RGB,
                          TJFLAG_ACCURATEDCT),
            0);
  EXPECT_TRUE(decode(jpeg, kSide, kSide) == expected);
}

// The last two bytes are EOI: without them the picture is whole, but a file was cut.
TEST(Jpeg, RefusesEveryCut) {
  const std::string jpeg = encode_jpeg(pattern(24, 16, 3), 24, 16, 75);
  testing_io::expect_every_cut_refused(jpeg, [](const std::string& cut) { decode(cut, 24, 16); });
}

TEST(Jpeg, ContainsBitFlips) {
  const std::string jpeg = encode_jpeg(pattern(40, 24, 3), 40, 24, 75);
  expect_bit_flips_contained(jpeg, 1500, [](const std::string& bad) { decode(bad, 40, 24); });
}

TEST(Jpeg, EncodesTheSamePixelsToTheSameBytes) {
  const auto pixels = pattern(33, 17, 3);
  const std::string first = encode_jpeg(pixels, 33, 17, 90);
  EXPECT_EQ(encode_jpeg(pixels, 33, 17, 90), first);
  EXPECT_TRUE(detect_jpeg(first));
  EXPECT_FALSE(detect_jpeg("II*"));
}

TEST(Jpeg, RefusesToEncodeWhatNoJpegCanHold) {
  const std::vector<std::uint8_t> pixels(48);
  expect_error(ErrorKind::kUsage, "sides", [&] { encode_jpeg(pixels, 70000, 1, 90); });
  expect_error(ErrorKind::kUsage, "sides", [&] { encode_jpeg(pixels, 0, 16, 90); });
  expect_error(ErrorKind::kUsage, "quality 0", [&] { encode_jpeg(pixels, 4, 4, 0); });
  expect_error(
      ErrorKind::kUsage, "48 bytes of pixels, expected 75", [&] { encode_jpeg(pixels, 5, 5, 90); });
}

}  // namespace
}  // namespace med3d
