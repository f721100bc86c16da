// A dense row-major table of numbers: the one container in which modules hand data to each other.
//
// Rows are patients (or scans, slides), columns are features. No views, no expression templates:
// where real linear algebra is needed, the module that needs it maps data() into its own library.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

namespace med3d {

template <class T>
class Matrix {
 public:
  Matrix() = default;
  Matrix(std::size_t rows, std::size_t cols, T fill = T{})
      : rows_(rows), cols_(cols), data_(rows * cols, fill) {}

  std::size_t rows() const { return rows_; }
  std::size_t cols() const { return cols_; }
  bool empty() const { return data_.empty(); }

  T& operator()(std::size_t row, std::size_t col) { return data_[row * cols_ + col]; }
  const T& operator()(std::size_t row, std::size_t col) const { return data_[row * cols_ + col]; }

  std::span<T> row(std::size_t i) { return {data_.data() + i * cols_, cols_}; }
  std::span<const T> row(std::size_t i) const { return {data_.data() + i * cols_, cols_}; }

  T* data() { return data_.data(); }
  const T* data() const { return data_.data(); }
  std::size_t size() const { return data_.size(); }

  // The first row added to an empty matrix fixes the number of columns.
  void append_row(std::span<const T> values) {
    if (rows_ == 0) cols_ = values.size();
    data_.insert(data_.end(), values.begin(), values.end());
    ++rows_;
  }

  // Rows in the given order; an index may occur more than once.
  template <class Index>
  Matrix take_rows(const std::vector<Index>& index) const {
    Matrix out(index.size(), cols_);
    for (std::size_t i = 0; i < index.size(); ++i) {
      const auto source = row(static_cast<std::size_t>(index[i]));
      std::copy(source.begin(), source.end(), out.row(i).begin());
    }
    return out;
  }

  friend bool operator==(const Matrix&, const Matrix&) = default;

 private:
  std::size_t rows_ = 0;
  std::size_t cols_ = 0;
  std::vector<T> data_;
};

template <class To, class From>
Matrix<To> matrix_cast(const Matrix<From>& from) {
  Matrix<To> out(from.rows(), from.cols());
  for (std::size_t i = 0; i < from.size(); ++i) out.data()[i] = static_cast<To>(from.data()[i]);
  return out;
}

}  // namespace med3d
