#include "med3d/core/random.h"

#include <cmath>
#include <numeric>

namespace med3d {
namespace {

std::uint64_t mix(std::uint64_t z) {
  z += 0x9E3779B97F4A7C15ULL;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

}  // namespace

std::uint64_t derive_seed(std::uint64_t seed,
                          std::string_view name,
                          std::initializer_list<std::uint64_t> numbers) {
  std::uint64_t hash = 0xCBF29CE484222325ULL;
  for (const char c : name) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 0x100000001B3ULL;
  }
  std::uint64_t state = mix(seed ^ mix(hash));
  for (const std::uint64_t number : numbers) state = mix(state ^ mix(number));
  return state >> 1;
}

double NumpyRandom::uniform() {
  const std::uint32_t a = next_u32() >> 5;
  const std::uint32_t b = next_u32() >> 6;
  return (a * 67108864.0 + b) / 9007199254740992.0;
}

std::uint64_t NumpyRandom::interval(std::uint64_t max) {
  if (max == 0) return 0;
  std::uint64_t mask = max;
  for (const int shift : {1, 2, 4, 8, 16, 32}) mask |= mask >> shift;
  std::uint64_t value = 0;
  do {
    value = max <= 0xFFFFFFFFULL
                ? next_u32() & mask
                : ((static_cast<std::uint64_t>(next_u32()) << 32) | next_u32()) & mask;
  } while (value > max);
  return value;
}

std::uint64_t NumpyRandom::randint(std::uint64_t bound) { return interval(bound - 1); }

double NumpyRandom::normal() {
  if (has_gauss_) {
    has_gauss_ = false;
    return std::exchange(gauss_, 0.0);
  }
  double x1 = 0.0;
  double x2 = 0.0;
  double r2 = 0.0;
  do {
    x1 = 2.0 * uniform() - 1.0;
    x2 = 2.0 * uniform() - 1.0;
    r2 = x1 * x1 + x2 * x2;
  } while (r2 >= 1.0 || r2 == 0.0);
  const double f = std::sqrt(-2.0 * std::log(r2) / r2);
  gauss_ = f * x1;
  has_gauss_ = true;
  return f * x2;
}

std::vector<std::size_t> NumpyRandom::permutation(std::size_t n) {
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  shuffle(order);
  return order;
}

}  // namespace med3d
