#include "med3d/io/formats/zip.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/core/limits.h"

namespace med3d {
namespace {

constexpr std::uint32_t kLocalMagic = 0x04034B50;
constexpr std::uint32_t kCentralMagic = 0x02014B50;
constexpr std::uint32_t kEndMagic = 0x06054B50;
constexpr std::uint32_t kEnd64Magic = 0x06064B50;
constexpr std::uint32_t kLocator64Magic = 0x07064B50;
constexpr std::uint32_t kDescriptorMagic = 0x08074B50;
constexpr std::uint64_t kLocalSize = 30;
constexpr std::uint64_t kCentralSize = 46;
constexpr std::uint64_t kEndSize = 22;
constexpr std::uint64_t kEnd64Size = 56;
constexpr std::uint64_t kLocator64Size = 20;
constexpr std::uint32_t kMax32 = 0xFFFFFFFFU;
constexpr std::uint16_t kMax16 = 0xFFFFU;
constexpr std::uint16_t kDosDate = (0U << 9U) | (1U << 5U) | 1U;  // 1980-01-01
// Below this a member may shrink by any factor: an array of zeros is no bomb.
constexpr std::uint64_t kFreeInflation = 1ULL << 20U;

// Little-endian fields with every access inside the file. Offsets given are from its start.
class Bytes {
 public:
  Bytes(std::string_view bytes, std::string_view source) : bytes_(bytes), source_(source) {}

  std::uint64_t size() const { return bytes_.size(); }

  std::string_view slice(std::uint64_t at, std::uint64_t count, std::string_view what) const {
    if (at > bytes_.size() || count > bytes_.size() - at) {
      fail(fmt::format("the {} at byte {} reaches past the end of the file ({} bytes)",
                       what,
                       at,
                       bytes_.size()));
    }
    return bytes_.substr(at, count);
  }

  [[noreturn]] void fail(const std::string& message) const {
    throw Error(ErrorKind::kFormat, fmt::format("{}: {}", source_, message));
  }
  [[noreturn]] void unsupported(const std::string& message) const {
    throw Error(ErrorKind::kUnsupported, fmt::format("{}: {}", source_, message));
  }

