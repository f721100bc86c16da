// Training steps of CLAM_SB a second, beside bench/clam_torch.py (the same net and step in
// PyTorch).
//
//   bench/clam [threads=2] [bags=40] [patches=1000] [width=1024] [repeats=3] [precision=f32|bf16]
//
// The share of the peak is that of one large product in the same arithmetic on the same threads,
// measured in the same run; a step has 2 N (2 width 512 + 3 * 512 * 512) operations in its
// products: forward both layers, weight gradients of both, the gradient of h; none for the
// features.
#include "med3d/mil/clam.h"

#include <algorithm>

#include "bench/measure.h"
#include "med3d/kernels/matmul.h"
#include "med3d/kernels/tasks.h"

namespace {

using namespace med3d;

// GFLOP/s of products of 768 x 768 x 768, one on each thread.
double peak(Arithmetic arithmetic, int threads) {
  constexpr std::size_t kSide = 768;
  const ThreadScope scope(threads);
  MatmulShape shape;
  shape.m = shape.n = shape.k = kSide;
  const Matmul product(shape, arithmetic);
  const std::vector<float> ones(kSide * kSide, 0.5F);
  std::vector<std::uint16_t> halves(kSide * kSide);
  to_bf16(ones, halves.data());
  const auto pieces = static_cast<std::size_t>(threads) * 4;
  std::vector<std::vector<float>> out(pieces, std::vector<float>(kSide * kSide));
  double best = 0.0;
  for (int repeat = 0; repeat < 4; ++repeat) {
    const bench::Stopwatch watch;
    run_tasks(pieces, [&](std::size_t i) {
      if (arithmetic == Arithmetic::kF32) {
        product.run(ones.data(), ones.data(), out[i].data());
      } else {
        product.run(halves.data(), halves.data(), out[i].data());
      }
    });
    const double flop = 2.0 * static_cast<double>(kSide * kSide * kSide * pieces);
    best = std::max(best, flop / watch.wall_s() * 1e-9);
  }
  return best;
}

int program(int argc, char** argv) {
  const bench::Arguments arguments(argc,
                                   argv,
                                   {{"threads", "2"},
                                    {"bags", "40"},
                                    {"patches", "1000"},
                                    {"width", "1024"},
                                    {"repeats", "3"},
                                    {"precision", "f32"}});
  mil::ClamOptions options;
  options.threads = arguments.count("threads");
  options.embed_dim = static_cast<std::size_t>(arguments.count("width"));
  options.precision = arguments.text("precision") == "bf16" ? Arithmetic::kBf16 : Arithmetic::kF32;
  const auto patches = static_cast<std::size_t>(arguments.count("patches"));
  const int bags = arguments.count("bags");
  NumpyRandom random(1);
  std::vector<Matrix<float>> features;
  for (int i = 0; i < bags; ++i) {
    Matrix<float> bag(patches, options.embed_dim);
    for (std::size_t j = 0; j < bag.size(); ++j)
      bag.data()[j] = static_cast<float>(random.normal());
    features.push_back(std::move(bag));
  }
  mil::Clam net(options);
  double wall = HUGE_VAL;
  double cpu = HUGE_VAL;
  std::uint64_t step = 0;
  for (int repeat = 0; repeat < arguments.count("repeats"); ++repeat) {
    const bench::Stopwatch watch;
    for (int i = 0; i < bags; ++i) {
      const Matrix<float>& bag = features[static_cast<std::size_t>(i)];
      net.train_step({bag.data(), bag.rows(), bag.cols()}, {i % 2, false}, ++step);
    }
    wall = std::min(wall, watch.wall_s());
    cpu = std::min(cpu, watch.cpu_s());
  }
  const double flop = 2.0 * static_cast<double>(patches) *
                      (2.0 * static_cast<double>(options.embed_dim) * 512.0 + 3.0 * 512.0 * 512.0);
  const double reached = flop * bags / wall * 1e-9;
  const double best = peak(net.arithmetic(), options.threads);
  Json json;
  json["threads"] = options.threads;
  json["precision"] = net.arithmetic() == Arithmetic::kBf16 ? "bf16" : "f32";
  json["patches"] = patches;
  json["bags_per_s"] = bags / wall;
  json["bags_per_cpu_s"] = bags / cpu;
  json["gflops"] = reached;
  json["share_of_peak"] = reached / best;
  bench::add_times(json, cpu, wall);
  bench::say(fmt::format("clam_sb: {:.1f} bags/s, {:.0f} % of the matmul peak",
                         bags / wall,
                         100.0 * reached / best),
             json);
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return med3d::bench::guarded(program, argc, argv); }
