// From [slides] and [scans] to the jobs of pipeline/slides and pipeline/volumes.
#pragma once

#include <filesystem>
#include <vector>

#include "med3d/core/progress.h"
#include "med3d/pipeline/raw_settings.h"
#include "med3d/pipeline/slides/aggregate_slides.h"
#include "med3d/pipeline/slides/extract_slides.h"
#include "med3d/pipeline/slides/slide_list.h"
#include "med3d/pipeline/slides/tile_slides.h"
#include "med3d/pipeline/volumes/aggregate_volumes.h"
#include "med3d/pipeline/volumes/extract_volumes.h"
#include "med3d/pipeline/volumes/filter_series.h"
#include "med3d/pipeline/volumes/series_index.h"

namespace med3d::pipeline {

// A slide, and whether its kind and its line in the process list ask for it.
struct ChosenSlide {
  SlideItem item;
  std::string left_out;  // why it is not taken; else empty
};

// In ascending order of id. Throws as find_slides and read_process_list.
std::vector<ChosenSlide> choose_slides(const SlideSettings& settings);

// Throw Error(kUsage) for values out of range, as clam_preset and the options' validate.
TileJob tile_job(const SlideSettings& settings, int threads);
ExtractJob extract_job(const SlideSettings& settings, int threads);
// Reads `model` where a pool asks it.
AggregateJob aggregate_job(const SlideSettings& settings);
// The encoder, ready to run. Throws what loading throws.
LoadedEncoder load_slide_encoder(const SlideSettings& settings, int threads);

// index  where the index is kept
// Throws Error(kUsage) for a secret of less than 16 characters.
VolumeIndexOptions index_options(const ScanSettings& settings,
                                 const std::filesystem::path& index,
                                 int threads);
// The rules that are asked for; of use where settings.filter.
FilterRules filter_rules(const ScanSettings& settings);
// The series of an index with the filter's verdict; without a filter those of CT and MR are kept.
// Throws as read_series_index, filter_series.
std::vector<FilteredSeries> choose_series(const ScanSettings& settings,
                                          const std::filesystem::path& index);
ExtractVolumesJob extract_job(const ScanSettings& settings, int threads);
AggregateVolumesJob aggregate_job(const ScanSettings& settings);
LoadedVolumeEncoder load_scan_encoder(const ScanSettings& settings, int threads);

// What every output of an untrained encoder says; "" for a trained one.
std::string untrained_notice(const LoadedEncoder& encoder);
std::string untrained_notice(const LoadedVolumeEncoder& encoder);

}  // namespace med3d::pipeline
