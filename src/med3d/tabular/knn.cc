#include "med3d/tabular/knn.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include "med3d/core/error.h"

namespace med3d::tabular {
namespace {

struct Candidate {
  double distance;
  std::size_t index;
};

// A max-heap of fixed size that starts full of infinities. A distance equal to the largest is not
// let in, so among ties the first visited stays.
class NearestHeap {
 public:
  explicit NearestHeap(std::size_t size)
      : items_(size, {std::numeric_limits<double>::infinity(), 0}) {}

  double largest() const { return items_[0].distance; }

  void push(double distance, std::size_t index) {
    if (distance >= items_[0].distance) return;
    const std::size_t size = items_.size();
    std::size_t hole = 0;
    for (;;) {
      const std::size_t left = 2 * hole + 1;
      const std::size_t right = left + 1;
      if (left >= size) break;
      const bool use_left = right >= size || items_[left].distance >= items_[right].distance;
      const std::size_t child = use_left ? left : right;
      if (items_[child].distance <= distance) break;
      items_[hole] = items_[child];
      hole = child;
    }
    items_[hole] = {distance, index};
  }

  // Moves the candidates to another heap, in the order they lie here.
  void pour_into(NearestHeap& other) const {
    for (const Candidate& item : items_) other.push(item.distance, item.index);
  }

  // Sorts by distance with a quicksort that is not stable: the order it leaves equal distances in
  // is part of the result.
  std::span<const Candidate> sorted() {
    sort(items_.data(), items_.size());
    return items_;
  }

 private:
  static void sort(Candidate* items, std::size_t size) {
    const auto order = [items](std::size_t i, std::size_t j) {
      if (items[i].distance > items[j].distance) {
        std::swap(items[i], items[j]);
        return true;
      }
      return false;
    };
    if (size <= 1) return;
    if (size == 2) {
      order(0, 1);
      return;
    }
    if (size == 3) {
      order(0, 1);
      if (order(1, 2)) order(0, 1);
      return;
    }
    const std::size_t last = size - 1;
    const std::size_t middle = size / 2;
    order(0, last);
    if (items[last].distance > items[middle].distance) {
      std::swap(items[last], items[middle]);
      order(0, last);
    }
    const double pivot = items[last].distance;
    std::size_t store = 0;
    for (std::size_t i = 0; i < last; ++i) {
      if (items[i].distance < pivot) std::swap(items[i], items[store++]);
    }
    std::swap(items[store], items[last]);
    if (store > 1) sort(items, store);
    if (store + 2 < size) sort(items + store + 1, size - store - 1);
  }

