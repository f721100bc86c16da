// Grey level co-occurrence: which levels are neighbours of which.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "med3d/core/matrix.h"
#include "med3d/radiology/radiomics/radiomics.h"
#include "med3d/radiology/radiomics/region.h"

namespace med3d::radiomics {

inline constexpr std::array<std::string_view, 24> kGlcmNames = {"Autocorrelation",
                                                                "ClusterProminence",
                                                                "ClusterShade",
                                                                "ClusterTendency",
                                                                "Contrast",
                                                                "Correlation",
                                                                "DifferenceAverage",
                                                                "DifferenceEntropy",
                                                                "DifferenceVariance",
                                                                "Id",
                                                                "Idm",
                                                                "Idmn",
                                                                "Idn",
                                                                "Imc1",
                                                                "Imc2",
                                                                "InverseVariance",
                                                                "JointAverage",
                                                                "JointEnergy",
                                                                "JointEntropy",
                                                                "MCC",
                                                                "MaximumProbability",
                                                                "SumAverage",
                                                                "SumEntropy",
                                                                "SumSquares"};

// How often a voxel of level present[i] has a voxel of level present[j] one step further; both in
// the region. Symmetrical: the transpose is added.
Matrix<double> glcm_counts(const Region& region, const std::array<int, 3>& step, bool symmetrical);

// counts   (levels, levels), of any scale
// levels   the grey level of each row and column
// highest  Ng of Idn and Idmn: the highest level, be it that lower ones do not occur
//
// With p = counts / sum, mx = sum p i, k = |i - j|, Hxy = -sum p log2 p:
//
//   Imc1 = (Hxy - Hxy1) / max(Hx, Hy), 0 where both are 0
//   Imc2 = sqrt(1 - exp(-2 (Hxy2 - Hxy))), 0 where rounding makes Hxy2 less
//   Correlation = 1 where a variance is 0
//   MCC = root of the second largest eigenvalue of sum_k p(i,k) p(j,k) / (px(i) py(k)), which is
//         the second singular value of p(i,j) / sqrt(px(i) py(j)); 1 for one level
//   the others as in docs/radiomics.md
//
// Returns values in the order of kGlcmNames, all NaN if no pair was counted.
// Cost O(levels^2), MCC O(levels^3).
std::vector<double> glcm_values(const Matrix<double>& counts,
                                const std::vector<std::int32_t>& levels,
                                std::int64_t highest);

// Mean over directions in which there are pairs, or one value of the weighted sum.
// Source: Haralick et al., IEEE Transactions on Systems, Man, and Cybernetics 3(6):610, 1973.
// Checked against: IBSI digital phantom (average and merged), skimage 0.19.3 graycomatrix,
// numpy.linalg.eigvals (tests/reference/radiomics.py).
std::vector<double> glcm_features(const Region& region, const Options& options);

// The largest singular value of a square matrix, O(n^3).
double largest_singular_value(Matrix<double> matrix);

}  // namespace med3d::radiomics
