#include "med3d/pipeline/settings.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <cmath>
#include <cstdio>
#include <limits>
#include <type_traits>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/limits.h"
#include "med3d/core/text.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;

template <class... Ts>
struct Overloaded : Ts... {
  using Ts::operator()...;
};
template <class... Ts>
Overloaded(Ts...) -> Overloaded<Ts...>;

[[noreturn]] void usage(const std::string& message) { throw Error(ErrorKind::kUsage, message); }

std::string toml_string(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (byte < 0x20 || byte == 0x7f) {
      char buffer[8];
      std::snprintf(buffer, sizeof(buffer), "\\u%04X", static_cast<unsigned>(byte));
      out += buffer;
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string type_name(const SettingRef& ref) {
  return std::visit(Overloaded{[](bool*) { return "true or false"; },
                               [](int*) { return "whole number"; },
                               [](std::uint64_t*) { return "whole number, 0 or more"; },
                               [](double*) { return "number"; },
                               [](std::string*) { return "text"; },
                               [](fs::path*) { return "path"; },
                               [](StringList*) { return "list of texts"; },
                               [](std::vector<int>*) { return "list of whole numbers"; },
                               [](std::vector<double>*) { return "list of numbers"; },
                               [](PathList*) { return "list of paths"; },
                               [](StringListMap*) { return "table of lists of texts"; }},
                    ref);
}

std::string node_type(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::table:
      return "a table";
    case toml::node_type::array:
      return "a list";
    case toml::node_type::string:
      return "the text " + toml_string(node.ref<std::string>());
    case toml::node_type::integer:
      return "the whole number " + std::to_string(node.ref<std::int64_t>());
    case toml::node_type::floating_point:
      return "the number " + format_double(node.ref<double>());
    case toml::node_type::boolean:
      return node.ref<bool>() ? "true" : "false";
    default:
      return "a date or time";
  }
}

fs::path resolved(const fs::path& folder, const std::string& text) {
  if (text.empty()) return {};
  const fs::path path(text);
  return (path.is_absolute() || folder.empty() ? path : folder / path).lexically_normal();
}

// One scalar of the wanted type out of a node; `where` opens every message.
class ScalarReader {
 public:
  ScalarReader(const SettingField& field, std::string where, fs::path folder)
      : field_(field), where_(std::move(where)), folder_(std::move(folder)) {}

  [[noreturn]] void wrong_type(const toml::node& node) const {
    usage(where_ + " is " + node_type(node) + ", expected " + type_name(field_.value));
  }

  void get(const toml::node& node, bool& out) const {
    if (!node.is_boolean()) wrong_type(node);
    out = node.ref<bool>();
  }
  void get(const toml::node& node, int& out) const {
    if (!node.is_integer()) wrong_type(node);
    const auto value = node.ref<std::int64_t>();
    if (value < std::numeric_limits<int>::min() || value > std::numeric_limits<int>::max()) {
      usage(where_ + " is " + std::to_string(value) + ", which does not fit in 32 bits");
    }
    check_range(static_cast<double>(value));
    out = static_cast<int>(value);
  }
  void get(const toml::node& node, std::uint64_t& out) const {
    if (!node.is_integer() || node.ref<std::int64_t>() < 0) wrong_type(node);
    out = static_cast<std::uint64_t>(node.ref<std::int64_t>());
    check_range(static_cast<double>(out));
  }
  void get(const toml::node& node, double& out) const {
    if (node.is_integer()) {
      out = static_cast<double>(node.ref<std::int64_t>());
    } else if (node.is_floating_point()) {
      out = node.ref<double>();
    } else {
      wrong_type(node);
    }
    if (!std::isfinite(out)) usage(where_ + " is " + format_double(out) + ", expected finite");
    check_range(out);
  }
  void get(const toml::node& node, std::string& out) const {
    if (!node.is_string()) wrong_type(node);
    out = node.ref<std::string>();
    const auto& choices = field_.rule.choices;
    if (choices.empty()) return;
    for (const auto& choice : choices) {
      if (choice == out) return;
    }
    usage(where_ + " is " + toml_string(out) + ", expected one of " + join(choices, ", ") +
          did_you_mean(out, choices));
  }
  void get(const toml::node& node, fs::path& out) const {
    if (!node.is_string()) wrong_type(node);
    out = resolved(folder_, node.ref<std::string>());
  }
  template <class T>
  void get(const toml::node& node, std::vector<T>& out) const {
    std::vector<T> values;
    const auto add = [&](const toml::node& element) {
      T value{};
      get(element, value);
      values.push_back(std::move(value));
    };
    if (const auto* list = node.as_array()) {
      for (const auto& element : *list) add(element);
    } else if (node.is_table()) {
      wrong_type(node);
    } else {
      add(node);
    }
    out = std::move(values);
  }
  void get(const toml::node& node, StringListMap& out) const {
    const auto* table = node.as_table();
    if (table == nullptr) wrong_type(node);
    StringListMap values;
    for (const auto& [key, element] : *table) {
      get(element, values[std::string(key.str())]);
    }
    out = std::move(values);
  }

 private:
  void check_range(double value) const {
    const auto& rule = field_.rule;
    if ((!rule.low || value >= *rule.low) && (!rule.high || value <= *rule.high)) return;
    std::string expected;
    if (rule.low && rule.high) {
      expected = format_double(*rule.low) + " to " + format_double(*rule.high);
    } else if (rule.low) {
      expected = format_double(*rule.low) + " or more";
    } else {
      expected = format_double(*rule.high) + " or less";
    }
    usage(where_ + " is " + format_double(value) + ", expected " + expected);
  }

  const SettingField& field_;
  std::string where_;
  fs::path folder_;
};

void assign(SettingField& field,
            const toml::node& node,
            const std::string& where,
            const fs::path& folder,
            Origin origin) {
  const ScalarReader reader(field, where, folder);
  std::visit([&](auto* target) { reader.get(node, *target); }, field.value);
  field.origin = origin;
}

std::string at_line(const std::string& source, const toml::source_region& region) {
  return source + ":" + std::to_string(region.begin.line) + ": ";
}

std::string dotted(const std::string& prefix, std::string_view key) {
  return prefix.empty() ? std::string(key) : prefix + "." + std::string(key);
}

StringList section_names(const SettingsSchema& schema) {
  StringList names;
  for (const auto& section : schema.sections()) names.push_back(section.name);
  return names;
}

StringList keys_of(const SettingsSchema& schema, const std::string& section) {
  StringList keys;
  for (const auto& field : schema.fields()) {
    if (field.section == section) keys.push_back(field.key);
  }
  return keys;
}

SettingField* find_field(SettingsSchema& schema, std::string_view section, std::string_view key) {
  for (auto& field : schema.fields()) {
    if (field.section == section && field.key == key) return &field;
  }
  return nullptr;
}

// Where the nearest key lies when it is not in this section at all.
std::string elsewhere(const SettingsSchema& schema, std::string_view key) {
  for (const auto& field : schema.fields()) {
    if (field.key == key) return " (it belongs to [" + field.section + "])";
  }
  return "";
}

[[noreturn]] void unknown_key(const SettingsSchema& schema,
                              const std::string& where,
                              const std::string& section,
                              std::string_view key) {
  const auto keys = keys_of(schema, section);
  std::string hint = did_you_mean(key, keys);
  if (hint.empty()) hint = elsewhere(schema, key);
  if (hint.empty()) hint = " (known keys: " + join(keys, ", ") + ")";
  usage(where + "[" + section + "] unknown key '" + std::string(key) + "'" + hint);
}

[[noreturn]] void unknown_section(const SettingsSchema& schema,
                                  const std::string& where,
                                  const std::string& section) {
  const auto names = section_names(schema);
  std::string hint = did_you_mean(section, names);
  if (hint.empty()) hint = " (known sections: " + join(names, ", ") + ")";
  usage(where + "unknown section [" + section + "]" + hint);
}

void read_table(SettingsSchema& schema,
                const toml::table& table,
                const std::string& prefix,
                const std::string& source,
                const fs::path& folder) {
  const auto names = section_names(schema);
  for (const auto& [toml_key, node] : table) {
    const std::string key(toml_key.str());
    const std::string full = dotted(prefix, key);
    const std::string where = at_line(source, toml_key.source());
    if (auto* field = find_field(schema, prefix, key)) {
      assign(*field, node, where + "[" + prefix + "] " + key, folder, Origin::kFile);
      continue;
    }
    bool is_section = false;
    bool is_parent = false;
    for (const auto& name : names) {
      is_section = is_section || name == full;
      is_parent = is_parent || name.starts_with(full + ".");
    }
    if (is_section || is_parent) {
      const auto* child = node.as_table();
      if (child == nullptr) {
        usage(where + "[" + full + "] is " + node_type(node) + ", expected a section");
      }
      read_table(schema, *child, full, source, folder);
      continue;
    }
    bool prefix_is_section = false;
    for (const auto& name : names) prefix_is_section = prefix_is_section || name == prefix;
    if (prefix_is_section) unknown_key(schema, where, prefix, key);
    if (node.is_table() || node.is_array_of_tables()) unknown_section(schema, where, full);
    usage(where + "key '" + key + "' stands outside any section" + elsewhere(schema, key));
  }
}

// "a, b" as a TOML list of the kind the field takes.
std::string list_text(const SettingRef& ref, std::string_view value) {
  const bool numbers = std::holds_alternative<std::vector<int>*>(ref) ||
                       std::holds_alternative<std::vector<double>*>(ref);
  std::string out = "[";
  if (!trim(value).empty()) {
    for (const auto& part : split(value, ',')) {
      if (out.size() > 1) out += ", ";
      out += numbers ? std::string(trim(part)) : toml_string(trim(part));
    }
  }
  return out + "]";
}

void apply_override(SettingsSchema& schema, const std::string& text) {
  const std::string where = "--set " + text + ": ";
  const auto equals = text.find('=');
  const auto dot = equals == std::string::npos ? equals : text.substr(0, equals).rfind('.');
  if (equals == std::string::npos || dot == std::string::npos || dot == 0 || dot + 1 == equals) {
    usage("--set " + text + ": expected section.key=value");
  }
  const std::string section(trim(std::string_view(text).substr(0, dot)));
  const std::string key(trim(std::string_view(text).substr(dot + 1, equals - dot - 1)));
  const std::string_view value = trim(std::string_view(text).substr(equals + 1));
  auto* field = find_field(schema, section, key);
  if (field == nullptr) {
    for (const auto& known : schema.sections()) {
      if (known.name == section) unknown_key(schema, where, section, key);
    }
    unknown_section(schema, where, section);
  }
  const bool text_like = std::holds_alternative<std::string*>(field->value) ||
                         std::holds_alternative<fs::path*>(field->value);
  const bool list_like = std::holds_alternative<StringList*>(field->value) ||
                         std::holds_alternative<PathList*>(field->value) ||
                         std::holds_alternative<std::vector<int>*>(field->value) ||
                         std::holds_alternative<std::vector<double>*>(field->value);
  // A shell has eaten the quotes: text stands bare unless it is toml_string TOML.
  std::string toml_value(value);
  const bool is_quoted = value.size() > 1 && value.front() == '"' && value.back() == '"';
  if (text_like && !is_quoted) toml_value = toml_string(value);
  if (list_like && (value.empty() || value.front() != '[') && !is_quoted) {
    toml_value = list_text(field->value, value);
  }
  toml::table parsed;
  try {
    parsed = toml::parse("value = " + toml_value + "\n");
  } catch (const toml::parse_error&) {
    usage(where + "expected " + type_name(field->value));
  }
  const auto* node = parsed.get("value");
  if (node == nullptr || parsed.size() != 1) usage(where + "expected one value");
  assign(*field, *node, where + "[" + section + "] " + key, {}, Origin::kFlag);
}

// A path as it is written into a file that lies in `folder`.
std::string relative_text(const fs::path& path, const fs::path& folder) {
  if (path.empty()) return "";
  if (folder.empty()) return path.generic_string();
  const auto relative = path.lexically_relative(folder.lexically_normal());
  if (relative.empty() || *relative.begin() == "..") return path.generic_string();
  return relative.generic_string();
}

std::string value_text(const SettingRef& ref, const fs::path& folder) {
  const auto list = [](const auto& values, const auto& text) {
    std::string out = "[";
    for (const auto& value : values) {
      if (out.size() > 1) out += ", ";
      out += text(value);
    }
    return out + "]";
  };
  const auto from_path = [&](const fs::path& p) { return toml_string(relative_text(p, folder)); };
  return std::visit(Overloaded{[](bool* v) { return std::string(*v ? "true" : "false"); },
                               [](int* v) { return std::to_string(*v); },
                               [](std::uint64_t* v) { return std::to_string(*v); },
                               [](double* v) { return format_double(*v); },
                               [](std::string* v) { return toml_string(*v); },
                               [&](fs::path* v) { return from_path(*v); },
                               [&](StringList* v) { return list(*v, toml_string); },
                               [&](std::vector<int>* v) {
                                 return list(*v, [](int x) { return std::to_string(x); });
                               },
                               [&](std::vector<double>* v) { return list(*v, format_double); },
                               [&](PathList* v) { return list(*v, from_path); },
                               [&](StringListMap* v) {
                                 std::string out = "{";
                                 for (const auto& [key, values] : *v) {
                                   out += (out.size() > 1 ? ", " : " ") + toml_string(key) + " = " +
                                          list(values, toml_string);
                                 }
                                 return out + (v->empty() ? "}" : " }");
                               }},
                    ref);
}

Json value_json(const SettingRef& ref, const fs::path& folder) {
  return std::visit(Overloaded{[&](fs::path* v) { return Json(relative_text(*v, folder)); },
                               [&](PathList* v) {
                                 Json out = Json::array();
                                 for (const auto& path : *v)
                                   out.push_back(relative_text(path, folder));
                                 return out;
                               },
                               [&](StringListMap* v) {
                                 Json out = Json::object();
                                 for (const auto& [key, values] : *v) out[key] = values;
                                 return out;
                               },
                               [](auto* v) { return Json(*v); }},
                    ref);
}

// '|' would end a cell of a Markdown table.
std::string cell(std::string_view text) {
  std::string out;
  for (const char c : text) out += c == '|' ? std::string("\\|") : std::string(1, c);
  return out;
}

}  // namespace

