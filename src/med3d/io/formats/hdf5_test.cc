#include "med3d/io/formats/hdf5.h"

#include <hdf5.h>

#include <thread>

#include "med3d/core/file.h"
#include "med3d/io/test_support.inc"

namespace med3d {
namespace {

using namespace testing_io;
namespace fs = std::filesystem;

Matrix<float> some_features(std::size_t rows, std::size_t cols) {
  Matrix<float> out(rows, cols);
  for (std::size_t i = 0; i < out.size(); ++i) out.data()[i] = static_cast<float>(i) * 0.5F - 3.0F;
  return out;
}

Matrix<std::int64_t> some_coords(std::size_t rows) {
  Matrix<std::int64_t> out(rows, 2);
  for (std::size_t i = 0; i < out.size(); ++i) out.data()[i] = static_cast<std::int64_t>(256 * i);
  return out;
}

// Files of the other writers, made with the C library directly.
class Hdf5File {
 public:
  explicit Hdf5File(const fs::path& path)
      : id_(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT)) {}
  ~Hdf5File() { H5Fclose(id_); }
  Hdf5File(const Hdf5File&) = delete;
  Hdf5File& operator=(const Hdf5File&) = delete;

  hid_t id() const { return id_; }

  // `values` may be null: a dataset that was declared and never written.
  hid_t dataset(const char* name,
                const std::vector<hsize_t>& dims,
                hid_t stored,
                hid_t memory,
                const void* values,
                hsize_t chunk_rows = 0) const {
    const hid_t space = H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr);
    const hid_t plan = H5Pcreate(H5P_DATASET_CREATE);
    if (chunk_rows > 0) {
      auto chunk = dims;
      chunk[0] = chunk_rows;
      H5Pset_chunk(plan, static_cast<int>(chunk.size()), chunk.data());
    }
    const hid_t out = H5Dcreate2(id_, name, stored, space, H5P_DEFAULT, plan, H5P_DEFAULT);
    if (values != nullptr) H5Dwrite(out, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
    H5Pclose(plan);
    H5Sclose(space);
    return out;
  }

  static void text(hid_t object, const char* name, const std::string& value, bool variable) {
    const hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, variable ? H5T_VARIABLE : value.size());
    const hid_t space = H5Screate(H5S_SCALAR);
    const hid_t attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    const char* pointer = value.c_str();
    H5Awrite(attribute, type, variable ? static_cast<const void*>(&pointer) : value.data());
    H5Aclose(attribute);
    H5Sclose(space);
    H5Tclose(type);
  }

  static void numbers(hid_t object,
                      const char* name,
                      const std::vector<double>& values,
                      bool whole) {
    const hsize_t count = values.size();
    const hid_t space = count == 1 ? H5Screate(H5S_SCALAR) : H5Screate_simple(1, &count, nullptr);
    const hid_t type = whole ? H5T_STD_I64LE : H5T_IEEE_F64LE;
    const hid_t attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    H5Awrite(attribute, H5T_NATIVE_DOUBLE, values.data());
    H5Aclose(attribute);
    H5Sclose(space);
  }

 private:
  hid_t id_;
};

hid_t half_precision() {
  const hid_t type = H5Tcopy(H5T_IEEE_F32LE);
  H5Tset_fields(type, 15, 10, 5, 0, 10);
  H5Tset_size(type, 2);
  H5Tset_ebias(type, 15);
  return type;
}

TEST(Hdf5, ClamFilesComeBackAndAreTheSameBytesTwice) {
  const TemporaryFolder folder;
  const auto features = some_features(70, 5);  // two full chunks of 32 rows and a part of one
  const auto coords = some_coords(70);
  write_clam_features(folder / "a.h5", features, coords);
  write_clam_features(folder / "b.h5", features, coords);
  EXPECT_EQ(read_file(folder / "a.h5", 1U << 20U), read_file(folder / "b.h5", 1U << 20U));
  const auto file = read_feature_file(folder / "a.h5");
  EXPECT_EQ(file.features, features);
  ASSERT_TRUE(file.coords.has_value());
  EXPECT_EQ(*file.coords, coords);
  EXPECT_EQ(file.convention, "clam");
  EXPECT_TRUE(file.attributes.empty());
  write_clam_features(folder / "c.h5", features);
  EXPECT_FALSE(read_feature_file(folder / "c.h5").coords.has_value());
}

