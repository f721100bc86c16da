#include "med3d/wsi/tile_sample.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <numeric>

#include "med3d/core/error.h"
#include "med3d/core/random.h"
#include "med3d/core/text.h"
#include "med3d/wsi/heatmap.h"

namespace med3d {
namespace {

constexpr std::array<std::string_view, 3> kNames = {"topk", "reverse_topk", "range_sample"};

}  // namespace

SampleMode parse_sample_mode(std::string_view name) {
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    if (name == kNames[i]) return static_cast<SampleMode>(i);
  }
  const std::vector<std::string> known(kNames.begin(), kNames.end());
  throw Error(
      ErrorKind::kUsage,
      fmt::format(
          "sample mode '{}', expected {}{}", name, join(known, ", "), did_you_mean(name, known)));
}

std::string to_string(SampleMode mode) {
  return std::string(kNames[static_cast<std::size_t>(mode)]);
}

void TileSample::validate() const {
  if (k < 0) throw Error(ErrorKind::kUsage, fmt::format("sample k: {}, expected 0 or more", k));
  if (seed > 0xFFFFFFFFULL) {
    throw Error(ErrorKind::kUsage, fmt::format("sample seed: {}, expected below 2^32", seed));
  }
  if (!(score_start >= 0 && score_start <= score_end && score_end <= 1)) {
    throw Error(
        ErrorKind::kUsage,
        fmt::format("sample score_start {} and score_end {}, expected 0 <= start <= end <= 1",
                    format_double(score_start),
                    format_double(score_end)));
  }
}

std::vector<std::size_t> sample_tiles(std::span<const double> scores, const TileSample& sample) {
  sample.validate();
  const std::vector<double> ranks = percentile_ranks(scores);
  const auto wanted = static_cast<std::size_t>(sample.k);
  std::vector<std::size_t> order(scores.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  if (sample.mode == SampleMode::kRangeSample) {
    std::erase_if(order, [&](std::size_t i) {
      const double share = ranks[i] / 100.0;
      return share < sample.score_start || share > sample.score_end;
    });
    const std::size_t k = std::min(wanted, order.size());
    NumpyRandom random(static_cast<std::uint32_t>(sample.seed));
    const std::vector<std::size_t> drawn = random.permutation(order.size());
    std::vector<std::size_t> out;
    out.reserve(k);
    for (std::size_t i = 0; i < k; ++i) out.push_back(order[drawn[i]]);
    return out;
  }
  const bool rising = sample.mode == SampleMode::kReverseTopK;
  const auto first = [&](std::size_t a, std::size_t b) {
    if (scores[a] != scores[b]) return rising ? scores[a] < scores[b] : scores[a] > scores[b];
    return a < b;
  };
  const std::size_t k = std::min(wanted, order.size());
  std::partial_sort(
      order.begin(), order.begin() + static_cast<std::ptrdiff_t>(k), order.end(), first);
  order.resize(k);
  return order;
}

}  // namespace med3d
