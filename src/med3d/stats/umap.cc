#include "med3d/stats/umap.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "med3d/core/error.h"
#include "med3d/core/parallel.h"
#include "med3d/core/random.h"
#include "med3d/stats/lanczos.h"

namespace med3d::stats {
namespace {

constexpr int kBisections = 64;
constexpr double kSmoothTolerance = 1e-5;
constexpr double kMinScale = 1e-3;
constexpr double kLargestStep = 4.0;

void require_finite(const Matrix<double>& x, const char* what) {
  for (std::size_t i = 0; i < x.rows(); ++i) {
    for (const double value : x.row(i)) {
      if (!std::isfinite(value)) {
        throw Error(ErrorKind::kData,
                    fmt::format("{} row {}: {}, expected a finite number", what, i, value));
      }
    }
  }
}

void squared_distances(const Matrix<double>& x, std::size_t from, std::vector<double>& out) {
  const auto origin = x.row(from);
  for (std::size_t j = 0; j < x.rows(); ++j) {
    const auto other = x.row(j);
    double sum = 0.0;
    for (std::size_t c = 0; c < origin.size(); ++c) {
      const double d = origin[c] - other[c];
      sum += d * d;
    }
    out[j] = sum;
  }
}

// The k nearest to `from`, itself first, ties by index.
void nearest(const std::vector<double>& squared,
             std::size_t from,
             std::size_t k,
             std::vector<std::size_t>& order) {
  order.resize(squared.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto closer = [&](std::size_t a, std::size_t b) {
    if ((a == from) != (b == from)) return a == from;
    if (squared[a] != squared[b]) return squared[a] < squared[b];
    return a < b;
  };
  std::partial_sort(
      order.begin(), order.begin() + static_cast<std::ptrdiff_t>(k), order.end(), closer);
}

// SplitMix64 finaliser: consecutive counters give unrelated numbers.
std::uint64_t scramble(std::uint64_t z) {
  z += 0x9E3779B97F4A7C15ULL;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

std::size_t count_components(const FuzzyGraph& graph) {
  std::vector<std::size_t> parent(graph.n);
  std::iota(parent.begin(), parent.end(), std::size_t{0});
  const auto root = [&](std::size_t i) {
    while (parent[i] != i) i = parent[i] = parent[parent[i]];
    return i;
  };
  std::size_t components = graph.n;
  for (std::size_t e = 0; e < graph.row.size(); ++e) {
    const std::size_t a = root(static_cast<std::size_t>(graph.row[e]));
    const std::size_t b = root(static_cast<std::size_t>(graph.col[e]));
    if (a == b) continue;
    parent[a] = b;
    --components;
  }
  return components;
}

Matrix<double> spectral_start(const FuzzyGraph& graph,
                              std::size_t components,
                              std::vector<std::string>& notes) {
  std::vector<double> degree(graph.n, 0.0);
  for (std::size_t e = 0; e < graph.row.size(); ++e) {
    degree[static_cast<std::size_t>(graph.row[e])] += static_cast<double>(graph.weight[e]);
  }
  // The first eigenvector is known: the square roots of the degrees, with eigenvalue 1.
  std::vector<double> trivial(graph.n);
  double length = 0.0;
  for (const double d : degree) length += d;
  for (std::size_t i = 0; i < graph.n; ++i) trivial[i] = std::sqrt(degree[i] / length);
  std::vector<double> weight(graph.weight.size());
  for (std::size_t e = 0; e < weight.size(); ++e) {
    weight[e] = static_cast<double>(graph.weight[e]) /
                std::sqrt(degree[static_cast<std::size_t>(graph.row[e])] *
                          degree[static_cast<std::size_t>(graph.col[e])]);
  }
  const SymmetricOperator apply = [&](std::span<const double> in, std::span<double> out) {
    std::fill(out.begin(), out.end(), 0.0);
    for (std::size_t e = 0; e < weight.size(); ++e) {
      out[static_cast<std::size_t>(graph.row[e])] +=
          weight[e] * in[static_cast<std::size_t>(graph.col[e])];
    }
  };
  const auto pairs = leading_eigenpairs(graph.n, apply, components, {trivial});
  Matrix<double> start(graph.n, components, 0.0);
  for (std::size_t c = 0; c < pairs.size(); ++c) {
    for (std::size_t i = 0; i < graph.n; ++i) start(i, c) = pairs[c].vector[i];
    if (pairs[c].residual > 1e-6) {
      notes.push_back(fmt::format(
          "spectral start: eigenvector {} has residual {:.1e}", c + 2, pairs[c].residual));
    }
  }
  return start;
}

Matrix<double> principal_component_start(const Matrix<double>& x, std::size_t components) {
  Matrix<double> centred = x;
  for (std::size_t c = 0; c < x.cols(); ++c) {
    double mean = 0.0;
    for (std::size_t i = 0; i < x.rows(); ++i) mean += x(i, c);
    mean /= static_cast<double>(x.rows());
    for (std::size_t i = 0; i < x.rows(); ++i) centred(i, c) -= mean;
  }
  const SymmetricOperator apply = [&](std::span<const double> in, std::span<double> out) {
    std::fill(out.begin(), out.end(), 0.0);
    for (std::size_t i = 0; i < centred.rows(); ++i) {
      const auto row = centred.row(i);
      double along = 0.0;
      for (std::size_t c = 0; c < row.size(); ++c) along += row[c] * in[c];
      for (std::size_t c = 0; c < row.size(); ++c) out[c] += along * row[c];
    }
  };
  Matrix<double> start(x.rows(), components, 0.0);
  const auto pairs = leading_eigenpairs(x.cols(), apply, components);
  for (std::size_t c = 0; c < pairs.size(); ++c) {
    for (std::size_t i = 0; i < x.rows(); ++i) {
      const auto row = centred.row(i);
      start(i, c) = std::inner_product(row.begin(), row.end(), pairs[c].vector.begin(), 0.0);
    }
  }
  return start;
}

// Largest entry to 10, a little noise against coincident points, then each column to [0, 10].
void scale_start(Matrix<double>& start, std::uint64_t seed) {
  double largest = 0.0;
  for (std::size_t i = 0; i < start.size(); ++i) {
    largest = std::max(largest, std::abs(start.data()[i]));
  }
  const double expansion = largest > 0.0 ? 10.0 / largest : 0.0;
  const std::uint64_t noise_seed = derive_seed(seed, "umap-noise");
  NumpyRandom random(static_cast<std::uint32_t>(noise_seed ^ (noise_seed >> 32)));
  for (std::size_t i = 0; i < start.size(); ++i) {
    start.data()[i] = start.data()[i] * expansion + 1e-4 * random.normal();
  }
  for (std::size_t c = 0; c < start.cols(); ++c) {
    double low = start(0, c);
    double high = low;
    for (std::size_t i = 0; i < start.rows(); ++i) {
      low = std::min(low, start(i, c));
      high = std::max(high, start(i, c));
    }
    const double width = high > low ? high - low : 1.0;
    for (std::size_t i = 0; i < start.rows(); ++i) start(i, c) = 10.0 * (start(i, c) - low) / width;
  }
}

double clip_step(double step) { return std::clamp(step, -kLargestStep, kLargestStep); }

void descend(Matrix<double>& map,
             const FuzzyGraph& graph,
             const CurveParameters& curve,
             int n_epochs,
             const UmapOptions& options) {
  const float heaviest = *std::max_element(graph.weight.begin(), graph.weight.end());
  const int drop_epochs = n_epochs > 10 ? n_epochs : (graph.n <= 10000 ? 500 : 200);
  const float lightest = heaviest / static_cast<float>(drop_epochs);
  struct Edge {
    std::size_t head, tail, number;
    double every;          // epochs between two uses
    double next;           // epoch of the next use
    double next_negative;  // epoch up to which random pairs were drawn
  };
  std::vector<Edge> edges;
  const double negatives = static_cast<double>(options.negative_sample_rate);
  for (std::size_t e = 0; e < graph.weight.size(); ++e) {
    if (graph.weight[e] < lightest) continue;
    const double every = static_cast<double>(heaviest) / static_cast<double>(graph.weight[e]);
    edges.push_back({static_cast<std::size_t>(graph.row[e]),
                     static_cast<std::size_t>(graph.col[e]),
                     e,
                     every,
                     every,
                     every / negatives});
  }

  const std::size_t dims = map.cols();
  const std::uint64_t key = derive_seed(options.seed, "umap-negative");
  for (int epoch = 0; epoch < n_epochs; ++epoch) {
    // umap-learn lowers the rate after an epoch, so the first two run at nearly the full rate.
    const double alpha =
        options.learning_rate * (1.0 - static_cast<double>(std::max(0, epoch - 1)) / n_epochs);
    const double now = static_cast<double>(epoch);
    const std::uint64_t epoch_key = scramble(key ^ static_cast<std::uint64_t>(epoch));
    for (Edge& edge : edges) {
      if (edge.next > now) continue;
      double* head = map.row(edge.head).data();
      double* tail = map.row(edge.tail).data();
      const auto squared_to = [&](const double* other) {
        double sum = 0.0;
        for (std::size_t d = 0; d < dims; ++d) sum += (head[d] - other[d]) * (head[d] - other[d]);
        return sum;
      };
      if (const double squared = squared_to(tail); squared > 0.0) {
        const double power = std::pow(squared, curve.b);
        const double pull = -2.0 * curve.a * curve.b * power / squared / (curve.a * power + 1.0);
        for (std::size_t d = 0; d < dims; ++d) {
          const double step = alpha * clip_step(pull * (head[d] - tail[d]));
          head[d] += step;
          tail[d] -= step;
        }
      }
      edge.next += edge.every;

      const double every_negative = edge.every / negatives;
      const int draws = static_cast<int>((now - edge.next_negative) / every_negative);
      const std::uint64_t edge_key = scramble(epoch_key ^ (edge.number << 8));
      for (int draw = 0; draw < draws; ++draw) {
        const std::uint64_t bits = scramble(edge_key + static_cast<std::uint64_t>(draw));
        const auto other = static_cast<std::size_t>(((bits >> 32) * graph.n) >> 32);
        if (other == edge.head) continue;
        const double* away = map.row(other).data();
        const double squared = squared_to(away);
        if (!(squared > 0.0)) continue;
        const double push = 2.0 * options.repulsion_strength * curve.b /
                            ((0.001 + squared) * (curve.a * std::pow(squared, curve.b) + 1.0));
        for (std::size_t d = 0; d < dims; ++d) {
          head[d] += alpha * clip_step(push * (head[d] - away[d]));
        }
      }
      edge.next_negative += draws * every_negative;
    }
  }
}

}  // namespace

Neighbors exact_neighbors(const Matrix<double>& x, int k, int threads) {
  if (k < 1 || static_cast<std::size_t>(k) > x.rows()) {
    throw Error(ErrorKind::kUsage,
                fmt::format("{} neighbours of {} rows, expected 1 to that number", k, x.rows()));
  }
  require_finite(x, "input");
  const auto width = static_cast<std::size_t>(k);
  Neighbors out{Matrix<std::int64_t>(x.rows(), width), Matrix<float>(x.rows(), width)};
  parallel_for(x.rows(), threads, [&](std::size_t i) {
    std::vector<double> squared(x.rows());
    std::vector<std::size_t> order;
    squared_distances(x, i, squared);
    nearest(squared, i, width, order);
    for (std::size_t j = 0; j < width; ++j) {
      out.index(i, j) = static_cast<std::int64_t>(order[j]);
      out.distance(i, j) = static_cast<float>(std::sqrt(squared[order[j]]));
    }
  });
  return out;
}

LocalScale smooth_neighbor_distances(const Matrix<float>& distance, double local_connectivity) {
  const std::size_t n = distance.rows();
  const std::size_t k = distance.cols();
  const double target = std::log2(static_cast<double>(k));
  double mean_of_all = 0.0;
  for (std::size_t i = 0; i < distance.size(); ++i) {
    mean_of_all += static_cast<double>(distance.data()[i]);
  }
  mean_of_all /= static_cast<double>(distance.size());

  LocalScale out{std::vector<float>(n, 0.0F), std::vector<float>(n, 0.0F)};
  for (std::size_t i = 0; i < n; ++i) {
    const auto row = distance.row(i);
    std::vector<double> positive;
    double mean = 0.0;
    for (const float d : row) {
      if (d > 0.0F) positive.push_back(static_cast<double>(d));
      mean += static_cast<double>(d);
    }
    mean /= static_cast<double>(k);
    double rho = 0.0;
    if (static_cast<double>(positive.size()) >= local_connectivity) {
      const auto whole = static_cast<std::size_t>(std::floor(local_connectivity));
      const double part = local_connectivity - static_cast<double>(whole);
      if (whole > 0) {
        rho = positive[whole - 1];
        if (part > kSmoothTolerance && whole < positive.size()) {
          rho += part * (positive[whole] - positive[whole - 1]);
        }
      } else if (!positive.empty()) {
        rho = part * positive[0];
      }
    } else if (!positive.empty()) {
      rho = positive.back();
    }
    out.rho[i] = static_cast<float>(rho);

    // In single precision, as umap-learn: the rounding of the sum decides at which step bisection
    // stops, so another precision often ends one step (1e-5 of sigma) elsewhere.
    float low = 0.0F;
    float high = std::numeric_limits<float>::infinity();
    float sigma = 1.0F;
    for (int step = 0; step < kBisections; ++step) {
      float sum = 0.0F;
      for (std::size_t j = 1; j < k; ++j) {
        const float beyond = row[j] - out.rho[i];
        sum += beyond > 0.0F ? std::exp(-(beyond / sigma)) : 1.0F;
      }
      if (std::abs(static_cast<double>(sum) - target) < kSmoothTolerance) break;
      if (static_cast<double>(sum) > target) {
        high = sigma;
        sigma = (low + high) / 2.0F;
      } else {
        low = sigma;
        sigma = std::isinf(high) ? sigma * 2.0F : (low + high) / 2.0F;
      }
    }
    out.sigma[i] =
        std::max(sigma, static_cast<float>(kMinScale * (rho > 0.0 ? mean : mean_of_all)));
  }
  return out;
}

FuzzyGraph fuzzy_graph(const Neighbors& neighbors, const LocalScale& scale) {
  const std::size_t n = neighbors.index.rows();
  struct Entry {
    std::int64_t row, col;
    float forward, backward;  // membership of the edge seen from row, and from col
  };
  std::vector<Entry> entries;
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < neighbors.index.cols(); ++j) {
      const std::int64_t other = neighbors.index(i, j);
      const auto self = static_cast<std::int64_t>(i);
      if (other == self) continue;
      const float beyond = neighbors.distance(i, j) - scale.rho[i];
      const float membership =
          beyond <= 0.0F || scale.sigma[i] == 0.0F ? 1.0F : std::exp(-beyond / scale.sigma[i]);
      entries.push_back({self, other, membership, 0.0F});
      entries.push_back({other, self, 0.0F, membership});
    }
  }
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return a.row != b.row ? a.row < b.row : a.col < b.col;
  });
  FuzzyGraph graph;
  graph.n = n;
  for (std::size_t e = 0; e < entries.size();) {
    float forward = 0.0F;
    float backward = 0.0F;
    const Entry& first = entries[e];
    for (; e < entries.size() && entries[e].row == first.row && entries[e].col == first.col; ++e) {
      forward = std::max(forward, entries[e].forward);
      backward = std::max(backward, entries[e].backward);
    }
    const float weight = forward + backward - forward * backward;
    if (!(weight > 0.0F)) continue;  // an exponential that underflowed
    graph.row.push_back(first.row);
    graph.col.push_back(first.col);
    graph.weight.push_back(weight);
  }
  return graph;
}

