#include "med3d/stats/survival/cox.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/math/distributions/chi_squared.hpp>
#include <boost/math/distributions/normal.hpp>
#include <cmath>
#include <functional>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/stats/survival/internal/cholesky.h"
#include "med3d/stats/survival/kaplan_meier.h"

namespace med3d::stats::survival {
namespace {

void require_covariates(const SurvivalTimes& times, const Matrix<double>& covariate) {
  if (covariate.rows() != times.size()) {
    throw Error(ErrorKind::kData,
                fmt::format("{} rows of covariates for {} patients, expected one each",
                            covariate.rows(),
                            times.size()));
  }
  for (std::size_t i = 0; i < covariate.size(); ++i) {
    if (!std::isfinite(covariate.data()[i])) {
      throw Error(ErrorKind::kData,
                  fmt::format("row {}, covariate {}: {}, expected a finite number",
                              i / covariate.cols(),
                              i % covariate.cols(),
                              covariate.data()[i]));
    }
  }
}

ChiSquaredTest chi_squared_test(double value, std::size_t df) {
  ChiSquaredTest out;
  out.df = static_cast<int>(df);
  if (df == 0 || !std::isfinite(value)) return out;
  out.chi_squared = std::max(0.0, value);
  out.p = boost::math::cdf(
      boost::math::complement(boost::math::chi_squared(static_cast<double>(df)), out.chi_squared));
  return out;
}

double dot(std::span<const double> a, std::span<const double> b) {
  double sum = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// Columns with mean 0 and standard deviation 1: Newton's method and the test for collinearity then
// do not depend on units. A constant column becomes exactly 0.
struct Standardised {
  Matrix<double> x;
  std::vector<double> mean;
  std::vector<double> scale;
};

Standardised standardise(const Matrix<double>& covariate) {
  const std::size_t n = covariate.rows();
  const std::size_t p = covariate.cols();
  Standardised out{Matrix<double>(n, p), std::vector<double>(p, 0.0), std::vector<double>(p, 1.0)};
  for (std::size_t j = 0; j < p; ++j) {
    double largest = 0.0;
    for (std::size_t i = 0; i < n; ++i) {
      out.mean[j] += covariate(i, j) / static_cast<double>(n);
      largest = std::max(largest, std::abs(covariate(i, j)));
    }
    double squares = 0.0;
    for (std::size_t i = 0; i < n; ++i) {
      const double d = covariate(i, j) - out.mean[j];
      squares += d * d;
    }
    const double sd = std::sqrt(squares / static_cast<double>(n));
    if (!(sd > 1e-12 * largest)) continue;
    out.scale[j] = sd;
    for (std::size_t i = 0; i < n; ++i) out.x(i, j) = (covariate(i, j) - out.mean[j]) / sd;
  }
  return out;
}

// What one event time adds to the likelihood, its gradient and information.
struct EventTime {
  std::size_t begin = 0;  // the deaths: order[begin, end)
  std::size_t end = 0;
  double log_likelihood = 0.0;
  std::vector<double> mean;    // (p,) covariate mean over those at risk (Efron: over the d steps)
  std::vector<double> score;   // (p,) sum over deaths of covariate - mean
  Matrix<double> information;  // (p, p)
};

// From the latest event time to the earliest.
void for_each_event_time(const SurvivalTimes& times,
                         const std::vector<std::size_t>& order,
                         const Matrix<double>& x,
                         std::span<const double> beta,
                         Ties ties,
                         const std::function<void(const EventTime&)>& visit) {
  const std::size_t p = x.cols();
  std::vector<double> lp(x.rows());
  double largest = 0.0;
  for (std::size_t i = 0; i < x.rows(); ++i) {
    lp[i] = dot(x.row(i), beta);
    largest = i == 0 ? lp[i] : std::max(largest, lp[i]);
  }
  double r0 = 0.0;
  std::vector<double> r1(p, 0.0);
  Matrix<double> r2(p, p);
  std::vector<double> d1(p);
  std::vector<double> m1(p);
  Matrix<double> d2(p, p);
  EventTime at;
  at.mean.resize(p);
  at.score.resize(p);
  at.information = Matrix<double>(p, p);
  const auto add = [&](std::size_t i, double& s0, std::vector<double>& s1, Matrix<double>& s2) {
    const double w = std::exp(lp[i] - largest);  // the common factor falls out everywhere
    s0 += w;
    for (std::size_t a = 0; a < p; ++a) {
      s1[a] += w * x(i, a);
      for (std::size_t b = 0; b <= a; ++b) s2(a, b) += w * x(i, a) * x(i, b);
    }
  };
  for (std::size_t end = order.size(); end > 0;) {
    const double time = times.time(order[end - 1]);
    while (end > 0 && times.time(order[end - 1]) == time && !times.has_event(order[end - 1])) {
      add(order[--end], r0, r1, r2);
    }
    at.end = end;
    double d0 = 0.0;
    std::fill(d1.begin(), d1.end(), 0.0);
    std::fill(d2.data(), d2.data() + d2.size(), 0.0);
    at.log_likelihood = 0.0;
    std::fill(at.score.begin(), at.score.end(), 0.0);
    while (end > 0 && times.time(order[end - 1]) == time) {
      const std::size_t i = order[--end];
      add(i, d0, d1, d2);
      at.log_likelihood += lp[i] - largest;
      for (std::size_t a = 0; a < p; ++a) at.score[a] += x(i, a);
    }
    at.begin = end;
    if (at.begin == at.end) continue;
    r0 += d0;
    for (std::size_t a = 0; a < p; ++a) {
      r1[a] += d1[a];
      for (std::size_t b = 0; b <= a; ++b) r2(a, b) += d2(a, b);
    }
    const double d = static_cast<double>(at.end - at.begin);
    std::fill(at.mean.begin(), at.mean.end(), 0.0);
    std::fill(at.information.data(), at.information.data() + at.information.size(), 0.0);
    for (std::size_t k = 0; k < at.end - at.begin; ++k) {
      const double share = ties == Ties::kEfron ? static_cast<double>(k) / d : 0.0;
      const double s0 = r0 - share * d0;
      at.log_likelihood -= std::log(s0);
      for (std::size_t a = 0; a < p; ++a) {
        m1[a] = (r1[a] - share * d1[a]) / s0;
        at.mean[a] += m1[a] / d;
        for (std::size_t b = 0; b <= a; ++b) {
          at.information(a, b) += (r2(a, b) - share * d2(a, b)) / s0 - m1[a] * m1[b];
        }
      }
    }
    for (std::size_t a = 0; a < p; ++a) {
      at.score[a] -= d * at.mean[a];
      for (std::size_t b = 0; b < a; ++b) at.information(b, a) = at.information(a, b);
    }
    visit(at);
  }
}

struct Derivatives {
  double log_likelihood = 0.0;
  std::vector<double> score;
  Matrix<double> information;
};

Derivatives derivatives(const SurvivalTimes& times,
                        const std::vector<std::size_t>& order,
                        const Matrix<double>& x,
                        std::span<const double> beta,
                        Ties ties) {
  Derivatives out;
  out.score.assign(x.cols(), 0.0);
  out.information = Matrix<double>(x.cols(), x.cols());
  for_each_event_time(times, order, x, beta, ties, [&](const EventTime& at) {
    out.log_likelihood += at.log_likelihood;
    for (std::size_t a = 0; a < x.cols(); ++a) out.score[a] += at.score[a];
    for (std::size_t a = 0; a < out.information.size(); ++a) {
      out.information.data()[a] += at.information.data()[a];
    }
  });
  return out;
}

// Hazard steps by rising event time, for risks exp(lp - shift).
struct HazardStep {
  std::size_t begin = 0;  // the deaths: order[begin, end)
  std::size_t end = 0;
  double survivor = 0.0;  // sum of 1 / (R - (k/d) D), and of its square
  double survivor_squared = 0.0;
  double death = 0.0;  // the same with factor (1 - k/d): a death is at risk for part of the step
  double death_squared = 0.0;
};

std::vector<HazardStep> hazard_steps(const SurvivalTimes& times,
                                     const std::vector<std::size_t>& order,
                                     std::span<const double> lp,
                                     double shift,
                                     Ties ties,
                                     double* log_likelihood) {
  std::vector<HazardStep> out;
  double r0 = 0.0;
  double total = 0.0;
  for (std::size_t end = order.size(); end > 0;) {
    const double time = times.time(order[end - 1]);
    while (end > 0 && times.time(order[end - 1]) == time && !times.has_event(order[end - 1])) {
      r0 += std::exp(lp[order[--end]] - shift);
    }
    HazardStep step;
    step.end = end;
    double d0 = 0.0;
    while (end > 0 && times.time(order[end - 1]) == time) {
      const std::size_t i = order[--end];
      d0 += std::exp(lp[i] - shift);
      total += lp[i] - shift;
    }
    step.begin = end;
    if (step.begin == step.end) continue;
    r0 += d0;
    const double d = static_cast<double>(step.end - step.begin);
    for (std::size_t k = 0; k < step.end - step.begin; ++k) {
      const double share = ties == Ties::kEfron ? static_cast<double>(k) / d : 0.0;
      const double s0 = r0 - share * d0;
      const double part = 1.0 - share;
      total -= std::log(s0);
      step.survivor += 1.0 / s0;
      step.survivor_squared += 1.0 / (s0 * s0);
      step.death += part / s0;
      step.death_squared += part * part / (s0 * s0);
    }
    out.push_back(step);
  }
  std::reverse(out.begin(), out.end());
  if (log_likelihood != nullptr) *log_likelihood = total;
  return out;
}

double largest_of(std::span<const double> value) {
  return value.empty() ? 0.0 : *std::max_element(value.begin(), value.end());
}

}  // namespace

void CoxOptions::validate() const {
  if (max_iterations < 1) {
    throw Error(ErrorKind::kUsage,
                fmt::format("{} Newton steps, expected at least 1", max_iterations));
  }
  require_confidence(confidence);
}

double cox_log_likelihood(const SurvivalTimes& times,
                          std::span<const double> linear_predictor,
                          Ties ties,
                          std::span<double> gradient,
                          std::span<double> curvature) {
  require_finite(times, linear_predictor, "linear predictor");
  const std::size_t n = times.size();
  if ((!gradient.empty() && gradient.size() != n) ||
      (!curvature.empty() && curvature.size() != n)) {
    throw Error(ErrorKind::kUsage,
                fmt::format("derivatives of {} and {} values for {} patients, expected one each",
                            gradient.size(),
                            curvature.size(),
                            n));
  }
  const std::vector<std::size_t> order = times.order();
  const double shift = largest_of(linear_predictor);
  double log_likelihood = 0.0;
  const auto steps = hazard_steps(times, order, linear_predictor, shift, ties, &log_likelihood);
  if (gradient.empty() && curvature.empty()) return log_likelihood;
  double hazard = 0.0;
  double squares = 0.0;
  std::size_t next = 0;
  for (std::size_t k = 0; k < n; ++k) {
    // Rising time: all steps up to this patient's time have been passed.
    while (next < steps.size() && steps[next].end <= k) {
      hazard += steps[next].survivor;
      squares += steps[next].survivor_squared;
      ++next;
    }
    const std::size_t i = order[k];
    const double w = std::exp(linear_predictor[i] - shift);
    const bool dies = next < steps.size() && k >= steps[next].begin;
    const double h = hazard + (dies ? steps[next].death : 0.0);
    const double s = squares + (dies ? steps[next].death_squared : 0.0);
    if (!gradient.empty()) gradient[i] = (times.has_event(i) ? 1.0 : 0.0) - w * h;
    if (!curvature.empty()) curvature[i] = std::max(0.0, w * h - w * w * s);
  }
  return log_likelihood;
}

CoxResiduals cox_residuals(const SurvivalTimes& times,
                           std::span<const double> linear_predictor,
                           Ties ties) {
  CoxResiduals out;
  out.martingale.resize(times.size());
  cox_log_likelihood(times, linear_predictor, ties, out.martingale);
  for (std::size_t i = 0; i < times.size(); ++i) {
    const double m = out.martingale[i];
    const double inside = times.has_event(i) ? m + std::log(1.0 - m) : m;
    out.deviance.push_back(std::copysign(std::sqrt(std::max(0.0, -2.0 * inside)), m));
  }
  return out;
}

CoxFit cox_fit(const SurvivalTimes& times,
               const Matrix<double>& covariate,
               const CoxOptions& options) {
  options.validate();
  require_covariates(times, covariate);
  const std::size_t p = covariate.cols();
  CoxFit out;
  out.ties = options.ties;
  out.n = static_cast<std::int64_t>(times.size());
  out.n_events = times.n_events();
  out.beta.assign(p, 0.0);
  out.term.resize(p);
  out.covariance = Matrix<double>(p, p);
  if (times.n_events() == 0) {
    out.not_estimable = times.size() == 0 ? "no patients" : "no events";
    for (auto& term : out.term) {
      term.coefficient = term.hazard_ratio = Estimate::none(out.not_estimable);
    }
    return out;
  }

  const Standardised data = standardise(covariate);
  const std::vector<std::size_t> order = times.order();
  std::vector<double> beta(p, 0.0);  // per standard deviation
  Derivatives now = derivatives(times, order, data.x, beta, options.ties);
  out.log_likelihood_null = now.log_likelihood;
  {
    const Cholesky solver(now.information);
    out.score = chi_squared_test(dot(now.score, solver.solve(now.score)), solver.rank());
  }
  std::vector<double> step(p, 0.0);
  bool converged = false;
  while (!converged && out.iterations < options.max_iterations) {
    ++out.iterations;
    step = Cholesky(now.information).solve(now.score);
    // Twice what the likelihood can still gain. One more step squares the error.
    const double gain = dot(step, now.score);
    converged = !(gain > 1e-9);
    std::vector<double> trial(p);
    Derivatives after;
    double length = 1.0;
    bool better = false;
    for (int halving = 0; halving < 30 && !better; ++halving, length /= 2.0) {
      for (std::size_t j = 0; j < p; ++j) trial[j] = beta[j] + length * step[j];
      after = derivatives(times, order, data.x, trial, options.ties);
      // Rounding of the sum of n terms must not stop the last step.
      better = after.log_likelihood >=
               now.log_likelihood - 1e-12 * std::max(1.0, std::abs(now.log_likelihood));
    }
    if (!better) break;
    beta = trial;
    now = after;
  }
  out.log_likelihood = now.log_likelihood;
  if (!converged) {
    out.warnings.push_back(
        fmt::format("Newton's method had not converged after {} steps", out.iterations));
  }

  const Cholesky solver(now.information);
  const Matrix<double> inverse = solver.inverse();
  out.likelihood_ratio =
      chi_squared_test(2.0 * (out.log_likelihood - out.log_likelihood_null), solver.rank());
  double wald = 0.0;
  for (std::size_t a = 0; a < p; ++a) {
    for (std::size_t b = 0; b < p; ++b) {
      if (solver.kept(a) && solver.kept(b)) wald += beta[a] * now.information(a, b) * beta[b];
    }
  }
  out.wald = chi_squared_test(wald, solver.rank());
  const double z_limit = normal_quantile_two_sided(options.confidence);
  for (std::size_t j = 0; j < p; ++j) {
    CoxTerm& term = out.term[j];
    for (std::size_t k = 0; k < p; ++k) {
      out.covariance(j, k) = inverse(j, k) / (data.scale[j] * data.scale[k]);
    }
    std::string reason;
    if (!solver.kept(j)) {
      reason = data.x.rows() > 0 && now.information(j, j) > 0.0
                   ? "a combination of the covariates before it"
                   : "constant among the patients at risk";
    } else {
      out.beta[j] = beta[j] / data.scale[j];
      // The likelihood has stopped rising while the coefficient still moves.
      if (std::abs(step[j]) > 1e-3) reason = "runs to infinity: it orders the events perfectly";
    }
    if (!reason.empty()) {
      term.coefficient = term.hazard_ratio = Estimate::none(reason);
      out.warnings.push_back(fmt::format("covariate {}: {}", j, reason));
      continue;
    }
    const double b = out.beta[j];
    term.std_error = std::sqrt(out.covariance(j, j));
    term.z = b / term.std_error;
    term.p = 2.0 * boost::math::cdf(boost::math::normal(), -std::abs(term.z));
    const double half = z_limit * term.std_error;
    term.coefficient = Estimate::of(b, b - half, b + half);
    term.hazard_ratio = Estimate::of(std::exp(b), std::exp(b - half), std::exp(b + half));
  }

  const std::vector<double> lp = out.linear_predictor(covariate);
  const double shift = largest_of(lp);
  const auto steps = hazard_steps(times, order, lp, shift, options.ties, nullptr);
  double hazard = 0.0;
  std::size_t next = 0;
  for (std::size_t k = 0; k < order.size();) {
    const double time = times.time(order[k]);
    while (k < order.size() && times.time(order[k]) == time) ++k;
    for (; next < steps.size() && steps[next].end <= k; ++next) hazard += steps[next].survivor;
    out.step.push_back({time, hazard * std::exp(-shift)});
  }
  return out;
}

std::vector<double> CoxFit::linear_predictor(const Matrix<double>& covariate) const {
  if (covariate.cols() != beta.size()) {
    throw Error(ErrorKind::kUsage,
                fmt::format("{} covariates, the model has {}", covariate.cols(), beta.size()));
  }
  std::vector<double> out(covariate.rows());
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = dot(covariate.row(i), beta);
  return out;
}

Estimate CoxFit::cumulative_hazard(double time_months) const {
  if (step.empty()) return Estimate::none(not_estimable);
  if (time_months > step.back().time_months) {
    return Estimate::none(fmt::format("{} months is beyond the last follow-up of {} months",
                                      time_months,
                                      step.back().time_months));
  }
  const auto after =
      std::upper_bound(step.begin(), step.end(), time_months, [](double t, const auto& s) {
        return t < s.time_months;
      });
  return Estimate::of(after == step.begin() ? 0.0 : (after - 1)->cumulative_hazard);
}

CoxFit::Risk CoxFit::risk_at(const Matrix<double>& covariate, double time_months) const {
  Risk out;
  out.used_months = time_months;
  if (step.empty()) {
    out.probability.assign(covariate.rows(), std::numeric_limits<double>::quiet_NaN());
    out.warning = not_estimable;
    return out;
  }
  if (time_months > step.back().time_months) {
    out.used_months = step.back().time_months;
    out.warning = fmt::format(
        "risk at {} months read at the last follow-up of {} months", time_months, out.used_months);
  }
  const double hazard = cumulative_hazard(out.used_months).value;
  out.probability = linear_predictor(covariate);
  // In logarithms: a product of 0 and infinity would not be a number.
  for (double& r : out.probability) {
    r = hazard > 0.0 ? -std::expm1(-std::exp(std::log(hazard) + r)) : 0.0;
  }
  return out;
}

ProportionalHazards cox_zph(const SurvivalTimes& times,
                            const Matrix<double>& covariate,
                            const CoxFit& fit,
                            TimeTransform transform,
                            const std::vector<std::vector<std::size_t>>& terms) {
  require_covariates(times, covariate);
  const std::size_t p = covariate.cols();
  if (fit.beta.size() != p) {
    throw Error(ErrorKind::kUsage,
                fmt::format("{} covariates, the model has {}", p, fit.beta.size()));
  }
  std::vector<std::vector<std::size_t>> groups = terms;
  if (groups.empty()) {
    for (std::size_t j = 0; j < p; ++j) groups.push_back({j});
  }
  for (const auto& group : groups) {
    for (const std::size_t j : group) {
      if (j >= p) {
        throw Error(ErrorKind::kUsage,
                    fmt::format("a term names covariate {}, there are {}", j, p));
      }
    }
  }
  ProportionalHazards out;
  if (times.n_events() == 0 || p == 0) {
    out.not_estimable = times.n_events() == 0 ? "no events" : "no covariates";
    out.term.resize(groups.size());
    return out;
  }

  const Standardised data = standardise(covariate);
  const std::vector<std::size_t> order = times.order();
  std::vector<double> beta(p);
  for (std::size_t j = 0; j < p; ++j) beta[j] = fit.beta[j] * data.scale[j];

  const KaplanMeier km = kaplan_meier(times);
  const auto g_of = [&](double time) {
    switch (transform) {
      case TimeTransform::kIdentity:
        return time;
      case TimeTransform::kLog:
        if (!(time > 0.0)) {
          throw Error(ErrorKind::kUsage,
                      "an event at time 0 has no logarithm, expected another transform");
        }
        return std::log(time);
      case TimeTransform::kKaplanMeier:
        break;
    }
    const auto row =
        std::lower_bound(km.row.begin(), km.row.end(), time, [](const auto& r, double t) {
          return r.time_months < t;
        });
    return row == km.row.begin() ? 0.0 : 1.0 - (row - 1)->survival;
  };

  // Centring g changes no test (it mixes the coefficients of x into those of x g) but keeps the
  // two halves of the information matrix apart.
  double g_mean = 0.0;
  for (std::size_t i = 0; i < times.size(); ++i) {
    if (times.has_event(i)) g_mean += g_of(times.time(i)) / static_cast<double>(times.n_events());
  }
  Matrix<double> information(2 * p, 2 * p);
  std::vector<double> score(p, 0.0);
  std::vector<std::vector<double>> residual;
  for_each_event_time(times, order, data.x, beta, fit.ties, [&](const EventTime& at) {
    const double time = times.time(order[at.begin]);
    const double g = g_of(time) - g_mean;
    for (std::size_t a = 0; a < p; ++a) {
      score[a] += g * at.score[a];
      for (std::size_t b = 0; b < p; ++b) {
        const double v = at.information(a, b);
        information(a, b) += v;
        information(a, p + b) += g * v;
        information(p + a, b) += g * v;
        information(p + a, p + b) += g * g * v;
      }
    }
    for (std::size_t k = at.end; k-- > at.begin;) {
      std::vector<double> row(p);
      for (std::size_t a = 0; a < p; ++a) {
        row[a] = (data.x(order[k], a) - at.mean[a]) * data.scale[a];
      }
      residual.push_back(std::move(row));
      out.event_time.push_back(time);
      out.transformed.push_back(g + g_mean);
    }
  });
  std::reverse(residual.begin(), residual.end());
  std::reverse(out.event_time.begin(), out.event_time.end());
  std::reverse(out.transformed.begin(), out.transformed.end());
  const double events = static_cast<double>(residual.size());
  out.schoenfeld = Matrix<double>(residual.size(), p);
  out.scaled_schoenfeld = Matrix<double>(residual.size(), p);
  for (std::size_t e = 0; e < residual.size(); ++e) {
    for (std::size_t a = 0; a < p; ++a) {
      out.schoenfeld(e, a) = residual[e][a];
      out.scaled_schoenfeld(e, a) = fit.beta[a] + events * dot(fit.covariance.row(a), residual[e]);
    }
  }

  const auto test = [&](const std::vector<std::size_t>& columns) {
    std::vector<std::size_t> index;
    for (std::size_t a = 0; a < p; ++a) index.push_back(a);
    for (const std::size_t j : columns) index.push_back(p + j);
    Matrix<double> part(index.size(), index.size());
    std::vector<double> u(index.size(), 0.0);
    for (std::size_t a = 0; a < index.size(); ++a) {
      if (index[a] >= p) u[a] = score[index[a] - p];
      for (std::size_t b = 0; b < index.size(); ++b) part(a, b) = information(index[a], index[b]);
    }
    const Cholesky solver(part);
    std::size_t df = 0;
    for (std::size_t a = p; a < index.size(); ++a) df += solver.kept(a) ? 1 : 0;
    return chi_squared_test(dot(u, solver.solve(u)), df);
  };
  std::vector<std::size_t> all;
  for (std::size_t j = 0; j < p; ++j) all.push_back(j);
  for (const auto& group : groups) out.term.push_back(test(group));
  out.global = test(all);
  return out;
}

}  // namespace med3d::stats::survival
