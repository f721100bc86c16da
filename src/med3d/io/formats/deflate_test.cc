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

}  // namespace
}  // namespace med3d
