#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <tiffio.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstring>
#include <set>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/core/limits.h"
#include "med3d/wsi/readers/tiff_file_internal.h"

namespace med3d {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxDirectories = 1000;
constexpr std::size_t kMaxMessage = 300;
// The largest single thing that libtiff may take: the offsets of 2^24 tiles and then some.
constexpr tmsize_t kMaxAllocation = tmsize_t{256} << 20;
constexpr std::uint64_t kMaxTiles = 1ULL << 24;
constexpr std::uint32_t kNdpiTag = 65420;

// The file as libtiff sees it.
struct Source {
  int fd = -1;
  std::uint64_t size = 0;
  std::uint64_t at = 0;
  std::string message;  // the first error since it was last cleared

  ~Source() {
    if (fd >= 0) ::close(fd);
  }
};

// Reads until `n` bytes are there or the file ends; -1 on an error of the system.
std::int64_t read_at(int fd, void* to, std::uint64_t n, std::uint64_t offset) {
  std::uint64_t done = 0;
  while (done < n) {
    const auto got =
        ::pread(fd, static_cast<char*>(to) + done, n - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return -1;
    if (got == 0) break;
    done += static_cast<std::uint64_t>(got);
  }
  return static_cast<std::int64_t>(done);
}

tmsize_t read_source(thandle_t handle, void* to, tmsize_t n) {
  auto& source = *static_cast<Source*>(handle);
  if (n <= 0 || source.at > source.size) return 0;
  const auto got = read_at(source.fd, to, static_cast<std::uint64_t>(n), source.at);
  if (got > 0) source.at += static_cast<std::uint64_t>(got);
  return static_cast<tmsize_t>(got);
}

tmsize_t write_source(thandle_t, void*, tmsize_t) { return 0; }

toff_t seek_source(thandle_t handle, toff_t offset, int whence) {
  auto& source = *static_cast<Source*>(handle);
  if (whence == SEEK_CUR) offset += source.at;
  if (whence == SEEK_END) offset += source.size;
  source.at = offset;
  return offset;
}

int close_source(thandle_t) { return 0; }
toff_t size_of_source(thandle_t handle) { return static_cast<Source*>(handle)->size; }

int keep_error(TIFF*, void* user, const char* module, const char* format, std::va_list arguments) {
  auto& source = *static_cast<Source*>(user);
  if (!source.message.empty()) return 1;
  char text[kMaxMessage];
  std::vsnprintf(text, sizeof text, format, arguments);
  source.message = module == nullptr ? text : fmt::format("{}: {}", module, text);
  return 1;
}

int drop_warning(TIFF*, void*, const char*, const char*, std::va_list) { return 1; }

std::string text_field(TIFF* tiff, std::uint32_t tag) {
  const char* text = nullptr;
  return TIFFGetField(tiff, tag, &text) == 1 && text != nullptr ? std::string(text) : std::string();
}

template <class T>
T field(TIFF* tiff, std::uint32_t tag, T otherwise) {
  T value = 0;
  return TIFFGetFieldDefaulted(tiff, tag, &value) == 1 ? value : otherwise;
}

}  // namespace

bool detect_tiff(std::string_view head) {
  using namespace std::string_view_literals;
  const std::string_view magic = head.substr(0, 4);
  return magic == "II*\0"sv || magic == "MM\0*"sv || magic == "II+\0"sv || magic == "MM\0+"sv;
}

std::string TiffDirectory::unsupported() const {
  const bool is_jpeg = compression == kTiffJpeg;
  const bool is_jpeg2000 = compression == kTiffAperioYCbCr || compression == kTiffAperioRgb;
  const bool is_plain = compression == kTiffNone || compression == kTiffLzw ||
                        compression == kTiffDeflate || compression == kTiffOldDeflate ||
                        compression == kTiffPackBits;
  if (!is_jpeg && !is_jpeg2000 && !is_plain) return fmt::format("compression {}", compression);
  if (bits != 8) return fmt::format("{} bits a sample, expected 8", bits);
  if (photometric != PHOTOMETRIC_MINISWHITE && photometric != PHOTOMETRIC_MINISBLACK &&
      photometric != PHOTOMETRIC_RGB && photometric != PHOTOMETRIC_YCBCR) {
    return fmt::format("photometric interpretation {}, expected grey, RGB or YCbCr", photometric);
  }
  const bool is_color = photometric == PHOTOMETRIC_RGB || photometric == PHOTOMETRIC_YCBCR;
  if (samples < (is_color ? 3 : 1) || samples > 4) {
    return fmt::format("{} samples a pixel", samples);
  }
  if (!is_plain && samples != 1 && samples != 3) return fmt::format("{} samples a pixel", samples);
  if (!is_plain && is_planar && samples > 1) return "compressed planes, one for each colour";
  if (is_plain && photometric == PHOTOMETRIC_YCBCR) return "YCbCr without JPEG compression";
  return "";
}

void TiffDirectory::check_tile_size() const {
  const std::uint64_t pixels = checked_multiply(
      static_cast<std::uint64_t>(tile_width), static_cast<std::uint64_t>(tile_height), "a tile");
  const std::uint64_t channels = static_cast<std::uint64_t>(std::max(samples, 3));
  const std::uint64_t bytes = checked_multiply(pixels, channels, "a tile");
  if (bytes > limits().tile_bytes) {
    throw Error(
        ErrorKind::kFormat,
        fmt::format("a {} of {} x {} pixels: {} bytes, more than the limit tile_bytes of {}",
                    is_tiled ? "tile" : "strip",
                    tile_width,
                    tile_height,
                    bytes,
                    limits().tile_bytes));
  }
}

struct TiffFile::Impl {
  Source source;
  TIFF* tiff = nullptr;
  std::uint64_t current = 0;  // offset of the directory that libtiff is in
  std::vector<TiffDirectory> directories;

