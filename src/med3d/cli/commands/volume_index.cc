#include <fmt/format.h>

#include "med3d/cli/command.h"
#include "med3d/cli/commands/volume_names.h"
#include "med3d/cli/output.h"
#include "med3d/core/progress.h"
#include "med3d/pipeline/volumes/series_index.h"

namespace med3d {
namespace {

// Problems by their wording: paths may name patients.
std::map<std::string, std::int64_t> counted(const pipeline::VolumeIndexResult& result) {
  std::map<std::string, std::int64_t> out;
  for (const auto& file : result.problem_files) ++out[file.problem];
  return out;
}

Json json_of(const pipeline::VolumeIndexResult& result, bool show_paths) {
  Json out = {{"schema", 1},
              {"files", result.files},
              {"read", result.read},
              {"unchanged", result.unchanged},
              {"vanished", result.vanished},
              {"other", result.other},
              {"links", result.links},
              {"series", result.series},
              {"patients", result.patients},
              {"problem_files", result.problem_files.size()},
              {"file_problems", Json::object()},
              {"series_problems", Json::object()}};
  for (const auto& [problem, count] : counted(result)) out["file_problems"][problem] = count;
  for (const auto& [problem, count] : result.series_problems) {
    out["series_problems"][problem] = count;
  }
  if (show_paths) {
    out["paths"] = Json::array();
    for (const auto& file : result.problem_files) {
      out["paths"].push_back({{"path", file.path.string()}, {"problem", file.problem}});
    }
  }
  return out;
}

std::string text_of(const pipeline::VolumeIndexResult& result, bool show_paths) {
  std::string text = fmt::format(
      "{} series of {} patients in {} files\n",
      result.series,
      result.patients,
      result.files - result.other - static_cast<std::int64_t>(result.problem_files.size()));
  text += fmt::format(
      "  read now      {}\n  unchanged     {}\n  vanished      {}\n  no scans      {}\n",
      result.read,
      result.unchanged,
      result.vanished,
      result.other);
  if (result.links > 0) text += fmt::format("  links         {}, not followed\n", result.links);
  if (!result.problem_files.empty()) {
    text += fmt::format("files with a problem: {}\n", result.problem_files.size());
    if (show_paths) {
      for (const auto& file : result.problem_files) {
        text += fmt::format("  {}: {}\n", file.path.string(), file.problem);
      }
    } else {
      for (const auto& [problem, count] : counted(result)) {
        text += fmt::format("  {:>6}  {}\n", count, problem);
      }
      text += "  --show-paths names them; paths may hold names of patients\n";
    }
  }
  if (!result.series_problems.empty()) text += "series with a problem:\n";
  for (const auto& [problem, count] : result.series_problems) {
    text += fmt::format("  {:>6}  {}\n", count, problem);
  }
  return text;
}

int run(const Options& options) {
  pipeline::VolumeIndexOptions job;
  job.folder = options.path("FOLDER");
  if (options.has("output")) job.index = options.path("output");
  job.keep_ids = options.flag("keep-ids");
  job.secret = read_secret(options);
  job.dates = options.choice("dates") == "shift" ? pipeline::IndexDates::kShift
                                                 : pipeline::IndexDates::kDrop;
  if (options.has("case-ids")) job.case_ids = options.path("case-ids");
  if (options.has("volumes")) job.volumes = options.path("volumes");
  job.redo = options.flag("overwrite");
  job.threads = options.threads();
  const auto progress = make_console_progress(options.quiet() || options.json());
  const auto result = pipeline::index_volumes(job, *progress);
  const bool show_paths = options.flag("show-paths");
  if (options.json()) {
    print_json(json_of(result, show_paths));
  } else if (!options.quiet()) {
    print(text_of(result, show_paths));
  }
  if (result.series == 0) {
    throw CommandError(ErrorKind::kData,
                       "no CT or MR series in the folder",
                       "give the folder that holds the DICOM or NIfTI files");
  }
  return result.problem_files.empty() ? kExitDone : kExitSomeFailed;
}

}  // namespace

extern const Command volume_index_command;
const Command volume_index_command = {
    .name = "volume index",
    .summary = "List the CT and MR series of a folder by their headers",
    .reference = "docs/series.md",
    .examples = {{"med3d volume index scans/", "Make or renew scans/volumes.sqlite"},
                 {"med3d volume index scans/ --secret-file key.txt --dates shift",
                  "Pseudonyms nobody can find again without the key; dates moved"},
                 {"med3d volume index scans/ --case-ids names.csv --output index.sqlite",
                  "Names of your own for the patients, the index elsewhere"}},
    .declare =
        [](Schema& schema) {
          schema.positional_path("FOLDER", "Folder of scans, in any layout").required();
          schema.path("output", "The index; volumes.sqlite in the folder if not given");
          declare_names(schema);
          schema.path("case-ids", "Table patient_id,case_id: names of your own for the patients");
          schema.path(
              "volumes",
              "Table of NIfTI files: path, and case_id, modality, SeriesDescription and the like");
          schema.choice("dates", "Dates of studies: left out, or moved", {"drop", "shift"}, "drop");
          schema.flag("show-paths", "Name files with a problem; paths may hold names of patients");
          add_common_threads(schema);
          add_common_overwrite(schema);
        },
    .run = run,
};

}  // namespace med3d
