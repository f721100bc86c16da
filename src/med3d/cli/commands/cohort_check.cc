#include "med3d/pipeline/cohort_check.h"

#include "med3d/cli/command.h"
#include "med3d/cli/commands/run_input.h"
#include "med3d/cli/output.h"
#include "med3d/core/progress.h"

namespace med3d {
namespace {

int run(const Options& options) {
  const auto settings = read_run_input(options);
  const auto progress = make_console_progress(options.quiet() || options.json());
  const auto cohort = pipeline::load_cohort(settings.cohort, *progress, options.threads());
  progress->finish();
  if (options.json()) {
    print_json(pipeline::cohort_report(cohort));
  } else {
    print(pipeline::cohort_text(cohort));
  }
  for (const auto& outcome : cohort.outcomes) {
    if (outcome.status == "failed") return kExitSomeFailed;
  }
  return kExitDone;
}

}  // namespace

extern const Command cohort_check_command;
const Command cohort_check_command = {
    .name = "cohort check",
    .summary = "Show what a cohort holds, what will be dropped, and what looks wrong",
    .reference = "",
    .examples = {{"med3d cohort check cohort.toml", "Patients by modality, events, findings"},
                 {"med3d cohort check mmist-ccrcc/ --json", "The same for a program to read"}},
    .declare =
        [](Schema& schema) {
          declare_run_input(schema);
          add_common_threads(schema);
        },
    .run = run,
};

}  // namespace med3d
