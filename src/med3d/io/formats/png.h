// PNG images: read to 8-bit RGB or grey, written as 8-bit RGB or grey.
//
// Read: every colour type, 1 to 16 bits a sample, interlaced or not. Samples of 16 bits keep their
// high byte, of fewer than 8 are spread over 0..255. Alpha is dropped, not blended, as Pillow's
// convert("RGB") does; so are gamma and colour profiles. Grey from colour is Pillow's convert("L"):
// (19595 R + 38470 G + 7471 B + 32768) >> 16.
//
// Source: ISO/IEC 15948 (PNG, second edition).
// Checked against: Pillow 9.4 (tests/reference/png.py).
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace med3d {

struct PngHeader {
  std::int64_t width = 0;  // pixels
  std::int64_t height = 0;
  int bit_depth = 0;    // of a sample as stored: 1, 2, 4, 8 or 16
  bool colour = false;  // RGB or palette, with alpha or without
};

struct PngImage {
  std::int64_t width = 0;
  std::int64_t height = 0;
  int channels = 0;                  // 3 = RGB, 1 = grey
  std::vector<std::uint8_t> pixels;  // height * width * channels, rows from the top
};

bool is_png(std::string_view head);  // by its 8 first bytes

// What the first 33 bytes say; nothing else is looked at.
// Throws Error(kFormat) if they are no PNG header or go beyond limits().image_side.
PngHeader parse_png_header(std::string_view bytes, std::string_view source);

// bytes     a whole file
// source    its path, for messages
// channels  3 or 1: what the pixels become
//
// Refused from the header, before memory is taken: sides beyond limits().image_side, pixels beyond
// limits().image_bytes, and more of them than so many bytes can hold.
// Throws Error(kFormat) for a damaged or truncated file, kUsage for other channels.
PngImage parse_png(std::string_view bytes, std::string_view source, int channels = 3);
PngImage read_png(const std::filesystem::path& path, int channels = 3);

// A whole file. The same pixels give the same bytes on one machine (zlib may differ between two).
//
// pixels  (height, width, channels) bytes, channels 3 = RGB or 1 = grey
//
// Throws Error(kUsage) if the sizes do not fit each other or an image has no pixels.
std::string png_bytes(std::span<const std::uint8_t> pixels,
                      std::int64_t width,
                      std::int64_t height,
                      int channels);

}  // namespace med3d
