// What a long job says while it runs: a bar with rate and time left on a terminal, a plain line
// every few seconds elsewhere. The library reports to a Progress; only the command line makes one.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

namespace med3d {

class Progress {
 public:
  virtual ~Progress() = default;
  // Starts a named step of `total` units (0 = unknown); ends the step before it.
  virtual void start(std::string_view step, std::size_t total) = 0;
  virtual void advance(std::size_t units = 1) = 0;  // safe from any thread
  virtual void note(std::string_view message) = 0;  // one line for the reader
  virtual void warn(std::string_view message) = 0;  // one line, marked as a warning
  virtual void finish() = 0;
};

// Says nothing: for tests and for --quiet.
Progress& silent_progress();

// Writes to standard error. On a terminal one line is redrawn (NO_COLOR and TERM=dumb respected).
std::unique_ptr<Progress> make_console_progress(bool quiet = false);

}  // namespace med3d
