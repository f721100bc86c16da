#include "med3d/encoders/resize.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "med3d/core/error.h"

// The loops are integer arithmetic: every clone gives the same bits.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define MED3D_CLONES __attribute__((target_clones("default", "avx2", "arch=skylake-avx512")))
#else
#define MED3D_CLONES
#endif

namespace med3d {

namespace {

constexpr int kBits = 22;  // 32 less 8 of the pixel, 1 for the sign, 1 for filters that overshoot
constexpr std::int32_t kHalf = 1 << (kBits - 1);

// Weights of a triangle filter are never negative and their sum is one (up to rounding): only the
// upper end needs clipping.
inline std::uint8_t clipped(std::int32_t sum) {
  return static_cast<std::uint8_t>(std::clamp(sum >> kBits, 0, 255));
}

// One row: `to` pixels from those of `from`. Four 32-bit lanes hold a pixel; the fourth is whatever
// byte follows and is dropped, so `from` must have one byte behind its end.
using Lanes = std::int32_t __attribute__((vector_size(16)));

MED3D_CLONES
void resize_row(const std::uint8_t* from,
                std::uint8_t* to,
                std::int64_t width,
                std::int64_t taps,
                const std::int32_t* first,
                const std::int32_t* count,
                const std::int32_t* weights) {
  for (std::int64_t x = 0; x < width; ++x) {
    const std::uint8_t* pixel = from + 3 * static_cast<std::int64_t>(first[x]);
    const std::int32_t* weight = weights + x * taps;
    Lanes sum = {kHalf, kHalf, kHalf, kHalf};
    for (std::int32_t k = 0; k < count[x]; ++k) {
      using Bytes = std::uint8_t __attribute__((vector_size(4)));
      Bytes bytes;
      std::memcpy(&bytes, pixel + 3 * static_cast<std::int64_t>(k), sizeof(bytes));
      sum += __builtin_convertvector(bytes, Lanes) * weight[k];
    }
    for (int c = 0; c < 3; ++c) to[3 * x + c] = clipped(sum[c]);
  }
}

// One row of the result from `count` rows of `size` bytes, `stride` apart.
MED3D_CLONES
void blend_rows(const std::uint8_t* rows,
                std::int64_t stride,
                std::int32_t count,
                const std::int32_t* weights,
                std::uint8_t* to,
                std::int64_t size) {
  constexpr std::int64_t kBlock = 256;
  std::array<std::int32_t, kBlock> sums;
  for (std::int64_t start = 0; start < size; start += kBlock) {
    const std::int64_t n = std::min(kBlock, size - start);
    for (std::int64_t i = 0; i < n; ++i) sums[static_cast<std::size_t>(i)] = kHalf;
    for (std::int32_t k = 0; k < count; ++k) {
      const std::uint8_t* row = rows + k * stride + start;
      const std::int32_t weight = weights[k];
      for (std::int64_t i = 0; i < n; ++i) sums[static_cast<std::size_t>(i)] += row[i] * weight;
    }
    for (std::int64_t i = 0; i < n; ++i) to[start + i] = clipped(sums[static_cast<std::size_t>(i)]);
  }
}

}  // namespace

// The filter is a triangle of half-width `support` around the centre of the output pixel.
RgbResize::Axis RgbResize::axis(std::int64_t from, std::int64_t to) {
  Axis result;
  result.from = from;
  result.to = to;
  if (from == to) return result;
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  const double widening = std::max(scale, 1.0);
  const double support = widening;  // the triangle reaches one pixel where nothing is reduced
  result.taps = 2 * static_cast<std::int64_t>(std::ceil(support)) + 1;
  result.weights.assign(static_cast<std::size_t>(to * result.taps), 0);
  std::vector<double> weights(static_cast<std::size_t>(result.taps));
  const double steepness = 1.0 / widening;
  for (std::int64_t i = 0; i < to; ++i) {
    const double centre = (static_cast<double>(i) + 0.5) * scale;
    // Truncation is meant: the bounds are at least -support + 0.5 and are cut at zero.
    const auto first = std::max<std::int64_t>(0, static_cast<std::int64_t>(centre - support + 0.5));
    const auto last = std::min(from, static_cast<std::int64_t>(centre + support + 0.5));
    double total = 0.0;
    for (std::int64_t k = 0; k < last - first; ++k) {
      const double distance = std::abs((static_cast<double>(k + first) - centre + 0.5) * steepness);
      weights[static_cast<std::size_t>(k)] = distance < 1.0 ? 1.0 - distance : 0.0;
      total += weights[static_cast<std::size_t>(k)];
    }
    for (std::int64_t k = 0; k < last - first; ++k) {
      const double weight = total != 0.0 ? weights[static_cast<std::size_t>(k)] / total : 0.0;
      result.weights[static_cast<std::size_t>(i * result.taps + k)] =
          static_cast<std::int32_t>(0.5 + weight * (1 << kBits));
    }
    result.first.push_back(static_cast<std::int32_t>(first));
    result.count.push_back(static_cast<std::int32_t>(last - first));
  }
  return result;
}

RgbResize::RgbResize(std::int64_t from_width,
                     std::int64_t from_height,
                     std::int64_t to_width,
                     std::int64_t to_height) {
  for (const std::int64_t side : {from_width, from_height, to_width, to_height}) {
    if (side < 1 || side > 65535) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("resize: {} x {} to {} x {} pixels, expected 1 to 65535 each",
                              from_width,
                              from_height,
                              to_width,
                              to_height));
    }
  }
  x_ = axis(from_width, to_width);
  y_ = axis(from_height, to_height);
  if (from_width != to_width) {
    narrowed_.resize(static_cast<std::size_t>(from_height * to_width * 3));
  }
}

void RgbResize::run(std::span<const std::uint8_t> from, std::span<std::uint8_t> to) {
  if (from.size() != static_cast<std::size_t>(x_.from * y_.from * 3) ||
      to.size() != static_cast<std::size_t>(x_.to * y_.to * 3)) {
    throw Error(ErrorKind::kUsage,
                fmt::format("resize: {} and {} bytes, expected 3 x {} x {} and 3 x {} x {}",
                            from.size(),
                            to.size(),
                            x_.from,
                            y_.from,
                            x_.to,
                            y_.to));
  }
  const std::uint8_t* rows = from.data();
  if (x_.from != x_.to) {
    std::uint8_t* narrowed = y_.from == y_.to ? to.data() : narrowed_.data();
    // The last row has no byte behind it: it is read from a copy that has.
    std::vector<std::uint8_t> last(from.end() - static_cast<std::ptrdiff_t>(x_.from * 3),
                                   from.end());
    last.push_back(0);
    for (std::int64_t y = 0; y < y_.from; ++y) {
      resize_row(y + 1 < y_.from ? rows + y * x_.from * 3 : last.data(),
                 narrowed + y * x_.to * 3,
                 x_.to,
                 x_.taps,
                 x_.first.data(),
                 x_.count.data(),
                 x_.weights.data());
    }
    rows = narrowed;
  }
  const std::int64_t row = x_.to * 3;
  if (y_.from != y_.to) {
    for (std::int64_t y = 0; y < y_.to; ++y) {
      const auto i = static_cast<std::size_t>(y);
      blend_rows(rows + y_.first[i] * row,
                 row,
                 y_.count[i],
                 y_.weights.data() + y * y_.taps,
                 to.data() + y * row,
                 row);
    }
  } else if (rows != to.data()) {
    std::copy_n(rows, static_cast<std::size_t>(y_.to * row), to.data());
  }
}

}  // namespace med3d
