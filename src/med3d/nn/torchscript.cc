#include "med3d/nn/torchscript.h"

#include <algorithm>
#include <string>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/core/limits.h"
#include "med3d/nn/internal/torch_loader.h"

namespace med3d::nn {

struct TorchScriptModule::Impl {
  TorchScript* script = nullptr;
  int threads = 1;
  std::string name;  // of the file, for messages

  Impl() = default;
  ~Impl() { torch().script_destroy(script); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
};

TorchScriptModule TorchScriptModule::load(const std::filesystem::path& path,
                                          DeviceKind device,
                                          int threads) {
  if (threads < 1) {
    throw Error(ErrorKind::kUsage,
                "threads is " + std::to_string(threads) + ", expected 1 or more");
  }
  // Before LibTorch: a pipe or a device would block it.
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) {
    throw Error(ErrorKind::kNotFound, path.string() + ": no such file");
  }
  if (!std::filesystem::is_regular_file(status)) {
    throw Error(ErrorKind::kFormat, path.string() + ": not a regular file");
  }
  const std::uint64_t size = std::filesystem::file_size(path);
  if (size > limits().weights_bytes) {
    throw Error(ErrorKind::kFormat,
                path.string() + ": " + std::to_string(size) + " bytes, expected at most " +
                    std::to_string(limits().weights_bytes) + " (limit weights_bytes)");
  }
  const bool cuda = resolve_device(device).kind == DeviceKind::kCuda;
  auto impl = std::make_unique<Impl>();
  impl->threads = threads;
  impl->name = path.filename().string();
  try {
    torch_call(torch().script_load, path.c_str(), cuda, &impl->script);
  } catch (const Error&) {
    rethrow_with_context(path.string());
  }
  return TorchScriptModule(std::move(impl));
}

Matrix<float> TorchScriptModule::forward(std::span<const float> nchw,
                                         std::size_t n,
                                         std::size_t channels,
                                         std::size_t height,
                                         std::size_t width) const {
  std::uint64_t size = checked_multiply(n, channels, "tiles");
  size = checked_multiply(size, height, "tiles");
  size = checked_multiply(size, width, "tiles");
  if (size != nchw.size() || n == 0) {
    throw Error(ErrorKind::kUsage,
                std::to_string(nchw.size()) + " values, expected " + std::to_string(n) + " x " +
                    std::to_string(channels) + " x " + std::to_string(height) + " x " +
                    std::to_string(width) + ", and at least one tile");
  }
  struct Output {
    TorchScriptOutput across = {};
    ~Output() { torch().script_free_output(&across); }
  } output;
  const std::uint64_t shape[4] = {n, channels, height, width};
  try {
    torch_call(torch().script_forward,
               static_cast<const TorchScript*>(impl_->script),
               nchw.data(),
               static_cast<const std::uint64_t*>(shape),
               static_cast<std::int32_t>(impl_->threads),
               &output.across);
  } catch (const Error&) {
    rethrow_with_context(impl_->name);
  }
  Matrix<float> result(output.across.rows, output.across.columns);
  std::copy_n(output.across.values, result.size(), result.data());
  return result;
}

TorchScriptModule::TorchScriptModule(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TorchScriptModule::~TorchScriptModule() = default;
TorchScriptModule::TorchScriptModule(TorchScriptModule&&) noexcept = default;
TorchScriptModule& TorchScriptModule::operator=(TorchScriptModule&&) noexcept = default;

}  // namespace med3d::nn
