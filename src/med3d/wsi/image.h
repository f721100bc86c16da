// Pixels in memory: what slide readers give and what masks, previews and heatmaps are made of.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace med3d {

// 8-bit pixels, rows from the top, kChannels bytes a pixel, no padding between rows.
template <int kChannels>
struct Image {
  std::int64_t width = 0;            // pixels
  std::int64_t height = 0;           // pixels
  std::vector<std::uint8_t> pixels;  // height * width * kChannels

  Image() = default;
  Image(std::int64_t columns, std::int64_t rows, std::uint8_t fill = 0)
      : width(columns),
        height(rows),
        pixels(static_cast<std::size_t>(columns * rows * kChannels), fill) {}

  std::uint8_t* at(std::int64_t x, std::int64_t y) {
    return pixels.data() + (y * width + x) * kChannels;
  }
  const std::uint8_t* at(std::int64_t x, std::int64_t y) const {
    return pixels.data() + (y * width + x) * kChannels;
  }

  friend bool operator==(const Image&, const Image&) = default;
};

using RgbImage = Image<3>;
using GrayImage = Image<1>;

}  // namespace med3d
