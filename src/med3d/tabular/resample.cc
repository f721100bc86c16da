#include "med3d/tabular/resample.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <optional>

#include "med3d/core/error.h"
#include "med3d/core/random.h"
#include "med3d/core/text.h"
#include "med3d/tabular/knn.h"

namespace med3d::tabular {
namespace {

constexpr std::array<std::pair<Balance, std::string_view>, 5> kNames = {{
    {Balance::kNone, "none"},
    {Balance::kSmote, "smote"},
    {Balance::kAdasyn, "adasyn"},
    {Balance::kSmotenc, "smotenc"},
    {Balance::kRandom, "random"},
}};

// One class that has to grow.
struct Growth {
  std::uint8_t label;
  std::size_t wanted;             // new rows
  std::vector<std::size_t> rows;  // its present rows, ascending
};

std::vector<Growth> plan_growth(std::span<const std::uint8_t> y, double ratio) {
  std::array<std::vector<std::size_t>, 256> rows;
  for (std::size_t i = 0; i < y.size(); ++i) rows[y[i]].push_back(i);
  std::size_t classes = 0;
  std::size_t majority = 256;
  for (std::size_t label = 0; label < rows.size(); ++label) {
    if (rows[label].empty()) continue;
    ++classes;
    if (majority == 256 || rows[label].size() > rows[majority].size()) majority = label;
  }
  if (classes < 2) {
    throw Error(ErrorKind::kData,
                "oversampling: " + std::to_string(y.size()) + " rows of " +
                    (classes == 0 ? "no class" : "class " + std::to_string(majority) + " only") +
                    ", expected at least two classes");
  }
  if (ratio > 0.0 && classes != 2) {
    throw Error(ErrorKind::kUsage,
                "oversampling: a ratio was given with " + std::to_string(classes) +
                    " classes, expected two (or no ratio)");
  }
  std::vector<Growth> plan;
  for (std::size_t label = 0; label < rows.size(); ++label) {
    if (rows[label].empty() || label == majority) continue;
    const double present = static_cast<double>(rows[label].size());
    const double largest = static_cast<double>(rows[majority].size());
    const double wanted = ratio > 0.0 ? std::trunc(largest * ratio - present) : largest - present;
    if (ratio > 0.0 && wanted <= 0.0) {
      throw Error(ErrorKind::kData,
                  "oversampling: class " + std::to_string(label) + " has " +
                      std::to_string(rows[label].size()) + " of " +
                      std::to_string(rows[majority].size()) + " rows, already at ratio " +
                      format_double(ratio) + " or above; expected a larger ratio");
    }
    if (wanted > 0.0) {
      plan.push_back({static_cast<std::uint8_t>(label),
                      static_cast<std::size_t>(wanted),
                      std::move(rows[label])});
    }
  }
  return plan;
}

// numpy's sum: eight running sums per block of at most 128, blocks added as a tree. ADASYN rounds
// n r_i / sum r, so the last bit of the sum can move a row.
double numpy_sum(const double* values, std::size_t count) {
  if (count < 8) {
    double sum = 0.0;
    for (std::size_t i = 0; i < count; ++i) sum += values[i];
    return sum;
  }
  if (count <= 128) {
    std::array<double, 8> part{};
    std::copy_n(values, 8, part.begin());
    std::size_t i = 8;
    for (; i + 8 <= count; i += 8) {
      for (std::size_t j = 0; j < 8; ++j) part[j] += values[i + j];
    }
    double sum =
        ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7]));
    for (; i < count; ++i) sum += values[i];
    return sum;
  }
  std::size_t half = count / 2;
  half -= half % 8;
  return numpy_sum(values, half) + numpy_sum(values + half, count - half);
}

class Oversampler {
 public:
  Oversampler(const Matrix<double>& x,
              std::span<const std::uint8_t> y,
              const ResampleOptions& options,
              Resampled& out)
      : x_(x), y_(y), options_(options), out_(out), shared_(options.seed) {}

  void random(const Growth& growth) {
    for (std::size_t i = 0; i < growth.wanted; ++i) {
      append(growth, x_.row(growth.rows[shared_.randint(growth.rows.size())]));
    }
  }

  void smote(const Growth& growth) {
    const std::size_t k = usable_k(growth);
    const Matrix<double> own = x_.take_rows(growth.rows);
    const auto neighbours = neighbours_after_first(own, own, k, NeighborSearch::kAuto);
    const Draws draws = draw_smote(growth, k);
    interpolate(growth, own, neighbours, draws);
  }

