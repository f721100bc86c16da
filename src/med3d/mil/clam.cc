#include "med3d/mil/clam.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <map>
#include <numeric>
#include <tuple>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/core/random.h"
#include "med3d/kernels/matmul.h"
#include "med3d/kernels/tasks.h"
#include "med3d/mil/internal/passes.h"

namespace med3d::mil {
namespace {

// Patches in one piece of work. A bag is filled up to whole blocks with rows of zeros, so that
// every product has one of a few shapes whatever the bag: a product is compiled for its shape.
constexpr std::size_t kBlock = 128;
// Patches summed by one product for a weight gradient; what is left over is summed by products of
// powers of two.
constexpr std::size_t kChunk = 1024;
// Rows of a weight matrix whose gradient is one piece of work.
constexpr std::size_t kPanel = 128;

// Memory that only grows, and is never cleared or copied.
template <class T>
class Scratch {
 public:
  T* get(std::size_t n) {
    if (n > size_) {
      data_.reset();
      data_.reset(new T[n]);
      size_ = n;
    }
    return data_.get();
  }

 private:
  std::unique_ptr<T[]> data_;
  std::size_t size_ = 0;
};

std::unique_ptr<Head> head_of(const ClamOptions& options) {
  switch (options.bag_loss) {
    case BagLossKind::kCe:
      return cross_entropy_head();
    case BagLossKind::kSvm:
      return smooth_svm_head();
    case BagLossKind::kNllSurv:
      return survival_head(options.alpha_surv);
  }
  throw Error(ErrorKind::kUsage, "bag_loss is unknown");
}

// One of h's patches in an instance cluster.
struct Instance {
  std::size_t row = 0;
  std::size_t classifier = 0;
  int label = 0;
  float gradient[2] = {0.0F, 0.0F};  // d total / d instance logits
};

struct Product {
  std::size_t m, n, k;
  int kind;
  bool accumulate;
  Arithmetic arithmetic = Arithmetic::kF32;
  auto key() const { return std::tie(m, n, k, kind, accumulate, arithmetic); }
  friend bool operator<(const Product& a, const Product& b) { return a.key() < b.key(); }
};
enum : int { kForwardHidden, kForwardGate, kBackwardHidden, kWeight0, kWeightGate };

}  // namespace

struct Clam::Impl {
  ClamOptions options;
  std::unique_ptr<Head> head;
  Arithmetic arithmetic = Arithmetic::kF32;                      // of training
  Arithmetic in_use = Arithmetic::kF32;                          // of the pass that runs
  std::size_t embed, hidden, attention, inputs, heads, classes;  // E, H, D, 2D or D, K, C

  // Where each part lies in the flat arrays. Both attention branches are one matrix (2D, H).
  std::size_t at_w0 = 0, at_wab = 0, at_b0 = 0, at_bab = 0, at_wc = 0, at_bc = 0, at_w = 0,
              at_b = 0;
  std::size_t at_instances = 0;  // (2, H) weights and 2 biases of each class
  std::vector<ParameterInfo> info;
  std::vector<float> parameters, gradients, m, v;
  std::vector<std::int64_t> steps;
  std::vector<std::uint16_t> w0_short, wab_short;

  std::map<Product, Matmul> products;
  Scratch<float> h, gate, d_gate, d_hidden, tail, score, share, d_score, partial, pooled;
  Scratch<std::uint16_t> x_short, h_short, d_gate_short, d_hidden_short;
  std::vector<std::size_t> argmax;

  explicit Impl(const ClamOptions& given)
      : options(given),
        embed(given.embed_dim),
        hidden(given.hidden()),
        attention(given.attention()),
        inputs(given.gated ? 2 * given.attention() : given.attention()),
        heads(given.heads()),
        classes(given.n_classes) {
    options.validate();
    head = head_of(options);
    if (options.precision == Arithmetic::kBf16 && native_bf16()) arithmetic = Arithmetic::kBf16;
    lay_out();
    parameters.resize(size());
    gradients.resize(size());
    m.resize(size());
    v.resize(options.opt == Optimiser::kAdam ? size() : 0);
    steps.assign(1 + (options.has_instances() ? classes : 0), 0);
    initialise();
    round_weights();
  }

  std::size_t size() const { return at_instances + instance_size() * instances(); }
  std::size_t instances() const { return options.has_instances() ? classes : 0; }
  std::size_t instance_size() const { return 2 * hidden + 2; }
  // Whether the pass that runs is in bf16: training may be, forward() never is.
  bool half() const { return in_use == Arithmetic::kBf16; }
  const Matmul& product(Product what) const {
    what.arithmetic = in_use;
    return products.at(what);
  }