SettingRule in_range(double low, double high) {
  SettingRule rule;
  rule.low = low;
  rule.high = high;
  return rule;
}

SettingRule at_least(double low) {
  SettingRule rule;
  rule.low = low;
  return rule;
}

SettingRule one_of(StringList choices) {
  SettingRule rule;
  rule.choices = std::move(choices);
  return rule;
}

SettingRule required() {
  SettingRule rule;
  rule.required = true;
  return rule;
}

std::string to_string(Origin origin) {
  if (origin == Origin::kFile) return "file";
  if (origin == Origin::kFlag) return "--set";
  return "default";
}

void SettingsSchema::section(std::string name, std::string help) {
  for (const auto& known : sections_) {
    if (known.name == name) usage("settings section [" + name + "] is described twice");
  }
  sections_.push_back({std::move(name), std::move(help)});
}

void SettingsSchema::add(std::string key, SettingRef value, std::string help, SettingRule rule) {
  if (sections_.empty()) usage("settings key '" + key + "' is described before any section");
  SettingField field;
  field.section = sections_.back().name;
  field.key = std::move(key);
  field.value = value;
  field.help = std::move(help);
  field.rule = std::move(rule);
  field.default_text = value_text(value, {});
  if (find_field(*this, field.section, field.key) != nullptr) {
    usage("settings key [" + field.section + "] " + field.key + " is described twice");
  }
  fields_.push_back(std::move(field));
}

