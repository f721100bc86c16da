// Needs nothing but the C library: it is loaded into programs that were built otherwise.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include "fault_shim.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

namespace {

enum Call : unsigned {
  kOpen = 1,
  kMake = 2,
  kWrite = 4,
  kSync = 8,
  kName = 16,
  kSize = 32,
  kRead = 64,
  kUnlink = 128
};

struct Kind {
  const char* name;
  int error;  // 0 = a short write
  unsigned calls;
};
constexpr Kind kKinds[] = {
    {"ENOSPC", ENOSPC, kMake | kWrite | kSync | kName | kSize},
    {"EDQUOT", EDQUOT, kMake | kWrite | kSync | kName | kSize},
    {"EIO", EIO, kOpen | kMake | kWrite | kSync | kName | kSize | kRead | kUnlink},
    {"EMFILE", EMFILE, kOpen | kMake},
    {"SHORT", 0, kWrite},
};

pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
char folder[PATH_MAX];
size_t folder_length = 0;
const Kind* kind = nullptr;
long at = 0;
long count = 0;
bool lasts = false;
bool fell = false;
char tell[PATH_MAX];
char recorded[PATH_MAX];
size_t recorded_length = 0;
int record_fd = -1;

template <class Function>
Function* next(Function*, const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}
#define NEXT(function) \
  static auto* const real = next(static_cast<decltype(&::function)>(nullptr), #function)

bool under(const char* path, const char* base, size_t length) {
  return length > 0 && strncmp(path, base, length) == 0 &&
         (path[length] == '/' || path[length] == '\0');
}

// The absolute path, without resolving links in it: the tests use none.
const char* absolute(int dirfd, const char* path, char* out) {
  if (path == nullptr) return "";
  if (path[0] == '/') {
    snprintf(out, PATH_MAX, "%s", path);
    return out;
  }
  char base[PATH_MAX] = "";
  if (dirfd == AT_FDCWD) {
    if (::getcwd(base, sizeof base) == nullptr) return "";
  } else {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", dirfd);
    const ssize_t n = ::readlink(link, base, sizeof base - 1);
    if (n < 0) return "";
    base[n] = '\0';
  }
  const size_t length = strlen(base);
  if (length + strlen(path) + 2 > PATH_MAX) return "";
  memcpy(out, base, length);
  out[length] = '/';
  strcpy(out + length + 1, path);
  return out;
}

const char* path_of(int fd, char* out) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t n = ::readlink(link, out, PATH_MAX - 1);
  if (n < 0) return "";
  out[n] = '\0';
  return out;
}

// Counts a call and says whether it is to fail. errno is set then, unless it is to be short.
bool fails(unsigned call, const char* path) {
  pthread_mutex_lock(&mutex);
  bool now = false;
  if (kind != nullptr && (kind->calls & call) != 0 && under(path, folder, folder_length)) {
    ++count;
    now = at > 0 && (count == at || (lasts && count > at));
    if (now && !fell && tell[0] != '\0') {
      NEXT(open);
      const int fd = real(tell, O_WRONLY | O_CREAT, 0644);
      if (fd >= 0) ::close(fd);
    }
    fell = fell || now;
  }
  const int error = now ? kind->error : 0;
  pthread_mutex_unlock(&mutex);
  if (now && error != 0) errno = error;
  return now;
}

bool is_short() {
  pthread_mutex_lock(&mutex);
  const bool out = kind != nullptr && kind->error == 0;
  pthread_mutex_unlock(&mutex);
  return out;
}

// Record: one letter, then path, second path, number and bytes, each text as length and bytes.
void put(char letter,
         const char* path,
         const char* other,
         uint64_t number,
         const void* bytes,
         size_t size) {
  pthread_mutex_lock(&mutex);
  const bool wanted = record_fd >= 0 && (letter == 'K' || under(path, recorded, recorded_length));
  if (wanted) {
    NEXT(write);
    const auto raw = [&](const void* data, size_t n) {
      if (real(record_fd, data, n) != static_cast<ssize_t>(n)) abort();
    };
    const auto text = [&](const void* data, uint64_t n) {
      raw(&n, sizeof n);
      raw(data, n);
    };
    raw(&letter, 1);
    text(path, strlen(path));
    text(other, strlen(other));
    raw(&number, sizeof number);
    text(bytes, size);
  }
  pthread_mutex_unlock(&mutex);
}

template <class Open>
int opened(Open real, int dirfd, const char* path, int flags, mode_t mode) {
  char buffer[PATH_MAX];
  const char* const full = absolute(dirfd, path, buffer);
  struct stat info;
  const bool there = ::lstat(full, &info) == 0;
  const bool makes = (flags & O_CREAT) != 0 && !there;
  if (fails(makes ? kMake : kOpen, full)) return -1;
  const int fd = real(dirfd, path, flags, mode);
  if (fd >= 0 && makes) put('O', full, "", 0, "", 0);
  if (fd >= 0 && there && (flags & O_TRUNC) != 0) put('T', full, "", 0, "", 0);
  return fd;
}

template <class Real>
ssize_t written(Real real, int fd, const void* bytes, size_t size, off_t offset, bool positioned) {
  char buffer[PATH_MAX];
  const char* const path = path_of(fd, buffer);
  if (fails(kWrite, path)) {
    if (!is_short()) return -1;
    if (size > 1) size /= 2;
  }
  if (!positioned) {
    struct stat info;
    const int flags = ::fcntl(fd, F_GETFL);
    offset = flags >= 0 && (flags & O_APPEND) != 0 && ::fstat(fd, &info) == 0
                 ? info.st_size
                 : ::lseek(fd, 0, SEEK_CUR);
  }
  const ssize_t n = real(size);
  if (n > 0 && offset >= 0) {
    put('W', path, "", static_cast<uint64_t>(offset), bytes, static_cast<size_t>(n));
  }
  return n;
}

template <class Real>
int synced(Real real, int fd) {
  char buffer[PATH_MAX];
  const char* const path = path_of(fd, buffer);
  if (fails(kSync, path)) return -1;
  const int out = real(fd);
  if (out == 0) put('F', path, "", 0, "", 0);
  return out;
}

template <class Real>
int sized(Real real, int fd, off_t size) {
  char buffer[PATH_MAX];
  const char* const path = path_of(fd, buffer);
  if (fails(kSize, path)) return -1;
  const int out = real(fd, size);
  if (out == 0) put('T', path, "", static_cast<uint64_t>(size), "", 0);
  return out;
}

// Grown only; the bytes are zeros.
void grown(int fd, const char* path, off_t end) {
  put('A', path, "", static_cast<uint64_t>(end), "", 0);
  (void)fd;
}

const Kind* find_kind(const char* name) {
  for (const Kind& candidate : kKinds) {
    if (name != nullptr && strcmp(candidate.name, name) == 0) return &candidate;
  }
  return nullptr;
}

}  // namespace

