#include "med3d/pipeline/run.h"

#include <fmt/format.h>

#include "med3d/cli/command.h"
#include "med3d/cli/commands/run_input.h"
#include "med3d/cli/output.h"
#include "med3d/core/parallel.h"
#include "med3d/core/progress.h"
#include "med3d/core/text.h"
#include "med3d/report/report.h"

namespace med3d {
namespace {

std::string estimate_text(const Json& estimate) {
  if (!estimate.contains("value")) return "not estimable";
  const auto digits = [](const Json& x) {
    return x.is_null() ? std::string("?") : fmt::format("{:.3f}", x.get<double>());
  };
  return fmt::format("{} ({} to {})",
                     digits(estimate.at("value")),
                     digits(estimate.at("low")),
                     digits(estimate.at("high")));
}

// The few lines a person wants first; the report has the rest.
void print_summary(const Json& report, double confidence) {
  for (const auto& banner : report.at("banners")) {
    if (banner.at("level") != "warning") print(banner.at("text").get<std::string>() + "\n");
  }
  print(fmt::format("endpoint: {} ({})\n",
                    report.at("endpoint").at("name").get<std::string>(),
                    report.at("endpoint").at("description").get<std::string>()));
  for (const auto& set_name : {"cross-validation", "test"}) {
    bool headed = false;
    for (const auto& model : report.at("models")) {
      for (const auto& set : model.at("sets")) {
        if (set.at("name") != set_name) continue;
        if (!headed) {
          print(fmt::format("\n{:<52} {:>5} {:>5}  {:<24} {}\n",
                            set_name,
                            "n",
                            "pos.",
                            fmt::format("AUROC ({} % CI)", format_double(100 * confidence)),
                            "balanced accuracy"));
          headed = true;
        }
        print(fmt::format("{:<52} {:>5} {:>5}  {:<24} {}\n",
                          model.at("label").get<std::string>(),
                          set.at("n").dump(),
                          set.at("positives").dump(),
                          estimate_text(set.at("metrics").at("auroc")),
                          estimate_text(set.at("metrics").at("balanced_accuracy"))));
      }
    }
  }
}

int run(const Options& options) {
  std::vector<std::string> typed;
  if (options.given("seed")) typed.push_back(fmt::format("run.seed={}", options.seed()));
  if (options.given("device")) typed.push_back("run.device=" + options.choice("device"));
  const pipeline::RunSettings settings = read_run_input(options, typed);
  pipeline::RunOptions run_options;
  run_options.output = options.path("output");
  run_options.threads = options.given("threads") || settings.run.threads == 0
                            ? options.threads()
                            : settings.run.threads;
  run_options.overwrite = options.flag("overwrite");
  run_options.dry_run = options.flag("dry-run");
  if (options.given("allow-leak")) {
    run_options.allow_leak = std::string(trim(options.text("allow-leak")));
    if (run_options.allow_leak.empty()) {
      throw Error(ErrorKind::kUsage, "--allow-leak: expected the reason, in words");
    }
  }
  const auto progress = make_console_progress(options.quiet());
  pipeline::RunSummary summary;
  try {
    summary = pipeline::run(settings, run_options, *progress);
  } catch (const pipeline::LeakError& error) {
    throw CommandError(error.kind(),
                       error.what(),
                       error.can_be_allowed()
                           ? "mend the split; or say with --allow-leak REASON why it is as it "
                             "should be"
                           : "one patient needs one row: as two they are learnt from and judged on",
                       kExitLeak);
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kUsage &&
        std::string_view(error.what()).find("holds") != std::string_view::npos) {
      throw CommandError(error.kind(),
                         error.what(),
                         "choose another --output, or replace what is there with --overwrite");
    }
    throw;
  }
  if (run_options.dry_run) {
    if (options.json()) {
      print_json(summary.plan);
    } else {
      print(fmt::format("would fit {} models on {} patients in {} pieces ({} fits) into {}\n",
                        summary.plan.at("models").size(),
                        summary.plan.at("patients").dump(),
                        summary.pieces,
                        summary.plan.at("fits").dump(),
                        run_options.output.string()));
    }
    return kExitDone;
  }
  report::write_report(run_options.output);
  const auto report_path = run_options.output / "report.html";
  if (options.json()) {
    print_json({{"output", run_options.output.string()},
                {"report", report_path.string()},
                {"key", summary.key},
                {"pieces", summary.pieces},
                {"taken_over", summary.taken_over},
                {"failed_items", summary.failed_items},
                {"best", summary.report.at("best")}});
  } else {
    if (!options.quiet()) print_summary(summary.report, settings.validation.confidence);
    print(fmt::format("\nreport: {}\n", report_path.string()));
  }
  return summary.failed_items > 0 ? kExitSomeFailed : kExitDone;
}

}  // namespace

extern const Command run_command;
const Command run_command = {
    .name = "run",
    .summary = "Train, validate and report all models on a cohort",
    .reference = "Maqsood and Khan, MeD-3D, 2025; protocol: docs/validation.md",
    .examples = {{"med3d run cohort.toml --output out",
                  "The whole way, from tables and vectors to report"},
                 {"med3d run mmist-ccrcc/ --output out --set validation.repeats=2",
                  "A folder in the MMIST layout, two repeats"},
                 {"med3d run cohort.toml --output out --dry-run", "Say what would be done"}},
    .declare =
        [](Schema& schema) {
          declare_run_input(schema);
          schema.path("output", "the run folder; a run that was stopped goes on", "med3d-run");
          schema.text("allow-leak",
                      "go on although training and test share patients or images, for this reason; "
                      "the report shows it in red");
          add_common_seed(schema);
          add_common_threads(schema);
          add_common_device(schema);
          add_common_dry_run(schema);
          add_common_overwrite(schema);
        },
    .run = run,
};

}  // namespace med3d
