// ResNet-50 cut after its third group of blocks: 1024 numbers a tile, CLAM's default encoder.
//
// He et al., CVPR 2016, with the stride in the 3 x 3 convolution as torchvision and timm have it.
// The fourth group and the classifier are left out, and the 14 x 14 positions averaged.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "med3d/core/error.h"
#include "med3d/core/random.h"
#include "med3d/encoders/encoder.h"
#include "med3d/encoders/internal/residual_graph.h"
#include "med3d/encoders/resnet50_internal.h"
#include "med3d/encoders/weights.h"

namespace med3d {

namespace {

constexpr std::int64_t kEmbeddingDim = 1024;
constexpr std::int64_t kInputPx = 224;
constexpr std::array<float, 3> kMean = {0.485F, 0.456F, 0.406F};  // of ImageNet, in [0, 1]
constexpr std::array<float, 3> kStddev = {0.229F, 0.224F, 0.225F};
constexpr std::array<int, 3> kBlocks = {3, 4, 6};
constexpr std::int64_t kWidth = 64;     // of the first group; doubles with each
constexpr std::int64_t kExpansion = 4;  // of a block's last convolution
// Of the net: input, stem, pool, three convolutions a block, a shortcut a group, mean.
constexpr std::size_t kNodes = 3 + 3 * (3 + 4 + 6) + 3 + 1;

// The tensor of that name and shape.
using Source =
    std::function<std::vector<float>(const std::string&, std::initializer_list<std::uint64_t>)>;

struct Layer {
  Convolution convolution;
  BatchNorm norm;
};

struct Block {
  Layer reduce, middle, expand;
  std::vector<Layer> shortcut;  // one where shapes change, else none
};

struct Parameters {
  Layer stem;
  std::vector<std::vector<Block>> groups;
};

Layer layer(const Source& source,
            const std::string& convolution,
            const std::string& norm,
            std::int64_t in,
            std::int64_t out,
            std::int64_t kernel,
            std::int64_t stride,
            bool relu) {
  const auto n = static_cast<std::uint64_t>(out);
  const auto k = static_cast<std::uint64_t>(kernel);
  Layer result;
  result.convolution = {convolution,
                        out,
                        Window::same(2, kernel, stride, kernel / 2),
                        source(convolution + ".weight", {n, static_cast<std::uint64_t>(in), k, k}),
                        {},
                        relu};
  result.norm = {source(norm + ".weight", {n}),
                 source(norm + ".bias", {n}),
                 source(norm + ".running_mean", {n}),
                 source(norm + ".running_var", {n})};
  return result;
}

Parameters parameters(const Source& source) {
  Parameters result;
  result.stem = layer(source, "conv1", "bn1", 3, kWidth, 7, 2, true);
  std::int64_t channels = kWidth;
  for (std::size_t g = 0; g < kBlocks.size(); ++g) {
    const std::int64_t width = kWidth << g;
    std::vector<Block> group;
    for (int b = 0; b < kBlocks[g]; ++b) {
      const std::string name = fmt::format("layer{}.{}.", g + 1, b);
      const std::int64_t stride = g > 0 && b == 0 ? 2 : 1;
      const std::int64_t out = kExpansion * width;
      Block block;
      block.reduce = layer(source, name + "conv1", name + "bn1", channels, width, 1, 1, true);
      block.middle = layer(source, name + "conv2", name + "bn2", width, width, 3, stride, true);
      block.expand = layer(source, name + "conv3", name + "bn3", width, out, 1, 1, true);
      if (b == 0) {
        block.shortcut.push_back(layer(
            source, name + "downsample.0", name + "downsample.1", channels, out, 1, stride, false));
      }
      channels = out;
      group.push_back(std::move(block));
    }
    result.groups.push_back(std::move(group));
  }
  return result;
}

Parameters trained(const std::filesystem::path& path) {
  WeightsTaker take(open_weights(path), "resnet50");
  auto result =
      parameters([&](const std::string& name, auto shape) { return take.tensor(name, shape); });
  for (const char* unused : {"layer4.", "fc."}) take.ignore_prefix(unused);
  take.ignore_suffix(".num_batches_tracked");  // batch norm's counter while training
  take.finish();
  return result;
}

std::vector<TensorShape> tensors() {
  std::vector<TensorShape> all;
  parameters([&](const std::string& name, auto shape) {
    all.push_back({name, shape});
    return std::vector<float>();
  });
  return all;
}

Parameters untrained(std::uint64_t seed) {
  return parameters([&](const std::string& name, std::initializer_list<std::uint64_t> shape) {
    std::uint64_t size = 1;
    for (const auto extent : shape) size *= extent;
    if (shape.size() == 1) {
      const bool one = name.ends_with(".weight") || name.ends_with(".running_var");
      return std::vector<float>(size, one ? 1.0F : 0.0F);
    }
    const std::uint64_t fan_out = size / shape.begin()[1];
    const double stddev = std::sqrt(2.0 / static_cast<double>(fan_out));
    NumpyRandom random(static_cast<std::uint32_t>(derive_seed(seed, "resnet50-untrained " + name)));
    std::vector<float> values(size);
    for (float& value : values) value = static_cast<float>(stddev * random.normal());
    return values;
  });
}

ConvNet assemble(Parameters net_parameters,
                 const ConvNetOptions& options,
                 Resnet50End end,
                 std::int64_t input_px,
                 std::span<const float> largest = {}) {
  ConvNet net = ConvNet::for_rgb8({input_px, input_px}, kMean, kStddev, options);
  const auto folded = [](Layer& one) {
    fold(one.norm, one.convolution);
    return std::move(one.convolution);
  };
  auto x = net.convolution(ConvNet::kInput, folded(net_parameters.stem));
  std::size_t groups = 0;  // in the net
  switch (end) {
    case Resnet50End::kStem:
      break;
    case Resnet50End::kLayer1:
      groups = 1;
      break;
    case Resnet50End::kLayer2:
      groups = 2;
      break;
    case Resnet50End::kLayer3:
    case Resnet50End::kEmbedding:
      groups = 3;
      break;
  }
  if (groups > 0) x = net.max_pool(x, Window::same(2, 3, 2, 1));
  for (std::size_t g = 0; g < groups; ++g) {
    for (Block& block : net_parameters.groups[g]) {
      auto shortcut = x;
      for (Layer& projection : block.shortcut) shortcut = net.convolution(x, folded(projection));
      x = net.convolution(x, folded(block.reduce));
      x = net.convolution(x, folded(block.middle));
      x = net.convolution_add(x, folded(block.expand), shortcut);
    }
  }
  net.build(end == Resnet50End::kEmbedding ? net.global_mean(x) : x, largest);
  return net;
}

NetGraph graph_of(Parameters net_parameters) {
  NetGraph graph;
  const auto add = [&](std::size_t from, Layer& one, bool relu) {
    return add_layer(graph, from, std::move(one.convolution), std::move(one.norm), relu);
  };
  std::size_t x = add(NetGraph::kInput, net_parameters.stem, true);
  x = add_max_pool(graph, x, Window::same(2, 3, 2, 1));
  for (auto& group : net_parameters.groups) {
    for (Block& block : group) {
      std::size_t shortcut = x;
      for (Layer& projection : block.shortcut) shortcut = add(x, projection, false);
      x = add(x, block.reduce, true);
      x = add(x, block.middle, true);
      x = add_sum(graph, add(x, block.expand, false), shortcut);
    }
  }
  finish_with_mean(graph, x);
  return graph;
}

class Resnet50 : public Encoder {
 public:
  Resnet50(Parameters net_parameters, Precision precision, const EncoderOptions& options)
      : precision_(precision),
        batch_(options.batch),
        lanes_(static_cast<int>(std::min<std::int64_t>(options.threads, options.batch))) {
    if (precision == Precision::kInt8) {
      parameters_ = std::move(net_parameters);
      return;
    }
    const auto arithmetic = precision == Precision::kBf16 ? Arithmetic::kBf16 : Arithmetic::kF32;
    net_ = assemble(
        std::move(net_parameters), {arithmetic, lanes_, 1}, Resnet50End::kEmbedding, kInputPx);
  }