extern "C" {

void med3d_faults_arm(const char* base, long n, const char* name, int goes_on) {
  pthread_mutex_lock(&mutex);
  snprintf(folder, sizeof folder, "%s", base);
  folder_length = strlen(folder);
  kind = find_kind(name);
  if (kind == nullptr) abort();
  at = n;
  count = 0;
  lasts = goes_on != 0;
  fell = false;
  pthread_mutex_unlock(&mutex);
}

long med3d_faults_disarm() {
  pthread_mutex_lock(&mutex);
  kind = nullptr;
  const long out = count;
  pthread_mutex_unlock(&mutex);
  return out;
}

int med3d_faults_fell() {
  pthread_mutex_lock(&mutex);
  const int out = fell ? 1 : 0;
  pthread_mutex_unlock(&mutex);
  return out;
}

void med3d_faults_record(const char* base, int fd) {
  pthread_mutex_lock(&mutex);
  snprintf(recorded, sizeof recorded, "%s", base);
  recorded_length = strlen(recorded);
  record_fd = fd;
  pthread_mutex_unlock(&mutex);
}

void med3d_faults_mark(const char* text) { put('K', "", "", 0, text, strlen(text)); }

__attribute__((constructor)) static void arm_from_environment() {
  const char* const base = ::getenv("MED3D_FAULT_FOLDER");
  const char* const n = ::getenv("MED3D_FAULT_AT");
  if (base == nullptr || n == nullptr) return;
  const char* const goes_on = ::getenv("MED3D_FAULT_LASTS");
  const char* const told = ::getenv("MED3D_FAULT_TELL");
  if (told != nullptr) snprintf(tell, sizeof tell, "%s", told);
  med3d_faults_arm(base,
                   atol(n),
                   ::getenv("MED3D_FAULT_KIND"),
                   goes_on != nullptr && strcmp(goes_on, "on") == 0 ? 1 : 0);
}

__attribute__((destructor)) static void tell_count() {
  const char* const path = ::getenv("MED3D_FAULT_COUNT");
  if (path == nullptr) return;
  const long n = med3d_faults_disarm();
  FILE* const file = ::fopen(path, "w");
  if (file == nullptr) return;
  fprintf(file, "%ld\n", n);
  ::fclose(file);
}

// --- What stands before the C library ---

static mode_t mode_of(int flags, va_list arguments) {
  return (flags & (O_CREAT | O_TMPFILE)) != 0 ? static_cast<mode_t>(va_arg(arguments, int)) : 0;
}

#define OPEN_LIKE(name)                                                                  \
  int name(const char* path, int flags, ...) {                                           \
    NEXT(name);                                                                          \
    va_list arguments;                                                                   \
    va_start(arguments, flags);                                                          \
    const mode_t mode = mode_of(flags, arguments);                                       \
    va_end(arguments);                                                                   \
    const auto call = [](int, const char* p, int f, mode_t m) { return real(p, f, m); }; \
    return opened(call, AT_FDCWD, path, flags, mode);                                    \
  }
OPEN_LIKE(open)
OPEN_LIKE(open64)

#define OPENAT_LIKE(name)                                                                     \
  int name(int dirfd, const char* path, int flags, ...) {                                     \
    NEXT(name);                                                                               \
    va_list arguments;                                                                        \
    va_start(arguments, flags);                                                               \
    const mode_t mode = mode_of(flags, arguments);                                            \
    va_end(arguments);                                                                        \
    const auto call = [](int d, const char* p, int f, mode_t m) { return real(d, p, f, m); }; \
    return opened(call, dirfd, path, flags, mode);                                            \
  }
OPENAT_LIKE(openat)
OPENAT_LIKE(openat64)

// What fortified programs call where the flags are not known to need a mode.
int __open_2(const char* path, int flags) { return open(path, flags); }
int __open64_2(const char* path, int flags) { return open64(path, flags); }
int __openat_2(int dirfd, const char* path, int flags) { return openat(dirfd, path, flags); }
int __openat64_2(int dirfd, const char* path, int flags) { return openat64(dirfd, path, flags); }

int creat(const char* path, mode_t mode) { return open(path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

ssize_t write(int fd, const void* bytes, size_t size) {
  NEXT(write);
  return written([&](size_t n) { return real(fd, bytes, n); }, fd, bytes, size, 0, false);
}

#define PWRITE_LIKE(name, offset_type)                                                        \
  ssize_t name(int fd, const void* bytes, size_t size, offset_type offset) {                  \
    NEXT(name);                                                                               \
    return written(                                                                           \
        [&](size_t n) { return real(fd, bytes, n, offset); }, fd, bytes, size, offset, true); \
  }
PWRITE_LIKE(pwrite, off_t)
PWRITE_LIKE(pwrite64, off64_t)

// One after the other, so that a short one is short in the right place.
ssize_t writev(int fd, const struct iovec* parts, int n) {
  ssize_t total = 0;
  for (int i = 0; i < n; ++i) {
    if (parts[i].iov_len == 0) continue;
    const ssize_t done = write(fd, parts[i].iov_base, parts[i].iov_len);
    if (done < 0) return total > 0 ? total : -1;
    total += done;
    if (static_cast<size_t>(done) < parts[i].iov_len) break;
  }
  return total;
}

#define READ_LIKE(name, parameters, ...)              \
  ssize_t name parameters {                           \
    NEXT(name);                                       \
    char buffer[PATH_MAX];                            \
    if (fails(kRead, path_of(fd, buffer))) return -1; \
    return real(__VA_ARGS__);                         \
  }
READ_LIKE(read, (int fd, void* bytes, size_t size), fd, bytes, size)
READ_LIKE(pread, (int fd, void* bytes, size_t size, off_t offset), fd, bytes, size, offset)
READ_LIKE(pread64, (int fd, void* bytes, size_t size, off64_t offset), fd, bytes, size, offset)

int fsync(int fd) {
  NEXT(fsync);
  return synced(real, fd);
}
int fdatasync(int fd) {
  NEXT(fdatasync);
  return synced(real, fd);
}

int ftruncate(int fd, off_t size) noexcept {
  NEXT(ftruncate);
  return sized(real, fd, size);
}
int ftruncate64(int fd, off64_t size) noexcept {
  NEXT(ftruncate64);
  return sized(real, fd, size);
}

#define FALLOCATE_LIKE(name, offset_type)                            \
  int name(int fd, int mode, offset_type offset, offset_type size) { \
    NEXT(name);                                                      \
    char buffer[PATH_MAX];                                           \
    const char* const path = path_of(fd, buffer);                    \
    if (fails(kSize, path)) return -1;                               \
    const int out = real(fd, mode, offset, size);                    \
    if (out == 0 && mode == 0) grown(fd, path, offset + size);       \
    return out;                                                      \
  }
FALLOCATE_LIKE(fallocate, off_t)
FALLOCATE_LIKE(fallocate64, off64_t)

// These return the error rather than setting errno.
#define POSIX_FALLOCATE_LIKE(name, offset_type)            \
  int name(int fd, offset_type offset, offset_type size) { \
    NEXT(name);                                            \
    char buffer[PATH_MAX];                                 \
    const char* const path = path_of(fd, buffer);          \
    if (fails(kSize, path)) return errno;                  \
    const int out = real(fd, offset, size);                \
    if (out == 0) grown(fd, path, offset + size);          \
    return out;                                            \
  }
POSIX_FALLOCATE_LIKE(posix_fallocate, off_t)
POSIX_FALLOCATE_LIKE(posix_fallocate64, off64_t)

int rename(const char* from, const char* to) noexcept {
  NEXT(rename);
  char a[PATH_MAX];
  char b[PATH_MAX];
  const char* const source = absolute(AT_FDCWD, from, a);
  const char* const target = absolute(AT_FDCWD, to, b);
  if (fails(kName, target)) return -1;
  const int out = real(from, to);
  if (out == 0) put('R', source, target, 0, "", 0);
  return out;
}

int mkdir(const char* path, mode_t mode) noexcept {
  NEXT(mkdir);
  char buffer[PATH_MAX];
  const char* const full = absolute(AT_FDCWD, path, buffer);
  if (fails(kMake, full)) return -1;
  const int out = real(path, mode);
  if (out == 0) put('M', full, "", 0, "", 0);
  return out;
}

int unlink(const char* path) noexcept {
  NEXT(unlink);
  char buffer[PATH_MAX];
  const char* const full = absolute(AT_FDCWD, path, buffer);
  if (fails(kUnlink, full)) return -1;
  const int out = real(path);
  if (out == 0) put('U', full, "", 0, "", 0);
  return out;
}

int unlinkat(int dirfd, const char* path, int flags) noexcept {
  NEXT(unlinkat);
  char buffer[PATH_MAX];
  const char* const full = absolute(dirfd, path, buffer);
  if (fails(kUnlink, full)) return -1;
  const int out = real(dirfd, path, flags);
  if (out == 0) put('U', full, "", 0, "", 0);
  return out;
}

int remove(const char* path) noexcept {
  struct stat info;
  if (::lstat(path, &info) == 0 && S_ISDIR(info.st_mode)) return ::rmdir(path);
  return unlink(path);
}

}  // extern "C"
