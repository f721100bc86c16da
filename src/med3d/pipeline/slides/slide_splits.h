// CLAM's create_splits_seq.py: who trains, who validates and who tests, written as CLAM reads it.
#pragma once

#include <filesystem>
#include <vector>

#include "med3d/mil/clam_files.h"
#include "med3d/pipeline/slides/slide_dataset.h"

namespace med3d::pipeline {

// Draws splits and writes splits_i.csv, splits_i_bool.csv and splits_i_descriptor.csv, i from 0.
//
// A folder that holds other splits already is refused: what was trained on them would no longer be
// known. Throws as mil::make_clam_splits; Error(kUsage) for such a folder unless `overwrite`.
std::vector<mil::ClamSplit> write_slide_splits(const SlideDataset& dataset,
                                               const mil::SplitOptions& options,
                                               const std::filesystem::path& folder,
                                               bool overwrite);

// How many of splits_0.csv, splits_1.csv, ... there are without a gap.
int count_slide_splits(const std::filesystem::path& folder);

}  // namespace med3d::pipeline
