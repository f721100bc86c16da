#include "med3d/tabular/split.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <set>
#include <string>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/core/matrix.h"
#include "med3d/core/random.h"
#include "med3d/core/text.h"

namespace med3d::tabular {
namespace {

void check_folds(int folds) {
  if (folds < 2) {
    throw Error(ErrorKind::kUsage,
                "split: " + std::to_string(folds) + " folds, expected at least 2");
  }
}

void check_sizes(std::size_t labels, std::size_t others, const char* what) {
  if (labels != others) {
    throw Error(ErrorKind::kUsage,
                "split: " + std::to_string(labels) + " labels and " + std::to_string(others) + " " +
                    what + ", expected as many");
  }
}

std::array<std::size_t, 256> count_classes(std::span<const std::uint8_t> labels) {
  std::array<std::size_t, 256> count{};
  for (const std::uint8_t label : labels) ++count[label];
  return count;
}

void check_class_sizes(std::span<const std::uint8_t> labels, int folds) {
  if (labels.empty()) throw Error(ErrorKind::kData, "split: no patients");
  const auto count = count_classes(labels);
  for (std::size_t label = 0; label < count.size(); ++label) {
    if (count[label] == 0 || count[label] >= static_cast<std::size_t>(folds)) continue;
    throw Error(ErrorKind::kData,
                "split: class " + std::to_string(label) + " has " + std::to_string(count[label]) +
                    (count[label] == 1 ? " patient, " : " patients, ") + std::to_string(folds) +
                    " folds need at least " + std::to_string(folds));
  }
}

// Rows sorted by code are dealt to the folds in turn, which fixes how many of each code every fold
// gets; which rows those are is in table order, or shuffled within the code.
std::vector<int> deal(const std::vector<std::size_t>& codes,
                      std::size_t n_codes,
                      int folds,
                      NumpyRandom* random) {
  const auto n_folds = static_cast<std::size_t>(folds);
  std::vector<std::vector<std::size_t>> rows(n_codes);
  for (std::size_t i = 0; i < codes.size(); ++i) rows[codes[i]].push_back(i);
  std::vector<int> out(codes.size(), 0);
  std::size_t position = 0;
  for (std::size_t code = 0; code < n_codes; ++code) {
    std::vector<std::size_t> allocation(n_folds, 0);
    for (std::size_t i = 0; i < rows[code].size(); ++i) ++allocation[position++ % n_folds];
    std::vector<int> fold;
    for (std::size_t f = 0; f < n_folds; ++f) {
      fold.insert(fold.end(), allocation[f], static_cast<int>(f));
    }
    if (random != nullptr) random->shuffle(fold);
    for (std::size_t i = 0; i < fold.size(); ++i) out[rows[code][i]] = fold[i];
  }
  return out;
}

// numpy.argsort(values) for integers: a median-of-three quicksort down to 17 elements, then
// insertion sort. Not stable, and GroupKFold's answer depends on the order of equal sizes.
void numpy_argsort(const std::vector<std::size_t>& values,
                   std::vector<std::size_t>& order,
                   std::ptrdiff_t left,
                   std::ptrdiff_t right) {
  const auto at = [&](std::ptrdiff_t i) -> std::size_t& {
    return order[static_cast<std::size_t>(i)];
  };
  const auto value = [&](std::ptrdiff_t i) { return values[at(i)]; };
  while (right - left > 16) {
    const std::ptrdiff_t middle = left + (right - left) / 2;
    if (value(middle) < value(left)) std::swap(at(middle), at(left));
    if (value(right) < value(middle)) std::swap(at(right), at(middle));
    if (value(middle) < value(left)) std::swap(at(middle), at(left));
    const std::size_t pivot = value(middle);
    std::ptrdiff_t i = left;
    std::ptrdiff_t j = right - 1;
    std::swap(at(middle), at(j));
    for (;;) {
      do ++i;
      while (value(i) < pivot);
      do --j;
      while (pivot < value(j));
      if (i >= j) break;
      std::swap(at(i), at(j));
    }
    std::swap(at(i), at(right - 1));
    // The smaller side by recursion keeps the depth logarithmic.
    if (i - left < right - i) {
      numpy_argsort(values, order, left, i - 1);
      left = i + 1;
    } else {
      numpy_argsort(values, order, i + 1, right);
      right = i - 1;
    }
  }
  for (std::ptrdiff_t i = left + 1; i <= right; ++i) {
    const std::size_t index = at(i);
    std::ptrdiff_t j = i;
    for (; j > left && values[index] < value(j - 1); --j) at(j) = at(j - 1);
    at(j) = index;
  }
}

struct Groups {
  std::vector<std::size_t> of_row;  // dense, by ascending value
  std::size_t count = 0;
};

Groups number_groups(std::span<const int> groups, int folds) {
  std::map<int, std::size_t> number;
  for (const int group : groups) number.emplace(group, 0);
  std::size_t next = 0;
  for (auto& [group, dense] : number) dense = next++;
  if (next < static_cast<std::size_t>(folds)) {
    throw Error(ErrorKind::kData,
                "split: " + std::to_string(next) + " groups, " + std::to_string(folds) +
                    " folds need at least " + std::to_string(folds));
  }
  Groups out;
  out.count = next;
  for (const int group : groups) out.of_row.push_back(number.at(group));
  return out;
}

// Standard deviation with divisor n, summed in order.
double spread(std::span<const double> values) {
  const double n = static_cast<double>(values.size());
  double mean = 0.0;
  for (const double value : values) mean += value;
  mean /= n;
  double squares = 0.0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  return std::sqrt(squares / n);
}

// How many of n_draws fall to each class: proportional, the rest to the largest remainders, ties
// among equal remainders drawn.
std::vector<std::size_t> share_out(const std::vector<std::size_t>& counts,
                                   std::size_t n_draws,
                                   NumpyRandom& random) {
  const auto total =
      static_cast<double>(std::accumulate(counts.begin(), counts.end(), std::size_t{0}));
  std::vector<std::size_t> out;
  std::vector<double> remainder;
  for (const std::size_t count : counts) {
    const double exact = static_cast<double>(count) / total * static_cast<double>(n_draws);
    out.push_back(static_cast<std::size_t>(std::floor(exact)));
    remainder.push_back(exact - std::floor(exact));
  }
  std::size_t missing = n_draws - std::accumulate(out.begin(), out.end(), std::size_t{0});
  const std::set<double, std::greater<>> values(remainder.begin(), remainder.end());
  for (const double value : values) {
    if (missing == 0) break;
    std::vector<std::size_t> classes;
    for (std::size_t c = 0; c < counts.size(); ++c) {
      if (remainder[c] == value) classes.push_back(c);
    }
    const std::size_t add = std::min(classes.size(), missing);
    const auto order = random.permutation(classes.size());
    for (std::size_t i = 0; i < add; ++i) ++out[classes[order[i]]];
    missing -= add;
  }
  return out;
}

}  // namespace

std::vector<int> stratified_folds(std::span<const std::uint8_t> labels,
                                  int folds,
                                  std::optional<std::uint32_t> seed) {
  check_folds(folds);
  check_class_sizes(labels, folds);
  // scikit-learn numbers classes by first appearance.
  std::array<std::optional<std::size_t>, 256> code;
  std::size_t n_codes = 0;
  std::vector<std::size_t> codes;
  for (const std::uint8_t label : labels) {
    if (!code[label]) code[label] = n_codes++;
    codes.push_back(*code[label]);
  }
  if (!seed) return deal(codes, n_codes, folds, nullptr);
  NumpyRandom random(*seed);
  return deal(codes, n_codes, folds, &random);
}

std::vector<int> group_folds(std::span<const int> groups, int folds) {
  check_folds(folds);
  const Groups numbered = number_groups(groups, folds);
  std::vector<std::size_t> size(numbered.count, 0);
  for (const std::size_t group : numbered.of_row) ++size[group];
  std::vector<std::size_t> order(numbered.count);
  std::iota(order.begin(), order.end(), std::size_t{0});
  numpy_argsort(size, order, 0, static_cast<std::ptrdiff_t>(order.size()) - 1);
  std::vector<std::size_t> load(static_cast<std::size_t>(folds), 0);
  std::vector<int> fold_of_group(numbered.count, 0);
  for (auto group = order.rbegin(); group != order.rend(); ++group) {
    const auto lightest = std::min_element(load.begin(), load.end());
    *lightest += size[*group];
    fold_of_group[*group] = static_cast<int>(lightest - load.begin());
  }
  std::vector<int> out;
  for (const std::size_t group : numbered.of_row) out.push_back(fold_of_group[group]);
  return out;
}

std::vector<int> stratified_group_folds(std::span<const std::uint8_t> labels,
                                        std::span<const int> groups,
                                        int folds) {
  check_folds(folds);
  check_sizes(labels.size(), groups.size(), "groups");
  check_class_sizes(labels, folds);
  const Groups numbered = number_groups(groups, folds);
  const auto class_count = count_classes(labels);
  std::array<std::size_t, 256> column{};
  std::vector<double> class_size;
  for (std::size_t label = 0; label < class_count.size(); ++label) {
    if (class_count[label] == 0) continue;
    column[label] = class_size.size();
    class_size.push_back(static_cast<double>(class_count[label]));
  }
  const std::size_t n_classes = class_size.size();
  Matrix<double> of_group(numbered.count, n_classes);
  for (std::size_t i = 0; i < labels.size(); ++i) {
    of_group(numbered.of_row[i], column[labels[i]]) += 1.0;
  }
  std::vector<std::size_t> order(numbered.count);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return spread(of_group.row(a)) > spread(of_group.row(b));
  });

  const auto n_folds = static_cast<std::size_t>(folds);
  Matrix<double> in_fold(n_folds, n_classes);
  std::vector<int> fold_of_group(numbered.count, 0);
  for (const std::size_t group : order) {
    std::size_t best = 0;
    double best_unevenness = std::numeric_limits<double>::infinity();
    double best_size = std::numeric_limits<double>::infinity();
    for (std::size_t f = 0; f < n_folds; ++f) {
      double unevenness = 0.0;
      std::vector<double> share(n_folds);
      for (std::size_t c = 0; c < n_classes; ++c) {
        for (std::size_t g = 0; g < n_folds; ++g) {
          const double count = in_fold(g, c) + (g == f ? of_group(group, c) : 0.0);
          share[g] = count / class_size[c];
        }
        unevenness += spread(share);
      }
      unevenness /= static_cast<double>(n_classes);
      const double size = std::accumulate(in_fold.row(f).begin(), in_fold.row(f).end(), 0.0);
      // Nearly equal (numpy's isclose): the smaller fold wins.
      const bool close = std::abs(unevenness - best_unevenness) <= 1e-8 + 1e-5 * best_unevenness &&
                         std::isfinite(best_unevenness);
      if (unevenness < best_unevenness || (close && size < best_size)) {
        best = f;
        best_unevenness = unevenness;
        best_size = size;
      }
    }
    for (std::size_t c = 0; c < n_classes; ++c) in_fold(best, c) += of_group(group, c);
    fold_of_group[group] = static_cast<int>(best);
  }
  std::vector<int> out;
  for (const std::size_t group : numbered.of_row) out.push_back(fold_of_group[group]);
  return out;
}

