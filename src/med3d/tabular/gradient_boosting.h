// Gradient-boosted trees for a binary label or for time to event, by XGBoost.
//
// Small trees, slow learning and row and column sampling: what works on a few hundred patients.
// Runs on one thread, so that a seed gives the same trees on every machine; train many models at
// once instead (distinct objects may be used from distinct threads at the same time).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "med3d/core/matrix.h"

namespace med3d::tabular {

struct BoostingOptions {
  int rounds = 100;               // trees
  int max_depth = 2;              // interactions of two covariates at most; deeper overfits here
  double learning_rate = 0.05;    // (0, 1]
  double subsample = 0.7;         // (0, 1], rows per tree
  double colsample = 0.7;         // (0, 1], columns per tree
  double lambda = 1.0;            // >= 0, L2 penalty on leaf values
  double scale_pos_weight = 1.0;  // > 0, weight of class 1; n_0 / n_1 balances
  std::uint32_t seed = 0;

  void validate() const;  // throws Error(kUsage)
};

// Source: Chen and Guestrin, KDD 2016, 785-794. doi:10.1145/2939672.2939785
class GradientBoosting {
 public:
  // x  (n, p) NaN = missing (each split learns a default side); infinities are refused
  // y  (n,) 0 or 1, both present
  //
  // Values are held as floats by XGBoost. Cost O(rounds max_depth n p).
  // Throws Error(kUsage) on sizes or options, Error(kData) on values or labels, Error(kNumerical)
  // with XGBoost's own words if it fails.
  static GradientBoosting fit(const Matrix<double>& x,
                              std::span<const std::uint8_t> y,
                              const BoostingOptions& options = {});

  // P(y = 1) of each row. Throws Error(kUsage) on another width.
  std::vector<double> predict_proba(const Matrix<double>& x) const;

  std::size_t columns() const;

  // XGBoost's JSON model, readable by every XGBoost from 1.0 on; equal models give equal bytes.
  std::string save_bytes() const;
  // Throws Error(kFormat) for anything that is not such a model, trees with loops or columns out of
  // range included.
  static GradientBoosting load_bytes(std::string_view bytes);

  GradientBoosting(GradientBoosting&&) noexcept;
  GradientBoosting& operator=(GradientBoosting&&) noexcept;
  ~GradientBoosting();

 private:
  struct Impl;
  explicit GradientBoosting(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Trees whose sum is a log relative hazard: the partial likelihood of Cox (Breslow's ties).
//
// time_months   (n,) finite, >= 0; a time of 0 is read as 1e-6, since XGBoost marks censoring by
// the
//               sign of the time
// event         (n,) 1 = seen, 0 = censored; at least one event
//
// scale_pos_weight of the options has no meaning here and must be 1.
// Errors as GradientBoosting, and Error(kData) without events or for a time that is no time.
// Source: XGBoost's objective survival:cox; Chen and Guestrin 2016.
class CoxBoosting {
 public:
  static CoxBoosting fit(const Matrix<double>& x,
                         std::span<const double> time_months,
                         std::span<const std::uint8_t> event,
                         const BoostingOptions& options = {});

  // Log of the hazard relative to the training rows' middle; higher = earlier event. (n,)
  std::vector<double> log_hazard(const Matrix<double>& x) const;

  std::size_t columns() const;
  std::string save_bytes() const;
  static CoxBoosting load_bytes(std::string_view bytes);  // throws Error(kFormat)

  CoxBoosting(CoxBoosting&&) noexcept;
  CoxBoosting& operator=(CoxBoosting&&) noexcept;
  ~CoxBoosting();

 private:
  struct Impl;
  explicit CoxBoosting(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace med3d::tabular
