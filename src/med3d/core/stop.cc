#include "med3d/core/stop.h"

#include <atomic>

namespace med3d {
namespace {

// Lock-free, so that a signal handler may write it.
std::atomic<int> requested{0};
static_assert(std::atomic<int>::is_always_lock_free);

}  // namespace

void request_stop(int signal) noexcept { requested.store(signal, std::memory_order_relaxed); }

void clear_stop() noexcept { requested.store(0, std::memory_order_relaxed); }

bool stop_requested() noexcept { return requested.load(std::memory_order_relaxed) != 0; }

void throw_if_stopped() {
  if (const int signal = requested.load(std::memory_order_relaxed); signal != 0) {
    throw Stopped(signal);
  }
}

}  // namespace med3d
