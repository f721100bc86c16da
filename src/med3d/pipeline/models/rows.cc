#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "med3d/core/error.h"
#include "med3d/core/random.h"
#include "med3d/pipeline/models/rows_internal.h"

namespace med3d::pipeline {
namespace {

bool has_any(const Cohort& cohort, std::size_t row, const std::vector<std::string>& modalities) {
  for (const auto& name : modalities) {
    if (name == "clinical") {
      if (!cohort.columns.empty() && cohort.has_clinical[row]) return true;
    } else if (const Modality* modality = cohort.find_modality(name)) {
      if (modality->has(row)) return true;
    }
  }
  return false;
}

Partition carve_validation(const Cohort& cohort, Rows rows, double share, std::uint64_t seed) {
  if (share <= 0.0) return Partition::all_for_training(std::move(rows));
  Rows held_out;
  Rows training;
  NumpyRandom random(static_cast<std::uint32_t>(seed));
  for (const std::uint8_t cls : {0, 1}) {
    Rows members;
    for (const std::size_t row : rows) {
      if (cohort.label[row] == cls) members.push_back(row);
    }
    random.shuffle(members);
    const auto n =
        static_cast<std::size_t>(std::lround(share * static_cast<double>(members.size())));
    if (n == 0 || members.size() - n < 2) return Partition::all_for_training(std::move(rows));
    held_out.insert(held_out.end(), members.begin(), members.begin() + static_cast<long>(n));
    training.insert(training.end(), members.begin() + static_cast<long>(n), members.end());
  }
  std::sort(training.begin(), training.end());
  std::sort(held_out.begin(), held_out.end());
  return Partition(std::move(training), std::move(held_out));
}

}  // namespace

std::vector<std::uint8_t> labels_of(const Cohort& cohort, const Rows& rows) {
  std::vector<std::uint8_t> y;
  y.reserve(rows.size());
  for (const std::size_t row : rows) y.push_back(cohort.label[row]);
  return y;
}

void require_both_classes(std::span<const std::uint8_t> y, std::string_view what) {
  const auto positives = std::count(y.begin(), y.end(), 1);
  const auto negatives = static_cast<std::ptrdiff_t>(y.size()) - positives;
  if (positives < 2 || negatives < 2) {
    throw Error(ErrorKind::kData,
                fmt::format("{}: {} positive and {} negative training patients, at least 2 of each "
                            "are needed",
                            what,
                            positives,
                            negatives));
  }
}

Selected rows_with_table(const Cohort& cohort, const Rows& rows) {
  return select_rows(rows, [&](std::size_t row) { return cohort.has_clinical[row]; });
}

Selected rows_with_modalities(const Cohort& cohort,
                              const Rows& rows,
                              const std::vector<std::string>& modalities) {
  return select_rows(rows, [&](std::size_t row) { return has_any(cohort, row, modalities); });
}

Selected rows_with_any(const Cohort& cohort,
                       const Rows& rows,
                       const std::vector<std::string>& arms) {
  std::vector<std::string> modalities;
  for (const auto& arm : arms) {
    for (auto& name : modalities_of_arm(arm)) modalities.push_back(name);
  }
  return rows_with_modalities(cohort, rows, modalities);
}

std::vector<double> scatter(const std::vector<double>& values,
                            const std::vector<std::size_t>& position,
                            std::size_t n) {
  std::vector<double> out(n, kNone);
  for (std::size_t i = 0; i < position.size(); ++i) out[position[i]] = values[i];
  return out;
}

Matrix<float> scatter(const Matrix<float>& values,
                      const std::vector<std::size_t>& position,
                      std::size_t n) {
  Matrix<float> out(n, values.cols());
  for (std::size_t i = 0; i < position.size(); ++i) {
    std::copy(values.row(i).begin(), values.row(i).end(), out.row(position[i]).begin());
  }
  return out;
}

Partition training_split(const FitRequest& request,
                         const Selected& usable,
                         const FitSettings& fit,
                         std::string_view what) {
  require_both_classes(labels_of(request.cohort, usable.rows), what);
  return carve_validation(
      request.cohort, usable.rows, fit.validation_share, derive_seed(request.seed, "validation"));
}

PatientBags gather_bags(const Cohort& cohort,
                        const Rows& rows,
                        const std::vector<std::string>& modalities) {
  PatientBags bags;
  bags.chosen = rows_with_modalities(cohort, rows, modalities);
  for (std::size_t b = 0; b < bags.chosen.rows.size(); ++b) {
    for (const auto& name : modalities) {
      const Modality* modality = cohort.find_modality(name);
      if (modality == nullptr) continue;
      for (const std::size_t item : modality->items_of_patient[bags.chosen.rows[b]]) {
        if (!bags.instances.empty() && bags.instances.cols() != modality->width) {
          throw Error(ErrorKind::kData,
                      fmt::format("{}: vectors of {} numbers beside others of {}; an arm over "
                                  "several modalities needs one width",
                                  name,
                                  modality->width,
                                  bags.instances.cols()));
        }
        bags.instances.append_row(modality->items.row(item));
        bags.bag_of_instance.push_back(b);
        bags.item_of_instance.emplace_back(name, item);
      }
    }
  }
  return bags;
}

VectorBlock mean_block(const Cohort& cohort,
                       const Rows& rows,
                       const std::vector<std::string>& modalities) {
  VectorBlock block;
  block.present.assign(rows.size(), 0);
  const auto bags = gather_bags(cohort, rows, modalities);
  std::size_t width = bags.instances.cols();
  for (const auto& name : modalities) {
    const Modality* modality = cohort.find_modality(name);
    if (width == 0 && modality != nullptr) width = modality->width;
  }
  block.values = Matrix<float>(rows.size(), width);
  std::vector<double> sum(width);
  for (std::size_t i = 0; i < bags.bag_of_instance.size();) {
    const std::size_t bag = bags.bag_of_instance[i];
    std::ranges::fill(sum, 0.0);
    std::size_t n = 0;
    for (; i < bags.bag_of_instance.size() && bags.bag_of_instance[i] == bag; ++i, ++n) {
      const auto row = bags.instances.row(i);
      for (std::size_t j = 0; j < width; ++j) sum[j] += row[j];
    }
    const std::size_t position = bags.chosen.position[bag];
    block.present[position] = 1;
    for (std::size_t j = 0; j < width; ++j) {
      block.values(position, j) = static_cast<float>(sum[j] / static_cast<double>(n));
    }
  }
  return block;
}

}  // namespace med3d::pipeline
