// Random numbers that are the same on every machine and at every thread count.
//
// Two needs, two generators:
//   NumpyRandom  the stream of numpy.random.RandomState(seed), draw for draw, for methods whose
//                reference implementation is written on it (SMOTE, ADASYN, scikit-learn splits).
//   derive_seed  one independent seed per named piece of work (arm, repeat, fold, member), so that
//                the order in which threads pick up work cannot change a result.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <random>
#include <string_view>
#include <utility>
#include <vector>

namespace med3d {

// Mixes a parent seed with the name and numbers of a piece of work (SplitMix64 finaliser over
// FNV-1a). Equal inputs give equal seeds; the result fits in 63 bits.
std::uint64_t derive_seed(std::uint64_t seed,
                          std::string_view name,
                          std::initializer_list<std::uint64_t> numbers = {});

// numpy.random.RandomState(seed), legacy stream: MT19937 with init_genrand.
// Checked against: numpy 1.24 (tests pin the first draws of seed 0, 1 and 42).
class NumpyRandom {
 public:
  explicit NumpyRandom(std::uint32_t seed) : engine_(seed) {}

  std::uint32_t next_u32() { return static_cast<std::uint32_t>(engine_()); }
  // random_sample(): 53-bit uniform in [0, 1).
  double uniform();
  // randint(0, bound): legacy masked rejection; bound in [1, 2^32].
  std::uint64_t randint(std::uint64_t bound);
  // standard_normal(): legacy polar method with its cached second value.
  double normal();
  // shuffle(x): Fisher-Yates from the end, on random_interval(i).
  template <class T>
  void shuffle(std::vector<T>& values) {
    for (std::size_t i = values.size(); i > 1; --i) {
      const auto j = static_cast<std::size_t>(interval(static_cast<std::uint64_t>(i - 1)));
      std::swap(values[i - 1], values[j]);
    }
  }
  // permutation(n): shuffle of 0..n-1.
  std::vector<std::size_t> permutation(std::size_t n);

 private:
  std::uint64_t interval(std::uint64_t max);  // uniform in [0, max], masked rejection

  std::mt19937 engine_;
  bool has_gauss_ = false;
  double gauss_ = 0.0;
};

}  // namespace med3d
