#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <random>

#include "med3d/core/random.h"
#include "med3d/encoders/internal/vit.h"

namespace med3d {

namespace {

struct Named {
  std::string name;
  std::vector<std::int64_t> shape;
};

// Names and shapes of all tensors that the net asks for.
std::vector<Named> tensors_of(const VitOptions& options) {
  const std::int64_t width = options.width;
  const std::int64_t hidden = options.mlp_width;
  const std::int64_t side = options.patch_px;
  std::vector<Named> all;
  const auto layer = [&](const std::string& name, std::int64_t outputs, std::int64_t inputs) {
    all.push_back({name + ".weight", {outputs, inputs}});
    all.push_back({name + ".bias", {outputs}});
  };
  const auto norm = [&](const std::string& name, std::int64_t size) {
    all.push_back({name + ".weight", {size}});
    all.push_back({name + ".bias", {size}});
  };
  const std::string& trunk = options.trunk;
  all.push_back({trunk + "cls_token", {1, 1, width}});
  all.push_back(
      {trunk + "pos_embed", {1, options.position_grid() * options.position_grid() + 1, width}});
  all.push_back({trunk + "patch_embed.proj.weight", {width, 3, side, side}});
  all.push_back({trunk + "patch_embed.proj.bias", {width}});
  for (std::int64_t i = 0; i < options.depth; ++i) {
    const std::string block = fmt::format("{}blocks.{}.", trunk, i);
    norm(block + "norm1", width);
    layer(block + "attn.qkv", 3 * width, width);
    layer(block + "attn.proj", width, width);
    if (options.layer_scale) all.push_back({block + "ls1.gamma", {width}});
    norm(block + "norm2", width);
    layer(block + "mlp.fc1", hidden, width);
    layer(block + "mlp.fc2", width, hidden);
    if (options.layer_scale) all.push_back({block + "ls2.gamma", {width}});
  }
  norm(trunk + "norm", width);
  if (const std::int64_t out = options.pool_width; out > 0) {
    const std::string pooler = options.pool + "attn_pool_contrast.";
    all.push_back({pooler + "query", {1, out}});
    all.push_back({pooler + "attn.q_proj_weight", {out, out}});
    all.push_back({pooler + "attn.k_proj_weight", {out, width}});
    all.push_back({pooler + "attn.v_proj_weight", {out, width}});
    all.push_back({pooler + "attn.in_proj_bias", {3 * out}});
    layer(pooler + "attn.out_proj", out, out);
    norm(pooler + "ln_q", out);
    norm(pooler + "ln_k", width);
    norm(options.pool + "ln_contrast", out);
  }
  return all;
}

}  // namespace

Weights untrained_vit_weights(const VitOptions& options, std::uint64_t seed) {
  Weights weights;
  weights.source = fmt::format("untrained weights of seed {}", seed);
  for (const Named& tensor : tensors_of(options)) {
    Array array;
    std::size_t count = 1;
    for (const std::int64_t size : tensor.shape) {
      array.shape.push_back(static_cast<std::uint64_t>(size));
      count *= static_cast<std::size_t>(size);
    }
    // Vectors of norms end in ".weight" as matrices do, but have one axis.
    const bool norm = tensor.shape.size() == 1 && tensor.name.ends_with(".weight");
    const bool scale = tensor.name.ends_with(".gamma");
    std::mt19937 engine(static_cast<std::uint32_t>(derive_seed(seed, tensor.name)));
    // Uniform on [-a, a) has standard deviation a / sqrt(3); 32 bits of a draw, scaled.
    const float step = 0.02F * std::sqrt(3.0F) / 2147483648.0F;
    array.bytes.resize(count * sizeof(float));
    for (std::size_t i = 0; i < count; ++i) {
      float value = norm ? 1.0F : 0.1F;
      if (!norm && !scale) {
        value = step * static_cast<float>(
                           std::bit_cast<std::int32_t>(static_cast<std::uint32_t>(engine())));
      }
      std::memcpy(array.bytes.data() + i * sizeof(float), &value, sizeof(float));
    }
    weights.tensors.emplace(tensor.name, std::move(array));
  }
  return weights;
}

}  // namespace med3d
