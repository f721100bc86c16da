#include "med3d/io/formats/dicom.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/core/limits.h"
#include "med3d/core/text.h"
#include "med3d/io/formats/deflate.h"

namespace med3d {
namespace {

constexpr std::uint64_t kUndefined = 0xFFFFFFFF;
constexpr int kMaxDepth = 64;
constexpr std::uint64_t kMaxElements = 2'000'000;
constexpr std::uint64_t kMaxFragments = 1ULL << 22;
constexpr std::uint64_t kFirstRead = 64 << 10;
constexpr std::uint64_t kMaxValues = 1 << 20;
constexpr std::size_t kLongestRun = 128;  // of PackBits

constexpr DicomTag kItem = 0xFFFEE000;
constexpr DicomTag kItemEnd = 0xFFFEE00D;
constexpr DicomTag kSequenceEnd = 0xFFFEE0DD;
constexpr DicomTag kTransferSyntax = 0x00020010;
constexpr DicomTag kPixelData = 0x7FE00010;

constexpr std::string_view kImplicitLittle = "1.2.840.10008.1.2";
constexpr std::string_view kExplicitLittle = "1.2.840.10008.1.2.1";
constexpr std::string_view kDeflated = "1.2.840.10008.1.2.1.99";
constexpr std::string_view kExplicitBig = "1.2.840.10008.1.2.2";

// Two letters and a comma each, so that no other two letters are found in them.
constexpr std::string_view kLongVrs = "OB,OD,OF,OL,OV,OW,SQ,SV,UC,UN,UR,UT,UV,";
constexpr std::string_view kShortVrs =
    "AE,AS,AT,CS,DA,DS,DT,FD,FL,IS,LO,LT,PN,SH,SL,SS,ST,TM,UI,UL,US,";

[[noreturn]] void bad(const std::string& what) { throw Error(ErrorKind::kFormat, what); }

// The file goes on behind the bytes that were read so far.
struct NeedMore {};

bool is_vr(std::string_view vr, std::string_view list) {
  return vr.size() == 2 && vr[0] >= 'A' && vr[0] <= 'Z' && vr[1] >= 'A' && vr[1] <= 'Z' &&
         list.find(vr) != std::string_view::npos;
}

// The binary numbers we read, where a file does not say what they are.
std::string_view known_vr(DicomTag tag) {
  switch (tag) {
    case 0x00280002:
    case 0x00280006:
    case 0x00280010:
    case 0x00280011:
    case 0x00280100:
    case 0x00280101:
    case 0x00280102:
    case 0x00280103:
      return "US";
    case 0x00209057:
    case 0x00209128:
    case 0x00209157:
      return "UL";
    default:
      return {};
  }
}

std::uint64_t whole(std::string_view bytes, bool big) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const std::size_t at = big ? i : bytes.size() - 1 - i;
    value = value << 8 | static_cast<unsigned char>(bytes[at]);
  }
  return value;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kPadding{" \0\t\r\n", 5};
  const std::size_t first = text.find_first_not_of(kPadding);
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(kPadding) - first + 1);
}

std::string shown_tag(DicomTag tag) {
  return fmt::format("({:04X},{:04X})", tag >> 16, tag & 0xFFFF);
}

}  // namespace

// --- Values ------------------------------------------------------------------------------------

const DicomElement* DicomDataset::find(DicomTag tag) const {
  const auto found = std::ranges::lower_bound(elements_, tag, {}, &DicomElement::tag);
  return found != elements_.end() && found->tag == tag ? &*found : nullptr;
}

std::string_view DicomDataset::value(const DicomElement& element) const {
  return std::string_view(*bytes_).substr(element.offset, element.length);
}

std::string DicomDataset::text(DicomTag tag) const {
  const DicomElement* found = find(tag);
  if (found == nullptr) return "";
  return std::string(trimmed(value(*found)));
}

