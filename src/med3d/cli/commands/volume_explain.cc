#include <fmt/format.h>

#include "med3d/cli/command.h"
#include "med3d/cli/commands/isolation_input.h"
#include "med3d/cli/commands/slide_learning.h"
#include "med3d/cli/output.h"
#include "med3d/core/progress.h"
#include "med3d/pipeline/volumes/grad_cam.h"

namespace med3d {
namespace {

int run(const Options& options) {
  pipeline::ExplainJob job;
  job.model = options.path("model");
  for (const auto& scan : options.all("SCAN")) job.scans.emplace_back(scan);
  job.output = options.path("output");
  job.negative = options.choice("class") == "negative";
  job.alpha = options.real("alpha");
  job.threads = options.threads();
  job.overwrite = options.flag("overwrite");
  const auto progress = make_console_progress(options.quiet() || options.json());
  pipeline::ExplainSummary summary;
  with_overwrite_hint([&] { summary = pipeline::explain_volumes(job, *progress); });
  if (options.json()) {
    print_json(summary.to_json());
  } else if (!options.quiet()) {
    print(summary.text());
  }
  return summary.failed() > 0 ? kExitSomeFailed : kExitDone;
}

}  // namespace

extern const Command volume_explain_command;
const Command volume_explain_command = {
    .name = "volume explain",
    .summary = "Show where in a scan a trained net saw what it decided by (Grad-CAM)",
    .reference = "Selvaraju et al., ICCV 2017, doi:10.1109/ICCV.2017.74",
    .examples = {{"med3d volume explain scan.nii.gz --model volume-run --output cam",
                  "Heat on the scan's own grid, and slices of it under the heat"}},
    .declare =
        [](Schema& schema) {
          schema
              .positional_path("SCAN",
                               "scans: .nii, .nii.gz, .npy, or folders of one DICOM series each")
              .required()
              .repeated();
          schema.path("model", "folder of `volume finetune`").required();
          declare_isolation(schema);
          schema.path("output", "folder of the heat volumes and pictures", "volume-explanations");
          schema.choice("class",
                        "what speaks for the class of label 1, or against it",
                        {"positive", "negative"},
                        "positive");
          schema.real("alpha", "share of the colour where the heat is highest", 0.5, 0.01, 1);
          add_common_threads(schema);
          add_common_overwrite(schema);
        },
    .run = run,
};

}  // namespace med3d