  ~Impl() {
    if (tiff != nullptr) TIFFClose(tiff);
  }

  [[noreturn]] void fail(const std::string& what) {
    const std::string reason = std::exchange(source.message, "");
    throw Error(ErrorKind::kFormat, reason.empty() ? what : fmt::format("{}: {}", what, reason));
  }

  void open(const fs::path& path) {
    source.fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (source.fd < 0) {
      throw Error(errno == ENOENT ? ErrorKind::kNotFound : ErrorKind::kIo,
                  fmt::format("cannot be opened: {}", std::strerror(errno)));
    }
    struct stat status {};
    if (::fstat(source.fd, &status) != 0) throw Error(ErrorKind::kIo, "cannot be examined");
    if (!S_ISREG(status.st_mode)) throw Error(ErrorKind::kFormat, "not a regular file");
    source.size = static_cast<std::uint64_t>(status.st_size);

    const std::unique_ptr<TIFFOpenOptions, decltype(&TIFFOpenOptionsFree)> options(
        TIFFOpenOptionsAlloc(), &TIFFOpenOptionsFree);
    if (!options) throw Error(ErrorKind::kIo, "libtiff cannot be started");
    TIFFOpenOptionsSetMaxSingleMemAlloc(options.get(), kMaxAllocation);
    TIFFOpenOptionsSetErrorHandlerExtR(options.get(), keep_error, &source);
    TIFFOpenOptionsSetWarningHandlerExtR(options.get(), drop_warning, nullptr);
    // "m": no mapping, which would turn a file that shrinks under us into a signal.
    tiff = TIFFClientOpenExt("TIFF",
                             "rm",
                             &source,
                             read_source,
                             write_source,
                             seek_source,
                             close_source,
                             size_of_source,
                             nullptr,
                             nullptr,
                             options.get());
    if (tiff == nullptr) fail("damaged header or first directory");
  }