std::string DicomDataset::text(DicomTag tag, std::size_t index) const {
  const DicomElement* found = find(tag);
  if (found == nullptr) return "";
  std::string_view rest = value(*found);
  for (std::size_t i = 0; i < index; ++i) {
    const std::size_t next = rest.find('\\');
    if (next == rest.npos) return "";
    rest.remove_prefix(next + 1);
  }
  return std::string(trimmed(rest.substr(0, rest.find('\\'))));
}

namespace {

std::size_t binary_bytes(std::string_view vr) {
  if (vr == "US" || vr == "SS") return 2;
  if (vr == "UL" || vr == "SL" || vr == "FL") return 4;
  if (vr == "FD") return 8;
  return 0;
}

}  // namespace

std::size_t DicomDataset::count(DicomTag tag) const {
  const DicomElement* found = find(tag);
  if (found == nullptr || found->length == 0) return 0;
  if (const std::size_t size = binary_bytes({found->vr, 2})) return found->length / size;
  const std::string_view all = value(*found);
  return 1 + static_cast<std::size_t>(std::ranges::count(all, '\\'));
}

std::optional<double> DicomDataset::number(DicomTag tag, std::size_t index) const {
  const DicomElement* found = find(tag);
  if (found == nullptr) return std::nullopt;
  const std::string_view vr(found->vr, 2);
  const std::size_t size = binary_bytes(vr);
  if (size == 0) {
    if (index > kMaxValues) return std::nullopt;
    const std::string one = text(tag, index);
    const auto parsed = one.size() <= 64 ? parse_double(one) : std::nullopt;
    return parsed && std::isfinite(*parsed) ? parsed : std::nullopt;
  }
  if (found->length / size <= index) return std::nullopt;
  const std::uint64_t bits = whole(value(*found).substr(index * size, size), found->big_endian);
  double number = static_cast<double>(bits);
  if (vr == "SS") number = static_cast<std::int16_t>(bits);
  if (vr == "SL") number = static_cast<std::int32_t>(bits);
  if (vr == "FL") {
    const auto half = static_cast<std::uint32_t>(bits);
    float single = 0;
    std::memcpy(&single, &half, sizeof single);
    number = static_cast<double>(single);
  }
  if (vr == "FD") std::memcpy(&number, &bits, sizeof number);
  return std::isfinite(number) ? std::optional(number) : std::nullopt;
}

std::int64_t DicomDataset::integer(DicomTag tag,
                                   std::string_view name,
                                   std::int64_t least,
                                   std::int64_t most,
                                   std::optional<std::int64_t> otherwise) const {
  const DicomElement* found = find(tag);
  if (found == nullptr || trimmed(value(*found)).empty()) {
    // A binary zero is trimmed away, yet it is a value.
    if (found == nullptr || binary_bytes({found->vr, 2}) == 0 || found->length == 0) {
      if (otherwise) return *otherwise;
      bad(fmt::format("no {}", name));
    }
  }
  const auto value = number(tag);
  if (!value || !(*value >= static_cast<double>(least)) || !(*value <= static_cast<double>(most)) ||
      *value != std::floor(*value)) {
    bad(fmt::format("{} {}, expected a whole number from {} to {}",
                    name,
                    value ? format_double(*value) : "that is no number",
                    least,
                    most));
  }
  return static_cast<std::int64_t>(*value);
}

const DicomDataset* DicomDataset::item(DicomTag sequence, std::size_t index) const {
  const DicomElement* found = find(sequence);
  return found != nullptr && index < found->items.size() ? &found->items[index] : nullptr;
}

// --- The walk ----------------------------------------------------------------------------------

struct DicomFile::Impl {
  std::string bytes;
  std::string transfer_syntax;
  DicomDataset dataset;
  DicomPixels pixels;
};

class DicomParser {
 public:
  // size  of the whole file; `bytes` may be the beginning of it
  DicomParser(const std::string& bytes, std::uint64_t size, DicomPart part)
      : bytes_(bytes), size_(size), part_(part) {}

  struct Meta {
    std::uint64_t data = 0;  // where the data set begins
    std::string transfer_syntax;
  };

