// Neighbouring grey tone difference: how far a voxel is from the mean of its neighbours.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "med3d/radiology/radiomics/radiomics.h"
#include "med3d/radiology/radiomics/region.h"

namespace med3d::radiomics {

inline constexpr std::array<std::string_view, 5> kNgtdmNames = {
    "Busyness", "Coarseness", "Complexity", "Contrast", "Strength"};

struct NgtdmRow {
  std::int32_t level = 0;
  double voxels = 0.0;  // of that level, n_i
  double differences =
      0.0;  // s_i: sum over them of |level - mean level of neighbours in the region|
};

// One row for each level that occurs. A voxel without a neighbour adds to n_i and 0 to s_i, as in
// pyradiomics' code (its text and IBSI leave such voxels out).
std::vector<NgtdmRow> ngtdm_rows(const Region& region, const Options& options);

// With N = sum n_i, p_i = n_i / N over the G levels that occur:
//
//   Coarseness = 1 / sum p s, 10^6 where that is 0
//   Contrast   = sum_ij p_i p_j (i - j)^2 / (G (G - 1)) * sum s / N, 0 for one level
//   Busyness   = sum p s / sum_ij |i p_i - j p_j|, 0 for 0 / 0
//   Complexity = sum_ij |i - j| (p_i s_i + p_j s_j) / (p_i + p_j) / N
//   Strength   = sum_ij (p_i + p_j) (i - j)^2 / sum s, 0 where that is 0
//
// In the order of kNgtdmNames. Cost O(26 n + levels^2).
// Source: Amadasun and King, IEEE Transactions on Systems, Man, and Cybernetics 19(5):1264, 1989.
// Checked against: IBSI digital phantom; tests/reference/radiomics.py.
std::vector<double> ngtdm_features(const Region& region, const Options& options);

}  // namespace med3d::radiomics
