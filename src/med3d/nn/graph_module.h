// A net given as data (core/net_graph.h), computed by LibTorch: the reference for the encoders that
// med3d computes itself, and their path to a GPU.
//
//   GraphModule module(graph, {.device = DeviceKind::kCuda, .pixels = normalisation});
//   module.submit(first);
//   module.submit(second);          // copied while the first is computed
//   module.collect();               // of the first
//
// On the processor it is LibTorch's eager net with nothing folded: slower than our own kernels, and
// independent of them. On CUDA activations lie channels last, batch norms are folded into the
// convolutions, weights and activations are converted once to bf16 where that is asked for (no
// autocast), products of f32 are not rounded to TF32, and each batch in flight has a stream and
// pinned memory of its own, so that copies run beside the computation.
//
// CUDA: was compiled, and not run where no device was at hand (docs/performance.md).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "med3d/core/matrix.h"
#include "med3d/core/net_graph.h"
#include "med3d/nn/device.h"

namespace med3d::nn {

// (p / 255 - mean) / stddev of each channel of 8-bit RGB.
struct PixelNormalisation {
  std::array<float, 3> mean{};
  std::array<float, 3> stddev{};
};

struct GraphOptions {
  DeviceKind device = DeviceKind::kCpu;
  bool bf16 = false;
  int threads = 1;  // on the processor; CUDA does not read it
  // Batch norms become part of the convolutions before them: faster, and no longer the net as
  // drawn. On CUDA and in bf16 always.
  bool fold_norms = false;
  // Of a net on tiles; without it the net takes floats.
  std::optional<PixelNormalisation> pixels;
};

struct GraphOutput {
  Matrix<float> values;                      // (n, embedding_dim)
  std::vector<std::int64_t> averaged_shape;  // (n, channels, extent...) where it was asked for
  std::vector<float> averaged;
  double operations = 0.0;  // multiplications and additions of the batch, padding counted as data
  double waited_s = 0.0;    // wall, that collect() stood still for the device; 0 on the processor
};

// Not safe for two threads at once.
class GraphModule {
 public:
  static constexpr int kInFlight = 2;

  // Throws Error(kUsage) for threads below 1 and as NetGraph::validate, kUnsupported if CUDA is
  // asked for and not there, and what device.h says where LibTorch is missing.
  GraphModule(const NetGraph& graph, const GraphOptions& options);
  ~GraphModule();
  GraphModule(GraphModule&&) noexcept;
  GraphModule& operator=(GraphModule&&) noexcept;

  const Device& device() const;

  // Starts a batch; the input may change once this has returned. On the processor the work is done
  // here.
  //
  // rgb      (n, height, width, 3)
  // samples  (n, channels, extent...)
  // Throws Error(kUsage) for sizes that do not fit, the other kind of net, or more than kInFlight
  // batches; kIo with LibTorch's message where shapes do not fit the net.
  void submit(std::span<const std::uint8_t> rgb, std::int64_t height, std::int64_t width);
  void submit(std::span<const float> samples,
              std::span<const std::int64_t> shape,
              bool with_averaged = false);

  // The oldest batch in flight. Throws Error(kUsage) if there is none.
  GraphOutput collect();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace med3d::nn