  Meta meta() {
    Meta out;
    std::uint64_t at = 0;
    const bool preamble = size_ >= 132 && view(128, 4) == "DICM";
    if (preamble) at = 132;
    const std::uint64_t begin = at;
    while (size_ - at >= 8 && whole(view(at, 2), false) == 2) {
      const Head found = head(at, size_, {false, false});
      require(found, size_);
      if (found.tag == kTransferSyntax) {
        if (found.length > 128) bad(fmt::format("a transfer syntax of {} bytes", found.length));
        out.transfer_syntax = std::string(trimmed(view(found.value, found.length)));
      }
      at = found.value + found.length;
    }
    out.data = at;
    const std::string_view guessed = guess(at);
    if (!preamble && at == begin && guessed.empty()) {
      bad("no DICM at byte 128, and no DICOM element at byte 0");
    }
    if (out.transfer_syntax.empty()) {
      out.transfer_syntax = guessed.empty() ? kImplicitLittle : guessed;
    }
    return out;
  }

  void data(std::uint64_t at, const std::string& syntax, DicomFile::Impl& out) {
    const Coding coding{syntax == kImplicitLittle, syntax == kExplicitBig};
    pixels_ = &out.pixels;
    dataset(at, size_, false, 0, coding, out.dataset);
    // What is kept must be there when it is looked up.
    if (furthest_ > bytes_.size()) throw NeedMore();
    if (const DicomElement* found = out.dataset.find(0x7FE00001)) {
      if (found->length % 8 != 0) {
        bad(fmt::format("an extended offset table of {} bytes", found->length));
      }
      for (std::uint64_t i = 0; i < found->length; i += 8) {
        out.pixels.extended_offsets.push_back(whole(view(found->offset + i, 8), false));
      }
    }
  }

 private:
  struct Coding {
    bool implicit = false;
    bool big = false;
  };
  struct Head {
    DicomTag tag = 0;
    char vr[2] = {0, 0};
    std::uint64_t length = 0;
    std::uint64_t value = 0;
    std::string_view type() const { return {vr, 2}; }
  };

  std::string_view view(std::uint64_t at, std::uint64_t count) const {
    if (at > size_ || size_ - at < count) {
      bad(fmt::format("the file ends at byte {}, expected {} more at byte {}", size_, count, at));
    }
    if (at + count > bytes_.size()) throw NeedMore();
    return std::string_view(bytes_).substr(at, count);
  }

  // Without file meta information the first element tells: group 8, and a length that fits.
  std::string_view guess(std::uint64_t at) const {
    if (size_ - at < 8) return {};
    const std::string_view vr = view(at + 4, 2);
    const bool letters = is_vr(vr, kShortVrs) || is_vr(vr, kLongVrs);
    if (letters && whole(view(at, 2), true) == 8) return kExplicitBig;
    if (whole(view(at, 2), false) != 8) return {};
    if (letters) return kExplicitLittle;
    return whole(view(at + 4, 4), false) <= size_ - at - 8 ? kImplicitLittle : std::string_view();
  }

  Head head(std::uint64_t at, std::uint64_t end, Coding coding) {
    if (++elements_ > kMaxElements) bad(fmt::format("more than {} elements", kMaxElements));
    const auto need = [&](std::uint64_t count) {
      if (end - at < count) bad(fmt::format("an element that is cut short at byte {}", at));
      return view(at, count);
    };
    std::string_view bytes = need(8);
    Head out;
    out.tag = static_cast<DicomTag>(whole(bytes.substr(0, 2), coding.big) << 16 |
                                    whole(bytes.substr(2, 2), coding.big));
    out.value = at + 8;
    if (out.tag >> 16 == 0xFFFE || coding.implicit) {
      out.length = whole(bytes.substr(4, 4), coding.big);
      const std::string_view known = known_vr(out.tag);
      if (!known.empty()) std::copy_n(known.data(), 2, out.vr);
      return out;
    }
    std::copy_n(bytes.data() + 4, 2, out.vr);
    if (is_vr(out.type(), kLongVrs)) {
      bytes = need(12);
      out.length = whole(bytes.substr(8, 4), coding.big);
      out.value = at + 12;
    } else if (is_vr(out.type(), kShortVrs)) {
      out.length = whole(bytes.substr(6, 2), coding.big);
    } else {
      bad(fmt::format("an element without a value representation at byte {}", at));
    }
    return out;
  }

