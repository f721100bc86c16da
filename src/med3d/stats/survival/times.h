// Follow-up of a set of patients: how long each was watched, and whether the event was seen.
//
// Everything in this folder takes the pair in this form, checked once. Any unit of time would do;
// the project uses months since surgery, and so do the names. Two times are tied only if exactly
// equal (R's survfit first rounds times that differ by less than 1.5e-8 of their size).
//
// A set that cannot support an estimate (nobody, no event, nobody left at risk) gives an Estimate
// with its reason or a result with `warnings`; only impossible values throw.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace med3d::stats::survival {

class SurvivalTimes {
 public:
  SurvivalTimes() = default;

  // time_months   (n,) months from surgery to the event or to the last contact; finite, >= 0
  // event         (n,) 1 = event observed, 0 = censored at time_months
  //
  // n = 0 is allowed: each function says what it cannot do with it.
  // Throws Error(kData) naming the row (from 0) of the first value that is wrong, or both sizes.
  SurvivalTimes(std::vector<double> time_months, std::vector<std::uint8_t> event);

  std::size_t size() const { return time_months_.size(); }
  const std::vector<double>& time_months() const { return time_months_; }
  const std::vector<std::uint8_t>& event() const { return event_; }
  double time(std::size_t i) const { return time_months_[i]; }
  bool has_event(std::size_t i) const { return event_[i] != 0; }
  std::int64_t n_events() const { return n_events_; }
  double longest() const { return longest_; }  // 0 for an empty set

  // Rows in the given order; an index may occur more than once (bootstrap samples).
  SurvivalTimes take(std::span<const std::size_t> rows) const;

  // Events and censorings exchanged: the follow-up itself as the thing observed.
  SurvivalTimes reversed() const;

  // Rows by rising time; at one time events stand before censorings, ties in input order.
  std::vector<std::size_t> order() const;

 private:
  std::vector<double> time_months_;
  std::vector<std::uint8_t> event_;
  std::int64_t n_events_ = 0;
  double longest_ = 0.0;
};

// Throws Error(kData) unless there is one finite value per patient; `what` names it ("risk score").
void require_finite(const SurvivalTimes& times, std::span<const double> value, const char* what);

}  // namespace med3d::stats::survival
