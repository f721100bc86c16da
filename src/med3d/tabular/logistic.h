// Logistic regression with an L2 penalty: the baseline every other model has to beat.
//
//   minimise  C sum_i s_i log(1 + exp(-t_i f_i)) + |w|^2 / 2,   f_i = x_i w + b,  t_i = 2 y_i - 1
//
// scikit-learn's objective; the intercept b is not penalised. s_i is the sample weight, times
// n / (2 n_class) where classes are balanced. The penalty keeps separable data finite.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "med3d/core/json.h"
#include "med3d/core/matrix.h"

namespace med3d::tabular {

struct LogisticOptions {
  double c = 1.0;         // inverse penalty, finite, > 0; scikit-learn's default
  bool balanced = false;  // class_weight='balanced'
  int max_iterations = 100;
  double tolerance = 1e-9;  // on the gradient's largest part, relative to that at w = 0

  void validate() const;  // throws Error(kUsage)
};

// Newton's method with a Cholesky factorisation and step halving. With more columns than rows the
// weights are a combination of the n training rows (w = X^T a), and the n x n problem for a is
// solved instead: same answer, O(n^2 p + n^3) in place of O(n p^2 + p^3) a step.
//
// Checked against: scikit-learn 1.2.1 LogisticRegression, tests/reference/logistic.py.
class LogisticRegression {
 public:
  // x              (n, p) finite; p may exceed n. Scale the columns first, the penalty is not
  //                indifferent to units.
  // y              (n,) 0 or 1, both present
  // sample_weight  (n,) finite, >= 0, some of each class > 0; or empty for 1 everywhere
  //
  // Throws Error(kUsage) on sizes or options, Error(kData) on values that are not finite, labels
  // other than 0 and 1, or one class, Error(kNumerical) if it does not converge.
  static LogisticRegression fit(const Matrix<double>& x,
                                std::span<const std::uint8_t> y,
                                const LogisticOptions& options = {},
                                std::span<const double> sample_weight = {});

  // P(y = 1) of each row, in [0, 1]. Throws Error(kUsage) on another width, Error(kData) where a
  // value is not finite.
  std::vector<double> predict_proba(const Matrix<double>& x) const;

  const std::vector<double>& coefficients() const { return coefficients_; }  // (p,)
  double intercept() const { return intercept_; }
  int iterations() const { return iterations_; }

  Json to_json() const;
  static LogisticRegression from_json(const Json& json);  // throws Error(kFormat)

 private:
  std::vector<double> coefficients_;
  double intercept_ = 0.0;
  int iterations_ = 0;
};

}  // namespace med3d::tabular
