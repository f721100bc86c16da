// Scored tiles for QuPath: a GeoJSON FeatureCollection in level-0 pixels.
//
// Each tile is a detection with the measurements {score, percentile}: QuPath draws detections fast
// and colours them by a measurement (Measure > Show measurement maps). The k highest are
// annotations besides, with a class, so that a reader can step through them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "med3d/core/matrix.h"
#include "med3d/wsi/colour_map.h"

namespace med3d {

struct HeatmapGeojsonOptions {
  std::string measurement = "attention";        // name of the score in QuPath
  std::string top_class = "highest attention";  // class of the top annotations
  std::int64_t top_k = 15;                      // 0 = none; CLAM's number of patches
  ColourMap colours = ColourMap::kJet;          // of the tiles, by percentile

  void validate() const;  // Error(kUsage)
};

// The document, one feature a line: first the tiles in their order, then the top_k annotations from
// the highest down (ties by order), each a closed ring (x, y) (x + f, y) (x + f, y + f) (x, y + f).
// Numbers are the shortest that read back the same; the same scores give the same bytes.
//
// coords     (n, 2) x, y of each tile's corner, level-0 pixels
// footprint  side of a tile, level-0 pixels, > 0
// scores     (n,) finite; their percentile is percentile_ranks
//
// Throws Error(kUsage) for sizes that do not fit, kData for a score that is not finite.
// Checked against: the object format of QuPath 0.4 and later (objectType, measurements as a map,
// classification {name, color}).
std::string heatmap_geojson(const Matrix<std::int64_t>& coords,
                            std::int64_t footprint,
                            std::span<const double> scores,
                            const HeatmapGeojsonOptions& options);

// Writes it, atomically.
void write_heatmap_geojson(const std::filesystem::path& path,
                           const Matrix<std::int64_t>& coords,
                           std::int64_t footprint,
                           std::span<const double> scores,
                           const HeatmapGeojsonOptions& options);

}  // namespace med3d
