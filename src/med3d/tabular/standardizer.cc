#include "med3d/tabular/standardizer.h"

#include <cmath>
#include <limits>
#include <string>

#include "med3d/core/error.h"

namespace med3d::tabular {
namespace {

void check_finite(const Matrix<float>& x) {
  for (std::size_t i = 0; i < x.rows(); ++i) {
    for (std::size_t j = 0; j < x.cols(); ++j) {
      if (!std::isfinite(x(i, j))) {
        throw Error(ErrorKind::kData,
                    "standardizer: row " + std::to_string(i + 1) + ", column " +
                        std::to_string(j + 1) + " is not finite, expected a number");
      }
    }
  }
}

std::vector<double> read_numbers(const Json& json, const char* key) {
  if (!json.is_object() || !json.contains(key) || !json[key].is_array()) {
    throw Error(ErrorKind::kFormat, std::string("standardizer: no array '") + key + "'");
  }
  std::vector<double> out;
  for (const Json& value : json[key]) {
    if (!value.is_number()) {
      throw Error(ErrorKind::kFormat,
                  std::string("standardizer: '") + key + "' holds something that is no number");
    }
    out.push_back(value.get<double>());
  }
  return out;
}

}  // namespace

Standardizer Standardizer::fit(const Matrix<float>& training) {
  if (training.rows() == 0) {
    throw Error(ErrorKind::kData, "standardizer: no training rows, expected at least one");
  }
  check_finite(training);
  const double n = static_cast<double>(training.rows());
  Standardizer out;
  out.mean_.assign(training.cols(), 0.0);
  out.sd_.assign(training.cols(), 0.0);
  for (std::size_t i = 0; i < training.rows(); ++i) {
    for (std::size_t j = 0; j < training.cols(); ++j) {
      out.mean_[j] += static_cast<double>(training(i, j));
    }
  }
  for (double& mean : out.mean_) mean /= n;
  for (std::size_t i = 0; i < training.rows(); ++i) {
    for (std::size_t j = 0; j < training.cols(); ++j) {
      const double difference = static_cast<double>(training(i, j)) - out.mean_[j];
      out.sd_[j] += difference * difference;
    }
  }
  for (std::size_t j = 0; j < out.sd_.size(); ++j) {
    out.sd_[j] = std::sqrt(out.sd_[j] / n);
    const double noise = std::numeric_limits<float>::epsilon() * std::abs(out.mean_[j]);
    if (out.sd_[j] <= noise || out.sd_[j] < std::numeric_limits<float>::min()) out.sd_[j] = 0.0;
  }
  return out;
}

Matrix<float> Standardizer::transform(const Matrix<float>& x) const {
  if (x.cols() != mean_.size()) {
    throw Error(ErrorKind::kUsage,
                "standardizer: " + std::to_string(x.cols()) + " columns, expected " +
                    std::to_string(mean_.size()));
  }
  check_finite(x);
  Matrix<float> out(x.rows(), x.cols());
  for (std::size_t i = 0; i < x.rows(); ++i) {
    for (std::size_t j = 0; j < x.cols(); ++j) {
      if (sd_[j] == 0.0) continue;
      out(i, j) = static_cast<float>((static_cast<double>(x(i, j)) - mean_[j]) / sd_[j]);
    }
  }
  return out;
}

Json Standardizer::to_json() const {
  Json out;
  out["mean"] = mean_;
  out["sd"] = sd_;
  return out;
}

Standardizer Standardizer::from_json(const Json& json) {
  Standardizer out;
  out.mean_ = read_numbers(json, "mean");
  out.sd_ = read_numbers(json, "sd");
  if (out.mean_.size() != out.sd_.size()) {
    throw Error(ErrorKind::kFormat,
                "standardizer: " + std::to_string(out.mean_.size()) + " means and " +
                    std::to_string(out.sd_.size()) + " standard deviations, expected as many");
  }
  for (std::size_t j = 0; j < out.sd_.size(); ++j) {
    if (!std::isfinite(out.mean_[j]) || !(out.sd_[j] >= 0.0 && std::isfinite(out.sd_[j]))) {
      throw Error(ErrorKind::kFormat,
                  "standardizer: column " + std::to_string(j + 1) +
                      " has a mean or standard deviation that is no finite number >= 0");
    }
  }
  return out;
}

}  // namespace med3d::tabular
