#include "med3d/cli/command.h"
#include "med3d/cli/output.h"
#include "med3d/pipeline/run_status.h"

namespace med3d {
namespace {

int run(const Options& options) {
  const Json status = pipeline::run_status(options.path("RUN"));
  if (options.json()) {
    print_json(status);
  } else {
    print(pipeline::run_status_text(status));
  }
  return kExitDone;
}

}  // namespace

extern const Command status_command;
const Command status_command = {
    .name = "status",
    .summary = "What a run has done: stages, items done, skipped and failed, who is at work",
    .reference = "",
    .examples = {{"med3d status out", "Stages and items with reasons"},
                 {"med3d status out --json", "The same for a program to read"}},
    .declare =
        [](Schema& schema) {
          schema.positional_path("RUN", "folder of a run; it may be at work").required();
        },
    .run = run,
};

}  // namespace med3d
