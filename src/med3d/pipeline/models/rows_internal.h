// Which patients a model can speak of, and their items: shared by all models.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "med3d/pipeline/models.h"

namespace med3d::pipeline {

// The answer for a patient of whom a model has no modality.
inline constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

std::vector<std::uint8_t> labels_of(const Cohort& cohort, const Rows& rows);

// Some of the rows a caller asked about, and their positions in what was asked.
struct Selected {
  Rows rows;
  std::vector<std::size_t> position;
};
template <class Present>
Selected select_rows(const Rows& rows, Present present) {
  Selected out;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (!present(rows[i])) continue;
    out.rows.push_back(rows[i]);
    out.position.push_back(i);
  }
  return out;
}

Selected rows_with_table(const Cohort& cohort, const Rows& rows);
Selected rows_with_modalities(const Cohort& cohort,
                              const Rows& rows,
                              const std::vector<std::string>& modalities);
// The same for the modalities of arms.
Selected rows_with_any(const Cohort& cohort,
                       const Rows& rows,
                       const std::vector<std::string>& arms);

// What was computed for the selected rows, at their positions among n; NaN, or zeros, elsewhere.
std::vector<double> scatter(const std::vector<double>& values,
                            const std::vector<std::size_t>& position,
                            std::size_t n);
Matrix<float> scatter(const Matrix<float>& values,
                      const std::vector<std::size_t>& position,
                      std::size_t n);

// Throws Error(kData) unless there are two of each class; `what` names the data in the message.
void require_both_classes(std::span<const std::uint8_t> y, std::string_view what);

// The rows a network learns from, and a stratified share of them held out to stop or select an
// epoch by. Nothing is held out where a class is too small to stand on both sides.
// Throws as require_both_classes.
Partition training_split(const FitRequest& request,
                         const Selected& usable,
                         const FitSettings& fit,
                         std::string_view what);

// The items of those patients that have any.
struct PatientBags {
  Matrix<float> instances;
  std::vector<std::size_t> bag_of_instance;
  std::vector<std::pair<std::string, std::size_t>> item_of_instance;  // modality, item of it
  Selected chosen;  // rows that have at least one scan
};
PatientBags gather_bags(const Cohort& cohort,
                        const Rows& rows,
                        const std::vector<std::string>& modalities);

}  // namespace med3d::pipeline
