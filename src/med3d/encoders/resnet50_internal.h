// ResNet-50 up to any of its stages, for tests and benchmarks.
#pragma once

#include <cstdint>
#include <filesystem>

#include "med3d/kernels/conv_net.h"

namespace med3d {

// Where the net ends: after the ReLU of the stem, after a group of blocks, or with the mean over
// all positions of the third group (the embedding).
enum class Resnet50End { kStem, kLayer1, kLayer2, kLayer3, kEmbedding };

// weights   as EncoderSpec::load takes them
// input_px  side of the tile
ConvNet resnet50_net(const std::filesystem::path& weights,
                     const ConvNetOptions& options,
                     Resnet50End end,
                     std::int64_t input_px);

// The same with seeded weights: He et al.'s normal numbers by fan-out, batch norm the identity.
ConvNet resnet50_untrained_net(std::uint64_t seed,
                               const ConvNetOptions& options,
                               Resnet50End end,
                               std::int64_t input_px);

}  // namespace med3d
