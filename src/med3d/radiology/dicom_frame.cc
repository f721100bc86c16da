#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dcpixseq.h>
#include <dcmtk/dcmdata/dcpxitem.h>
#include <dcmtk/dcmdata/dctk.h>
#include <dcmtk/dcmjpeg/djdecode.h>
#include <dcmtk/dcmjpls/djdecode.h>
#include <dcmtk/oflog/oflog.h>
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "med3d/core/error.h"
#include "med3d/io/formats/dicom.h"
#include "med3d/io/formats/jpeg.h"
#include "med3d/io/formats/jpeg2000.h"
#include "med3d/radiology/dicom_frame_internal.h"

namespace med3d::radiology {
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
    {"1.2.840.10008.1.2.1.99", "deflated explicit little endian", Codec::kNative, true},
    {"1.2.840.10008.1.2.2", "explicit big endian", Codec::kNative, true},
    {"1.2.840.10008.1.2.4.50", "JPEG baseline", Codec::kJpeg, true},
    {"1.2.840.10008.1.2.4.51", "JPEG extended", Codec::kJpeg, true},
    {"1.2.840.10008.1.2.4.57", "JPEG lossless", Codec::kJpeg, true},
    {"1.2.840.10008.1.2.4.70", "JPEG lossless, first-order", Codec::kJpeg, true},
    {"1.2.840.10008.1.2.4.80", "JPEG-LS lossless", Codec::kJpegLs, true},
    {"1.2.840.10008.1.2.4.81", "JPEG-LS near-lossless", Codec::kJpegLs, true},
    {"1.2.840.10008.1.2.4.90", "JPEG 2000 lossless", Codec::kJpeg2000, true},
    {"1.2.840.10008.1.2.4.91", "JPEG 2000", Codec::kJpeg2000, true},
    {"1.2.840.10008.1.2.4.92", "JPEG 2000 part 2 lossless", Codec::kJpeg2000, false},
    {"1.2.840.10008.1.2.4.93", "JPEG 2000 part 2", Codec::kJpeg2000, false},
    {"1.2.840.10008.1.2.4.100", "MPEG-2", Codec::kNative, false},
    {"1.2.840.10008.1.2.4.102", "MPEG-4 AVC", Codec::kNative, false},
    {"1.2.840.10008.1.2.4.201", "High-Throughput JPEG 2000 lossless", Codec::kJpeg2000, false},
    {"1.2.840.10008.1.2.4.202", "High-Throughput JPEG 2000 RPCL", Codec::kJpeg2000, false},
    {"1.2.840.10008.1.2.4.203", "High-Throughput JPEG 2000", Codec::kJpeg2000, false},
    {"1.2.840.10008.1.2.5", "RLE", Codec::kRle, true},
};

static_assert(std::endian::native == std::endian::little, "samples are read as they lie");

[[noreturn]] void bad(const std::string& what) { throw Error(ErrorKind::kFormat, what); }

// Samples side by side, least significant byte first.
struct Cells {
  std::vector<std::uint8_t> owned;
  const std::uint8_t* data = nullptr;
  int bytes = 1;
};

Cells native_cells(const FrameFormat& format, std::string_view bytes) {
  if (bytes.size() < format.native_bytes()) {
    bad(fmt::format("{} bytes of pixels, expected {}", bytes.size(), format.native_bytes()));
  }
  Cells out;
  out.bytes = format.bits_allocated / 8;
  const auto* from = reinterpret_cast<const std::uint8_t*>(bytes.data());
  out.data = from;
  if (!format.big_endian || (out.bytes == 1 && !format.as_words)) return out;
  const std::size_t word = out.bytes == 1 ? 2 : static_cast<std::size_t>(out.bytes);
  out.owned.assign(from, from + format.native_bytes());
  if (out.owned.size() % word != 0) {
    throw Error(ErrorKind::kUnsupported, "a big-endian frame that is no whole number of words");
  }
  for (std::size_t i = 0; i < out.owned.size(); i += word) {
    std::reverse(out.owned.begin() + static_cast<std::ptrdiff_t>(i),
                 out.owned.begin() + static_cast<std::ptrdiff_t>(i + word));
  }
  out.data = out.owned.data();
  return out;
}

