// The only file that knows CLI11. It splits the command line into options and values; what a value
// may be is checked here too, so that every message has one shape.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>
#include <deque>

#include "med3d/cli/command.h"
#include "med3d/core/text.h"

namespace med3d {
namespace {

std::string shown(const OptionSpec& spec) { return spec.positional ? spec.name : "--" + spec.name; }

[[noreturn]] void refuse(const OptionSpec& spec,
                         std::string_view found,
                         std::string_view expected) {
  throw Error(ErrorKind::kUsage,
              fmt::format("{}: found '{}', expected {}", shown(spec), found, expected));
}

std::string range_of(const OptionSpec& spec) {
  const std::string unit = spec.unit.empty() ? "" : " (" + spec.unit + ")";
  const bool low = std::isfinite(spec.least_real);
  const bool high = std::isfinite(spec.most_real);
  const std::string least = format_double(spec.least_real);
  const std::string most = format_double(spec.most_real);
  if (low && high) return fmt::format("a number from {} to {}{}", least, most, unit);
  if (low) return fmt::format("a number of at least {}{}", least, unit);
  if (high) return fmt::format("a number of at most {}{}", most, unit);
  return "a finite number" + unit;
}

void check_choice(const OptionSpec& spec, std::string_view value) {
  const auto& choices = spec.choices;
  if (choices.empty() || std::find(choices.begin(), choices.end(), value) != choices.end()) return;
  throw Error(ErrorKind::kUsage,
              fmt::format("{}: found '{}'{}, expected one of: {}",
                          shown(spec),
                          value,
                          did_you_mean(value, choices),
                          fmt::join(choices, ", ")));
}

bool is_setting_key(std::string_view key) {
  const auto part = [](std::string_view word) {
    return !word.empty() && std::all_of(word.begin(), word.end(), [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
    });
  };
  const auto words = split(key, '.');
  return words.size() >= 2 && std::all_of(words.begin(), words.end(), part);
}

void check_value(const OptionSpec& spec, const std::string& value) {
  switch (spec.kind) {
    case OptionKind::kInteger: {
      const std::string expected =
          fmt::format("a whole number from {} to {}", spec.least, spec.most);
      std::int64_t number = 0;
      const char* end = value.data() + value.size();
      const auto result = std::from_chars(value.data(), end, number);
      if (result.ec != std::errc() || result.ptr != end || number < spec.least ||
          number > spec.most) {
        refuse(spec, value, expected);
      }
      return;
    }
    case OptionKind::kReal: {
      const auto number = parse_double(value);
      if (!number || !std::isfinite(*number) || *number < spec.least_real ||
          *number > spec.most_real) {
        refuse(spec, value, range_of(spec));
      }
      return;
    }
    case OptionKind::kChoice:
      check_choice(spec, value);
      return;
    case OptionKind::kList:
      for (const auto& element : split(value, ',')) {
        if (trim(element).empty()) refuse(spec, value, "values separated by single commas");
        check_choice(spec, trim(element));
      }
      return;
    case OptionKind::kSettings: {
      const auto equals = value.find('=');
      if (equals == std::string::npos || !is_setting_key(value.substr(0, equals))) {
        refuse(spec, value, "section.key=value, the key in lower case");
      }
      return;
    }
    case OptionKind::kPath:
    case OptionKind::kText:
      if (value.empty()) refuse(spec, value, "a value");
      // "--out --json": a forgotten value must not swallow the next option.
      if (value.starts_with("--") && !spec.positional) {
        refuse(spec, value, "a value, not another option");
      }
      return;
    case OptionKind::kFlag:
      return;
  }
}

// Positionals are filled from the left, those given by an alias left out; only the last may take
// several.
void assign_positionals(const Schema& schema,
                        const std::vector<std::string>& words,
                        std::map<std::string, std::vector<std::string>, std::less<>>& values) {
  std::size_t next = 0;
  for (const auto& spec : schema.options()) {
    if (!spec.positional) continue;
    if (!spec.repeated && values.contains(spec.name)) continue;
    while (next < words.size()) {
      values[spec.name].push_back(words[next++]);
      if (!spec.repeated) break;
    }
  }
  if (next < words.size()) {
    throw Error(ErrorKind::kUsage,
                fmt::format("unexpected argument '{}': {} expected",
                            words[next],
                            next == 0 ? "none is"
                                      : fmt::format("only {} {}", next, next == 1 ? "is" : "are")));
  }
}

// What an option may be called, as typed. A positional has only its aliases.
std::vector<std::string> names_of(const OptionSpec& spec) {
  std::vector<std::string> names;
  if (!spec.positional) names.push_back("--" + spec.name);
  for (const auto& alias : spec.aliases) names.push_back("--" + alias);
  return names;
}

// Options typed with underscores, as declared. What is not declared stays as it was typed: the
// message about it should show that.
std::vector<std::string> with_hyphens(const Schema& schema,
                                      std::span<const std::string> arguments) {
  std::vector<std::string> out(arguments.begin(), arguments.end());
  for (auto& argument : out) {
    if (argument == "--") break;
    if (!argument.starts_with("--")) continue;
    const std::size_t end = std::min(argument.find('='), argument.size());
    std::string name = argument.substr(2, end - 2);
    std::replace(name.begin(), name.end(), '_', '-');
    if (schema.find(name) != nullptr) argument.replace(2, end - 2, name);
  }
  return out;
}

}  // namespace

Options parse_options(const Schema& schema, std::span<const std::string> typed) {
  const auto arguments = with_hyphens(schema, typed);
  std::vector<std::string> known;
  for (const auto& spec : schema.options()) {
    const auto names = names_of(spec);
    known.insert(known.end(), names.begin(), names.end());
  }

  CLI::App app;
  app.set_help_flag("");  // ours is an option like the others
  app.allow_extras(true);
  std::deque<std::vector<std::string>> storage;  // addresses must stay
  std::deque<std::size_t> counts;
  std::vector<std::pair<const OptionSpec*, std::vector<std::string>*>> bound;
  std::vector<std::pair<const OptionSpec*, std::size_t*>> bound_flags;
  std::vector<std::string> words;
  for (const auto& spec : schema.options()) {
    auto called = names_of(spec);
    if (called.empty()) continue;
    if (spec.name == "help") called.insert(called.begin(), "-h");
    const std::string names = join(called, ",");
    if (spec.kind == OptionKind::kFlag) {
      bound_flags.emplace_back(&spec, &counts.emplace_back(0));
      app.add_flag(names, *bound_flags.back().second)->disable_flag_override();
    } else {
      bound.emplace_back(&spec, &storage.emplace_back());
      // One value each time it is given; "[a]" is a value and not CLI11's vector syntax.
      app.add_option(names, *bound.back().second)->expected(1)->take_all()->allow_extra_args(false);
    }
  }
  for (const auto& argument : arguments) {
    if (argument == "--") break;
    const auto equals = argument.find('=');
    if (!argument.starts_with("--") || equals == std::string::npos) continue;
    const OptionSpec* spec = schema.find(argument.substr(2, equals - 2));
    if (spec == nullptr) continue;
    const bool is_flag = spec->kind == OptionKind::kFlag;
    if (is_flag) throw Error(ErrorKind::kUsage, shown(*spec) + ": takes no value");
    // CLI11 would take the next argument for the value.
    if (equals + 1 == argument.size()) refuse(*spec, "", "a value");
  }
  try {
    // CLI11 reads from the end. Positionals are not declared to it: it would split "[a,b]".
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::ArgumentMismatch&) {
    // Only the end of the line can leave an option without its value.
    throw Error(ErrorKind::kUsage, fmt::format("{}: expected a value after it", arguments.back()));
  } catch (const CLI::ParseError& error) {
    throw Error(ErrorKind::kUsage, error.what());
  }

  std::map<std::string, std::vector<std::string>, std::less<>> values;
  for (const auto& [spec, count] : bound_flags) {
    if (*count > 0) values[spec->name] = {"true"};
  }
  if (values.contains("help")) return Options(schema, std::move(values));

  bool only_words = false;  // after "--"
  for (const auto& extra : app.remaining()) {
    if (extra == "--" && !only_words) {
      only_words = true;
      continue;
    }
    if (extra.starts_with('-') && extra != "-" && !only_words) {
      const std::string name = extra.substr(0, extra.find('='));
      throw Error(ErrorKind::kUsage,
                  fmt::format("unknown option '{}'{}", name, did_you_mean(name, known)));
    }
    words.push_back(extra);
  }
  for (const auto& [spec, given] : bound) {
    if (given->empty()) continue;
    for (const auto& value : *given) {
      if (spec->positional && value.starts_with("--")) {
        refuse(*spec, value, "a value, not another option");
      }
    }
    if (given->size() > 1 && !spec->repeated) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("{}: given {} times, expected once", shown(*spec), given->size()));
    }
    values[spec->name] = *given;
  }
  assign_positionals(schema, words, values);
  for (const auto& spec : schema.options()) {
    const auto at = values.find(spec.name);
    if (at == values.end()) {
      if (spec.required) {
        throw Error(ErrorKind::kUsage, fmt::format("{} is required", shown(spec)));
      }
      continue;
    }
    for (const auto& value : at->second) check_value(spec, value);
  }
  return Options(schema, std::move(values));
}

}  // namespace med3d
