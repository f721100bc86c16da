#include "med3d/pipeline/benchmark.h"

#include <fmt/format.h>
#include <stdlib.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <ctime>
#include <functional>
#include <limits>
#include <utility>
#include <vector>

#include "med3d/core/error.h"
#include "med3d/core/random.h"
#include "med3d/encoders/resize.h"
#include "med3d/io/worker.h"
#include "med3d/kernels/product_rate.h"
#include "med3d/mil/clam.h"
#include "med3d/nn/fusion_net.h"
#include "med3d/wsi/slide.h"
#include "med3d/wsi/synth_slide.h"

namespace med3d::pipeline {
namespace {

constexpr std::int64_t kTilePx = 256;  // as tiles come from slides

double wall_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Of all threads of the process.
double processor_s() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

double seconds_of(int threads, const std::function<void()>& work) {
  const auto clock = threads == 1 ? processor_s : wall_s;
  const double begin = clock();
  work();
  return clock() - begin;
}

Arithmetic arithmetic_of(Precision precision) {
  return precision == Precision::kF32 ? Arithmetic::kF32 : Arithmetic::kBf16;
}

// pieces       of work in one call
// operations   of one piece; 0 = not counted
BenchRate rate_of(const std::function<void()>& work,
                  double pieces,
                  double operations,
                  Arithmetic arithmetic,
                  const BenchSettings& settings,
                  int threads) {
  ProductRate product(arithmetic, threads, settings.product_side);
  product.run();
  double work_s = std::numeric_limits<double>::infinity();
  double product_s = work_s;
  const double end = wall_s() + settings.seconds;
  for (int turn = 0; turn < 2 || wall_s() < end; ++turn) {
    product_s = std::min(product_s, seconds_of(threads, [&] { product.run(); }));
    work_s = std::min(work_s, seconds_of(threads, work));
  }
  BenchRate rate;
  rate.per_s = pieces / work_s;
  rate.matmul_gflops = product.operations() / product_s / 1e9;
  rate.share = operations * rate.per_s / (rate.matmul_gflops * 1e9);
  return rate;
}

std::vector<std::uint8_t> some_pixels(std::int64_t n) {
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < pixels.size(); ++i) {
    pixels[i] = static_cast<std::uint8_t>(i * 37 % 251);
  }
  return pixels;
}

double resize_s(std::int64_t side) {
  const auto tile = some_pixels(kTilePx * kTilePx * 3);
  std::vector<std::uint8_t> resized(static_cast<std::size_t>(side * side * 3));
  RgbResize resize(kTilePx, kTilePx, side, side);
  double best = std::numeric_limits<double>::infinity();
  for (int turn = 0; turn < 20; ++turn) {
    best = std::min(best, seconds_of(1, [&] { resize.run(tile, resized); }));
  }
  return best;
}

void refuse_fallback(const std::string& name, Precision wanted, Precision found) {
  if (wanted == Precision::kAuto || wanted == found) return;
  throw Error(
      ErrorKind::kUnsupported,
      fmt::format(
          "{}: {} would be emulated on this processor, slower than f32", name, to_string(wanted)));
}

int batches_ahead(const Encoder& encoder) { return encoder.in_flight(); }
int batches_ahead(const VolumeEncoder& /*one at a time*/) { return 1; }

// work(1) hands a batch over, work(-1) takes the oldest back.
template <class AnyEncoder>
void bench_on_device(EncoderBench& bench,
                     const AnyEncoder& encoder,
                     double pieces,
                     const BenchSettings& settings,
                     const std::function<void(int)>& work) {
  const int most = batches_ahead(encoder);
  for (int i = 1; i < most; ++i) work(1);
  const double waited = encoder.waited_s();
  const double begin = wall_s();
  double done = 0.0;
  while (done < 2.0 || wall_s() - begin < settings.seconds) {
    work(1);
    work(-1);
    done += 1.0;
  }
  const double wall = wall_s() - begin;
  bench.rate.per_s = pieces * done / wall;
  bench.device_busy = (encoder.waited_s() - waited) / wall;
  for (int i = 1; i < most; ++i) work(-1);
}

EncoderBench bench_tiles(const EncoderSpec& spec,
                         const EncoderBenchOptions& options,
                         const BenchSettings& settings) {
  EncoderBench bench;
  EncoderOptions load;
  load.precision = options.precision;
  load.threads = settings.threads;
  load.batch = options.batch;
  const double begin = wall_s();
  const auto encoder = load_encoder_on(options.engine, spec, options.weights, load);
  bench.load_s = wall_s() - begin;
  bench.engine = options.engine;
  bench.precision = encoder->precision();
  refuse_fallback(options.encoder, options.precision, bench.precision);

  const auto tiles = some_pixels(options.batch * spec.input_px * spec.input_px * 3);
  std::vector<float> out(static_cast<std::size_t>(options.batch * encoder->embedding_dim()));
  encoder->calibrate(tiles);
  encoder->encode(tiles, out);
  bench.name = spec.name;
  bench.unit = "tiles";
  bench.bytes = encoder->bytes();
  if (options.engine.cuda()) {
    bench_on_device(bench, *encoder, static_cast<double>(options.batch), settings, [&](int held) {
      if (held > 0) encoder->submit(tiles);
      if (held < 0) encoder->collect(out);
    });
    return bench;
  }
  bench.rate = rate_of([&] { encoder->encode(tiles, out); },
                       static_cast<double>(options.batch),
                       encoder->operations(),
                       arithmetic_of(bench.precision),
                       settings,
                       settings.threads);
  if (options.tile_decode_s > 0) {
    const double before = options.tile_decode_s + resize_s(spec.input_px);
    const double encoding = static_cast<double>(settings.threads) / bench.rate.per_s;
    bench.decode_share = before / (before + encoding);
  }
  return bench;
}

EncoderBench bench_volume(const VolumeEncoderSpec& spec,
                          const EncoderBenchOptions& options,
                          const BenchSettings& settings) {
  EncoderBench bench;
  VolumeEncoderOptions load;
  load.precision = options.precision;
  load.threads = settings.threads;
  const double begin = wall_s();
  const auto encoder = load_encoder_on(options.engine, spec, options.weights, load);
  bench.load_s = wall_s() - begin;
  bench.engine = options.engine;
  bench.precision = encoder->precision();
  refuse_fallback(options.encoder, options.precision, bench.precision);

  const auto& extent = options.extent;
  std::vector<float> volume(static_cast<std::size_t>(extent[0] * extent[1] * extent[2]));
  for (std::size_t i = 0; i < volume.size(); ++i) {
    volume[i] = static_cast<float>(i * 37 % 251) / 125.0F - 1.0F;
  }
  std::vector<float> out(static_cast<std::size_t>(encoder->embedding_dim()));
  encoder->encode(volume, extent, out);
  bench.name = spec.name;
  bench.unit = "volumes";
  if (options.engine.cuda()) {
    bench_on_device(bench, *encoder, 1.0, settings, [&](int held) {
      if (held < 0) encoder->encode(volume, extent, out);
    });
    bench.bytes = encoder->bytes();
    return bench;
  }
  bench.rate = rate_of([&] { encoder->encode(volume, extent, out); },
                       1.0,
                       encoder->operations(),
                       arithmetic_of(bench.precision),
                       settings,
                       settings.threads);
  bench.bytes = encoder->bytes();
  return bench;
}

}  // namespace

