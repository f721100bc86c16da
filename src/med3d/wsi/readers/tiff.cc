#include "med3d/wsi/readers/tiff.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "med3d/core/error.h"
#include "med3d/core/limits.h"
#include "med3d/core/text.h"
#include "med3d/io/formats/jpeg.h"
#include "med3d/io/formats/jpeg2000.h"
#include "med3d/wsi/readers/pixels_between_internal.h"
#include "med3d/wsi/readers/tiff_file_internal.h"
#include "med3d/wsi/readers/tile_cache_internal.h"
#include "med3d/wsi/slide_facts.h"

namespace med3d {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kCacheBytes = 64ULL << 20;
constexpr std::int64_t kPiece = 4096;  // OpenSlide's pieces of a large region
constexpr std::size_t kMaxLevels = 64;
constexpr int kMaxLevelsUp = 3;  // how far a missing tile looks for its pixels
constexpr int kWhitePhotometric = 0;
constexpr int kRgbPhotometric = 2;
constexpr int kYCbCrPhotometric = 6;
constexpr std::uint32_t kReducedImage = 1;

bool is_aperio(const TiffDirectory& first) {
  return first.is_tiled && first.description.starts_with("Aperio");
}

bool is_ome(const TiffDirectory& first) {
  return first.description.find("http://www.openmicroscopy.org/Schemas/OME") != std::string::npos;
}

// TIFFs that need the rules of their vendor, which OpenSlide has.
bool is_left_to_openslide(const std::vector<TiffDirectory>& directories) {
  const TiffDirectory& first = directories.front();
  if (first.is_ndpi || first.software.starts_with("Philips") ||
      first.software.starts_with("MedScan")) {
    return true;
  }
  if (first.description.find("http://www.leica-microsystems.com/scn/") != std::string::npos) {
    return true;
  }
  return std::any_of(directories.begin(), directories.end(), [](const TiffDirectory& directory) {
    return directory.xmp.find("iScan") != std::string::npos;
  });
}

// Aperio says it in the first word of the second line: "label 387x463", "macro 1280x431".
std::string aperio_associated_name(const TiffDirectory& directory, std::size_t index) {
  if (index == 1) return "thumbnail";
  const std::size_t line = directory.description.find('\n');
  if (line != std::string::npos) {
    const std::string_view word = trim(std::string_view(directory.description).substr(line + 1));
    for (const char* name : {"label", "macro"}) {
      if (word.starts_with(name)) return name;
    }
  }
  if (directory.subfile_type == 1) return "label";
  if (directory.subfile_type == 9) return "macro";
  return "";
}

// The n-th Image element of an OME-XML, by its Name.
std::string ome_associated_name(std::string_view xml, std::size_t n) {
  std::size_t at = 0;
  for (std::size_t i = 0; i <= n; ++i) {
    at = xml.find("<Image ", i == 0 ? 0 : at + 1);
    if (at == std::string_view::npos) return "";
  }
  const std::string name = to_lower(xml_attribute(xml.substr(at), "Image", "Name").value_or(""));
  for (const char* known : {"label", "macro", "thumbnail"}) {
    if (name.find(known) != std::string::npos) return known;
  }
  return "";
}

std::int64_t whole(double position) { return static_cast<std::int64_t>(std::nearbyint(position)); }

class TiffSlide final : public Slide {
 public:
  explicit TiffSlide(const fs::path& path) : path_(path), file_(path) {
    const auto& directories = file_.directories();
    if (is_aperio(directories.front())) {
      choose_aperio();
    } else if (is_ome(directories.front())) {
      choose_pyramid(true);
    } else {
      choose_pyramid(false);
    }
    check_levels();
    describe();
  }

  const SlideInfo& info() const override { return info_; }

