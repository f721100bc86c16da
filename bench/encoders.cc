// How near each encoder comes to what this machine's matrix product reaches in the same run.
//
//   encoders [encoder=resnet50-untrained] [weights=FILE] [threads=2] [batch=16] [rounds=5]
//
// Shares are ratios of minima: matrix products and batches take turns, so that a busy neighbour
// disturbs both. Multiplications and additions count 2, padding as if it were data.
#include <algorithm>
#include <limits>
#include <oneapi/dnnl/dnnl.hpp>
#include <vector>

#include "bench/measure.h"
#include "med3d/encoders/encoder.h"
#include "med3d/encoders/resize.h"
#include "med3d/kernels/cpu.h"

namespace med3d::bench {
namespace {

// One product of two square matrices, as oneDNN itself computes it.
class MatrixProduct {
 public:
  static constexpr dnnl::memory::dim kSize = 4096;

  MatrixProduct(Precision precision, int threads) : threads_(threads) {
    using Tag = dnnl::memory::format_tag;
    const ThreadScope scope(threads_);
    const auto type = precision == Precision::kBf16 ? dnnl::memory::data_type::bf16
                                                    : dnnl::memory::data_type::f32;
    const dnnl::memory::desc any({kSize, kSize}, type, Tag::any);
    const dnnl::matmul::primitive_desc pd(dnnl::matmul::desc(any, any, any), engine_);
    product_ = dnnl::matmul(pd);
    a_ = dnnl::memory(pd.src_desc(), engine_);
    b_ = dnnl::memory(pd.weights_desc(), engine_);
    c_ = dnnl::memory(pd.dst_desc(), engine_);
    // 1.0 in both formats is no special case for the processor; zeros could be.
    for (auto* memory : {&a_, &b_}) {
      auto* bytes = static_cast<std::uint8_t*>(memory->get_data_handle());
      const std::size_t size = memory->get_desc().get_size();
      for (std::size_t i = 0; i < size; i += 2) {
        bytes[i] = static_cast<std::uint8_t>(i * 31 % 251);
        bytes[i + 1] = 0x3f;
      }
    }
  }

  double seconds() {
    const ThreadScope scope(threads_);
    const Stopwatch watch;
    product_.execute(stream_, {{DNNL_ARG_SRC, a_}, {DNNL_ARG_WEIGHTS, b_}, {DNNL_ARG_DST, c_}});
    stream_.wait();
    return watch.wall_s();
  }

  static double operations() { return 2.0 * kSize * kSize * kSize; }

 private:
  int threads_;
  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream_{engine_};
  dnnl::matmul product_;
  dnnl::memory a_, b_, c_;
};

int program(int argc, char** argv) {
  const Arguments arguments(argc,
                            argv,
                            {{"encoder", "resnet50-untrained"},
                             {"weights", ""},
                             {"threads", "2"},
                             {"batch", "16"},
                             {"rounds", "5"}});
  const EncoderSpec& spec = find_encoder(arguments.text("encoder"));
  EncoderOptions options;
  options.threads = arguments.count("threads");
  options.batch = arguments.count("batch");
  const int rounds = arguments.count("rounds");

  constexpr std::int64_t kTilePx = 256;  // as tiles come from slides
  const auto side = spec.input_px;
  std::vector<std::uint8_t> tile(kTilePx * kTilePx * 3);
  for (std::size_t i = 0; i < tile.size(); ++i) tile[i] = static_cast<std::uint8_t>(i * 37 % 251);
  std::vector<std::uint8_t> batch(static_cast<std::size_t>(options.batch * side * side * 3));
  std::vector<float> embeddings(static_cast<std::size_t>(options.batch * spec.embedding_dim));
  RgbResize resize(kTilePx, kTilePx, side, side);
  double resize_s = std::numeric_limits<double>::infinity();
  for (int r = 0; r < 20; ++r) {
    const Stopwatch watch;
    resize.run(tile, std::span(batch).first(static_cast<std::size_t>(side * side * 3)));
    resize_s = std::min(resize_s, watch.wall_s());
  }
  for (std::size_t i = 0; i < batch.size(); ++i) batch[i] = static_cast<std::uint8_t>(i * 37 % 251);

  Json json;
  json["encoder"] = spec.name;
  json["threads"] = options.threads;
  json["batch"] = options.batch;
  for (const Precision precision : {Precision::kF32, Precision::kBf16}) {
    options.precision = precision;
    const Stopwatch loading;
    const auto encoder = spec.load(arguments.text("weights"), options);
    const double load_s = loading.wall_s();
    if (encoder->precision() != precision) continue;  // only emulated here
    MatrixProduct product(precision, options.threads);
    product.seconds();
    encoder->encode(batch, embeddings);
    double product_s = std::numeric_limits<double>::infinity();
    double batch_s = product_s;
    for (int r = 0; r < rounds; ++r) {
      product_s = std::min(product_s, product.seconds());
      const Stopwatch watch;
      encoder->encode(batch, embeddings);
      batch_s = std::min(batch_s, watch.wall_s());
    }
    const double peak = MatrixProduct::operations() / product_s;
    const double tiles_s = static_cast<double>(options.batch) / batch_s;
    const double share = encoder->operations() * tiles_s / peak;
    const double resize_share = resize_s * tiles_s / static_cast<double>(options.threads);
    json[to_string(precision)] = {{"matmul_gflops", peak / 1e9},
                                  {"tiles_per_s", tiles_s},
                                  {"share_of_matmul", share},
                                  {"bytes", encoder->bytes()},
                                  {"load_s", load_s},
                                  {"resize_share", resize_share}};
    fmt::print(stderr,
               "{} {}: {:.1f} tiles/s, {:.0f} % of the matrix product's {:.0f} GFLOP/s; {:.0f} MB; "
               "loaded in {:.2f} s; resize of a tile {:.2f} ms, {:.1f} % of a core's time\n",
               spec.name,
               to_string(precision),
               tiles_s,
               100.0 * share,
               peak / 1e9,
               static_cast<double>(encoder->bytes()) / 1e6,
               load_s,
               1e3 * resize_s,
               100.0 * resize_share);
  }
  json["peak_mib"] = peak_mib();
  fmt::print("{}", dump_json(json));
  return 0;
}

}  // namespace
}  // namespace med3d::bench

int main(int argc, char** argv) { return med3d::bench::guarded(med3d::bench::program, argc, argv); }