 private:
  std::string_view bytes_;
  std::string_view source_;
};

template <class T>
T get(std::string_view record, std::size_t at) {
  T value = 0;
  for (std::size_t i = sizeof(T); i-- > 0;) {
    value = static_cast<T>((static_cast<std::uint64_t>(value) << 8U) |
                           static_cast<unsigned char>(record[at + i]));
  }
  return value;
}

template <class T>
void put(std::string& out, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    out.push_back(static_cast<char>((static_cast<std::uint64_t>(value) >> (8 * i)) & 0xFFU));
  }
}

// Names come from outside and are shown in messages: control bytes would let them draw on a
// terminal.
std::string shown(std::string_view name) {
  std::string out = "'";
  for (const char c : name.substr(0, 80)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7F) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out + (name.size() > 80 ? "...'" : "'");
}

// Why a name may not be used as a path below a folder, or nothing.
std::optional<std::string_view> unsafe_name(std::string_view name) {
  if (name.empty()) return "an empty name";
  if (name.find('\0') != name.npos) return "a name with a zero byte";
  if (name.find('\\') != name.npos) return "a name with a backslash";
  if (name.front() == '/') return "an absolute path";
  if (name.size() > 1 && name[1] == ':') return "a path with a drive letter";
  std::size_t begin = 0;
  while (begin <= name.size()) {
    const std::size_t end = std::min(name.find('/', begin), name.size());
    if (name.substr(begin, end - begin) == "..") return "a path that leaves its folder";
    begin = end + 1;
  }
  return std::nullopt;
}

struct Directory {
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  std::uint64_t entries = 0;
};

Directory find_directory(const Bytes& file) {
  if (file.size() < kEndSize) file.fail("not a zip file, or cut short: no end record");
  // The end record is followed by a comment of at most 65,535 bytes that ends the file.
  const std::uint64_t last = file.size() - kEndSize;
  const std::uint64_t first = last > kMax16 ? last - kMax16 : 0;
  std::optional<std::uint64_t> end;
  const std::string_view tail = file.slice(first, file.size() - first, "end of the file");
  for (std::uint64_t at = last + 1; at-- > first && !end;) {
    const std::string_view record = tail.substr(at - first);
    if (get<std::uint32_t>(record, 0) == kEndMagic &&
        get<std::uint16_t>(record, 20) == record.size() - kEndSize) {
      end = at;
    }
  }
  if (!end) file.fail("not a zip file, or cut short: no end record");

  const std::string_view record = tail.substr(*end - first);
  const auto disc = get<std::uint16_t>(record, 4);
  const auto directory_disc = get<std::uint16_t>(record, 6);
  const auto entries_here = get<std::uint16_t>(record, 8);
  Directory directory;
  directory.entries = get<std::uint16_t>(record, 10);
  directory.bytes = get<std::uint32_t>(record, 12);
  directory.offset = get<std::uint32_t>(record, 16);
  std::uint64_t directory_end = *end;

  // Some writers add the zip64 records without need, so their locator decides and not the values.
  const bool has64 =
      *end >= kLocator64Size &&
      get<std::uint32_t>(file.slice(*end - kLocator64Size, 4, "locator"), 0) == kLocator64Magic;
  const bool wants64 =
      directory.entries == kMax16 || directory.bytes == kMax32 || directory.offset == kMax32;
  if (has64) {
    const auto locator = file.slice(*end - kLocator64Size, kLocator64Size, "zip64 locator");
    const auto at = get<std::uint64_t>(locator, 8);
    if (get<std::uint32_t>(locator, 4) != 0 || get<std::uint32_t>(locator, 16) > 1) {
      file.unsupported("a zip archive split over several discs");
    }
    const auto end64 = file.slice(at, kEnd64Size, "zip64 end record");
    if (get<std::uint32_t>(end64, 0) != kEnd64Magic) {
      file.fail(fmt::format("no zip64 end record at byte {}, where its locator points", at));
    }
    if (get<std::uint32_t>(end64, 16) != 0 || get<std::uint32_t>(end64, 20) != 0 ||
        get<std::uint64_t>(end64, 24) != get<std::uint64_t>(end64, 32)) {
      file.unsupported("a zip archive split over several discs");
    }
    const auto merge = [&](std::uint64_t& small, std::uint64_t wide, std::uint64_t escape) {
      if (small != escape && small != wide) {
        file.fail("the zip64 end record disagrees with the end record");
      }
      small = wide;
    };
    merge(directory.entries, get<std::uint64_t>(end64, 32), kMax16);
    merge(directory.bytes, get<std::uint64_t>(end64, 40), kMax32);
    merge(directory.offset, get<std::uint64_t>(end64, 48), kMax32);
    directory_end = at;
  } else {
    if (disc != 0 || directory_disc != 0 || entries_here != directory.entries) {
      file.unsupported("a zip archive split over several discs");
    }
    if (wants64) file.fail("the end record points to zip64 records that are not there");
  }

  const auto reach = checked_add(directory.offset, directory.bytes, "zip directory");
  if (reach != directory_end) {
    file.fail(
        fmt::format("the directory is said to fill bytes {} to {}, but its end record is at {}",
                    directory.offset,
                    reach,
                    directory_end));
  }
  if (directory.entries > limits().zip_entries) {
    file.fail(fmt::format(
        "{} members, more than the limit of {}", directory.entries, limits().zip_entries));
  }
  return directory;
}

// Replaces the values that are escaped as all ones by those of the zip64 extra field, in the order
// the format fixes: inflated size, stored size, offset.
bool apply_zip64(std::string_view extra,
                 std::span<std::uint64_t* const> fields,
                 const Bytes& file,
                 std::string_view name) {
  bool found = false;
  while (extra.size() >= 4) {
    const auto id = get<std::uint16_t>(extra, 0);
    const std::size_t bytes = get<std::uint16_t>(extra, 2);
    if (bytes > extra.size() - 4) {
      file.fail(fmt::format("member {}: an extra field reaches past its header", shown(name)));
    }
    if (id == 1) {
      if (found) file.fail(fmt::format("member {}: two zip64 fields", shown(name)));
      found = true;
      std::string_view values = extra.substr(4, bytes);
      for (std::uint64_t* field : fields) {
        if (*field != kMax32) continue;
        if (values.size() < 8) {
          file.fail(fmt::format("member {}: a zip64 field that is too short", shown(name)));
        }
        *field = get<std::uint64_t>(values, 0);
        values.remove_prefix(8);
      }
    }
    extra.remove_prefix(4 + bytes);
  }
  return found;
}

// The length of the data descriptor behind a member whose sizes were unknown when its header was
// written: 12 to 24 bytes, with or without its own mark, with 4- or 8-byte sizes.
std::uint64_t check_descriptor(const Bytes& file, const ZipEntry& entry) {
  const std::uint64_t at = entry.data_offset + entry.stored_bytes;
  for (const std::uint64_t mark : {4U, 0U}) {
    for (const std::uint64_t width : {4U, 8U}) {
      const std::uint64_t bytes = mark + 4 + 2 * width;
      if (at > file.size() || bytes > file.size() - at) continue;
      const auto record = file.slice(at, bytes, "data descriptor");
      if (mark != 0 && get<std::uint32_t>(record, 0) != kDescriptorMagic) continue;
      const auto size = [&](std::size_t offset) -> std::uint64_t {
        return width == 4 ? get<std::uint32_t>(record, offset) : get<std::uint64_t>(record, offset);
      };
      if (get<std::uint32_t>(record, mark) == entry.crc32 && size(mark + 4) == entry.stored_bytes &&
          size(mark + 4 + width) == entry.bytes) {
        return bytes;
      }
    }
  }
  file.fail(fmt::format("member {}: its data descriptor disagrees with the directory",
                        shown(entry.name)));
}

}  // namespace

