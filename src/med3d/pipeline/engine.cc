#include "med3d/pipeline/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "med3d/core/error.h"
#include "med3d/kernels/cpu.h"
#include "med3d/nn/graph_module.h"

namespace med3d::pipeline {
namespace {

constexpr std::size_t kColours = 3;

Precision precision_on(const ChosenEngine& chosen, Precision wanted) {
  if (wanted == Precision::kInt8) {
    throw Error(ErrorKind::kUnsupported,
                "precision int8 is not there on LibTorch; take f32 or bf16, or --engine native");
  }
  if (!chosen.cuda()) return available_precision(wanted);
  return wanted == Precision::kAuto ? Precision::kBf16 : wanted;
}

nn::GraphOptions graph_options(const ChosenEngine& chosen, Precision precision, int threads) {
  nn::GraphOptions options;
  options.device = chosen.cuda() ? nn::DeviceKind::kCuda : nn::DeviceKind::kCpu;
  options.bf16 = precision == Precision::kBf16;
  options.threads = threads;
  return options;
}

// Bytes of the weights; LibTorch's own memory for activations is not counted.
std::size_t weight_bytes(const NetGraph& graph, Precision precision) {
  std::size_t values = 0;
  for (const NetTensor& tensor : graph.tensors) values += tensor.values.size();
  return values * (precision == Precision::kBf16 ? 2 : 4);
}

class TorchEncoder : public Encoder {
 public:
  TorchEncoder(const ChosenEngine& chosen,
               const NetGraph& graph,
               const TorchTiles& tiles,
               const EncoderOptions& options)
      : precision_(precision_on(chosen, options.precision)),
        tiles_(tiles),
        batch_(options.batch),
        in_flight_(chosen.cuda() ? nn::GraphModule::kInFlight : 1),
        bytes_(weight_bytes(graph, precision_)),
        module_([&] {
          nn::GraphOptions run = graph_options(chosen, precision_, options.threads);
          run.pixels = nn::PixelNormalisation{tiles.mean, tiles.stddev};
          return nn::GraphModule(graph, run);
        }()) {
    // One black tile tells the width and the work of a tile.
    const std::vector<std::uint8_t> black(tile_bytes(), 0);
    module_.submit(black, tiles_.input_px, tiles_.input_px);
    const nn::GraphOutput output = module_.collect();
    dim_ = output.values.cols();
    operations_ = output.operations;
  }

  std::int64_t embedding_dim() const override { return static_cast<std::int64_t>(dim_); }
  Precision precision() const override { return precision_; }
  double operations() const override { return operations_; }
  std::size_t bytes() const override { return bytes_; }
  int in_flight() const override { return in_flight_; }
  double waited_s() const override { return waited_s_; }

  void submit(std::span<const std::uint8_t> rgb) override {
    if (rgb.empty() || rgb.size() % tile_bytes() != 0 ||
        rgb.size() / tile_bytes() > static_cast<std::size_t>(batch_)) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("encoder: {} bytes, expected 1 to {} tiles of {} x {} pixels",
                              rgb.size(),
                              batch_,
                              tiles_.input_px,
                              tiles_.input_px));
    }
    module_.submit(rgb, tiles_.input_px, tiles_.input_px);
  }

  void collect(std::span<float> embeddings) override {
    const nn::GraphOutput output = module_.collect();
    waited_s_ += output.waited_s;
    if (embeddings.size() != output.values.size()) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("encoder: room for {} numbers, the batch gave {}",
                              embeddings.size(),
                              output.values.size()));
    }
    std::copy_n(output.values.data(), output.values.size(), embeddings.begin());
  }

  void encode(std::span<const std::uint8_t> rgb, std::span<float> embeddings) override {
    if (in_flight_ > 1) {
      if (rgb.empty()) return;
      submit(rgb);
      collect(embeddings);
      return;
    }
    // One at a time: how LibTorch sums may depend on the tiles beside it in a batch, and a resumed
    // job has other neighbours.
    for (std::size_t i = 0; i * tile_bytes() < rgb.size(); ++i) {
      const std::size_t first = i * tile_bytes();
      submit(rgb.subspan(first, std::min(tile_bytes(), rgb.size() - first)));
      collect(embeddings.subspan(i * dim_, dim_));
    }
  }

 private:
  std::size_t tile_bytes() const {
    return kColours * static_cast<std::size_t>(tiles_.input_px * tiles_.input_px);
  }

  Precision precision_;
  TorchTiles tiles_;
  std::int64_t batch_;
  int in_flight_;
  std::size_t bytes_;
  nn::GraphModule module_;
  std::size_t dim_ = 0;
  double operations_ = 0.0;
  double waited_s_ = 0.0;
};

class TorchVolumeEncoder : public VolumeEncoder {
 public:
  TorchVolumeEncoder(const ChosenEngine& chosen,
                     const NetGraph& graph,
                     std::string_view name,
                     const VolumeEncoderOptions& options)
      : name_(name),
        precision_(precision_on(chosen, options.precision)),
        bytes_(weight_bytes(graph, precision_)),
        module_(graph, graph_options(chosen, precision_, options.threads)) {
    // The smallest volume tells the width.
    dim_ =
        static_cast<std::int64_t>(run(std::vector<float>(1, 0.0F), {1, 1, 1}, false).values.cols());
    operations_ = 0.0;
  }

  std::int64_t embedding_dim() const override { return dim_; }
  Precision precision() const override { return precision_; }
  double operations() const override { return operations_; }
  std::size_t bytes() const override { return bytes_; }
  double waited_s() const override { return waited_s_; }

  void encode(std::span<const float> volume,
              const VolumeExtent& extent,
              std::span<float> embedding) override {
    deliver(run(volume, extent, false), embedding);
  }

