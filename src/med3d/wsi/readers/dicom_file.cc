#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/core/limits.h"
#include "med3d/core/text.h"
#include "med3d/wsi/readers/dicom_file_internal.h"

namespace med3d::dicom {
namespace {

constexpr std::uint64_t kWindow = 64 << 10;
constexpr std::uint64_t kUndefined = 0xFFFFFFFF;
constexpr int kMaxDepth = 64;
constexpr std::uint64_t kMaxElements = 50'000'000;
constexpr std::uint64_t kMaxHeaderElements =
    100'000;  // before the per-frame groups: DCMTK keeps them
constexpr std::uint64_t kMaxText = 1024;

// Two letters and a comma each, so that no other two letters are found in them.
constexpr std::string_view kLongVrs = "OB,OD,OF,OL,OV,OW,SQ,SV,UC,UN,UR,UT,UV,";
constexpr std::string_view kShortVrs =
    "AE,AS,AT,CS,DA,DS,DT,FD,FL,IS,LO,LT,PN,SH,SL,SS,ST,TM,UI,UL,US,";

constexpr std::uint32_t kItem = 0xFFFEE000;
constexpr std::uint32_t kItemEnd = 0xFFFEE00D;
constexpr std::uint32_t kSequenceEnd = 0xFFFEE0DD;
constexpr std::uint32_t kPerFrameGroups = 0x52009230;
constexpr std::uint32_t kPixelData = 0x7FE00010;
constexpr std::array kSequenceVr{'S', 'Q'};
constexpr std::array kUnknownVr{'U', 'N'};
constexpr std::array kOtherByte{'O', 'B'};
constexpr std::array kOtherWord{'O', 'W'};

[[noreturn]] void bad(const std::string& what) { throw Error(ErrorKind::kFormat, what); }

std::uint64_t little(std::span<const std::uint8_t> bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = bytes.size(); i-- > 0;) value = value << 8 | bytes[i];
  return value;
}

// Where in the tree of sequences the walk is, as far as that matters.
enum class Place { kTop, kPerFrame, kPlanePosition, kPixelMeasures, kElsewhere };

struct Element {
  std::uint32_t tag = 0;
  std::array<char, 2> vr{};  // of an implicit file: 0, 0
  std::uint64_t length = 0;
  std::uint64_t value = 0;  // offset
};

class Walker {
 public:
  Walker(RandomReader& reader, Walk walk, DicomIndex& index)
      : reader_(reader), walk_(walk), index_(index) {}

  void run() {
    std::array<std::uint8_t, 4> magic{};
    if (reader_.size() >= 132) reader_.read(128, magic);
    if (std::memcmp(magic.data(), "DICM", 4) != 0) bad("no DICM at byte 128");
    const std::uint64_t data = meta(132);
    const std::string& syntax = index_.transfer_syntax;
    if (syntax == "1.2.840.10008.1.2.1.99") {
      throw Error(ErrorKind::kUnsupported, "transfer syntax: deflated explicit little endian");
    }
    if (syntax == "1.2.840.10008.1.2.2") {
      throw Error(ErrorKind::kUnsupported, "transfer syntax: explicit big endian");
    }
    dataset(data, reader_.size(), false, 0, syntax == "1.2.840.10008.1.2", Place::kTop);
  }

 private:
  Element element(std::uint64_t at, std::uint64_t end, bool implicit) {
    if (++elements_ > kMaxElements || (!in_frames_ && elements_ > kMaxHeaderElements)) {
      bad(fmt::format("more than {} elements", in_frames_ ? kMaxElements : kMaxHeaderElements));
    }
    std::array<std::uint8_t, 12> head{};
    const auto need = [&](std::uint64_t count) {
      if (end - at < count) bad(fmt::format("an element that is cut short at byte {}", at));
      reader_.read(at, {head.data(), count});
    };
    need(8);
    Element out;
    out.tag =
        static_cast<std::uint32_t>(little({head.data(), 2}) << 16 | little({head.data() + 2, 2}));
    const bool item = out.tag >> 16 == 0xFFFE;
    out.value = at + 8;
    if (item || implicit) {
      out.length = little({head.data() + 4, 4});
    } else {
      out.vr = {static_cast<char>(head[4]), static_cast<char>(head[5])};
      const std::string_view vr(out.vr.data(), 2);
      if (kLongVrs.find(vr) != std::string_view::npos) {
        need(12);
        out.length = little({head.data() + 8, 4});
        out.value = at + 12;
      } else if (kShortVrs.find(vr) != std::string_view::npos) {
        out.length = little({head.data() + 6, 2});
      } else {
        bad(fmt::format("an element without a value representation at byte {}", at));
      }
    }
    return out;
  }

