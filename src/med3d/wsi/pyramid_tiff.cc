#include "med3d/wsi/pyramid_tiff.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <memory>
#include <string_view>
#include <vector>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/limits.h"
#include "med3d/core/parallel.h"
#include "med3d/core/text.h"
#include "med3d/io/formats/deflate.h"
#include "med3d/io/formats/jpeg.h"

namespace med3d {
namespace {

// Room for the header of either kind: which one it is shows only at the end.
constexpr std::uint64_t kHeaderBytes = 16;
constexpr std::uint64_t kClassicEnd = 0xFFFFFFFFULL;

class Output {
 public:
  Output(const std::filesystem::path& path, std::filesystem::path shown)
      : file_(std::fopen(path.c_str(), "wb"), &std::fclose), shown_(std::move(shown)) {
    if (!file_) fail();
  }

  std::uint64_t position() const { return position_; }

  void write(std::string_view bytes) {
    if (std::fwrite(bytes.data(), 1, bytes.size(), file_.get()) != bytes.size()) fail();
    position_ += bytes.size();
  }

  void write_at_start(std::string_view bytes) {
    if (std::fseek(file_.get(), 0, SEEK_SET) != 0) fail();
    if (std::fwrite(bytes.data(), 1, bytes.size(), file_.get()) != bytes.size()) fail();
  }

  void close() {
    if (std::fclose(file_.release()) != 0) fail();
  }

 private:
  [[noreturn]] void fail() const {
    throw Error(ErrorKind::kIo,
                fmt::format("{}: cannot be written: {}", shown_.string(), std::strerror(errno)));
  }

  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
  std::filesystem::path shown_;
  std::uint64_t position_ = 0;
};

struct Level {
  std::int64_t width = 0;
  std::int64_t height = 0;
  double downsample = 1.0;
  bool stored = true;
  std::vector<std::uint8_t> strip;  // the row of tiles that is being filled
  std::int64_t filled = 0;          // rows of it
  std::int64_t done = 0;            // rows before it
  std::vector<std::uint64_t> offsets;
  std::vector<std::uint64_t> sizes;
};

class Pyramid {
 public:
  Pyramid(std::int64_t width,
          std::int64_t height,
          const PyramidTiffOptions& options,
          Output& output)
      : options_(options), output_(output) {
    int halvings = 0;
    double downsample = 1.0;
    while (true) {
      Level level;
      level.width = width;
      level.height = height;
      level.downsample = downsample;
      level.stored = halvings % options.halvings_per_level == 0;
      level.strip.resize(static_cast<std::size_t>(options.tile * width * 3));
      levels_.push_back(std::move(level));
      const bool small = std::max(width, height) <= options.smallest_level;
      if (levels_.back().stored && (small || options.smallest_level == 0)) break;
      if (width == 1 && height == 1) break;
      width = (width + 1) / 2;
      height = (height + 1) / 2;
      downsample *= 2;
      ++halvings;
      if (!options.levels_below_tile && std::min(width, height) < options.tile) break;
    }
    // A last level that would not be stored is of no use.
    while (!levels_.back().stored) levels_.pop_back();
  }

  void run(const PixelRows& rows) {
    Level& base = levels_.front();
    while (base.done + base.filled < base.height) {
      const std::int64_t count = std::min(options_.tile, base.height - base.done);
      rows(base.done,
           count,
           std::span(base.strip.data(), static_cast<std::size_t>(count * base.width * 3)));
      base.filled = count;
      flush(0);
    }
  }

  std::vector<Level>& levels() { return levels_; }

 private:
  void flush(std::size_t index) {
    Level& level = levels_[index];
    if (level.stored) store(level);
    if (index + 1 < levels_.size()) reduce(level, index + 1);
    level.done += level.filled;
    level.filled = 0;
  }

