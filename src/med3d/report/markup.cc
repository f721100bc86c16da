#include "med3d/report/markup.h"

#include <fmt/format.h>

#include <array>
#include <cmath>

#include "med3d/core/error.h"
#include "med3d/core/hash.h"
#include "med3d/core/text.h"

namespace med3d::report {
namespace {

constexpr std::string_view kReplacement = "\uFFFD";

// Bytes of the UTF-8 sequence at text[i], 0 if it is not a valid one (overlong forms, surrogates
// and values past U+10FFFF included: a lenient reader could see other characters in them).
std::size_t utf8_length(std::string_view text, std::size_t i) {
  const auto byte = [&](std::size_t k) { return static_cast<unsigned char>(text[k]); };
  const unsigned lead = byte(i);
  if (lead < 0x80) return 1;
  const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || i + length > text.size()) return 0;
  for (std::size_t k = 1; k < length; ++k) {
    if ((byte(i + k) & 0xC0U) != 0x80U) return 0;
  }
  const unsigned second = byte(i + 1);
  if (lead == 0xE0 && second < 0xA0) return 0;
  if (lead == 0xED && second > 0x9F) return 0;
  if (lead == 0xF0 && second < 0x90) return 0;
  if (lead == 0xF4 && second > 0x8F) return 0;
  return length;
}

}  // namespace

std::string escape(std::string_view text) {
  std::string out;
  out.reserve(text.size() + text.size() / 8);
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = utf8_length(text, i);
    const char c = text[i];
    if (length == 0) {
      out += kReplacement;
      ++i;
      continue;
    }
    const std::string_view character = text.substr(i, length);
    i += length;
    if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else if (c == '"') {
      out += "&quot;";
    } else if (c == '\'') {
      out += "&#39;";
    } else if (length == 1 && ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7F)) {
      out += kReplacement;
    } else if (character == "\xEF\xBF\xBE" || character == "\xEF\xBF\xBF") {
      out += kReplacement;
    } else {
      out += character;
    }
  }
  return out;
}

std::string csv_cell(std::string_view text) {
  std::string cell(text);
  const bool formula =
      !cell.empty() && std::string_view("=+-@\t\r").find(cell[0]) != std::string_view::npos;
  if (formula && !parse_double(cell)) cell.insert(cell.begin(), '\'');
  if (cell.find_first_of(",\"\r\n") == std::string::npos) return cell;
  std::string quoted = "\"";
  for (const char c : cell) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

std::string slug(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool upper = c >= 'A' && c <= 'Z';
    const bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    if (plain || upper) {
      out += upper ? static_cast<char>(c - 'A' + 'a') : c;
    } else if (!out.empty() && out.back() != '-') {
      out += '-';
    }
    if (out.size() == 60) break;
  }
  while (!out.empty() && out.back() == '-') out.pop_back();
  return out.empty() ? "x" : out;
}

std::string shorten(std::string_view text, std::size_t max_characters) {
  std::size_t characters = 0;
  std::size_t cut = 0;  // end of the first max_characters - 1 code points
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = utf8_length(text, i);
    i += length == 0 ? 1 : length;
    ++characters;
    if (characters + 1 == max_characters) cut = i;
  }
  if (characters <= max_characters) return std::string(text);
  return std::string(trim(text.substr(0, cut))) + "\u2026";
}

std::string base64(std::span<const std::uint8_t> bytes) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      group = (group << 8U) | (i + k < bytes.size() ? bytes[i + k] : 0U);
    }
    for (std::size_t k = 0; k < 4; ++k) {
      const bool padding = i + k > bytes.size();
      out += padding ? '=' : kDigits[(group >> (18U - 6U * k)) & 63U];
    }
  }
  return out;
}

std::string csp_hash(std::string_view content) {
  const std::string hex = sha256_hex(content);
  std::array<std::uint8_t, 32> digest{};
  for (std::size_t i = 0; i < digest.size(); ++i) {
    const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
    digest[i] = static_cast<std::uint8_t>(digit(hex[2 * i]) * 16 + digit(hex[2 * i + 1]));
  }
  return fmt::format("'sha256-{}'", base64(digest));
}

std::string fixed(std::optional<double> value, int decimals) {
  if (!value || !std::isfinite(*value)) return "\u2013";
  std::string text = fmt::format("{:.{}f}", *value, decimals);
  if (text[0] != '-') return text;
  text.erase(0, 1);
  const bool zero = text.find_first_not_of("0.") == std::string::npos;
  return zero ? text : fmt::format("\u2212{}", text);
}

std::string interval(std::optional<double> low, std::optional<double> high, int decimals) {
  if (!low || !high) return "";
  const std::string_view between = *low < 0.0 || *high < 0.0 ? " to " : "\u2013";
  return fmt::format("{}{}{}", fixed(low, decimals), between, fixed(high, decimals));
}

std::string p_value(std::optional<double> p) {
  if (!p) return "\u2013";
  return *p < 0.001 ? "<0.001" : fixed(p, 3);
}

std::string count(const std::optional<std::int64_t>& value) {
  if (!value) return "\u2013";
  const std::string digits = std::to_string(*value);
  std::string out;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) out += ',';
    out += digits[i];
  }
  return out;
}

std::string percent(std::optional<double> share) {
  if (!share || !std::isfinite(*share)) return "\u2013";
  return fixed(*share * 100.0, 1) + "\u00A0%";
}

std::string fill_template(std::string_view text, const std::map<std::string, std::string>& values) {
  const auto value_of = [&](std::string_view name) -> std::string_view {
    const auto found = values.find(std::string(name));
    return found == values.end() ? std::string_view{} : std::string_view(found->second);
  };
  std::string out;
  std::size_t at = 0;
  while (true) {
    const std::size_t open = text.find("{{", at);
    out += text.substr(at, open == std::string_view::npos ? open : open - at);
    if (open == std::string_view::npos) return out;
    const std::size_t close = text.find("}}", open);
    if (close == std::string_view::npos) {
      throw Error(ErrorKind::kFormat, "page template: '{{' without '}}'");
    }
    const std::string_view name = text.substr(open + 2, close - open - 2);
    at = close + 2;
    if (!name.starts_with('#')) {
      out += value_of(name);
      continue;
    }
    const std::string end_tag = fmt::format("{{{{/{}}}}}", name.substr(1));
    const std::size_t end = text.find(end_tag, at);
    if (end == std::string_view::npos) {
      throw Error(ErrorKind::kFormat, fmt::format("page template: {} is missing", end_tag));
    }
    if (!value_of(name.substr(1)).empty()) {
      out += fill_template(text.substr(at, end - at), values);
    }
    at = end + end_tag.size();
  }
}

}  // namespace med3d::report
