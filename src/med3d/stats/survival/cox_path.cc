#include "med3d/stats/survival/cox_path.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "med3d/core/error.h"
#include "med3d/stats/survival/internal/cholesky.h"

namespace med3d::stats::survival {
namespace {

// Linear systems up to this size are cheap however few the patients.
constexpr std::size_t kSmallSystem = 256;

// Columns stored one after the other: every sweep runs down columns.
struct Columns {
  std::size_t n = 0;
  std::size_t p = 0;
  std::vector<double> value;
  std::vector<double> scale;  // 0 for a constant column

  std::span<const double> column(std::size_t j) const { return {value.data() + j * n, n}; }
};

Columns standardised_columns(const Matrix<double>& covariate) {
  Columns out;
  out.n = covariate.rows();
  out.p = covariate.cols();
  out.value.resize(out.n * out.p);
  out.scale.assign(out.p, 0.0);
  const double n = static_cast<double>(out.n);
  for (std::size_t j = 0; j < out.p; ++j) {
    double mean = 0.0;
    double largest = 0.0;
    for (std::size_t i = 0; i < out.n; ++i) {
      if (!std::isfinite(covariate(i, j))) {
        throw Error(
            ErrorKind::kData,
            fmt::format(
                "row {}, covariate {}: {}, expected a finite number", i, j, covariate(i, j)));
      }
      mean += covariate(i, j) / n;
      largest = std::max(largest, std::abs(covariate(i, j)));
    }
    double squares = 0.0;
    for (std::size_t i = 0; i < out.n; ++i) {
      const double d = covariate(i, j) - mean;
      squares += d * d;
    }
    const double sd = std::sqrt(squares / n);
    if (!(sd > 1e-12 * largest)) continue;
    out.scale[j] = sd;
    for (std::size_t i = 0; i < out.n; ++i)
      out.value[j * out.n + i] = (covariate(i, j) - mean) / sd;
  }
  return out;
}

double soft_threshold(double value, double by) {
  if (value > by) return value - by;
  if (value < -by) return value + by;
  return 0.0;
}

class Solver {
 public:
  Solver(const SurvivalTimes& times, const Columns& x, const CoxPathOptions& options)
      : times_(times),
        x_(x),
        options_(options),
        beta_(x.p, 0.0),
        eta_(x.n, 0.0),
        gradient_(x.n),
        curvature_(x.n) {
    log_likelihood_ = cox_log_likelihood(times_, eta_, options_.ties, gradient_, curvature_);
    for (std::size_t j = 0; j < x_.p; ++j) {
      largest_gradient_ = std::max(largest_gradient_, std::abs(gradient_of(j)));
    }
  }

  double largest_gradient() const { return largest_gradient_; }
  const std::vector<double>& beta() const { return beta_; }  // per standard deviation
  double log_likelihood() const { return log_likelihood_; }

  // Moves beta() to the solution at lambda; returns the relative KKT violation reached.
  double solve(double lambda) {
    double violation = kkt_violation(lambda);
    for (int round = 0; round < options_.max_iterations && violation > options_.tolerance;
         ++round) {
      // Ridge alone has a closed form: correlated columns, which sweeps creep along, cost nothing.
      const bool ridge =
          options_.alpha == 0.0 && lambda > 0.0 && x_.p <= std::max(x_.n, kSmallSystem);
      const std::vector<double> target = ridge ? ridge_minimum(lambda) : minimise_model(lambda);
      if (!move_towards(target, lambda)) break;
      violation = kkt_violation(lambda);
    }
    return violation;
  }

 private:
  double n() const { return static_cast<double>(x_.n); }

  double gradient_of(std::size_t j) const {
    const auto column = x_.column(j);
    double sum = 0.0;
    for (std::size_t i = 0; i < x_.n; ++i) sum += column[i] * gradient_[i];
    return sum / n();
  }

  double penalty(std::span<const double> b, double lambda) const {
    double absolute = 0.0;
    double squares = 0.0;
    for (const double v : b) {
      absolute += std::abs(v);
      squares += v * v;
    }
    return lambda * (options_.alpha * absolute + (1.0 - options_.alpha) / 2.0 * squares);
  }

  double kkt_violation(double lambda) const {
    double worst = 0.0;
    for (std::size_t j = 0; j < x_.p; ++j) {
      if (x_.scale[j] == 0.0) continue;
      const double g = gradient_of(j);
      const double lasso = lambda * options_.alpha;
      const double off = beta_[j] == 0.0 ? std::max(0.0, std::abs(g) - lasso)
                                         : std::abs(g - std::copysign(lasso, beta_[j]) -
                                                    lambda * (1.0 - options_.alpha) * beta_[j]);
      worst = std::max(worst, off);
    }
    return largest_gradient_ > 0.0 ? worst / largest_gradient_ : 0.0;
  }

