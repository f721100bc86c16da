// Products of row-major matrices.
//
//   C = op(A) op(B) [+ C] [+ bias] [, then max(., 0)]      op(A) (m, k), op(B) (k, n), C (m, n)
//
// A and B are f32 or bf16 (Arithmetic), C and the bias are f32, sums are f32 in both. A product is
// built once for a shape (about a millisecond) and then run any number of times, from any thread,
// on one thread: split a large one into panels of C with run_tasks. A panel's bits do not depend on
// how many threads there are.
//
// Checked against: sums in double, every combination of the options.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "med3d/kernels/cpu.h"

namespace med3d {

struct MatmulShape {
  std::size_t m = 0;         // rows of C
  std::size_t n = 0;         // columns of C
  std::size_t k = 0;         // terms of each sum
  bool transpose_a = false;  // A is stored (k, m)
  bool transpose_b = false;  // B is stored (n, k)
  // Elements from one stored row to the next; 0 = the rows lie back to back.
  std::size_t stride_a = 0;
  std::size_t stride_b = 0;
  std::size_t stride_c = 0;
  bool accumulate = false;  // add to what C holds
  bool bias = false;        // add bias (n,) to each row
  bool relu = false;        // then max(., 0)
};

class Matmul {
 public:
  // Throws Error(kUsage) for an empty shape or a stride shorter than its row, kUnsupported where
  // the processor cannot compute in that arithmetic at all (bf16 needs AVX-512; native_bf16() says
  // whether it is worth it).
  Matmul(const MatmulShape& shape, Arithmetic arithmetic);
  Matmul(Matmul&&) noexcept;
  Matmul& operator=(Matmul&&) noexcept;
  ~Matmul();

  // a, b as stored; c (m, n); bias (n,) where the shape asks for one. C must not overlap A or B.
  // Throws Error(kUsage) if the type is not that of the arithmetic, or a bias is missing.
  void run(const float* a, const float* b, float* c, const float* bias = nullptr) const;
  void run(const std::uint16_t* a,
           const std::uint16_t* b,
           float* c,
           const float* bias = nullptr) const;  // bf16 bits

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// f32 to bf16, rounded to the nearest, ties to even; NaN stays NaN. `to` as long as `from`.
void to_bf16(std::span<const float> from, std::uint16_t* to);

}  // namespace med3d
