#include "med3d/wsi/slide.h"

#include <fmt/format.h>

#include <array>
#include <fstream>
#include <system_error>

#include "med3d/core/error.h"
#include "med3d/wsi/readers/tiff.h"
#include "med3d/wsi/slide_worker.h"

namespace med3d {

// One line here and one in kFormats for each file in readers/.
extern const SlideFormat dicom_slide_format;
extern const SlideFormat openslide_slide_format;
extern const SlideFormat image_slide_format;

namespace {

namespace fs = std::filesystem;

// The order in which formats are asked: the most particular first.
constexpr std::array kFormats = {
    &dicom_slide_format,
    &tiff_slide_format,
    &openslide_slide_format,
    &image_slide_format,
};

// A name ends the question for what is no regular file: a pipe is never opened, it could block us.
std::string head_of(const fs::path& path) {
  std::error_code error;
  const auto status = fs::status(path, error);
  if (!fs::exists(status)) throw Error(ErrorKind::kNotFound, path.string() + ": no such file");
  if (fs::is_directory(status)) return "";
  if (!fs::is_regular_file(status)) {
    throw Error(ErrorKind::kFormat, path.string() + ": not a regular file");
  }
  std::ifstream in(path, std::ios::binary);
  if (!in) throw Error(ErrorKind::kIo, path.string() + ": cannot be opened");
  std::string head(kSlideHeadBytes, '\0');
  in.read(head.data(), static_cast<std::streamsize>(head.size()));
  head.resize(static_cast<std::size_t>(in.gcount()));
  if (head.empty()) throw Error(ErrorKind::kFormat, path.string() + ": the file is empty");
  return head;
}

}  // namespace

RgbImage Slide::read_region(
    std::int64_t x, std::int64_t y, int level, std::int64_t width, std::int64_t height) {
  RgbImage image(width, height);
  read_region(x, y, level, width, height, image.pixels);
  return image;
}

int best_level_for_downsample(const SlideInfo& info, double downsample) {
  int best = 0;
  for (std::size_t i = 0; i < info.levels.size(); ++i) {
    if (info.levels[i].downsample <= downsample) best = static_cast<int>(i);
  }
  return best;
}

std::span<const SlideFormat* const> slide_formats() { return kFormats; }

std::unique_ptr<Slide> open_slide(const fs::path& path, std::string_view format) {
  // In a worker there is no other worker, and the next line finds none.
  if (auto isolated = open_isolated_slide(path, format)) return isolated;
  const std::string head = head_of(path);
  for (const SlideFormat* candidate : slide_formats()) {
    const bool asked = format.empty() ? candidate->detect(path, head) : candidate->name == format;
    if (asked) return candidate->open(path);
  }
  std::error_code error;
  if (fs::is_directory(path, error)) {
    throw Error(ErrorKind::kUnsupported, path.string() + ": a folder without a DICOM slide in it");
  }
  throw Error(ErrorKind::kUnsupported,
              fmt::format("{}: no slide format that is read here{}",
                          path.string(),
                          format.empty() ? "" : fmt::format(" ('{}' was asked for)", format)));
}

}  // namespace med3d
