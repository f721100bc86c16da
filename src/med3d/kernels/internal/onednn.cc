#include "med3d/kernels/internal/onednn.h"

#include <fmt/format.h>

#include <cstdlib>
#include <cstring>
#include <new>

#include "med3d/core/error.h"

namespace med3d::onednn {

const dnnl::engine& engine() {
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

bool has_isa(dnnl::cpu_isa isa) {
  // Instruction sets are numbered as bit masks: a set holds the bits of those it builds on.
  const auto wanted = static_cast<unsigned>(isa);
  return (static_cast<unsigned>(dnnl::get_effective_cpu_isa()) & wanted) == wanted;
}

dnnl::stream& stream() {
  thread_local dnnl::stream mine(engine());
  return mine;
}

Type type_of(Arithmetic arithmetic) {
  if (arithmetic == Arithmetic::kInt8) {
    throw Error(ErrorKind::kUnsupported, "int8 is there for nets of convolutions only");
  }
  return arithmetic == Arithmetic::kBf16 ? Type::bf16 : Type::f32;
}

dnnl::primitive_attr attributes() {
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  attr.set_fpmath_mode(dnnl::fpmath_mode::strict);
  return attr;
}

Buffer::Buffer(std::size_t bytes) { reserve(bytes); }

void Buffer::reserve(std::size_t bytes) {
  if (bytes <= size_) return;
  constexpr std::size_t kPage = 4096;
  const std::size_t rounded = (bytes + kPage - 1) / kPage * kPage;
  if (rounded < bytes) throw std::bad_alloc();
  data_.reset();
  size_ = 0;
  data_.reset(static_cast<std::byte*>(std::aligned_alloc(kPage, rounded)));
  if (!data_) throw std::bad_alloc();
  std::memset(data_.get(), 0, rounded);  // also maps the pages now, not in the first call
  size_ = rounded;
}

void Buffer::Free::operator()(std::byte* data) const { std::free(data); }

dnnl::memory reordered(const dnnl::memory& source, const dnnl::memory::desc& description) {
  dnnl::memory from = source;  // a handle: execute() takes no const one
  dnnl::memory result(description, engine());
  dnnl::reorder(from, result).execute(stream(), from, result);
  stream().wait();
  return result;
}

void rethrow(const dnnl::error& error, const std::string& what) {
  switch (error.status) {
    case dnnl_out_of_memory:
      throw std::bad_alloc();
    case dnnl_unimplemented:
      throw Error(ErrorKind::kUnsupported,
                  fmt::format("{}: not available on this processor: {}", what, error.message));
    default:
      throw Error(ErrorKind::kNumerical, fmt::format("{}: {}", what, error.message));
  }
}

}  // namespace med3d::onednn
