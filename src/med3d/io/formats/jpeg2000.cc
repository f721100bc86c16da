#include "med3d/io/formats/jpeg2000.h"

#include <fmt/format.h>
#include <openjpeg.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <string>

#include "med3d/core/error.h"
#include "med3d/core/limits.h"

namespace med3d {
namespace {

constexpr std::string_view kSignatureBox("\x00\x00\x00\x0CjP  \r\n\x87\n", 12);
constexpr std::string_view kCodestream("\xFF\x4F\xFF\x51", 4);  // SOC, SIZ
constexpr std::uint64_t kMaxTiles = 4096;
constexpr std::uint64_t kMaxPrecincts = 1ULL << 20;
constexpr std::uint64_t kMaxPackets = 1ULL << 24;

[[noreturn]] void damaged(const std::string& what) {
  throw Error(ErrorKind::kFormat, "JPEG 2000: " + what);
}

// Big-endian numbers; reading past the end is an Error.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}
  std::size_t position() const { return at_; }
  std::size_t left() const { return bytes_.size() - at_; }
  std::uint64_t number(int bytes) {
    if (left() < static_cast<std::size_t>(bytes)) damaged("cut short in its header");
    std::uint64_t value = 0;
    for (int i = 0; i < bytes; ++i) value = value << 8 | static_cast<unsigned char>(bytes_[at_++]);
    return value;
  }
  std::string_view take(std::uint64_t n) {
    if (n > left()) damaged("cut short in its header");
    at_ += n;
    return bytes_.substr(at_ - n, n);
  }

