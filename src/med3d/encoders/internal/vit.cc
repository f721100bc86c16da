#include "med3d/encoders/vit.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/kernels/cpu.h"
#include "med3d/kernels/transformer.h"

namespace med3d {

namespace {

using Epilogue = Linear::Epilogue;

constexpr std::int64_t kColours = 3;

// Tokens in one go: activations of so many stay in the last cache, and products of so many rows
// run at full speed (measured: bench/vit.cc).
constexpr std::int64_t kTokensAtOnce = 800;

std::uint64_t size_of(std::int64_t count) { return static_cast<std::uint64_t>(count); }

struct NormWeights {
  std::vector<float> gamma, beta;
  float epsilon = 0.0F;

  void run(const RowsView& x, const RowsView& y) const { layer_norm(x, gamma, beta, epsilon, y); }
};

struct Block {
  NormWeights norm1, norm2;
  std::vector<Linear> qkv;   // one product, or the query's and the others' where one token asks
  std::vector<Linear> rest;  // attention's output, and the two layers of the MLP
};

struct Pooler {
  NormWeights norm_keys, norm_out;
  std::vector<float> query;    // (pool_width,): norm and projection of a constant, done at loading
  std::vector<Linear> layers;  // keys and values, output
};

void check(const VitOptions& options, const EncoderOptions& run) {
  const std::int64_t pool = options.pool_width;
  for (const std::int64_t size : {options.input_px,
                                  options.patch_px,
                                  options.position_px,
                                  options.width,
                                  options.depth,
                                  options.heads,
                                  options.mlp_width,
                                  options.pool_heads,
                                  run.batch,
                                  static_cast<std::int64_t>(run.threads)}) {
    if (size < 1) throw Error(ErrorKind::kUsage, fmt::format("vision transformer: size {}", size));
  }
  if (options.input_px % options.patch_px != 0 || options.position_px % options.patch_px != 0 ||
      options.width % options.heads != 0 || pool < 0 || pool % options.pool_heads != 0) {
    throw Error(ErrorKind::kUsage,
                fmt::format("vision transformer: tiles of {} px in patches of {}, width {} in {} "
                            "heads, pooling to {} in {}: expected whole parts",
                            options.input_px,
                            options.patch_px,
                            options.width,
                            options.heads,
                            pool,
                            options.pool_heads));
  }
}

bool all_there(std::initializer_list<const std::vector<float>*> tensors) {
  return std::none_of(
      tensors.begin(), tensors.end(), [](const auto* numbers) { return numbers->empty(); });
}

class Vit final : public Encoder {
 public:
  Vit(const VitOptions& options, WeightsTaker take, const EncoderOptions& run, Precision precision);

  std::int64_t embedding_dim() const override { return options_.embedding_dim(); }
  Precision precision() const override { return precision_; }
  double operations() const override;
  std::size_t bytes() const override;
  void encode(std::span<const std::uint8_t> rgb, std::span<float> embeddings) override;

 private:
  void load(WeightsTaker& take);
  void load_patches(WeightsTaker& take);
  void load_positions(WeightsTaker& take);
  void load_block(WeightsTaker& take, std::int64_t i);
  void load_pooler(WeightsTaker& take);
  NormWeights norm(WeightsTaker& take,
                   const std::string& name,
                   std::int64_t width,
                   float epsilon) const;
  std::vector<float> tensor(WeightsTaker& take,
                            const std::string& name,
                            std::initializer_list<std::int64_t> shape) const;

  void embed(std::span<const std::uint8_t> rgb, std::int64_t images);
  void run_block(const Block& block);
  void run_last_block(const Block& block);
  void pool();

  VitOptions options_;
  Precision precision_;
  Arithmetic arithmetic_;
  int threads_;
  std::int64_t batch_;
  std::int64_t images_;  // in one go
  bool sound_ = true;    // all tensors so far were there: layers can be built from them

  std::array<std::array<float, 256>, kColours> normalised_{};  // of a pixel's value
  std::vector<float> positions_;                               // (tokens, width), class included
  std::vector<Linear> patch_embedding_;
  std::vector<Block> blocks_;
  NormWeights norm_;
  Pooler pooler_;

