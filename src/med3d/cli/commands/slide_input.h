// What the slide commands are asked: slides, and how to segment, tile, encode and pool them. Names
// are CLAM's and TRIDENT's where they have one.
#pragma once

#include <string>
#include <vector>

#include "med3d/cli/command.h"
#include "med3d/core/progress.h"
#include "med3d/pipeline/slides/aggregate_slides.h"
#include "med3d/pipeline/slides/extract_slides.h"
#include "med3d/pipeline/slides/slide_list.h"
#include "med3d/pipeline/slides/tile_slides.h"

namespace med3d {

// SLIDES..., --slide-ext, --list, --mpp, --slide-kinds, --sample-kinds, --isolate.
void declare_slides(Schema& schema);
// --slide-kinds and --sample-kinds alone.
void declare_slide_kinds(Schema& schema);
// --preset, --process-list and what stands in CLAM's lists.
void declare_segmentation(Schema& schema);
// --mode, --patch-size, --step-size and what belongs to one mode.
void declare_tiling(Schema& schema);
// --encoder, --weights, --precision, --batch-size, --readers, --stain, --quality ...
void declare_extraction(Schema& schema);
// --slide-pool, --patient-pool, --slide-table.
void declare_pooling(Schema& schema);

// The slides asked for, each with the --mpp that is to be used. Those of other kinds, and those
// whose line in `process_list` (CLAM's; empty = none) says process 0, are left out and `progress`
// tells how many. Throws as find_slides and read_process_list; kData if none is left.
std::vector<pipeline::SlideItem> read_slides(const Options& options,
                                             Progress& progress,
                                             const std::filesystem::path& process_list = {});

// Throws Error(kUsage) for options that contradict each other, and as clam_preset.
pipeline::TileJob read_tile_job(const Options& options, bool tiles);
pipeline::ExtractJob read_extract_job(const Options& options);
// Throws Error(kUsage) for a pool that needs a model.
pipeline::AggregateJob read_aggregate_job(const Options& options);

// The encoder asked for, ready to run. Throws CommandError(kUsage) for a trained one without
// --weights, and what loading throws.
pipeline::LoadedEncoder load_encoder(const Options& options);

// What every output of an untrained encoder says; "" for a trained one.
std::string untrained_notice(const pipeline::LoadedEncoder& encoder);

}  // namespace med3d
