#include "med3d/cli/command.h"
#include "med3d/cli/commands/slide_input.h"
#include "med3d/cli/commands/slide_output.h"
#include "med3d/pipeline/slides/tile_slides.h"

namespace med3d {
namespace {

int run(const Options& options) {
  const auto job = read_tile_job(options, false);
  const auto progress = make_console_progress(options.quiet() || options.json());
  const auto slides = read_slides(options, *progress, job.process_list);
  if (options.flag("dry-run")) return tell_slides(options, "slide segment", slides);

  const pipeline::SlideFolder folder{options.path("output")};
  const auto lock = folder.claim();
  SlideResult result;
  result.command = "slide segment";
  result.outcomes = pipeline::tile_slides(slides, folder, job, *progress);
  result.files = {"process_list_autogen.csv"};
  return finish_slides(options, folder, result, *progress);
}

}  // namespace

extern const Command slide_segment_command;
const Command slide_segment_command = {
    .name = "slide segment",
    .summary = "Find the tissue of slides: outlines and pictures, no tiles",
    .reference = "Lu et al., Nature Biomedical Engineering 5:555-570, 2021",
    .examples = {{"med3d slide segment slides/ --output out --preset tcga",
                  "Outlines, pictures and CLAM's process list"},
                 {"med3d slide segment slides/ --output out --process-list edited.csv",
                  "With parameters of their own for some slides"}},
    .declare =
        [](Schema& schema) {
          declare_slides(schema);
          declare_slide_output(schema);
          declare_segmentation(schema);
        },
    .run = run,
};

}  // namespace med3d