  void lay_out() {
    std::size_t end = 0;
    const auto take = [&end](std::size_t n) { return std::exchange(end, end + n); };
    at_w0 = take(hidden * embed);
    if (options.has_attention()) at_wab = take(inputs * hidden);
    at_b0 = take(hidden);
    if (options.has_attention()) {
      at_bab = take(inputs);
      at_wc = take(heads * attention);
      at_bc = take(heads);
    }
    at_w = take(classes * hidden);
    at_b = take(classes);
    at_instances = end;

    const auto add = [this](
                         std::string name, std::vector<std::uint64_t> shape, std::size_t offset) {
      std::size_t n = 1;
      for (const std::uint64_t axis : shape) n *= static_cast<std::size_t>(axis);
      info.push_back({std::move(name), std::move(shape), offset, n});
    };
    const bool mil = options.model_type == ModelType::kMil;
    const std::string first = mil ? "fc.0" : "attention_net.0";
    add(first + ".weight", {hidden, embed}, at_w0);
    add(first + ".bias", {hidden}, at_b0);
    if (options.has_attention()) {
      const std::string net = "attention_net.3.";
      // CLAM puts a dropout layer between the ungated branch's two, and counts it.
      const std::string a = options.gated ? "attention_a.0" : "module.0";
      const std::string c = options.gated          ? "attention_c"
                            : options.drop_out > 0 ? "module.3"
                                                   : "module.2";
      add(net + a + ".weight", {attention, hidden}, at_wab);
      add(net + a + ".bias", {attention}, at_bab);
      if (options.gated) {
        add(net + "attention_b.0.weight", {attention, hidden}, at_wab + attention * hidden);
        add(net + "attention_b.0.bias", {attention}, at_bab + attention);
      }
      add(net + c + ".weight", {heads, attention}, at_wc);
      add(net + c + ".bias", {heads}, at_bc);
    }
    if (options.model_type == ModelType::kClamMb) {
      for (std::size_t c = 0; c < classes; ++c) {
        add(fmt::format("classifiers.{}.weight", c), {1, hidden}, at_w + c * hidden);
        add(fmt::format("classifiers.{}.bias", c), {1}, at_b + c);
      }
    } else {
      const std::string name = mil && classes == 2 ? "classifier" : "classifiers";
      add(name + ".weight", {classes, hidden}, at_w);
      add(name + ".bias", {classes}, at_b);
    }
    for (std::size_t c = 0; c < instances(); ++c) {
      const std::size_t at = at_instances + c * instance_size();
      add(fmt::format("instance_classifiers.{}.weight", c), {2, hidden}, at);
      add(fmt::format("instance_classifiers.{}.bias", c), {2}, at + 2 * hidden);
    }
  }

  void initialise() {
    for (const ParameterInfo& parameter : info) {
      // A layer's bias has the range of its weights.
      const bool bias = parameter.shape.size() == 1;
      std::size_t inputs_of = bias ? 0 : static_cast<std::size_t>(parameter.shape[1]);
      if (bias) {
        const std::string layer = parameter.name.substr(0, parameter.name.rfind('.')) + ".weight";
        for (const ParameterInfo& other : info) {
          if (other.name == layer) inputs_of = static_cast<std::size_t>(other.shape[1]);
        }
      }
      const double range = 1.0 / std::sqrt(static_cast<double>(inputs_of));
      NumpyRandom random(
          static_cast<std::uint32_t>(derive_seed(options.seed, "mil/weights/" + parameter.name)));
      for (std::size_t i = 0; i < parameter.size; ++i) {
        parameters[parameter.offset + i] =
            static_cast<float>((2.0 * random.uniform() - 1.0) * range);
      }
    }
  }

  void round_weights() {
    if (arithmetic != Arithmetic::kBf16) return;
    w0_short.resize(hidden * embed);
    to_bf16({parameters.data() + at_w0, w0_short.size()}, w0_short.data());
    if (!options.has_attention()) return;
    wab_short.resize(inputs * hidden);
    to_bf16({parameters.data() + at_wab, wab_short.size()}, wab_short.data());
  }

  // Builds what is missing; while tasks run, the map is only read.
  void need(Product what) {
    what.arithmetic = in_use;
    if (products.contains(what)) return;
    MatmulShape shape;
    shape.m = what.m;
    shape.n = what.n;
    shape.k = what.k;
    shape.accumulate = what.accumulate;
    switch (what.kind) {
      case kForwardHidden:
        shape.transpose_b = shape.bias = shape.relu = true;
        break;
      case kForwardGate:
        shape.transpose_b = true;
        break;
      case kWeight0:
        shape.transpose_a = true;
        shape.stride_a = hidden;
        break;
      case kWeightGate:
        shape.transpose_a = true;
        shape.stride_a = inputs;
        break;
      default:
        break;
    }
    products.emplace(what, Matmul(shape, in_use));
  }