bool ZipArchive::detect(std::string_view head) {
  return head.starts_with("PK\x03\x04") || head.starts_with("PK\x05\x06");
}

ZipArchive::ZipArchive(std::string bytes, std::string source_name)
    : ZipArchive(FileBytes::hold(std::move(bytes)), std::move(source_name)) {}

ZipArchive::ZipArchive(FileBytes bytes, std::string source_name)
    : file_(std::move(bytes)), source_name_(std::move(source_name)) {
  const Bytes file(file_.view(), source_name_);
  const Directory directory = find_directory(file);
  // The count is from outside; each member needs 46 bytes of directory, which bounds it.
  if (directory.entries > directory.bytes / kCentralSize) {
    file.fail(fmt::format(
        "{} members do not fit in a directory of {} bytes", directory.entries, directory.bytes));
  }
  entries_.reserve(directory.entries);

  struct Extent {
    std::uint64_t begin;
    std::uint64_t end;
    std::size_t entry;
  };
  std::vector<Extent> extents;
  std::uint64_t at = directory.offset;
  const std::uint64_t directory_end = directory.offset + directory.bytes;
  for (std::uint64_t i = 0; i < directory.entries; ++i) {
    const auto record = file.slice(at, kCentralSize, "directory entry");
    if (at + kCentralSize > directory_end || get<std::uint32_t>(record, 0) != kCentralMagic) {
      file.fail(fmt::format(
          "no directory entry at byte {} (member {} of {})", at, i + 1, directory.entries));
    }
    const auto flags = get<std::uint16_t>(record, 8);
    const std::uint64_t name_bytes = get<std::uint16_t>(record, 28);
    const std::uint64_t extra_bytes = get<std::uint16_t>(record, 30);
    const std::uint64_t comment_bytes = get<std::uint16_t>(record, 32);
    if (name_bytes + extra_bytes + comment_bytes > directory_end - at - kCentralSize) {
      file.fail(fmt::format("directory entry {} reaches past the directory", i + 1));
    }
    ZipEntry entry;
    entry.method = get<std::uint16_t>(record, 10);
    entry.crc32 = get<std::uint32_t>(record, 16);
    entry.stored_bytes = get<std::uint32_t>(record, 20);
    entry.bytes = get<std::uint32_t>(record, 24);
    std::uint64_t offset = get<std::uint32_t>(record, 42);
    entry.name = file.slice(at + kCentralSize, name_bytes, "name");
    const auto extra = file.slice(at + kCentralSize + name_bytes, extra_bytes, "extra field");
    at += kCentralSize + name_bytes + extra_bytes + comment_bytes;

    if (const auto reason = unsafe_name(entry.name)) {
      file.fail(fmt::format("member {} has {}, which is refused", shown(entry.name), *reason));
    }
    std::uint64_t* const wide[] = {&entry.bytes, &entry.stored_bytes, &offset};
    apply_zip64(extra, wide, file, entry.name);
    if ((flags & 0x2041U) != 0) {
      file.unsupported(fmt::format("member {} is encrypted", shown(entry.name)));
    }
    if (entry.method != 0 && entry.method != 8) {
      file.unsupported(fmt::format("member {} is packed by method {}, expected stored or deflate",
                                   shown(entry.name),
                                   entry.method));
    }
    if (entry.method == 0 && entry.stored_bytes != entry.bytes) {
      file.fail(fmt::format("member {} is stored in {} bytes but said to hold {}",
                            shown(entry.name),
                            entry.stored_bytes,
                            entry.bytes));
    }
    if (entry.bytes > limits().array_bytes) {
      file.fail(fmt::format("member {} holds {} bytes, more than the limit of {}",
                            shown(entry.name),
                            entry.bytes,
                            limits().array_bytes));
    }
    if (entry.bytes > kFreeInflation && entry.bytes / limits().zip_ratio > entry.stored_bytes) {
      file.fail(fmt::format("member {} would grow from {} to {} bytes, more than {} times",
                            shown(entry.name),
                            entry.stored_bytes,
                            entry.bytes,
                            limits().zip_ratio));
    }

    // The local header must tell the same story: readers that trust one and readers that trust the
    // other would otherwise see two different archives.
    const auto local = file.slice(offset, kLocalSize, "local header");
    if (get<std::uint32_t>(local, 0) != kLocalMagic) {
      file.fail(fmt::format("member {}: no local header at byte {}", shown(entry.name), offset));
    }
    const std::uint64_t local_name_bytes = get<std::uint16_t>(local, 26);
    const std::uint64_t local_extra_bytes = get<std::uint16_t>(local, 28);
    const auto local_name = file.slice(offset + kLocalSize, local_name_bytes, "local name");
    const auto local_extra =
        file.slice(offset + kLocalSize + local_name_bytes, local_extra_bytes, "local extra field");
    std::uint64_t local_stored = get<std::uint32_t>(local, 18);
    std::uint64_t local_bytes = get<std::uint32_t>(local, 22);
    std::uint64_t* const local_wide[] = {&local_bytes, &local_stored};
    apply_zip64(local_extra, local_wide, file, entry.name);
    const auto local_flags = get<std::uint16_t>(local, 6);
    const bool descriptor = (flags & 0x8U) != 0;
    const auto agrees = [&](std::uint64_t value, std::uint64_t expected) {
      return value == expected || (descriptor && value == 0);
    };
    if (local_name != entry.name || get<std::uint16_t>(local, 8) != entry.method ||
        (local_flags & 0x2049U) != (flags & 0x2049U) ||
        !agrees(get<std::uint32_t>(local, 14), entry.crc32) ||
        !agrees(local_stored, entry.stored_bytes) || !agrees(local_bytes, entry.bytes)) {
      file.fail(fmt::format("member {}: its local header disagrees with the directory",
                            shown(entry.name)));
    }
    entry.data_offset = offset + kLocalSize + local_name_bytes + local_extra_bytes;
    file.slice(entry.data_offset, entry.stored_bytes, "member " + shown(entry.name));
    const std::uint64_t tail = descriptor ? check_descriptor(file, entry) : 0;
    extents.push_back({offset, entry.data_offset + entry.stored_bytes + tail, entries_.size()});
    entries_.push_back(std::move(entry));
  }
  if (at != directory_end) {
    file.fail(fmt::format("{} bytes of the directory belong to no member", directory_end - at));
  }

  std::sort(extents.begin(), extents.end(), [](const Extent& a, const Extent& b) {
    return std::pair(a.begin, a.entry) < std::pair(b.begin, b.entry);
  });
  for (std::size_t i = 0; i < extents.size(); ++i) {
    const bool last = i + 1 == extents.size();
    if (extents[i].end > (last ? directory.offset : extents[i + 1].begin)) {
      file.fail(fmt::format("member {} overlaps {}",
                            shown(entries_[extents[i].entry].name),
                            last ? "the directory" : shown(entries_[extents[i + 1].entry].name)));
    }
  }
  if (!extents.empty() && extents.front().begin != 0) {
    file.fail(fmt::format("{} bytes before the first member", extents.front().begin));
  }

  std::vector<std::string_view> names;
  names.reserve(entries_.size());
  for (const auto& entry : entries_) names.push_back(entry.name);
  std::sort(names.begin(), names.end());
  const auto twin = std::adjacent_find(names.begin(), names.end());
  if (twin != names.end()) file.fail(fmt::format("two members are named {}", shown(*twin)));
}

