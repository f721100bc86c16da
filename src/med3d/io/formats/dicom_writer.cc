#include "med3d/io/formats/dicom_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/core/random.h"

namespace med3d {
namespace {

constexpr DicomTag kSopClass = 0x00080016;
constexpr DicomTag kSopInstance = 0x00080018;
constexpr DicomTag kPixels = 0x7FE00010;
constexpr std::string_view kExplicitLittle = "1.2.840.10008.1.2.1";
// Names this writer in files, as the standard asks; 2.25 of a UUID drawn once for med3d.
constexpr std::string_view kImplementation = "2.25.223917840625361208957419183640172955301";

struct TextRule {
  std::string_view vr;
  std::size_t most;             // characters (PN, LO, SH) or bytes of one value
  std::string_view characters;  // that are allowed; empty = any printable one
};
constexpr std::string_view kCode = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_ ";
constexpr std::string_view kDecimal = "0123456789+-.eE ";
constexpr std::array<TextRule, 11> kTextRules{{
    {"AE", 16, ""},
    {"AS", 4, "0123456789DWMY"},
    {"CS", 16, kCode},
    {"DA", 8, "0123456789"},
    {"DS", 16, kDecimal},
    {"IS", 12, "0123456789+- "},
    {"LO", 64, ""},
    {"PN", 64, ""},
    {"SH", 16, ""},
    {"TM", 14, "0123456789."},
    {"UI", 64, "0123456789."},
}};

[[noreturn]] void refuse(DicomTag tag, const std::string& what) {
  throw Error(ErrorKind::kUsage,
              fmt::format("DICOM element ({:04X},{:04X}): {}", tag >> 16, tag & 0xFFFF, what));
}

std::string little(std::uint64_t value, int size) {
  std::string out;
  for (int i = 0; i < size; ++i) out += static_cast<char>(value >> (8 * i));
  return out;
}

void require_uid(std::string_view uid) {
  const auto part_ok = [](std::string_view part) {
    return !part.empty() && (part.size() == 1 || part[0] != '0') &&
           part.find_first_not_of("0123456789") == std::string_view::npos;
  };
  bool ok = !uid.empty() && uid.size() <= 64;
  for (std::size_t at = 0; ok && at <= uid.size();) {
    const std::size_t end = std::min(uid.find('.', at), uid.size());
    ok = part_ok(uid.substr(at, end - at));
    at = end + 1;
  }
  if (!ok) throw Error(ErrorKind::kUsage, "a DICOM UID of digits and single points was expected");
}

// Code points of UTF-8: what the standard counts in texts.
std::size_t characters_of(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

std::string element(DicomTag tag, std::string_view vr, std::string_view value, char padding) {
  std::string out = little(tag >> 16, 2) + little(tag & 0xFFFF, 2) + std::string(vr);
  const bool wide = vr == "OB" || vr == "OW";
  if (wide) out += std::string(2, '\0');
  const std::size_t odd = value.size() % 2;
  out += little(value.size() + odd, wide ? 4 : 2);
  out += value;
  out.append(odd, padding);
  return out;
}

std::string decimal_string(double value) {
  // 16 characters are what a DS may have; fewer digits only where the shortest form needs more.
  std::string text = fmt::format("{}", value);
  for (int digits = 15; text.size() > 16 && digits > 0; --digits) {
    text = fmt::format("{:.{}g}", value, digits);
  }
  return text;
}

}  // namespace

DicomWriter::DicomWriter(std::string_view sop_class, std::string_view sop_instance)
    : sop_class_(sop_class), sop_instance_(sop_instance) {
  require_uid(sop_class);
  require_uid(sop_instance);
}

void DicomWriter::write_objects_before(DicomTag tag) {
  if (last_ < kSopClass && tag > kSopClass) {
    data_ += element(kSopClass, "UI", sop_class_, '\0');
    last_ = kSopClass;
  }
  if (last_ < kSopInstance && tag > kSopInstance) {
    data_ += element(kSopInstance, "UI", sop_instance_, '\0');
    last_ = kSopInstance;
  }
}

void DicomWriter::add(DicomTag tag, std::string_view vr, std::string_view value, char padding) {
  write_objects_before(tag);
  if (tag >> 16 <= 2 || tag <= last_) {
    refuse(tag, fmt::format("after ({:04X},{:04X}); tags ascend", last_ >> 16, last_ & 0xFFFF));
  }
  data_ += element(tag, vr, value, padding);
  last_ = tag;
}

void DicomWriter::text(DicomTag tag, std::string_view vr, std::string_view value) {
  const auto* rule = std::find_if(
      kTextRules.begin(), kTextRules.end(), [&](const TextRule& each) { return each.vr == vr; });
  if (rule == kTextRules.end()) refuse(tag, fmt::format("no VR of texts: '{}'", vr));
  for (std::size_t at = 0; at <= value.size();) {
    const std::size_t end = std::min(value.find('\\', at), value.size());
    const std::string_view one = value.substr(at, end - at);
    if (characters_of(one) > rule->most) {
      refuse(tag, fmt::format("{} characters, {} allows {}", characters_of(one), vr, rule->most));
    }
    const bool plain = std::none_of(one.begin(), one.end(), [&](char c) {
      return static_cast<unsigned char>(c) < 0x20 || c == 0x7F ||
             (!rule->characters.empty() && rule->characters.find(c) == std::string_view::npos);
    });
    if (!plain) refuse(tag, fmt::format("a character that {} does not allow", vr));
    at = end + 1;
  }
  if (value.size() > 0xFFFE) refuse(tag, "more than 65534 bytes");
  add(tag, vr, value, vr == "UI" ? '\0' : ' ');
}

void DicomWriter::numbers(DicomTag tag, std::span<const double> values) {
  std::string joined;
  for (const double value : values) {
    joined += (joined.empty() ? "" : "\\") + decimal_string(value);
  }
  text(tag, "DS", joined);
}

void DicomWriter::whole(DicomTag tag, std::uint16_t value) {
  add(tag, "US", little(value, 2), ' ');
}

void DicomWriter::pixels(std::span<const std::uint16_t> words) {
  if (words.empty()) refuse(kPixels, "no pixels");
  std::string bytes;
  bytes.reserve(words.size() * 2);
  for (const std::uint16_t word : words) {
    bytes += static_cast<char>(word & 0xFF);
    bytes += static_cast<char>(word >> 8);
  }
  add(kPixels, "OW", bytes, '\0');
}

void DicomWriter::pixels(std::span<const std::uint8_t> bytes) {
  if (bytes.empty()) refuse(kPixels, "no pixels");
  add(kPixels, "OB", {reinterpret_cast<const char*>(bytes.data()), bytes.size()}, '\0');
}

std::string DicomWriter::take() {
  write_objects_before(kPixels);
  std::string meta = element(0x00020001, "OB", std::string_view("\0\1", 2), '\0');
  meta += element(0x00020002, "UI", sop_class_, '\0');
  meta += element(0x00020003, "UI", sop_instance_, '\0');
  meta += element(0x00020010, "UI", kExplicitLittle, '\0');
  meta += element(0x00020012, "UI", kImplementation, '\0');
  meta += element(0x00020013, "SH", "MED3D_SYNTH", ' ');
  std::string out(128, '\0');
  out += "DICM";
  out += element(0x00020000, "UL", little(meta.size(), 4), '\0');
  out += meta;
  out += std::exchange(data_, {});
  last_ = 0;
  return out;
}

std::string dicom_uid_of(std::uint64_t seed,
                         std::string_view name,
                         std::initializer_list<std::uint64_t> numbers) {
  const std::uint64_t high = derive_seed(derive_seed(seed, "uid high"), name, numbers);
  const std::uint64_t low = derive_seed(derive_seed(seed, "uid low"), name, numbers);
  // The four 32-bit digits of a random UUID: version 4, variant 10 (RFC 4122).
  std::array<std::uint32_t, 4> digits = {
      static_cast<std::uint32_t>(high >> 31),
      (static_cast<std::uint32_t>(high) & 0xFFFF0FFFU) | 0x4000U,
      (static_cast<std::uint32_t>(low >> 31) & 0x3FFFFFFFU) | 0x80000000U,
      static_cast<std::uint32_t>(low),
  };
  std::string decimal;
  while (std::any_of(digits.begin(), digits.end(), [](std::uint32_t d) { return d != 0; })) {
    std::uint64_t rest = 0;
    for (std::uint32_t& digit : digits) {
      const std::uint64_t now = rest << 32 | digit;
      digit = static_cast<std::uint32_t>(now / 10);
      rest = now % 10;
    }
    decimal += static_cast<char>('0' + rest);
  }
  std::reverse(decimal.begin(), decimal.end());
  return "2.25." + decimal;
}

}  // namespace med3d