namespace {

void read_text(SettingsSchema& schema,
               std::string_view text,
               const std::string& source,
               const fs::path& folder) {
  toml::table table;
  try {
    table = toml::parse(text, source);
  } catch (const toml::parse_error& error) {
    throw Error(ErrorKind::kFormat,
                source + ":" + std::to_string(error.source().begin.line) + ":" +
                    std::to_string(error.source().begin.column) +
                    ": not TOML: " + std::string(error.description()));
  }
  read_table(schema, table, "", source, folder);
}

}  // namespace

void read_settings_text(SettingsSchema& schema,
                        std::string_view text,
                        const std::string& source,
                        const fs::path& folder,
                        std::span<const std::string> overrides) {
  read_text(schema, text, source, folder);
  override_settings(schema, overrides);
  for (const auto& field : schema.fields()) {
    if (field.rule.required && field.origin == Origin::kDefault) {
      usage(source + ": [" + field.section + "] " + field.key + " is missing: " + field.help);
    }
  }
}

void overlay_settings(SettingsSchema& schema, const fs::path& toml_file) {
  read_text(schema,
            read_file(toml_file, limits().config_bytes),
            toml_file.filename().string(),
            toml_file.parent_path());
}

void override_settings(SettingsSchema& schema, std::span<const std::string> overrides) {
  for (const auto& text : overrides) apply_override(schema, text);
}