// A plane for each byte of a sample, the most significant first.
Cells rle_cells(const FrameFormat& format, std::string_view bytes) {
  const auto plane = static_cast<std::size_t>(format.columns * format.rows);
  const auto segments = static_cast<std::size_t>(format.bits_allocated / 8);
  auto planes = decode_dicom_rle(bytes, segments, plane);
  Cells out;
  out.bytes = static_cast<int>(segments);
  if (segments == 1) {
    out.owned = std::move(planes);
    out.data = out.owned.data();
    return out;
  }
  out.owned.resize(planes.size());
  if (segments == 2) {  // nearly all there are; a whole sample at once, which vectors can do
    const std::uint8_t* high = planes.data();
    const std::uint8_t* low = high + plane;
    for (std::size_t i = 0; i < plane; ++i) {
      const auto cell = static_cast<std::uint16_t>(high[i] << 8 | low[i]);
      std::memcpy(out.owned.data() + 2 * i, &cell, sizeof cell);
    }
    out.data = out.owned.data();
    return out;
  }
  for (std::size_t s = 0; s < segments; ++s) {
    const std::uint8_t* from = planes.data() + s * plane;
    std::uint8_t* to = out.owned.data() + (segments - 1 - s);
    for (std::size_t i = 0; i < plane; ++i) to[i * segments] = from[i];
  }
  out.data = out.owned.data();
  return out;
}

struct StreamHeader {
  int process = 0;  // the marker's second byte: C0 baseline, C1 extended, C3 lossless, F7 JPEG-LS
  int precision = 0;
};

// The header of a JPEG or JPEG-LS stream must say what the file says: the decoder trusts it.
StreamHeader check_stream(const FrameFormat& format,
                          std::string_view bytes,
                          std::string_view name) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  if (bytes.size() < 4 || byte(0) != 0xFF || byte(1) != 0xD8) {
    bad(fmt::format("{}: no start of an image", name));
  }
  std::size_t last = bytes.size();
  while (last > 2 && (byte(last - 1) == 0 || byte(last - 1) == 0xFF)) --last;  // padding
  // A decoder fills up what is missing; the end mark tells that nothing is.
  if (last < 4 || byte(last - 1) != 0xD9 || byte(last - 2) != 0xFF) {
    bad(fmt::format("{}: no end of the image: its data are cut short", name));
  }
  std::size_t at = 2;
  while (at + 10 <= bytes.size() && byte(at) == 0xFF) {
    const int marker = byte(at + 1);
    if (marker == 0xFF) {  // fill byte
      ++at;
      continue;
    }
    const std::size_t length = byte(at + 2) * 256U + byte(at + 3);
    const bool frame = marker == 0xF7 || (marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 &&
                                          marker != 0xC8 && marker != 0xCC);
    if (frame) {
      const StreamHeader out{marker, byte(at + 4)};
      const int rows = byte(at + 5) * 256 + byte(at + 6);
      const int columns = byte(at + 7) * 256 + byte(at + 8);
      const int samples = byte(at + 9);
      if (out.precision < 2 || out.precision > std::min(format.bits_allocated, 16) ||
          rows != format.rows || columns != format.columns || samples != 1) {
        bad(
            fmt::format("{}: {} x {} pixels of {} samples of {} bits, expected {} x {} of 1 of at "
                        "most {}",
                        name,
                        columns,
                        rows,
                        samples,
                        out.precision,
                        format.columns,
                        format.rows,
                        format.bits_allocated));
      }
      return out;
    }
    if (marker == 0xDA || length < 2) break;
    at += 2 + length;
  }
  bad(fmt::format("{}: no header before the pixels", name));
}

// A data set of one frame around the stream: DCMTK decodes from nothing smaller.
Cells dcmtk_cells(const FrameFormat& format,
                  std::string_view bytes,
                  E_TransferSyntax syntax,
                  int precision,
                  std::string_view name) {
  const auto refuse = [&](std::string_view why) { bad(fmt::format("{}: {}", name, why)); };
  Cells out;
  out.bytes = precision > 8 ? 2 : 1;
  DcmDataset dataset;
  dataset.putAndInsertUint16(DCM_SamplesPerPixel, 1);
  dataset.putAndInsertString(DCM_PhotometricInterpretation, "MONOCHROME2");
  dataset.putAndInsertString(DCM_NumberOfFrames, "1");
  dataset.putAndInsertUint16(DCM_Rows, static_cast<Uint16>(format.rows));
  dataset.putAndInsertUint16(DCM_Columns, static_cast<Uint16>(format.columns));
  dataset.putAndInsertUint16(DCM_BitsAllocated, static_cast<Uint16>(8 * out.bytes));
  dataset.putAndInsertUint16(DCM_BitsStored, static_cast<Uint16>(precision));
  dataset.putAndInsertUint16(DCM_HighBit, static_cast<Uint16>(precision - 1));
  dataset.putAndInsertUint16(DCM_PixelRepresentation, 0);

  auto sequence = std::make_unique<DcmPixelSequence>(DCM_PixelSequenceTag);
  auto table = std::make_unique<DcmPixelItem>(DcmTag(DCM_Item, EVR_OB));
  auto item = std::make_unique<DcmPixelItem>(DcmTag(DCM_Item, EVR_OB));
  std::string even(bytes);
  if (even.size() % 2 != 0) even.push_back('\0');
  if (item->putUint8Array(reinterpret_cast<const Uint8*>(even.data()), even.size()).bad() ||
      sequence->insert(table.get()).bad()) {
    refuse("DCMTK does not take the frame");
  }
  table.release();
  if (sequence->insert(item.get()).bad()) refuse("DCMTK does not take the frame");
  item.release();
  auto pixels = std::make_unique<DcmPixelData>(DCM_PixelData);
  pixels->putOriginalRepresentation(syntax, nullptr, sequence.release());
  DcmPixelData* const owned = pixels.get();
  if (dataset.insert(pixels.get()).bad()) refuse("DCMTK does not take the frame");
  pixels.release();

  const auto samples = static_cast<std::size_t>(format.columns * format.rows);
  out.owned.resize(samples * static_cast<std::size_t>(out.bytes) + 1);
  out.owned.resize(out.owned.size() & ~std::size_t{1});  // DCMTK fills an even number
  Uint32 fragment = 1;
  OFString model;
  const OFCondition status = owned->getUncompressedFrame(
      &dataset, 0, fragment, out.owned.data(), static_cast<Uint32>(out.owned.size()), model);
  if (status.bad()) refuse(status.text());
  out.data = out.owned.data();
  return out;
}

