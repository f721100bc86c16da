#include "med3d/nn/internal/torch_loader.h"

#include <dlfcn.h>

#include <filesystem>
#include <new>

namespace med3d::nn {
namespace {

constexpr char kFile[] = "libmed3d_torch.so";

// Local: nothing else in the process may bind to a symbol that LibTorch brings along. DCMTK and
// GDCM have different CharLS libraries under the same names.
void* open(const std::string& path) { return dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL); }

std::string reason() {
  const char* text = dlerror();
  return text == nullptr ? "no reason given" : text;
}

struct Opened {
  void* handle = nullptr;
  std::string path;
};

Opened open_module() {
  std::string looked_in;
  const auto open_in = [&](const std::filesystem::path& folder) -> Opened {
    const std::filesystem::path path = folder / kFile;
    std::error_code error;
    if (!std::filesystem::exists(path, error)) {
      looked_in += (looked_in.empty() ? "" : ", ") + folder.string();
      return {};
    }
    void* handle = open(path.string());
    if (handle == nullptr) {
      throw Error(ErrorKind::kNotFound,
                  "LibTorch's module " + path.string() + " cannot be loaded: " + reason());
    }
    return {handle, path.string()};
  };

  std::error_code error;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error);
  if (!error) {
    const Opened beside =
        open_in((program.parent_path() / MED3D_TORCH_FOLDER_FROM_PROGRAM).lexically_normal());
    if (beside.handle != nullptr) return beside;
  }
  if (void* handle = open(kFile)) return {handle, kFile};
  const std::string why = reason();
  if (!why.starts_with(std::string(kFile) + ": cannot open shared object file")) {
    throw Error(ErrorKind::kNotFound, "LibTorch's module cannot be loaded: " + why);
  }
  looked_in += (looked_in.empty() ? "" : ", ") + std::string("the library path");
  const Opened installed = open_in(MED3D_TORCH_FOLDER_INSTALLED);
  if (installed.handle != nullptr) return installed;
  throw Error(ErrorKind::kNotFound,
              std::string("LibTorch's module ") + kFile + " is not there; looked in " + looked_in +
                  ". Install the whole of med3d, or name its folder in LD_LIBRARY_PATH");
}

const TorchInterface* load() {
  const Opened module = open_module();
  // Never closed: LibTorch starts threads and registers things that outlive any handle.
  const auto function =
      reinterpret_cast<TorchInterfaceFunction>(dlsym(module.handle, kTorchInterfaceSymbol));
  const TorchInterface* table = function == nullptr ? nullptr : function(kTorchInterfaceVersion);
  if (table == nullptr || table->version != kTorchInterfaceVersion ||
      table->size != sizeof(TorchInterface)) {
    throw Error(ErrorKind::kUnsupported,
                "LibTorch's module " + module.path +
                    " belongs to another version of med3d than this program; install both from "
                    "one build");
  }
  return table;
}

}  // namespace

const TorchInterface& torch() {
  static const TorchInterface* const table = load();
  return *table;
}

void throw_failure(const TorchFailure& failure) {
  if (failure.kind == kTorchOutOfMemory) throw std::bad_alloc();
  throw Error(static_cast<ErrorKind>(failure.kind), failure.message);
}

}  // namespace med3d::nn
