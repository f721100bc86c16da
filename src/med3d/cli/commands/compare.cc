#include "med3d/pipeline/compare.h"

#include <cmath>

#include "med3d/cli/command.h"
#include "med3d/cli/output.h"
#include "med3d/core/file.h"
#include "med3d/core/json.h"
#include "med3d/report/figures.h"

namespace med3d {
namespace {

// One forest plot for each metric: the figure of the report, fed with these pairs.
void write_figures(const std::filesystem::path& folder, const pipeline::Comparison& comparison) {
  report::Document document;
  std::vector<std::string> metrics;
  for (const auto& pair : comparison.pairs) {
    if (metrics.empty() || metrics.back() != pair.metric) metrics.push_back(pair.metric);
    report::Comparison row;
    row.set = pair.metric;
    row.a = pair.first;
    row.b = pair.second;
    row.test = pair.test;
    row.metric = pair.metric;
    const auto known = [](double value) {
      return std::isfinite(value) ? report::Number(value) : report::Number();
    };
    row.difference = {known(pair.difference.value),
                      known(pair.difference.low),
                      known(pair.difference.high),
                      pair.difference.not_estimable};
    row.p = known(pair.p);
    row.p_adjusted = known(pair.p_adjusted);
    document.comparisons.push_back(row);
  }
  for (const auto& metric : metrics) {
    const auto figure = report::comparison_forest(document, metric);
    if (!figure) continue;
    write_file_atomic(folder / ("forest_" + metric + ".svg"),
                      figure->svg.standalone(figure->title, figure->description));
    write_file_atomic(folder / ("forest_" + metric + ".csv"), report::to_csv(figure->data));
  }
}

int run(const Options& options) {
  pipeline::CompareOptions compare;
  compare.task = options.choice("task");
  compare.set = options.text("set");
  compare.models = options.list("models");
  compare.reference = options.has("reference") ? options.text("reference") : "";
  compare.horizon_months = options.real("horizon-months");
  compare.bootstrap = static_cast<int>(options.integer("bootstrap"));
  compare.confidence = options.real("confidence");
  compare.seed = options.seed();
  compare.threads = options.threads();
  std::vector<std::filesystem::path> sources;
  for (const auto& path : options.all("RUN")) sources.emplace_back(path);
  const auto comparison = pipeline::compare_predictions(sources, compare);
  const Json document = pipeline::comparison_json(comparison);
  if (options.has("output")) {
    const auto folder = options.path("output");
    write_file_atomic(folder / "comparison.csv", pipeline::comparison_csv(comparison));
    write_figures(folder, comparison);
    write_json(folder / "comparison.json", document);
  }
  if (options.json()) {
    print_json(document);
  } else {
    print(pipeline::comparison_text(comparison));
  }
  return kExitDone;
}

}  // namespace

extern const Command compare_command;
const Command compare_command = {
    .name = "compare",
    .summary = "Compare runs or outside predictions on the patients they have in common",
    .reference = "DeLong et al., Biometrics 1988; Holm, Scand J Stat 1979",
    .examples = {{"med3d compare out-a out-b", "The best models of two runs"},
                 {"med3d compare out theirs.csv --models clinical",
                  "One model against predictions of another program"},
                 {"med3d compare out theirs.csv --output compared",
                  "Also as JSON and CSV, with a forest plot"}},
    .declare =
        [](Schema& schema) {
          schema
              .positional_path("RUN", "a run folder, or a CSV with case_id and probability or risk")
              .required()
              .repeated()
              .choice("task", "what is compared", {"auto", "classes", "survival"}, "auto")
              .text("set", "patients of the run folders: test, cross-validation ...", "auto")
              .list("models", "models to take from each source; none: the best of each family")
              .text("reference", "the predictor that all others are compared with; none: the first")
              .real("horizon-months",
                    "horizon of risks and Brier scores; 0: the run's own",
                    0.0,
                    0.0,
                    1200.0,
                    "months")
              .integer("bootstrap", "resamples", 2000, 100, 100000)
              .real("confidence", "of the intervals", 0.95, 0.5, 0.999)
              .path("output", "write comparison.json, comparison.csv and forest plots here");
          add_common_seed(schema);
          add_common_threads(schema);
        },
    .run = run,
};

}  // namespace med3d
