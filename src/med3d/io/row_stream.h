// A matrix of features that is too long to be held: rows come in blocks, as often as asked.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "med3d/core/matrix.h"

namespace med3d {

struct RowStream {
  using Take = std::function<void(std::span<const float> rows)>;

  std::uint64_t rows = 0;
  std::uint64_t cols = 0;
  // Calls its argument with whole rows, (k, cols) row-major, from the first to the last. The same
  // numbers each time; may be called several times.
  std::function<void(const Take&)> blocks;

  // The same, checked. Throws Error(kUsage) if the blocks are not rows * cols numbers in whole
  // rows.
  void each_block(const Take& take) const;
};

// `matrix` must live as long as the stream.
RowStream rows_of(const Matrix<float>& matrix);

}  // namespace med3d
