#include "med3d/cli/command.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <stdexcept>

#include "med3d/core/parallel.h"
#include "med3d/core/text.h"

namespace med3d {
namespace {

void refuse(std::string_view name, std::string_view why) {
  throw std::logic_error(fmt::format("option '{}': {}", name, why));
}

}  // namespace

OptionSpec& Schema::add(std::string_view name, OptionKind kind, std::string_view help) {
  if (name.empty() || help.empty()) refuse(name, "declared without a name or a help line");
  if (find(name) != nullptr) refuse(name, "declared twice");
  OptionSpec spec;
  spec.name = name;
  spec.kind = kind;
  spec.help = help;
  options_.push_back(std::move(spec));
  return options_.back();
}

Schema& Schema::text(std::string_view name, std::string_view help, std::string_view fallback) {
  auto& spec = add(name, OptionKind::kText, help);
  spec.value_name = "TEXT";
  spec.fallback = fallback;
  return *this;
}

Schema& Schema::integer(std::string_view name,
                        std::string_view help,
                        std::optional<std::int64_t> fallback,
                        std::int64_t least,
                        std::int64_t most) {
  auto& spec = add(name, OptionKind::kInteger, help);
  spec.value_name = "N";
  spec.least = least;
  spec.most = most;
  if (fallback && (*fallback < least || *fallback > most)) refuse(name, "default out of range");
  if (fallback) spec.fallback = std::to_string(*fallback);
  return *this;
}

Schema& Schema::real(std::string_view name,
                     std::string_view help,
                     std::optional<double> fallback,
                     double least,
                     double most,
                     std::string_view unit) {
  auto& spec = add(name, OptionKind::kReal, help);
  spec.value_name = "X";
  spec.least_real = least;
  spec.most_real = most;
  spec.unit = unit;
  if (fallback && !(*fallback >= least && *fallback <= most)) refuse(name, "default out of range");
  if (fallback) spec.fallback = format_double(*fallback);
  return *this;
}

Schema& Schema::flag(std::string_view name, std::string_view help) {
  add(name, OptionKind::kFlag, help);
  return *this;
}

Schema& Schema::path(std::string_view name, std::string_view help, std::string_view fallback) {
  auto& spec = add(name, OptionKind::kPath, help);
  spec.value_name = "PATH";
  spec.fallback = fallback;
  return *this;
}

Schema& Schema::list(std::string_view name,
                     std::string_view help,
                     std::string_view fallback,
                     std::vector<std::string> choices) {
  auto& spec = add(name, OptionKind::kList, help);
  spec.value_name = "A,B,...";
  spec.fallback = fallback;
  spec.choices = std::move(choices);
  spec.repeated = true;
  return *this;
}

Schema& Schema::choice(std::string_view name,
                       std::string_view help,
                       std::vector<std::string> choices,
                       std::string_view fallback) {
  auto& spec = add(name, OptionKind::kChoice, help);
  spec.value_name = join(choices, "|");
  spec.choices = std::move(choices);
  spec.fallback = fallback;
  const auto& values = spec.choices;
  if (!fallback.empty() && std::find(values.begin(), values.end(), fallback) == values.end()) {
    refuse(name, "default is not one of the choices");
  }
  return *this;
}

Schema& Schema::settings(std::string_view help) {
  auto& spec = add("set", OptionKind::kSettings, help);
  spec.value_name = "SECTION.KEY=VALUE";
  spec.repeated = true;
  return *this;
}

Schema& Schema::positional(std::string_view name, std::string_view help) {
  for (const auto& option : options_) {
    if (option.positional && option.repeated) refuse(name, "follows a repeated positional");
  }
  auto& spec = add(name, OptionKind::kText, help);
  spec.value_name = name;
  spec.positional = true;
  return *this;
}

Schema& Schema::positional_path(std::string_view name, std::string_view help) {
  positional(name, help);
  options_.back().kind = OptionKind::kPath;
  return *this;
}

Schema& Schema::positional_choice(std::string_view name,
                                  std::string_view help,
                                  std::vector<std::string> choices) {
  positional(name, help);
  options_.back().kind = OptionKind::kChoice;
  options_.back().choices = std::move(choices);
  return *this;
}

Schema& Schema::required() {
  options_.back().required = true;
  return *this;
}

Schema& Schema::repeated() {
  options_.back().repeated = true;
  return *this;
}

Schema& Schema::alias(std::string_view name) {
  if (find(name) != nullptr) refuse(name, "declared twice");
  options_.back().aliases.emplace_back(name);
  return *this;
}

const OptionSpec* Schema::find(std::string_view name) const {
  const auto at = std::find_if(options_.begin(), options_.end(), [&](const OptionSpec& spec) {
    return spec.name == name ||
           std::find(spec.aliases.begin(), spec.aliases.end(), name) != spec.aliases.end();
  });
  return at == options_.end() ? nullptr : &*at;
}

void add_common(Schema& schema) {
  schema.flag("help", "Show this help and stop")
      .flag("json", "Print the result, or the error, as one JSON document")
      .flag("quiet", "Say nothing but the result, warnings and errors");
}

void add_common_seed(Schema& schema) {
  schema.integer("seed",
                 "Seed of every random choice: the same seed gives the same bytes",
                 0,
                 0,
                 std::numeric_limits<std::uint32_t>::max());
}

void add_common_threads(Schema& schema) {
  schema.integer(
      "threads", "Threads to use, 0 = one for each core; results do not depend on it", 0, 0, 4096);
}

void add_common_device(Schema& schema) {
  schema.choice("device",
                "Where networks run; auto takes a GPU where one is usable",
                {"auto", "cpu", "cuda"},
                "auto");
}

void add_common_dry_run(Schema& schema) {
  schema.flag("dry-run", "Check everything and say what would be done, but write nothing");
}

void add_common_overwrite(Schema& schema) {
  schema.flag("overwrite", "Replace what an earlier call left in the output folder");
}

Schema schema_of(const Command& command) {
  Schema schema;
  command.declare(schema);
  add_common(schema);
  return schema;
}

Options::Options(Schema schema, std::map<std::string, std::vector<std::string>, std::less<>> values)
    : schema_(std::move(schema)), values_(std::move(values)) {}

const OptionSpec& Options::spec(std::string_view name, OptionKind kind) const {
  const OptionSpec* spec = schema_.find(name);
  if (spec == nullptr) refuse(name, "read, but not declared");
  if (spec->kind != kind) refuse(name, "read as another type than declared");
  return *spec;
}

const std::string& Options::single(std::string_view name, OptionKind kind) const {
  const OptionSpec& declared = spec(name, kind);
  const auto at = values_.find(name);
  if (at != values_.end()) return at->second.front();
  if (declared.fallback.empty()) refuse(name, "read, but neither given nor with a default");
  return declared.fallback;
}

bool Options::given(std::string_view name) const {
  if (schema_.find(name) == nullptr) refuse(name, "read, but not declared");
  return values_.find(name) != values_.end();
}

bool Options::has(std::string_view name) const {
  return given(name) || !schema_.find(name)->fallback.empty();
}

std::string Options::text(std::string_view name) const { return single(name, OptionKind::kText); }

std::int64_t Options::integer(std::string_view name) const {
  const std::string& value = single(name, OptionKind::kInteger);
  std::int64_t number = 0;
  std::from_chars(value.data(), value.data() + value.size(), number);  // checked when parsed
  return number;
}

double Options::real(std::string_view name) const {
  return parse_double(single(name, OptionKind::kReal)).value();
}

bool Options::flag(std::string_view name) const {
  spec(name, OptionKind::kFlag);
  return given(name);
}

std::filesystem::path Options::path(std::string_view name) const {
  return single(name, OptionKind::kPath);
}

std::string Options::choice(std::string_view name) const {
  return single(name, OptionKind::kChoice);
}

std::vector<std::string> Options::list(std::string_view name) const {
  const OptionSpec& declared = spec(name, OptionKind::kList);
  const auto at = values_.find(name);
  if (at == values_.end()) {
    return declared.fallback.empty() ? std::vector<std::string>{} : split(declared.fallback, ',');
  }
  std::vector<std::string> all;
  for (const auto& value : at->second) {
    for (auto& element : split(value, ',')) all.emplace_back(trim(element));
  }
  return all;
}

std::vector<Setting> Options::settings() const {
  spec("set", OptionKind::kSettings);
  std::vector<Setting> settings;
  const auto at = values_.find("set");
  if (at == values_.end()) return settings;
  for (const auto& value : at->second) {
    const auto equals = value.find('=');
    settings.push_back({value.substr(0, equals), value.substr(equals + 1)});
  }
  return settings;
}

std::vector<std::string> Options::all(std::string_view name) const {
  if (!given(name)) return {};
  return values_.find(name)->second;
}

int Options::threads() const {
  const auto threads = static_cast<int>(integer("threads"));
  return threads == 0 ? available_threads() : threads;
}

std::uint64_t Options::seed() const { return static_cast<std::uint64_t>(integer("seed")); }

}  // namespace med3d
