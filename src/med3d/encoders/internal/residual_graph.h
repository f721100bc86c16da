// Layers of residual nets as a NetGraph, as they are before anything is folded.
#pragma once

#include <cstddef>

#include "med3d/core/net_graph.h"
#include "med3d/kernels/conv_net.h"

namespace med3d {

// The convolution and its norm (none where `norm` is empty), then ReLU if asked for; the weights
// are moved into the graph. Returns the last node.
std::size_t add_layer(
    NetGraph& graph, std::size_t from, Convolution convolution, BatchNorm norm, bool relu);

// A pooling of the same kernel, stride and padding on each axis.
std::size_t add_max_pool(NetGraph& graph, std::size_t from, const Window& window);

// ReLU(a + b).
std::size_t add_sum(NetGraph& graph, std::size_t a, std::size_t b);

// The mean over all positions, as the end of the net.
void finish_with_mean(NetGraph& graph, std::size_t from);

}  // namespace med3d
