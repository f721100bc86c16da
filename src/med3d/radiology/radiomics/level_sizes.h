// What run lengths, zones and dependences have in common: a matrix of grey level by size.
#pragma once

#include <cstdint>
#include <map>
#include <utility>

namespace med3d::radiomics {

// Counts (or weighted counts) of pieces by (grey level, size), both from 1.
using LevelSizes = std::map<std::pair<std::int32_t, std::int64_t>, double>;

// With P(i, j) pieces of level i and size j, N = sum P, p = P / N:
struct LevelSizeValues {
  double small = 0.0;                // sum P / j^2 / N
  double large = 0.0;                // sum P j^2 / N
  double low_level = 0.0;            // sum P / i^2 / N
  double high_level = 0.0;           // sum P i^2 / N
  double small_low = 0.0;            // sum P / (i^2 j^2) / N
  double small_high = 0.0;           // sum P i^2 / j^2 / N
  double large_low = 0.0;            // sum P j^2 / i^2 / N
  double large_high = 0.0;           // sum P i^2 j^2 / N
  double level_nonuniformity = 0.0;  // sum_i (sum_j P)^2 / N
  double size_nonuniformity = 0.0;   // sum_j (sum_i P)^2 / N
  double level_variance = 0.0;       // of i under p
  double size_variance = 0.0;        // of j under p
  double entropy = 0.0;              // -sum p log2 p
  double percentage = 0.0;           // N / sum P j: pieces for each voxel
  double pieces = 0.0;               // N
};

// All NaN (pieces 0) where there is no piece.
LevelSizeValues level_size_values(const LevelSizes& sizes);

}  // namespace med3d::radiomics
