// How near each encoder comes to what this machine's matrix product reaches in the same run.
//
//   encoders [encoder=resnet50-untrained] [weights=FILE] [threads=2] [batch=16] [rounds=5]
//            [precision=both] [depth=56] [side=448]
//
// precision is f32, bf16, both, or int8, which is set beside the f32 product.
// Encoders of tiles take batches; those of volumes one volume of depth x side x side at a time.
//
// Shares are ratios of minima: matrix products and batches take turns, so that a busy neighbour
// disturbs both. With one thread the clock is the processor's, which counts no waiting for a core;
// with more it is the wall's, as waiting for each other is part of what is measured. A
// multiplication and an addition count 2, padding as if it were data.
#include <algorithm>
#include <functional>
#include <limits>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>
#include <vector>

#include "bench/measure.h"
#include "med3d/encoders/encoder.h"
#include "med3d/encoders/resize.h"
#include "med3d/encoders/volume_encoder.h"
#include "med3d/kernels/cpu.h"

namespace med3d::bench {
namespace {

double seconds(const Stopwatch& watch, int threads) {
  return threads == 1 ? watch.cpu_s() : watch.wall_s();
}

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
    return bench::seconds(watch, threads_);
  }

  static double operations() { return 2.0 * kSize * kSize * kSize; }

 private:
  int threads_;
  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream_{engine_};
  dnnl::matmul product_;
  dnnl::memory a_, b_, c_;
};

// What is timed: one call, of so many tiles or volumes.
struct Loaded {
  Precision precision;
  std::function<void()> call;
  std::function<double()> operations;  // of one tile or volume
  std::function<std::size_t()> bytes;
  double items;
};

// Best seconds of Pillow's resize of a tile of 256 px.
double resize_seconds(std::int64_t side) {
  constexpr std::int64_t kTilePx = 256;  // as tiles come from slides
  std::vector<std::uint8_t> tile(kTilePx * kTilePx * 3);
  for (std::size_t i = 0; i < tile.size(); ++i) tile[i] = static_cast<std::uint8_t>(i * 37 % 251);
  std::vector<std::uint8_t> resized(static_cast<std::size_t>(side * side * 3));
  RgbResize resize(kTilePx, kTilePx, side, side);
  double best = std::numeric_limits<double>::infinity();
  for (int r = 0; r < 20; ++r) {
    const Stopwatch watch;
    resize.run(tile, resized);
    best = std::min(best, watch.wall_s());
  }
  return best;
}

Loaded load_tiles(const EncoderSpec& spec, const Arguments& arguments, Precision precision) {
  EncoderOptions options;
  options.threads = arguments.count("threads");
  options.batch = arguments.count("batch");
  options.precision = precision;
  std::shared_ptr<Encoder> encoder = spec.load(arguments.text("weights"), options);
  auto batch = std::vector<std::uint8_t>(
      static_cast<std::size_t>(options.batch * spec.input_px * spec.input_px * 3));
  for (std::size_t i = 0; i < batch.size(); ++i) batch[i] = static_cast<std::uint8_t>(i * 37 % 251);
  encoder->calibrate(batch);
  auto embeddings =
      std::vector<float>(static_cast<std::size_t>(options.batch * spec.embedding_dim));
  return {encoder->precision(),
          [encoder, batch, embeddings]() mutable { encoder->encode(batch, embeddings); },
          [encoder] { return encoder->operations(); },
          [encoder] { return encoder->bytes(); },
          static_cast<double>(options.batch)};
}

Loaded load_volume(const VolumeEncoderSpec& spec, const Arguments& arguments, Precision precision) {
  VolumeEncoderOptions options;
  options.threads = arguments.count("threads");
  options.precision = precision;
  const VolumeExtent extent = {
      arguments.count("depth"), arguments.count("side"), arguments.count("side")};
  std::shared_ptr<VolumeEncoder> encoder = spec.load(arguments.text("weights"), options);
  auto volume = std::make_shared<std::vector<float>>(
      static_cast<std::size_t>(extent[0] * extent[1] * extent[2]));
  for (std::size_t i = 0; i < volume->size(); ++i) {
    (*volume)[i] = static_cast<float>(i * 37 % 251) / 125.0F - 1.0F;
  }
  auto embedding = std::vector<float>(static_cast<std::size_t>(spec.embedding_dim));
  return {encoder->precision(),
          [encoder, volume, extent, embedding]() mutable {
            encoder->encode(*volume, extent, embedding);
          },
          [encoder] { return encoder->operations(); },
          [encoder] { return encoder->bytes(); },
          1.0};
}