  std::int64_t embedding_dim() const override { return kEmbeddingDim; }
  Precision precision() const override { return precision_; }
  double operations() const override { return net_ ? net_->operations() : 0.0; }
  std::size_t bytes() const override { return net_ ? net_->bytes() : 0; }

  void calibrate(std::span<const std::uint8_t> rgb) override {
    if (!parameters_) return;  // not in int8, or done
    ConvNet exact =
        assemble(*parameters_, {Arithmetic::kF32, lanes_, 1}, Resnet50End::kEmbedding, kInputPx);
    quantise(exact.largest_values(rgb));
  }

  std::vector<float> scales() const override { return scales_; }

  void set_scales(std::span<const float> scales) override {
    if (!parameters_) return;
    for (const float scale : scales) {
      if (!(scale >= 0.0F) || !std::isfinite(scale)) {
        throw Error(
            ErrorKind::kData,
            fmt::format("resnet50: an int8 scale of {}, expected finite numbers from 0", scale));
      }
    }
    if (scales.size() != kNodes) {
      throw Error(ErrorKind::kData,
                  fmt::format("resnet50: {} int8 scales, expected {}", scales.size(), kNodes));
    }
    quantise({scales.begin(), scales.end()});
  }

  void encode(std::span<const std::uint8_t> rgb, std::span<float> embeddings) override {
    constexpr std::size_t kTile = kInputPx * kInputPx * 3;
    if (rgb.size() % kTile != 0 || rgb.size() / kTile > static_cast<std::size_t>(batch_)) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("resnet50: {} bytes, expected up to {} tiles of {} x {} pixels",
                              rgb.size(),
                              batch_,
                              kInputPx,
                              kInputPx));
    }
    if (!net_) throw Error(ErrorKind::kUsage, "resnet50: int8 needs calibrate() first");
    net_->run_rgb8(rgb, embeddings);
  }

