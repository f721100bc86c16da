#include <ATen/Parallel.h>
#include <ATen/core/ivalue.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/csrc/jit/serialization/import.h>

#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "med3d/nn/internal/torch_common.h"
#include "med3d/nn/internal/torch_guard.h"
#include "med3d/nn/internal/torch_module.h"

namespace med3d::nn {

struct TorchScript {
  torch::jit::Module module;
  bool cuda = false;
};

namespace {

// The number of threads of LibTorch on this thread, put back at the end: networks that are trained
// here afterwards count on one.
class Threads {
 public:
  explicit Threads(int threads) {
    module_use_one_thread();  // and OpenBLAS, whose setting is the whole process's
    at::set_num_threads(threads);
  }
  ~Threads() { at::set_num_threads(1); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;
};

// The last line of a message: before it stands a traceback of TorchScript, over many lines.
std::string last_line(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  const std::size_t newline = text.rfind('\n');
  return newline == std::string::npos ? text : text.substr(newline + 1);
}

// Runs what executes the program; whatever it throws is a fault of the file or its input.
template <class Work>
void run_script(ErrorKind kind, const std::string& what, const Work& work) {
  try {
    work();
  } catch (const TorchRefusal&) {
    throw;
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const c10::Error& error) {
    throw TorchRefusal(kind, what + ": " + last_line(error.what_without_backtrace()));
  } catch (const std::exception& error) {
    throw TorchRefusal(kind, what + ": " + last_line(error.what()));
  }
}

std::string shape_of(const at::Tensor& tensor) {
  std::ostringstream text;
  text << "(";
  for (std::int64_t i = 0; i < tensor.dim(); ++i) text << (i > 0 ? ", " : "") << tensor.size(i);
  text << ") of " << tensor.dtype().name();
  return text.str();
}

at::Tensor embedding_of(const c10::IValue& returned, std::int64_t n) {
  c10::IValue value = returned;
  if (value.isTuple() && !value.toTupleRef().elements().empty()) {
    value = c10::IValue(value.toTupleRef().elements()[0]);
  }
  const std::string expected =
      ", expected a float tensor (" + std::to_string(n) + ", d), or a tuple that begins with one";
  if (!value.isTensor()) {
    throw TorchRefusal(ErrorKind::kData, "the program returned " + value.tagKind() + expected);
  }
  const at::Tensor& tensor = value.toTensor();
  if (!tensor.defined() || tensor.layout() != c10::kStrided || tensor.dim() != 2 ||
      tensor.size(0) != n || tensor.size(1) == 0 || tensor.scalar_type() != at::kFloat) {
    throw TorchRefusal(
        ErrorKind::kData,
        "the program returned " + (tensor.defined() ? shape_of(tensor) : "nothing") + expected);
  }
  return tensor.contiguous().cpu();
}

}  // namespace

bool script_load(const char* path, bool cuda, TorchScript** script, TorchFailure* failure) {
  return guarded(failure, [&] {
    const Threads one(1);
    auto loaded = std::make_unique<TorchScript>();
    loaded->cuda = cuda;
    run_script(ErrorKind::kFormat, "not a TorchScript program that LibTorch can load", [&] {
      loaded->module =
          torch::jit::load(path, cuda ? c10::Device(at::kCUDA, 0) : c10::Device(at::kCPU));
      loaded->module.eval();
      if (!loaded->module.find_method("forward")) {
        throw TorchRefusal(ErrorKind::kFormat, "a TorchScript program without a method forward");
      }
    });
    *script = loaded.release();
  });
}

void script_destroy(TorchScript* script) { delete script; }

bool script_forward(const TorchScript* script,
                    const float* values,
                    const std::uint64_t* shape,
                    std::int32_t threads,
                    TorchScriptOutput* output,
                    TorchFailure* failure) {
  return guarded(failure, [&] {
    const Threads several(threads);
    const c10::InferenceMode inference;
    const torch::jit::GraphOptimizerEnabledGuard as_written(false);
    const auto n = static_cast<std::int64_t>(shape[0]);
    at::Tensor embedding;
    run_script(ErrorKind::kData, "the program failed", [&] {
      const std::vector<std::int64_t> sizes(shape, shape + 4);
      // A copy: a program may change its input in place.
      at::Tensor input = at::from_blob(const_cast<float*>(values), sizes, at::kFloat).clone();
      if (script->cuda) input = input.to(c10::Device(at::kCUDA, 0));
      torch::jit::Module module = script->module;  // forward() is not const
      embedding = embedding_of(module.forward({input}), n);
    });
    auto owner = std::make_unique<at::Tensor>(embedding);
    *output = {owner->data_ptr<float>(),
               static_cast<std::uint64_t>(embedding.size(0)),
               static_cast<std::uint64_t>(embedding.size(1)),
               owner.get()};
    owner.release();
  });
}

void script_free_output(TorchScriptOutput* output) {
  delete static_cast<at::Tensor*>(output->owner);
  *output = {};
}

}  // namespace med3d::nn
