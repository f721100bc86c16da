#include "med3d/tabular/preprocess.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "med3d/core/error.h"

namespace med3d::tabular {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

void check_width(std::size_t found, std::size_t expected, const char* what) {
  if (found != expected) {
    throw Error(ErrorKind::kUsage,
                std::string(what) + ": " + std::to_string(found) + " columns, expected " +
                    std::to_string(expected));
  }
}

std::vector<double> present_values(const Matrix<double>& x, std::size_t column) {
  std::vector<double> out;
  for (std::size_t i = 0; i < x.rows(); ++i) {
    if (!std::isnan(x(i, column))) out.push_back(x(i, column));
  }
  return out;
}

template <class T>
T commonest(const std::vector<T>& values) {
  if (values.empty()) throw Error(ErrorKind::kData, "most frequent value: no value is present");
  std::map<T, std::size_t> count;
  for (const T& value : values) ++count[value];
  // The map runs upwards, so the first maximum is the smallest value.
  return std::max_element(count.begin(),
                          count.end(),
                          [](const auto& a, const auto& b) { return a.second < b.second; })
      ->first;
}

}  // namespace

std::vector<double> column_medians(const Matrix<double>& x) {
  std::vector<double> out;
  for (std::size_t j = 0; j < x.cols(); ++j) {
    std::vector<double> values = present_values(x, j);
    std::sort(values.begin(), values.end());
    const std::size_t middle = values.size() / 2;
    if (values.empty()) {
      out.push_back(kNan);
    } else if (values.size() % 2 == 1) {
      out.push_back(values[middle]);
    } else {
      out.push_back((values[middle - 1] + values[middle]) / 2.0);
    }
  }
  return out;
}

Matrix<double> impute(const Matrix<double>& x, std::span<const double> value) {
  check_width(x.cols(), value.size(), "imputation");
  Matrix<double> out = x;
  for (std::size_t i = 0; i < out.rows(); ++i) {
    for (std::size_t j = 0; j < out.cols(); ++j) {
      if (std::isnan(out(i, j))) out(i, j) = value[j];
    }
  }
  return out;
}

std::string most_frequent(const std::vector<std::string>& cells) { return commonest(cells); }

double most_frequent(const std::vector<double>& values) { return commonest(values); }

MinMax MinMax::fit(const Matrix<double>& x) {
  MinMax out;
  for (std::size_t j = 0; j < x.cols(); ++j) {
    const std::vector<double> values = present_values(x, j);
    const auto [low, high] = std::minmax_element(values.begin(), values.end());
    out.min.push_back(values.empty() ? kNan : *low);
    out.max.push_back(values.empty() ? kNan : *high);
  }
  return out;
}

Matrix<double> MinMax::transform(const Matrix<double>& x) const {
  check_width(x.cols(), min.size(), "min-max scaling");
  Matrix<double> out(x.rows(), x.cols());
  for (std::size_t j = 0; j < x.cols(); ++j) {
    const double range = max[j] - min[j];
    const double divisor = range == 0.0 ? 1.0 : range;
    for (std::size_t i = 0; i < x.rows(); ++i) out(i, j) = (x(i, j) - min[j]) / divisor;
  }
  return out;
}

StandardScale StandardScale::fit(const Matrix<double>& x) {
  StandardScale out;
  for (std::size_t j = 0; j < x.cols(); ++j) {
    const std::vector<double> values = present_values(x, j);
    const double n = static_cast<double>(values.size());
    double mean = 0.0;
    for (const double value : values) mean += value;
    mean /= n;
    double squares = 0.0;
    for (const double value : values) squares += (value - mean) * (value - mean);
    const double sd = std::sqrt(squares / n);
    // The mean of equal numbers may miss them by rounding: that is no spread.
    const bool constant =
        !values.empty() &&
        std::all_of(values.begin(), values.end(), [&](double value) { return value == values[0]; });
    out.mean.push_back(constant ? values[0] : mean);
    out.scale.push_back(constant || !(sd > 0.0) ? 1.0 : sd);
  }
  return out;
}