  void require(const Head& found, std::uint64_t end) {
    if (found.length == kUndefined || end < found.value || end - found.value < found.length) {
      bad(fmt::format(
          "element {} at byte {} goes beyond what holds it", shown_tag(found.tag), found.value));
    }
  }

  bool is_sequence(const Head& found, Coding coding) const {
    if (found.length == kUndefined || found.type() == "SQ") return true;
    const bool unknown = coding.implicit || found.type() == "UN";
    const bool is_private = (found.tag >> 16) % 2 != 0;
    if (!unknown || is_private || found.length < 8 || found.tag == kPixelData) return false;
    // Not said, so told by its beginning; an unknown one is stored as implicit little endian.
    const bool big = coding.big && found.type() != "UN";
    return whole(view(found.value, 2), big) == 0xFFFE &&
           whole(view(found.value + 2, 2), big) == 0xE000;
  }

  // Returns where it ends: `end`, or behind its delimiter.
  std::uint64_t dataset(std::uint64_t at,
                        std::uint64_t end,
                        bool delimited,
                        int depth,
                        Coding coding,
                        DicomDataset& out) {
    if (depth > kMaxDepth) bad(fmt::format("sequences nested deeper than {}", kMaxDepth));
    out.bytes_ = &bytes_;
    bool ended = false;
    while (at < end && !ended) {
      if (depth == 0 && end - at < 8) break;  // padding behind the last element
      Head found = head(at, end, coding);
      if (found.tag == kItemEnd && delimited) {
        at = found.value;
        ended = true;
        break;
      }
      if (depth == 0 && found.tag == kPixelData) {
        pixels(found, coding);
        ended = true;
        break;
      }
      if (depth == 0 && (found.tag == 0x7FE00008 || found.tag == 0x7FE00009)) {
        throw Error(ErrorKind::kUnsupported, "pixels as floating point, expected whole numbers");
      }
      const bool keep = (found.tag >> 16) % 2 == 0 && (found.tag & 0xFFFF) != 0;
      DicomElement element;
      element.tag = found.tag;
      element.big_endian = coding.big;
      if (found.type() == "UN") {
        element.big_endian = false;
        const std::string_view known = known_vr(found.tag);
        if (!known.empty()) std::copy_n(known.data(), 2, element.vr);
      } else {
        std::copy_n(found.vr, 2, element.vr);
      }
      if (found.length == kUndefined && (found.type() == "OB" || found.type() == "OW")) {
        at = fragments(found, end, coding, nullptr);  // an icon's pixels
        continue;
      }
      if (is_sequence(found, coding)) {
        const Coding inside = found.type() == "UN" ? Coding{true, false} : coding;
        at = sequence(found, end, depth + 1, inside, keep ? &element.items : nullptr);
      } else {
        require(found, end);
        element.offset = found.value;
        element.length = found.length;
        at = found.value + found.length;
        if (keep) furthest_ = std::max(furthest_, at);
      }
      if (keep) out.elements_.push_back(std::move(element));
    }
    if (delimited && !ended) bad(fmt::format("an item without its end at byte {}", at));
    std::ranges::stable_sort(out.elements_, {}, &DicomElement::tag);
    if (depth == 0) {
      const auto twice = std::ranges::adjacent_find(out.elements_, {}, &DicomElement::tag);
      if (twice != out.elements_.end()) bad(fmt::format("element {} twice", shown_tag(twice->tag)));
    }
    return at;
  }

