// A classifier of scans: a three-dimensional residual net trained end to end, from weights that
// were trained before or from seeded ones.
//
//   z = w . mean_positions(encoder(volume)) + b        P = sigmoid(z)
//
// Use it where a few hundred labelled volumes are at hand. With fewer, a model on the frozen
// encoder's vectors (bag_classifier.h) has less to learn and is the better start.
//
// Trained by binary cross-entropy with Adam or AdamW; classes are balanced by pos_weight or by the
// sampler. Everything random is drawn from the seed and the number of the epoch, so that training
// that was stopped goes on to the same bits. Sums in the convolutions are split over threads:
// another number of threads gives other rounding, and with it another net.
//
// Source: Chen et al., Med3D, arXiv:1904.00625 (the net); Loshchilov and Hutter, ICLR 2019,
// arXiv:1711.05101 (AdamW).
// Checked against: autograd of LibTorch, the encoder of encoders/medicalnet.h.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "med3d/nn/parameters.h"

namespace med3d::nn {

using VolumeShape = std::array<std::int64_t, 3>;  // depth, height, width

struct VolumeNetDesign {
  std::array<int, 4> blocks = {2, 2, 2, 2};
  bool bottleneck = false;  // blocks of 1, 3, 1 with four times the channels at their end
  bool projection = false;  // shortcut B, a convolution with batch norm; A otherwise
  bool dilated = true;      // MedicalNet; false: strides in all groups, as MONAI
  std::int64_t width = 64;  // channels of the stem

  std::int64_t embedding_dim() const { return 8 * width * (bottleneck ? 4 : 1); }
  // Throws Error(kUsage).
  void validate() const;
};

// The scans of one side. read(i, out) writes volume i, normalised, into out (depth, height, width);
// it may be called again and again, on one thread.
struct VolumeSet {
  VolumeShape extent{};
  std::size_t size = 0;
  std::function<void(std::size_t i, std::span<float> out)> read;
};

struct VolumeTrainingOptions {
  int epochs = 30;
  int batch_size =
      16;  // what a batch norm needs at least; a last batch of one joins the one before
  double learning_rate = 1e-3;  // Adam's own default; 1e-4 is usual on trained weights
  // The encoder's learning rate as a multiple, in [0, 1]: below 1 to keep trained weights near.
  // 0 leaves its weights alone (not the running statistics of its batch norms).
  double encoder_factor = 1.0;
  double weight_decay = 1e-2;     // torch's default for AdamW
  bool decoupled = true;          // AdamW; false: Adam with the decay in the gradient
  bool cosine = true;             // rate to 0 along half a cosine over all epochs; false: constant
  bool class_weights = true;      // pos_weight = n_negative / n_positive
  bool weighted_sampler = false;  // both classes equally often instead; turn class_weights off then
  double label_smoothing = 0.0;   // in [0, 1)
  double dropout = 0.2;           // of the embedding, in [0, 1)
  // Augmentation of training volumes, drawn anew in each epoch.
  std::array<bool, 3> flip = {
      true, true, true};   // along depth, height, width, each with chance 1/2
  int shift = 2;           // voxels along each axis, uniform in [-shift, shift]; edges repeat
  double intensity = 0.1;  // v (1 + a) + b, a and b uniform in [-intensity, intensity]
  // Epochs without a higher AUROC in validation before training stops; 0 = never.
  int patience = 10;
  std::uint64_t seed = 0;
  int threads = 1;

  // Throws Error(kUsage) naming the field.
  void validate() const;
};

struct VolumeEpoch {
  double learning_rate = 0.0;
  double training_loss = 0.0;    // mean over the epoch's volumes, while the weights move
  double validation_loss = 0.0;  // weighted as the training's, not smoothed otherwise
  double validation_auroc =
      0.0;  // what chooses the epoch: higher, then the lower loss, the earlier
};

// All that the next epoch needs.
struct VolumeTrainingState {
  std::vector<VolumeEpoch> history;
  int best_epoch = -1;  // 0-based
  bool finished = false;
  std::int64_t steps = 0;
  std::vector<float> state;       // parameters and running statistics as they are
  std::vector<float> moments;     // of Adam
  std::vector<float> best_state;  // of the best epoch
};

class VolumeClassifier {
 public:
  // training_y, validation_y  (size,) 0 or 1, both classes in each
  // initial   tensors of an encoder by MedicalNet's names, with or without a head (fc.*); empty:
  //           seeded
  // resume    a state that on_epoch was given by training of the same arguments
  // on_epoch  called after every epoch; what it throws ends training
  //
  // Cost: some 3 times the arithmetic of an embedding for each volume and epoch; memory of a
  // batch's activations. Throws Error(kUsage | kData | kFormat), kNumerical if the loss leaves the
  // reals.
  static VolumeClassifier fit(const VolumeNetDesign& design,
                              const VolumeSet& training,
                              std::span<const std::uint8_t> training_y,
                              const VolumeSet& validation,
                              std::span<const std::uint8_t> validation_y,
                              const VolumeTrainingOptions& options,
                              const Parameters& initial = {},
                              const VolumeTrainingState* resume = nullptr,
                              const std::function<void(const VolumeTrainingState&)>& on_epoch = {});

  static VolumeClassifier from_parameters(const VolumeNetDesign& design,
                                          const Parameters& parameters);

  struct Outputs {
    std::vector<double> probability;            // (n,)
    std::vector<double> logit;                  // (n,)
    std::vector<std::vector<float>> embedding;  // (n,) of embedding_dim
  };
  Outputs predict(const VolumeSet& volumes, int threads = 1) const;

  Parameters parameters() const;  // MedicalNet's names, and fc.weight (1, embedding), fc.bias (1)
  const std::vector<VolumeEpoch>& history() const;
  int best_epoch() const;
  const VolumeNetDesign& design() const;

  ~VolumeClassifier();
  VolumeClassifier(VolumeClassifier&&) noexcept;
  VolumeClassifier& operator=(VolumeClassifier&&) noexcept;

 private:
  struct Impl;
  explicit VolumeClassifier(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace med3d::nn
