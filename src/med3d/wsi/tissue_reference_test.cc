// CLAM's own masks, contours and coordinates: every case of reference/clam_seg. Each slide's
// saturation is the file sat.png of its case bwh_biopsy, so that no slide reader is needed.
#include <fstream>

#include "med3d/core/json.h"
#include "med3d/core/text.h"
#include "med3d/io/formats/csv.h"
#include "med3d/io/formats/png.h"
#include "med3d/wsi/tile_file.h"
#include "med3d/wsi/tiling.h"
#include "med3d/wsi/tissue.h"
#include "med3d/wsi/tissue_test_support.inc"

namespace med3d {
namespace {

namespace fs = std::filesystem;
using testing_io::test_data_folder;

GrayImage read_gray(const fs::path& path) {
  PngImage png = read_png(path, 1);
  GrayImage out;
  out.width = png.width;
  out.height = png.height;
  out.pixels = std::move(png.pixels);
  return out;
}

// The cells of a CSV after its header as numbers, row after row.
std::vector<std::vector<double>> read_numbers(const fs::path& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file) << path;
  std::vector<std::vector<double>> out;
  std::string line;
  std::getline(file, line);
  while (std::getline(file, line)) {
    std::vector<double> row;
    for (const std::string& cell : split(line, ','))
      row.push_back(parse_double(cell).value_or(-99));
    out.push_back(std::move(row));
  }
  return out;
}

using Rows = std::vector<std::vector<double>>;

void append_ring(const Ring& ring, std::size_t contour, std::int64_t hole, Rows& out) {
  for (std::size_t i = 0; i < ring.size(); ++i) {
    out.push_back({static_cast<double>(contour),
                   static_cast<double>(hole),
                   static_cast<double>(i),
                   static_cast<double>(ring[i].x),
                   static_cast<double>(ring[i].y)});
  }
}

Rows contour_rows(const Tissue& tissue, bool level0) {
  Rows out;
  for (std::size_t i = 0; i < tissue.regions.size(); ++i) {
    const TissueRegion& region = tissue.regions[i];
    append_ring(level0 ? region.outline : region.outline_seg, i, -1, out);
    const auto& holes = level0 ? region.holes : region.holes_seg;
    for (std::size_t h = 0; h < holes.size(); ++h) {
      append_ring(holes[h], i, static_cast<std::int64_t>(h), out);
    }
  }
  return out;
}

Rows found_rows(const Tissue& tissue) {
  Rows out;
  for (const FoundContour& found : tissue.found) {
    out.push_back({static_cast<double>(found.index),
                   found.area,
                   found.holes_area,
                   static_cast<double>(found.holes),
                   static_cast<double>(found.points),
                   found.kept ? 1.0 : 0.0});
  }
  return out;
}

Rows coord_rows(const Tiles& tiles) {
  Rows out;
  for (std::size_t i = 0; i < tiles.coords.rows(); ++i) {
    out.push_back({static_cast<double>(tiles.region[i]),
                   static_cast<double>(tiles.coords(i, 0)),
                   static_cast<double>(tiles.coords(i, 1))});
  }
  return out;
}

void expect_rows(const Rows& found, const Rows& expected, const std::string& what) {
  EXPECT_EQ(found.size(), expected.size()) << what;
  for (std::size_t i = 0; i < std::min(found.size(), expected.size()); ++i) {
    ASSERT_EQ(found[i], expected[i]) << what << ", row " << i;
  }
}

SlideInfo slide_of(const Json& params) {
  SlideInfo out;
  for (std::size_t i = 0; i < params["level_dim"].size(); ++i) {
    SlideLevel level;
    level.width = params["level_dim"][i][0].get<std::int64_t>();
    level.height = params["level_dim"][i][1].get<std::int64_t>();
    level.downsample = params["level_downsamples_openslide"][i].get<double>();
    out.levels.push_back(level);
  }
  return out;
}

SegmentOptions options_of(const Json& params) {
  SegmentOptions out;
  out.clam = true;
  out.seg_level = params["seg_level"].get<int>();
  out.sthresh = params["sthresh"].get<int>();
  out.mthresh = params["mthresh"].get<int>();
  out.close = params["close"].get<int>();
  out.use_otsu = params["use_otsu"].get<bool>();
  out.a_t = params["a_t"].get<double>();
  out.a_h = params["a_h"].get<double>();
  out.max_n_holes = params["max_n_holes"].get<int>();
  if (params.contains("exclude_ids")) {
    out.exclude_ids = params["exclude_ids"].get<std::vector<std::int64_t>>();
  }
  return out;
}

void check_case(const fs::path& folder, const GrayImage& saturation) {
  SCOPED_TRACE("case " + folder.filename().string());
  const Json params = read_json(folder / "params.json");
  const SlideInfo slide = slide_of(params);
  const SegmentOptions options = options_of(params);
  const int level = options.seg_level < 0 ? clam_auto_level(slide) : options.seg_level;
  ASSERT_EQ(level, params["seg_level_used"].get<int>());
  const auto& at = slide.levels[static_cast<std::size_t>(level)];
  ASSERT_EQ(at.width, saturation.width);
  ASSERT_EQ(at.height, saturation.height);
  const double scale_x = static_cast<double>(slide.levels[0].width) / static_cast<double>(at.width);
  const double scale_y =
      static_cast<double>(slide.levels[0].height) / static_cast<double>(at.height);

  if (fs::exists(folder / "median.png")) {
    EXPECT_EQ(median_of(saturation, options.mthresh), read_gray(folder / "median.png"));
  }
  const TissueMask mask = tissue_mask_of_saturation(saturation, options.mask());
  if (fs::exists(folder / "mask.png")) {
    EXPECT_EQ(mask.mask, read_gray(folder / "mask.png"));
  }
  if (params["otsu_threshold"].is_number()) {
    EXPECT_EQ(mask.otsu.value_or(-1), params["otsu_threshold"].get<int>());
  }
  const Tissue tissue = segment_saturation(saturation, scale_x, scale_y, options);
  expect_rows(found_rows(tissue), read_numbers(folder / "found.csv"), "found.csv");
  expect_rows(
      contour_rows(tissue, false), read_numbers(folder / "contours_seg.csv"), "contours_seg.csv");
  expect_rows(contour_rows(tissue, true), read_numbers(folder / "contours.csv"), "contours.csv");

  TileOptions tile;
  tile.mode = TileMode::kClam;
  tile.patch_size = params["patch_size"].get<std::int64_t>();
  tile.step_size = params["step_size"].get<std::int64_t>();
  tile.patch_level = params["patch_level"].get<int>();
  tile.use_padding = params["use_padding"].get<bool>();
  tile.contour_fn = parse_contour_test(params["contour_fn"].get<std::string>());
  expect_rows(coord_rows(make_tiles(slide, tissue, tile)),
              read_numbers(folder / "coords.csv"),
              "coords.csv");
}

class ClamSegmentation : public testing::TestWithParam<std::string> {};

TEST_P(ClamSegmentation, EqualsClamInEveryCase) {
  const fs::path folder = test_data_folder() / "reference" / "clam_seg" / GetParam();
  MED3D_REQUIRE_DATA(folder);
  const GrayImage saturation = read_gray(folder / "bwh_biopsy" / "sat.png");
  std::vector<fs::path> cases;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_directory()) cases.push_back(entry.path());
  }
  ASSERT_FALSE(cases.empty());
  std::sort(cases.begin(), cases.end());
  for (const fs::path& one : cases) check_case(one, saturation);
}

