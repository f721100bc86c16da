#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <dlfcn.h>
#include <torch/version.h>

#include <algorithm>
#include <chrono>
#include <mutex>

#include "med3d/nn/internal/torch_common.h"
#include "med3d/nn/internal/torch_guard.h"
#include "med3d/nn/internal/torch_module.h"

#define MED3D_TEXT_OF(x) #x
#define MED3D_TEXT(x) MED3D_TEXT_OF(x)

namespace med3d::nn {
namespace {

// OpenBLAS's function of that name, null where another BLAS stands behind libblas.so.3: which one
// it is is the administrator's choice, so it is looked up at run time. The default scope of a
// caller in this module includes what the module brought along.
template <class Function>
Function openblas(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_DEFAULT, name));
}

}  // namespace

const char* module_torch_version() {
  return MED3D_TEXT(TORCH_VERSION_MAJOR) "." MED3D_TEXT(TORCH_VERSION_MINOR) "." MED3D_TEXT(
      TORCH_VERSION_PATCH);
}

// True only where LibTorch has CUDA and counts at least one device.
bool module_cuda_available() {
  bool available = false;
  TorchFailure ignored;  // a driver that fails to answer is a device that is not there
  guarded(&ignored, [&] { available = at::hasCUDA(); });
  return available;
}

bool module_cuda_built() {
  bool built = false;
  TorchFailure ignored;
  guarded(&ignored, [&] { built = at::globalContext().hasCUDART(); });
  return built;
}

void module_use_one_thread() {
  // OpenBLAS has threads of its own that LibTorch's setting does not reach.
  static std::once_flag blas;
  std::call_once(blas, [] {
    if (auto set_threads = openblas<void (*)(int)>("openblas_set_num_threads")) set_threads(1);
  });
  // OpenMP keeps its number of threads for each thread that starts a parallel region.
  thread_local const bool done = [] {
    at::set_num_threads(1);
    return true;
  }();
  static_cast<void>(done);
}

std::int32_t module_threads() { return at::get_num_threads(); }

std::int32_t module_openblas_threads() {
  auto threads = openblas<int (*)()>("openblas_get_num_threads");
  return threads == nullptr ? 0 : threads();
}

bool module_sgemm_gflops(double* gflops, TorchFailure* failure) {
  return guarded(failure, [&] {
    module_use_one_thread();
    const c10::InferenceMode guard;
    constexpr std::int64_t kSize = 768;
    const at::Tensor a = at::empty({kSize, kSize}).fill_(0.5);
    const at::Tensor b = at::empty({kSize, kSize}).fill_(0.25);
    at::Tensor c = at::empty({kSize, kSize});
    *gflops = 0.0;
    for (int i = 0; i < 5; ++i) {
      const auto start = std::chrono::steady_clock::now();
      at::mm_out(c, a, b);
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
      *gflops = std::max(*gflops, 2.0 * kSize * kSize * kSize / seconds.count() * 1e-9);
    }
  });
}

}  // namespace med3d::nn