 private:
  void quantise(std::vector<float> largest) {
    net_ = assemble(std::move(*parameters_),
                    {Arithmetic::kInt8, lanes_, 1},
                    Resnet50End::kEmbedding,
                    kInputPx,
                    largest);
    parameters_.reset();
    scales_ = std::move(largest);
  }

  Precision precision_;
  std::int64_t batch_;
  int lanes_;
  std::vector<float> scales_;
  std::optional<Parameters> parameters_;  // in int8, until calibrate()
  std::optional<ConvNet> net_;
};

// Options are looked at before a large file is read.
Precision checked(const EncoderOptions& options) {
  if (options.threads < 1 || options.batch < 1) {
    throw Error(ErrorKind::kUsage,
                fmt::format("resnet50: {} threads and batches of {}, expected at least 1 of each",
                            options.threads,
                            options.batch));
  }
  if (options.precision == Precision::kInt8) {
    if (native_int8()) return Precision::kInt8;
    throw Error(ErrorKind::kUnsupported,
                "resnet50: int8 needs a processor with VNNI (AVX-512 or AVX2); take f32 or bf16");
  }
  return available_precision(options.precision);
}

std::unique_ptr<Encoder> load(const std::filesystem::path& weights, const EncoderOptions& options) {
  const Precision precision = checked(options);
  return std::make_unique<Resnet50>(trained(weights), precision, options);
}

std::unique_ptr<Encoder> make_untrained(const std::filesystem::path& /*weights*/,
                                        const EncoderOptions& options) {
  const Precision precision = checked(options);
  return std::make_unique<Resnet50>(untrained(options.seed), precision, options);
}

NetGraph graph(const std::filesystem::path& weights, const EncoderOptions& /*options*/) {
  return graph_of(trained(weights));
}

NetGraph untrained_graph(const std::filesystem::path& /*weights*/, const EncoderOptions& options) {
  return graph_of(untrained(options.seed));
}

}  // namespace

ConvNet resnet50_net(const std::filesystem::path& weights,
                     const ConvNetOptions& options,
                     Resnet50End end,
                     std::int64_t input_px) {
  return assemble(trained(weights), options, end, input_px);
}

ConvNet resnet50_untrained_net(std::uint64_t seed,
                               const ConvNetOptions& options,
                               Resnet50End end,
                               std::int64_t input_px) {
  return assemble(untrained(seed), options, end, input_px);
}

extern const EncoderSpec resnet50_encoder;
extern const EncoderSpec resnet50_untrained_encoder;

const EncoderSpec resnet50_encoder = {
    "resnet50",
    "wsi",
    "He et al., CVPR 2016, doi:10.1109/CVPR.2016.90, up to layer3; torchvision's or timm's "
    "ImageNet "
    "weights (BSD-3-Clause, Apache-2.0)",
    kEmbeddingDim,
    kInputPx,
    0.0,
    kMean,
    kStddev,
    true,
    load,
    tensors,
    graph,
};

const EncoderSpec resnet50_untrained_encoder = {
    "resnet50-untrained",
    "wsi",
    "resnet50 with seeded random weights (He et al., ICCV 2015, doi:10.1109/ICCV.2015.123): for "
    "trials, its embeddings mean nothing",
    kEmbeddingDim,
    kInputPx,
    0.0,
    kMean,
    kStddev,
    false,
    make_untrained,
    nullptr,
    untrained_graph,
};

}  // namespace med3d
