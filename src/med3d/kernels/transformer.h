// The parts of a vision transformer: linear layers, layer norm and attention, on memory that is
// taken once.
//
// Activations are rows of numbers, one row a token: (images * tokens, width), image after image. In
// bf16 the weights and what goes into a product are bf16; sums, layer norms, softmaxes and the
// residual stream (an f32 buffer that layers add to) stay f32.
//
// A part is built for a number of rows and of threads (ThreadScope) and is run under the same
// number. A row's bits do not depend on what the other rows hold.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "med3d/kernels/cpu.h"

namespace med3d {

// Rows that someone else owns.
struct RowsView {
  std::byte* data = nullptr;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  Arithmetic arithmetic = Arithmetic::kF32;

  // `count` rows from `first` on. Throws Error(kUsage) beyond the end.
  RowsView part(std::int64_t first, std::int64_t count) const;
};

// Memory for rows, aligned to a page and zero at first.
class Rows {
 public:
  Rows(std::int64_t rows, std::int64_t cols, Arithmetic arithmetic);
  ~Rows();
  Rows(Rows&&) noexcept;
  Rows& operator=(Rows&&) noexcept;

  RowsView view() const { return view_; }
  // The same memory as rows of another length. Throws Error(kUsage) if it is too small for them.
  RowsView reshaped(std::int64_t rows, std::int64_t cols) const;

  // The numbers of an f32 buffer. Throws Error(kUsage) for bf16.
  std::span<float> f32() const;

  std::size_t bytes() const;  // of memory held

 private:
  struct Memory;
  std::unique_ptr<Memory> memory_;
  RowsView view_;
};

// Converts row by row. Throws Error(kUsage) if the shapes differ.
void convert(const RowsView& from, const RowsView& to);

// y = epilogue(x W^T + b), one matrix product.
//
// Weights are brought into the order and format of the processor when the layer is built; the
// given ones are not needed afterwards.
//
// Source of GELU: Hendrycks and Gimpel, 2016, arXiv:1606.08415, exact form x/2 (1 + erf(x/sqrt 2)).
// Checked against: a loop in f64 (transformer_test.cc), PyTorch 1.13 (tests/reference).
class Linear {
 public:
  enum class Epilogue {
    kNone,
    kGelu,
    kAdd,  // y += x W^T + b: the residual; y is f32
  };
  struct Options {
    std::int64_t rows = 0;  // of a call
    std::int64_t inputs = 0;
    std::int64_t outputs = 0;
    Arithmetic arithmetic = Arithmetic::kF32;  // of x and of the weights
    Arithmetic result = Arithmetic::kF32;      // of y
    Epilogue epilogue = Epilogue::kNone;
  };

  // weight  (outputs, inputs)
  // bias    (outputs,), or empty for none
  // Throws Error(kUsage) for sizes that disagree, Error(kUnsupported) where the processor cannot.
  Linear(const Options& options, std::span<const float> weight, std::span<const float> bias);
  ~Linear();
  Linear(Linear&&) noexcept;
  Linear& operator=(Linear&&) noexcept;

  // x (rows, inputs), y (rows, outputs); they do not overlap.
  void run(const RowsView& x, const RowsView& y) const;

  std::size_t bytes() const;  // of weights held

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// y = (x - mean) / sqrt(variance + epsilon) * gamma + beta along each row, computed in f32.
//
// x            (n, width) f32
// gamma, beta  (width,)
// y            (n, width) f32 or bf16; may be x
//
// Source: Ba et al., 2016, arXiv:1607.06450. Checked as Linear.
void layer_norm(const RowsView& x,
                std::span<const float> gamma,
                std::span<const float> beta,
                float epsilon,
                const RowsView& y);

// Multi-head self-attention within each image: softmax(q k^T / sqrt(head_dim)) v for each head.
//
// One head of one image at a time stays in a core's cache; heads go round the threads. Queries are
// taken 256 at most at once, so memory grows with tokens, not with their square.
//
// Source: Vaswani et al., 2017, arXiv:1706.03762. Checked as Linear.
class SelfAttention {
 public:
  struct Options {
    std::int64_t images = 0;
    std::int64_t tokens = 0;  // of an image
    std::int64_t heads = 0;
    std::int64_t head_dim = 0;
    Arithmetic arithmetic = Arithmetic::kF32;
  };

  explicit SelfAttention(const Options& options);
  ~SelfAttention();
  SelfAttention(SelfAttention&&) noexcept;
  SelfAttention& operator=(SelfAttention&&) noexcept;

  // qkv       (images * tokens, 3 * heads * head_dim): queries of all heads, then keys, then values
  // attended  (images * tokens, heads * head_dim), heads side by side
  void run(const RowsView& qkv, const RowsView& attended);

  std::size_t bytes() const;  // of memory held, all threads together

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Attention of a single query of each image over that image's tokens, computed in f32.
//
// query     (images, heads * head_dim) f32, or (1, ...): the same query for each image
// kv        (images * tokens, 2 * heads * head_dim): keys of all heads, then values
// attended  (images, heads * head_dim)
// Throws Error(kUsage) for shapes that disagree.
void query_attention(const RowsView& query,
                     const RowsView& kv,
                     std::int64_t heads,
                     const RowsView& attended);

}  // namespace med3d
