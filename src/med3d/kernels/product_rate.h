// How fast this machine multiplies matrices: what a share of the peak is a share of.
#pragma once

#include <cstdint>
#include <memory>

#include "med3d/kernels/cpu.h"

namespace med3d {

// A product of two square matrices by oneDNN, in layouts of its own choice: the fastest that
// the library beneath all our kernels does here. Take turns with what is to be compared, so that
// both meet the same neighbours and the same clock.
//
// Holds three matrices: 192 MiB for 4,096 in f32.
class ProductRate {
 public:
  // threads   of the product
  // side      of the matrices; from about 2,000 on the rate does not grow
  // Throws Error(kUnsupported) for kInt8, and where the processor cannot compute the arithmetic.
  ProductRate(Arithmetic arithmetic, int threads, std::int64_t side = 4096);
  ~ProductRate();
  ProductRate(const ProductRate&) = delete;
  ProductRate& operator=(const ProductRate&) = delete;

  void run();                 // once
  double operations() const;  // multiplications and additions of one run

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace med3d
