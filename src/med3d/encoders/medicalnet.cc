#include "med3d/encoders/medicalnet.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "med3d/core/error.h"
#include "med3d/core/limits.h"
#include "med3d/core/random.h"
#include "med3d/core/text.h"
#include "med3d/encoders/internal/residual_graph.h"
#include "med3d/kernels/conv_net.h"

namespace med3d {

namespace {

constexpr VolumeExtent kInput = {56, 448, 448};  // MedicalNet's setting.py
constexpr std::size_t kNamed = 5;                // tensors a message lists

// The tensor of that name and shape.
using Source =
    std::function<std::vector<float>(const std::string&, const std::vector<std::uint64_t>&)>;

struct Layer {
  Convolution convolution;
  BatchNorm norm;
};

struct Block {
  std::vector<Layer> layers;  // one after the other; the shortcut is added to the last
  // Where the shape changes: a projection, its norm empty for shortcut A.
  std::optional<Layer> shortcut;
};

struct Parameters {
  Layer stem;
  std::vector<Block> blocks;
};

struct Cube {
  std::int64_t kernel = 1;
  std::int64_t stride = 1;
  std::int64_t dilation = 1;
};

Layer layer(const Source& source,
            const std::string& convolution,
            const std::string& norm,
            std::int64_t in,
            std::int64_t out,
            const Cube& cube,
            bool relu) {
  const auto n = static_cast<std::uint64_t>(out);
  const auto k = static_cast<std::uint64_t>(cube.kernel);
  const std::int64_t padding = cube.dilation * (cube.kernel / 2);
  return {{convolution,
           out,
           Window::same(3, cube.kernel, cube.stride, padding, cube.dilation),
           source(convolution + ".weight", {n, static_cast<std::uint64_t>(in), k, k, k}),
           {},
           relu},
          {source(norm + ".weight", {n}),
           source(norm + ".bias", {n}),
           source(norm + ".running_mean", {n}),
           source(norm + ".running_var", {n})}};
}

// Shortcut A as a convolution: one in the diagonal keeps a channel, rows of zeros make the new
// ones. Exact, and less than a hundredth of the net's arithmetic.
Layer subsampling(const std::string& name, std::int64_t in, std::int64_t out, std::int64_t stride) {
  Layer result;
  result.convolution.name = name + "shortcut";
  result.convolution.out_channels = out;
  result.convolution.window = Window::same(3, 1, stride);
  result.convolution.weight.assign(static_cast<std::size_t>(in * out), 0.0F);
  for (std::int64_t c = 0; c < std::min(in, out); ++c) {
    result.convolution.weight[static_cast<std::size_t>(c * in + c)] = 1.0F;
  }
  result.convolution.bias.assign(static_cast<std::size_t>(out), 0.0F);
  return result;
}

// has_bias: whether the convolutions of shortcut B bring one.
Parameters parameters(const MedicalNetDesign& design, const Source& source, bool has_bias) {
  Parameters result;
  result.stem = layer(source, "conv1", "bn1", 1, design.width, {7, 2, 1}, true);
  std::int64_t channels = design.width;
  for (std::size_t g = 0; g < design.blocks.size(); ++g) {
    const std::int64_t width = design.width << g;
    const std::int64_t out = design.bottleneck ? 4 * width : width;
    const std::int64_t dilation = design.dilated && g >= 2 ? std::int64_t{1} << (g - 1) : 1;
    for (int b = 0; b < design.blocks[g]; ++b) {
      const std::string name = fmt::format("layer{}.{}.", g + 1, b);
      const std::int64_t stride = b == 0 && g > 0 && dilation == 1 ? 2 : 1;
      const auto add = [&](Block& block, std::int64_t in, std::int64_t to, const Cube& cube) {
        const std::size_t number = block.layers.size() + 1;
        block.layers.push_back(layer(source,
                                     fmt::format("{}conv{}", name, number),
                                     fmt::format("{}bn{}", name, number),
                                     in,
                                     to,
                                     cube,
                                     true));
      };
      Block block;
      if (design.bottleneck) {
        add(block, channels, width, {1, 1, 1});
        add(block, width, width, {3, stride, dilation});
        add(block, width, out, {1, 1, 1});
      } else {
        add(block, channels, width, {3, stride, dilation});
        add(block, width, width, {3, 1, dilation});
      }
      if (stride != 1 || channels != out) {
        if (design.shortcut == Shortcut::kA) {
          block.shortcut = subsampling(name, channels, out, stride);
        } else {
          block.shortcut = layer(source,
                                 name + "downsample.0",
                                 name + "downsample.1",
                                 channels,
                                 out,
                                 {1, stride, 1},
                                 false);
          if (has_bias) {
            block.shortcut->convolution.bias =
                source(name + "downsample.0.bias", {static_cast<std::uint64_t>(out)});
          }
        }
      }
      channels = out;
      result.blocks.push_back(std::move(block));
    }
  }
  return result;
}

// Loading would find the difference too, one tensor after another; this says what it means.
void check_shortcut(const MedicalNetDesign& design, const Weights& weights, std::string_view name) {
  std::vector<std::string> found;
  for (const auto& [tensor, array] : weights.tensors) {
    if (tensor.find(".downsample.") != std::string::npos) found.push_back(tensor);
  }
  if (design.shortcut == Shortcut::kA && !found.empty()) {
    const std::size_t named = std::min(kNamed, found.size());
    const std::string more =
        found.size() > named ? fmt::format(" and {} more", found.size() - named) : "";
    throw Error(ErrorKind::kData,
                fmt::format("{}: {} with shortcut A has no parameters in its shortcuts, but there "
                            "are {}{}: these weights are of shortcut B",
                            weights.source,
                            name,
                            join(std::span(found).first(named), ", "),
                            more));
  }
  if (design.shortcut == Shortcut::kB && found.empty()) {
    std::vector<std::string> wanted;
    for (std::size_t g = design.bottleneck ? 0 : 1; g < design.blocks.size(); ++g) {
      wanted.push_back(fmt::format("layer{}.0.downsample.*", g + 1));
    }
    throw Error(ErrorKind::kData,
                fmt::format("{}: {} with shortcut B needs {}, and there are none: these weights "
                            "are of shortcut A",
                            weights.source,
                            name,
                            join(wanted, ", ")));
  }
}

Parameters taken(const MedicalNetDesign& design, Weights weights, std::string_view name) {
  check_shortcut(design, weights, name);
  const bool has_bias =
      std::any_of(weights.tensors.begin(), weights.tensors.end(), [](const auto& entry) {
        return entry.first.ends_with(".downsample.0.bias");
      });
  WeightsTaker take(std::move(weights), name);
  Parameters result = parameters(
      design,
      [&](const std::string& tensor, const std::vector<std::uint64_t>& shape) {
        return take.tensor(tensor, shape);
      },
      has_bias);
  for (const char* unused : {"conv_seg.", "fc."}) take.ignore_prefix(unused);
  take.ignore_suffix(".num_batches_tracked");  // batch norm's counter while training
  take.finish();
  return result;
}

ConvNet assembled(Parameters parameters,
                  const VolumeExtent& extent,
                  const ConvNetOptions& options) {
  ConvNet net(1, {extent.begin(), extent.end()}, options);
  const auto folded = [](Layer& one) {
    if (!one.norm.gamma.empty()) fold(one.norm, one.convolution);
    return std::move(one.convolution);
  };
  auto x = net.convolution(ConvNet::kInput, folded(parameters.stem));
  x = net.max_pool(x, Window::same(3, 3, 2, 1));
  for (Block& block : parameters.blocks) {
    auto shortcut = x;
    if (block.shortcut) shortcut = net.convolution(x, folded(*block.shortcut));
    for (std::size_t i = 0; i + 1 < block.layers.size(); ++i) {
      x = net.convolution(x, folded(block.layers[i]));
    }
    x = net.convolution_add(x, folded(block.layers.back()), shortcut);
  }
  net.build(net.global_mean(x));
  return net;
}

NetGraph graph_of(Parameters parameters) {
  NetGraph graph;
  const auto add = [&](std::size_t from, Layer& one, bool relu) {
    return add_layer(graph, from, std::move(one.convolution), std::move(one.norm), relu);
  };
  std::size_t x = add(NetGraph::kInput, parameters.stem, true);
  x = add_max_pool(graph, x, Window::same(3, 3, 2, 1));
  for (Block& block : parameters.blocks) {
    std::size_t shortcut = x;
    if (block.shortcut && block.shortcut->norm.gamma.empty()) {
      const Convolution& made = block.shortcut->convolution;
      shortcut =
          graph.add(NetOp::kSubsample, {x}, {}, {made.window.stride.front(), made.out_channels});
    } else if (block.shortcut) {
      shortcut = add(x, *block.shortcut, false);
    }
    for (std::size_t i = 0; i + 1 < block.layers.size(); ++i) x = add(x, block.layers[i], true);
    x = add_sum(graph, add(x, block.layers.back(), false), shortcut);
  }
  finish_with_mean(graph, x);
  return graph;
}

class MedicalNet : public VolumeEncoder {
 public:
  MedicalNet(const MedicalNetDesign& design,
             Parameters parameters,
             std::string_view name,
             Precision precision,
             int threads)
      : name_(name),
        dim_(design.embedding_dim()),
        precision_(precision),
        options_{precision == Precision::kBf16 ? Arithmetic::kBf16 : Arithmetic::kF32, 1, threads},
        parameters_(std::move(parameters)) {}

