#include "med3d/nn/device.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <dlfcn.h>
#include <torch/version.h>

#include <algorithm>
#include <chrono>
#include <mutex>

#include "med3d/core/error.h"
#include "med3d/nn/internal/torch_common.h"

namespace med3d::nn {

Device resolve_device(DeviceKind kind) {
  if (kind == DeviceKind::kCpu) return {};
  if (cuda_available()) return {DeviceKind::kCuda, "cuda:0"};
  if (kind == DeviceKind::kAuto) return {};
  throw Error(ErrorKind::kUnsupported,
              "device 'cuda' was asked for, but LibTorch " + torch_version() +
                  " finds no CUDA device here; use 'cpu', or 'auto' to take what there is");
}

DeviceKind parse_device(std::string_view name) {
  if (name == "auto") return DeviceKind::kAuto;
  if (name == "cpu") return DeviceKind::kCpu;
  if (name == "cuda") return DeviceKind::kCuda;
  throw Error(ErrorKind::kUsage,
              "device '" + std::string(name) + "', expected 'auto', 'cpu' or 'cuda'");
}

std::string to_string(DeviceKind kind) {
  switch (kind) {
    case DeviceKind::kAuto:
      return "auto";
    case DeviceKind::kCpu:
      return "cpu";
    case DeviceKind::kCuda:
      return "cuda";
  }
  return "cpu";
}

std::string torch_version() {
  return std::to_string(TORCH_VERSION_MAJOR) + "." + std::to_string(TORCH_VERSION_MINOR) + "." +
         std::to_string(TORCH_VERSION_PATCH);
}

// True only where LibTorch has CUDA and counts at least one device.
bool cuda_available() { return at::hasCUDA(); }

void use_one_thread() {
  // OpenBLAS has threads of its own that LibTorch's setting does not reach. It is looked up at run
  // time because which BLAS stands behind libblas.so.3 is the administrator's choice.
  static std::once_flag blas;
  std::call_once(blas, [] {
    using SetThreads = void (*)(int);
    if (void* symbol = dlsym(RTLD_DEFAULT, "openblas_set_num_threads")) {
      reinterpret_cast<SetThreads>(symbol)(1);
    }
  });
  // OpenMP keeps its number of threads for each thread that starts a parallel region.
  thread_local const bool done = [] {
    at::set_num_threads(1);
    return true;
  }();
  static_cast<void>(done);
}

double sgemm_gflops() {
  use_one_thread();
  const c10::InferenceMode guard;
  constexpr std::int64_t kSize = 768;
  const at::Tensor a = at::empty({kSize, kSize}).fill_(0.5);
  const at::Tensor b = at::empty({kSize, kSize}).fill_(0.25);
  at::Tensor c = at::empty({kSize, kSize});
  double best = 0.0;
  for (int i = 0; i < 5; ++i) {
    const auto start = std::chrono::steady_clock::now();
    at::mm_out(c, a, b);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    best = std::max(best, 2.0 * kSize * kSize * kSize / seconds.count() * 1e-9);
  }
  return best;
}

}  // namespace med3d::nn
