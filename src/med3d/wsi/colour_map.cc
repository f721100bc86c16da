#include "med3d/wsi/colour_map.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <span>
#include <vector>

#include "med3d/core/error.h"
#include "med3d/core/text.h"

namespace med3d {
namespace {

struct Corner {
  double at;
  double value;
};

double on_corners(std::span<const Corner> corners, double at) {
  for (std::size_t i = 1; i < corners.size(); ++i) {
    if (at > corners[i].at) continue;
    const Corner& a = corners[i - 1];
    const Corner& b = corners[i];
    return a.value + (b.value - a.value) * (at - a.at) / (b.at - a.at);
  }
  return corners.back().value;
}

std::uint8_t byte_of(double unit) {
  return static_cast<std::uint8_t>(std::lround(std::clamp(unit, 0.0, 1.0) * 255.0));
}

std::array<Rgb, 256> make_jet() {
  constexpr Corner kRed[] = {{0, 0}, {0.35, 0}, {0.66, 1}, {0.89, 1}, {1, 0.5}};
  constexpr Corner kGreen[] = {{0, 0}, {0.125, 0}, {0.375, 1}, {0.64, 1}, {0.91, 0}, {1, 0}};
  constexpr Corner kBlue[] = {{0, 0.5}, {0.11, 1}, {0.34, 1}, {0.65, 0}, {1, 0}};
  std::array<Rgb, 256> table{};
  for (std::size_t i = 0; i < table.size(); ++i) {
    const double at = static_cast<double>(i) / 255.0;
    table[i] = {byte_of(on_corners(kRed, at)),
                byte_of(on_corners(kGreen, at)),
                byte_of(on_corners(kBlue, at))};
  }
  return table;
}

std::array<Rgb, 256> make_viridis() {
  constexpr Rgb kAnchors[] = {{68, 1, 84},
                              {72, 23, 105},
                              {71, 42, 122},
                              {67, 61, 132},
                              {61, 78, 138},
                              {53, 94, 141},
                              {46, 109, 142},
                              {41, 123, 142},
                              {35, 137, 142},
                              {31, 151, 139},
                              {33, 165, 133},
                              {46, 179, 124},
                              {70, 192, 111},
                              {101, 203, 94},
                              {137, 213, 72},
                              {176, 221, 47},
                              {216, 226, 25},
                              {253, 231, 37}};
  std::array<Rgb, 256> table{};
  for (std::size_t i = 0; i < table.size(); ++i) {
    const std::size_t below = std::min<std::size_t>(i / 15, 16);
    const double t = static_cast<double>(i - below * 15) / 15.0;
    for (std::size_t k = 0; k < 3; ++k) {
      table[i][k] = static_cast<std::uint8_t>(
          std::lround(kAnchors[below][k] * (1 - t) + kAnchors[below + 1][k] * t));
    }
  }
  return table;
}

// Moreland's polar form of CIELAB: magnitude, saturation angle, hue angle.
struct Msh {
  double m, s, h;
};

constexpr std::array<double, 3> kWhitePoint = {0.95047, 1.0, 1.08883};  // D65

Msh msh_of(Rgb colour) {
  std::array<double, 3> linear{};
  for (std::size_t k = 0; k < 3; ++k) {
    const double v = colour[k] / 255.0;
    linear[k] = v > 0.04045 ? std::pow((v + 0.055) / 1.055, 2.4) : v / 12.92;
  }
  const auto [r, g, b] = linear;
  const std::array<double, 3> xyz = {0.4124 * r + 0.3576 * g + 0.1805 * b,
                                     0.2126 * r + 0.7152 * g + 0.0722 * b,
                                     0.0193 * r + 0.1192 * g + 0.9505 * b};
  std::array<double, 3> f{};
  for (std::size_t k = 0; k < 3; ++k) {
    const double v = xyz[k] / kWhitePoint[k];
    f[k] = v > 0.008856 ? std::cbrt(v) : 7.787 * v + 16.0 / 116.0;
  }
  const double l = 116 * f[1] - 16;
  const double a = 500 * (f[0] - f[1]);
  const double bb = 200 * (f[1] - f[2]);
  const double m = std::sqrt(l * l + a * a + bb * bb);
  return {m, std::acos(l / m), std::atan2(bb, a)};
}

Rgb rgb_of(Msh msh) {
  const double l = msh.m * std::cos(msh.s);
  const double a = msh.m * std::sin(msh.s) * std::cos(msh.h);
  const double bb = msh.m * std::sin(msh.s) * std::sin(msh.h);
  const double fy = (l + 16) / 116;
  const std::array<double, 3> f = {fy + a / 500, fy, fy - bb / 200};
  std::array<double, 3> xyz{};
  for (std::size_t k = 0; k < 3; ++k) {
    const double cube = f[k] * f[k] * f[k];
    xyz[k] = kWhitePoint[k] * (cube > 0.008856 ? cube : (f[k] - 16.0 / 116.0) / 7.787);
  }
  const auto [x, y, z] = xyz;
  const std::array<double, 3> linear = {3.2406 * x - 1.5372 * y - 0.4986 * z,
                                        -0.9689 * x + 1.8758 * y + 0.0415 * z,
                                        0.0557 * x - 0.2040 * y + 1.0570 * z};
  Rgb colour{};
  for (std::size_t k = 0; k < 3; ++k) {
    const double v = std::max(linear[k], 0.0);
    colour[k] = byte_of(v > 0.0031308 ? 1.055 * std::pow(v, 1 / 2.4) - 0.055 : 12.92 * v);
  }
  return colour;
}

// The hue with which a saturated colour meets an unsaturated one, so that the path is even.
double adjusted_hue(Msh saturated, double unsaturated_m) {
  if (saturated.m >= unsaturated_m) return saturated.h;
  const double spin = saturated.s *
                      std::sqrt(unsaturated_m * unsaturated_m - saturated.m * saturated.m) /
                      (saturated.m * std::sin(saturated.s));
  return saturated.h > -std::numbers::pi / 3 ? saturated.h + spin : saturated.h - spin;
}

std::array<Rgb, 256> make_coolwarm() {
  const Msh cool = msh_of({59, 76, 192});
  const Msh warm = msh_of({180, 4, 38});
  const double middle = std::max({cool.m, warm.m, 88.0});
  std::array<Rgb, 256> table{};
  for (std::size_t i = 0; i < table.size(); ++i) {
    const double at = static_cast<double>(i) / 255.0;
    const Msh end = at < 0.5 ? cool : warm;
    const double t = at < 0.5 ? 2 * at : 2 - 2 * at;  // 0 at the end, 1 in the middle
    const double hue = adjusted_hue(end, middle);
    table[i] = rgb_of({end.m + (middle - end.m) * t, end.s * (1 - t), end.h + (hue - end.h) * t});
  }
  return table;
}

constexpr std::array<std::string_view, 3> kNames = {"jet", "viridis", "coolwarm"};

}  // namespace

ColourMap parse_colour_map(std::string_view name) {
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    if (name == kNames[i]) return static_cast<ColourMap>(i);
  }
  const std::vector<std::string> known(kNames.begin(), kNames.end());
  throw Error(ErrorKind::kUsage,
              "colour map '" + std::string(name) + "', expected " + join(known, ", ") +
                  did_you_mean(name, known));
}

std::string to_string(ColourMap map) { return std::string(kNames[static_cast<std::size_t>(map)]); }

const std::array<Rgb, 256>& colour_table(ColourMap map) {
  static const std::array<Rgb, 256> jet = make_jet();
  static const std::array<Rgb, 256> viridis = make_viridis();
  static const std::array<Rgb, 256> coolwarm = make_coolwarm();
  switch (map) {
    case ColourMap::kViridis:
      return viridis;
    case ColourMap::kCoolwarm:
      return coolwarm;
    case ColourMap::kJet:
      break;
  }
  return jet;
}

Rgb colour_of(ColourMap map, double value) {
  if (!(value > 0.0)) return colour_table(map)[0];
  return colour_table(map)[static_cast<std::size_t>(std::lround(std::min(value, 1.0) * 255.0))];
}

}  // namespace med3d
