// Grey level run lengths: how many voxels of one level follow each other in a line.
#pragma once

#include <array>
#include <string_view>
#include <vector>

#include "med3d/radiology/radiomics/level_sizes.h"
#include "med3d/radiology/radiomics/radiomics.h"
#include "med3d/radiology/radiomics/region.h"

namespace med3d::radiomics {

inline constexpr std::array<std::string_view, 16> kGlrlmNames = {"GrayLevelNonUniformity",
                                                                 "GrayLevelNonUniformityNormalized",
                                                                 "GrayLevelVariance",
                                                                 "HighGrayLevelRunEmphasis",
                                                                 "LongRunEmphasis",
                                                                 "LongRunHighGrayLevelEmphasis",
                                                                 "LongRunLowGrayLevelEmphasis",
                                                                 "LowGrayLevelRunEmphasis",
                                                                 "RunEntropy",
                                                                 "RunLengthNonUniformity",
                                                                 "RunLengthNonUniformityNormalized",
                                                                 "RunPercentage",
                                                                 "RunVariance",
                                                                 "ShortRunEmphasis",
                                                                 "ShortRunHighGrayLevelEmphasis",
                                                                 "ShortRunLowGrayLevelEmphasis"};

// Runs in one direction; a gap in the region ends a run. Empty where no line holds two voxels of
// the region: such a direction says nothing and pyradiomics leaves it out of the mean.
LevelSizes glrlm_counts(const Region& region, const std::array<int, 3>& step);

// Mean over 13 directions, or one value of the weighted sum; in the order of kGlrlmNames, NaN where
// there is no direction. Distances other than 1 have no meaning here.
//
// Source: Galloway, Computer Graphics and Image Processing 4(2):172, 1975.
// Checked against: IBSI digital phantom (average and merged); tests/reference/radiomics.py.
std::vector<double> glrlm_features(const Region& region, const Options& options);

}  // namespace med3d::radiomics
