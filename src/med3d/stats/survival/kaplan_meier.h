// Kaplan-Meier and Nelson-Aalen curves, what is read off them, and the log-rank family of tests.
//
//   S(t) = product over event times s <= t of (1 - d_s / n_s)
//   H(t) = sum over event times s <= t of d_s / n_s
//
// n_s patients at risk just before s, d_s events at s. A patient censored at s was still at risk
// at s: at equal times events come first.
//
// Source: Kaplan and Meier, JASA 53(282):457-481, 1958; Greenwood 1926; Nelson, Technometrics
// 14(4):945-966, 1972; Harrington and Fleming, Biometrika 69(3):553-566, 1982 (rho family).
// Checked against: R survival 3.5.3 (survfit, quantile.survfit, survdiff) on lung, colon and
// rotterdam, tolerance 1e-8, and by hand.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "med3d/stats/estimate.h"
#include "med3d/stats/survival/times.h"

namespace med3d::stats::survival {

// On which scale the interval of S is symmetric. All are cut to [0, 1].
enum class IntervalScale {
  kPlain,   // S -+ z se
  kLog,     // exp(log S -+ z se / S), R's default
  kLogLog,  // exp(-exp(log(-log S) -+ z se / (S log S))): stays inside (0, 1) by itself; best below
            // about 50 patients. None where S is 1.
};

// One distinct time of the set, event or censoring. Limits are R's, NaN where R has NA.
struct KaplanMeierRow {
  double time_months = 0.0;
  std::int64_t n_risk = 0;  // just before this time
  std::int64_t n_event = 0;
  std::int64_t n_censor = 0;
  double survival = 1.0;
  double std_error = 0.0;  // Greenwood's; NaN once S is 0
  double low = 1.0;
  double high = 1.0;
  double cumulative_hazard = 0.0;  // Nelson-Aalen
  double hazard_std_error = 0.0;   // sqrt(sum d / n^2)
};

struct CurveOptions {
  IntervalScale scale = IntervalScale::kLog;
  double confidence = 0.95;

  void validate() const;  // throws Error(kUsage)
};

struct RestrictedMean {
  Estimate mean;  // months lived up to tau_months, normal interval
  double std_error = std::numeric_limits<double>::quiet_NaN();
  double tau_months = 0.0;  // as used
  std::string warning;      // tau was cut to the end of follow-up; else empty
};

struct KaplanMeier {
  std::vector<KaplanMeierRow> row;  // by rising time
  std::int64_t n = 0;
  std::int64_t n_events = 0;
  CurveOptions options;

  // S at a time. No interval where the standard error is 0 or unknown (before the first event,
  // after the last survivor). Beyond the last follow-up S is not estimable, unless it is 0 there.
  Estimate at(double time_months) const;

  // Patients with time >= time_months: the row under a survival plot.
  std::int64_t n_at_risk(double time_months) const;

  // The time by which a share p has had the event: the first with S <= 1 - p, and the middle of the
  // flat stretch where S is exactly 1 - p (R's rule); the limits are those of the curve's limits.
  // Not estimable where the curve never falls so far. p in (0, 1), or Error(kUsage).
  Estimate quantile(double p) const;
  Estimate median() const { return quantile(0.5); }

  // Area under S up to tau_months; variance = sum over events of (area from s to tau)^2
  // d / (n (n - d)). A tau beyond the last follow-up is cut to it, with a warning: S is unknown
  // there. Throws Error(kUsage) unless tau_months > 0 and finite.
  RestrictedMean restricted_mean(double tau_months) const;
};

// Cost O(n log n). An empty set gives a curve without rows, of which nothing is estimable.
KaplanMeier kaplan_meier(const SurvivalTimes& times, const CurveOptions& options = {});

// One curve per group, by rising group number.
//
// group   (n,) any integers
//
// Throws Error(kData) if sizes differ.
struct Stratum {
  std::int64_t group = 0;
  KaplanMeier curve;
};
std::vector<Stratum> kaplan_meier_by(const SurvivalTimes& times,
                                     std::span<const std::int64_t> group,
                                     const CurveOptions& options = {});

struct LogRankGroup {
  std::int64_t group = 0;
  std::int64_t n = 0;
  double observed = 0.0;  // weighted by S(t-)^rho, so whole numbers only for rho = 0
  double expected = 0.0;
};

struct LogRank {
  std::vector<LogRankGroup> group;
  double chi_squared = std::numeric_limits<double>::quiet_NaN();
  int df = 0;
  double p = std::numeric_limits<double>::quiet_NaN();
  std::string not_estimable;  // one group, no events, or no variance between groups
};

// Do groups differ in survival?
//
//   weight(t) = S(t-)^rho, S pooled;  rho 0 = log-rank, 1 = Peto-Peto's Wilcoxon: early events
//   count more. Observed minus expected, hypergeometric variance.
//
// A group with nothing expected is left out of the test (and df), as in R.
// Throws Error(kData) if sizes differ, Error(kUsage) if rho is not finite.
LogRank log_rank(const SurvivalTimes& times, std::span<const std::int64_t> group, double rho = 0.0);

}  // namespace med3d::stats::survival
