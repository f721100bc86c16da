#include <fmt/format.h>

#include "med3d/cli/command.h"
#include "med3d/cli/commands/isolation_input.h"
#include "med3d/cli/commands/slide_learning.h"
#include "med3d/cli/output.h"
#include "med3d/core/progress.h"
#include "med3d/pipeline/slides/heatmap_slides.h"

namespace med3d {
namespace {

int run(const Options& options) {
  pipeline::HeatmapSlidesJob job;
  job.attention = options.path("ATTENTION");
  job.fold = static_cast<int>(options.integer("fold"));
  for (const auto& place : options.list("slides")) job.slides.places.emplace_back(place);
  job.output = options.path("output");
  if (options.given("patches")) job.patches = options.path("patches");
  job.footprint = options.integer("patch-size-level0");
  if (options.given("reference")) job.reference = options.path("reference");
  job.scale = pipeline::parse_attention_scale(options.choice("scale"));
  job.options.vis_level = static_cast<int>(options.integer("vis-level"));
  job.options.max_side = options.integer("max-side");
  job.options.alpha = options.real("alpha");
  job.options.colours = parse_colour_map(options.choice("cmap"));
  job.options.blank_canvas = options.flag("blank-canvas");
  job.options.blur = options.flag("blur");
  job.options.overlap = options.real("overlap");
  job.options.binarize = options.flag("binarize");
  job.options.binary_thresh = options.real("binary-thresh");
  if (options.has("low")) job.options.raw_low = options.real("low");
  if (options.has("high")) job.options.raw_high = options.real("high");
  job.top_k = options.integer("top-k");
  job.tiff = !options.flag("no-tiff");
  job.geojson = !options.flag("no-geojson");
  job.threads = options.threads();
  job.overwrite = options.flag("overwrite");
  const auto progress = make_console_progress(options.quiet() || options.json());
  std::vector<pipeline::SlideOutcome> outcomes;
  with_overwrite_hint([&] { outcomes = pipeline::heatmap_slides(job, *progress); });
  if (options.json()) {
    Json list = Json::array();
    for (const auto& outcome : outcomes) list.push_back(outcome.to_json());
    print_json({{"output", job.output.string()}, {"outcomes", list}});
  } else if (!options.quiet()) {
    print(pipeline::outcomes_text(outcomes));
  }
  return pipeline::exit_code(outcomes);
}

}  // namespace

extern const Command slide_heatmap_command;
const Command slide_heatmap_command = {
    .name = "slide heatmap",
    .summary = "Draw stored attention over slides (CLAM's create_heatmaps.py, asking no net)",
    .reference = "Lu et al., Nat Biomed Eng 5:555-570, 2021",
    .examples = {{"med3d slide heatmap eval --slides slides/ --output maps",
                  "PNG, pyramidal TIFF, GeoJSON and a sheet of tiles for each slide"},
                 {"med3d slide heatmap eval/attention/slide_1.h5 --slides slides/ --output maps "
                  "--scale softmax --cmap viridis",
                  "One slide, by the weights themselves"}},
    .declare =
        [](Schema& schema) {
          schema
              .positional_path("ATTENTION",
                               "folder of `slide evaluate`, or attention of one slide (.h5)")
              .required();
          schema.list("slides", "folders of slides, and slides").required();
          declare_isolation(schema);
          schema.path("output", "folder of the maps", "slide-heatmaps");
          schema.integer("fold", "one fold of an evaluation of several", -1, -1, 100'000);
          schema.path("patches",
                      "folder of patches/<slide>.h5; attention of other tiles is then refused");
          schema.integer("patch-size-level0",
                         "side of a tile where nothing says it, level-0 pixels",
                         0,
                         0,
                         1'000'000);
          schema.choice("scale",
                        "rank of a tile, score as stored, or weight in the slide",
                        {"percentile", "raw", "softmax"},
                        "percentile");
          schema.path("reference", "attention (folder or .h5) to take percentiles among");
          schema.integer("vis-level", "level to paint on; -1 = best for 1/32", -1, -1, 64);
          schema.integer("max-side", "side of a map at most, pixels", 8192, 64, 1 << 20);
          schema.real("alpha", "share of the colour", 0.4, 0, 1);
          schema.choice("cmap", "colours", {"jet", "viridis", "coolwarm"}, "jet");
          schema.flag("blank-canvas", "paint on white instead of the slide");
          schema.flag("blur", "smooth what is painted");
          schema.real("overlap", "share by which tiles overlap, for --blur", 0, 0, 0.99);
          schema.flag("binarize", "paint tiles from --binary-thresh on alone, in one colour");
          schema.real("binary-thresh",
                      "share of tiles below it, or a score (raw, softmax); -1 = even attention",
                      -1);
          schema.real("low", "score of the first colour (raw, softmax)", std::nullopt);
          schema.real("high", "score of the last colour (raw, softmax)", std::nullopt);
          schema.integer("top-k", "highest and lowest tiles on the sheet; 0 = none", 15, 0, 100);
          schema.flag("no-tiff", "write no pyramidal TIFF");
          schema.flag("no-geojson", "write no GeoJSON");
          add_common_threads(schema);
          add_common_overwrite(schema);
        },
    .run = run,
};

}  // namespace med3d
