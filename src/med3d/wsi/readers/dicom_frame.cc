#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dcpixseq.h>
#include <dcmtk/dcmdata/dcpxitem.h>
#include <dcmtk/dcmdata/dctk.h>
#include <dcmtk/dcmjpls/djdecode.h>
#include <dcmtk/oflog/oflog.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>
#include <utility>
#include <vector>

#include "med3d/core/error.h"
#include "med3d/io/formats/dicom.h"
#include "med3d/io/formats/jpeg2000.h"
#include "med3d/wsi/readers/dicom_frame_internal.h"

namespace med3d::dicom {
namespace {

struct Syntax {
  std::string_view uid;
  std::string_view name;
  Codec codec;
  bool read;
};

constexpr Syntax kSyntaxes[] = {
    {"1.2.840.10008.1.2", "implicit little endian", Codec::kNative, true},
    {"1.2.840.10008.1.2.1", "explicit little endian", Codec::kNative, true},
    {"1.2.840.10008.1.2.1.99", "deflated explicit little endian", Codec::kNative, false},
    {"1.2.840.10008.1.2.2", "explicit big endian", Codec::kNative, false},
    {"1.2.840.10008.1.2.4.50", "JPEG baseline", Codec::kJpeg, true},
    {"1.2.840.10008.1.2.4.51", "JPEG extended", Codec::kJpeg, true},
    {"1.2.840.10008.1.2.4.57", "JPEG lossless", Codec::kJpeg, false},
    {"1.2.840.10008.1.2.4.70", "JPEG lossless, first-order", Codec::kJpeg, false},
    {"1.2.840.10008.1.2.4.80", "JPEG-LS lossless", Codec::kJpegLs, true},
    {"1.2.840.10008.1.2.4.81", "JPEG-LS near-lossless", Codec::kJpegLs, true},
    {"1.2.840.10008.1.2.4.90", "JPEG 2000 lossless", Codec::kJpeg2000, true},
    {"1.2.840.10008.1.2.4.91", "JPEG 2000", Codec::kJpeg2000, true},
    {"1.2.840.10008.1.2.4.201", "High-Throughput JPEG 2000 lossless", Codec::kJpeg2000, false},
    {"1.2.840.10008.1.2.4.202", "High-Throughput JPEG 2000 RPCL", Codec::kJpeg2000, false},
    {"1.2.840.10008.1.2.4.203", "High-Throughput JPEG 2000", Codec::kJpeg2000, false},
    {"1.2.840.10008.1.2.5", "RLE", Codec::kRle, true},
};

[[noreturn]] void bad(const std::string& what) { throw Error(ErrorKind::kFormat, what); }

std::uint8_t rounded(double value) {
  return static_cast<std::uint8_t>(std::clamp(value + 0.5, 0.0, 255.0));
}

// Full-range ITU-R BT.601, as JFIF and PS3.3 C.7.6.3.1.2.
void ybr_to_rgb(double y, double cb, double cr, std::uint8_t* rgb) {
  rgb[0] = rounded(y + 1.402 * (cr - 128.0));
  rgb[1] = rounded(y - 0.344136 * (cb - 128.0) - 0.714136 * (cr - 128.0));
  rgb[2] = rounded(y + 1.772 * (cb - 128.0));
}

// Samples as they lie in a native frame to RGB.
void samples_to_rgb(const FrameFormat& format,
                    std::span<const std::uint8_t> samples,
                    bool planar,
                    std::span<std::uint8_t> rgb) {
  const std::size_t count = rgb.size() / 3;
  if (format.photometric == Photometric::kYbrFull422) {
    for (std::size_t i = 0; i < count; ++i) {  // Y Y Cb Cr for two pixels
      const std::uint8_t* pair = samples.data() + i / 2 * 4;
      ybr_to_rgb(pair[i % 2], pair[2], pair[3], rgb.data() + 3 * i);
    }
    return;
  }
  const bool grey = format.samples == 1;
  const std::size_t pixel = planar || grey ? 1 : 3;
  const std::size_t channel = grey ? 0 : planar ? count : 1;
  const bool ybr = format.photometric == Photometric::kYbrFull;
  const std::uint8_t flip = format.photometric == Photometric::kMonochrome1 ? 255 : 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint8_t* p = samples.data() + i * pixel;
    std::uint8_t* out = rgb.data() + 3 * i;
    if (ybr) {
      ybr_to_rgb(p[0], p[channel], p[2 * channel], out);
    } else {
      for (std::size_t c = 0; c < 3; ++c) out[c] = static_cast<std::uint8_t>(p[c * channel] ^ flip);
    }
  }
}

// Whether a JPEG says itself what its components are: a JFIF or Adobe marker before the pixels.
bool says_its_colour(std::string_view jpeg) {
  std::size_t at = 2;
  while (at + 4 <= jpeg.size() && jpeg[at] == '\xFF') {
    const auto marker = static_cast<unsigned char>(jpeg[at + 1]);
    if (marker == 0xFF) {  // fill byte
      ++at;
      continue;
    }
    const std::size_t length =
        static_cast<unsigned char>(jpeg[at + 2]) * 256U + static_cast<unsigned char>(jpeg[at + 3]);
    if (marker == 0xE0 && jpeg.substr(at + 4, 5) == std::string_view("JFIF\0", 5)) return true;
    if (marker == 0xEE && jpeg.substr(at + 4, 5) == "Adobe") return true;
    if (marker == 0xDA || length < 2) return false;
    at += 2 + length;
  }
  return false;
}

void decode_jpeg(const FrameFormat& format,
                 std::string_view bytes,
                 JpegDecoder& jpeg,
                 std::span<std::uint8_t> rgb) {
  JpegColor colour = JpegColor::kYCbCr;
  if (says_its_colour(bytes)) {
    colour = JpegColor::kAsMarked;
  } else if (format.photometric == Photometric::kRgb) {
    colour = JpegColor::kRgb;
  }
  jpeg.decode_rgb(bytes, {}, colour, format.columns, format.rows, rgb);
  if (format.photometric == Photometric::kMonochrome1) {
    for (std::uint8_t& value : rgb) value = static_cast<std::uint8_t>(255 - value);
  }
}

// The header of the stream must say what the file says: DCMTK trusts one of the two.
void check_jpeg_ls(const FrameFormat& format, std::string_view bytes) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  std::size_t at = 2;
  if (bytes.size() < 4 || byte(0) != 0xFF || byte(1) != 0xD8) bad("JPEG-LS: no start of an image");
  while (at + 10 <= bytes.size() && byte(at) == 0xFF) {
    const unsigned length = byte(at + 2) * 256U + byte(at + 3);
    if (byte(at + 1) == 0xF7) {
      const int bits = byte(at + 4);
      const int rows = byte(at + 5) * 256 + byte(at + 6);
      const int columns = byte(at + 7) * 256 + byte(at + 8);
      const int samples = byte(at + 9);
      if (bits != 8 || rows != format.rows || columns != format.columns ||
          samples != format.samples) {
        bad(fmt::format(
            "JPEG-LS: {} x {} pixels of {} samples of {} bits, expected {} x {} of {} of 8",
            columns,
            rows,
            samples,
            bits,
            format.columns,
            format.rows,
            format.samples));
      }
      return;
    }
    if (byte(at + 1) == 0xDA || length < 2) break;
    at += 2 + length;
  }
  bad("JPEG-LS: no header before the pixels");
}

