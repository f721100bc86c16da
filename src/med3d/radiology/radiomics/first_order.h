// First-order statistics: the grey values of the region, without regard to where they are.
#pragma once

#include <array>
#include <string_view>
#include <vector>

#include "med3d/radiology/radiomics/radiomics.h"
#include "med3d/radiology/radiomics/region.h"

namespace med3d::radiomics {

inline constexpr std::array<std::string_view, 18> kFirstOrderNames = {"10Percentile",
                                                                      "90Percentile",
                                                                      "Energy",
                                                                      "Entropy",
                                                                      "InterquartileRange",
                                                                      "Kurtosis",
                                                                      "Maximum",
                                                                      "MeanAbsoluteDeviation",
                                                                      "Mean",
                                                                      "Median",
                                                                      "Minimum",
                                                                      "Range",
                                                                      "RobustMeanAbsoluteDeviation",
                                                                      "RootMeanSquared",
                                                                      "Skewness",
                                                                      "TotalEnergy",
                                                                      "Uniformity",
                                                                      "Variance"};

// X_i values of the region, N of them, p(l) share of its voxels at grey level l, c the shift:
//
//   Energy = sum (X_i + c)^2      TotalEnergy = Energy times the volume of a voxel in mm^3
//   Entropy = -sum p log2 p       Uniformity = sum p^2
//   Variance, Skewness, Kurtosis from central moments divided by N; Kurtosis is not excess (IBSI's
//   is lower by 3). Flat region: Skewness and Kurtosis 0
//   Percentiles by linear interpolation (numpy's default)
//   RobustMeanAbsoluteDeviation over the values from the 10th to the 90th percentile, both included
//
// Returns values in the order of kFirstOrderNames, then the standard deviation (divided by N) if
// options ask for it. Cost O(n log n).
// Checked against: IBSI digital phantom; numpy (tests/reference/radiomics.py).
std::vector<double> first_order_features(const Region& region, const Options& options);

}  // namespace med3d::radiomics
