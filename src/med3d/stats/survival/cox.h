// Cox regression: how covariates multiply the hazard, with the checks that belong to it.
//
//   h(t | x) = h0(t) exp(b'x)
//   l(b) = sum over event times t [ sum of b'x over the d deaths D at t
//          - sum over k = 0..d-1 of log(R_t - (k / d) D_t) ]                            (Efron)
//
// R_t and D_t are the sums of exp(b'x) over those at risk at t and those who die at t. Breslow's
// approximation leaves the (k / d) D_t out. A patient censored at t is at risk at t.
//
// times        (n,) follow-up
// covariate    (n, p) any finite units; columns are centred and scaled inside, results are in the
//              units given
//
// A covariate that is constant, or a combination of those before it, or whose coefficient runs to
// infinity (it orders the events perfectly), has no coefficient: an Estimate with its reason, and a
// warning in the fit. Without events nothing is estimable. None of this throws.
// Cost O(n p^2) per Newton step, 4 to 7 steps.
// Throws Error(kData) if sizes differ or a value is not finite, Error(kUsage) for bad options.
//
// Source: Cox, J R Stat Soc B 34(2):187-220, 1972; Efron, JASA 72(359):557-565, 1977; Breslow,
// Biometrics 30(1):89-99, 1974; Grambsch and Therneau, Biometrika 81(3):515-526, 1994.
// Checked against: R survival 3.5.3 (coxph, basehaz, cox.zph) on lung, colon and rotterdam:
// coefficients 1e-6, likelihoods 1e-8; by hand; the score equations.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "med3d/core/matrix.h"
#include "med3d/stats/estimate.h"
#include "med3d/stats/survival/times.h"

namespace med3d::stats::survival {

enum class Ties {
  kEfron,    // R's default; close to exact
  kBreslow,  // simpler, biased towards 0 with many ties
};

struct CoxOptions {
  Ties ties = Ties::kEfron;
  int max_iterations = 30;
  double confidence = 0.95;

  void validate() const;  // throws Error(kUsage)
};

struct CoxTerm {
  Estimate coefficient;  // log hazard ratio per unit, Wald interval
  double std_error = std::numeric_limits<double>::quiet_NaN();
  double z = std::numeric_limits<double>::quiet_NaN();
  double p = std::numeric_limits<double>::quiet_NaN();
  Estimate hazard_ratio;  // exp of the above
};

struct ChiSquaredTest {
  double chi_squared = std::numeric_limits<double>::quiet_NaN();
  int df = 0;
  double p = std::numeric_limits<double>::quiet_NaN();
};

// Cumulative hazard of a patient whose covariates are all 0, at each distinct time of the set.
struct BaselineStep {
  double time_months = 0.0;
  double cumulative_hazard = 0.0;
};

struct CoxFit {
  std::vector<CoxTerm> term;       // one per covariate
  std::vector<double> beta;        // what predictions use; 0 for a covariate without coefficient
  Matrix<double> covariance;       // (p, p), 0 for a covariate without coefficient
  std::vector<BaselineStep> step;  // by rising time
  Ties ties = Ties::kEfron;
  std::int64_t n = 0;
  std::int64_t n_events = 0;
  double log_likelihood_null = std::numeric_limits<double>::quiet_NaN();
  double log_likelihood = std::numeric_limits<double>::quiet_NaN();
  ChiSquaredTest likelihood_ratio;
  ChiSquaredTest wald;
  ChiSquaredTest score;
  int iterations = 0;
  std::string not_estimable;  // no patients or no events
  std::vector<std::string> warnings;

  // b'x, not centred: differs from R's predict() by a constant. (n,)
  std::vector<double> linear_predictor(const Matrix<double>& covariate) const;

  // Cumulative baseline hazard at a time; beyond the last follow-up not estimable.
  Estimate cumulative_hazard(double time_months) const;

  // Probability of the event by a time: 1 - exp(-H0(t) exp(b'x)), per patient; in [0, 1].
  // A time beyond the last follow-up is cut to it: `used_months` says what was used.
  struct Risk {
    std::vector<double> probability;
    double used_months = 0.0;
    std::string warning;
  };
  Risk risk_at(const Matrix<double>& covariate, double time_months) const;
};

CoxFit cox_fit(const SurvivalTimes& times,
               const Matrix<double>& covariate,
               const CoxOptions& options = {});

// Log partial likelihood of given linear predictors, and its derivatives with respect to each: the
// loss of a network with a Cox head is its negative. The gradient is the martingale residual.
//
// linear_predictor  (n,) any finite numbers; a constant added to all changes nothing
// gradient          (n,) dl / d linear_predictor, or empty if not wanted
// curvature         (n,) -d2l / d linear_predictor^2 >= 0, or empty if not wanted
//
// Cost O(n log n). 0 without events. Throws as above.
double cox_log_likelihood(const SurvivalTimes& times,
                          std::span<const double> linear_predictor,
                          Ties ties = Ties::kEfron,
                          std::span<double> gradient = {},
                          std::span<double> curvature = {});

// How far each patient is from what the model expected.
//   martingale = event - H0(time) exp(b'x)    (deaths at tied times: Efron's share)
//   deviance   = sign(m) sqrt(-2 (m + event log(event - m)))
struct CoxResiduals {
  std::vector<double> martingale;
  std::vector<double> deviance;
};
CoxResiduals cox_residuals(const SurvivalTimes& times,
                           std::span<const double> linear_predictor,
                           Ties ties = Ties::kEfron);

// Scale of time on which a coefficient might drift.
enum class TimeTransform {
  kKaplanMeier,  // 1 - S(t-), R's default: robust to late outlying times
  kIdentity,
  kLog,  // log(t); events at time 0 are not allowed
};

struct ProportionalHazards {
  std::vector<ChiSquaredTest> term;  // in the order of the terms given
  ChiSquaredTest global;
  std::vector<double> event_time;   // (events,) by rising time
  std::vector<double> transformed;  // (events,) g(t)
  Matrix<double> schoenfeld;        // (events, p) covariate minus its mean over those at risk
  Matrix<double>
      scaled_schoenfeld;  // (events, p) b + events * covariance * residual: b(t), roughly
  std::string not_estimable;
};

// Are hazards proportional? Score test that the coefficient of a term changes with g(t), given the
// fit. Small p: they are not.
//
// terms   columns that belong together (dummies of one factor) are tested together; empty = each
//         column by itself. Throws Error(kUsage) for a column that does not exist.
ProportionalHazards cox_zph(const SurvivalTimes& times,
                            const Matrix<double>& covariate,
                            const CoxFit& fit,
                            TimeTransform transform = TimeTransform::kKaplanMeier,
                            const std::vector<std::vector<std::size_t>>& terms = {});

}  // namespace med3d::stats::survival
