#include "med3d/io/formats/png.h"

#include <fmt/format.h>
#include <png.h>

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstring>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/limits.h"

namespace med3d {
namespace {

constexpr std::string_view kSignature("\x89PNG\r\n\x1a\n", 8);
constexpr std::size_t kHeaderBytes = 33;  // signature, length, "IHDR", 13 bytes, checksum

[[noreturn]] void bad(std::string_view source, const std::string& what) {
  throw Error(ErrorKind::kFormat, fmt::format("{}: {}", source, what));
}

std::uint32_t big_endian(std::string_view bytes, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i)
    value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  return value;
}

// What libpng's callbacks see. libpng leaves by longjmp, so whatever has a destructor lives out
// here and never in the functions that call it.
struct State {
  std::string_view input;
  std::size_t at = 0;
  std::string output;
  std::array<char, 160> message{};
  png_structp png = nullptr;
  png_infop info = nullptr;
  std::vector<png_bytep> rows;
};

struct ReadGuard {
  State& state;
  ~ReadGuard() { png_destroy_read_struct(&state.png, &state.info, nullptr); }
};
struct WriteGuard {
  State& state;
  ~WriteGuard() { png_destroy_write_struct(&state.png, &state.info); }
};

extern "C" {
void med3d_png_error(png_structp png, png_const_charp message) {
  auto* state = static_cast<State*>(png_get_error_ptr(png));
  std::strncpy(state->message.data(), message, state->message.size() - 1);
  png_longjmp(png, 1);
}
void med3d_png_warning(png_structp, png_const_charp) {}
void med3d_png_read(png_structp png, png_bytep to, png_size_t count) {
  auto* state = static_cast<State*>(png_get_io_ptr(png));
  if (count > state->input.size() - state->at) png_error(png, "the file ends too early");
  std::memcpy(to, state->input.data() + state->at, count);
  state->at += count;
}
void med3d_png_write(png_structp png, png_bytep from, png_size_t count) {
  auto* state = static_cast<State*>(png_get_io_ptr(png));
  bool full = false;
  try {
    state->output.append(reinterpret_cast<const char*>(from), count);
  } catch (...) {
    full = true;
  }
  if (full) png_error(png, "out of memory");
}
void med3d_png_flush(png_structp) {}
}

// Up to the point where the size of the rows is known.
bool read_start(State& state) {
  if (setjmp(png_jmpbuf(state.png)) != 0) return false;
  png_set_read_fn(state.png, &state, med3d_png_read);
  const auto side =
      static_cast<png_uint_32>(std::min<std::uint64_t>(limits().image_side, PNG_UINT_31_MAX));
  png_set_user_limits(state.png, side, side);
  png_set_chunk_malloc_max(state.png, 1 << 20);  // texts and profiles, which we do not read
  png_set_keep_unknown_chunks(state.png, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
  png_read_info(state.png, state.info);
  png_set_expand(state.png);  // palette to RGB, fewer than 8 bits to 8, tRNS to alpha
  png_set_strip_16(state.png);
  png_set_strip_alpha(state.png);
  png_set_interlace_handling(state.png);
  png_read_update_info(state.png, state.info);
  return true;
}

bool read_rows(State& state) {
  if (setjmp(png_jmpbuf(state.png)) != 0) return false;
  png_read_image(state.png, state.rows.data());
  png_read_end(state.png, nullptr);
  return true;
}

bool write_all(State& state, std::uint32_t width, std::uint32_t height, bool colour) {
  if (setjmp(png_jmpbuf(state.png)) != 0) return false;
  png_set_write_fn(state.png, &state, med3d_png_write, med3d_png_flush);
  png_set_user_limits(state.png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
  png_set_IHDR(state.png,
               state.info,
               width,
               height,
               8,
               colour ? PNG_COLOR_TYPE_RGB : PNG_COLOR_TYPE_GRAY,
               PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT,
               PNG_FILTER_TYPE_DEFAULT);
  png_write_info(state.png, state.info);
  png_write_image(state.png, state.rows.data());
  png_write_end(state.png, nullptr);
  return true;
}

std::vector<std::uint8_t> to_channels(std::vector<std::uint8_t> stored, int from, int to) {
  if (from == to) return stored;
  const std::size_t count = stored.size() / static_cast<std::size_t>(from);
  std::vector<std::uint8_t> out(count * static_cast<std::size_t>(to));
  for (std::size_t i = 0; i < count; ++i) {
    if (to == 3) {
      std::fill_n(out.data() + 3 * i, 3, stored[i]);
    } else {
      const std::uint8_t* rgb = stored.data() + 3 * i;
      out[i] = static_cast<std::uint8_t>(
          (19595U * rgb[0] + 38470U * rgb[1] + 7471U * rgb[2] + 32768U) >> 16);
    }
  }
  return out;
}

}  // namespace

bool is_png(std::string_view head) { return head.starts_with(kSignature); }

PngHeader parse_png_header(std::string_view bytes, std::string_view source) {
  if (!is_png(bytes)) bad(source, "no PNG signature");
  if (bytes.size() < kHeaderBytes || bytes.substr(12, 4) != "IHDR") {
    bad(source, "PNG: no header after the signature");
  }
  PngHeader header;
  header.width = big_endian(bytes, 16);
  header.height = big_endian(bytes, 20);
  header.bit_depth = static_cast<unsigned char>(bytes[24]);
  header.colour = (static_cast<unsigned char>(bytes[25]) & 2U) != 0;
  const auto side = static_cast<std::int64_t>(limits().image_side);
  if (header.width < 1 || header.height < 1 || header.width > side || header.height > side) {
    bad(source,
        fmt::format("PNG: {} x {} pixels, expected 1 to {} on each side",
                    header.width,
                    header.height,
                    side));
  }
  return header;
}

PngImage parse_png(std::string_view bytes, std::string_view source, int channels) {
  if (channels != 1 && channels != 3) {
    throw Error(ErrorKind::kUsage,
                fmt::format("PNG: {} channels asked for, expected 1 or 3", channels));
  }
  const PngHeader header = parse_png_header(bytes, source);
  const auto pixels = static_cast<std::uint64_t>(header.width * header.height);  // sides <= 2^32
  if (pixels * 3 > limits().image_bytes) {
    bad(source,
        fmt::format("PNG: {} x {} pixels, more than the limit of {} bytes for a whole image",
                    header.width,
                    header.height,
                    limits().image_bytes));
  }
  // Deflate makes at most 1032 bytes of one; a pixel takes at least a bit.
  if (pixels / 8 / 1032 > bytes.size()) {
    bad(source,
        fmt::format(
            "PNG: {} bytes cannot hold {} x {} pixels", bytes.size(), header.width, header.height));
  }

  State state;
  state.input = bytes;
  state.png =
      png_create_read_struct(PNG_LIBPNG_VER_STRING, &state, med3d_png_error, med3d_png_warning);
  const ReadGuard guard{state};
  if (state.png != nullptr) state.info = png_create_info_struct(state.png);
  if (state.info == nullptr) throw Error(ErrorKind::kIo, "libpng: out of memory");
  if (!read_start(state)) bad(source, fmt::format("PNG: {}", state.message.data()));

  const int stored_channels = png_get_channels(state.png, state.info);
  const std::size_t row = static_cast<std::size_t>(header.width) * stored_channels;
  if ((stored_channels != 1 && stored_channels != 3) ||
      png_get_rowbytes(state.png, state.info) != row) {
    bad(source, "PNG: a row that is neither grey nor RGB");
  }
  std::vector<std::uint8_t> stored(row * static_cast<std::size_t>(header.height));
  for (std::int64_t y = 0; y < header.height; ++y) state.rows.push_back(stored.data() + y * row);
  if (!read_rows(state)) bad(source, fmt::format("PNG: {}", state.message.data()));
  return {header.width,
          header.height,
          channels,
          to_channels(std::move(stored), stored_channels, channels)};
}

PngImage read_png(const std::filesystem::path& path, int channels) {
  return parse_png(read_file(path, limits().image_bytes), path.string(), channels);
}

std::string png_bytes(std::span<const std::uint8_t> pixels,
                      std::int64_t width,
                      std::int64_t height,
                      int channels) {
  const bool sides = width >= 1 && height >= 1 && width <= PNG_UINT_31_MAX / 3 &&
                     height <= PNG_UINT_31_MAX && (channels == 1 || channels == 3);
  if (!sides || pixels.size() != checked_multiply(static_cast<std::uint64_t>(width * channels),
                                                  static_cast<std::uint64_t>(height),
                                                  "PNG")) {
    throw Error(ErrorKind::kUsage,
                fmt::format("PNG: {} bytes for {} x {} pixels of {} channels",
                            pixels.size(),
                            width,
                            height,
                            channels));
  }
  State state;
  state.png =
      png_create_write_struct(PNG_LIBPNG_VER_STRING, &state, med3d_png_error, med3d_png_warning);
  const WriteGuard guard{state};
  if (state.png != nullptr) state.info = png_create_info_struct(state.png);
  if (state.info == nullptr) throw Error(ErrorKind::kIo, "libpng: out of memory");
  for (std::int64_t y = 0; y < height; ++y) {
    state.rows.push_back(const_cast<png_bytep>(pixels.data() + y * width * channels));
  }
  if (!write_all(state,
                 static_cast<std::uint32_t>(width),
                 static_cast<std::uint32_t>(height),
                 channels == 3)) {
    throw Error(ErrorKind::kIo, fmt::format("PNG cannot be written: {}", state.message.data()));
  }
  return std::move(state.output);
}

}  // namespace med3d