  std::int64_t embedding_dim() const override { return dim_; }
  Precision precision() const override { return precision_; }
  double operations() const override { return net_ ? net_->operations() : 0.0; }

  std::size_t bytes() const override {
    if (net_) return net_->bytes();
    std::size_t values = 0;
    const auto count = [&](const Layer& one) {
      values += one.convolution.weight.size() + one.convolution.bias.size();
    };
    count(parameters_.stem);
    for (const Block& block : parameters_.blocks) {
      for (const Layer& one : block.layers) count(one);
      if (block.shortcut) count(*block.shortcut);
    }
    return values * sizeof(float);
  }

  void encode(std::span<const float> volume,
              const VolumeExtent& extent,
              std::span<float> embedding) override {
    prepare(volume, extent);
    net_->run(volume, embedding);
  }

  FeatureMap encode_with_map(std::span<const float> volume,
                             const VolumeExtent& extent,
                             std::span<float> embedding) override {
    prepare(volume, extent);
    FeatureMap map;
    std::size_t size = 1;
    const auto shape = net_->averaged_shape();
    for (std::size_t a = 0; a < map.shape.size(); ++a) {
      map.shape[a] = shape.at(a);
      size *= static_cast<std::size_t>(shape[a]);
    }
    map.values.resize(size);
    net_->run(volume, embedding, map.values);
    return map;
  }