 private:
  std::string_view bytes_;
  std::size_t at_ = 0;
};

// The codestream of a JP2 file: its first box 'jp2c'.
std::string_view codestream_of(std::string_view bytes) {
  if (bytes.starts_with(kCodestream)) return bytes;
  if (!bytes.starts_with(kSignatureBox)) damaged("neither a codestream nor a JP2 file");
  Reader reader(bytes);
  while (reader.left() > 0) {
    std::uint64_t length = reader.number(4);
    const std::string_view type = reader.take(4);
    std::uint64_t header = 8;
    if (length == 1) {
      length = reader.number(8);
      header = 16;
    } else if (length == 0) {
      length = reader.left() + header;
    }
    if (length < header || length - header > reader.left()) {
      damaged("a box that does not fit in the file");
    }
    const std::string_view content = reader.take(length - header);
    if (type == "jp2c") {
      if (!content.starts_with(kCodestream)) damaged("the box 'jp2c' holds no codestream");
      return content;
    }
  }
  damaged("a JP2 file without a codestream");
}

struct Siz {
  Jpeg2000Header header;
  std::uint64_t tile_width = 0;
  std::uint64_t tile_height = 0;
  std::uint64_t tiles = 0;
};

std::uint64_t ceil_div(std::uint64_t a, std::uint64_t b) { return (a + b - 1) / b; }

Siz parse_siz(std::string_view segment) {
  Reader reader(segment);
  const std::uint64_t capabilities = reader.number(2);
  if ((capabilities & 0x4000U) != 0) {
    throw Error(ErrorKind::kUnsupported, "JPEG 2000: High-Throughput coding, expected part 1");
  }
  const std::uint64_t x1 = reader.number(4);
  const std::uint64_t y1 = reader.number(4);
  const std::uint64_t x0 = reader.number(4);
  const std::uint64_t y0 = reader.number(4);
  const std::uint64_t tile_width = reader.number(4);
  const std::uint64_t tile_height = reader.number(4);
  const std::uint64_t tile_x0 = reader.number(4);
  const std::uint64_t tile_y0 = reader.number(4);
  const std::uint64_t components = reader.number(2);
  if (x1 <= x0 || y1 <= y0) damaged("an image area of no pixels");
  if (tile_width == 0 || tile_height == 0 || tile_x0 > x0 || tile_y0 > y0) {
    damaged("a tile grid that makes no sense");
  }
  const std::uint64_t width = x1 - x0;
  const std::uint64_t height = y1 - y0;
  const std::uint64_t side = limits().image_side;
  if (width > side || height > side || x1 > 4 * side || y1 > 4 * side) {
    damaged(fmt::format("{} x {} pixels, a side beyond the limit image_side", width, height));
  }
  if (components < 1 || components > 4) {
    throw Error(ErrorKind::kUnsupported,
                fmt::format("JPEG 2000: {} components, expected 1 to 4", components));
  }
  if (width * height * components * 4 > limits().image_bytes) {
    damaged(fmt::format("{} x {} pixels of {} components, beyond the limit image_bytes",
                        width,
                        height,
                        components));
  }
  Siz siz;
  siz.tile_width = tile_width;
  siz.tile_height = tile_height;
  siz.tiles = ceil_div(x1 - tile_x0, tile_width) * ceil_div(y1 - tile_y0, tile_height);
  if (siz.tiles > kMaxTiles) {
    throw Error(ErrorKind::kUnsupported,
                fmt::format("JPEG 2000: {} tiles, expected at most {}", siz.tiles, kMaxTiles));
  }
  siz.header.width = static_cast<std::int64_t>(width);
  siz.header.height = static_cast<std::int64_t>(height);
  siz.header.components = static_cast<int>(components);
  for (std::uint64_t c = 0; c < components; ++c) {
    const std::uint64_t depth = reader.number(1);
    const std::uint64_t dx = reader.number(1);
    const std::uint64_t dy = reader.number(1);
    const int bits = static_cast<int>(depth & 0x7FU) + 1;
    const bool is_signed = (depth & 0x80U) != 0;
    if (bits > 16) {
      throw Error(ErrorKind::kUnsupported,
                  fmt::format("JPEG 2000: {} bits a sample, expected at most 16", bits));
    }
    if (c > 0 && (bits != siz.header.bits || is_signed != siz.header.is_signed)) {
      throw Error(ErrorKind::kUnsupported, "JPEG 2000: components of different depths");
    }
    if (dx == 0 || dy == 0 || dx > width || dy > height) damaged("a component without samples");
    siz.header.bits = bits;
    siz.header.is_signed = is_signed;
  }
  return siz;
}

// Precincts of one sample and 65,535 layers are legal and cost gigabytes: bound what they amount
// to. `style` is what follows the progression: Scod's precinct flag, levels, code-block, precinct
// sizes.
void check_precincts(const Siz& siz, bool has_precincts, std::uint64_t layers, Reader& reader) {
  const std::uint64_t levels = reader.number(1);
  if (levels > 32) damaged(fmt::format("{} resolution levels", levels));
  reader.take(4);  // code-block width, height and style, transformation
  if (!has_precincts) return;
  std::uint64_t precincts = 0;
  for (std::uint64_t r = 0; r <= levels; ++r) {
    const std::uint64_t size = reader.number(1);
    const std::uint64_t reduce = levels - r;
    const std::uint64_t width =
        (std::min<std::uint64_t>(siz.tile_width, static_cast<std::uint64_t>(siz.header.width)) >>
         reduce) +
        1;
    const std::uint64_t height =
        (std::min<std::uint64_t>(siz.tile_height, static_cast<std::uint64_t>(siz.header.height)) >>
         reduce) +
        1;
    precincts += ((width >> (size & 0xFU)) + 1) * ((height >> (size >> 4)) + 1);
  }
  precincts *= static_cast<std::uint64_t>(siz.header.components);
  if (precincts > kMaxPrecincts || precincts * layers > kMaxPackets) {
    damaged(fmt::format("{} precincts of {} layers, more than any image needs", precincts, layers));
  }
}

// Reads the main header and steps over every tile-part: each must be whole, the last followed by
// EOC.
Siz check_codestream(std::string_view codestream) {
  Reader reader(codestream);
  reader.take(2);  // SOC
  std::optional<Siz> siz;
  std::uint64_t layers = 1;
  while (true) {
    const std::size_t start = reader.position();
    const std::uint64_t marker = reader.number(2);
    if (marker == 0xFFD9) break;
    const std::uint64_t length = reader.number(2);
    if (length < 2) damaged("a marker segment of no length");
    const std::string_view segment = reader.take(length - 2);
    if (marker == 0xFF51) {
      if (siz) damaged("two image sizes");
      siz = parse_siz(segment);
      continue;
    }
    if (!siz) damaged("no image size at its beginning");
    Reader inner(segment);
    if (marker == 0xFF50) {
      throw Error(ErrorKind::kUnsupported, "JPEG 2000: High-Throughput coding, expected part 1");
    }
    if (marker == 0xFF52) {  // COD
      const std::uint64_t style = inner.number(1);
      inner.take(1);
      layers = inner.number(2);
      inner.take(1);
      check_precincts(*siz, (style & 1U) != 0, layers, inner);
    } else if (marker == 0xFF53) {  // COC
      inner.take(1);
      check_precincts(*siz, (inner.number(1) & 1U) != 0, layers, inner);
    } else if (marker == 0xFF90) {  // SOT: tile number, length of the tile-part, part, parts
      inner.take(2);
      const std::uint64_t part = inner.number(4);
      const std::size_t rest = codestream.size() - start;
      if (part == 0) {  // to the end; the marker EOC, padded to an even length, closes it
        std::string_view tail = codestream.substr(start);
        while (!tail.empty() && tail.back() == '\0') tail.remove_suffix(1);
        if (!tail.ends_with("\xFF\xD9")) damaged("cut short: no end marker");
        break;
      }
      if (part < 14 || part > rest) {
        damaged(fmt::format("cut short: a tile-part of {} bytes where {} are left", part, rest));
      }
      reader.take(part - 12);
    } else if (marker < 0xFF00) {
      damaged(fmt::format("byte {}: expected a marker", start));
    }
  }
  if (!siz) damaged("no image size at its beginning");
  return *siz;
}

struct Memory {
  std::string_view bytes;
  std::size_t at = 0;
};

OPJ_SIZE_T read_memory(void* to, OPJ_SIZE_T n, void* user) {
  auto& memory = *static_cast<Memory*>(user);
  const std::size_t take = std::min<std::size_t>(n, memory.bytes.size() - memory.at);
  if (take == 0) return static_cast<OPJ_SIZE_T>(-1);  // its sign of the end
  std::memcpy(to, memory.bytes.data() + memory.at, take);
  memory.at += take;
  return take;
}

OPJ_OFF_T skip_memory(OPJ_OFF_T n, void* user) {
  auto& memory = *static_cast<Memory*>(user);
  if (n < 0) return -1;
  const std::size_t left = memory.bytes.size() - memory.at;
  const std::size_t step = std::min<std::size_t>(static_cast<std::size_t>(n), left);
  memory.at += step;
  return step == 0 && n != 0 ? -1 : static_cast<OPJ_OFF_T>(step);
}

OPJ_BOOL seek_memory(OPJ_OFF_T to, void* user) {
  auto& memory = *static_cast<Memory*>(user);
  if (to < 0 || static_cast<std::size_t>(to) > memory.bytes.size()) return OPJ_FALSE;
  memory.at = static_cast<std::size_t>(to);
  return OPJ_TRUE;
}

void keep_first(const char* message, void* user) {
  auto& kept = *static_cast<std::string*>(user);
  if (kept.empty()) kept = message;
  while (!kept.empty() && kept.back() == '\n') kept.pop_back();
}

void ignore(const char*, void*) {}

using OpjImage = std::unique_ptr<opj_image_t, decltype(&opj_image_destroy)>;

OpjImage decode(std::string_view bytes, const Siz& siz) {
  const std::unique_ptr<opj_codec_t, decltype(&opj_destroy_codec)> codec(
      opj_create_decompress(bytes.starts_with(kCodestream) ? OPJ_CODEC_J2K : OPJ_CODEC_JP2),
      &opj_destroy_codec);
  const std::unique_ptr<opj_stream_t, decltype(&opj_stream_destroy)> stream(
      opj_stream_create(64 << 10, OPJ_TRUE), &opj_stream_destroy);
  if (!codec || !stream) throw Error(ErrorKind::kIo, "JPEG 2000: the codec cannot be started");
  std::string message;
  opj_set_error_handler(codec.get(), keep_first, &message);
  opj_set_warning_handler(codec.get(), ignore, nullptr);
  opj_set_info_handler(codec.get(), ignore, nullptr);
  Memory memory{bytes};
  opj_stream_set_user_data(stream.get(), &memory, nullptr);
  opj_stream_set_user_data_length(stream.get(), bytes.size());
  opj_stream_set_read_function(stream.get(), read_memory);
  opj_stream_set_skip_function(stream.get(), skip_memory);
  opj_stream_set_seek_function(stream.get(), seek_memory);

  opj_dparameters_t parameters;
  opj_set_default_decoder_parameters(&parameters);
  opj_image_t* raw = nullptr;
  const bool ready = opj_setup_decoder(codec.get(), &parameters) != OPJ_FALSE &&
                     opj_decoder_set_strict_mode(codec.get(), OPJ_TRUE) != OPJ_FALSE &&
                     opj_read_header(stream.get(), codec.get(), &raw) != OPJ_FALSE;
  OpjImage image(raw, &opj_image_destroy);
  const bool done = ready && opj_decode(codec.get(), stream.get(), image.get()) != OPJ_FALSE &&
                    opj_end_decompress(codec.get(), stream.get()) != OPJ_FALSE;
  if (!done || image == nullptr) damaged(message.empty() ? "damaged data" : message);

  // What came out must be what the header promised: the callers index by it.
  if (image->numcomps != static_cast<OPJ_UINT32>(siz.header.components)) {
    throw Error(ErrorKind::kUnsupported, "JPEG 2000: a palette, expected plain components");
  }
  for (OPJ_UINT32 c = 0; c < image->numcomps; ++c) {
    const opj_image_comp_t& component = image->comps[c];
    if (component.data == nullptr || component.w == 0 || component.h == 0 || component.dx == 0 ||
        component.dy == 0) {
      damaged(fmt::format("component {} has no samples", c));
    }
  }
  return image;
}

// The samples of a component for one row of the image, each repeated as far as it is subsampled.
class Plane {
 public:
  Plane(const opj_image_t& image, OPJ_UINT32 c) : component_(image.comps[c]) {}
  const OPJ_INT32* row(std::int64_t y) const {
    const auto v = std::min<std::int64_t>(y / component_.dy, std::int64_t{component_.h} - 1);
    return component_.data + v * component_.w;
  }
  std::int64_t column(std::int64_t x) const {
    return std::min<std::int64_t>(x / component_.dx, std::int64_t{component_.w} - 1);
  }
  bool is_whole(std::int64_t width) const { return component_.dx == 1 && component_.w == width; }

