// Where the trained weights of our encoders are to be had.
//
// None are shipped and none are fetched unasked: some may not be passed on, and a run must not
// depend on the network. The hashes are those that others published for the same files; the files
// themselves were not at hand, which each entry says in `unverified`.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace med3d {

struct WeightsEntry {
  std::string_view name;     // "uni", for `med3d weights fetch`
  std::string_view encoder;  // the one that reads it
  std::string_view file;     // its place below the weights folder: "uni/pytorch_model.bin"
  std::string_view url;      // of one version for ever, where the host has such addresses
  std::string_view page;     // what people read about it
  std::string_view licence;
  bool gated;                      // the terms must be accepted on the page, and a token sent
  std::uint64_t bytes;             // 0 = not known
  std::string_view sha256;         // 64 digits, or ""
  std::string_view sha256_prefix;  // where no more is known: its first digits
  std::string_view unverified;     // which of these facts nobody here has checked
};

std::span<const WeightsEntry> weights_catalogue();

// By name. Throws Error(kUsage) with all names, and the nearest.
const WeightsEntry& find_weights(std::string_view name);

}  // namespace med3d
