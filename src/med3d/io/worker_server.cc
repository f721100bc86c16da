// The worker's side: giving up what reading does not need, then one request after the other.

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <new>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/core/limits.h"
#include "med3d/io/worker.h"
#include "med3d/io/worker_internal.h"

namespace med3d {
namespace {

constexpr rlim_t kMostFiles = 1024;  // a slide of DICOM or MIRAX is many
constexpr std::size_t kMostMessage = 64 << 10;

std::uint64_t address_space_bytes() {
  unsigned long pages = 0;
  if (std::FILE* statm = std::fopen("/proc/self/statm", "re")) {
    if (std::fscanf(statm, "%lu", &pages) != 1) pages = 0;
    std::fclose(statm);
  }
  return pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

void set_limit(__rlimit_resource resource, rlim_t value) {
  rlimit limit{};
  ::getrlimit(resource, &limit);
  limit.rlim_max = std::min(value, limit.rlim_max);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(resource, &limit);
}

// The kernel ends us when the parent's end of the pipe is closed, which its own end does, too: by
// SIGIO, whose default is that. (PR_SET_PDEATHSIG would end us with the thread that started us.)
void end_with_parent() {
  ::fcntl(worker::kLifeFd, F_SETOWN, ::getpid());
  ::fcntl(worker::kLifeFd, F_SETFL, ::fcntl(worker::kLifeFd, F_GETFL) | O_ASYNC);
  pollfd life{worker::kLifeFd, POLLIN, 0};
  if (::poll(&life, 1, 0) != 0) ::_exit(0);  // it was quicker
}

// Throws away what a stop of the parent sends to all its children: it decides when we end.
void ignore_stops() {
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE}) {
    ::signal(number, SIG_IGN);
  }
}

// A sanitizer's handlers would tell of a crash where nobody listens, and hide its signal.
void die_of_crashes() {
  for (const int number : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP}) {
    ::signal(number, SIG_DFL);
  }
}

class Server {
 public:
  explicit Server(std::span<const WorkerService* const> services) : services_(services) {}

  [[noreturn]] void run() {
    ignore_stops();
    die_of_crashes();
    end_with_parent();
    for (;;) {
      const worker::RequestHead head = receive_head();
      std::string body(head.bytes, '\0');
      receive(body.data(), body.size());
      switch (head.op) {
        case worker::Op::kHello:
          hello(body);
          break;
        case worker::Op::kBegin:
          begin(body);
          break;
        case worker::Op::kCall:
          call(body);
          break;
        case worker::Op::kEnd:
          session_.reset();
          if (shared_.size() > worker::kKeptSharedBytes) unmap();
          break;
        default:
          ::_exit(1);
      }
    }
  }

 private:
  void hello(const std::string& body) {
    MessageReader reader(body);
    Limits told;
    if (reader.text() != worker::kProtocol) ::_exit(1);
    const std::string numbers = reader.text();
    if (numbers.size() != sizeof(told)) ::_exit(1);
    std::memcpy(&told, numbers.data(), sizeof(told));
    set_limits(told);

    set_limit(RLIMIT_CORE, 0);
    set_limit(RLIMIT_FSIZE, 0);
    set_limit(RLIMIT_NOFILE, kMostFiles);
    const std::uint64_t mapped = address_space_bytes();  // a sanitizer's is terabytes
    if (mapped > 0) set_limit(RLIMIT_AS, mapped + told.worker_bytes);
    ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    const std::string reason = worker::filter_system_calls();

    MessageWriter answer;
    answer.text(worker::kProtocol).value(reason.empty()).text(reason);
    answer.value(static_cast<std::uint64_t>(services_.size()));
    for (const WorkerService* service : services_) answer.text(service->name);
    send(worker::Status::kDone, answer.bytes());
  }

