// One grey frame of a radiology file, from its stored bytes to numbers.
//
// Native little and big endian, RLE, JPEG baseline, extended (8 and 12 bits) and lossless, JPEG-LS,
// JPEG 2000. What a compressed stream says of its size and depth is checked against the file before
// it is decoded.
//
// Source: DICOM PS3.5 section 8 and annexes A and G; ITU-T T.81, T.87, T.800.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace med3d::radiology {

enum class Codec { kNative, kRle, kJpeg, kJpegLs, kJpeg2000 };

// Throws Error(kUnsupported) naming the transfer syntax.
Codec codec_of(std::string_view transfer_syntax);

// "explicit little endian", "RLE", ...; "" for what is not in the list.
std::string_view syntax_name(std::string_view transfer_syntax);

struct FrameFormat {
  std::int64_t columns = 0;
  std::int64_t rows = 0;
  int bits_allocated = 16;  // 8, 16 or 32
  int bits_stored = 16;     // the sample; bits outside (overlays of old files) are cut off
  int high_bit = 15;
  bool is_signed = false;
  bool big_endian = false;  // native only
  bool as_words = true;     // native big endian of 8 bits: two samples a word, swapped
  Codec codec = Codec::kNative;
  std::string transfer_syntax;
  double slope = 1.0;  // value = slope * stored + intercept
  double intercept = 0.0;
  bool inverted = false;  // stored counts from the other end of its range

  std::uint64_t native_bytes() const {
    return static_cast<std::uint64_t>(columns * rows) *
           static_cast<std::uint64_t>(bits_allocated / 8);
  }
};

// bytes  of one frame, fragments joined
// out    rows * columns
//
// Throws Error(kFormat) for damaged or short bytes or a frame of another size than the file says.
void decode_grey_frame(const FrameFormat& format, std::string_view bytes, std::span<float> out);

// DCMTK's log goes nowhere, and its JPEG decoders are there. Once, before threads start.
void prepare_dcmtk();

}  // namespace med3d::radiology
