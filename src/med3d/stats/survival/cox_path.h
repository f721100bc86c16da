// Penalised Cox regression for many covariates: ridge, lasso and what lies between, over a path of
// penalties.
//
//   minimise  -l(b) / n + lambda [ alpha sum |b_j| + (1 - alpha) / 2 sum b_j^2 ]
//
// l is the log partial likelihood of cox.h, b per standard deviation (1/n) of each column;
// coefficients are returned in the units given. At the solution, with g = (1/n) dl/db:
//
//   b_j != 0:  g_j = lambda (alpha sign(b_j) + (1 - alpha) b_j)
//   b_j == 0:  |g_j| <= lambda alpha
//
// Solved by coordinate descent (ridge with p <= max(n, 256): by one linear system) on a quadratic
// model of l in the linear predictors, each solution the start of the next, with step halving on
// the objective itself. kkt_violation says how far each solution is from the two lines above.
//
// times        (n,) follow-up
// covariate    (n, p), p may exceed n; finite. A constant column keeps coefficient 0.
//
// Cost about 10 to 30 sweeps over n p per penalty, far more where columns are nearly combinations
// of each other; ridge by a linear system a few n p^2. Choose lambda by cross-validation outside.
// Throws Error(kData) if sizes differ or a value is not finite, Error(kUsage) for bad options.
// Without events the path is empty and not_estimable says so.
//
// Source: Simon, Friedman, Hastie, Tibshirani, J Stat Softw 39(5):1-13, 2011.
// doi:10.18637/jss.v039.i05 (its likelihood is scaled likewise; our ties may be Efron's).
// Checked against: the two identities above; the unpenalised fit of cox.h as lambda goes to 0; the
// closed form for one covariate.
#pragma once

#include <string>
#include <vector>

#include "med3d/core/matrix.h"
#include "med3d/stats/survival/cox.h"
#include "med3d/stats/survival/times.h"

namespace med3d::stats::survival {

struct CoxPathOptions {
  double alpha = 1.0;  // 1 = lasso, 0 = ridge
  int n_lambda = 50;   // penalties, from the smallest that leaves no covariate (ridge: that of
                       // alpha 0.001) down, evenly in the logarithm
  double lambda_min_ratio = 0.01;  // smallest over largest
  std::vector<double> lambda;      // own penalties instead, falling, >= 0
  Ties ties = Ties::kEfron;
  double tolerance = 1e-7;  // largest allowed kkt_violation, relative to the largest |g_j| at b = 0
  int max_iterations = 500;  // quadratic models per penalty

  void validate() const;  // throws Error(kUsage)
};

struct CoxPath {
  std::vector<double> lambda;          // falling
  Matrix<double> coefficient;          // (path, p), per unit of the covariate
  std::vector<double> log_likelihood;  // (path,)
  std::vector<std::size_t> nonzero;    // (path,)
  std::vector<double> kkt_violation;   // (path,) relative, as tolerance
  double log_likelihood_null = 0.0;
  std::string not_estimable;          // no patients or no events
  std::vector<std::string> warnings;  // penalties that missed the tolerance

  std::vector<double> linear_predictor(const Matrix<double>& covariate, std::size_t step) const;
};

CoxPath cox_path(const SurvivalTimes& times,
                 const Matrix<double>& covariate,
                 const CoxPathOptions& options = {});

}  // namespace med3d::stats::survival
