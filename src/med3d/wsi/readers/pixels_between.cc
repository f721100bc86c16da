#include <algorithm>
#include <cmath>

#include "med3d/wsi/readers/pixels_between_internal.h"

// Products and sums are rounded apart, as on the machines where the pixels were compared: see the
// compile option of this file in CMakeLists.txt.

namespace med3d {
namespace {

constexpr float kOfByte = 1.0F / 255.0F;

// v in [0, 1] to a byte.
std::uint8_t to_byte(float v) {
  const auto whole = static_cast<std::int32_t>(std::min(v, 1.0F) * 256.0F);
  return static_cast<std::uint8_t>(whole - (whole >> 8));
}

// What of a tile's alpha is used where `alpha` is taken already.
float share_of(float alpha, float source_alpha) {
  return source_alpha == 0.0F ? 1.0F : std::min((1.0F - alpha) / source_alpha, 1.0F);
}

// A pixel of the region while tiles are painted on it; colours are multiplied by alpha.
class Painted {
 public:
  void add(float source_alpha, const float source[3]) {
    const float share = share_of(static_cast<float>(alpha_) * kOfByte, source_alpha);
    alpha_ = add_to(alpha_, source_alpha, share);
    for (int c = 0; c < 3; ++c) rgb_[c] = add_to(rgb_[c], source[c], share);
  }

  void store(std::uint8_t* out) const {
    for (int c = 0; c < 3; ++c) {
      out[c] = static_cast<std::uint8_t>(alpha_ == 0 ? 0 : std::min(255 * rgb_[c] / alpha_, 255));
    }
  }

 private:
  static int add_to(int value, float source, float share) {
    return to_byte(source * share + static_cast<float>(value) * kOfByte);
  }

  int alpha_ = 0;
  int rgb_[3] = {0, 0, 0};
};

// The level's pixels around one of the region: above left, above right, below left, below right.
struct Around {
  const float* rgb[4];
  std::uint8_t is_there[4];
};

void paint_pixel(const Around& around,
                 const float weight[4],
                 bool seam_across,
                 bool seam_down,
                 std::uint8_t* out) {
  Painted pixel;
  // The lower tiles before the upper ones, of these the right one before the left one.
  for (int part = 3; part >= 0; --part) {
    const bool is_first_of_tile = (seam_across || part % 2 == 1) && (seam_down || part >= 2);
    if (!is_first_of_tile) continue;
    float alpha = 0.0F;
    float sum[3] = {0.0F, 0.0F, 0.0F};
    for (int i = 0; i < 4; ++i) {
      const bool is_of_tile =
          (!seam_across || i % 2 == part % 2) && (!seam_down || i / 2 == part / 2);
      if (!is_of_tile || around.is_there[i] == 0) continue;
      alpha += weight[i];
      for (int c = 0; c < 3; ++c) sum[c] += around.rgb[i][c] * weight[i];
    }
    pixel.add(alpha, sum);
  }
  pixel.store(out);
}

void to_floats(std::span<const std::uint8_t> bytes, std::vector<float>& out) {
  out.resize(bytes.size());
  for (std::size_t i = 0; i < bytes.size(); ++i) out[i] = static_cast<float>(bytes[i]) * kOfByte;
}

// Pixels whose four are there and of one tile.
void blend_row(const float* upper,
               const float* lower,
               const float weight[4],
               std::int64_t n,
               std::uint8_t* out) {
  const float w0 = weight[0];
  const float w1 = weight[1];
  const float w2 = weight[2];
  const float w3 = weight[3];
  const float share = share_of(0.0F, w0 + w1 + w2 + w3);
  for (std::int64_t i = 0; i < n; ++i) {
    const float v = upper[i] * w0 + upper[i + 3] * w1 + lower[i] * w2 + lower[i + 3] * w3;
    out[i] = to_byte(v * share);
  }
}

}  // namespace

Axis place_between(double position, std::int64_t tile) {
  Axis axis;
  const double rounded = std::nearbyint(position * 256.0) / 256.0;
  axis.is_whole = rounded == std::floor(rounded);
  const auto fixed = static_cast<std::int64_t>(std::nearbyint(position * 65536.0));
  axis.at = fixed >> 16;
  axis.after = static_cast<float>(fixed & 0xFFFF) / 65536.0F;
  axis.tile = tile;
  return axis;
}

void PixelsBetween::paint(const Axis& across,
                          const Axis& down,
                          std::int64_t width,
                          std::int64_t height,
                          std::span<const std::uint8_t> window,
                          std::span<const std::uint8_t> cover,
                          std::uint8_t* rgb,
                          std::int64_t stride) {
  const float right = across.after;
  const float below = down.after;
  const float weight[4] = {(1.0F - right) * (1.0F - below),
                           right * (1.0F - below),
                           (1.0F - right) * below,
                           right * below};
  const auto columns = static_cast<std::size_t>(width + 1);
  const std::int64_t first_seam = across.tile - 1 - across.at % across.tile;
  to_floats(window.first(3 * columns), lower_);
  for (std::int64_t y = 0; y < height; ++y) {
    std::swap(upper_, lower_);
    const auto row = static_cast<std::size_t>(y) * columns;
    to_floats(window.subspan(3 * (row + columns), 3 * columns), lower_);
    std::uint8_t* out = rgb + y * stride;
    const std::span<const std::uint8_t> there = cover.subspan(row, 2 * columns);
    const auto paint_at = [&](std::int64_t x) {
      const auto at = static_cast<std::size_t>(x);
      const Around around = {
          {&upper_[3 * at], &upper_[3 * at + 3], &lower_[3 * at], &lower_[3 * at + 3]},
          {there[at], there[at + 1], there[columns + at], there[columns + at + 1]}};
      paint_pixel(around, weight, across.is_seam(x), down.is_seam(y), out + 3 * x);
    };
    const bool is_full = std::find(there.begin(), there.end(), std::uint8_t{0}) == there.end();
    if (!is_full || down.is_seam(y)) {
      for (std::int64_t x = 0; x < width; ++x) paint_at(x);
      continue;
    }
    blend_row(upper_.data(), lower_.data(), weight, 3 * width, out);
    for (std::int64_t x = first_seam; x < width; x += across.tile) paint_at(x);
  }
}

}  // namespace med3d
