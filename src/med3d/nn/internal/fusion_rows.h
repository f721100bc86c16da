// From modality blocks and masks to the rows of one dense network.
//
// kConcat is that by definition. kMean is one linear layer without bias, too: with
// c_k = m_k / (sum m + 1e-6),
//
//   sum_k c_k (W_k x_k + b_k) = [W_1 ... W_K  b_1 ... b_K] [c_1 x_1, ..., c_K x_K, c_1, ..., c_K]
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "med3d/nn/fusion_net.h"
#include "med3d/nn/internal/random_stream.h"
#include "med3d/nn/parameters.h"

namespace med3d::nn {

struct Standardise {
  std::vector<float> mean;   // (d_k,) over training rows that have the block
  std::vector<float> scale;  // (d_k,) standard deviation; 1 where the feature is constant
};

// Throws Error(kData) unless sizes agree, every row has a modality, and present values are finite.
void check_fusion_input(const FusionInput& input,
                        const std::vector<std::size_t>& block_inputs,
                        const char* what);

// Throws Error(kData) for a block that no row has.
std::vector<Standardise> standardise_blocks(const FusionInput& input);

// As tensors standardise1.mean, standardise1.scale, ... and back. Reading throws Error(kFormat |
// kData) if one is missing, of another shape or not finite, or a scale is not above 0.
Parameters standardise_parameters(const std::vector<Standardise>& standardise);
std::vector<Standardise> read_standardise(const Parameters& parameters,
                                          const std::vector<std::size_t>& block_inputs);

// One row of the network's input, sum d_k + K wide, under mask m (K,). Noise, where `random` is
// given, has noise_sd standard deviations of the standardised feature.
void fusion_row(const FusionInput& input,
                const std::vector<Standardise>& standardise,
                FusionMode mode,
                std::size_t row,
                std::span<const std::uint8_t> mask,
                float noise_sd,
                RandomStream* random,
                float* out);

// Hides each set bit with probability p, never all.
void drop_modalities(std::span<std::uint8_t> mask, double p, RandomStream& random);

}  // namespace med3d::nn
