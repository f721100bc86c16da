#include <fmt/format.h>

#include "med3d/cli/command.h"
#include "med3d/cli/commands/volume_input.h"
#include "med3d/core/file.h"
#include "med3d/pipeline/volumes/convert_volumes.h"

namespace med3d {
namespace {

int run(const Options& options) {
  pipeline::ConvertJob job;
  job.series = read_geometry(options);
  job.series.threads = options.threads();
  job.type = options.choice("type") == "int16" ? NiftiType::kInt16 : NiftiType::kFloat32;
  if (options.given("reorient")) job.orientation = options.text("reorient");
  job.redo = options.flag("overwrite");
  return work_on_scans(
      options,
      "volume convert",
      [&](const std::vector<pipeline::VolumeItem>& scans,
          const std::filesystem::path& folder,
          Progress& progress) { return pipeline::convert_volumes(scans, folder, job, progress); });
}

}  // namespace

extern const Command volume_convert_command;
const Command volume_convert_command = {
    .name = "volume convert",
    .summary = "Convert DICOM series to NIfTI, with what may be told of them in a JSON beside",
    .reference = "",
    .examples = {{"med3d volume convert scans/ --output nifti",
                  "nifti/<patient>/<series>.nii.gz and .json for each series"},
                 {"med3d volume convert scans/ --output nifti --type int16 --reorient RAS",
                  "In 16 bits, axes as most tools of NIfTI like them"}},
    .declare =
        [](Schema& schema) {
          declare_scans(schema);
          declare_geometry(schema);
          schema.choice("type",
                        "of the voxels; int16 rounds where they are not whole numbers",
                        {"float32", "int16"},
                        "float32");
          schema.text("reorient", "swap and turn the axes, as three of L/R, P/A, S/I");
          schema.path("output", "folder of the files", "med3d-nifti");
          add_common_threads(schema);
          add_common_overwrite(schema);
          add_common_dry_run(schema);
        },
    .run = run,
};

}  // namespace med3d
