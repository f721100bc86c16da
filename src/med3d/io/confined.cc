#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <mutex>
#include <new>
#include <utility>

#include "med3d/io/confined_internal.h"

namespace med3d {
namespace {

constexpr std::uint64_t kResultMark = 0x6D65643364726573ULL;
constexpr std::uint64_t kErrorMark = 0x6D65643364657272ULL;
constexpr std::uint64_t kMaxMessageBytes = 4096;

// Held from the making of a pipe until its write end is closed here, so that no other child
// inherits that end: it would keep the pipe open and hide the first child's death.
std::mutex& fork_mutex() {
  static std::mutex mutex;
  return mutex;
}

std::uint64_t address_space_bytes() {
  unsigned long pages = 0;
  if (std::FILE* statm = std::fopen("/proc/self/statm", "re")) {
    if (std::fscanf(statm, "%lu", &pages) != 1) pages = 0;
    std::fclose(statm);
  }
  return pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

void set_limit(__rlimit_resource resource, std::uint64_t value) {
  struct rlimit limit {};
  limit.rlim_cur = value;
  limit.rlim_max = value;
  ::setrlimit(resource, &limit);
}

// Gives up what reading does not need. `fd` is the pipe; the one returned replaces it.
int confine(int fd, const ConfinedOptions& options) {
  // Handlers of the host program (a sanitizer's, a crash reporter's) would run in the child.
  for (const int number :
       {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGXCPU, SIGXFSZ, SIGPIPE, SIGTERM, SIGINT}) {
    ::signal(number, SIG_DFL);
  }
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  set_limit(RLIMIT_CORE, 0);
  set_limit(RLIMIT_FSIZE, 0);
  set_limit(RLIMIT_CPU, static_cast<std::uint64_t>(options.processor_time.count()));
  // The parent may have mapped any amount (a GPU runtime reserves terabytes), so that is added to.
  const std::uint64_t mapped = address_space_bytes();
  if (mapped > 0) set_limit(RLIMIT_AS, mapped + options.memory_bytes);
  // The C library prints a line before it aborts on a damaged heap; nobody is to see it.
  const int null = ::open("/dev/null", O_RDWR);
  for (int standard = 0; standard < 3 && null >= 0; ++standard) {
    if (::dup2(null, standard) < 0) break;
  }
  const int kept = ::dup2(fd, 3) == 3 ? 3 : fd;
  if (kept == 3) ::close_range(4, ~0U, 0);
  return kept;
}

}  // namespace

void ConfinedSender::bytes(const void* data, std::size_t size) const {
  const char* at = static_cast<const char*>(data);
  while (size > 0) {
    const auto n = ::write(fd_, at, size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) ::_exit(1);  // the parent is gone
    at += n;
    size -= static_cast<std::size_t>(n);
  }
}

void ConfinedSender::result() const { number(kResultMark); }

void ConfinedSender::error(ErrorKind kind, std::string_view message) const {
  number(kErrorMark);
  number(static_cast<std::uint64_t>(kind));
  text(message.substr(0, kMaxMessageBytes));
}

ConfinedChild::ConfinedChild(std::string source,
                             const ConfinedOptions& options,
                             const std::function<void(const ConfinedSender&)>& work)
    : source_(std::move(source)),
      options_(options),
      end_(std::chrono::steady_clock::now() + options.wall_time) {
  const std::lock_guard lock(fork_mutex());
  int ends[2] = {-1, -1};
  if (::pipe2(ends, O_CLOEXEC) == 0) {
    pid_ = ::fork();
    if (pid_ == 0) {
      // Nothing of the parent may run here again: no destructor, no exit handler, no flush.
      const ConfinedSender sender(confine(ends[1], options_));
      try {
        work(sender);
      } catch (const Error& error) {
        sender.error(error.kind(), error.what());
      } catch (const std::bad_alloc&) {
        sender.error(ErrorKind::kFormat, "it asks for more memory than a file of its size may");
      } catch (const std::exception& error) {
        sender.error(ErrorKind::kFormat, error.what());
      } catch (...) {
        ::_exit(1);
      }
      ::_exit(0);
    }
    ::close(ends[1]);
  }
  if (pid_ < 0) {
    const int reason = errno;
    if (ends[0] >= 0) ::close(ends[0]);
    throw Error(ErrorKind::kIo,
                fmt::format("{}: no process to read it in: {}", source_, std::strerror(reason)));
  }
  fd_ = ends[0];
}

ConfinedChild::~ConfinedChild() {
  ::close(fd_);
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    collect();
  }
}

void ConfinedChild::fail(const std::string& what) const {
  throw Error(ErrorKind::kFormat, fmt::format("{}: {}", source_, what));
}

void ConfinedChild::nonsense() const {
  fail(options_.library + " was damaged by it and answered nonsense");
}

int ConfinedChild::collect() {
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0) {
    if (errno != EINTR) {
      status = 0;
      break;
    }
  }
  pid_ = -1;
  return status;
}

void ConfinedChild::ended_early() {
  const int status = collect();
  const int number = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  if (number == SIGXCPU || number == SIGKILL) {
    fail(fmt::format("reading it took more than {} seconds of processor time, or was killed",
                     options_.processor_time.count()));
  }
  if (number != 0) fail(fmt::format("{} crashed on it (signal {})", options_.library, number));
  fail(options_.library + " ended on it without an answer");
}

void ConfinedChild::wait_for_result() {
  const std::uint64_t mark = number();
  if (mark == kResultMark) return;
  if (mark != kErrorMark) nonsense();
  const std::uint64_t kind = number();
  if (kind > static_cast<std::uint64_t>(ErrorKind::kIo)) nonsense();
  throw Error(static_cast<ErrorKind>(kind), fmt::format("{}: {}", source_, text(kMaxMessageBytes)));
}

void ConfinedChild::bytes(void* data, std::size_t size) {
  char* at = static_cast<char*>(data);
  while (size > 0) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
                          end_ - std::chrono::steady_clock::now())
                          .count();
    struct pollfd ready {};
    ready.fd = fd_;
    ready.events = POLLIN;
    const int count = left > 0 ? ::poll(&ready, 1, static_cast<int>(left)) : 0;
    if (count < 0 && errno == EINTR) continue;
    if (count == 0) {
      fail(fmt::format("reading it took more than {} seconds", options_.wall_time.count()));
    }
    const auto n = count < 0 ? -1 : ::read(fd_, at, size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      throw Error(
          ErrorKind::kIo,
          fmt::format(
              "{}: {} cannot be heard: {}", source_, options_.library, std::strerror(errno)));
    }
    if (n == 0) ended_early();
    at += n;
    size -= static_cast<std::size_t>(n);
  }
}

std::uint64_t ConfinedChild::number() {
  std::uint64_t value = 0;
  bytes(&value, sizeof(value));
  return value;
}

std::string ConfinedChild::text(std::uint64_t most_bytes) {
  const std::uint64_t size = number();
  if (size > most_bytes) nonsense();
  std::string value(size, '\0');
  bytes(value.data(), value.size());
  return value;
}

}  // namespace med3d
