// The parent's side: starting workers, keeping idle ones, asking them, and telling how they died.

#include "med3d/io/worker.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "med3d/core/error.h"
#include "med3d/core/limits.h"
#include "med3d/io/worker_internal.h"

namespace med3d {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr int kMostSessions = 200;     // of one worker: libraries leak
constexpr std::size_t kMostIdle = 64;  // workers that wait
constexpr std::uint64_t kSharedUnit = 1ULL << 20;
constexpr std::chrono::seconds kStartTime{60};  // the machine may be busy

// A descriptor that is closed when it goes.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  void close() { Descriptor gone(std::exchange(fd_, -1)); }

 private:
  int fd_ = -1;
};

// Memory that a worker fills and this process only reads. Sealed: a worker cannot shorten it, which
// would end us by a signal when we read on.
class SharedMemory {
 public:
  SharedMemory() = default;
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  ~SharedMemory() { release(); }

  void make(std::uint64_t bytes) {
    release();
    Descriptor fd(::memfd_create("med3d-pixels", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    void* memory = MAP_FAILED;
    if (fd.get() >= 0 && ::ftruncate(fd.get(), static_cast<off_t>(bytes)) == 0 &&
        ::fcntl(fd.get(), F_ADD_SEALS, seals) == 0) {
      memory = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, fd.get(), 0);
    }
    if (memory == MAP_FAILED) {
      throw Error(
          ErrorKind::kIo,
          fmt::format(
              "no memory of {} bytes to share with a decoder: {}", bytes, std::strerror(errno)));
    }
    fd_ = std::move(fd);
    memory_ = static_cast<const std::uint8_t*>(memory);
    bytes_ = bytes;
  }

  void release() {
    if (memory_ != nullptr) ::munmap(const_cast<std::uint8_t*>(memory_), bytes_);
    memory_ = nullptr;
    bytes_ = 0;
    fd_.close();
  }

  int fd() const { return fd_.get(); }
  std::uint64_t bytes() const { return bytes_; }
  const std::uint8_t* data() const { return memory_; }

 private:
  Descriptor fd_;
  const std::uint8_t* memory_ = nullptr;
  std::uint64_t bytes_ = 0;
};

// No worker can be started; not the fault of a file.
struct NoWorker {
  std::string reason;
};

// Why a worker ended or is to be ended.
struct Ended {
  std::string how;  // "the decoder crashed (signal 6)"
};

// What a worker gets of our environment: where libraries are, and what those who test it say. Not
// the rest, in which there may be keys.
std::vector<std::string> environment() {
  std::vector<std::string> kept;
  for (const char* name : {"LD_LIBRARY_PATH",
                           "LD_PRELOAD",
                           "DCMDICTPATH",
                           "LANG",
                           "LC_ALL",
                           "ASAN_OPTIONS",
                           "UBSAN_OPTIONS",
                           "TSAN_OPTIONS"}) {
    if (const char* value = std::getenv(name)) kept.push_back(std::string(name) + "=" + value);
  }
  return kept;
}

class Worker {
 public:
  explicit Worker(const fs::path& program) : owner_(::getpid()) {
    start(program);
    try {
      hello();
    } catch (...) {
      stop();  // no destructor runs after a constructor that threw
      throw;
    }
  }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  ~Worker() {
    socket_.close();
    life_.close();
    // In a copy of the process that made it (fork) it is not ours to end.
    if (pid_ > 0 && owner_ == ::getpid()) {
      ::kill(pid_, SIGKILL);
      collect();
    }
  }

  bool ours() const { return owner_ == ::getpid(); }
  // One that waits may have been killed by a system that is short of memory.
  bool alive() {
    if (::waitpid(pid_, nullptr, WNOHANG) == 0) return true;
    pid_ = -1;
    return false;
  }
  bool filtered() const { return filtered_; }
  const std::string& reason() const { return reason_; }
  bool knows(std::string_view service) const {
    return std::ranges::find(services_, service) != services_.end();
  }
  bool used_up() const { return sessions_ >= kMostSessions; }

  void begin(std::string_view service) {
    ++sessions_;
    std::error_code failed;
    const fs::path folder = fs::current_path(failed);
    MessageWriter body;
    body.text(service).text(failed ? "" : folder.string());
    send(worker::Op::kBegin, body.bytes());
  }

  void end() {
    send(worker::Op::kEnd, "");
    if (shared_.bytes() > worker::kKeptSharedBytes) shared_.release();
  }