  void adasyn(const Growth& growth) {
    const std::size_t k = usable_k(growth);
    const Matrix<double> own = x_.take_rows(growth.rows);
    const auto around = neighbours_after_first(x_, own, k, NeighborSearch::kAuto);
    std::vector<double> share(own.rows(), 0.0);
    for (std::size_t i = 0; i < own.rows(); ++i) {
      std::size_t others = 0;
      for (const std::size_t j : around.row(i)) others += y_[j] != growth.label ? 1 : 0;
      share[i] = static_cast<double>(others) / static_cast<double>(k);
    }
    const double total = numpy_sum(share.data(), share.size());
    if (total == 0.0) {
      refuse_adasyn(growth, "none of its rows has a neighbour of another class");
      return;
    }
    std::vector<std::size_t> count(own.rows());
    for (std::size_t i = 0; i < own.rows(); ++i) {
      count[i] = static_cast<std::size_t>(
          std::nearbyint(share[i] / total * static_cast<double>(growth.wanted)));
    }
    const std::size_t wanted = std::accumulate(count.begin(), count.end(), std::size_t{0});
    if (wanted == 0) {
      refuse_adasyn(
          growth,
          "every row's share of the " + std::to_string(growth.wanted) + " new rows rounds to none");
      return;
    }
    const auto neighbours = neighbours_after_first(own, own, k, NeighborSearch::kAuto);
    Draws draws;
    for (std::size_t i = 0; i < own.rows(); ++i) draws.row.insert(draws.row.end(), count[i], i);
    for (std::size_t i = 0; i < wanted; ++i) draws.col.push_back(shared_.randint(k));
    for (std::size_t i = 0; i < wanted; ++i) draws.step.push_back(shared_.uniform());
    interpolate(growth, own, neighbours, draws);
  }

  void prepare_smotenc() {
    for (std::size_t j = 0; j < x_.cols(); ++j) {
      (options_.categorical[j] ? nominal_ : numeric_).push_back(j);
    }
    if (numeric_.empty()) {
      throw Error(ErrorKind::kUsage,
                  "smotenc: every column is nominal, expected at least one numeric column");
    }
    half_spread_ = median_spread() / 2.0;
    for (const std::size_t j : nominal_) {
      std::vector<double> levels;
      for (std::size_t i = 0; i < x_.rows(); ++i) levels.push_back(x_(i, j));
      std::sort(levels.begin(), levels.end());
      levels.erase(std::unique(levels.begin(), levels.end()), levels.end());
      levels_.push_back(std::move(levels));
    }
  }

  void smotenc(const Growth& growth) {
    const std::size_t k = usable_k(growth);
    const Matrix<double> own = x_.take_rows(growth.rows);
    const Matrix<double> encoded = encode(own);
    const auto neighbours =
        neighbours_after_first(encoded, encoded, k, NeighborSearch::kBruteExpanded);
    const Draws draws = draw_smote(growth, k);
    const std::size_t first = out_.x.rows();
    interpolate(growth, own, neighbours, draws);
    // Ties between values are broken by a second stream from the same seed, one permutation of all
    // tied (row, level) pairs per column: the first pair of a row in that order wins.
    NumpyRandom ties(options_.seed);
    for (std::size_t c = 0; c < nominal_.size(); ++c) {
      const auto choice = commonest_levels(c, own, neighbours, draws, ties);
      for (std::size_t i = 0; i < choice.size(); ++i) {
        out_.x(first + i, nominal_[c]) = levels_[c][choice[i]];
      }
    }
  }

 private:
  struct Draws {
    std::vector<std::size_t> row, col;
    std::vector<double> step;
  };

  std::size_t usable_k(const Growth& growth) {
    const auto k = static_cast<std::size_t>(options_.k_neighbors);
    const std::size_t n = growth.rows.size();
    if (n > k) return k;
    const std::string found = "class " + std::to_string(growth.label) + " has " +
                              std::to_string(n) + (n == 1 ? " row" : " rows") + ", " +
                              std::to_string(k) + " neighbours need at least " +
                              std::to_string(k + 1);
    if (options_.strict || n < 2) throw Error(ErrorKind::kData, "oversampling: " + found);
    out_.warnings.push_back(found + "; " + std::to_string(n - 1) + " used instead");
    return n - 1;
  }

  void refuse_adasyn(const Growth& growth, const std::string& reason) {
    const std::string found = "adasyn: class " + std::to_string(growth.label) + ": " + reason;
    if (options_.strict) throw Error(ErrorKind::kData, found + "; use smote instead");
    out_.warnings.push_back(found + "; smote used instead");
    smote(growth);
  }

