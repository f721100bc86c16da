#include <fmt/format.h>

#include <optional>

#include "med3d/cli/command.h"
#include "med3d/cli/commands/isolation_input.h"
#include "med3d/cli/output.h"
#include "med3d/pipeline/benchmark.h"

namespace med3d {
namespace {

int run(const Options& options) {
  std::vector<std::filesystem::path> slides;
  for (const auto& slide : options.all("SLIDES")) slides.emplace_back(slide);
  std::optional<pipeline::BenchSlide> made;
  if (slides.empty()) {
    made.emplace(options.threads());
    slides.push_back(made->path());
  }
  const pipeline::BenchSettings settings = {1, options.real("seconds"), 4096};
  Json document = {{"schema", 1}, {"command", "bench readers"}, {"slides", Json::array()}};
  if (!options.json()) {
    print(fmt::format(
        "{:<10} {:>10} {:>10} {:>10}  {}\n", "format", "random /s", "grid /s", "open ms", "slide"));
  }
  for (const auto& slide : slides) {
    const std::string name = made ? "(made)" : slide.filename().string();
    pipeline::ReaderBench found;
    try {
      found = pipeline::bench_reader(slide, options.integer("patch-size"), settings);
    } catch (const Error&) {
      rethrow_with_context(name);
    }
    document["slides"].push_back({{"slide", made ? Json() : Json(name)},
                                  {"format", found.format},
                                  {"patch_px", found.patch_px},
                                  {"random_per_s", found.random_per_s},
                                  {"grid_per_s", found.grid_per_s},
                                  {"open_s", found.open_s}});
    if (options.json()) continue;
    print(fmt::format("{:<10} {:>10.0f} {:>10.0f} {:>10.1f}  {}\n",
                      found.format,
                      found.random_per_s,
                      found.grid_per_s,
                      1e3 * found.open_s,
                      name));
    flush_output();
  }
  if (options.json()) print_json(document);
  return kExitDone;
}

}  // namespace

extern const Command bench_readers_command;
const Command bench_readers_command = {
    .name = "bench readers",
    .summary = "Measure how many patches of slides are read in a second of one processor",
    .reference = "",
    .examples = {{"med3d bench readers", "A slide made for it"},
                 {"med3d bench readers slides/*.svs --patch-size 512", "Slides of one's own"}},
    .declare =
        [](Schema& schema) {
          schema.positional_path("SLIDES", "slides to read; default: one made for it").repeated();
          schema.integer("patch-size", "side of a patch, pixels of level 0", 256, 1, 4096);
          schema.real("seconds", "of each measurement", 2.0, 0.01, 3600.0, "seconds");
          declare_isolation(schema);
          add_common_threads(schema);
        },
    .run = run,
};

}  // namespace med3d
