#include "med3d/wsi/tissue_mask.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <mutex>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>
#include <vector>

#include "med3d/core/error.h"

namespace med3d {
namespace {

constexpr int kFractionBits = 12;  // of OpenCV's division table

// Threads come from our callers: OpenCV's own would be threads inside threads.
void keep_opencv_on_this_thread() {
  static std::once_flag once;
  std::call_once(once, [] { cv::setNumThreads(0); });
}

// OpenCV's functions take no pointer to const but do not write their input.
cv::Mat as_mat(const GrayImage& image) {
  return {static_cast<int>(image.height),
          static_cast<int>(image.width),
          CV_8UC1,
          const_cast<std::uint8_t*>(image.pixels.data())};
}

struct DivisionTable {
  std::array<int, 256> of_value{};
  DivisionTable() {
    for (int value = 1; value < 256; ++value) {
      of_value[static_cast<std::size_t>(value)] =
          static_cast<int>(std::nearbyint((255 << kFractionBits) / static_cast<double>(value)));
    }
  }
};
const DivisionTable& division_table() {
  static const DivisionTable table;
  return table;
}

// least[v]: the smallest max - min at which a pixel of maximum v is more saturated than the
// threshold; 256 where none is.
std::array<int, 256> least_difference(int threshold) {
  std::array<int, 256> out{};
  for (int value = 0; value < 256; ++value) {
    int difference = 0;
    const int factor = division_table().of_value[static_cast<std::size_t>(value)];
    while (difference <= value &&
           (difference * factor + (1 << (kFractionBits - 1))) >> kFractionBits <= threshold) {
      ++difference;
    }
    out[static_cast<std::size_t>(value)] = difference <= value ? difference : 256;
  }
  return out;
}

void check_window(int size, const char* name) {
  if (size < 1 || size > 255 || size % 2 == 0) {
    throw Error(
        ErrorKind::kUsage,
        fmt::format("{} is {}, expected an odd number of pixels from 1 to 255", name, size));
  }
}

void check(std::int64_t width, std::int64_t height, const MaskOptions& options) {
  options.validate();
  if (width < 1 || height < 1 || width > (1 << 30) || height > (1 << 30)) {
    throw Error(ErrorKind::kUsage,
                fmt::format("no tissue can be looked for in {} x {} pixels", width, height));
  }
}

// 255 where more than half of the size x size window are ones, else 0. Beyond the border the border
// repeats.
GrayImage majority_of(const GrayImage& ones, int size) {
  const std::int64_t width = ones.width;
  const std::int64_t height = ones.height;
  const std::int64_t radius = size / 2;
  const int majority = size * size / 2 + 1;
  const auto row = [&](std::int64_t y) {
    return ones.at(0, std::clamp<std::int64_t>(y, 0, height - 1));
  };
  // How many ones each column of the window holds: at most 255. Repeated beyond both ends.
  std::vector<std::uint8_t> columns(static_cast<std::size_t>(width + 2 * radius + 1));
  std::uint8_t* sums = columns.data() + radius;
  for (std::int64_t y = -radius; y <= radius; ++y) {
    const std::uint8_t* from = row(y);
    for (std::int64_t x = 0; x < width; ++x) sums[x] = static_cast<std::uint8_t>(sums[x] + from[x]);
  }
  GrayImage out(width, height);
  for (std::int64_t y = 0; y < height; ++y) {
    if (y > 0) {
      const std::uint8_t* leaves = row(y - radius - 1);
      const std::uint8_t* enters = row(y + radius);
      for (std::int64_t x = 0; x < width; ++x) {
        sums[x] = static_cast<std::uint8_t>(sums[x] + enters[x] - leaves[x]);
      }
    }
    std::fill(columns.data(), sums, sums[0]);
    std::fill(sums + width, sums + width + radius + 1, sums[width - 1]);
    int sum = 0;
    for (std::int64_t x = -radius; x <= radius; ++x) sum += sums[x];
    std::uint8_t* to = out.at(0, y);
    for (std::int64_t x = 0; x < width; ++x) {
      to[x] = sum >= majority ? 255 : 0;
      sum += sums[x + radius + 1] - sums[x - radius];
    }
  }
  return out;
}

void close_mask(GrayImage& mask, int size) {
  if (size == 0) return;
  const cv::Mat kernel = cv::Mat::ones(size, size, CV_8UC1);
  cv::Mat at = as_mat(mask);
  cv::morphologyEx(at, at, cv::MORPH_CLOSE, kernel);
}

TissueMask from_median(const GrayImage& saturation, const MaskOptions& options) {
  const GrayImage median = median_of(saturation, options.mthresh);
  TissueMask out;
  out.otsu = otsu_threshold(median);
  out.mask = GrayImage(median.width, median.height);
  for (std::size_t i = 0; i < median.pixels.size(); ++i) {
    out.mask.pixels[i] = median.pixels[i] > *out.otsu ? 255 : 0;
  }
  close_mask(out.mask, options.close);
  return out;
}

TissueMask from_ones(const GrayImage& ones, const MaskOptions& options) {
  TissueMask out{majority_of(ones, options.mthresh), std::nullopt};
  close_mask(out.mask, options.close);
  return out;
}

}  // namespace

void MaskOptions::validate() const {
  check_window(mthresh, "mthresh");
  if (sthresh < 0 || sthresh > 255) {
    throw Error(ErrorKind::kUsage, fmt::format("sthresh is {}, expected 0 to 255", sthresh));
  }
  if (close < 0 || close > 255) {
    throw Error(ErrorKind::kUsage, fmt::format("close is {}, expected 0 to 255 pixels", close));
  }
}

GrayImage saturation_of(const RgbImage& image) {
  GrayImage out(image.width, image.height);
  const auto& factor = division_table().of_value;
  const std::uint8_t* from = image.pixels.data();
  for (std::uint8_t& to : out.pixels) {
    const int high = std::max({from[0], from[1], from[2]});
    const int low = std::min({from[0], from[1], from[2]});
    to = static_cast<std::uint8_t>(
        ((high - low) * factor[static_cast<std::size_t>(high)] + (1 << (kFractionBits - 1))) >>
        kFractionBits);
    from += 3;
  }
  return out;
}

GrayImage median_of(const GrayImage& image, int size) {
  check_window(size, "the median's window");
  keep_opencv_on_this_thread();
  GrayImage out(image.width, image.height);
  cv::Mat to = as_mat(out);
  cv::medianBlur(as_mat(image), to, size);
  return out;
}

int otsu_threshold(const GrayImage& image) {
  keep_opencv_on_this_thread();
  cv::Mat ignored;
  return static_cast<int>(
      cv::threshold(as_mat(image), ignored, 0, 255, cv::THRESH_BINARY | cv::THRESH_OTSU));
}

TissueMask tissue_mask(const RgbImage& image, const MaskOptions& options) {
  check(image.width, image.height, options);
  keep_opencv_on_this_thread();
  if (options.use_otsu) return from_median(saturation_of(image), options);
  const auto least = least_difference(options.sthresh);
  GrayImage ones(image.width, image.height);
  const std::uint8_t* from = image.pixels.data();
  for (std::uint8_t& to : ones.pixels) {
    const int high = std::max({from[0], from[1], from[2]});
    const int low = std::min({from[0], from[1], from[2]});
    to = high - low >= least[static_cast<std::size_t>(high)] ? 1 : 0;
    from += 3;
  }
  return from_ones(ones, options);
}

TissueMask tissue_mask_of_saturation(const GrayImage& saturation, const MaskOptions& options) {
  check(saturation.width, saturation.height, options);
  keep_opencv_on_this_thread();
  if (options.use_otsu) return from_median(saturation, options);
  GrayImage ones(saturation.width, saturation.height);
  for (std::size_t i = 0; i < ones.pixels.size(); ++i) {
    ones.pixels[i] = saturation.pixels[i] > options.sthresh ? 1 : 0;
  }
  return from_ones(ones, options);
}

}  // namespace med3d