  // The first neighbour is dropped as the row itself. With duplicates it can be another row, and
  // the row its own neighbour: that is what the peers do.
  static Matrix<std::size_t> neighbours_after_first(const Matrix<double>& fitted,
                                                    const Matrix<double>& queries,
                                                    std::size_t k,
                                                    NeighborSearch search) {
    const auto with_first = nearest_neighbors(fitted, queries, k + 1, search);
    Matrix<std::size_t> out(queries.rows(), k);
    for (std::size_t i = 0; i < out.rows(); ++i) {
      std::copy_n(with_first.row(i).begin() + 1, k, out.row(i).begin());
    }
    return out;
  }

  // SMOTE starts the stream anew for every class.
  Draws draw_smote(const Growth& growth, std::size_t k) const {
    NumpyRandom random(options_.seed);
    Draws draws;
    for (std::size_t i = 0; i < growth.wanted; ++i) {
      const auto pair = static_cast<std::size_t>(random.randint(growth.rows.size() * k));
      draws.row.push_back(pair / k);
      draws.col.push_back(pair % k);
    }
    for (std::size_t i = 0; i < growth.wanted; ++i) draws.step.push_back(random.uniform());
    return draws;
  }

  void interpolate(const Growth& growth,
                   const Matrix<double>& own,
                   const Matrix<std::size_t>& neighbours,
                   const Draws& draws) {
    std::vector<double> row(own.cols());
    for (std::size_t i = 0; i < draws.row.size(); ++i) {
      const auto from = own.row(draws.row[i]);
      const auto to = own.row(neighbours(draws.row[i], draws.col[i]));
      for (std::size_t j = 0; j < row.size(); ++j) {
        row[j] = from[j] + draws.step[i] * (to[j] - from[j]);
      }
      append(growth, row);
    }
  }

  void append(const Growth& growth, std::span<const double> row) {
    out_.x.append_row(row);
    out_.y.push_back(growth.label);
  }

  // Median over the numeric columns of the smallest class' standard deviation (divisor n). Of two
  // smallest classes the one that appears first in the table.
  double median_spread() const {
    std::array<std::size_t, 256> count{};
    for (const std::uint8_t label : y_) ++count[label];
    std::uint8_t smallest = y_[0];
    for (const std::uint8_t label : y_) {
      if (count[label] < count[smallest]) smallest = label;
    }
    const double n = static_cast<double>(count[smallest]);
    std::vector<double> spread;
    for (const std::size_t j : numeric_) {
      double mean = 0.0;
      for (std::size_t i = 0; i < x_.rows(); ++i) mean += y_[i] == smallest ? x_(i, j) : 0.0;
      mean /= n;
      double squares = 0.0;
      for (std::size_t i = 0; i < x_.rows(); ++i) {
        if (y_[i] == smallest) squares += (x_(i, j) - mean) * (x_(i, j) - mean);
      }
      spread.push_back(std::sqrt(squares / n));
    }
    std::sort(spread.begin(), spread.end());
    const std::size_t middle = spread.size() / 2;
    return spread.size() % 2 == 1 ? spread[middle] : (spread[middle - 1] + spread[middle]) / 2.0;
  }

  std::size_t level_of(std::size_t c, double value) const {
    const auto found = std::lower_bound(levels_[c].begin(), levels_[c].end(), value);
    return static_cast<std::size_t>(found - levels_[c].begin());
  }

  // Numeric columns, then each nominal one as indicators of height half_spread_: two rows that
  // differ in one nominal column are then spread / sqrt(2) apart.
  Matrix<double> encode(const Matrix<double>& own) const {
    std::size_t width = numeric_.size();
    for (const auto& levels : levels_) width += levels.size();
    Matrix<double> out(own.rows(), width);
    for (std::size_t i = 0; i < own.rows(); ++i) {
      for (std::size_t c = 0; c < numeric_.size(); ++c) out(i, c) = own(i, numeric_[c]);
      std::size_t start = numeric_.size();
      for (std::size_t c = 0; c < nominal_.size(); ++c) {
        out(i, start + level_of(c, own(i, nominal_[c]))) = half_spread_;
        start += levels_[c].size();
      }
    }
    return out;
  }

