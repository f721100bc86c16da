// SIGINT and SIGTERM for commands whose work can be taken up again.
#pragma once

#include <functional>

namespace med3d {

// While it lives, the first SIGINT or SIGTERM asks the work to stop (core/stop.h). If the work has
// not come to a stop after 1.5 seconds (a fold of a large network), `last_words` is called and the
// process ends with 130 or 143: every file is whole at any moment, so that nothing is lost but the
// work since the last one. A second signal ends it at once.
//
// One at a time in a process.
class StopSignals {
 public:
  // last_words  called from another thread, while the work goes on; must not throw or wait long
  explicit StopSignals(std::function<void()> last_words);
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

 private:
  struct Impl;
  Impl* impl_;
};

}  // namespace med3d