  // Throws Ended or the worker's own Error.
  std::string call(const std::string& body, std::uint64_t shared_bytes) {
    bool fresh = false;
    if (shared_bytes > shared_.bytes()) {
      const std::uint64_t units = (shared_bytes - 1) / kSharedUnit + 1;
      shared_.make(checked_multiply(units, kSharedUnit, "memory for a decoder"));
      fresh = true;
    }
    allow_processor_time();
    send(worker::Op::kCall, body, fresh);
    return answer();
  }

  std::span<const std::uint8_t> shared() const { return {shared_.data(), shared_.bytes()}; }

 private:
  void start(const fs::path& program) {
    const auto fail = [](std::string_view what, int reason) {
      throw NoWorker{fmt::format("{}: {}", what, std::strerror(reason))};
    };
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) fail("no socket", errno);
    Descriptor ours(ends[0]);
    Descriptor theirs(ends[1]);
    if (::pipe2(ends, O_CLOEXEC) != 0) fail("no pipe", errno);
    Descriptor life_theirs(ends[0]);
    Descriptor life_ours(ends[1]);
    // Out of the way of the numbers that they get there.
    constexpr int kAbove = 16;
    theirs = Descriptor(::fcntl(theirs.get(), F_DUPFD_CLOEXEC, kAbove));
    life_theirs = Descriptor(::fcntl(life_theirs.get(), F_DUPFD_CLOEXEC, kAbove));
    if (theirs.get() < 0 || life_theirs.get() < 0) fail("no descriptor", errno);

    // fork() of a process with threads may only exec; posix_spawn does that without copying it.
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    ::posix_spawn_file_actions_init(&files);
    ::posix_spawnattr_init(&attributes);
    for (int standard = 0; standard < 3; ++standard) {
      ::posix_spawn_file_actions_addopen(&files, standard, "/dev/null", O_RDWR, 0);
    }
    ::posix_spawn_file_actions_adddup2(&files, theirs.get(), worker::kSocketFd);
    ::posix_spawn_file_actions_adddup2(&files, life_theirs.get(), worker::kLifeFd);
    ::posix_spawn_file_actions_addclosefrom_np(&files, worker::kLifeFd + 1);
    // A group of its own: what a terminal sends to stop us must not look like a crash.
    ::posix_spawnattr_setpgroup(&attributes, 0);
    sigset_t all;
    sigset_t none;
    sigfillset(&all);
    sigemptyset(&none);
    ::posix_spawnattr_setsigdefault(&attributes, &all);
    ::posix_spawnattr_setsigmask(&attributes, &none);
    ::posix_spawnattr_setflags(
        &attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    std::string name = "med3d";
    std::string argument = worker::kArgument;
    char* argv[] = {name.data(), argument.data(), nullptr};
    std::vector<std::string> variables = environment();
    std::vector<char*> envp;
    envp.reserve(variables.size() + 1);
    for (std::string& variable : variables) envp.push_back(variable.data());
    envp.push_back(nullptr);
    pid_t pid = -1;
    const int result = ::posix_spawn(&pid, program.c_str(), &files, &attributes, argv, envp.data());
    ::posix_spawn_file_actions_destroy(&files);
    ::posix_spawnattr_destroy(&attributes);
    if (result != 0) fail(program.string() + " cannot be started", result);
    pid_ = pid;
    socket_ = std::move(ours);
    life_ = std::move(life_ours);
  }

  void hello() {
    MessageWriter body;
    const Limits& now = limits();
    body.text(worker::kProtocol)
        .text({reinterpret_cast<const char*>(&now), sizeof(now)});  // numbers only, same build
    try {
      wait_at_most(kStartTime);
      send(worker::Op::kHello, body.bytes());
      const std::string bytes = answer();
      MessageReader reader(bytes);
      if (reader.text() != worker::kProtocol) throw NoWorker{"the worker is of another build"};
      filtered_ = reader.value<bool>();
      reason_ = reader.text();
      for (auto n = reader.count(1000); n > 0; --n) services_.push_back(reader.text());
      reader.end();
      // Its limits are those that were in force when it was told them.
      wait_at_most(
          std::chrono::seconds(std::min<std::uint64_t>(now.worker_wall_seconds, 1U << 30U)));
    } catch (const Ended& ended) {
      throw NoWorker{"the worker did not start: " + ended.how};
    } catch (const Error& error) {
      throw NoWorker{std::string("the worker did not start: ") + error.what()};
    }
  }

