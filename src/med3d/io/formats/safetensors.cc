#include "med3d/io/formats/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <set>
#include <tuple>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/json.h"
#include "med3d/core/limits.h"
#include "med3d/io/features.h"

namespace med3d {
namespace {

// Sorted keys: the ordered document of core looks a key up by walking all of them, which a header
// of a million names would turn into an attack.
using SortedJson = nlohmann::json;

constexpr std::string_view kMetadata = "__metadata__";
constexpr std::uint64_t kLengthBytes = 8;

struct Code {
  std::string_view code;
  DType dtype;
};
constexpr Code kCodes[] = {
    {"F16", DType::kF16},
    {"BF16", DType::kBF16},
    {"F32", DType::kF32},
    {"F64", DType::kF64},
    {"I8", DType::kI8},
    {"U8", DType::kU8},
    {"I16", DType::kI16},
    {"U16", DType::kU16},
    {"I32", DType::kI32},
    {"U32", DType::kU32},
    {"I64", DType::kI64},
    {"U64", DType::kU64},
    {"BOOL", DType::kBool},
};

std::string_view code_of(DType dtype) {
  for (const auto& known : kCodes) {
    if (known.dtype == dtype) return known.code;
  }
  return "";
}

std::uint64_t length_field(std::string_view bytes) {
  std::uint64_t value = 0;
  std::memcpy(&value, bytes.data(), kLengthBytes);  // array.cc asserts a little-endian host
  return value;
}

// For messages: names come from outside.
std::string shown(const std::string& name) {
  std::string out = "'";
  for (const char c : name.substr(0, 80)) {
    out += static_cast<unsigned char>(c) < 0x20 || c == 0x7F ? '?' : c;
  }
  return out + (name.size() > 80 ? "...'" : "'");
}

// Checks what the JSON library does not: it keeps the last of two equal keys in silence, and it has
// no bound on depth. (Its parser callbacks could do this, but take quadratic time in the number of
// keys.)
class HeaderCheck : public nlohmann::json_sax<SortedJson> {
 public:
  explicit HeaderCheck(std::string_view source) : source_(source) {}

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_object(std::size_t) override { return enter(); }
  bool end_object() override { return leave(); }
  bool start_array(std::size_t) override { return enter(); }
  bool end_array() override { return leave(); }
  bool key(string_t& name) override {
    if (!keys_.back().insert(name).second) {
      throw Error(ErrorKind::kFormat,
                  fmt::format("{}: key {} occurs twice in the header", source_, shown(name)));
    }
    return true;
  }
  bool parse_error(std::size_t at,
                   const std::string&,
                   const nlohmann::detail::exception&) override {
    throw Error(ErrorKind::kFormat,
                fmt::format("{}: the header is not valid JSON at byte {}", source_, at));
  }

 private:
  // The header, a tensor, its shape: nothing sound is nested deeper.
  bool enter() {
    if (keys_.size() >= 3) {
      throw Error(ErrorKind::kFormat,
                  fmt::format("{}: the header is nested deeper than 3 levels", source_));
    }
    keys_.emplace_back();
    return true;
  }
  bool leave() {
    keys_.pop_back();
    return true;
  }