  FeatureMap encode_with_map(std::span<const float> volume,
                             const VolumeExtent& extent,
                             std::span<float> embedding) override {
    nn::GraphOutput output = run(volume, extent, true);
    deliver(output, embedding);
    FeatureMap map;
    std::copy_n(output.averaged_shape.begin() + 1, map.shape.size(), map.shape.begin());
    map.values = std::move(output.averaged);
    return map;
  }

 private:
  nn::GraphOutput run(std::span<const float> volume, const VolumeExtent& extent, bool with_map) {
    const auto bad =
        std::find_if(volume.begin(), volume.end(), [](float v) { return !std::isfinite(v); });
    if (bad != volume.end()) {
      const std::int64_t at = bad - volume.begin();
      const std::int64_t row = std::max<std::int64_t>(extent[2], 1);
      const std::int64_t slice = row * std::max<std::int64_t>(extent[1], 1);
      throw Error(ErrorKind::kData,
                  fmt::format("{}: {} at slice {}, row {}, column {}",
                              name_,
                              *bad,
                              at / slice,
                              at % slice / row,
                              at % row));
    }
    const std::array<std::int64_t, 5> shape = {1, 1, extent[0], extent[1], extent[2]};
    module_.submit(volume, shape, with_map);
    nn::GraphOutput output = module_.collect();
    operations_ = output.operations;
    waited_s_ += output.waited_s;
    return output;
  }

  void deliver(const nn::GraphOutput& output, std::span<float> embedding) const {
    if (embedding.size() != output.values.size()) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("{}: room for {} numbers, expected {}",
                              name_,
                              embedding.size(),
                              output.values.size()));
    }
    std::copy_n(output.values.data(), output.values.size(), embedding.begin());
  }

  std::string name_;
  Precision precision_;
  std::size_t bytes_;
  nn::GraphModule module_;
  std::int64_t dim_ = 0;
  double operations_ = 0.0;
  double waited_s_ = 0.0;
};

template <class Spec, class EncoderOrVolume, class RunOptions, class Make>
std::unique_ptr<EncoderOrVolume> load_on(const ChosenEngine& chosen,
                                         const Spec& spec,
                                         const std::filesystem::path& weights,
                                         const RunOptions& options,
                                         const Make& make) {
  if (chosen.engine == Engine::kNative) return spec.load(weights, options);
  precision_on(chosen, options.precision);  // looked at before a large file is read
  if (spec.graph == nullptr) {
    throw Error(ErrorKind::kUnsupported,
                fmt::format("{}: this encoder does not run on LibTorch", spec.name));
  }
  return make(spec.graph(weights, options));
}

}  // namespace

Engine parse_engine(std::string_view name) {
  if (name == "auto") return Engine::kAuto;
  if (name == "native") return Engine::kNative;
  if (name == "torch") return Engine::kTorch;
  throw Error(ErrorKind::kUsage, fmt::format("engine '{}', expected auto, native or torch", name));
}

std::string ChosenEngine::name() const { return engine == Engine::kTorch ? "torch" : "native"; }

std::string ChosenEngine::text() const {
  if (engine == Engine::kNative) return "";
  return fmt::format("engine torch {} on {}", nn::torch_version(), device);
}

ChosenEngine choose_engine(Engine engine, nn::DeviceKind device) {
  if (engine == Engine::kNative) {
    if (device == nn::DeviceKind::kCuda) {
      throw Error(ErrorKind::kUsage,
                  "engine 'native' computes on the processor, expected device 'cpu' or 'auto', or "
                  "engine 'torch' for device 'cuda'");
    }
    return {};
  }
  const nn::Device found = nn::resolve_device(device);
  if (found.kind == nn::DeviceKind::kCuda) return {Engine::kTorch, found.name};
  return {engine == Engine::kTorch ? Engine::kTorch : Engine::kNative, "cpu"};
}

std::unique_ptr<Encoder> load_encoder_on(const ChosenEngine& chosen,
                                         const EncoderSpec& spec,
                                         const std::filesystem::path& weights,
                                         const EncoderOptions& options) {
  return load_on<EncoderSpec, Encoder>(chosen, spec, weights, options, [&](const NetGraph& graph) {
    return make_torch_encoder(
        chosen, graph, TorchTiles{spec.input_px, spec.mean, spec.stddev}, options);
  });
}

std::unique_ptr<VolumeEncoder> load_encoder_on(const ChosenEngine& chosen,
                                               const VolumeEncoderSpec& spec,
                                               const std::filesystem::path& weights,
                                               const VolumeEncoderOptions& options) {
  return load_on<VolumeEncoderSpec, VolumeEncoder>(
      chosen, spec, weights, options, [&](const NetGraph& graph) {
        return make_torch_encoder(chosen, graph, spec.name, options);
      });
}

std::unique_ptr<Encoder> make_torch_encoder(const ChosenEngine& chosen,
                                            const NetGraph& graph,
                                            const TorchTiles& tiles,
                                            const EncoderOptions& options) {
  if (options.batch < 1 || tiles.input_px < 1) {
    throw Error(ErrorKind::kUsage,
                fmt::format("encoder: batches of {} tiles of {} pixels, expected at least 1",
                            options.batch,
                            tiles.input_px));
  }
  return std::make_unique<TorchEncoder>(chosen, graph, tiles, options);
}

std::unique_ptr<VolumeEncoder> make_torch_encoder(const ChosenEngine& chosen,
                                                  const NetGraph& graph,
                                                  std::string_view name,
                                                  const VolumeEncoderOptions& options) {
  return std::make_unique<TorchVolumeEncoder>(chosen, graph, name, options);
}

}  // namespace med3d::pipeline
