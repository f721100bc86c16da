// The paper's net for CT and MRI: a patient is a bag of scans, each an embedding; every scan gets a
// logit, and the patient's logit is pooled from those.
//
//   h_i = trunk(x_i): [Linear -> ReLU -> Dropout] 512-256-128        s_i = w . h_i + b
//
//   kMax        z = max_i s_i                    (the paper, 5.2.4 and 5.2.5)
//   kMean       z = mean_i s_i
//   kNoisyOr    P = 1 - prod_i (1 - sigmoid(s_i))
//   kAttention  z = sum_i a_i s_i, a = softmax_i of the gated attention score of h_i
//               (Ilse et al., ICML 2018, arXiv:1802.04712; the head is linear and sum a_i = 1, so
//               this equals the head of the attention-pooled embedding sum a_i h_i)
//
// and P = sigmoid(z) but for kNoisyOr. Trained end to end by binary cross-entropy on bags.
//
// Source: the paper, 5.2.2-5.2.5.
// Checked against: hand values, autograd for the network, central differences for each pooling.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "med3d/core/matrix.h"
#include "med3d/nn/parameters.h"
#include "med3d/nn/training.h"

namespace med3d::nn {

// instances         (n_instances, inputs) finite
// bag_of_instance   (n_instances,) 0-based number of the patient; in any order, and no number
//                   between 0 and the largest is left out
struct Bags {
  Matrix<float> instances;
  std::vector<std::size_t> bag_of_instance;
};

enum class Pool { kMax, kMean, kNoisyOr, kAttention };

struct BagOptions {
  // 512-256-128 without batch norm, as printed (paper 5.2.4): bags of one or two scans make batch
  // statistics noisy. Dropout is not mentioned there.
  std::vector<int> hidden = {256, 128};
  std::vector<double> dropout = {0.0, 0.0};
  bool batch_norm = false;
  // "A max-pooling operation across scans" (paper 5.2.4).
  Pool pool = Pool::kMax;
  // Width of V and U in gated attention; read for kAttention alone. Half the embedding.
  int attention = 64;
  // BCE with pos_weight, weighted sampler, noise, fixed learning rate, 70 epochs, early stopping on
  // validation loss (paper 5.2.2, 5.2.4). The default therefore needs a validation set.
  TrainingOptions training = default_training();

  static TrainingOptions default_training();

  // Throws Error(kUsage).
  void validate() const;
};

class BagClassifier {
 public:
  // y (n_bags,) in {0, 1}. Throws Error(kUsage | kData | kUnsupported | kNumerical).
  static BagClassifier fit(const Bags& bags,
                           std::span<const std::uint8_t> y,
                           const BagOptions& options,
                           const Bags* bags_val = nullptr,
                           std::span<const std::uint8_t> y_val = {});

  // All of these are safe from several threads at once.
  std::vector<double> predict(const Bags& bags) const;          // (n_bags,) P(positive)
  std::vector<double> instance_scores(const Bags& bags) const;  // (n_instances,) sigmoid(s_i)
  // (n_instances,) a_i, summing to 1 in each bag. Throws Error(kUsage) for another pooling.
  std::vector<double> attention_weights(const Bags& bags) const;
  // (n_bags, hidden.back()): the last hidden layer of the instance with the largest logit (kMax;
  // the first of equals), its mean over instances (kMean, kNoisyOr) or the attention-weighted mean.
  Matrix<float> embed(const Bags& bags) const;

  const LearningCurve& curve() const;
  std::size_t inputs() const;

  // fc1.weight (256, 512), fc1.bias, fc2.*, out.*; with kAttention also attention_V.*,
  // attention_U.*, attention_w.*.
  Parameters parameters() const;
  // The same predictions, bit for bit; reads layers, batch norm, pooling and device of the options.
  static BagClassifier from_parameters(const BagOptions& options,
                                       std::size_t inputs,
                                       const Parameters& parameters);

  ~BagClassifier();
  BagClassifier(BagClassifier&&) noexcept;
  BagClassifier& operator=(BagClassifier&&) noexcept;

 private:
  struct Impl;
  explicit BagClassifier(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace med3d::nn