 private:
  // Looks at the volume and makes the net fit it.
  void prepare(std::span<const float> volume, const VolumeExtent& extent) {
    std::uint64_t voxels = 1;
    for (const std::int64_t side : extent) {
      if (side < 1) {
        throw Error(ErrorKind::kUsage,
                    fmt::format("{}: a volume of {} x {} x {} voxels, expected at least 1 of each",
                                name_,
                                extent[0],
                                extent[1],
                                extent[2]));
      }
      voxels = checked_multiply(voxels, static_cast<std::uint64_t>(side), name_);
    }
    if (volume.size() != voxels) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("{}: {} values for a volume of {} x {} x {} voxels",
                              name_,
                              volume.size(),
                              extent[0],
                              extent[1],
                              extent[2]));
    }
    const auto bad =
        std::find_if(volume.begin(), volume.end(), [](float v) { return !std::isfinite(v); });
    if (bad != volume.end()) {
      const std::int64_t at = bad - volume.begin();
      throw Error(ErrorKind::kData,
                  fmt::format("{}: {} at slice {}, row {}, column {}",
                              name_,
                              *bad,
                              at / (extent[1] * extent[2]),
                              at / extent[2] % extent[1],
                              at % extent[2]));
    }
    if (net_) {
      net_->resize({extent.begin(), extent.end()});
    } else {
      net_ = assembled(std::exchange(parameters_, {}), extent, options_);
    }
  }

  std::string name_;
  std::int64_t dim_;
  Precision precision_;
  ConvNetOptions options_;
  Parameters parameters_;  // until the first volume says how large the net is
  std::optional<ConvNet> net_;
};

MedicalNetDesign with_shortcut(MedicalNetDesign design, const VolumeEncoderOptions& options) {
  if (options.shortcut != Shortcut::kPublished) design.shortcut = options.shortcut;
  return design;
}

