// What a trained CLAM net says of a slide's tiles, for pooling slides to patients.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "med3d/core/matrix.h"
#include "med3d/mil/clam.h"
#include "med3d/pipeline/slides/aggregate_slides.h"

namespace med3d::pipeline {

// Which row of attention_raw and embedding speaks for the class that the net predicts: that class's
// of clam_mb, else the only one.
std::size_t attention_row(const mil::ClamOptions& options, const mil::BagOutput& said);

// Softmax of raw scores over the slide, in double: it adds up to 1.
std::vector<double> attention_weights(std::span<const float> raw);

// Whether `part` is rows of `whole` in the same order: the tiles of a plan of which some were left
// out. Both (n, 2).
bool is_part_of(const Matrix<std::int64_t>& part, const Matrix<std::int64_t>& whole);

// A function that asks the checkpoint, read once: `weight` is the softmax of attention_raw of the
// predicted class, `embedding` its row of M (512 numbers), `highest` its largest raw score.
//
// threads  no effect on any result
// Throws as mil::read_clam; Error(kUsage) for a net without attention (mil, mean, max). The
// function throws as Clam::forward; it holds one net, and is not for two threads at once.
AttendSlide attend_with(const std::filesystem::path& checkpoint, int threads = 1);

}  // namespace med3d::pipeline
