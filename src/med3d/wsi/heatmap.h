// Heatmaps: the scores of a slide's tiles painted over it.
//
// Drawn from scores that were stored with their coordinates, never computed anew: a map that tiled
// the slide in another way than the model did shows another model (CLAM issue 154). What is drawn
// is given back as numbers, so that it can be compared with what was stored.
//
// Attention says where a model looked, not why it decided: the colour bar names what the colours
// are.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "med3d/core/matrix.h"
#include "med3d/wsi/colour_map.h"
#include "med3d/wsi/image.h"
#include "med3d/wsi/overview.h"
#include "med3d/wsi/slide.h"

namespace med3d {

// Percentile rank of each score among all: average rank / n * 100, ties share the mean of their
// ranks; so the largest of n different scores is 100 and the smallest 100 / n.
//
// Throws Error(kData) naming the index of a score that is not finite.
// Checked against: scipy 1.10 rankdata(method="average") / n * 100 (tests/reference/heatmap.py).
std::vector<double> percentile_ranks(std::span<const double> scores);

// Percentile of each score among `reference` scores (of other slides, or of the slide without
// overlap), (below + below_or_equal + [one is equal]) * 50 / n: scipy's percentileofscore, "rank".
//
// Throws Error(kData) for a score that is not finite or no reference at all.
std::vector<double> percentiles_among(std::span<const double> scores,
                                      std::span<const double> reference);

enum class ScoreScale {
  kPercentile,  // 0..100: where to look first; says nothing of how much more one tile counts
  kRaw,         // as stored: shows whether the attention is on few tiles or spread
};

struct HeatmapOptions {
  int vis_level = -1;            // level that is painted on; -1 = the best for a downsample of 32
  std::int64_t max_side = 8192;  // pixels; a larger level is averaged down by a whole factor
  ScoreScale scale = ScoreScale::kPercentile;
  std::optional<double> raw_low;   // score of the first colour, kRaw; none = the smallest
  std::optional<double> raw_high;  // and of the last; none = the largest. Beyond: clamped
  ColourMap colours = ColourMap::kJet;
  double alpha = 0.4;         // share of the colour, 0..1; the rest is the slide
  bool blank_canvas = false;  // paint on white instead of the slide
  // Smooths what is painted: a Gaussian of 2 * tile * (1 - overlap) + 1 pixels (sigma as OpenCV
  // derives it), over painted pixels only: glass takes part in nothing. Off: tiles stay what they
  // are.
  bool blur = false;
  double overlap = 0.0;  // share by which tiles overlap, 0..below 1; for blur
  // Two colours: tiles from binary_thresh on are painted in the last colour, the rest not at all.
  // On kPercentile the threshold is a share 0..1 (0.9: the highest tenth), on kRaw a score; -1 =
  // 1/n, even attention.
  bool binarize = false;
  double binary_thresh = -1.0;
  bool colour_bar = true;
  std::string meaning = "score";  // what the scores are, in the colour bar: "attention, class 1"

  void validate() const;  // Error(kUsage) naming the field
};

struct Heatmap {
  RgbImage image;          // the slide's picture at the left top, the colour bar to its right
  std::int64_t width = 0;  // of the slide's part
  std::int64_t height = 0;
  double downsample_x = 1.0;  // level-0 pixels a pixel
  double downsample_y = 1.0;
  std::int64_t damaged_blocks = 0;  // of the slide's picture, see Overview
  // (height, width): mean of `values` over the tiles that cover a pixel, NaN outside of tiles.
  // Binarized it is painted where it is above one half.
  std::vector<float> grid;
  std::vector<double> values;  // (n,) what each tile gave: percentile 0..100, score, or 0 and 1
  // (n,) mean of the grid over each tile: without overlap or blur equal to values (as float), so
  // its sum and its largest are theirs. NaN where a tile has no pixel of the picture.
  std::vector<double> drawn;
  double low = 0.0;   // value of the first colour
  double high = 0.0;  // and of the last
};

// Paints scores over a slide.
//
// coords      (n, 2) x, y of each tile's corner, level-0 pixels
// footprint   side of a tile, level-0 pixels, > 0
// scores      (n,) finite
// reference   (m,) with kPercentile: percentiles among these instead; empty = among the scores
// background  the slide's picture; see read_overview
//
// A tile covers the pixels from round(x / downsample) to round((x + footprint) / downsample), at
// least one: tiles side by side share no pixel (CLAM rounds up, and its tiles overlap by one).
// Where tiles overlap their values are averaged. Pixels outside of all tiles stay as they are.
//
// Cost O(pixels + sum of tile areas). Throws Error(kUsage) for sizes that do not fit, kData for a
// score that is not finite, no tile, or a tile that lies outside of the slide: then the coordinates
// are of another slide or another scale.
//
// Source: the heatmaps of CLAM (Lu et al., Nature Biomedical Engineering 5:555, 2021); keys and
// defaults are those of its configuration.
Heatmap draw_heatmap(const Matrix<std::int64_t>& coords,
                     std::int64_t footprint,
                     std::span<const double> scores,
                     std::span<const double> reference,
                     const Overview& background,
                     const HeatmapOptions& options);

// The same on the level that the options name.
Heatmap draw_heatmap(const Matrix<std::int64_t>& coords,
                     std::int64_t footprint,
                     std::span<const double> scores,
                     std::span<const double> reference,
                     Slide& slide,
                     const HeatmapOptions& options);

}  // namespace med3d
