// Brings feature columns (embeddings) to mean 0 and standard deviation 1.
#pragma once

#include <vector>

#include "med3d/core/json.h"
#include "med3d/core/matrix.h"

namespace med3d::tabular {

// z = (x - mean) / sd per column, sd with divisor n, both of the training rows and summed in
// double. A column that is constant in training (or varies by less than a float can hold beside its
// mean) becomes 0 everywhere: it can carry nothing.
class Standardizer {
 public:
  // training (n, p), n >= 1, finite. Cost O(n p).
  // Throws Error(kData) without rows or naming the row and column of a value that is not finite.
  static Standardizer fit(const Matrix<float>& training);

  // (m, p) to (m, p). Throws Error(kUsage) on another width, Error(kData) as fit.
  Matrix<float> transform(const Matrix<float>& x) const;

  std::size_t columns() const { return mean_.size(); }
  const std::vector<double>& mean() const { return mean_; }
  const std::vector<double>& sd() const { return sd_; }  // 0 for a constant column

  Json to_json() const;
  static Standardizer from_json(const Json& json);  // throws Error(kFormat)

 private:
  std::vector<double> mean_, sd_;
};

}  // namespace med3d::tabular
