// The refusal that all training options share.
#pragma once

#include <concepts>
#include <string>

#include "med3d/core/error.h"
#include "med3d/core/text.h"

namespace med3d::nn {

// `allowed` is written so that NaN fails too.
//
// what  "training option"
// Throws Error(kUsage) naming the option, its value and what was expected.
template <typename Number>
void check_option(
    const std::string& what, const char* field, Number value, bool allowed, const char* expected) {
  if (allowed) return;
  std::string found;
  if constexpr (std::integral<Number>) {
    found = std::to_string(value);
  } else {
    found = format_double(value);
  }
  throw Error(ErrorKind::kUsage, what + " " + field + " is " + found + ", expected " + expected);
}

}  // namespace med3d::nn
