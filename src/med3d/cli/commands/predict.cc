#include "med3d/pipeline/predict.h"

#include <fmt/format.h>

#include "med3d/cli/command.h"
#include "med3d/cli/commands/isolation_input.h"
#include "med3d/cli/commands/weights_folder.h"
#include "med3d/cli/output.h"
#include "med3d/core/file.h"
#include "med3d/core/progress.h"

namespace med3d {
namespace {

int run(const Options& options) {
  pipeline::PredictRequest request;
  request.model = options.path("MODEL");
  if (options.given("clinical")) request.clinical = options.path("clinical");
  if (options.given("ct")) request.ct = options.path("ct");
  if (options.given("mri")) request.mri = options.path("mri");
  if (options.given("wsi")) request.wsi = options.path("wsi");
  for (const auto& place : options.list("slides")) request.raw.slides.emplace_back(place);
  if (options.given("dicom")) request.raw.dicom = options.path("dicom");
  if (options.given("slide-weights")) request.raw.slide_weights = options.path("slide-weights");
  if (options.given("scan-weights")) request.raw.scan_weights = options.path("scan-weights");
  if (options.given("work")) request.raw.work = options.path("work");
  if (options.given("patient")) request.raw.patient = options.text("patient");
  if (request.raw.used()) request.raw.weights_folder = weights_folder(options);
  request.case_from = options.choice("case-from");
  request.models = options.list("models");
  request.threads = options.threads();
  const auto progress = make_console_progress(options.quiet() || options.json());
  const auto result = pipeline::predict(request, *progress);
  progress->finish();
  if (!options.json()) {
    for (const auto& warning : result.warnings) progress->warn(warning);
  }
  const std::string csv = result.csv();
  if (options.given("output")) write_file_atomic(options.path("output"), csv);
  if (options.json()) {
    print_json(result.to_json());
  } else if (!options.given("output")) {
    print(csv);
  } else if (!options.quiet()) {
    print(fmt::format("{} predictions: {}\n",
                      result.rows.size() + result.survival.size(),
                      options.path("output").string()));
  }
  return result.failed_items > 0 ? kExitSomeFailed : kExitDone;
}

}  // namespace

extern const Command predict_command;
const Command predict_command = {
    .name = "predict",
    .summary = "Predict for new patients with whatever modalities they have",
    .reference = "Maqsood and Khan, MeD-3D, 2025, sections 3.5 and 5.4",
    .examples = {{"med3d predict out/model --clinical new.csv --wsi new_slides/",
                  "A table row and slide vectors for each patient"},
                 {"med3d predict out/model --clinical new.csv --slides slides/ --dicom scans/ "
                  "--patient P1 --work prepared",
                  "One patient's own files, by a model that was trained from files"},
                 {"med3d predict out/model --ct scans/ --json", "CT vectors alone"},
                 {"med3d predict out/model --clinical new.csv --models late_weighted,clinical",
                  "Two of the models"}},
    .declare =
        [](Schema& schema) {
          schema.positional_path("MODEL", "the 'model' folder of a run").required();
          schema.path("clinical", "table with one row per patient (CSV or TSV)");
          schema.path("ct", "CT vectors: folder of files, or one CSV");
          schema.path("mri", "MRI vectors: folder of files, or one CSV");
          schema.path("wsi", "slide vectors: folder of files, or one CSV");
          schema.list("slides", "slides, and folders of them, prepared as the model's were");
          schema.path("dicom",
                      "folder of CT and MR series (DICOM, NIfTI), prepared as the model's were");
          schema.text("patient",
                      "all slides and scans are of this patient of the table, whatever their names "
                      "say");
          schema.path("slide-weights",
                      "weights of the slides' encoder; without it the file of --dir with the "
                      "model's SHA-256");
          schema.path("scan-weights", "the same for the scans' encoder");
          declare_weights_folder(schema);
          declare_isolation(schema);
          schema.path(
              "work",
              "keep tiles and features of --slides and --dicom here, to go on after a stop; "
              "without it they are removed");
          schema.choice("case-from",
                        "how a file name tells its patient",
                        {"name", "mmist", "folder"},
                        "name");
          schema.list("models", "models to ask; default: all arms and fusions");
          schema.path("output", "write CSV here instead of to standard output");
          add_common_threads(schema);
        },
    .run = run,
};

}  // namespace med3d
