#include "med3d/radiology/radiomics/glcm.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "med3d/core/parallel.h"

namespace med3d::radiomics {
namespace {

constexpr double kEpsilon = std::numeric_limits<double>::epsilon();

double entropy_term(double p) { return p > 0.0 ? -p * std::log2(p + kEpsilon) : 0.0; }

// Householder's reduction of a symmetric matrix to diagonal and off-diagonal.
void tridiagonalise(Matrix<double>& a, std::vector<double>& diagonal, std::vector<double>& off) {
  const std::size_t n = a.rows();
  diagonal.assign(n, 0.0);
  off.assign(n, 0.0);  // off[k] between k - 1 and k
  std::vector<double> v(n);
  std::vector<double> w(n);
  for (std::size_t k = 0; k + 2 < n; ++k) {
    double squares = 0.0;
    for (std::size_t i = k + 1; i < n; ++i) squares += a(i, k) * a(i, k);
    const double length = std::sqrt(squares);
    double rest = squares - a(k + 1, k) * a(k + 1, k);
    if (rest <= 0.0) continue;  // already in the form
    const double alpha = a(k + 1, k) > 0.0 ? -length : length;
    for (std::size_t i = k + 1; i < n; ++i) v[i] = a(i, k);
    v[k + 1] -= alpha;
    rest += v[k + 1] * v[k + 1];
    // A - v w' - w v' with w = p - (v'p / v'v) v, p = 2 A v / v'v.
    double along = 0.0;
    for (std::size_t i = k + 1; i < n; ++i) {
      double sum = 0.0;
      for (std::size_t j = k + 1; j < n; ++j) sum += a(i, j) * v[j];
      w[i] = 2.0 * sum / rest;
      along += w[i] * v[i];
    }
    for (std::size_t i = k + 1; i < n; ++i) w[i] -= along / rest * v[i];
    for (std::size_t i = k + 1; i < n; ++i) {
      for (std::size_t j = k + 1; j < n; ++j) a(i, j) -= v[i] * w[j] + w[i] * v[j];
    }
    a(k + 1, k) = a(k, k + 1) = alpha;
    for (std::size_t i = k + 2; i < n; ++i) a(i, k) = a(k, i) = 0.0;
  }
  for (std::size_t k = 0; k < n; ++k) {
    diagonal[k] = a(k, k);
    if (k > 0) off[k] = a(k, k - 1);
  }
}

// Eigenvalues of a tridiagonal matrix that are below x (Sturm's sequence).
std::size_t count_below(const std::vector<double>& diagonal,
                        const std::vector<double>& off,
                        double x) {
  std::size_t count = 0;
  double pivot = 1.0;
  for (std::size_t k = 0; k < diagonal.size(); ++k) {
    const double coupling = k == 0 ? 0.0 : off[k] * off[k] / pivot;
    pivot = diagonal[k] - x - coupling;
    if (pivot == 0.0) pivot = -std::numeric_limits<double>::min();
    if (pivot < 0.0) ++count;
  }
  return count;
}

}  // namespace

double largest_singular_value(Matrix<double> matrix) {
  const std::size_t n = matrix.rows();
  if (n == 0) return 0.0;
  bool symmetric = true;
  for (std::size_t i = 0; i < n && symmetric; ++i) {
    for (std::size_t j = 0; j < i; ++j) symmetric = symmetric && matrix(i, j) == matrix(j, i);
  }
  if (!symmetric) {
    Matrix<double> product(n, n);
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j <= i; ++j) {
        double sum = 0.0;
        for (std::size_t k = 0; k < n; ++k) sum += matrix(i, k) * matrix(j, k);
        product(i, j) = product(j, i) = sum;
      }
    }
    return std::sqrt(largest_singular_value(std::move(product)));
  }
  std::vector<double> diagonal;
  std::vector<double> off;
  tridiagonalise(matrix, diagonal, off);
  double bound = 0.0;  // Gershgorin's
  for (std::size_t k = 0; k < n; ++k) {
    const double next = k + 1 < n ? std::abs(off[k + 1]) : 0.0;
    bound = std::max(bound, std::abs(diagonal[k]) + std::abs(off[k]) + next);
  }
  if (bound == 0.0) return 0.0;
  // The largest magnitude: no eigenvalue lies at or above x, none below -x.
  double low = 0.0;
  double high = bound * (1.0 + 1e-15);
  while (true) {
    const double middle = 0.5 * (low + high);
    if (middle <= low || middle >= high || high - low <= 1e-16 * bound) break;
    const bool inside =
        count_below(diagonal, off, middle) == n && count_below(diagonal, off, -middle) == 0;
    (inside ? high : low) = middle;
  }
  return high;
}

