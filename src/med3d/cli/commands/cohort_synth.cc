#include <fmt/format.h>

#include "med3d/cli/command.h"
#include "med3d/cli/output.h"
#include "med3d/pipeline/synth.h"

namespace med3d {
namespace {

int run(const Options& options) {
  const auto folder = options.path("FOLDER");
  if (std::filesystem::exists(folder) && !std::filesystem::is_empty(folder) &&
      !options.flag("overwrite")) {
    throw CommandError(ErrorKind::kUsage,
                       folder.string() + ": the folder is not empty",
                       "choose another folder, or write into it with --overwrite");
  }
  pipeline::write_synthetic_cohort(
      folder, static_cast<int>(options.integer("patients")), options.seed());
  if (options.json()) {
    print_json({{"folder", folder.string()}, {"cohort", (folder / "cohort.toml").string()}});
  } else {
    print(fmt::format("synthetic cohort: {}\n", (folder / "cohort.toml").string()));
  }
  return kExitDone;
}

}  // namespace

extern const Command cohort_synth_command;
const Command cohort_synth_command = {
    .name = "cohort synth",
    .summary = "Write a synthetic cohort with a known signal in each modality",
    .reference = "docs/synthetic_cohort.md",
    .examples = {{"med3d cohort synth demo-cohort", "240 patients in the MMIST file layout"},
                 {"med3d cohort synth small --patients 60 --seed 7", "Fewer, other patients"}},
    .declare =
        [](Schema& schema) {
          schema.positional_path("FOLDER", "where to write; made if it is missing").required();
          schema.integer("patients", "how many patients", 240, 20, 9999);
          add_common_seed(schema);
          add_common_overwrite(schema);
        },
    .run = run,
};

}  // namespace med3d