  struct Bagged {
    BagView view;
    std::size_t rows, padded, full, blocks;  // full: rows of whole blocks
    std::size_t rows_of(std::size_t block) const { return std::min(kBlock, rows - block * kBlock); }
  };

  // Rows first + [0, length) of the sums over patches, in products of a few lengths.
  static std::vector<std::pair<std::size_t, std::size_t>> chunks(std::size_t rows) {
    std::vector<std::pair<std::size_t, std::size_t>> out;
    for (std::size_t at = 0; at < rows;) {
      std::size_t length = kChunk;
      while (length > rows - at) length /= 2;
      out.emplace_back(at, length);
      at += length;
    }
    return out;
  }

  Bagged begin(const BagView& bag, bool backward) {
    if (bag.rows == 0 || bag.cols != embed || bag.data == nullptr) {
      throw Error(ErrorKind::kData,
                  fmt::format("a bag of {} patches with {} features, expected patches with {}",
                              bag.rows,
                              bag.cols,
                              embed));
    }
    Bagged out{bag, bag.rows, 0, 0, 0};
    out.blocks = (bag.rows + kBlock - 1) / kBlock;
    out.padded = out.blocks * kBlock;
    out.full = bag.rows / kBlock * kBlock;
    need({kBlock, hidden, embed, kForwardHidden, false});
    if (options.has_attention()) need({kBlock, inputs, hidden, kForwardGate, false});
    if (!backward) return out;
    if (options.has_attention()) need({kBlock, hidden, inputs, kBackwardHidden, false});
    std::vector<std::size_t> lengths;
    for (const auto& [at, length] : chunks(half() ? out.padded : out.full))
      lengths.push_back(length);
    if (lengths.empty() || (!half() && out.full < out.rows)) lengths.push_back(kBlock);
    for (std::size_t i = 0; i < lengths.size(); ++i) {
      for (const std::size_t panel : {std::min(kPanel, hidden), hidden % kPanel}) {
        if (panel > 0) need({panel, embed, lengths[i], kWeight0, i > 0});
      }
      if (!options.has_attention()) continue;
      for (const std::size_t panel : {std::min(kPanel, inputs), inputs % kPanel}) {
        if (panel > 0) need({panel, hidden, lengths[i], kWeightGate, i > 0});
      }
    }
    return out;
  }

  internal::Gate gate_net(const internal::Dropout& dropout) const {
    internal::Gate net;
    net.width = attention;
    net.heads = heads;
    net.gated = options.gated;
    net.bias = parameters.data() + at_bab;
    net.weight = parameters.data() + at_wc;
    net.dropout = dropout;
    return net;
  }

  struct Pass {
    Bagged bag;
    internal::Dropout hidden_dropout, gate_dropout;
    bool keep = false;  // t and s, for the way back
    float* h = nullptr;
    std::uint16_t* h_short = nullptr;
    float* gate = nullptr;
    float* score = nullptr;     // (K, padded)
    float* share = nullptr;     // (K, padded) softmax of score
    std::vector<float> pooled;  // M (K, H)
  };

  void hidden_block(const Pass& pass, std::size_t block, float* z) {
    const Bagged& bag = pass.bag;
    const std::size_t first = block * kBlock;
    const std::size_t rows = bag.rows_of(block);
    const Matmul& multiply = product({kBlock, hidden, embed, kForwardHidden, false});
    const float* bias = parameters.data() + at_b0;
    const float* x = bag.view.data + first * embed;
    if (half()) {
      std::uint16_t* to = x_short.get(0) + first * embed;
      to_bf16({x, rows * embed}, to);
      std::fill(to + rows * embed, to + kBlock * embed, std::uint16_t{0});
      multiply.run(to, w0_short.data(), z, bias);
      internal::drop_hidden(
          z, pass.h_short + first * hidden, kBlock * hidden, first * hidden, pass.hidden_dropout);
      return;
    }
    if (rows < kBlock) {
      float* to = tail.get(0);
      std::copy(x, x + rows * embed, to);
      std::fill(to + rows * embed, to + kBlock * embed, 0.0F);
      x = to;
    }
    float* out = pass.h + first * hidden;
    multiply.run(x, parameters.data() + at_w0, out, bias);
    if (pass.hidden_dropout.threshold != 0) {
      internal::drop_hidden(out, out, kBlock * hidden, first * hidden, pass.hidden_dropout);
    }
  }