Matrix<double> StandardScale::transform(const Matrix<double>& x) const {
  check_width(x.cols(), mean.size(), "standard scaling");
  Matrix<double> out(x.rows(), x.cols());
  for (std::size_t i = 0; i < x.rows(); ++i) {
    for (std::size_t j = 0; j < x.cols(); ++j) out(i, j) = (x(i, j) - mean[j]) / scale[j];
  }
  return out;
}

std::vector<double> ordinal_codes(const std::vector<std::string>& cells,
                                  const std::vector<std::string>& levels) {
  std::vector<double> out;
  for (const std::string& cell : cells) {
    const auto found = std::find(levels.begin(), levels.end(), cell);
    out.push_back(found == levels.end() ? -1.0 : static_cast<double>(found - levels.begin()));
  }
  return out;
}

Matrix<double> one_hot(const std::vector<std::string>& cells,
                       const std::vector<std::string>& levels,
                       bool drop_first) {
  const std::size_t first = drop_first && !levels.empty() ? 1 : 0;
  Matrix<double> out(cells.size(), levels.size() - first);
  const std::vector<double> codes = ordinal_codes(cells, levels);
  for (std::size_t i = 0; i < cells.size(); ++i) {
    if (codes[i] >= static_cast<double>(first)) {
      out(i, static_cast<std::size_t>(codes[i]) - first) = 1.0;
    }
  }
  return out;
}

Matrix<double> knn_impute(const Matrix<double>& fitted, const Matrix<double>& x, std::size_t k) {
  if (k == 0) throw Error(ErrorKind::kUsage, "kNN imputation: k is 0, expected at least 1");
  check_width(x.cols(), fitted.cols(), "kNN imputation");
  const std::size_t width = fitted.cols();
  std::vector<double> column_mean;
  for (std::size_t j = 0; j < width; ++j) {
    const std::vector<double> values = present_values(fitted, j);
    if (values.empty()) {
      throw Error(ErrorKind::kData,
                  "kNN imputation: column " + std::to_string(j + 1) +
                      " has no present value in the fitted rows");
    }
    double sum = 0.0;
    for (const double value : values) sum += value;
    column_mean.push_back(sum / static_cast<double>(values.size()));
  }
  Matrix<double> out = x;
  std::vector<double> distance(fitted.rows());
  for (std::size_t i = 0; i < x.rows(); ++i) {
    const auto row = x.row(i);
    if (std::none_of(row.begin(), row.end(), [](double value) { return std::isnan(value); })) {
      continue;
    }
    for (std::size_t r = 0; r < fitted.rows(); ++r) {
      double sum = 0.0;
      std::size_t shared = 0;
      for (std::size_t j = 0; j < width; ++j) {
        const double difference = row[j] - fitted(r, j);
        if (std::isnan(difference)) continue;
        sum += difference * difference;
        ++shared;
      }
      distance[r] =
          shared == 0 ? kNan : sum * static_cast<double>(width) / static_cast<double>(shared);
    }
    for (std::size_t j = 0; j < width; ++j) {
      if (!std::isnan(row[j])) continue;
      std::vector<std::size_t> donors;
      for (std::size_t r = 0; r < fitted.rows(); ++r) {
        if (!std::isnan(distance[r]) && !std::isnan(fitted(r, j))) donors.push_back(r);
      }
      std::stable_sort(donors.begin(), donors.end(), [&](std::size_t a, std::size_t b) {
        return distance[a] < distance[b];
      });
      if (donors.size() > k) donors.resize(k);
      double sum = 0.0;
      for (const std::size_t r : donors) sum += fitted(r, j);
      out(i, j) = donors.empty() ? column_mean[j] : sum / static_cast<double>(donors.size());
    }
  }
  return out;
}

}  // namespace med3d::tabular
