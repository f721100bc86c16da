#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <random>

#include "med3d/core/random.h"
#include "med3d/encoders/vit.h"

namespace med3d {

std::vector<TensorShape> vit_tensors(const VitOptions& options) {
  const std::int64_t width = options.width;
  const std::int64_t hidden = options.mlp_width;
  const std::int64_t side = options.patch_px;
  std::vector<TensorShape> all;
  const auto add = [&](const std::string& name, std::initializer_list<std::int64_t> shape) {
    all.push_back({name, {shape.begin(), shape.end()}});
  };
  const auto layer = [&](const std::string& name, std::int64_t outputs, std::int64_t inputs) {
    add(name + ".weight", {outputs, inputs});
    add(name + ".bias", {outputs});
  };
  const auto norm = [&](const std::string& name, std::int64_t size) {
    add(name + ".weight", {size});
    add(name + ".bias", {size});
  };
  const std::string& trunk = options.trunk;
  add(trunk + "cls_token", {1, 1, width});
  add(trunk + "pos_embed", {1, options.position_grid() * options.position_grid() + 1, width});
  add(trunk + "patch_embed.proj.weight", {width, 3, side, side});
  add(trunk + "patch_embed.proj.bias", {width});
  for (std::int64_t i = 0; i < options.depth; ++i) {
    const std::string block = fmt::format("{}blocks.{}.", trunk, i);
    norm(block + "norm1", width);
    layer(block + "attn.qkv", 3 * width, width);
    layer(block + "attn.proj", width, width);
    if (options.layer_scale) add(block + "ls1.gamma", {width});
    norm(block + "norm2", width);
    layer(block + "mlp.fc1", hidden, width);
    layer(block + "mlp.fc2", width, hidden);
    if (options.layer_scale) add(block + "ls2.gamma", {width});
  }
  norm(trunk + "norm", width);
  if (const std::int64_t out = options.pool_width; out > 0) {
    const std::string pooler = options.pool + "attn_pool_contrast.";
    add(pooler + "query", {1, out});
    add(pooler + "attn.q_proj_weight", {out, out});
    add(pooler + "attn.k_proj_weight", {out, width});
    add(pooler + "attn.v_proj_weight", {out, width});
    add(pooler + "attn.in_proj_bias", {3 * out});
    layer(pooler + "attn.out_proj", out, out);
    norm(pooler + "ln_q", out);
    norm(pooler + "ln_k", width);
    norm(options.pool + "ln_contrast", out);
  }
  return all;
}

Weights untrained_vit_weights(const VitOptions& options, std::uint64_t seed) {
  Weights weights;
  weights.source = fmt::format("untrained weights of seed {}", seed);
  for (const TensorShape& tensor : vit_tensors(options)) {
    Array array;
    std::size_t count = 1;
    array.shape = tensor.shape;
    for (const std::uint64_t size : tensor.shape) count *= size;
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
