#include "med3d/tabular/logistic.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>

#include "med3d/core/error.h"
#include "med3d/core/text.h"

namespace med3d::tabular {
namespace {

// Four sums at a time: the compiler may not reorder a single one.
double dot(const double* a, const double* b, std::size_t n) {
  double s0 = 0.0, s1 = 0.0, s2 = 0.0, s3 = 0.0;
  std::size_t i = 0;
  for (; i + 4 <= n; i += 4) {
    s0 += a[i] * b[i];
    s1 += a[i + 1] * b[i + 1];
    s2 += a[i + 2] * b[i + 2];
    s3 += a[i + 3] * b[i + 3];
  }
  for (; i < n; ++i) s0 += a[i] * b[i];
  return (s0 + s1) + (s2 + s3);
}

// In place L of A = L L^T, lower triangle. False if A is not positive definite.
bool cholesky(Matrix<double>& a) {
  for (std::size_t i = 0; i < a.rows(); ++i) {
    for (std::size_t j = 0; j <= i; ++j) {
      const double rest = a(i, j) - dot(a.row(i).data(), a.row(j).data(), j);
      if (i != j) {
        a(i, j) = rest / a(j, j);
      } else {
        if (!(rest > 0.0)) return false;
        a(i, i) = std::sqrt(rest);
      }
    }
  }
  return true;
}

void cholesky_solve(const Matrix<double>& l, std::vector<double>& b) {
  const std::size_t n = l.rows();
  for (std::size_t i = 0; i < n; ++i) b[i] = (b[i] - dot(l.row(i).data(), b.data(), i)) / l(i, i);
  for (std::size_t i = n; i-- > 0;) {
    b[i] /= l(i, i);
    for (std::size_t j = 0; j < i; ++j) b[j] -= l(i, j) * b[i];
  }
}

double sigmoid(double f) {
  if (f >= 0.0) return 1.0 / (1.0 + std::exp(-f));
  const double e = std::exp(f);
  return e / (1.0 + e);
}

// log(1 + exp(f)) without overflow.
double softplus(double f) { return std::max(f, 0.0) + std::log1p(std::exp(-std::abs(f))); }

struct Problem {
  const Matrix<double>& x;
  std::span<const std::uint8_t> y;
  std::vector<double> weight;  // C s_i
};

double loss(const Problem& problem, const std::vector<double>& f) {
  double sum = 0.0;
  for (std::size_t i = 0; i < f.size(); ++i) {
    sum += problem.weight[i] * softplus(problem.y[i] != 0 ? -f[i] : f[i]);
  }
  return sum;
}

// Derivatives of the loss with respect to f_i.
void derivatives(const Problem& problem,
                 const std::vector<double>& f,
                 std::vector<double>& first,
                 std::vector<double>& second) {
  for (std::size_t i = 0; i < f.size(); ++i) {
    const double p = sigmoid(f[i]);
    // 1 - p by its own sigmoid: near 1 the difference would lose every digit.
    const double q = sigmoid(-f[i]);
    first[i] = problem.weight[i] * (problem.y[i] != 0 ? -q : p);
    second[i] = problem.weight[i] * p * q;
  }
}

struct Solution {
  std::vector<double> w;
  double b = 0.0;
  int iterations = 0;
};

[[noreturn]] void fail(const std::string& reason) {
  throw Error(ErrorKind::kNumerical, "logistic regression: " + reason);
}

// The state both solvers share: parameters v (w or a), intercept b, predictor f, objective value.
struct State {
  std::vector<double> v, f;
  double b = 0.0;
  double objective = 0.0;
};

// Halves the step until the objective falls; the objective is convex and the direction one of
// descent, so only rounding can make it stall. False when it does.
bool take_step(State& state,
               const State& step,
               const std::function<double(const State&)>& objective) {
  double length = 1.0;
  for (int halvings = 0; halvings < 50; ++halvings, length /= 2.0) {
    State next = state;
    for (std::size_t i = 0; i < next.v.size(); ++i) next.v[i] += length * step.v[i];
    for (std::size_t i = 0; i < next.f.size(); ++i) next.f[i] += length * step.f[i];
    next.b += length * step.b;
    next.objective = objective(next);
    if (next.objective < state.objective) {
      state = std::move(next);
      return true;
    }
  }
  return false;
}

Solution solve_in_columns(const Problem& problem, const LogisticOptions& options) {
  const Matrix<double>& x = problem.x;
  const std::size_t n = x.rows();
  const std::size_t p = x.cols();
  State state{std::vector<double>(p, 0.0), std::vector<double>(n, 0.0), 0.0, 0.0};
  const auto objective = [&](const State& s) {
    return loss(problem, s.f) + 0.5 * dot(s.v.data(), s.v.data(), p);
  };
  state.objective = objective(state);
  std::vector<double> first(n), second(n), gradient(p + 1);
  double start = 0.0;
  for (int iteration = 0; iteration < options.max_iterations; ++iteration) {
    derivatives(problem, state.f, first, second);
    std::copy(state.v.begin(), state.v.end(), gradient.begin());
    gradient[p] = 0.0;
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j < p; ++j) gradient[j] += first[i] * x(i, j);
      gradient[p] += first[i];
    }
    double largest = 0.0;
    for (const double g : gradient) largest = std::max(largest, std::abs(g));
    if (iteration == 0) start = largest;
    if (largest <= options.tolerance * start) return {state.v, state.b, iteration};

