// Settings people write: one TOML file, `--set section.key=value` on top, every key listed once.
//
// A struct lists its keys in describe(): name, the variable itself, a sentence of help, the values
// allowed. From that one list the file is read and checked, the resolved settings are written with
// the origin of each value, and docs/settings.md is made. To add a section, write
//
//   struct FusionSettings {
//     double dropout = 0.3;
//     void describe(SettingsSchema& schema) {
//       schema.section("fusion", "How the modalities are joined.");
//       schema.field("dropout", dropout, "Share of units dropped while training.", in_range(0,
//       0.95));
//     }
//   };
//
// and call its describe() on the schema before read_settings. A key in the file that no struct
// lists is an error: a mistyped key never falls back to a default in silence.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "med3d/core/json.h"

namespace med3d::pipeline {

using StringList = std::vector<std::string>;
using PathList = std::vector<std::filesystem::path>;
using StringListMap = std::map<std::string, StringList>;

// The variable behind a key. A path in the file is relative to the file's folder; one given by
// --set is relative to the current folder. A list also takes a single value.
using SettingRef = std::variant<bool*,
                                int*,
                                std::uint64_t*,
                                double*,
                                std::string*,
                                std::filesystem::path*,
                                StringList*,
                                std::vector<int>*,
                                std::vector<double>*,
                                PathList*,
                                StringListMap*>;

// What a value may be; checked for each element of a list. Both bounds belong to the range.
struct SettingRule {
  std::optional<double> low, high;
  StringList choices;
  bool required = false;  // read_settings fails when neither the file nor --set gives the key
};
SettingRule in_range(double low, double high);
SettingRule at_least(double low);
SettingRule one_of(StringList choices);
SettingRule required();

enum class Origin { kDefault, kFile, kFlag };
std::string to_string(Origin origin);  // "default", "file", "--set"

struct SettingField {
  std::string section;  // "wsi", or "arms.mlp" for [arms.mlp]
  std::string key;
  SettingRef value;
  std::string help;
  SettingRule rule;
  std::string default_text;  // the value as TOML before anything was read
  Origin origin = Origin::kDefault;
};

struct SettingSection {
  std::string name;
  std::string help;
};

// The list of all keys. It points into the structs that described themselves: keep it no longer.
class SettingsSchema {
 public:
  // Starts a section; the fields after it belong to it. Throws Error(kUsage) if it is listed twice.
  void section(std::string name, std::string help);
  template <class T>
  void field(std::string key, T& value, std::string help, SettingRule rule = {}) {
    add(std::move(key), &value, std::move(help), std::move(rule));
  }

  const std::vector<SettingSection>& sections() const { return sections_; }
  std::vector<SettingField>& fields() { return fields_; }
  const std::vector<SettingField>& fields() const { return fields_; }

 private:
  void add(std::string key, SettingRef value, std::string help, SettingRule rule);

  std::vector<SettingSection> sections_;
  std::vector<SettingField> fields_;
};

// Reads `toml_file` and then the overrides, in order, into the described variables.
// Throws Error(kUsage) "cohort.toml:12: [clinical] unknown key 'tabel' (did you mean 'table'?)" for
// an unknown section or key, a wrong type, a value out of range or not among the choices, and a
// missing required key; Error(kFormat) with line and column where the file is not TOML;
// Error(kNotFound) where there is none. The file may hold limits().config_bytes.
void read_settings(SettingsSchema& schema,
                   const std::filesystem::path& toml_file,
                   std::span<const std::string> overrides = {});

// The same from text. `source` names it in messages, `folder` is what paths are relative to.
void read_settings_text(SettingsSchema& schema,
                        std::string_view text,
                        const std::string& source,
                        const std::filesystem::path& folder,
                        std::span<const std::string> overrides = {});

// A further file on top of what was read: the keys it gives, and nothing else, are changed. Errors
// as read_settings, but that no key is asked for.
void overlay_settings(SettingsSchema& schema, const std::filesystem::path& toml_file);

// Further "section.key=value" on top of what was read. Errors as read_settings.
void override_settings(SettingsSchema& schema, std::span<const std::string> overrides);

// All values as TOML that reads back the same; keys that hold their default are left out unless
// `all`. Paths are written relative to `folder` where they lie in it.
std::string settings_toml(const SettingsSchema& schema,
                          const std::filesystem::path& folder,
                          bool all = false);

// {"section": {"key": {"value": ..., "origin": "default" | "file" | "--set"}}}; paths as above.
Json settings_json(const SettingsSchema& schema, const std::filesystem::path& folder);

// docs/settings.md: one table of keys, types, defaults and help for each section.
std::string settings_markdown(const SettingsSchema& schema);

}  // namespace med3d::pipeline
