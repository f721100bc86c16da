#include "med3d/wsi/heatmap_geojson.h"

#include <fmt/format.h>

#include <iterator>
#include <vector>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/json.h"
#include "med3d/core/text.h"
#include "med3d/wsi/heatmap.h"
#include "med3d/wsi/tile_sample.h"

namespace med3d {
namespace {

// A string of a JSON document, quotes and all. Bytes that are no UTF-8 are replaced, not thrown at.
std::string quoted(const std::string& text) {
  return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string colour_text(Rgb colour) {
  return fmt::format("[{},{},{}]", colour[0], colour[1], colour[2]);
}

void add_feature_start(std::string& out, std::int64_t x, std::int64_t y, std::int64_t side) {
  fmt::format_to(std::back_inserter(out),
                 R"({{"type":"Feature","geometry":{{"type":"Polygon","coordinates":)"
                 "[[[{0},{1}],[{2},{1}],[{2},{3}],[{0},{3}],[{0},{1}]]]}},\"properties\":",
                 x,
                 y,
                 x + side,
                 y + side);
}

}  // namespace

void HeatmapGeojsonOptions::validate() const {
  if (measurement.empty() || measurement == "percentile") {
    throw Error(ErrorKind::kUsage,
                "geojson measurement: a name is expected, other than 'percentile'");
  }
  if (top_k < 0) {
    throw Error(ErrorKind::kUsage, fmt::format("geojson top_k: {}, expected 0 or more", top_k));
  }
}

std::string heatmap_geojson(const Matrix<std::int64_t>& coords,
                            std::int64_t footprint,
                            std::span<const double> scores,
                            const HeatmapGeojsonOptions& options) {
  options.validate();
  constexpr std::int64_t kFar = std::int64_t{1} << 40;
  if (coords.rows() != scores.size() || (coords.rows() > 0 && coords.cols() != 2) ||
      footprint < 1 || footprint > kFar) {
    throw Error(ErrorKind::kUsage,
                fmt::format("geojson: coordinates ({}, {}), {} scores and a tile of {} pixels, "
                            "expected (n, 2), n and a side above 0",
                            coords.rows(),
                            coords.cols(),
                            scores.size(),
                            footprint));
  }
  for (std::size_t i = 0; i < coords.size(); ++i) {
    if (coords.data()[i] > -kFar && coords.data()[i] < kFar) continue;
    throw Error(ErrorKind::kData,
                fmt::format("geojson: tile {} lies at {} pixels", i / 2, coords.data()[i]));
  }
  const std::vector<double> percentiles = percentile_ranks(scores);
  const std::string name = quoted(options.measurement);
  const auto measurements = [&](std::size_t i) {
    return fmt::format(R"("measurements":{{{}:{},"percentile":{}}})",
                       name,
                       format_double(scores[i]),
                       format_double(percentiles[i]));
  };
  std::string out = "{\"type\":\"FeatureCollection\",\"features\":[";
  bool first = true;
  const auto start = [&](std::size_t i) {
    out += first ? "\n" : ",\n";
    first = false;
    add_feature_start(out, coords(i, 0), coords(i, 1), footprint);
  };
  for (std::size_t i = 0; i < scores.size(); ++i) {
    start(i);
    out += fmt::format(R"({{"objectType":"detection","color":{},{}}}}})",
                       colour_text(colour_of(options.colours, percentiles[i] / 100.0)),
                       measurements(i));
  }
  const std::vector<std::size_t> top =
      sample_tiles(scores, {SampleMode::kTopK, options.top_k, 0, 0.0, 1.0});
  const std::string top_class = quoted(options.top_class);
  const std::string top_colour = colour_text(colour_of(options.colours, 1.0));
  for (std::size_t rank = 0; rank < top.size(); ++rank) {
    start(top[rank]);
    out += fmt::format(
        R"({{"objectType":"annotation","name":{},"classification":{{"name":{},"color":{}}},{}}}}})",
        quoted(fmt::format("{} {}", options.top_class, rank + 1)),
        top_class,
        top_colour,
        measurements(top[rank]));
  }
  out += "\n]}\n";
  return out;
}

void write_heatmap_geojson(const std::filesystem::path& path,
                           const Matrix<std::int64_t>& coords,
                           std::int64_t footprint,
                           std::span<const double> scores,
                           const HeatmapGeojsonOptions& options) {
  write_file_atomic(path, heatmap_geojson(coords, footprint, scores, options));
}

}  // namespace med3d
