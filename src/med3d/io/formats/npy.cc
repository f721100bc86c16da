#include "med3d/io/formats/npy.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/limits.h"
#include "med3d/io/features.h"
#include "med3d/io/formats/zip.h"

namespace med3d {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
// NumPy itself reads no longer header unless told to.
constexpr std::size_t kMaxHeaderBytes = 10'000;

struct Header {
  std::string descr;
  bool fortran_order = false;
  std::vector<std::uint64_t> shape;
};

// The header is a Python dict literal of exactly three keys. Nothing is evaluated: this grammar
// knows one string, one word and one tuple of whole numbers.
class HeaderParser {
 public:
  HeaderParser(std::string_view text, std::string_view source) : text_(text), source_(source) {}

  Header parse() {
    Header header;
    bool seen[3] = {false, false, false};
    expect('{');
    while (!take('}')) {
      const std::string_view key = string();
      const std::size_t which = key == "descr" ? 0 : key == "fortran_order" ? 1 : 2;
      if (which == 2 && key != "shape") fail(fmt::format("unknown key '{}'", key));
      if (seen[which]) fail(fmt::format("key '{}' occurs twice", key));
      seen[which] = true;
      expect(':');
      skip_spaces();
      if (which == 0) {
        if (peek() == '[' || peek() == '(') {
          throw Error(ErrorKind::kUnsupported,
                      fmt::format("{}: holds records of several fields, expected plain numbers "
                                  "(records and pickled objects are never read)",
                                  source_));
        }
        header.descr = string();
      } else if (which == 1) {
        header.fortran_order = boolean();
      } else {
        header.shape = tuple();
      }
      if (!take(',')) {
        expect('}');
        break;
      }
    }
    skip_spaces();
    if (at_ != text_.size()) fail("text after the dictionary");
    if (!seen[0] || !seen[1] || !seen[2]) fail("descr, fortran_order or shape is missing");
    return header;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorKind::kFormat,
                fmt::format("{}: npy header, character {}: {}", source_, at_, what));
  }
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void skip_spaces() {
    while (peek() == ' ' || peek() == '\n' || peek() == '\t') ++at_;
  }
  bool take(char c) {
    skip_spaces();
    if (peek() != c || at_ >= text_.size()) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!take(c)) fail(fmt::format("expected '{}'", c));
  }
  std::string_view string() {
    skip_spaces();
    const char quote = peek();
    if (quote != '\'' && quote != '"') fail("expected a string");
    const std::size_t end = text_.find(quote, at_ + 1);
    if (end == text_.npos) fail("a string without end");
    const std::string_view out = text_.substr(at_ + 1, end - at_ - 1);
    for (const char c : out) {
      if (c < 0x20 || c > 0x7E || c == '\\') fail("a string with a character that is not plain");
    }
    at_ = end + 1;
    return out;
  }
  bool boolean() {
    for (const bool value : {false, true}) {
      const std::string_view word = value ? "True" : "False";
      if (text_.substr(at_).starts_with(word)) {
        at_ += word.size();
        return value;
      }
    }
    fail("expected True or False");
  }
  std::vector<std::uint64_t> tuple() {
    std::vector<std::uint64_t> out;
    expect('(');
    while (!take(')')) {
      skip_spaces();
      std::uint64_t value = 0;
      const char* const begin = text_.data() + at_;
      const auto result = std::from_chars(begin, text_.data() + text_.size(), value);
      if (result.ec != std::errc()) fail("expected a whole number from 0 to 2^64 - 1");
      at_ += static_cast<std::size_t>(result.ptr - begin);
      out.push_back(value);
      if (out.size() > limits().tensor_dimensions) fail("too many axes");
      if (!take(',')) {
        // "(3)" is a number and no tuple.
        if (out.size() == 1) fail("expected ',' in a shape of one axis");
        expect(')');
        break;
      }
    }
    return out;
  }

  std::string_view text_;
  std::string_view source_;
  std::size_t at_ = 0;
};

struct Code {
  std::string_view code;
  DType dtype;
};
constexpr Code kCodes[] = {
    {"f2", DType::kF16},
    {"f4", DType::kF32},
    {"f8", DType::kF64},
    {"i1", DType::kI8},
    {"u1", DType::kU8},
    {"i2", DType::kI16},
    {"u2", DType::kU16},
    {"i4", DType::kI32},
    {"u4", DType::kU32},
    {"i8", DType::kI64},
    {"u8", DType::kU64},
    {"b1", DType::kBool},
};