  // Activations; each is reused from block to block.
  Rows pixels_;      // (images * patches, colours * patch area)
  Rows stream_;      // (images * tokens, width) f32: what the blocks add to
  Rows narrow_;      // (images * tokens, width): normed, then attended
  Rows wide_;        // (images * tokens, max(3 width, mlp width, 2 pool width))
  Rows class_;       // (images, width) f32: the stream of the class tokens alone
  Rows query_;       // (images, max(width, pool width)) f32
  Rows class_wide_;  // (images, max(mlp width, pool width))
  Rows result_;      // (images, embedding_dim) f32
  SelfAttention attention_;
};

Arithmetic arithmetic_of(Precision precision) {
  return precision == Precision::kBf16 ? Arithmetic::kBf16 : Arithmetic::kF32;
}

Vit::Vit(const VitOptions& options,
         WeightsTaker take,
         const EncoderOptions& run,
         Precision precision)
    : options_(options),
      precision_(precision),
      arithmetic_(arithmetic_of(precision)),
      threads_(run.threads),
      batch_(run.batch),
      images_(std::clamp<std::int64_t>(kTokensAtOnce / options.tokens(), 1, run.batch)),
      pixels_(images_ * options.grid() * options.grid(),
              kColours * options.patch_px * options.patch_px,
              Arithmetic::kF32),
      stream_(images_ * options.tokens(), options.width, Arithmetic::kF32),
      narrow_(images_ * options.tokens(), options.width, arithmetic_),
      wide_(images_ * options.tokens(),
            std::max({3 * options.width, options.mlp_width, 2 * options.pool_width}),
            arithmetic_),
      class_(images_, options.width, Arithmetic::kF32),
      query_(images_, std::max(options.width, options.pool_width), Arithmetic::kF32),
      class_wide_(images_, std::max(options.mlp_width, options.pool_width), arithmetic_),
      result_(images_, options.embedding_dim(), Arithmetic::kF32),
      attention_(
          {images_, options.tokens(), options.heads, options.width / options.heads, arithmetic_}) {
  for (std::size_t colour = 0; colour < normalised_.size(); ++colour) {
    for (std::size_t value = 0; value < 256; ++value) {
      normalised_[colour][value] =
          (static_cast<float>(value) / 255.0F - options_.mean[colour]) / options_.stddev[colour];
    }
  }
  load(take);
}

std::vector<float> Vit::tensor(WeightsTaker& take,
                               const std::string& name,
                               std::initializer_list<std::int64_t> shape) const {
  std::vector<std::uint64_t> sizes;
  for (const std::int64_t size : shape) sizes.push_back(size_of(size));
  return take.tensor(name, sizes);
}

NormWeights Vit::norm(WeightsTaker& take,
                      const std::string& name,
                      std::int64_t width,
                      float epsilon) const {
  return {tensor(take, name + ".weight", {width}), tensor(take, name + ".bias", {width}), epsilon};
}

void Vit::load(WeightsTaker& take) {
  for (const std::string& start : options_.ignored) take.ignore_prefix(start);
  load_patches(take);
  load_positions(take);
  for (std::int64_t i = 0; i < options_.depth; ++i) load_block(take, i);
  norm_ = norm(take, options_.trunk + "norm", options_.width, options_.epsilon);
  if (options_.pool_width > 0) load_pooler(take);
  take.finish();
}

void Vit::load_patches(WeightsTaker& take) {
  const std::int64_t side = options_.patch_px;
  const std::int64_t width = options_.width;
  const std::string name = options_.trunk + "patch_embed.proj";
  const auto weight = tensor(take, name + ".weight", {width, kColours, side, side});
  const auto bias = tensor(take, name + ".bias", {width});
  sound_ = sound_ && all_there({&weight, &bias});
  if (!sound_) return;
  // Pixels come with their colours side by side; the weights hold one colour after the other.
  std::vector<float> ordered(weight.size());
  const auto area = size_of(side * side);
  for (std::size_t i = 0; i < weight.size(); ++i) {
    const std::size_t pixel = i % area;
    const std::size_t colour = i / area % kColours;
    const std::size_t unit = i / area / kColours;
    ordered[(unit * area + pixel) * kColours + colour] = weight[i];
  }
  // In f32 also where the net is bf16: a quarter of a percent of the work, and exact pixels.
  patch_embedding_.emplace_back(Linear::Options{options_.grid() * options_.grid(),
                                                kColours * side * side,
                                                width,
                                                Arithmetic::kF32,
                                                Arithmetic::kF32,
                                                Epilogue::kAdd},
                                ordered,
                                bias);
}

void Vit::load_positions(WeightsTaker& take) {
  const std::int64_t stored = options_.position_grid();
  const std::int64_t width = options_.width;
  const auto token = tensor(take, options_.trunk + "cls_token", {1, 1, width});
  const auto given = tensor(take, options_.trunk + "pos_embed", {1, stored * stored + 1, width});
  sound_ = sound_ && all_there({&token, &given});
  if (!sound_) return;
  positions_.assign(given.begin(), given.begin() + width);
  for (std::size_t i = 0; i < token.size(); ++i) positions_[i] += token[i];
  const std::vector<float> grid =
      resample_positions({given.begin() + width, given.end()}, stored, options_.grid(), width);
  positions_.insert(positions_.end(), grid.begin(), grid.end());
}

// weight (rows, columns) and bias (rows,) times a factor for each row.
void scale_rows(std::vector<float>& weight,
                std::vector<float>& bias,
                const std::vector<float>& factors) {
  const std::size_t columns = weight.size() / factors.size();
  for (std::size_t row = 0; row < factors.size(); ++row) {
    for (std::size_t i = 0; i < columns; ++i) weight[row * columns + i] *= factors[row];
    bias[row] *= factors[row];
  }
}

void Vit::load_block(WeightsTaker& take, std::int64_t i) {
  const std::string start = fmt::format("{}blocks.{}.", options_.trunk, i);
  const std::int64_t width = options_.width;
  const std::int64_t hidden = options_.mlp_width;
  // Where the class token is the embedding, the last block owes no other token anything.
  const bool one_token = options_.pool_width == 0 && i + 1 == options_.depth;
  const std::int64_t all = images_ * options_.tokens();
  const std::int64_t rows = one_token ? images_ : all;

  Block block;
  block.norm1 = norm(take, start + "norm1", width, options_.epsilon);
  const auto qkv = tensor(take, start + "attn.qkv.weight", {3 * width, width});
  const auto qkv_bias = tensor(take, start + "attn.qkv.bias", {3 * width});
  auto proj = tensor(take, start + "attn.proj.weight", {width, width});
  auto proj_bias = tensor(take, start + "attn.proj.bias", {width});
  std::vector<float> scale1(size_of(width), 1.0F);
  std::vector<float> scale2(size_of(width), 1.0F);
  if (options_.layer_scale) scale1 = tensor(take, start + "ls1.gamma", {width});
  block.norm2 = norm(take, start + "norm2", width, options_.epsilon);
  const auto fc1 = tensor(take, start + "mlp.fc1.weight", {hidden, width});
  const auto fc1_bias = tensor(take, start + "mlp.fc1.bias", {hidden});
  auto fc2 = tensor(take, start + "mlp.fc2.weight", {width, hidden});
  auto fc2_bias = tensor(take, start + "mlp.fc2.bias", {width});
  if (options_.layer_scale) scale2 = tensor(take, start + "ls2.gamma", {width});
  sound_ =
      sound_ &&
      all_there(
          {&qkv, &qkv_bias, &proj, &proj_bias, &scale1, &scale2, &fc1, &fc1_bias, &fc2, &fc2_bias});
  if (!sound_) return;
  scale_rows(proj, proj_bias, scale1);
  scale_rows(fc2, fc2_bias, scale2);

  const Arithmetic f32 = Arithmetic::kF32;
  const Arithmetic own = arithmetic_;
  if (one_token) {
    const auto w = size_of(width);
    block.qkv.emplace_back(Linear::Options{rows, width, width, own, f32, Epilogue::kNone},
                           std::span(qkv).first(w * w),
                           std::span(qkv_bias).first(w));
    block.qkv.emplace_back(Linear::Options{all, width, 2 * width, own, own, Epilogue::kNone},
                           std::span(qkv).subspan(w * w),
                           std::span(qkv_bias).subspan(w));
  } else {
    block.qkv.emplace_back(
        Linear::Options{all, width, 3 * width, own, own, Epilogue::kNone}, qkv, qkv_bias);
  }
  block.rest.emplace_back(
      Linear::Options{rows, width, width, own, f32, Epilogue::kAdd}, proj, proj_bias);
  block.rest.emplace_back(
      Linear::Options{rows, width, hidden, own, own, Epilogue::kGelu}, fc1, fc1_bias);
  block.rest.emplace_back(
      Linear::Options{rows, hidden, width, own, f32, Epilogue::kAdd}, fc2, fc2_bias);
  blocks_.push_back(std::move(block));
}

void Vit::load_pooler(WeightsTaker& take) {
  const std::int64_t width = options_.width;
  const std::int64_t out = options_.pool_width;
  const std::string start = options_.pool + "attn_pool_contrast.";
  const auto query = tensor(take, start + "query", {1, out});
  const auto q = tensor(take, start + "attn.q_proj_weight", {out, out});
  auto kv = tensor(take, start + "attn.k_proj_weight", {out, width});
  const auto v = tensor(take, start + "attn.v_proj_weight", {out, width});
  const auto bias = tensor(take, start + "attn.in_proj_bias", {3 * out});
  const auto proj = tensor(take, start + "attn.out_proj.weight", {out, out});
  const auto proj_bias = tensor(take, start + "attn.out_proj.bias", {out});
  const NormWeights norm_query = norm(take, start + "ln_q", out, options_.pool_epsilon);
  pooler_.norm_keys = norm(take, start + "ln_k", width, options_.pool_epsilon);
  pooler_.norm_out = norm(take, options_.pool + "ln_contrast", out, options_.pool_epsilon);
  sound_ =
      sound_ &&
      all_there(
          {&query, &q, &kv, &v, &bias, &proj, &proj_bias, &norm_query.gamma, &norm_query.beta});
  if (!sound_) return;

  const Arithmetic f32 = Arithmetic::kF32;
  const auto o = size_of(out);
  const Rows constant(1, out, f32);
  const Rows projected(1, out, f32);
  std::copy(query.begin(), query.end(), constant.f32().begin());
  norm_query.run(constant.view(), constant.view());
  Linear({1, out, out, f32, f32, Epilogue::kNone}, q, std::span(bias).first(o))
      .run(constant.view(), projected.view());
  pooler_.query.assign(projected.f32().begin(), projected.f32().end());

  kv.insert(kv.end(), v.begin(), v.end());
  pooler_.layers.emplace_back(
      Linear::Options{
          images_ * options_.tokens(), width, 2 * out, arithmetic_, arithmetic_, Epilogue::kNone},
      kv,
      std::span(bias).subspan(o));
  pooler_.layers.emplace_back(
      Linear::Options{images_, out, out, arithmetic_, f32, Epilogue::kNone}, proj, proj_bias);
}

void Vit::embed(std::span<const std::uint8_t> rgb, std::int64_t images) {
  const std::int64_t side = options_.patch_px;
  const std::int64_t grid = options_.grid();
  const std::int64_t patches = grid * grid;
  const std::int64_t run = side * kColours;  // numbers of one row of a patch
  float* to = pixels_.f32().data();
  const std::uint8_t* from = rgb.data();
  // A strip of tiles' pixels at a time: `side` rows of pixels are `grid` patches.
  for (std::int64_t strip = 0; strip < images * grid; ++strip) {
    for (std::int64_t y = 0; y < side; ++y) {
      for (std::int64_t patch = 0; patch < grid; ++patch) {
        float* row = to + ((strip * grid + patch) * side + y) * run;
        for (std::int64_t i = 0; i < run; i += kColours) {
          for (std::int64_t colour = 0; colour < kColours; ++colour) {
            row[i + colour] = normalised_[size_of(colour)][*from++];
          }
        }
      }
    }
  }
  for (std::int64_t image = 0; image < images; ++image) {
    const RowsView tokens = stream_.view().part(image * options_.tokens(), options_.tokens());
    std::memcpy(tokens.data, positions_.data(), positions_.size() * sizeof(float));
    patch_embedding_.front().run(pixels_.view().part(image * patches, patches),
                                 tokens.part(1, patches));
  }
}

void Vit::run_block(const Block& block) {
  const std::int64_t rows = stream_.view().rows;
  const RowsView qkv = wide_.reshaped(rows, 3 * options_.width);
  const RowsView hidden = wide_.reshaped(rows, options_.mlp_width);
  block.norm1.run(stream_.view(), narrow_.view());
  block.qkv[0].run(narrow_.view(), qkv);
  attention_.run(qkv, narrow_.view());
  block.rest[0].run(narrow_.view(), stream_.view());
  block.norm2.run(stream_.view(), narrow_.view());
  block.rest[1].run(narrow_.view(), hidden);
  block.rest[2].run(hidden, stream_.view());
}

void Vit::run_last_block(const Block& block) {
  const std::int64_t width = options_.width;
  const std::int64_t tokens = options_.tokens();
  const RowsView narrow = narrow_.view().part(0, images_);  // one row for each image
  const RowsView query = query_.reshaped(images_, width);
  const RowsView kv = wide_.reshaped(images_ * tokens, 2 * width);
  const RowsView hidden = class_wide_.reshaped(images_, options_.mlp_width);
  for (std::int64_t image = 0; image < images_; ++image) {
    convert(stream_.view().part(image * tokens, 1), class_.view().part(image, 1));
  }
  block.norm1.run(stream_.view(), narrow_.view());
  block.qkv[1].run(narrow_.view(), kv);
  block.norm1.run(class_.view(), narrow);
  block.qkv[0].run(narrow, query);
  query_attention(query, kv, options_.heads, narrow);
  block.rest[0].run(narrow, class_.view());
  block.norm2.run(class_.view(), narrow);
  block.rest[1].run(narrow, hidden);
  block.rest[2].run(hidden, class_.view());
}

void Vit::pool() {
  const std::int64_t out = options_.pool_width;
  const RowsView kv = wide_.reshaped(stream_.view().rows, 2 * out);
  const RowsView query = query_.reshaped(1, out);
  const RowsView attended = class_wide_.reshaped(images_, out);
  norm_.run(stream_.view(), stream_.view());
  pooler_.norm_keys.run(stream_.view(), narrow_.view());
  pooler_.layers[0].run(narrow_.view(), kv);
  std::copy(pooler_.query.begin(), pooler_.query.end(), query_.f32().begin());
  query_attention(query, kv, options_.pool_heads, attended);
  pooler_.layers[1].run(attended, result_.view());
  pooler_.norm_out.run(result_.view(), result_.view());
}

double Vit::operations() const {
  const auto number = [](std::int64_t x) { return static_cast<double>(x); };
  const double tokens = number(options_.tokens());
  const double width = number(options_.width);
  const double hidden = number(options_.mlp_width);
  const double out = number(options_.pool_width);
  const double depth = number(options_.depth);
  const double embedding =
      (tokens - 1.0) * kColours * number(options_.patch_px * options_.patch_px) * width;
  // Queries, keys, values and output; scores and weighted values; the two layers of the MLP.
  const double block =
      4.0 * tokens * width * width + 2.0 * tokens * tokens * width + 2.0 * tokens * width * hidden;
  if (options_.pool_width == 0) {
    const double last =
        2.0 * (tokens + 1.0) * width * width + 2.0 * tokens * width + 2.0 * width * hidden;
    return 2.0 * (embedding + (depth - 1.0) * block + last);
  }
  const double pooling = 2.0 * tokens * width * out + 2.0 * tokens * out + out * out;
  return 2.0 * (embedding + depth * block + pooling);
}

std::size_t Vit::bytes() const {
  std::size_t sum = positions_.size() * sizeof(float) + attention_.bytes();
  for (const Rows* rows :
       {&pixels_, &stream_, &narrow_, &wide_, &class_, &query_, &class_wide_, &result_}) {
    sum += rows->bytes();
  }
  const auto add = [&](const std::vector<Linear>& layers) {
    for (const Linear& layer : layers) sum += layer.bytes();
  };
  add(patch_embedding_);
  add(pooler_.layers);
  for (const Block& block : blocks_) {
    add(block.qkv);
    add(block.rest);
  }
  return sum;
}

void Vit::encode(std::span<const std::uint8_t> rgb, std::span<float> embeddings) {
  const auto tile = size_of(options_.input_px * options_.input_px * kColours);
  const auto dim = size_of(embedding_dim());
  const std::size_t n = rgb.size() / tile;
  if (rgb.size() % tile != 0 || n > size_of(batch_) || embeddings.size() != n * dim) {
    throw Error(ErrorKind::kUsage,
                fmt::format("encoder: {} bytes of pixels and {} embeddings, expected {} and {} for "
                            "each of at most {} tiles",
                            rgb.size(),
                            embeddings.size(),
                            tile,
                            dim,
                            batch_));
  }
  const ThreadScope scope(threads_);
  for (std::size_t first = 0; first < n; first += size_of(images_)) {
    // A last round with fewer tiles carries what an earlier one left in the other places.
    const std::size_t images = std::min(n - first, size_of(images_));
    embed(rgb.subspan(first * tile, images * tile), static_cast<std::int64_t>(images));
    const bool class_only = options_.pool_width == 0;
    const std::size_t whole = blocks_.size() - (class_only ? 1 : 0);
    for (std::size_t i = 0; i < whole; ++i) run_block(blocks_[i]);
    if (class_only) {
      run_last_block(blocks_.back());
      norm_.run(class_.view(), result_.view());
    } else {
      pool();
    }
    std::memcpy(
        embeddings.data() + first * dim, result_.f32().data(), images * dim * sizeof(float));
  }
}

// Cubic convolution with a = -1/2.
double cubic(double x) {
  const double t = std::abs(x);
  if (t < 1.0) return (1.5 * t - 2.5) * t * t + 1.0;
  if (t < 2.0) return ((-0.5 * t + 2.5) * t - 4.0) * t + 2.0;
  return 0.0;
}

}  // namespace

std::vector<float> resample_positions(const std::vector<float>& grid,
                                      std::int64_t from,
                                      std::int64_t to,
                                      std::int64_t width) {
  if (from == to) return grid;
  // Weights of the old cells in each new one, along one axis.
  const double ratio = static_cast<double>(from) / static_cast<double>(to);
  const double stretch = std::max(ratio, 1.0);
  std::vector<std::vector<double>> shares(size_of(to), std::vector<double>(size_of(from), 0.0));
  for (std::int64_t i = 0; i < to; ++i) {
    auto& share = shares[size_of(i)];
    const double centre = (static_cast<double>(i) + 0.5) * ratio;
    double sum = 0.0;
    for (std::int64_t j = 0; j < from; ++j) {
      share[size_of(j)] = cubic((static_cast<double>(j) + 0.5 - centre) / stretch);
      sum += share[size_of(j)];
    }
    for (double& value : share) value /= sum;
  }
  // Along x into `half` (from rows of `to` cells), then along y.
  const auto cells = [&](std::int64_t rows, std::int64_t cols) {
    return std::vector<float>(size_of(rows * cols * width));
  };
  std::vector<float> half = cells(from, to);
  std::vector<float> result = cells(to, to);
  const auto add = [&](double share, const float* source, float* target) {
    if (share == 0.0) return;
    for (std::int64_t c = 0; c < width; ++c) target[c] += static_cast<float>(share) * source[c];
  };
  for (std::int64_t y = 0; y < from; ++y) {
    for (std::int64_t x = 0; x < to; ++x) {
      for (std::int64_t j = 0; j < from; ++j) {
        add(shares[size_of(x)][size_of(j)],
            grid.data() + (y * from + j) * width,
            half.data() + (y * to + x) * width);
      }
    }
  }
  for (std::int64_t y = 0; y < to; ++y) {
    for (std::int64_t j = 0; j < from; ++j) {
      for (std::int64_t x = 0; x < to; ++x) {
        add(shares[size_of(y)][size_of(j)],
            half.data() + (j * to + x) * width,
            result.data() + (y * to + x) * width);
      }
    }
  }
  return result;
}

std::unique_ptr<Encoder> make_vit(const VitOptions& options,
                                  Weights weights,
                                  std::string_view name,
                                  const EncoderOptions& run) {
  return make_vit(options, WeightsTaker(std::move(weights), name), run);
}

std::unique_ptr<Encoder> make_vit(const VitOptions& options,
                                  WeightsTaker weights,
                                  const EncoderOptions& run) {
  check(options, run);
  const Precision precision = available_precision(run.precision);
  const ThreadScope scope(run.threads);
  return std::make_unique<Vit>(options, std::move(weights), run, precision);
}

}  // namespace med3d
