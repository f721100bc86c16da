// What `med3d doctor` says of one thing it looked at.
#pragma once

#include <string>

namespace med3d {

enum class CheckState { kOk, kWarning, kFailed };

struct Check {
  std::string name;
  CheckState state = CheckState::kOk;
  std::string found;   // what is there
  std::string advice;  // what to do about it; empty if all is well
};

// Whether matrix products are as fast as they should be. gflops: single precision, one thread.
// Below 15 it is a warning: the reference BLAS reaches about 6, OpenBLAS more than 50, on a
// processor of 2022 with AVX2 or AVX-512.
Check matrix_product_check(double gflops);

}  // namespace med3d