void read_settings(SettingsSchema& schema,
                   const fs::path& toml_file,
                   std::span<const std::string> overrides) {
  const std::string text = read_file(toml_file, limits().config_bytes);
  read_settings_text(
      schema, text, toml_file.filename().string(), toml_file.parent_path(), overrides);
}

std::string settings_toml(const SettingsSchema& schema, const fs::path& folder, bool all) {
  std::string out;
  for (const auto& section : schema.sections()) {
    std::string body;
    for (const auto& field : schema.fields()) {
      if (field.section != section.name) continue;
      const std::string text = value_text(field.value, folder);
      if (!all && text == field.default_text) continue;
      body += field.key + " = " + text + "\n";
    }
    if (body.empty()) continue;
    if (!out.empty()) out += "\n";
    out += "[" + section.name + "]\n" + body;
  }
  return out;
}

Json settings_json(const SettingsSchema& schema, const fs::path& folder) {
  Json out = Json::object();
  for (const auto& field : schema.fields()) {
    Json entry = Json::object();
    entry["value"] = value_json(field.value, folder);
    entry["origin"] = to_string(field.origin);
    out[field.section][field.key] = std::move(entry);
  }
  return out;
}

std::string settings_markdown(const SettingsSchema& schema) {
  std::string out =
      "# Settings\n\n"
      "Every key of the settings file, made from the program itself. A path is relative to the "
      "file's "
      "folder.\nA list also takes a single value. `--set section.key=value` goes before the "
      "file.\n";
  for (const auto& section : schema.sections()) {
    out += "\n## [" + section.name + "]\n\n" + section.help + "\n\n";
    out += "| key | type | default | meaning |\n| --- | --- | --- | --- |\n";
    for (const auto& field : schema.fields()) {
      if (field.section != section.name) continue;
      std::string type = type_name(field.value);
      const auto& rule = field.rule;
      if (!rule.choices.empty()) {
        // An empty choice means "not given".
        StringList shown;
        for (const auto& choice : rule.choices) {
          if (!choice.empty()) shown.push_back(choice);
        }
        type += ": " + join(shown, ", ");
      }
      if (rule.low && rule.high) {
        type += ", " + format_double(*rule.low) + " to " + format_double(*rule.high);
      } else if (rule.low) {
        type += ", " + format_double(*rule.low) + " or more";
      }
      const std::string value =
          rule.required ? std::string("required") : fmt::format("`{}`", cell(field.default_text));
      out +=
          fmt::format("| `{}` | {} | {} | {} |\n", field.key, cell(type), value, cell(field.help));
    }
  }
  return out;
}

}  // namespace med3d::pipeline
