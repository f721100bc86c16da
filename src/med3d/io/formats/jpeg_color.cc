#include <algorithm>
#include <array>
#include <cstring>

#include "med3d/io/formats/jpeg_color_internal.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define MED3D_AVX2 __attribute__((target("avx2")))
#endif

namespace med3d {
namespace {

constexpr std::int64_t kStep = 32;  // pixels at once
constexpr std::int64_t kEdge = 16;  // room before the first sum

std::int64_t round_up(std::int64_t value, std::int64_t step) {
  return (value + step - 1) / step * step;
}

}  // namespace

void YCbCrPlanes::resize(std::int64_t new_width, std::int64_t new_height, ChromaLayout new_layout) {
  width = new_width;
  height = new_height;
  layout = new_layout;
  const bool halves_rows = layout == ChromaLayout::kHalfBoth;
  const std::int64_t chroma_rows = halves_rows ? (height + 1) / 2 : height;
  // Whole steps are read beyond the last pixel of a row.
  luma_stride = round_up(width, kStep);
  chroma_stride = luma_stride / 2;
  y.resize(static_cast<std::size_t>(luma_stride * chroma_rows * (halves_rows ? 2 : 1)));
  cb.resize(static_cast<std::size_t>(chroma_stride * chroma_rows));
  cr.resize(cb.size());
  sums.resize(static_cast<std::size_t>(2 * (chroma_stride + 2 * kEdge)));
}

#if defined(MED3D_AVX2)

namespace {

// s_i of a row of chroma and its two edges; for 4:2:2 far is nullptr and s_i = near_i.
MED3D_AVX2 void add_rows(const std::uint8_t* near,
                         const std::uint8_t* far,
                         std::int64_t n,
                         std::int16_t* sums) {
  if (far == nullptr) {
    for (std::int64_t i = 0; i < n; ++i) sums[i] = near[i];
  } else {
    for (std::int64_t i = 0; i < n; ++i) {
      sums[i] = static_cast<std::int16_t>(3 * near[i] + far[i]);
    }
  }
  sums[-1] = sums[0];
  sums[n] = sums[n - 1];
}

// Chroma of 32 pixels less 128: those of even and of odd columns.
struct Chroma {
  __m256i even, odd;
};

MED3D_AVX2 inline __attribute__((always_inline)) __m256i load(const std::int16_t* at) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
}

struct Interpolation {
  __m256i even_bias, odd_bias;
  __m128i shift;
};

MED3D_AVX2 inline __attribute__((always_inline)) Chroma interpolate(const std::int16_t* sums,
                                                                    const Interpolation& rule) {
  const __m256i here = load(sums);
  const __m256i thrice = _mm256_add_epi16(here, _mm256_slli_epi16(here, 1));
  const __m256i even = _mm256_add_epi16(_mm256_add_epi16(thrice, load(sums - 1)), rule.even_bias);
  const __m256i odd = _mm256_add_epi16(_mm256_add_epi16(thrice, load(sums + 1)), rule.odd_bias);
  const __m256i middle = _mm256_set1_epi16(128);
  return {_mm256_sub_epi16(_mm256_srl_epi16(even, rule.shift), middle),
          _mm256_sub_epi16(_mm256_srl_epi16(odd, rule.shift), middle)};
}

// (value * factor + 2^15) / 2^16 rounded down, of 16 bits: the product of the doubled value is cut
// to one bit more than is wanted, which rounds it.
MED3D_AVX2 inline __attribute__((always_inline)) __m256i scaled(__m256i value, int factor) {
  const __m256i product = _mm256_mulhi_epi16(_mm256_slli_epi16(value, 1),
                                             _mm256_set1_epi16(static_cast<short>(factor)));
  return _mm256_srai_epi16(_mm256_add_epi16(product, _mm256_set1_epi16(1)), 1);
}

struct Rgb16 {
  __m256i r, g, b;  // 16 values of 16 bits, 0 to 255
};

MED3D_AVX2 inline __attribute__((always_inline)) Rgb16 convert(__m256i y, __m256i cb, __m256i cr) {
  // 1.402 = 1 + 26345 / 2^16, 1.772 = 2 - 14942 / 2^16, -0.71414 = 18734 / 2^16 - 1, as factors
  // must fit 16 bits.
  const __m256i r = _mm256_add_epi16(_mm256_add_epi16(y, cr), scaled(cr, 26345));
  const __m256i b =
      _mm256_add_epi16(_mm256_add_epi16(y, _mm256_slli_epi16(cb, 1)), scaled(cb, -14942));
  const __m256i factors = _mm256_set1_epi32(static_cast<int>(18734U << 16U | (0x10000U - 22554U)));
  const __m256i half = _mm256_set1_epi32(1 << 15);
  const __m256i low = _mm256_srai_epi32(
      _mm256_add_epi32(_mm256_madd_epi16(_mm256_unpacklo_epi16(cb, cr), factors), half), 16);
  const __m256i high = _mm256_srai_epi32(
      _mm256_add_epi32(_mm256_madd_epi16(_mm256_unpackhi_epi16(cb, cr), factors), half), 16);
  const __m256i g = _mm256_add_epi16(_mm256_sub_epi16(y, cr), _mm256_packs_epi32(low, high));
  const __m256i zero = _mm256_setzero_si256();
  const __m256i most = _mm256_set1_epi16(255);
  return {_mm256_min_epi16(_mm256_max_epi16(r, zero), most),
          _mm256_min_epi16(_mm256_max_epi16(g, zero), most),
          _mm256_min_epi16(_mm256_max_epi16(b, zero), most)};
}

// For byte k of the three times 16 that 16 pixels become: from which byte of a channel it comes,
// 0x80 (nothing) where it is of another.
using Picks = std::array<std::array<std::array<std::uint8_t, 32>, 3>, 3>;  // [third][channel]
constexpr Picks make_picks() {
  Picks picks{};
  for (std::size_t third = 0; third < 3; ++third) {
    for (std::size_t channel = 0; channel < 3; ++channel) {
      for (std::size_t k = 0; k < 16; ++k) {
        const std::size_t at = 16 * third + k;
        const std::size_t pick = at % 3 == channel ? at / 3 : 0x80;
        picks[third][channel][k] = static_cast<std::uint8_t>(pick);
        picks[third][channel][k + 16] = static_cast<std::uint8_t>(pick);
      }
    }
  }
  return picks;
}
alignas(32) constexpr Picks kPicks = make_picks();

MED3D_AVX2 inline __attribute__((always_inline)) __m256i pick_third(std::size_t third,
                                                                    __m256i r,
                                                                    __m256i g,
                                                                    __m256i b) {
  const auto* picks = reinterpret_cast<const __m256i*>(kPicks[third].data());
  return _mm256_or_si256(_mm256_or_si256(_mm256_shuffle_epi8(r, _mm256_load_si256(picks)),
                                         _mm256_shuffle_epi8(g, _mm256_load_si256(picks + 1))),
                         _mm256_shuffle_epi8(b, _mm256_load_si256(picks + 2)));
}

MED3D_AVX2 inline __attribute__((always_inline)) void convert_step(const std::uint8_t* y,
                                                                   const std::int16_t* cb_sums,
                                                                   const std::int16_t* cr_sums,
                                                                   const Interpolation& rule,
                                                                   std::uint8_t* rgb) {
  const __m256i luma = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(y));
  const Chroma cb = interpolate(cb_sums, rule);
  const Chroma cr = interpolate(cr_sums, rule);
  const Rgb16 even = convert(_mm256_and_si256(luma, _mm256_set1_epi16(255)), cb.even, cr.even);
  const Rgb16 odd = convert(_mm256_srli_epi16(luma, 8), cb.odd, cr.odd);
  const __m256i r = _mm256_or_si256(even.r, _mm256_slli_epi16(odd.r, 8));
  const __m256i g = _mm256_or_si256(even.g, _mm256_slli_epi16(odd.g, 8));
  const __m256i b = _mm256_or_si256(even.b, _mm256_slli_epi16(odd.b, 8));
  const __m256i first = pick_third(0, r, g, b);
  const __m256i second = pick_third(1, r, g, b);
  const __m256i last = pick_third(2, r, g, b);
  // Each half of these is of 16 pixels: the first halves go before the second ones.
  auto* out = reinterpret_cast<__m256i*>(rgb);
  _mm256_storeu_si256(out, _mm256_permute2x128_si256(first, second, 0x20));
  _mm256_storeu_si256(out + 1, _mm256_permute2x128_si256(last, first, 0x30));
  _mm256_storeu_si256(out + 2, _mm256_permute2x128_si256(second, last, 0x31));
}