HoldOut stratified_hold_out(std::span<const std::uint8_t> labels,
                            double test_fraction,
                            std::uint32_t seed) {
  if (!(test_fraction > 0.0 && test_fraction < 1.0)) {
    throw Error(ErrorKind::kUsage,
                "split: test fraction is " + format_double(test_fraction) +
                    ", expected a number between 0 and 1");
  }
  std::vector<std::vector<std::size_t>> rows;
  {
    std::map<std::uint8_t, std::vector<std::size_t>> by_class;
    for (std::size_t i = 0; i < labels.size(); ++i) by_class[labels[i]].push_back(i);
    for (auto& [label, members] : by_class) {
      if (members.size() < 2) {
        throw Error(ErrorKind::kData,
                    "split: class " + std::to_string(label) +
                        " has 1 patient, a hold-out split needs at least 2");
      }
      rows.push_back(std::move(members));
    }
  }
  const auto n_test =
      static_cast<std::size_t>(std::ceil(test_fraction * static_cast<double>(labels.size())));
  const std::size_t n_train = labels.size() - n_test;
  if (labels.empty() || std::min(n_train, n_test) < rows.size()) {
    throw Error(ErrorKind::kData,
                "split: " + std::to_string(n_train) + " training and " + std::to_string(n_test) +
                    " test patients, expected at least " + "one for each of " +
                    std::to_string(rows.size()) + " classes on both sides");
  }
  NumpyRandom random(seed);
  std::vector<std::size_t> counts;
  for (const auto& members : rows) counts.push_back(members.size());
  const auto train_counts = share_out(counts, n_train, random);
  std::vector<std::size_t> left;
  for (std::size_t c = 0; c < counts.size(); ++c) left.push_back(counts[c] - train_counts[c]);
  const auto test_counts = share_out(left, n_test, random);
  HoldOut out;
  for (std::size_t c = 0; c < rows.size(); ++c) {
    const auto order = random.permutation(counts[c]);
    for (std::size_t i = 0; i < train_counts[c] + test_counts[c]; ++i) {
      (i < train_counts[c] ? out.train : out.test).push_back(rows[c][order[i]]);
    }
  }
  random.shuffle(out.train);
  random.shuffle(out.test);
  return out;
}

