// What tiling made of every slide at a glance: outlines on pages, slides without tissue marked.
#pragma once

#include <cstdint>
#include <span>

#include "med3d/pipeline/slides/slide_folder.h"
#include "med3d/pipeline/slides/slide_outcome.h"

namespace med3d::pipeline {

// Writes contact_sheets/page_1.jpg ... from masks/<id>.jpg and the outcomes of tile_slides, in
// their order; pages of an earlier job are removed. A slide whose picture is missing or damaged has
// none. Frames: green done, amber with a warning, red and crossed out without tissue, red filled
// failed.
//
// Returns the number of pages. Memory: one page and one mask. Throws Error(kIo).
std::int64_t write_contact_sheets(const SlideFolder& folder,
                                  std::span<const SlideOutcome> outcomes);

}  // namespace med3d::pipeline
