// How a network is trained: one set of options for every model of this module.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "med3d/nn/device.h"

namespace med3d::nn {

struct TrainingOptions {
  // Passes over the training set. 50 for the clinical net, 70 for the scan net
  // (paper 5.1.3, 5.2.4).
  int epochs = 50;
  // Items (patients) in one step; a last batch of one item is merged into the one before it. The
  // paper does not say; 32 is the usual size for cohorts of hundreds.
  int batch_size = 32;
  // Adam's first learning rate. The paper names Adam but no value; 1e-3 is Adam's own default
  // (Kingma and Ba, arXiv:1412.6980).
  double learning_rate = 1e-3;
  // L2 penalty added to the gradient (torch.optim.Adam's weight_decay). "Adam with weight decay"
  // (paper 5.1.3), value not given.
  double weight_decay = 1e-4;

  // How the learning rate changes between epochs. "Adam ... and learning rate scheduler" (paper
  // 5.1.3), kind not given: the plateau rule needs no schedule length. "A fixed learning rate" for
  // the scan net (5.2.4) is kNone.
  enum class Scheduler {
    kNone,
    kPlateau,  // x 0.5 after more than 5 epochs in a row without a relative gain of 1e-4 in
               // validation loss (training loss without validation): torch ReduceLROnPlateau
    kStep,     // x 0.1 every 30 epochs: torch StepLR
    kCosine,   // to 0 along half a cosine over all epochs: torch CosineAnnealingLR
  };
  Scheduler scheduler = Scheduler::kPlateau;

  enum class Loss {
    // Two logits; softmax cross-entropy, with class weights n / (2 n_c) where class_weights is
    // set: torch CrossEntropyLoss(weight, label_smoothing). "Weighted CrossEntropyLoss" (5.1.3).
    kWeightedCrossEntropy,
    // One logit; torch BCEWithLogitsLoss with pos_weight = n_negative / n_positive where
    // class_weights is set (5.2.4).
    kBce,
  };
  Loss loss = Loss::kWeightedCrossEntropy;
  // Weight classes against their imbalance. On, as in the paper; turn it off after oversampling,
  // which has balanced them already.
  bool class_weights = true;
  // Share of each label spread evenly over both classes, in [0, 1). 0; the fusion stage's baselines
  // use label smoothing (paper 5.4.1, value not given, 0.1 is usual: arXiv:1512.00567).
  double label_smoothing = 0.0;

  enum class Sampler {
    kShuffle,   // each item once an epoch, in a new order
    kWeighted,  // n items an epoch with replacement, weights N / n_class: each class has half of
                // them in expectation (torch WeightedRandomSampler; paper 5.2.4)
  };
  Sampler sampler = Sampler::kShuffle;

  // Standard deviation of Gaussian noise added to each feature of each training batch, as a
  // multiple of that feature's standard deviation in the training set. 0; the scan net uses noise
  // (paper 5.2.2, size not given, 0.05 chosen). Not added to values of absent modalities.
  double feature_noise = 0.0;

  // Stop after so many epochs without a better one; 0 = never. Better: lower validation loss, or
  // with Select::kBestBalancedAccuracy what that says. Needs a validation set. The paper stops
  // early for the scan net (5.2.4) with no patience given; 10 there.
  int early_stopping_patience = 0;

  // Which epoch's network is kept.
  enum class Select {
    kLast,
    kBestLoss,              // lowest validation loss; the earlier of equals
    kBestBalancedAccuracy,  // highest balanced accuracy in validation at P >= 0.5 (paper 5.4.1);
                            // equal: the lower validation loss, then the earlier epoch
  };
  Select select = Select::kLast;

  // FusionNet alone: the probability with which each present modality of a training row is hidden
  // (never all of them), in [0, 1). 0; the other nets refuse anything else.
  double modality_dropout = 0.0;

  // Everything random in a fit comes from it: same seed, same bits, whatever runs beside it.
  std::uint64_t seed = 0;

  // Nets this small are faster on a CPU core than on a GPU, where each of some 40 operators a step
  // waits for its launch; kCuda is for wide inputs.
  DeviceKind device = DeviceKind::kCpu;

  // Throws Error(kUsage) naming the field, its value and what is allowed.
  void validate() const;
};

// What happened in each epoch that was run. Validation vectors are empty without a validation set.
// Losses are those of the options (weighted, smoothed), without weight decay. Training values are
// means over the epoch's batches, in training mode and while the weights move, weighted by their
// items; validation values are of the network at the end of the epoch. Accuracy counts P >= 0.5 as
// positive. Balanced accuracy is NaN where validation holds one class only.
struct LearningCurve {
  std::vector<double> training_loss;
  std::vector<double> training_accuracy;
  std::vector<double> validation_loss;
  std::vector<double> validation_accuracy;
  std::vector<double> validation_balanced_accuracy;
  std::vector<double> learning_rate;  // in force during the epoch
  int best_epoch = -1;                // 0-based: the epoch whose network was kept
  bool stopped_early = false;
};

}  // namespace med3d::nn
