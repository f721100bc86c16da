#include "med3d/kernels/cpu.h"

#include <omp.h>

#include <algorithm>

#include "med3d/kernels/internal/onednn.h"

namespace med3d {

using onednn::has_isa;

bool native_bf16() { return has_isa(dnnl::cpu_isa::avx512_core_bf16); }

bool native_int8() {
  return has_isa(dnnl::cpu_isa::avx512_core_vnni) || has_isa(dnnl::cpu_isa::avx2_vnni);
}

ThreadScope::ThreadScope(int threads) : before_(omp_get_max_threads()) {
  omp_set_num_threads(std::max(1, threads));
}

ThreadScope::~ThreadScope() { omp_set_num_threads(before_); }

int kernel_threads() { return omp_get_max_threads(); }

}  // namespace med3d