// A data set of one frame around the stream: DCMTK decodes from nothing smaller.
std::vector<std::uint8_t> decode_jpeg_ls(const FrameFormat& format, std::string_view bytes) {
  check_jpeg_ls(format, bytes);
  DcmDataset dataset;
  dataset.putAndInsertUint16(DCM_SamplesPerPixel, static_cast<Uint16>(format.samples));
  dataset.putAndInsertString(DCM_PhotometricInterpretation,
                             format.samples == 1 ? "MONOCHROME2" : "RGB");
  dataset.putAndInsertUint16(DCM_PlanarConfiguration, 0);
  dataset.putAndInsertString(DCM_NumberOfFrames, "1");
  dataset.putAndInsertUint16(DCM_Rows, static_cast<Uint16>(format.rows));
  dataset.putAndInsertUint16(DCM_Columns, static_cast<Uint16>(format.columns));
  dataset.putAndInsertUint16(DCM_BitsAllocated, 8);
  dataset.putAndInsertUint16(DCM_BitsStored, 8);
  dataset.putAndInsertUint16(DCM_HighBit, 7);
  dataset.putAndInsertUint16(DCM_PixelRepresentation, 0);

  auto sequence = std::make_unique<DcmPixelSequence>(DCM_PixelSequenceTag);
  auto table = std::make_unique<DcmPixelItem>(DcmTag(DCM_Item, EVR_OB));
  auto item = std::make_unique<DcmPixelItem>(DcmTag(DCM_Item, EVR_OB));
  std::string even(bytes);
  if (even.size() % 2 != 0) even.push_back('\0');
  if (item->putUint8Array(reinterpret_cast<const Uint8*>(even.data()), even.size()).bad() ||
      sequence->insert(table.get()).bad()) {
    bad("JPEG-LS: DCMTK does not take the frame");
  }
  table.release();
  if (sequence->insert(item.get()).bad()) bad("JPEG-LS: DCMTK does not take the frame");
  item.release();
  auto pixels = std::make_unique<DcmPixelData>(DCM_PixelData);
  pixels->putOriginalRepresentation(EXS_JPEGLSLossless, nullptr, sequence.release());
  DcmPixelData* const owned = pixels.get();
  if (dataset.insert(pixels.get()).bad()) bad("JPEG-LS: DCMTK does not take the frame");
  pixels.release();

  std::vector<std::uint8_t> out(static_cast<std::size_t>(format.native_bytes()));
  out.resize(out.size() + out.size() % 2);  // DCMTK fills an even number
  Uint32 fragment = 1;
  OFString model;
  const OFCondition status = owned->getUncompressedFrame(
      &dataset, 0, fragment, out.data(), static_cast<Uint32>(out.size()), model);
  if (status.bad()) bad(fmt::format("JPEG-LS: {}", status.text()));
  return out;
}

}  // namespace