TEST(Hdf5, ReadsTridentFilesWithTheirAttributes) {
  const TemporaryFolder folder;
  const auto features = some_features(3, 4);
  const auto coords = some_coords(3);
  {
    const Hdf5File file(folder / "t.h5");
    const hid_t f =
        file.dataset("features", {3, 4}, H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, features.data());
    Hdf5File::text(f, "encoder", "uni_v1", true);
    Hdf5File::text(f, "name", "slide", false);
    H5Dclose(f);
    const hid_t c =
        file.dataset("coords", {3, 2}, H5T_STD_I64LE, H5T_NATIVE_INT64, coords.data(), 1);
    Hdf5File::numbers(c, "patch_size", {256}, true);
    Hdf5File::numbers(c, "target_magnification", {20.5}, false);
    Hdf5File::numbers(c, "level_dim", {100, 200}, true);
    H5Dclose(c);
  }
  const auto file = read_feature_file(folder / "t.h5");
  EXPECT_EQ(file.convention, "trident");
  EXPECT_EQ(file.features, features);
  EXPECT_EQ(*file.coords, coords);
  EXPECT_EQ(file.attributes,
            (std::map<std::string, std::string>{{"features.encoder", "uni_v1"},
                                                {"features.name", "slide"},
                                                {"coords.patch_size", "256"},
                                                {"coords.target_magnification", "20.5"},
                                                {"coords.level_dim", "[100, 200]"}}));
}

TEST(Hdf5, ReadsStampFilesOfHalfPrecision) {
  const TemporaryFolder folder;
  const auto features = some_features(2, 3);  // multiples of 0.5: exact in half precision
  const std::vector<double> coords = {0.0, 256.4, 511.6, -1.5};
  {
    const Hdf5File file(folder / "s.h5");
    const hid_t type = half_precision();
    H5Dclose(file.dataset("feats", {2, 3}, type, H5T_NATIVE_FLOAT, features.data()));
    H5Tclose(type);
    H5Dclose(file.dataset("coords", {2, 2}, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, coords.data()));
    Hdf5File::text(file.id(), "extractor", "ctranspath", true);
    Hdf5File::numbers(file.id(), "tile_size_um", {256}, false);
  }
  const auto file = read_feature_file(folder / "s.h5");
  EXPECT_EQ(file.convention, "stamp");
  EXPECT_EQ(file.features, features);
  EXPECT_EQ((*file.coords)(0, 1), 256);
  EXPECT_EQ((*file.coords)(1, 0), 512);
  EXPECT_EQ(file.attributes.at("extractor"), "ctranspath");
  EXPECT_EQ(file.attributes.at("tile_size_um"), "256");
}

TEST(Hdf5, ReadsOneAxisLeadingOnesOtherTypesAndEmptySlides) {
  const TemporaryFolder folder;
  const std::vector<double> values = {1, 2, 3, 4, 5, 6};
  {
    const Hdf5File a(folder / "a.h5");
    H5Dclose(a.dataset("features", {6}, H5T_IEEE_F64BE, H5T_NATIVE_DOUBLE, values.data()));
    const Hdf5File b(folder / "b.h5");
    H5Dclose(b.dataset("features", {1, 2, 3}, H5T_STD_I16LE, H5T_NATIVE_DOUBLE, values.data()));
    const Hdf5File c(folder / "c.h5");
    H5Dclose(c.dataset("features", {0, 7}, H5T_IEEE_F32LE, H5T_NATIVE_DOUBLE, nullptr));
  }
  EXPECT_EQ(read_feature_file(folder / "a.h5").features.cols(), 6U);
  const auto b = read_feature_file(folder / "b.h5").features;
  EXPECT_EQ(b.rows(), 2U);
  EXPECT_EQ(b(1, 2), 6.0F);
  EXPECT_EQ(read_feature_file(folder / "c.h5").features.cols(), 7U);
}

