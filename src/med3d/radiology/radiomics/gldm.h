// Grey level dependence: how many neighbours of a voxel are like it.
#pragma once

#include <array>
#include <string_view>
#include <vector>

#include "med3d/radiology/radiomics/level_sizes.h"
#include "med3d/radiology/radiomics/radiomics.h"
#include "med3d/radiology/radiomics/region.h"

namespace med3d::radiomics {

inline constexpr std::array<std::string_view, 14> kGldmNames = {
    "DependenceEntropy",
    "DependenceNonUniformity",
    "DependenceNonUniformityNormalized",
    "DependenceVariance",
    "GrayLevelNonUniformity",
    "GrayLevelVariance",
    "HighGrayLevelEmphasis",
    "LargeDependenceEmphasis",
    "LargeDependenceHighGrayLevelEmphasis",
    "LargeDependenceLowGrayLevelEmphasis",
    "LowGrayLevelEmphasis",
    "SmallDependenceEmphasis",
    "SmallDependenceHighGrayLevelEmphasis",
    "SmallDependenceLowGrayLevelEmphasis"};

// Voxels by level and dependence: 1 + neighbours in the region whose level differs by at most
// gldm_alpha.
LevelSizes gldm_counts(const Region& region, const Options& options);

// In the order of kGldmNames. IBSI calls it neighbouring grey level dependence (NGLDM).
// Source: Sun and Wee, Computer Vision, Graphics, and Image Processing 23(3):341, 1983.
// Checked against: IBSI digital phantom; tests/reference/radiomics.py.
std::vector<double> gldm_features(const Region& region, const Options& options);

}  // namespace med3d::radiomics
