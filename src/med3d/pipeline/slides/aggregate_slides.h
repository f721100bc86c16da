// From features of tiles to one vector a slide, and one a patient: wsi_features.csv.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "med3d/core/progress.h"
#include "med3d/io/features.h"

namespace med3d::pipeline {

// How the tiles of a slide become its vector.
enum class SlidePool {
  kMean,       // mean of its tiles
  kMax,        // the largest of each feature
  kAttention,  // mean weighted by a model's softmax attention over the slide: the encoder's own
               // axes
  kEmbedding,  // what the model's attention net makes of it (CLAM's 512 numbers)
};

// And the slides of a patient the patient's vector.
enum class PatientPool {
  kMean,  // the paper's two-stage mean with SlidePool::kMean
  kMax,
  kTopSlide,  // the vector of the slide with the highest raw attention score of a tile
};

SlidePool parse_slide_pool(std::string_view name);      // "mean", "max", "attention", "embedding"
PatientPool parse_patient_pool(std::string_view name);  // "mean", "max", "top-slide"

// What a model says of one slide.
struct SlideAttention {
  std::vector<float> weight;     // (tiles,) softmax over the slide
  std::vector<float> embedding;  // the slide's, empty where it is not wanted
  double highest = 0.0;          // raw score (before the softmax) of its top tile
};
using AttendSlide = std::function<SlideAttention(const Matrix<float>& features)>;

struct AggregateJob {
  SlidePool slide_pool = SlidePool::kMean;
  PatientPool patient_pool = PatientPool::kMean;
  AttendSlide attend;  // needed by kAttention, kEmbedding and kTopSlide
  // A table of columns slide_id and case_id; empty: the case is read from the slide's name
  // (case_id_of).
  std::filesystem::path slide_table;
  // Only slides of these kinds by their TCGA barcode ("DX"; "tumour"); empty = all.
  std::vector<std::string> slide_kinds;
  std::vector<std::string> sample_kinds;

  // Whether one of the pools asks a model.
  bool needs_model() const {
    return slide_pool == SlidePool::kAttention || slide_pool == SlidePool::kEmbedding ||
           patient_pool == PatientPool::kTopSlide;
  }
};

struct SlideVectors {
  FeatureTable slides;              // a row for each slide, case_id and slide_id
  std::vector<std::int64_t> tiles;  // (slides,) pooled
  FeatureTable patients;            // a row for each case
  struct LeftOut {
    std::string file;
    std::string reason;
    bool failed = false;  // it could not be read; else it was not asked for
  };
  std::vector<LeftOut> left_out;
};

// Feature files of a folder, of every format read_features() reads, in ascending order of name; of
// a slide in h5 and pt both the h5 alone. Throws Error(kNotFound, kData) if there is none.
std::vector<std::filesystem::path> feature_files(const std::filesystem::path& folder);

// A file that cannot be read, or has another width than the first, is left out and told. If none is
// left both tables have no row.
//
// Cost: one slide's features in memory. Sums are in f64, in the order of tiles and slides.
// Throws Error(kUsage) for a pool without the model it needs, kData if a slide
// is in two files, as read_table for the slide table.
SlideVectors aggregate_slides(const std::vector<std::filesystem::path>& files,
                              const AggregateJob& job,
                              Progress& progress);

}  // namespace med3d::pipeline