  // v . h[row], and sum += weight h[row]
  float dot(const Pass& pass, std::size_t row, const float* with) const {
    return half() ? internal::dot(pass.h_short + row * hidden, with, hidden)
                  : internal::dot(pass.h + row * hidden, with, hidden);
  }
  void add(const Pass& pass, std::size_t row, float weight, float* sum) const {
    if (half()) {
      internal::add_scaled(weight, pass.h_short + row * hidden, sum, hidden);
    } else {
      internal::add_scaled(weight, pass.h + row * hidden, sum, hidden);
    }
  }
  Pass run_forward(const BagView& view, std::optional<std::uint64_t> dropout_seed) {
    Pass pass;
    pass.bag = begin(view, dropout_seed.has_value());
    pass.keep = dropout_seed.has_value();
    const Bagged& bag = pass.bag;
    if (dropout_seed && options.drop_out > 0.0) {
      pass.hidden_dropout =
          internal::make_dropout(options.drop_out, derive_seed(*dropout_seed, "mil/hidden"));
      // CLAM's attention drops a quarter whatever drop_out is, as long as it is not 0.
      pass.gate_dropout = internal::make_dropout(0.25, derive_seed(*dropout_seed, "mil/gate"));
    }
    if (half()) {
      x_short.get(bag.padded * embed);
      pass.h_short = h_short.get(bag.padded * hidden);
    } else {
      pass.h = h.get(bag.padded * hidden);
      tail.get(kBlock * embed);
    }
    pass.score = score.get(heads * bag.padded);
    pass.share = share.get(heads * bag.padded);
    // t and s of the whole bag for the way back, else of one block for each piece in flight.
    const bool attends = options.has_attention();
    if (attends && pass.keep) pass.gate = gate.get(bag.padded * inputs);
    const std::size_t scratch = kBlock * hidden + attention + (pass.keep ? 0 : kBlock * inputs);
    const internal::Gate net = gate_net(pass.gate_dropout);
    run_tasks(bag.blocks, [&](std::size_t block) {
      thread_local Scratch<float> memory;
      float* z = memory.get(scratch);
      hidden_block(pass, block, z);
      if (!attends) return;
      const std::size_t first = block * kBlock;
      float* pre = pass.keep ? pass.gate + first * inputs : z + kBlock * hidden + attention;
      const Matmul& multiply = product({kBlock, inputs, hidden, kForwardGate, false});
      if (half()) {
        multiply.run(pass.h_short + first * hidden, wab_short.data(), pre);
      } else {
        multiply.run(pass.h + first * hidden, parameters.data() + at_wab, pre);
      }
      internal::gate(
          net, pre, bag.rows_of(block), first, pass.score + first, bag.padded, z + kBlock * hidden);
    });
    weigh(pass);
    pool(pass);
    return pass;
  }

  // share: how much of each patch goes into M.
  void weigh(Pass& pass) {
    const Bagged& bag = pass.bag;
    const std::size_t n = bag.rows;
    if (options.model_type == ModelType::kMean) {
      std::fill(pass.score, pass.score + n, 0.0F);
      std::fill(pass.share, pass.share + n, static_cast<float>(1.0 / static_cast<double>(n)));
      return;
    }
    if (options.model_type == ModelType::kMax) {
      std::fill(pass.score, pass.score + n, 0.0F);
      std::fill(pass.share, pass.share + n, 0.0F);
      return;
    }
    if (options.model_type == ModelType::kMil) {
      const float* w = parameters.data() + at_w;
      const float* b = parameters.data() + at_b;
      run_tasks(bag.blocks, [&](std::size_t block) {
        std::vector<float> logits(classes);
        for (std::size_t row = block * kBlock; row < block * kBlock + bag.rows_of(block); ++row) {
          for (std::size_t c = 0; c < classes; ++c)
            logits[c] = dot(pass, row, w + c * hidden) + b[c];
          const float top = *std::max_element(logits.begin(), logits.end());
          double sum = 0.0;
          for (const float logit : logits) sum += std::exp(static_cast<double>(logit - top));
          const double wanted = classes == 2 ? std::exp(static_cast<double>(logits[1] - top)) : 1.0;
          pass.score[row] = static_cast<float>(wanted / sum);
        }
      });
      std::fill(pass.share, pass.share + n, 0.0F);
      pass.share[std::max_element(pass.score, pass.score + n) - pass.score] = 1.0F;
      return;
    }
    for (std::size_t k = 0; k < heads; ++k) {
      float* s = pass.score + k * bag.padded;
      float* a = pass.share + k * bag.padded;
      const float bias = parameters[at_bc + k];
      float top = -HUGE_VALF;
      for (std::size_t i = 0; i < n; ++i) top = std::max(top, s[i] += bias);
      double sum = 0.0;
      for (std::size_t i = 0; i < n; ++i) {
        a[i] = std::exp(s[i] - top);
        sum += static_cast<double>(a[i]);
      }
      const auto scale = static_cast<float>(1.0 / sum);
      for (std::size_t i = 0; i < n; ++i) a[i] *= scale;
    }
  }

