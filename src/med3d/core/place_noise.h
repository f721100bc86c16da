// Noise that is a function of its place: a picture can be drawn in any order, in parts and by any
// number of threads, and each of its pixels stays the same.
#pragma once

#include <cmath>
#include <cstdint>

namespace med3d {

// 64 well mixed bits of a seed and a place (SplitMix64's finaliser).
inline std::uint64_t bits_at(std::uint64_t seed, std::int64_t x, std::int64_t y) {
  std::uint64_t bits = seed ^ (static_cast<std::uint64_t>(x) * 0x9E3779B97F4A7C15ULL) ^
                       (static_cast<std::uint64_t>(y) * 0xC2B2AE3D27D4EB4FULL);
  bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9ULL;
  bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EBULL;
  return bits ^ (bits >> 31);
}

// The 53 highest of the bits as a number in [0, 1).
inline double unit_of(std::uint64_t bits) { return static_cast<double>(bits >> 11) * 0x1.0p-53; }

// Smooth noise of -1..1: random values on a lattice of 1, blended between (3 t^2 - 2 t^3 along each
// axis). In three dimensions its standard deviation is about 0.3.
inline double smooth_noise(std::uint64_t seed, double x, double y) {
  const double fx = std::floor(x), fy = std::floor(y);
  const auto ix = static_cast<std::int64_t>(fx), iy = static_cast<std::int64_t>(fy);
  const auto blend = [](double t) { return t * t * (3 - 2 * t); };
  const double u = blend(x - fx), v = blend(y - fy);
  const auto at = [&](std::int64_t i, std::int64_t j) {
    return 2 * unit_of(bits_at(seed, ix + i, iy + j)) - 1;
  };
  const double top = at(0, 0) + (at(1, 0) - at(0, 0)) * u;
  const double bottom = at(0, 1) + (at(1, 1) - at(0, 1)) * u;
  return top + (bottom - top) * v;
}

inline double smooth_noise(std::uint64_t seed, double x, double y, double z) {
  const double fz = std::floor(z);
  const double t = z - fz;
  const auto layer = [&](double level) {
    return smooth_noise(
        seed + static_cast<std::uint64_t>(static_cast<std::int64_t>(level)) * 0x165667B19E3779F9ULL,
        x,
        y);
  };
  const double below = layer(fz);
  return below + (layer(fz + 1) - below) * (t * t * (3 - 2 * t));
}

}  // namespace med3d
