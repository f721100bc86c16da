// The options that choose what computes an encoder, and where.
#pragma once

#include "med3d/cli/command.h"
#include "med3d/pipeline/engine.h"

namespace med3d {

void declare_engine(Schema& schema);  // --engine auto|native|torch and --device, defaults auto
pipeline::ChosenEngine read_engine(const Options& options);

}  // namespace med3d
