// Convolutional nets for inference: layers are named once, then built into kernels that share one
// piece of memory.
//
//   ConvNet net = ConvNet::for_rgb8({224, 224}, mean, stddev, options);
//   auto x = net.convolution(ConvNet::kInput, stem);
//   x = net.max_pool(x, Window::same(2, 3, 2, 1));
//   ...
//   net.build(net.global_mean(x));
//   net.run_rgb8(tiles, embeddings);
//
// Nets have two axes (tiles) or three (volumes). Weights are brought into the layout of the kernels
// once; activations stay in the kernels' own layout from the first layer to the last, and those
// that no longer live give their place to later ones.
//
// One sample at a time goes through the whole net: its activations then stay in the cache, which on
// ResNet-50 gained more than larger batches do, and the same sample gives the same bits whatever
// else is in the call. Several samples are computed beside each other (lanes), each on one thread,
// so the bits do not depend on the number of lanes either.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "med3d/kernels/cpu.h"

namespace med3d {

struct ConvNetOptions {
  Arithmetic arithmetic = Arithmetic::kF32;
  int lanes = 1;    // samples computed at the same time; memory for activations grows with it
  int threads = 1;  // of each lane; more than one only with a single lane (large volumes)

  void validate() const;  // Throws Error(kUsage)
};

// Where a convolution or pooling looks: one number for each axis, depth first.
struct Window {
  std::vector<std::int64_t> kernel;
  std::vector<std::int64_t> stride;
  std::vector<std::int64_t> padding;   // on both sides
  std::vector<std::int64_t> dilation;  // 1 = neighbours touch

  // The same numbers for each of `axes` axes.
  static Window same(std::size_t axes,
                     std::int64_t kernel,
                     std::int64_t stride = 1,
                     std::int64_t padding = 0,
                     std::int64_t dilation = 1);
};

// y = relu?(conv(x, weight) + bias [+ residual]); padding is zero.
struct Convolution {
  std::string name;  // for messages
  std::int64_t out_channels = 0;
  Window window;
  std::vector<float> weight;  // (out_channels, in_channels, kernel...)
  std::vector<float> bias;    // (out_channels,)
  bool relu = false;
};

// Batch normalisation at inference, y = gamma (x - mean) / sqrt(variance + epsilon) + beta.
struct BatchNorm {
  std::vector<float> gamma, beta, mean, variance;  // (channels,) each; variance >= 0
  double epsilon = 1e-5;
};

// The convolution whose output is that of `layer` followed by `norm`: computed in double, rounded
// once. Throws Error(kUsage) if sizes differ, Error(kData) for a negative variance.
void fold(const BatchNorm& norm, Convolution& layer);

// Not safe for two threads at once.
class ConvNet {
 public:
  using Node = std::size_t;
  static constexpr Node kInput = 0;

  // channels   of the input
  // extent     of the input: (height, width) or (depth, height, width)
  // Throws Error(kUsage) for other numbers of axes and sizes below 1.
  ConvNet(std::int64_t channels, std::vector<std::int64_t> extent, const ConvNetOptions& options);

  // A net on 8-bit RGB, whose input is (p / 255 - mean) / stddev of each channel, as torchvision's
  // ToTensor and Normalize round it in f32. In bf16 that input would lose up to half a grey level:
  // the first convolutions take p - round(255 mean) instead, which bf16 holds exactly, with the
  // rest of the normalisation in their weights; a fourth channel of ones carries what is left of
  // the mean, so that padding stays zero after normalisation. Only convolutions may then read the
  // input.
  //
  // extent   (height, width)
  static ConvNet for_rgb8(std::vector<std::int64_t> extent,
                          const std::array<float, 3>& mean,
                          const std::array<float, 3>& stddev,
                          const ConvNetOptions& options);

  ~ConvNet();
  ConvNet(ConvNet&&) noexcept;
  ConvNet& operator=(ConvNet&&) noexcept;

  // Each adds a layer after node `from` and returns its node. Throw Error(kUsage) naming the layer
  // if shapes do not fit.
  Node convolution(Node from, Convolution layer);
  // `residual` has the shape of the result; it is added before the ReLU.
  Node convolution_add(Node from, Convolution layer, Node residual);
  Node max_pool(Node from, const Window& window);
  // The mean of the voxels inside the image (count_include_pad = false in torch).
  Node mean_pool(Node from, const Window& window);
  // (channels,) means over all positions, in f32. Only as the last layer.
  Node global_mean(Node from);

  // Chooses kernels and layouts, places weights and activations. Layers cannot be added afterwards.
  //
  // In int8 (two axes only) a convolution multiplies 8-bit activations, unsigned behind a ReLU,
  // with 8-bit weights that have a scale for each output channel, and adds in 32 bits; scales,
  // biases and residual sums are f32, and each result is rounded once. Convolutions that read the
  // input stay in f32.
  //
  // output   the node whose value run() gives
  // largest  of an int8 net, the largest magnitude of each node: largest_values() of the same net
  // in
  //          f32; what lies above is cut off
  // Throws Error(kUsage) for a node that is not there or a second call, Error(kUnsupported) where
  // no kernel of this processor computes a layer.
  void build(Node output, std::span<const float> largest = {});

  // The largest magnitude that each node takes on these tiles, 0 for nodes that are not computed:
  // the calibration of an int8 net. Only of an f32 net made by for_rgb8.
  std::vector<float> largest_values(std::span<const std::uint8_t> pixels);

  // The same net for inputs of another size, after build(): weights stay as they are, kernels and
  // activations are made anew. The memory of the old activations is given back first.
  //
  // Throws Error(kUsage) before build() and for sizes that a layer cannot take, and leaves the net
  // as it was; where memory or a kernel is missing it throws too, and the net can only be resized.
  void resize(std::vector<std::int64_t> extent);

  // Values of one sample's output: channels, or channels * extent.
  std::size_t output_size() const;
  std::vector<std::int64_t> output_shape() const;  // (channels,) or (channels, extent...)

  // Of a net made by for_rgb8.
  //
  // pixels   (n, height, width, 3)
  // output   (n, output_size()), channels first
  void run_rgb8(std::span<const std::uint8_t> pixels, std::span<float> output);

  // samples   (n, channels, extent...)
  // output    (n, output_size())
  // averaged  (n, averaged_shape()), or empty: of a net whose output is a global mean, what that
  //           is the mean of
  // Not for a bf16 net made by for_rgb8.
  void run(std::span<const float> samples, std::span<float> output, std::span<float> averaged = {});

  // (channels, extent...) before the global mean; empty where the net does not end in one.
  std::vector<std::int64_t> averaged_shape() const;

  // Multiplications and additions of the convolutions for one sample, padding counted as if it were
  // data.
  double operations() const;

  // Bytes held: weights, and activations of all lanes. Nothing more is taken by run().
  std::size_t bytes() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace med3d
