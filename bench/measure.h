// What every benchmark shares: its arguments, its clocks, and how it says what it found.
//
// Processor seconds are the figure to compare: user and system time, of all threads and of children
// that have ended. Wall time depends on what else the machine does.
#pragma once

#include <fmt/format.h>
#include <sys/resource.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "med3d/core/error.h"
#include "med3d/core/json.h"
#include "med3d/core/matrix.h"
#include "med3d/core/random.h"
#include "med3d/core/text.h"
#include "med3d/io/features.h"

namespace med3d::bench {

// Arguments of the form name=value. `defaults` lists every name there is.
class Arguments {
 public:
  // Throws Error(kUsage) naming what is not known.
  Arguments(int argc, char** argv, std::map<std::string, std::string> defaults)
      : values_(std::move(defaults)) {
    std::vector<std::string> names;
    for (const auto& entry : values_) names.push_back(entry.first);
    for (int i = 1; i < argc; ++i) {
      const std::string word = argv[i];
      const std::string name = word.substr(0, word.find('='));
      const auto found = values_.find(name);
      if (found == values_.end() || name.size() == word.size()) {
        throw Error(
            ErrorKind::kUsage,
            fmt::format(
                "argument '{}', expected name=value with one of: {}", word, join(names, ", ")));
      }
      found->second = word.substr(name.size() + 1);
    }
  }

  const std::string& text(const std::string& name) const { return values_.at(name); }
  // Throws Error(kUsage) for what is no whole number in [1, 1000000].
  int count(const std::string& name) const {
    const auto value = parse_double(text(name));
    if (!value || *value < 1 || *value > 1e6 || *value != static_cast<int>(*value)) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("{}={}, expected a whole number from 1", name, text(name)));
    }
    return static_cast<int>(*value);
  }

 private:
  std::map<std::string, std::string> values_;
};

inline double processor_seconds() {
  double sum = 0.0;
  for (const int who : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
    rusage usage{};
    getrusage(who, &usage);
    for (const timeval& time : {usage.ru_utime, usage.ru_stime}) {
      sum += static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
    }
  }
  return sum;
}

// Highest resident memory of this process so far, in MiB.
inline double peak_mib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024.0;
}

class Stopwatch {
 public:
  double cpu_s() const { return processor_seconds() - cpu_; }
  double wall_s() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - wall_).count();
  }

 private:
  double cpu_ = processor_seconds();
  std::chrono::steady_clock::time_point wall_ = std::chrono::steady_clock::now();
};

// "work_" is the step alone, "process_" also the start of the program and reading the input.
inline void add_times(Json& json, double work_cpu_s, double work_wall_s) {
  json["work_cpu_s"] = work_cpu_s;
  json["work_wall_s"] = work_wall_s;
  json["process_cpu_s"] = processor_seconds();
  json["peak_mib"] = peak_mib();
}

// The sentence for people goes to standard error, the document for programs to standard output.
inline void say(const std::string& sentence, const Json& json) {
  fmt::print(stderr, "{}\n", sentence);
  fmt::print("{}", dump_json(json));
}

// A table of features with the label (0 or 1) in its last column.
struct Labelled {
  Matrix<double> x;             // (n, p)
  std::vector<std::uint8_t> y;  // (n,)
};

// Throws Error(kData) for a label that is neither 0 nor 1, else as read_features.
inline Labelled read_labelled(const std::string& path) {
  const Matrix<float> table = read_features(path);
  if (table.cols() < 2) {
    throw Error(ErrorKind::kData, path + ": one column, expected features and the label");
  }
  Labelled result{Matrix<double>(table.rows(), table.cols() - 1), {}};
  for (std::size_t i = 0; i < table.rows(); ++i) {
    for (std::size_t j = 0; j + 1 < table.cols(); ++j) {
      result.x(i, j) = static_cast<double>(table(i, j));
    }
    const float label = table(i, table.cols() - 1);
    if (label != 0.0F && label != 1.0F) {
      throw Error(ErrorKind::kData,
                  fmt::format("{}: row {}: label {}, expected 0 or 1", path, i, label));
    }
    result.y.push_back(label == 1.0F ? 1 : 0);
  }
  return result;
}

// Normal numbers; one row in `one_in` is of class 1 and lies half a unit off in every fourth
// column.
inline Labelled generate_labelled(std::size_t n, std::size_t p, std::size_t one_in) {
  NumpyRandom random(1);
  Labelled result{Matrix<double>(n, p), {}};
  for (std::size_t i = 0; i < n; ++i) {
    const bool positive = i % one_in == 0;
    for (std::size_t j = 0; j < p; ++j) {
      result.x(i, j) = random.normal() + (positive && j % 4 == 0 ? 0.5 : 0.0);
    }
    result.y.push_back(positive ? 1 : 0);
  }
  return result;
}

// main() of a benchmark: errors become one line and exit code 1.
inline int guarded(int (*program)(int, char**), int argc, char** argv) {
  try {
    return program(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}: error: {}\n", argv[0], describe(error));
    return 1;
  }
}

}  // namespace med3d::bench
