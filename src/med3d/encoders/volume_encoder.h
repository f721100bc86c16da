// Encoders of volumes: networks that turn one scan into a vector. As those of tiles (encoder.h),
// each is a file that carries its own facts; no caller tests a name or switches on a type.
//
// A new one is <name>.cc with a VolumeEncoderSpec and one line in registry.cc.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "med3d/encoders/encoder.h"

namespace med3d {

// (depth, height, width), in voxels: slices, rows, columns.
using VolumeExtent = std::array<std::int64_t, 3>;

// What a residual net's shortcut does where the shape changes. A: every stride-th voxel, and zeros
// for the new channels, without parameters. B: a 1 x 1 x 1 convolution with batch norm. Weights fit
// one of them only.
enum class Shortcut { kPublished, kA, kB };

struct VolumeEncoderOptions {
  Precision precision = Precision::kF32;
  int threads = 1;
  std::uint64_t seed = 0;  // of an untrained encoder's weights
  // kPublished: the one that the published weights of this depth were trained with. Another one
  // only for weights of one's own.
  Shortcut shortcut = Shortcut::kPublished;
};

// The last map of features, before it is averaged into the embedding.
struct FeatureMap {
  std::array<std::int64_t, 4> shape{};  // (channels, depth, height, width)
  std::vector<float> values;
};

// A loaded network, ready to run. Not safe for two threads at once.
//
// One volume at a time, on all threads. Kernels and memory are made for the extent of the first
// volume and made anew when a volume of another extent comes. A volume gives the same bits each
// time on the same number of threads; another number may split sums differently (f32: 1e-6
// relative).
class VolumeEncoder {
 public:
  virtual ~VolumeEncoder() = default;
  VolumeEncoder() = default;
  VolumeEncoder(const VolumeEncoder&) = delete;
  VolumeEncoder& operator=(const VolumeEncoder&) = delete;

  virtual std::int64_t embedding_dim() const = 0;
  virtual Precision precision() const = 0;  // the one in use, never kAuto

  // For benchmarks: multiplications and additions for a volume of the present extent, padding
  // counted as if it were data, and bytes held (weights and activations; encode() takes no more
  // for another volume of that extent). operations() is 0 before the first volume.
  virtual double operations() const = 0;
  virtual std::size_t bytes() const = 0;

  // As Encoder::waited_s().
  virtual double waited_s() const { return 0.0; }

  // volume     (depth, height, width), normalised as the weights expect it; finite
  // embedding  (embedding_dim,)
  // Throws Error(kUsage) if sizes differ or an extent is below 1, Error(kData) naming the first
  // voxel that is not finite.
  virtual void encode(std::span<const float> volume,
                      const VolumeExtent& extent,
                      std::span<float> embedding) = 0;

  // The same, and the map whose mean over positions the embedding is (for Grad-CAM).
  virtual FeatureMap encode_with_map(std::span<const float> volume,
                                     const VolumeExtent& extent,
                                     std::span<float> embedding) = 0;
};

struct VolumeEncoderSpec {
  std::string_view name;       // "medicalnet-resnet18", also the --encoder value
  std::string_view modality;   // "ct,mri"
  std::string_view reference;  // paper, and the licence of the weights
  std::int64_t embedding_dim;
  VolumeExtent input;  // the extent that volumes are brought to unless the user says otherwise
  bool trained;        // false: seeded weights for trials; every output must say so
  // weights   .pth (zip or legacy), .bin, .safetensors; ignored by an untrained encoder
  // Throws Error(kData) naming up to five tensors that are missing, unknown or of another shape,
  // Error(kUsage) for options that make no sense, Error(kUnsupported) for kInt8.
  std::unique_ptr<VolumeEncoder> (*load)(const std::filesystem::path& weights,
                                         const VolumeEncoderOptions& options);
  // The net with its weights, as data for another engine: of the options it reads the seed and the
  // shortcut. Throws as `load`.
  NetGraph (*graph)(const std::filesystem::path& weights,
                    const VolumeEncoderOptions& options) = nullptr;
};

// Every encoder of volumes, in the order of help texts.
std::span<const VolumeEncoderSpec* const> volume_encoders();

// Throws Error(kUsage) with the nearest name.
const VolumeEncoderSpec& find_volume_encoder(std::string_view name);

}  // namespace med3d