  void store(Level& level) {
    const std::int64_t side = options_.tile;
    const std::int64_t across = (level.width + side - 1) / side;
    // A bounded number of encoded tiles at once: memory must not follow the width either.
    constexpr std::int64_t kBatch = 64;
    for (std::int64_t first = 0; first < across; first += kBatch) {
      const std::int64_t count = std::min(kBatch, across - first);
      std::vector<std::string> encoded(static_cast<std::size_t>(count));
      parallel_for(encoded.size(), options_.threads, [&](std::size_t i) {
        encoded[i] = encode(level, (first + static_cast<std::int64_t>(i)) * side);
      });
      for (const std::string& bytes : encoded) {
        level.offsets.push_back(output_.position());
        level.sizes.push_back(bytes.size());
        output_.write(bytes);
      }
    }
  }

  std::string encode(const Level& level, std::int64_t left) const {
    const std::int64_t side = options_.tile;
    std::vector<std::uint8_t> tile(static_cast<std::size_t>(side * side * 3));
    const std::int64_t columns = std::min(side, level.width - left);
    for (std::int64_t y = 0; y < side; ++y) {
      const std::int64_t row = std::min(y, level.filled - 1);
      std::uint8_t* to = tile.data() + y * side * 3;
      std::memcpy(to,
                  level.strip.data() + (row * level.width + left) * 3,
                  static_cast<std::size_t>(columns * 3));
      for (std::int64_t x = columns; x < side; ++x) {
        std::memcpy(to + x * 3, to + (columns - 1) * 3, 3);
      }
    }
    if (options_.compression == TiffCompression::kJpeg) {
      return encode_jpeg(tile, side, side, options_.jpeg_quality);
    }
    return zlib_compress({reinterpret_cast<const char*>(tile.data()), tile.size()},
                         options_.deflate_level);
  }

  // The strip's rows, halved, go to the next level; a full strip there goes on its own way. A strip
  // has an even number of rows but for the last, so no pair is torn.
  void reduce(const Level& from, std::size_t index) {
    for (std::int64_t y = 0; y < from.filled; y += 2) {
      Level& to = levels_[index];
      const std::uint8_t* upper = from.strip.data() + y * from.width * 3;
      const std::uint8_t* lower = y + 1 < from.filled ? upper + from.width * 3 : upper;
      std::uint8_t* out = to.strip.data() + to.filled * to.width * 3;
      for (std::int64_t x = 0; x < to.width; ++x) {
        const std::int64_t left = 2 * x * 3;
        const std::int64_t right = 2 * x + 1 < from.width ? left + 3 : left;
        for (std::int64_t k = 0; k < 3; ++k) {
          const int sum = upper[left + k] + upper[right + k] + lower[left + k] + lower[right + k];
          *out++ = static_cast<std::uint8_t>((sum + 2) / 4);
        }
      }
      ++to.filled;
      if (to.filled == options_.tile || to.done + to.filled == to.height) flush(index);
    }
  }

  const PyramidTiffOptions& options_;
  Output& output_;
  std::vector<Level> levels_;
};

// A directory: entries by rising tag, values that do not fit in the entry behind it.
class Directory {
 public:
  Directory(bool big, std::uint64_t position) : big_(big), position_(position) {}

  void add_short(std::uint16_t tag, std::vector<std::uint16_t> values) {
    std::string bytes;
    for (const std::uint16_t value : values) put(bytes, value, 2);
    entry(tag, 3, values.size(), std::move(bytes));
  }
  void add_long(std::uint16_t tag, std::uint64_t value) {
    std::string bytes;
    put(bytes, value, 4);
    entry(tag, 4, 1, std::move(bytes));
  }
  void add_offsets(std::uint16_t tag, const std::vector<std::uint64_t>& values) {
    std::string bytes;
    for (const std::uint64_t value : values) put(bytes, value, big_ ? 8 : 4);
    entry(tag, big_ ? 16 : 4, values.size(), std::move(bytes));
  }
  void add_rational(std::uint16_t tag, std::uint64_t numerator, std::uint64_t denominator) {
    std::string bytes;
    put(bytes, numerator, 4);
    put(bytes, denominator, 4);
    entry(tag, 5, 1, std::move(bytes));
  }
  void add_text(std::uint16_t tag, const std::string& text) {
    entry(tag, 2, text.size() + 1, text + '\0');
  }

