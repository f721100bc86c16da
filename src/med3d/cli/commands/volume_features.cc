#include <fmt/format.h>
#include <stdlib.h>

#include <map>

#include "med3d/cli/command.h"
#include "med3d/cli/commands/isolation_input.h"
#include "med3d/cli/commands/volume_input.h"
#include "med3d/cli/commands/volume_names.h"
#include "med3d/cli/commands/volume_vectors.h"
#include "med3d/core/file.h"

namespace med3d {
namespace {

namespace fs = std::filesystem;

// For an index that is not to stay.
struct TemporaryFolder {
  TemporaryFolder() {
    std::string name = (fs::temp_directory_path() / "med3d-index-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) {
      throw Error(ErrorKind::kIo, "no temporary folder can be made");
    }
    path = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  fs::path path;
};

std::vector<pipeline::VolumeItem> index_and_filter(const Options& options,
                                                   const fs::path& index,
                                                   Progress& progress) {
  pipeline::VolumeIndexOptions request;
  request.folder = options.path("FOLDER");
  request.index = index;
  request.keep_ids = options.flag("keep-ids");
  request.secret = read_secret(options);
  if (options.given("case-ids")) request.case_ids = options.path("case-ids");
  if (options.given("volumes")) request.volumes = options.path("volumes");
  request.threads = options.threads();
  const auto found = pipeline::index_volumes(request, progress);
  if (!found.problem_files.empty()) {
    // Their paths may name a patient; `volume index` shows them to who asks.
    progress.warn(fmt::format("{} files cannot be read; `volume index` names them",
                              found.problem_files.size()));
  }
  return read_indexed_scans(options, index);
}

int run(const Options& options) {
  pipeline::ExtractVolumesJob job;
  job.series = read_geometry(options);
  job.prepare = read_recipe(options);
  job.redo = options.flag("overwrite");
  const auto pool = read_scan_pool(options);
  const auto progress = make_console_progress(options.quiet() || options.json());
  const pipeline::VolumeFolder folder{options.path("output")};
  if (options.flag("dry-run")) {
    const TemporaryFolder temporary;
    const auto scans = index_and_filter(options, temporary.path / "index.sqlite", *progress);
    return tell_scans(options, "volume features", scans);
  }
  auto encoder = load_volume_encoder(options);
  // The index has its own lock, and is done with when the folder is claimed.
  make_folder(folder.root);
  const auto scans = index_and_filter(
      options,
      options.given("index") ? options.path("index") : folder.root / ".index.sqlite",
      *progress);
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
    .reference =
        "Maqsood and Khan, MeD-3D, 2025, sections 3.4 and 5.2; "
        "Chen et al., Med3D, arXiv:1904.00625",
    .examples =
        {{"med3d volume features scans/ --output out --encoder medicalnet-resnet18 --weights "
          "resnet_18_23dataset.pth",
          "A folder of series to out/ct_mri_features.csv"},
         {"med3d volume features scans/ --output out",
          "A trial without weights: the features mean nothing"},
         {"med3d volume features scans/ --output out --no-filter --pool max",
          "Every series of CT and MR, whatever its description says"}},
    .declare =
        [](Schema& schema) {
          schema.positional_path("FOLDER", "folder of DICOM series in any layout, and NIfTI files")
              .required();
          schema.path("volumes",
                      "table of NIfTI files: path (relative to FOLDER) with case_id, modality, "
                      "SeriesDescription");
          schema.path("case-ids", "table patient_id,case_id: names of your own for patients");
          declare_names(schema);
          declare_isolation(schema);
          schema.path("index",
                      "where the index is kept; it holds descriptions and paths. Default: "
                      ".index.sqlite in --output");
          declare_filter(schema);
          declare_masks(schema);
          declare_geometry(schema);
          declare_recipe(schema);
          declare_volume_encoder(schema);
          declare_scan_pool(schema);
          schema.path(
              "output", "folder of the results; a job that was stopped goes on", "med3d-volumes");
          add_common_threads(schema);
          add_common_seed(schema);
          add_common_overwrite(schema);
          add_common_dry_run(schema);
        },
    .run = run,
};

}  // namespace med3d