    Matrix<double> hessian(p + 1, p + 1);
    for (std::size_t i = 0; i < n; ++i) {
      const auto row = x.row(i);
      for (std::size_t j = 0; j < p; ++j) {
        const double scaled = second[i] * row[j];
        double* out = hessian.row(j).data();
        for (std::size_t k = 0; k <= j; ++k) out[k] += scaled * row[k];
        hessian(p, j) += scaled;
      }
      hessian(p, p) += second[i];
    }
    for (std::size_t j = 0; j < p; ++j) hessian(j, j) += 1.0;
    if (!cholesky(hessian)) fail("the Newton matrix is not positive definite; scale the columns");
    cholesky_solve(hessian, gradient);
    State step{std::vector<double>(p), std::vector<double>(n), -gradient[p], 0.0};
    for (std::size_t j = 0; j < p; ++j) step.v[j] = -gradient[j];
    for (std::size_t i = 0; i < n; ++i) {
      step.f[i] = dot(x.row(i).data(), step.v.data(), p) + step.b;
    }
    if (!take_step(state, step, objective)) return {state.v, state.b, iteration};
  }
  fail("no convergence in " + std::to_string(options.max_iterations) + " iterations");
}

// Newton in the span of the rows. With w = X^T a, K = X X^T and D the second derivatives, the step
// solves (I + D K) da + D 1 db = -(first + a) under sum(a + da) = 0 (the condition for b).
// (I + D K)^-1 v = v - S (I + S K S)^-1 S K v with S = sqrt(D): never divides by a vanishing D.
Solution solve_in_rows(const Problem& problem, const LogisticOptions& options) {
  const Matrix<double>& x = problem.x;
  const std::size_t n = x.rows();
  Matrix<double> gram(n, n);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j <= i; ++j) {
      gram(i, j) = gram(j, i) = dot(x.row(i).data(), x.row(j).data(), x.cols());
    }
  }
  const auto times_gram = [&](const std::vector<double>& v) {
    std::vector<double> out(n);
    for (std::size_t i = 0; i < n; ++i) out[i] = dot(gram.row(i).data(), v.data(), n);
    return out;
  };
  State state{std::vector<double>(n, 0.0), std::vector<double>(n, 0.0), 0.0, 0.0};
  const auto objective = [&](const State& s) {
    double penalty = 0.0;  // a^T K a = a^T (f - b)
    for (std::size_t i = 0; i < n; ++i) penalty += s.v[i] * (s.f[i] - s.b);
    return loss(problem, s.f) + 0.5 * penalty;
  };
  const auto finish = [&](int iterations) {
    Solution out{std::vector<double>(x.cols(), 0.0), state.b, iterations};
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j < x.cols(); ++j) out.w[j] += state.v[i] * x(i, j);
    }
    return out;
  };
  state.objective = objective(state);
  std::vector<double> first(n), second(n), residual(n);
  double start = 0.0;
  for (int iteration = 0; iteration < options.max_iterations; ++iteration) {
    derivatives(problem, state.f, first, second);
    double intercept_gradient = 0.0;
    for (std::size_t i = 0; i < n; ++i) {
      residual[i] = -(first[i] + state.v[i]);
      intercept_gradient += first[i];
    }
    // |gradient in w|^2 = r^T K r.
    const std::vector<double> image = times_gram(residual);
    const double norm = std::sqrt(std::max(0.0, dot(residual.data(), image.data(), n)));
    const double largest = std::max(norm, std::abs(intercept_gradient));
    if (iteration == 0) start = largest;
    if (largest <= options.tolerance * start) return finish(iteration);

    std::vector<double> root(n);
    for (std::size_t i = 0; i < n; ++i) root[i] = std::sqrt(second[i]);
    Matrix<double> system(n, n);
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j <= i; ++j) system(i, j) = root[i] * gram(i, j) * root[j];
      system(i, i) += 1.0;
    }
    if (!cholesky(system)) fail("the Newton matrix is not positive definite; scale the columns");
    const auto apply_inverse = [&](const std::vector<double>& v, std::vector<double> gram_v) {
      for (std::size_t i = 0; i < n; ++i) gram_v[i] *= root[i];
      cholesky_solve(system, gram_v);
      for (std::size_t i = 0; i < n; ++i) gram_v[i] = v[i] - root[i] * gram_v[i];
      return gram_v;
    };
    const std::vector<double> u = apply_inverse(residual, image);
    const std::vector<double> d = apply_inverse(second, times_gram(second));
    double numerator = 0.0;
    double denominator = 0.0;
    for (std::size_t i = 0; i < n; ++i) {
      numerator += state.v[i] + u[i];
      denominator += d[i];
    }
    if (!(denominator > 0.0)) fail("every prediction is certain; scale the columns or lower C");
    State step{std::vector<double>(n), {}, numerator / denominator, 0.0};
    for (std::size_t i = 0; i < n; ++i) step.v[i] = u[i] - step.b * d[i];
    step.f = times_gram(step.v);
    for (double& f : step.f) f += step.b;
    if (!take_step(state, step, objective)) return finish(iteration);
  }
  fail("no convergence in " + std::to_string(options.max_iterations) + " iterations");
}

