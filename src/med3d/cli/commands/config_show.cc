#include <filesystem>
#include <string>

#include "med3d/cli/command.h"
#include "med3d/cli/commands/run_input.h"
#include "med3d/cli/output.h"
#include "med3d/pipeline/settings.h"

namespace med3d {
namespace {

int run(const Options& options) {
  if (options.flag("markdown")) {
    pipeline::RunSettings defaults;
    pipeline::SettingsSchema schema;
    defaults.describe(schema);
    const std::string text = pipeline::settings_markdown(schema);
    if (options.json()) {
      print_json({{"markdown", text}});
    } else {
      print(text);
    }
    return kExitDone;
  }
  if (!options.given("COHORT")) throw Error(ErrorKind::kUsage, "COHORT is required");
  pipeline::RunSettings settings;
  pipeline::SettingsSchema schema;
  read_run_input(options, {}, settings, schema);
  const auto folder = std::filesystem::current_path();
  if (options.json()) {
    print_json(pipeline::settings_json(schema, folder));
  } else {
    print(pipeline::settings_toml(schema, folder, true));
  }
  return kExitDone;
}

}  // namespace

extern const Command config_show_command;
const Command config_show_command = {
    .name = "config show",
    .summary = "Print every setting as a run would use it",
    .reference = "",
    .examples = {{"med3d config show cohort.toml", "All settings as TOML"},
                 {"med3d config show mmist-ccrcc/ --set fusion.projection=64", "With one changed"},
                 {"med3d config show --markdown", "What every key means: docs/settings.md"}},
    .declare =
        [](Schema& schema) {
          declare_run_input(schema, false);
          schema.flag("markdown", "print what every key means and its default; reads no COHORT");
        },
    .run = run,
};

}  // namespace med3d
