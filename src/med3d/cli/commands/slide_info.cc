#include <fmt/format.h>

#include "med3d/cli/command.h"
#include "med3d/cli/commands/item_output.h"
#include "med3d/cli/commands/slide_input.h"
#include "med3d/core/case_id.h"
#include "med3d/core/json.h"
#include "med3d/core/text.h"
#include "med3d/wsi/mpp.h"
#include "med3d/wsi/slide.h"

namespace med3d {
namespace {

Json facts_of(const pipeline::SlideItem& item) {
  const SlideFacts facts = slide_facts(item.slide_id);
  Json out = {{"slide_id", item.slide_id},
              {"path", item.path.string()},
              {"status", "done"},
              {"case_id", case_id_of(item.slide_id)},
              {"slide_kind", to_string(facts.slide)},
              {"sample_kind", to_string(facts.sample)}};
  try {
    if (!item.problem.empty()) throw Error(ErrorKind::kData, item.problem);
    const auto slide = open_slide(item.path);
    const SlideInfo& info = slide->info();
    const MppVerdict verdict = judge_mpp(info, item.mpp);
    out["format"] = info.format;
    out["mpp"] = verdict.mpp ? Json(*verdict.mpp) : Json();
    out["mpp_source"] = verdict.source;
    const auto bucket = magnification_bucket(verdict.mpp.value_or(0.0));
    out["magnification"] = bucket ? Json(*bucket) : Json();
    out["objective_power"] = info.objective_power ? Json(*info.objective_power) : Json();
    out["levels"] = Json::array();
    for (const auto& level : info.levels) {
      out["levels"].push_back({{"width", level.width},
                               {"height", level.height},
                               {"downsample", level.downsample},
                               {"tile_width", level.tile_width},
                               {"tile_height", level.tile_height}});
    }
    out["associated"] = info.associated;
    out["warnings"] = verdict.warnings;
    out["properties"] = Json::object();
    for (const auto& [name, value] : info.properties) out["properties"][name] = value;
  } catch (const std::exception& error) {
    out["status"] = "failed";
    out["reason"] = describe(error);
  }
  return out;
}

std::string text_of(const Json& facts) {
  const auto word = [&](const char* name) { return facts.at(name).get<std::string>(); };
  std::string text = word("slide_id") + "\n";
  const auto line = [&](std::string_view name, const std::string& value) {
    text += fmt::format("  {:<12}{}\n", name, value);
  };
  line("file", word("path"));
  if (word("status") == "failed") {
    line("failed", word("reason"));
    return text;
  }
  line("format", word("format"));
  for (std::size_t i = 0; i < facts.at("levels").size(); ++i) {
    const Json& level = facts.at("levels")[i];
    const auto tile = level.at("tile_width").get<std::int64_t>();
    line(fmt::format("level {}", i),
         fmt::format(
             "{} x {}, 1/{}{}",
             level.at("width").get<std::int64_t>(),
             level.at("height").get<std::int64_t>(),
             fmt::format("{:.4g}", level.at("downsample").get<double>()),
             tile > 0 ? fmt::format(
                            ", tiles of {} x {}", tile, level.at("tile_height").get<std::int64_t>())
                      : ""));
  }
  line("mpp",
       facts.at("mpp").is_null()
           ? std::string("not known")
           : fmt::format("{} micrometres a pixel ({}){}",
                         format_double(facts.at("mpp").get<double>()),
                         word("mpp_source"),
                         facts.at("magnification").is_null()
                             ? ""
                             : fmt::format(", as at {}x", facts.at("magnification").dump())));
  line("objective",
       facts.at("objective_power").is_null()
           ? std::string("not known")
           : format_double(facts.at("objective_power").get<double>()) + "x");
  line("kind", word("slide_kind") + ", " + word("sample_kind"));
  line("case", word("case_id"));
  const auto associated = facts.at("associated").get<std::vector<std::string>>();
  line("associated", associated.empty() ? "none" : join(associated, ", "));
  for (const auto& warning : facts.at("warnings")) line("warning", warning.get<std::string>());
  return text;
}

int run(const Options& options) {
  const auto progress = make_console_progress(options.quiet() || options.json());
  const auto slides = read_slides(options, *progress);
  return tell_facts(options, *progress, "slides", slides, facts_of, text_of);
}

}  // namespace

extern const Command slide_info_command;
const Command slide_info_command = {
    .name = "slide info",
    .summary = "Show what slides are: levels, scale and where it is from, kind, warnings",
    .reference = "",
    .examples = {{"med3d slide info slide.svs", "Levels, micrometres a pixel, objective"},
                 {"med3d slide info slides/ --json", "All slides of a folder, for a program"},
                 {"med3d slide info scan.tif --mpp 0.25", "A scale of your own, judged"}},
    .declare = [](Schema& schema) { declare_slides(schema); },
    .run = run,
};

}  // namespace med3d
