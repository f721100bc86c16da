// Slides that no reader of ours takes, through OpenSlide 3.4.1: Hamamatsu NDPI and VMS, MIRAX,
// Leica SCN, Ventana BIF, Philips TIFF, Trestle, Sakura; asked for by name also Aperio and tiled
// TIFF.
//
// Three things are mended here:
// - Its handle refuses everything after the first error. It is closed then and opened again at the
//   next call, so that a bad tile costs only the regions that touch it.
// - A TIFF level that is smaller than its own tile and is not stored as JPEG or JPEG 2000 comes out
//   scrambled and with memory that was never written (libtiff 4.5 narrows the raster without
//   OpenSlide knowing). Such levels are left out.
// - libtiff, which it calls, prints warnings: that is switched off for the process.
#include <fmt/format.h>
#include <openslide.h>
#include <tiffio.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "med3d/core/error.h"
#include "med3d/core/limits.h"
#include "med3d/core/text.h"
#include "med3d/wsi/readers/request_internal.h"
#include "med3d/wsi/slide.h"

namespace med3d {
namespace {

namespace fs = std::filesystem;

constexpr int kMaxLevels = 64;
constexpr int kMaxDirectories = 1000;

void silence_libtiff() {
  static const bool done = [] {
    TIFFSetWarningHandler(nullptr);
    TIFFSetErrorHandler(nullptr);
    return true;
  }();
  static_cast<void>(done);
}

// What is passed on, by name: everything else may hold a name, a date, a number or a file name.
// Of these only what is a number. The levels are told by SlideInfo.
constexpr std::array<std::string_view, 43> kNumbers = {
    "aperio.AppMag",
    "aperio.Exposure Scale",
    "aperio.Exposure Time",
    "aperio.Focus Offset",
    "aperio.Gamma",
    "aperio.Left",
    "aperio.LineAreaXOffset",
    "aperio.LineAreaYOffset",
    "aperio.LineCameraSkew",
    "aperio.MPP",
    "aperio.OriginalHeight",
    "aperio.OriginalWidth",
    "aperio.StripeWidth",
    "aperio.Top",
    "hamamatsu.LayerSpacing",
    "hamamatsu.NoLayers",
    "hamamatsu.PhysicalHeight",
    "hamamatsu.PhysicalWidth",
    "hamamatsu.SourceLens",
    "hamamatsu.XOffsetFromSlideCentre",
    "hamamatsu.YOffsetFromSlideCentre",
    "hamamatsu.ZOffsetFromSlideCentre",
    "leica.aperture",
    "leica.objective",
    "mirax.GENERAL.ADAPTER_SIZE",
    "mirax.GENERAL.OBJECTIVE_MAGNIFICATION",
    "mirax.LAYER_0_LEVEL_0_SECTION.MICROMETER_PER_PIXEL_X",
    "mirax.LAYER_0_LEVEL_0_SECTION.MICROMETER_PER_PIXEL_Y",
    "openslide.bounds-height",
    "openslide.bounds-width",
    "openslide.bounds-x",
    "openslide.bounds-y",
    "openslide.mpp-x",
    "openslide.mpp-y",
    "openslide.objective-power",
    "sakura.NominalLensMagnification",
    "sakura.ResolutionMmPerPix",
    "tiff.XPosition",
    "tiff.XResolution",
    "tiff.YPosition",
    "tiff.YResolution",
    "trestle.Objective Power",
    "ventana.ScanRes",
};

bool may_be_told(std::string_view name, std::string_view value) {
  if (name == "openslide.vendor") return true;  // one of OpenSlide's own words
  if (name == "tiff.ResolutionUnit") return value == "inch" || value == "centimeter";
  if (name.starts_with("openslide.region[") || name == "ventana.Magnification" ||
      std::ranges::find(kNumbers, name) != kNumbers.end()) {
    return parse_double(value).has_value();
  }
  if (name == "openslide.background-color") {
    return value.size() == 6 && value.find_first_not_of("0123456789ABCDEFabcdef") == value.npos;
  }
  return false;
}

using Size = std::pair<std::int64_t, std::int64_t>;

// The sizes of the levels that OpenSlide would read wrongly; none where the file is no TIFF.
std::set<Size> levels_smaller_than_their_tile(const fs::path& path) {
  std::set<Size> out;
  TIFF* const tiff = TIFFOpen(path.c_str(), "r");
  if (tiff == nullptr) return out;
  int directories = 0;
  do {
    std::uint32_t width = 0;
    std::uint32_t height = 0;
    std::uint32_t tile_width = 0;
    std::uint32_t tile_height = 0;
    std::uint16_t compression = 0;
    TIFFGetFieldDefaulted(tiff, TIFFTAG_COMPRESSION, &compression);
    const bool safe =
        compression == COMPRESSION_JPEG || compression == 33003 || compression == 33005;
    if (!safe && TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &width) == 1 &&
        TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &height) == 1 &&
        TIFFGetField(tiff, TIFFTAG_TILEWIDTH, &tile_width) == 1 &&
        TIFFGetField(tiff, TIFFTAG_TILELENGTH, &tile_height) == 1 &&
        (tile_width > width || tile_height > height)) {
      out.insert({width, height});
    }
  } while (++directories < kMaxDirectories && TIFFReadDirectory(tiff) == 1);
  TIFFClose(tiff);
  return out;
}

