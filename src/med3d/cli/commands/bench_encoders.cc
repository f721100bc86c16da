#include <fmt/format.h>

#include "med3d/cli/command.h"
#include "med3d/cli/commands/engine_input.h"
#include "med3d/cli/output.h"
#include "med3d/kernels/cpu.h"
#include "med3d/pipeline/benchmark.h"

namespace med3d {
namespace {

std::vector<std::string> encoder_names() {
  std::vector<std::string> names;
  for (const EncoderSpec* spec : encoders()) names.emplace_back(spec->name);
  for (const VolumeEncoderSpec* spec : volume_encoders()) names.emplace_back(spec->name);
  return names;
}

bool is_volume(const std::string& name) {
  for (const VolumeEncoderSpec* spec : volume_encoders()) {
    if (spec->name == name) return true;
  }
  return false;
}

int run(const Options& options) {
  const auto names = options.list("encoder");
  std::vector<Precision> precisions;
  for (const auto& name : options.list("precision")) precisions.push_back(parse_precision(name));
  const bool asked = options.given("precision");
  const pipeline::BenchSettings settings = {
      options.threads(), options.real("seconds"), options.integer("product-side")};
  pipeline::EncoderBenchOptions bench;
  if (options.given("weights")) bench.weights = options.path("weights");
  bench.engine = read_engine(options);
  bench.batch = options.integer("batch-size");
  bench.extent = {options.integer("depth"), options.integer("side"), options.integer("side")};

  bool tiles = false;
  for (const auto& name : names) tiles = tiles || !is_volume(name);
  if (tiles) {
    const pipeline::BenchSlide slide(settings.threads);
    bench.tile_decode_s =
        1.0 /
        pipeline::bench_reader(slide.path(), 256, {1, settings.seconds / 4, settings.product_side})
            .grid_per_s;
  }

  Json document = {{"schema", 1},
                   {"command", "bench encoders"},
                   {"threads", settings.threads},
                   {"encoders", Json::array()}};
  if (!options.json()) {
    print(fmt::format("{:<22} {:<5} {:>10} {:<9} {:>8} {:>9} {:>9} {:>7} {:>7}\n",
                      "encoder",
                      "",
                      "a second",
                      "",
                      "of peak",
                      "GFLOP/s",
                      "MB held",
                      "load s",
                      "decode"));
  }
  for (const auto& name : names) {
    for (const Precision precision : precisions) {
      // What was not asked for by name is left out where this processor would only emulate it.
      if (!asked && precision == Precision::kBf16 && !bench.engine.cuda() && !native_bf16()) {
        continue;
      }
      bench.encoder = name;
      bench.precision = precision;
      const auto found = pipeline::bench_encoder(bench, settings);
      const bool decodes = found.unit == "tiles";
      document["encoders"].push_back(
          {{"encoder", found.name},
           {"engine", found.engine.name()},
           {"device", found.engine.device},
           {"device_busy", found.engine.cuda() ? Json(found.device_busy) : Json()},
           {"precision", to_string(found.precision)},
           {"unit", found.unit},
           {"per_s", found.rate.per_s},
           {"share_of_matmul", found.rate.share},
           {"matmul_gflops", found.rate.matmul_gflops},
           {"bytes", found.bytes},
           {"load_s", found.load_s},
           {"decode_share", decodes ? Json(found.decode_share) : Json()}});
      if (options.json()) continue;
      print(
          fmt::format("{:<22} {:<5} {:>10.3g} {:<9} {:>6.0f} % {:>9.0f} {:>9.0f} {:>7.2f} {:>7}\n",
                      found.name,
                      to_string(found.precision),
                      found.rate.per_s,
                      found.unit,
                      100.0 * found.rate.share,
                      found.rate.matmul_gflops,
                      static_cast<double>(found.bytes) / 1e6,
                      found.load_s,
                      decodes ? fmt::format("{:.1f} %", 100.0 * found.decode_share) : "-"));
      if (found.engine.cuda()) {
        print(fmt::format("{:<22} the device kept this program waiting {:.0f} % of the time\n",
                          "",
                          100.0 * found.device_busy));
      }
      flush_output();
    }
  }
  if (options.json()) {
    print_json(document);
  } else if (!options.quiet()) {
    print(
        "\nof peak: of the rate of a large matrix product in the same turns; products with\n"
        "padding count as work, so kernels that leave them out can pass 100 %\n"
        "decode: of the processor time from slide to features, what reading and resizing take\n");
  }
  return kExitDone;
}

}  // namespace

extern const Command bench_encoders_command;
const Command bench_encoders_command = {
    .name = "bench encoders",
    .summary = "Measure how fast the encoders run here, beside the fastest matrix product",
    .reference = "",
    .examples =
        {{"med3d bench encoders", "Tiles and a volume, f32 and bf16, untrained weights"},
         {"med3d bench encoders --encoder resnet50-untrained --precision int8 --seconds 10 --json",
          "One of them for longer, for a program to read"},
         {"med3d bench encoders --engine torch --device cpu", "LibTorch on the processor, beside"}},
    .declare =
        [](Schema& schema) {
          schema.list("encoder",
                      "which to measure",
                      "resnet50-untrained,vit-l16-untrained,resnet18-3d-untrained",
                      encoder_names());
          schema.path("weights", "of a trained one; then one encoder at a time");
          schema.list("precision",
                      "of the arithmetic; by default bf16 only where the processor has it",
                      "f32,bf16",
                      {"f32", "bf16", "int8"});
          schema.integer("product-side", "of the matrix product it is set beside", 4096, 64, 16384);
          schema.real("seconds", "of each measurement", 2.0, 0.01, 3600.0, "seconds");
          schema.integer("batch-size", "tiles encoded at once", 16, 1, 4096);
          schema.integer("depth", "slices of the volume", 56, 1, 4096);
          schema.integer("side", "rows and columns of the volume", 448, 1, 4096);
          declare_engine(schema);
          add_common_threads(schema);
        },
    .run = run,
};

}  // namespace med3d