  // M: partial sums of the blocks, added in their order.
  void pool(Pass& pass) {
    const Bagged& bag = pass.bag;
    pass.pooled.assign(heads * hidden, 0.0F);
    if (options.model_type == ModelType::kMax) {
      argmax.assign(hidden, 0);
      add(pass, 0, 1.0F, pass.pooled.data());
      std::vector<float> values(hidden);
      for (std::size_t row = 1; row < bag.rows; ++row) {
        std::fill(values.begin(), values.end(), 0.0F);
        add(pass, row, 1.0F, values.data());
        for (std::size_t j = 0; j < hidden; ++j) {
          if (values[j] > pass.pooled[j]) {
            pass.pooled[j] = values[j];
            argmax[j] = row;
          }
        }
      }
      return;
    }
    const std::size_t size_of = heads * hidden;
    float* sums = partial.get(bag.blocks * size_of);
    run_tasks(bag.blocks, [&](std::size_t block) {
      float* sum = sums + block * size_of;
      std::fill(sum, sum + size_of, 0.0F);
      for (std::size_t row = block * kBlock; row < block * kBlock + bag.rows_of(block); ++row) {
        for (std::size_t k = 0; k < heads; ++k) {
          add(pass, row, pass.share[k * bag.padded + row], sum + k * hidden);
        }
      }
    });
    for (std::size_t j = 0; j < size_of; ++j) {
      double sum = 0.0;
      for (std::size_t block = 0; block < bag.blocks; ++block) {
        sum += static_cast<double>(sums[block * size_of + j]);
      }
      pass.pooled[j] = static_cast<float>(sum);
    }
  }

  std::size_t head_of_class(std::size_t c) const { return heads == 1 ? 0 : c; }

  BagOutput output(const Pass& pass) const {
    BagOutput out;
    out.logits.resize(classes);
    for (std::size_t c = 0; c < classes; ++c) {
      const float* with = pass.pooled.data() + head_of_class(c) * hidden;
      double sum = static_cast<double>(parameters[at_b + c]);
      const float* w = parameters.data() + at_w + c * hidden;
      for (std::size_t j = 0; j < hidden; ++j) {
        sum += static_cast<double>(w[j]) * static_cast<double>(with[j]);
      }
      out.logits[c] = static_cast<float>(sum);
      if (!std::isfinite(out.logits[c])) {
        throw Error(
            ErrorKind::kNumerical,
            fmt::format("logit {} of a bag of {} patches is not finite; the features or the "
                        "weights are too large, or the learning rate",
                        c,
                        pass.bag.rows));
      }
    }
    out.probabilities = head->probabilities(out.logits);
    out.predicted = head->predicted(out.logits);
    out.risk = head->risk(out.logits);
    out.attention_raw = Matrix<float>(heads, pass.bag.rows);
    for (std::size_t k = 0; k < heads; ++k) {
      const float* from = pass.score + k * pass.bag.padded;
      std::copy(from, from + pass.bag.rows, out.attention_raw.row(k).begin());
    }
    out.embedding = Matrix<float>(heads, hidden);
    std::copy(pass.pooled.begin(), pass.pooled.end(), out.embedding.data());
    return out;
  }

  std::size_t cluster_size(std::size_t rows) const {
    const std::size_t k = options.k_sample;
    if (options.shared_instances && rows >= k) return k;
    return std::min(k, rows / 2);
  }

  // Fills the instance part of `out`; the instances with the gradients of the weighted total.
  std::vector<Instance> cluster(const Pass& pass, const Target& target, BagOutput& out) const {
    std::vector<Instance> all;
    const std::size_t k = cluster_size(pass.bag.rows);
    if (!options.clusters() || k == 0) return all;
    std::vector<std::size_t> order(pass.bag.rows);
    for (std::size_t c = 0; c < classes; ++c) {
      const bool own = static_cast<int>(c) == target.label;
      if (!own && !options.subtyping) continue;
      const float* s = pass.score + head_of_class(c) * pass.bag.padded;
      const auto chosen = [&](bool highest, int label) {
        std::iota(order.begin(), order.end(), std::size_t{0});
        std::partial_sort(order.begin(),
                          order.begin() + static_cast<std::ptrdiff_t>(k),
                          order.end(),
                          [&](std::size_t i, std::size_t j) {
                            if (s[i] != s[j]) return highest ? s[i] > s[j] : s[i] < s[j];
                            return i < j;
                          });
        for (std::size_t i = 0; i < k; ++i) all.push_back({order[i], c, label, {}});
      };
      const std::size_t from = all.size();
      chosen(true, own ? 1 : 0);
      if (own) chosen(false, 0);
      const auto count = static_cast<double>(all.size() - from);
      const double part = options.subtyping ? 1.0 / static_cast<double>(classes) : 1.0;
      const double weight = (1.0 - options.bag_weight) * part / count;
      double sum = 0.0;
      for (std::size_t i = from; i < all.size(); ++i) {
        const float* w = parameters.data() + at_instances + c * instance_size();
        float logits[2];
        for (std::size_t o = 0; o < 2; ++o) {
          logits[o] = dot(pass, all[i].row, w + o * hidden) + w[2 * hidden + o];
        }
        sum += options.inst_loss == InstanceLossKind::kSvm
                   ? smooth_top1_svm(logits, all[i].label, all[i].gradient)
                   : cross_entropy(logits, all[i].label, all[i].gradient);
        for (float& gradient : all[i].gradient) gradient *= static_cast<float>(weight);
        out.instance_predicted.push_back(logits[1] > logits[0] ? 1 : 0);
        out.instance_label.push_back(all[i].label);
      }
      out.instance_loss += part * sum / count;
    }
    return all;
  }