  void require(const Element& found, std::uint64_t end) const {
    if (found.length == kUndefined || end < found.value || end - found.value < found.length) {
      bad(fmt::format("element ({:04X},{:04X}) at byte {} goes beyond what holds it",
                      found.tag >> 16,
                      found.tag & 0xFFFF,
                      found.value));
    }
  }

  std::string text(const Element& found) {
    std::string out(std::min(found.length, kMaxText), '\0');
    reader_.read(found.value, {reinterpret_cast<std::uint8_t*>(out.data()), out.size()});
    while (!out.empty() && (out.back() == '\0' || out.back() == ' ')) out.pop_back();
    return out;
  }

  std::int32_t integer(const Element& found) {
    std::array<std::uint8_t, 4> bytes{};
    if (found.length != 4) return std::numeric_limits<std::int32_t>::min();
    reader_.read(found.value, bytes);
    return static_cast<std::int32_t>(little(bytes));
  }

  std::vector<std::uint64_t> numbers(const Element& found) {
    if (found.length % 8 != 0 || found.length / 8 > kMaxFrames) {
      bad(fmt::format("an extended offset table of {} bytes", found.length));
    }
    std::vector<std::uint8_t> bytes(found.length);
    reader_.read(found.value, bytes);
    std::vector<std::uint64_t> out(found.length / 8);
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = little({bytes.data() + 8 * i, 8});
    return out;
  }

  // Group 2, always explicit. Returns where the data set begins.
  std::uint64_t meta(std::uint64_t at) {
    while (reader_.size() - at >= 8) {
      std::array<std::uint8_t, 2> group{};
      reader_.read(at, group);
      if (little(group) != 2) break;
      const Element found = element(at, reader_.size(), false);
      require(found, reader_.size());
      if (found.tag == 0x00020002) index_.sop_class = text(found);
      if (found.tag == 0x00020010) index_.transfer_syntax = text(found);
      at = found.value + found.length;
    }
    if (index_.transfer_syntax.empty()) bad("no transfer syntax in the file's meta information");
    return at;
  }

  void keep(const Element& found, Place place) {
    if (place == Place::kTop) {
      if (found.tag == 0x00080008) index_.image_type = text(found);
      if (found.tag == 0x0020000E) index_.series_uid = text(found);
      if (found.tag == 0x7FE00001) index_.extended_offsets = numbers(found);
      if (found.tag == 0x7FE00002) index_.extended_lengths = numbers(found);
    } else if (place == Place::kPlanePosition && !index_.positions.empty()) {
      if (found.tag == 0x0048021E) index_.positions.back().column = integer(found);
      if (found.tag == 0x0048021F) index_.positions.back().row = integer(found);
    } else if (place == Place::kPixelMeasures && index_.frame_spacing.empty()) {
      if (found.tag == 0x00280030) index_.frame_spacing = text(found);
    }
  }

  static Place below(Place place, std::uint32_t tag) {
    if (place == Place::kTop && tag == kPerFrameGroups) return Place::kPerFrame;
    if (place == Place::kPerFrame && tag == 0x0048021A) return Place::kPlanePosition;
    if (place == Place::kPerFrame && tag == 0x00289110) return Place::kPixelMeasures;
    return Place::kElsewhere;
  }

  bool is_sequence(const Element& found, bool implicit) {
    if (found.length == kUndefined) return true;
    if (!implicit) return found.vr == kSequenceVr;
    if (found.length < 8 || reader_.size() - found.value < 8) return false;
    std::array<std::uint8_t, 4> head{};  // no VR is stored: what begins with an item
    reader_.read(found.value, head);
    return little(head) == 0xE000FFFE;
  }

  // Returns where it ends: `end`, or behind its delimiter.
  std::uint64_t dataset(
      std::uint64_t at, std::uint64_t end, bool delimited, int depth, bool implicit, Place place) {
    if (depth > kMaxDepth) bad(fmt::format("sequences nested deeper than {}", kMaxDepth));
    std::uint32_t last = 0;
    while (at < end) {
      if (place == Place::kTop && end - at < 8) break;  // padding after the last element
      const Element found = element(at, end, implicit);
      if (found.tag == kItemEnd && delimited) return found.value;
      if (place == Place::kTop) {
        if (found.tag <= last) bad(fmt::format("elements out of order at byte {}", at));
        last = found.tag;
        if (walk_ == Walk::kUntilSeries && found.tag > 0x0020000E) return end;
        if (found.tag >= kPerFrameGroups) in_frames_ = true;
        if (found.tag >= kPixelData) {
          if (found.tag == kPixelData) pixels(found, implicit);
          return end;
        }
      }
      if (found.length == kUndefined && (found.vr == kOtherByte || found.vr == kOtherWord)) {
        at = fragments(found, end);  // an icon's pixels
      } else if (is_sequence(found, implicit)) {
        // An unknown sequence of undefined length is stored without VRs (PS3.5 6.2.2).
        const bool inside = implicit || found.vr == kUnknownVr;
        at = sequence(found, end, depth + 1, inside, below(place, found.tag));
      } else {
        require(found, end);
        keep(found, place);
        at = found.value + found.length;
      }
    }
    if (delimited) bad(fmt::format("an item without its end at byte {}", at));
    return at;
  }

