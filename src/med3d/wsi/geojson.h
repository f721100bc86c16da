// Outlines of tissue as GeoJSON: to look at and to correct in QuPath, and to tile by.
//
// A FeatureCollection of one Polygon for each region, coordinates in level-0 pixels, x to the right
// and y down, as QuPath takes them. Rings are closed; by the plain formula of the numbers an
// outline turns left (RFC 7946's right-hand rule) and a hole the other way.
//
// Source: RFC 7946; QuPath 0.4's export (objectType, classification {name, color}).
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "med3d/wsi/tissue.h"

namespace med3d {

// Corners in the middle of a straight line are left out; rings of no area too, and regions whose
// outline is one. The same tissue is the same bytes.
std::string tissue_geojson(const Tissue& tissue);

void write_tissue_geojson(const std::filesystem::path& path, const Tissue& tissue);  // atomic

// Polygons and MultiPolygons of a FeatureCollection, a Feature or a bare geometry, QuPath's too.
// Positions are cut to whole pixels. Other geometries (points, lines) are refused, as silence would
// lose tissue. Regions have no segmentation-level rings.
//
// Throws Error(kFormat) naming the feature for what is no GeoJSON, a ring of fewer than three
// corners or a position beyond +-2^30; kUnsupported for other geometries; as read_json.
Tissue parse_tissue_geojson(std::string_view text, std::string_view source);
Tissue read_tissue_geojson(const std::filesystem::path& path);

}  // namespace med3d