  // The commonest level of one nominal column among the neighbours of each drawn row.
  std::vector<std::size_t> commonest_levels(std::size_t c,
                                            const Matrix<double>& own,
                                            const Matrix<std::size_t>& neighbours,
                                            const Draws& draws,
                                            NumpyRandom& ties) const {
    // imbalanced-learn counts in units of half_spread_ and compares with numpy's isclose, whose
    // absolute tolerance of 1e-8 makes every level tie when the numeric columns hardly vary.
    const double unit = half_spread_ == 0.0 ? 1.0 : half_spread_;
    std::vector<std::pair<std::size_t, std::size_t>> tied;
    std::vector<double> votes(levels_[c].size());
    for (std::size_t i = 0; i < draws.row.size(); ++i) {
      std::fill(votes.begin(), votes.end(), 0.0);
      for (const std::size_t j : neighbours.row(draws.row[i])) {
        votes[level_of(c, own(j, nominal_[c]))] += unit;
      }
      const double most = *std::max_element(votes.begin(), votes.end());
      for (std::size_t level = 0; level < votes.size(); ++level) {
        if (most - votes[level] <= 1e-8 + 1e-5 * most) tied.emplace_back(i, level);
      }
    }
    std::vector<std::optional<std::size_t>> choice(draws.row.size());
    for (const std::size_t position : ties.permutation(tied.size())) {
      const auto [row, level] = tied[position];
      if (!choice[row]) choice[row] = level;
    }
    std::vector<std::size_t> out;
    for (const auto& level : choice) out.push_back(level.value());
    return out;
  }

  const Matrix<double>& x_;
  std::span<const std::uint8_t> y_;
  const ResampleOptions& options_;
  Resampled& out_;
  NumpyRandom shared_;  // ADASYN and random share one stream over the classes
  std::vector<std::size_t> numeric_, nominal_;
  std::vector<std::vector<double>> levels_;
  double half_spread_ = 0.0;
};

}  // namespace

Balance parse_balance(std::string_view name) {
  std::vector<std::string> names;
  for (const auto& [balance, text] : kNames) {
    if (text == name) return balance;
    names.emplace_back(text);
  }
  throw Error(ErrorKind::kUsage,
              "unknown balancing '" + std::string(name) + "', expected one of " +
                  join(names, ", ") + did_you_mean(name, names));
}

std::string to_string(Balance balance) {
  for (const auto& [value, text] : kNames) {
    if (value == balance) return std::string(text);
  }
  return "unknown";
}

void ResampleOptions::validate() const {
  if (k_neighbors < 1) {
    throw Error(
        ErrorKind::kUsage,
        "oversampling: k_neighbors is " + std::to_string(k_neighbors) + ", expected at least 1");
  }
  if (!(ratio >= 0.0 && ratio <= 1.0)) {
    throw Error(ErrorKind::kUsage,
                "oversampling: ratio is " + format_double(ratio) +
                    ", expected a number in (0, 1], or 0 for automatic");
  }
}

Resampled resample(const Matrix<double>& x,
                   std::span<const std::uint8_t> y,
                   Balance balance,
                   const ResampleOptions& options) {
  options.validate();
  if (x.rows() != y.size()) {
    throw Error(ErrorKind::kUsage,
                "oversampling: " + std::to_string(x.rows()) + " rows and " +
                    std::to_string(y.size()) + " labels, expected as many");
  }
  if (balance == Balance::kSmotenc && options.categorical.size() != x.cols()) {
    throw Error(ErrorKind::kUsage,
                "smotenc: 'categorical' marks " + std::to_string(options.categorical.size()) +
                    " columns, expected " + std::to_string(x.cols()));
  }
  Resampled out{x, {y.begin(), y.end()}, x.rows(), {}};
  if (balance == Balance::kNone) return out;
  if (balance != Balance::kRandom) {
    for (std::size_t i = 0; i < x.rows(); ++i) {
      for (std::size_t j = 0; j < x.cols(); ++j) {
        if (!std::isfinite(x(i, j))) {
          throw Error(ErrorKind::kData,
                      to_string(balance) + ": row " + std::to_string(i + 1) + ", column " +
                          std::to_string(j + 1) + " is " + format_double(x(i, j)) +
                          ", expected a finite number (impute first)");
        }
      }
    }
  }
  const std::vector<Growth> plan = plan_growth(y, options.ratio);
  Oversampler oversampler(x, y, options, out);
  if (balance == Balance::kSmotenc && !plan.empty()) oversampler.prepare_smotenc();
  for (const Growth& growth : plan) {
    switch (balance) {
      case Balance::kSmote:
        oversampler.smote(growth);
        break;
      case Balance::kAdasyn:
        oversampler.adasyn(growth);
        break;
      case Balance::kSmotenc:
        oversampler.smotenc(growth);
        break;
      case Balance::kRandom:
        oversampler.random(growth);
        break;
      case Balance::kNone:
        break;
    }
  }
  return out;
}

}  // namespace med3d::tabular
