// Symmetric positive semi-definite systems of the size of a model's coefficients.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "med3d/core/matrix.h"

namespace med3d::stats::survival {

// A = L D L', where a column whose pivot falls below tolerance * (its own diagonal) is left out:
// it is a combination of those before it. solve() gives 0 there, inverse() a row and column of 0.
class Cholesky {
 public:
  explicit Cholesky(const Matrix<double>& a, double tolerance = 1e-10);

  std::size_t rank() const { return rank_; }
  bool kept(std::size_t i) const { return kept_[i] != 0; }
  std::vector<double> solve(std::span<const double> b) const;
  Matrix<double> inverse() const;

 private:
  Matrix<double> lower_;
  std::vector<double> pivot_;
  std::vector<char> kept_;
  std::size_t rank_ = 0;
};

}  // namespace med3d::stats::survival
