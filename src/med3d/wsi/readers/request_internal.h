// What every reader checks before it reads a region, and how it copies a piece of an image.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>

#include "med3d/core/error.h"
#include "med3d/wsi/slide.h"

namespace med3d {

// Throws Error(kUsage) for a level that is not there or a size that does not fit `bytes`.
inline void check_region_request(
    const SlideInfo& info, int level, std::int64_t width, std::int64_t height, std::size_t bytes) {
  if (level < 0 || static_cast<std::size_t>(level) >= info.levels.size()) {
    throw Error(ErrorKind::kUsage,
                fmt::format("level {} of a slide with {}", level, info.levels.size()));
  }
  std::int64_t size = 0;
  if (width < 0 || height < 0 || __builtin_mul_overflow(width, height, &size) ||
      __builtin_mul_overflow(size, 3, &size) || static_cast<std::size_t>(size) != bytes) {
    throw Error(ErrorKind::kUsage,
                fmt::format("a region of {} x {} pixels in {} bytes", width, height, bytes));
  }
}

// Copies what lies in both of two RGB images: source has its corner at (source_x, source_y) of
// target, which may be negative. Only the first used_width x used_height pixels of source count.
inline void copy_overlap(const std::uint8_t* source,
                         std::int64_t source_width,
                         std::int64_t used_width,
                         std::int64_t used_height,
                         std::int64_t source_x,
                         std::int64_t source_y,
                         std::span<std::uint8_t> target,
                         std::int64_t target_width,
                         std::int64_t target_height) {
  const std::int64_t left = std::max<std::int64_t>(source_x, 0);
  const std::int64_t right = std::min(source_x + used_width, target_width);
  const std::int64_t top = std::max<std::int64_t>(source_y, 0);
  const std::int64_t bottom = std::min(source_y + used_height, target_height);
  if (left >= right) return;
  for (std::int64_t y = top; y < bottom; ++y) {
    std::memcpy(target.data() + (y * target_width + left) * 3,
                source + ((y - source_y) * source_width + left - source_x) * 3,
                static_cast<std::size_t>(right - left) * 3);
  }
}

}  // namespace med3d
