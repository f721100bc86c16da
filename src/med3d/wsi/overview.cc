#include "med3d/wsi/overview.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "med3d/core/error.h"
#include "med3d/core/limits.h"

namespace med3d {
namespace {

constexpr std::int64_t kBlock = 256;
constexpr std::int64_t kHopeless = 1000;  // squares without any that is whole

// Reads a band; where it is damaged, block by block, so that one bad tile costs its own squares.
void read_band(Slide& slide,
               const SlideLevel& level,
               int index,
               std::int64_t top,
               std::int64_t rows,
               std::vector<std::uint8_t>& band,
               Overview& out) {
  const auto level0 = [&](std::int64_t at) {
    return static_cast<std::int64_t>(std::llround(static_cast<double>(at) * level.downsample));
  };
  out.blocks += (rows + kBlock - 1) / kBlock * ((level.width + kBlock - 1) / kBlock);
  try {
    slide.read_region(0,
                      level0(top),
                      index,
                      level.width,
                      rows,
                      std::span(band.data(), static_cast<std::size_t>(rows * level.width * 3)));
    return;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kFormat) throw;
  }
  std::vector<std::uint8_t> block;
  for (std::int64_t y = 0; y < rows; y += kBlock) {
    for (std::int64_t x = 0; x < level.width; x += kBlock) {
      const std::int64_t height = std::min(kBlock, rows - y);
      const std::int64_t width = std::min(kBlock, level.width - x);
      block.assign(static_cast<std::size_t>(width * height * 3), 128);
      try {
        slide.read_region(level0(x), level0(top + y), index, width, height, block);
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::kFormat) throw;
        std::fill(block.begin(), block.end(), std::uint8_t{128});
        if (out.damaged_blocks++ == 0) out.first_damage = describe(error);
      }
      for (std::int64_t j = 0; j < height; ++j) {
        std::copy_n(
            block.data() + j * width * 3, width * 3, band.data() + ((y + j) * level.width + x) * 3);
      }
    }
  }
}

// A file that lies about its size would be searched for pixels for long.
void check_damage(const Overview& overview, bool is_end, double max_damaged) {
  const auto share =
      static_cast<double>(overview.damaged_blocks) / static_cast<double>(overview.blocks);
  const bool is_hopeless = overview.blocks >= kHopeless && share == 1.0 && max_damaged < 1.0;
  if (!is_hopeless && !(is_end && share > max_damaged)) return;
  throw Error(ErrorKind::kFormat,
              fmt::format("level {}: {} of the {}{} squares of it cannot be decoded: {}",
                          overview.level,
                          overview.damaged_blocks,
                          is_end ? "" : "first ",
                          overview.blocks,
                          overview.first_damage));
}

}  // namespace

Overview read_overview(
    Slide& slide, int index, std::int64_t max_width, std::int64_t max_height, double max_damaged) {
  const SlideInfo& info = slide.info();
  if (index < 0 || index >= static_cast<int>(info.levels.size())) {
    throw Error(ErrorKind::kUsage,
                fmt::format("level {}, expected 0 to {}", index, info.levels.size() - 1));
  }
  if (max_width < 1 || max_height < 1) {
    throw Error(ErrorKind::kUsage,
                fmt::format("an overview of {} x {} pixels", max_width, max_height));
  }
  const SlideLevel& level = info.levels[static_cast<std::size_t>(index)];
  const std::int64_t k = std::max<std::int64_t>(
      {1, (level.width + max_width - 1) / max_width, (level.height + max_height - 1) / max_height});
  const std::int64_t width = (level.width + k - 1) / k;
  const std::int64_t height = (level.height + k - 1) / k;
  const auto bytes = [](std::int64_t w, std::int64_t h) {
    return checked_multiply(
        3 * static_cast<std::uint64_t>(w), static_cast<std::uint64_t>(h), "an overview");
  };
  const std::int64_t band_rows = std::max(k, kBlock / k * k);
  const std::uint64_t most = std::max(bytes(width, height), bytes(level.width, band_rows));
  if (most > limits().image_bytes) {
    throw Error(ErrorKind::kFormat,
                fmt::format("an overview of {} x {} pixels from level {} ({} x {}) takes {} bytes, "
                            "at most {} are allowed",
                            width,
                            height,
                            index,
                            level.width,
                            level.height,
                            most,
                            limits().image_bytes));
  }
  Overview out;
  out.level = index;
  out.reduction = k;
  const SlideLevel& base = info.levels.front();
  const auto step = static_cast<double>(k);
  out.downsample_x = static_cast<double>(base.width) / static_cast<double>(level.width) * step;
  out.downsample_y = static_cast<double>(base.height) / static_cast<double>(level.height) * step;
  out.image = RgbImage(width, height);
  std::vector<std::uint8_t> band(static_cast<std::size_t>(band_rows * level.width * 3));
  for (std::int64_t top = 0; top < level.height; top += band_rows) {
    const std::int64_t rows = std::min(band_rows, level.height - top);
    read_band(slide, level, index, top, rows, band, out);
    check_damage(out, top + rows == level.height, max_damaged);
    for (std::int64_t y = 0; y < rows; y += k) {
      for (std::int64_t x = 0; x < width; ++x) {
        const std::int64_t y_end = std::min(y + k, rows);
        const std::int64_t x_end = std::min((x + 1) * k, level.width);
        std::int64_t sum[3] = {0, 0, 0};
        for (std::int64_t j = y; j < y_end; ++j) {
          for (std::int64_t i = x * k; i < x_end; ++i) {
            for (int c = 0; c < 3; ++c) {
              sum[c] += band[static_cast<std::size_t>((j * level.width + i) * 3 + c)];
            }
          }
        }
        const std::int64_t area = (y_end - y) * (x_end - x * k);
        std::uint8_t* to = out.image.at(x, (top + y) / k);
        for (int c = 0; c < 3; ++c) to[c] = static_cast<std::uint8_t>((sum[c] + area / 2) / area);
      }
    }
  }
  return out;
}