TEST(Hdf5, NamesWhatIsWrongWithAFile) {
  const TemporaryFolder folder;
  const std::vector<float> values(12, 1.0F);
  const auto refused = [&](ErrorKind kind, std::string_view message, const auto& fill) {
    {
      const Hdf5File file(folder / "x.h5");
      fill(file);
    }
    expect_error(kind, message, [&] { read_feature_file(folder / "x.h5"); });
  };
  const auto add =
      [&](const Hdf5File& file, const char* name, std::vector<hsize_t> dims, const void* data) {
        H5Dclose(file.dataset(name, dims, H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, data));
      };
  refused(ErrorKind::kFormat, "x.h5: no dataset 'features' or 'feats'", [](const Hdf5File&) {});
  refused(ErrorKind::kFormat, "only 'coords'", [&](const Hdf5File& file) {
    add(file, "coords", {6, 2}, values.data());
  });
  refused(ErrorKind::kFormat, "'features' has shape (2, 2, 3)", [&](const Hdf5File& file) {
    add(file, "features", {2, 2, 3}, values.data());
  });
  refused(
      ErrorKind::kFormat, "'coords' has shape (3, 2), expected (4, 2)", [&](const Hdf5File& file) {
        add(file, "features", {4, 3}, values.data());
        add(file, "coords", {3, 2}, values.data());
      });
  refused(
      ErrorKind::kFormat, "'features' was declared but never written", [&](const Hdf5File& file) {
        add(file, "features", {4, 3}, nullptr);
      });
  refused(ErrorKind::kFormat, "'features' is no readable dataset", [](const Hdf5File& file) {
    H5Gclose(H5Gcreate2(file.id(), "features", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  });
  refused(ErrorKind::kFormat, "does not hold numbers", [](const Hdf5File& file) {
    const hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, 4);
    H5Dclose(file.dataset("features", {2}, type, type, "abcdefg"));
    H5Tclose(type);
  });
}

TEST(Hdf5, RefusesChunksThatWereNeverWritten) {
  const TemporaryFolder folder;
  {
    const Hdf5File file(folder / "x.h5");
    const hid_t dataset =
        file.dataset("features", {64, 2}, H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, nullptr, 32);
    const hsize_t start[2] = {0, 0};
    const hsize_t count[2] = {32, 2};
    const hid_t to = H5Dget_space(dataset);
    H5Sselect_hyperslab(to, H5S_SELECT_SET, start, nullptr, count, nullptr);
    const hid_t from = H5Screate_simple(2, count, nullptr);
    const std::vector<float> values(64, 1.0F);
    H5Dwrite(dataset, H5T_NATIVE_FLOAT, from, to, H5P_DEFAULT, values.data());
    H5Sclose(from);
    H5Sclose(to);
    H5Dclose(dataset);
  }
  expect_error(ErrorKind::kFormat, "'features' holds 1 of 2 chunks", [&] {
    read_feature_file(folder / "x.h5");
  });
}

TEST(Hdf5, RefusesABombFromItsShapeAlone) {
  const TemporaryFolder folder;
  {
    // 2^14 x 2^14 floats are 1 GiB; one chunk of the 2^14 is stored.
    const Hdf5File file(folder / "x.h5");
    const hid_t dataset =
        file.dataset("features", {16384, 16384}, H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, nullptr, 1);
    const hsize_t start[2] = {0, 0};
    const hsize_t count[2] = {1, 16384};
    const hid_t to = H5Dget_space(dataset);
    H5Sselect_hyperslab(to, H5S_SELECT_SET, start, nullptr, count, nullptr);
    const hid_t from = H5Screate_simple(2, count, nullptr);
    const std::vector<float> values(16384, 1.0F);
    H5Dwrite(dataset, H5T_NATIVE_FLOAT, from, to, H5P_DEFAULT, values.data());
    H5Sclose(from);
    H5Sclose(to);
    H5Dclose(dataset);
    const Hdf5File huge(folder / "y.h5");
    H5Dclose(huge.dataset(
        "features", {1ULL << 40U, 1ULL << 20U}, H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, nullptr, 1));
  }
  expect_error(ErrorKind::kFormat, "would grow from 65536 to 1073741824 bytes", [&] {
    read_feature_file(folder / "x.h5");
  });
  expect_error(
      ErrorKind::kFormat, "more than the limit of", [&] { read_feature_file(folder / "y.h5"); });
}

TEST(Hdf5, NeverFollowsLinksOrDataInOtherFiles) {
  const TemporaryFolder folder;
  write_clam_features(folder / "target.h5", some_features(2, 2));
  write_file_atomic(folder / "secret.raw", std::string(64, 's'));
  const auto expect_unsupported = [&](std::string_view message, const auto& fill) {
    {
      const Hdf5File file(folder / "x.h5");
      fill(file);
    }
    expect_error(ErrorKind::kUnsupported, message, [&] { read_feature_file(folder / "x.h5"); });
  };
  expect_unsupported("is a link to somewhere else", [](const Hdf5File& file) {
    H5Lcreate_external("target.h5", "features", file.id(), "features", H5P_DEFAULT, H5P_DEFAULT);
  });
  expect_unsupported("is a link to somewhere else", [](const Hdf5File& file) {
    H5Lcreate_soft("/elsewhere", file.id(), "features", H5P_DEFAULT, H5P_DEFAULT);
  });
  expect_unsupported("keeps its data in another file", [&](const Hdf5File& file) {
    const hsize_t dims[2] = {4, 4};
    const hid_t space = H5Screate_simple(2, dims, nullptr);
    const hid_t plan = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_external(plan, (folder / "secret.raw").c_str(), 0, 64);
    H5Dclose(
        H5Dcreate2(file.id(), "features", H5T_IEEE_F32LE, space, H5P_DEFAULT, plan, H5P_DEFAULT));
    H5Pclose(plan);
    H5Sclose(space);
  });
}

TEST(Hdf5, RefusesWhatIsNoHdf5File) {
  const TemporaryFolder folder;
  expect_error(ErrorKind::kNotFound, "none.h5", [&] { read_feature_file(folder / "none.h5"); });
  fs::create_directory(folder / "d.h5");
  expect_error(ErrorKind::kFormat, "is a folder", [&] { read_feature_file(folder / "d.h5"); });
  write_file_atomic(folder / "x.h5", "hello");
  expect_error(ErrorKind::kFormat, "x.h5: not an HDF5 file, or a damaged one", [&] {
    read_feature_file(folder / "x.h5");
  });
}

TEST(Hdf5, RefusesToWriteWhatClamHasNoPlaceFor) {
  const TemporaryFolder folder;
  expect_error(ErrorKind::kUsage, "0 x 0 features", [&] {
    write_clam_features(folder / "a.h5", Matrix<float>());
  });
  expect_error(ErrorKind::kUsage, "2 x 2 features with 3 x 2 coordinates", [&] {
    write_clam_features(folder / "a.h5", some_features(2, 2), some_coords(3));
  });
  Matrix<std::int64_t> far(1, 2, std::int64_t{1} << 40U);
  expect_error(ErrorKind::kUsage, "does not fit in 32 bits", [&] {
    write_clam_features(folder / "a.h5", some_features(1, 2), far);
  });
  EXPECT_FALSE(fs::exists(folder / "a.h5"));
}

// Each piece is read by a child of its own, so the cuts and flips are drawn and not all tried.
TEST(Hdf5, CoordinatesComeBackWithEveryKindOfAttribute) {
  const TemporaryFolder folder;
  const auto coords = some_coords(70);
  const Hdf5Attribute attributes[] = {{"patch_size", std::int64_t{256}},
                                      {"mpp", 0.2525},
                                      {"name", std::string("schnitt \xC3\xA4")},
                                      {"save_path", std::string()},
                                      {"level_dim", std::vector<std::int64_t>{4443, 3567}},
                                      {"downsample", std::vector<double>{1.0, 2.5}}};
  write_tile_coordinates(folder / "a.h5", coords, attributes, 32);
  write_tile_coordinates(folder / "b.h5", coords, attributes, 32);
  EXPECT_EQ(read_file(folder / "a.h5", 1U << 20U), read_file(folder / "b.h5", 1U << 20U));
  const CoordinateFile file = read_coordinate_file(folder / "a.h5");
  EXPECT_EQ(file.coords, coords);
  const std::map<std::string, std::string> expected = {{"patch_size", "256"},
                                                       {"mpp", "0.2525"},
                                                       {"name", "schnitt \xC3\xA4"},
                                                       {"save_path", ""},
                                                       {"level_dim", "[4443, 3567]"},
                                                       {"downsample", "[1, 2.5]"}};
  EXPECT_EQ(file.attributes, expected);
  expect_error(ErrorKind::kFormat, "only 'coords'", [&] { read_feature_file(folder / "a.h5"); });
  write_tile_coordinates(folder / "none.h5", {}, {});
  EXPECT_EQ(read_coordinate_file(folder / "none.h5").coords.rows(), 0U);
}

TEST(Hdf5, FilesOfFeaturesGiveTheirCoordinatesToo) {
  const TemporaryFolder folder;
  write_clam_features(folder / "f.h5", some_features(70, 5), some_coords(70));
  EXPECT_EQ(read_coordinate_file(folder / "f.h5").coords, some_coords(70));
  write_clam_features(folder / "g.h5", some_features(70, 5));
  expect_error(
      ErrorKind::kFormat, "no dataset 'coords'", [&] { read_coordinate_file(folder / "g.h5"); });
  {
    const Hdf5File file(folder / "h.h5");
    const std::vector<double> values(9);
    H5Dclose(file.dataset("coords", {3, 3}, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, values.data()));
  }
  expect_error(ErrorKind::kFormat, "'coords' has shape (3, 3), expected (tiles, 2)", [&] {
    read_coordinate_file(folder / "h.h5");
  });
}

TEST(Hdf5, RefusesToWriteCoordinatesThatAreNone) {
  const TemporaryFolder folder;
  const auto refused = [&](const char* part, const std::vector<Hdf5Attribute>& attributes) {
    expect_error(ErrorKind::kUsage, part, [&] {
      write_tile_coordinates(folder / "x.h5", some_coords(3), attributes);
    });
  };
  refused("attribute 'a' is given twice", {{"a", 1.0}, {"b", 1.0}, {"a", 2.0}});
  refused("attribute '' is no name", {{"", 1.0}});
  refused("attribute 'a' is an empty list", {{"a", std::vector<double>{}}});
  refused("attribute 'a' has text with a zero byte", {{"a", std::string(3, '\0')}});
  expect_error(ErrorKind::kUsage, "3 x 3 coordinates in chunks of 5", [&] {
    write_tile_coordinates(folder / "x.h5", Matrix<std::int64_t>(3, 3), {}, 5);
  });
  expect_error(ErrorKind::kUsage, "in chunks of 0", [&] {
    write_tile_coordinates(folder / "x.h5", some_coords(3), {}, 0);
  });
  expect_error(ErrorKind::kIo, "missing", [&] {
    write_bytes(folder / "missing", "a file, not a folder");
    write_tile_coordinates(folder / "missing/x.h5", some_coords(3), {});
  });
}

TEST(Hdf5, AttentionComesBackWithItsTilesAndIsTheSameBytesTwice) {
  const TemporaryFolder folder;
  const std::vector<float> scores = {0.5F, -1.25F, 3.0F};
  const auto coords = some_coords(3);
  const std::vector<Hdf5Attribute> attributes = {{"patch_size_level0", std::int64_t{512}}};
  write_attention_file(folder / "a.h5", scores, coords, attributes);
  const AttentionFile file = read_attention_file(folder / "a.h5");
  EXPECT_EQ(file.scores, scores);
  EXPECT_EQ(file.coords, coords);
  EXPECT_EQ(file.attributes.at("patch_size_level0"), "512");
  EXPECT_EQ(read_coordinate_file(folder / "a.h5").coords, coords);
  write_attention_file(folder / "b.h5", scores, coords, attributes);
  EXPECT_EQ(read_file(folder / "a.h5", 1U << 20U), read_file(folder / "b.h5", 1U << 20U));
}

// CLAM's own is (N, 1); numpy code that came through a squeeze or a transpose has one axis, or
// (1, N).
TEST(Hdf5, ReadsAttentionOfOneAxisAndNamesWhatIsNone) {
  const TemporaryFolder folder;
  const std::vector<double> scores = {1.0, 2.0};
  const std::vector<std::int64_t> at = {0, 0, 256, 0};
  const auto write = [&](const std::string& name, const std::vector<hsize_t>& dims) {
    const Hdf5File file(folder / name);
    H5Dclose(
        file.dataset("attention_scores", dims, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, scores.data()));
    H5Dclose(file.dataset("coords", {2, 2}, H5T_STD_I64LE, H5T_NATIVE_INT64, at.data()));
  };
  write("one.h5", {2});
  write("row.h5", {1, 2});
  write("short.h5", {1, 1});
  for (const char* name : {"one.h5", "row.h5"}) {
    EXPECT_EQ(read_attention_file(folder / name).scores, (std::vector<float>{1.0F, 2.0F})) << name;
  }
  expect_error(ErrorKind::kFormat, "expected (1, 2) for the 1 rows of 'attention_scores'", [&] {
    read_attention_file(folder / "short.h5");
  });
  write_tile_coordinates(folder / "tiles.h5", some_coords(2), {});
  expect_error(ErrorKind::kFormat, "no dataset 'attention_scores'", [&] {
    read_attention_file(folder / "tiles.h5");
  });
  expect_error(ErrorKind::kUsage, "0 scores", [&] {
    write_attention_file(folder / "x.h5", {}, some_coords(0), {});
  });
}

TEST(Hdf5, CutsAndBitFlipsOfASmallFileAreContained) {
  const TemporaryFolder folder;
  write_clam_features(folder / "good.h5", some_features(4, 3), some_coords(4));
  const std::string good = read_file(folder / "good.h5", 1U << 20U);
  const auto parse = [&](const std::string& bytes) {
    write_bytes(folder / "bad.h5", bytes);
    read_feature_file(folder / "bad.h5");
  };
  NumpyRandom random(11);
  for (int i = 0; i < 40; ++i) {
    const std::string cut = good.substr(0, random.randint(good.size()));
    EXPECT_THROW(parse(cut), Error) << "cut after " << cut.size() << " bytes";
  }
  EXPECT_THROW(parse(good.substr(0, good.size() - 1)), Error);
  // Most bytes of the file are zero padding; damage those that are not.
  for (int i = 0; i < 100; ++i) {
    std::string bad = good;
    std::size_t at = random.randint(bad.size());
    while (bad[at] == '\0') at = random.randint(bad.size());
    bad[at] = static_cast<char>(random.randint(256));
    try {
      parse(bad);
    } catch (const Error&) {
    }
  }
}

TEST(Hdf5, CutsAndDamageOfCoordinatesAreContained) {
  const TemporaryFolder folder;
  const Hdf5Attribute attributes[] = {{"patch_size", std::int64_t{256}},
                                      {"name", std::string("slide")},
                                      {"level_dim", std::vector<std::int64_t>{4443, 3567}}};
  write_tile_coordinates(folder / "good.h5", some_coords(4), attributes, 4);
  const std::string good = read_file(folder / "good.h5", 1U << 20U);
  const auto parse = [&](const std::string& bytes) {
    write_bytes(folder / "bad.h5", bytes);
    read_coordinate_file(folder / "bad.h5");
  };
  NumpyRandom random(12);
  for (int i = 0; i < 20; ++i) {
    EXPECT_THROW(parse(good.substr(0, random.randint(good.size()))), Error);
  }
  for (int i = 0; i < 60; ++i) {
    std::string bad = good;
    std::size_t at = random.randint(bad.size());
    while (bad[at] == '\0') at = random.randint(bad.size());
    bad[at] = static_cast<char>(random.randint(256));
    try {
      parse(bad);
    } catch (const Error&) {
    }
  }
}

TEST(Hdf5, ManyThreadsReadAndWriteAtOnce) {
  const TemporaryFolder folder;
  const auto features = some_features(8, 4);
  write_clam_features(folder / "a.h5", features);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 10; ++i) {
        EXPECT_EQ(read_feature_file(folder / "a.h5").features, features);
        write_clam_features(folder / ("w" + std::to_string(t) + ".h5"), features);
      }
    });
  }
  for (auto& thread : threads) thread.join();
}

}  // namespace
}  // namespace med3d
