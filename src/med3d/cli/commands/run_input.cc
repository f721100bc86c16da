#include "med3d/cli/commands/run_input.h"

#include <utility>

#include "med3d/pipeline/settings.h"

namespace med3d {
namespace fs = std::filesystem;

void declare_run_input(Schema& schema, bool cohort_required) {
  schema.positional_path("COHORT",
                         "cohort file (TOML), or a folder: one that holds cohort.toml, the MMIST "
                         "layout, or the paper's feature CSV files");
  if (cohort_required) schema.required();
  schema.path("settings", "TOML file with further settings, read after COHORT");
  schema.settings("one setting, on top of the files");
}

void read_run_input(const Options& options,
                    std::vector<std::string> overrides,
                    pipeline::RunSettings& settings,
                    pipeline::SettingsSchema& schema) {
  fs::path input = options.path("COHORT");
  if (fs::is_directory(input) && fs::exists(input / "cohort.toml")) input /= "cohort.toml";
  const bool folder = fs::is_directory(input);
  if (folder) settings.cohort = pipeline::describe_folder(input);

  settings.describe(schema);
  for (const auto& setting : options.settings()) {
    overrides.push_back(setting.key + "=" + setting.value);
  }
  if (!folder) pipeline::read_settings(schema, input);
  if (options.given("settings")) pipeline::overlay_settings(schema, options.path("settings"));
  pipeline::override_settings(schema, overrides);
  settings.validate();
}

pipeline::RunSettings read_run_input(const Options& options, std::vector<std::string> overrides) {
  pipeline::RunSettings settings;
  pipeline::SettingsSchema schema;
  read_run_input(options, std::move(overrides), settings, schema);
  return settings;
}

}  // namespace med3d