Overview read_thumbnail(Slide& slide, std::int64_t max_width, std::int64_t max_height) {
  const SlideLevel& base = slide.info().levels.front();
  const double wanted = std::max(
      static_cast<double>(base.width) / static_cast<double>(std::max<std::int64_t>(max_width, 1)),
      static_cast<double>(base.height) /
          static_cast<double>(std::max<std::int64_t>(max_height, 1)));
  return read_overview(
      slide, best_level_for_downsample(slide.info(), wanted), max_width, max_height);
}

RgbImage averaged(const RgbImage& image, std::int64_t width, std::int64_t height) {
  if (width < 1 || height < 1 || image.width < 1 || image.height < 1) {
    throw Error(ErrorKind::kUsage,
                fmt::format("an image of {} x {} pixels from one of {} x {}",
                            width,
                            height,
                            image.width,
                            image.height));
  }
  RgbImage out(width, height);
  for (std::int64_t v = 0; v < height; ++v) {
    const std::int64_t top = v * image.height / height;
    const std::int64_t bottom = std::max(top + 1, (v + 1) * image.height / height);
    for (std::int64_t u = 0; u < width; ++u) {
      const std::int64_t left = u * image.width / width;
      const std::int64_t right = std::max(left + 1, (u + 1) * image.width / width);
      const std::int64_t area = (bottom - top) * (right - left);
      for (int c = 0; c < 3; ++c) {
        std::int64_t sum = area / 2;
        for (std::int64_t j = top; j < bottom; ++j) {
          for (std::int64_t i = left; i < right; ++i) sum += image.at(i, j)[c];
        }
        out.at(u, v)[c] = static_cast<std::uint8_t>(sum / area);
      }
    }
  }
  return out;
}

RgbImage read_tile_preview(
    Slide& slide, std::int64_t x, std::int64_t y, std::int64_t footprint, std::int64_t side) {
  if (footprint < 1 || side < 1 || side > 1 << 14 || footprint > 1 << 24) {
    throw Error(ErrorKind::kUsage,
                fmt::format("a preview of {} pixels from {} of the slide", side, footprint));
  }
  const double wanted = static_cast<double>(footprint) / static_cast<double>(side);
  const int index = best_level_for_downsample(slide.info(), wanted);
  const double downsample = slide.info().levels[static_cast<std::size_t>(index)].downsample;
  const std::int64_t size =
      std::max<std::int64_t>(1, std::llround(static_cast<double>(footprint) / downsample));
  if (static_cast<std::uint64_t>(size) * static_cast<std::uint64_t>(size) * 3 >
      limits().image_bytes) {
    throw Error(ErrorKind::kUsage,
                fmt::format("a tile of {} level-0 pixels is too large to show", footprint));
  }
  return averaged(slide.read_region(x, y, index, size, size), side, side);
}

}  // namespace med3d
