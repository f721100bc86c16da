#include <fmt/format.h>

#include "med3d/cli/command.h"
#include "med3d/cli/commands/run_output.h"
#include "med3d/pipeline/settings.h"

namespace med3d {
namespace {

int run(const Options& options) {
  const std::filesystem::path folder = options.path("RUN");
  const auto file = folder / "settings.toml";
  if (!std::filesystem::exists(file)) {
    throw CommandError(
        ErrorKind::kNotFound,
        fmt::format("{}: no settings.toml here, expected the folder of a run", folder.string()),
        "`med3d run` begins one");
  }
  pipeline::RunSettings settings;
  {
    pipeline::SettingsSchema schema;
    settings.describe(schema);
    pipeline::read_settings(schema, file);
  }
  settings.validate();
  pipeline::RunOptions run_options = read_run_options(options, settings);
  run_options.output = folder;
  run_options.dry_run = options.flag("dry-run");
  return run_and_tell(options, settings, std::move(run_options));
}

}  // namespace

extern const Command resume_command;
const Command resume_command = {
    .name = "resume",
    .summary = "Go on with a run that was stopped, by the settings in its folder",
    .reference = "",
    .examples = {{"med3d resume out", "From where it was stopped or killed"},
                 {"med3d resume out --only report", "Draw the report again"}},
    .declare =
        [](Schema& schema) {
          schema.positional_path("RUN", "folder of a run").required();
          declare_run_stages(schema);
          add_common_threads(schema);
          add_common_dry_run(schema);
        },
    .run = run,
};

}  // namespace med3d
