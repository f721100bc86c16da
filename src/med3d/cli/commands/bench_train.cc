#include <fmt/format.h>

#include "med3d/cli/command.h"
#include "med3d/cli/output.h"
#include "med3d/kernels/cpu.h"
#include "med3d/pipeline/benchmark.h"

namespace med3d {
namespace {

int run(const Options& options) {
  const pipeline::BenchSettings settings = {
      options.threads(), options.real("seconds"), options.integer("product-side")};
  const auto patches = static_cast<std::size_t>(options.integer("patches"));
  const auto models = options.list("model");
  Json document = {{"schema", 1},
                   {"command", "bench train"},
                   {"threads", settings.threads},
                   {"models", Json::array()}};
  if (!options.json()) {
    print(fmt::format("{:<10} {:<5} {:>10} {:<6} {:>8} {:>9}\n",
                      "model",
                      "",
                      "a second",
                      "",
                      "of peak",
                      "GFLOP/s"));
  }
  const auto tell = [&](const pipeline::TrainBench& found) {
    document["models"].push_back({{"model", found.model},
                                  {"precision", found.precision},
                                  {"unit", found.unit},
                                  {"per_s", found.rate.per_s},
                                  {"share_of_matmul", found.rate.share},
                                  {"matmul_gflops", found.rate.matmul_gflops}});
    if (options.json()) return;
    print(fmt::format("{:<10} {:<5} {:>10.4g} {:<6} {:>6.0f} % {:>9.0f}\n",
                      found.model,
                      found.precision,
                      found.rate.per_s,
                      found.unit,
                      100.0 * found.rate.share,
                      found.rate.matmul_gflops));
    flush_output();
  };
  for (const auto& model : models) {
    if (model == "fusion") {
      tell(pipeline::bench_fusion(settings));
      continue;
    }
    tell(pipeline::bench_clam(Arithmetic::kF32, patches, settings));
    if (native_bf16()) tell(pipeline::bench_clam(Arithmetic::kBf16, patches, settings));
  }
  if (options.json()) print_json(document);
  return kExitDone;
}

}  // namespace

extern const Command bench_train_command;
const Command bench_train_command = {
    .name = "bench train",
    .summary = "Measure how many training steps a second this machine makes",
    .reference = "",
    .examples = {{"med3d bench train", "CLAM_SB on bags of 1,000 patches, and the fusion net"},
                 {"med3d bench train --model clam_sb --patches 10000 --json", "Large bags only"}},
    .declare =
        [](Schema& schema) {
          schema.list("model", "which to train", "clam_sb,fusion", {"clam_sb", "fusion"});
          schema.integer("patches", "of a bag", 1000, 1, 100000);
          schema.integer("product-side", "of the matrix product it is set beside", 4096, 64, 16384);
          schema.real("seconds", "of each measurement", 2.0, 0.01, 3600.0, "seconds");
          add_common_threads(schema);
        },
    .run = run,
};

}  // namespace med3d
