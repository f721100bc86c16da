#include <fmt/format.h>

#include "med3d/cli/command.h"
#include "med3d/cli/commands/volume_names.h"
#include "med3d/cli/output.h"
#include "med3d/core/file.h"
#include "med3d/core/progress.h"
#include "med3d/pipeline/volumes/filter_series.h"
#include "med3d/report/scan_figures.h"

namespace med3d {
namespace {

namespace fs = std::filesystem;

void write_figure(const report::Figure& figure, const fs::path& folder, const std::string& name) {
  write_file_atomic(folder / (name + ".svg"),
                    figure.svg.standalone(figure.title, figure.description));
  write_file_atomic(folder / (name + ".csv"), report::to_csv(figure.data));
}

void write_figures(const pipeline::VolumeFilterResult& result, const fs::path& folder) {
  std::vector<report::ScanCount> counts;
  for (const auto& one : result.summary) {
    // "all" repeats the others.
    if (one.collection == "all" && result.summary.size() > 1) continue;
    for (const auto& [modality, before] : one.before_by_modality) {
      const auto kept = one.kept_by_modality.find(modality);
      counts.push_back({one.collection,
                        modality,
                        before,
                        kept != one.kept_by_modality.end() ? kept->second : 0});
    }
  }
  write_figure(report::scan_distribution(counts), folder, "before_after");
  std::vector<report::ScanRule> rules;
  for (const auto& one : result.rules) {
    rules.push_back({one.modality, one.kept, one.rule, one.series});
  }
  write_figure(report::scan_rules(rules), folder, "rules_figure");
}

Json json_of(const pipeline::VolumeFilterResult& result) {
  Json out = {{"schema", 1}, {"summary", Json::array()}, {"rules", Json::array()}};
  for (const auto& one : result.summary) {
    out["summary"].push_back({{"collection", one.collection},
                              {"original", one.original},
                              {"kept", one.kept},
                              {"percent_kept", one.percent_kept()},
                              {"patients_before", one.patients_before},
                              {"patients", one.patients},
                              {"series_per_patient", one.series_per_patient()},
                              {"before_by_modality", one.before_by_modality},
                              {"kept_by_modality", one.kept_by_modality}});
  }
  for (const auto& one : result.rules) {
    out["rules"].push_back({{"modality", one.modality},
                            {"kept", one.kept},
                            {"rule", one.rule},
                            {"series", one.series}});
  }
  return out;
}

std::string text_of(const pipeline::VolumeFilterResult& result) {
  std::string text;
  for (const auto& one : result.summary) {
    text +=
        fmt::format("{}: {} of {} series kept ({:.1f} %), {} of {} patients, {:.1f} series each\n",
                    one.collection,
                    one.kept,
                    one.original,
                    one.percent_kept(),
                    one.patients,
                    one.patients_before,
                    one.series_per_patient());
    for (const auto& [modality, before] : one.before_by_modality) {
      const auto kept = one.kept_by_modality.find(modality);
      text += fmt::format("  {:<8} {} of {}\n",
                          modality.empty() ? "unknown" : modality,
                          kept != one.kept_by_modality.end() ? kept->second : 0,
                          before);
    }
  }
  for (const bool kept : {true, false}) {
    text += kept ? "kept as\n" : "dropped as\n";
    for (const auto& one : result.rules) {
      if (one.kept != kept) continue;
      text += fmt::format("  {:>6}  {:<8} {}\n",
                          one.series,
                          one.modality.empty() ? "unknown" : one.modality,
                          one.rule);
    }
  }
  return text;
}

int run(const Options& options) {
  if (options.has("rules-out")) {
    const fs::path path = options.path("rules-out");
    if (path == "-") {
      print(pipeline::shipped_filter_rules_toml());
    } else if (fs::exists(path) && !options.flag("overwrite")) {
      throw CommandError(
          ErrorKind::kUsage, path.string() + ": is there already", "--overwrite replaces it");
    } else {
      write_file_atomic(path, pipeline::shipped_filter_rules_toml());
    }
    return kExitDone;
  }
  pipeline::VolumeFilterOptions job;
  if (options.has("table")) job.table = options.path("table");
  if (options.has("INDEX")) {
    job.index = options.path("INDEX");
    if (fs::is_directory(job.index)) job.index /= "volumes.sqlite";
  }
  if (job.index.empty() == job.table.empty()) {
    throw CommandError(ErrorKind::kUsage,
                       "expected an index of series or --table",
                       "med3d volume index FOLDER makes one");
  }
  if (options.has("rules")) job.rules = options.path("rules");
  job.output = options.path("output");
  job.keep_ids = options.flag("keep-ids");
  job.secret = read_secret(options);
  if (fs::exists(job.output / "series.csv") && !options.flag("overwrite")) {
    throw CommandError(ErrorKind::kUsage,
                       job.output.string() + ": holds the result of a filter already",
                       "--overwrite replaces it");
  }
  const auto progress = make_console_progress(options.quiet() || options.json());
  const auto result = pipeline::filter_volumes(job, *progress);
  write_figures(result, job.output);
  if (options.json()) {
    print_json(json_of(result));
  } else if (!options.quiet()) {
    print(text_of(result));
  }
  return kExitDone;
}

}  // namespace

extern const Command volume_filter_command;
const Command volume_filter_command = {
    .name = "volume filter",
    .summary = "Choose the series that are worth encoding, with a reason for each",
    .reference = "the paper, sections 3.4 and 5.2; docs/series.md",
    .examples = {{"med3d volume filter scans/ --output filtered",
                  "After contrast, axial, enough slices; what the index of scans/ holds"},
                 {"med3d volume filter --table series.csv --output filtered",
                  "The same for a table of descriptions"},
                 {"med3d volume filter --rules-out rules.toml", "The rules, to be changed"},
                 {"med3d volume filter scans/ --rules rules.toml --output filtered",
                  "With rules of your own"}},
    .declare =
        [](Schema& schema) {
          schema.positional_path("INDEX", "Index of med3d volume index, or its folder");
          schema.path("table", "Table instead: modality, SeriesDescription and what else there is");
          schema.path("output", "Folder for the tables and figures", "filtered");
          schema.path("rules", "Rules of your own (TOML)");
          schema.path("rules-out",
                      "Write the shipped rules there and do nothing else; - prints them");
          declare_names(schema);
          add_common_overwrite(schema);
        },
    .run = run,
};

}  // namespace med3d
