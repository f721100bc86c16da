#include "med3d/stats/survival/internal/cholesky.h"

namespace med3d::stats::survival {

Cholesky::Cholesky(const Matrix<double>& a, double tolerance)
    : lower_(a.rows(), a.rows()), pivot_(a.rows(), 0.0), kept_(a.rows(), 0) {
  const std::size_t p = a.rows();
  for (std::size_t j = 0; j < p; ++j) {
    double pivot = a(j, j);
    for (std::size_t k = 0; k < j; ++k) pivot -= lower_(j, k) * lower_(j, k) * pivot_[k];
    if (!(a(j, j) > 0.0) || !(pivot > tolerance * a(j, j))) continue;
    kept_[j] = 1;
    ++rank_;
    pivot_[j] = pivot;
    lower_(j, j) = 1.0;
    for (std::size_t i = j + 1; i < p; ++i) {
      double value = a(i, j);
      for (std::size_t k = 0; k < j; ++k) value -= lower_(i, k) * lower_(j, k) * pivot_[k];
      lower_(i, j) = value / pivot;
    }
  }
}

std::vector<double> Cholesky::solve(std::span<const double> b) const {
  const std::size_t p = pivot_.size();
  std::vector<double> x(p, 0.0);
  for (std::size_t i = 0; i < p; ++i) {
    if (!kept(i)) continue;
    double value = b[i];
    for (std::size_t k = 0; k < i; ++k) value -= lower_(i, k) * x[k];
    x[i] = value;
  }
  for (std::size_t i = 0; i < p; ++i) {
    if (kept(i)) x[i] /= pivot_[i];
  }
  for (std::size_t i = p; i-- > 0;) {
    if (!kept(i)) continue;
    for (std::size_t k = i + 1; k < p; ++k) x[i] -= lower_(k, i) * x[k];
  }
  return x;
}

Matrix<double> Cholesky::inverse() const {
  const std::size_t p = pivot_.size();
  Matrix<double> out(p, p);
  std::vector<double> unit(p, 0.0);
  for (std::size_t j = 0; j < p; ++j) {
    if (!kept(j)) continue;
    unit[j] = 1.0;
    const std::vector<double> column = solve(unit);
    for (std::size_t i = 0; i < p; ++i) out(i, j) = column[i];
    unit[j] = 0.0;
  }
  return out;
}

}  // namespace med3d::stats::survival
