#include "med3d/io/formats/deflate.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <limits>

#include "med3d/core/error.h"

namespace med3d {
namespace {

constexpr int kGzipWindow = 15 + 16;  // zlib's way of saying gzip
constexpr int kBareWindow = -15;

// zlib's state, freed on every way out.
struct Inflater {
  explicit Inflater(int window) {
    if (inflateInit2(&stream, window) != Z_OK) {
      throw Error(ErrorKind::kIo, "inflate: zlib has no memory left");
    }
  }
  ~Inflater() { inflateEnd(&stream); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  z_stream stream{};
};

// Appends what the one stream at `bytes` holds; returns how many bytes of it were read.
std::size_t inflate_one(std::string_view bytes,
                        int window,
                        std::uint64_t max_bytes,
                        std::uint64_t stop_at,
                        std::string_view source,
                        std::string& out) {
  Inflater inflater(window);
  z_stream& stream = inflater.stream;
  std::size_t given = 0;
  std::size_t step = 64 << 10;
  while (true) {
    if (stream.avail_in == 0 && given < bytes.size()) {
      const std::size_t part =
          std::min<std::size_t>(bytes.size() - given, std::numeric_limits<uInt>::max());
      // zlib reads through this pointer and never writes.
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data() + given));
      stream.avail_in = static_cast<uInt>(part);
      given += part;
    }
    const std::size_t before = out.size();
    // One byte more than is allowed, to tell what ends there from what goes on.
    const auto room =
        static_cast<std::size_t>(std::min<std::uint64_t>(step, max_bytes - before + 1));
    out.resize(before + room);
    stream.next_out = reinterpret_cast<Bytef*>(out.data() + before);
    stream.avail_out = static_cast<uInt>(room);
    const int status = inflate(&stream, Z_NO_FLUSH);
    out.resize(before + room - stream.avail_out);
    if (out.size() > max_bytes) {
      throw Error(ErrorKind::kFormat,
                  fmt::format("{}: more than {} bytes when inflated", source, max_bytes));
    }
    if (status == Z_STREAM_END) return given - stream.avail_in;
    if (stop_at != 0 && out.size() >= stop_at) return bytes.size();
    if (status != Z_OK && status != Z_BUF_ERROR) {
      throw Error(
          ErrorKind::kFormat,
          fmt::format("{}: damaged compressed data after {} bytes of content", source, out.size()));
    }
    if (stream.avail_in == 0 && given == bytes.size() && stream.avail_out != 0) {
      throw Error(ErrorKind::kFormat,
                  fmt::format("{}: the compressed data end after {} bytes of content, before "
                              "their end mark",
                              source,
                              out.size()));
    }
    step = std::min<std::size_t>(step * 2, 16 << 20);
  }
}

}  // namespace

std::string zlib_compress(std::string_view bytes, int level) {
  if (level < 0 || level > 9) {
    throw Error(ErrorKind::kUsage, fmt::format("deflate level {}, expected 0 to 9", level));
  }
  uLongf size = compressBound(bytes.size());
  std::string out(size, '\0');
  const int status = compress2(reinterpret_cast<Bytef*>(out.data()),
                               &size,
                               reinterpret_cast<const Bytef*>(bytes.data()),
                               bytes.size(),
                               level);
  if (status != Z_OK) throw Error(ErrorKind::kIo, "deflate: zlib has no memory left");
  out.resize(size);
  return out;
}

std::string gzip_compress(std::string_view bytes, int level) {
  if (level < 0 || level > 9) {
    throw Error(ErrorKind::kUsage, fmt::format("deflate level {}, expected 0 to 9", level));
  }
  z_stream stream{};
  if (deflateInit2(&stream, level, Z_DEFLATED, kGzipWindow, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
    throw Error(ErrorKind::kIo, "deflate: zlib has no memory left");
  }
  std::string out;
  std::string piece(256 << 10, '\0');
  std::size_t given = 0;
  int status = Z_OK;
  while (status == Z_OK) {
    if (stream.avail_in == 0 && given < bytes.size()) {
      const std::size_t part = std::min<std::size_t>(bytes.size() - given, 1U << 30);
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data() + given));
      stream.avail_in = static_cast<uInt>(part);
      given += part;
    }
    stream.next_out = reinterpret_cast<Bytef*>(piece.data());
    stream.avail_out = static_cast<uInt>(piece.size());
    status = deflate(&stream, given == bytes.size() ? Z_FINISH : Z_NO_FLUSH);
    out.append(piece, 0, piece.size() - stream.avail_out);
  }
  deflateEnd(&stream);
  if (status != Z_STREAM_END) throw Error(ErrorKind::kIo, "deflate: zlib gave up");
  return out;
}

bool is_gzip(std::string_view head) { return head.starts_with("\x1F\x8B"); }

std::string gzip_decompress(std::string_view bytes,
                            std::uint64_t max_bytes,
                            std::string_view source,
                            std::uint64_t stop_at) {
  std::string out;
  do {
    if (!is_gzip(bytes)) {
      throw Error(ErrorKind::kFormat, fmt::format("{}: no gzip header where one belongs", source));
    }
    bytes.remove_prefix(inflate_one(bytes, kGzipWindow, max_bytes, stop_at, source, out));
    if (stop_at != 0 && out.size() >= stop_at) return out;
    if (bytes.find_first_not_of('\0') == bytes.npos) break;
  } while (!bytes.empty());
  return out;
}

std::string inflate_bare(std::string_view bytes, std::uint64_t max_bytes, std::string_view source) {
  std::string out;
  const std::size_t used = inflate_one(bytes, kBareWindow, max_bytes, 0, source, out);
  if (bytes.size() - used > 8) {
    throw Error(ErrorKind::kFormat,
                fmt::format("{}: {} bytes after the compressed data", source, bytes.size() - used));
  }
  return out;
}

}  // namespace med3d