CurveParameters fit_curve_parameters(double spread, double min_dist) {
  if (!(spread > 0.0) || !(min_dist >= 0.0) || min_dist > spread || !std::isfinite(spread)) {
    throw Error(ErrorKind::kUsage,
                fmt::format("spread {} and min_dist {}, expected 0 <= min_dist <= spread and "
                            "spread above 0",
                            spread,
                            min_dist));
  }
  constexpr int kPoints = 300;
  std::vector<double> x(kPoints);
  std::vector<double> y(kPoints);
  for (int i = 0; i < kPoints; ++i) {
    const auto at = static_cast<std::size_t>(i);
    x[at] = 3.0 * spread * i / (kPoints - 1);
    y[at] = x[at] < min_dist ? 1.0 : std::exp(-(x[at] - min_dist) / spread);
  }
  const auto loss = [&](double a, double b) {
    double sum = 0.0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double r = 1.0 / (1.0 + a * std::pow(x[i], 2.0 * b)) - y[i];
      sum += r * r;
    }
    return sum;
  };
  // Levenberg-Marquardt from (1, 1), where umap-learn starts too.
  double a = 1.0;
  double b = 1.0;
  double damping = 1e-3;
  double current = loss(a, b);
  for (int step = 0; step < 500; ++step) {
    double ga = 0.0, gb = 0.0, haa = 0.0, hab = 0.0, hbb = 0.0;
    for (std::size_t i = 1; i < x.size(); ++i) {  // at x = 0 the curve is 1 whatever a and b
      const double power = std::pow(x[i], 2.0 * b);
      const double f = 1.0 / (1.0 + a * power);
      const double da = -power * f * f;
      const double db = -2.0 * a * power * std::log(x[i]) * f * f;
      ga += (f - y[i]) * da;
      gb += (f - y[i]) * db;
      haa += da * da;
      hab += da * db;
      hbb += db * db;
    }
    bool improved = false;
    while (damping < 1e12) {
      const double aa = haa * (1.0 + damping);
      const double bb = hbb * (1.0 + damping);
      const double determinant = aa * bb - hab * hab;
      const double move_a = -(bb * ga - hab * gb) / determinant;
      const double move_b = -(aa * gb - hab * ga) / determinant;
      if (std::abs(move_a) <= 1e-13 * a && std::abs(move_b) <= 1e-13 * b) return {a, b};
      const double next = loss(a + move_a, b + move_b);
      if (a + move_a > 0.0 && b + move_b > 0.0 && next < current) {
        a += move_a;
        b += move_b;
        current = next;
        damping = std::max(damping / 10.0, 1e-12);
        improved = true;
        break;
      }
      damping *= 10.0;
    }
    // No step of any size lowers the loss any more: this is the minimum to the last digit.
    if (!improved) return {a, b};
  }
  throw Error(
      ErrorKind::kNumerical,
      fmt::format("curve fit for spread {} and min_dist {} did not converge", spread, min_dist));
}