  void stop() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      collect();
    }
  }

  // The status it ended with, or nothing if somebody else has collected it.
  std::optional<int> collect() {
    int status = 0;
    pid_t got = 0;
    do {
      got = ::waitpid(pid_, &status, 0);
    } while (got < 0 && errno == EINTR);
    pid_ = -1;
    return got > 0 ? std::optional<int>(status) : std::nullopt;
  }

  // So much from now on. Looked at again when an eighth of it can have been used up on one core,
  // not before each request: it takes two system calls.
  void allow_processor_time() {
    const std::uint64_t most = std::max<std::uint64_t>(limits().worker_cpu_seconds, 1);
    const auto now = Clock::now();
    if (processor_end_ > 0 && now - processor_looked_ < std::chrono::seconds(most) / 8) return;
    processor_looked_ = now;
    clockid_t clock = 0;
    timespec used{};
    if (::clock_getcpuclockid(pid_, &clock) != 0 || ::clock_gettime(clock, &used) != 0) return;
    rlimit limit{};
    if (::prlimit(pid_, RLIMIT_CPU, nullptr, &limit) != 0) return;
    processor_end_ = static_cast<std::uint64_t>(used.tv_sec) + most + 1;
    limit.rlim_cur = std::min<rlim_t>(processor_end_, limit.rlim_max);
    ::prlimit(pid_, RLIMIT_CPU, &limit, nullptr);
  }

  void send(worker::Op op, std::string_view body, bool with_memory = false) {
    if (body.size() > worker::kMostBytes) {
      throw Error(ErrorKind::kUsage, "a request to a decoder that is too large");
    }
    worker::RequestHead head;
    head.magic = worker::kMagic;
    head.op = op;
    head.bytes = body.size();
    head.shared_bytes = with_memory ? shared_.bytes() : 0;
    iovec parts[2] = {{&head, sizeof(head)}, {const_cast<char*>(body.data()), body.size()}};
    msghdr message{};
    message.msg_iov = parts;
    message.msg_iovlen = 2;
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    if (with_memory) {
      message.msg_control = control;
      message.msg_controllen = sizeof(control);
      cmsghdr* entry = CMSG_FIRSTHDR(&message);
      entry->cmsg_level = SOL_SOCKET;
      entry->cmsg_type = SCM_RIGHTS;
      entry->cmsg_len = CMSG_LEN(sizeof(int));
      const int fd = shared_.fd();
      std::memcpy(CMSG_DATA(entry), &fd, sizeof(fd));
    }
    while (message.msg_iovlen > 0) {
      const auto n = ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) late();
      if (n < 0) died();
      message.msg_control = nullptr;
      message.msg_controllen = 0;
      auto left = static_cast<std::size_t>(n);
      while (message.msg_iovlen > 0 && left >= message.msg_iov->iov_len) {
        left -= message.msg_iov->iov_len;
        ++message.msg_iov;
        --message.msg_iovlen;
      }
      if (message.msg_iovlen > 0) {
        message.msg_iov->iov_base = static_cast<char*>(message.msg_iov->iov_base) + left;
        message.msg_iov->iov_len -= left;
      }
    }
  }

  // How long a call of the system waits for the other side.
  void wait_at_most(std::chrono::seconds most) {
    timeval time{};
    time.tv_sec = static_cast<time_t>(std::max<std::int64_t>(most.count(), 1));
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time));
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_SNDTIMEO, &time, sizeof(time));
    patience_ = most;
  }

  [[noreturn]] void late() {
    stop();
    throw Ended{fmt::format("the decoder gave no answer within {} seconds", patience_.count())};
  }

  void receive(void* data, std::size_t size) {
    const auto end = Clock::now() + patience_;  // also for one that sends a byte now and then
    char* at = static_cast<char*>(data);
    while (size > 0) {
      const auto n = ::recv(socket_.get(), at, size, MSG_WAITALL);
      if (n < 0 && errno != EINTR && errno != EAGAIN && errno != EWOULDBLOCK) died();
      if (n == 0) died();
      if (n > 0) {
        at += n;
        size -= static_cast<std::size_t>(n);
      }
      if (size > 0 && Clock::now() >= end) late();
    }
  }

  std::string answer() {
    worker::AnswerHead head;
    receive(&head, sizeof(head));
    if (head.magic != worker::kMagic || head.bytes > worker::kMostBytes) babbled();
    std::string body(head.bytes, '\0');
    receive(body.data(), body.size());
    if (head.status == worker::Status::kDone) return body;
    if (head.status != worker::Status::kError) babbled();
    ErrorKind kind{};
    std::string what;
    try {
      MessageReader reader(body);
      kind = reader.choice(ErrorKind::kIo);
      what = reader.text();
    } catch (const Error&) {
      babbled();
    }
    throw Error(kind, what);
  }

 public:
  [[noreturn]] void babbled() {
    stop();
    throw Ended{"the decoder was damaged by it and answered nonsense"};
  }

 private:
  // Its end of the socket is closed. Its death follows at once, unless it closed that itself.
  [[noreturn]] void died() {
    using std::chrono::milliseconds;
    int status = 0;
    pid_t got = 0;
    for (int i = 0; i < 500 && got == 0; ++i) {
      got = ::waitpid(pid_, &status, WNOHANG);
      if (got < 0 && errno == EINTR) got = 0;
      if (got == 0) std::this_thread::sleep_for(milliseconds(1));
    }
    if (got == 0) {
      stop();
      babbled();
    }
    pid_ = -1;
    const int number = got > 0 && WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    if (number == SIGXCPU) {
      throw Ended{fmt::format("the decoder took more than {} seconds of processor time",
                              limits().worker_cpu_seconds)};
    }
    if (number == SIGKILL) {
      throw Ended{
          "the decoder was killed (signal 9): the system had no memory for it, or somebody "
          "did it"};
    }
    if (number != 0) throw Ended{fmt::format("the decoder crashed (signal {})", number)};
    throw Ended{"the decoder ended without an answer"};
  }

  pid_t owner_ = -1;
  pid_t pid_ = -1;
  Descriptor socket_;
  Descriptor life_;
  SharedMemory shared_;
  std::chrono::seconds patience_{0};
  bool filtered_ = false;
  std::string reason_;
  std::vector<std::string> services_;
  int sessions_ = 0;
  std::uint64_t processor_end_ = 0;  // seconds of its own clock
  Clock::time_point processor_looked_;
};

