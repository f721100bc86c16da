// JPEG 2000 images: bare codestreams, as slides and DICOM hold them, and JP2 files.
//
// Decoded by OpenJPEG on the calling thread. What the header claims is read by our own parser first
// and checked before OpenJPEG takes memory. A stream that is cut short is an Error.
//
// Source: ITU-T T.800 (codestream, annex A; JP2, annex I).
// Checked against: OpenSlide 3.4.1 on Aperio slides, PIL (OpenJPEG) on generated files of 8 and 16
// bits, every cut and bit flips of small files.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace med3d {

enum class Jpeg2000Color { kUnknown, kGray, kRgb, kYCbCr };  // a bare codestream does not say

struct Jpeg2000Header {
  std::int64_t width = 0;  // pixels of the image area
  std::int64_t height = 0;
  int components = 0;  // 1 to 4
  int bits = 0;        // a sample, 1 to 16, the same in all components
  bool is_signed = false;
};

struct Jpeg2000Image {
  Jpeg2000Header header;
  Jpeg2000Color color = Jpeg2000Color::kUnknown;
  std::vector<std::int32_t> samples;  // (height, width, components); subsampled ones are repeated
};

bool detect_jpeg2000(std::string_view head);  // a codestream's SOC + SIZ, or the JP2 signature box

// The header alone, checked against limits().image_side and image_bytes (of 4-byte samples).
//
// bytes  a codestream or a JP2 file; bytes after its end are ignored
//
// Throws Error(kFormat) for what is damaged, cut short (every tile-part must be whole) or beyond
// the limits, kUnsupported for more than 4 components, more than 16 bits, components of different
// depths, more than 4,096 tiles, and High-Throughput JPEG 2000.
Jpeg2000Header read_jpeg2000_header(std::string_view bytes);

// Decodes the whole image at full resolution.
//
// Cost about 60 ns a sample, 8 bytes of memory a sample at its peak. Throws as
// read_jpeg2000_header, and Error(kFormat) if the decoder finds the data damaged.
Jpeg2000Image decode_jpeg2000(std::string_view bytes);

// Decodes to 8-bit RGB.
//
// is_ycbcr       the components are Y, Cb and Cr by ITU-R BT.601 (Aperio's compression 33003),
// which
//                a codestream does not say; a JP2 file that says sYCC is converted by itself
// width, height  what the image must be
// pixels         height * width * 3; one component gives R = G = B
//
// Throws as decode_jpeg2000; Error(kFormat) for another size, kUnsupported for 2 or 4 components,
// signed samples or other than 8 bits; kUsage if pixels has another length.
void decode_jpeg2000_rgb(std::string_view bytes,
                         bool is_ycbcr,
                         std::int64_t width,
                         std::int64_t height,
                         std::span<std::uint8_t> pixels);

}  // namespace med3d