INSTANTIATE_TEST_SUITE_P(Slides,
                         ClamSegmentation,
                         testing::Values("CMU-1-Small-Region", "mosaic", "tcga-cr-7395"),
                         [](const auto& slide) {
                           std::string name = slide.param;
                           std::erase_if(name, [](char c) { return c == '-'; });
                           return name;
                         });

// The whole way: pixels from the slide's own file, not from a saturation that CLAM saved.
TEST(ClamSegmentationOfFiles, EqualsClamFromTheSlideOn) {
  const fs::path data = test_data_folder();
  const std::pair<const char*, const char*> slides[] = {
      {"CMU-1-Small-Region.svs", "CMU-1-Small-Region"},
      {"TCGA-CR-7395-01A-01-TS1.svs", "tcga-cr-7395"},
      {"mosaic.tif", "mosaic"}};
  for (const auto& [file, name] : slides) {
    SCOPED_TRACE(name);
    const fs::path path = data / "slides" / file;
    const fs::path folder = data / "reference" / "clam_seg" / name / "bwh_biopsy";
    MED3D_REQUIRE_DATA(path);
    MED3D_REQUIRE_DATA(folder);
    std::unique_ptr<Slide> slide;
    try {
      slide = open_slide(path);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kUnsupported) throw;
      GTEST_SKIP() << "NO READER FOR " << file << ": " << error.what();
    }
    SegmentOptions options = options_of(read_json(folder / "params.json"));
    const int level = clam_auto_level(slide->info());
    const auto& at = slide->info().levels[static_cast<std::size_t>(level)];
    const GrayImage saturation =
        saturation_of(slide->read_region(0, 0, level, at.width, at.height));
    EXPECT_EQ(saturation, read_gray(folder / "sat.png"));
    const Tissue tissue = segment_tissue(*slide, options);
    EXPECT_EQ(tissue.seg_level, level);
    expect_rows(contour_rows(tissue, true), read_numbers(folder / "contours.csv"), "contours.csv");
    TileOptions tile;
    tile.mode = TileMode::kClam;
    expect_rows(coord_rows(make_tiles(slide->info(), tissue, tile)),
                read_numbers(folder / "coords.csv"),
                "coords.csv");
  }
}

TEST(ClamTileFiles, OfClamAreRead) {
  const fs::path folder = test_data_folder() / "reference";
  const fs::path path =
      folder / "clam_cli" / "tcga_tcga" / "patches" / "tcga-cr-7395-01a-01-ts1.h5";
  MED3D_REQUIRE_DATA(path);
  const TileFile file = read_tiles(path);
  EXPECT_EQ(file.name, "tcga-cr-7395-01a-01-ts1");
  EXPECT_EQ(file.tiles.mode, TileMode::kClam);
  EXPECT_EQ(file.tiles.read_level, 0);
  EXPECT_EQ(file.tiles.read_size, 256);
  EXPECT_EQ(file.tiles.footprint, 256);
  EXPECT_EQ(file.tiles.level_size[0], 4443);
  EXPECT_EQ(file.tiles.level_size[1], 3567);
  const Rows expected = read_numbers(folder / "clam_seg" / "tcga-cr-7395" / "tcga" / "coords.csv");
  ASSERT_EQ(file.tiles.coords.rows(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    ASSERT_EQ(static_cast<double>(file.tiles.coords(i, 0)), expected[i][1]);
    ASSERT_EQ(static_cast<double>(file.tiles.coords(i, 1)), expected[i][2]);
  }
}

}  // namespace
}  // namespace med3d
