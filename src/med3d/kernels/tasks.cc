#include "med3d/kernels/tasks.h"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>

#include "med3d/kernels/cpu.h"

namespace med3d {

void run_tasks(std::size_t count, const std::function<void(std::size_t)>& work) {
  const int threads = static_cast<int>(
      std::min<std::size_t>(count, static_cast<std::size_t>(std::max(1, kernel_threads()))));
  if (threads <= 1) {
    const ThreadScope one(1);
    for (std::size_t i = 0; i < count; ++i) work(i);
    return;
  }
  std::atomic<std::size_t> next{0};
  std::atomic<bool> failed{false};
  std::mutex mutex;
  std::exception_ptr first_error;
  std::size_t first_index = count;
#pragma omp parallel num_threads(threads)
  {
    // Of this thread of the team alone: it ends with the region.
    omp_set_num_threads(1);
    while (!failed.load(std::memory_order_relaxed)) {
      const std::size_t i = next.fetch_add(1);
      if (i >= count) break;
      try {
        work(i);
      } catch (...) {
        const std::lock_guard lock(mutex);
        failed = true;
        if (i < first_index) {
          first_index = i;
          first_error = std::current_exception();
        }
      }
    }
  }
  if (first_error) std::rethrow_exception(first_error);
}

}  // namespace med3d
