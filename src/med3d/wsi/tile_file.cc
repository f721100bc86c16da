#include "med3d/wsi/tile_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <string_view>
#include <vector>

#include "med3d/core/error.h"
#include "med3d/core/text.h"
#include "med3d/io/formats/hdf5.h"

namespace med3d {
namespace {

constexpr std::uint64_t kChunkRows = 1024;
constexpr double kMostPixels = 1 << 30;

// The attributes of a file, with the checks that their use needs.
class Attributes {
 public:
  Attributes(const std::filesystem::path& path, const std::map<std::string, std::string>& values)
      : path_(path), values_(values) {}

  bool has(const std::string& name) const { return values_.count(name) != 0; }

  std::string text(const std::string& name) const {
    const auto at = values_.find(name);
    return at == values_.end() || at->second == "None" ? std::string() : at->second;
  }

  // All numbers of "3.5" or "[1, 2]".
  std::vector<double> numbers(const std::string& name, std::size_t count, double least) const {
    const std::string all = text(name);
    std::string_view rest = trim(all);
    if (rest.starts_with('[') && rest.ends_with(']')) rest = rest.substr(1, rest.size() - 2);
    std::vector<double> out;
    for (const std::string& part : split(rest, ',')) {
      const auto value = parse_double(part);
      if (value && *value >= least && *value <= kMostPixels) out.push_back(*value);
    }
    if (out.size() != count) {
      throw Error(ErrorKind::kFormat,
                  fmt::format("{}: attribute '{}' is '{}', expected {} number{} from {}",
                              path_.string(),
                              name,
                              all.substr(0, 60),
                              count,
                              count == 1 ? "" : "s",
                              least));
    }
    return out;
  }

  double number(const std::string& name, double least) const { return numbers(name, 1, least)[0]; }
  // An absent one, or TRIDENT's 'None', is 0.
  double number_or_zero(const std::string& name) const {
    return text(name).empty() ? 0.0 : number(name, 0.0);
  }
  std::int64_t pixels(const std::string& name) const {
    return static_cast<std::int64_t>(number(name, 1.0));
  }

 private:
  const std::filesystem::path& path_;
  const std::map<std::string, std::string>& values_;
};

void read_level_of(const Attributes& from, Tiles& out) {
  out.read_level = static_cast<int>(std::min(from.number("patch_level", 0.0), 1000.0));
  if (from.has("downsample")) {
    const auto factors = from.numbers("downsample", 2, 1e-3);
    out.downsample = {factors[0], factors[1]};
  }
  if (from.has("level_dim")) {
    const auto size = from.numbers("level_dim", 2, 1.0);
    out.level_size = {static_cast<std::int64_t>(size[0]), static_cast<std::int64_t>(size[1])};
  }
}

}  // namespace

void write_tiles(const std::filesystem::path& path,
                 const Tiles& tiles,
                 const std::string& name,
                 const std::string& save_path) {
  const bool trident = tiles.mode == TileMode::kTrident;
  const std::vector<std::int64_t> level = {tiles.level_size[0], tiles.level_size[1]};
  std::vector<Hdf5Attribute> attributes = {
      {"patch_size", trident ? tiles.target_size : tiles.read_size},
      {"patch_level", std::int64_t{tiles.read_level}},
      {"downsample", std::vector<double>{tiles.downsample[0], tiles.downsample[1]}},
      {"downsampled_level_dim", level},
      {"level_dim", level},
      {"name", name},
      {"save_path", save_path},
      {"patch_size_level0", tiles.footprint},
      {"overlap", tiles.overlap},
      {"level0_width", tiles.level0_size[0]},
      {"level0_height", tiles.level0_size[1]},
      {"tile_mode", std::string(to_string(tiles.mode))},
      {"read_size", tiles.read_size},
      {"target_size", tiles.target_size},
      {"step_level0", tiles.step},
  };
  if (tiles.target_mpp > 0) attributes.push_back({"target_mpp", tiles.target_mpp});
  if (trident) {
    // Whole magnifications are whole numbers in TRIDENT's own files.
    const auto magnification = [&](const char* key, double value) {
      const bool whole = value == std::floor(value) && value < 1e6;
      attributes.push_back(
          {key, whole ? Hdf5Value(static_cast<std::int64_t>(value)) : Hdf5Value(value)});
    };
    magnification("level0_magnification", tiles.level0_magnification);
    magnification("target_magnification", tiles.target_magnification);
    attributes.push_back({"savetodir", save_path});
  }
  const std::uint64_t rows = std::max<std::uint64_t>(1, tiles.coords.rows());
  write_tile_coordinates(path,
                         tiles.coords,
                         attributes,
                         tiles.mode == TileMode::kClam ? 1 : std::min(rows, kChunkRows));
}

TileFile read_tiles(const std::filesystem::path& path) {
  CoordinateFile file = read_coordinate_file(path);
  TileFile out;
  out.attributes = std::move(file.attributes);
  const Attributes from(path, out.attributes);
  out.name = from.text("name");
  Tiles& tiles = out.tiles;
  tiles.coords = std::move(file.coords);

  if (from.has("level0_width") && from.has("level0_height")) {
    tiles.level0_size = {from.pixels("level0_width"), from.pixels("level0_height")};
  }
  tiles.overlap = static_cast<std::int64_t>(from.number_or_zero("overlap"));
  tiles.target_mpp = from.number_or_zero("target_mpp");
  tiles.target_magnification = from.number_or_zero("target_magnification");
  tiles.level0_magnification = from.number_or_zero("level0_magnification");
  if (from.has("tile_mode")) {
    tiles.mode = parse_tile_mode(from.text("tile_mode"));
    read_level_of(from, tiles);
    tiles.read_size = from.pixels("read_size");
    tiles.target_size = from.pixels("target_size");
    tiles.footprint = from.pixels("patch_size_level0");
    tiles.step = from.pixels("step_level0");
  } else if (from.has("patch_level")) {
    tiles.mode = TileMode::kClam;
    read_level_of(from, tiles);
    tiles.read_size = from.pixels("patch_size");
    tiles.target_size = tiles.read_size;
    // What CLAM's own stitching takes for the side of a patch.
    tiles.footprint =
        static_cast<std::int64_t>(static_cast<double>(tiles.read_size) * tiles.downsample[0]);
  } else if (from.has("patch_size_level0")) {
    tiles.mode = TileMode::kTrident;
    tiles.read_level = -1;
    tiles.target_size = from.pixels("patch_size");
    tiles.footprint = from.pixels("patch_size_level0");
  } else {
    throw Error(
        ErrorKind::kFormat,
        fmt::format("{}: neither 'patch_level' (CLAM) nor 'patch_size_level0' (TRIDENT) is "
                    "among the attributes of 'coords': nobody knows how large its tiles are",
                    path.string()));
  }
  return out;
}

}  // namespace med3d
