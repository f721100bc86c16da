#include "med3d/cli/command.h"
#include "med3d/cli/commands/volume_input.h"

namespace med3d {
namespace {

int run(const Options& options) {
  pipeline::ExtractVolumesJob job;
  job.series = read_geometry(options);
  job.prepare = read_recipe(options);
  job.redo = options.flag("overwrite");
  const auto progress = make_console_progress(options.quiet() || options.json());
  const bool indexed = options.given("index");
  if (indexed && (options.given("SCANS") || options.given("map"))) {
    throw Error(ErrorKind::kUsage, "--index: scans are named too; expected one of the two");
  }
  if (!indexed && (options.given("rules") || options.flag("no-filter"))) {
    throw Error(ErrorKind::kUsage, "--rules and --no-filter: belong to --index");
  }
  const auto scans = indexed ? read_indexed_scans(options, options.path("index"))
                             : read_scans(options, *progress, masks_of(options));
  auto encoder = load_volume_encoder(options);
  if (options.flag("dry-run")) return tell_scans(options, "volume extract", scans);

  const pipeline::VolumeFolder folder{options.path("output")};
  const auto lock = folder.claim();
  VolumeResult result;
  result.command = "volume extract";
  result.encoder = &encoder;
  result.notice = untrained_notice(encoder);
  result.outcomes = pipeline::extract_volumes(scans, folder, encoder, job, *progress);
  for (const char* name : {"ct", "mri"}) {
    if (std::filesystem::is_directory(folder.root / name)) result.files.emplace_back(name);
  }
  return finish_scans(options, folder, result, *progress);
}

}  // namespace

extern const Command volume_extract_command;
const Command volume_extract_command = {
    .name = "volume extract",
    .summary = "Encode CT and MR scans: one vector a scan, in folders of patients",
    .reference =
        "Chen et al., Med3D, arXiv:1904.00625; Maqsood and Khan, MeD-3D, 2025, section 3.4",
    .examples =
        {{"med3d volume extract scans/ --output out --encoder medicalnet-resnet18 --weights "
          "resnet_18_23dataset.pth",
          "All series of a folder; a job that was stopped goes on"},
         {"med3d volume extract --map scans.csv --output out --masks kidneys/ --margin-mm 20",
          "NIfTI files of a table, cut to masks, with random weights for a trial"},
         {"med3d volume extract --index scans/volumes.sqlite --output out",
          "Series of an index that the filter keeps"},
         {"med3d volume extract scans/ --output out --recipe ct --spacing 0.9,0.9,3 --precision "
          "auto",
          "On one grid of millimetres, in bf16 where the processor has it"}},
    .declare =
        [](Schema& schema) {
          declare_scans(schema);
          schema.path("index", "index of `volume index` instead of SCANS; its series are filtered");
          declare_filter(schema);
          declare_masks(schema);
          declare_geometry(schema);
          declare_recipe(schema);
          declare_volume_encoder(schema);
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
