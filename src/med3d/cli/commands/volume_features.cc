#include <map>
#include <set>

#include "med3d/cli/command.h"
#include "med3d/cli/commands/volume_input.h"
#include "med3d/cli/commands/volume_vectors.h"

namespace med3d {
namespace {

namespace fs = std::filesystem;

int run(const Options& options) {
  pipeline::ExtractVolumesJob job;
  job.series = read_geometry(options);
  job.prepare = read_recipe(options);
  job.redo = options.flag("overwrite");
  const auto pool = read_scan_pool(options);
  const auto progress = make_console_progress(options.quiet() || options.json());
  const auto scans = read_scans(options, *progress);
  auto encoder = load_volume_encoder(options);
  if (options.flag("dry-run")) return tell_scans(options, "volume features", scans);

  const pipeline::VolumeFolder folder{options.path("output")};
  const auto lock = folder.claim();
  // Until the end there is no table: one of an earlier call could be taken for this one's.
  pipeline::write_patient_vectors(folder, {});
  VolumeResult result;
  result.command = "volume features";
  result.encoder = &encoder;
  result.notice = untrained_notice(encoder);
  result.outcomes = pipeline::extract_volumes(scans, folder, encoder, job, *progress);

  // Those of this call alone: the folder may hold scans of an earlier one that a filter drops now.
  std::vector<pipeline::ScanFile> files;
  std::map<fs::path, pipeline::VolumeOutcome*> by_file;
  for (auto& outcome : result.outcomes) {
    if (outcome.status != pipeline::VolumeStatus::kDone &&
        outcome.status != pipeline::VolumeStatus::kKept) {
      continue;
    }
    const fs::path path = folder.features(outcome.modality, outcome.patient, outcome.series);
    files.push_back({outcome.patient,
                     outcome.series,
                     std::string(pipeline::modality_folder(outcome.modality)),
                     path});
    by_file[path] = &outcome;
  }
  const auto vectors = pipeline::aggregate_volumes(files, pool, *progress);
  for (const auto& left : vectors.left_out) {
    auto& outcome = *by_file.at(left.scan.path);
    outcome.status = pipeline::VolumeStatus::kFailed;
    outcome.step = "aggregate";
    outcome.reason = left.reason;
  }
  result.files = pipeline::write_patient_vectors(folder, vectors);
  result.more["pool"] = options.choice("pool");
  result.more["notes"] = vectors.notes;
  for (const auto& note : vectors.notes) {
    if (note != result.notice) progress->warn(note);
  }
  const int code = finish_scans(options, folder, result, *progress);
  return vectors.weights.empty() ? kExitFailed : code;
}

}  // namespace

extern const Command volume_features_command;
const Command volume_features_command = {
    .name = "volume features",
    .summary = "The whole way from CT and MR scans to one vector a patient: choose, encode, pool",
    .reference = "Maqsood and Khan, MeD-3D, 2025, sections 3.4 and 5.2; "
                 "Chen et al., Med3D, arXiv:1904.00625",
    .examples = {{"med3d volume features scans/ --output out --encoder medicalnet-resnet18 --weights "
                  "resnet_18_23dataset.pth",
                  "A folder of series to out/ct_mri_features.csv"},
                 {"med3d volume features scans/ --output out",
                  "A trial without weights: the features mean nothing"}},
    .declare =
        [](Schema& schema) {
          declare_scans(schema);
          declare_masks(schema);
          declare_geometry(schema);
          declare_recipe(schema);
          declare_volume_encoder(schema);
          declare_scan_pool(schema);
          schema.path("output",
                      "folder of the results; a job that was stopped goes on",
                      "med3d-volumes");
          add_common_threads(schema);
          add_common_seed(schema);
          add_common_overwrite(schema);
          add_common_dry_run(schema);
        },
    .run = run,
};

}  // namespace med3d
