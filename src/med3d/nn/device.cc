#include "med3d/nn/device.h"

#include <algorithm>
#include <filesystem>
#include <iterator>

#include "med3d/core/error.h"
#include "med3d/nn/internal/torch_loader.h"

namespace med3d::nn {

Device resolve_device(DeviceKind kind) {
  if (kind == DeviceKind::kCpu) return {};
  if (cuda_available()) return {DeviceKind::kCuda, "cuda:0"};
  if (kind == DeviceKind::kAuto) return {};
  if (!torch().cuda_built()) {
    throw Error(ErrorKind::kUnsupported,
                "device 'cuda' was asked for; found LibTorch " + torch_version() +
                    " without CUDA, expected one with it: build med3d with the folder of such a "
                    "LibTorch in CMAKE_PREFIX_PATH, or use 'cpu', or 'auto' to take what there is");
  }
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

std::string torch_version() { return torch().torch_version(); }

bool cuda_available() {
  // What a driver of such a device always makes: NVIDIA's, the same under WSL, AMD's, which
  // LibTorch calls CUDA too. Without any, LibTorch need not be opened to know.
  constexpr const char* kNodes[] = {"/dev/nvidiactl", "/dev/dxg", "/dev/kfd"};
  const bool possible = std::any_of(std::begin(kNodes), std::end(kNodes), [](const char* node) {
    std::error_code error;
    return std::filesystem::exists(node, error);
  });
  return possible && torch().cuda_available();
}

void use_one_thread() { torch().use_one_thread(); }

double sgemm_gflops() {
  double gflops = 0.0;
  torch_call(torch().sgemm_gflops, &gflops);
  return gflops;
}

}  // namespace med3d::nn