MED3D_AVX2 void convert_row(const std::uint8_t* y,
                            const std::int16_t* cb_sums,
                            const std::int16_t* cr_sums,
                            bool halves_rows,
                            std::int64_t width,
                            std::uint8_t* rgb) {
  const Interpolation rule = {_mm256_set1_epi16(halves_rows ? 8 : 1),
                              _mm256_set1_epi16(halves_rows ? 7 : 2),
                              _mm_cvtsi32_si128(halves_rows ? 4 : 2)};
  std::int64_t x = 0;
  for (; x + kStep <= width; x += kStep) {
    convert_step(y + x, cb_sums + x / 2, cr_sums + x / 2, rule, rgb + 3 * x);
  }
  if (x < width) {
    std::array<std::uint8_t, 3 * kStep> rest;
    convert_step(y + x, cb_sums + x / 2, cr_sums + x / 2, rule, rest.data());
    std::memcpy(rgb + 3 * x, rest.data(), static_cast<std::size_t>(3 * (width - x)));
  }
}

}  // namespace

bool has_planes_to_rgb() { return __builtin_cpu_supports("avx2") != 0; }

void planes_to_rgb(YCbCrPlanes& planes, std::span<std::uint8_t> rgb) {
  const bool halves_rows = planes.layout == ChromaLayout::kHalfBoth;
  const std::int64_t n = (planes.width + 1) / 2;
  const std::int64_t rows = halves_rows ? (planes.height + 1) / 2 : planes.height;
  std::int16_t* cb_sums = planes.sums.data() + kEdge;
  std::int16_t* cr_sums = cb_sums + planes.chroma_stride + 2 * kEdge;
  for (std::int64_t row = 0; row < planes.height; ++row) {
    const std::int64_t near = halves_rows ? row / 2 : row;
    const auto add = [&](const std::vector<std::uint8_t>& plane, std::int16_t* sums) {
      const std::uint8_t* at = plane.data() + near * planes.chroma_stride;
      const std::int64_t far =
          std::clamp<std::int64_t>(near + (row % 2 == 0 ? -1 : 1), 0, rows - 1);
      add_rows(at, halves_rows ? plane.data() + far * planes.chroma_stride : nullptr, n, sums);
    };
    add(planes.cb, cb_sums);
    add(planes.cr, cr_sums);
    convert_row(planes.y.data() + row * planes.luma_stride,
                cb_sums,
                cr_sums,
                halves_rows,
                planes.width,
                rgb.data() + 3 * row * planes.width);
  }
}

#else

bool has_planes_to_rgb() { return false; }
void planes_to_rgb(YCbCrPlanes&, std::span<std::uint8_t>) {}

#endif

}  // namespace med3d
