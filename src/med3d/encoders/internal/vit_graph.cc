#include <fmt/format.h>

#include <string>
#include <utility>
#include <vector>

#include "med3d/encoders/vit.h"

namespace med3d {
namespace {

class Builder {
 public:
  Builder(const VitOptions& options, WeightsTaker take)
      : options_(options), take_(std::move(take)) {}

  NetGraph build() {
    for (const std::string& start : options_.ignored) take_.ignore_prefix(start);
    std::size_t x = embed();
    for (std::int64_t i = 0; i < options_.depth; ++i) x = block(x, i);
    x = norm(x, options_.trunk + "norm", options_.width, options_.epsilon);
    graph_.output = options_.pool_width > 0 ? pool(x) : graph_.add(NetOp::kFirstToken, {x});
    take_.finish();
    return std::move(graph_);
  }

 private:
  std::vector<float> values(const std::string& name, const std::vector<std::int64_t>& shape) {
    const std::vector<std::uint64_t> sides(shape.begin(), shape.end());
    return take_.tensor(name, sides);
  }

  std::size_t tensor(const std::string& name, const std::vector<std::int64_t>& shape) {
    return graph_.tensor(name, shape, values(name, shape));
  }

  std::size_t norm(std::size_t from, const std::string& name, std::int64_t size, float epsilon) {
    const std::size_t gamma = tensor(name + ".weight", {size});
    const std::size_t beta = tensor(name + ".bias", {size});
    return graph_.add(NetOp::kLayerNorm, {from}, {gamma, beta}, {}, static_cast<double>(epsilon));
  }

  std::size_t linear(std::size_t from, const std::string& name, std::int64_t in, std::int64_t out) {
    const std::size_t weight = tensor(name + ".weight", {out, in});
    const std::size_t bias = tensor(name + ".bias", {out});
    return graph_.add(NetOp::kLinear, {from}, {weight, bias});
  }

  std::size_t embed() {
    const std::int64_t side = options_.patch_px;
    const std::int64_t width = options_.width;
    const std::string name = options_.trunk + "patch_embed.proj";
    const std::size_t weight = tensor(name + ".weight", {width, 3, side, side});
    const std::size_t bias = tensor(name + ".bias", {width});
    std::size_t x =
        graph_.add(NetOp::kConvolution, {NetGraph::kInput}, {weight, bias}, {side, 0, 1});
    x = graph_.add(NetOp::kTokens, {x});
    x = graph_.add(NetOp::kPrepend, {x}, {tensor(options_.trunk + "cls_token", {1, 1, width})});

    const std::int64_t stored = options_.position_grid();
    const std::string positions = options_.trunk + "pos_embed";
    const auto given = values(positions, {1, stored * stored + 1, width});
    if (given.empty()) return x;  // take_.finish() says so
    std::vector<float> own(given.begin(), given.begin() + width);
    const auto grid =
        resample_positions({given.begin() + width, given.end()}, stored, options_.grid(), width);
    own.insert(own.end(), grid.begin(), grid.end());
    return graph_.add(NetOp::kAddTensor,
                      {x},
                      {graph_.tensor(positions, {1, options_.tokens(), width}, std::move(own))});
  }

  std::size_t scaled(std::size_t from, const std::string& name) {
    if (!options_.layer_scale) return from;
    return graph_.add(NetOp::kScale, {from}, {tensor(name, {options_.width})});
  }

  std::size_t block(std::size_t stream, std::int64_t i) {
    const std::string start = fmt::format("{}blocks.{}.", options_.trunk, i);
    const std::int64_t width = options_.width;
    std::size_t x = norm(stream, start + "norm1", width, options_.epsilon);
    x = linear(x, start + "attn.qkv", width, 3 * width);
    const std::size_t q = graph_.add(NetOp::kPart, {x}, {}, {0, width});
    const std::size_t k = graph_.add(NetOp::kPart, {x}, {}, {width, width});
    const std::size_t v = graph_.add(NetOp::kPart, {x}, {}, {2 * width, width});
    x = graph_.add(NetOp::kAttention, {q, k, v}, {}, {options_.heads});
    x = scaled(linear(x, start + "attn.proj", width, width), start + "ls1.gamma");
    stream = graph_.add(NetOp::kAdd, {stream, x});
    x = norm(stream, start + "norm2", width, options_.epsilon);
    x = graph_.add(NetOp::kGelu, {linear(x, start + "mlp.fc1", width, options_.mlp_width)});
    x = scaled(linear(x, start + "mlp.fc2", options_.mlp_width, width), start + "ls2.gamma");
    return graph_.add(NetOp::kAdd, {stream, x});
  }

  // The three projections share one bias in the file.
  std::size_t pool(std::size_t tokens) {
    const std::int64_t width = options_.width;
    const std::int64_t out = options_.pool_width;
    const std::string start = options_.pool + "attn_pool_contrast.";
    const auto bias = values(start + "attn.in_proj_bias", {3 * out});
    const auto project = [&](std::size_t from, const char* letter, std::int64_t in, int third) {
      const std::size_t weight =
          tensor(fmt::format("{}attn.{}_proj_weight", start, letter), {out, in});
      if (bias.empty()) return from;
      const auto first = bias.begin() + third * out;
      const std::size_t own =
          graph_.tensor(fmt::format("{}attn.{}_bias", start, letter), {out}, {first, first + out});
      return graph_.add(NetOp::kLinear, {from}, {weight, own});
    };
    // (1, out) in the file; one token here.
    const std::size_t constant = graph_.add(
        NetOp::kConstant,
        {},
        {graph_.tensor(start + "query", {1, 1, out}, values(start + "query", {1, out}))});
    const std::size_t query = norm(constant, start + "ln_q", out, options_.pool_epsilon);
    const std::size_t keys = norm(tokens, start + "ln_k", width, options_.pool_epsilon);
    const std::size_t q = project(query, "q", out, 0);
    const std::size_t k = project(keys, "k", width, 1);
    const std::size_t v = project(keys, "v", width, 2);
    std::size_t x = graph_.add(NetOp::kAttention, {q, k, v}, {}, {options_.pool_heads});
    x = graph_.add(NetOp::kFirstToken, {x});
    x = linear(x, start + "attn.out_proj", out, out);
    return norm(x, options_.pool + "ln_contrast", out, options_.pool_epsilon);
  }

  const VitOptions& options_;
  WeightsTaker take_;
  NetGraph graph_;
};

}  // namespace

NetGraph vit_graph(const VitOptions& options, Weights weights, std::string_view name) {
  return Builder(options, WeightsTaker(std::move(weights), name)).build();
}

}  // namespace med3d