const ZipEntry* ZipArchive::find(std::string_view name) const {
  const auto at = std::find_if(
      entries_.begin(), entries_.end(), [&](const ZipEntry& entry) { return entry.name == name; });
  return at == entries_.end() ? nullptr : &*at;
}

std::string ZipArchive::read(const ZipEntry& entry) const {
  const Bytes file(file_.view(), source_name_);
  const std::string_view stored =
      file.slice(entry.data_offset, entry.stored_bytes, "member " + shown(entry.name));
  std::string out;
  if (entry.method == 0) {
    out = stored;
  } else {
    out.resize(entry.bytes);
    z_stream stream{};
    // Negative window bits: a bare deflate stream without zlib's own header.
    if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) {
      throw Error(ErrorKind::kIo, source_name_ + ": zlib could not start");
    }
    constexpr std::uint64_t kStep = 1ULL << 30U;  // zlib counts in 32 bits
    std::uint64_t in = 0;
    std::uint64_t done = 0;
    int status = Z_OK;
    while (status == Z_OK) {
      const std::uint64_t give = std::min(kStep, stored.size() - in);
      const std::uint64_t room = std::min(kStep, out.size() - done);
      // zlib never writes through next_in; its type is not const for historical reasons.
      char spare = 0;
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(stored.data() + in));
      stream.avail_in = static_cast<uInt>(give);
      stream.next_out = reinterpret_cast<Bytef*>(room > 0 ? out.data() + done : &spare);
      stream.avail_out = static_cast<uInt>(room);
      status = inflate(&stream, Z_NO_FLUSH);
      in += give - stream.avail_in;
      done += room - stream.avail_out;
      // Z_BUF_ERROR ends the loop: no progress is possible, the stream wants more of either side.
    }
    inflateEnd(&stream);
    if (status != Z_STREAM_END || in != stored.size() || done != out.size()) {
      file.fail(fmt::format("member {}: a damaged deflate stream, {} of {} bytes came out of it",
                            shown(entry.name),
                            done,
                            entry.bytes));
    }
  }
  require_crc(entry, out);
  return out;
}

