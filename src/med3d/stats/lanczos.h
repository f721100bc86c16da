// The few largest eigenvalues of a symmetric operator, with a fixed start and a fixed sign.
//
//   A v = lambda v, lambda_1 >= lambda_2 >= ... (algebraic order), |v| = 1
//
// Lanczos with full reorthogonalisation, one eigenvector at a time, each search kept orthogonal to
// those already found: so eigenvalues of higher multiplicity come out as often as they occur. The
// sign of each vector is such that its entry of largest size is positive (the first such entry).
//
// n       order of the operator
// apply   writes A x to y, both (n,); symmetric, called from one thread
// count   how many are wanted; at most n - known.size() are returned
// known   orthonormal eigenvectors to leave out, each (n,)
// seed    of the start vectors
//
// Cost about 150 applications and 150^2 n operations per restart and vector; exact for n <= 150.
// Errors: none; `residual` says how good a pair is (|A v - lambda v|; below 1e-9 |lambda_1| when
// converged, larger if 40 restarts were not enough).
//
// Source: Parlett, The Symmetric Eigenvalue Problem, SIAM 1998, chapter 13.
// Checked against: closed-form spectra of path, ring and complete graphs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace med3d::stats {

struct Eigenpair {
  double value = 0.0;
  std::vector<double> vector;
  double residual = 0.0;
};

using SymmetricOperator = std::function<void(std::span<const double> x, std::span<double> y)>;

std::vector<Eigenpair> leading_eigenpairs(std::size_t n,
                                          const SymmetricOperator& apply,
                                          std::size_t count,
                                          std::vector<std::vector<double>> known = {},
                                          std::uint64_t seed = 0);

}  // namespace med3d::stats
