// Shared by this folder's tests, never installed: the data sets and reference values of R.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "med3d/core/matrix.h"
#include "med3d/stats/survival/times.h"
#include "med3d/stats/test_data.inl"

namespace med3d::stats::survival {

// A csv file by column name; quotes around a field are dropped, NA is NaN.
class Table {
 public:
  explicit Table(const std::filesystem::path& path) {
    std::ifstream file(path);
    std::string header;
    std::getline(file, header);
    std::istringstream names(header);
    std::string name;
    while (std::getline(names, name, ',')) column_[bare(name)] = column_.size();
    for (auto& row : read_csv(path)) {
      rows_.emplace_back();
      for (auto& field : row) rows_.back().push_back(bare(field));
    }
  }

  std::size_t size() const { return rows_.size(); }
  const std::string& text(std::size_t row, const std::string& name) const {
    return rows_[row][column_.at(name)];
  }
  double number(std::size_t row, const std::string& name) const {
    const std::string& field = text(row, name);
    return field == "NA" ? std::nan("") : std::stod(field);
  }
  std::vector<double> numbers(const std::string& name) const {
    std::vector<double> out;
    for (std::size_t i = 0; i < size(); ++i) out.push_back(number(i, name));
    return out;
  }
  SurvivalTimes times() const {
    std::vector<std::uint8_t> event;
    for (std::size_t i = 0; i < size(); ++i) event.push_back(text(i, "event") == "1" ? 1 : 0);
    return {numbers("time"), event};
  }
  Matrix<double> columns(const std::vector<std::string>& names) const {
    Matrix<double> out(size(), names.size());
    for (std::size_t i = 0; i < size(); ++i) {
      for (std::size_t j = 0; j < names.size(); ++j) out(i, j) = number(i, names[j]);
    }
    return out;
  }

 private:
  static std::string bare(const std::string& field) {
    return field.size() > 1 && field.front() == '"' ? field.substr(1, field.size() - 2) : field;
  }
  std::map<std::string, std::size_t> column_;
  std::vector<std::vector<std::string>> rows_;
};

// Relative to the size of the value, absolute below 1; NaN agrees with NaN only.
inline void expect_close(double found, double expected, double tolerance, const std::string& what) {
  if (std::isnan(expected)) {
    EXPECT_TRUE(std::isnan(found)) << what << ": " << found << ", expected none";
    return;
  }
  EXPECT_NEAR(found, expected, tolerance * std::max(1.0, std::abs(expected))) << what;
}

}  // namespace med3d::stats::survival
