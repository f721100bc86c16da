// The single steps of table preprocessing, each usable alone. NaN marks a missing number.
//
// Every step is fitted on training rows and then applied to others; ClinicalEncoder strings them
// together. Checked against: scikit-learn 1.2.1, to 1e-12.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "med3d/core/matrix.h"

namespace med3d::tabular {

// Median of the present values of each column, the mean of the middle two for an even count; NaN
// for a column without any. x (n, p), result (p,). SimpleImputer(strategy='median').
std::vector<double> column_medians(const Matrix<double>& x);

// x with each NaN replaced by its column's value. Throws Error(kUsage) if the widths differ.
Matrix<double> impute(const Matrix<double>& x, std::span<const double> value);

// The commonest value; of equally common ones the smallest (bytewise for text), as
// SimpleImputer(strategy='most_frequent'). NaN and "" are values like any other here: pass present
// cells only. Throws Error(kData) on an empty list.
std::string most_frequent(const std::vector<std::string>& cells);
double most_frequent(const std::vector<double>& values);

// MinMaxScaler: (x - min) / (max - min), fitted bounds; other rows may leave [0, 1]. A constant
// column is shifted to 0 and not scaled. NaN is skipped in fitting and passed through.
struct MinMax {
  std::vector<double> min, max;  // (p,)
  static MinMax fit(const Matrix<double>& x);
  Matrix<double> transform(const Matrix<double>& x) const;
};

// StandardScaler: (x - mean) / sd with divisor n; a constant column is only shifted. NaN likewise.
struct StandardScale {
  std::vector<double> mean, scale;  // (p,)
  static StandardScale fit(const Matrix<double>& x);
  Matrix<double> transform(const Matrix<double>& x) const;
};

// Position of each cell in `levels`, -1 for a cell that is not there: OrdinalEncoder with given
// categories and unknown_value = -1.
std::vector<double> ordinal_codes(const std::vector<std::string>& cells,
                                  const std::vector<std::string>& levels);

// One indicator per level, (n, levels): OneHotEncoder(handle_unknown='ignore'). An unknown cell
// gives a row of zeros. With drop_first the first level has no column.
Matrix<double> one_hot(const std::vector<std::string>& cells,
                       const std::vector<std::string>& levels,
                       bool drop_first = false);

// Each NaN of x replaced by the mean of that column over the k nearest rows of `fitted` that have
// it, of equally near ones the first: KNNImputer. Distance: sum over columns present in both rows,
// times p / (number of those). With no comparable row, the column's mean in `fitted`. Every column
// of `fitted` must have a present value (Error(kData) names the column by its 1-based number). Cost
// O(m n p).
Matrix<double> knn_impute(const Matrix<double>& fitted, const Matrix<double>& x, std::size_t k = 5);

}  // namespace med3d::tabular