std::uint64_t FrameFormat::native_bytes() const {
  const auto pixels = static_cast<std::uint64_t>(columns * rows);
  return photometric == Photometric::kYbrFull422 ? (pixels + 1) / 2 * 4
                                                 : pixels * static_cast<std::uint64_t>(samples);
}

Codec codec_of(std::string_view transfer_syntax) {
  for (const Syntax& syntax : kSyntaxes) {
    if (syntax.uid != transfer_syntax) continue;
    if (syntax.read) return syntax.codec;
    throw Error(ErrorKind::kUnsupported, fmt::format("transfer syntax: {}", syntax.name));
  }
  throw Error(ErrorKind::kUnsupported,
              fmt::format("transfer syntax: {}", shown_dicom_uid(transfer_syntax)));
}

void decode_frame(const FrameFormat& format,
                  std::string_view bytes,
                  JpegDecoder& jpeg,
                  std::span<std::uint8_t> rgb) {
  switch (format.codec) {
    case Codec::kNative:
      if (bytes.size() < format.native_bytes()) {
        bad(fmt::format("{} bytes, expected {}", bytes.size(), format.native_bytes()));
      }
      return samples_to_rgb(format,
                            {reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()},
                            format.planar,
                            rgb);
    case Codec::kRle:
      return samples_to_rgb(
          format,
          decode_dicom_rle(bytes,
                           static_cast<std::size_t>(format.samples),
                           static_cast<std::size_t>(format.columns * format.rows)),
          true,
          rgb);
    case Codec::kJpegLs:
      return samples_to_rgb(format, decode_jpeg_ls(format, bytes), false, rgb);
    case Codec::kJpeg:
      return decode_jpeg(format, bytes, jpeg, rgb);
    case Codec::kJpeg2000:
      decode_jpeg2000_rgb(
          bytes, format.photometric == Photometric::kYbrFull, format.columns, format.rows, rgb);
      if (format.photometric == Photometric::kMonochrome1) {
        for (std::uint8_t& value : rgb) value = static_cast<std::uint8_t>(255 - value);
      }
      return;
  }
}

void prepare_dcmtk() {
  static const bool done = [] {
    OFLog::configure(OFLogger::OFF_LOG_LEVEL);
    DJLSDecoderRegistration::registerCodecs();
    return true;
  }();
  static_cast<void>(done);
}

}  // namespace med3d::dicom