// The workers that wait, and what all need to know. One of a process, never destroyed: threads may
// still use it when a program ends, and workers end by themselves then.
class Pool {
 public:
  static Pool& get() {
    static auto* pool = new Pool;
    return *pool;
  }

  void set_program(const fs::path& program) {
    const std::lock_guard lock(mutex_);
    program_ = program;
    forget();
  }
  void set_isolation(Isolation isolation) {
    const std::lock_guard lock(mutex_);
    isolation_ = isolation;
    unusable_.clear();
  }

  // None where files are decoded in this process.
  std::unique_ptr<Worker> take(std::string_view service) {
    fs::path program;
    Isolation mode{};
    {
      const std::lock_guard lock(mutex_);
      if (isolation_ == Isolation::kOff) return nullptr;
      mode = isolation_;
      program = program_;
      if (!unusable_.empty()) return none(mode, unusable_);
      if (std::memcmp(&limits_, &limits(), sizeof(Limits)) != 0) {
        forget();  // they were told others
        limits_ = limits();
      }
      while (!idle_.empty()) {
        auto worker = std::move(idle_.back());
        idle_.pop_back();
        if (!worker->ours() || !worker->alive()) continue;
        if (!service.empty() && !worker->knows(service)) {
          idle_.push_back(std::move(worker));
          break;
        }
        return worker;
      }
    }
    std::string reason = "no program is named that serves as worker";
    if (!program.empty()) {
      try {
        auto worker = std::make_unique<Worker>(program);
        if (service.empty() || worker->knows(service)) {
          const std::lock_guard lock(mutex_);
          started_ = true;
          filtered_ = worker->filtered();
          reason_ = worker->reason();
          return worker;
        }
        reason = fmt::format("the worker cannot serve '{}'", service);
      } catch (const NoWorker& error) {
        reason = error.reason;
      }
    }
    const std::lock_guard lock(mutex_);
    // Where workers ran before, files are not decoded without one because the system is short of
    // something for a moment.
    if (started_) throw Error(ErrorKind::kIo, "no process to decode files in: " + reason);
    unusable_ = reason;
    return none(mode, reason);
  }

  void give_back(std::unique_ptr<Worker> worker) {
    if (worker->used_up() || !worker->ours()) return;
    const std::lock_guard lock(mutex_);
    if (idle_.size() < kMostIdle) idle_.push_back(std::move(worker));
  }

  std::string unusable() {
    const std::lock_guard lock(mutex_);
    return program_.empty() ? "" : unusable_;
  }