void BenchSettings::validate() const {
  if (threads < 1 || !(seconds > 0) || !std::isfinite(seconds)) {
    throw Error(
        ErrorKind::kUsage,
        fmt::format(
            "{} threads and {} seconds, expected at least 1 and more than 0", threads, seconds));
  }
  if (product_side < 64 || product_side > 16384) {
    throw Error(ErrorKind::kUsage,
                fmt::format("a product of side {}, expected 64 to 16384", product_side));
  }
}

EncoderBench bench_encoder(const EncoderBenchOptions& options, const BenchSettings& settings) {
  settings.validate();
  const auto volumes = volume_encoders();
  const auto volume = std::find_if(volumes.begin(), volumes.end(), [&](const auto* spec) {
    return spec->name == options.encoder;
  });
  if (volume != volumes.end()) return bench_volume(**volume, options, settings);
  return bench_tiles(find_encoder(options.encoder), options, settings);
}

BenchSlide::BenchSlide(int threads) {
  std::string name = (std::filesystem::temp_directory_path() / "med3d-bench-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) {
    throw Error(ErrorKind::kIo, name + ": no folder can be made there");
  }
  folder_ = name;
  path_ = folder_ / "slide.svs";
  SynthSlideOptions options;
  options.width = options.height = 4096;
  options.tissue_share = 0.9;
  options.threads = threads;
  try {
    write_synth_slide(path_, options);
  } catch (...) {
    std::error_code error;
    std::filesystem::remove_all(folder_, error);
    throw;
  }
}

BenchSlide::~BenchSlide() {
  std::error_code error;
  std::filesystem::remove_all(folder_, error);
}