std::vector<std::vector<int>> repeated_stratified_folds(std::span<const std::uint8_t> labels,
                                                        std::span<const int> strata,
                                                        int folds,
                                                        int repeats,
                                                        std::uint64_t seed) {
  check_folds(folds);
  if (repeats < 1) {
    throw Error(ErrorKind::kUsage,
                "split: " + std::to_string(repeats) + " repeats, expected at least 1");
  }
  if (!strata.empty()) check_sizes(labels.size(), strata.size(), "strata");
  check_class_sizes(labels, folds);
  // Class first, stratum second: the rows of a class are then consecutive in the dealing order, so
  // each fold gets the class' share to within one row whatever the strata are.
  std::map<std::pair<std::uint8_t, int>, std::size_t> number;
  std::set<std::uint8_t> classes;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    number.emplace(std::pair(labels[i], strata.empty() ? 0 : strata[i]), 0);
    classes.insert(labels[i]);
  }
  if (classes.size() < 2) {
    throw Error(ErrorKind::kData,
                "split: every patient is of class " + std::to_string(*classes.begin()) +
                    ", expected at least two classes");
  }
  std::size_t next = 0;
  for (auto& [key, code] : number) code = next++;
  std::vector<std::size_t> codes;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    codes.push_back(number.at({labels[i], strata.empty() ? 0 : strata[i]}));
  }
  std::vector<std::vector<int>> out;
  for (int repeat = 0; repeat < repeats; ++repeat) {
    const std::uint64_t drawn = derive_seed(seed, "folds", {static_cast<std::uint64_t>(repeat)});
    NumpyRandom random(static_cast<std::uint32_t>(drawn & 0xFFFFFFFFULL));
    out.push_back(deal(codes, next, folds, &random));
  }
  return out;
}

}  // namespace med3d::tabular