  // The directory and its values, to be written at the position given; `last` ends the chain.
  std::string bytes(bool last) const {
    const std::size_t inline_bytes = big_ ? 8 : 4;
    const std::size_t size = (big_ ? 8 : 2) + entries_.size() * (big_ ? 20 : 12) + (big_ ? 8 : 4);
    std::string head, tail;
    put(head, entries_.size(), big_ ? 8 : 2);
    for (const Entry& entry : entries_) {
      put(head, entry.tag, 2);
      put(head, entry.type, 2);
      put(head, entry.count, big_ ? 8 : 4);
      if (entry.value.size() <= inline_bytes) {
        head += entry.value;
        head.append(inline_bytes - entry.value.size(), '\0');
        continue;
      }
      put(head, position_ + size + tail.size(), big_ ? 8 : 4);
      tail += entry.value;
      if (tail.size() % 2 != 0) tail += '\0';  // values begin on a word
    }
    const std::uint64_t next = position_ + size + tail.size();
    put(head, last ? 0 : next, big_ ? 8 : 4);
    return head + tail;
  }

  static void put(std::string& to, std::uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) to += static_cast<char>(value >> (8 * i) & 0xFF);
  }

 private:
  struct Entry {
    std::uint16_t tag, type;
    std::uint64_t count;
    std::string value;
  };

  void entry(std::uint16_t tag, std::uint16_t type, std::uint64_t count, std::string value) {
    entries_.push_back({tag, type, count, std::move(value)});
  }

  bool big_;
  std::uint64_t position_;
  std::vector<Entry> entries_;
};

std::string directory_bytes(const Level& level,
                            const PyramidTiffOptions& options,
                            bool big,
                            std::uint64_t position,
                            bool first,
                            bool last) {
  const bool jpeg = options.compression == TiffCompression::kJpeg;
  Directory out(big, position);
  out.add_long(254, first ? 0 : 1);  // NewSubfileType: a reduced image
  out.add_long(256, static_cast<std::uint64_t>(level.width));
  out.add_long(257, static_cast<std::uint64_t>(level.height));
  out.add_short(258, {8, 8, 8});                                   // BitsPerSample
  out.add_short(259, {static_cast<std::uint16_t>(jpeg ? 7 : 8)});  // Compression
  out.add_short(262, {static_cast<std::uint16_t>(jpeg ? 6 : 2)});  // YCbCr or RGB
  if (first && !options.description.empty()) out.add_text(270, options.description);
  out.add_short(277, {3});  // SamplesPerPixel
  if (options.mpp > 0) {
    const double per_cm = 1e4 / (options.mpp * level.downsample);
    std::uint64_t denominator = 1'000'000;
    while (per_cm * static_cast<double>(denominator) > 4e9) denominator /= 10;
    const auto numerator =
        static_cast<std::uint64_t>(std::llround(per_cm * static_cast<double>(denominator)));
    out.add_rational(282, numerator, denominator);
    out.add_rational(283, numerator, denominator);
  }
  out.add_short(284, {1});                       // PlanarConfiguration: RGBRGB
  if (options.mpp > 0) out.add_short(296, {3});  // ResolutionUnit: centimetre
  out.add_long(322, static_cast<std::uint64_t>(options.tile));
  out.add_long(323, static_cast<std::uint64_t>(options.tile));
  out.add_offsets(324, level.offsets);
  out.add_offsets(325, level.sizes);
  if (jpeg) out.add_short(530, {2, 2});  // YCbCrSubSampling, as encode_jpeg stores it
  return out.bytes(last);
}

PyramidTiffInfo write_directories(Output& output,
                                  const std::vector<Level>& levels,
                                  const PyramidTiffOptions& options) {
  std::vector<const Level*> stored;
  for (const Level& level : levels) {
    if (level.stored) stored.push_back(&level);
  }
  const auto all = [&](bool big, std::uint64_t position) {
    std::string bytes;
    for (std::size_t i = 0; i < stored.size(); ++i) {
      bytes += directory_bytes(
          *stored[i], options, big, position + bytes.size(), i == 0, i + 1 == stored.size());
    }
    return bytes;
  };
  if (output.position() % 2 != 0) output.write(std::string_view("\0", 1));
  const std::uint64_t start = output.position();
  bool big = options.big || start > kClassicEnd;
  std::string bytes = all(big, start);
  if (!big && start + bytes.size() > kClassicEnd) {
    big = true;
    bytes = all(big, start);
  }
  output.write(bytes);
  std::string header = "II";
  Directory::put(header, big ? 43 : 42, 2);
  if (big) Directory::put(header, 8, 4);  // offsets of 8 bytes
  Directory::put(header, start, big ? 8 : 4);
  output.write_at_start(header);
  return {static_cast<std::int64_t>(stored.size()), output.position(), big};
}

}  // namespace