  std::uint64_t sequence(const Head& found,
                         std::uint64_t end,
                         int depth,
                         Coding coding,
                         std::vector<DicomDataset>* items) {
    const bool delimited = found.length == kUndefined;
    if (!delimited) require(found, end);
    const std::uint64_t stop = delimited ? end : found.value + found.length;
    std::uint64_t at = found.value;
    while (at < stop) {
      const Head item = head(at, stop, coding);
      if (item.tag == kSequenceEnd && delimited) return item.value;
      if (item.tag != kItem) bad(fmt::format("a sequence that holds no item at byte {}", at));
      DicomDataset content;
      const bool open = item.length == kUndefined;
      if (!open) require(item, stop);
      at =
          dataset(item.value, open ? stop : item.value + item.length, open, depth, coding, content);
      if (items != nullptr) items->push_back(std::move(content));
    }
    if (delimited) bad(fmt::format("a sequence without its end at byte {}", at));
    return at;
  }

  std::uint64_t fragments(const Head& found, std::uint64_t end, Coding coding, DicomPixels* out) {
    std::uint64_t at = found.value;
    bool first = true;
    while (at < end) {
      const Head item = head(at, end, {true, coding.big});
      if (item.tag == kSequenceEnd) return item.value;
      if (item.tag != kItem) bad(fmt::format("no fragment of pixel data at byte {}", at));
      require(item, end);
      if (out != nullptr && first) {
        if (item.length % 4 != 0) bad(fmt::format("an offset table of {} bytes", item.length));
        for (std::uint64_t i = 0; i < item.length; i += 4) {
          out->offset_table.push_back(
              static_cast<std::uint32_t>(whole(view(item.value + i, 4), coding.big)));
        }
        out->first_fragment = item.value + item.length;
      } else if (out != nullptr) {
        if (out->fragments.size() >= kMaxFragments) {
          bad(fmt::format("more than {} fragments", kMaxFragments));
        }
        out->fragments.push_back({item.value, item.length});
      }
      first = false;
      at = item.value + item.length;
    }
    bad(fmt::format("fragments of pixel data without their end at byte {}", at));
  }

  void pixels(const Head& found, Coding coding) {
    pixels_->present = true;
    pixels_->encapsulated = found.length == kUndefined;
    pixels_->big_endian = coding.big;
    pixels_->as_words = coding.implicit || found.type() == "OW";
    if (part_ == DicomPart::kHeader) return;
    if (pixels_->encapsulated) {
      if (coding.implicit) bad("encapsulated pixels in an implicit file");
      fragments(found, size_, coding, pixels_);
      return;
    }
    if (size_ - found.value < found.length) {
      bad(fmt::format("the file ends {} bytes into its pixels, expected {}",
                      size_ - found.value,
                      found.length));
    }
    pixels_->offset = found.value;
    pixels_->length = found.length;
    furthest_ = std::max(furthest_, found.value + found.length);
  }

  const std::string& bytes_;
  std::uint64_t size_;
  DicomPart part_;
  DicomPixels* pixels_ = nullptr;
  std::uint64_t elements_ = 0;
  std::uint64_t furthest_ = 0;
};