  std::vector<Candidate> items_;
};

double squared_distance(const double* a, const double* b, std::size_t width) {
  double sum = 0.0;
  for (std::size_t j = 0; j < width; ++j) {
    const double difference = a[j] - b[j];
    sum += difference * difference;
  }
  return sum;
}

// Rows whose distances are summed side by side; one sum has no way to use a vector unit without
// another order of its terms.
constexpr std::size_t kBlock = 16;

// Squared distances of a query from kBlock rows, block[j * kBlock + r] being column j of row r.
// Each sum runs over the columns in order, so that duplicates tie exactly. Compiled once more for
// AVX2 and chosen at run time; without fused multiply-add (the build turns contraction off for this
// file), so both give the same bits.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__)
__attribute__((target_clones("default", "avx2")))
#endif
void block_distances(const double* __restrict block,
                     const double* __restrict query,
                     std::size_t width,
                     double* __restrict distance) {
  // Written with the compiler's vectors: from a plain loop over r it makes twice as many shuffles
  // as sums.
  using Pack = double __attribute__((vector_size(32)));
  constexpr std::size_t kLanes = sizeof(Pack) / sizeof(double);
  Pack sum[kBlock / kLanes] = {};
  for (std::size_t j = 0; j < width; ++j) {
    for (std::size_t p = 0; p < kBlock / kLanes; ++p) {
      Pack column;
      std::memcpy(&column, block + j * kBlock + p * kLanes, sizeof column);
      const Pack difference = query[j] - column;
      sum[p] += difference * difference;
    }
  }
  std::memcpy(distance, sum, sizeof sum);
}

// All queries against one block of rows before the next, so that the block stays in the cache.
void scan_rows(const Matrix<double>& fitted,
               const Matrix<double>& queries,
               std::vector<NearestHeap>& heaps) {
  const std::size_t width = fitted.cols();
  std::vector<double> block(width * kBlock);
  double distance[kBlock];
  for (std::size_t first = 0; first < fitted.rows(); first += kBlock) {
    // Past the last row the block keeps what it held; those distances are not looked at.
    const std::size_t rows = std::min(kBlock, fitted.rows() - first);
    for (std::size_t r = 0; r < rows; ++r) {
      for (std::size_t j = 0; j < width; ++j) block[j * kBlock + r] = fitted(first + r, j);
    }
    for (std::size_t i = 0; i < queries.rows(); ++i) {
      block_distances(block.data(), queries.row(i).data(), width, distance);
      for (std::size_t r = 0; r < rows; ++r) heaps[i].push(distance[r], first + r);
    }
  }
}

void scan_rows_expanded(const Matrix<double>& fitted,
                        std::span<const double> fitted_norms,
                        const double* query,
                        NearestHeap& heap) {
  const std::size_t width = fitted.cols();
  double query_norm = 0.0;
  for (std::size_t j = 0; j < width; ++j) query_norm += query[j] * query[j];
  for (std::size_t i = 0; i < fitted.rows(); ++i) {
    const double* row = fitted.data() + i * width;
    double product = 0.0;
    for (std::size_t j = 0; j < width; ++j) product += -2.0 * query[j] * row[j];
    heap.push(std::max(0.0, query_norm + product + fitted_norms[i]), i);
  }
}

class KdTree {
 public:
  explicit KdTree(const Matrix<double>& points) : points_(points), order_(points.rows()) {
    constexpr double kLeafRows = 30.0;
    std::iota(order_.begin(), order_.end(), std::size_t{0});
    const double ratio = (static_cast<double>(points.rows()) - 1.0) / kLeafRows;
    const auto levels = static_cast<std::size_t>(std::log2(std::max(1.0, ratio)) + 1.0);
    nodes_.resize((std::size_t{1} << levels) - 1);
    lower_ = Matrix<double>(nodes_.size(), points.cols());
    upper_ = Matrix<double>(nodes_.size(), points.cols());
    build(0, 0, points.rows());
  }

  void query(const double* point, NearestHeap& heap) const {
    visit(0, point, lower_bound(0, point), heap);
  }

 private:
  struct Node {
    std::size_t begin = 0;
    std::size_t end = 0;
    bool leaf = true;
  };

  void build(std::size_t node, std::size_t begin, std::size_t end) {
    const std::size_t width = points_.cols();
    auto lower = lower_.row(node);
    auto upper = upper_.row(node);
    std::fill(lower.begin(), lower.end(), std::numeric_limits<double>::infinity());
    std::fill(upper.begin(), upper.end(), -std::numeric_limits<double>::infinity());
    for (std::size_t i = begin; i < end; ++i) {
      const auto row = points_.row(order_[i]);
      for (std::size_t j = 0; j < width; ++j) {
        lower[j] = std::min(lower[j], row[j]);
        upper[j] = std::max(upper[j], row[j]);
      }
    }
    nodes_[node] = {begin, end, true};
    if (2 * node + 1 >= nodes_.size() || end - begin < 2) return;
    nodes_[node].leaf = false;
    std::size_t axis = 0;
    double widest = 0.0;
    for (std::size_t j = 0; j < width; ++j) {
      if (upper[j] - lower[j] > widest) {
        widest = upper[j] - lower[j];
        axis = j;
      }
    }
    const std::size_t half = (end - begin) / 2;
    const auto first = order_.begin() + static_cast<std::ptrdiff_t>(begin);
    std::nth_element(first,
                     first + static_cast<std::ptrdiff_t>(half),
                     order_.begin() + static_cast<std::ptrdiff_t>(end),
                     [&](std::size_t a, std::size_t b) {
                       const double x = points_(a, axis);
                       const double y = points_(b, axis);
                       return x == y ? a < b : x < y;
                     });
    build(2 * node + 1, begin, begin + half);
    build(2 * node + 2, begin + half, end);
  }

  double lower_bound(std::size_t node, const double* point) const {
    const auto lower = lower_.row(node);
    const auto upper = upper_.row(node);
    double sum = 0.0;
    for (std::size_t j = 0; j < lower.size(); ++j) {
      const double below = lower[j] - point[j];
      const double above = point[j] - upper[j];
      const double gap = 0.5 * (below + std::abs(below) + above + std::abs(above));
      sum += gap * gap;
    }
    return sum;
  }

