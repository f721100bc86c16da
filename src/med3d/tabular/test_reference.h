// Test-local readers for the reference vectors; malformed files simply fail the test.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "med3d/core/error.h"
#include "med3d/core/matrix.h"
#include "med3d/core/text.h"
#include "med3d/tabular/clinical_encoder.h"

namespace med3d::tabular {

inline std::filesystem::path test_data(const std::string& below) {
  const char* data = std::getenv("MED3D_TEST_DATA");
  const char* source = std::getenv("MED3D_SOURCE_DIR");
  std::filesystem::path root = data != nullptr ? data : "";
  if (root.empty())
    root = std::filesystem::path(source != nullptr ? source : ".") / "../shared/data";
  return root / below;
}

#define MED3D_NEEDS_REFERENCE(folder)         \
  if (!std::filesystem::is_directory(folder)) \
  GTEST_SKIP() << "REFERENCE VECTORS NOT FOUND: " << (folder).string() << " (set MED3D_TEST_DATA)"

inline std::string slurp(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

// A version 1.0 npy file of '<f8' or '<i8', one or two axes, C order.
inline Matrix<double> read_npy(const std::filesystem::path& path) {
  const std::string bytes = slurp(path);
  if (bytes.size() < 10) return {};
  const std::size_t header_size =
      static_cast<unsigned char>(bytes[8]) + 256U * static_cast<unsigned char>(bytes[9]);
  const std::string header = bytes.substr(10, header_size);
  const std::size_t open = header.find('(');
  char* next = nullptr;
  const std::size_t rows = std::strtoul(header.c_str() + open + 1, &next, 10);
  std::size_t cols = std::strtoul(next + 1, nullptr, 10);
  if (cols == 0) cols = 1;
  Matrix<double> out(rows, cols);
  const char* data = bytes.data() + 10 + header_size;
  const bool integers = header.find("<i8") != std::string::npos;
  for (std::size_t i = 0; i < out.size(); ++i) {
    std::int64_t integer = 0;
    std::memcpy(integers ? static_cast<void*>(&integer) : out.data() + i, data + 8 * i, 8);
    if (integers) out.data()[i] = static_cast<double>(integer);
  }
  return out;
}

// Header and cells; no quoting.
inline RawTable read_plain_csv(const std::filesystem::path& path) {
  RawTable out;
  for (std::string line : split(slurp(path), '\n')) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.empty()) continue;
    const std::vector<std::string> cells = split(line, ',');
    if (out.empty()) {
      for (const std::string& cell : cells) out.push_back({cell, {}});
      continue;
    }
    EXPECT_EQ(cells.size(), out.size()) << path;
    for (std::size_t j = 0; j < out.size(); ++j) out[j].cells.push_back(cells.at(j));
  }
  return out;
}

// The columns as numbers, empty = NaN.
inline Matrix<double> numbers(const RawTable& table, const std::vector<std::size_t>& columns) {
  Matrix<double> out(table[0].cells.size(), columns.size());
  for (std::size_t j = 0; j < columns.size(); ++j) {
    for (std::size_t i = 0; i < out.rows(); ++i) {
      out(i, j) = parse_double(table[columns[j]].cells[i]).value_or(std::nan(""));
    }
  }
  return out;
}

inline void expect_near(const Matrix<double>& found, const Matrix<double>& expected, double bound) {
  ASSERT_EQ(found.rows(), expected.rows());
  ASSERT_EQ(found.cols(), expected.cols());
  for (std::size_t i = 0; i < found.rows(); ++i) {
    for (std::size_t j = 0; j < found.cols(); ++j) {
      ASSERT_NEAR(found(i, j), expected(i, j), bound) << "row " << i << ", column " << j;
    }
  }
}

// The same integers as grid() and table() of tests/reference/*.py: (37 i + 101 j + 7 i^2 + 13 i j)
// mod 97.
inline Matrix<double> reference_grid(std::size_t n, std::size_t p) {
  Matrix<double> out(n, p);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < p; ++j) {
      out(i, j) = static_cast<double>((i * 37 + j * 101 + i * i * 7 + i * j * 13) % 97);
    }
  }
  return out;
}

// checksum() of tests/reference/resample.py: sum of value (i mod 89 + 1) (j + 1).
template <class T>
double checksum(const Matrix<T>& values) {
  double sum = 0.0;
  for (std::size_t i = 0; i < values.rows(); ++i) {
    for (std::size_t j = 0; j < values.cols(); ++j) {
      sum += static_cast<double>(values(i, j)) * static_cast<double>((i % 89 + 1) * (j + 1));
    }
  }
  return sum;
}

template <class Work>
void expect_error(ErrorKind kind, const std::string& part, const Work& work) {
  try {
    work();
    ADD_FAILURE() << "no error, expected one saying '" << part << "'";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

}  // namespace med3d::tabular
