#include "med3d/io/formats/jpeg.h"

#include <fmt/format.h>
#include <turbojpeg.h>

#include <array>

#include "med3d/core/error.h"
#include "med3d/core/limits.h"
#include "med3d/io/formats/jpeg_color_internal.h"

namespace med3d {
namespace {

constexpr int kSoi = 0xD8;
constexpr int kEoi = 0xD9;
constexpr int kSos = 0xDA;
constexpr int kApp0 = 0xE0;
constexpr int kApp14 = 0xEE;
constexpr std::int64_t kMaxJpegSide = 65535;
constexpr std::int64_t kMaxPlanePixels = 4 << 20;  // a tile; a large picture is not held twice

[[noreturn]] void damaged(const std::string& what) {
  throw Error(ErrorKind::kFormat, "JPEG: " + what);
}

int byte_at(std::string_view bytes, std::size_t i) { return static_cast<unsigned char>(bytes[i]); }

// Calls visit(marker, segment) for each segment before the first scan, the segment being all its
// bytes, marker and length included. Returns where the scan's own marker begins, or the length of
// the bytes if they end in EOI or without one, as tables may.
template <class Visit>
std::size_t walk_segments(std::string_view jpeg, const Visit& visit) {
  if (jpeg.size() < 2 || byte_at(jpeg, 0) != 0xFF || byte_at(jpeg, 1) != kSoi) {
    damaged("does not begin with an SOI marker");
  }
  std::size_t at = 2;
  while (at + 2 <= jpeg.size()) {
    if (byte_at(jpeg, at) != 0xFF) damaged(fmt::format("byte {}: expected a marker", at));
    const int marker = byte_at(jpeg, at + 1);
    if (marker == 0xFF) {  // fill
      ++at;
      continue;
    }
    if (marker == kEoi) return jpeg.size();
    if (marker == kSos) return at;
    if (marker == 0x01 || (marker >= 0xD0 && marker <= kSoi)) {
      damaged(fmt::format("byte {}: a marker FF{:02X} before the first scan", at, marker));
    }
    if (at + 4 > jpeg.size()) break;
    const std::size_t length =
        static_cast<std::size_t>(byte_at(jpeg, at + 2) << 8 | byte_at(jpeg, at + 3));
    if (length < 2 || length + 2 > jpeg.size() - at) {
      damaged(
          fmt::format("byte {}: segment FF{:02X} of {} bytes does not fit in the {} that are left",
                      at,
                      marker,
                      length,
                      jpeg.size() - at - 2));
    }
    visit(marker, jpeg.substr(at, length + 2));
    at += length + 2;
  }
  return jpeg.size();
}

bool is_frame(int marker) {
  return marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
}

JpegHeader parse_frame(int marker, std::string_view segment) {
  // C0 baseline, C1 extended, C2 progressive, C9 and CA the same with arithmetic coding.
  if (marker != 0xC0 && marker != 0xC1 && marker != 0xC2 && marker != 0xC9 && marker != 0xCA) {
    throw Error(ErrorKind::kUnsupported,
                fmt::format("JPEG: process SOF{} (lossless or hierarchical), expected a baseline, "
                            "extended or progressive one",
                            marker - 0xC0));
  }
  if (segment.size() < 10) damaged("the frame header is cut short");
  const int precision = byte_at(segment, 4);
  JpegHeader header;
  header.height = byte_at(segment, 5) << 8 | byte_at(segment, 6);
  header.width = byte_at(segment, 7) << 8 | byte_at(segment, 8);
  header.components = byte_at(segment, 9);
  header.progressive = marker == 0xC2 || marker == 0xCA;
  if (precision != 8) {
    throw Error(ErrorKind::kUnsupported,
                fmt::format("JPEG: {} bits a sample, expected 8", precision));
  }
  if (header.components != 1 && header.components != 3) {
    throw Error(ErrorKind::kUnsupported,
                fmt::format("JPEG: {} components, expected 1 or 3", header.components));
  }
  if (header.width == 0) damaged("a width of 0");
  if (header.height == 0) {
    throw Error(ErrorKind::kUnsupported, "JPEG: the height is not in the header");
  }
  return header;
}

class Turbo {
 public:
  explicit Turbo(tjhandle handle) : handle_(handle) {
    if (handle == nullptr) throw Error(ErrorKind::kIo, "JPEG: the codec cannot be started");
  }
  ~Turbo() { tjDestroy(handle_); }
  Turbo(const Turbo&) = delete;
  Turbo& operator=(const Turbo&) = delete;
  tjhandle get() const { return handle_; }

