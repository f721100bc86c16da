#include "med3d/cli/stop_signals.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <system_error>
#include <thread>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/core/stop.h"

namespace med3d {
namespace {

constexpr int kPatienceMs = 1'500;

std::atomic<int> received{0};
std::atomic<int> wake_fd{-1};

void wake(int fd) {
  const std::uint64_t one = 1;
  // A full counter wakes as well as one.
  [[maybe_unused]] const auto written = ::write(fd, &one, sizeof one);
}

extern "C" void on_signal(int signal) {
  const int error = errno;
  if (received.exchange(signal) != 0) ::_exit(128 + signal);
  request_stop(signal);
  wake(wake_fd.load());
  errno = error;
}

}  // namespace

struct StopSignals::Impl {
  explicit Impl(std::function<void()> words) : last_words(std::move(words)) {}

  std::function<void()> last_words;
  int signalled = -1;
  int finished = -1;
  struct sigaction old_int {};
  struct sigaction old_term {};
  std::thread thread;

  void watch() const {
    pollfd either[2] = {{signalled, POLLIN, 0}, {finished, POLLIN, 0}};
    while (::poll(either, 2, -1) < 0 && errno == EINTR) {
    }
    if (either[1].revents != 0) return;
    pollfd done = {finished, POLLIN, 0};
    while (::poll(&done, 1, kPatienceMs) < 0 && errno == EINTR) {
    }
    if (done.revents != 0) return;
    last_words();
    ::_exit(128 + received.load());
  }
};

StopSignals::StopSignals(std::function<void()> last_words)
    : impl_(new Impl(std::move(last_words))) {
  clear_stop();
  received = 0;
  impl_->signalled = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  impl_->finished = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (impl_->signalled < 0 || impl_->finished < 0) {
    const int reason = errno;
    if (impl_->signalled >= 0) ::close(impl_->signalled);
    delete impl_;
    throw Error(ErrorKind::kIo, "eventfd: " + std::generic_category().message(reason));
  }
  wake_fd = impl_->signalled;
  impl_->thread = std::thread([impl = impl_] { impl->watch(); });
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  ::sigaction(SIGINT, &action, &impl_->old_int);
  ::sigaction(SIGTERM, &action, &impl_->old_term);
  // What the caller chose to ignore (nohup, a background job) stays ignored.
  if (impl_->old_int.sa_handler == SIG_IGN) ::sigaction(SIGINT, &impl_->old_int, nullptr);
  if (impl_->old_term.sa_handler == SIG_IGN) ::sigaction(SIGTERM, &impl_->old_term, nullptr);
}

StopSignals::~StopSignals() {
  ::sigaction(SIGINT, &impl_->old_int, nullptr);
  ::sigaction(SIGTERM, &impl_->old_term, nullptr);
  wake(impl_->finished);
  impl_->thread.join();
  ::close(impl_->signalled);
  ::close(impl_->finished);
  delete impl_;
}

}  // namespace med3d