  TiffDirectory parse(std::vector<std::uint64_t>& children) {
    TiffDirectory result;
    result.offset = TIFFCurrentDirOffset(tiff);
    const auto width = field<std::uint32_t>(tiff, TIFFTAG_IMAGEWIDTH, 0);
    const auto height = field<std::uint32_t>(tiff, TIFFTAG_IMAGELENGTH, 0);
    if (width == 0 || height == 0) throw Error(ErrorKind::kFormat, "an image of no pixels");
    if (width > limits().image_side || height > limits().image_side) {
      throw Error(ErrorKind::kFormat,
                  fmt::format("{} x {} pixels, more than the limit image_side of {}",
                              width,
                              height,
                              limits().image_side));
    }
    result.width = width;
    result.height = height;
    result.compression = field<std::uint16_t>(tiff, TIFFTAG_COMPRESSION, COMPRESSION_NONE);
    result.samples = field<std::uint16_t>(tiff, TIFFTAG_SAMPLESPERPIXEL, 1);
    result.bits = field<std::uint16_t>(tiff, TIFFTAG_BITSPERSAMPLE, 1);
    result.photometric = field<std::uint16_t>(
        tiff, TIFFTAG_PHOTOMETRIC, result.samples >= 3 ? PHOTOMETRIC_RGB : PHOTOMETRIC_MINISBLACK);
    result.is_planar = result.samples > 1 &&
                       field<std::uint16_t>(tiff, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG) ==
                           PLANARCONFIG_SEPARATE;
    result.has_subfile_type = TIFFGetField(tiff, TIFFTAG_SUBFILETYPE, &result.subfile_type) == 1;
    if (!result.has_subfile_type) result.subfile_type = 0;
    result.is_tiled = TIFFIsTiled(tiff) != 0;
    const auto tile_width =
        result.is_tiled ? field<std::uint32_t>(tiff, TIFFTAG_TILEWIDTH, 0) : width;
    const auto tile_height =
        result.is_tiled
            ? field<std::uint32_t>(tiff, TIFFTAG_TILELENGTH, 0)
            : std::min(height, field<std::uint32_t>(tiff, TIFFTAG_ROWSPERSTRIP, height));
    if (tile_width == 0 || tile_height == 0) throw Error(ErrorKind::kFormat, "tiles of no pixels");
    result.tile_width = tile_width;
    result.tile_height = tile_height;
    result.tiles_across = (result.width + result.tile_width - 1) / result.tile_width;
    result.tiles_down = (result.height + result.tile_height - 1) / result.tile_height;
    const auto count = static_cast<std::uint64_t>(result.tiles_across * result.tiles_down) *
                       (result.is_planar ? static_cast<std::uint64_t>(result.samples) : 1U);
    if (count > kMaxTiles) {
      throw Error(ErrorKind::kFormat, fmt::format("{} tiles, more than {}", count, kMaxTiles));
    }
    read_offsets(count, result);

    std::uint32_t table_bytes = 0;
    const void* tables = nullptr;
    if (result.compression == kTiffJpeg &&
        TIFFGetField(tiff, TIFFTAG_JPEGTABLES, &table_bytes, &tables) == 1 && tables != nullptr) {
      result.jpeg_tables.assign(static_cast<const char*>(tables), table_bytes);
    }
    result.description = text_field(tiff, TIFFTAG_IMAGEDESCRIPTION);
    result.software = text_field(tiff, TIFFTAG_SOFTWARE);
    result.make = text_field(tiff, TIFFTAG_MAKE);
    result.model = text_field(tiff, TIFFTAG_MODEL);
    std::uint32_t xmp_bytes = 0;
    const void* xmp = nullptr;
    if (TIFFGetField(tiff, TIFFTAG_XMLPACKET, &xmp_bytes, &xmp) == 1 && xmp != nullptr) {
      result.xmp.assign(static_cast<const char*>(xmp), xmp_bytes);
    }
    float resolution = 0.0F;
    if (TIFFGetField(tiff, TIFFTAG_XRESOLUTION, &resolution) == 1) result.x_resolution = resolution;
    if (TIFFGetField(tiff, TIFFTAG_YRESOLUTION, &resolution) == 1) result.y_resolution = resolution;
    result.resolution_unit = field<std::uint16_t>(tiff, TIFFTAG_RESOLUTIONUNIT, RESUNIT_INCH);
    // A tag that libtiff does not know is kept with its type; that it is there is all we ask.
    for (int i = 0; i < TIFFGetTagListCount(tiff); ++i) {
      if (TIFFGetTagListEntry(tiff, i) == kNdpiTag) result.is_ndpi = true;
    }
    std::uint16_t child_count = 0;
    const toff_t* child_offsets = nullptr;
    if (TIFFGetField(tiff, TIFFTAG_SUBIFD, &child_count, &child_offsets) == 1 &&
        child_offsets != nullptr) {
      children.assign(child_offsets, child_offsets + child_count);
    }
    return result;
  }

  void read_offsets(std::uint64_t count, TiffDirectory& result) {
    // libtiff's own count goes by the same fields; if it ever differs its arrays are of that
    // length.
    const std::uint64_t theirs =
        result.is_tiled ? TIFFNumberOfTiles(tiff) : TIFFNumberOfStrips(tiff);
    if (theirs != count) {
      throw Error(ErrorKind::kFormat,
                  fmt::format("{} tiles where the size asks for {}", theirs, count));
    }
    const std::uint64_t* offsets = nullptr;
    const std::uint64_t* bytes = nullptr;
    const bool tiled = result.is_tiled;
    if (TIFFGetField(tiff, tiled ? TIFFTAG_TILEOFFSETS : TIFFTAG_STRIPOFFSETS, &offsets) != 1 ||
        TIFFGetField(tiff, tiled ? TIFFTAG_TILEBYTECOUNTS : TIFFTAG_STRIPBYTECOUNTS, &bytes) != 1 ||
        offsets == nullptr || bytes == nullptr) {
      fail("no table of tiles");
    }
    result.tile_offsets.assign(offsets, offsets + count);
    result.tile_bytes.assign(bytes, bytes + count);
  }