// As openslide-python's argb2rgba and Pillow's convert("RGB"): un-premultiplied, alpha dropped.
void to_rgb(std::span<const std::uint32_t> argb, std::span<std::uint8_t> rgb) {
  for (std::size_t i = 0; i < argb.size(); ++i) {
    const std::uint32_t alpha = argb[i] >> 24;
    for (int c = 0; c < 3; ++c) {
      const std::uint32_t value = argb[i] >> (16 - 8 * c) & 0xFF;
      rgb[3 * i + static_cast<std::size_t>(c)] = static_cast<std::uint8_t>(
          alpha == 255 ? value
          : alpha == 0 ? 0
                       : std::min<std::uint32_t>(255 * value / alpha, 255));
    }
  }
}

class OpenSlideSlide : public Slide {
 public:
  explicit OpenSlideSlide(const fs::path& path) : path_(path) {
    silence_libtiff();
    open();
    describe_levels();
    for (auto name = openslide_get_property_names(handle_.get()); *name != nullptr; ++name) {
      const char* value = openslide_get_property_value(handle_.get(), *name);
      if (value != nullptr && may_be_told(*name, value)) info_.properties[*name] = value;
    }
    for (auto name = openslide_get_associated_image_names(handle_.get()); *name != nullptr;
         ++name) {
      info_.associated.emplace_back(*name);
    }
    std::ranges::sort(info_.associated);
    const auto number = [&](const char* name) -> std::optional<double> {
      const auto found = info_.properties.find(name);
      return found == info_.properties.end() ? std::nullopt : parse_double(found->second);
    };
    info_.format = "openslide";
    info_.mpp_x = number("openslide.mpp-x");
    info_.mpp_y = number("openslide.mpp-y");
    if (info_.mpp_x || info_.mpp_y) info_.mpp_source = "openslide.mpp-x";
    info_.objective_power = number("openslide.objective-power");
    check();
  }

  const SlideInfo& info() const override { return info_; }

  void read_region(std::int64_t x,
                   std::int64_t y,
                   int level,
                   std::int64_t width,
                   std::int64_t height,
                   std::span<std::uint8_t> rgb) override {
    check_region_request(info_, level, width, height, rgb.size());
    if (rgb.empty()) return;
    open();
    buffer_.assign(static_cast<std::size_t>(width * height), 0);
    openslide_read_region(handle_.get(), buffer_.data(), x, y, numbers_[level], width, height);
    check(fmt::format("region of {} x {} at ({}, {}), level {}", width, height, x, y, level));
    clear_beyond(info_.levels[static_cast<std::size_t>(level)], x, y, width, height);
    to_rgb(buffer_, rgb);
  }

  RgbImage associated_image(std::string_view name) override {
    if (std::ranges::find(info_.associated, name) == info_.associated.end()) {
      throw Error(ErrorKind::kNotFound,
                  fmt::format("{}: no image '{}'; there are: {}",
                              path_.string(),
                              name,
                              fmt::join(info_.associated, ", ")));
    }
    open();
    const std::string wanted(name);
    std::int64_t width = 0;
    std::int64_t height = 0;
    openslide_get_associated_image_dimensions(handle_.get(), wanted.c_str(), &width, &height);
    check(fmt::format("image '{}'", name));
    check_side(width, height, fmt::format("image '{}'", name));
    if (static_cast<std::uint64_t>(width * height) > limits().image_bytes / 4) {
      fail(fmt::format("image '{}': {} x {} pixels, more than the limit", name, width, height));
    }
    std::vector<std::uint32_t> argb(static_cast<std::size_t>(width * height), 0);
    openslide_read_associated_image(handle_.get(), wanted.c_str(), argb.data());
    check(fmt::format("image '{}'", name));
    RgbImage image(width, height);
    to_rgb(argb, image.pixels);
    return image;
  }

