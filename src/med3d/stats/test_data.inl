// Shared by this module's tests, never installed: reads the reference vectors.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "med3d/core/matrix.h"

namespace med3d::stats {

inline std::filesystem::path reference_folder(const std::string& name) {
  const char* data = std::getenv("MED3D_TEST_DATA");
  const char* source = std::getenv("MED3D_SOURCE_DIR");
  const std::filesystem::path root =
      data != nullptr
          ? std::filesystem::path(data)
          : std::filesystem::path(source != nullptr ? source : ".") / ".." / "shared" / "data";
  return root / "reference" / name;
}

#define MED3D_NEED_REFERENCE(folder)                                                      \
  if (!std::filesystem::exists(folder)) {                                                 \
    GTEST_SKIP() << "REFERENCE VECTORS NOT FOUND: no folder " << (folder).string()        \
                 << " (set MED3D_TEST_DATA); agreement with the reference is NOT proven"; \
  }

// Rows of a csv file without its header; an empty last field is kept.
inline std::vector<std::vector<std::string>> read_csv(const std::filesystem::path& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file.good()) << path;
  std::vector<std::vector<std::string>> rows;
  std::string line;
  std::getline(file, line);
  while (std::getline(file, line)) {
    if (line.empty()) continue;
    std::vector<std::string> fields(1);
    for (const char c : line) {
      if (c == ',') {
        fields.emplace_back();
      } else if (c != '\r') {
        fields.back() += c;
      }
    }
    rows.push_back(fields);
  }
  return rows;
}

struct Labelled {
  std::vector<std::uint8_t> label;
  std::vector<double> score;
};

inline Labelled read_labelled(const std::filesystem::path& path) {
  Labelled out;
  for (const auto& row : read_csv(path)) {
    out.label.push_back(static_cast<std::uint8_t>(std::stoi(row[0])));
    out.score.push_back(std::stod(row[1]));
  }
  return out;
}

// The numbers of a version 1 .npy file in C order, little-endian; T must be its type.
template <class T>
Matrix<T> read_npy(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (bytes.size() < 10) {
    ADD_FAILURE() << path << " is no .npy file";
    return {};
  }
  const auto header_size = static_cast<std::size_t>(static_cast<unsigned char>(bytes[8])) +
                           256 * static_cast<std::size_t>(static_cast<unsigned char>(bytes[9]));
  const std::string header = bytes.substr(10, header_size);
  EXPECT_NE(header.find(sizeof(T) == 4 ? "<f4" : "<i8"), std::string::npos) << header;
  const auto open = header.find('(');
  std::istringstream shape(header.substr(open + 1));
  std::size_t rows = 0;
  std::size_t cols = 1;
  char comma = 0;
  shape >> rows >> comma;
  if (std::size_t second = 0; shape >> second) cols = second;
  Matrix<T> out(rows, cols);
  EXPECT_EQ(bytes.size() - 10 - header_size, out.size() * sizeof(T)) << path;
  std::memcpy(out.data(), bytes.data() + 10 + header_size, out.size() * sizeof(T));
  return out;
}

}  // namespace med3d::stats
