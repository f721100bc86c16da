#include "med3d/pipeline/slides/contact_sheets.h"

#include <fmt/format.h>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/limits.h"
#include "med3d/io/formats/jpeg.h"
#include "med3d/wsi/contact_sheet.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;

constexpr int kQuality = 85;

SheetStatus status_of(const SlideOutcome& outcome) {
  if (outcome.status == SlideStatus::kFailed) return SheetStatus::kFailed;
  if (outcome.status == SlideStatus::kEmpty) return SheetStatus::kEmpty;
  return outcome.warnings.empty() ? SheetStatus::kGood : SheetStatus::kWarning;
}

std::string detail_of(const SlideOutcome& outcome) {
  if (!outcome.reason.empty()) return outcome.reason;
  const std::string tiles = fmt::format("{} tiles", outcome.tiles);
  return outcome.warnings.empty() ? tiles : tiles + "; " + outcome.warnings.front();
}

RgbImage read_mask(const fs::path& path, JpegDecoder& decoder) {
  if (!fs::exists(path)) return {};
  try {
    const std::string bytes = read_file(path, limits().image_bytes);
    const JpegHeader header = read_jpeg_header(bytes);
    const auto pixels = checked_multiply(static_cast<std::uint64_t>(header.width),
                                         static_cast<std::uint64_t>(header.height),
                                         "a picture's pixels");
    if (checked_multiply(pixels, 3, "a picture's bytes") > limits().image_bytes) return {};
    RgbImage image(header.width, header.height);
    decoder.decode_rgb(bytes, {}, JpegColor::kAsMarked, image.width, image.height, image.pixels);
    return image;
  } catch (const Error&) {
    return {};
  }
}

}  // namespace

std::int64_t write_contact_sheets(const SlideFolder& folder,
                                  std::span<const SlideOutcome> outcomes) {
  fs::remove_all(folder.contact_sheets());
  std::int64_t pages = 0;
  ContactSheetOptions options;
  options.title = "Tissue found";
  ContactSheet sheet(options, [&](std::int64_t page, const RgbImage& image) {
    write_file_atomic(folder.contact_sheets() / fmt::format("page_{}.jpg", page),
                      encode_jpeg(image.pixels, image.width, image.height, kQuality));
    pages = page;
  });
  JpegDecoder decoder;
  for (const auto& outcome : outcomes) {
    SheetEntry entry;
    entry.caption = outcome.slide_id;
    entry.detail = detail_of(outcome);
    entry.status = status_of(outcome);
    if (entry.status != SheetStatus::kFailed) {
      entry.picture = read_mask(folder.mask(outcome.slide_id), decoder);
    }
    sheet.add(entry);
  }
  sheet.finish();
  return pages;
}

}  // namespace med3d::pipeline
