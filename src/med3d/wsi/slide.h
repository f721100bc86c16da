// A whole-slide image of any format: its pyramid, what it says of itself, and its pixels.
//
// A new format is readers/<name>.cc with a SlideFormat and one line in slide.cc.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "med3d/wsi/image.h"

namespace med3d {

struct SlideLevel {
  std::int64_t width = 0;  // pixels of this level
  std::int64_t height = 0;
  double downsample = 1.0;  // (width_0 / width + height_0 / height) / 2, as OpenSlide computes it
  std::int64_t tile_width = 0;  // as stored; 0 where the format does not say
  std::int64_t tile_height = 0;
};

struct SlideInfo {
  std::string format;              // name of the SlideFormat that opened it: "tiff", "dicom"
  std::vector<SlideLevel> levels;  // largest first, at least one
  std::optional<double> mpp_x;     // micrometres a pixel of level 0, as the file says, unchecked
  std::optional<double> mpp_y;
  std::string mpp_source;  // "aperio.MPP", "tiff.XResolution"; empty if there is none
  std::optional<double> objective_power;  // nominal magnification of the scan: 20, 40
  std::vector<std::string> associated;    // "label", "macro", "thumbnail", in alphabetic order
  // What the file says under OpenSlide's names ("aperio.AppMag", "tiff.ImageDescription"), without
  // those that may hold a name, date or number of a patient or of who scanned it.
  std::map<std::string, std::string> properties;
};

// An open slide. Not safe for two threads at once: each opens its own.
//
// A damaged tile costs only the regions that touch it: after an Error the slide can be read on.
class Slide {
 public:
  virtual ~Slide() = default;
  Slide() = default;
  Slide(const Slide&) = delete;
  Slide& operator=(const Slide&) = delete;

  virtual const SlideInfo& info() const = 0;

  // The pixels of width x height of `level`, with the corner at (x, y) in LEVEL-0 pixels (negative
  // and beyond the slide allowed), into rgb (height * width * 3 bytes). Where the slide has no
  // pixels they are 0, black, as openslide_read_region with its alpha dropped.
  //
  // Throws Error(kFormat) naming the tile for damaged data, kIo if reading fails, kUsage for a
  // level that is not there or a size that does not fit rgb.
  virtual void read_region(std::int64_t x,
                           std::int64_t y,
                           int level,
                           std::int64_t width,
                           std::int64_t height,
                           std::span<std::uint8_t> rgb) = 0;

  RgbImage read_region(
      std::int64_t x, std::int64_t y, int level, std::int64_t width, std::int64_t height);

  // Throws Error(kNotFound) naming those there are.
  virtual RgbImage associated_image(std::string_view name) = 0;
};

// The level OpenSlide takes for a wanted downsample: the last one whose own is not larger, level 0
// if all are larger. (At 64.1 for a wanted 64 that is the level before it: CLAM inherits this.)
int best_level_for_downsample(const SlideInfo& info, double downsample);

struct SlideFormat {
  std::string_view name;                     // "tiff"
  std::vector<std::string_view> extensions;  // lower case, with the dot
  // By the first kSlideHeadBytes of the file and its path (its neighbours decide for MIRAX).
  bool (*detect)(const std::filesystem::path& path, std::string_view head);
  std::unique_ptr<Slide> (*open)(const std::filesystem::path& path);
};

constexpr std::size_t kSlideHeadBytes = 4096;

// Every format, in the order in which they are asked.
std::span<const SlideFormat* const> slide_formats();

// Opens a slide by the first format that takes it; `format` ("" = any) asks for one by its name.
//
// path   a file, or a folder of the DICOM files of one slide
//
// Decoded in a process of its own where this program has workers (io/worker.h): the pixels are the
// same, and a decoder that crashes costs this slide.
//
// Throws Error(kNotFound) for a missing file, kFormat for a pipe, device, empty or damaged file
// and for sizes beyond limits() or a decoder that crashes, kUnsupported for what no reader takes.
std::unique_ptr<Slide> open_slide(const std::filesystem::path& path, std::string_view format = "");

}  // namespace med3d
