// How often the patient who recurs first has the higher risk: Harrell's and Uno's C-index, with
// standard errors, and the difference between two models on the same patients.
//
//   C = (concordant + tied_risk / 2) / (concordant + discordant + tied_risk)
//
// A pair (i, j) is comparable when event[i] is set and time_months[i] < time_months[j].
// At equal times, a patient with the event counts as earlier than a censored one; two events
// at the same time are not comparable. Risks are tied only if exactly equal (scikit-survival:
// within 1e-8).
//
// Standard error: infinitesimal jackknife. With c_i and m_i the (weighted) concordance and number
// of the comparable pairs that patient i is part of, M = sum of all pairs:
//
//   influence_i = (c_i - C m_i) / M,   variance = sum of influence_i^2
//
// times        (n,) follow-up
// risk_score   (n,) unitless, higher = earlier event; finite
//
// Cost O(n log n) time. The order of patients does not matter.
// Throws Error(kData) if sizes differ or a value is not finite; Error(kUsage) for bad options. A
// set without a comparable pair is not estimable, which is a value. A variance of 0 (perfect order)
// does not mean certainty: value, no interval.
//
// Source: Harrell et al., JAMA 247(18):2543-2546, 1982; Uno et al., Stat Med 30(10):1105-1117,
// 2011; Therneau and Watson, Mayo technical report 85, 2015 (variance). Checked against: R
// survival 3.5.3 concordance (counts, value, se; timewt n and n/G2) on lung, colon and rotterdam,
// tolerance 1e-8; R Hmisc rcorr.cens; the O(n^2) definition; by hand.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "med3d/stats/estimate.h"
#include "med3d/stats/intervals.h"
#include "med3d/stats/survival/censoring.h"
#include "med3d/stats/survival/times.h"

namespace med3d::stats::survival {

struct Concordance {
  Estimate c_index;  // normal interval, cut to [0, 1]
  double std_error = std::numeric_limits<double>::quiet_NaN();
  double concordant = 0.0;  // pairs; weighted for Uno's C
  double discordant = 0.0;
  double tied_risk = 0.0;             // comparable, equal risk
  double tied_time = 0.0;             // two events at one time, different risk: not comparable
  double tied_both = 0.0;             // two events at one time, equal risk: not comparable
  std::vector<double> influence;      // (n,) empty when not estimable
  std::vector<std::string> warnings;  // what was truncated

  double comparable() const { return concordant + discordant + tied_risk; }
};

// Harrell's C: every comparable pair counts once. Its limit depends on who was censored when.
Concordance harrell_c_index(const SurvivalTimes& times,
                            std::span<const double> risk_score,
                            double confidence = 0.95);

Concordance harrell_c_index(std::span<const double> time_months,
                            std::span<const std::uint8_t> event,
                            std::span<const double> risk_score);

struct UnoOptions {
  // Only pairs whose earlier event is before tau count (scikit-survival: time < tau). Late events
  // weigh most and rest on few patients: set it to the horizon of interest.
  double tau_months = std::numeric_limits<double>::infinity();
  // Where censoring is estimated; null = from the same patients. With another set (the training
  // patients), events it cannot weigh are left out, and a warning says how many.
  const CensoringCurve* censoring = nullptr;
  double confidence = 0.95;

  void validate() const;
};

// Uno's C: a pair weighs 1 / G(time-)^2 of its earlier event, so that the limit does not depend on
// censoring. The standard error takes G as known, as R does. scikit-survival reads G(time), which
// differs where an event and a censoring share a time.
Concordance uno_c_index(const SurvivalTimes& times,
                        std::span<const double> risk_score,
                        const UnoOptions& options = {});

struct ConcordanceDifference {
  Estimate first;
  Estimate second;
  Estimate difference;  // first - second, not cut
  double std_error = std::numeric_limits<double>::quiet_NaN();
  double z = std::numeric_limits<double>::quiet_NaN();  // NaN where the standard error is 0
  double p = std::numeric_limits<double>::quiet_NaN();  // two-sided normal
};

// Difference of Harrell's C between two models on the same patients, by the jackknife:
// variance = sum (influence_first - influence_second)^2. O(n log n).
ConcordanceDifference c_index_difference(const SurvivalTimes& times,
                                         std::span<const double> first,
                                         std::span<const double> second,
                                         double confidence = 0.95);

// The same by paired bootstrap over patients: see intervals.h. A sample without a comparable pair
// counts as undefined.
PairedDifference c_index_difference_bootstrap(const SurvivalTimes& times,
                                              std::span<const double> first,
                                              std::span<const double> second,
                                              const BootstrapOptions& options = {});

// Bootstrap interval of Harrell's C (percentile or BCa by options.interval).
Estimate c_index_bootstrap(const SurvivalTimes& times,
                           std::span<const double> risk_score,
                           const BootstrapOptions& options = {});

}  // namespace med3d::stats::survival
