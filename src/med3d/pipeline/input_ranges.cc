#include "med3d/pipeline/input_ranges.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "med3d/core/error.h"
#include "med3d/core/text.h"
#include "med3d/pipeline/bundle_fields_internal.h"
#include "med3d/stats/estimate.h"

namespace med3d::pipeline {
namespace {

constexpr std::size_t kFewestVectors = 10;
constexpr double kShare = 0.995;

// What varies by less than floats resolve does not vary.
bool varies(double sd, double mean) { return sd > 1e-7 * std::max(1.0, std::abs(mean)); }

std::optional<ColumnRange> range_of(const Cohort& cohort, const Column& column, const Rows& rows) {
  ColumnRange range{std::numeric_limits<double>::infinity(),
                    -std::numeric_limits<double>::infinity()};
  for (const std::size_t row : rows) {
    const auto& cell = column.cells[row];
    if (cohort.is_missing(cell)) continue;
    const auto value = parse_double(trim(cell));
    if (!value || !std::isfinite(*value)) return std::nullopt;
    range.lowest = std::min(range.lowest, *value);
    range.highest = std::max(range.highest, *value);
  }
  if (range.lowest > range.highest) return std::nullopt;  // nobody has it
  return range;
}

std::optional<VectorRange> range_of(const Modality& modality, const Rows& rows) {
  const auto means = modality.mean_by_patient();
  Rows present;
  for (const std::size_t row : rows) {
    if (modality.has(row)) present.push_back(row);
  }
  if (present.size() < kFewestVectors) return std::nullopt;
  const auto n = static_cast<double>(present.size());
  VectorRange range;
  std::vector<double> squares(means.cols(), 0.0);
  range.mean.assign(means.cols(), 0.0);
  range.sd.assign(means.cols(), 0.0);
  for (std::size_t c = 0; c < means.cols(); ++c) {
    for (const std::size_t row : present) range.mean[c] += static_cast<double>(means(row, c)) / n;
    for (const std::size_t row : present) {
      const double d = static_cast<double>(means(row, c)) - range.mean[c];
      squares[c] += d * d;
    }
    const double sd = std::sqrt(squares[c] / n);
    range.sd[c] = varies(sd, range.mean[c]) ? sd : 0.0;
  }
  std::vector<double> distances;
  for (const std::size_t row : present) {
    // Without this patient: x - mean grows by n / (n - 1), the sum of squares falls by
    // (x - mean)^2 n / (n - 1).
    double sum = 0.0;
    std::size_t used = 0;
    for (std::size_t c = 0; c < means.cols(); ++c) {
      if (range.sd[c] == 0.0) continue;
      const double d = static_cast<double>(means(row, c)) - range.mean[c];
      const double left = squares[c] - d * d * n / (n - 1.0);
      const double variance = left / (n - 1.0);
      // All the others agree: there is nothing to measure this one by.
      if (!varies(std::sqrt(std::max(0.0, variance)), range.mean[c])) continue;
      const double away = d * n / (n - 1.0);
      sum += away * away / variance;
      ++used;
    }
    distances.push_back(used > 0 ? std::sqrt(sum / static_cast<double>(used)) : 0.0);
  }
  std::sort(distances.begin(), distances.end());
  range.distance = stats::sorted_quantile(distances, kShare);
  return range;
}

std::vector<double> finite_numbers(const Json& json, const char* key) {
  auto values = field<std::vector<double>>(json, key);
  if (!std::all_of(values.begin(), values.end(), [](double v) { return std::isfinite(v); })) {
    throw Error(ErrorKind::kFormat, fmt::format("'{}' holds a number that is not finite", key));
  }
  return values;
}

}  // namespace

double VectorRange::distance_of(std::span<const float> vector) const {
  double sum = 0.0;
  std::size_t used = 0;
  for (std::size_t c = 0; c < vector.size(); ++c) {
    if (sd[c] == 0.0) continue;
    const double z = (static_cast<double>(vector[c]) - mean[c]) / sd[c];
    sum += z * z;
    ++used;
  }
  return used > 0 ? std::sqrt(sum / static_cast<double>(used)) : 0.0;
}

InputRanges InputRanges::learn(const Cohort& cohort, const Rows& rows) {
  InputRanges ranges;
  for (const auto& column : cohort.columns) {
    if (const auto range = range_of(cohort, column, rows)) ranges.columns_[column.name] = *range;
  }
  for (const auto& modality : cohort.modalities) {
    if (auto range = range_of(modality, rows)) ranges.vectors_[modality.name] = std::move(*range);
  }
  return ranges;
}

std::vector<OutOfRange> InputRanges::check(const Cohort& cohort, std::size_t row) const {
  std::vector<OutOfRange> found;
  for (const auto& column : cohort.columns) {
    const auto range = columns_.find(column.name);
    const auto& cell = column.cells[row];
    if (range == columns_.end() || cohort.is_missing(cell)) continue;
    const auto value = parse_double(trim(cell));
    const auto& [lowest, highest] = range->second;
    if (!value || (*value >= lowest && *value <= highest)) continue;
    found.push_back({"clinical",
                     column.name,
                     fmt::format("{} {}, training patients had {} to {}",
                                 column.name,
                                 format_double(*value),
                                 format_double(lowest),
                                 format_double(highest))});
  }
  for (const auto& modality : cohort.modalities) {
    const auto range = vectors_.find(modality.name);
    if (range == vectors_.end() || !modality.has(row)) continue;
    if (range->second.mean.size() != modality.width) continue;  // the model itself refuses it
    std::vector<double> sum(modality.width, 0.0);
    const auto& items = modality.items_of_patient[row];
    for (const std::size_t item : items) {
      const auto values = modality.items.row(item);
      for (std::size_t c = 0; c < sum.size(); ++c) sum[c] += static_cast<double>(values[c]);
    }
    std::vector<float> mean(sum.size());
    for (std::size_t c = 0; c < sum.size(); ++c) {
      mean[c] = static_cast<float>(sum[c] / static_cast<double>(items.size()));
    }
    const double distance = range->second.distance_of(mean);
    if (!(distance > range->second.distance)) continue;
    found.push_back({modality.name,
                     modality.name,
                     fmt::format("{} vector {:.2f} standard deviations from the training patients' "
                                 "mean, 99.5 % of them lie within {:.2f}",
                                 modality.name,
                                 distance,
                                 range->second.distance)});
  }
  return found;
}

Json InputRanges::to_json() const {
  Json columns = Json::object();
  for (const auto& [name, range] : columns_) {
    columns[name] = Json::array({range.lowest, range.highest});
  }
  Json vectors = Json::object();
  for (const auto& [name, range] : vectors_) {
    vectors[name] = {{"distance", range.distance}, {"mean", range.mean}, {"sd", range.sd}};
  }
  return {{"columns", columns}, {"vectors", vectors}};
}

InputRanges InputRanges::from_json(const Json& json) {
  InputRanges ranges;
  for (const auto& [name, limits] : object_of(json, "columns").items()) {
    if (!limits.is_array() || limits.size() != 2 || !limits[0].is_number() ||
        !limits[1].is_number() || limits[0].get<double>() > limits[1].get<double>()) {
      throw Error(ErrorKind::kFormat,
                  fmt::format("'ranges': column '{}' has no two numbers that rise", name));
    }
    ranges.columns_[name] = {limits[0].get<double>(), limits[1].get<double>()};
  }
  for (const auto& [name, entry] : object_of(json, "vectors").items()) {
    VectorRange range;
    range.mean = finite_numbers(entry, "mean");
    range.sd = finite_numbers(entry, "sd");
    range.distance = field<double>(entry, "distance");
    if (range.mean.size() != range.sd.size() || !(range.distance >= 0.0) ||
        std::any_of(range.sd.begin(), range.sd.end(), [](double sd) { return sd < 0.0; })) {
      throw Error(ErrorKind::kFormat,
                  fmt::format("'ranges': mean, sd and distance of '{}' do not fit", name));
    }
    ranges.vectors_[name] = std::move(range);
  }
  return ranges;
}

}  // namespace med3d::pipeline
