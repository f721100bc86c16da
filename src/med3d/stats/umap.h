// UMAP: a two-dimensional map that keeps neighbours together, for looking, not for measuring.
//
// 1. k nearest neighbours of each patient (Euclidean, exact).
// 2. rho_i = distance to the nearest neighbour at a positive distance; sigma_i such that
//    sum_j exp(-max(0, d_ij - rho_i) / sigma_i) = log2(k); these memberships, made symmetric by
//    w = a + b - ab, are the graph.
// 3. Start: eigenvectors 2, 3, ... of the normalised Laplacian, scaled to 10, plus noise.
// 4. Stochastic gradient descent: edges attract in proportion to w, random pairs repel, through
//    1 / (1 + a d^(2b)).
//
// Distances between groups, their sizes and their densities mean nothing in the result. Report
// trustworthiness beside the picture.
//
// Conventions: n_neighbors counts the patient itself, as umap-learn does. Neighbours at the same
// distance are taken by index, the patient itself first. Where the graph falls apart into pieces,
// the start is the principal components of x (umap-learn arranges pieces by a further embedding).
// Random numbers are a function of (seed, epoch, edge, draw): same seed, same bytes, at any number
// of threads; the descent itself runs on one.
//
// Source: McInnes, Healy, Melville, arXiv:1802.03426; parameters and constants of umap-learn.
// Checked against: umap-learn on the digits of scikit-learn: neighbours, rho and graph to 1e-5,
// sigma to 1e-5 of its value, a and b to 1e-5, trustworthiness no worse by more than 0.005.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "med3d/core/matrix.h"

namespace med3d::stats {

// Row i: the patient itself (distance 0), then its k - 1 nearest, nearest first.
struct Neighbors {
  Matrix<std::int64_t> index;  // (n, k)
  Matrix<float> distance;      // (n, k), single precision as in umap-learn
};

// x   (n, d) finite numbers; k in [1, n]
// Cost O(n^2 d) time, O(n) memory per thread.
// Throws Error(kUsage) if k is out of range, Error(kData) naming the row of a value not finite.
Neighbors exact_neighbors(const Matrix<double>& x, int k, int threads = 1);

// Local scale of each patient. 64 bisections, tolerance 1e-5 on the sum, sigma at least 1e-3 of the
// patient's mean neighbour distance (of everybody's, where rho is 0).
struct LocalScale {
  std::vector<float> sigma;
  std::vector<float> rho;
};

LocalScale smooth_neighbor_distances(const Matrix<float>& distance,
                                     double local_connectivity = 1.0);

// A sparse symmetric graph, entries by row and then column, each edge in both directions.
struct FuzzyGraph {
  std::size_t n = 0;
  std::vector<std::int64_t> row;
  std::vector<std::int64_t> col;
  std::vector<float> weight;  // in (0, 1]
};

FuzzyGraph fuzzy_graph(const Neighbors& neighbors, const LocalScale& scale);

// Least-squares a, b of 1 / (1 + a x^(2b)) against 1 for x < min_dist and
// exp(-(x - min_dist) / spread) beyond, on 300 points of [0, 3 spread].
// Throws Error(kUsage) unless spread > 0 and 0 <= min_dist <= spread; Error(kNumerical) if the fit
// fails.
struct CurveParameters {
  double a = 0.0;
  double b = 0.0;
};

CurveParameters fit_curve_parameters(double spread, double min_dist);

struct UmapOptions {
  int n_neighbors = 15;             // umap-learn's default; cut to n - 1, with a note
  int n_components = 2;             // columns of the map
  double min_dist = 0.1;            // how close points may lie, umap-learn's default
  double spread = 1.0;              // scale of the map
  double learning_rate = 1.0;       // first step size; falls to 0
  double repulsion_strength = 1.0;  // weight of the random pairs
  int negative_sample_rate = 5;     // random pairs per attracted one
  int n_epochs = 0;                 // 0: 500 up to 10000 patients, else 200
  std::uint64_t seed = 0;
  int threads = 1;  // for the neighbours; no effect on the result

  void validate() const;  // throws Error(kUsage) naming the field
};

struct UmapResult {
  Matrix<double> embedding;  // (n, n_components)
  int n_neighbors = 0;       // as used
  int n_epochs = 0;
  double a = 0.0;
  double b = 0.0;
  std::vector<std::string> notes;  // what was done other than asked, for the reader of the picture
};

// x   (n, d) finite, one row per patient, n >= 3; scale the columns first
//
// Cost O(n^2 d) for the neighbours, then O(epochs * edges).
// Throws Error(kData) for fewer than 3 rows, no columns, or a value not finite; Error(kUsage) for
// options; Error(kNumerical) if the map leaves the finite numbers.
UmapResult umap(const Matrix<double>& x, const UmapOptions& options = {});

// How many of the k nearest neighbours in the map are neighbours in truth too; 1 = all of them.
//
//   T = 1 - 2 / (n k (2n - 3k - 1)) * sum_i sum_{j in map neighbours of i} max(0, rank_i(j) - k)
//
// rank_i(j) counts from 1 in x. Ties by index.
// x, embedding   same number of rows n; k with 1 <= k < n / 2
// Cost O(n^2 (d + k)). Throws Error(kUsage) if k is out of range, Error(kData) if rows differ.
// Source: Venna and Kaski, ICANN 2001. Checked against: scikit-learn, on two maps by umap-learn.
double trustworthiness(const Matrix<double>& x,
                       const Matrix<double>& embedding,
                       int k = 5,
                       int threads = 1);

}  // namespace med3d::stats
