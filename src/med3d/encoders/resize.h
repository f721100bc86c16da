// Resizes 8-bit RGB tiles as Pillow does, bit for bit.
//
// Encoders were trained on tiles that torchvision's Resize scaled through PIL: a triangle filter
// whose width grows with the reduction (antialias). OpenCV's bilinear differs from it by up to 19
// grey levels on tissue, which moves features; so the same arithmetic is done here.
//
//   out = clip((2^21 + sum_i w_i p_i) >> 22),  w_i the normalised weights in 22-bit fixed point
//
// Rows first, then columns; the intermediate is rounded to 8 bits. An axis whose size stays is left
// alone.
//
// Source: Pillow 9.4, Image.resize with BILINEAR.
// Checked against: PIL 9.4 on tiles of tissue and on noise, reducing and enlarging
// (tests/reference/pil_resize.py).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace med3d {

// From one size to another, any number of times. Not safe for two threads at once.
class RgbResize {
 public:
  // Sizes in pixels, each in [1, 65535]. Throws Error(kUsage) else.
  RgbResize(std::int64_t from_width,
            std::int64_t from_height,
            std::int64_t to_width,
            std::int64_t to_height);

  // from   (from_height, from_width, 3)
  // to     (to_height, to_width, 3); may not overlap with `from`
  // Throws Error(kUsage) for other sizes.
  void run(std::span<const std::uint8_t> from, std::span<std::uint8_t> to);

 private:
  // Output i is the sum of `count` inputs from `first` on, by weights[i * taps + k].
  struct Axis {
    std::int64_t from = 0;
    std::int64_t to = 0;
    std::int64_t taps = 0;
    std::vector<std::int32_t> first;
    std::vector<std::int32_t> count;
    std::vector<std::int32_t> weights;
  };
  static Axis axis(std::int64_t from, std::int64_t to);

  Axis x_;
  Axis y_;
  std::vector<std::uint8_t> narrowed_;  // (from_height, to_width, 3)
};

}  // namespace med3d