 private:
  const opj_image_comp_t& component_;
};

std::uint8_t clamp8(int value) { return static_cast<std::uint8_t>(std::clamp(value, 0, 255)); }

// BT.601 in 16-bit fixed point, rounded as libjpeg does: 1.402, 0.344136, 0.714136, 1.772.
void rgb_from_ycbcr(int y, int cb, int cr, std::uint8_t* rgb) {
  cb -= 128;
  cr -= 128;
  rgb[0] = clamp8(y + ((91881 * cr + 32768) >> 16));
  rgb[1] = clamp8(y + ((-22554 * cb - 46802 * cr + 32768) >> 16));
  rgb[2] = clamp8(y + ((116130 * cb + 32768) >> 16));
}

Jpeg2000Color color_of(const opj_image_t& image) {
  switch (image.color_space) {
    case OPJ_CLRSPC_SRGB:
      return Jpeg2000Color::kRgb;
    case OPJ_CLRSPC_GRAY:
      return Jpeg2000Color::kGray;
    case OPJ_CLRSPC_SYCC:
      return Jpeg2000Color::kYCbCr;
    default:
      return Jpeg2000Color::kUnknown;
  }
}

}  // namespace

bool detect_jpeg2000(std::string_view head) {
  return head.starts_with(kCodestream) || head.starts_with(kSignatureBox);
}

