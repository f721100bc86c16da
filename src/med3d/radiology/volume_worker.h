// Scans that are read in another process: see io/worker.h.
#pragma once

#include <filesystem>
#include <optional>
#include <span>

#include "med3d/io/worker.h"
#include "med3d/radiology/dicom_series.h"
#include "med3d/radiology/series_header.h"
#include "med3d/radiology/volume.h"

namespace med3d {

// What a program that serves as worker offers for the functions below, under the name "volume".
extern const WorkerService volume_worker_service;

// The functions of the same names without "isolated_", asked of a worker; those ask these first.
// Nothing where files are decoded in this process. Errors are the same; a decoder that crashes is
// an Error(kFormat) without the name of a file.
//
// Cost: a copy of the voxels, which both processes hold for a moment.
std::optional<SeriesVolume> isolated_load_series(std::span<const std::filesystem::path> files,
                                                 const SeriesOptions& options);
std::optional<SeriesInfo> isolated_inspect_series(std::span<const std::filesystem::path> files,
                                                  const SeriesOptions& options);
std::optional<Volume> isolated_read_nifti(const std::filesystem::path& path);
std::optional<Volume> isolated_read_nifti_header(const std::filesystem::path& path);

}  // namespace med3d