void check_finite(const Matrix<double>& x) {
  for (std::size_t i = 0; i < x.rows(); ++i) {
    for (std::size_t j = 0; j < x.cols(); ++j) {
      if (!std::isfinite(x(i, j))) {
        throw Error(ErrorKind::kData,
                    "logistic regression: row " + std::to_string(i + 1) + ", column " +
                        std::to_string(j + 1) + " is " + format_double(x(i, j)) +
                        ", expected a finite number");
      }
    }
  }
}

}  // namespace

void LogisticOptions::validate() const {
  if (!(c > 0.0) || !std::isfinite(c)) {
    throw Error(ErrorKind::kUsage,
                "logistic regression: C is " + format_double(c) +
                    ", expected a finite number above 0 (without a penalty "
                    "separable data have no solution)");
  }
  if (max_iterations < 1 || !(tolerance > 0.0)) {
    throw Error(ErrorKind::kUsage,
                "logistic regression: max_iterations and tolerance must be above 0");
  }
}

LogisticRegression LogisticRegression::fit(const Matrix<double>& x,
                                           std::span<const std::uint8_t> y,
                                           const LogisticOptions& options,
                                           std::span<const double> sample_weight) {
  options.validate();
  if (x.rows() != y.size() || (!sample_weight.empty() && sample_weight.size() != y.size())) {
    throw Error(ErrorKind::kUsage,
                "logistic regression: " + std::to_string(x.rows()) + " rows, " +
                    std::to_string(y.size()) + " labels and " +
                    std::to_string(sample_weight.size()) + " weights do not fit together");
  }
  check_finite(x);
  Problem problem{x, y, std::vector<double>(y.size(), 1.0)};
  double count[2] = {0.0, 0.0};
  bool usable[2] = {false, false};
  for (std::size_t i = 0; i < y.size(); ++i) {
    if (y[i] > 1) {
      throw Error(ErrorKind::kData,
                  "logistic regression: label of row " + std::to_string(i + 1) + " is " +
                      std::to_string(y[i]) + ", expected 0 or 1");
    }
    if (!sample_weight.empty()) {
      if (!(sample_weight[i] >= 0.0) || !std::isfinite(sample_weight[i])) {
        throw Error(ErrorKind::kData,
                    "logistic regression: weight of row " + std::to_string(i + 1) + " is " +
                        format_double(sample_weight[i]) + ", expected a finite number >= 0");
      }
      problem.weight[i] = sample_weight[i];
    }
    count[y[i]] += 1.0;
    usable[y[i]] = usable[y[i]] || problem.weight[i] > 0.0;
  }
  for (const int label : {0, 1}) {
    if (!usable[label]) {
      throw Error(ErrorKind::kData,
                  "logistic regression: no row of class " + std::to_string(label) +
                      ", expected both classes");
    }
  }
  for (std::size_t i = 0; i < y.size(); ++i) {
    problem.weight[i] *= options.c;
    if (options.balanced) {
      problem.weight[i] *= static_cast<double>(y.size()) / (2.0 * count[y[i]]);
    }
  }
  Solution solution =
      x.cols() > x.rows() ? solve_in_rows(problem, options) : solve_in_columns(problem, options);
  LogisticRegression out;
  out.coefficients_ = std::move(solution.w);
  out.intercept_ = solution.b;
  out.iterations_ = solution.iterations;
  return out;
}

