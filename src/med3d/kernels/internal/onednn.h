// The one door to oneDNN: engine, stream, memory that outlives calls, and its errors as ours.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>
#include <type_traits>
#include <utility>

#include "med3d/kernels/cpu.h"

namespace med3d::onednn {

using Type = dnnl::memory::data_type;
using Format = dnnl::memory::format_tag;
using Dims = dnnl::memory::dims;

// The CPU engine of the process.
const dnnl::engine& engine();

// Whether the processor has that instruction set, and oneDNN uses it.
bool has_isa(dnnl::cpu_isa isa);

// This thread's stream: what is submitted to it runs at once, in order, on the thread's OpenMP
// threads (ThreadScope).
dnnl::stream& stream();

// f32 or bf16. Throws Error(kUnsupported) for kInt8.
Type type_of(Arithmetic arithmetic);

// The shape in a given or (Format::any) a freely chosen layout.
inline dnnl::memory::desc desc(const Dims& dims, Type type, Format format) {
  return {dims, type, format};
}

// Primitive attributes as all kernels want them: the scratchpad is ours (Buffer), so that
// primitives that never run at once share one; f32 is computed in f32, never silently in less.
dnnl::primitive_attr attributes();

// Memory aligned to a page, taken once and kept: a buffer that is mapped anew for every call costs
// more in page faults than many a layer in arithmetic. Contents start as zero.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::size_t bytes);

  std::byte* data() const { return data_.get(); }
  std::size_t size() const { return size_; }
  // At least that many bytes from now on; contents are lost where it grows.
  void reserve(std::size_t bytes);

 private:
  struct Free {
    void operator()(std::byte* data) const;
  };
  std::unique_ptr<std::byte, Free> data_;
  std::size_t size_ = 0;
};

// A view of `data` with that description; the caller keeps the bytes alive.
inline dnnl::memory view(const dnnl::memory::desc& description, const void* data) {
  // oneDNN's handles are not const, also for what is only read.
  return {description, engine(), const_cast<void*>(data)};
}

// `source` in the layout and type of `description`, in memory of its own. Waits until it is there.
dnnl::memory reordered(const dnnl::memory& source, const dnnl::memory::desc& description);

// What went wrong inside oneDNN, as our Error: kUnsupported for what this processor or version
// cannot do, std::bad_alloc for memory, else kNumerical. Call in a catch block.
[[noreturn]] void rethrow(const dnnl::error& error, const std::string& what);

// work(), with oneDNN's errors turned into ours. `what` names the kernel in the message.
template <class Work>
auto guarded(const std::string& what, Work&& work) -> decltype(work()) {
  try {
    return std::forward<Work>(work)();
  } catch (const dnnl::error& error) {
    rethrow(error, what);
  }
}

}  // namespace med3d::onednn
