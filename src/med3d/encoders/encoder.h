// Encoders: networks that turn a tile or a volume into a vector. Each is a file that carries its
// own facts; no caller tests a name or switches on a type.
//
// A new encoder is <name>.cc with an EncoderSpec and one line in registry.cc.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "med3d/core/net_graph.h"

namespace med3d {

// kAuto: bf16 where the processor computes it natively and the encoder states its effect, else f32.
enum class Precision { kAuto, kF32, kBf16, kInt8 };

Precision parse_precision(std::string_view name);  // "auto", "f32", "bf16", "int8"
std::string to_string(Precision precision);

// What an encoder that computes in f32 and bf16 runs in: kAuto and kBf16 become kF32 where the
// processor would only emulate bf16, slower than f32. Throws Error(kUnsupported) for kInt8.
Precision available_precision(Precision wanted);

struct EncoderOptions {
  Precision precision = Precision::kF32;
  int threads = 1;          // of the computation itself
  std::int64_t batch = 16;  // tiles a call will bring at most; fixes the memory taken
  std::uint64_t seed = 0;   // of an untrained encoder's weights
};

// A loaded network, ready to run. Not safe for two threads at once.
class Encoder {
 public:
  virtual ~Encoder() = default;
  Encoder() = default;
  Encoder(const Encoder&) = delete;
  Encoder& operator=(const Encoder&) = delete;

  virtual std::int64_t embedding_dim() const = 0;
  virtual Precision precision() const = 0;  // the one in use, never kAuto

  // For benchmarks: multiplications and additions for one tile, and bytes held (weights and
  // activations; encode() takes no more). 0 where an encoder does not count them.
  virtual double operations() const { return 0.0; }
  virtual std::size_t bytes() const { return 0; }

  // In int8: scales from tiles as they will come, a few dozen of several slides; needed once before
  // encode(), which throws Error(kUsage) without it. The same tiles give the same scales. In other
  // precisions nothing is done.
  //
  // rgb  (n, input_px, input_px, 3), any n >= 1
  virtual void calibrate(std::span<const std::uint8_t> /*rgb*/) {}

  // What calibrate() found, the largest magnitude of each layer's values: kept, it repeats a run
  // without the tiles. Empty in other precisions and before calibrate().
  virtual std::vector<float> scales() const { return {}; }

  // Instead of calibrate(): scales() of the same encoder with the same weights. Throws Error(kData)
  // for another number of them or one that is negative or not finite. In other precisions nothing
  // is done.
  virtual void set_scales(std::span<const float> /*scales*/) {}

  // An engine on a device of its own may hold several batches: at most so many are submitted before
  // the oldest is collected. Callers of one that says 1 use encode() alone.
  virtual int in_flight() const { return 1; }

  // encode() in two halves, for in_flight() above 1; collect() gives the oldest batch. Throw
  // Error(kUsage) where there is no such thing, and for a batch too many or too few.
  virtual void submit(std::span<const std::uint8_t> rgb);
  virtual void collect(std::span<float> embeddings);

  // Wall seconds that collect() stood still for the device since the encoder was made: over the
  // time of the loop, the share in which it, and not the caller, was at work. 0 on the processor.
  virtual double waited_s() const { return 0.0; }

  // rgb         (n, input_px, input_px, 3) 8-bit pixels, n <= EncoderOptions::batch; scaled to
  //             [0, 1] and normalised by the spec's mean and stddev inside
  // embeddings  (n, embedding_dim)
  // The same tile gives the same bits whatever else is in the batch.
  virtual void encode(std::span<const std::uint8_t> rgb, std::span<float> embeddings) = 0;
};

// A tensor that a weights file must hold.
struct TensorShape {
  std::string name;
  std::vector<std::uint64_t> shape;
};

struct EncoderSpec {
  std::string_view name;       // "resnet50", also the --encoder value
  std::string_view modality;   // "wsi", "ct", "mri"
  std::string_view reference;  // paper, and the licence of the weights
  std::int64_t embedding_dim;
  std::int64_t input_px;  // side of the square tile it takes
  double mpp;             // micrometres a pixel it was trained at; 0 = any
  std::array<float, 3> mean;
  std::array<float, 3> stddev;
  bool trained;  // false: seeded weights for trials; every output must say so
  // weights   .pth (zip or legacy), .bin, .safetensors; ignored by an untrained encoder
  // Throws Error(kData) naming up to five tensors that are missing, unknown or of another shape.
  std::unique_ptr<Encoder> (*load)(const std::filesystem::path& weights,
                                   const EncoderOptions& options);
  // What `load` takes from a weights file; no function where it takes none.
  std::vector<TensorShape> (*tensors)() = nullptr;
  // The net with its weights, as data for another engine: of the options it reads the seed alone.
  // Throws as `load`.
  NetGraph (*graph)(const std::filesystem::path& weights, const EncoderOptions& options) = nullptr;
};

// Every encoder, in the order of help texts.
std::span<const EncoderSpec* const> encoders();

// Throws Error(kUsage) with the nearest name.
const EncoderSpec& find_encoder(std::string_view name);

}  // namespace med3d
