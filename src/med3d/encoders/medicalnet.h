// MedicalNet's three-dimensional residual nets, as a design that can be varied.
//
// Chen et al., "Med3D: Transfer Learning for 3D Medical Image Analysis", arXiv:1904.00625. Stem of
// 7 x 7 x 7 with stride 2 and a max pooling of 3 with stride 2; four groups of residual blocks of
// width, 2 width, 4 width, 8 width; the mean over all positions. In the original the second group
// has stride 2, and the third and fourth stride 1 with dilation 2 and 4: an eighth of the extent is
// left. MONAI's version has stride 2 in all three and no dilation: a thirty-second is left. The
// same weights fit both and give different embeddings.
//
// MONAI: stem stride 2 as in its ResNetFeatures; the bare ResNet class leaves it at 1 unless told
// conv1_t_stride=2. With bias_downsample=True, which MONAI's loader sets for none of MedicalNet's
// weights, the convolutions of shortcut B have a bias: it is taken where a file holds it.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>

#include "med3d/core/net_graph.h"
#include "med3d/encoders/volume_encoder.h"
#include "med3d/encoders/weights.h"

namespace med3d {

struct MedicalNetDesign {
  std::array<int, 4> blocks = {2, 2, 2, 2};
  bool bottleneck = false;           // blocks of 1, 3, 1 with four times the channels at their end
  Shortcut shortcut = Shortcut::kA;  // not kPublished
  bool dilated = true;               // false: MONAI's strides
  std::int64_t width = 64;

  std::int64_t embedding_dim() const { return 8 * width * (bottleneck ? 4 : 1); }
};

// Depth 10, 18, 34 or 50 with the shortcut of the published weights: A for 18 and 34, B for 10
// and 50.
MedicalNetDesign medicalnet_design(int depth, bool dilated);

// weights   names as MedicalNet has them, without "module."; conv_seg.* and fc.* are left out
// name      of the encoder, for messages
// Throws as VolumeEncoderSpec::load. Tensors of shortcut B where the design has A, or the other way
// round, are an Error(kData) that names them.
std::unique_ptr<VolumeEncoder> make_medicalnet(const MedicalNetDesign& design,
                                               Weights weights,
                                               std::string_view name,
                                               const VolumeEncoderOptions& options);

// The same net as data, with nothing folded and shortcut A as what it is. Throws as
// make_medicalnet.
NetGraph medicalnet_graph(const MedicalNetDesign& design,
                          Weights weights,
                          std::string_view name,
                          const VolumeEncoderOptions& options);

// Uniform numbers of He et al.'s variance by fan-out (ICCV 2015), batch norm the identity.
Weights untrained_medicalnet_weights(const MedicalNetDesign& design, std::uint64_t seed);

}  // namespace med3d
