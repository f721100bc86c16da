// Pooling of scans to patients, as `volume aggregate` and `volume features` share it.
#pragma once

#include "med3d/cli/command.h"
#include "med3d/core/progress.h"
#include "med3d/pipeline/volumes/aggregate_volumes.h"

namespace med3d {

// --pool, --model.
void declare_scan_pool(Schema& schema);
pipeline::AggregateVolumesJob read_scan_pool(const Options& options);

// Writes the tables, prints what was pooled, and returns the exit code.
int finish_vectors(const Options& options,
                   const pipeline::VolumeFolder& folder,
                   const pipeline::PatientVectors& vectors,
                   Progress& progress);

}  // namespace med3d