DicomFile::DicomFile(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
DicomFile::DicomFile(DicomFile&&) noexcept = default;
DicomFile& DicomFile::operator=(DicomFile&&) noexcept = default;
DicomFile::~DicomFile() = default;

const DicomDataset& DicomFile::dataset() const { return impl_->dataset; }
const std::string& DicomFile::transfer_syntax() const { return impl_->transfer_syntax; }
const DicomPixels& DicomFile::pixels() const { return impl_->pixels; }
const std::string& DicomFile::bytes() const { return impl_->bytes; }

namespace {

// A regular file from its beginning, in as many bytes as are asked for.
class GrowingFile {
 public:
  explicit GrowingFile(const std::filesystem::path& path) {
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
  ~GrowingFile() {
    if (fd_ >= 0) ::close(fd_);
  }
  GrowingFile(const GrowingFile&) = delete;
  GrowingFile& operator=(const GrowingFile&) = delete;

  std::uint64_t size() const { return size_; }

  void read_up_to(std::uint64_t count, std::string& bytes) const {
    std::size_t done = bytes.size();
    bytes.resize(static_cast<std::size_t>(std::min(count, size_)));
    while (done < bytes.size()) {
      const auto n =
          ::pread(fd_, bytes.data() + done, bytes.size() - done, static_cast<off_t>(done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) throw Error(ErrorKind::kIo, fmt::format("read error: {}", std::strerror(errno)));
      if (n == 0) bad("the file became shorter while it was read");
      done += static_cast<std::size_t>(n);
    }
  }

 private:
  int fd_ = -1;
  std::uint64_t size_ = 0;
};

}  // namespace

DicomFile DicomFile::read(const std::filesystem::path& path, DicomPart part) {
  const GrowingFile file(path);
  if (file.size() > limits().image_bytes) {
    bad(fmt::format("{} bytes, more than the limit of {}", file.size(), limits().image_bytes));
  }
  std::string bytes;
  std::uint64_t want = part == DicomPart::kWhole ? file.size() : kFirstRead;
  while (true) {
    file.read_up_to(want, bytes);
    if (bytes.size() == file.size()) return parse(std::move(bytes), part);
    try {
      auto impl = std::make_unique<Impl>();
      impl->bytes = bytes;
      DicomParser parser(impl->bytes, file.size(), part);
      auto meta = parser.meta();
      if (meta.transfer_syntax == kDeflated) throw NeedMore();
      impl->transfer_syntax = std::move(meta.transfer_syntax);
      parser.data(meta.data, impl->transfer_syntax, *impl);
      return DicomFile(std::move(impl));
    } catch (const NeedMore&) {
      want = bytes.size() * 8;
    }
  }
}

DicomFile DicomFile::parse(std::string bytes, DicomPart part) {
  auto impl = std::make_unique<Impl>();
  impl->bytes = std::move(bytes);
  DicomParser::Meta meta = DicomParser(impl->bytes, impl->bytes.size(), part).meta();
  if (meta.transfer_syntax == kDeflated) {
    impl->bytes = inflate_bare(
        std::string_view(impl->bytes).substr(meta.data), limits().image_bytes, "deflated DICOM");
    meta.data = 0;
  }
  impl->transfer_syntax = std::move(meta.transfer_syntax);
  DicomParser(impl->bytes, impl->bytes.size(), part).data(meta.data, impl->transfer_syntax, *impl);
  return DicomFile(std::move(impl));
}

std::string_view DicomFile::frame(std::uint64_t index,
                                  std::uint64_t frames,
                                  std::uint64_t native_bytes,
                                  std::string& storage) const {
  const DicomPixels& pixels = impl_->pixels;
  if (!pixels.present) bad("no pixels");
  if (index >= frames) throw Error(ErrorKind::kUsage, "a frame beyond the last one");
  const std::string_view bytes = impl_->bytes;
  if (!pixels.encapsulated) {
    const std::uint64_t all = checked_multiply(frames, native_bytes, "pixels");
    // Zeros behind the pixels are padding; anything else means that the header's size is wrong.
    const bool too_long =
        pixels.length > all + 1 &&
        bytes.substr(pixels.offset + all, pixels.length - all).find_first_not_of('\0') !=
            std::string_view::npos;
    if (pixels.length < all || too_long) {
      bad(fmt::format("{} bytes of pixels, expected {}", pixels.length, all));
    }
    return bytes.substr(pixels.offset + index * native_bytes, native_bytes);
  }
  std::size_t first = 0;
  std::size_t last = pixels.fragments.size();  // not with it
  if (frames > 1 && pixels.fragments.size() != frames) {
    // Offsets count from the header of the first fragment.
    const bool extended = !pixels.extended_offsets.empty();
    const std::size_t offsets =
        extended ? pixels.extended_offsets.size() : pixels.offset_table.size();
    if (offsets != frames) {
      bad(fmt::format(
          "{} fragments and {} offsets for {} frames", pixels.fragments.size(), offsets, frames));
    }
    const auto fragment_at = [&](std::uint64_t frame) {
      const std::uint64_t offset =
          extended ? pixels.extended_offsets[frame] : pixels.offset_table[frame];
      const auto at = [&](const DicomFragment& fragment) {
        return fragment.offset - 8 - pixels.first_fragment;
      };
      const auto found = std::ranges::lower_bound(pixels.fragments, offset, {}, at);
      if (found == pixels.fragments.end() || at(*found) != offset) {
        bad(fmt::format("no fragment where the offset table says, at {}", offset));
      }
      return static_cast<std::size_t>(found - pixels.fragments.begin());
    };
    first = fragment_at(index);
    if (index + 1 < frames) last = fragment_at(index + 1);
    if (first >= last) bad(fmt::format("entry {} of the offset table goes back", index + 1));
  } else if (frames > 1) {
    first = index;
    last = index + 1;
  }
  if (first >= last) bad("no fragments of pixel data");
  if (last - first == 1) {
    return bytes.substr(pixels.fragments[first].offset, pixels.fragments[first].length);
  }
  storage.clear();
  for (std::size_t i = first; i < last; ++i) {
    storage.append(bytes.substr(pixels.fragments[i].offset, pixels.fragments[i].length));
  }
  return storage;
}

bool detect_dicom(std::string_view head) {
  return head.size() >= 132 && head.substr(128, 4) == "DICM";
}

std::string shown_dicom_uid(std::string_view uid) {
  const bool standard = uid.starts_with("1.2.840.10008.") && uid.size() <= 64 &&
                        uid.find_first_not_of("0123456789.") == uid.npos;
  return standard ? std::string(uid) : "a UID that is not of the standard";
}

std::vector<std::uint8_t> decode_dicom_rle(std::string_view bytes,
                                           std::size_t planes,
                                           std::size_t plane) {
  const auto refuse = [](const std::string& what) { throw Error(ErrorKind::kFormat, what); };
  const auto number = [&](std::size_t at) {
    std::size_t value = 0;
    for (std::size_t i = 4; i-- > 0;) {
      value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
    }
    return value;
  };
  if (bytes.size() < 64) refuse(fmt::format("RLE: {} bytes, no header of 64", bytes.size()));
  if (planes > 15 || number(0) != planes) {
    refuse(fmt::format("RLE: {} segments, expected {}", number(0), planes));
  }
  const std::uint64_t size = checked_multiply(plane, planes, "RLE frame");
  if (bytes.size() < size / 64) {
    refuse(fmt::format("RLE: {} bytes cannot hold {} pixels", bytes.size(), plane));
  }
  std::vector<std::uint8_t> out(size);
  for (std::size_t s = 0; s < planes; ++s) {
    std::size_t at = number(4 + 4 * s);
    const std::size_t end = s + 1 < planes ? number(8 + 4 * s) : bytes.size();
    if (at < 64 || at > end || end > bytes.size()) {
      refuse(fmt::format("RLE: segment {} lies outside", s));
    }
    std::size_t done = 0;
    std::uint8_t* const to = out.data() + s * plane;
    while (done < plane) {
      if (at >= end) {
        refuse(fmt::format("RLE: segment {} ends after {} of {} bytes", s, done, plane));
      }
      const int code = static_cast<signed char>(bytes[at++]);
      if (code == -128) continue;
      const auto count = static_cast<std::size_t>(code < 0 ? 1 - code : 1 + code);
      const std::size_t stored = code < 0 ? 1 : count;
      if (count > plane - done || stored > end - at) {
        refuse(fmt::format("RLE: a run goes beyond segment {}", s));
      }
      // Where there is room, as much as the longest run has: a copy of known size costs a few
      // instructions, and what is too much is written over by the runs that follow.
      const bool roomy = plane - done >= kLongestRun;
      if (code < 0) {
        if (roomy) {
          std::memset(to + done, bytes[at], kLongestRun);
        } else {
          std::memset(to + done, bytes[at], count);
        }
      } else if (roomy && end - at >= kLongestRun) {
        std::memcpy(to + done, bytes.data() + at, kLongestRun);
      } else {
        std::memcpy(to + done, bytes.data() + at, count);
      }
      done += count;
      at += stored;
    }
  }
  return out;
}

}  // namespace med3d