std::vector<double> LogisticRegression::predict_proba(const Matrix<double>& x) const {
  if (x.rows() > 0 && x.cols() != coefficients_.size()) {
    throw Error(ErrorKind::kUsage,
                "logistic regression: " + std::to_string(x.cols()) + " columns, expected " +
                    std::to_string(coefficients_.size()));
  }
  check_finite(x);
  std::vector<double> out;
  for (std::size_t i = 0; i < x.rows(); ++i) {
    out.push_back(sigmoid(dot(x.row(i).data(), coefficients_.data(), x.cols()) + intercept_));
  }
  return out;
}

Json LogisticRegression::to_json() const {
  Json out;
  out["model"] = "logistic";
  out["intercept"] = intercept_;
  out["coefficients"] = coefficients_;
  out["iterations"] = iterations_;
  return out;
}

LogisticRegression LogisticRegression::from_json(const Json& json) {
  const auto refuse = [](const std::string& reason) {
    throw Error(ErrorKind::kFormat, "logistic regression model: " + reason);
  };
  if (!json.is_object() || json.value("model", Json()) != "logistic") {
    refuse("'model' is not \"logistic\"");
  }
  if (!json.contains("intercept") || !json["intercept"].is_number()) refuse("no 'intercept'");
  if (!json.contains("coefficients") || !json["coefficients"].is_array()) {
    refuse("no array 'coefficients'");
  }
  LogisticRegression out;
  out.intercept_ = json["intercept"].get<double>();
  for (const Json& value : json["coefficients"]) {
    if (!value.is_number()) refuse("a coefficient is no number");
    out.coefficients_.push_back(value.get<double>());
  }
  if (json.contains("iterations") && json["iterations"].is_number_integer()) {
    out.iterations_ = json["iterations"].get<int>();
  }
  return out;
}

}  // namespace med3d::tabular
