// Losses of a slide: what its label asks of its logits, and the gradient of that.
//
// logits     (n,) one per class, or per time interval for survival; n >= 2
// gradient   (n,) overwritten with d loss / d logits; may be empty where it is not needed
//
// Sums are in double, so that a loss does not depend on how its logits are added up.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace med3d::mil {

// What is known of a slide (or patient).
struct Target {
  int label = 0;          // class, or the interval of event or last contact; from 0
  bool censored = false;  // survival alone: no event was seen (PORPOISE's censorship 1)

  friend bool operator==(const Target&, const Target&) = default;
};

// -log softmax(logits)[label].
// Throws Error(kUsage) for a label beyond the logits.
double cross_entropy(std::span<const float> logits, int label, std::span<float> gradient);

// Smooth top-1 support vector machine with margin alpha = 1 and temperature tau = 1.
//
//   loss = log sum_j exp(x_j + [j != y] - x_y)                    smooth
//   loss = max_j (x_j + [j != y]) - x_y                           hard
//
// Hard where the best logit leads the second by at least log 1000, as the reference decides it: the
// smooth loss differs there by less than a thousandth.
//
// Source: Berrada, Zisserman, Kumar, ICLR 2018, arXiv:1802.07595 (k = 1).
// Checked against: smooth-topk as CLAM uses it (values and gradients), and by hand.
double smooth_top1_svm(std::span<const float> logits, int label, std::span<float> gradient);

// Negative log-likelihood of discrete-time survival.
//
//   h_j = sigmoid(logit_j), S_j = prod_{i <= j} (1 - h_i), S_{-1} = 1
//   uncensored: u = -log S_{y-1} - log h_y       censored: -log S_y
//   loss = (1 - alpha) (u or censored term) + alpha (u, or 0 if censored)
//
// Each factor is kept from falling below 1e-7, where its gradient is 0.
// alpha      in [0, 1): weight taken from the censored patients; PORPOISE's default is 0
//
// Source: Zadeh and Schmid, IEEE TPAMI 2021 (doi:10.1109/TPAMI.2020.2979450); PORPOISE's
// NLLSurvLoss. Checked against: that formula in PyTorch, and by hand.
double survival_nll(std::span<const float> logits,
                    const Target& target,
                    double alpha,
                    std::span<float> gradient);

// How a slide's logits are read, and what they are trained on: the one place that knows whether the
// net classifies or predicts survival.
class Head {
 public:
  virtual ~Head() = default;
  virtual std::string_view name() const = 0;
  // Throws Error(kUsage) for a target that does not fit the number of logits.
  virtual double loss(std::span<const float> logits,
                      const Target& target,
                      std::span<float> gradient) const = 0;
  // Class probabilities (they add up to 1), or the survival probability at the end of each
  // interval.
  virtual std::vector<double> probabilities(std::span<const float> logits) const = 0;
  // The class or interval of the largest logit; the first of equals.
  int predicted(std::span<const float> logits) const;
  // Higher = worse: minus the sum of survival probabilities (PORPOISE); for classes the probability
  // of the last one.
  virtual double risk(std::span<const float> logits) const = 0;
  // Whether a label is a class, so that instances can be clustered by it.
  virtual bool classifies() const = 0;
};

std::unique_ptr<Head> cross_entropy_head();
std::unique_ptr<Head> smooth_svm_head();
std::unique_ptr<Head> survival_head(double alpha);

}  // namespace med3d::mil