// Options are looked at before a large file is read.
Precision checked(const VolumeEncoderOptions& options, std::string_view name) {
  if (options.threads < 1) {
    throw Error(ErrorKind::kUsage,
                fmt::format("{}: {} threads, expected at least 1", name, options.threads));
  }
  return available_precision(options.precision);
}

}  // namespace

MedicalNetDesign medicalnet_design(int depth, bool dilated) {
  MedicalNetDesign design;
  design.dilated = dilated;
  switch (depth) {
    case 10:
      design.blocks = {1, 1, 1, 1};
      design.shortcut = Shortcut::kB;
      return design;
    case 18:
      return design;
    case 34:
      design.blocks = {3, 4, 6, 3};
      return design;
    case 50:
      design.blocks = {3, 4, 6, 3};
      design.bottleneck = true;
      design.shortcut = Shortcut::kB;
      return design;
    default:
      throw Error(ErrorKind::kUsage,
                  fmt::format("a residual net of depth {}, expected 10, 18, 34 or 50", depth));
  }
}

std::unique_ptr<VolumeEncoder> make_medicalnet(const MedicalNetDesign& design,
                                               Weights weights,
                                               std::string_view name,
                                               const VolumeEncoderOptions& options) {
  const Precision precision = checked(options, name);
  const MedicalNetDesign chosen = with_shortcut(design, options);
  return std::make_unique<MedicalNet>(
      chosen, taken(chosen, std::move(weights), name), name, precision, options.threads);
}

NetGraph medicalnet_graph(const MedicalNetDesign& design,
                          Weights weights,
                          std::string_view name,
                          const VolumeEncoderOptions& options) {
  return graph_of(taken(with_shortcut(design, options), std::move(weights), name));
}

Weights untrained_medicalnet_weights(const MedicalNetDesign& design, std::uint64_t seed) {
  Weights weights;
  weights.source = fmt::format("untrained weights of seed {}", seed);
  const auto make = [&](const std::string& name, const std::vector<std::uint64_t>& shape) {
    std::uint64_t size = 1;
    for (const auto side : shape) size *= side;
    const bool one = name.ends_with(".weight") || name.ends_with(".running_var");
    std::vector<float> values(size, one ? 1.0F : 0.0F);
    if (shape.size() > 1) {
      // Uniform on [-a, a) has standard deviation a / sqrt(3); 32 bits of a draw, scaled.
      const double fan_out = static_cast<double>(size) / static_cast<double>(shape[1]);
      const auto step = static_cast<float>(std::sqrt(6.0 / fan_out) / 2147483648.0);
      std::mt19937 engine(static_cast<std::uint32_t>(derive_seed(seed, name)));
      for (float& value : values) {
        value = step * static_cast<float>(
                           std::bit_cast<std::int32_t>(static_cast<std::uint32_t>(engine())));
      }
    }
    Array array;
    array.shape = shape;
    array.bytes.resize(values.size() * sizeof(float));
    std::memcpy(array.bytes.data(), values.data(), array.bytes.size());
    weights.tensors.emplace(name, std::move(array));
    return std::vector<float>();  // only names and shapes are wanted here
  };
  parameters(design, make, false);
  return weights;
}

