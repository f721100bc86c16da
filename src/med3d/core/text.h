// Small text tasks that several modules share.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace med3d {

// The shortest decimal that reads back as the same double ("0.1", "1e-09"); "nan", "inf", "-inf".
// The same bytes on every machine: every CSV and JSON number is written by it.
std::string format_double(double value);

// A number in full ("3.5", "-1e-3"); nothing for anything else, trailing text included. Spaces at
// both ends are ignored; "nan" and "inf" in any case are read as such.
std::optional<double> parse_double(std::string_view text);

std::string_view trim(std::string_view text);
std::string to_lower(std::string_view text);
std::vector<std::string> split(std::string_view text, char separator);
std::string join(std::span<const std::string> parts, std::string_view separator);

// Levenshtein distance in bytes.
std::size_t edit_distance(std::string_view a, std::string_view b);

// The candidate nearest to a mistyped name, if near enough to be meant: distance at most a third of
// the length, at least 2. Compared without case.
std::optional<std::string> nearest_name(std::string_view name,
                                        std::span<const std::string> candidates);

// " (did you mean 'seed'?)", or "" where nothing is near.
std::string did_you_mean(std::string_view name, std::span<const std::string> candidates);

}  // namespace med3d
