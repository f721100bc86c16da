// Colour maps: a number between 0 and 1 to a colour.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "med3d/wsi/draw.h"

namespace med3d {

// kJet       blue - cyan - yellow - red: what CLAM draws, so what readers of its maps expect. Not
//            even in brightness: steps of equal size do not look equal.
// kViridis   dark blue - green - yellow: even in brightness, safe for colour-blind readers
// kCoolwarm  blue - grey - red: for scores with a meaningful middle
enum class ColourMap { kJet, kViridis, kCoolwarm };

ColourMap parse_colour_map(std::string_view name);  // "jet", "viridis", "coolwarm"; Error(kUsage)
std::string to_string(ColourMap map);

// 256 colours: entry i is the colour of i / 255, straight lines between
//   jet        the corners of MATLAB's and matplotlib's map: red rises 0.35-0.66 and falls to half
//              over 0.89-1, green 0.125-0.375 and 0.64-0.91, blue from half 0-0.11, 0.34-0.65
//   viridis    18 anchors of the published table (Smith and van der Walt, CC0), every 15th entry
//   coolwarm   no anchors but the formula: Msh interpolation between (59, 76, 192) and (180, 4, 38)
//              through (221, 221, 221). Moreland, ISVC 2009, doi:10.1007/978-3-642-10520-3_9
// Checked against: OpenCV's viridis (within 5 of 255) and Moreland's published coolwarm table
// (within 2, its entries
// lie between ours).
const std::array<Rgb, 256>& colour_table(ColourMap map);

// The entry of `value`, rounded to the nearest and clamped to [0, 1]; NaN is 0.
Rgb colour_of(ColourMap map, double value);

}  // namespace med3d
