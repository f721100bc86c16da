#include "med3d/encoders/resize.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "med3d/core/hash.h"
#include "med3d/encoders/test_support_internal.h"
#include "med3d/io/formats/npy.h"

namespace med3d {
namespace {

using encoder_test::expect_error;

std::vector<std::uint8_t> resized(const std::vector<std::uint8_t>& from,
                                  std::int64_t from_width,
                                  std::int64_t from_height,
                                  std::int64_t to_width,
                                  std::int64_t to_height) {
  RgbResize resize(from_width, from_height, to_width, to_height);
  std::vector<std::uint8_t> to(static_cast<std::size_t>(to_width * to_height * 3));
  resize.run(from, to);
  return to;
}

// picture() of tests/reference/pil_resize.py: squares of slopes and of noise.
std::vector<std::uint8_t> picture(std::int64_t width, std::int64_t height) {
  std::vector<std::uint8_t> pixels;
  for (std::int64_t y = 0; y < height; ++y) {
    for (std::int64_t x = 0; x < width; ++x) {
      for (std::int64_t c = 0; c < 3; ++c) {
        const std::int64_t smooth = (x * 5 + y * 3 + c * 40) % 256;
        const std::int64_t rough = (x * x * 31 + y * 57 + x * y * 13 + c * 101) % 251;
        pixels.push_back(static_cast<std::uint8_t>((x / 8 + y / 8) % 2 == 0 ? smooth : rough));
      }
    }
  }
  return pixels;
}

// SHA-256 of what PIL 9.4.0 makes of the picture (tests/reference/pil_resize.py).
TEST(RgbResize, EqualsPilBitForBit) {
  struct Case {
    std::int64_t from_width, from_height, to_width, to_height;
    std::string_view sha256;
  };
  const std::vector<Case> cases = {
      {256, 256, 224, 224, "e6c0262df48169a884e9e9bc473c5f30f5733dda8a3f53954759128ea43d3a84"},
      {512, 512, 224, 224, "a3f4d4ec31143bd0d56ea21e989d67c4095b37f987e2148497cdc849e6d20a48"},
      {300, 200, 224, 224, "358749bc5c5115f6dbeaa9ebb52d5cfb8de0f258dd92ea9cd65d3229b979504f"},
      {224, 300, 224, 224, "a48566ba11af916f2a004751dd62ce1063a640a94a976a0a24a279fa1c8984d9"},
      {300, 224, 224, 224, "32089600f7a3cb77c03f8c9ff6080f015bd92fe478c634406a1a71dc6a821433"},
      {97, 61, 224, 224, "f08b412229f01aad1098b5de1ab939db349c8ded8a85497b654f63aa69fc40fe"},
      {1000, 7, 33, 5, "1ac7c45825086ac1cfc73b2d5733dd8629ec50992bc729a96061b3fd4ed8679c"},
      {1, 1, 4, 3, "d9e0f57dbb4ec9c7d920b4fb026011fed68a86dbf551f5785386d22253f4c723"},
      {5, 5, 1, 1, "86ff6b88b1a97978e49cd49afcaa326eec262787f7b4dd9e48d18831584f89e4"},
      {255, 257, 256, 256, "f97a0238f273c537757f7adfa4b9569ccba9069baec995f070987b7efe69bd70"},
      {3, 900, 2, 11, "cc32fc22b3b4338e3605a6a9a2dfed3196a24e1b9a21a234f261fe191eb04dd6"},
      {224, 224, 224, 224, "61017b20af1fc08cc1b40a2fb0892721d33c0635419a4187bb9418aa88340037"},
  };
  for (const auto& c : cases) {
    const auto to = resized(
        picture(c.from_width, c.from_height), c.from_width, c.from_height, c.to_width, c.to_height);
    EXPECT_EQ(sha256_hex({reinterpret_cast<const char*>(to.data()), to.size()}), c.sha256)
        << c.from_width << " x " << c.from_height << " to " << c.to_width << " x " << c.to_height;
  }
}

TEST(RgbResize, EqualsPilOnTissue) {
  const auto folder = encoder_test::reference("resnet");
  MED3D_NEEDS_REFERENCE(folder);
  const Array from = read_npy(folder / "patches_u8.npy");
  const Array expected = read_npy(folder / "resized_u8.npy");
  ASSERT_EQ(from.shape, (std::vector<std::uint64_t>{16, 256, 256, 3}));
  ASSERT_EQ(expected.shape, (std::vector<std::uint64_t>{16, 224, 224, 3}));
  constexpr std::size_t kFrom = 256 * 256 * 3;
  constexpr std::size_t kTo = 224 * 224 * 3;
  for (std::size_t i = 0; i < 16; ++i) {
    const auto start = from.bytes.begin() + static_cast<std::ptrdiff_t>(i * kFrom);
    const std::vector<std::uint8_t> tile(start, start + kFrom);
    const auto to = resized(tile, 256, 256, 224, 224);
    EXPECT_TRUE(
        std::equal(to.begin(),
                   to.end(),
                   expected.bytes.begin() + static_cast<std::ptrdiff_t>(i * kTo),
                   [](std::uint8_t a, char b) { return a == static_cast<std::uint8_t>(b); }))
        << "tile " << i;
  }
}

// Two pixels 10 and 21 to one: triangle weights at distances 0.25 of the half-width 2, equal on
// both sides, so the mean 15.5, rounded up.
TEST(RgbResize, AveragesTwoPixelsByHand) {
  EXPECT_EQ(resized({10, 0, 255, 21, 0, 255}, 2, 1, 1, 1), (std::vector<std::uint8_t>{16, 0, 255}));
}

TEST(RgbResize, AUniformTileStaysUniform) {
  const std::vector<std::uint8_t> grey(300 * 200 * 3, 137);
  const auto to = resized(grey, 300, 200, 224, 224);
  EXPECT_TRUE(std::all_of(to.begin(), to.end(), [](std::uint8_t p) { return p == 137; }));
}

TEST(RgbResize, RefusesOtherSizes) {
  expect_error(ErrorKind::kUsage, "0 x 4 to 2 x 2 pixels", [] { RgbResize(0, 4, 2, 2); });
  expect_error(ErrorKind::kUsage, "1 to 65535", [] { RgbResize(4, 4, 2, 65536); });
  RgbResize resize(4, 4, 2, 2);
  std::vector<std::uint8_t> from(47);
  std::vector<std::uint8_t> to(12);
  expect_error(ErrorKind::kUsage, "47 and 12 bytes", [&] { resize.run(from, to); });
}

}  // namespace
}  // namespace med3d
