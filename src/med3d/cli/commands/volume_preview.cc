#include <fmt/format.h>

#include "med3d/cli/command.h"
#include "med3d/cli/commands/volume_input.h"
#include "med3d/core/text.h"
#include "med3d/pipeline/volumes/convert_volumes.h"

namespace med3d {
namespace {

int run(const Options& options) {
  pipeline::PreviewJob job;
  job.series = read_geometry(options);
  job.series.threads = options.threads();
  const std::string plane = options.choice("plane");
  job.montage.plane = plane == "coronal"    ? Plane::kCoronal
                      : plane == "sagittal" ? Plane::kSagittal
                                            : Plane::kAxial;
  job.montage.slices = static_cast<int>(options.integer("slices"));
  job.montage.columns = static_cast<int>(options.integer("columns"));
  job.montage.tile = options.integer("tile");
  if (options.given("window")) {
    const auto window = read_numbers(options, "window");
    if (window.size() != 2 || !(window[1] > 0.0)) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("--window: found '{}', expected centre,width with a width above 0",
                              join(options.list("window"), ",")));
    }
    job.montage.window = GreyWindow{window[0] - window[1] / 2, window[0] + window[1] / 2};
  }
  job.montage.validate();
  return work_on_scans(
      options,
      "volume preview",
      [&](const std::vector<pipeline::VolumeItem>& scans,
          const std::filesystem::path& folder,
          Progress& progress) { return pipeline::preview_volumes(scans, folder, job, progress); });
}

}  // namespace

extern const Command volume_preview_command;
const Command volume_preview_command = {
    .name = "volume preview",
    .summary = "Paint each scan on one page: slices in a grid, as PNG",
    .reference = "",
    .examples = {{"med3d volume preview scans/ --output pages", "20 axial slices of each series"},
                 {"med3d volume preview scan.nii.gz --plane coronal --window 40,400",
                  "In a window of Hounsfield units: centre, width"}},
    .declare =
        [](Schema& schema) {
          const MontageOptions defaults;
          declare_scans(schema);
          declare_geometry(schema);
          schema.choice("plane", "of the slices", {"axial", "coronal", "sagittal"}, "axial");
          schema.integer("slices", "shown at most, evenly spaced", defaults.slices, 1, 1000);
          schema.integer("columns", "of the grid", defaults.columns, 1, 100);
          schema.integer("tile", "longer side of a slice, pixels", defaults.tile, 16, 4096);
          schema.list("window",
                      "centre,width of the grey scale; default: soft tissue (40,400 HU) for CT, "
                      "percentiles 1 to 99 else");
          schema.path("output", "folder of the pages", "med3d-previews");
          add_common_threads(schema);
          add_common_dry_run(schema);
        },
    .run = run,
};

}  // namespace med3d
