#include "med3d/stats/survival/sample_size.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "med3d/core/error.h"

namespace med3d::stats::survival {
namespace {

double max_r_squared(double events_per_patient) {
  return -std::expm1(2.0 *
                     (events_per_patient * std::log(events_per_patient) - events_per_patient));
}

// Patients per parameter so that the expected shrinkage is s.
double patients_per_parameter(double r_squared, double s) {
  return 1.0 / ((s - 1.0) * std::log1p(-r_squared / s));
}

std::int64_t round_up(double value) { return static_cast<std::int64_t>(std::ceil(value - 1e-9)); }

}  // namespace

void SampleSizeOptions::validate() const {
  const bool rates = event_rate > 0.0 && mean_follow_up > 0.0 && horizon > 0.0 &&
                     std::isfinite(event_rate) && std::isfinite(mean_follow_up) &&
                     std::isfinite(horizon);
  if (parameters < 1 || !rates) {
    throw Error(ErrorKind::kUsage,
                fmt::format("{} parameters, event rate {}, follow-up {}, horizon {}: expected at "
                            "least 1 parameter and finite numbers above 0",
                            parameters,
                            event_rate,
                            mean_follow_up,
                            horizon));
  }
  if (!(shrinkage > 0.0 && shrinkage < 1.0) || !(margin > 0.0 && margin < 1.0)) {
    throw Error(
        ErrorKind::kUsage,
        fmt::format(
            "shrinkage {} and margin {}, expected numbers above 0 and below 1", shrinkage, margin));
  }
  const double most = max_r_squared(event_rate * mean_follow_up);
  if (!(r_squared > 0.0 && r_squared < most) || !(r_squared < shrinkage)) {
    throw Error(ErrorKind::kUsage,
                fmt::format("R2 {}, expected a number above 0, below the shrinkage of {} and below "
                            "{:.4g}, the most that such events allow",
                            r_squared,
                            shrinkage,
                            most));
  }
}

SampleSize sample_size(const SampleSizeOptions& options) {
  options.validate();
  SampleSize out;
  const double events = options.event_rate * options.mean_follow_up;
  const double p = options.parameters;
  const double r2 = options.r_squared;
  out.max_r_squared = max_r_squared(events);
  out.n_shrinkage = round_up(p * patients_per_parameter(r2, options.shrinkage));
  const double s = r2 / (r2 + options.margin * out.max_r_squared);
  out.n_optimism = round_up(p * patients_per_parameter(r2, s));
  // The lower limit of the rate is the further one in risk: 1 - exp is concave. Solved for the
  // distance of rates, exp(distance * t) - 1 = margin * exp(rate t).
  const double distance =
      std::log1p(options.margin * std::exp(options.event_rate * options.horizon)) / options.horizon;
  const double z = 1.959963984540054;
  out.n_risk =
      round_up(z * z * options.event_rate / (options.mean_follow_up * distance * distance));
  out.n = std::max({out.n_shrinkage, out.n_optimism, out.n_risk});
  out.events = round_up(static_cast<double>(out.n) * events);
  out.events_per_parameter = static_cast<double>(out.n) * events / p;
  return out;
}

std::int64_t max_parameters(std::int64_t n, double r_squared, double shrinkage) {
  if (n < 0 || !(r_squared > 0.0 && r_squared < shrinkage && shrinkage < 1.0)) {
    throw Error(ErrorKind::kUsage,
                fmt::format("{} patients, R2 {}, shrinkage {}: expected n >= 0 and 0 < R2 < "
                            "shrinkage < 1",
                            n,
                            r_squared,
                            shrinkage));
  }
  return static_cast<std::int64_t>(
      std::floor(static_cast<double>(n) / patients_per_parameter(r_squared, shrinkage) + 1e-9));
}

}  // namespace med3d::stats::survival
