// A number that may not exist: a value with its interval, or the reason why there is none.
//
// A set of patients that cannot support a quantity (one class, nobody predicted positive) is
// expected in this field, so it is a value and not an exception. It is never 0, -1 or another
// quantity in disguise.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <utility>

namespace med3d::stats {

struct Estimate {
  double value = std::numeric_limits<double>::quiet_NaN();
  double low = std::numeric_limits<double>::quiet_NaN();   // NaN where no interval was asked for
  double high = std::numeric_limits<double>::quiet_NaN();  // or where it cannot be had
  std::string not_estimable;  // the reason; empty when the value is there

  bool ok() const { return not_estimable.empty() && !std::isnan(value); }
  bool has_interval() const { return ok() && !std::isnan(low) && !std::isnan(high); }

  static Estimate of(double value) {
    Estimate out;
    out.value = value;
    return out;
  }
  static Estimate of(double value, double low, double high) {
    Estimate out;
    out.value = value;
    out.low = low;
    out.high = high;
    return out;
  }
  static Estimate none(std::string reason) {
    Estimate out;
    out.not_estimable = std::move(reason);
    return out;
  }
};

// The checks every function of this module makes first.
//
// label         (n,) 0 or 1
// score         (n,) finite
// probability   (n,) finite, in [0, 1]
//
// Throws Error(kData) naming the row (counted from 0) of the first value that is wrong, or the two
// sizes if they differ. An empty set passes: what it cannot support is said per quantity.
void require_labels_and_scores(std::span<const std::uint8_t> label, std::span<const double> score);
void require_labels_and_probabilities(std::span<const std::uint8_t> label,
                                      std::span<const double> probability);

// Throws Error(kUsage) unless 0 < confidence < 1.
void require_confidence(double confidence);

// Two-sided standard normal quantile: 1.959964 for confidence 0.95.
double normal_quantile_two_sided(double confidence);

// Linear-interpolation quantile of sorted values (numpy's default). values not empty, q in [0, 1].
double sorted_quantile(std::span<const double> sorted_values, double q);

}  // namespace med3d::stats