  std::uint64_t sequence(
      const Element& found, std::uint64_t end, int depth, bool implicit, Place place) {
    const bool delimited = found.length == kUndefined;
    if (!delimited) require(found, end);
    const std::uint64_t stop = delimited ? end : found.value + found.length;
    std::uint64_t at = found.value;
    while (at < stop) {
      const Element item = element(at, stop, implicit);
      if (item.tag == kSequenceEnd && delimited) return item.value;
      if (item.tag != kItem) bad(fmt::format("a sequence that holds no item at byte {}", at));
      if (place == Place::kPerFrame) {
        if (index_.positions.size() >= kMaxFrames)
          bad(fmt::format("more than {} frames", kMaxFrames));
        index_.positions.emplace_back();
      }
      if (item.length == kUndefined) {
        at = dataset(item.value, stop, true, depth, implicit, place);
      } else {
        require(item, stop);
        at = dataset(item.value, item.value + item.length, false, depth, implicit, place);
      }
    }
    if (delimited) bad(fmt::format("a sequence without its end at byte {}", at));
    return at;
  }

  std::uint64_t fragments(const Element& found, std::uint64_t end) {
    std::uint64_t at = found.value;
    while (at < end) {
      const Element item = element(at, end, true);
      if (item.tag == kSequenceEnd) return item.value;
      if (item.tag != kItem) bad(fmt::format("no fragment at byte {}", at));
      require(item, end);
      at = item.value + item.length;
    }
    bad(fmt::format("fragments without their end at byte {}", at));
  }

  void pixels(const Element& found, bool implicit) {
    index_.has_pixels = true;
    index_.pixel_offset = found.value;
    index_.encapsulated = found.length == kUndefined;
    index_.pixel_length = index_.encapsulated ? 0 : found.length;
    if (index_.encapsulated && implicit) bad("encapsulated pixels in an implicit file");
  }

  RandomReader& reader_;
  Walk walk_;
  DicomIndex& index_;
  std::uint64_t elements_ = 0;
  bool in_frames_ = false;
};

struct Fragment {
  bool is_end = false;
  std::uint64_t value = 0;
  std::uint64_t length = 0;
};

Fragment fragment_at(RandomReader& reader, std::uint64_t at) {
  std::array<std::uint8_t, 8> head{};
  reader.read(at, head);
  const auto tag =
      static_cast<std::uint32_t>(little({head.data(), 2}) << 16 | little({head.data() + 2, 2}));
  if (tag != kItem && tag != kSequenceEnd) {
    bad(fmt::format("no fragment of pixel data at byte {}", at));
  }
  const std::uint64_t length = little({head.data() + 4, 4});
  if (tag == kItem && length == kUndefined) {
    bad(fmt::format("a fragment of undefined length at byte {}", at));
  }
  return {tag == kSequenceEnd, at + 8, length};
}

std::vector<FrameSpan> walk_fragments(RandomReader& reader,
                                      std::uint64_t at,
                                      std::uint64_t frames) {
  std::vector<FrameSpan> out;
  bool cut = false;
  const std::uint64_t first = at;
  while (true) {
    if (reader.size() - at < 8) {
      cut = true;
      break;
    }
    const Fragment found = fragment_at(reader, at);
    if (found.is_end) break;
    if (reader.size() - found.value < found.length) {
      cut = true;
      break;
    }
    if (out.size() >= kMaxFrames) bad(fmt::format("more than {} fragments", kMaxFrames));
    out.push_back({at, found.value + found.length});
    at = found.value + found.length;
  }
  if (frames == 1 && !out.empty() && !cut) return {{first, at}};
  if (cut && out.size() < frames) out.resize(frames);  // what lies behind the end is missing
  if (out.size() != frames) {
    bad(fmt::format("{} fragments for {} frames, and no offset table", out.size(), frames));
  }
  return out;
}

}  // namespace

RandomReader::RandomReader(const std::filesystem::path& path) {
  fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd_ < 0) {
    throw Error(errno == ENOENT ? ErrorKind::kNotFound : ErrorKind::kIo,
                fmt::format("cannot be opened: {}", std::strerror(errno)));
  }
  struct stat info {};
  if (::fstat(fd_, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(std::exchange(fd_, -1));
    bad("not a regular file");
  }
  size_ = static_cast<std::uint64_t>(info.st_size);
}

