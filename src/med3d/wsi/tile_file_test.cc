#include "med3d/wsi/tile_file.h"

#include <cstdlib>

#include "med3d/core/file.h"
#include "med3d/io/formats/hdf5.h"
#include "med3d/wsi/tissue_test_support.inc"

namespace med3d {
namespace {

using testing_io::expect_error;
using testing_io::TemporaryFolder;

Tiles some_tiles(TileMode mode) {
  Tiles out;
  out.mode = mode;
  out.coords = Matrix<std::int64_t>(5, 2);
  for (std::size_t i = 0; i < 10; ++i) out.coords.data()[i] = static_cast<std::int64_t>(i * 700);
  out.read_level = 1;
  out.read_size = 254;
  out.target_size = mode == TileMode::kClam ? 254 : 256;
  out.footprint = 508;
  out.step = 400;
  out.overlap = 54;
  out.downsample = {2.0004502476362, 2.0005608524957936};
  out.level_size = {2221, 1783};
  out.level0_size = {4443, 3567};
  if (mode == TileMode::kMpp) out.target_mpp = 0.5;
  if (mode == TileMode::kTrident) {
    out.level0_magnification = 40;
    out.target_magnification = 20;
  }
  return out;
}

TEST(TileFile, ComesBackInEveryModeAndIsTheSameBytesTwice) {
  const TemporaryFolder folder;
  for (const TileMode mode : {TileMode::kMpp, TileMode::kClam, TileMode::kTrident}) {
    SCOPED_TRACE(to_string(mode));
    const Tiles tiles = some_tiles(mode);
    write_tiles(folder / "a.h5", tiles, "slide", "out/patches");
    write_tiles(folder / "b.h5", tiles, "slide", "out/patches");
    EXPECT_EQ(read_file(folder / "a.h5", 1U << 20U), read_file(folder / "b.h5", 1U << 20U));
    const TileFile file = read_tiles(folder / "a.h5");
    EXPECT_EQ(file.name, "slide");
    EXPECT_EQ(file.tiles.mode, mode);
    EXPECT_EQ(file.tiles.coords, tiles.coords);
    EXPECT_EQ(file.tiles.read_level, tiles.read_level);
    EXPECT_EQ(file.tiles.read_size, tiles.read_size);
    EXPECT_EQ(file.tiles.target_size, tiles.target_size);
    EXPECT_EQ(file.tiles.footprint, tiles.footprint);
    EXPECT_EQ(file.tiles.step, tiles.step);
    EXPECT_EQ(file.tiles.overlap, tiles.overlap);
    EXPECT_EQ(file.tiles.target_mpp, tiles.target_mpp);
    EXPECT_EQ(file.tiles.target_magnification, tiles.target_magnification);
    EXPECT_EQ(file.tiles.level0_magnification, tiles.level0_magnification);
    EXPECT_EQ(file.tiles.downsample, tiles.downsample);
    EXPECT_EQ(file.tiles.level_size, tiles.level_size);
    EXPECT_EQ(file.tiles.level0_size, tiles.level0_size);
    EXPECT_EQ(file.attributes.at("patch_size"), mode == TileMode::kTrident ? "256" : "254");
    EXPECT_EQ(file.attributes.at("level_dim"), "[2221, 1783]");
  }
}

TEST(TileFile, MayHoldNoTiles) {
  const TemporaryFolder folder;
  Tiles tiles = some_tiles(TileMode::kTrident);
  tiles.coords = Matrix<std::int64_t>(0, 2);
  write_tiles(folder / "none.h5", tiles, "slide", "");
  EXPECT_EQ(read_tiles(folder / "none.h5").tiles.coords.rows(), 0U);
}

TEST(TileFile, OfTridentHasNoLevel) {
  const TemporaryFolder folder;
  const Hdf5Attribute attributes[] = {{"patch_size", std::int64_t{512}},
                                      {"patch_size_level0", std::int64_t{1024}},
                                      {"level0_magnification", std::int64_t{40}},
                                      {"target_magnification", std::int64_t{20}},
                                      {"overlap", std::int64_t{0}},
                                      {"name", std::string("s")},
                                      {"savetodir", std::string("None")}};
  write_tile_coordinates(folder / "t.h5", some_tiles(TileMode::kTrident).coords, attributes);
  const Tiles tiles = read_tiles(folder / "t.h5").tiles;
  EXPECT_EQ(tiles.mode, TileMode::kTrident);
  EXPECT_EQ(tiles.read_level, -1);
  EXPECT_EQ(tiles.target_size, 512);
  EXPECT_EQ(tiles.footprint, 1024);
}

TEST(TileFile, RefusesAttributesThatMakeNoSense) {
  const TemporaryFolder folder;
  const auto refused = [&](const char* part, const std::vector<Hdf5Attribute>& attributes) {
    write_tile_coordinates(folder / "x.h5", some_tiles(TileMode::kClam).coords, attributes);
    expect_error(ErrorKind::kFormat, part, [&] { read_tiles(folder / "x.h5"); });
  };
  refused("neither 'patch_level' (CLAM) nor", {});
  refused("'patch_size' is '', expected 1 number", {{"patch_level", std::int64_t{0}}});
  refused("'patch_size' is '-4'",
          {{"patch_level", std::int64_t{0}}, {"patch_size", std::int64_t{-4}}});
  refused("'downsample' is '[1]', expected 2 numbers",
          {{"patch_level", std::int64_t{0}},
           {"patch_size", std::int64_t{256}},
           {"downsample", std::vector<double>{1.0}}});
  refused("'patch_size_level0' is 'wide'",
          {{"patch_size", std::int64_t{256}}, {"patch_size_level0", std::string("wide")}});
}

// What CLAM's and TRIDENT's own readers would find, where h5py is installed.
TEST(TileFile, OpensInH5py) {
  if (std::system("/usr/bin/python3 -c 'import h5py' 2>/dev/null") != 0) {
    GTEST_SKIP() << "PYTHON'S H5PY NOT FOUND (python3-h5py)";
  }
  const TemporaryFolder folder;
  write_tiles(folder / "clam.h5", some_tiles(TileMode::kClam), "s", "out");
  write_tiles(folder / "ours.h5", some_tiles(TileMode::kMpp), "s", "out");
  write_file_atomic(folder / "check.py", R"(
import sys, h5py, numpy
for name, chunks in (('clam.h5', (1, 2)), ('ours.h5', (5, 2))):
    d = h5py.File(sys.argv[1] + '/' + name, 'r')['coords']
    assert d.shape == (5, 2) and d.dtype == numpy.int64, d
    assert d.maxshape == (None, 2) and d.chunks == chunks, (d.maxshape, d.chunks)
    assert d[4, 1] == 6300 and d.attrs['name'] == 's', d.attrs['name']
    assert isinstance(d.attrs['patch_size'], numpy.int64) and d.attrs['patch_level'] == 1
    assert d.attrs['downsample'].dtype == numpy.float64 and d.attrs['downsample'].shape == (2,)
    assert d.attrs['level_dim'].dtype == numpy.int64 and list(d.attrs['level_dim']) == [2221, 1783]
    assert isinstance(d.attrs['save_path'], str)
)");
  const std::string root = (folder / "check.py").parent_path().string();
  EXPECT_EQ(std::system(("/usr/bin/python3 '" + root + "/check.py' '" + root + "'").c_str()), 0);
}

}  // namespace
}  // namespace med3d
