// Small messages of numbers and texts between two processes of this program, field after field.
//
// No names, no types: both sides are the same build and read what the other wrote, in its order.
// The reader trusts nothing all the same: the other side may have been taken over by a file.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include "med3d/core/error.h"

namespace med3d {

class MessageWriter {
 public:
  template <class T>
  MessageWriter& value(T v) {
    static_assert(std::is_arithmetic_v<T> || std::is_enum_v<T>);
    char bytes[sizeof(T)];
    std::memcpy(bytes, &v, sizeof(T));
    bytes_.append(bytes, sizeof(T));
    return *this;
  }
  MessageWriter& text(std::string_view v) {
    value(static_cast<std::uint64_t>(v.size()));
    bytes_.append(v);
    return *this;
  }
  template <class T>
  MessageWriter& maybe(const std::optional<T>& v) {
    return value(v.has_value()).value(v.value_or(T{}));
  }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

// Throws Error(kFormat, "an answer that makes no sense") where a field is not there or too large.
class MessageReader {
 public:
  // bytes must live as long as this.
  explicit MessageReader(std::string_view bytes) : rest_(bytes) {}

  template <class T>
  T value() {
    static_assert(std::is_arithmetic_v<T>);
    const std::string_view raw = take(sizeof(T));
    if constexpr (std::is_same_v<T, bool>) {
      return raw[0] != 0;  // any other byte would be no bool at all
    } else {
      T v{};
      std::memcpy(&v, raw.data(), sizeof(T));
      return v;
    }
  }
  // An enumerator from 0 to `last`.
  template <class T>
  T choice(T last) {
    using Number = std::underlying_type_t<T>;
    const auto number = value<Number>();
    if (number < 0 || number > static_cast<Number>(last)) nonsense();
    return static_cast<T>(number);
  }
  // A number of things of which each takes at least a byte of what follows.
  std::uint64_t count(std::uint64_t most) {
    const auto n = value<std::uint64_t>();
    if (n > most || n > rest_.size()) nonsense();
    return n;
  }
  std::string text() {
    const auto size = value<std::uint64_t>();
    return std::string(take(size));
  }
  template <class T>
  std::optional<T> maybe() {
    const bool there = value<bool>();
    const T v = value<T>();
    return there ? std::optional<T>(v) : std::nullopt;
  }
  // Throws if fields are left.
  void end() const {
    if (!rest_.empty()) nonsense();
  }
  [[noreturn]] static void nonsense() {
    throw Error(ErrorKind::kFormat, "an answer that makes no sense");
  }

 private:
  std::string_view take(std::uint64_t size) {
    if (size > rest_.size()) nonsense();
    const std::string_view out = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return out;
  }

  std::string_view rest_;
};

}  // namespace med3d
