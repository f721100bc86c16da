#include "med3d/io/formats/deflate.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include "med3d/core/error.h"

namespace med3d {
namespace {

TEST(Deflate, ZlibGivesTheBytesBack) {
  std::string bytes(100'000, 'x');
  for (std::size_t i = 0; i < bytes.size(); i += 7) bytes[i] = static_cast<char>(i % 251);
  for (const int level : {0, 1, 6, 9}) {
    const std::string packed = zlib_compress(bytes, level);
    std::string back(bytes.size(), '\0');
    uLongf size = back.size();
    ASSERT_EQ(uncompress(reinterpret_cast<Bytef*>(back.data()),
                         &size,
                         reinterpret_cast<const Bytef*>(packed.data()),
                         packed.size()),
              Z_OK);
    EXPECT_EQ(size, bytes.size());
    EXPECT_EQ(back, bytes) << level;
    EXPECT_EQ(packed.size() < bytes.size() / 2, level > 0);
  }
  EXPECT_FALSE(zlib_compress("").empty());
}

TEST(Deflate, RefusesALevelThatIsNone) {
  EXPECT_THROW(zlib_compress("a", 10), Error);
  EXPECT_THROW(zlib_compress("a", -1), Error);
}

TEST(Gzip, GivesTheBytesBackAndIsTheSameEachTime) {
  std::string bytes(300'000, 'x');
  for (std::size_t i = 0; i < bytes.size(); i += 7) bytes[i] = static_cast<char>(i % 251);
  const std::string packed = gzip_compress(bytes);
  EXPECT_EQ(packed, gzip_compress(bytes));
  EXPECT_TRUE(is_gzip(packed));
  EXPECT_EQ(packed.substr(4, 4), std::string(4, '\0'));  // no time of writing
  EXPECT_EQ(gzip_decompress(packed, bytes.size(), "a.gz"), bytes);
  EXPECT_EQ(gzip_decompress(packed + packed, 1 << 20, "a.gz"), bytes + bytes);
  EXPECT_EQ(gzip_decompress(packed + std::string(512, '\0'), 1 << 20, "a.gz"), bytes);
  EXPECT_EQ(gzip_decompress(gzip_compress(""), 0, "a.gz"), "");
  const std::string begin = gzip_decompress(packed, bytes.size(), "a.gz", 1000);
  EXPECT_EQ(begin, bytes.substr(0, begin.size()));
  EXPECT_GE(begin.size(), 1000U);
}

std::string message_of(const std::string& packed, std::uint64_t most) {
  try {
    gzip_decompress(packed, most, "a.gz");
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Gzip, RefusesWhatIsCutDamagedOrTooLarge) {
  const std::string packed = gzip_compress(std::string(100'000, 'x'));
  EXPECT_EQ(message_of(packed, 99'999), "a.gz: more than 99999 bytes when inflated");
  EXPECT_EQ(message_of("PK", 10), "a.gz: no gzip header where one belongs");
  EXPECT_EQ(message_of(packed + "junk", 1 << 20), "a.gz: no gzip header where one belongs");
  for (std::size_t cut = 2; cut < packed.size(); ++cut) {
    EXPECT_NE(message_of(packed.substr(0, cut), 1 << 20), "accepted") << cut;
  }
  std::string flipped = packed;
  flipped[packed.size() - 6] ^= 1;  // in the check sum
  EXPECT_EQ(message_of(flipped, 1 << 20),
            "a.gz: damaged compressed data after 100000 bytes of content");
}

TEST(Inflate, ReadsABareStreamAndRefusesWhatFollowsIt) {
  const std::string bytes(1000, 'y');
  const std::string packed = zlib_compress(bytes);
  std::string bare = packed.substr(2, packed.size() - 6);  // without zlib's header and check sum
  EXPECT_EQ(inflate_bare(bare, 1000, "x"), bytes);
  EXPECT_EQ(inflate_bare(bare + '\0', 1000, "x"), bytes);
  EXPECT_THROW(inflate_bare(bare + "123456789", 1000, "x"), Error);
  EXPECT_THROW(inflate_bare(bare, 999, "x"), Error);
  EXPECT_THROW(inflate_bare(bare.substr(0, bare.size() - 1), 1000, "x"), Error);
}

}  // namespace
}  // namespace med3d
