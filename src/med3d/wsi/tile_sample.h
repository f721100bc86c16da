// Which tiles to show of a slide: the highest, the lowest, or some of a range.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace med3d {

enum class SampleMode { kTopK, kReverseTopK, kRangeSample };

SampleMode parse_sample_mode(std::string_view name);  // "topk", "reverse_topk", "range_sample"
std::string to_string(SampleMode mode);

struct TileSample {
  SampleMode mode = SampleMode::kTopK;
  std::int64_t k = 15;        // tiles, fewer where there are not so many
  std::uint64_t seed = 1;     // of range_sample, below 2^32
  double score_start = 0.45;  // of range_sample: percentile rank / 100, both ends included
  double score_end = 0.55;

  void validate() const;  // Error(kUsage) naming the field
};

// Indices of the tiles chosen.
//
//   topk          by falling score, ties by order (CLAM leaves ties to an unstable sort)
//   reverse_topk  by rising score, ties by order
//   range_sample  of those whose percentile_ranks / 100 lies in [score_start, score_end], k drawn
//                 without replacement as numpy.random.seed(seed), choice(indices, k, replace=False)
//
// Throws Error(kData) for a score that is not finite.
// Checked against: numpy 1.24 (tests/reference/heatmap.py).
std::vector<std::size_t> sample_tiles(std::span<const double> scores, const TileSample& sample);

}  // namespace med3d