Matrix<double> glcm_counts(const Region& region, const std::array<int, 3>& step, bool symmetrical) {
  std::vector<std::uint32_t> row_of(static_cast<std::size_t>(region.highest_level()) + 1, 0);
  for (std::size_t i = 0; i < region.present.size(); ++i) {
    row_of[static_cast<std::size_t>(region.present[i])] = static_cast<std::uint32_t>(i);
  }
  const std::int64_t offset = region.step(step);
  Matrix<double> counts(region.present.size(), region.present.size());
  for (const std::uint32_t place : region.voxels) {
    const std::int32_t other = region.level[static_cast<std::size_t>(place + offset)];
    if (other == 0) continue;
    const std::int32_t own = region.level[place];
    counts(row_of[static_cast<std::size_t>(own)], row_of[static_cast<std::size_t>(other)]) += 1.0;
  }
  if (symmetrical) {
    for (std::size_t i = 0; i < counts.rows(); ++i) {
      for (std::size_t j = 0; j <= i; ++j) {
        counts(i, j) = counts(j, i) = counts(i, j) + counts(j, i);
      }
    }
  }
  return counts;
}

std::vector<double> glcm_values(const Matrix<double>& counts,
                                const std::vector<std::int32_t>& levels,
                                std::int64_t highest) {
  const std::size_t n = counts.rows();
  double total = 0.0;
  for (std::size_t i = 0; i < counts.size(); ++i) total += counts.data()[i];
  if (total == 0.0) {
    return std::vector<double>(kGlcmNames.size(), std::numeric_limits<double>::quiet_NaN());
  }
  std::vector<double> px(n, 0.0);
  std::vector<double> py(n, 0.0);
  std::vector<double> of_sum(static_cast<std::size_t>(2 * highest + 1), 0.0);
  std::vector<double> of_difference(static_cast<std::size_t>(highest), 0.0);
  double autocorrelation = 0.0;
  double energy = 0.0;
  double hxy = 0.0;
  double largest = 0.0;
  double mean_x = 0.0;
  double mean_y = 0.0;
  for (std::size_t a = 0; a < n; ++a) {
    for (std::size_t b = 0; b < n; ++b) {
      const double p = counts(a, b) / total;
      if (p == 0.0) continue;
      const double i = levels[a];
      const double j = levels[b];
      px[a] += p;
      py[b] += p;
      of_sum[static_cast<std::size_t>(levels[a] + levels[b])] += p;
      of_difference[static_cast<std::size_t>(std::abs(levels[a] - levels[b]))] += p;
      autocorrelation += p * i * j;
      energy += p * p;
      hxy += entropy_term(p);
      largest = std::max(largest, p);
      mean_x += p * i;
      mean_y += p * j;
    }
  }
  double prominence = 0.0;
  double shade = 0.0;
  double tendency = 0.0;
  double variance_x = 0.0;
  double variance_y = 0.0;
  double covariance = 0.0;
  double hxy1 = 0.0;
  double hxy2 = 0.0;
  for (std::size_t a = 0; a < n; ++a) {
    const double x = levels[a] - mean_x;
    variance_x += px[a] * x * x;
    const double y_own = levels[a] - mean_y;
    variance_y += py[a] * y_own * y_own;
    for (std::size_t b = 0; b < n; ++b) {
      const double independent = px[a] * py[b];
      hxy2 += entropy_term(independent);
      const double p = counts(a, b) / total;
      if (p == 0.0) continue;
      const double y = levels[b] - mean_y;
      const double both = x + y;
      tendency += p * both * both;
      shade += p * both * both * both;
      prominence += p * both * both * both * both;
      covariance += p * x * y;
      hxy1 -= p * std::log2(independent + kEpsilon);
    }
  }
  double hx = 0.0;
  double hy = 0.0;
  for (std::size_t a = 0; a < n; ++a) {
    hx += entropy_term(px[a]);
    hy += entropy_term(py[a]);
  }

  double contrast = 0.0;
  double difference_average = 0.0;
  double difference_entropy = 0.0;
  double id = 0.0;
  double idm = 0.0;
  double idn = 0.0;
  double idmn = 0.0;
  double inverse_variance = 0.0;
  const auto ng = static_cast<double>(highest);
  for (std::size_t step = 0; step < of_difference.size(); ++step) {
    const double p = of_difference[step];
    const auto k = static_cast<double>(step);
    contrast += p * k * k;
    difference_average += p * k;
    difference_entropy += entropy_term(p);
    id += p / (1.0 + k);
    idm += p / (1.0 + k * k);
    idn += p / (1.0 + k / ng);
    idmn += p / (1.0 + k * k / (ng * ng));
    if (step > 0) inverse_variance += p / (k * k);
  }
  double difference_variance = 0.0;
  for (std::size_t k = 0; k < of_difference.size(); ++k) {
    const double off = static_cast<double>(k) - difference_average;
    difference_variance += of_difference[k] * off * off;
  }
  double sum_average = 0.0;
  double sum_entropy = 0.0;
  for (std::size_t k = 2; k < of_sum.size(); ++k) {
    sum_average += of_sum[k] * static_cast<double>(k);
    sum_entropy += entropy_term(of_sum[k]);
  }

  const double spread = std::sqrt(variance_x) * std::sqrt(variance_y);
  const double correlation = spread == 0.0 ? 1.0 : covariance / (spread + kEpsilon);
  const double larger_entropy = std::max(hx, hy);
  const double imc1 = larger_entropy == 0.0 ? 0.0 : (hxy - hxy1) / larger_entropy;
  const double imc2 = hxy2 <= hxy ? 0.0 : std::sqrt(1.0 - std::exp(-2.0 * (hxy2 - hxy)));

  double mcc = 1.0;
  if (n > 1) {
    // Without its first singular triple, which is 1 with the roots of px and py.
    Matrix<double> rest(n, n);
    for (std::size_t a = 0; a < n; ++a) {
      for (std::size_t b = 0; b < n; ++b) {
        const double root = std::sqrt(px[a] * py[b]);
        rest(a, b) = root == 0.0 ? 0.0 : counts(a, b) / total / root - root;
      }
    }
    mcc = largest_singular_value(std::move(rest));
  }

  return {autocorrelation,
          prominence,
          shade,
          tendency,
          contrast,
          correlation,
          difference_average,
          difference_entropy,
          difference_variance,
          id,
          idm,
          idmn,
          idn,
          imc1,
          imc2,
          inverse_variance,
          mean_x,
          energy,
          hxy,
          mcc,
          largest,
          sum_average,
          sum_entropy,
          variance_x};
}

std::vector<double> glcm_features(const Region& region, const Options& options) {
  const auto steps = directions(region, options.distances, options.force_2d);
  if (options.weighting == Weighting::kNone) {
    std::vector<std::vector<double>> rows(steps.size());
    parallel_for(steps.size(), options.threads, [&](std::size_t i) {
      rows[i] = glcm_values(glcm_counts(region, steps[i], options.symmetrical_glcm),
                            region.present,
                            region.highest_level());
    });
    return mean_of_rows(rows, kGlcmNames.size());
  }
  Matrix<double> sum(region.present.size(), region.present.size());
  for (const auto& step : steps) {
    const double length = step_length(step, region.spacing_mm, options.weighting);
    const double weight =
        options.weighting == Weighting::kNoWeighting ? 1.0 : std::exp(-length * length);
    const Matrix<double> counts = glcm_counts(region, step, options.symmetrical_glcm);
    for (std::size_t i = 0; i < sum.size(); ++i) sum.data()[i] += weight * counts.data()[i];
  }
  return glcm_values(sum, region.present, region.highest_level());
}

}  // namespace med3d::radiomics
