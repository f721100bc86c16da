#include "med3d/core/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>

#include <fmt/format.h>

namespace med3d {
namespace {

class SilentProgress final : public Progress {
 public:
  void start(std::string_view, std::size_t) override {}
  void advance(std::size_t) override {}
  void note(std::string_view) override {}
  void warn(std::string_view) override {}
  void finish() override {}
};

std::string duration(double seconds) {
  const auto s = static_cast<long>(seconds + 0.5);
  if (s >= 3600) return fmt::format("{}h{:02}m", s / 3600, s / 60 % 60);
  if (s >= 60) return fmt::format("{}m{:02}s", s / 60, s % 60);
  return fmt::format("{}s", s);
}

class ConsoleProgress final : public Progress {
 public:
  explicit ConsoleProgress(bool quiet) : quiet_(quiet) {
    const char* term = std::getenv("TERM");
    terminal_ = ::isatty(STDERR_FILENO) == 1 && term != nullptr && std::string_view(term) != "dumb";
    interval_ = terminal_ ? std::chrono::milliseconds(100) : std::chrono::seconds(10);
  }
  // An exception that passes by has ended the step too early.
  ~ConsoleProgress() override {
    const std::lock_guard lock(mutex_);
    end_step(std::uncaught_exceptions() > exceptions_ ? "stopped after" : "done in");
  }

  void start(std::string_view step, std::size_t total) override {
    const std::lock_guard lock(mutex_);
    end_step();
    step_ = step;
    total_ = total;
    done_ = 0;
    began_ = Clock::now();
    drawn_ = terminal_ ? Clock::time_point{} : began_;
  }

  void advance(std::size_t units) override {
    const std::lock_guard lock(mutex_);
    done_ += units;
    const auto now = Clock::now();
    if (now - drawn_ >= interval_) draw(now);
  }

  void note(std::string_view message) override { line("", message); }
  void warn(std::string_view message) override { line("warning: ", message); }

  void finish() override {
    const std::lock_guard lock(mutex_);
    end_step();
  }

 private:
  using Clock = std::chrono::steady_clock;

  void line(std::string_view mark, std::string_view message) {
    const std::lock_guard lock(mutex_);
    if (quiet_ && mark.empty()) return;
    clear();
    fmt::print(stderr, "{}{}\n", mark, message);
  }

  void clear() {
    if (terminal_ && !step_.empty()) fmt::print(stderr, "\r\x1b[K");
  }

  void draw(Clock::time_point now) {
    if (quiet_ || step_.empty()) return;
    drawn_ = now;
    const double seconds = std::chrono::duration<double>(now - began_).count();
    const double rate = seconds > 0 ? static_cast<double>(done_) / seconds : 0.0;
    std::string text = total_ > 0 ? fmt::format("{} {}/{}", step_, done_, total_)
                                  : fmt::format("{} {}", step_, done_);
    if (total_ > 0 && rate > 0 && done_ < total_) {
      text += fmt::format(", {} left", duration(static_cast<double>(total_ - done_) / rate));
    }
    if (terminal_) {
      constexpr std::size_t width = 24;
      const std::size_t filled = total_ > 0 ? std::min(width, done_ * width / total_) : 0;
      fmt::print(stderr, "\r\x1b[K[{}{}] {}", std::string(filled, '#'),
                 std::string(width - filled, '.'), text);
      std::fflush(stderr);
    } else {
      fmt::print(stderr, "{}\n", text);
    }
  }

  void end_step(std::string_view how = "done in") {
    if (step_.empty()) return;
    const double seconds = std::chrono::duration<double>(Clock::now() - began_).count();
    clear();
    if (!quiet_) fmt::print(stderr, "{}: {} {}\n", step_, how, duration(seconds));
    step_.clear();
  }

  std::mutex mutex_;
  int exceptions_ = std::uncaught_exceptions();
  bool quiet_;
  bool terminal_ = false;
  Clock::duration interval_{};
  std::string step_;
  std::size_t total_ = 0;
  std::size_t done_ = 0;
  Clock::time_point began_{};
  Clock::time_point drawn_{};
};

}  // namespace

Progress& silent_progress() {
  static SilentProgress silent;
  return silent;
}

std::unique_ptr<Progress> make_console_progress(bool quiet) {
  return std::make_unique<ConsoleProgress>(quiet);
}

}  // namespace med3d
