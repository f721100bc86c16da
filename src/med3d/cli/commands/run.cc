#include "med3d/pipeline/run.h"

#include <fmt/format.h>

#include "med3d/cli/command.h"
#include "med3d/cli/commands/run_input.h"
#include "med3d/cli/commands/run_output.h"

namespace med3d {
namespace {

int run(const Options& options) {
  std::vector<std::string> typed;
  if (options.given("seed")) typed.push_back(fmt::format("run.seed={}", options.seed()));
  if (options.given("device")) typed.push_back("run.device=" + options.choice("device"));
  const pipeline::RunSettings settings = read_run_input(options, typed);
  pipeline::RunOptions run_options = read_run_options(options, settings);
  run_options.output = options.path("output");
  run_options.overwrite = options.flag("overwrite");
  run_options.dry_run = options.flag("dry-run");
  return run_and_tell(options, settings, std::move(run_options));
}

}  // namespace

extern const Command run_command;
const Command run_command = {
    .name = "run",
    .summary = "The whole way from slides, scans and tables, or vectors, to a report",
    .reference = "Maqsood and Khan, MeD-3D, 2025; protocol: docs/validation.md",
    .examples = {{"med3d run cohort.toml --output out",
                  "The whole way; what lies in out from before is taken over"},
                 {"med3d run mmist-ccrcc/ --output out --set validation.repeats=2",
                  "A folder in the MMIST layout, two repeats"},
                 {"med3d run cohort.toml --output out --dry-run",
                  "Say what would be done, with time, disk and memory"},
                 {"med3d run cohort.toml --output out --until extract",
                  "Slides and scans only, up to their features"},
                 {"med3d run cohort.toml --output out --shard 2/8",
                  "The second of eight machines at one folder"}},
    .declare =
        [](Schema& schema) {
          declare_run_input(schema);
          schema.path("output", "the run folder; a run that was stopped goes on", "med3d-run");
          declare_run_stages(schema);
          add_common_seed(schema);
          add_common_threads(schema);
          add_common_device(schema);
          add_common_dry_run(schema);
          add_common_overwrite(schema);
        },
    .run = run,
};

}  // namespace med3d
