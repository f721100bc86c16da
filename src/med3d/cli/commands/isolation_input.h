// --isolate: whether slides and scans are decoded in processes of their own (io/worker.h).
#pragma once

#include "med3d/cli/command.h"

namespace med3d {

// For commands that decode files from outside. Others do as with its default, auto.
void declare_isolation(Schema& schema);
// Puts --isolate in force, where the command has it.
void apply_isolation(const Schema& schema, const Options& options);

}  // namespace med3d
