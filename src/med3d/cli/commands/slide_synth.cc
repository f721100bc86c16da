#include <fmt/format.h>

#include "med3d/cli/command.h"
#include "med3d/cli/output.h"
#include "med3d/wsi/synth_slide.h"

namespace med3d {
namespace {

int run(const Options& options) {
  const auto path = options.path("FILE");
  if (std::filesystem::exists(path) && !options.flag("overwrite")) {
    throw CommandError(ErrorKind::kUsage,
                       path.string() + ": the file is there already",
                       "choose another name, or replace it with --overwrite");
  }
  SynthSlideOptions slide;
  slide.seed = options.seed();
  slide.width = options.integer("width");
  slide.height = options.integer("height");
  slide.mpp = options.real("mpp");
  slide.tissue_share = options.real("tissue-share");
  slide.threads = options.threads();
  const SynthSlideInfo info = write_synth_slide(path, slide);
  if (options.json()) {
    print_json({{"file", path.string()},
                {"tissue_share", info.tissue_share},
                {"nuclei", info.nuclei},
                {"bytes", info.bytes}});
  } else {
    print(fmt::format("synthetic slide: {} ({} x {} pixels, {:.0f} % tissue, {} nuclei)\n",
                      path.string(),
                      slide.width,
                      slide.height,
                      100 * info.tissue_share,
                      info.nuclei));
  }
  return kExitDone;
}

}  // namespace

extern const Command slide_synth_command;
const Command slide_synth_command = {
    .name = "slide synth",
    .summary = "Write a synthetic slide in Aperio's format, for trials without patient data",
    .reference = "",
    .examples = {{"med3d slide synth trial.svs", "6000 x 4000 pixels at 0.5 micrometres"},
                 {"med3d slide synth small.svs --width 2000 --height 1500 --seed 7",
                  "A smaller, other one"}},
    .declare =
        [](Schema& schema) {
          const SynthSlideOptions defaults;
          schema.positional_path("FILE", "the slide; its name should end in .svs").required();
          schema.integer("width", "pixels of level 0", defaults.width, 256, 200000);
          schema.integer("height", "pixels of level 0", defaults.height, 256, 200000);
          schema.real("mpp", "scale of level 0", defaults.mpp, 0.1, 2.0, "micrometres a pixel");
          schema.real("tissue-share",
                      "of the slide, about; 0 = an empty slide",
                      defaults.tissue_share,
                      0.0,
                      0.9);
          add_common_seed(schema);
          add_common_threads(schema);
          add_common_overwrite(schema);
        },
    .run = run,
};

}  // namespace med3d