  // Minimiser of the objective with l replaced by its quadratic model at the present eta (diagonal
  // curvature). slope = derivative of the model with respect to eta.
  std::vector<double> minimise_model(double lambda) const {
    std::vector<double> b = beta_;
    std::vector<double> slope = gradient_;
    std::vector<double> weight(x_.p, 0.0);
    for (std::size_t j = 0; j < x_.p; ++j) {
      const auto column = x_.column(j);
      for (std::size_t i = 0; i < x_.n; ++i) {
        weight[j] += curvature_[i] * column[i] * column[i] / n();
      }
    }
    bool active_only = false;
    for (int sweep = 0; sweep < 1000; ++sweep) {
      double largest_change = 0.0;
      for (std::size_t j = 0; j < x_.p; ++j) {
        if (x_.scale[j] == 0.0 || (active_only && b[j] == 0.0)) continue;
        const double bottom = weight[j] + lambda * (1.0 - options_.alpha);
        if (!(bottom > 0.0)) continue;
        const auto column = x_.column(j);
        double g = 0.0;
        for (std::size_t i = 0; i < x_.n; ++i) g += column[i] * slope[i];
        const double updated =
            soft_threshold(g / n() + weight[j] * b[j], lambda * options_.alpha) / bottom;
        const double change = updated - b[j];
        if (change == 0.0) continue;
        for (std::size_t i = 0; i < x_.n; ++i) slope[i] -= curvature_[i] * column[i] * change;
        b[j] = updated;
        largest_change = std::max(largest_change, weight[j] * std::abs(change));
      }
      // In units of the gradient; a tenth of what the outer loop asks for.
      if (largest_change <= 0.1 * options_.tolerance * largest_gradient_) {
        if (!active_only) break;
        active_only = false;  // one full sweep must find nothing new
      } else {
        active_only = true;
      }
    }
    return b;
  }

  // The same for alpha = 0: (X'WX / n + lambda) b = X'(W eta + gradient) / n.
  std::vector<double> ridge_minimum(double lambda) const {
    Matrix<double> system(x_.p, x_.p);
    std::vector<double> right(x_.p);
    std::vector<double> weighted(x_.n);
    for (std::size_t j = 0; j < x_.p; ++j) {
      const auto column = x_.column(j);
      double sum = 0.0;
      for (std::size_t i = 0; i < x_.n; ++i) {
        weighted[i] = column[i] * curvature_[i] / n();
        sum += weighted[i] * eta_[i] + column[i] * gradient_[i] / n();
      }
      right[j] = sum;
      for (std::size_t k = 0; k <= j; ++k) {
        const auto other = x_.column(k);
        double product = 0.0;
        for (std::size_t i = 0; i < x_.n; ++i) product += weighted[i] * other[i];
        system(j, k) = system(k, j) = product;
      }
      system(j, j) += lambda;
    }
    return Cholesky(system).solve(right);
  }

  bool move_towards(const std::vector<double>& target, double lambda) {
    const double before = -log_likelihood_ / n() + penalty(beta_, lambda);
    std::vector<double> direction(x_.n, 0.0);
    for (std::size_t j = 0; j < x_.p; ++j) {
      const double change = target[j] - beta_[j];
      if (change == 0.0) continue;
      const auto column = x_.column(j);
      for (std::size_t i = 0; i < x_.n; ++i) direction[i] += column[i] * change;
    }
    std::vector<double> b(x_.p);
    std::vector<double> eta(x_.n);
    double length = 1.0;
    for (int halving = 0; halving < 40; ++halving, length /= 2.0) {
      for (std::size_t j = 0; j < x_.p; ++j) {
        b[j] = length == 1.0 ? target[j] : beta_[j] + length * (target[j] - beta_[j]);
      }
      for (std::size_t i = 0; i < x_.n; ++i) eta[i] = eta_[i] + length * direction[i];
      if (!std::all_of(eta.begin(), eta.end(), [](double v) { return std::isfinite(v); })) continue;
      const double trial = cox_log_likelihood(times_, eta, options_.ties);
      const double after = -trial / n() + penalty(b, lambda);
      // The last steps gain less than rounding takes.
      if (!(after <= before + 1e-14 * std::max(1.0, std::abs(before)))) continue;
      beta_ = b;
      eta_ = eta;
      log_likelihood_ = cox_log_likelihood(times_, eta_, options_.ties, gradient_, curvature_);
      return true;
    }
    return false;
  }

