// One frame of a DICOM slide, from its stored bytes to RGB.
//
// Native little endian, RLE, JPEG baseline and extended (8 bits), JPEG-LS, JPEG 2000. Grey becomes
// R = G = B, MONOCHROME1 is inverted. The colour space of a JPEG is what its own JFIF or Adobe
// marker says; the file's word counts where it has none, as files that say RGB of YCbCr exist.
//
// Source: DICOM PS3.3 C.7.6.3.1.2 (colour spaces), PS3.5 annex A and G (encapsulation, RLE).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "med3d/io/formats/jpeg.h"

namespace med3d::dicom {

enum class Codec { kNative, kRle, kJpeg, kJpegLs, kJpeg2000 };
enum class Photometric { kMonochrome1, kMonochrome2, kRgb, kYbrFull, kYbrFull422, kYbrCodec };

struct FrameFormat {
  std::int64_t columns = 0;
  std::int64_t rows = 0;
  int samples = 3;  // a pixel: 1 or 3, of 8 bits
  bool planar = false;
  Photometric photometric = Photometric::kRgb;
  Codec codec = Codec::kNative;

  std::uint64_t native_bytes() const;
  friend bool operator==(const FrameFormat&, const FrameFormat&) = default;
};

// Throws Error(kUnsupported) naming the transfer syntax.
Codec codec_of(std::string_view transfer_syntax);

// bytes  of one frame; its fragments joined
// rgb    rows * columns * 3
//
// Throws Error(kFormat) for damaged bytes or a frame of another size than the file says.
void decode_frame(const FrameFormat& format,
                  std::string_view bytes,
                  JpegDecoder& jpeg,
                  std::span<std::uint8_t> rgb);

// DCMTK's log goes nowhere, and its JPEG-LS decoder is there. Call before DCMTK is used.
void prepare_dcmtk();

}  // namespace med3d::dicom
