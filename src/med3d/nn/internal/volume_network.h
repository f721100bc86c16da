// A three-dimensional residual net with one logit, and its training steps: MedicalNet's design
// (encoders/medicalnet.h) and tensor names, so that what is trained here is read there.
//
// Stem of 7 x 7 x 7 with stride 2, batch norm, ReLU, max pooling of 3 with stride 2; four groups of
// residual blocks; the mean over positions is the embedding; dropout; fc to one logit. Names,
// shapes and random numbers are made here, forward and backward are LibTorch operators on the other
// side of internal/torch_interface.h (torch_volume.cc), without autograd, on the CPU.
//
// Checked against: autograd on the same layers, MedicalNet's encoder of this program.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "med3d/nn/parameters.h"
#include "med3d/nn/volume_classifier.h"

namespace med3d::nn {

class VolumeNetwork {
 public:
  // Convolutions as encoders' untrained weights (He et al. by fan-out), batch norm the identity,
  // the head as PyTorch's Linear.
  VolumeNetwork(const VolumeNetDesign& design, std::uint64_t seed);
  ~VolumeNetwork();
  VolumeNetwork(VolumeNetwork&&) noexcept;
  VolumeNetwork& operator=(VolumeNetwork&&) noexcept;

  const VolumeNetDesign& design() const;

  // Training mode. voxels (n, extent) must live until backward(); mask (n, embedding) the dropout
  // factors of the head, or empty. n >= 2. Gives (n,) logits.
  std::vector<float> forward(std::span<const float> voxels,
                             const VolumeShape& extent,
                             std::span<const float> mask,
                             int threads);
  // Gradients of all parameters for the last forward(). gradient (n,)
  void backward(std::span<const float> gradient, int threads);
  // One step of Adam, or of AdamW if `decoupled`; the encoder's learning rate times its factor.
  void step(double learning_rate, double encoder_factor, double weight_decay, bool decoupled);

  struct Outputs {
    std::vector<float> logits;      // (n,)
    std::vector<float> embeddings;  // (n, embedding)
  };
  Outputs evaluate(std::span<const float> voxels, const VolumeShape& extent, int threads) const;

  Parameters parameters() const;
  Parameters gradients() const;  // running statistics left out
  // Tensors of the encoder, and of the head where `fc.weight` is among them. Anything that has no
  // place here is refused, MedicalNet's `conv_seg.*` apart.
  // Throws Error(kFormat | kData).
  void load(const Parameters& parameters);

  std::vector<float> state() const;  // all parameters, then all running statistics
  void set_state(std::span<const float> state);
  // Both of Adam's moments, and the number of steps they have seen.
  std::vector<float> moments(std::int64_t& steps) const;
  void set_moments(std::span<const float> moments, std::int64_t steps);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace med3d::nn
