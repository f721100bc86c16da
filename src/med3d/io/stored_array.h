// An array that stays in its file until it is asked for.
//
// Weights of a gigabyte are taken one tensor at a time: the file is mapped, its layout is checked
// as a whole, and each array's bytes are checked and copied when they are wanted.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "med3d/io/array.h"

namespace med3d {

struct StoredArray {
  std::vector<std::uint64_t> shape;  // slowest axis first
  DType dtype = DType::kF32;

  // The bytes as Array holds them; what was in memory for them is given back (FileBytes::forget).
  // Any number of times, from one thread at a time for all arrays of a file. Throws Error(kFormat)
  // where a checksum does not fit or a packed array is damaged.
  std::function<std::string()> read;

  // Where these very bytes lie in the file, checked as in read(); empty if they do not (packed,
  // transposed). Null where they never do.
  std::function<std::string_view()> in_place;

  Array array() const { return {shape, dtype, read()}; }
};

struct NamedStoredArray {
  std::string name;
  StoredArray array;
};

// An array in memory, as a stored one.
inline StoredArray stored(Array array) {
  StoredArray out{array.shape, array.dtype, nullptr, nullptr};
  out.read = [bytes = std::move(array.bytes)] { return bytes; };
  return out;
}

}  // namespace med3d
