// What the commands that learn from slides share: the dataset, its follow-up columns, and errors.
#pragma once

#include <functional>

#include "med3d/cli/command.h"
#include "med3d/pipeline/slides/slide_dataset.h"

namespace med3d {

// --classes; and --survival-time, --survival-event, --survival-censorship, --intervals.
void declare_classes(Schema& schema);
void declare_survival(Schema& schema);
pipeline::SurvivalColumns survival_columns(const Options& options);

// Runs `work`; where it refuses a folder that holds something else, the hint says what to do.
void with_overwrite_hint(const std::function<void()>& work);

}  // namespace med3d
