#include "med3d/cli/commands/run_output.h"

#include <fmt/format.h>

#include <charconv>
#include <chrono>
#include <mutex>

#include "med3d/cli/commands/isolation_input.h"
#include "med3d/cli/output.h"
#include "med3d/cli/stop_signals.h"
#include "med3d/core/progress.h"
#include "med3d/core/text.h"
#include "med3d/pipeline/leaks.h"
#include "med3d/pipeline/run_store.h"
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

std::string size_text(double bytes) {
  return bytes >= 1e9 ? fmt::format("{:.1f} GB", bytes / 1e9)
                      : fmt::format("{:.0f} MB", bytes / 1e6);
}

std::string time_text(double seconds) {
  if (seconds >= 5400) return fmt::format("{:.1f} h", seconds / 3600);
  return seconds >= 90 ? fmt::format("{:.0f} min", seconds / 60) : fmt::format("{:.0f} s", seconds);
}

void print_plan(const pipeline::RunSummary& summary, const pipeline::RunOptions& options) {
  const Json& plan = summary.plan;
  if (plan.contains("stages")) {
    print(fmt::format("{:<8} {:<7} {:>6} {:>6} {:>9} {:>9}\n",
                      "stage",
                      "items",
                      "to do",
                      "kept",
                      "time",
                      "disk"));
    for (const auto& line : plan.at("stages")) {
      print(fmt::format("{:<8} {:<7} {:>6} {:>6} {:>9} {:>9}{}\n",
                        line.at("stage").get<std::string>(),
                        line.at("kind").get<std::string>(),
                        line.at("to_do").get<std::size_t>(),
                        line.at("kept").get<std::size_t>(),
                        time_text(line.at("seconds").get<double>()),
                        size_text(line.at("disk_bytes").get<double>()),
                        line.at("rate") == "prior" ? "  (a guess)" : ""));
    }
    print(fmt::format("in all about {}, {} on disk, {} of memory, into {}; then the models\n",
                      time_text(plan.at("seconds").get<double>()),
                      size_text(plan.at("disk_bytes").get<double>()),
                      size_text(plan.at("memory_bytes").get<double>()),
                      options.output.string()));
    return;
  }
  print(fmt::format("would fit {} models on {} patients in {} pieces ({} fits) into {}\n",
                    plan.at("models").size(),
                    plan.at("patients").dump(),
                    summary.pieces,
                    plan.at("fits").dump(),
                    options.output.string()));
}

// 0 for what is none from 1 to 10,000.
int whole_number(std::string_view text) {
  int value = 0;
  const auto* end = text.data() + text.size();
  const auto read = std::from_chars(text.data(), end, value);
  return read.ec == std::errc() && read.ptr == end && value <= 10'000 ? value : 0;
}

// The store of the run at work, for the thread that ends the process.
class StoreAtWork {
 public:
  void set(pipeline::RunStore* store) {
    const std::lock_guard lock(mutex_);
    store_ = store;
  }
  void interrupt() {
    // The work may hold the lock while it closes the store: then there is nothing left to say.
    const std::unique_lock lock(mutex_, std::try_to_lock);
    if (lock && store_ != nullptr) store_->interrupt("signal", std::chrono::milliseconds(300));
  }

 private:
  std::mutex mutex_;
  pipeline::RunStore* store_ = nullptr;
};

}  // namespace

void declare_run_stages(Schema& schema) {
  schema.text("allow-leak",
              "go on although training and test share patients or images, for this reason; "
              "the report shows it in red");
  std::vector<std::string> names;
  for (const auto& stage : pipeline::stages()) names.emplace_back(stage.name);
  schema.choice("from", "begin with this stage; those before it must have been done", names);
  schema.choice("until", "end with this stage", names);
  schema.choice("only", "this stage alone", names);
  schema.text("shard",
              "i/n: the i-th part of n of slides and scans, up to stage extract; several may work "
              "on one folder. A run without it goes on from there");
  declare_isolation(schema);
}

pipeline::RunOptions read_run_options(const Options& options,
                                      const pipeline::RunSettings& settings) {
  pipeline::RunOptions out;
  out.threads = options.given("threads") || settings.run.threads == 0 ? options.threads()
                                                                      : settings.run.threads;
  if (options.given("allow-leak")) {
    out.allow_leak = std::string(trim(options.text("allow-leak")));
    if (out.allow_leak.empty()) {
      throw Error(ErrorKind::kUsage, "--allow-leak: expected the reason, in words");
    }
  }
  const auto stage = [&](std::string_view name) {
    return options.has(name) ? options.choice(name) : std::string();
  };
  out.choice = {stage("from"), stage("until"), stage("only")};
  out.choice.validate();
  if (options.given("shard")) {
    const std::string text = options.text("shard");
    const auto slash = text.find('/');
    const int index = whole_number(text.substr(0, slash));
    const int count = slash == std::string::npos ? 0 : whole_number(text.substr(slash + 1));
    if (index < 1 || count < 1 || index > count) {
      throw Error(
          ErrorKind::kUsage,
          fmt::format("--shard: found '{}', expected i/n such as 2/8, i from 1 to n", text));
    }
    out.shard = {index, count};
  }
  return out;
}

int run_and_tell(const Options& options,
                 const pipeline::RunSettings& settings,
                 pipeline::RunOptions run_options) {
  run_options.draw_page = [](const std::filesystem::path& folder) { report::write_report(folder); };
  const auto progress = make_console_progress(options.quiet());
  StoreAtWork at_work;
  run_options.store_in_use = [&](pipeline::RunStore* store) { at_work.set(store); };
  pipeline::RunSummary summary;
  {
    const StopSignals signals([&] { at_work.interrupt(); });
    try {
      summary = pipeline::run(settings, run_options, *progress);
    } catch (const pipeline::LeakError& error) {
      throw CommandError(
          error.kind(),
          error.what(),
          error.can_be_allowed()
              ? "mend the split; or say with --allow-leak REASON why it is as it should be"
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
  }
  if (run_options.dry_run) {
    if (options.json()) {
      print_json(summary.plan);
    } else {
      print_plan(summary, run_options);
    }
    return kExitDone;
  }
  const bool reported = !summary.report.is_null();
  const auto report_path = run_options.output / "report.html";
  if (options.json()) {
    Json document = {{"output", run_options.output.string()},
                     {"report", reported ? Json(report_path.string()) : Json(nullptr)},
                     {"key", summary.key},
                     {"pieces", summary.pieces},
                     {"taken_over", summary.taken_over},
                     {"failed_items", summary.failed_items}};
    if (reported) {
      document["best"] = summary.report.at("best");
    } else {
      document["ended_with"] = summary.ended_with;
    }
    print_json(document);
  } else if (reported) {
    if (!options.quiet()) print_summary(summary.report, settings.validation.confidence);
    print(fmt::format("\nreport: {}\n", report_path.string()));
  } else {
    print(fmt::format(
        "done up to stage {} in {}\n", summary.ended_with, run_options.output.string()));
  }
  return summary.failed_items > 0 ? kExitSomeFailed : kExitDone;
}

}  // namespace med3d
