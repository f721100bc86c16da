// The calls that a worker may make, as a filter for the kernel (seccomp(2), "classic" BPF).
//
// Written by hand: the list is short, and a library for it would be one more in every start.

#include <asm/ioctls.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <initializer_list>
#include <vector>

#include "med3d/io/worker_internal.h"

namespace med3d::worker {
namespace {

#if defined(__x86_64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#else
constexpr std::uint32_t kArchitecture = 0;
#endif

// Allowed whatever their arguments. What is not here: anything that makes, changes or removes a
// file, a socket, a process or another one's memory.
constexpr int kAllowed[] = {
    // reading files
    SYS_read,
    SYS_readv,
    SYS_pread64,
    SYS_preadv,
    SYS_lseek,
    SYS_close,
    SYS_close_range,
    SYS_fstat,
    SYS_newfstatat,
    SYS_statx,
    SYS_fstatfs,
    SYS_statfs,
    SYS_faccessat,
    SYS_readlinkat,
    SYS_getdents64,
    SYS_getcwd,
    SYS_chdir,
    SYS_fadvise64,
    SYS_dup,
    SYS_dup3,
    SYS_flock,
    SYS_faccessat2,
    // answering; there is no descriptor to write to but the parent's
    SYS_write,
    SYS_writev,
    SYS_sendmsg,
    SYS_sendto,
    SYS_recvmsg,
    SYS_recvfrom,
    SYS_ppoll,
    SYS_pselect6,
    SYS_pipe2,
    SYS_eventfd2,
    // memory, and libraries that are opened on demand
    SYS_mmap,
    SYS_munmap,
    SYS_mprotect,
    SYS_mremap,
    SYS_madvise,
    SYS_brk,
    SYS_mincore,
    SYS_msync,
    SYS_get_mempolicy,
    // threads
    SYS_futex,
    SYS_set_robust_list,
    SYS_get_robust_list,
    SYS_rseq,
    SYS_set_tid_address,
    SYS_sched_yield,
    SYS_sched_getaffinity,
    SYS_sched_getparam,
    SYS_sched_getscheduler,
    SYS_membarrier,
    SYS_exit,
    SYS_exit_group,
    SYS_restart_syscall,
    SYS_getcpu,
    // signals to ourselves: abort() is one
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_rt_sigtimedwait,
    SYS_sigaltstack,
    // who and when
    SYS_getpid,
    SYS_gettid,
    SYS_getppid,
    SYS_getuid,
    SYS_geteuid,
    SYS_getgid,
    SYS_getegid,
    SYS_uname,
    SYS_sysinfo,
    SYS_getrusage,
    SYS_times,
    SYS_gettimeofday,
    SYS_clock_gettime,
    SYS_clock_getres,
    SYS_clock_nanosleep,
    SYS_nanosleep,
    SYS_getrandom,
#if defined(__x86_64__)
    // older ones that newer machines lack
    SYS_stat,
    SYS_lstat,
    SYS_access,
    SYS_readlink,
    SYS_poll,
    SYS_select,
    SYS_dup2,
    SYS_pipe,
    SYS_time,
    SYS_getdents,
    SYS_arch_prctl,
    SYS_getrlimit,
#endif
};

class Filter {
 public:
  void add(std::uint16_t code, std::uint32_t k, std::uint8_t yes = 0, std::uint8_t no = 0) {
    lines_.push_back({code, yes, no, k});
  }
  void load(std::size_t offset) {
    add(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(offset));
  }
  void allow() { add(BPF_RET | BPF_K, SECCOMP_RET_ALLOW); }
  void refuse(int reason) {
    add(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(reason));
  }
  // The number of the call is in the accumulator, here and after each of the following.
  void allow(int call) {
    add(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(call), 0, 1);
    allow();
  }
  void refuse(int call, int reason) {
    add(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(call), 0, 1);
    refuse(reason);
  }
  // Allowed if argument & mask == value, in the lower 32 bits.
  void allow_masked(int call, int argument, std::uint32_t mask, std::uint32_t value) {
    add(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(call), 0, 5);
    load(low(argument));
    add(BPF_ALU | BPF_AND | BPF_K, mask);
    add(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1);
    allow();
    refuse(EPERM);
  }
  void allow_one_of(int call, int argument, std::initializer_list<std::uint32_t> values) {
    const auto count = static_cast<std::uint8_t>(values.size());
    add(BPF_JMP | BPF_JEQ | BPF_K,
        static_cast<std::uint32_t>(call),
        0,
        static_cast<std::uint8_t>(2 * count + 2));
    load(low(argument));
    for (const std::uint32_t value : values) {
      add(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1);
      allow();
    }
    refuse(EPERM);
  }
  // Allowed if the argument, a pointer, is null.
  void allow_null(int call, int argument) {
    add(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(call), 0, 6);
    load(low(argument));
    add(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 3);
    load(low(argument) + 4);
    add(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1);
    allow();
    refuse(EPERM);
  }
  std::vector<sock_filter>& lines() { return lines_; }

 private:
  // Both machines above are little-endian.
  static std::size_t low(int argument) {
    return offsetof(seccomp_data, args) + 8 * static_cast<std::size_t>(argument);
  }
  std::vector<sock_filter> lines_;
};

Filter make_filter() {
  Filter filter;
  filter.load(offsetof(seccomp_data, arch));
  filter.add(BPF_JMP | BPF_JEQ | BPF_K, kArchitecture, 1, 0);
  filter.refuse(ENOSYS);
  // The calls of x32 have bit 30 and are not in the list.
  filter.load(offsetof(seccomp_data, nr));
  for (const int call : kAllowed) filter.allow(call);
  // Files are opened for reading only. (O_TMPFILE needs one of the first two.)
  constexpr std::uint32_t kWriting = O_WRONLY | O_RDWR | O_CREAT | O_TRUNC;
  filter.allow_masked(SYS_openat, 2, kWriting, 0);
#if defined(__x86_64__)
  filter.allow_masked(SYS_open, 1, kWriting, 0);
#endif
  filter.allow_masked(SYS_clone, 0, CLONE_THREAD, CLONE_THREAD);
  // glibc goes on with clone and openat, whose arguments can be looked at.
  filter.refuse(SYS_clone3, ENOSYS);
  filter.refuse(SYS_openat2, ENOSYS);
  const auto self = static_cast<std::uint32_t>(::getpid());
  filter.allow_one_of(SYS_tgkill, 0, {self});
  filter.allow_one_of(SYS_kill, 0, {self});
  filter.allow_null(SYS_prlimit64, 2);  // to ask for a limit, not to raise it
  filter.allow_one_of(SYS_ioctl, 1, {TCGETS});
  // Not F_SETFL and F_SETOWN: the end of the parent must stay our end.
  filter.allow_one_of(
      SYS_fcntl,
      1,
      {F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL, F_GETLK, F_SETLK, F_SETLKW});
  filter.allow_one_of(SYS_prctl, 0, {PR_SET_NAME, PR_GET_NAME});
  filter.refuse(EPERM);
  return filter;
}

}  // namespace

std::string filter_system_calls() {
  if (kArchitecture == 0) return "no filter of system calls for this kind of processor";
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    return std::string("no_new_privs is refused: ") + std::strerror(errno);
  }
  Filter filter = make_filter();
  sock_fprog program{};
  program.len = static_cast<unsigned short>(filter.lines().size());
  program.filter = filter.lines().data();
  if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) != 0) {
    return std::string("the kernel takes no filter of system calls: ") + std::strerror(errno);
  }
  return "";
}

}  // namespace med3d::worker
