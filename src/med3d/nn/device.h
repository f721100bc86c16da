// Where the networks compute, and what the tensor library underneath can do.
//
// LibTorch is loaded by the first call of this module that needs a tensor, and by every function
// below but resolve_device(kCpu), parse_device and to_string. They throw Error(kNotFound) naming
// the places where libmed3d_torch.so was looked for, and kUnsupported if it is another version's.
#pragma once

#include <string>
#include <string_view>

namespace med3d::nn {

enum class DeviceKind {
  kAuto,  // a CUDA device where there is one, the CPU otherwise
  kCpu,
  kCuda,  // the first CUDA device
};

struct Device {
  DeviceKind kind = DeviceKind::kCpu;  // never kAuto
  std::string name = "cpu";            // "cpu" or "cuda:0", for run records
};

// The device to use. Throws Error(kUnsupported), saying why, if CUDA is asked for and not there.
Device resolve_device(DeviceKind kind);

// "auto", "cpu" or "cuda". Throws Error(kUsage) naming the three for anything else.
DeviceKind parse_device(std::string_view name);
std::string to_string(DeviceKind kind);

// The version of LibTorch that the module was built with, e.g. "1.13.1".
std::string torch_version();

// True if LibTorch was built with CUDA and finds a device. Opens it only where a driver's file is.
bool cuda_available();

// Speed of a 768 x 768 single-precision matrix product on one thread of the CPU, in GFLOP/s: the
// best of five, about 0.1 s with a tuned BLAS. Below about 20 the BLAS underneath is the
// unoptimised reference one, and every fit is many times slower than it could be.
double sgemm_gflops();

// Makes everything LibTorch and its BLAS compute on the calling thread run on that thread alone.
// Every fit and prediction of this module calls it, so that many fits can run side by side, one on
// each thread, with results that do not depend on how many there are. Cheap after the first call on
// a thread. OpenBLAS keeps one such setting for the whole process.
void use_one_thread();

}  // namespace med3d::nn
