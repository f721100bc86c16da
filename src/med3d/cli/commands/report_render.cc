#include <fmt/format.h>

#include "med3d/cli/command.h"
#include "med3d/cli/output.h"
#include "med3d/report/report.h"

namespace med3d {
namespace {

int run(const Options& options) {
  const auto folder = options.path("RUN");
  report::write_report(folder);
  const auto path = (folder / "report.html").string();
  if (options.json()) {
    print_json({{"report", path}});
  } else {
    print(fmt::format("report: {}\n", path));
  }
  return kExitDone;
}

}  // namespace

extern const Command report_render_command;
const Command report_render_command = {
    .name = "report render",
    .summary = "Make report.html and its figures anew from a finished run",
    .reference = "Collins et al., TRIPOD+AI, BMJ 385:e078378, 2024",
    .examples = {{"med3d report render out", "Reads out/report.json, computes nothing anew"}},
    .declare = [](Schema& schema) { schema.positional_path("RUN", "a run folder").required(); },
    .run = run,
};

}  // namespace med3d