void UmapOptions::validate() const {
  const auto refuse = [](const std::string& message) { throw Error(ErrorKind::kUsage, message); };
  if (n_neighbors < 2) refuse(fmt::format("n_neighbors {}, expected at least 2", n_neighbors));
  if (n_components < 1) refuse(fmt::format("n_components {}, expected at least 1", n_components));
  if (negative_sample_rate < 1) {
    refuse(fmt::format("negative_sample_rate {}, expected at least 1", negative_sample_rate));
  }
  if (n_epochs < 0) refuse(fmt::format("n_epochs {}, expected 0 or more", n_epochs));
  if (!(learning_rate > 0.0) || !std::isfinite(learning_rate)) {
    refuse(fmt::format("learning_rate {}, expected a number above 0", learning_rate));
  }
  if (!(repulsion_strength >= 0.0) || !std::isfinite(repulsion_strength)) {
    refuse(fmt::format("repulsion_strength {}, expected 0 or more", repulsion_strength));
  }
}

UmapResult umap(const Matrix<double>& x, const UmapOptions& options) {
  options.validate();
  if (x.rows() < 3 || x.cols() < 1) {
    throw Error(ErrorKind::kData,
                fmt::format("{} rows and {} columns, expected at least 3 rows and 1 column for a "
                            "map",
                            x.rows(),
                            x.cols()));
  }
  UmapResult out;
  const CurveParameters curve = fit_curve_parameters(options.spread, options.min_dist);
  out.a = curve.a;
  out.b = curve.b;
  out.n_epochs = options.n_epochs > 0 ? options.n_epochs : (x.rows() <= 10000 ? 500 : 200);
  out.n_neighbors = options.n_neighbors;
  if (static_cast<std::size_t>(options.n_neighbors) > x.rows() - 1) {
    out.n_neighbors = static_cast<int>(x.rows()) - 1;
    out.notes.push_back(fmt::format("n_neighbors {} cut to {}: the set has {} rows",
                                    options.n_neighbors,
                                    out.n_neighbors,
                                    x.rows()));
  }
  const Neighbors neighbors = exact_neighbors(x, out.n_neighbors, options.threads);
  const FuzzyGraph graph = fuzzy_graph(neighbors, smooth_neighbor_distances(neighbors.distance));
  const auto dims = static_cast<std::size_t>(options.n_components);
  const std::size_t pieces = count_components(graph);
  if (pieces > 1) {
    out.notes.push_back(fmt::format(
        "the neighbour graph has {} separate pieces: started from principal components", pieces));
    out.embedding = principal_component_start(x, dims);
  } else {
    out.embedding = spectral_start(graph, dims, out.notes);
  }
  scale_start(out.embedding, options.seed);
  descend(out.embedding, graph, curve, out.n_epochs, options);
  for (std::size_t i = 0; i < out.embedding.size(); ++i) {
    if (!std::isfinite(out.embedding.data()[i])) {
      throw Error(ErrorKind::kNumerical,
                  fmt::format("the map of row {} left the finite numbers, try a smaller "
                              "learning_rate",
                              i / dims));
    }
  }
  return out;
}

