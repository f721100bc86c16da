// Contact sheets: many slides, or the telling tiles of one, on pages a person can look through.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "med3d/core/matrix.h"
#include "med3d/wsi/draw.h"
#include "med3d/wsi/image.h"
#include "med3d/wsi/slide.h"

namespace med3d {

enum class SheetStatus {
  kGood,     // green frame
  kWarning,  // amber: worth a look, such as a slide that needed another threshold
  kEmpty,    // red, and crossed out: no tissue was found
  kFailed,   // red, filled: there is no picture
};

struct SheetEntry {
  std::string caption;  // first line, shortened in the middle where it does not fit
  std::string detail;   // second line: "214 tiles", "no tissue at a_t 100, 16, 4"
  SheetStatus status = SheetStatus::kGood;
  RgbImage picture;  // larger than the cell: averaged down to fit; none for kFailed
};

struct ContactSheetOptions {
  std::string title;         // on each page, with its number
  std::int64_t columns = 6;  // 1 to 64
  std::int64_t rows = 5;     // 1 to 64: what does not fit goes to the next page
  std::int64_t cell = 256;   // side of a picture, pixels, 32 to 2048

  void validate() const;  // Error(kUsage) naming the field; also for a page beyond 2^28 bytes
};

// Takes entries one by one and gives each page away when it is full: memory is one page.
class ContactSheet {
 public:
  using Sink = std::function<void(std::int64_t page, const RgbImage& image)>;  // page from 1

  ContactSheet(ContactSheetOptions options, Sink sink);

  void add(const SheetEntry& entry);
  void finish();  // gives the last page; without any entry there is none

 private:
  ContactSheetOptions options_;
  Sink sink_;
  RgbImage page_;
  std::int64_t count_ = 0;  // entries on this page
  std::int64_t pages_ = 0;  // given away
};

// The picture, averaged down to fit max_width x max_height with its shape kept; as it is if it
// fits.
RgbImage shrunk_to_fit(const RgbImage& image, std::int64_t max_width, std::int64_t max_height);

struct TileSheetSection {
  std::string title;               // "highest attention"
  std::vector<std::size_t> tiles;  // indices of coords, in the order of the sheet
};

struct TileSheetOptions {
  std::string title;
  std::int64_t columns = 5;      // 1 to 64
  std::int64_t side = 224;       // of a tile on the sheet, pixels, 32 to 2048
  std::int64_t max_tiles = 200;  // in all sections, 1 to 10,000: beyond, Error(kUsage)

  void validate() const;
};

// One page of tiles under headings, each with its score, percentile and place.
//
// coords     (n, 2) x, y of each tile's corner, level-0 pixels
// footprint  side of a tile, level-0 pixels
// scores     (n,) finite
//
// A tile that cannot be decoded is a crossed square that says so. Throws Error(kUsage) for an index
// that is not there and sizes that do not fit.
RgbImage draw_tile_sheet(Slide& slide,
                         const Matrix<std::int64_t>& coords,
                         std::int64_t footprint,
                         std::span<const double> scores,
                         std::span<const TileSheetSection> sections,
                         const TileSheetOptions& options);

}  // namespace med3d
