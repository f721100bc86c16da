// Text into HTML and SVG without surprises: escaping, numbers as people read them, a template
// filler that never looks at what it inserted, and the hashes of a content security policy.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace med3d::report {

// For element content and for double- or single-quoted attribute values, in HTML and in XML alike:
// & < > " ' become references; control characters, invalid UTF-8 and the two code points that XML
// forbids become U+FFFD. Nothing else in this module puts outside text into a page.
std::string escape(std::string_view text);

// RFC 4180 cell. A text that a spreadsheet would run as a formula (leading = + - @ or a tab, and
// not a number) gets a leading apostrophe.
std::string csv_cell(std::string_view text);

// Lower-case letters, digits and single hyphens, at most 60 of them; "x" for an empty result. Safe
// as an id and as a file name on every system.
std::string slug(std::string_view text);

// At most `max_characters` code points, the last one an ellipsis if something was cut.
std::string shorten(std::string_view text, std::size_t max_characters);

std::string base64(std::span<const std::uint8_t> bytes);  // RFC 4648 section 4, padded

// "'sha256-...'" of an inline style or script, as a Content-Security-Policy source.
std::string csp_hash(std::string_view content);

// Fixed decimals with a true minus sign; "-0.000" is "0.000". An absent number is an en dash.
std::string fixed(std::optional<double> value, int decimals);

// "0.71–0.85", or "−0.03 to 0.07" where a bound is negative; empty if a bound is absent.
std::string interval(std::optional<double> low, std::optional<double> high, int decimals);

std::string p_value(std::optional<double> p);                 // "0.041", "<0.001", en dash
std::string count(const std::optional<std::int64_t>& value);  // "12,345" or en dash
std::string percent(std::optional<double> share);             // "12.4 %" or en dash

// Fills {{name}} with values[name] (markup, inserted as it is, never scanned again) and keeps
// {{#name}}...{{/name}} only if values[name] is there and not empty. A name that is not there is
// empty. Throws Error(kFormat) on an unclosed tag or block, which only a broken template can have.
std::string fill_template(std::string_view text, const std::map<std::string, std::string>& values);

}  // namespace med3d::report
