#include "med3d/stats/lanczos.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "med3d/core/random.h"

namespace med3d::stats {
namespace {

constexpr std::size_t kMaxBasis = 150;
constexpr int kMaxRestarts = 40;
constexpr double kTolerance = 1e-9;

using Vector = std::vector<double>;

double dot(const Vector& a, const Vector& b) {
  double sum = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

void subtract_projection(Vector& v, const Vector& unit) {
  const double along = dot(v, unit);
  for (std::size_t i = 0; i < v.size(); ++i) v[i] -= along * unit[i];
}

// Twice is enough: the second pass removes what rounding left of the first.
void orthogonalise(Vector& v, const std::vector<Vector>& locked, const std::vector<Vector>& basis) {
  for (int pass = 0; pass < 2; ++pass) {
    for (const Vector& unit : locked) subtract_projection(v, unit);
    for (const Vector& unit : basis) subtract_projection(v, unit);
  }
}

bool normalise(Vector& v, double smallest) {
  const double length = std::sqrt(dot(v, v));
  if (!(length > smallest)) return false;
  for (double& x : v) x /= length;
  return true;
}

// Eigenvalues below x of the tridiagonal matrix (Sturm's count of negative pivots).
std::size_t count_below(const Vector& diagonal, const Vector& off, double x) {
  std::size_t below = 0;
  double pivot = 1.0;
  for (std::size_t i = 0; i < diagonal.size(); ++i) {
    const double coupling = i == 0 ? 0.0 : off[i - 1] * off[i - 1] / pivot;
    pivot = diagonal[i] - x - coupling;
    if (pivot == 0.0) pivot = -std::numeric_limits<double>::min();
    if (pivot < 0.0) ++below;
  }
  return below;
}

// Largest eigenvalue of a symmetric tridiagonal matrix and its unit eigenvector. off has one entry
// less than diagonal, none of them 0.
std::pair<double, Vector> top_of_tridiagonal(const Vector& diagonal, const Vector& off) {
  const std::size_t m = diagonal.size();
  if (m == 1) return {diagonal[0], {1.0}};
  // Gershgorin bounds, then bisection to the last digit.
  double low = std::numeric_limits<double>::infinity();
  double high = -low;
  for (std::size_t i = 0; i < m; ++i) {
    const double radius =
        (i > 0 ? std::abs(off[i - 1]) : 0.0) + (i + 1 < m ? std::abs(off[i]) : 0.0);
    low = std::min(low, diagonal[i] - radius);
    high = std::max(high, diagonal[i] + radius);
  }
  const double scale =
      std::max({std::abs(low), std::abs(high), std::numeric_limits<double>::min()});
  for (int step = 0; step < 200 && high - low > 1e-16 * scale; ++step) {
    const double middle = low + (high - low) / 2.0;
    if (middle <= low || middle >= high) break;
    (count_below(diagonal, off, middle) == m ? high : low) = middle;
  }
  const double value = high;

  // Inverse iteration; a shift a little above the eigenvalue keeps T - shift negative definite, so
  // elimination without pivoting is stable. A start that fits every sign pattern: its components
  // follow the signs of the couplings, as the top eigenvector's do.
  const double shift = value + 1e-14 * scale;
  Vector v(m, 1.0);
  for (std::size_t i = 1; i < m; ++i) v[i] = off[i - 1] < 0.0 ? -v[i - 1] : v[i - 1];
  Vector pivot(m);
  pivot[0] = diagonal[0] - shift;
  for (std::size_t i = 1; i < m; ++i) {
    pivot[i] = diagonal[i] - shift - off[i - 1] * off[i - 1] / pivot[i - 1];
    if (pivot[i] > -1e-300) pivot[i] = -1e-16 * scale;
  }
  for (int sweep = 0; sweep < 4; ++sweep) {
    for (std::size_t i = 1; i < m; ++i) v[i] -= off[i - 1] / pivot[i - 1] * v[i - 1];
    v[m - 1] /= pivot[m - 1];
    for (std::size_t i = m - 1; i-- > 0;) v[i] = (v[i] - off[i] * v[i + 1]) / pivot[i];
    double largest = 0.0;
    for (const double x : v) largest = std::max(largest, std::abs(x));
    for (double& x : v) x /= largest;
    normalise(v, 0.0);
  }
  return {value, v};
}

void fix_sign(Vector& v) {
  double largest = 0.0;
  for (const double x : v) largest = std::max(largest, std::abs(x));
  for (const double x : v) {
    // Entries equal up to rounding count as equal, so that the first of them decides.
    if (std::abs(x) < largest * (1.0 - 1e-9)) continue;
    if (x < 0.0) {
      for (double& y : v) y = -y;
    }
    return;
  }
}

Eigenpair search(std::size_t n,
                 const SymmetricOperator& apply,
                 const std::vector<Vector>& locked,
                 std::uint64_t seed) {
  NumpyRandom random(static_cast<std::uint32_t>(seed ^ (seed >> 32)));
  Eigenpair best;
  best.vector.resize(n);
  for (double& x : best.vector) x = random.normal();
  orthogonalise(best.vector, locked, {});
  normalise(best.vector, 0.0);

  const std::size_t most = std::min(kMaxBasis, n - locked.size());
  for (int restart = 0; restart < kMaxRestarts; ++restart) {
    std::vector<Vector> basis = {best.vector};
    Vector diagonal;
    Vector off;
    Vector next(n);
    double size = 0.0;
    bool invariant = false;
    double last_coupling = 0.0;
    for (;;) {
      apply(basis.back(), next);
      diagonal.push_back(dot(next, basis.back()));
      size = std::max(size, std::abs(diagonal.back()) + (off.empty() ? 0.0 : off.back()));
      orthogonalise(next, locked, basis);
      last_coupling = std::sqrt(dot(next, next));
      // Nothing new: the basis spans an invariant subspace and its top is exact.
      invariant = last_coupling <= 1e-12 * size || basis.size() + locked.size() == n;
      if (invariant || basis.size() == most) break;
      normalise(next, 0.0);
      off.push_back(last_coupling);
      basis.push_back(next);
    }
    const auto [value, weights] = top_of_tridiagonal(diagonal, off);
    best.value = value;
    std::fill(best.vector.begin(), best.vector.end(), 0.0);
    for (std::size_t b = 0; b < basis.size(); ++b) {
      for (std::size_t i = 0; i < n; ++i) best.vector[i] += weights[b] * basis[b][i];
    }
    orthogonalise(best.vector, locked, {});
    normalise(best.vector, 0.0);
    best.residual = last_coupling * std::abs(weights.back());
    if (invariant || best.residual <= kTolerance * std::max(size, std::abs(value))) break;
  }
  fix_sign(best.vector);
  return best;
}

}  // namespace

std::vector<Eigenpair> leading_eigenpairs(std::size_t n,
                                          const SymmetricOperator& apply,
                                          std::size_t count,
                                          std::vector<std::vector<double>> known,
                                          std::uint64_t seed) {
  std::vector<Eigenpair> out;
  while (out.size() < count && known.size() < n) {
    out.push_back(search(n, apply, known, derive_seed(seed, "lanczos", {out.size()})));
    known.push_back(out.back().vector);
  }
  return out;
}

}  // namespace med3d::stats
