// A wish to stop, said once from outside and asked by long loops.
//
// The program sets it at SIGINT and SIGTERM; a host program may set it from any thread. Loops ask
// between slides, batches, scans, epochs and folds, where all that is finished is on disk, and
// leave by Stopped. Nobody is obliged to ask: it only makes the end quicker.
#pragma once

#include <stdexcept>

namespace med3d {

// Not an Error: nothing went wrong, and no item may be marked as failed by it.
class Stopped : public std::runtime_error {
 public:
  explicit Stopped(int signal) : std::runtime_error("stopped"), signal_(signal) {}
  int signal() const noexcept { return signal_; }  // that asked for it

 private:
  int signal_;
};

// Safe in a signal handler and from any thread.
void request_stop(int signal) noexcept;
// Takes the wish back, for the next piece of work in the same process.
void clear_stop() noexcept;
bool stop_requested() noexcept;
// Throws Stopped if it was requested.
void throw_if_stopped();

}  // namespace med3d