 private:
  tjhandle handle_;
};

}  // namespace

bool detect_jpeg(std::string_view head) { return head.substr(0, 3) == "\xFF\xD8\xFF"; }

JpegHeader read_jpeg_header(std::string_view jpeg) {
  JpegHeader header;
  const std::size_t scan = walk_segments(jpeg, [&](int marker, std::string_view segment) {
    if (!is_frame(marker)) return;
    if (header.components != 0) damaged("two frame headers");
    header = parse_frame(marker, segment);
  });
  if (scan == jpeg.size()) damaged("cut short before its first scan");
  if (header.components == 0) damaged("no frame header before the first scan");
  return header;
}

struct JpegDecoder::Impl {
  Turbo turbo{tjInitDecompress()};
  std::string spliced;
  YCbCrPlanes planes;

  // libjpeg asks JFIF first, then Adobe's marker: to state a colour both give way to one of ours.
  std::string_view splice(std::string_view jpeg, std::string_view tables, JpegColor color) {
    if (tables.empty() && color == JpegColor::kAsMarked) return jpeg;
    spliced.assign("\xFF\xD8", 2);
    if (color != JpegColor::kAsMarked) {
      spliced.append(
          "\xFF\xEE\x00\x0E"
          "Adobe\x00\x64\x00\x00\x00\x00",
          15);
      spliced.push_back(color == JpegColor::kYCbCr ? '\x01' : '\x00');
    }
    const auto copy = [&](int marker, std::string_view segment) {
      const bool states_color = marker == kApp0 || marker == kApp14;
      if (!states_color || color == JpegColor::kAsMarked) spliced.append(segment);
    };
    if (!tables.empty()) {
      walk_segments(tables, [&](int marker, std::string_view segment) {
        // Tables hold no image; a frame header among them would meet the image's own.
        if (is_frame(marker)) damaged("a frame header among the tables");
        copy(marker, segment);
      });
    }
    const std::size_t scan = walk_segments(jpeg, copy);
    spliced.append(jpeg.substr(scan));
    return spliced;
  }

  void decode(std::string_view jpeg,
              std::string_view tables,
              JpegColor color,
              std::int64_t width,
              std::int64_t height,
              int channels,
              std::span<std::uint8_t> pixels) {
    const JpegHeader header = read_jpeg_header(jpeg);
    if (header.width != width || header.height != height) {
      damaged(fmt::format(
          "{} x {} pixels, expected {} x {}", header.width, header.height, width, height));
    }
    const auto side = static_cast<std::int64_t>(limits().image_side);
    const auto bytes = static_cast<std::uint64_t>(width * height * channels);
    if (width > side || height > side || bytes > limits().image_bytes) {
      damaged(fmt::format(
          "{} x {} pixels, more than the limits image_side and image_bytes allow", width, height));
    }
    if (pixels.size() != bytes) {
      throw Error(
          ErrorKind::kUsage,
          fmt::format("JPEG: room for {} bytes of pixels, expected {}", pixels.size(), bytes));
    }
    if (channels == 3 && color != JpegColor::kRgb && width >= kMinUpsampledWidth &&
        width * height <= kMaxPlanePixels && has_planes_to_rgb() &&
        decode_planes(splice(jpeg, tables, JpegColor::kAsMarked), color, width, height)) {
      planes_to_rgb(planes, pixels);
      return;
    }
    const std::string_view stream = splice(jpeg, tables, color);
    const int status = tjDecompress2(turbo.get(),
                                     reinterpret_cast<const unsigned char*>(stream.data()),
                                     stream.size(),
                                     pixels.data(),
                                     static_cast<int>(width),
                                     static_cast<int>(width) * channels,
                                     static_cast<int>(height),
                                     channels == 1 ? TJPF_GRAY : TJPF_RGB,
                                     TJFLAG_ACCURATEDCT | TJFLAG_STOPONWARNING | TJFLAG_LIMITSCANS);
    if (status != 0) damaged(tjGetErrorStr2(turbo.get()));
  }