void PyramidTiffOptions::validate() const {
  const auto need = [](bool holds, std::string_view field, double found, std::string_view range) {
    if (holds) return;
    throw Error(ErrorKind::kUsage,
                fmt::format("pyramid {}: {}, expected {}", field, format_double(found), range));
  };
  need(tile >= 16 && tile <= 4096 && tile % 16 == 0,
       "tile",
       static_cast<double>(tile),
       "a multiple of 16 from 16 to 4096");
  need(jpeg_quality >= 1 && jpeg_quality <= 100, "jpeg_quality", jpeg_quality, "1 to 100");
  need(deflate_level >= 1 && deflate_level <= 9, "deflate_level", deflate_level, "1 to 9");
  need(mpp == 0 || (mpp >= 1e-3 && mpp <= 1e4), "mpp", mpp, "0 or 0.001 to 10000 um");
  need(smallest_level >= 0,
       "smallest_level",
       static_cast<double>(smallest_level),
       "0 or a number of pixels");
  need(halvings_per_level >= 1 && halvings_per_level <= 8,
       "halvings_per_level",
       halvings_per_level,
       "1 to 8");
  need(threads >= 1, "threads", threads, "at least 1");
  for (const char letter : description) {
    if (letter == '\n' || letter == '\r' || (letter >= 32 && letter < 127)) continue;
    throw Error(ErrorKind::kUsage, "pyramid description: a letter that is no printable ASCII");
  }
}

PyramidTiffInfo write_pyramid_tiff(const std::filesystem::path& path,
                                   std::int64_t width,
                                   std::int64_t height,
                                   const PixelRows& rows,
                                   const PyramidTiffOptions& options) {
  options.validate();
  const auto most = static_cast<std::int64_t>(
      std::min<std::uint64_t>(limits().image_side, std::numeric_limits<std::int32_t>::max()));
  if (width < 1 || height < 1 || width > most || height > most) {
    throw Error(ErrorKind::kUsage,
                fmt::format("{}: an image of {} x {} pixels, expected sides of 1 to {}",
                            path.string(),
                            width,
                            height,
                            most));
  }
  const auto strip = static_cast<std::uint64_t>(width * options.tile * 3);
  if (strip > limits().image_bytes / 2) {
    throw Error(ErrorKind::kUsage,
                fmt::format("{}: a row of tiles takes {} bytes, at most {} are allowed",
                            path.string(),
                            strip,
                            limits().image_bytes / 2));
  }
  PyramidTiffInfo info;
  write_file_atomic(path, [&](const std::filesystem::path& temporary) {
    Output output(temporary, path);
    output.write(std::string(kHeaderBytes, '\0'));
    Pyramid pyramid(width, height, options, output);
    pyramid.run(rows);
    info = write_directories(output, pyramid.levels(), options);
    output.close();
  });
  return info;
}

PyramidTiffInfo write_pyramid_tiff(const std::filesystem::path& path,
                                   const RgbImage& image,
                                   const PyramidTiffOptions& options) {
  return write_pyramid_tiff(
      path,
      image.width,
      image.height,
      [&](std::int64_t y, std::int64_t rows, std::span<std::uint8_t> rgb) {
        const std::int64_t row_bytes = image.width * 3;
        std::memcpy(rgb.data(),
                    image.pixels.data() + y * row_bytes,
                    static_cast<std::size_t>(rows * row_bytes));
      },
      options);
}

}  // namespace med3d
