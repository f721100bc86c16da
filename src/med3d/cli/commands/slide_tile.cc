#include "med3d/cli/command.h"
#include "med3d/cli/commands/slide_input.h"
#include "med3d/cli/commands/slide_output.h"
#include "med3d/pipeline/slides/tile_slides.h"

namespace med3d {
namespace {

int run(const Options& options) {
  const auto job = read_tile_job(options, true);
  const auto progress = make_console_progress(options.quiet() || options.json());
  const auto slides = read_slides(options, *progress, job.process_list);
  if (options.flag("dry-run")) return tell_slides(options, "slide tile", slides);

  const pipeline::SlideFolder folder{options.path("output")};
  const auto lock = folder.claim();
  SlideResult result;
  result.command = "slide tile";
  result.outcomes = pipeline::tile_slides(slides, folder, job, *progress);
  result.files = {"process_list_autogen.csv"};
  return finish_slides(options, folder, result, *progress);
}

}  // namespace

extern const Command slide_tile_command;
const Command slide_tile_command = {
    .name = "slide tile",
    .summary = "Find the tissue of slides and the tiles that cover it",
    .reference =
        "Lu et al., Nature Biomedical Engineering 5:555-570, 2021; "
        "Zhang et al., arXiv:2502.06750, 2025",
    .examples = {{"med3d slide tile slides/ --output out",
                  "Tiles of 256 pixels at 0.5 micrometres a pixel"},
                 {"med3d slide tile --source slides/ --save_dir out --mode clam --preset tcga "
                  "--seg --patch --stitch",
                  "What CLAM's create_patches_fp.py does"},
                 {"med3d slide tile slides/ --mode trident --mag 20 --patch-size 512",
                  "TRIDENT's grid"}},
    .declare =
        [](Schema& schema) {
          declare_slides(schema);
          declare_slide_output(schema);
          declare_segmentation(schema);
          declare_tiling(schema);
          schema.flag("seg", "CLAM's; always done here");
          schema.flag("patch", "CLAM's; always done here");
          schema.flag("stitch", "CLAM's; always done here, unless --no-pictures");
        },
    .run = run,
};

}  // namespace med3d
