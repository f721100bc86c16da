#include <fmt/format.h>

#include "med3d/cli/command.h"
#include "med3d/cli/output.h"
#include "med3d/pipeline/synth_raw.h"

namespace med3d {
namespace {

Json as_json(const pipeline::SynthRawInfo& info, const std::filesystem::path& folder, bool plan) {
  return {{"folder", folder.string()},
          {"cohort", (folder / "cohort.toml").string()},
          {"planned_only", plan},
          {"patients", info.patients},
          {"recurrences", info.recurrences},
          {"slides", info.slides},
          {"ct_studies", info.ct_studies},
          {"mri_studies", info.mri_studies},
          {"files", info.files},
          {"bytes", info.bytes}};
}

int run(const Options& options) {
  const auto folder = options.path("FOLDER");
  pipeline::SynthRawOptions cohort;
  cohort.patients = static_cast<int>(options.integer("patients"));
  cohort.seed = options.seed();
  cohort.threads = options.threads();
  cohort.signal = options.list("signal");
  if (cohort.signal == std::vector<std::string>{"none"}) cohort.signal.clear();
  cohort.leak = pipeline::planted_leak_of(options.choice("leak"));
  const bool plan = options.flag("dry-run");
  if (!plan && std::filesystem::exists(folder) && !std::filesystem::is_empty(folder) &&
      !options.flag("overwrite")) {
    throw CommandError(ErrorKind::kUsage,
                       folder.string() + ": the folder is not empty",
                       "choose another folder, or write into it with --overwrite");
  }
  const auto progress = make_console_progress(options.quiet() || options.json());
  const pipeline::SynthRawInfo info =
      plan ? pipeline::plan_synthetic_raw_cohort(cohort)
           : pipeline::write_synthetic_raw_cohort(folder, cohort, *progress);
  if (options.json()) {
    print_json(as_json(info, folder, plan));
    return kExitDone;
  }
  print(fmt::format(
      "{}: {}\n"
      "{} patients, {} with a recurrence within 24 months; {} slides, {} CT and {} MRI studies\n"
      "{} files, {}{:.0f} MB\n",
      plan ? "would write" : "synthetic raw cohort",
      (folder / "cohort.toml").string(),
      info.patients,
      info.recurrences,
      info.slides,
      info.ct_studies,
      info.mri_studies,
      info.files,
      plan ? "about " : "",
      static_cast<double>(info.bytes) / 1e6));
  return kExitDone;
}

}  // namespace

extern const Command synth_command;
const Command synth_command = {
    .name = "synth",
    .summary = "Write a synthetic cohort of raw files: slides, DICOM series, tables",
    .reference = "docs/synthetic_cohort.md",
    .examples = {{"med3d synth demo-cohort", "60 patients with a known signal in each modality"},
                 {"med3d synth quiet --patients 40 --signal clinical,wsi",
                  "Scans that tell nothing of the outcome"},
                 {"med3d synth leaky --leak slide",
                  "A training patient's slide among the test patients', for the guards"},
                 {"med3d synth demo-cohort --dry-run", "How much it would be"}},
    .declare =
        [](Schema& schema) {
          const pipeline::SynthRawOptions defaults;
          schema.positional_path("FOLDER", "where to write; made if it is missing").required();
          schema.integer("patients", "how many patients", defaults.patients, 6, 999);
          schema.list("signal",
                      "modalities that carry the outcome; none: no file tells anything of it",
                      "clinical,ct,mri,wsi",
                      {"clinical", "ct", "mri", "wsi", "none"});
          schema.choice("leak",
                        "a fault planted between training and test patients, for the guards",
                        pipeline::planted_leak_words(),
                        "none");
          add_common_seed(schema);
          add_common_threads(schema);
          add_common_overwrite(schema);
          add_common_dry_run(schema);
        },
    .run = run,
};

}  // namespace med3d
