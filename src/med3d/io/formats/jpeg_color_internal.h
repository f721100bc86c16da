// From the planes of a JPEG with smaller chroma to RGB: libjpeg-turbo's own pixels, in one pass.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace med3d {

// How the planes of chroma lie under that of luma.
enum class ChromaLayout {
  kHalfWidth,  // 4:2:2
  kHalfBoth,   // 4:2:0
};

// A picture as TurboJPEG gives it before colour. Memory is kept from one picture to the next.
struct YCbCrPlanes {
  std::int64_t width = 0;  // pixels, at least kMinUpsampledWidth
  std::int64_t height = 0;
  ChromaLayout layout = ChromaLayout::kHalfBoth;
  std::int64_t luma_stride = 0;  // bytes a row, a multiple of 32
  std::int64_t chroma_stride = 0;
  std::vector<std::uint8_t> y;   // height, rounded up to whole chroma rows
  std::vector<std::uint8_t> cb;  // ceil(width / 2) x height, or ceil(height / 2)
  std::vector<std::uint8_t> cr;
  std::vector<std::int16_t> sums;  // of planes_to_rgb

  // Makes room for a picture.
  void resize(std::int64_t new_width, std::int64_t new_height, ChromaLayout new_layout);
};

// Below it libjpeg repeats samples of chroma instead of interpolating them.
constexpr std::int64_t kMinUpsampledWidth = 5;

// Whether the processor has what planes_to_rgb needs (AVX2).
bool has_planes_to_rgb();

// Interpolates chroma and converts.
//
//   4:2:2  c(2i) = (3 c_i + c_{i-1} + 1) / 4,  c(2i + 1) = (3 c_i + c_{i+1} + 2) / 4, rounded down
//   4:2:0  s_i = 3 near_i + far_i over the two nearest rows, then
//          c(2i) = (3 s_i + s_{i-1} + 8) / 16, c(2i + 1) = (3 s_i + s_{i+1} + 7) / 16
//   R = Y + 1.402 Cr, G = Y - 0.34414 Cb - 0.71414 Cr, B = Y + 1.772 Cb, Cb and Cr less 128
//
// Samples at an edge are their own neighbours. Factors are integers over 2^16, sums are rounded
// once.
//
// rgb  height * width * 3
//
// Cost: about a third of what TurboJPEG takes for these two steps, as it makes a picture of full
// chroma between them. Requires has_planes_to_rgb().
//
// Source: libjpeg-turbo's jdsample.c and jdcolor.c define the values.
// Checked against: tjDecompress2 on the same bytes, all widths and heights of 5 to 80.
void planes_to_rgb(YCbCrPlanes& planes, std::span<std::uint8_t> rgb);

}  // namespace med3d
