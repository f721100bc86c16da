#include "med3d/kernels/transformer.h"

#include <fmt/format.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <exception>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "med3d/core/error.h"
#include "med3d/core/limits.h"
#include "med3d/kernels/internal/onednn.h"
#include "med3d/kernels/internal/rows.h"

namespace med3d {

namespace {

using onednn::Dims;
using onednn::Format;
using onednn::Type;
using rows::Bf16;

std::int64_t bytes_of(Arithmetic arithmetic) { return arithmetic == Arithmetic::kBf16 ? 2 : 4; }

float* f32_row(const RowsView& view, std::int64_t row) {
  return reinterpret_cast<float*>(view.data) + row * view.cols;
}

Bf16* bf16_row(const RowsView& view, std::int64_t row) {
  return reinterpret_cast<Bf16*>(view.data) + row * view.cols;
}

void expect(const RowsView& view,
            std::string_view name,
            std::int64_t n,
            std::int64_t cols,
            Arithmetic arithmetic) {
  if (view.rows == n && view.cols == cols && view.arithmetic == arithmetic) return;
  const auto name_of = [](Arithmetic a) { return a == Arithmetic::kBf16 ? "bf16" : "f32"; };
  throw Error(ErrorKind::kUsage,
              fmt::format("{}: ({}, {}) {}, expected ({}, {}) {}",
                          name,
                          view.rows,
                          view.cols,
                          name_of(view.arithmetic),
                          n,
                          cols,
                          name_of(arithmetic)));
}

void expect_positive(std::string_view what, std::initializer_list<std::int64_t> sizes) {
  for (const std::int64_t size : sizes) {
    if (size < 1) throw Error(ErrorKind::kUsage, fmt::format("{}: a size of {}", what, size));
  }
}

// Work for index 0 ... count - 1 on this thread's OpenMP threads; the first exception comes out.
template <class Work>
void on_threads(std::int64_t count, const Work& work) {
  std::exception_ptr failure;
#pragma omp parallel for schedule(static)
  for (std::int64_t i = 0; i < count; ++i) {
    try {
      work(i);
    } catch (...) {
#pragma omp critical(med3d_kernels_failure)
      if (!failure) failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
}

// Scratch of the products a thread runs, one after the other.
std::byte* product_scratch(std::size_t bytes) {
  thread_local onednn::Buffer mine;
  mine.reserve(bytes);
  return mine.data();
}

}  // namespace

RowsView RowsView::part(std::int64_t first, std::int64_t count) const {
  if (first < 0 || count < 0 || first > rows - count) {
    throw Error(ErrorKind::kUsage, fmt::format("rows {} to {} of {}", first, first + count, rows));
  }
  return {data + first * cols * bytes_of(arithmetic), count, cols, arithmetic};
}

struct Rows::Memory {
  onednn::Buffer buffer;
};

Rows::Rows(std::int64_t rows, std::int64_t cols, Arithmetic arithmetic)
    : memory_(std::make_unique<Memory>()) {
  expect_positive("rows", {rows, cols});
  const std::uint64_t count = checked_multiply(
      static_cast<std::uint64_t>(rows), static_cast<std::uint64_t>(cols), "activations");
  memory_->buffer.reserve(
      checked_multiply(count, static_cast<std::uint64_t>(bytes_of(arithmetic)), "activations"));
  view_ = {memory_->buffer.data(), rows, cols, arithmetic};
}

Rows::~Rows() = default;
Rows::Rows(Rows&&) noexcept = default;
Rows& Rows::operator=(Rows&&) noexcept = default;

RowsView Rows::reshaped(std::int64_t rows, std::int64_t cols) const {
  if (rows < 0 || cols < 1 || rows > view_.rows * view_.cols / cols) {
    throw Error(
        ErrorKind::kUsage,
        fmt::format("({}, {}) in the memory of ({}, {})", rows, cols, view_.rows, view_.cols));
  }
  return {view_.data, rows, cols, view_.arithmetic};
}

std::span<float> Rows::f32() const {
  if (view_.arithmetic != Arithmetic::kF32) {
    throw Error(ErrorKind::kUsage, "the numbers of a bf16 buffer as f32");
  }
  return {f32_row(view_, 0), static_cast<std::size_t>(view_.rows * view_.cols)};
}

std::size_t Rows::bytes() const { return memory_->buffer.size(); }

void convert(const RowsView& from, const RowsView& to) {
  expect(to, "conversion", from.rows, from.cols, to.arithmetic);
  const bool narrow_from = from.arithmetic == Arithmetic::kBf16;
  const bool narrow_to = to.arithmetic == Arithmetic::kBf16;
  on_threads(from.rows, [&](std::int64_t row) {
    if (narrow_from == narrow_to) {
      std::memcpy(to.part(row, 1).data,
                  from.part(row, 1).data,
                  static_cast<std::size_t>(from.cols * bytes_of(from.arithmetic)));
    } else if (narrow_to) {
      rows::convert(f32_row(from, row), from.cols, bf16_row(to, row));
    } else {
      rows::convert(bf16_row(from, row), from.cols, f32_row(to, row));
    }
  });
}

struct Linear::Impl {
  Options options;
  dnnl::matmul product;
  dnnl::memory::desc x, y, scratch;
  dnnl::memory weight, bias;
};

Linear::Linear(const Options& options, std::span<const float> weight, std::span<const float> bias)
    : impl_(std::make_unique<Impl>()) {
  impl_->options = options;
  const auto [rows, inputs, outputs, arithmetic, result, epilogue] = options;
  expect_positive("linear layer", {rows, inputs, outputs});
  if (static_cast<std::int64_t>(weight.size()) / inputs != outputs ||
      static_cast<std::int64_t>(weight.size()) % inputs != 0 ||
      (!bias.empty() && static_cast<std::int64_t>(bias.size()) != outputs)) {
    throw Error(ErrorKind::kUsage,
                fmt::format("linear layer of {} x {}: {} weights and {} biases",
                            outputs,
                            inputs,
                            weight.size(),
                            bias.size()));
  }
  if (epilogue == Epilogue::kAdd && result != Arithmetic::kF32) {
    throw Error(ErrorKind::kUsage, "linear layer: sums are kept in f32, not in bf16");
  }
  onednn::guarded("linear layer", [&] {
    const Type type = onednn::type_of(arithmetic);
    impl_->x = onednn::desc({rows, inputs}, type, Format::ab);
    impl_->y = onednn::desc({rows, outputs}, onednn::type_of(result), Format::ab);
    const auto any_weight = onednn::desc({inputs, outputs}, type, Format::any);
    const auto given_bias = onednn::desc({1, outputs}, Type::f32, Format::ab);

    dnnl::primitive_attr attr = onednn::attributes();
    dnnl::post_ops after;
    if (epilogue == Epilogue::kGelu) {
      after.append_eltwise(1.0F, dnnl::algorithm::eltwise_gelu_erf, 0.0F, 0.0F);
    } else if (epilogue == Epilogue::kAdd) {
      after.append_sum(1.0F);
    }
    attr.set_post_ops(after);
    const dnnl::matmul::desc description =
        bias.empty() ? dnnl::matmul::desc(impl_->x, any_weight, impl_->y)
                     : dnnl::matmul::desc(impl_->x, any_weight, given_bias, impl_->y);
    const dnnl::matmul::primitive_desc chosen(description, attr, onednn::engine());
    impl_->product = dnnl::matmul(chosen);
    impl_->scratch = chosen.scratchpad_desc();
    impl_->weight = onednn::reordered(
        onednn::view(onednn::desc({inputs, outputs}, Type::f32, Format::ba), weight.data()),
        chosen.weights_desc());
    if (!bias.empty()) {
      impl_->bias = onednn::reordered(onednn::view(given_bias, bias.data()), given_bias);
    }
  });
}

Linear::~Linear() = default;
Linear::Linear(Linear&&) noexcept = default;
Linear& Linear::operator=(Linear&&) noexcept = default;

void Linear::run(const RowsView& x, const RowsView& y) const {
  const Options& options = impl_->options;
  expect(x, "input of a linear layer", options.rows, options.inputs, options.arithmetic);
  expect(y, "result of a linear layer", options.rows, options.outputs, options.result);
  onednn::guarded("linear layer", [&] {
    std::unordered_map<int, dnnl::memory> arguments{
        {DNNL_ARG_SRC, onednn::view(impl_->x, x.data)},
        {DNNL_ARG_WEIGHTS, impl_->weight},
        {DNNL_ARG_DST, onednn::view(impl_->y, y.data)},
        {DNNL_ARG_SCRATCHPAD,
         onednn::view(impl_->scratch, product_scratch(impl_->scratch.get_size()))}};
    if (impl_->bias) arguments.emplace(DNNL_ARG_BIAS, impl_->bias);
    impl_->product.execute(onednn::stream(), arguments);
    onednn::stream().wait();
  });
}

std::size_t Linear::bytes() const {
  return impl_->weight.get_desc().get_size() +
         (impl_->bias ? impl_->bias.get_desc().get_size() : 0);
}

void layer_norm(const RowsView& x,
                std::span<const float> gamma,
                std::span<const float> beta,
                float epsilon,
                const RowsView& y) {
  expect(x, "input of a layer norm", x.rows, x.cols, Arithmetic::kF32);
  expect(y, "result of a layer norm", x.rows, x.cols, y.arithmetic);
  if (static_cast<std::int64_t>(gamma.size()) != x.cols || beta.size() != gamma.size()) {
    throw Error(
        ErrorKind::kUsage,
        fmt::format(
            "layer norm of {} numbers: {} scales, {} shifts", x.cols, gamma.size(), beta.size()));
  }
  on_threads(x.rows, [&](std::int64_t row) {
    const float* from = f32_row(x, row);
    if (y.arithmetic == Arithmetic::kBf16) {
      rows::layer_norm(from, gamma.data(), beta.data(), epsilon, x.cols, bf16_row(y, row));
    } else {
      rows::layer_norm(from, gamma.data(), beta.data(), epsilon, x.cols, f32_row(y, row));
    }
  });
}

// One head of one image: queries a slice at a time, so that scores fit a core's own cache.
struct SelfAttention::Impl {
  // What one thread works on; its products are bound to these places for good.
  struct Desk {
    onednn::Buffer queries, keys, values, scores, shares, attended, scratch;
    std::unordered_map<int, dnnl::memory> score_arguments, value_arguments;
    dnnl::stream stream{onednn::engine()};
  };

  Options options;
  std::int64_t slice = 0;   // queries at once
  std::int64_t slices = 0;  // of an image; the last one reaches back where they do not divide
  dnnl::matmul score, weigh;
  std::vector<Desk> desks;

  template <class Number>
  void attend(const RowsView& qkv, const RowsView& attended, std::int64_t task);
};

namespace {

constexpr std::int64_t kQueriesAtOnce = 256;

}  // namespace

SelfAttention::SelfAttention(const Options& options) : impl_(std::make_unique<Impl>()) {
  expect_positive("attention", {options.images, options.tokens, options.heads, options.head_dim});
  impl_->options = options;
  const std::int64_t tokens = options.tokens;
  const std::int64_t dim = options.head_dim;
  impl_->slices = (tokens + kQueriesAtOnce - 1) / kQueriesAtOnce;
  const std::int64_t slice = (tokens + impl_->slices - 1) / impl_->slices;
  impl_->slice = slice;
  const int threads = kernel_threads();
  onednn::guarded("attention", [&] {
    const Type type = onednn::type_of(options.arithmetic);
    const auto queries = onednn::desc({slice, dim}, type, Format::ab);
    const auto keys = onednn::desc({dim, tokens}, type, Format::ba);  // stored (tokens, dim)
    const auto scores = onednn::desc({slice, tokens}, Type::f32, Format::ab);
    const auto shares = onednn::desc({slice, tokens}, type, Format::ab);
    const auto values = onednn::desc({tokens, dim}, type, Format::ab);
    const auto attended = onednn::desc({slice, dim}, type, Format::ab);

    const ThreadScope alone(1);  // each product runs on the one thread that works on the head
    const dnnl::primitive_attr attr = onednn::attributes();
    const dnnl::matmul::primitive_desc score(
        dnnl::matmul::desc(queries, keys, scores), attr, onednn::engine());
    const dnnl::matmul::primitive_desc weigh(
        dnnl::matmul::desc(shares, values, attended), attr, onednn::engine());
    impl_->score = dnnl::matmul(score);
    impl_->weigh = dnnl::matmul(weigh);

    impl_->desks.resize(static_cast<std::size_t>(threads));
    for (Impl::Desk& desk : impl_->desks) {
      desk.queries.reserve(queries.get_size());
      desk.keys.reserve(keys.get_size());
      desk.values.reserve(values.get_size());
      desk.scores.reserve(scores.get_size());
      desk.shares.reserve(shares.get_size());
      desk.attended.reserve(attended.get_size());
      desk.scratch.reserve(
          std::max(score.scratchpad_desc().get_size(), weigh.scratchpad_desc().get_size()));
      const auto at = [](const dnnl::memory::desc& description, const onednn::Buffer& buffer) {
        return onednn::view(description, buffer.data());
      };
      desk.score_arguments = {{DNNL_ARG_SRC, at(queries, desk.queries)},
                              {DNNL_ARG_WEIGHTS, at(keys, desk.keys)},
                              {DNNL_ARG_DST, at(scores, desk.scores)},
                              {DNNL_ARG_SCRATCHPAD, at(score.scratchpad_desc(), desk.scratch)}};
      desk.value_arguments = {{DNNL_ARG_SRC, at(shares, desk.shares)},
                              {DNNL_ARG_WEIGHTS, at(values, desk.values)},
                              {DNNL_ARG_DST, at(attended, desk.attended)},
                              {DNNL_ARG_SCRATCHPAD, at(weigh.scratchpad_desc(), desk.scratch)}};
    }
  });
}

SelfAttention::~SelfAttention() = default;
SelfAttention::SelfAttention(SelfAttention&&) noexcept = default;
SelfAttention& SelfAttention::operator=(SelfAttention&&) noexcept = default;

template <class Number>
void SelfAttention::Impl::attend(const RowsView& qkv, const RowsView& out, std::int64_t task) {
  const std::int64_t tokens = options.tokens;
  const std::int64_t dim = options.head_dim;
  const std::int64_t width = options.heads * dim;
  const std::int64_t image = task / options.heads;
  const std::int64_t head = task % options.heads;
  Desk& desk = desks.at(static_cast<std::size_t>(omp_get_thread_num()));
  const auto* from = reinterpret_cast<const Number*>(qkv.data) + image * tokens * qkv.cols;
  auto* to = reinterpret_cast<Number*>(out.data) + image * tokens * width;
  const auto row_bytes = static_cast<std::size_t>(dim) * sizeof(Number);
  // The head's columns as rows of their own: the products are fastest on dense matrices.
  const auto gather = [&](std::int64_t part, std::int64_t first, std::int64_t n, std::byte* dense) {
    const Number* source = from + first * qkv.cols + part * width + head * dim;
    for (std::int64_t i = 0; i < n; ++i) {
      std::memcpy(
          dense + static_cast<std::size_t>(i) * row_bytes, source + i * qkv.cols, row_bytes);
    }
  };
  gather(1, 0, tokens, desk.keys.data());
  gather(2, 0, tokens, desk.values.data());
  const float scale = 1.0F / std::sqrt(static_cast<float>(dim));
  for (std::int64_t i = 0; i < slices; ++i) {
    const std::int64_t first = std::min(i * slice, tokens - slice);
    gather(0, first, slice, desk.queries.data());
    score.execute(desk.stream, desk.score_arguments);
    auto* scores = reinterpret_cast<float*>(desk.scores.data());
    auto* shares = reinterpret_cast<Number*>(desk.shares.data());
    for (std::int64_t row = 0; row < slice; ++row) {
      rows::softmax(scores + row * tokens, scale, tokens, shares + row * tokens);
    }
    weigh.execute(desk.stream, desk.value_arguments);
    for (std::int64_t row = 0; row < slice; ++row) {
      std::memcpy(to + (first + row) * width + head * dim,
                  desk.attended.data() + static_cast<std::size_t>(row) * row_bytes,
                  row_bytes);
    }
  }
}

std::size_t SelfAttention::bytes() const {
  std::size_t sum = 0;
  for (const Impl::Desk& desk : impl_->desks) {
    for (const onednn::Buffer* buffer : {&desk.queries,
                                         &desk.keys,
                                         &desk.values,
                                         &desk.scores,
                                         &desk.shares,
                                         &desk.attended,
                                         &desk.scratch}) {
      sum += buffer->size();
    }
  }
  return sum;
}

void SelfAttention::run(const RowsView& qkv, const RowsView& attended) {
  const Options& options = impl_->options;
  const std::int64_t width = options.heads * options.head_dim;
  const std::int64_t n = options.images * options.tokens;
  expect(qkv, "queries, keys and values", n, 3 * width, options.arithmetic);
  expect(attended, "attended values", n, width, options.arithmetic);
  if (kernel_threads() > static_cast<int>(impl_->desks.size())) {
    throw Error(
        ErrorKind::kUsage,
        fmt::format(
            "attention built for {} threads, run on {}", impl_->desks.size(), kernel_threads()));
  }
  onednn::guarded("attention", [&] {
    on_threads(options.images * options.heads, [&](std::int64_t task) {
      if (options.arithmetic == Arithmetic::kBf16) {
        impl_->attend<Bf16>(qkv, attended, task);
      } else {
        impl_->attend<float>(qkv, attended, task);
      }
    });
  });
}

namespace {

template <class Number>
void attend_query(const RowsView& query,
                  const RowsView& kv,
                  std::int64_t heads,
                  const RowsView& out,
                  std::int64_t task) {
  const std::int64_t width = query.cols;
  const std::int64_t dim = width / heads;
  const std::int64_t tokens = kv.rows / out.rows;
  const std::int64_t image = task / heads;
  const std::int64_t at = task % heads * dim;
  const float* q = f32_row(query, query.rows == 1 ? 0 : image) + at;
  const Number* k = reinterpret_cast<const Number*>(kv.data) + image * tokens * kv.cols + at;
  thread_local std::vector<float> scores;
  scores.resize(static_cast<std::size_t>(tokens));
  for (std::int64_t t = 0; t < tokens; ++t) {
    scores[static_cast<std::size_t>(t)] = rows::dot(q, k + t * kv.cols, dim);
  }
  rows::softmax(scores.data(), 1.0F / std::sqrt(static_cast<float>(dim)), tokens, scores.data());
  thread_local std::vector<float> sum;
  sum.assign(static_cast<std::size_t>(dim), 0.0F);
  for (std::int64_t t = 0; t < tokens; ++t) {
    rows::add_scaled(scores[static_cast<std::size_t>(t)], k + t * kv.cols + width, dim, sum.data());
  }
  if (out.arithmetic == Arithmetic::kBf16) {
    rows::convert(sum.data(), dim, bf16_row(out, image) + at);
  } else {
    std::copy(sum.begin(), sum.end(), f32_row(out, image) + at);
  }
}

}  // namespace

void query_attention(const RowsView& query,
                     const RowsView& kv,
                     std::int64_t heads,
                     const RowsView& attended) {
  expect_positive("attention", {query.rows, query.cols, kv.rows, heads, attended.rows});
  expect(query,
         "queries",
         query.rows == 1 ? 1 : attended.rows,
         query.cols / heads * heads,
         Arithmetic::kF32);
  expect(kv,
         "keys and values",
         kv.rows / attended.rows * attended.rows,
         2 * query.cols,
         kv.arithmetic);
  expect(attended, "attended values", attended.rows, query.cols, attended.arithmetic);
  on_threads(attended.rows * heads, [&](std::int64_t task) {
    if (kv.arithmetic == Arithmetic::kBf16) {
      attend_query<Bf16>(query, kv, heads, attended, task);
    } else {
      attend_query<float>(query, kv, heads, attended, task);
    }
  });
}

}  // namespace med3d
