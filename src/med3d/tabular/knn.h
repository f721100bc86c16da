// The k nearest rows, exactly, in the order in which scikit-learn lists them.
//
// With duplicated patients many distances are equal, and which of the equal ones is "nearest"
// decides what SMOTE and ADASYN draw from. scikit-learn's answer is not "the lowest index": it is
// what its search leaves behind. We follow it: a bounded max-heap that only lets in strictly
// smaller distances, its median-of-three sort, and, where scikit-learn would choose one, a k-d tree
// with leaves of 30 rows and the same depth-first visit.
#pragma once

#include <cstddef>

#include "med3d/core/matrix.h"

namespace med3d::tabular {

enum class NeighborSearch {
  // What NearestNeighbors(algorithm='auto') picks: a k-d tree for at most 15 columns and
  // k < rows / 2, brute force otherwise.
  kAuto,
  kBrute,  // every pair; distances as sums of squared differences, in the order of the columns
  kKdTree,
  // Every pair; |x|^2 - 2 x.y + |y|^2 clipped at 0, the rounding of scikit-learn on sparse input
  // (SMOTENC's one-hot table). Rows at the same true distance may differ in the last bit here.
  kBruteExpanded,
};

// The k rows of `fitted` nearest to each row of `queries` by Euclidean distance, nearest first. A
// query that is itself in `fitted` is among its own neighbours (first, unless it has duplicates).
//
// fitted   (n, p) finite
// queries  (m, p) finite
// k        in [1, n]
//
// Result (m, k) row indices into `fitted`. Cost O(m n p) brute, less by the tree.
// Throws Error(kUsage) if k is 0 or the widths differ, Error(kData) if n < k.
//
// Checked against: scikit-learn 1.2.1 NearestNeighbors on tables with and without duplicates
// (kBrute agrees where scikit-learn's matrix product rounds equal distances to equal numbers).
Matrix<std::size_t> nearest_neighbors(const Matrix<double>& fitted,
                                      const Matrix<double>& queries,
                                      std::size_t k,
                                      NeighborSearch search = NeighborSearch::kAuto);

}  // namespace med3d::tabular