  // Losses of a target; d_logits of the weighted total.
  std::vector<Instance> judge(const Pass& pass,
                              const Target& target,
                              BagOutput& out,
                              std::vector<float>& d_logits) const {
    d_logits.resize(classes);
    out.bag_loss = head->loss(out.logits, target, d_logits);
    std::vector<Instance> instances_of = cluster(pass, target, out);
    const double weight = options.clusters() ? options.bag_weight : 1.0;
    out.total_loss = weight * out.bag_loss + (1.0 - weight) * out.instance_loss;
    for (float& d : d_logits) d *= static_cast<float>(weight);
    return instances_of;
  }

  // The way back. Every part of `gradients` is written, the optimiser's step taken where `update`.
  BagOutput run_backward(const BagView& view,
                         const Target& target,
                         std::uint64_t dropout_seed,
                         bool update) {
    const ThreadScope scope(options.threads);
    in_use = arithmetic;
    const Pass pass = run_forward(view, dropout_seed);
    BagOutput out = output(pass);
    std::vector<float> d_logits;
    const std::vector<Instance> chosen = judge(pass, target, out, d_logits);

    const Bagged& bag = pass.bag;
    float* g = gradients.data();
    std::vector<float> d_pooled(heads * hidden, 0.0F);
    for (std::size_t c = 0; c < classes; ++c) {
      const std::size_t k = head_of_class(c);
      const float* w = parameters.data() + at_w + c * hidden;
      for (std::size_t j = 0; j < hidden; ++j) {
        d_pooled[k * hidden + j] += d_logits[c] * w[j];
        g[at_w + c * hidden + j] = d_logits[c] * pass.pooled[k * hidden + j];
      }
      g[at_b + c] = d_logits[c];
    }

    // Instance classifiers, and what they ask of h: rows of (row, gradient), by row.
    std::fill(g + at_instances, g + size(), 0.0F);
    std::vector<bool> touched(instances(), false);
    std::map<std::size_t, std::vector<float>> asked;
    for (const Instance& instance : chosen) {
      touched[instance.classifier] = true;
      const std::size_t at = at_instances + instance.classifier * instance_size();
      std::vector<float>& d = asked[instance.row];
      d.resize(hidden, 0.0F);
      for (std::size_t o = 0; o < 2; ++o) {
        add(pass, instance.row, instance.gradient[o], g + at + o * hidden);
        g[at + 2 * hidden + o] += instance.gradient[o];
        internal::add_scaled(
            instance.gradient[o], parameters.data() + at + o * hidden, d.data(), hidden);
      }
    }
    if (options.model_type == ModelType::kMax) {
      for (std::size_t j = 0; j < hidden; ++j) {
        std::vector<float>& d = asked[argmax[j]];
        d.resize(hidden, 0.0F);
        d[j] += d_pooled[j];
      }
    }
    std::vector<float> level(heads, 0.0F);  // dM_k . M_k
    for (std::size_t k = 0; k < heads; ++k) {
      level[k] =
          internal::dot(pass.pooled.data() + k * hidden, d_pooled.data() + k * hidden, hidden);
    }

    const bool attends = options.has_attention();
    float* slope = d_score.get(heads * bag.padded);
    float* d_h = half() ? nullptr : d_hidden.get(bag.padded * hidden);
    std::uint16_t* d_h_short = half() ? d_hidden_short.get(bag.padded * hidden) : nullptr;
    // t and s give way to what flows back through them, where the type is the same.
    float* d_ab = pass.gate;
    std::uint16_t* d_ab_short = half() && attends ? d_gate_short.get(bag.padded * inputs) : nullptr;
    // Sums over the patches of a block: b0, then bab, wc, bc.
    const std::size_t size_of =
        hidden + (attends ? inputs + heads * attention + heads : std::size_t{0});
    float* sums = partial.get(bag.blocks * size_of);
    const internal::Gate net = gate_net(pass.gate_dropout);
    const float scale = pass.hidden_dropout.scale;

    run_tasks(bag.blocks, [&](std::size_t block) {
      thread_local Scratch<float> memory;
      float* d = memory.get(kBlock * hidden + 2 * inputs + attention);
      float* scratch = d + kBlock * hidden;
      const std::size_t first = block * kBlock;
      const std::size_t rows = bag.rows_of(block);
      float* sum = sums + block * size_of;
      std::fill(sum, sum + size_of, 0.0F);
      if (attends) {
        float* bias_sum = sum + hidden;
        float* weight_sum = bias_sum + inputs;
        float* score_sum = weight_sum + heads * attention;
        for (std::size_t k = 0; k < heads; ++k) {
          for (std::size_t row = first; row < first + rows; ++row) {
            const std::size_t at = k * bag.padded + row;
            slope[at] = pass.share[at] * (dot(pass, row, d_pooled.data() + k * hidden) - level[k]);
            score_sum[k] += slope[at];
          }
        }
        const Matmul& multiply = product({kBlock, hidden, inputs, kBackwardHidden, false});
        if (half()) {
          std::uint16_t* to = d_ab_short + first * inputs;
          internal::gate_backward(net,
                                  pass.gate + first * inputs,
                                  rows,
                                  slope + first,
                                  bag.padded,
                                  to,
                                  weight_sum,
                                  bias_sum,
                                  scratch);
          std::fill(to + rows * inputs, to + kBlock * inputs, std::uint16_t{0});
          multiply.run(to, wab_short.data(), d);
        } else {
          float* to = d_ab + first * inputs;
          internal::gate_backward(
              net, to, rows, slope + first, bag.padded, to, weight_sum, bias_sum, scratch);
          std::fill(to + rows * inputs, to + kBlock * inputs, 0.0F);
          multiply.run(to, parameters.data() + at_wab, d);
        }
      } else {
        std::fill(d, d + kBlock * hidden, 0.0F);
      }
      for (std::size_t i = 0; i < rows; ++i) {
        const std::size_t row = first + i;
        float* d_row = d + i * hidden;
        for (std::size_t k = 0; k < heads; ++k) {
          const float share_of = pass.share[k * bag.padded + row];
          if (share_of != 0.0F) {
            internal::add_scaled(share_of, d_pooled.data() + k * hidden, d_row, hidden);
          }
        }
        if (const auto found = asked.find(row); found != asked.end()) {
          internal::add_scaled(1.0F, found->second.data(), d_row, hidden);
        }
        const std::size_t at = row * hidden;
        if (half()) {
          internal::hidden_backward(d_row, pass.h_short + at, hidden, scale, d_h_short + at, sum);
        } else {
          internal::hidden_backward(d_row, pass.h + at, hidden, scale, d_h + at, sum);
        }
      }
      const std::size_t end = (first + rows) * hidden;
      const std::size_t padding = (kBlock - rows) * hidden;
      if (half()) {
        std::fill_n(d_h_short + end, padding, std::uint16_t{0});
      } else {
        std::fill_n(d_h + end, padding, 0.0F);
      }
    });

    const std::vector<std::int64_t> step = next_steps(update, touched);
    const std::size_t panels0 = (hidden + kPanel - 1) / kPanel;
    const std::size_t panels1 = attends ? (inputs + kPanel - 1) / kPanel : 0;
    const auto pieces = chunks(half() ? bag.padded : bag.full);
    const bool has_tail = !half() && bag.full < bag.rows;
    run_tasks(panels0 + panels1 + 1, [&](std::size_t task) {
      if (task < panels0) {
        const std::size_t first = task * kPanel;
        const std::size_t rows = std::min(kPanel, hidden - first);
        float* to = g + at_w0 + first * embed;
        bool more = false;
        for (const auto& [at, length] : pieces) {
          const Matmul& multiply = product({rows, embed, length, kWeight0, more});
          if (half()) {
            multiply.run(d_h_short + at * hidden + first, x_short.get(0) + at * embed, to);
          } else {
            multiply.run(d_h + at * hidden + first, view.data + at * embed, to);
          }
          more = true;
        }
        if (has_tail) {
          product({rows, embed, kBlock, kWeight0, more})
              .run(d_h + bag.full * hidden + first, tail.get(0), to);
        }
        if (update) {
          std::uint16_t* copy = half() ? w0_short.data() + first * embed : nullptr;
          optimise(at_w0 + first * embed, rows * embed, step[0], copy);
        }
      } else if (task < panels0 + panels1) {
        const std::size_t first = (task - panels0) * kPanel;
        const std::size_t rows = std::min(kPanel, inputs - first);
        float* to = g + at_wab + first * hidden;
        bool more = false;
        for (const auto& [at, length] : pieces) {
          const Matmul& multiply = product({rows, hidden, length, kWeightGate, more});
          if (half()) {
            multiply.run(d_ab_short + at * inputs + first, pass.h_short + at * hidden, to);
          } else {
            multiply.run(d_ab + at * inputs + first, pass.h + at * hidden, to);
          }
          more = true;
        }
        if (has_tail) {
          product({rows, hidden, kBlock, kWeightGate, more})
              .run(d_ab + bag.full * inputs + first, pass.h + bag.full * hidden, to);
        }
        if (update) {
          std::uint16_t* copy = half() ? wab_short.data() + first * hidden : nullptr;
          optimise(at_wab + first * hidden, rows * hidden, step[0], copy);
        }
      } else {
        // The small ones: b0, bab, wc, bc lie one after the other, as their sums do.
        std::fill(g + at_b0, g + at_b0 + size_of, 0.0F);
        for (std::size_t block = 0; block < bag.blocks; ++block) {
          internal::add_scaled(1.0F, sums + block * size_of, g + at_b0, size_of);
        }
        if (!update) return;
        optimise(at_b0, at_instances - at_b0, step[0], nullptr);
        for (std::size_t c = 0; c < instances(); ++c) {
          if (step[1 + c] == 0) continue;
          optimise(at_instances + c * instance_size(), instance_size(), step[1 + c], nullptr);
        }
      }
    });
    return out;
  }