  const SurvivalTimes& times_;
  const Columns& x_;
  const CoxPathOptions& options_;
  std::vector<double> beta_;
  double log_likelihood_ = 0.0;
  std::vector<double> eta_;
  std::vector<double> gradient_;
  std::vector<double> curvature_;
  double largest_gradient_ = 0.0;
};

}  // namespace

void CoxPathOptions::validate() const {
  if (!(alpha >= 0.0 && alpha <= 1.0)) {
    throw Error(ErrorKind::kUsage, fmt::format("alpha {}, expected a number in [0, 1]", alpha));
  }
  if (n_lambda < 1 || max_iterations < 1) {
    throw Error(ErrorKind::kUsage,
                fmt::format("{} penalties and {} iterations, expected at least 1 of each",
                            n_lambda,
                            max_iterations));
  }
  if (!(lambda_min_ratio > 0.0 && lambda_min_ratio < 1.0) || !(tolerance > 0.0)) {
    throw Error(ErrorKind::kUsage,
                fmt::format("lambda_min_ratio {} and tolerance {}, expected the first in (0, 1), "
                            "the second above 0",
                            lambda_min_ratio,
                            tolerance));
  }
  for (std::size_t k = 0; k < lambda.size(); ++k) {
    if (!std::isfinite(lambda[k]) || lambda[k] < 0.0 || (k > 0 && lambda[k] > lambda[k - 1])) {
      throw Error(
          ErrorKind::kUsage,
          fmt::format("penalty {}: {}, expected falling numbers of at least 0", k, lambda[k]));
    }
  }
}

CoxPath cox_path(const SurvivalTimes& times,
                 const Matrix<double>& covariate,
                 const CoxPathOptions& options) {
  options.validate();
  if (covariate.rows() != times.size()) {
    throw Error(ErrorKind::kData,
                fmt::format("{} rows of covariates for {} patients, expected one each",
                            covariate.rows(),
                            times.size()));
  }
  const Columns x = standardised_columns(covariate);
  CoxPath out;
  if (times.n_events() == 0) {
    out.not_estimable = times.size() == 0 ? "no patients" : "no events";
    return out;
  }
  Solver solver(times, x, options);
  out.log_likelihood_null = solver.log_likelihood();
  out.lambda = options.lambda;
  if (out.lambda.empty()) {
    const double largest = solver.largest_gradient() / std::max(options.alpha, 1e-3);
    for (int k = 0; k < options.n_lambda; ++k) {
      const double share = options.n_lambda == 1
                               ? 0.0
                               : static_cast<double>(k) / static_cast<double>(options.n_lambda - 1);
      out.lambda.push_back(largest * std::pow(options.lambda_min_ratio, share));
    }
  }
  std::size_t missed = 0;
  for (const double lambda : out.lambda) {
    out.kkt_violation.push_back(solver.solve(lambda));
    missed += out.kkt_violation.back() > options.tolerance ? 1 : 0;
    std::vector<double> row(x.p, 0.0);
    std::size_t nonzero = 0;
    for (std::size_t j = 0; j < x.p; ++j) {
      if (solver.beta()[j] == 0.0) continue;
      row[j] = solver.beta()[j] / x.scale[j];
      ++nonzero;
    }
    out.coefficient.append_row(row);
    out.log_likelihood.push_back(solver.log_likelihood());
    out.nonzero.push_back(nonzero);
  }
  if (missed > 0) {
    out.warnings.push_back(fmt::format("{} of {} penalties did not reach the tolerance of {}",
                                       missed,
                                       out.lambda.size(),
                                       options.tolerance));
  }
  return out;
}

std::vector<double> CoxPath::linear_predictor(const Matrix<double>& covariate,
                                              std::size_t step) const {
  if (step >= coefficient.rows() || covariate.cols() != coefficient.cols()) {
    throw Error(ErrorKind::kUsage,
                fmt::format("penalty {} and {} covariates, the path has {} and {}",
                            step,
                            covariate.cols(),
                            coefficient.rows(),
                            coefficient.cols()));
  }
  std::vector<double> out(covariate.rows(), 0.0);
  for (std::size_t i = 0; i < out.size(); ++i) {
    for (std::size_t j = 0; j < covariate.cols(); ++j) {
      out[i] += covariate(i, j) * coefficient(step, j);
    }
  }
  return out;
}

}  // namespace med3d::stats::survival
