// Training of CLAM_SB in bags a second, beside bench/python/clam_torch.py (the same in PyTorch).
//
//   bench/clam [threads=2] [bags=40] [patches=1000] [width=1024] [repeats=3] [precision=f32|bf16]
//              [instance_loss=ce|svm]
//   bench/clam files=FOLDER [epochs=3] [threads=2] [precision=f32|bf16] [instance_loss=ce|svm]
//
// With files, a whole training on the .pt files of a folder, split as clam_torch.py splits them:
// of ten slides eight train, one validates after each epoch and one tests; both are judged at the
// end. The rate is that of training bags, as there.
//
// Without, steps on bags in memory.
// The share of the peak is that of one large product in the same arithmetic on the same threads,
// measured in the same run; a step has 2 N (2 width 512 + 3 * 512 * 512) operations in its
// products: forward both layers, weight gradients of both, the gradient of h; none for the
// features.
#include "med3d/mil/clam.h"

#include <algorithm>
#include <filesystem>

#include "bench/measure.h"
#include "med3d/kernels/matmul.h"
#include "med3d/kernels/tasks.h"
#include "med3d/mil/train.h"

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

int from_files(const bench::Arguments& arguments, mil::ClamOptions options) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(arguments.text("files"))) {
    if (entry.path().extension() == ".pt") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  const bench::Stopwatch watch;
  const mil::FileBags bags(files);
  mil::TrainingTask task;
  task.bags = &bags;
  std::vector<std::size_t> test;
  for (std::size_t i = 0; i < files.size(); ++i) {
    task.targets.push_back({static_cast<int>(i / 10 % 2), false});
    (i % 10 < 8 ? task.training : i % 10 == 8 ? task.validation : test).push_back(i);
  }
  options.max_epochs = arguments.count("epochs");
  mil::TrainedClam trained = mil::train_clam(options, task);
  for (const auto* rows : {&task.validation, &test}) mil::predict_bags(trained.net, task, *rows);
  const double rate =
      static_cast<double>(task.training.size()) * options.max_epochs / watch.wall_s();
  Json json;
  json["bags"] = files.size();
  json["epochs"] = options.max_epochs;
  json["threads"] = options.threads;
  json["precision"] = trained.net.arithmetic() == Arithmetic::kBf16 ? "bf16" : "f32";
  json["bags_per_s"] = rate;
  for (const mil::EpochRecord& epoch : trained.state.curve) {
    json["training_loss"].push_back(epoch.training_loss);
    json["validation_loss"].push_back(epoch.validation_loss);
  }
  bench::add_times(json, watch.cpu_s(), watch.wall_s());
  bench::say(fmt::format("clam_sb: {:.1f} bags/s from files", rate), json);
  return 0;
}

int program(int argc, char** argv) {
  const bench::Arguments arguments(argc,
                                   argv,
                                   {{"files", ""},
                                    {"epochs", "3"},
                                    {"instance_loss", "ce"},
                                    {"threads", "2"},
                                    {"bags", "40"},
                                    {"patches", "1000"},
                                    {"width", "1024"},
                                    {"repeats", "3"},
                                    {"precision", "f32"}});
  mil::ClamOptions options;
  options.threads = arguments.count("threads");
  options.embed_dim = static_cast<std::size_t>(arguments.count("width"));
  options.precision = arguments.text("precision") == "bf16" ? Arithmetic::kBf16 : Arithmetic::kF32;
  options.inst_loss = mil::instance_loss_of(arguments.text("instance_loss"));
  if (!arguments.text("files").empty()) return from_files(arguments, options);
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
