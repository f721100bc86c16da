// Vision transformers as encoders of tiles: the one net behind UNI and CONCH.
//
//   tokens = [class, patches W_e + b_e] + positions
//   tokens += scale1 * attention(norm1(tokens)),  tokens += scale2 * mlp(norm2(tokens)),  depth
//   times embedding = norm(tokens)[class], or attentional pooling of norm(tokens)
//
// Attentional pooling (CoCa): a learnt query q attends to all tokens,
//   embedding = norm_out(W_o attention(W_q ln_q(q), W_k ln_k(tokens), W_v ln_k(tokens)) + b_o)
//
// Tensors are named as timm's VisionTransformer and open_clip's AttentionalPooler name them. The
// scales (LayerScale) are folded into the weights before them; where only the class token is asked
// for, the last block computes that token alone.
//
// Source: Dosovitskiy et al., 2021, arXiv:2010.11929; Touvron et al., 2021, arXiv:2103.17239
// (LayerScale); Yu et al., 2022, arXiv:2205.01917 (attentional pooling).
// Checked against: an own computation in PyTorch 1.13 (tests/reference/vit_reference.py).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "med3d/core/net_graph.h"
#include "med3d/encoders/encoder.h"
#include "med3d/encoders/weights.h"

namespace med3d {

struct VitOptions {
  std::int64_t input_px = 224;  // side of a tile
  std::int64_t patch_px = 16;
  // Side of the tiles whose positions the weights hold; where it is not input_px, the grid of
  // position embeddings is resampled as timm does with dynamic_img_size: bicubic, antialiased.
  std::int64_t position_px = 224;
  std::int64_t width = 1024;
  std::int64_t depth = 24;
  std::int64_t heads = 16;
  std::int64_t mlp_width = 4096;
  bool layer_scale = true;
  float epsilon = 1e-6F;  // of the blocks' layer norms and the last one (timm)

  std::int64_t pool_width = 0;  // of attentional pooling; 0: the class token is the embedding
  std::int64_t pool_heads = 8;
  float pool_epsilon = 1e-5F;  // of the pooler's three layer norms (PyTorch's default)

  std::string trunk;                 // start of the transformer's names: "", "visual.trunk."
  std::string pool;                  // start of the pooler's names: "visual."
  std::vector<std::string> ignored;  // starts of names the file may hold besides
  std::array<float, 3> mean{};
  std::array<float, 3> stddev{};

  std::int64_t grid() const { return input_px / patch_px; }
  std::int64_t position_grid() const { return position_px / patch_px; }
  std::int64_t tokens() const { return grid() * grid() + 1; }
  std::int64_t embedding_dim() const { return pool_width > 0 ? pool_width : width; }
};

// The net with these weights, in the precision asked for (kAuto and kBf16 become kF32 where bf16 is
// not native).
//
// name   of the encoder, for messages
// Throws Error(kData) as WeightsTaker; Error(kUnsupported) for int8; Error(kUsage) for options that
// make no sense.
std::unique_ptr<Encoder> make_vit(const VitOptions& options,
                                  Weights weights,
                                  std::string_view name,
                                  const EncoderOptions& run);
std::unique_ptr<Encoder> make_vit(const VitOptions& options,
                                  WeightsTaker weights,
                                  const EncoderOptions& run);

// The same net as data, with nothing folded. Throws Error(kData) as WeightsTaker.
NetGraph vit_graph(const VitOptions& options, Weights weights, std::string_view name);

// Names and shapes of all tensors that the net asks for.
std::vector<TensorShape> vit_tensors(const VitOptions& options);

// Weights for trials: uniform numbers of standard deviation 0.02 from the seed, norms 1, LayerScale
// 0.1.
Weights untrained_vit_weights(const VitOptions& options, std::uint64_t seed);

// A square grid of embeddings at another size: separable cubic convolution (a = -1/2), widened by
// the ratio where the grid shrinks, weights normalised at the edges.
//
// grid     (from * from, width)
// returns  (to * to, width)
//
// Source: Keys, 1981, doi:10.1109/TASSP.1981.1163711.
// Checked against: torch 1.13 interpolate(mode="bicubic", antialias=True).
std::vector<float> resample_positions(const std::vector<float>& grid,
                                      std::int64_t from,
                                      std::int64_t to,
                                      std::int64_t width);

}  // namespace med3d
