#include "med3d/io/formats/png.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "med3d/io/test_support.inc"

namespace med3d {
namespace {

using testing_io::expect_error;
using testing_io::from_hex;

struct Reference {
  std::string_view file;
  std::string_view rgb;
  std::string_view grey;
};

// 5 x 3 pixels of every kind, and three of them interlaced (tests/reference/png.py).
constexpr Reference kReferences[] = {
    {"89504e470d0a1a0a0000000d4948445200000005000000030100000000734df8550000000e4944415478da63"
     "58c110c0b0020004e601a1ee714f630000000049454e44ae426082",
     "ffffff000000ffffff000000ffffff000000ffffff000000ffffff000000ffffff000000ffffff000000ffff"
     "ff",
     "ff00ff00ff00ff00ff00ff00ff00ff"},
    {"89504e470d0a1a0a0000000d494844520000000500000003020000000034ed8285000000114944415478da63"
     "387680419a8121c701000d18024e264b87480000000049454e44ae426082",
     "ffffff000000555555aaaaaaffffff000000555555aaaaaaffffff000000555555aaaaaaffffff0000005555"
     "55",
     "ff0055aaff0055aaff0055aaff0055"},
    {"89504e470d0a1a0a0000000d4948445200000005000000030400000000bbad7725000000154944415478da63"
     "2898b481a171f10186495b2e00001fc705ad7be698150000000049454e44ae426082",
     "777777000000999999222222bbbbbb888888111111aaaaaa333333cccccc999999222222bbbbbb444444dddd"
     "dd",
     "77009922bb8811aa33cc9922bb44dd"},
    {"89504e470d0a1a0a0000000d49484452000000050000000308000000007e5d9a240000001b4944415478da63"
     "78fee1271337c38c85ab36ef61f00c8a4ec90500502e07f754bdc2440000000049454e44ae426082",
     "e7e7e7f0f0f0f9f9f90202020b0b0b989898a1a1a1aaaaaab3b3b3bcbcbc4949495252525b5b5b6464646d6d"
     "6d",
     "e7f0f9020b98a1aab3bc49525b646d"},
    {"89504e470d0a1a0a0000000d49484452000000050000000310000000002ecd46670000002c4944415478da01"
     "2100deff0000e730f060f99102c10b009198c1a1f1aa21b351bc0022495252825bb264e26dfc0a0f187274bc"
     "740000000049454e44ae426082",
     "000000303030606060919191c1c1c1919191c1c1c1f1f1f1212121515151222222525252828282b2b2b2e2e2"
     "e2",
     "00306091c191c1f12151225282b2e2"},
    {"89504e470d0a1a0a0000000d4948445200000005000000030802000000d45452af0000003b4944415478da01"
     "3000cfff00e768e9f071f2f97afb0283040b8c0d0098199aa122a3aa2bacb334b5bc3dbe0049ca4b52d3545b"
     "dc5d64e5666dee6f423a1790a1e78d320000000049454e44ae426082",
     "e768e9f071f2f97afb0283040b8c0d98199aa122a3aa2bacb334b5bc3dbe49ca4b52d3545bdc5d64e5666dee"
     "6f",
     "9da6af4e574e57606972959ea7b0b9"},
    {"89504e470d0a1a0a0000000d494844520000000500000003100200000084c48eec000000684944415478da01"
     "5d00a2ff0000e7eb68d5e930f01b7105f260f94b7a35fb91027b836604c10bab8c960d0091987c19669ac1a1"
     "ac2296a3f1aadc2bc6ac21b30c34f6b551bc3c3d26be0022490ccaf74b52523cd32754825b6cdc575db2649c"
     "e58766e26dcceeb76f1cec2d2c8efc9a760000000049454e44ae426082",
     "00ebd5301b05604b35917b66c1ab96917c66c1ac96f1dcc6210cf6513c26220cf7523c27826c57b29c87e2cc"
     "b7",
     "a21f4f7faf80b0e02d402d4070a0d0"},
    {"89504e470d0a1a0a0000000d494844520000000500000003010300000061f857bb00000006504c5445005bb6"
     "2580dbc6b9414f0000000274524e530040004f8ca80000000e4944415478da6358c110c0b0020004e601a1ee"
     "714f630000000049454e44ae426082",
     "2580db005bb62580db005bb62580db005bb62580db005bb62580db005bb62580db005bb62580db005bb62580"
     "db",
     "6f4a6f4a6f4a6f4a6f4a6f4a6f4a6f"},
    {"89504e470d0a1a0a0000000d494844520000000500000003020300000026582d6b0000000c504c5445005bb6"
     "2580db4aa5006fca25f099dd730000000274524e530040004f8ca8000000114944415478da63387680419a81"
     "21c701000d18024e264b87480000000049454e44ae426082",
     "6fca25005bb62580db4aa5006fca25005bb62580db4aa5006fca25005bb62580db4aa5006fca25005bb62580"
     "db",
     "9c4a6f779c4a6f779c4a6f779c4a6f"},
    {"89504e470d0a1a0a0000000d4948445200000005000000030403000000a918d8cb00000030504c5445005bb6"
     "2580db4aa5006fca2594ef4ab9146fde3994035eb92883de4da80372cd2897f24dbc1772e13c970661bc2b86"
     "e1df5f0cad0000000274524e530040004f8ca8000000154944415478da632898b481a171f10186495b2e0000"
     "1fc705ad7be698150000000049454e44ae426082",
     "035eb9005bb64da8034aa50097f24d2883de2580db72cd286fca25bc17724da8034aa50097f24d94ef4ae13c"
     "97",
     "4d4a7a77c4726f9f9c537a77c4c178"},
    {"89504e470d0a1a0a0000000d4948445200000005000000030804000000f13f0d730000002a4944415478da63"
     "789ef1a1f067155333770fc30cc9854aabb4379becb165f03c157439fa4ecad3dc7700f8730f7c03d4075100"
     "00000049454e44ae426082",
     "e7e7e7f0f0f0f9f9f90202020b0b0b989898a1a1a1aaaaaab3b3b3bcbcbc4949495252525b5b5b6464646d6d"
     "6d",
     "e7f0f9020b98a1aab3bc49525b646d"},
    {"89504e470d0a1a0a0000000d4948445200000005000000031004000000a1afd1300000004a4944415478da01"
     "3f00c0ff0000e7eb6830f01b7160f94b7a91027b83c10bab8c0091987c19c1a1ac22f1aadc2b21b30c3451bc"
     "3c3d0022490cca52523cd3825b6cdcb2649ce5e26dccee7fd31d7c96c792340000000049454e44ae426082",
     "000000303030606060919191c1c1c1919191c1c1c1f1f1f1212121515151222222525252828282b2b2b2e2e2"
     "e2",
     "00306091c191c1f12151225282b2e2"},
    {"89504e470d0a1a0a0000000d49484452000000050000000308060000005b36c5f80000004a4944415478da01"
     "3f00c0ff00e768e96af071f273f97afb7c028304850b8c0d8e0098199a1ba122a324aa2bac2db334b536bc3d"
     "be3f0049ca4bcc52d354d55bdc5dde64e566e76dee6ff0bba01f33bbeaabee0000000049454e44ae426082",
     "e768e9f071f2f97afb0283040b8c0d98199aa122a3aa2bacb334b5bc3dbe49ca4b52d3545bdc5d64e5666dee"
     "6f",
     "9da6af4e574e57606972959ea7b0b9"},
    {"89504e470d0a1a0a0000000d49484452000000050000000310060000000ba619bb000000864944415478da01"
     "7b0084ff0000e7eb68d5e9c06a30f01b7105f2f07360f94b7a35fb207c91027b8366045085c10bab8c960d80"
     "8e0091987c19669a511bc1a1ac2296a38124f1aadc2bc6acb12d21b30c34f6b5e13651bc3c3d26be113f0022"
     "490ccaf74be1cc52523cd3275411d5825b6cdc575d41deb2649ce5876671e7e26dcceeb76fa1f0184b3c2953"
     "a4125b0000000049454e44ae426082",
     "00ebd5301b05604b35917b66c1ab96917c66c1ac96f1dcc6210cf6513c26220cf7523c27826c57b29c87e2cc"
     "b7",
     "a21f4f7faf80b0e02d402d4070a0d0"},
    {"89504e470d0a1a0a0000000d494844520000000500000003020000000143eab213000000174944415478da63"
     "38c07080c181a1844181a181419a01001ca502f02f634d810000000049454e44ae426082",
     "ffffff000000555555aaaaaaffffff000000555555aaaaaaffffff000000555555aaaaaaffffff0000005555"
     "55",
     "ff0055aaff0055aaff0055aaff0055"},
    {"89504e470d0a1a0a0000000d4948445200000005000000030802000001a35362390000003f4944415478da01"
     "3400cbff00e768e9000b8c0d00f97afb0049ca4b5bdc5d6dee6f00f071f20283040052d35464e5660098199a"
     "a122a3aa2bacb334b5bc3dbe5bc61790115009e40000000049454e44ae426082",
     "e768e9f071f2f97afb0283040b8c0d98199aa122a3aa2bacb334b5bc3dbe49ca4b52d3545bdc5d64e5666dee"
     "6f",
     "9da6af4e574e57606972959ea7b0b9"},
    {"89504e470d0a1a0a0000000d4948445200000005000000030403000001de1fe85d00000030504c5445005bb6"
     "2580db4aa5006fca2594ef4ab9146fde3994035eb92883de4da80372cd2897f24dbc1772e13c970661bc2b86"
     "e1df5f0cad0000000274524e530040004f8ca8000000194944415478da632860d8c0308161f6050626061586"
     "c6c50700291a0526e458bfeb0000000049454e44ae426082",
     "035eb9005bb64da8034aa50097f24d2883de2580db72cd286fca25bc17724da8034aa50097f24d94ef4ae13c"
     "97",
     "4d4a7a77c4726f9f9c537a77c4c178"},
};

std::string text_of(const PngImage& image) { return {image.pixels.begin(), image.pixels.end()}; }

std::vector<std::uint8_t> ramp(std::size_t count) {
  std::vector<std::uint8_t> out(count);
  for (std::size_t i = 0; i < count; ++i) out[i] = static_cast<std::uint8_t>(i * i * 7 + i * 3);
  return out;
}

// A valid header and nothing after it, in a file of so many bytes.
std::string claim(std::uint32_t width, std::uint32_t height, std::size_t file_bytes) {
  std::string file = png_bytes(ramp(12), 2, 2, 3);
  for (int i = 0; i < 4; ++i) {
    file[16 + i] = static_cast<char>(width >> (24 - 8 * i) & 0xFF);
    file[20 + i] = static_cast<char>(height >> (24 - 8 * i) & 0xFF);
  }
  file.resize(file_bytes, '\0');
  return file;
}

TEST(Png, ReadsEveryKindAsPillowDoes) {
  int kind = 0;
  for (const Reference& reference : kReferences) {
    SCOPED_TRACE(kind++);
    const std::string file = from_hex(reference.file);
    const PngImage rgb = parse_png(file, "x.png");
    EXPECT_EQ(rgb.width, 5);
    EXPECT_EQ(rgb.height, 3);
    EXPECT_EQ(rgb.channels, 3);
    EXPECT_EQ(text_of(rgb), from_hex(reference.rgb));
    EXPECT_EQ(text_of(parse_png(file, "x.png", 1)), from_hex(reference.grey));
  }
}

TEST(Png, ReadsBackWhatItWrites) {
  for (const int channels : {1, 3}) {
    const auto pixels = ramp(static_cast<std::size_t>(19 * 7 * channels));
    const std::string file = png_bytes(pixels, 19, 7, channels);
    EXPECT_TRUE(is_png(file));
    const PngImage image = parse_png(file, "x.png", channels);
    EXPECT_EQ(image.width, 19);
    EXPECT_EQ(image.height, 7);
    EXPECT_EQ(image.pixels, pixels);
    EXPECT_EQ(file, png_bytes(pixels, 19, 7, channels));
  }
}

TEST(Png, TellsItsHeader) {
  const PngHeader header = parse_png_header(png_bytes(ramp(12), 4, 1, 3), "x.png");
  EXPECT_EQ(header.width, 4);
  EXPECT_EQ(header.height, 1);
  EXPECT_EQ(header.bit_depth, 8);
  EXPECT_TRUE(header.colour);
  EXPECT_FALSE(parse_png_header(png_bytes(ramp(12), 4, 3, 1), "x.png").colour);
}

TEST(Png, RefusesBombsFromTheirHeader) {
  expect_error(ErrorKind::kFormat, "x.png: PNG: 4294967295 x 1 pixels, expected 1 to 1048576", [] {
    parse_png(claim(0xFFFFFFFF, 1, 200), "x.png");
  });
  expect_error(ErrorKind::kFormat, "0 x 5 pixels", [] { parse_png(claim(0, 5, 200), "x.png"); });
  expect_error(ErrorKind::kFormat, "65500 x 65500 pixels, more than the limit", [] {
    parse_png(claim(65500, 65500, 100'000'000), "x.png");
  });
  // 18000 x 18000 x 3 bytes are below the limit, but 40 MB of bits are not in 200 bytes.
  expect_error(ErrorKind::kFormat, "200 bytes cannot hold 18000 x 18000 pixels", [] {
    parse_png(claim(18000, 18000, 200), "x.png");
  });
}

TEST(Png, RefusesOtherFiles) {
  expect_error(ErrorKind::kFormat, "no PNG signature", [] { parse_png("GIF89a", "x.png"); });
  expect_error(ErrorKind::kFormat, "no header after the signature", [] {
    parse_png(std::string("\x89PNG\r\n\x1a\n", 8), "x.png");
  });
  const std::string good = png_bytes(ramp(12), 2, 2, 3);
  expect_error(ErrorKind::kUsage, "4 channels", [&] { parse_png(good, "x.png", 4); });
  std::string bad = good;
  bad[24] = 3;  // bit depth
  expect_error(ErrorKind::kFormat, "x.png: PNG: ", [&] { parse_png(bad, "x.png"); });
}

TEST(Png, RefusesEveryCut) {
  testing_io::expect_every_cut_refused(from_hex(kReferences[16].file),
                                       [](const std::string& file) { parse_png(file, "x.png"); });
}

TEST(Png, SurvivesEveryFlippedBit) {
  for (const std::size_t kind : {1U, 11U, 16U}) {
    testing_io::expect_bit_flips_contained(
        from_hex(kReferences[kind].file), 4000, [](const std::string& file) {
          parse_png(file, "x.png");
        });
  }
}

TEST(Png, WritesOnlyWhatFits) {
  expect_error(ErrorKind::kUsage, "11 bytes for 2 x 2", [] { png_bytes(ramp(11), 2, 2, 3); });
  expect_error(ErrorKind::kUsage, "0 x 2", [] { png_bytes({}, 0, 2, 3); });
  expect_error(ErrorKind::kUsage, "of 4 channels", [] { png_bytes(ramp(16), 2, 2, 4); });
}

}  // namespace
}  // namespace med3d