  // Counts of this step, 0 for an instance classifier that is left alone.
  std::vector<std::int64_t> next_steps(bool update, const std::vector<bool>& touched) {
    std::vector<std::int64_t> out(steps.size(), 0);
    if (!update) return out;
    out[0] = ++steps[0];
    for (std::size_t c = 0; c < touched.size(); ++c) {
      if (touched[c]) out[1 + c] = ++steps[1 + c];
    }
    return out;
  }

  void optimise(std::size_t at, std::size_t n, std::int64_t t, std::uint16_t* copy) {
    if (options.opt == Optimiser::kAdam) {
      internal::adam(parameters.data() + at,
                     gradients.data() + at,
                     m.data() + at,
                     v.data() + at,
                     copy,
                     n,
                     t,
                     options.lr,
                     options.reg);
    } else {
      internal::sgd(parameters.data() + at,
                    gradients.data() + at,
                    m.data() + at,
                    copy,
                    n,
                    t,
                    options.lr,
                    options.reg);
    }
  }
};

Clam::Clam(const ClamOptions& options) : impl_(std::make_unique<Impl>(options)) {}
Clam::Clam(Clam&&) noexcept = default;
Clam& Clam::operator=(Clam&&) noexcept = default;
Clam::~Clam() = default;

const ClamOptions& Clam::options() const { return impl_->options; }
const Head& Clam::head() const { return *impl_->head; }
Arithmetic Clam::arithmetic() const { return impl_->arithmetic; }
const std::vector<ParameterInfo>& Clam::parameter_info() const { return impl_->info; }
std::span<const float> Clam::parameters() const { return impl_->parameters; }
std::span<const float> Clam::gradient() const { return impl_->gradients; }

void Clam::set_parameters(std::span<const float> values) {
  if (values.size() != impl_->parameters.size()) {
    throw Error(
        ErrorKind::kUsage,
        fmt::format("{} parameters for a net of {}", values.size(), impl_->parameters.size()));
  }
  for (const ParameterInfo& parameter : impl_->info) {
    for (const float value : values.subspan(parameter.offset, parameter.size)) {
      if (!std::isfinite(value)) {
        throw Error(ErrorKind::kData, fmt::format("weights: {} is not finite", parameter.name));
      }
    }
  }
  std::copy(values.begin(), values.end(), impl_->parameters.begin());
  impl_->round_weights();
}

BagOutput Clam::forward(const BagView& bag, const Target* target) {
  const ThreadScope scope(impl_->options.threads);
  impl_->in_use = Arithmetic::kF32;
  const Impl::Pass pass = impl_->run_forward(bag, std::nullopt);
  BagOutput out = impl_->output(pass);
  std::vector<float> unused;
  if (target != nullptr) impl_->judge(pass, *target, out, unused);
  return out;
}

BagOutput Clam::backward(const BagView& bag, const Target& target, std::uint64_t dropout_seed) {
  return impl_->run_backward(bag, target, dropout_seed, false);
}

BagOutput Clam::train_step(const BagView& bag, const Target& target, std::uint64_t dropout_seed) {
  return impl_->run_backward(bag, target, dropout_seed, true);
}

OptimiserState Clam::optimiser_state() const { return {impl_->m, impl_->v, impl_->steps}; }

void Clam::set_optimiser_state(OptimiserState state) {
  if (state.m.size() != impl_->m.size() || state.v.size() != impl_->v.size() ||
      state.steps.size() != impl_->steps.size()) {
    throw Error(ErrorKind::kUsage, "optimiser state of another net");
  }
  impl_->m = std::move(state.m);
  impl_->v = std::move(state.v);
  impl_->steps = std::move(state.steps);
}

}  // namespace med3d::mil