  void begin(const std::string& body) {
    MessageReader reader(body);
    const std::string name = reader.text();
    const std::string folder = reader.text();
    if (!folder.empty() && ::chdir(folder.c_str()) != 0) ::_exit(1);
    for (const WorkerService* service : services_) {
      if (service->name == name) session_ = service->start();
    }
  }

  void call(const std::string& body) {
    ErrorKind kind = ErrorKind::kFormat;
    std::string what;
    try {
      if (!session_) throw Error(ErrorKind::kUsage, "no session");
      MessageReader request(body);
      MessageWriter answer;
      session_->serve(request, shared_, answer);
      if (answer.bytes().size() > worker::kMostBytes) {
        throw Error(ErrorKind::kFormat, "what it says of itself is too large");
      }
      send(worker::Status::kDone, answer.bytes());
      return;
    } catch (const Error& error) {
      kind = error.kind();
      what = error.what();
    } catch (const std::bad_alloc&) {
      what = fmt::format("it asks for more than the {} MiB of memory that a decoder has",
                         limits().worker_bytes >> 20U);
    } catch (const std::exception& error) {
      what = error.what();
    }
    MessageWriter answer;
    answer.value(static_cast<int>(kind)).text(std::string_view(what).substr(0, kMostMessage));
    send(worker::Status::kError, answer.bytes());
  }

  void send(worker::Status status, std::string_view body) {
    worker::AnswerHead head;
    head.magic = worker::kMagic;
    head.status = status;
    head.bytes = body.size();
    std::string bytes(reinterpret_cast<const char*>(&head), sizeof(head));
    bytes += body;
    const char* at = bytes.data();
    std::size_t left = bytes.size();
    while (left > 0) {
      const auto n = ::send(worker::kSocketFd, at, left, MSG_NOSIGNAL);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) ::_exit(0);
      at += n;
      left -= static_cast<std::size_t>(n);
    }
  }

  // The first bytes of a request, with which a descriptor may come.
  worker::RequestHead receive_head() {
    worker::RequestHead head;
    iovec part{&head, sizeof(head)};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    ssize_t n = -1;
    do {
      n = ::recvmsg(worker::kSocketFd, &message, MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n <= 0) ::_exit(0);  // the parent needs us no more
    receive(reinterpret_cast<char*>(&head) + n, sizeof(head) - static_cast<std::size_t>(n));
    if (head.magic != worker::kMagic || head.bytes > worker::kMostBytes) ::_exit(1);
    const cmsghdr* entry = CMSG_FIRSTHDR(&message);
    if (entry != nullptr && entry->cmsg_type == SCM_RIGHTS) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(entry), sizeof(fd));
      map(fd, head.shared_bytes);
    }
    return head;
  }

  void receive(char* at, std::size_t size) {
    while (size > 0) {
      const auto n = ::recv(worker::kSocketFd, at, size, 0);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) ::_exit(0);
      at += n;
      size -= static_cast<std::size_t>(n);
    }
  }

  void map(int fd, std::uint64_t bytes) {
    unmap();
    void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ::close(fd);
    if (memory == MAP_FAILED) return;  // the request finds no room
    shared_ = {static_cast<std::uint8_t*>(memory), bytes};
  }

  void unmap() {
    if (!shared_.empty()) ::munmap(shared_.data(), shared_.size());
    shared_ = {};
  }

  std::span<const WorkerService* const> services_;
  std::unique_ptr<WorkerSession> session_;
  std::span<std::uint8_t> shared_;
};

}  // namespace

std::optional<int> serve_as_worker(int argc,
                                   char** argv,
                                   std::span<const WorkerService* const> services) {
  if (argc != 2 || std::strcmp(argv[1], worker::kArgument) != 0) return std::nullopt;
  int type = 0;
  socklen_t size = sizeof(type);
  // Somebody typed it.
  if (::getsockopt(worker::kSocketFd, SOL_SOCKET, SO_TYPE, &type, &size) != 0) return 2;
  Server(services).run();
}

}  // namespace med3d
