#include "med3d/kernels/matmul.h"

#include <fmt/format.h>

#include <bit>
#include <unordered_map>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/kernels/internal/onednn.h"

namespace med3d {

namespace {

// The description of op(X) (rows, cols) of a matrix stored row-major, transposed or not.
dnnl::memory::desc operand(std::size_t rows,
                           std::size_t cols,
                           bool transposed,
                           std::size_t stride,
                           onednn::Type type,
                           const char* name) {
  const std::size_t row = transposed ? rows : cols;
  if (stride == 0) stride = row;
  if (rows == 0 || cols == 0 || stride < row) {
    throw Error(ErrorKind::kUsage,
                fmt::format("matmul: {} is {} x {} with a stride of {}", name, rows, cols, stride));
  }
  const auto step = static_cast<dnnl::memory::dim>(stride);
  const dnnl::memory::dims strides =
      transposed ? dnnl::memory::dims{1, step} : dnnl::memory::dims{step, 1};
  return {
      {static_cast<dnnl::memory::dim>(rows), static_cast<dnnl::memory::dim>(cols)}, type, strides};
}

}  // namespace

struct Matmul::Impl {
  dnnl::memory::desc a, b, c, bias, scratch;
  dnnl::matmul product;
  Arithmetic arithmetic = Arithmetic::kF32;
  bool has_bias = false;

  void run(const void* left, const void* right, float* result, const float* add) const {
    if (has_bias && add == nullptr) {
      throw Error(ErrorKind::kUsage, "matmul: no bias given to a product that adds one");
    }
    // One block a thread, for all products: they never run at once on one thread.
    thread_local onednn::Buffer scratchpad;
    scratchpad.reserve(scratch.get_size());
    onednn::guarded("matmul", [&] {
      std::unordered_map<int, dnnl::memory> arguments{
          {DNNL_ARG_SRC, onednn::view(a, left)},
          {DNNL_ARG_WEIGHTS, onednn::view(b, right)},
          {DNNL_ARG_DST, onednn::view(c, result)},
          {DNNL_ARG_SCRATCHPAD, onednn::view(scratch, scratchpad.data())}};
      if (has_bias) arguments.emplace(DNNL_ARG_BIAS, onednn::view(bias, add));
      const ThreadScope one(1);
      product.execute(onednn::stream(), arguments);
      onednn::stream().wait();
    });
  }
};

Matmul::Matmul(const MatmulShape& shape, Arithmetic arithmetic) : impl_(std::make_unique<Impl>()) {
  const onednn::Type type = onednn::type_of(arithmetic);
  impl_->arithmetic = arithmetic;
  impl_->has_bias = shape.bias;
  impl_->a = operand(shape.m, shape.k, shape.transpose_a, shape.stride_a, type, "A");
  impl_->b = operand(shape.k, shape.n, shape.transpose_b, shape.stride_b, type, "B");
  impl_->c = operand(shape.m, shape.n, false, shape.stride_c, onednn::Type::f32, "C");
  onednn::guarded("matmul", [&] {
    dnnl::primitive_attr attributes = onednn::attributes();
    dnnl::post_ops after;
    if (shape.accumulate) after.append_sum(1.0F);
    if (shape.relu) after.append_eltwise(1.0F, dnnl::algorithm::eltwise_relu, 0.0F, 0.0F);
    attributes.set_post_ops(after);
    const ThreadScope one(1);
    if (shape.bias) {
      impl_->bias = onednn::desc(
          {1, static_cast<dnnl::memory::dim>(shape.n)}, onednn::Type::f32, onednn::Format::ab);
    }
    const dnnl::matmul::desc description =
        shape.bias ? dnnl::matmul::desc(impl_->a, impl_->b, impl_->bias, impl_->c)
                   : dnnl::matmul::desc(impl_->a, impl_->b, impl_->c);
    const dnnl::matmul::primitive_desc made(description, attributes, onednn::engine());
    impl_->scratch = made.scratchpad_desc();
    impl_->product = dnnl::matmul(made);
  });
}

Matmul::Matmul(Matmul&&) noexcept = default;
Matmul& Matmul::operator=(Matmul&&) noexcept = default;
Matmul::~Matmul() = default;

void Matmul::run(const float* a, const float* b, float* c, const float* bias) const {
  if (impl_->arithmetic != Arithmetic::kF32) {
    throw Error(ErrorKind::kUsage, "matmul: f32 operands given to a product in bf16");
  }
  impl_->run(a, b, c, bias);
}

void Matmul::run(const std::uint16_t* a,
                 const std::uint16_t* b,
                 float* c,
                 const float* bias) const {
  if (impl_->arithmetic != Arithmetic::kBf16) {
    throw Error(ErrorKind::kUsage, "matmul: bf16 operands given to a product in f32");
  }
  impl_->run(a, b, c, bias);
}

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__)
__attribute__((target_clones("default", "avx2", "avx512f")))
#endif
void to_bf16(std::span<const float> from, std::uint16_t* to) {
  const float* source = from.data();
  const std::size_t n = from.size();
  for (std::size_t i = 0; i < n; ++i) {
    const auto bits = std::bit_cast<std::uint32_t>(source[i]);
    const std::uint32_t rounded = bits + 0x7fffU + ((bits >> 16U) & 1U);
    const bool nan = (bits & 0x7fffffffU) > 0x7f800000U;
    to[i] = static_cast<std::uint16_t>((nan ? bits | 0x400000U : rounded) >> 16U);
  }
}

}  // namespace med3d
