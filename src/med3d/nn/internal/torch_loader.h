// Opens LibTorch's module, libmed3d_torch.so, when the first thing needs it.
//
// It is looked for, in this order, in
//   1. ../lib/med3d beside the folder of the running program (the build tree looks the same),
//   2. the library path of the program: the RUNPATH that CMake gives a program linked to med3d::nn,
//      LD_LIBRARY_PATH, and the system's folders,
//   3. the folder that the build was configured to install it to.
// The first one found is taken, whatever comes of it, and stays for the life of the process.
#pragma once

#include <string>

#include "med3d/core/error.h"
#include "med3d/nn/internal/torch_interface.h"

namespace med3d::nn {

// The module's functions. Opened by the first call, safe from several threads.
// Throws Error(kNotFound) naming the places where it was looked for, or what is missing below it;
// kUnsupported if it was built for another version of this library. A later call tries again.
const TorchInterface& torch();

[[noreturn]] void throw_failure(const TorchFailure& failure);

// torch_call(torch().net_state, net, out): calls it, and throws its failure as an Error.
template <class... Parameter, class... Argument>
void torch_call(bool (*function)(Parameter...), Argument... arguments) {
  TorchFailure failure;
  if (!function(arguments..., &failure)) throw_failure(failure);
}

}  // namespace med3d::nn