  void read_directories() {
    std::set<std::uint64_t> seen;
    std::vector<std::vector<std::uint64_t>> children;
    const auto add = [&](int parent) {
      if (directories.size() >= kMaxDirectories) {
        throw Error(ErrorKind::kFormat, fmt::format("more than {} directories", kMaxDirectories));
      }
      if (!seen.insert(TIFFCurrentDirOffset(tiff)).second) {
        throw Error(ErrorKind::kFormat, "a directory that is linked twice");
      }
      std::vector<std::uint64_t> found;
      try {
        directories.push_back(parse(found));
      } catch (const Error&) {
        rethrow_with_context(fmt::format("directory {}", directories.size()));
      }
      directories.back().parent = parent;
      children.push_back(std::move(found));
    };
    while (true) {
      add(-1);
      source.message.clear();
      // libtiff follows the chain once more to find a cycle, and says 0 for it as for the end.
      if (TIFFLastDirectory(tiff) != 0) break;
      if (TIFFReadDirectory(tiff) == 0)
        fail(fmt::format("directory {} is damaged", directories.size()));
    }
    const std::size_t top = directories.size();
    for (std::size_t i = 0; i < top; ++i) {
      for (const std::uint64_t offset : children[i]) {
        source.message.clear();
        if (TIFFSetSubDirectory(tiff, offset) == 0) {
          fail(fmt::format("directory {}: a SubIFD is damaged", i));
        }
        // Children of children are not a pyramid that anyone writes.
        add(static_cast<int>(i));
      }
    }
    current = directories.back().offset;
  }

  void enter(const TiffDirectory& directory) {
    if (current == directory.offset) return;
    source.message.clear();
    current = 0;
    if (TIFFSetSubDirectory(tiff, directory.offset) == 0) fail("a directory cannot be read again");
    current = directory.offset;
  }
};

TiffFile::TiffFile(const fs::path& path) : impl_(std::make_unique<Impl>()) {
  impl_->open(path);
  impl_->read_directories();
}

TiffFile::~TiffFile() = default;

const std::vector<TiffDirectory>& TiffFile::directories() const { return impl_->directories; }

void TiffFile::read_stored(const TiffDirectory& directory, std::size_t tile, std::string& bytes) {
  const std::uint64_t offset = directory.tile_offsets.at(tile);
  const std::uint64_t n = directory.tile_bytes.at(tile);
  const std::uint64_t size = impl_->source.size;
  if (n > limits().tile_bytes) {
    throw Error(ErrorKind::kFormat,
                fmt::format("{} stored bytes, more than the limit tile_bytes", n));
  }
  if (offset > size || n > size - offset) {
    throw Error(ErrorKind::kFormat,
                fmt::format("bytes {} to {} of a file of {}: cut short", offset, offset + n, size));
  }
  bytes.resize(n);
  const std::int64_t got = read_at(impl_->source.fd, bytes.data(), n, offset);
  if (got < 0) throw Error(ErrorKind::kIo, fmt::format("cannot be read: {}", std::strerror(errno)));
  if (static_cast<std::uint64_t>(got) != n)
    throw Error(ErrorKind::kFormat, "the file became shorter");
}

void TiffFile::decode(const TiffDirectory& directory,
                      std::size_t tile,
                      std::span<std::uint8_t> bytes) {
  impl_->enter(directory);
  impl_->source.message.clear();
  const auto index = static_cast<std::uint32_t>(tile);
  const auto room = static_cast<tmsize_t>(bytes.size());
  // More stored bytes than this no honest tile has; libtiff would read them all into memory.
  if (directory.tile_bytes.at(tile) > limits().tile_bytes) {
    throw Error(
        ErrorKind::kFormat,
        fmt::format("{} stored bytes, more than the limit tile_bytes", directory.tile_bytes[tile]));
  }
  const tmsize_t got = directory.is_tiled
                           ? TIFFReadEncodedTile(impl_->tiff, index, bytes.data(), room)
                           : TIFFReadEncodedStrip(impl_->tiff, index, bytes.data(), room);
  if (got != room) impl_->fail("damaged data");
}

}  // namespace med3d