struct ElementType {
  DType dtype;
  bool big_endian;
};

ElementType element_type(std::string_view descr, std::string_view source) {
  std::string_view code = descr;
  char order = '<';
  if (!code.empty() && std::string_view("<>|=").find(code[0]) != std::string_view::npos) {
    order = code[0];
    code.remove_prefix(1);
  }
  if (code == "?") code = "b1";
  for (const auto& known : kCodes) {
    // '|' (no byte order) fits single bytes only.
    if (known.code == code && (order != '|' || dtype_bytes(known.dtype) == 1)) {
      return {known.dtype, order == '>'};
    }
  }
  if (code.starts_with('O')) {
    throw Error(ErrorKind::kUnsupported,
                fmt::format("{}: holds Python objects (type '{}'), expected numbers; pickled "
                            "objects are never read",
                            source,
                            descr));
  }
  throw Error(
      ErrorKind::kUnsupported,
      fmt::format("{}: elements of type '{}', expected numbers such as '<f4'", source, descr));
}

void swap_bytes(std::string& bytes, std::size_t width) {
  for (std::size_t at = 0; width > 1 && at + width <= bytes.size(); at += width) {
    std::reverse(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                 bytes.begin() + static_cast<std::ptrdiff_t>(at + width));
  }
}

// The first axis varies fastest in `fortran`; walk the result in C order and gather.
std::string c_order(std::string_view fortran,
                    std::span<const std::uint64_t> shape,
                    std::size_t width) {
  std::string out(fortran.size(), '\0');
  std::vector<std::uint64_t> index(shape.size(), 0);
  std::vector<std::uint64_t> stride(shape.size(), width);
  for (std::size_t axis = 1; axis < shape.size(); ++axis) {
    stride[axis] = stride[axis - 1] * shape[axis - 1];
  }
  std::uint64_t from = 0;
  for (std::size_t to = 0; to < out.size(); to += width) {
    std::memcpy(out.data() + to, fortran.data() + from, width);
    for (std::size_t axis = shape.size(); axis-- > 0;) {
      from += stride[axis];
      if (++index[axis] < shape[axis]) break;
      from -= stride[axis] * shape[axis];
      index[axis] = 0;
    }
  }
  return out;
}

bool detect_npy(std::string_view head) { return head.starts_with(kMagic); }

// A torch file is a zip as well: the first member's name tells them apart.
bool detect_npz(std::string_view head) {
  if (!ZipArchive::detect(head)) return false;
  if (head.size() < 30 || head[2] != 3) return true;
  const auto byte = [&](std::size_t at) {
    return static_cast<std::size_t>(static_cast<unsigned char>(head[at]));
  };
  return head.substr(30, byte(26) + 256 * byte(27)).ends_with(".npy");
}

Matrix<float> open_npy(const std::filesystem::path& path) {
  return to_matrix(read_npy(path), path.string());
}

Matrix<float> open_npz(const std::filesystem::path& path) {
  return features_among(read_npz(path), path.string());
}

}  // namespace

const FeatureFormat npy_feature_format = {"npy", {".npy"}, detect_npy, open_npy};
const FeatureFormat npz_feature_format = {"npz", {".npz"}, detect_npz, open_npz};