double trustworthiness(const Matrix<double>& x,
                       const Matrix<double>& embedding,
                       int k,
                       int threads) {
  const std::size_t n = x.rows();
  if (embedding.rows() != n) {
    throw Error(ErrorKind::kData,
                fmt::format("map of {} rows for {} rows of data", embedding.rows(), n));
  }
  if (k < 1 || 2 * static_cast<std::size_t>(k) >= n) {
    throw Error(ErrorKind::kUsage,
                fmt::format("trustworthiness over {} neighbours of {} rows, expected at least 1 "
                            "and less than half the rows",
                            k,
                            n));
  }
  require_finite(x, "data");
  require_finite(embedding, "map");
  const auto width = static_cast<std::size_t>(k);
  std::vector<std::int64_t> penalty(n, 0);
  parallel_for(n, threads, [&](std::size_t i) {
    std::vector<double> in_map(n);
    std::vector<double> in_truth(n);
    std::vector<std::size_t> order;
    squared_distances(embedding, i, in_map);
    squared_distances(x, i, in_truth);
    nearest(in_map, i, width + 1, order);
    for (std::size_t j = 1; j <= width; ++j) {
      const std::size_t other = order[j];
      std::int64_t rank = 1;
      for (std::size_t t = 0; t < n; ++t) {
        if (t == i || t == other) continue;
        if (in_truth[t] < in_truth[other] || (in_truth[t] == in_truth[other] && t < other)) ++rank;
      }
      penalty[i] += std::max<std::int64_t>(0, rank - k);
    }
  });
  const double sum =
      static_cast<double>(std::accumulate(penalty.begin(), penalty.end(), std::int64_t{0}));
  const double size = static_cast<double>(n);
  const double neighbors = static_cast<double>(k);
  return 1.0 - 2.0 / (size * neighbors * (2.0 * size - 3.0 * neighbors - 1.0)) * sum;
}

}  // namespace med3d::stats
