// An encoder of the user's own, exported from PyTorch by torch.jit.script or torch.jit.trace.
//
// When not to use it: such a file is a program. LibTorch runs the code in it, at loading
// (`__setstate__`) and at every forward(), with the rights of this process: TorchScript has
// operators that write files (torch.save). Load only what you made yourself or would run. For the
// weights of a known network use safetensors, which is data.
//
// What it is not: a Python pickle. LibTorch's own unpickler knows TorchScript's classes alone and
// refuses any other name, such as os.system; a file made by torch.save is refused as well.
//
//   tile (n, channels, height, width) -> forward(tile) -> embedding (n, dimension)
//
// The program gets one float tensor, in inference mode, and returns a float tensor (n, d), or a
// tuple of which the first element is that. Tokens (n, tokens, d) and maps (n, d, h, w) are
// refused: which of them to take or average is the encoder's business, so put it into the program.
//
// Its graph is not optimised at run time, so that the first call computes what all others do. The
// result depends on the number of threads as far as LibTorch's sums do: to about 1e-6.
//
// Checked against: the same file in PyTorch 1.13 (torchscript_test.cc).
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>

#include "med3d/core/matrix.h"
#include "med3d/nn/device.h"

namespace med3d::nn {

class TorchScriptModule {
 public:
  // threads  of one forward() on the processor, from 1; CUDA does not read it.
  // Throws Error(kNotFound) if there is no such file, kUsage for threads below 1, kFormat if it is
  // not a TorchScript program or LibTorch cannot run it, kUnsupported if CUDA is asked for and not
  // there, and what device.h says where LibTorch is missing.
  static TorchScriptModule load(const std::filesystem::path& path, DeviceKind device, int threads);

  // nchw (n, channels, height, width) row-major, scaled as the encoder expects. Returns (n, d), NaN
  // and infinity as they came: the caller checks. Safe from several threads at once if the program
  // does not change itself.
  // Throws Error(kUsage) if the size of nchw is not that product or n is 0, kData if the program
  // fails on it or returns something else than (n, d) floats.
  Matrix<float> forward(std::span<const float> nchw,
                        std::size_t n,
                        std::size_t channels,
                        std::size_t height,
                        std::size_t width) const;

  ~TorchScriptModule();
  TorchScriptModule(TorchScriptModule&&) noexcept;
  TorchScriptModule& operator=(TorchScriptModule&&) noexcept;

 private:
  struct Impl;
  explicit TorchScriptModule(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace med3d::nn
