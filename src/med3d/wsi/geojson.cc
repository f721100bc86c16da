#include "med3d/wsi/geojson.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/json.h"
#include "med3d/core/limits.h"

namespace med3d {
namespace {

constexpr double kMostCoordinate = 1 << 30;
constexpr int kTissueColor[3] = {0, 200, 0};

bool in_line(const PixelPoint& a, const PixelPoint& b, const PixelPoint& c) {
  const std::int64_t dx1 = std::int64_t{b.x} - a.x;
  const std::int64_t dy1 = std::int64_t{b.y} - a.y;
  const std::int64_t dx2 = std::int64_t{c.x} - b.x;
  const std::int64_t dy2 = std::int64_t{c.y} - b.y;
  return dx1 * dy2 == dx2 * dy1 && dx1 * dx2 + dy1 * dy2 >= 0;
}

// Without corners that change nothing: the shape is the same, the file a fraction.
Ring corners_of(const Ring& ring) {
  Ring out;
  for (const PixelPoint& p : ring) {
    while (out.size() >= 2 && in_line(out[out.size() - 2], out.back(), p)) out.pop_back();
    if (out.empty() || out.back() != p) out.push_back(p);
  }
  while (out.size() >= 3 && in_line(out[out.size() - 2], out.back(), out.front())) out.pop_back();
  return out;
}

// Appends "[[x,y],...]" and says so, or nothing for a ring of no area.
bool append_ring(const Ring& ring, bool left, std::string& out) {
  const std::int64_t area = twice_signed_area(ring);
  if (area == 0) return false;
  Ring corners = corners_of(ring);
  // In the numbers' own frame a positive area turns left.
  if ((area > 0) != left) std::reverse(corners.begin(), corners.end());
  corners.push_back(corners.front());
  out += '[';
  for (std::size_t i = 0; i < corners.size(); ++i) {
    fmt::format_to(
        std::back_inserter(out), "{}[{},{}]", i == 0 ? "" : ",", corners[i].x, corners[i].y);
  }
  out += ']';
  return true;
}

class Reader {
 public:
  explicit Reader(std::string_view source) : source_(source) {}

  void geometry(const Json& value, const std::string& where, Tissue& out) const {
    if (!value.is_object() || !value.contains("type") || !value["type"].is_string()) {
      fail(where + " is no geometry");
    }
    const auto type = value["type"].get<std::string>();
    if (type != "Polygon" && type != "MultiPolygon") {
      throw Error(ErrorKind::kUnsupported,
                  fmt::format("{}: {} is a {}, expected a Polygon or a MultiPolygon",
                              source_,
                              where,
                              type.substr(0, 40)));
    }
    if (!value.contains("coordinates")) fail(where + " has no coordinates");
    const Json& coordinates = list(value["coordinates"], where);
    if (type == "Polygon") {
      out.regions.push_back(region(coordinates, where));
    } else {
      for (const Json& part : coordinates) out.regions.push_back(region(list(part, where), where));
    }
  }

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorKind::kFormat, fmt::format("{}: {}", source_, what));
  }

 private:
  const Json& list(const Json& value, const std::string& where) const {
    if (!value.is_array()) fail(where + " has coordinates that are no list");
    return value;
  }

  TissueRegion region(const Json& rings, const std::string& where) const {
    TissueRegion out;
    for (std::size_t i = 0; i < rings.size(); ++i) {
      Ring ring = ring_of(list(rings[i], where), where);
      (i == 0 ? out.outline : out.holes.emplace_back()) = std::move(ring);
    }
    if (out.outline.empty()) fail(where + " has no outline");
    std::stable_sort(out.holes.begin(), out.holes.end(), [](const Ring& a, const Ring& b) {
      return std::abs(twice_signed_area(a)) > std::abs(twice_signed_area(b));
    });
    return out;
  }

  Ring ring_of(const Json& positions, const std::string& where) const {
    Ring out;
    out.reserve(positions.size());
    for (const Json& position : positions) {
      if (!position.is_array() || position.size() < 2 || !position[0].is_number() ||
          !position[1].is_number()) {
        fail(where + " has a position that is not two numbers");
      }
      const auto x = position[0].get<double>();
      const auto y = position[1].get<double>();
      if (!(std::abs(x) <= kMostCoordinate && std::abs(y) <= kMostCoordinate)) {
        fail(fmt::format("{} has the position {}, {}, which no slide has", where, x, y));
      }
      out.push_back({static_cast<std::int32_t>(x), static_cast<std::int32_t>(y)});
    }
    if (out.size() > 1 && out.back() == out.front()) out.pop_back();
    if (out.size() < 3)
      fail(fmt::format("{} has a ring of {} corners, expected 3 or more", where, out.size()));
    return out;
  }

  std::string_view source_;
};

}  // namespace

std::string tissue_geojson(const Tissue& tissue) {
  std::string out = "{\"type\":\"FeatureCollection\",\"features\":[";
  bool first = true;
  for (std::size_t i = 0; i < tissue.regions.size(); ++i) {
    std::string rings;
    if (!append_ring(tissue.regions[i].outline, true, rings)) continue;
    for (const Ring& hole : tissue.regions[i].holes) {
      std::string more;
      if (append_ring(hole, false, more)) rings += "," + more;
    }
    fmt::format_to(
        std::back_inserter(out),
        "{}\n{{\"type\":\"Feature\",\"geometry\":{{\"type\":\"Polygon\",\"coordinates\":[{}]}},"
        "\"properties\":{{\"objectType\":\"annotation\",\"name\":\"tissue {}\","
        "\"classification\":{{\"name\":\"Tissue\",\"color\":[{},{},{}]}}}}}}",
        first ? "" : ",",
        rings,
        i,
        kTissueColor[0],
        kTissueColor[1],
        kTissueColor[2]);
    first = false;
  }
  return out + "\n]}\n";
}

void write_tissue_geojson(const std::filesystem::path& path, const Tissue& tissue) {
  write_file_atomic(path, tissue_geojson(tissue));
}

Tissue parse_tissue_geojson(std::string_view text, std::string_view source) {
  const Json document = parse_json(text, source);
  const Reader reader(source);
  if (!document.is_object() || !document.contains("type") || !document["type"].is_string()) {
    reader.fail("no GeoJSON: an object with a type was expected");
  }
  Tissue out;
  const auto feature = [&](const Json& value, const std::string& where) {
    if (!value.is_object() || !value.contains("geometry")) reader.fail(where + " has no geometry");
    reader.geometry(value["geometry"], where, out);
  };
  const auto type = document["type"].get<std::string>();
  if (type == "FeatureCollection") {
    if (!document.contains("features") || !document["features"].is_array()) {
      reader.fail("a FeatureCollection without a list of features");
    }
    const Json& features = document["features"];
    for (std::size_t i = 0; i < features.size(); ++i) {
      feature(features[i], fmt::format("feature {} (from 0)", i));
    }
  } else if (type == "Feature") {
    feature(document, "the feature");
  } else {
    reader.geometry(document, "the geometry", out);
  }
  return out;
}

Tissue read_tissue_geojson(const std::filesystem::path& path) {
  return parse_tissue_geojson(read_file(path, limits().json_header_bytes), path.string());
}

}  // namespace med3d
