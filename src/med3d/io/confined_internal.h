// Work on a hostile file in a child process that can do little harm and may crash.
//
// The child has no core dumps, may write no file, has bounded memory and processor time, and keeps
// no descriptor but the pipe on which it answers. The parent turns its death into an Error.
//
// Not installed: a part of the readers that wrap a library which crashes on damaged files.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "med3d/core/error.h"

namespace med3d {

struct ConfinedOptions {
  std::string library = "the reader";          // "<file>: <library> crashed on it (signal 11)"
  std::uint64_t memory_bytes = 512ULL << 20U;  // beyond what this process has mapped already
  std::chrono::seconds processor_time{60};
  std::chrono::seconds wall_time{600};  // files may lie on slow network folders
};

// The child's end of the pipe. An answer is result() and then any fields; an exception that leaves
// the work is an answer too, if result() was not called before.
class ConfinedSender {
 public:
  explicit ConfinedSender(int fd) : fd_(fd) {}
  void result() const;
  void error(ErrorKind kind, std::string_view message) const;
  void bytes(const void* data, std::size_t size) const;
  void number(std::uint64_t value) const { bytes(&value, sizeof(value)); }
  void text(std::string_view value) const {
    number(value.size());
    bytes(value.data(), value.size());
  }

 private:
  int fd_;
};

// The parent's side: the running child, killed and collected when this ends.
class ConfinedChild {
 public:
  // source  the file's name, for messages
  // work    runs in the child, a copy of this process as of now with one thread
  // Throws Error(kIo) if no process can be made.
  ConfinedChild(std::string source,
                const ConfinedOptions& options,
                const std::function<void(const ConfinedSender&)>& work);
  ~ConfinedChild();
  ConfinedChild(const ConfinedChild&) = delete;
  ConfinedChild& operator=(const ConfinedChild&) = delete;

  // Returns when the child begins its answer; throws its Error, with the source in front.
  void wait_for_result();

  // The fields in the order in which they were sent. All throw Error(kFormat) if the child crashed,
  // ran out of time or sent something else. Its numbers may be lies: check sizes again.
  void bytes(void* data, std::size_t size);
  std::uint64_t number();
  std::string text(std::uint64_t most_bytes);

  // For an answer whose fields cannot be. Throws Error(kFormat).
  [[noreturn]] void nonsense() const;

 private:
  [[noreturn]] void fail(const std::string& what) const;
  [[noreturn]] void ended_early();
  int collect();

  std::string source_;
  ConfinedOptions options_;
  std::chrono::steady_clock::time_point end_;
  int pid_ = -1;
  int fd_ = -1;
};

}  // namespace med3d
