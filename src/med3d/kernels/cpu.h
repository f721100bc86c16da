// What this processor computes natively, and how many threads the kernels of a thread may use.
#pragma once

namespace med3d {

// Number format of weights and activations. Biases and results are f32 in all of them.
enum class Arithmetic {
  kF32,
  kBf16,  // 8 bits of fraction: about 3e-3 relative; half the memory, twice the speed where native
  kInt8,  // nets of convolutions on tiles only, with scales from a calibration (conv_net.h)
};

// True where the processor multiplies bf16 itself (AVX-512 BF16, AMX). Elsewhere the library
// beneath would emulate it, slower than f32: callers then take f32.
bool native_bf16();

// True where it multiplies int8 itself (VNNI).
bool native_int8();

// Sets the number of OpenMP threads that kernels called from this thread use, and restores the
// number it found when it goes out of scope.
//
// A kernel is built for a number of threads: build and run it under the same number. Results are
// bit-identical for one number; f32 sums may be split differently for another.
//
// threads   of the computation; less than 1 counts as 1
class ThreadScope {
 public:
  explicit ThreadScope(int threads);
  ~ThreadScope();
  ThreadScope(const ThreadScope&) = delete;
  ThreadScope& operator=(const ThreadScope&) = delete;

 private:
  int before_;
};

// The number in force on this thread.
int kernel_threads();

}  // namespace med3d
