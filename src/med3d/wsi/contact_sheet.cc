#include "med3d/wsi/contact_sheet.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/wsi/heatmap.h"
#include "med3d/wsi/overview.h"

namespace med3d {
namespace {

constexpr std::int64_t kGap = 8;
constexpr std::int64_t kLine = kTextHeight + 3;
constexpr Rgb kGrey = {110, 110, 110};
constexpr Rgb kPale = {236, 236, 236};
constexpr Rgb kRed = {200, 30, 30};

Rgb colour_of(SheetStatus status) {
  switch (status) {
    case SheetStatus::kGood:
      return {0, 140, 70};
    case SheetStatus::kWarning:
      return {225, 150, 0};
    case SheetStatus::kEmpty:
    case SheetStatus::kFailed:
      break;
  }
  return kRed;
}

void check(bool holds, std::string_view what, std::int64_t found, std::string_view range) {
  if (holds) return;
  throw Error(ErrorKind::kUsage, fmt::format("sheet {}: {}, expected {}", what, found, range));
}

void check_page(std::int64_t width, std::int64_t height) {
  check(width * height * 3 <= std::int64_t{1} << 28,
        "page",
        width * height * 3,
        "at most 2^28 bytes: fewer or smaller pictures");
}

void cross_out(RgbImage& page, std::int64_t x, std::int64_t y, std::int64_t side, Rgb colour) {
  draw_line(page, x + 2, y + 2, x + side - 3, y + side - 3, 2, colour);
  draw_line(page, x + side - 3, y + 2, x + 2, y + side - 3, 2, colour);
}

// Text that is shortened to its cell.
void draw_fitting(RgbImage& page,
                  std::int64_t x,
                  std::int64_t y,
                  std::int64_t width,
                  std::string_view text,
                  Rgb colour) {
  draw_text(page, x, y, shorten_text(text, static_cast<std::size_t>(width / kTextWidth)), colour);
}

}  // namespace

void ContactSheetOptions::validate() const {
  check(columns >= 1 && columns <= 64, "columns", columns, "1 to 64");
  check(rows >= 1 && rows <= 64, "rows", rows, "1 to 64");
  check(cell >= 32 && cell <= 2048, "cell", cell, "32 to 2048 pixels");
  check_page(columns * (cell + kGap) + kGap, rows * (cell + kGap + 2 * kLine) + 2 * kLine + kGap);
}

void TileSheetOptions::validate() const {
  check(columns >= 1 && columns <= 64, "columns", columns, "1 to 64");
  check(side >= 32 && side <= 2048, "side", side, "32 to 2048 pixels");
  check(max_tiles >= 1 && max_tiles <= 10'000, "max_tiles", max_tiles, "1 to 10000");
}

RgbImage shrunk_to_fit(const RgbImage& image, std::int64_t max_width, std::int64_t max_height) {
  if (image.width <= max_width && image.height <= max_height) return image;
  // The tighter side fills its bound; the other follows, at least one pixel.
  if (image.width * max_height >= image.height * max_width) {
    return averaged(
        image, max_width, std::max<std::int64_t>(1, image.height * max_width / image.width));
  }
  return averaged(
      image, std::max<std::int64_t>(1, image.width * max_height / image.height), max_height);
}

ContactSheet::ContactSheet(ContactSheetOptions options, Sink sink)
    : options_(std::move(options)), sink_(std::move(sink)) {
  options_.validate();
}

void ContactSheet::add(const SheetEntry& entry) {
  const std::int64_t step_x = options_.cell + kGap;
  const std::int64_t step_y = options_.cell + kGap + 2 * kLine;
  const std::int64_t head = 2 * kLine;
  if (count_ == 0) {
    page_ = RgbImage(options_.columns * step_x + kGap, head + options_.rows * step_y + kGap, 255);
    draw_fitting(
        page_,
        kGap,
        kGap,
        page_.width - 2 * kGap,
        fmt::format("{}{}page {}", options_.title, options_.title.empty() ? "" : " - ", pages_ + 1),
        kBlack);
  }
  const std::int64_t x = kGap + count_ % options_.columns * step_x;
  const std::int64_t y = head + kGap + count_ / options_.columns * step_y;
  const std::int64_t cell = options_.cell;
  fill_rectangle(page_, x, y, cell, cell, kPale);
  if (entry.status == SheetStatus::kFailed || entry.picture.width < 1 || entry.picture.height < 1) {
    fill_rectangle(page_, x, y, cell, cell, {245, 220, 220});
    draw_text(page_, x + (cell - text_width("no picture")) / 2, y + cell / 2, "no picture", kRed);
  } else {
    const RgbImage picture = shrunk_to_fit(entry.picture, cell - 6, cell - 6);
    draw_image(page_, picture, x + (cell - picture.width) / 2, y + (cell - picture.height) / 2);
  }
  if (entry.status == SheetStatus::kEmpty) cross_out(page_, x, y, cell, kRed);
  draw_rectangle(page_, x, y, cell, cell, 3, colour_of(entry.status));
  draw_fitting(page_, x, y + cell + 2, cell, entry.caption, kBlack);
  const bool good = entry.status == SheetStatus::kGood;
  draw_fitting(
      page_, x, y + cell + 2 + kLine, cell, entry.detail, good ? kGrey : colour_of(entry.status));
  if (++count_ == options_.columns * options_.rows) finish();
}

void ContactSheet::finish() {
  if (count_ == 0) return;
  // The last page ends below its last row.
  const std::int64_t rows = (count_ + options_.columns - 1) / options_.columns;
  page_.height = 2 * kLine + rows * (options_.cell + kGap + 2 * kLine) + kGap;
  page_.pixels.resize(static_cast<std::size_t>(page_.width * page_.height * 3));
  count_ = 0;
  sink_(++pages_, page_);
}

RgbImage draw_tile_sheet(Slide& slide,
                         const Matrix<std::int64_t>& coords,
                         std::int64_t footprint,
                         std::span<const double> scores,
                         std::span<const TileSheetSection> sections,
                         const TileSheetOptions& options) {
  options.validate();
  if (coords.rows() != scores.size() || (coords.rows() > 0 && coords.cols() != 2)) {
    throw Error(ErrorKind::kUsage,
                fmt::format("tile sheet: coordinates ({}, {}) and {} scores, expected (n, 2) and n",
                            coords.rows(),
                            coords.cols(),
                            scores.size()));
  }
  const std::int64_t step_x = options.side + kGap;
  const std::int64_t step_y = options.side + kGap + 2 * kLine;
  constexpr std::int64_t kHeading = 2 * kLine;
  std::int64_t height = kHeading;
  std::size_t total = 0;
  for (const TileSheetSection& section : sections) {
    total += section.tiles.size();
    check(total <= static_cast<std::size_t>(options.max_tiles),
          "tiles",
          static_cast<std::int64_t>(total),
          fmt::format("at most {}", options.max_tiles));
    for (const std::size_t tile : section.tiles) {
      if (tile < scores.size()) continue;
      throw Error(ErrorKind::kUsage,
                  fmt::format("tile sheet: tile {}, expected 0 to below {}", tile, scores.size()));
    }
    const auto n = static_cast<std::int64_t>(section.tiles.size());
    height += kHeading + (n + options.columns - 1) / options.columns * step_y;
  }
  const std::int64_t width = kGap + options.columns * step_x;
  check_page(width, height + kGap);
  const std::vector<double> percentiles = percentile_ranks(scores);
  RgbImage page(width, height + kGap, 255);
  draw_fitting(page, kGap, kGap, width - 2 * kGap, options.title, kBlack);
  std::int64_t y = kHeading;
  for (const TileSheetSection& section : sections) {
    draw_fitting(page, kGap, y + kGap, width - 2 * kGap, section.title, kBlack);
    fill_rectangle(page, kGap, y + kGap + kLine, width - 2 * kGap, 1, kGrey);
    y += kHeading;
    for (std::size_t place = 0; place < section.tiles.size(); ++place) {
      const std::size_t tile = section.tiles[place];
      const auto column = static_cast<std::int64_t>(place) % options.columns;
      const std::int64_t x = kGap + column * step_x;
      const std::int64_t top =
          y + static_cast<std::int64_t>(place) / options.columns * step_y + kGap;
      try {
        draw_image(
            page,
            read_tile_preview(slide, coords(tile, 0), coords(tile, 1), footprint, options.side),
            x,
            top);
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::kFormat) throw;
        fill_rectangle(page, x, top, options.side, options.side, kPale);
        cross_out(page, x, top, options.side, kRed);
        draw_fitting(page, x + 8, top + 8, options.side - 16, "cannot be decoded", kRed);
      }
      draw_rectangle(page, x, top, options.side, options.side, 1, kGrey);
      draw_fitting(page,
                   x,
                   top + options.side + 2,
                   options.side,
                   fmt::format("{:.4g}  (percentile {:.1f})", scores[tile], percentiles[tile]),
                   kBlack);
      draw_fitting(page,
                   x,
                   top + options.side + 2 + kLine,
                   options.side,
                   fmt::format("x {}, y {}", coords(tile, 0), coords(tile, 1)),
                   kGrey);
    }
    const auto n = static_cast<std::int64_t>(section.tiles.size());
    y += (n + options.columns - 1) / options.columns * step_y;
  }
  return page;
}

}  // namespace med3d