  void visit(std::size_t node, const double* point, double bound, NearestHeap& heap) const {
    if (bound > heap.largest()) return;
    if (nodes_[node].leaf) {
      for (std::size_t i = nodes_[node].begin; i < nodes_[node].end; ++i) {
        const std::size_t row = order_[i];
        heap.push(squared_distance(point, points_.row(row).data(), points_.cols()), row);
      }
      return;
    }
    const std::size_t left = 2 * node + 1;
    const std::size_t right = left + 1;
    const double left_bound = lower_bound(left, point);
    const double right_bound = lower_bound(right, point);
    if (left_bound <= right_bound) {
      visit(left, point, left_bound, heap);
      visit(right, point, right_bound, heap);
    } else {
      visit(right, point, right_bound, heap);
      visit(left, point, left_bound, heap);
    }
  }

  const Matrix<double>& points_;
  std::vector<std::size_t> order_;
  std::vector<Node> nodes_;
  Matrix<double> lower_, upper_;
};

NeighborSearch choose(NeighborSearch search, const Matrix<double>& fitted, std::size_t k) {
  if (search != NeighborSearch::kAuto) return search;
  const bool brute = fitted.cols() > 15 || k >= fitted.rows() / 2;
  return brute ? NeighborSearch::kBrute : NeighborSearch::kKdTree;
}

}  // namespace

Matrix<std::size_t> nearest_neighbors(const Matrix<double>& fitted,
                                      const Matrix<double>& queries,
                                      std::size_t k,
                                      NeighborSearch search) {
  if (k == 0) throw Error(ErrorKind::kUsage, "nearest neighbours: k is 0, expected at least 1");
  if (fitted.rows() < k) {
    throw Error(ErrorKind::kData,
                "nearest neighbours: " + std::to_string(fitted.rows()) +
                    " rows, expected at least k = " + std::to_string(k));
  }
  if (queries.rows() > 0 && queries.cols() != fitted.cols()) {
    throw Error(ErrorKind::kUsage,
                "nearest neighbours: queries have " + std::to_string(queries.cols()) +
                    " columns, expected " + std::to_string(fitted.cols()));
  }
  Matrix<std::size_t> out(queries.rows(), k);
  const auto store = [&](std::size_t i, NearestHeap& heap) {
    const auto sorted = heap.sorted();
    for (std::size_t j = 0; j < k; ++j) out(i, j) = sorted[j].index;
  };
  // For few queries scikit-learn's brute force gives each thread a heap over part of the rows and
  // pours those into a last one, which shuffles equal distances once more. We do as its single
  // thread does (with several, its answer on ties depends on their number above 256 rows).
  constexpr std::size_t kPouredQueries = 1024;
  const auto store_poured = [&](std::size_t i, NearestHeap& heap) {
    if (queries.rows() > kPouredQueries) return store(i, heap);
    NearestHeap last(k);
    heap.pour_into(last);
    store(i, last);
  };
  switch (choose(search, fitted, k)) {
    case NeighborSearch::kKdTree: {
      const KdTree tree(fitted);
      for (std::size_t i = 0; i < queries.rows(); ++i) {
        NearestHeap heap(k);
        tree.query(queries.row(i).data(), heap);
        store(i, heap);
      }
      break;
    }
    case NeighborSearch::kBruteExpanded: {
      std::vector<double> norms(fitted.rows(), 0.0);
      for (std::size_t i = 0; i < fitted.rows(); ++i) {
        for (const double x : fitted.row(i)) norms[i] += x * x;
      }
      for (std::size_t i = 0; i < queries.rows(); ++i) {
        NearestHeap heap(k);
        scan_rows_expanded(fitted, norms, queries.row(i).data(), heap);
        store_poured(i, heap);
      }
      break;
    }
    case NeighborSearch::kAuto:
    case NeighborSearch::kBrute: {
      std::vector<NearestHeap> heaps(queries.rows(), NearestHeap(k));
      scan_rows(fitted, queries, heaps);
      for (std::size_t i = 0; i < queries.rows(); ++i) store_poured(i, heaps[i]);
      break;
    }
  }
  return out;
}

}  // namespace med3d::tabular
