// Checks of hidden layers that the models' options share.
#pragma once

#include <cstddef>
#include <vector>

namespace med3d::nn {

// At least one hidden layer, widths in [1, 65536], one dropout in [0, 1) for each. `model` begins
// the message. Throws Error(kUsage).
void check_layers(const char* model,
                  const std::vector<int>& hidden,
                  const std::vector<double>& dropout);

// Batch norm needs batches of two rows. Throws Error(kUsage).
void check_batch_norm(const char* model, bool batch_norm, int batch_size);

// modality_dropout has no meaning outside FusionNet. Throws Error(kUsage).
void refuse_modality_dropout(const char* model, double modality_dropout);

// 1 <= layer <= layers. Throws Error(kUsage).
void check_layer(const char* model, int layer, std::size_t layers, int first = 1);

}  // namespace med3d::nn
