// The one exception of the library.
//
// Throw it for what ends the work; return a value for what is expected (a cohort with one
// unreadable slide is a recorded outcome, not an exception). A message says what was found, where,
// and what was expected: "row 17, column 'grade': 'G3x', expected a number". It never holds a
// patient's name, birth date or number.
#pragma once

#include <exception>
#include <stdexcept>
#include <string>

namespace med3d {

enum class ErrorKind {
  kUsage,        // the caller asked for something that makes no sense: exit code 2
  kNotFound,     // a file, column, key or name that is not there
  kFormat,       // a file that breaks its own format
  kUnsupported,  // a valid file or request that we do not handle, named
  kData,         // well-formed values that cannot be used (one class, NaN, duplicates)
  kNumerical,    // a computation that failed to converge or left the reals
  kIo,           // the operating system refused: full disk, permissions, read errors
};

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const noexcept { return kind_; }

 private:
  ErrorKind kind_;
};

// Call in a catch block: throws an Error "context: original message" of the same kind, with the
// original nested. An exception that is no Error becomes kIo.
[[noreturn]] void rethrow_with_context(const std::string& context);

// The message to show: that of the exception itself (contexts are already part of it).
std::string describe(const std::exception& error);

std::string to_string(ErrorKind kind);  // "usage", "not-found", "format", ...

}  // namespace med3d