int program(int argc, char** argv) {
  const Arguments arguments(argc,
                            argv,
                            {{"encoder", "resnet50-untrained"},
                             {"weights", ""},
                             {"threads", "2"},
                             {"batch", "16"},
                             {"rounds", "5"},
                             {"precision", "both"},
                             {"depth", "56"},
                             {"side", "448"}});
  const std::string name = arguments.text("encoder");
  const int threads = arguments.count("threads");
  const int rounds = arguments.count("rounds");
  const auto volumes = volume_encoders();
  const auto volume =
      std::find_if(volumes.begin(), volumes.end(), [&](auto* spec) { return spec->name == name; });
  const EncoderSpec* tiles = volume == volumes.end() ? &find_encoder(name) : nullptr;
  const double resize_s = tiles != nullptr ? resize_seconds(tiles->input_px) : 0.0;
  std::vector<Precision> precisions = {Precision::kF32, Precision::kBf16};
  if (arguments.text("precision") != "both") {
    precisions = {parse_precision(arguments.text("precision"))};
  }

  Json json;
  json["encoder"] = name;
  json["threads"] = threads;
  for (const Precision precision : precisions) {
    const Stopwatch loading;
    Loaded loaded = tiles != nullptr ? load_tiles(*tiles, arguments, precision)
                                     : load_volume(**volume, arguments, precision);
    const double load_s = loading.wall_s();
    if (loaded.precision != precision) continue;  // only emulated here
    loaded.call();
    const double encoder_peak_mib = peak_mib();  // before the matrix product takes its own
    MatrixProduct product(precision, threads);
    product.seconds();
    double product_s = std::numeric_limits<double>::infinity();
    double call_s = product_s;
    for (int r = 0; r < rounds; ++r) {
      product_s = std::min(product_s, product.seconds());
      const Stopwatch watch;
      loaded.call();
      call_s = std::min(call_s, seconds(watch, threads));
    }
    const double peak = MatrixProduct::operations() / product_s;
    const double per_s = loaded.items / call_s;
    const double share = loaded.operations() * per_s / peak;
    Json& result = json[to_string(precision)];
    result = {{"matmul_gflops", peak / 1e9},
              {tiles != nullptr ? "tiles_per_s" : "volumes_per_s", per_s},
              {"share_of_matmul", share},
              {"bytes", loaded.bytes()},
              {"peak_mib", encoder_peak_mib},
              {"load_s", load_s}};
    fmt::print(
        stderr,
        "{} {}: {:.3g} {}/s, {:.0f} % of the matrix product's {:.0f} GFLOP/s; {:.0f} MB held, "
        "peak of the process {:.0f} MiB; loaded in {:.2f} s\n",
        name,
        to_string(precision),
        per_s,
        tiles != nullptr ? "tiles" : "volumes",
        100.0 * share,
        peak / 1e9,
        static_cast<double>(loaded.bytes()) / 1e6,
        encoder_peak_mib,
        load_s);
    if (tiles == nullptr) continue;
    const double resize_share = resize_s * per_s / static_cast<double>(threads);
    result["resize_share"] = resize_share;
    fmt::print(stderr,
               "resize of a tile: {:.2f} ms, {:.1f} % of a core's time\n",
               1e3 * resize_s,
               100.0 * resize_share);
  }
  fmt::print("{}", dump_json(json));
  return 0;
}

}  // namespace
}  // namespace med3d::bench

int main(int argc, char** argv) { return med3d::bench::guarded(med3d::bench::program, argc, argv); }