namespace {

template <int depth, bool dilated>
std::unique_ptr<VolumeEncoder> load(const std::filesystem::path& weights,
                                    const VolumeEncoderOptions& options) {
  const std::string name = fmt::format("{}-resnet{}", dilated ? "medicalnet" : "monai", depth);
  checked(options, name);
  return make_medicalnet(medicalnet_design(depth, dilated), read_weights(weights), name, options);
}

std::unique_ptr<VolumeEncoder> load_untrained(const std::filesystem::path& /*weights*/,
                                              const VolumeEncoderOptions& options) {
  constexpr std::string_view kName = "resnet18-3d-untrained";
  checked(options, kName);
  const MedicalNetDesign design = with_shortcut(medicalnet_design(18, true), options);
  return make_medicalnet(
      design, untrained_medicalnet_weights(design, options.seed), kName, options);
}

template <int depth, bool dilated>
NetGraph graph(const std::filesystem::path& weights, const VolumeEncoderOptions& options) {
  const std::string name = fmt::format("{}-resnet{}", dilated ? "medicalnet" : "monai", depth);
  return medicalnet_graph(medicalnet_design(depth, dilated), read_weights(weights), name, options);
}

NetGraph graph_untrained(const std::filesystem::path& /*weights*/,
                         const VolumeEncoderOptions& options) {
  const MedicalNetDesign design = with_shortcut(medicalnet_design(18, true), options);
  return medicalnet_graph(
      design, untrained_medicalnet_weights(design, options.seed), "resnet18-3d-untrained", options);
}

constexpr std::string_view kModality = "ct,mri";
constexpr std::string_view kReference =
    "Chen et al., Med3D, arXiv:1904.00625, with dilated layer3 and layer4; weights of MedicalNet "
    "(MIT)";
constexpr std::string_view kMonaiReference =
    "Chen et al., Med3D, arXiv:1904.00625, with strides in layer3 and layer4 as in MONAI (Cardoso "
    "et al., arXiv:2211.02701); weights of MedicalNet (MIT)";

}  // namespace

extern const VolumeEncoderSpec medicalnet_resnet10_encoder;
extern const VolumeEncoderSpec medicalnet_resnet18_encoder;
extern const VolumeEncoderSpec medicalnet_resnet34_encoder;
extern const VolumeEncoderSpec medicalnet_resnet50_encoder;
extern const VolumeEncoderSpec monai_resnet10_encoder;
extern const VolumeEncoderSpec monai_resnet18_encoder;
extern const VolumeEncoderSpec monai_resnet34_encoder;
extern const VolumeEncoderSpec monai_resnet50_encoder;
extern const VolumeEncoderSpec resnet18_3d_untrained_encoder;

const VolumeEncoderSpec medicalnet_resnet10_encoder = {"medicalnet-resnet10",
                                                       kModality,
                                                       kReference,
                                                       512,
                                                       kInput,
                                                       true,
                                                       load<10, true>,
                                                       graph<10, true>};
const VolumeEncoderSpec medicalnet_resnet18_encoder = {"medicalnet-resnet18",
                                                       kModality,
                                                       kReference,
                                                       512,
                                                       kInput,
                                                       true,
                                                       load<18, true>,
                                                       graph<18, true>};
const VolumeEncoderSpec medicalnet_resnet34_encoder = {"medicalnet-resnet34",
                                                       kModality,
                                                       kReference,
                                                       512,
                                                       kInput,
                                                       true,
                                                       load<34, true>,
                                                       graph<34, true>};
const VolumeEncoderSpec medicalnet_resnet50_encoder = {"medicalnet-resnet50",
                                                       kModality,
                                                       kReference,
                                                       2048,
                                                       kInput,
                                                       true,
                                                       load<50, true>,
                                                       graph<50, true>};
const VolumeEncoderSpec monai_resnet10_encoder = {"monai-resnet10",
                                                  kModality,
                                                  kMonaiReference,
                                                  512,
                                                  kInput,
                                                  true,
                                                  load<10, false>,
                                                  graph<10, false>};
const VolumeEncoderSpec monai_resnet18_encoder = {"monai-resnet18",
                                                  kModality,
                                                  kMonaiReference,
                                                  512,
                                                  kInput,
                                                  true,
                                                  load<18, false>,
                                                  graph<18, false>};
const VolumeEncoderSpec monai_resnet34_encoder = {"monai-resnet34",
                                                  kModality,
                                                  kMonaiReference,
                                                  512,
                                                  kInput,
                                                  true,
                                                  load<34, false>,
                                                  graph<34, false>};
const VolumeEncoderSpec monai_resnet50_encoder = {"monai-resnet50",
                                                  kModality,
                                                  kMonaiReference,
                                                  2048,
                                                  kInput,
                                                  true,
                                                  load<50, false>,
                                                  graph<50, false>};

const VolumeEncoderSpec resnet18_3d_untrained_encoder = {
    "resnet18-3d-untrained",
    kModality,
    "medicalnet-resnet18 with seeded random weights (He et al., ICCV 2015, "
    "doi:10.1109/ICCV.2015.123): for trials, its embeddings mean nothing",
    512,
    kInput,
    false,
    load_untrained,
    graph_untrained};

}  // namespace med3d