std::string_view ZipArchive::stored(const ZipEntry& entry) const {
  if (entry.method != 0) {
    throw Error(ErrorKind::kUsage, "zip member " + shown(entry.name) + " is packed");
  }
  const std::string_view bytes =
      Bytes(file_.view(), source_name_)
          .slice(entry.data_offset, entry.stored_bytes, "member " + shown(entry.name));
  require_crc(entry, bytes);
  return bytes;
}

void ZipArchive::require_crc(const ZipEntry& entry, std::string_view bytes) const {
  const std::uint32_t crc = zlib_crc32(0, bytes);
  if (crc != entry.crc32) {
    throw Error(ErrorKind::kFormat,
                fmt::format("{}: member {}: checksum {:08x}, expected {:08x}",
                            source_name_,
                            shown(entry.name),
                            crc,
                            entry.crc32));
  }
}

std::uint32_t zlib_crc32(std::uint32_t crc, std::string_view data) {
  return static_cast<std::uint32_t>(
      crc32_z(crc, reinterpret_cast<const Bytef*>(data.data()), data.size()));
}

void ZipWriter::add_head(std::string_view name, std::uint64_t size, std::uint32_t crc) {
  if (const auto reason = unsafe_name(name)) {
    throw Error(ErrorKind::kUsage,
                fmt::format("zip member {} has {}, which is refused", shown(name), *reason));
  }
  const bool known = std::any_of(
      members_.begin(), members_.end(), [&](const Member& member) { return member.name == name; });
  if (known) throw Error(ErrorKind::kUsage, fmt::format("zip member {} added twice", shown(name)));
  // Room for the padding and, in finish(), the directory.
  if (name.size() >= kMax16 || members_.size() + 1 >= kMax16 || size > kMax32 ||
      size + position() + (1U << 20U) > kMax32) {
    throw Error(ErrorKind::kUnsupported,
                "a zip archive of 4 GiB, or 65,535 members or more, cannot be written");
  }
  std::size_t padding = 0;
  if (alignment_ > 1) {
    const std::uint64_t begin = position() + kLocalSize + name.size();
    padding = (alignment_ - begin % alignment_) % alignment_;
    while (padding > 0 && padding < 4) padding += alignment_;  // an extra field has 4 bytes of head
  }
  members_.push_back({std::string(name),
                      crc,
                      static_cast<std::uint32_t>(size),
                      static_cast<std::uint32_t>(position())});
  put<std::uint32_t>(out_, kLocalMagic);
  put<std::uint16_t>(out_, 20);      // version needed
  put<std::uint16_t>(out_, 0x0800);  // names are UTF-8
  put<std::uint16_t>(out_, 0);       // stored
  put<std::uint16_t>(out_, 0);       // midnight
  put<std::uint16_t>(out_, kDosDate);
  put<std::uint32_t>(out_, crc);
  put<std::uint32_t>(out_, static_cast<std::uint32_t>(size));
  put<std::uint32_t>(out_, static_cast<std::uint32_t>(size));
  put<std::uint16_t>(out_, static_cast<std::uint16_t>(name.size()));
  put<std::uint16_t>(out_, static_cast<std::uint16_t>(padding));
  out_ += name;
  if (padding > 0) {
    out_ += "FB";
    put<std::uint16_t>(out_, static_cast<std::uint16_t>(padding - 4));
    out_.append(padding - 4, 'Z');
  }
}