RandomReader::~RandomReader() {
  if (fd_ >= 0) ::close(fd_);
}

RandomReader::RandomReader(RandomReader&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      size_(other.size_),
      window_at_(other.window_at_),
      window_(std::move(other.window_)) {}

RandomReader& RandomReader::operator=(RandomReader&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(size_, other.size_);
  std::swap(window_at_, other.window_at_);
  std::swap(window_, other.window_);
  return *this;
}

void RandomReader::fetch(std::uint64_t offset, std::span<std::uint8_t> out) const {
  std::size_t done = 0;
  while (done < out.size()) {
    const auto n =
        ::pread(fd_, out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      throw Error(ErrorKind::kIo, fmt::format("read error: {}", std::strerror(errno)));
    }
    if (n == 0) bad("the file became shorter while it was read");
    done += static_cast<std::size_t>(n);
  }
}

void RandomReader::read(std::uint64_t offset, std::span<std::uint8_t> out) {
  if (offset > size_ || size_ - offset < out.size()) {
    bad(fmt::format(
        "the file ends at byte {}, expected {} more at byte {}", size_, out.size(), offset));
  }
  if (out.size() >= kWindow / 4) return fetch(offset, out);
  if (offset < window_at_ || offset + out.size() > window_at_ + window_.size()) {
    window_.resize(std::min(kWindow, size_ - offset));
    window_at_ = offset;
    try {
      fetch(offset, window_);
    } catch (...) {
      window_.clear();
      throw;
    }
  }
  std::memcpy(out.data(), window_.data() + (offset - window_at_), out.size());
}

DicomIndex walk_dicom(RandomReader& reader, Walk walk) {
  DicomIndex index;
  Walker(reader, walk, index).run();
  return index;
}

std::vector<FrameSpan> encapsulated_frames(RandomReader& reader,
                                           const DicomIndex& index,
                                           std::uint64_t frames) {
  const Fragment table = fragment_at(reader, index.pixel_offset);
  if (table.is_end) bad("no frames in the pixel data");
  if (table.length % 4 != 0 || table.length / 4 > kMaxFrames) {
    bad(fmt::format("an offset table of {} bytes", table.length));
  }
  const std::uint64_t first = table.value + table.length;
  std::vector<FrameSpan> out;

  if (!index.extended_offsets.empty()) {
    if (index.extended_offsets.size() != frames || index.extended_lengths.size() != frames) {
      bad(fmt::format("an extended offset table of {} offsets and {} lengths for {} frames",
                      index.extended_offsets.size(),
                      index.extended_lengths.size(),
                      frames));
    }
    for (std::uint64_t i = 0; i < frames; ++i) {
      const std::uint64_t begin = checked_add(first, index.extended_offsets[i], "frame offset");
      const std::uint64_t stored = checked_add(begin, 8, "frame offset");
      out.push_back({begin, checked_add(stored, index.extended_lengths[i], "frame length")});
    }
    return out;
  }
  if (table.length == 0) return walk_fragments(reader, first, frames);

  if (table.length / 4 != frames) {
    bad(fmt::format("an offset table of {} entries for {} frames", table.length / 4, frames));
  }
  std::vector<std::uint8_t> bytes(table.length);
  reader.read(table.value, bytes);
  for (std::uint64_t i = 0; i < frames; ++i) {
    const std::uint64_t begin = first + little({bytes.data() + 4 * i, 4});
    if (i > 0 && begin <= out.back().begin) {
      bad(fmt::format("entry {} of the offset table goes back", i));
    }
    if (i > 0) out.back().end = begin;
    out.push_back({begin, std::numeric_limits<std::uint64_t>::max()});
  }
  return out;
}

void read_encapsulated_frame(RandomReader& reader, const FrameSpan& span, std::string& bytes) {
  bytes.clear();
  if (span.begin == 0) bad(fmt::format("the file ends at byte {}, before it", reader.size()));
  std::uint64_t at = span.begin;
  while (at < span.end && (at == span.begin || at < reader.size())) {
    const Fragment found = fragment_at(reader, at);
    if (found.is_end) break;
    if (found.length > limits().tile_bytes - bytes.size()) {
      bad(fmt::format("more than the limit of {} bytes", limits().tile_bytes));
    }
    if (reader.size() - found.value < found.length) {
      bad(fmt::format("the file ends at byte {}, within it", reader.size()));
    }
    const std::size_t before = bytes.size();
    bytes.resize(before + found.length);
    reader.read(found.value,
                {reinterpret_cast<std::uint8_t*>(bytes.data()) + before, found.length});
    at = found.value + found.length;
  }
  if (bytes.empty()) bad("no bytes stored for it");
}

}  // namespace med3d::dicom
