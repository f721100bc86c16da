// Grey level size zones: how large the patches of one level are.
#pragma once

#include <array>
#include <string_view>
#include <vector>

#include "med3d/radiology/radiomics/level_sizes.h"
#include "med3d/radiology/radiomics/radiomics.h"
#include "med3d/radiology/radiomics/region.h"

namespace med3d::radiomics {

inline constexpr std::array<std::string_view, 16> kGlszmNames = {"GrayLevelNonUniformity",
                                                                 "GrayLevelNonUniformityNormalized",
                                                                 "GrayLevelVariance",
                                                                 "HighGrayLevelZoneEmphasis",
                                                                 "LargeAreaEmphasis",
                                                                 "LargeAreaHighGrayLevelEmphasis",
                                                                 "LargeAreaLowGrayLevelEmphasis",
                                                                 "LowGrayLevelZoneEmphasis",
                                                                 "SizeZoneNonUniformity",
                                                                 "SizeZoneNonUniformityNormalized",
                                                                 "SmallAreaEmphasis",
                                                                 "SmallAreaHighGrayLevelEmphasis",
                                                                 "SmallAreaLowGrayLevelEmphasis",
                                                                 "ZoneEntropy",
                                                                 "ZonePercentage",
                                                                 "ZoneVariance"};

// Connected voxels of one level, 26 neighbours (8 in a plane if force_2d), by level and size.
LevelSizes glszm_counts(const Region& region, bool force_2d);

// In the order of kGlszmNames. Cost O(n), memory of one byte a voxel of the bounding box.
// Source: Thibault et al., PRIP 2009:140.
// Checked against: IBSI digital phantom; scipy.ndimage.label (tests/reference/radiomics.py).
std::vector<double> glszm_features(const Region& region, const Options& options);

}  // namespace med3d::radiomics
