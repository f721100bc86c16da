#include "med3d/pipeline/training_rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <unordered_set>

#include "med3d/core/error.h"
#include "med3d/tabular/split.h"

namespace med3d::pipeline {

Partition::Partition(std::vector<std::size_t> training, std::vector<std::size_t> held_out)
    : training_(std::move(training)), held_out_(std::move(held_out)) {
  std::unordered_set<std::size_t> seen;
  for (const auto* side : {&training_.rows_, &held_out_}) {
    for (const std::size_t row : *side) {
      if (!seen.insert(row).second) {
        throw Error(ErrorKind::kData,
                    fmt::format("row {} stands twice in one partition: a patient would be learnt "
                                "from and judged on at once",
                                row + 1));
      }
    }
  }
}

Partition Partition::all_for_training(std::vector<std::size_t> rows) {
  return Partition(std::move(rows), {});
}

std::vector<Partition> Partition::inner_folds(std::span<const std::uint8_t> label,
                                              std::span<const int> strata,
                                              int folds,
                                              std::uint64_t seed) const {
  const auto& rows = training_.rows();
  std::array<int, 2> members{};
  std::vector<std::uint8_t> y;
  std::vector<int> inner_strata;
  for (const std::size_t row : rows) {
    y.push_back(label[row]);
    ++members[label[row]];
    if (!strata.empty()) inner_strata.push_back(strata[row]);
  }
  const int possible = std::min({folds, members[0], members[1]});
  if (possible < 2) return {};
  const auto fold_of_row =
      tabular::repeated_stratified_folds(y, inner_strata, possible, 1, seed).front();
  std::vector<Partition> partitions;
  for (int fold = 0; fold < possible; ++fold) {
    std::vector<std::size_t> training;
    std::vector<std::size_t> held_out;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      (fold_of_row[i] == fold ? held_out : training).push_back(rows[i]);
    }
    partitions.emplace_back(std::move(training), std::move(held_out));
  }
  return partitions;
}

}  // namespace med3d::pipeline
