#include "med3d/cli/command.h"
#include "med3d/cli/commands/slide_input.h"
#include "med3d/cli/commands/slide_output.h"
#include "med3d/pipeline/slides/extract_slides.h"

namespace med3d {
namespace {

namespace fs = std::filesystem;

int run(const Options& options) {
  auto job = read_extract_job(options);
  if (options.given("tiles")) {
    job.patches = options.path("tiles");
    if (fs::is_directory(job.patches / "patches")) job.patches /= "patches";
  }
  const auto progress = make_console_progress(options.quiet() || options.json());
  const auto slides = read_slides(options, *progress);
  auto encoder = load_encoder(options);
  if (options.flag("dry-run")) return tell_slides(options, "slide extract", slides);

  const pipeline::SlideFolder folder{options.path("output")};
  const auto lock = folder.claim();
  SlideResult result;
  result.command = "slide extract";
  result.encoder = &encoder;
  result.notice = untrained_notice(encoder);
  job.times = [&](const pipeline::ExtractTimes& times) { result.times = times; };
  result.outcomes = pipeline::extract_slides(slides, {}, folder, encoder, job, *progress);
  result.files = {"h5_files", "pt_files"};
  return finish_slides(options, folder, result, *progress);
}

}  // namespace

extern const Command slide_extract_command;
const Command slide_extract_command = {
    .name = "slide extract",
    .summary = "Encode the tiles of slides: one feature file a slide",
    .reference = "Lu et al., Nature Biomedical Engineering 5:555-570, 2021",
    .examples =
        {{"med3d slide extract slides/ --output out --encoder resnet50 --weights "
          "resnet50.safetensors",
          "Tiles of 'slide tile' in the same folder"},
         {"med3d slide extract --data_slide_dir slides/ --data_h5_dir clam --feat_dir out "
          "--encoder uni --weights uni.bin",
          "Coordinates that CLAM wrote"},
         {"med3d slide extract slides/ --output out --encoder torchscript --weights mine.pt "
          "--input-px 224",
          "An encoder of your own, exported from PyTorch"}},
    .declare =
        [](Schema& schema) {
          declare_slides(schema);
          declare_slide_output(schema);
          schema
              .path("tiles",
                    "folder of coordinate files of ours, CLAM or TRIDENT; default: patches in "
                    "--output")
              .alias("data-h5-dir")
              .alias("coords-dir");
          declare_extraction(schema);
          add_common_seed(schema);
        },
    .run = run,
};

}  // namespace med3d
