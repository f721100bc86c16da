// Trained parameters of a net, from any of the files they come in, by name.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "med3d/core/file_bytes.h"
#include "med3d/io/array.h"
#include "med3d/io/stored_array.h"

namespace med3d {

struct Weights {
  std::map<std::string, Array> tensors;  // names without DataParallel's "module" parts
  std::string source;                    // the file's path, for messages
  std::string sha256;                    // of the file as it was read
  std::string container;                 // "safetensors", "torch zip" or "torch legacy"
  std::uint64_t bytes = 0;               // of the file
};

// Weights that stay in their file until they are taken, one tensor at a time.
struct StoredWeights {
  std::map<std::string, StoredArray> tensors;
  std::string source;
  std::string sha256;
  std::string container;
  std::uint64_t bytes = 0;
  FileBytes file;  // mapped; require_unchanged() when all is taken
};

// Opens .safetensors, or torch's .pth, .pt and .bin in both containers; which of the two a file is
// shows in its bytes, not in its name. Where the net is one entry of a checkpoint ("state_dict",
// "model", "model_state_dict"), the rest of the checkpoint is left out.
//
// The hash is that of the whole file, taken before any tensor. Memory: the tensors in use.
//
// Throws Error(kUsage) for an empty path, else as read_file, parse_safetensors and
// parse_state_dict; the checksum of a tensor is proven when it is read.
StoredWeights open_weights(const std::filesystem::path& path);

// The same with all tensors in memory, and the file no longer needed. Memory: the tensors.
// Throws Error(kData) also if the file was changed meanwhile.
Weights read_weights(const std::filesystem::path& path);

// Takes tensors out of Weights and collects what is wrong, so that one message tells all of it.
//
//   WeightsTaker take(weights, "resnet50");
//   layer.weight = take.tensor("conv1.weight", {64, 3, 7, 7});   // empty if that fails
//   take.ignore_prefix("fc.");
//   take.finish();                                               // throws
//
// Check nothing computed from the tensors before finish() has returned: a file that changes while
// its tensors are taken is found there.
class WeightsTaker {
 public:
  WeightsTaker(Weights weights, std::string_view encoder);
  WeightsTaker(StoredWeights weights, std::string_view encoder);

  bool has(const std::string& name) const { return weights_.tensors.contains(name); }

  // The tensor in f32, of exactly that shape and finite; else an empty vector and a complaint.
  std::vector<float> tensor(const std::string& name, std::span<const std::uint64_t> shape);
  std::vector<float> tensor(const std::string& name, std::initializer_list<std::uint64_t> shape) {
    return tensor(name, std::span(shape.begin(), shape.size()));
  }

  // Tensors that the file may hold and the encoder does not use.
  void ignore_prefix(std::string_view prefix);
  void ignore_suffix(std::string_view suffix);

  // Throws Error(kData) naming up to five tensors that are missing, of another shape, not finite,
  // or left over; and if the file was changed since it was opened.
  void finish();

 private:
  StoredWeights weights_;
  std::string encoder_;
  std::vector<std::string> complaints_;
};

}  // namespace med3d
