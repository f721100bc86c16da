// What the tests of encoders share: reference data, unpacked weights, folders of their own.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/io/formats/zip.h"

namespace med3d::encoder_test {

inline std::filesystem::path reference(const std::string& below) {
  const char* data = std::getenv("MED3D_TEST_DATA");
  const char* source = std::getenv("MED3D_SOURCE_DIR");
  std::filesystem::path root = data != nullptr ? data : "";
  if (root.empty())
    root = std::filesystem::path(source != nullptr ? source : ".") / "../shared/data";
  return root / "reference" / below;
}

#define MED3D_NEEDS_REFERENCE(path)   \
  if (!std::filesystem::exists(path)) \
  GTEST_SKIP() << "REFERENCE VECTORS NOT FOUND: " << (path).string() << " (set MED3D_TEST_DATA)"

// A folder that is removed with the object.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "med3d-encoders-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw Error(ErrorKind::kIo, "no temporary folder");
    path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

// The content of a .gz file. Its deflate stream is put into a zip archive in memory, which io
// reads: tests of encoders know no zlib.
inline std::string gunzip(const std::filesystem::path& path) {
  const std::string packed = read_file(path, 1ULL << 30);
  std::size_t start = 10;  // of the stream: behind the fixed header and, flag 8, the file's name
  if ((static_cast<unsigned char>(packed.at(3)) & 8U) != 0) start = packed.find('\0', start) + 1;
  const std::string stream = packed.substr(start, packed.size() - start - 8);
  const std::string crc_and_size = packed.substr(packed.size() - 8);
  const auto number = [](std::uint64_t value, int bytes) {
    std::string text;
    for (int i = 0; i < bytes; ++i) text.push_back(static_cast<char>((value >> (8 * i)) & 255U));
    return text;
  };
  // Version, flags, method deflate, time and date, checksum, sizes, lengths of name and extra
  // field.
  const std::string common = number(20, 2) + number(0, 2) + number(8, 2) + number(0, 2) +
                             number(33, 2) + crc_and_size.substr(0, 4) + number(stream.size(), 4) +
                             crc_and_size.substr(4) + number(1, 2) + number(0, 2);
  std::string zip = "PK\3\4" + common + "x" + stream;
  const std::size_t directory = zip.size();
  zip += "PK\1\2" + number(20, 2) + common + number(0, 2) + number(0, 2) + number(0, 2) +
         number(0, 4) + number(0, 4) + "x";
  const std::size_t directory_size = zip.size() - directory;
  zip += "PK\5\6" + number(0, 4) + number(1, 2) + number(1, 2) + number(directory_size, 4) +
         number(directory, 4) + number(0, 2);
  const ZipArchive archive(std::move(zip), path.string());
  return archive.read(archive.entries()[0]);
}

inline void write(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary);
  file << bytes;
  ASSERT_TRUE(file.flush()) << path;
}

inline void expect_error(ErrorKind kind,
                         const std::string& part,
                         const std::function<void()>& work) {
  try {
    work();
    ADD_FAILURE() << "no error, expected one saying '" << part << "'";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

}  // namespace med3d::encoder_test
