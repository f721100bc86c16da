#include <fmt/format.h>

#include "med3d/cli/command.h"
#include "med3d/cli/commands/volume_vectors.h"
#include "med3d/cli/output.h"

namespace med3d {
namespace {

namespace fs = std::filesystem;

int run(const Options& options) {
  const auto job = read_scan_pool(options);
  const auto progress = make_console_progress(options.quiet() || options.json());
  const pipeline::VolumeFolder source{options.path("FEATURES")};
  const auto files = pipeline::scan_files(source);
  const pipeline::VolumeFolder folder{options.has("output") ? options.path("output") : source.root};
  if (options.flag("dry-run")) {
    print(fmt::format("volume aggregate: {} scans into {}\n", files.size(), folder.root.string()));
    return kExitDone;
  }
  const auto lock = folder.claim();
  const auto vectors = pipeline::aggregate_volumes(files, job, *progress);
  progress->finish();
  return finish_vectors(options, folder, vectors, *progress);
}

}  // namespace

extern const Command volume_aggregate_command;
const Command volume_aggregate_command = {
    .name = "volume aggregate",
    .summary = "Pool the vectors of scans to one a patient, CT and MRI apart and together",
    .reference = "Maqsood and Khan, MeD-3D, 2025, sections 3.4 and 5.2.3",
    .examples = {{"med3d volume aggregate out", "The mean of a patient's scans"},
                 {"med3d volume aggregate out --pool attention --model run/model --output by-model",
                  "Weighted by the bag model that `med3d run` trained on such scans"}},
    .declare =
        [](Schema& schema) {
          schema.positional_path("FEATURES", "folder of `volume extract`").required();
          declare_scan_pool(schema);
          schema.path("output", "folder of the tables; default: FEATURES");
          add_common_dry_run(schema);
        },
    .run = run,
};

}  // namespace med3d
