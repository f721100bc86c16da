// How commands that take a cohort find their settings.
#pragma once

#include "med3d/cli/command.h"
#include "med3d/pipeline/run_settings.h"
#include "med3d/pipeline/settings.h"

namespace med3d {

// Declares COHORT, --settings FILE and --set. A command that can do without a cohort says so and
// asks for it itself.
void declare_run_input(Schema& schema, bool cohort_required = true);

// Settings from, in rising order of precedence: COHORT (a cohort file, or a folder whose layout is
// known: MMIST, or the paper's three CSV files), --settings (further sections), `overrides` (what
// the command's own options say, as "section.key=value") and --set. Errors as read_settings.
pipeline::RunSettings read_run_input(const Options& options,
                                     std::vector<std::string> overrides = {});

// The same into `settings`, a fresh one; `schema` then knows where each value came from.
void read_run_input(const Options& options,
                    std::vector<std::string> overrides,
                    pipeline::RunSettings& settings,
                    pipeline::SettingsSchema& schema);

}  // namespace med3d