 private:
  struct Close {
    void operator()(openslide_t* handle) const { openslide_close(handle); }
  };

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorKind::kFormat, fmt::format("{}: {}", path_.string(), what));
  }

  void open() {
    if (handle_ != nullptr) return;
    handle_.reset(openslide_open(path_.c_str()));
    if (handle_ == nullptr) {
      throw Error(ErrorKind::kUnsupported,
                  fmt::format("{}: OpenSlide does not know this format", path_.string()));
    }
    check();
  }

  // The first error makes the handle useless: it goes, and the next call opens another.
  void check(const std::string& where = "") {
    const char* message = openslide_get_error(handle_.get());
    if (message == nullptr) return;
    const std::string text = message;
    handle_.reset();
    fail(fmt::format("{}{}OpenSlide: {}", where, where.empty() ? "" : ": ", text));
  }

  void check_side(std::int64_t width, std::int64_t height, const std::string& what) const {
    const auto side = static_cast<std::int64_t>(limits().image_side);
    if (width < 1 || height < 1 || width > side || height > side) {
      fail(fmt::format(
          "{}: {} x {} pixels, expected 1 to {} on each side", what, width, height, side));
    }
  }

  void describe_levels() {
    const int count = openslide_get_level_count(handle_.get());
    check();
    if (count < 1 || count > kMaxLevels) {
      fail(fmt::format("{} levels, expected 1 to {}", count, kMaxLevels));
    }
    const std::set<Size> broken = levels_smaller_than_their_tile(path_);
    for (int i = 0; i < count; ++i) {
      SlideLevel level;
      openslide_get_level_dimensions(handle_.get(), i, &level.width, &level.height);
      check_side(level.width, level.height, fmt::format("level {}", i));
      if (broken.contains({level.width, level.height})) continue;
      level.downsample = openslide_get_level_downsample(handle_.get(), i);
      level.tile_width = tile_side(i, "width");
      level.tile_height = tile_side(i, "height");
      info_.levels.push_back(level);
      numbers_.push_back(i);
    }
    if (numbers_.empty() || numbers_[0] != 0) {
      throw Error(ErrorKind::kUnsupported,
                  fmt::format("{}: smaller than its tile, which OpenSlide does not read right",
                              path_.string()));
    }
  }

  std::int64_t tile_side(int level, std::string_view side) const {
    const std::string name = fmt::format("openslide.level[{}].tile-{}", level, side);
    const char* value = openslide_get_property_value(handle_.get(), name.c_str());
    const auto number = value == nullptr ? std::nullopt : parse_double(value);
    const bool whole =
        number && *number >= 1 && *number <= static_cast<double>(limits().image_side);
    return whole ? static_cast<std::int64_t>(*number) : 0;
  }

  // Pixels wholly beyond the level are none of its own, whatever its last tiles hold there.
  void clear_beyond(const SlideLevel& level,
                    std::int64_t x,
                    std::int64_t y,
                    std::int64_t width,
                    std::int64_t height) {
    const auto first_beyond = [&](std::int64_t start, std::int64_t side, std::int64_t count) {
      const double first =
          std::ceil(static_cast<double>(side) - static_cast<double>(start) / level.downsample);
      return static_cast<std::int64_t>(std::clamp(first, 0.0, static_cast<double>(count)));
    };
    const std::int64_t columns = first_beyond(x, level.width, width);
    const std::int64_t rows = first_beyond(y, level.height, height);
    for (std::int64_t row = 0; row < height; ++row) {
      const std::int64_t from = row < rows ? columns : 0;
      std::fill(buffer_.begin() + row * width + from, buffer_.begin() + (row + 1) * width, 0U);
    }
  }

  fs::path path_;
  SlideInfo info_;
  std::unique_ptr<openslide_t, Close> handle_;
  std::vector<int> numbers_;  // OpenSlide's level of each of ours
  std::vector<std::uint32_t> buffer_;
};

bool detect(const fs::path& path, std::string_view) {
  silence_libtiff();
  std::error_code error;
  return fs::is_regular_file(path, error) && openslide_detect_vendor(path.c_str()) != nullptr;
}

}  // namespace

extern const SlideFormat openslide_slide_format;
const SlideFormat openslide_slide_format = {
    .name = "openslide",
    .extensions = {".ndpi", ".vms", ".vmu", ".mrxs", ".scn", ".bif", ".tiff", ".tif", ".svslide"},
    .detect = detect,
    .open = [](const fs::path& path) -> std::unique_ptr<Slide> {
      return std::make_unique<OpenSlideSlide>(path);
    },
};

}  // namespace med3d
