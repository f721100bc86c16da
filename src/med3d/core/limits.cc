#include "med3d/core/limits.h"

#include <fmt/format.h>

#include "med3d/core/error.h"

namespace med3d {
namespace {

Limits& current() {
  static Limits limits;
  return limits;
}

[[noreturn]] void overflow(std::string_view what) {
  throw Error(ErrorKind::kFormat, fmt::format("{}: a size that does not fit in 64 bits", what));
}

}  // namespace

const Limits& limits() { return current(); }
void set_limits(const Limits& limits) { current() = limits; }

std::uint64_t checked_multiply(std::uint64_t a, std::uint64_t b, std::string_view what) {
  std::uint64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) overflow(what);
  return product;
}

std::uint64_t checked_add(std::uint64_t a, std::uint64_t b, std::string_view what) {
  std::uint64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) overflow(what);
  return sum;
}

}  // namespace med3d