void ZipWriter::add(std::string_view name, std::string_view data) {
  add_head(name, data.size(), zlib_crc32(0, data));
  out_ += data;
}

void ZipWriter::add_later(std::string_view name, std::uint64_t size, std::uint32_t crc) {
  add_head(name, size, crc);
  written_ += out_.size() + size;
  pieces_.push_back(std::move(out_));
  out_.clear();
}

std::string ZipWriter::finish() {
  if (!pieces_.empty()) {
    throw Error(ErrorKind::kUsage, "a zip archive with data to come has no bytes in one piece");
  }
  return std::move(finish_pieces().front());
}

std::vector<std::string> ZipWriter::finish_pieces() {
  const std::uint64_t directory = position();
  for (const auto& member : members_) {
    put<std::uint32_t>(out_, kCentralMagic);
    put<std::uint16_t>(out_, 20);  // made by
    put<std::uint16_t>(out_, 20);  // version needed
    put<std::uint16_t>(out_, 0x0800);
    put<std::uint16_t>(out_, 0);
    put<std::uint16_t>(out_, 0);
    put<std::uint16_t>(out_, kDosDate);
    put<std::uint32_t>(out_, member.crc32);
    put<std::uint32_t>(out_, member.bytes);
    put<std::uint32_t>(out_, member.bytes);
    put<std::uint16_t>(out_, static_cast<std::uint16_t>(member.name.size()));
    put<std::uint16_t>(out_, 0);  // extra
    put<std::uint16_t>(out_, 0);  // comment
    put<std::uint16_t>(out_, 0);  // disc
    put<std::uint16_t>(out_, 0);  // internal attributes
    put<std::uint32_t>(out_, 0);  // external attributes
    put<std::uint32_t>(out_, member.offset);
    out_ += member.name;
  }
  const std::uint64_t bytes = position() - directory;
  if (position() > kMax32) {
    throw Error(ErrorKind::kUnsupported, "a zip archive of 4 GiB or more cannot be written");
  }
  put<std::uint32_t>(out_, kEndMagic);
  put<std::uint16_t>(out_, 0);
  put<std::uint16_t>(out_, 0);
  put<std::uint16_t>(out_, static_cast<std::uint16_t>(members_.size()));
  put<std::uint16_t>(out_, static_cast<std::uint16_t>(members_.size()));
  put<std::uint32_t>(out_, static_cast<std::uint32_t>(bytes));
  put<std::uint32_t>(out_, static_cast<std::uint32_t>(directory));
  put<std::uint16_t>(out_, 0);
  pieces_.push_back(std::move(out_));
  return std::move(pieces_);
}

}  // namespace med3d
