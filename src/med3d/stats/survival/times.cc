#include "med3d/stats/survival/times.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "med3d/core/error.h"

namespace med3d::stats::survival {

SurvivalTimes::SurvivalTimes(std::vector<double> time_months, std::vector<std::uint8_t> event)
    : time_months_(std::move(time_months)), event_(std::move(event)) {
  if (time_months_.size() != event_.size()) {
    throw Error(ErrorKind::kData,
                fmt::format("{} times but {} event marks, expected one of each per patient",
                            time_months_.size(),
                            event_.size()));
  }
  for (std::size_t i = 0; i < time_months_.size(); ++i) {
    if (!std::isfinite(time_months_[i]) || time_months_[i] < 0.0) {
      throw Error(ErrorKind::kData,
                  fmt::format("row {}: time {} months, expected a finite number of at least 0",
                              i,
                              time_months_[i]));
    }
    if (event_[i] > 1) {
      throw Error(ErrorKind::kData,
                  fmt::format("row {}: event {}, expected 1 (observed) or 0 (censored)",
                              i,
                              static_cast<int>(event_[i])));
    }
    n_events_ += event_[i];
    longest_ = std::max(longest_, time_months_[i]);
  }
}

SurvivalTimes SurvivalTimes::take(std::span<const std::size_t> rows) const {
  SurvivalTimes out;
  out.time_months_.reserve(rows.size());
  out.event_.reserve(rows.size());
  for (const std::size_t i : rows) {
    if (i >= size()) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("row {} of {} patients, expected a smaller number", i, size()));
    }
    out.time_months_.push_back(time_months_[i]);
    out.event_.push_back(event_[i]);
    out.n_events_ += event_[i];
    out.longest_ = std::max(out.longest_, time_months_[i]);
  }
  return out;
}

SurvivalTimes SurvivalTimes::reversed() const {
  SurvivalTimes out = *this;
  for (auto& e : out.event_) e = e == 0 ? 1 : 0;
  out.n_events_ = static_cast<std::int64_t>(size()) - n_events_;
  return out;
}

std::vector<std::size_t> SurvivalTimes::order() const {
  std::vector<std::size_t> out(size());
  std::iota(out.begin(), out.end(), std::size_t{0});
  std::stable_sort(out.begin(), out.end(), [&](std::size_t a, std::size_t b) {
    if (time_months_[a] != time_months_[b]) return time_months_[a] < time_months_[b];
    return event_[a] > event_[b];
  });
  return out;
}

void require_finite(const SurvivalTimes& times, std::span<const double> value, const char* what) {
  if (value.size() != times.size()) {
    throw Error(ErrorKind::kData,
                fmt::format("{} values of {} for {} patients, expected one each",
                            value.size(),
                            what,
                            times.size()));
  }
  for (std::size_t i = 0; i < value.size(); ++i) {
    if (!std::isfinite(value[i])) {
      throw Error(ErrorKind::kData,
                  fmt::format("row {}: {} {}, expected a finite number", i, what, value[i]));
    }
  }
}

}  // namespace med3d::stats::survival
