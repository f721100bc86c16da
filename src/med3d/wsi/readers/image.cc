// A plain PNG or JPEG as a slide of one level. It is decoded once, as a whole, at its first region:
// limits().image_bytes bounds it. Alpha is dropped, not blended, as Pillow's convert("RGB") does.
// Its density (pHYs, JFIF) is not taken for a pixel size: cameras and programs fill it with 72
// or 96.
#include <fmt/format.h>

#include <array>
#include <limits>
#include <string>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/limits.h"
#include "med3d/io/formats/jpeg.h"
#include "med3d/io/formats/png.h"
#include "med3d/wsi/readers/request_internal.h"
#include "med3d/wsi/slide.h"

namespace med3d {
namespace {

namespace fs = std::filesystem;

bool detect(const fs::path&, std::string_view head) { return is_png(head) || detect_jpeg(head); }

class PlainImage : public Slide {
 public:
  explicit PlainImage(const fs::path& path) : path_(path) {
    const std::string bytes = read_file(path, limits().image_bytes);
    SlideLevel level;
    if (is_png(bytes)) {
      const PngHeader header = parse_png_header(bytes, path.string());
      level.width = header.width;
      level.height = header.height;
    } else {
      try {
        const JpegHeader header = read_jpeg_header(bytes);
        level.width = header.width;
        level.height = header.height;
      } catch (const Error&) {
        rethrow_with_context(path.string());
      }
    }
    if (checked_multiply(static_cast<std::uint64_t>(level.width * 3),
                         static_cast<std::uint64_t>(level.height),
                         path.string()) > limits().image_bytes) {
      throw Error(
          ErrorKind::kFormat,
          fmt::format("{}: {} x {} pixels, more than the limit of {} bytes for a whole image",
                      path.string(),
                      level.width,
                      level.height,
                      limits().image_bytes));
    }
    info_.format = "image";
    info_.levels = {level};
  }

  const SlideInfo& info() const override { return info_; }

  void read_region(std::int64_t x,
                   std::int64_t y,
                   int level,
                   std::int64_t width,
                   std::int64_t height,
                   std::span<std::uint8_t> rgb) override {
    check_region_request(info_, level, width, height, rgb.size());
    if (image_.pixels.empty()) decode();
    std::fill(rgb.begin(), rgb.end(), std::uint8_t{0});
    constexpr std::int64_t kFar = std::numeric_limits<std::int64_t>::max() / 4;
    if (x < -kFar || x > kFar || y < -kFar || y > kFar) return;
    copy_overlap(image_.pixels.data(),
                 image_.width,
                 image_.width,
                 image_.height,
                 -x,
                 -y,
                 rgb,
                 width,
                 height);
  }

  RgbImage associated_image(std::string_view name) override {
    throw Error(
        ErrorKind::kNotFound,
        fmt::format(
            "{}: no image '{}': a plain image has none beside itself", path_.string(), name));
  }

 private:
  void decode() {
    const std::string bytes = read_file(path_, limits().image_bytes);
    RgbImage image;
    if (is_png(bytes)) {
      PngImage png = parse_png(bytes, path_.string());
      image.width = png.width;
      image.height = png.height;
      image.pixels = std::move(png.pixels);
    } else {
      try {
        const SlideLevel& level = info_.levels[0];
        image = RgbImage(level.width, level.height);
        JpegDecoder().decode_rgb(
            bytes, {}, JpegColor::kAsMarked, image.width, image.height, image.pixels);
      } catch (const Error&) {
        rethrow_with_context(path_.string());
      }
    }
    if (image.width != info_.levels[0].width || image.height != info_.levels[0].height) {
      throw Error(ErrorKind::kFormat, fmt::format("{}: changed while it was open", path_.string()));
    }
    image_ = std::move(image);
  }

  fs::path path_;
  SlideInfo info_;
  RgbImage image_;
};

}  // namespace

extern const SlideFormat image_slide_format;
const SlideFormat image_slide_format = {
    .name = "image",
    .extensions = {".png", ".jpg", ".jpeg"},
    .detect = detect,
    .open = [](const fs::path& path) -> std::unique_ptr<Slide> {
      return std::make_unique<PlainImage>(path);
    },
};

}  // namespace med3d