Array parse_npy(std::string_view bytes, std::string_view source) {
  const auto fail = [&](const std::string& what) {
    throw Error(ErrorKind::kFormat, fmt::format("{}: {}", source, what));
  };
  if (!bytes.starts_with(kMagic)) fail("not an npy file: it does not begin with \\x93NUMPY");
  if (bytes.size() < 10) fail("cut short in its npy header");
  const auto byte = [&](std::size_t at) {
    return static_cast<std::size_t>(static_cast<unsigned char>(bytes[at]));
  };
  const std::size_t version = byte(6);
  if (version < 1 || version > 3 || byte(7) != 0) {
    throw Error(
        ErrorKind::kUnsupported,
        fmt::format("{}: npy version {}.{}, expected 1.0, 2.0 or 3.0", source, version, byte(7)));
  }
  const std::size_t begin = version == 1 ? 10 : 12;
  if (bytes.size() < begin) fail("cut short in its npy header");
  std::size_t header_bytes = byte(8) + (byte(9) << 8U);
  if (version > 1) header_bytes += (byte(10) << 16U) + (byte(11) << 24U);
  if (header_bytes > kMaxHeaderBytes) {
    fail(fmt::format(
        "an npy header of {} bytes, more than the limit of {}", header_bytes, kMaxHeaderBytes));
  }
  if (header_bytes > bytes.size() - begin) fail("cut short in its npy header");
  const std::string_view text = bytes.substr(begin, header_bytes);
  if (!text.ends_with('\n')) fail("its npy header does not end in a line feed");
  Header header = HeaderParser(text, source).parse();
  const ElementType type = element_type(header.descr, source);

  const std::string_view data = bytes.substr(begin + header_bytes);
  const std::uint64_t expected = checked_array_bytes(header.shape, type.dtype, source);
  if (data.size() != expected) {
    fail(fmt::format("{} bytes of data, expected {} for shape {} of {}",
                     data.size(),
                     expected,
                     shape_text(header.shape),
                     to_string(type.dtype)));
  }
  Array out;
  out.shape = std::move(header.shape);
  out.dtype = type.dtype;
  const std::size_t width = dtype_bytes(type.dtype);
  const bool turn = header.fortran_order && out.shape.size() > 1;
  out.bytes = turn ? c_order(data, out.shape, width) : std::string(data);
  if (type.big_endian) swap_bytes(out.bytes, width);
  return out;
}

Array read_npy(const std::filesystem::path& path) {
  return parse_npy(read_file(path, checked_add(limits().array_bytes, kMaxHeaderBytes + 12, "npy")),
                   path.string());
}

std::vector<NamedArray> parse_npz(std::string bytes, std::string_view source) {
  const ZipArchive archive(std::move(bytes), std::string(source));
  std::vector<NamedArray> out;
  for (const auto& entry : archive.entries()) {
    if (!entry.name.ends_with(".npy")) {
      throw Error(
          ErrorKind::kUnsupported,
          fmt::format(
              "{}: member '{}' is no npy array, which is all an npz may hold", source, entry.name));
    }
    out.push_back(
        {entry.name.substr(0, entry.name.size() - 4),
         parse_npy(archive.read(entry), fmt::format("{}, member '{}'", source, entry.name))});
  }
  return out;
}

std::vector<NamedArray> read_npz(const std::filesystem::path& path) {
  return parse_npz(read_file(path, limits().array_bytes), path.string());
}

std::string npy_bytes(const Array& array) {
  const auto* const code =
      std::find_if(std::begin(kCodes), std::end(kCodes), [&](const Code& known) {
        return known.dtype == array.dtype;
      });
  if (code == std::end(kCodes)) {
    throw Error(ErrorKind::kUnsupported,
                fmt::format("npy has no {} numbers", to_string(array.dtype)));
  }
  const auto expected = checked_array_bytes(array.shape, array.dtype, "npy to be written");
  if (array.bytes.size() != expected) {
    throw Error(ErrorKind::kUsage,
                fmt::format("npy to be written: {} bytes of data, expected {} for shape {}",
                            array.bytes.size(),
                            expected,
                            shape_text(array.shape)));
  }
  std::string header = fmt::format("{{'descr': '{}{}', 'fortran_order': False, 'shape': {}, }}",
                                   dtype_bytes(array.dtype) == 1 ? '|' : '<',
                                   code->code,
                                   shape_text(array.shape));
  // NumPy leaves room for the first axis to grow to 21 digits, then fills up to a multiple of 64
  // with the line feed as the last byte, and by 64 where nothing was missing.
  if (!array.shape.empty()) header.append(21 - fmt::format("{}", array.shape[0]).size(), ' ');
  header.append(64 - (10 + header.size() + 1) % 64, ' ');
  header += '\n';
  std::string out(kMagic);
  out += '\x01';
  out += '\0';
  out += static_cast<char>(header.size() & 0xFFU);
  out += static_cast<char>(header.size() >> 8U);
  return out + header + array.bytes;
}

std::string npy_bytes(const Matrix<float>& matrix) { return npy_bytes(from_matrix(matrix)); }

std::string npz_bytes(std::span<const NamedArray> arrays) {
  ZipWriter writer;
  for (const auto& named : arrays) writer.add(named.name + ".npy", npy_bytes(named.array));
  return writer.finish();
}

}  // namespace med3d
