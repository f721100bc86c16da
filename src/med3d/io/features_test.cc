#include "med3d/io/features.h"

#include <sys/stat.h>

#include <cmath>
#include <limits>
#include <set>

#include "med3d/core/file.h"
#include "med3d/io/formats/csv.h"
#include "med3d/io/formats/hdf5.h"
#include "med3d/io/formats/npy.h"
#include "med3d/io/formats/safetensors.h"
#include "med3d/io/formats/torch_file.h"
#include "med3d/io/test_support.inc"

namespace med3d {
namespace {

using namespace testing_io;
namespace fs = std::filesystem;

Matrix<float> small_matrix() {
  Matrix<float> out(2, 3);
  for (std::size_t i = 0; i < 6; ++i) out.data()[i] = static_cast<float>(i) - 2.5F;
  return out;
}

TEST(Features, EveryFormatGivesTheSameMatrix) {
  const TemporaryFolder folder;
  const auto matrix = small_matrix();
  const std::vector<NamedArray> arrays = {{"features", from_matrix(matrix)}};
  write_file_atomic(folder / "a.npy", npy_bytes(matrix));
  write_file_atomic(folder / "a.NPZ", npz_bytes(arrays));
  write_file_atomic(folder / "a.safetensors", safetensors_bytes(arrays));
  write_clam_features(folder / "a.h5", matrix);
  for (const char* name : {"a.npy", "a.NPZ", "a.safetensors", "a.h5"}) {
    EXPECT_EQ(read_features(folder / name), matrix) << name;
    // Without an extension the content decides.
    fs::copy_file(folder / name, folder / "bare", fs::copy_options::overwrite_existing);
    EXPECT_EQ(read_features(folder / "bare"), matrix) << name;
  }
}

TEST(StoredFeatures, LieInTheFileOrAreNotThere) {
  const TemporaryFolder folder;
  const auto matrix = small_matrix();
  const std::vector<NamedArray> arrays = {{"features", from_matrix(matrix)}};
  write_file_atomic(folder / "a.safetensors", safetensors_bytes(arrays));
  write_file_atomic(folder / "a.pt", torch_tensor_bytes(from_matrix(matrix)));
  write_file_atomic(folder / "dict.pt", torch_bytes(arrays));
  for (const char* name : {"a.safetensors", "a.pt", "dict.pt"}) {
    const auto found = stored_features(folder / name);
    ASSERT_TRUE(found.has_value()) << name;
    ASSERT_EQ(found->rows, 2U);
    ASSERT_EQ(found->cols, 3U);
    EXPECT_TRUE(std::equal(matrix.data(), matrix.data() + 6, found->data())) << name;
  }
  Array half = from_matrix(matrix);
  half.dtype = DType::kF16;
  half.bytes.resize(12);
  write_file_atomic(folder / "half.pt", torch_tensor_bytes(half));
  write_file_atomic(folder / "a.npy", npy_bytes(matrix));
  for (const char* name : {"half.pt", "a.npy"}) {
    EXPECT_FALSE(stored_features(folder / name).has_value()) << name;
  }
}

TEST(StoredFeatures, RefuseWhatReadFeaturesRefuses) {
  const TemporaryFolder folder;
  auto matrix = small_matrix();
  std::string damaged = torch_tensor_bytes(from_matrix(matrix));
  const auto at = damaged.find(
      std::string_view(reinterpret_cast<const char*>(matrix.data()), 6 * sizeof(float)));
  ASSERT_NE(at, std::string::npos);
  damaged[at] = static_cast<char>(damaged[at] ^ 1);
  write_file_atomic(folder / "bit.pt", damaged);
  expect_error(ErrorKind::kFormat, "checksum", [&] { stored_features(folder / "bit.pt"); });
  matrix(1, 0) = std::numeric_limits<float>::infinity();
  write_file_atomic(folder / "inf.pt", torch_tensor_bytes(from_matrix(matrix)));
  expect_error(ErrorKind::kData, "row 1, column 0 (counted from 0) is inf", [&] {
    stored_features(folder / "inf.pt");
  });
  const std::vector<NamedArray> two = {{"x", from_matrix(matrix)}, {"y", from_matrix(matrix)}};
  write_file_atomic(folder / "two.safetensors", safetensors_bytes(two));
  expect_error(ErrorKind::kFormat, "2 arrays (x, y), expected one or one named 'features'", [&] {
    stored_features(folder / "two.safetensors");
  });
}

TEST(Features, TheListNamesEachFormatAndExtensionOnce) {
  std::set<std::string_view> seen;
  for (const auto* format : feature_formats()) {
    EXPECT_TRUE(seen.insert(format->name).second);
    for (const auto extension : format->extensions) {
      EXPECT_TRUE(seen.insert(extension).second);
      EXPECT_EQ(extension.front(), '.');
    }
    EXPECT_FALSE(format->detect("")) << format->name;
    EXPECT_FALSE(format->detect("plain text, no feature file")) << format->name;
  }
}

TEST(Features, RefusesContentOfAnotherFormatThanTheName) {
  const TemporaryFolder folder;
  write_file_atomic(folder / "a.h5", npy_bytes(small_matrix()));
  expect_error(ErrorKind::kFormat, "a.h5: named as hdf5 but its content is npy", [&] {
    read_features(folder / "a.h5");
  });
  write_file_atomic(folder / "b.npz", "some text");
  expect_error(ErrorKind::kFormat, "b.npz: named as npz but its content is not", [&] {
    read_features(folder / "b.npz");
  });
  write_file_atomic(folder / "c.txt", "some text");
  expect_error(ErrorKind::kUnsupported, "c.txt: not a feature file that is known", [&] {
    read_features(folder / "c.txt");
  });
  write_file_atomic(folder / "d.npy", "");
  expect_error(ErrorKind::kFormat, "an empty file", [&] { read_features(folder / "d.npy"); });
}

TEST(Features, RefusesMissingFilesFoldersAndPipesWithoutBlocking) {
  const TemporaryFolder folder;
  expect_error(ErrorKind::kNotFound, "none.npy", [&] { read_features(folder / "none.npy"); });
  fs::create_directory(folder / "folder.h5");
  expect_error(ErrorKind::kFormat, "is a folder", [&] { read_features(folder / "folder.h5"); });
  ASSERT_EQ(::mkfifo((folder / "pipe.npy").c_str(), 0600), 0);
  expect_error(ErrorKind::kFormat, "is a pipe", [&] { read_features(folder / "pipe.npy"); });
}

TEST(Features, RefusesValuesThatAreNotFiniteAndNamesTheCell) {
  const TemporaryFolder folder;
  auto matrix = small_matrix();
  matrix(1, 2) = std::numeric_limits<float>::quiet_NaN();
  write_file_atomic(folder / "a.npy", npy_bytes(matrix));
  expect_error(ErrorKind::kData, "row 1, column 2 (counted from 0) is nan", [&] {
    read_features(folder / "a.npy");
  });
  matrix(0, 1) = -std::numeric_limits<float>::infinity();
  write_file_atomic(folder / "a.npy", npy_bytes(matrix));
  expect_error(ErrorKind::kData, "row 0, column 1 (counted from 0) is -inf", [&] {
    read_features(folder / "a.npy");
  });
  // Values are tested in blocks of 4,096: the first and last of a block, and of the file.
  for (const std::size_t at : {0, 4095, 4096, 8191, 8192, 8999}) {
    Matrix<float> large(3, 3000);
    for (std::size_t i = 0; i < large.size(); ++i) large.data()[i] = 3.4e38F;
    large.data()[at] = std::numeric_limits<float>::infinity();
    write_file_atomic(folder / "a.npy", npy_bytes(large));
    const std::string cell = "row " + std::to_string(at / 3000) + ", column " +
                             std::to_string(at % 3000) + " (counted from 0) is inf";
    expect_error(ErrorKind::kData, cell, [&] { read_features(folder / "a.npy"); });
  }
  write_file_atomic(folder / "a.npy", npy_bytes(Matrix<float>(0, 5)));
  expect_error(ErrorKind::kData, "0 rows of 5 features", [&] { read_features(folder / "a.npy"); });
}

FeatureTable table_of(const std::string& text) {
  const TemporaryFolder folder;
  write_file_atomic(folder / "t.csv", text);
  return read_feature_table(folder / "t.csv");
}

TEST(FeatureTable, ReadsAnySpellingOfTheCaseColumn) {
  for (const std::string name :
       {"case_id", "patient_id", "PatientID", "Case ID", "PATIENT", "Patient_ID", "\"case-id\""}) {
    const auto table = table_of(name + ",ehr_0,x 1\n C-1 ,0.5,-2\nC-2,1e-3,3\n");
    EXPECT_EQ(table.case_ids, (std::vector<std::string>{"C-1", "C-2"})) << name;
    EXPECT_EQ(table.columns, (std::vector<std::string>{"ehr_0", "x 1"}));
    EXPECT_TRUE(table.item_ids.empty());
    EXPECT_EQ(table.values(1, 0), 1e-3F);
    EXPECT_EQ(table.values(0, 1), -2.0F);
  }
  const auto indexed = table_of(",case_id,slide_id,wsi_0\n0,C-1,S-1,1\n1,C-1,S-2,2\n");
  EXPECT_EQ(indexed.item_ids, (std::vector<std::string>{"S-1", "S-2"}));
  EXPECT_EQ(indexed.columns, (std::vector<std::string>{"wsi_0"}));
}

TEST(FeatureTable, NamesLineAndColumnOfWhatItRefuses) {
  const auto refused = [](ErrorKind kind, const std::string& text, std::string_view message) {
    expect_error(kind, message, [&] { table_of(text); });
  };
  refused(ErrorKind::kFormat, "case_id,x\nA,1\nB,high\n", "t.csv: line 3, column 'x': 'high', exp");
  refused(ErrorKind::kFormat, "case_id,x\nA,\n", "line 2, column 'x': an empty cell");
  refused(ErrorKind::kFormat, "case_id;x\nA;1,5\n", "line 2, column 'x': '1,5', expected a number");
  refused(ErrorKind::kData, "case_id,x\nA,nan\n", "line 2, column 'x': 'nan', expected a finite");
  refused(ErrorKind::kData, "case_id,x\nA,-inf\n", "'-inf', expected a finite");
  refused(ErrorKind::kData, "case_id,x\nA,1e39\n", "'1e39', expected a finite number of single");
  refused(
      ErrorKind::kData, "case_id,x\nA,1\nB,2\nA,3\n", "line 4, column 'case_id': the id of line 2");
  refused(ErrorKind::kData,
          "case_id,slide_id,x\nA,s,1\nA,s,3\n",
          "column 'slide_id': the id of line 2");
  refused(ErrorKind::kData, "case_id,x\n ,1\n", "line 2, column 'case_id': a blank id");
  refused(ErrorKind::kFormat, "age,x\n1,1\n", "the first column is 'age', expected a case id");
  refused(ErrorKind::kFormat, "case_id,slide_id\nA,1\n", "no feature columns after the ids");
}

TEST(FeatureTable, ComesBackFromItsText) {
  FeatureTable table;
  table.case_ids = {"C-1", "C, 2"};
  table.columns = feature_columns("ehr", 3);
  table.values = small_matrix();
  table.values(0, 0) = 0.1F;
  const std::string text = feature_table_csv(table);
  EXPECT_EQ(text, "case_id,ehr_0,ehr_1,ehr_2\nC-1,0.1,-1.5,-0.5\n\"C, 2\",0.5,1.5,2.5\n");
  const auto back = table_of(text);
  EXPECT_EQ(back.case_ids, table.case_ids);
  EXPECT_EQ(back.columns, table.columns);
  EXPECT_EQ(back.values, table.values);
  table.item_ids = {"a", "b"};
  EXPECT_EQ(table_of(feature_table_csv(table)).item_ids, table.item_ids);
  table.item_ids = {"a"};
  expect_error(ErrorKind::kUsage, "do not fit together", [&] { feature_table_csv(table); });
}

// MMIST-ccRCC: deflated npz of numpy, one array arr_0 of shape (1,1,512,1) or (1,1024).
TEST(FeaturesRealFiles, ReadsEveryFeatureFileOfMmist) {
  const fs::path root = test_data_folder() / "mmist-ccrcc" / "Features";
  MED3D_REQUIRE_DATA(root);
  std::size_t files = 0;
  for (const auto& [folder, features] :
       {std::pair("CT Features", 512U), {"MRI Features", 512U}, {"WSI Features", 1024U}}) {
    for (const auto& entry : fs::directory_iterator(root / folder)) {
      const auto matrix = read_features(entry.path());
      ASSERT_EQ(matrix.rows(), 1U) << entry.path();
      ASSERT_EQ(matrix.cols(), features) << entry.path();
      ++files;
    }
  }
  EXPECT_GT(files, 1000U);
}

TEST(FeaturesRealFiles, ReadsTheFeaturesOfClamItself) {
  const fs::path root = test_data_folder() / "reference" / "clam_cli";
  MED3D_REQUIRE_DATA(root);
  std::size_t files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    if (entry.path().extension() != ".h5") continue;
    if (entry.path().parent_path().filename() == "h5_files") {
      EXPECT_EQ(read_features(entry.path()).cols(), 1024U) << entry.path();
      const auto file = read_feature_file(entry.path());
      EXPECT_EQ(file.convention, "clam");
      ASSERT_TRUE(file.coords.has_value());
      EXPECT_EQ(file.coords->rows(), file.features.rows());
      ++files;
    } else {
      expect_error(ErrorKind::kFormat, "only 'coords'", [&] { read_features(entry.path()); });
    }
  }
  EXPECT_GT(files, 0U);
}

}  // namespace
}  // namespace med3d