  // All but the colours: planes have none, so that what the markers say of them plays no part where
  // the caller knows. False for what has no smaller chroma. The room is for the sampling that
  // TurboJPEG itself found; our own walk might have gone by another frame header than it does.
  bool decode_planes(std::string_view stream,
                     JpegColor color,
                     std::int64_t width,
                     std::int64_t height) {
    const auto* bytes = reinterpret_cast<const unsigned char*>(stream.data());
    int found_width = 0;
    int found_height = 0;
    int sampling = 0;
    int colors = 0;
    if (tjDecompressHeader3(
            turbo.get(), bytes, stream.size(), &found_width, &found_height, &sampling, &colors) !=
            0 ||
        found_width != width || found_height != height ||
        (sampling != TJSAMP_420 && sampling != TJSAMP_422) ||
        (color == JpegColor::kAsMarked && colors != TJCS_YCbCr)) {
      return false;
    }
    planes.resize(
        width, height, sampling == TJSAMP_420 ? ChromaLayout::kHalfBoth : ChromaLayout::kHalfWidth);
    std::array<unsigned char*, 3> rows = {planes.y.data(), planes.cb.data(), planes.cr.data()};
    std::array<int, 3> strides = {static_cast<int>(planes.luma_stride),
                                  static_cast<int>(planes.chroma_stride),
                                  static_cast<int>(planes.chroma_stride)};
    const int status =
        tjDecompressToYUVPlanes(turbo.get(),
                                bytes,
                                stream.size(),
                                rows.data(),
                                static_cast<int>(width),
                                strides.data(),
                                static_cast<int>(height),
                                TJFLAG_ACCURATEDCT | TJFLAG_STOPONWARNING | TJFLAG_LIMITSCANS);
    if (status != 0) damaged(tjGetErrorStr2(turbo.get()));
    return true;
  }
};

JpegDecoder::JpegDecoder() : impl_(std::make_unique<Impl>()) {}
JpegDecoder::~JpegDecoder() = default;
JpegDecoder::JpegDecoder(JpegDecoder&&) noexcept = default;
JpegDecoder& JpegDecoder::operator=(JpegDecoder&&) noexcept = default;

void JpegDecoder::decode_rgb(std::string_view jpeg,
                             std::string_view tables,
                             JpegColor color,
                             std::int64_t width,
                             std::int64_t height,
                             std::span<std::uint8_t> pixels) {
  impl_->decode(jpeg, tables, color, width, height, 3, pixels);
}

void JpegDecoder::decode_gray(std::string_view jpeg,
                              std::string_view tables,
                              std::int64_t width,
                              std::int64_t height,
                              std::span<std::uint8_t> pixels) {
  impl_->decode(jpeg, tables, JpegColor::kAsMarked, width, height, 1, pixels);
}

namespace {

std::string encode(std::span<const std::uint8_t> pixels,
                   std::int64_t width,
                   std::int64_t height,
                   int channels,
                   int quality) {
  if (width < 1 || height < 1 || width > kMaxJpegSide || height > kMaxJpegSide) {
    throw Error(ErrorKind::kUsage,
                fmt::format("JPEG: {} x {} pixels, expected sides of 1 to 65535", width, height));
  }
  if (quality < 1 || quality > 100) {
    throw Error(ErrorKind::kUsage, fmt::format("JPEG: quality {}, expected 1 to 100", quality));
  }
  if (pixels.size() != static_cast<std::size_t>(width * height * channels)) {
    throw Error(
        ErrorKind::kUsage,
        fmt::format(
            "JPEG: {} bytes of pixels, expected {}", pixels.size(), width * height * channels));
  }
  const Turbo turbo(tjInitCompress());
  unsigned char* out = nullptr;
  unsigned long size = 0;
  const int status = tjCompress2(turbo.get(),
                                 pixels.data(),
                                 static_cast<int>(width),
                                 static_cast<int>(width) * channels,
                                 static_cast<int>(height),
                                 channels == 1 ? TJPF_GRAY : TJPF_RGB,
                                 &out,
                                 &size,
                                 channels == 1 ? TJSAMP_GRAY : TJSAMP_420,
                                 quality,
                                 TJFLAG_ACCURATEDCT);
  const std::unique_ptr<unsigned char, decltype(&tjFree)> owned(out, &tjFree);
  if (status != 0) {
    throw Error(ErrorKind::kIo, fmt::format("JPEG: {}", tjGetErrorStr2(turbo.get())));
  }
  return {reinterpret_cast<const char*>(out), size};
}

}  // namespace

std::string encode_jpeg(std::span<const std::uint8_t> pixels,
                        std::int64_t width,
                        std::int64_t height,
                        int quality) {
  return encode(pixels, width, height, 3, quality);
}

std::string encode_jpeg_gray(std::span<const std::uint8_t> pixels,
                             std::int64_t width,
                             std::int64_t height,
                             int quality) {
  return encode(pixels, width, height, 1, quality);
}

}  // namespace med3d
