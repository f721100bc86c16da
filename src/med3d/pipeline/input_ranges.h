// What the inputs of the training patients looked like, so that a new patient unlike any of them is
// told of: a model asked beyond what it learnt from still answers, and its answer is a guess.
//
//   numeric column   lowest and highest value of the training patients
//   vectors          d = sqrt(mean over features of z^2), z = (x - mean) / sd of the training
//                    patients' mean vectors; features that do not vary there are left out
//
// A vector is out of range where d is above the 99.5 % quantile of the training patients' own d,
// each measured against the mean and sd of all the others (in closed form): among as many features
// as patients a point of the set itself would look too near. Standardising by feature and not by
// their covariance, as Mahalanobis does, since there are fewer patients than features.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "med3d/core/json.h"
#include "med3d/pipeline/models.h"

namespace med3d::pipeline {

struct ColumnRange {
  double lowest = 0.0;
  double highest = 0.0;
};

struct VectorRange {
  std::vector<double> mean, sd;  // (width,); sd 0 = constant
  double distance = 0.0;         // 99.5 % quantile

  // Of a vector of that width.
  double distance_of(std::span<const float> vector) const;
};

// Something of a new patient that no training patient had.
struct OutOfRange {
  std::string modality;  // "clinical", "ct", "mri", "wsi"
  std::string input;     // the column; for vectors the modality again
  std::string text;      // "age 97, training patients had 26 to 90"
};

class InputRanges {
 public:
  // From the rows that have the input; a column of texts has no range, fewer than 10 vectors none.
  static InputRanges learn(const Cohort& cohort, const Rows& rows);

  // Of one patient, by column and modality. Cost O(columns + width).
  std::vector<OutOfRange> check(const Cohort& cohort, std::size_t row) const;

  Json to_json() const;
  static InputRanges from_json(const Json& json);  // throws Error(kFormat)

  const std::map<std::string, ColumnRange>& columns() const { return columns_; }
  const std::map<std::string, VectorRange>& vectors() const { return vectors_; }

 private:
  std::map<std::string, ColumnRange> columns_;
  std::map<std::string, VectorRange> vectors_;
};

}  // namespace med3d::pipeline
