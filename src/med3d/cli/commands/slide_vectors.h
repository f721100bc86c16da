// wsi_slide_features.csv and wsi_features.csv.
#pragma once

#include "med3d/pipeline/slides/aggregate_slides.h"
#include "med3d/pipeline/slides/slide_folder.h"

namespace med3d {

// Writes both tables, or, if there is no row, takes away those of an earlier call and returns
// false.
bool write_slide_vectors(const pipeline::SlideFolder& folder,
                         const pipeline::SlideVectors& vectors);

}  // namespace med3d
