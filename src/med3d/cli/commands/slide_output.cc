#include "med3d/cli/commands/slide_output.h"

#include <fmt/format.h>

#include "med3d/cli/commands/item_output.h"
#include "med3d/cli/output.h"
#include "med3d/core/file.h"
#include "med3d/core/json.h"

namespace med3d {

void declare_slide_output(Schema& schema) {
  schema
      .path("output",
            "folder of the results, in CLAM's layout; a job that was stopped goes on",
            "med3d-slides")
      .alias("save-dir")
      .alias("job-dir")
      .alias("feat-dir");
  add_common_threads(schema);
  schema.flag("overwrite", "Make again what is there already").alias("no-auto-skip");
  add_common_dry_run(schema);
}

int tell_slides(const Options& options,
                std::string_view command,
                const std::vector<pipeline::SlideItem>& slides) {
  Json list = Json::array();
  std::string text;
  for (const auto& slide : slides) {
    list.push_back({{"slide_id", slide.slide_id},
                    {"path", slide.path.string()},
                    {"mpp", slide.mpp ? Json(*slide.mpp) : Json()},
                    {"problem", slide.problem}});
    text += fmt::format("  {}  {}{}\n",
                        slide.slide_id,
                        slide.path.string(),
                        slide.problem.empty() ? "" : ": " + slide.problem);
  }
  return tell_plan(options, command, "slides", std::move(list), text);
}

int finish_slides(const Options& options,
                  const pipeline::SlideFolder& folder,
                  const SlideResult& result,
                  Progress& progress) {
  Json document = {{"schema", 1}, {"command", result.command}};
  if (!result.notice.empty()) document["notice"] = result.notice;
  if (result.encoder != nullptr) {
    document["encoder"] = {{"name", result.encoder->name},
                           {"trained", result.encoder->trained},
                           {"weights_sha256", result.encoder->weights_sha256},
                           {"options", result.encoder->options},
                           {"engine", result.encoder->engine.name()},
                           {"device", result.encoder->engine.device},
                           {"precision", to_string(result.encoder->encoder->precision())},
                           {"embedding_dim", result.encoder->encoder->embedding_dim()}};
  }
  document["slides"] = Json::array();
  for (const auto& outcome : result.outcomes) document["slides"].push_back(outcome.to_json());
  write_file_atomic(folder.outcomes_csv(), pipeline::outcomes_csv(result.outcomes));
  write_json(folder.outcomes_json(), document);
  progress.finish();

  const pipeline::ExtractTimes& times = result.times;
  if (options.json()) {
    // Of this run: the file above is the same whenever it is made.
    if (times.tiles > 0) {
      document["timing"] = {{"tiles", times.tiles},
                            {"calibrate_s", times.calibrate_s},
                            {"wall_s", times.wall_s},
                            {"first_s", times.first_s},
                            {"encode_s", times.encode_s},
                            {"wait_s", times.wait_s},
                            {"encoder_busy", times.busy()},
                            {"read_cpu_s", times.read_cpu_s},
                            {"process_cpu_s", times.process_cpu_s},
                            {"read_share", times.read_share()}};
    }
    print_json(document);
  } else {
    if (times.tiles > 0) {
      progress.note(fmt::format(
          "{} tiles in {:.1f} s: encoder busy {:.0f} % of the time, {:.0f} % waiting for tiles; "
          "reading them took {:.1f} % of the processor time{}",
          times.tiles,
          times.wall_s,
          100.0 * times.busy(),
          100.0 * times.wait_s / times.wall_s,
          100.0 * times.read_share(),
          times.calibrate_s > 0
              ? fmt::format("; {:.1f} s before that for int8's scales", times.calibrate_s)
              : std::string()));
    }
    for (const auto& outcome : result.outcomes) {
      for (const auto& warning : outcome.warnings) {
        progress.warn(outcome.slide_id + ": " + warning);
      }
    }
    print(pipeline::outcomes_text(result.outcomes));
    tell_files(options, result.notice, folder.root, result.files);
  }
  return pipeline::exit_code(result.outcomes);
}

}  // namespace med3d
