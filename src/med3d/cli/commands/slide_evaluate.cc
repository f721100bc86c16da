#include <fmt/format.h>

#include "med3d/cli/command.h"
#include "med3d/cli/commands/slide_learning.h"
#include "med3d/cli/output.h"
#include "med3d/core/progress.h"
#include "med3d/pipeline/slides/evaluate_slides.h"

namespace med3d {
namespace {

int run(const Options& options) {
  pipeline::EvaluateSlidesJob job;
  job.model = options.path("MODEL");
  job.features = options.path("FEATURES");
  job.dataset = options.path("dataset");
  if (options.given("splits")) job.splits = options.path("splits");
  if (options.given("patches")) job.patches = options.path("patches");
  job.output = options.path("output");
  job.classes = options.list("classes");
  job.split = options.choice("split");
  job.fold = static_cast<int>(options.integer("fold"));
  if (options.has("model-type")) job.model_type = mil::model_type_of(options.choice("model-type"));
  job.attention = !options.flag("no-attention");
  job.threads = options.threads();
  job.overwrite = options.flag("overwrite");
  const auto progress = make_console_progress(options.quiet() || options.json());
  pipeline::EvaluateSlidesSummary summary;
  with_overwrite_hint([&] { summary = pipeline::evaluate_slides(job, *progress); });
  for (const auto& outcome : summary.outcomes) {
    for (const auto& warning : outcome.warnings) {
      if (!options.json()) progress->warn(outcome.slide_id + ": " + warning);
    }
  }
  if (options.json()) {
    print_json(summary.to_json());
  } else if (!options.quiet()) {
    print(pipeline::fold_text(summary.folds, summary.survival, false));
    print(pipeline::outcomes_text(summary.outcomes));
  }
  return pipeline::exit_code(summary.outcomes);
}

}  // namespace

extern const Command slide_evaluate_command;
const Command slide_evaluate_command = {
    .name = "slide evaluate",
    .summary = "Ask stored nets about slides and keep where they looked (CLAM's eval.py)",
    .reference = "Lu et al., Nat Biomed Eng 5:555-570, 2021",
    .examples = {{"med3d slide evaluate run job --dataset dataset.csv --output eval",
                  "Each net of a run on its own test slides"},
                 {"med3d slide evaluate s_0_checkpoint.pt job --dataset dataset.csv --split all "
                  "--classes LUAD,LUSC --output eval",
                  "A checkpoint of CLAM's on every slide of a table"}},
    .declare =
        [](Schema& schema) {
          schema.positional_path("MODEL", "a run folder, or a checkpoint (.pt)").required();
          schema
              .positional_path("FEATURES",
                               "folder with pt_files or h5_files, or any folder of feature files")
              .required()
              .alias("data-root-dir");
          schema.path("dataset", "table of case_id, slide_id and label (CSV)").required();
          schema.path("splits", "folder of splits_i.csv; default: those of the run")
              .alias("splits-dir");
          schema.choice("split", "slides to evaluate", {"train", "val", "test", "all"}, "test");
          schema.integer("fold", "one fold of the run; -1 = all", -1, -1, 100'000);
          schema.path("output", "folder of the results", "slide-evaluation");
          schema.path("patches",
                      "folder of patches/<slide>.h5, which tell how large a tile is; default: the "
                      "one in FEATURES");
          schema.choice("model-type",
                        "what the checkpoint does not tell: mean or max pooling",
                        {"mean", "max"});
          schema.flag("no-attention", "write no attention of the slides");
          declare_classes(schema);
          add_common_threads(schema);
          add_common_overwrite(schema);
        },
    .run = run,
};

}  // namespace med3d