  IsolationState state() {
    {
      const std::lock_guard lock(mutex_);
      if (isolation_ == Isolation::kOff) return {false, false, "it is switched off"};
    }
    try {
      if (auto worker = take("")) give_back(std::move(worker));
    } catch (const Error&) {
      // The reason is kept.
    }
    const std::lock_guard lock(mutex_);
    if (!unusable_.empty()) return {false, false, unusable_};
    return {true, filtered_, reason_};
  }

 private:
  static std::unique_ptr<Worker> none(Isolation mode, const std::string& reason) {
    if (mode == Isolation::kAuto) return nullptr;
    throw Error(ErrorKind::kUnsupported,
                "files cannot be decoded in processes of their own here: " + reason);
  }

  void forget() {
    started_ = false;
    idle_.clear();
    unusable_.clear();
  }

  std::mutex mutex_;
  fs::path program_;
  Isolation isolation_ = Isolation::kAuto;
  Limits limits_;
  std::string unusable_;  // why no worker can be started; empty: not known, or one can
  bool started_ = false;
  bool filtered_ = false;
  std::string reason_;
  std::vector<std::unique_ptr<Worker>> idle_;
};

}  // namespace

void set_worker_program(const fs::path& program) { Pool::get().set_program(program); }
void set_isolation(Isolation isolation) { Pool::get().set_isolation(isolation); }
IsolationState isolation() { return Pool::get().state(); }
std::string unisolated_because() { return Pool::get().unusable(); }

class IsolatedSession::Impl {
 public:
  Impl(std::unique_ptr<Worker> worker, std::string source)
      : worker_(std::move(worker)), source_(std::move(source)) {}

  ~Impl() {
    if (!worker_ || damaged_) return;
    try {
      worker_->end();
      Pool::get().give_back(std::move(worker_));
    } catch (...) {
      // It died after its last answer, which was good.
    }
  }

  void begin(std::string_view service) {
    guarded([&] {
      worker_->begin(service);
      return std::string();
    });
  }

  std::string call(const MessageWriter& request, std::uint64_t shared_bytes) {
    if (!worker_) fail();
    if (shared_bytes > limits().worker_bytes) {
      throw Error(ErrorKind::kUsage,
                  with_source(fmt::format("{} bytes at once, more than the {} of a decoder",
                                          shared_bytes,
                                          limits().worker_bytes)));
    }
    return guarded([&] { return worker_->call(request.bytes(), shared_bytes); });
  }

  std::span<const std::uint8_t> shared() const {
    return worker_ ? worker_->shared() : std::span<const std::uint8_t>();
  }

  [[noreturn]] void nonsense() {
    guarded([&]() -> std::string { worker_->babbled(); });
    std::abort();  // not reached: the above throws
  }

 private:
  template <class Work>
  std::string guarded(const Work& work) {
    try {
      return work();
    } catch (const Ended& ended) {
      worker_.reset();
      how_ = ended.how;
      fail();
    } catch (const Error& error) {
      // Memory that a damaged file may have spoilt is not used for the next.
      if (error.kind() == ErrorKind::kFormat) damaged_ = true;
      throw;
    }
  }

  std::string with_source(const std::string& what) const {
    return source_.empty() ? what : source_ + ": " + what;
  }
  [[noreturn]] void fail() const { throw Error(ErrorKind::kFormat, with_source(how_)); }

  std::unique_ptr<Worker> worker_;
  std::string source_;
  std::string how_;
  bool damaged_ = false;
};

std::unique_ptr<IsolatedSession> IsolatedSession::start(std::string_view service,
                                                        std::string source) {
  // One that died while it waited is no fault of this file; the next may have, too.
  for (int attempt = 0;; ++attempt) {
    auto worker = Pool::get().take(service);
    if (!worker) return nullptr;
    try {
      worker->begin(service);
    } catch (const Ended&) {
      if (attempt < 100) continue;
      throw Error(ErrorKind::kIo, "decoders are killed as soon as they are started");
    }
    return std::unique_ptr<IsolatedSession>(
        new IsolatedSession(std::make_unique<Impl>(std::move(worker), std::move(source))));
  }
}

IsolatedSession::IsolatedSession(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
IsolatedSession::~IsolatedSession() = default;
std::string IsolatedSession::call(const MessageWriter& request, std::uint64_t shared_bytes) {
  return impl_->call(request, shared_bytes);
}
std::span<const std::uint8_t> IsolatedSession::shared() const { return impl_->shared(); }
void IsolatedSession::nonsense() { impl_->nonsense(); }

}  // namespace med3d