  std::string_view source_;
  std::vector<std::set<std::string>> keys_;  // of each object that is open
};

SortedJson parse_header(std::string_view text, std::string_view source) {
  HeaderCheck check(source);
  SortedJson::sax_parse(text.begin(), text.end(), &check);
  return SortedJson::parse(text.begin(), text.end());
}

DType dtype_of(const std::string& code, std::string_view what) {
  for (const auto& known : kCodes) {
    if (known.code == code) return known.dtype;
  }
  const bool small = code.starts_with("F8_") || code.starts_with("F6_") || code.starts_with("F4");
  throw Error(
      small ? ErrorKind::kUnsupported : ErrorKind::kFormat,
      fmt::format("{}: elements of type {}, expected one of F16, BF16, F32, F64, I8 to U64, "
                  "BOOL",
                  what,
                  shown(code)));
}

std::vector<std::uint64_t> whole_numbers(const SortedJson& value, std::string_view what) {
  std::vector<std::uint64_t> out;
  if (!value.is_array()) {
    throw Error(ErrorKind::kFormat, fmt::format("{}: expected a list of whole numbers", what));
  }
  for (const auto& element : value) {
    if (!element.is_number_unsigned()) {
      throw Error(ErrorKind::kFormat, fmt::format("{}: expected a list of whole numbers", what));
    }
    out.push_back(element.get<std::uint64_t>());
  }
  return out;
}

// A header length that fits in 100 MB leaves its upper bytes zero, and the header is an object.
bool detect_safetensors(std::string_view head) {
  return head.size() > kLengthBytes && head[kLengthBytes] == '{' &&
         length_field(head) <= limits().json_header_bytes;
}

Matrix<float> open_safetensors(const std::filesystem::path& path) {
  return features_among(read_safetensors(path).tensors, path.string());
}

}  // namespace

const FeatureFormat safetensors_feature_format = {
    "safetensors", {".safetensors"}, detect_safetensors, open_safetensors, stored_safetensors};

const Array* Safetensors::find(std::string_view name) const {
  for (const auto& tensor : tensors) {
    if (tensor.name == name) return &tensor.array;
  }
  return nullptr;
}

namespace {

struct Placed {
  std::uint64_t begin;  // in the bytes of the file
  std::uint64_t end;
  std::string name;
  std::vector<std::uint64_t> shape;
  DType dtype;
};

struct Layout {
  std::vector<Placed> tensors;  // by offset
  std::map<std::string, std::string> metadata;
};

// Everything but the elements, checked.
Layout layout_of(std::string_view bytes, std::string_view source) {
  const auto fail = [&](const std::string& what) {
    throw Error(ErrorKind::kFormat, fmt::format("{}: {}", source, what));
  };
  if (bytes.size() < kLengthBytes) {
    fail(fmt::format("not a safetensors file: {} bytes, expected 8 or more", bytes.size()));
  }
  const std::uint64_t header_bytes = length_field(bytes);
  if (header_bytes > limits().json_header_bytes) {
    fail(fmt::format("not a safetensors file: a header of {} bytes, more than the limit of {}",
                     header_bytes,
                     limits().json_header_bytes));
  }
  if (header_bytes > bytes.size() - kLengthBytes) {
    fail(
        fmt::format("cut short: a header of {} bytes in a file of {}", header_bytes, bytes.size()));
  }
  const std::string_view text = bytes.substr(kLengthBytes, header_bytes);
  if (!text.starts_with('{')) fail("not a safetensors file: its header does not begin with '{'");
  const std::string_view data = bytes.substr(kLengthBytes + header_bytes);
  const SortedJson header = parse_header(text, source);

  Layout out;
  std::vector<Placed>& placed = out.tensors;
  for (const auto& [name, value] : header.items()) {
    const std::string what = fmt::format("{}, tensor {}", source, shown(name));
    if (name == kMetadata) {
      if (!value.is_object()) fail("__metadata__ is no object of strings");
      for (const auto& [key, text_value] : value.items()) {
        if (!text_value.is_string()) fail(fmt::format("__metadata__ {} is no string", shown(key)));
        out.metadata[key] = text_value.get<std::string>();
      }
      continue;
    }
    if (!value.is_object() || value.size() != 3 || !value.contains("dtype") ||
        !value.contains("shape") || !value.contains("data_offsets")) {
      throw Error(ErrorKind::kFormat,
                  what + ": expected exactly the keys dtype, shape and data_offsets");
    }
    if (!value["dtype"].is_string()) throw Error(ErrorKind::kFormat, what + ": dtype is no string");
    Placed one{0, 0, name, {}, DType::kF32};
    one.dtype = dtype_of(value["dtype"].get<std::string>(), what);
    one.shape = whole_numbers(value["shape"], what + ", shape");
    const auto offsets = whole_numbers(value["data_offsets"], what + ", data_offsets");
    if (offsets.size() != 2 || offsets[0] > offsets[1] || offsets[1] > data.size()) {
      throw Error(ErrorKind::kFormat,
                  fmt::format("{}: data_offsets {} do not lie in the {} bytes of data",
                              what,
                              shape_text(offsets),
                              data.size()));
    }
    one.begin = offsets[0];
    one.end = offsets[1];
    const auto expected = checked_array_bytes(one.shape, one.dtype, what);
    if (one.end - one.begin != expected) {
      throw Error(ErrorKind::kFormat,
                  fmt::format("{}: {} bytes of data, expected {} for shape {} of {}",
                              what,
                              one.end - one.begin,
                              expected,
                              shape_text(one.shape),
                              to_string(one.dtype)));
    }
    placed.push_back(std::move(one));
  }

  std::sort(placed.begin(), placed.end(), [](const Placed& a, const Placed& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  std::uint64_t at = 0;
  for (auto& one : placed) {
    if (one.begin != at) {
      fail(fmt::format("tensor {} begins at byte {} of the data, expected {}: {}",
                       shown(one.name),
                       one.begin,
                       at,
                       one.begin < at ? "it overlaps another" : "there is a hole before it"));
    }
    at = one.end;
  }
  if (at != data.size()) {
    fail(fmt::format("{} bytes after the last tensor", data.size() - at));
  }
  const std::uint64_t start = kLengthBytes + header_bytes;
  for (auto& one : placed) {
    one.begin += start;
    one.end += start;
  }
  return out;
}

}  // namespace

Safetensors parse_safetensors(std::string_view bytes, std::string_view source) {
  Layout layout = layout_of(bytes, source);
  Safetensors out{{}, std::move(layout.metadata)};
  for (auto& one : layout.tensors) {
    out.tensors.push_back({std::move(one.name),
                           {std::move(one.shape),
                            one.dtype,
                            std::string(bytes.substr(one.begin, one.end - one.begin))}});
  }
  return out;
}

std::vector<NamedStoredArray> stored_safetensors(const FileBytes& file, const std::string& source) {
  std::vector<NamedStoredArray> out;
  for (auto& one : layout_of(file.view(), source).tensors) {
    NamedStoredArray named{std::move(one.name),
                           {std::move(one.shape), one.dtype, nullptr, nullptr}};
    const std::string_view bytes = file.view().substr(one.begin, one.end - one.begin);
    named.array.read = [file, bytes] {
      std::string copy(bytes);
      file.forget(bytes);
      return copy;
    };
    named.array.in_place = [file, bytes] { return bytes; };
    out.push_back(std::move(named));
  }
  return out;
}

Safetensors read_safetensors(const std::filesystem::path& path) {
  return parse_safetensors(read_file(path, limits().weights_bytes), path.string());
}

std::string safetensors_bytes(std::span<const NamedArray> tensors,
                              const std::map<std::string, std::string>& metadata) {
  std::vector<const NamedArray*> order;
  for (const auto& tensor : tensors) order.push_back(&tensor);
  std::sort(order.begin(), order.end(), [](const NamedArray* a, const NamedArray* b) {
    return std::pair(dtype_bytes(b->array.dtype), std::string_view(a->name)) <
           std::pair(dtype_bytes(a->array.dtype), std::string_view(b->name));
  });

  std::string header = "{";
  std::set<std::string_view> names;
  const auto quoted = [](const std::string& text) {
    try {
      return SortedJson(text).dump();
    } catch (const SortedJson::exception&) {
      throw Error(ErrorKind::kUsage, "safetensors to be written: text that is not UTF-8");
    }
  };
  if (!metadata.empty()) {
    header += quoted(std::string(kMetadata)) + ":{";
    for (const auto& [key, value] : metadata) {
      if (header.back() != '{') header += ',';
      header += quoted(key) + ':' + quoted(value);
    }
    header += '}';
  }
  std::uint64_t at = 0;
  for (const NamedArray* tensor : order) {
    const Array& array = tensor->array;
    const auto size = checked_array_bytes(array.shape, array.dtype, "safetensors to be written");
    if (tensor->name == kMetadata || !names.insert(tensor->name).second) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("safetensors to be written: the name {} is reserved or used twice",
                              shown(tensor->name)));
    }
    if (array.bytes.size() != size) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("safetensors to be written: tensor {} has {} bytes, expected {}",
                              shown(tensor->name),
                              array.bytes.size(),
                              size));
    }
    if (header.size() > 1) header += ',';
    header += fmt::format("{}:{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}}",
                          quoted(tensor->name),
                          code_of(array.dtype),
                          fmt::join(array.shape, ","),
                          at,
                          at + size);
    at += size;
  }
  header += '}';
  header.append((8 - header.size() % 8) % 8, ' ');

  std::string out(kLengthBytes, '\0');
  const std::uint64_t header_bytes = header.size();
  std::memcpy(out.data(), &header_bytes, kLengthBytes);
  out.reserve(kLengthBytes + header.size() + at);
  out += header;
  for (const NamedArray* tensor : order) out += tensor->array.bytes;
  return out;
}

void write_safetensors_rows(const std::filesystem::path& path, const RowStream& rows) {
  const std::array<std::uint64_t, 2> shape = {rows.rows, rows.cols};
  const std::uint64_t bytes = checked_array_bytes(shape, DType::kF32, "safetensors to be written");
  std::string header =
      fmt::format("{{\"features\":{{\"dtype\":\"{}\",\"shape\":[{},{}],\"data_offsets\":[0,{}]}}}}",
                  code_of(DType::kF32),
                  rows.rows,
                  rows.cols,
                  bytes);
  header.append((8 - header.size() % 8) % 8, ' ');
  const std::uint64_t header_bytes = header.size();
  std::string head(kLengthBytes, '\0');
  std::memcpy(head.data(), &header_bytes, kLengthBytes);
  write_file_pieces(path, [&](const std::function<void(std::string_view)>& write) {
    write(head + header);
    rows.each_block([&](std::span<const float> block) {
      write({reinterpret_cast<const char*>(block.data()), block.size_bytes()});
    });
  });
}

}  // namespace med3d