Jpeg2000Header read_jpeg2000_header(std::string_view bytes) {
  return check_codestream(codestream_of(bytes)).header;
}

Jpeg2000Image decode_jpeg2000(std::string_view bytes) {
  const Siz siz = check_codestream(codestream_of(bytes));
  const OpjImage image = decode(bytes, siz);
  Jpeg2000Image result;
  result.header = siz.header;
  result.color = color_of(*image);
  const std::int64_t components = siz.header.components;
  result.samples.resize(
      static_cast<std::size_t>(siz.header.width * siz.header.height * components));
  for (std::int64_t c = 0; c < components; ++c) {
    const Plane plane(*image, static_cast<OPJ_UINT32>(c));
    std::int32_t* out = result.samples.data() + c;
    for (std::int64_t y = 0; y < siz.header.height; ++y) {
      const OPJ_INT32* row = plane.row(y);
      for (std::int64_t x = 0; x < siz.header.width; ++x, out += components) {
        *out = row[plane.column(x)];
      }
    }
  }
  return result;
}

void decode_jpeg2000_rgb(std::string_view bytes,
                         bool is_ycbcr,
                         std::int64_t width,
                         std::int64_t height,
                         std::span<std::uint8_t> pixels) {
  const Siz siz = check_codestream(codestream_of(bytes));
  const Jpeg2000Header& header = siz.header;
  if (header.width != width || header.height != height) {
    damaged(fmt::format(
        "{} x {} pixels, expected {} x {}", header.width, header.height, width, height));
  }
  if (pixels.size() != static_cast<std::size_t>(width * height * 3)) {
    throw Error(ErrorKind::kUsage,
                fmt::format("JPEG 2000: room for {} bytes of pixels, expected {}",
                            pixels.size(),
                            width * height * 3));
  }
  if ((header.components != 1 && header.components != 3) || header.bits != 8 || header.is_signed) {
    throw Error(ErrorKind::kUnsupported,
                fmt::format("JPEG 2000: {} components of {} {}signed bits, expected 1 or 3 of 8 "
                            "unsigned bits",
                            header.components,
                            header.bits,
                            header.is_signed ? "" : "un"));
  }
  const OpjImage image = decode(bytes, siz);
  const bool convert =
      header.components == 3 && (is_ycbcr || image->color_space == OPJ_CLRSPC_SYCC);
  const OPJ_UINT32 second = header.components == 3 ? 1 : 0;
  const OPJ_UINT32 third = header.components == 3 ? 2 : 0;
  const Plane planes[3] = {Plane(*image, 0), Plane(*image, second), Plane(*image, third)};
  const bool is_whole =
      planes[0].is_whole(width) && planes[1].is_whole(width) && planes[2].is_whole(width);
  std::vector<OPJ_INT32> repeated(is_whole ? 0 : static_cast<std::size_t>(3 * width));
  std::uint8_t* out = pixels.data();
  for (std::int64_t y = 0; y < height; ++y, out += 3 * width) {
    const OPJ_INT32* rows[3] = {planes[0].row(y), planes[1].row(y), planes[2].row(y)};
    if (!is_whole) {
      for (std::int64_t c = 0; c < 3; ++c) {
        OPJ_INT32* to = repeated.data() + c * width;
        for (std::int64_t x = 0; x < width; ++x) to[x] = rows[c][planes[c].column(x)];
        rows[c] = to;
      }
    }
    if (convert) {
      for (std::int64_t x = 0; x < width; ++x) {
        rgb_from_ycbcr(rows[0][x], rows[1][x], rows[2][x], out + 3 * x);
      }
    } else {
      for (std::int64_t x = 0; x < width; ++x) {
        for (std::int64_t c = 0; c < 3; ++c) out[3 * x + c] = clamp8(rows[c][x]);
      }
    }
  }
}

}  // namespace med3d
