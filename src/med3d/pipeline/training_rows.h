// Which patients a model may learn from, made unmistakable by type.
//
// Everything that is fitted (imputation, scaling, oversampling, selection, thresholds, fusion
// weights, networks) takes a TrainingRows, and only a Partition can make one: there is no way to
// hand a fit the rows that it will be judged on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace med3d::pipeline {

class TrainingRows {
 public:
  const std::vector<std::size_t>& rows() const { return rows_; }
  std::size_t size() const { return rows_.size(); }

 private:
  friend class Partition;
  explicit TrainingRows(std::vector<std::size_t> rows) : rows_(std::move(rows)) {}
  std::vector<std::size_t> rows_;
};

// A split of patients into those to learn from and those to judge on; the two never share a row.
class Partition {
 public:
  // Throws Error(kData) if a row is on both sides, or twice on one.
  Partition(std::vector<std::size_t> training, std::vector<std::size_t> held_out);

  // Everything to learn from and nothing to judge on: the last fit of a model that will be shipped.
  static Partition all_for_training(std::vector<std::size_t> rows);

  const TrainingRows& training() const { return training_; }
  const std::vector<std::size_t>& held_out() const { return held_out_; }

  // Stratified folds inside the training side (labels are those of the whole cohort). `strata`, if
  // not empty, is a second label to balance over folds (TCGA or CPTAC). A class with fewer members
  // than folds lowers the number of folds to that count; fewer than two members: no folds at all.
  std::vector<Partition> inner_folds(std::span<const std::uint8_t> label,
                                     std::span<const int> strata,
                                     int folds,
                                     std::uint64_t seed) const;

 private:
  TrainingRows training_;
  std::vector<std::size_t> held_out_;
};

}  // namespace med3d::pipeline