  void read_region(std::int64_t x,
                   std::int64_t y,
                   int level,
                   std::int64_t width,
                   std::int64_t height,
                   std::span<std::uint8_t> rgb) override {
    if (level < 0 || static_cast<std::size_t>(level) >= levels_.size()) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("level {}, expected 0 to {}", level, levels_.size() - 1));
    }
    const auto side = std::int64_t{1} << 31;
    if (width < 0 || height < 0 || width > side || height > side ||
        rgb.size() != static_cast<std::uint64_t>(width) * static_cast<std::uint64_t>(height) * 3) {
      throw Error(
          ErrorKind::kUsage,
          fmt::format("a region of {} x {} pixels and room for {} bytes, expected 3 a pixel",
                      width,
                      height,
                      rgb.size()));
    }
    const std::int64_t far = std::int64_t{1} << 52;  // beyond, a double has no whole pixels
    if (x < -far || x > far || y < -far || y > far) {
      throw Error(ErrorKind::kUsage, fmt::format("a region at ({}, {})", x, y));
    }
    const SlideLevel& size = info_.levels[static_cast<std::size_t>(level)];
    const double downsample = size.downsample;
    // Inside of level 0 every pixel is written anyhow.
    const bool is_inside =
        level == 0 && x >= 0 && y >= 0 && x <= size.width - width && y <= size.height - height;
    if (!is_inside) std::fill(rgb.begin(), rgb.end(), std::uint8_t{0});
    try {
      for (std::int64_t row = 0; row * kPiece < height; ++row) {
        for (std::int64_t col = 0; col * kPiece < width; ++col) {
          read_piece(static_cast<std::int64_t>(static_cast<double>(x) +
                                               static_cast<double>(col * kPiece) * downsample),
                     static_cast<std::int64_t>(static_cast<double>(y) +
                                               static_cast<double>(row * kPiece) * downsample),
                     static_cast<std::size_t>(level),
                     std::min(width - col * kPiece, kPiece),
                     std::min(height - row * kPiece, kPiece),
                     rgb.data() + (row * kPiece * width + col * kPiece) * 3,
                     width * 3);
        }
      }
    } catch (const Error&) {
      rethrow_with_context(path_.string());
    }
  }

  RgbImage associated_image(std::string_view name) override {
    const auto found = associated_.find(std::string(name));
    if (found == associated_.end()) {
      throw Error(ErrorKind::kNotFound,
                  fmt::format("{}: no associated image '{}', there {}",
                              path_.string(),
                              name,
                              info_.associated.empty() ? "are none"
                                                       : "are " + join(info_.associated, ", ")));
    }
    try {
      return read_whole(file_.directories()[found->second]);
    } catch (const Error&) {
      rethrow_with_context(fmt::format("{}: associated image '{}'", path_.string(), name));
    }
  }

 private:
  const TiffDirectory& directory_of(std::size_t level) const {
    return file_.directories()[levels_[level]];
  }

  void choose_aperio() {
    const auto& directories = file_.directories();
    is_aperio_ = true;
    for (std::size_t i = 0; i < directories.size(); ++i) {
      if (directories[i].parent >= 0) continue;
      if (directories[i].is_tiled) {
        levels_.push_back(i);
      } else {
        add_associated(aperio_associated_name(directories[i], i), i);
      }
    }
  }

  void choose_pyramid(bool ome) {
    const auto& directories = file_.directories();
    const TiffDirectory& first = directories.front();
    levels_.push_back(0);
    for (std::size_t i = 1; i < directories.size(); ++i) {
      const TiffDirectory& directory = directories[i];
      const bool is_reduced = (directory.subfile_type & kReducedImage) != 0;
      // A reduced image in strips beside tiled levels is somebody's thumbnail.
      const bool fits = directory.is_tiled == first.is_tiled && has_shape_of(directory, first);
      if (directory.parent == 0 ? fits : directory.parent < 0 && is_reduced && fits) {
        levels_.push_back(i);
      } else if (ome && directory.parent < 0) {
        add_associated(ome_associated_name(first.description, i), i);
      }
    }
  }

  // Of the same proportions, as far as whole pixels allow.
  static bool has_shape_of(const TiffDirectory& small, const TiffDirectory& large) {
    const double x = static_cast<double>(large.width) / static_cast<double>(small.width);
    const double y = static_cast<double>(large.height) / static_cast<double>(small.height);
    const double slack_x = x / static_cast<double>(small.width);
    const double slack_y = y / static_cast<double>(small.height);
    return std::abs(x - y) <= 0.02 * std::max(x, y) + slack_x + slack_y;
  }

  void add_associated(const std::string& name, std::size_t directory) {
    if (name.empty() || !file_.directories()[directory].unsupported().empty()) return;
    associated_.emplace(name, directory);
  }

  void check_levels() {
    const auto& directories = file_.directories();
    if (levels_.size() > kMaxLevels) {
      throw Error(ErrorKind::kFormat,
                  fmt::format("{} levels, more than {}", levels_.size(), kMaxLevels));
    }
    std::stable_sort(levels_.begin(), levels_.end(), [&](std::size_t a, std::size_t b) {
      return directories[a].width * directories[a].height >
             directories[b].width * directories[b].height;
    });
    for (std::size_t level = 0; level < levels_.size(); ++level) {
      const TiffDirectory& directory = directory_of(level);
      const std::string reason = directory.unsupported();
      if (!reason.empty()) {
        throw Error(ErrorKind::kUnsupported, fmt::format("level {}: {}", level, reason));
      }
      try {
        directory.check_tile_size();
      } catch (const Error&) {
        rethrow_with_context(fmt::format("level {}", level));
      }
    }
  }

  void describe() {
    const TiffDirectory& first = file_.directories().front();
    info_.format = "tiff";
    const TiffDirectory& base = directory_of(0);
    for (std::size_t level = 0; level < levels_.size(); ++level) {
      const TiffDirectory& directory = directory_of(level);
      SlideLevel entry;
      entry.width = directory.width;
      entry.height = directory.height;
      if (level > 0) {
        entry.downsample =
            (static_cast<double>(base.height) / static_cast<double>(directory.height) +
             static_cast<double>(base.width) / static_cast<double>(directory.width)) /
            2.0;
      }
      entry.tile_width = directory.is_tiled ? directory.tile_width : 0;
      entry.tile_height = directory.is_tiled ? directory.tile_height : 0;
      info_.levels.push_back(entry);
    }
    for (const auto& entry : associated_) info_.associated.push_back(entry.first);
    info_.properties["openslide.vendor"] = is_aperio_      ? "aperio"
                                           : is_ome(first) ? "ome-tiff"
                                                           : "generic-tiff";
    add_property(info_, "tiff.Make", first.make);
    add_property(info_, "tiff.Model", first.model);
    add_property(info_, "tiff.Software", first.software);
    if (is_aperio_) {
      add_aperio_facts(first.description, info_);
    } else if (is_ome(first)) {
      add_ome_facts(first.description, info_);
    }
    add_tiff_resolution(base.x_resolution, base.y_resolution, base.resolution_unit, info_);
    if (info_.mpp_x && info_.mpp_source == "aperio.MPP") {
      info_.properties["openslide.mpp-x"] = format_double(*info_.mpp_x);
      info_.properties["openslide.mpp-y"] = format_double(*info_.mpp_y);
    }
    if (info_.objective_power) {
      info_.properties["openslide.objective-power"] = format_double(*info_.objective_power);
    }
  }

  static std::int64_t rows_of(const TiffDirectory& directory, std::int64_t row) {
    return directory.is_tiled
               ? directory.tile_height
               : std::min(directory.tile_height, directory.height - row * directory.tile_height);
  }

  static bool is_missing(const TiffDirectory& directory, std::int64_t col, std::int64_t row) {
    return directory.tile_bytes[static_cast<std::size_t>(row * directory.tiles_across + col)] == 0;
  }

  static std::size_t bytes_of(const TiffDirectory& directory, std::int64_t row) {
    return static_cast<std::size_t>(directory.tile_width * rows_of(directory, row) * 3);
  }

  // Decodes a tile that is there into tile_width x rows_of() pixels.
  void decode(const TiffDirectory& directory,
              std::int64_t col,
              std::int64_t row,
              std::span<std::uint8_t> rgb) {
    const auto index = static_cast<std::size_t>(row * directory.tiles_across + col);
    const std::int64_t width = directory.tile_width;
    const std::int64_t height = rows_of(directory, row);
    switch (directory.compression) {
      case kTiffJpeg: {
        file_.read_stored(directory, index, stored_);
        const JpegColor color = directory.photometric == kRgbPhotometric     ? JpegColor::kRgb
                                : directory.photometric == kYCbCrPhotometric ? JpegColor::kYCbCr
                                                                             : JpegColor::kAsMarked;
        jpeg_.decode_rgb(stored_, directory.jpeg_tables, color, width, height, rgb);
        break;
      }
      case kTiffAperioYCbCr:
      case kTiffAperioRgb:
        file_.read_stored(directory, index, stored_);
        decode_jpeg2000_rgb(stored_, directory.compression == kTiffAperioYCbCr, width, height, rgb);
        break;
      default:
        decode_plain(directory, index, rgb);
    }
    if (directory.photometric == kWhitePhotometric) {
      for (std::uint8_t& value : rgb) value = static_cast<std::uint8_t>(255 - value);
    }
  }

  // What libtiff decodes: samples as they are stored, in pixels or in planes.
  void decode_plain(const TiffDirectory& directory,
                    std::size_t index,
                    std::span<std::uint8_t> rgb) {
    const auto samples = static_cast<std::size_t>(directory.samples);
    const std::size_t pixels = rgb.size() / 3;
    if (samples == 3 && !directory.is_planar) {
      file_.decode(directory, index, rgb);
      return;
    }
    const std::size_t planes = directory.is_planar ? std::min<std::size_t>(samples, 3) : 1;
    const std::size_t step = directory.is_planar ? 1 : samples;
    const auto plane_tiles =
        static_cast<std::size_t>(directory.tiles_across * directory.tiles_down);
    plain_.resize(pixels * step);
    for (std::size_t plane = 0; plane < planes; ++plane) {
      const std::size_t tile = index + plane * plane_tiles;
      if (directory.tile_bytes[tile] == 0) {
        std::fill(plain_.begin(), plain_.end(), std::uint8_t{0});
      } else {
        file_.decode(directory, tile, plain_);
      }
      for (std::size_t i = 0; i < pixels; ++i) {
        if (samples < 3) {
          rgb[3 * i] = rgb[3 * i + 1] = rgb[3 * i + 2] = plain_[step * i];
        } else if (directory.is_planar) {
          rgb[3 * i + plane] = plain_[i];
        } else {
          std::memcpy(&rgb[3 * i], &plain_[step * i], 3);
        }
      }
    }
  }

  const DecodedTile& tile(std::size_t level, std::int64_t col, std::int64_t row) {
    const TiffDirectory& directory = directory_of(level);
    const std::uint64_t key = static_cast<std::uint64_t>(level) << 40 |
                              static_cast<std::uint64_t>(row * directory.tiles_across + col);
    if (const DecodedTile* found = cache_.find(key)) return *found;
    DecodedTile fresh;
    fresh.width = directory.tile_width;
    fresh.height = rows_of(directory, row);
    fresh.is_missing = is_missing(directory, col, row);
    if (!fresh.is_missing) {
      fresh.rgb = cache_.memory(bytes_of(directory, row));
      try {
        decode(directory, col, row, fresh.rgb.bytes());
      } catch (const Error&) {
        rethrow_with_context(fmt::format("level {}, tile column {}, row {}", level, col, row));
      }
    } else if (is_aperio_ && level > 0 && levels_up_ < kMaxLevelsUp) {
      ++levels_up_;
      try {
        fresh.is_missing = !render_from_above(level, col, row, fresh);
      } catch (...) {
        --levels_up_;
        throw;
      }
      --levels_up_;
    }
    return *cache_.insert(key, std::move(fresh));
  }

  // Fills a missing tile with means of the level above it.
  bool render_from_above(std::size_t level, std::int64_t col, std::int64_t row, DecodedTile& tile) {
    const TiffDirectory& here = directory_of(level);
    const TiffDirectory& above = directory_of(level - 1);
    const double ratio_x = static_cast<double>(above.width) / static_cast<double>(here.width);
    const double ratio_y = static_cast<double>(above.height) / static_cast<double>(here.height);
    const std::int64_t x0 = col * here.tile_width;
    const std::int64_t y0 = row * here.tile_height;
    const std::int64_t width = std::min(tile.width, here.width - x0);
    const std::int64_t height = std::min(tile.height, here.height - y0);
    const auto edge = [](std::int64_t at, double ratio, std::int64_t end) {
      return std::min(static_cast<std::int64_t>(static_cast<double>(at) * ratio), end);
    };
    const std::int64_t left = edge(x0, ratio_x, above.width);
    const std::int64_t top = edge(y0, ratio_y, above.height);
    const std::int64_t source_width = edge(x0 + width, ratio_x, above.width) - left;
    const std::int64_t source_height = edge(y0 + height, ratio_y, above.height) - top;
    if (source_width < width || source_height < height) return false;
    const auto bytes = static_cast<std::uint64_t>(source_width * source_height * 3);
    if (bytes > limits().tile_bytes) return false;
    std::vector<std::uint8_t> source(bytes);
    read_window(level - 1,
                left,
                top,
                source_width,
                source_height,
                source.data(),
                source_width * 3,
                nullptr);

    tile.rgb = cache_.memory(static_cast<std::size_t>(tile.width * tile.height * 3));
    const std::span<std::uint8_t> out = tile.rgb.bytes();
    std::fill(out.begin(), out.end(), std::uint8_t{0});
    for (std::int64_t y = 0; y < height; ++y) {
      const std::int64_t from_y = edge(y0 + y, ratio_y, above.height) - top;
      const std::int64_t to_y = std::max(from_y + 1, edge(y0 + y + 1, ratio_y, above.height) - top);
      for (std::int64_t x = 0; x < width; ++x) {
        const std::int64_t from_x = edge(x0 + x, ratio_x, above.width) - left;
        const std::int64_t to_x =
            std::max(from_x + 1, edge(x0 + x + 1, ratio_x, above.width) - left);
        const std::int64_t count = (to_y - from_y) * (to_x - from_x);
        for (int c = 0; c < 3; ++c) {
          std::int64_t sum = count / 2;
          for (std::int64_t v = from_y; v < to_y; ++v) {
            for (std::int64_t u = from_x; u < to_x; ++u) {
              sum += source[static_cast<std::size_t>((v * source_width + u) * 3 + c)];
            }
          }
          out[static_cast<std::size_t>((y * tile.width + x) * 3 + c)] =
              static_cast<std::uint8_t>(sum / count);
        }
      }
    }
    return true;
  }

  // Whole pixels of a level into rows `stride` bytes apart; what lies
  // outside of the level is left as it is, what is missing in it becomes 0.
  // cover, if asked for, is set to 1 where there are pixels (width bytes a row).
  void read_window(std::size_t level,
                   std::int64_t x,
                   std::int64_t y,
                   std::int64_t width,
                   std::int64_t height,
                   std::uint8_t* rgb,
                   std::int64_t stride,
                   std::uint8_t* cover) {
    const TiffDirectory& directory = directory_of(level);
    const std::int64_t x0 = std::max<std::int64_t>(x, 0);
    const std::int64_t y0 = std::max<std::int64_t>(y, 0);
    const std::int64_t x1 = std::min(x + width, directory.width);
    const std::int64_t y1 = std::min(y + height, directory.height);
    if (x0 >= x1 || y0 >= y1) return;
    const std::int64_t tw = directory.tile_width;
    const std::int64_t th = directory.tile_height;
    for (std::int64_t row = y0 / th; row <= (y1 - 1) / th; ++row) {
      for (std::int64_t col = x0 / tw; col <= (x1 - 1) / tw; ++col) {
        const DecodedTile& source = tile(level, col, row);
        const std::int64_t from_x = std::max(x0, col * tw);
        const std::int64_t to_x = std::min(x1, (col + 1) * tw);
        const std::int64_t from_y = std::max(y0, row * th);
        const std::int64_t to_y = std::min(y1, (row + 1) * th);
        const auto n = static_cast<std::size_t>(to_x - from_x);
        if (source.is_missing) {
          for (std::int64_t v = from_y; v < to_y; ++v) {
            std::memset(rgb + (v - y) * stride + (from_x - x) * 3, 0, 3 * n);
          }
          continue;
        }
        for (std::int64_t v = from_y; v < to_y; ++v) {
          std::memcpy(rgb + (v - y) * stride + (from_x - x) * 3,
                      source.rgb.data() + ((v - row * th) * tw + (from_x - col * tw)) * 3,
                      3 * n);
          if (cover != nullptr) std::memset(cover + (v - y) * width + (from_x - x), 1, n);
        }
      }
    }
  }

  void read_piece(std::int64_t x,
                  std::int64_t y,
                  std::size_t level,
                  std::int64_t width,
                  std::int64_t height,
                  std::uint8_t* rgb,
                  std::int64_t stride) {
    const double downsample = info_.levels[level].downsample;
    // OpenSlide moves to 0 what begins before it, by whole pixels of the level.
    const auto before = [&](std::int64_t& at, std::int64_t& size) {
      if (at >= 0) return std::int64_t{0};
      const auto skipped = static_cast<std::int64_t>(static_cast<double>(-at) / downsample);
      at = 0;
      size -= skipped;
      return skipped;
    };
    const std::int64_t skip_x = before(x, width);
    const std::int64_t skip_y = before(y, height);
    if (width <= 0 || height <= 0) return;
    rgb += skip_y * stride + skip_x * 3;

    const double level_x = static_cast<double>(x) / downsample;
    const double level_y = static_cast<double>(y) / downsample;
    const Axis across = place_between(level_x, directory_of(level).tile_width);
    const Axis down = place_between(level_y, directory_of(level).tile_height);
    if (across.is_whole && down.is_whole) {
      read_window(level, whole(level_x), whole(level_y), width, height, rgb, stride, nullptr);
    } else {
      read_between(level, across, down, width, height, rgb, stride);
    }
  }

  // A region between the pixels of its level.
  void read_between(std::size_t level,
                    const Axis& across,
                    const Axis& down,
                    std::int64_t width,
                    std::int64_t height,
                    std::uint8_t* rgb,
                    std::int64_t stride) {
    const std::int64_t w = width + 1;
    const std::int64_t h = height + 1;
    window_.assign(static_cast<std::size_t>(w * h * 3), 0);
    cover_.assign(static_cast<std::size_t>(w * h), 0);
    read_window(level, across.at, down.at, w, h, window_.data(), w * 3, cover_.data());
    between_.paint(across, down, width, height, window_, cover_, rgb, stride);
  }

  RgbImage read_whole(const TiffDirectory& directory) {
    const auto bytes = static_cast<std::uint64_t>(directory.width * directory.height * 3);
    if (bytes > limits().image_bytes) {
      throw Error(ErrorKind::kFormat,
                  fmt::format("{} x {} pixels, more than the limit image_bytes",
                              directory.width,
                              directory.height));
    }
    directory.check_tile_size();
    RgbImage image(directory.width, directory.height);
    std::vector<std::uint8_t> piece;
    for (std::int64_t row = 0; row < directory.tiles_down; ++row) {
      for (std::int64_t col = 0; col < directory.tiles_across; ++col) {
        if (is_missing(directory, col, row)) continue;
        piece.resize(bytes_of(directory, row));
        decode(directory, col, row, piece);
        const std::int64_t x = col * directory.tile_width;
        const std::int64_t y = row * directory.tile_height;
        const std::int64_t width = std::min(directory.tile_width, directory.width - x);
        const std::int64_t height = std::min(rows_of(directory, row), directory.height - y);
        for (std::int64_t v = 0; v < height; ++v) {
          std::memcpy(image.at(x, y + v),
                      piece.data() + v * directory.tile_width * 3,
                      static_cast<std::size_t>(width) * 3);
        }
      }
    }
    return image;
  }

  fs::path path_;
  TiffFile file_;
  SlideInfo info_;
  std::vector<std::size_t> levels_;  // directory of each level, largest first
  std::map<std::string, std::size_t> associated_;
  bool is_aperio_ = false;
  int levels_up_ = 0;
  JpegDecoder jpeg_;
  TileCache cache_{kCacheBytes};
  // Kept between calls: their memory is used again.
  std::string stored_;
  std::vector<std::uint8_t> plain_;
  std::vector<std::uint8_t> window_;
  std::vector<std::uint8_t> cover_;
  PixelsBetween between_;
};

bool detect(const fs::path& path, std::string_view head) {
  if (!detect_tiff(head)) return false;
  try {
    return !is_left_to_openslide(TiffFile(path).directories());
  } catch (const Error&) {
    return true;  // a damaged TIFF: open() says what is wrong with it
  }
}

std::unique_ptr<Slide> open(const fs::path& path) {
  try {
    return std::make_unique<TiffSlide>(path);
  } catch (const Error&) {
    rethrow_with_context(path.string());
  }
}

}  // namespace

const SlideFormat tiff_slide_format = {
    "tiff", {".svs", ".tif", ".tiff", ".btf", ".tf8", ".ome.tif", ".ome.tiff"}, detect, open};

}  // namespace med3d
