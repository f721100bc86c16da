// The random numbers of one fit: counter-based, so that a mask costs a few nanoseconds for four
// elements and no generator is shared between fits.
//
// Number i of a stream is the SplitMix64 finaliser of (seed + i * golden ratio) [Steele et al.,
// OOPSLA 2014, doi:10.1145/2660193.2660195]. A fit has one stream for each use (initial weights,
// order, dropout, noise, modality dropout), seeded by derive_seed, so that turning one use on does
// not move the numbers of another.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace med3d::nn {

class RandomStream {
 public:
  explicit RandomStream(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() {
    state_ += 0x9E3779B97F4A7C15ULL;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
  }

  // 53-bit uniform in [0, 1).
  double uniform() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }

  // Uniform in [0, bound); bound in [1, 2^32]. The bias is below bound / 2^32.
  std::size_t below(std::size_t bound) {
    return static_cast<std::size_t>(((next() >> 32) * static_cast<std::uint64_t>(bound)) >> 32);
  }

  // Standard normal, by Box and Muller; the second value of a pair is kept.
  float normal() {
    if (has_spare_) {
      has_spare_ = false;
      return spare_;
    }
    const std::uint64_t bits = next();
    const float u = (static_cast<float>(bits >> 40) + 0.5F) * 0x1.0p-24F;  // in (0, 1]
    const float angle = static_cast<float>(bits & 0xFFFFFFU) * (6.2831853F * 0x1.0p-24F);
    const float radius = std::sqrt(-2.0F * std::log(u));
    spare_ = radius * std::sin(angle);
    has_spare_ = true;
    return radius * std::cos(angle);
  }

  template <class T>
  void shuffle(std::vector<T>& values) {
    for (std::size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[below(i)]);
  }

  // n factors for inverted dropout: 0 with probability p, otherwise 1 / (1 - p), with p rounded to
  // a multiple of 2^-16 so that one draw serves four elements.
  void dropout_mask(float* mask, std::size_t n, double p) {
    const auto threshold = static_cast<std::uint32_t>(std::lround(p * 65536.0));
    const float keep = dropout_scale(p);
    std::size_t i = 0;
    for (; i + 4 <= n; i += 4) {
      const std::uint64_t bits = next();
      for (std::size_t j = 0; j < 4; ++j) {
        mask[i + j] = ((bits >> (16 * j)) & 0xFFFFU) < threshold ? 0.0F : keep;
      }
    }
    if (i < n) {
      std::uint64_t bits = next();
      for (; i < n; ++i, bits >>= 16) mask[i] = (bits & 0xFFFFU) < threshold ? 0.0F : keep;
    }
  }

  // What dropout_mask gives the elements that are kept.
  static float dropout_scale(double p) {
    return static_cast<float>(65536.0 / (65536.0 - static_cast<double>(std::lround(p * 65536.0))));
  }

 private:
  std::uint64_t state_;
  float spare_ = 0.0F;
  bool has_spare_ = false;
};

}  // namespace med3d::nn
