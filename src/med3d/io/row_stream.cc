#include "med3d/io/row_stream.h"

#include <fmt/format.h>

#include <algorithm>

#include "med3d/core/error.h"
#include "med3d/core/limits.h"

namespace med3d {

void RowStream::each_block(const Take& take) const {
  const std::uint64_t expected = checked_multiply(rows, cols, "rows to be written");
  std::uint64_t seen = 0;
  blocks([&](std::span<const float> block) {
    seen += block.size();
    if (cols == 0 || block.size() % cols != 0 || seen > expected) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("a block of {} numbers, {} so far, of {} rows of {}",
                              block.size(),
                              seen,
                              rows,
                              cols));
    }
    take(block);
  });
  if (seen != expected) {
    throw Error(ErrorKind::kUsage, fmt::format("{} numbers of {} rows of {}", seen, rows, cols));
  }
}

RowStream rows_of(const Matrix<float>& matrix) {
  return {matrix.rows(), matrix.cols(), [&matrix](const RowStream::Take& take) {
            constexpr std::size_t kRows = 256;
            for (std::size_t row = 0; row < matrix.rows(); row += kRows) {
              const std::size_t count = std::min(kRows, matrix.rows() - row);
              take({matrix.data() + row * matrix.cols(), count * matrix.cols()});
            }
          }};
}

}  // namespace med3d
