// Which engine computes an encoder, and where: med3d's own kernels on the processor, or LibTorch on
// the processor (the reference, for comparisons) or on a CUDA device.
//
// Both compute the same net with the same weights: f32 features agree to 1e-4 of the largest one
// (engine_test.cc), but not to the bit, so records name the engine and a job does not mix them.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "med3d/encoders/encoder.h"
#include "med3d/encoders/volume_encoder.h"
#include "med3d/nn/device.h"

namespace med3d::pipeline {

enum class Engine {
  kAuto,    // LibTorch on CUDA, med3d's own kernels on the processor
  kNative,  // med3d's own, on the processor
  kTorch,   // LibTorch
};

Engine parse_engine(std::string_view name);  // "auto", "native", "torch"; Error(kUsage) else

struct ChosenEngine {
  Engine engine = Engine::kNative;  // never kAuto
  std::string device = "cpu";       // "cpu" or "cuda:0"

  std::string name() const;  // "native" or "torch"
  bool cuda() const { return device != "cpu"; }
  // Of all that decides a feature's bits, what this adds to a record's key: empty for med3d's own.
  std::string text() const;
};

// kAuto as a device is CUDA where it is there and the engine is not med3d's own, else the
// processor; LibTorch is opened only where a device may be.
// Throws Error(kUsage) for med3d's own engine on CUDA, kUnsupported where CUDA is asked for and not
// there.
ChosenEngine choose_engine(Engine engine, nn::DeviceKind device);

// The encoder on that engine. On LibTorch kAuto is bf16 on CUDA and where the processor computes it
// natively, bf16 falls back to f32 where it does not, and int8 is refused with Error(kUnsupported).
// On CUDA an Encoder has two batches in flight, and a tile's bits may depend on its batch.
//
// Throws what the spec's load throws, and what nn/graph_module.h says.
std::unique_ptr<Encoder> load_encoder_on(const ChosenEngine& chosen,
                                         const EncoderSpec& spec,
                                         const std::filesystem::path& weights,
                                         const EncoderOptions& options);
std::unique_ptr<VolumeEncoder> load_encoder_on(const ChosenEngine& chosen,
                                               const VolumeEncoderSpec& spec,
                                               const std::filesystem::path& weights,
                                               const VolumeEncoderOptions& options);

// A net of tiles as data, on LibTorch; for encoders that stand in no list.
struct TorchTiles {
  std::int64_t input_px = 224;
  std::array<float, 3> mean{};
  std::array<float, 3> stddev{};
};
std::unique_ptr<Encoder> make_torch_encoder(const ChosenEngine& chosen,
                                            const NetGraph& graph,
                                            const TorchTiles& tiles,
                                            const EncoderOptions& options);
std::unique_ptr<VolumeEncoder> make_torch_encoder(const ChosenEngine& chosen,
                                                  const NetGraph& graph,
                                                  std::string_view name,
                                                  const VolumeEncoderOptions& options);

}  // namespace med3d::pipeline
