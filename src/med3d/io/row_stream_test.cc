#include "med3d/io/row_stream.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <numeric>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/io/formats/hdf5.h"
#include "med3d/io/formats/safetensors.h"
#include "med3d/io/formats/torch_file.h"

namespace med3d {
namespace {

namespace fs = std::filesystem;

Matrix<float> counted(std::size_t rows, std::size_t cols) {
  Matrix<float> matrix(rows, cols);
  std::iota(matrix.data(), matrix.data() + matrix.size(), 0.0F);
  return matrix;
}

// Blocks of 1, 2, 3, ... rows: none of a file's own sizes.
RowStream uneven(const Matrix<float>& matrix) {
  return {matrix.rows(), matrix.cols(), [&matrix](const RowStream::Take& take) {
            std::size_t row = 0;
            for (std::size_t count = 1; row < matrix.rows(); ++count) {
              const std::size_t n = std::min(count, matrix.rows() - row);
              take({matrix.data() + row * matrix.cols(), n * matrix.cols()});
              row += n;
            }
          }};
}

class RowStreamFiles : public testing::Test {
 protected:
  RowStreamFiles() {
    std::string name = (fs::temp_directory_path() / "med3d-rows-XXXXXX").string();
    folder_ = mkdtemp(name.data());
  }
  ~RowStreamFiles() override { fs::remove_all(folder_); }
  fs::path folder_;
};

TEST_F(RowStreamFiles, TorchFileHasTheBytesOfTheWholeTensor) {
  const auto matrix = counted(77, 5);
  write_torch_rows(folder_ / "a.pt", uneven(matrix));
  EXPECT_EQ(read_file(folder_ / "a.pt", 1 << 20), torch_tensor_bytes(from_matrix(matrix)));
}

TEST_F(RowStreamFiles, SafetensorsFileHasTheBytesOfTheWholeTensor) {
  const auto matrix = counted(77, 5);
  write_safetensors_rows(folder_ / "a.safetensors", uneven(matrix));
  const NamedArray whole{"features", from_matrix(matrix)};
  EXPECT_EQ(read_file(folder_ / "a.safetensors", 1 << 20), safetensors_bytes({&whole, 1}, {}));
}

TEST_F(RowStreamFiles, Hdf5FileHasTheSameBytesHoweverItsRowsCome) {
  const auto matrix = counted(77, 5);
  Matrix<std::int64_t> coords(77, 2, 3);
  write_clam_features(folder_ / "a.h5", uneven(matrix), coords);
  write_clam_features(folder_ / "b.h5", matrix, coords);
  EXPECT_EQ(read_file(folder_ / "a.h5", 1 << 20), read_file(folder_ / "b.h5", 1 << 20));
  EXPECT_EQ(read_feature_file(folder_ / "a.h5").features, matrix);
}

TEST_F(RowStreamFiles, RefusesBlocksThatAreNotTheRowsPromised) {
  const auto matrix = counted(4, 5);
  RowStream fewer = rows_of(matrix);
  fewer.rows = 5;
  EXPECT_THROW(write_torch_rows(folder_ / "a.pt", fewer), Error);
  RowStream more = rows_of(matrix);
  more.rows = 3;
  EXPECT_THROW(write_torch_rows(folder_ / "a.pt", more), Error);
  RowStream ragged = {4, 5, [&](const RowStream::Take& take) { take({matrix.data(), 7}); }};
  EXPECT_THROW(write_clam_features(folder_ / "a.h5", ragged), Error);
  EXPECT_TRUE(fs::is_empty(folder_));
}

}  // namespace
}  // namespace med3d
