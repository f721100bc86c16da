// Oversampling of the small class: SMOTE, ADASYN, SMOTENC and plain repetition.
//
//   SMOTE    x_new = x + u (x_neighbour - x), u uniform in [0, 1), the neighbour one of the k
//            nearest of the same class; every pair (row, neighbour) equally likely
//   ADASYN   the same step, but rows with more neighbours of other classes get more new rows:
//            g_i = rint(n r_i / sum r), r_i the share of other classes among the k nearest of all
//   SMOTENC  SMOTE for tables with nominal columns: those take the commonest value among the k
//            neighbours, and count in distances with the median spread of the numeric columns
//   random   rows of the small class again, drawn with replacement
//
// Results equal imbalanced-learn's for the same seed, draw for draw. Only ever resample training
// rows: a synthetic row made from a test patient leaks that patient (the reason for n_original).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "med3d/core/matrix.h"

namespace med3d::tabular {

enum class Balance { kNone, kSmote, kAdasyn, kSmotenc, kRandom };

// "none", "smote", "adasyn", "smotenc", "random". Throws Error(kUsage) with the nearest name.
Balance parse_balance(std::string_view name);
std::string to_string(Balance balance);

struct ResampleOptions {
  int k_neighbors = 5;  // Chawla et al. 2002; the default of every peer
  // Wanted size of the small class over that of the large one, in (0, 1]; two classes only.
  // 0: every class grows to the size of the largest ('auto').
  double ratio = 0.0;
  std::uint32_t seed = 0;         // of numpy.random.RandomState
  std::vector<bool> categorical;  // (p,) SMOTENC only: which columns are nominal codes
  // true: a class smaller than k + 1 rows, and ADASYN without neighbours of another class, are
  // errors, as in imbalanced-learn. false: k is lowered, ADASYN becomes SMOTE, with a warning.
  bool strict = false;

  void validate() const;  // throws Error(kUsage)
};

struct Resampled {
  Matrix<double> x;                   // originals first in their order, then new rows by class
  std::vector<std::uint8_t> y;        // (rows of x,)
  std::size_t n_original = 0;         // rows [n_original, x.rows()) are synthetic
  std::vector<std::string> warnings;  // what was done differently from what was asked
};

// x  (n, p) finite (kRandom and kNone allow NaN, as they only copy)
// y  (n,) class of each row
//
// Already balanced data come back unchanged. ADASYN rounds per row, so its classes end up only
// nearly equal. Cost O(n_class n p) for the neighbours.
// Throws Error(kUsage) on sizes or options that do not fit, Error(kData) if x is not finite, only
// one class is present, a class to grow has a single row, the ratio would shrink a class, or, under
// `strict`, where imbalanced-learn refuses.
//
// Source: Chawla et al., JAIR 16:321-357, 2002. doi:10.1613/jair.953
//         He et al., IEEE IJCNN 2008, 1322-1328. doi:10.1109/IJCNN.2008.4633969
// Checked against: imbalanced-learn 0.10.0 (stored vectors, and tests/reference/resample.py).
Resampled resample(const Matrix<double>& x,
                   std::span<const std::uint8_t> y,
                   Balance balance,
                   const ResampleOptions& options);

}  // namespace med3d::tabular
