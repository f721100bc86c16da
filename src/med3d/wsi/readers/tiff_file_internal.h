// A TIFF file: its directories, checked, and the stored and decoded bytes of their tiles.
//
// libtiff reads the directories; it reads the file through our own functions, so that a pipe never
// blocks, nothing is mapped, and what it has to say becomes an Error.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace med3d {

// The first kinds of compression that a tile may have; the numbers are TIFF's.
enum TiffCompression : int {
  kTiffNone = 1,
  kTiffLzw = 5,
  kTiffJpeg = 7,
  kTiffDeflate = 8,
  kTiffPackBits = 32773,
  kTiffOldDeflate = 32946,
  kTiffAperioYCbCr = 33003,  // JPEG 2000, components Y, Cb, Cr
  kTiffAperioRgb = 33005,    // JPEG 2000, components R, G, B
};

// One image of the file. A strip is a tile as wide as the image; `tiles` counts either.
struct TiffDirectory {
  std::uint64_t offset = 0;  // of the directory in the file
  int parent = -1;           // index of the directory whose SubIFD it is; -1 for a top-level one
  std::int64_t width = 0;    // pixels, 1 to limits().image_side
  std::int64_t height = 0;
  bool is_tiled = false;
  std::int64_t tile_width = 0;  // as stored: edge tiles are padded to it, but not the last strip
  std::int64_t tile_height = 0;
  std::int64_t tiles_across = 0;
  std::int64_t tiles_down = 0;
  int compression = 0;
  int photometric = 0;  // 0 and 1 grey, 2 RGB, 6 YCbCr
  int samples = 1;
  int bits = 8;
  bool is_planar = false;  // one plane of tiles for each sample
  std::uint32_t subfile_type = 0;
  bool has_subfile_type = false;
  std::string jpeg_tables;
  std::string description;
  std::string software;
  std::string make;
  std::string model;
  bool is_ndpi = false;  // has Hamamatsu's tag 65420
  std::string xmp;       // tag 700
  std::optional<double> x_resolution;
  std::optional<double> y_resolution;
  int resolution_unit = 2;
  std::vector<std::uint64_t> tile_offsets;  // tiles of the first plane, then of the second ...
  std::vector<std::uint64_t> tile_bytes;    // 0 = the tile is missing

  // Why its pixels cannot be read here; empty if they can.
  std::string unsupported() const;
  // Throws Error(kFormat) if a tile, decoded, is beyond limits().tile_bytes.
  void check_tile_size() const;
};

class TiffFile {
 public:
  // Throws Error(kNotFound | kIo), kFormat for what is no regular file, has no directory, damaged
  // ones, a cycle of them or more than 1,000.
  explicit TiffFile(const std::filesystem::path& path);
  ~TiffFile();
  TiffFile(const TiffFile&) = delete;
  TiffFile& operator=(const TiffFile&) = delete;

  // Top-level ones in file order, then SubIFDs in the order of their parents.
  const std::vector<TiffDirectory>& directories() const;

  // The stored bytes of a tile, into `bytes`. Throws Error(kFormat) if they lie beyond the end of
  // the file or limits().tile_bytes, kIo if reading fails.
  void read_stored(const TiffDirectory& directory, std::size_t tile, std::string& bytes);

  // A tile decoded by libtiff (no compression, LZW, deflate, PackBits), into `bytes`, of which all
  // must come: rows * tile_width * samples. Throws Error(kFormat) for damaged data.
  void decode(const TiffDirectory& directory, std::size_t tile, std::span<std::uint8_t> bytes);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// "II*\0", "MM\0*" and their BigTIFF forms.
bool detect_tiff(std::string_view head);

}  // namespace med3d
