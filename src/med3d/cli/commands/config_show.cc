#include <filesystem>

#include "med3d/cli/command.h"
#include "med3d/cli/commands/run_input.h"
#include "med3d/cli/output.h"
#include "med3d/pipeline/settings.h"

namespace med3d {
namespace {

int run(const Options& options) {
  auto settings = read_run_input(options);
  pipeline::SettingsSchema schema;
  settings.describe(schema);
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
                 {"med3d config show mmist-ccrcc/ --set fusion.projection=64", "With one changed"}},
    .declare = declare_run_input,
    .run = run,
};

}  // namespace med3d
