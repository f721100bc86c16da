// Files from outside are decoded in processes that can do little harm and may crash.
//
// A worker is this program, or another that was named, started once more: it reads files and hands
// on what is in them. It has bounds on memory and processor time (limits().worker_*), writes no
// file, has no core dumps and few descriptors, opens no connection and starts no program: the
// kernel refuses (a seccomp filter of the calls that decoders need). Requests and answers go over a
// socket, pixels through memory that both see. A worker that dies costs the file it had; it ends
// with the program that started it, however that ends.
//
// A program takes part by two lines at the start of its main():
//
//   if (const auto code = med3d::serve_as_worker(argc, argv, services)) return *code;
//   med3d::set_worker_program("/proc/self/exe");
//
// or by set_worker_program() alone with the path of the med3d of the same build. One that does
// neither decodes in its own process, and isolation() says so.
//
// Not protected: files of the same user can still be read by a decoder that was taken over, and it
// may answer with wrong pixels for the files it is given afterwards; so a worker that met a damaged
// file is not used again.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "med3d/io/message.h"

namespace med3d {

// ---- where files are decoded

enum class Isolation {
  kOff,   // in this process
  kOn,    // in workers; Error(kUnsupported) where none can be started
  kAuto,  // in workers where they can be started, else in this process
};

// program  serves as worker: "/proc/self/exe", a path, or "" = there is none (the default)
void set_worker_program(const std::filesystem::path& program);
// For all files that are opened from now on; kAuto unless said.
void set_isolation(Isolation isolation);

struct IsolationState {
  bool active = false;    // files are decoded in workers
  bool filtered = false;  // and the kernel refuses calls that they do not need
  std::string reason;     // why not, for either; else empty
};
// Starts a worker to find out, if none ran yet.
IsolationState isolation();
// Why files were decoded in this process that were to be decoded in a worker; empty: none was, or
// no program was named.
std::string unisolated_because();

// ---- what a worker does

// What one file needs in a worker, from the first request to the last.
class WorkerSession {
 public:
  virtual ~WorkerSession() = default;
  // One request. Errors that leave it go to the asker with their kind.
  // shared  memory that the asker will read, of at least the size it asked for
  virtual void serve(MessageReader& request,
                     std::span<std::uint8_t> shared,
                     MessageWriter& answer) = 0;
};

struct WorkerService {
  std::string_view name;  // "slide"
  std::unique_ptr<WorkerSession> (*start)();
};

// If this process was started as a worker, serves until its parent is gone or needs it no more, and
// returns main's result; else nothing. To be called before threads are started.
std::optional<int> serve_as_worker(int argc,
                                   char** argv,
                                   std::span<const WorkerService* const> services);

// ---- asking one

// One session with a worker of its own. Not safe for two threads at once.
class IsolatedSession {
 public:
  // service  by name
  // source   the file, for messages; empty: they name none
  //
  // Returns nothing where files are to be decoded in this process. Throws Error(kUnsupported) if
  // that was forbidden and no worker can be started.
  static std::unique_ptr<IsolatedSession> start(std::string_view service, std::string source);
  ~IsolatedSession();
  IsolatedSession(const IsolatedSession&) = delete;
  IsolatedSession& operator=(const IsolatedSession&) = delete;

  // The answer to one request.
  //
  // shared_bytes  to be filled by the worker, at most limits().worker_bytes; see shared()
  //
  // Throws what the worker threw; Error(kFormat) "<source>: the decoder crashed (signal 6)" if it
  // died, took too long or answered nonsense, and the same again for each request after that.
  std::string call(const MessageWriter& request, std::uint64_t shared_bytes = 0);

  // What the worker filled in the last call. It may change while it is read, if the worker was
  // taken over: fit for samples, not for sizes.
  std::span<const std::uint8_t> shared() const;

  // For an answer whose fields cannot be: throws Error(kFormat) and gives the worker up.
  [[noreturn]] void nonsense();

 private:
  class Impl;
  explicit IsolatedSession(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace med3d