Cells jpeg_cells(const FrameFormat& format, std::string_view bytes) {
  const StreamHeader header = check_stream(format, bytes, "JPEG");
  if (header.process != 0xC0 && header.process != 0xC1 && header.process != 0xC3) {
    throw Error(ErrorKind::kUnsupported,
                fmt::format("JPEG: process {:02X}, expected baseline, extended or lossless",
                            header.process));
  }
  if (header.process != 0xC3 && header.precision == 8) {
    Cells out;
    out.owned.resize(static_cast<std::size_t>(format.columns * format.rows));
    JpegDecoder().decode_gray(bytes, {}, format.columns, format.rows, out.owned);
    out.data = out.owned.data();
    return out;
  }
  // By what the stream is, whatever the file says of it.
  const E_TransferSyntax syntax = header.process == 0xC3 ? EXS_JPEGProcess14 : EXS_JPEGProcess2_4;
  return dcmtk_cells(format, bytes, syntax, header.precision, "JPEG");
}

Cells jpeg_ls_cells(const FrameFormat& format, std::string_view bytes) {
  const StreamHeader header = check_stream(format, bytes, "JPEG-LS");
  if (header.process != 0xF7) bad("JPEG-LS: the stream is of another kind of JPEG");
  return dcmtk_cells(format, bytes, EXS_JPEGLSLossless, header.precision, "JPEG-LS");
}

// Cuts a sample out of its cell and gives it its sign.
struct Sample {
  int shift = 0;
  int bits = 0;
  bool is_signed = false;

  std::int64_t operator()(std::uint64_t cell) const {
    const std::uint64_t mask = (std::uint64_t{1} << bits) - 1;
    const std::uint64_t value = cell >> shift & mask;
    const bool negative = is_signed && (value >> (bits - 1) & 1) != 0;
    return static_cast<std::int64_t>(value) - (negative ? std::int64_t{1} << bits : 0);
  }
};

// What the stored number stands for.
class Rescale {
 public:
  Rescale(const FrameFormat& format, bool is_signed)
      : slope_(format.slope), intercept_(format.intercept) {
    if (!format.inverted) return;
    // low + high - stored
    const double high =
        static_cast<double>((std::int64_t{1} << (format.bits_stored - is_signed)) - 1);
    const double low = is_signed ? -high - 1.0 : 0.0;
    intercept_ += slope_ * (low + high);
    slope_ = -slope_;
  }
  double slope() const { return slope_; }
  double intercept() const { return intercept_; }
  float operator()(std::int64_t stored) const {
    return static_cast<float>(static_cast<double>(stored) * slope_ + intercept_);
  }

 private:
  double slope_;
  double intercept_;
};

