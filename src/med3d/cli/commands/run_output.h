// What `run` and `resume` share: choosing stages, working with signals in hand, and telling the
// end.
#pragma once

#include "med3d/cli/command.h"
#include "med3d/pipeline/run.h"

namespace med3d {

// --from, --until, --only, --shard, --allow-leak, --isolate.
void declare_run_stages(Schema& schema);

// Of these and --threads. Throws Error(kUsage).
pipeline::RunOptions read_run_options(const Options& options,
                                      const pipeline::RunSettings& settings);

// Runs, draws the page, prints. Throws what pipeline::run throws; Stopped at SIGINT and SIGTERM.
int run_and_tell(const Options& options,
                 const pipeline::RunSettings& settings,
                 pipeline::RunOptions run_options);

}  // namespace med3d
