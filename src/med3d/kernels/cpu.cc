#include "med3d/kernels/cpu.h"

#include <omp.h>

#include <algorithm>

#include "med3d/kernels/internal/onednn.h"

namespace med3d {

namespace {

// oneDNN numbers its instruction sets as bit masks: a set holds the bits of those it builds on.
bool has_isa(dnnl::cpu_isa isa) {
  const auto wanted = static_cast<unsigned>(isa);
  return (static_cast<unsigned>(dnnl::get_effective_cpu_isa()) & wanted) == wanted;
}

}  // namespace

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
