#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <cmath>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/limits.h"
#include "med3d/core/text.h"
#include "med3d/pipeline/volumes/filter_series.h"

namespace med3d::pipeline {
namespace {

using Strings = std::vector<std::string>;

class RulesReader {
 public:
  explicit RulesReader(const std::string& source) : source_(source) {}

  FilterRules read(const toml::table& file) const {
    FilterRules out;
    known(file,
          {"planes",
           "injection_slack_s",
           "modality",
           "exclude",
           "plane",
           "ignore",
           "phase",
           "no_agent",
           "sequence"});
    if (const toml::node* node = file.get("planes")) {
      for (const std::string& name : strings(*node)) out.planes.push_back(plane(*node, name));
    }
    if (const toml::node* node = file.get("injection_slack_s")) {
      const auto value = node->value<double>();
      if (!node->is_number() || !value || !(*value >= 0.0) || *value > 3600.0) {
        fail(*node, "injection_slack_s: expected a number from 0 to 3600");
      }
      out.injection_slack_s = *value;
    }
    const toml::node* modality = file.get("modality");
    if (modality == nullptr) fail(file, "no [modality.CT] or [modality.MR]: nothing would be kept");
    for (const auto& [name, node] : table_of(*modality)) {
      out.modalities[std::string(name.str())] = modality_rules(table_of(node));
    }
    out.exclude = list(file, "exclude");
    out.plane = list(file, "plane");
    out.ignore = list(file, "ignore");
    out.phase = list(file, "phase");
    out.no_agent = list(file, "no_agent");
    out.sequence = list(file, "sequence");
    return out;
  }

 private:
  [[noreturn]] void fail(const toml::node& node, const std::string& what) const {
    throw Error(ErrorKind::kUsage,
                fmt::format("{}:{}: {}", source_, node.source().begin.line, what));
  }

  void known(const toml::table& table, const Strings& names) const {
    for (const auto& [key, node] : table) {
      const std::string name(key.str());
      if (std::ranges::find(names, name) == names.end()) {
        fail(node, fmt::format("unknown key '{}'{}", name, did_you_mean(name, names)));
      }
    }
  }

  const toml::table& table_of(const toml::node& node) const {
    const toml::table* table = node.as_table();
    if (table == nullptr) fail(node, "expected a table");
    return *table;
  }

  Strings strings(const toml::node& node) const {
    const toml::array* array = node.as_array();
    if (array == nullptr) fail(node, "expected a list of texts");
    Strings out;
    for (const toml::node& one : *array) {
      if (!one.is_string()) fail(one, "expected a text");
      out.push_back(*one.value<std::string>());
    }
    return out;
  }

  Plane plane(const toml::node& node, const std::string& name) const {
    for (const Plane one : {Plane::kAxial, Plane::kCoronal, Plane::kSagittal, Plane::kOblique}) {
      if (to_string(one) == name) return one;
    }
    fail(node, fmt::format("plane '{}', expected axial, coronal, sagittal or oblique", name));
  }

  ModalityRules modality_rules(const toml::table& table) const {
    known(table, {"least_slices", "contrast", "sequence"});
    ModalityRules out;
    if (const toml::node* node = table.get("least_slices")) {
      const auto value = node->value<std::int64_t>();
      if (!node->is_integer() || *value < 0 || *value > 100'000) {
        fail(*node, "least_slices: expected a whole number from 0 to 100000");
      }
      out.least_slices = *value;
    }
    const auto flag = [&](const char* name, bool& to) {
      const toml::node* node = table.get(name);
      if (node == nullptr) return;
      if (!node->is_boolean()) fail(*node, fmt::format("{}: expected true or false", name));
      to = *node->value<bool>();
    };
    flag("contrast", out.contrast);
    flag("sequence", out.sequence);
    return out;
  }

  std::vector<FilterRule> list(const toml::table& file, const char* name) const {
    std::vector<FilterRule> out;
    const toml::node* node = file.get(name);
    if (node == nullptr) return out;
    const toml::array* array = node->as_array();
    if (array == nullptr) fail(*node, fmt::format("expected [[{}]]", name));
    for (const toml::node& one : *array) out.push_back(rule(table_of(one), name));
    return out;
  }

  FilterRule rule(const toml::table& table, std::string_view list) const {
    known(table, {"rule", "modality", "fields", "words", "patterns", "means"});
    FilterRule out;
    if (const auto name = table["rule"].value<std::string>()) out.rule = *name;
    if (const toml::node* node = table.get("modality")) out.modalities = strings(*node);
    if (const toml::node* node = table.get("words")) out.words = strings(*node);
    if (const toml::node* node = table.get("patterns")) out.patterns = strings(*node);
    if (const toml::node* node = table.get("fields")) {
      for (const std::string& name : strings(*node)) out.fields.push_back(field(*node, name));
    }
    if (const toml::node* node = table.get("means")) {
      const auto value = node->value<std::string>().value_or("");
      if (list != "phase") fail(*node, "'means' belongs to [[phase]] only");
      if (value == "before") {
        out.meaning = ContrastMeaning::kBefore;
      } else if (value == "both") {
        out.meaning = ContrastMeaning::kBoth;
      } else if (value != "after") {
        fail(*node, "means: expected before, after or both");
      }
    }
    // Compiled alone, so that a mistake is told with its line.
    try {
      FilterRules alone;
      alone.exclude.push_back(out);
      SeriesFilter{alone};
    } catch (const Error& error) {
      fail(table, error.what());
    }
    return out;
  }

  SeriesField field(const toml::node& node, const std::string& name) const {
    Strings names;
    for (const SeriesField one : {SeriesField::kDescription,
                                  SeriesField::kProtocol,
                                  SeriesField::kImageType,
                                  SeriesField::kSopClass,
                                  SeriesField::kBodyPart,
                                  SeriesField::kSequence,
                                  SeriesField::kAgent}) {
      if (to_string(one) == name) return one;
      names.emplace_back(to_string(one));
    }
    fail(node, fmt::format("field '{}', expected one of: {}", name, join(names, ", ")));
  }

  const std::string& source_;
};

}  // namespace

FilterRules read_filter_rules(std::string_view toml, const std::string& source) {
  toml::table file;
  try {
    file = toml::parse(toml);
  } catch (const toml::parse_error& error) {
    throw Error(ErrorKind::kFormat,
                fmt::format("{}:{}:{}: {}",
                            source,
                            error.source().begin.line,
                            error.source().begin.column,
                            error.description()));
  }
  return RulesReader(source).read(file);
}

FilterRules read_filter_rules(const std::filesystem::path& file) {
  return read_filter_rules(read_file(file, limits().config_bytes), file.string());
}

FilterRules shipped_filter_rules() {
  return read_filter_rules(shipped_filter_rules_toml(), "shipped rules");
}

}  // namespace med3d::pipeline