ReaderBench bench_reader(const std::filesystem::path& path,
                         std::int64_t patch_px,
                         const BenchSettings& settings) {
  settings.validate();
  ReaderBench bench;
  bench.patch_px = patch_px;
  const double begin = wall_s();
  auto slide = open_slide(path);
  bench.open_s = wall_s() - begin;
  bench.format = slide->info().format;
  const std::int64_t width = slide->info().levels.front().width;
  const std::int64_t height = slide->info().levels.front().height;
  if (width < patch_px || height < patch_px) {
    throw Error(ErrorKind::kData,
                fmt::format("a slide of {} x {} pixels, expected at least one patch of {}",
                            width,
                            height,
                            patch_px));
  }
  std::vector<std::uint8_t> rgb(static_cast<std::size_t>(3 * patch_px * patch_px));

  // The processor time of a worker is not ours to see.
  const auto clock = isolation().active ? wall_s : processor_s;
  // `fresh` patches at a time from a slide that has nothing in its caches: one of a thousand times
  // the size would not be in them either.
  const auto measure = [&](std::int64_t fresh,
                           const std::function<std::pair<std::int64_t, std::int64_t>()>& next) {
    std::int64_t patches = 0;
    double spent = 0.0;
    const double end = wall_s() + settings.seconds;
    while (patches < 8 || wall_s() < end) {
      if (patches % fresh == 0) slide = open_slide(path);
      const double begun = clock();
      const auto [x, y] = next();
      slide->read_region(x, y, 0, patch_px, patch_px, rgb);
      spent += clock() - begun;
      ++patches;
    }
    return static_cast<double>(patches) / spent;
  };
  NumpyRandom random(1);
  const auto anywhere = [&](std::int64_t side) {
    return static_cast<std::int64_t>(
        random.randint(static_cast<std::uint64_t>(side - patch_px + 1)));
  };
  bench.random_per_s = measure(64, [&] {
    const std::int64_t x = anywhere(width);
    return std::pair(x, anywhere(height));
  });
  const std::int64_t columns = width / patch_px;
  const std::int64_t rows = height / patch_px;
  std::int64_t at = rows / 2 * columns;  // the first rows of a slide are glass
  bench.grid_per_s = measure(rows * columns, [&] {
    const std::int64_t tile = at++ % (rows * columns);
    return std::pair(tile % columns * patch_px, tile / columns * patch_px);
  });
  return bench;
}

TrainBench bench_clam(Arithmetic arithmetic, std::size_t patches, const BenchSettings& settings) {
  settings.validate();
  mil::ClamOptions options;
  options.threads = settings.threads;
  options.precision = arithmetic;
  mil::Clam net(options);
  if (net.arithmetic() != arithmetic) {
    throw Error(ErrorKind::kUnsupported,
                "clam_sb: bf16 would be emulated on this processor, slower than f32");
  }
  NumpyRandom random(1);
  std::vector<float> bag(patches * options.embed_dim);
  for (float& value : bag) value = static_cast<float>(random.normal());
  std::uint64_t step = 0;
  const auto train = [&] {
    net.train_step(
        {bag.data(), patches, options.embed_dim}, {static_cast<int>(step % 2), false}, step + 1);
    ++step;
  };
  train();
  // Products of forward (both layers), of their weights' gradients, and of the gradient of h.
  const auto width = static_cast<double>(options.embed_dim);
  const double operations =
      2.0 * static_cast<double>(patches) * (2.0 * width * 512.0 + 3.0 * 512.0 * 512.0);
  return {"clam_sb",
          arithmetic == Arithmetic::kF32 ? "f32" : "bf16",
          "bags",
          rate_of(train, 1.0, operations, arithmetic, settings, settings.threads)};
}

TrainBench bench_fusion(const BenchSettings& settings) {
  settings.validate();
  constexpr std::size_t kPatients = 512;
  nn::FusionInput input;
  NumpyRandom random(1);
  for (const std::size_t width : {64U, 1024U, 512U}) {
    Matrix<float> block(kPatients, width);
    for (std::size_t i = 0; i < block.size(); ++i) {
      block.data()[i] = static_cast<float>(random.normal());
    }
    input.blocks.push_back(std::move(block));
  }
  input.present = Matrix<std::uint8_t>(kPatients, input.blocks.size());
  std::vector<std::uint8_t> y(kPatients);
  for (std::size_t i = 0; i < kPatients; ++i) {
    for (std::size_t k = 0; k < input.blocks.size(); ++k) input.present(i, k) = 1;
    y[i] = i % 5 == 0 ? 1 : 0;
  }
  nn::FusionOptions options;
  options.training.epochs = 5;
  const auto fit = [&] { nn::FusionNet::fit(input, y, options); };
  fit();
  const double steps = static_cast<double>(options.training.epochs) * kPatients /
                       static_cast<double>(options.training.batch_size);
  // Forward, gradient of the weights, gradient of the inputs: the last not for the first layer.
  const double inputs = 64.0 + 1024.0 + 512.0 + 3.0;
  const double operations = 2.0 * options.training.batch_size *
                            (2.0 * inputs * 128.0 + 3.0 * (128.0 * 64.0 + 64.0 * 2.0));
  return {"fusion", "f32", "steps", rate_of(fit, steps, operations, Arithmetic::kF32, settings, 1)};
}

}  // namespace med3d::pipeline
