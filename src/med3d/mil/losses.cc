#include "med3d/mil/losses.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "med3d/core/error.h"

namespace med3d::mil {
namespace {

void require(std::span<const float> logits, int label, std::span<float> gradient) {
  if (logits.size() < 2 || label < 0 || static_cast<std::size_t>(label) >= logits.size() ||
      (!gradient.empty() && gradient.size() != logits.size())) {
    throw Error(ErrorKind::kUsage,
                fmt::format("loss: label {} for {} logits, expected 0 to {}",
                            label,
                            logits.size(),
                            static_cast<std::ptrdiff_t>(logits.size()) - 1));
  }
}

std::vector<double> softmax(std::span<const double> x) {
  const double top = *std::max_element(x.begin(), x.end());
  std::vector<double> out(x.size());
  double sum = 0.0;
  for (std::size_t i = 0; i < x.size(); ++i) sum += out[i] = std::exp(x[i] - top);
  for (double& value : out) value /= sum;
  return out;
}

std::vector<double> in_double(std::span<const float> x) { return {x.begin(), x.end()}; }

double log1p_exp(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }
double sigmoid(double x) {
  return x >= 0.0 ? 1.0 / (1.0 + std::exp(-x)) : std::exp(x) / (1.0 + std::exp(x));
}

const double kHardFrom = std::log(1e3);
const double kLogFloor = std::log(1e-7);

class CrossEntropyHead : public Head {
 public:
  std::string_view name() const override { return "ce"; }
  double loss(std::span<const float> logits,
              const Target& target,
              std::span<float> gradient) const override {
    return cross_entropy(logits, target.label, gradient);
  }
  std::vector<double> probabilities(std::span<const float> logits) const override {
    return softmax(in_double(logits));
  }
  double risk(std::span<const float> logits) const override { return probabilities(logits).back(); }
  bool classifies() const override { return true; }
};

class SmoothSvmHead : public CrossEntropyHead {
 public:
  std::string_view name() const override { return "svm"; }
  double loss(std::span<const float> logits,
              const Target& target,
              std::span<float> gradient) const override {
    return smooth_top1_svm(logits, target.label, gradient);
  }
};

class SurvivalHead : public Head {
 public:
  explicit SurvivalHead(double alpha) : alpha_(alpha) {}
  std::string_view name() const override { return "nll_surv"; }
  double loss(std::span<const float> logits,
              const Target& target,
              std::span<float> gradient) const override {
    return survival_nll(logits, target, alpha_, gradient);
  }
  std::vector<double> probabilities(std::span<const float> logits) const override {
    std::vector<double> survival;
    double log_survival = 0.0;
    for (const float logit : logits) {
      log_survival -= log1p_exp(static_cast<double>(logit));  // log(1 - sigmoid(x))
      survival.push_back(std::exp(log_survival));
    }
    return survival;
  }
  double risk(std::span<const float> logits) const override {
    double sum = 0.0;
    for (const double survival : probabilities(logits)) sum += survival;
    return -sum;
  }
  bool classifies() const override { return false; }

 private:
  double alpha_;
};

}  // namespace

double cross_entropy(std::span<const float> logits, int label, std::span<float> gradient) {
  require(logits, label, gradient);
  const std::vector<double> x = in_double(logits);
  const auto y = static_cast<std::size_t>(label);
  const double top = *std::max_element(x.begin(), x.end());
  double sum = 0.0;
  for (const double value : x) sum += std::exp(value - top);
  for (std::size_t j = 0; j < gradient.size(); ++j) {
    gradient[j] = static_cast<float>(std::exp(x[j] - top) / sum - (j == y ? 1.0 : 0.0));
  }
  return top - x[y] + std::log(sum);
}

double smooth_top1_svm(std::span<const float> logits, int label, std::span<float> gradient) {
  require(logits, label, gradient);
  std::vector<double> x = in_double(logits);
  const auto y = static_cast<std::size_t>(label);
  double best = -HUGE_VAL, second = -HUGE_VAL;
  for (const double value : x) {
    second = std::max(second, std::min(best, value));
    best = std::max(best, value);
  }
  const bool hard = best - second >= kHardFrom;
  for (std::size_t j = 0; j < x.size(); ++j) x[j] += j == y ? 0.0 : 1.0;
  const double own = x[y];
  if (hard) {
    const auto top = static_cast<std::size_t>(std::max_element(x.begin(), x.end()) - x.begin());
    for (std::size_t j = 0; j < gradient.size(); ++j) {
      gradient[j] = (j == top ? 1.0F : 0.0F) - (j == y ? 1.0F : 0.0F);
    }
    return x[top] - own;
  }
  const std::vector<double> share = softmax(x);
  for (std::size_t j = 0; j < gradient.size(); ++j) {
    gradient[j] = static_cast<float>(share[j] - (j == y ? 1.0 : 0.0));
  }
  const double top = *std::max_element(x.begin(), x.end());
  double sum = 0.0;
  for (const double value : x) sum += std::exp(value - top);
  return top - own + std::log(sum);
}

double survival_nll(std::span<const float> logits,
                    const Target& target,
                    double alpha,
                    std::span<float> gradient) {
  require(logits, target.label, gradient);
  const auto y = static_cast<std::size_t>(target.label);
  std::vector<double> slope(logits.size(), 0.0);
  // -weight * max(log S over the first n intervals, log 1e-7), its slope added.
  const auto survived = [&](std::size_t n, double weight) {
    double log_survival = 0.0;
    for (std::size_t j = 0; j < n; ++j) log_survival -= log1p_exp(static_cast<double>(logits[j]));
    if (log_survival < kLogFloor) return -weight * kLogFloor;
    for (std::size_t j = 0; j < n; ++j)
      slope[j] += weight * sigmoid(static_cast<double>(logits[j]));
    return -weight * log_survival;
  };
  double loss = 0.0;
  if (target.censored) {
    loss = survived(y + 1, 1.0 - alpha);
  } else {
    loss = survived(y, 1.0);
    const double log_hazard = -log1p_exp(-static_cast<double>(logits[y]));
    if (log_hazard < kLogFloor) {
      loss -= kLogFloor;
    } else {
      loss -= log_hazard;
      slope[y] += sigmoid(static_cast<double>(logits[y])) - 1.0;
    }
  }
  for (std::size_t j = 0; j < gradient.size(); ++j) gradient[j] = static_cast<float>(slope[j]);
  return loss;
}

int Head::predicted(std::span<const float> logits) const {
  return static_cast<int>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

std::unique_ptr<Head> cross_entropy_head() { return std::make_unique<CrossEntropyHead>(); }
std::unique_ptr<Head> smooth_svm_head() { return std::make_unique<SmoothSvmHead>(); }
std::unique_ptr<Head> survival_head(double alpha) {
  if (!(alpha >= 0.0 && alpha < 1.0)) {
    throw Error(ErrorKind::kUsage, fmt::format("alpha_surv is {}, expected 0 to below 1", alpha));
  }
  return std::make_unique<SurvivalHead>(alpha);
}

}  // namespace med3d::mil