// Cells of 8 or 16 bits: in 32-bit numbers, which the compiler does several at a time.
template <class Cell>
void unpack_small(const Cells& cells,
                  const Sample& sample,
                  const Rescale& rescale,
                  std::span<float> out) {
  const std::int32_t mask = static_cast<std::int32_t>((std::uint32_t{1} << sample.bits) - 1);
  const std::int32_t sign = sample.is_signed ? 1 << (sample.bits - 1) : 0;
  const int shift = sample.shift;
  const double slope = rescale.slope();
  const double intercept = rescale.intercept();
  const std::uint8_t* from = cells.data;
  // CT as it nearly always is: whole numbers that a float holds, so that no double is needed.
  constexpr double kMostIntercept = 1 << 23;
  if (slope == 1.0 && std::abs(intercept) <= kMostIntercept && intercept == std::floor(intercept)) {
    const auto offset = static_cast<std::int32_t>(intercept);
    for (std::size_t i = 0; i < out.size(); ++i) {
      Cell cell = 0;
      std::memcpy(&cell, from + i * sizeof(Cell), sizeof(Cell));
      const std::int32_t value =
          (((static_cast<std::int32_t>(cell) >> shift) & mask) ^ sign) - sign;
      out[i] = static_cast<float>(value + offset);
    }
    return;
  }
  for (std::size_t i = 0; i < out.size(); ++i) {
    Cell cell = 0;
    std::memcpy(&cell, from + i * sizeof(Cell), sizeof(Cell));
    const std::int32_t value = (((static_cast<std::int32_t>(cell) >> shift) & mask) ^ sign) - sign;
    out[i] = static_cast<float>(static_cast<double>(value) * slope + intercept);
  }
}

void unpack_large(const Cells& cells,
                  const Sample& sample,
                  const Rescale& rescale,
                  std::span<float> out) {
  const std::uint8_t* from = cells.data;
  for (float& value : out) {
    std::uint32_t cell = 0;
    std::memcpy(&cell, from, sizeof cell);
    from += sizeof cell;
    value = rescale(sample(cell));
  }
}

void decode_jpeg2000_frame(const FrameFormat& format,
                           std::string_view bytes,
                           std::span<float> out) {
  const Jpeg2000Header header = read_jpeg2000_header(bytes);
  if (header.width != format.columns || header.height != format.rows || header.components != 1 ||
      header.bits > format.bits_allocated) {
    bad(fmt::format(
        "JPEG 2000: {} x {} pixels of {} samples of {} bits, expected {} x {} of 1 of at "
        "most {}",
        header.width,
        header.height,
        header.components,
        header.bits,
        format.columns,
        format.rows,
        format.bits_allocated));
  }
  const Jpeg2000Image image = decode_jpeg2000(bytes);
  // Where file and stream differ in the sign, the sample is read as signed at the stream's depth.
  const Sample sample{0, header.bits, header.is_signed || format.is_signed};
  const Rescale rescale(format, sample.is_signed);
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] =
        rescale(sample(static_cast<std::uint64_t>(static_cast<std::uint32_t>(image.samples[i]))));
  }
}

}  // namespace

Codec codec_of(std::string_view transfer_syntax) {
  for (const Syntax& syntax : kSyntaxes) {
    if (syntax.uid != transfer_syntax) continue;
    if (syntax.read) return syntax.codec;
    throw Error(ErrorKind::kUnsupported, fmt::format("transfer syntax: {}", syntax.name));
  }
  throw Error(ErrorKind::kUnsupported,
              fmt::format("transfer syntax: {}", shown_dicom_uid(transfer_syntax)));
}

std::string_view syntax_name(std::string_view transfer_syntax) {
  for (const Syntax& syntax : kSyntaxes) {
    if (syntax.uid == transfer_syntax) return syntax.name;
  }
  return "";
}

void decode_grey_frame(const FrameFormat& format, std::string_view bytes, std::span<float> out) {
  if (format.codec == Codec::kJpeg2000) return decode_jpeg2000_frame(format, bytes, out);
  Cells cells;
  switch (format.codec) {
    case Codec::kRle:
      cells = rle_cells(format, bytes);
      break;
    case Codec::kJpeg:
      cells = jpeg_cells(format, bytes);
      break;
    case Codec::kJpegLs:
      cells = jpeg_ls_cells(format, bytes);
      break;
    default:
      cells = native_cells(format, bytes);
      break;
  }
  const Sample sample{
      format.high_bit + 1 - format.bits_stored, format.bits_stored, format.is_signed};
  const Rescale rescale(format, format.is_signed);
  switch (cells.bytes) {
    case 1:
      return unpack_small<std::uint8_t>(cells, sample, rescale, out);
    case 2:
      return unpack_small<std::uint16_t>(cells, sample, rescale, out);
    default:
      return unpack_large(cells, sample, rescale, out);
  }
}

void prepare_dcmtk() {
  static const bool done = [] {
    OFLog::configure(OFLogger::OFF_LOG_LEVEL);
    DJDecoderRegistration::registerCodecs();
    DJLSDecoderRegistration::registerCodecs();
    return true;
  }();
  static_cast<void>(done);
}

}  // namespace med3d::radiology
