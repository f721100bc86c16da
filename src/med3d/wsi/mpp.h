// Which scale of a slide is to be believed, and why.
//
// Slides lie about it: 10 pixels a centimetre in an exported TIFF, 0, a scale of another level. A
// wrong scale gives wrong features in silence, so that nothing is guessed here: a scale is taken
// from the user or from the slide, or there is none, and what was not believed is told with its
// arithmetic.
//
// Source of the order and of the buckets: TRIDENT 0.3, read as facts.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "med3d/wsi/slide.h"

namespace med3d {

constexpr double kSmallestMpp = 0.05;  // 0.05 um: beyond what light resolves
constexpr double kLargestMpp = 20.0;   // 20 um: coarser than a thumbnail

struct MppVerdict {
  std::optional<double> mpp;          // micrometres a pixel of level 0, to be used; none if unknown
  std::string source;                 // "override", "aperio.MPP", ...; empty if there is none
  std::vector<std::string> warnings;  // sentences for people, in the order in which they were found
};

// Asks, in this order: the override; info.mpp_x with info.mpp_y; then the properties
// openslide.mpp-x, openslide.mirax.MPP, aperio.MPP, hamamatsu.XResolution and tiff.XResolution with
// its unit. The first one within 0.05 to 20 um is used: the mean of x and y. Warns of
//   - each one that is outside of the range or no number, with how it was computed
//   - x and y that differ by more than 2 %
//   - a scale more than 2.5 times off 10 / objective_power (40x: 0.25 um), which is used all the
//   same
//   - a slide without a scale that can be used; with an objective it says what would fit
// An override that differs from the slide's own by more than 2 % is used, with a warning.
//
// Throws Error(kUsage) for an override outside of the range.
MppVerdict judge_mpp(const SlideInfo& info, std::optional<double> override_mpp = std::nullopt);

// TRIDENT's magnification of a scale: below 0.16 um 80, below 0.2 60, 0.3 40, 0.6 20, 1.2 10, 2.4
// 5; nothing from 2.4 on or for what is not above zero.
std::optional<int> magnification_bucket(double mpp);

}  // namespace med3d
