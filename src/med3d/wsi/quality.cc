#include "med3d/wsi/quality.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>
#include <vector>

#include "med3d/core/error.h"
#include "med3d/core/limits.h"
#include "med3d/core/text.h"

namespace med3d {
namespace {

// RGB reduced by whole factors: the mean of factor x factor pixels, rounded; a rest is left out.
struct Reduced {
  std::int64_t width, height;
  std::vector<std::uint8_t> grey;
};

// OpenCV's fixed-point weights of 0.299, 0.587 and 0.114 with 14 bits.
int grey_of(int red, int green, int blue) {
  return (red * 4899 + green * 9617 + blue * 1868 + (1 << 13)) >> 14;
}

Reduced reduce(std::span<const std::uint8_t> rgb,
               std::int64_t width,
               std::int64_t height,
               std::int64_t factor) {
  Reduced out{width / factor, height / factor, {}};
  out.grey.reserve(static_cast<std::size_t>(out.width * out.height));
  const std::int64_t area = factor * factor;
  for (std::int64_t y = 0; y < out.height; ++y) {
    for (std::int64_t x = 0; x < out.width; ++x) {
      std::array<std::int64_t, 3> sum{};
      for (std::int64_t j = 0; j < factor; ++j) {
        const std::uint8_t* from =
            &rgb[static_cast<std::size_t>(((y * factor + j) * width + x * factor) * 3)];
        for (std::int64_t i = 0; i < factor; ++i, from += 3) {
          for (std::size_t k = 0; k < 3; ++k) sum[k] += from[k];
        }
      }
      for (std::int64_t& value : sum) value = (value + area / 2) / area;
      out.grey.push_back(static_cast<std::uint8_t>(
          grey_of(static_cast<int>(sum[0]), static_cast<int>(sum[1]), static_cast<int>(sum[2]))));
    }
  }
  return out;
}

// The neighbour before or after the edge is that one pixel inside; a single pixel is its own.
std::int64_t mirrored(std::int64_t i, std::int64_t size) {
  if (size == 1) return 0;
  if (i < 0) return -i;
  return i < size ? i : 2 * size - 2 - i;
}

double laplacian_variance(const Reduced& image) {
  // Sums of whole numbers: exact, so the order of adding does not matter.
  std::int64_t sum = 0;
  std::int64_t squares = 0;
  for (std::int64_t y = 0; y < image.height; ++y) {
    const std::uint8_t* row = &image.grey[static_cast<std::size_t>(y * image.width)];
    const std::uint8_t* above =
        &image.grey[static_cast<std::size_t>(mirrored(y - 1, image.height) * image.width)];
    const std::uint8_t* below =
        &image.grey[static_cast<std::size_t>(mirrored(y + 1, image.height) * image.width)];
    for (std::int64_t x = 0; x < image.width; ++x) {
      const std::int64_t value = above[x] + below[x] + row[mirrored(x - 1, image.width)] +
                                 row[mirrored(x + 1, image.width)] - 4 * row[x];
      sum += value;
      squares += value * value;
    }
  }
  const auto n = static_cast<double>(image.width * image.height);
  const double mean = static_cast<double>(sum) / n;
  return static_cast<double>(squares) / n - mean * mean;
}

// Hue in degrees of a colour that is not grey.
double hue_of(int red, int green, int blue, int high, int low) {
  const double range = high - low;
  double hue = 0.0;
  if (high == red) {
    hue = 60.0 * (green - blue) / range;
  } else if (high == green) {
    hue = 120.0 + 60.0 * (blue - red) / range;
  } else {
    hue = 240.0 + 60.0 * (red - green) / range;
  }
  return hue < 0 ? hue + 360.0 : hue;
}

}  // namespace

void QualityOptions::validate() const {
  const auto need = [](bool holds, std::string_view field, double found, std::string_view range) {
    if (holds) return;
    throw Error(ErrorKind::kUsage,
                fmt::format("quality {}: {}, expected {}", field, format_double(found), range));
  };
  need(min_saturation >= 0 && min_saturation <= 255, "min_saturation", min_saturation, "0 to 255");
  need(min_brightness >= 0 && min_brightness <= 255, "min_brightness", min_brightness, "0 to 255");
  need(blur_mpp > 0 && blur_mpp <= 100, "blur_mpp", blur_mpp, "above 0 and at most 100");
  need(min_sharpness >= 0 && min_sharpness <= 1e6, "min_sharpness", min_sharpness, "0 to 1e6");
  need(max_ink >= 0 && max_ink <= 1, "max_ink", max_ink, "0 to 1");
}

std::string to_string(DropReason reason) {
  constexpr std::array<std::string_view, 7> kNames = {
      "", "blank", "black", "blurred", "blue ink", "green ink", "black ink"};
  return std::string(kNames[static_cast<std::size_t>(reason)]);
}

TileQuality measure_quality(std::span<const std::uint8_t> rgb,
                            std::int64_t width,
                            std::int64_t height,
                            double mpp,
                            const QualityOptions& options) {
  options.validate();
  if (width < 1 || height < 1 ||
      checked_multiply(
          checked_multiply(
              static_cast<std::uint64_t>(width), static_cast<std::uint64_t>(height), "tile"),
          3,
          "tile") != rgb.size()) {
    throw Error(ErrorKind::kUsage,
                fmt::format("quality: {} bytes for a tile of {} x {} pixels of three bytes",
                            rgb.size(),
                            width,
                            height));
  }
  TileQuality quality;
  std::array<std::int64_t, 3> sums{};
  std::int64_t saturation = 0;
  std::int64_t blue_ink = 0, green_ink = 0, black_ink = 0;
  for (std::size_t p = 0; p < rgb.size(); p += 3) {
    const int red = rgb[p], green = rgb[p + 1], blue = rgb[p + 2];
    sums[0] += red;
    sums[1] += green;
    sums[2] += blue;
    const int high = std::max({red, green, blue});
    const int low = std::min({red, green, blue});
    if (high == low) {
      if (high > 5 && high < 77) ++black_ink;  // 0.02 and 0.30 of 255
      continue;
    }
    saturation += (2 * 255 * (high - low) + high) / (2 * high);  // rounded
    const int range = high - low;
    if (high > 5 && high < 77 && range * 100 < 35 * high) ++black_ink;
    if (range * 100 <= 25 * high || high <= 38) continue;  // no ink is so pale or so dark
    // Red is the highest channel of a hue below 60 or above 300: no ink that is looked for.
    if (high == red && high != green) continue;
    const double hue = hue_of(red, green, blue, high, low);
    if (hue >= 70.0 && hue <= 185.0) ++green_ink;
    if (hue >= 190.0 && hue <= 235.0 && range * 100 > 35 * high && high > 51) ++blue_ink;
  }
  const auto n = static_cast<double>(width * height);
  quality.saturation = static_cast<double>(saturation) / n;
  quality.brightness = static_cast<double>(*std::max_element(sums.begin(), sums.end())) / n;
  quality.blue_ink = static_cast<double>(blue_ink) / n;
  quality.green_ink = static_cast<double>(green_ink) / n;
  quality.black_ink = static_cast<double>(black_ink) / n;

  double factor = mpp > 0 ? std::round(options.blur_mpp / mpp) : 1.0;
  factor = std::clamp(factor, 1.0, static_cast<double>(std::min(width, height)));
  quality.sharpness =
      laplacian_variance(reduce(rgb, width, height, static_cast<std::int64_t>(factor)));
  return quality;
}

DropReason drop_reason(const TileQuality& quality, const QualityOptions& options) {
  if (options.check_black && quality.brightness < options.min_brightness) {
    return DropReason::kBlack;
  }
  if (options.check_blank && quality.saturation < options.min_saturation) {
    return DropReason::kBlank;
  }
  if (options.check_pen) {
    if (quality.blue_ink > options.max_ink) return DropReason::kBlueInk;
    if (quality.green_ink > options.max_ink) return DropReason::kGreenInk;
    if (quality.black_ink > options.max_ink) return DropReason::kBlackInk;
  }
  if (options.check_blur && quality.sharpness < options.min_sharpness) {
    return DropReason::kBlurred;
  }
  return DropReason::kNone;
}

}  // namespace med3d
